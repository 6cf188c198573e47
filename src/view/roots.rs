//! Snapshots as roots of a view.

use std::sync::Arc;

use crate::model::{Entry, SnapshotId};
use crate::tree::Links;

use super::{Node, NodeId, View, ViewError};

/// A snapshot in use.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) entry: Entry,
    pub(super) links: Links,
}

/// How much there is, for `statfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes.
    pub bytes: u64,
    /// Nodes.
    pub nodes: u64,
}

impl View {
    /// The root of a snapshot.
    ///
    /// # Errors
    /// If its manifest cannot be read.
    pub fn open(&self, id: &SnapshotId) -> Result<NodeId, ViewError> {
        let manifest = self.store().manifest(id)?;
        let too_many =
            || crate::store::StoreError::Refused("the store has more snapshots than can be numbered".to_owned());
        let root = NodeId::new(manifest.sequence, 0).ok_or_else(too_many)?;
        let links = Links::new(self.pages(), manifest.links);
        self.inner.roots.insert(manifest.sequence, Arc::new(Root { entry: manifest.root, links }));
        Ok(root)
    }

    /// The root that a node is below.
    pub(super) fn root_of(&self, node: NodeId) -> Result<Arc<Root>, ViewError> {
        let sequence = node.sequence();
        if let Some(root) = self.inner.roots.get(&sequence) {
            return Ok(root);
        }
        let mut id = self.catalog().by_sequence(sequence).map(|row| row.id);
        if id.is_none() && self.look_again()? {
            id = self.catalog().by_sequence(sequence).map(|row| row.id);
        }
        let opened = self.open(&id.ok_or(ViewError::Stale(node))?).inspect_err(|e| {
            if let ViewError::Store(e) = e {
                self.tell(node.root(), e);
            }
        })?;
        self.inner.roots.get(&opened.sequence()).ok_or(ViewError::Stale(node))
    }

    /// The node of a root.
    pub(super) fn root_node(&self, id: NodeId) -> Result<Arc<Node>, ViewError> {
        let entry = self.root_of(id)?.entry.clone();
        let nlink = 2 + entry.folder().map_or(0, |tree| tree.counts.subdirs);
        Ok(Arc::new(Node { id, parent: id, entry, nlink }))
    }

    /// How much a snapshot holds: sizes of files, number of nodes.
    ///
    /// # Errors
    /// If its manifest cannot be read.
    pub fn space_of(&self, id: NodeId) -> Result<Space, ViewError> {
        let counts = self.root_of(id)?.entry.folder().map(|tree| tree.counts).unwrap_or_default();
        Ok(Space { bytes: counts.bytes, nodes: counts.total + 1 })
    }

    /// How much the store takes on disk, and how many snapshots it has.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn space(&self) -> Result<Space, ViewError> {
        let (data, tree, rest) = self.store().disk_bytes()?;
        Ok(Space { bytes: data + tree + rest, nodes: self.catalog().rows().len() as u64 })
    }
}
