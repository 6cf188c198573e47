//! From numbers and names to nodes.

use std::sync::Arc;

use crate::model::{Entry, LinkGroup, TreeRef};
use crate::store::StoreError;
use crate::tree::{Holding, Listing, Numbered, odd_name};

use super::roots::Root;
use super::{Node, NodeId, View, ViewError};

/// An entry of a folder.
#[derive(Debug)]
pub struct Child {
    /// The node. Of a group of hard links it is the same for all names.
    pub node: Arc<Node>,
    /// Its position in the folder, from 0.
    pub position: u64,
    name: Option<crate::model::Name>,
}

impl Child {
    /// Its name in this folder.
    #[must_use]
    pub fn name(&self) -> &crate::model::Name {
        self.name.as_ref().unwrap_or(&self.node.entry.name)
    }
}

/// A stream of the entries of a folder.
#[derive(Debug)]
pub struct Children {
    view: View,
    root: Arc<Root>,
    folder: NodeId,
    listing: Listing,
}

impl Children {
    /// The next entry.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn next(&mut self) -> Result<Option<Child>, ViewError> {
        let next = self.listing.next().inspect_err(|e| self.view.tell(self.folder, e))?;
        next.map(|found| self.view.child(&self.root, self.folder, found)).transpose()
    }
}

impl View {
    /// A node by its number.
    ///
    /// # Errors
    /// [`ViewError::Stale`] if there is none.
    pub fn node(&self, id: NodeId) -> Result<Arc<Node>, ViewError> {
        if let Some(node) = self.inner.nodes.get(&id) {
            return Ok(node);
        }
        if id.index() == 0 {
            let node = self.root_node(id)?;
            self.inner.nodes.insert(id, node.clone());
            return Ok(node);
        }
        let root = self.root_of(id)?;
        let tree = *root.entry.folder().ok_or(ViewError::Stale(id))?;
        let found = self.pages().by_number(&tree, id.index());
        let (found, parent) = found.inspect_err(|e| self.tell(id.root(), e))?.ok_or(ViewError::Stale(id))?;
        let parent = id.sibling(parent).ok_or(ViewError::Stale(id))?;
        Ok(self.child(&root, parent, found)?.node)
    }

    /// The position of a node in its folder, from 0.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn position(&self, id: NodeId) -> Result<u64, ViewError> {
        let root = self.root_of(id)?;
        let tree = *root.entry.folder().ok_or(ViewError::Stale(id))?;
        let found = self.pages().by_number(&tree, id.index())?;
        Ok(found.ok_or(ViewError::Stale(id))?.0.position)
    }

    /// The node of a name in a folder; nothing if there is none.
    ///
    /// # Errors
    /// If `folder` is not a folder or its pages cannot be loaded.
    pub fn lookup(&self, folder: NodeId, name: &[u8]) -> Result<Option<Arc<Node>>, ViewError> {
        let (root, tree) = self.folder(folder)?;
        let found = self.pages().lookup(&tree, folder.index(), name).inspect_err(|e| self.tell(folder, e))?;
        Ok(found.map(|found| self.child(&root, folder, found)).transpose()?.map(|child| child.node))
    }

    /// Lists a folder from the entry at `position` on.
    ///
    /// # Errors
    /// If `folder` is not a folder or its pages cannot be loaded.
    pub fn list(&self, folder: NodeId, position: u64) -> Result<Children, ViewError> {
        let (root, tree) = self.folder(folder)?;
        let listing = self.pages().list(&tree, folder.index(), position).inspect_err(|e| self.tell(folder, e))?;
        Ok(Children { view: self.clone(), root, folder, listing })
    }

    /// The path of a node from its root, joined by `/`.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn path(&self, id: NodeId) -> Result<Vec<u8>, ViewError> {
        let mut names = Vec::new();
        let mut at = id;
        while at.index() != 0 {
            let node = self.node(at)?;
            names.push(node.entry.name.as_bytes().to_vec());
            at = node.parent;
        }
        names.reverse();
        Ok(names.join(&b'/'))
    }

    fn folder(&self, id: NodeId) -> Result<(Arc<Root>, TreeRef), ViewError> {
        let node = self.node(id)?;
        let tree = *node.entry.folder().ok_or(ViewError::NotA { id, wanted: "folder" })?;
        Ok((self.root_of(id)?, tree))
    }

    /// Makes a node of what a page says, or takes the one that is known.
    fn child(&self, root: &Root, folder: NodeId, found: Numbered) -> Result<Child, ViewError> {
        let Numbered { entry, number, position } = found;
        let own = folder.sibling(number).ok_or(ViewError::Stale(folder))?;
        let (id, nlink) = match entry.link {
            None => (own, entry.folder().map_or(1, |tree| 2 + tree.counts.subdirs)),
            Some(group) => self.group(root, own, group, Holding::of(&entry)).unwrap_or_else(|e| {
                // The file itself is whole: only its other names are not known, or are none.
                self.tell(folder, &e);
                (own, 1)
            }),
        };
        if let Some(node) = self.inner.nodes.get(&id) {
            let name = (node.entry.name != entry.name).then_some(entry.name);
            return Ok(Child { node, position, name });
        }
        let node = Arc::new(Node { id, parent: folder, entry, nlink });
        self.inner.nodes.insert(id, node.clone());
        Ok(Child { node, position, name: None })
    }

    /// The number that all names of a group share, and how many names it has; for one of them, which holds this.
    fn group(&self, root: &Root, own: NodeId, group: LinkGroup, holding: Holding) -> Result<(NodeId, u64), StoreError> {
        let found: Result<_, StoreError> = self.inner.groups.get_or_insert_with(&(own.sequence(), group), || {
            let (names, first) = root.links.group(group)?;
            if names <= 1 {
                return Ok((own, 1, holding));
            }
            let wrong =
                || StoreError::damage(format!("the hard-link group {group}"), "its first path does not lead to it");
            let found = self.pages().resolve(&root.entry, &first)?.ok_or_else(wrong)?;
            let is_member = |entry: &Entry| entry.link == Some(group);
            let id = own.sibling(found.number).filter(|_| is_member(&found.entry)).ok_or_else(wrong)?;
            Ok((id, names, Holding::of(&found.entry)))
        });
        let (id, names, of_first) = found?;
        if of_first == holding { Ok((id, names)) } else { Err(odd_name(group)) }
    }
}
