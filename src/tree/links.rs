//! The map of hard links.

use crate::codec::digest;
use crate::format::to_bytes;
use crate::model::{Body, Entry, LinkGroup, LinkItem, LinksRef, LongValue};
use crate::store::StoreError;

use super::pages::Pages;

/// What an entry holds, cut to what is enough to tell one from another: all names of a group have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holding([u8; 16]);

impl Holding {
    /// Of an entry; whatever else it says of itself.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let numbers = |sort: u8, a: u32, b: u32| [&[sort][..], &a.to_le_bytes(), &b.to_le_bytes()].concat();
        let bytes = match &entry.body {
            Body::File(file) => match &file.content {
                // The same content may stand in chunks of several forms.
                Some(content) => [&[1][..], &file.size.to_le_bytes(), content.as_bytes()].concat(),
                None => [&[2][..], &to_bytes(file)].concat(),
            },
            Body::Folder(tree) => [&[3][..], tree.page.as_bytes()].concat(),
            Body::Symlink(target) => [&[4][..], target].concat(),
            Body::Fifo => vec![5],
            Body::Socket => vec![6],
            Body::CharDevice(major, minor) => numbers(7, *major, *minor),
            Body::BlockDevice(major, minor) => numbers(8, *major, *minor),
        };
        let mut half = [0; 16];
        half.copy_from_slice(&digest(&bytes).as_bytes()[..16]);
        Self(half)
    }
}

/// That a name of a group is not what the others are.
#[must_use]
pub fn odd_name(group: LinkGroup) -> StoreError {
    StoreError::damage(format!("the hard-link group {group}"), "its names do not hold the same")
}

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
