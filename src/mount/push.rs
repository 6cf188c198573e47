//! Small files pushed into the kernel's page cache before they are asked for.
//!
//! Who walks a tree and reads its small files asks for one after the other, and two task switches for each cost more than reading it
//! does. So once reads are seen to follow each other, the next files of the folder are pushed (`FUSE_NOTIFY_STORE`), a batch at a
//! time, and so are the first ones of each folder that the walk lists next. The kernel does not tell whether it used them. Therefore one
//! file of a batch is left out: the request for it says that the walk goes on, and calls for the next batch.
//!
//! A thread that pushes may have to wait until another has answered a request of the kernel for the same page (never push from within
//! a request that is not answered yet): so only some threads may push at a time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fuser::{INodeNo, Notifier};

use crate::view::{NodeId, View, ViewError};

/// Longer files the kernel reads ahead by itself.
const SMALL: u64 = 128 << 10;
/// Files in the first batch of a walk and in the largest; each is twice as long as the one before.
const BATCH: (u64, u64) = (8, 64);
/// Bytes in a batch.
const BYTES: u64 = 1 << 20;
/// Entries of a folder that are looked at for a batch.
const LOOKED_AT: u64 = 1024;
/// Reads that follow each other before anything is pushed.
const RUN: u32 = 2;
/// Nodes between two reads of a walk, once it is one: folders, symlinks, files without content or not wanted.
const GAP: u64 = 256;
/// The same before; and by so many nodes several readers of one walk overtake each other.
const SLACK: u64 = 32;
/// Folders whose first files are pushed though nothing was asked for since.
const CREDIT: u32 = 32;
/// Walks, and folders of each, that are kept in mind.
const WALKS: usize = 16;
const FOLDERS: usize = 64;
/// After this time the kernel may have given up what was pushed.
const KEPT: Duration = Duration::from_secs(10);

thread_local! {
    /// A file's bytes on their way.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A folder that a walk is in.
#[derive(Debug, Clone, Copy)]
struct Folder {
    id: NodeId,
    /// Position of the first entry that was not looked at yet; nothing while a batch is under way.
    next: Option<u64>,
    since: Instant,
}

/// Reads of small files of one snapshot.
#[derive(Debug)]
struct Walk {
    /// What was read or pushed last.
    last: NodeId,
    /// Reads that followed each other.
    run: u32,
    batch: u64,
    credit: u32,
    folders: VecDeque<Folder>,
}

/// What is to be pushed next.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    folder: NodeId,
    from: u64,
    files: u64,
}

impl Walk {
    fn new(first: NodeId) -> Self {
        Self { last: first, run: 0, batch: BATCH.0, credit: CREDIT, folders: VecDeque::new() }
    }

    /// True if a node is where this walk may come to next.
    fn reaches(&self, id: NodeId, folder: NodeId) -> bool {
        let gap = if self.run < RUN { SLACK } else { GAP };
        let near = id.raw().saturating_add(SLACK) >= self.last.raw() && id.raw() <= self.last.raw().saturating_add(gap);
        near || self.folders.iter().any(|known| known.id == folder)
    }

    /// Takes note of a read.
    fn follow(&mut self, id: NodeId, folder: NodeId) {
        if self.reaches(id, folder) {
            self.run = self.run.saturating_add(1);
            self.credit = CREDIT;
        } else {
            (self.run, self.batch) = (0, BATCH.0);
        }
        self.last = id;
    }

    /// Begins the next batch of a folder; nothing if there is to be none.
    fn begin(&mut self, folder: NodeId, from: u64) -> Option<Batch> {
        if self.run < RUN {
            return None;
        }
        let at = self.folders.iter().rposition(|known| known.id == folder);
        let known = at.and_then(|at| self.folders.remove(at)).filter(|known| known.since.elapsed() < KEPT);
        let known = known.unwrap_or_else(|| Folder { id: folder, next: Some(0), since: Instant::now() });
        if self.folders.len() == FOLDERS {
            self.folders.pop_front();
        }
        self.folders.push_back(Folder { next: None, ..known });
        let batch = Batch { folder, from: from.max(known.next?), files: self.batch };
        self.batch = (self.batch * 2).min(BATCH.1);
        Some(batch)
    }

    /// A batch has been pushed, up to before `next` and to the node `last`.
    fn end(&mut self, folder: NodeId, next: u64, last: NodeId) {
        if let Some(known) = self.folders.iter_mut().rev().find(|known| known.id == folder) {
            (known.next, known.since) = (Some(next), Instant::now());
        }
        self.last = self.last.max(last);
    }
}

/// The right to push, for one of so many at a time.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(pushing: &'a AtomicUsize, most: usize) -> Option<Self> {
        let turn = Self(pushing);
        (pushing.fetch_add(1, Ordering::Relaxed) < most).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Pushes files ahead of walks.
pub(super) struct Pushes {
    notifier: OnceLock<Notifier>,
    walks: Mutex<VecDeque<Walk>>,
    /// Threads that may push at a time, and that do.
    most: usize,
    pushing: AtomicUsize,
    pushed: AtomicU64,
}

impl Pushes {
    /// For so many threads that take requests.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            notifier: OnceLock::new(),
            walks: Mutex::default(),
            most: (threads / 2).max(1),
            pushing: AtomicUsize::new(0),
            pushed: AtomicU64::new(0),
        }
    }

    /// From here on files are pushed, by this way.
    pub(super) fn begin(&self, notifier: Notifier) {
        let _ = self.notifier.set(notifier);
    }

    /// How many files were pushed.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    /// Does something with the walk over a snapshot that a node is of.
    fn with<T>(&self, id: NodeId, work: impl FnOnce(&mut Walk) -> T) -> T {
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = walks.iter().rposition(|walk| walk.last.sequence() == id.sequence());
        if at.is_none() && walks.len() == WALKS {
            walks.pop_front();
        }
        // The one used last stands at the end.
        let mut walk = at.and_then(|at| walks.remove(at)).unwrap_or_else(|| Walk::new(id));
        let done = work(&mut walk);
        walks.push_back(walk);
        done
    }

    /// A file was asked for from its start, and the answer given.
    pub(super) fn read(&self, view: &View, id: NodeId) {
        let Ok(node) = view.node(id) else { return };
        if node.entry().file().is_none_or(|file| file.size > SMALL) {
            return;
        }
        self.with(id, |walk| walk.follow(id, node.parent()));
        // A failure shows where the file itself is read. The one behind it is asked for before it could be pushed.
        self.push(node.parent(), view, || view.position(id).ok().map(|position| position + 2));
    }

    /// A folder was listed to its end, and the answer given.
    pub(super) fn listed(&self, view: &View, folder: NodeId) {
        let is_next = self.with(folder, |walk| {
            let is_next = walk.credit > 0 && walk.reaches(folder, folder);
            walk.credit = walk.credit.saturating_sub(1);
            is_next
        });
        if is_next {
            self.push(folder, view, || Some(0));
        }
    }

    /// Pushes the next files of a folder, from a position on.
    fn push(&self, folder: NodeId, view: &View, from: impl FnOnce() -> Option<u64>) {
        let Some(notifier) = self.notifier.get() else { return };
        if let Some(_turn) = Turn::take(&self.pushing, self.most)
            && let Some(from) = from()
            && let Some(batch) = self.with(folder, |walk| walk.begin(folder, from))
        {
            let (mut next, mut last) = (batch.from, folder);
            let _ = self.store(view, notifier, &batch, &mut next, &mut last);
            self.with(folder, |walk| walk.end(folder, next, last));
        }
    }

    fn store(
        &self,
        view: &View,
        notifier: &Notifier,
        batch: &Batch,
        next: &mut u64,
        last: &mut NodeId,
    ) -> Result<(), ViewError> {
        let mut children = view.list(batch.folder, batch.from)?;
        let (mut files, mut bytes) = (0, 0);
        let left_out = batch.files * 5 / 8;
        while files < batch.files && bytes < BYTES && *next - batch.from < LOOKED_AT {
            let Some(child) = children.next()? else {
                *next = u64::MAX;
                break;
            };
            *next = child.position + 1;
            let Some(file) = child.node.entry().file().filter(|file| (1..=SMALL).contains(&file.size)) else {
                continue;
            };
            files += 1;
            if files == left_out {
                continue;
            }
            bytes += file.size;
            *last = child.node.id();
            BUFFER.with_borrow_mut(|buffer| {
                view.read_ahead(&child.node, buffer)?;
                // What the kernel does not know any more it does not take; who wants it asks.
                let _ = notifier.store(INodeNo(child.node.id().raw()), 0, buffer);
                Ok::<_, ViewError>(())
            })?;
            self.pushed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(index: u64) -> NodeId {
        NodeId::new(1, index).unwrap()
    }

    #[test]
    fn reads_that_follow_each_other_are_a_walk_and_jumps_are_not() {
        let (folder, far) = (node(1), node(100_000));
        let mut walk = Walk::new(node(2));
        assert_eq!(walk.begin(folder, 0), None);
        for index in 2..5 {
            walk.follow(node(index), folder);
        }
        assert_eq!(walk.begin(folder, 4), Some(Batch { folder, from: 4, files: 8 }));
        // One batch at a time, and the next one where it ended, twice as long.
        assert_eq!(walk.begin(folder, 4), None);
        walk.end(folder, 12, node(13));
        walk.follow(node(10), folder);
        assert_eq!(walk.begin(folder, 11), Some(Batch { folder, from: 12, files: 16 }));
        walk.end(folder, 28, node(29));
        // A folder that lies behind what was pushed belongs to it; one far away does not, unless it is known.
        assert!(walk.reaches(node(40), node(40)) && !walk.reaches(far, far) && walk.reaches(far, folder));
        walk.follow(far, far);
        assert_eq!((walk.run, walk.begin(far, 0)), (0, None));
        for index in 0..4 * FOLDERS as u64 {
            walk.follow(node(index), node(index));
            walk.begin(node(index), 0);
        }
        assert_eq!(walk.folders.len(), FOLDERS);
    }

    #[test]
    fn so_many_push_at_a_time() {
        let pushing = AtomicUsize::new(0);
        let first = Turn::take(&pushing, 1);
        assert!(first.is_some() && Turn::take(&pushing, 1).is_none());
        drop(first);
        assert!(Turn::take(&pushing, 1).is_some());
        assert_eq!(pushing.into_inner(), 0);
    }
}
