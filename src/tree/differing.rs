//! Sums over what differs between two trees, in steps that grow with the folders and not with the paths that lead to them: pages may be
//! shared, so that few of them are folders of more files than anybody can walk.

use std::collections::HashMap;

use crate::model::Entry;
use crate::store::StoreError;

use super::diff::{Pair, is_worth_it, key_of, seen};
use super::pages::{Pages, let_go};

/// What one difference counts: of what was there, and what is there.
pub type Count<'a, S> = &'a mut dyn FnMut(Option<&Entry>, Option<&Entry>) -> Result<S, StoreError>;

/// What is summed up.
pub trait Sum: Clone + Default {
    /// Adds another; it stops at the greatest number.
    fn add(&mut self, other: &Self);
}

impl Sum for u64 {
    fn add(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }
}

/// Two folders, known by their pages.
type Key = [u8; 16];

/// Two folders that are being compared.
struct Open<S> {
    /// What they are remembered by.
    key: Option<Key>,
    pair: Pair,
    sum: S,
}

impl Pages {
    /// Sums up what `count` says of each difference that [`Pages::diff`] would tell but for those of the two entries themselves; nothing if more than `most`
    /// pairs of folders would have to be remembered. Each two folders that meet are compared once, but for small ones. Memory: some bytes for each such pair.
    ///
    /// # Errors
    /// If a page cannot be loaded, or `count` fails.
    pub fn sum_differences<S: Sum>(
        &self,
        old: &Entry,
        new: &Entry,
        most: usize,
        count: Count<'_, S>,
    ) -> Result<Option<S>, StoreError> {
        let mut known = HashMap::<Key, S>::new();
        let mut open: Vec<Open<S>> = self.meeting(Some(old), Some(new))?.into_iter().collect();
        let mut whole = S::default();
        while let Some(top) = open.last_mut() {
            let Some((old, new)) = top.pair.next()? else {
                let Some(done) = open.pop() else { break };
                open.last_mut().map_or(&mut whole, |above| &mut above.sum).add(&done.sum);
                if let Some(key) = done.key {
                    if known.len() >= most {
                        return Ok(None);
                    }
                    known.insert(key, done.sum);
                }
                continue;
            };
            let (old, new) = (old.filter(seen), new.filter(seen));
            top.sum.add(&count(old.as_ref(), new.as_ref())?);
            let Some(key) = key_of(old.as_ref(), new.as_ref(), &[]) else { continue };
            if let Some(sum) = known.get(&key) {
                top.sum.add(sum);
            } else {
                let below = self.meeting(old.as_ref(), new.as_ref())?;
                let_go(&mut open, |above| above.pair.sleep());
                open.extend(below);
            }
        }
        Ok(Some(whole))
    }

    /// Two entries as folders to be compared; nothing if neither is one, or they hold the same.
    fn meeting<S: Sum>(&self, old: Option<&Entry>, new: Option<&Entry>) -> Result<Option<Open<S>>, StoreError> {
        let Some(key) = key_of(old, new, &[]) else { return Ok(None) };
        let key = Some(key).filter(|_| is_worth_it(old, new));
        Ok(Some(Open { key, pair: Pair::open(self, old, new)?, sum: S::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, FileBody};
    use crate::store::Store;
    use crate::tree::PageWriter;
    use crate::tree::samples::{bomb, entry, folder, stored};

    fn file(name: &str, time: i64) -> Entry {
        let mut file = entry(name.as_bytes(), Body::File(FileBody::empty()));
        file.mtime.seconds = time;
        file
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
        assert_eq!(changed(&store, &trees, 16), None, "so many at most");
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
