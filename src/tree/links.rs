//! The map of hard links.

use crate::model::{LinkGroup, LinkItem, LinksRef, LongValue};
use crate::store::StoreError;

use super::pages::Pages;

/// Looks groups of hard links up.
#[derive(Debug, Clone)]
pub struct Links {
    pages: Pages,
    root: Option<LinksRef>,
}

impl Links {
    /// The map of a snapshot.
    #[must_use]
    pub fn new(pages: &Pages, root: Option<LinksRef>) -> Self {
        Self { pages: pages.clone(), root }
    }

    fn item(&self, group: LinkGroup) -> Result<LinkItem, StoreError> {
        let what = || format!("the hard-link group {group}");
        let root = self.root.ok_or_else(|| StoreError::damage(what(), "the snapshot has no map of hard links"))?;
        let mut items = self.pages.items::<LinkItem>(&root.page, &root.counts)?;
        items.seek(|last, _| *last < group)?;
        let found = items.next()?.filter(|item| item.group == group);
        found.ok_or_else(|| StoreError::damage(what(), "it is not in the map of hard links"))
    }

    /// How many names a group has in the snapshot.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn names(&self, group: LinkGroup) -> Result<u64, StoreError> {
        Ok(self.item(group)?.names)
    }

    /// Number of names, and the first of them from the root, joined by `/`.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn group(&self, group: LinkGroup) -> Result<(u64, Vec<u8>), StoreError> {
        let item = self.item(group)?;
        let first = match item.first {
            LongValue::Inline(path) => path,
            LongValue::Chunks(list) => self.pages.joined(&list, 16 << 20)?,
        };
        Ok((item.names, first))
    }
}
