//! The order of an inventory, and the names that are of one thing.

use std::collections::HashMap;

use crate::codec::digest;
use crate::model::Digest;
use crate::tree::covers;

use super::items::Understood;
use super::path::comes_before;

/// Sees to it that an inventory is in preorder, names nothing twice, and hangs together: each item is in a folder that came before, or is one of those that it begins with.
#[derive(Debug)]
pub(super) struct Order {
    /// Where it begins: at the root, or at each of its paths.
    starts: std::vec::IntoIter<Box<[u8]>>,
    /// The folders that the last item is in, itself too if it is one.
    open: Vec<Box<[u8]>>,
    last: Option<Box<[u8]>>,
}

impl Order {
    /// `starts`: of a pack of parts its paths.
    pub(super) fn new(starts: Option<Vec<Box<[u8]>>>) -> Self {
        Self { starts: starts.unwrap_or_else(|| vec![Box::default()]).into_iter(), open: Vec::new(), last: None }
    }

    /// Takes the next item.
    ///
    /// # Errors
    /// What is wrong with its place.
    pub(super) fn take(&mut self, path: &[u8], is_folder: bool) -> Result<(), &'static str> {
        if self.last.as_ref().is_some_and(|last| !comes_before(last, path)) {
            return Err("it stands in the inventory twice, or not where it belongs");
        }
        while self.open.pop_if(|folder| !covers(folder, path)).is_some() {}
        let above = path.iter().rposition(|b| *b == b'/').map_or(&path[..0], |end| &path[..end]);
        if self.open.last().is_none_or(|folder| **folder != *above || path.is_empty()) {
            let start = self.starts.next();
            if !self.open.is_empty() || start.is_none_or(|start| *start != *path) {
                return Err("the folder that it is in does not stand before it in the inventory");
            }
        }
        if is_folder {
            self.open.push(path.into());
        }
        self.last = Some(path.into());
        Ok(())
    }

    /// The next path that the inventory should have begun with, if it has not.
    pub(super) fn lacks(&mut self) -> Option<Box<[u8]>> {
        self.starts.next()
    }
}

/// What has or had further names, by half the hash of its path: 100 bytes of memory or so for each.
#[derive(Debug, Default)]
pub(super) struct Firsts(HashMap<[u8; 16], First>);

#[derive(Debug)]
struct First {
    /// Of what it is.
    content: Digest,
    /// The SHA-256 of a file, once it was read.
    sha256: Option<[u8; 32]>,
}

fn key(path: &[u8]) -> [u8; 16] {
    digest(path).as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Firsts {
    /// Takes note of an item; of a further name, compares it with the first.
    ///
    /// # Errors
    /// In what they contradict each other.
    pub(super) fn take(&mut self, item: &Understood) -> Result<(), &'static str> {
        match item.further_of() {
            None if !item.linked => {}
            None => _ = self.0.insert(key(&item.member.path), First { content: item.content(), sha256: None }),
            Some(first) => match self.0.get(&key(first)) {
                None => return Err("what it is a further name of does not stand before it"),
                Some(first) if first.content != item.content() => {
                    return Err("its content differs from that of the name that it is a further name of");
                }
                Some(_) => {}
            },
        }
        Ok(())
    }

    /// A first name was read.
    pub(super) fn was_read(&mut self, path: &[u8], sha256: [u8; 32]) {
        if let Some(first) = self.0.get_mut(&key(path)) {
            first.sha256 = Some(sha256);
        }
    }

    /// The SHA-256 of what stands at a path, if it was read.
    pub(super) fn sha256(&self, path: &[u8]) -> Option<[u8; 32]> {
        self.0.get(&key(path)).and_then(|first| first.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which item is refused, if any; or the path that is missing.
    fn wrong(starts: Option<&[&str]>, items: &[&str]) -> Option<String> {
        let starts = starts.map(|starts| starts.iter().map(|path| path.as_bytes().into()).collect());
        let mut order = Order::new(starts);
        for item in items {
            // What ends with a slash is a folder.
            let path = item.strip_suffix('/').unwrap_or(item);
            if order.take(path.as_bytes(), item.ends_with('/')).is_err() {
                return Some(path.to_owned());
            }
        }
        order.lacks().map(|path| String::from_utf8_lossy(&path).into_owned())
    }

    #[test]
    fn an_inventory_hangs_together() {
        let all = ["/", "a/", "a/b", "a/c/", "a!", "b"];
        assert_eq!(wrong(None, &all), None);
        let parts: &[&str] = &["a/c", "a!", "d"];
        assert_eq!(wrong(Some(parts), &["a/c/", "a/c/x", "a!", "d"]), None);
        for (starts, items, at) in [
            (None, &["a"][..], "a"),
            (None, &["/", "b", "a"], "a"),
            (None, &["/", "a", "a"], "a"),
            (None, &["/", "/"], ""),
            (None, &["/", "a/b"], "a/b"),
            (None, &["/", "a", "a/b"], "a/b"),
            (None, &["/", "a/", "b/", "a/c"], "a/c"),
            (None, &[], ""),
            (Some(parts), &["a/c/", "d"], "d"),
            (Some(parts), &["a/c/", "a!"], "d"),
            (Some(parts), &["a/c/", "a/d"], "a/d"),
            (Some(parts), &["/", "a/"], ""),
        ] {
            assert_eq!(wrong(starts, items).as_deref(), Some(at), "{items:?}");
        }
    }
}
