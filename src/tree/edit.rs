//! Changing a map: pages without changes are taken as they are, and what comes out is what building from all items would give.
//!
//! A page ends where the hash of its last key says so, or by force: because the next item did not fit, or none was left. One that ends by
//! its key can be taken whole wherever a page may begin. Of one that ended by force the items are taken one by one: what follows may have
//! changed.

use crate::format::PageItem;
use crate::model::PageId;
use crate::store::StoreError;

use super::build::{MapBuilder, PageWriter, ends};
use super::pages::{Items, Pages, Upcoming};

/// Applies changes in the order of their keys. Reads and writes the pages that change and those beside them. Memory: two pages a level.
#[derive(Debug)]
pub struct MapEditor<T: PageItem> {
    builder: MapBuilder<T>,
    old: Option<Items<T>>,
}

impl<T: PageItem> MapEditor<T> {
    /// Begins with a map, or with none.
    ///
    /// # Errors
    /// If its root cannot be loaded.
    pub fn new(pages: &Pages, old: Option<(PageId, T::Counts)>) -> Result<Self, StoreError> {
        let old = old.map(|(page, counts)| pages.items::<T>(&page, &counts)).transpose()?;
        Ok(Self { builder: MapBuilder::default(), old })
    }

    /// Takes over all that `before` holds for, told by its last key.
    fn keep(&mut self, pages: &mut PageWriter, before: impl Fn(&T::Key) -> bool) -> Result<(), StoreError> {
        let Some(old) = &mut self.old else { return Ok(()) };
        while let Some(next) = old.upcoming() {
            match next {
                Upcoming::Item(item) if before(&item.key()) => {
                    old.pass();
                    self.builder.push(pages, item)?;
                }
                Upcoming::Item(_) => break,
                Upcoming::Page(level, page) => {
                    let count = if level == 0 { T::items(&page.counts) } else { u64::MAX };
                    let count = usize::try_from(count).unwrap_or(usize::MAX);
                    let natural = ends::<T>(&pages.shape(), level, count, &page.last);
                    if natural && self.builder.takes_page(level) && before(&page.last) {
                        old.pass();
                        self.builder.push_page(pages, level, page)?;
                    } else {
                        old.enter()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The item of a key, if the map has it. Keys are asked for in order, together with those of changes.
    ///
    /// # Errors
    /// If the store fails.
    pub fn get(&mut self, pages: &mut PageWriter, key: &T::Key) -> Result<Option<T>, StoreError> {
        self.keep(pages, |last| last < key)?;
        match self.old.as_mut().and_then(Items::upcoming) {
            Some(Upcoming::Item(item)) if item.key() == *key => Ok(Some(item)),
            _ => Ok(None),
        }
    }

    /// Puts an item in, in the place of one with its key.
    ///
    /// # Errors
    /// If the order is broken or the store fails.
    pub fn put(&mut self, pages: &mut PageWriter, item: T) -> Result<(), StoreError> {
        self.remove(pages, &item.key())?;
        self.builder.push(pages, item)
    }

    /// Takes an item out; false if there is none.
    ///
    /// # Errors
    /// If the store fails.
    pub fn remove(&mut self, pages: &mut PageWriter, key: &T::Key) -> Result<bool, StoreError> {
        let found = self.get(pages, key)?.is_some();
        if let Some(old) = self.old.as_mut().filter(|_| found) {
            old.pass();
        }
        Ok(found)
    }

    /// Adds an item behind all others.
    ///
    /// # Errors
    /// If the order is broken or the store fails.
    pub fn append(&mut self, pages: &mut PageWriter, item: T) -> Result<(), StoreError> {
        self.keep(pages, |_| true)?;
        self.builder.push(pages, item)
    }

    /// Ends the map: its root page and the sums over it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn finish(mut self, pages: &mut PageWriter) -> Result<(PageId, T::Counts), StoreError> {
        self.keep(pages, |_| true)?;
        self.builder.finish(pages)
    }
}
