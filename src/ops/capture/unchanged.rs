//! Whether a capture came to what the dataset's newest snapshot has already.

use crate::model::{Entry, LinksRef, Manifest, Name, SnapshotId, Statistics};
use crate::store::Writer;
use crate::tree::Pages;

/// Bytes that decoded pages may take.
const PAGE_BUDGET: u64 = 1 << 20;

/// The dataset's newest snapshot.
pub(super) struct Newest {
    pub(super) id: SnapshotId,
    pub(super) manifest: Manifest,
    /// The only file of a snapshot of a stream.
    file: Option<Entry>,
}

impl Newest {
    /// With what is needed to compare.
    pub(super) fn new(writer: &Writer, (id, manifest): (SnapshotId, Manifest)) -> Self {
        let file = if manifest.sources.is_empty() { only_file(writer, &manifest) } else { None };
        Self { id, manifest, file }
    }

    /// The file of this name, if it is the only one in a snapshot of a stream.
    pub(super) fn file(&self, name: &Name) -> Option<&Entry> {
        self.file.as_ref().filter(|file| file.name == *name)
    }

    /// True if the snapshot has this tree, and neither it nor the capture lacks anything.
    pub(super) fn equals(&self, root: &Entry, links: Option<&LinksRef>, statistics: &Statistics) -> bool {
        let whole = |s: &Statistics| s.unreadable == 0 && s.changed == 0;
        let before = &self.manifest;
        // The root of a stream is of no host: its time says when it was captured.
        let root_before =
            if self.file.is_some() { &Entry { mtime: root.mtime, ..before.root.clone() } } else { &before.root };
        root == root_before && links == before.links.as_ref() && whole(statistics) && whole(&before.statistics)
    }
}

fn only_file(writer: &Writer, manifest: &Manifest) -> Option<Entry> {
    let tree = manifest.root.folder().filter(|tree| tree.counts.total == 1)?;
    let pages = Pages::new(writer.store(), PAGE_BUDGET);
    pages.items::<Entry>(&tree.page, &tree.counts).ok()?.next().ok().flatten()
}
