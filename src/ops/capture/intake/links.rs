//! Further names find what they are names of, wherever the two stand: both are sorted by it, and read side by side.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::archives::{Sorted, Sorter};
use crate::codec::{IdKeys, digest};
use crate::model::{Digest, Entry};
use crate::ops::capture::CaptureError;
use crate::ops::member_entry::{key_of, last_name};

use super::arrived::{Kept, Marks, refused};

/// Further names as they come. Memory: for each a hash, and once for all names of a file the path of what they are names of.
#[derive(Debug)]
pub(super) struct Names {
    sorter: Sorter,
    targets: HashMap<Digest, Arc<[u8]>>,
}

impl Names {
    pub(super) fn new(dir: &Path) -> Self {
        Self { sorter: Sorter::new(dir), targets: HashMap::new() }
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.sorter.is_empty()
    }

    /// True if a path is a further name, or has some.
    pub(super) fn knows(&self, path: &[u8]) -> bool {
        self.targets.contains_key(&digest(path))
    }

    /// Takes a further name of `target`. A name of a name is one of what that is a name of.
    pub(super) fn push(&mut self, path: &[u8], target: &[u8]) -> Result<(), CaptureError> {
        // The same text many times over is kept once.
        let known = self.targets.entry(digest(target)).or_insert_with(|| target.into());
        let target = known.clone();
        self.targets.insert(digest(path), target.clone());
        // By what it is a name of, then by itself.
        let key = [&key_of(&target)[..], &[0, 0], &key_of(path)].concat();
        let len = u32::try_from(target.len()).unwrap_or(u32::MAX);
        Ok(self.sorter.push(&key, &[&len.to_le_bytes()[..], &target, path].concat())?)
    }

    /// Gives each name what it is a name of, and tells each of those of its group. The outcome is sorted by path.
    pub(super) fn join(self, items: &Sorted, ids: &IdKeys, dir: &Path) -> Result<Sorted, CaptureError> {
        let names = self.sorter.sorted();
        let (mut names, mut items) = (names.read()?, items.read()?);
        let mut joined = Sorter::new(dir);
        while let Some((_, value)) = names.next()? {
            let (target, first) = parted(&value)?;
            let key = key_of(target);
            while items.peek()?.is_some_and(|(item, _)| *item < key) {
                items.next()?;
            }
            // Of several the last counts.
            let mut found = None;
            while items.peek()?.is_some_and(|(item, _)| *item == key) {
                found = items.next()?;
            }
            let Some(Kept::Entry(entry, _)) = found.and_then(|(_, kept)| Kept::from_bytes(&kept)) else {
                let why = format!("it is a further name of {}, which is not there", String::from_utf8_lossy(target));
                return Err(refused(first, why));
            };
            if entry.folder().is_some() {
                return Err(refused(first, "it is a further name of a folder"));
            }
            // The group is called by the first of all names.
            let group = ids.link_group(if key < key_of(first) { target } else { first });
            let mut add = |path: &[u8]| -> Result<(), CaptureError> {
                let name = last_name(path).map_err(|e| refused(path, e.to_string()))?;
                let entry = Entry { name, link: Some(group), ..(*entry).clone() };
                Ok(joined.push(&key_of(path), &Kept::bytes_of(&entry, Marks { linked: true, replaces: false }))?)
            };
            add(first)?;
            while let Some((_, next)) = names.peek()? {
                let (other, path) = parted(next)?;
                if other != target {
                    break;
                }
                add(path)?;
                names.next()?;
            }
            joined.push(&key, &Kept::Group(group).to_bytes())?;
        }
        Ok(joined.sorted())
    }
}

/// What a name is a name of, and the name's own path.
fn parted(value: &[u8]) -> std::io::Result<(&[u8], &[u8])> {
    let parted = value
        .split_first_chunk::<4>()
        .and_then(|(len, rest)| rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?));
    parted.ok_or_else(|| std::io::Error::other("a temporary file is cut short"))
}
