//! Which snapshots the kernel holds nodes of: those are leased, so that gc leaves them where they are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use fuser::INodeNo;

use crate::model::{Notice, Progress};
use crate::store::{Lease, StoreError};
use crate::view::{NodeId, View};

/// Counts, snapshot by snapshot, how often the kernel was told of a node and has not forgotten it.
pub(super) struct Held {
    view: View,
    snapshots: RwLock<HashMap<u64, Snapshot>>,
    progress: Arc<dyn Progress>,
    warned: AtomicBool,
}

#[derive(Default)]
struct Snapshot {
    told: AtomicU64,
    /// Once the snapshot was looked up, and not only listed; nothing in it where no lease could be had.
    lease: OnceLock<Option<Lease>>,
}

/// Nodes that the kernel is about to be told of in one answer.
pub(super) struct Batch<'a> {
    held: &'a Held,
    sequence: u64,
    count: u64,
}

impl Batch<'_> {
    pub(super) fn add(&mut self, ino: INodeNo) {
        let Some(id) = NodeId::from_raw(ino.0) else { return };
        if id.sequence() != self.sequence {
            self.tell();
            self.sequence = id.sequence();
        }
        self.count += 1;
    }

    /// Counts them.
    pub(super) fn tell(&mut self) {
        if self.count > 0 {
            self.held.count(self.sequence, self.count);
            self.count = 0;
        }
    }
}

impl Held {
    pub(super) fn new(view: View, progress: Arc<dyn Progress>) -> Self {
        Self { view, snapshots: RwLock::default(), progress, warned: AtomicBool::new(false) }
    }

    /// For the entries of a listing. They need no lease: of what is in a snapshot, the folder has been looked up; and to list
    /// snapshots is not to use them.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { held: self, sequence: 0, count: 0 }
    }

    /// The kernel is about to be told of a node that it looked up. False if its snapshot has been removed, or is being.
    pub(super) fn look_up(&self, sequence: u64) -> bool {
        self.count(sequence, 1);
        let is_leased = |snapshot: &Snapshot| snapshot.lease.get().is_some();
        if self.snapshots.read().unwrap_or_else(PoisonError::into_inner).get(&sequence).is_some_and(is_leased) {
            return true;
        }
        let lease = match self.view.store().lease(sequence) {
            Ok(lease) => Some(lease),
            Err(StoreError::Locked(_)) => {
                self.forget(sequence, 1);
                return false;
            }
            Err(e) => {
                self.warn(&e);
                None
            }
        };
        // It may have gone before it was leased.
        let _ = self.view.look_again();
        if self.view.catalog().by_sequence(sequence).is_none() {
            self.forget(sequence, 1);
            return false;
        }
        if let Some(snapshot) = self.snapshots.read().unwrap_or_else(PoisonError::into_inner).get(&sequence) {
            let _ = snapshot.lease.set(lease);
        }
        true
    }

    fn count(&self, sequence: u64, count: u64) {
        if let Some(snapshot) = self.snapshots.read().unwrap_or_else(PoisonError::into_inner).get(&sequence) {
            snapshot.told.fetch_add(count, Ordering::Relaxed);
            return;
        }
        let mut snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        snapshots.entry(sequence).or_default().told.fetch_add(count, Ordering::Relaxed);
    }

    /// The kernel has forgotten a node of a snapshot that it was told of `count` times.
    pub(super) fn forget(&self, sequence: u64, count: u64) {
        {
            let snapshots = self.snapshots.read().unwrap_or_else(PoisonError::into_inner);
            let Some(snapshot) = snapshots.get(&sequence) else { return };
            if snapshot.told.fetch_sub(count, Ordering::Relaxed) != count {
                return;
            }
        }
        let mut snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have come back to it.
        if snapshots.get(&sequence).is_some_and(|snapshot| snapshot.told.load(Ordering::Relaxed) == 0) {
            snapshots.remove(&sequence);
        }
    }

    /// How many snapshots are held and leased.
    pub(super) fn len(&self) -> usize {
        let snapshots = self.snapshots.read().unwrap_or_else(PoisonError::into_inner);
        snapshots.values().filter(|snapshot| snapshot.lease.get().is_some()).count()
    }

    fn warn(&self, error: &StoreError) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            self.progress.notice(Notice::Remark(format!(
                "snapshots in use cannot be leased: should gc remove one, its readers get errors: {error}"
            )));
        }
    }
}
