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
        while let Some(next) = old.upcoming()? {
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
        match self.old.as_mut().map_or(Ok(None), Items::upcoming)? {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Body, ChunkId, ChunkRef, Entry, FileBody, Name};
    use crate::store::{Waiting, Writer};
    use crate::tree::samples::{entry, new_store};
    use crate::tree::{Lookup, MapBuilder};

    /// Names of different lengths: long ones fill pages before a boundary comes.
    fn name(n: u16) -> Name {
        let long = "x".repeat(if n.is_multiple_of(7) { 240 } else { 0 });
        Name::new(format!("{n:05}{long}").as_bytes()).unwrap()
    }

    fn file(n: u16, time: i64) -> Entry {
        let mut file = entry(name(n).as_bytes(), Body::File(FileBody::empty()));
        file.mtime.seconds = time;
        // Some are so large that pages end by force.
        if n.is_multiple_of(3) {
            file.body = Body::Symlink(vec![b'l'; 3000 + usize::from(n % 1000)].into());
        }
        file
    }

    type Files = BTreeMap<u16, i64>;

    fn built(writer: &Writer, files: &Files) -> (PageId, crate::model::Counts) {
        let mut out = PageWriter::new(writer);
        let mut map = MapBuilder::default();
        files.iter().for_each(|(n, time)| map.push(&mut out, file(*n, *time)).unwrap());
        let root = map.finish(&mut out).unwrap();
        out.flush().unwrap();
        root
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever is put in and taken out: the pages are those of a map that is built from what is there afterwards.
        #[test]
        fn an_edited_map_is_the_map_that_would_be_built(
            old in proptest::collection::btree_map(0..3000u16, 0..3i64, 0..1500),
            changes in proptest::collection::btree_map(0..3000u16, proptest::option::of(3..5i64), 0..40),
            tail in 0..200u16,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let store = new_store(dir.path());
            let writer = store.writer(Waiting::Wait, &|| true).unwrap();
            let root = built(&writer, &old);
            writer.keep().unwrap();
            let writer = store.writer(Waiting::Wait, &|| true).unwrap();
            let mut changes: BTreeMap<u16, Option<i64>> = changes;
            changes.extend((3000..3000 + tail).map(|n| (n, Some(1))));
            let mut new = old.clone();
            let pages = Pages::new(&store, 16 << 20);
            let mut out = PageWriter::new(&writer);
            let mut editor = MapEditor::<Entry>::new(&pages, Some(root)).unwrap();
            for (n, change) in &changes {
                let before = editor.get(&mut out, &name(*n)).unwrap();
                prop_assert_eq!(before, old.get(n).map(|time| file(*n, *time)));
                match change {
                    Some(time) => {
                        editor.put(&mut out, file(*n, *time)).unwrap();
                        new.insert(*n, *time);
                    }
                    None => {
                        prop_assert_eq!(editor.remove(&mut out, &name(*n)).unwrap(), new.remove(n).is_some());
                    }
                }
            }
            let edited = editor.finish(&mut out).unwrap();
            out.flush().unwrap();
            prop_assert_eq!(edited, built(&writer, &new));
        }
    }

    /// One change among many reads and writes a page for each level and a few beside them.
    #[test]
    fn little_is_read_for_a_little_change() {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let writer = store.writer(Waiting::Wait, &|| true).unwrap();
        let files: Files = (0..60_000).filter(|n| n % 3 != 0).map(|n| (n, 0)).collect();
        let root = built(&writer, &files);
        writer.keep().unwrap();
        let writer = store.writer(Waiting::Wait, &|| true).unwrap();
        let pages = Pages::new(&store, 64 << 20);
        let mut out = PageWriter::new(&writer);
        let mut editor = MapEditor::<Entry>::new(&pages, Some(root)).unwrap();
        editor.put(&mut out, file(30_001, 9)).unwrap();
        let edited = editor.finish(&mut out).unwrap();
        out.flush().unwrap();
        assert!(pages.loaded() < 12, "{} pages were read", pages.loaded());
        assert!(writer.put_bytes().0 < 64 << 10, "{} bytes were written", writer.put_bytes().0);
        let new: Files = files.into_iter().map(|(n, time)| (n, if n == 30_001 { 9 } else { time })).collect();
        assert_eq!(edited, built(&writer, &new));
        writer.keep().unwrap();
        let pages = Pages::new(&store, 64 << 20);
        let mut lookup = Lookup::<Entry>::new(&pages, &edited.0, &edited.1).unwrap();
        for n in [1, 2, 30_001, 59_999] {
            let found = lookup.from(&name(n)).unwrap().unwrap();
            assert_eq!((found.name, found.mtime.seconds), (name(n), new[&n]));
        }
        assert_eq!(lookup.from(&name(60_000)).unwrap(), None);
    }

    #[test]
    fn lists_of_chunks_grow_at_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let chunk = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
            ChunkRef { id: ChunkId::from_bytes(id), len: n + 1 }
        };
        let build = |writer: &Writer, count: u32| {
            let mut out = PageWriter::new(writer);
            let mut map = MapBuilder::default();
            (0..count).for_each(|n| map.push(&mut out, chunk(n)).unwrap());
            let root = map.finish(&mut out).unwrap();
            out.flush().unwrap();
            root
        };
        for (old, new) in [(0, 1), (1, 2), (100, 5000), (5000, 5001), (5000, 9000)] {
            let writer = store.writer(Waiting::Wait, &|| true).unwrap();
            let root = build(&writer, old);
            writer.keep().unwrap();
            let writer = store.writer(Waiting::Wait, &|| true).unwrap();
            let pages = Pages::new(&store, 16 << 20);
            let mut out = PageWriter::new(&writer);
            let mut editor = MapEditor::<ChunkRef>::new(&pages, Some(root)).unwrap();
            (old..new).for_each(|n| editor.append(&mut out, chunk(n)).unwrap());
            let edited = editor.finish(&mut out).unwrap();
            out.flush().unwrap();
            assert_eq!(edited, build(&writer, new), "{old} {new}");
        }
    }
}
