//! What went by, as far as it is kept.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::item::Item;
use super::rows::Rows;

/// A file that went by.
#[derive(Debug)]
pub(super) struct File {
    pub(super) size: u64,
    /// Where it can be a bundle's.
    pub(super) sha256: Option<String>,
    pub(super) held: Held,
}

/// What is kept of a file.
#[derive(Debug)]
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// All of it.
    Whole(Vec<u8>),
    /// What it says as an evidence item, or why it is none.
    Item(Result<Box<Item>, String>),
    /// The rows that it holds; nothing if they cannot be compared with others; or why there are none.
    Rows(Result<Option<Rows>, String>),
    /// That it is a JSON object, or why it is none.
    Object(Result<(), String>),
}

/// All members, by their paths.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) files: BTreeMap<Box<[u8]>, File>,
    /// Folders and what stands for each kind of member that is neither.
    pub(super) folders: Vec<Box<[u8]>>,
    pub(super) others: Vec<(Box<[u8]>, &'static str)>,
}

impl Members {
    /// A file below a folder, which ends with a slash or is empty.
    pub(super) fn file(&self, root: &[u8], name: &str) -> Option<&File> {
        self.files.get([root, name.as_bytes()].concat().as_slice())
    }

    /// The files below a folder, by their names from there.
    pub(super) fn below<'a>(&'a self, folder: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a File)> {
        let from = self.files.range::<[u8], _>((Bound::Included(folder), Bound::Unbounded));
        from.map_while(move |(path, file)| Some((path.strip_prefix(folder)?, file)))
    }

    /// The files that are not below a folder.
    pub(super) fn outside<'a>(&'a self, folder: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.files.keys().map(|path| &**path).filter(move |path| !path.starts_with(folder))
    }
}
