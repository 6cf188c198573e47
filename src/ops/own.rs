//! Folders of Larder's own that are no part of what it captures, unless they are what is asked for.

use std::fs::File;

use crate::store::Store;

use super::source::{self, Meta};

/// The store, and where this client keeps what it knows: that changes with each capture.
#[derive(Debug)]
pub(super) struct OwnFolders(Vec<(Inode, &'static str)>);

/// Device and inode number.
type Inode = ((u32, u32), u64);

impl OwnFolders {
    pub(super) fn of(store: &Store) -> Self {
        let dirs = store.client_dirs();
        let all = [
            (store.dir(), "it is the store itself"),
            (&dirs.cache, "it is Larder's cache"),
            (&dirs.state, "it is Larder's memory of stores"),
        ];
        let identity = |path| File::open(path).ok().and_then(|f| source::identity(&f));
        Self(all.into_iter().filter_map(|(path, why)| Some((identity(path)?, why))).collect())
    }

    /// Why something is not captured, if it is one of them.
    pub(super) fn why(&self, meta: &Meta) -> Option<&'static str> {
        self.0.iter().find(|(inode, _)| *inode == (meta.dev, meta.ino)).map(|(_, why)| *why)
    }
}
