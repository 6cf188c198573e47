//! One read-only file system over the trees of a store: look up, list, read at an offset. It knows nothing of FUSE.
//!
//! A [`View`] numbers every node of every snapshot with 64 bits that need no table ([`NodeId`]), and keeps what it used last
//! within a memory budget. Decoded blocks are kept by the store, decoded pages by [`Pages`](crate::tree::Pages), nodes here.

mod ahead;
mod browse;
mod catalog;
mod error;
mod node;
mod number;
mod read;
mod roots;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::model::{LinkGroup, Notice, Progress};
use crate::store::{Store, StoreError};
use crate::tree::{Holding, Pages};

pub use browse::{Child, Children};
pub use catalog::{Catalog, CatalogRow};
pub use error::ViewError;
pub use node::{Attr, Kind, Node};
pub use number::NodeId;
pub use roots::Space;

use ahead::Ahead;
use roots::Root;

/// Snapshots whose manifests are kept.
const ROOTS: usize = 256;
/// Groups of hard links whose first name's number is kept.
const GROUPS: usize = 16_384;
/// Messages that are not repeated.
const TOLD: usize = 1_024;

/// A read-only file system over the snapshots of a store. Cheap to share; used from any number of threads.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    pages: Pages,
    nodes: Cache<NodeId, Arc<Node>, ByBytes>,
    roots: Cache<u64, Arc<Root>>,
    groups: Cache<(u64, LinkGroup), (NodeId, u64, Holding)>,
    told: Cache<(NodeId, String), ()>,
    catalog: RwLock<Arc<Catalog>>,
    refreshing: Mutex<()>,
    ahead: Ahead,
    progress: Arc<dyn Progress>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<NodeId, Arc<Node>> for ByBytes {
    fn weight(&self, _: &NodeId, node: &Arc<Node>) -> u64 {
        node.weight()
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({})", self.inner.store.dir().display())
    }
}

impl View {
    /// A view of a store. `budget`: bytes that pages and nodes may take together; the store has its own for blocks.
    ///
    /// What is damaged is told through `progress`, once for each node and object.
    ///
    /// # Errors
    /// If the arrival log cannot be read.
    pub fn new(store: &Store, budget: u64, progress: Arc<dyn Progress>) -> Result<Self, StoreError> {
        let for_nodes = budget / 4;
        let catalog = Catalog::read(store, None)?;
        let inner = Inner {
            store: store.clone(),
            pages: Pages::new(store, budget - for_nodes),
            nodes: Cache::with_weighter(usize::try_from(for_nodes / 512).unwrap_or(4096).max(64), for_nodes, ByBytes),
            roots: Cache::new(ROOTS),
            groups: Cache::new(GROUPS),
            told: Cache::new(TOLD),
            catalog: RwLock::new(Arc::new(catalog)),
            refreshing: Mutex::new(()),
            ahead: Ahead::default(),
            progress,
        };
        let view = Self { inner: Arc::new(inner) };
        view.tell_damage(&view.catalog());
        Ok(view)
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Its pages.
    #[must_use]
    pub fn pages(&self) -> &Pages {
        &self.inner.pages
    }

    /// Bytes of decoded blocks, pages and nodes that are kept.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.store().cached_bytes() + self.pages().cached_bytes() + self.inner.nodes.weight()
    }

    /// The snapshots as they were when it was last looked.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether a writer has been at work, and if so at the store afresh. True if the catalog is another one now.
    ///
    /// # Errors
    /// If the store cannot be opened again; the old view of it stays in use.
    pub fn look_again(&self) -> Result<bool, StoreError> {
        // One thread is enough; the others find the work done.
        let _one = self.inner.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.catalog();
        // Taken first: what is written from here on shows as a change the next time.
        let mark = self.inner.store.change_mark();
        if mark.is_some() && mark.as_ref() == before.mark() {
            return Ok(false);
        }
        self.inner.store.refresh()?;
        let after = Arc::new(Catalog::read(&self.inner.store, mark)?);
        let changed = *before != *after;
        if before.damage() != after.damage() {
            self.tell_damage(&after);
        }
        *self.inner.catalog.write().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(changed)
    }

    /// Tells what keeps lists of snapshots and datasets from being whole.
    fn tell_damage(&self, catalog: &Catalog) {
        for (path, why) in catalog.damage() {
            if let Some(why) = why {
                self.inner.progress.notice(Notice::Unreadable { path: path.to_owned(), why: why.to_owned() });
            }
        }
    }

    /// Tells of damage that was met at a node, once.
    fn tell(&self, id: NodeId, error: &StoreError) {
        let why = error.to_string();
        if self.inner.told.get(&(id, why.clone())).is_some() {
            return;
        }
        self.inner.told.insert((id, why.clone()), ());
        self.inner.progress.notice(Notice::Unreadable { path: self.describe(id), why });
    }

    /// Snapshot and path of a node, for messages.
    fn describe(&self, id: NodeId) -> String {
        let snapshot = self.catalog().by_sequence(id.sequence()).map_or_else(
            || format!("the snapshot with sequence {}", id.sequence()),
            |row| crate::store::snapshot_label(row.id),
        );
        match self.path(id) {
            Ok(path) if path.is_empty() => snapshot,
            Ok(path) => format!("{snapshot}: {}", String::from_utf8_lossy(&path)),
            Err(_) => format!("{snapshot}: node {}", id.index()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
