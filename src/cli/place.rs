//! `SNAP[:PATH]`: a snapshot, and something in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::model::{Entry, Kind, Manifest, SnapshotId};
use crate::snapshots::{SnapshotName, resolve};
use crate::store::Store;
use crate::tree::Pages;

use super::context;
use super::error::CliError;
use super::output::{counted, short_id};

/// What the user wrote.
#[derive(Debug, Clone)]
pub(super) struct Place {
    name: SnapshotName,
    path: Vec<u8>,
}

impl Place {
    /// Splits name and path.
    pub(super) fn parse(text: &OsStr) -> Result<Self, CliError> {
        let (name, path) = SnapshotName::with_path(text.as_bytes())?;
        Ok(Self { name, path: path.to_owned() })
    }

    /// What the snapshot was called.
    pub(super) fn name(&self) -> &SnapshotName {
        &self.name
    }

    /// True if it is a snapshot itself, nothing in it.
    pub(super) fn is_whole(&self) -> bool {
        self.clean_path().is_empty()
    }

    /// Finds it.
    pub(super) fn find(&self, store: &Store) -> Result<Found, CliError> {
        let id = resolve(store, &self.name, context::now())?;
        let manifest = store.manifest(&id)?;
        let pages = context::pages(store);
        let entry = if self.path.is_empty() {
            Some(manifest.root.clone())
        } else {
            pages.resolve(&manifest.root, &self.path)?.map(|n| n.entry)
        };
        let shown = String::from_utf8_lossy(&self.path).into_owned();
        let entry = entry.ok_or_else(|| {
            CliError::new(Kind::NotFound, format!("there is no {shown} in snapshot {}", short_id(id)))
                .hint("`larder ls SNAP` shows what there is")
        })?;
        Ok(Found { id, manifest, pages, entry, path: self.clean_path() })
    }

    /// The path from the root without empty names and dots.
    fn clean_path(&self) -> Vec<u8> {
        let names: Vec<_> = self.path.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".").collect();
        names.join(&b'/')
    }
}

/// Something found in a snapshot.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: SnapshotId,
    pub(super) manifest: Manifest,
    pub(super) pages: Pages,
    pub(super) entry: Entry,
    pub(super) path: Vec<u8>,
}

impl Found {
    /// What to tell of a snapshot in which something is missing that could not be read.
    pub(super) fn lacking(&self) -> Option<String> {
        let lacks = self.manifest.statistics.unreadable;
        (lacks > 0).then(|| {
            let items = counted(lacks, "item", "items");
            format!("snapshot {} lacks {items} that could not be read", short_id(self.id))
        })
    }

    /// How many items and bytes there are from here down.
    pub(super) fn extent(&self) -> (u64, u64) {
        match self.entry.folder() {
            Some(tree) => (tree.counts.total, tree.counts.bytes),
            None => (1, self.entry.size()),
        }
    }
}
