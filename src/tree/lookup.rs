//! Reading a map at keys that come in order: pages between them are passed over.

use crate::format::PageItem;
use crate::model::PageId;
use crate::store::StoreError;

use super::pages::{Items, Pages, Upcoming};

/// A place in a map that only moves on. Memory: a page a level.
#[derive(Debug)]
pub struct Lookup<T: PageItem> {
    items: Items<T>,
}

impl<T: PageItem> Lookup<T> {
    /// At the first item of a map.
    ///
    /// # Errors
    /// If its root cannot be loaded.
    pub fn new(pages: &Pages, root: &PageId, counts: &T::Counts) -> Result<Self, StoreError> {
        Ok(Self { items: pages.items::<T>(root, counts)? })
    }

    /// Moves on to the first item whose key is not before this one, and gives it.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn from(&mut self, key: &T::Key) -> Result<Option<T>, StoreError> {
        while let Some(next) = self.items.upcoming()? {
            match next {
                Upcoming::Item(item) if item.key() < *key => self.items.pass(),
                Upcoming::Item(item) => return Ok(Some(item)),
                Upcoming::Page(_, page) if page.last < *key => self.items.pass(),
                Upcoming::Page(..) => self.items.enter()?,
            }
        }
        Ok(None)
    }
}
