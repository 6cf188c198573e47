//! What goes into a pack: of one or more snapshots the whole tree or some of its paths.

use crate::format::sums_fit;
use crate::model::{Entry, Manifest, Reference, SnapshotId};
use crate::store::StoreError;
use crate::tree::{Flow, Links, Pages, covers};

use super::error::PackError;
use super::manifest::{SnapshotInfo, Text};
use super::name::pack_name;

/// A snapshot, and what of it is packed.
#[derive(Debug)]
pub struct Subject {
    pub(super) pages: Pages,
    pub(super) id: SnapshotId,
    pub(super) manifest: Manifest,
    /// Entries and their paths from the root, in preorder, none in another.
    pub(super) starts: Vec<(Box<[u8]>, Entry)>,
    /// Views are packed too.
    pub(super) views: bool,
}

impl Subject {
    /// What stands at these paths, which are in the snapshot; the root's is empty.
    #[must_use]
    pub fn new(pages: &Pages, id: SnapshotId, manifest: &Manifest, starts: Vec<(Box<[u8]>, Entry)>) -> Self {
        Self { pages: pages.clone(), id, manifest: manifest.clone(), starts: apart(starts), views: false }
    }

    /// Views too, which are left out otherwise. For bare packs: a manifest counts what a snapshot counts, and that is without them.
    #[must_use]
    pub fn with_views(self) -> Self {
        Self { views: true, ..self }
    }

    /// Looks whether the snapshot's sums are those of its tree: a pack with them would not be what it says.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self) -> Result<(), PackError> {
        if self.views || !self.is_whole() || sums_fit(&self.manifest) {
            return Ok(());
        }
        let source = StoreError::damage("the manifest", "its sums are not those of its tree");
        Err(PackError::Content { path: self.name(), source })
    }

    /// Which snapshot it is.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The name of its folder in a pack.
    #[must_use]
    pub fn name(&self) -> String {
        pack_name(&self.id.to_string(), &self.manifest.dataset.to_string(), self.manifest.arrival)
    }

    /// True if the whole snapshot is packed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.starts.iter().any(|(path, _)| path.is_empty())
    }

    /// How many items and bytes there are.
    #[must_use]
    pub fn extent(&self) -> (u64, u64) {
        self.starts.iter().fold((0, 0), |(items, bytes), (_, entry)| {
            let (more_items, more_bytes) =
                entry.folder().map_or((0, entry.size()), |tree| (tree.counts.total, tree.counts.bytes));
            (items + 1 + more_items, bytes.saturating_add(more_bytes))
        })
    }

    /// Things outside the store that the snapshot speaks of.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        &self.manifest.references
    }

    /// A walk over what is packed.
    pub(super) fn flow(&self) -> Flow {
        let flow = Flow::new(&self.pages, self.starts.clone()).with_links(Links::new(&self.pages, self.manifest.links));
        if self.views { flow.with_views() } else { flow }
    }

    pub(super) fn info(&self) -> SnapshotInfo {
        SnapshotInfo::new(self.id, &self.manifest)
    }

    /// The paths, if it is not the whole snapshot.
    pub(super) fn paths(&self) -> Option<Vec<Text>> {
        (!self.is_whole()).then(|| self.starts.iter().map(|(path, _)| Text::new(path)).collect())
    }
}

/// In preorder, without those that are in another: a name is in an archive once.
fn apart(mut starts: Vec<(Box<[u8]>, Entry)>) -> Vec<(Box<[u8]>, Entry)> {
    starts.sort_by(|(a, _), (b, _)| names(a).cmp(names(b)));
    let mut kept: Vec<(Box<[u8]>, Entry)> = Vec::new();
    for (path, entry) in starts {
        // Whatever is in a folder comes right behind it.
        if kept.last().is_none_or(|(above, _)| !covers(above, &path)) {
            kept.push((path, entry));
        }
    }
    kept
}

/// The names of a path; the root has none.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bits, Body, Name, Timestamp, Xattrs};

    fn entry() -> Entry {
        Entry {
            name: Name::root(),
            bits: Bits(0),
            mode: 0,
            uid: 0,
            gid: 0,
            user: Box::default(),
            group: Box::default(),
            mtime: Timestamp::EPOCH,
            btime: None,
            xattrs: Xattrs::None,
            link: None,
            body: Body::Fifo,
            ext: Vec::new(),
        }
    }

    #[test]
    fn paths_are_in_preorder_and_none_is_in_another() {
        for (given, kept) in [
            (&["b", "a"][..], &["a", "b"][..]),
            (&["a/b", "a", "a"], &["a"]),
            (&["a.b", "a/c", "a/c/d", "a0"], &["a/c", "a.b", "a0"]),
            (&["x", ""], &[""]),
            (&["a/b", "a!"], &["a/b", "a!"]),
            (&["ab", "a"], &["a", "ab"]),
        ] {
            let starts = given.iter().map(|path| (path.as_bytes().into(), entry())).collect();
            let found: Vec<_> =
                apart(starts).into_iter().map(|(path, _)| String::from_utf8_lossy(&path).into_owned()).collect();
            assert_eq!(found, kept);
        }
    }
}
