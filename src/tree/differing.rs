//! Sums over what differs between two trees, in steps that grow with the folders and not with the paths that lead to them: pages may be
//! shared, so that few of them are folders of more files than anybody can walk.

use std::collections::HashMap;

use crate::codec::digest;
use crate::model::{Entry, PageId};
use crate::store::StoreError;

use super::diff::{Pair, seen};
use super::pages::Pages;

/// What one difference counts: of what was there, and what is there.
pub type Count<'a> = &'a mut dyn FnMut(Option<&Entry>, Option<&Entry>) -> Result<u64, StoreError>;

/// Two folders, known by their pages.
type Key = [u8; 16];

/// Two folders that are being compared.
struct Open {
    key: Key,
    pair: Pair,
    sum: u64,
}

impl Pages {
    /// Sums up what `count` says of each difference that [`Pages::diff`] would tell but for those of the two entries themselves; nothing if more than `most`
    /// pairs of folders would have to be compared. Each two folders that meet are compared once. Memory: some bytes for each such pair.
    ///
    /// # Errors
    /// If a page cannot be loaded, or `count` fails.
    pub fn sum_differences(
        &self,
        old: &Entry,
        new: &Entry,
        most: usize,
        count: Count<'_>,
    ) -> Result<Option<u64>, StoreError> {
        let mut known = HashMap::<Key, u64>::new();
        let mut open: Vec<Open> = self.meeting(Some(old), Some(new))?.into_iter().collect();
        let mut whole = 0;
        while let Some(top) = open.last_mut() {
            let Some((old, new)) = top.pair.next()? else {
                let Some(done) = open.pop() else { break };
                if known.len() >= most {
                    return Ok(None);
                }
                known.insert(done.key, done.sum);
                let above = open.last_mut().map_or(&mut whole, |above| &mut above.sum);
                *above = above.saturating_add(done.sum);
                continue;
            };
            let (old, new) = (old.filter(seen), new.filter(seen));
            top.sum = top.sum.saturating_add(count(old.as_ref(), new.as_ref())?);
            let Some(key) = key_of(old.as_ref(), new.as_ref()) else { continue };
            if let Some(sum) = known.get(&key) {
                top.sum = top.sum.saturating_add(*sum);
            } else {
                open.extend(self.meeting(old.as_ref(), new.as_ref())?);
            }
        }
        Ok(Some(whole))
    }

    /// Two entries as folders to be compared; nothing if neither is one, or they hold the same.
    fn meeting(&self, old: Option<&Entry>, new: Option<&Entry>) -> Result<Option<Open>, StoreError> {
        let Some(key) = key_of(old, new) else { return Ok(None) };
        Ok(Some(Open { key, pair: Pair::open(self, Box::default(), old, new)?, sum: 0 }))
    }
}

/// What tells two folders that differ from any other two; nothing if there is nothing to be compared.
fn key_of(old: Option<&Entry>, new: Option<&Entry>) -> Option<Key> {
    let page = |entry: Option<&Entry>| entry.and_then(Entry::folder).map(|tree| tree.page);
    let (old, new) = (page(old), page(new));
    if old == new {
        return None;
    }
    let bytes = |page: &Option<PageId>| {
        page.map_or([0; 33], |page| {
            let mut bytes = [1; 33];
            bytes[1..].copy_from_slice(page.as_bytes());
            bytes
        })
    };
    let hash = digest(&[bytes(&old), bytes(&new)].concat());
    hash.as_bytes().first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, FileBody, TreeRef};
    use crate::store::{Store, Waiting};
    use crate::tree::samples::{entry, new_store};
    use crate::tree::{MapBuilder, PageWriter};

    fn folder(pages: &mut PageWriter, name: &str, items: Vec<Entry>) -> Entry {
        let mut map = MapBuilder::default();
        items.into_iter().for_each(|item| map.push(pages, item).unwrap());
        let (page, counts) = map.finish(pages).unwrap();
        entry(name.as_bytes(), Body::Folder(TreeRef { page, counts }))
    }

    fn file(name: &str, time: i64) -> Entry {
        let mut file = entry(name.as_bytes(), Body::File(FileBody::empty()));
        file.mtime.seconds = time;
        file
    }

    fn named(name: &str, of: &Entry) -> Entry {
        Entry { name: crate::model::Name::new(name.as_bytes()).unwrap(), ..of.clone() }
    }

    /// Folders in folders, all of one page at each level: ten to the power of so many files.
    fn bomb(pages: &mut PageWriter, levels: usize, time: i64) -> Entry {
        let names: Vec<_> = (0..10).map(|n| format!("{n}")).collect();
        let mut below = folder(pages, "x", names.iter().map(|name| file(name, time)).collect());
        for _ in 1..levels {
            let items = names.iter().map(|name| named(name, &below)).collect();
            below = folder(pages, "x", items);
        }
        below
    }

    fn stored(make: impl FnOnce(&mut PageWriter) -> (Entry, Entry)) -> (tempfile::TempDir, Store, (Entry, Entry)) {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let writer = store.writer(Waiting::Wait, &|| true).unwrap();
        let mut pages = PageWriter::new(&writer);
        let trees = make(&mut pages);
        pages.flush().unwrap();
        drop(pages);
        drop(writer);
        store.refresh().unwrap();
        (dir, store, trees)
    }

    /// Files of the old tree that are not the same in the new one.
    fn changed(store: &Store, (old, new): &(Entry, Entry), most: usize) -> Option<u64> {
        let mut count = |old: Option<&Entry>, new: Option<&Entry>| {
            Ok(u64::from(old.is_some_and(|old| old.file().is_some() && Some(old) != new)))
        };
        Pages::new(store, 16 << 20).sum_differences(old, new, most, &mut count).unwrap()
    }

    #[test]
    fn few_pages_of_many_files_are_compared_in_few_steps() {
        let (_dir, store, trees) = stored(|pages| (bomb(pages, 18, 0), bomb(pages, 18, 1)));
        assert_eq!(changed(&store, &trees, 18), Some(10_u64.pow(18)));
        assert_eq!(changed(&store, &trees, 17), None, "so many at most");
        let (_dir, store, trees) = stored(|pages| (bomb(pages, 12, 0), folder(pages, "x", Vec::new())));
        assert_eq!(changed(&store, &trees, 100), Some(10_u64.pow(12)), "all are gone");
        let back = (trees.1, trees.0);
        assert_eq!(changed(&store, &back, 100), Some(0), "all are new");
    }

    #[test]
    fn the_same_as_looking_at_every_difference() {
        let (_dir, store, trees) = stored(|pages| {
            let tree = |pages: &mut PageWriter, times: [i64; 3]| {
                let inner: Vec<_> = (0..200).map(|n| file(&format!("{n:03}"), times[n % 3])).collect();
                let a = folder(pages, "a", inner.clone());
                let other = folder(pages, "b", inner[..100].to_vec());
                let both = vec![a.clone(), other.clone(), file("c", times[1])];
                let twice = folder(pages, "twice", both);
                folder(pages, "x", vec![a, other, twice])
            };
            (tree(pages, [0, 1, 2]), tree(pages, [0, 1, 3]))
        });
        let pages = Pages::new(&store, 16 << 20);
        let (mut diff, mut count) = (pages.diff(b"", &trees.0, &trees.1).unwrap(), 0);
        while let Some(found) = diff.next().unwrap() {
            count += u64::from(found.old.is_some_and(|old| old.file().is_some()));
        }
        assert_eq!(changed(&store, &trees, 10), Some(count));
        assert!(count > 150, "{count}");
    }
}
