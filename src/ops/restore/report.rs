//! What a restore tells: its result, its errors, its notices.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Body, Kind, Notice, Progress};
use crate::tree::Node;

use super::Task;
use super::metadata::Carrier;
use super::outcome::{Outcome, RestoreError};

/// What a restore did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files written, further names of hard links counted too.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symlinks, devices, pipes.
    pub others: u64,
    /// Bytes of the files written, holes counted.
    pub bytes: u64,
    /// Items that were there already as they should be.
    pub unchanged: u64,
    /// Items left as they were because they must not be overwritten.
    pub kept: u64,
    /// Items left out on purpose: sockets.
    pub skipped: u64,
    /// Items that could not be written.
    pub failed: u64,
    /// Items that are damaged in the store and were not written.
    pub damaged: u64,
    /// Items of which some property could not be given back.
    pub partly: u64,
    /// Items that read back otherwise than they were written.
    pub mismatched: u64,
    /// True if owners were not given back, for want of permission.
    pub owners_lost: bool,
}

impl Restored {
    /// What it comes to, if not all was restored: damage weighs most.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        if self.damaged > 0 {
            Some(Kind::Damage)
        } else if self.mismatched > 0 {
            Some(Kind::Failed)
        } else if self.failed + self.kept + self.skipped + self.partly > 0 {
            Some(Kind::Partial)
        } else {
            None
        }
    }
}

/// Counts outcomes and tells what is worth telling.
pub(super) struct Tally<'a> {
    progress: &'a dyn Progress,
    pub(super) restored: Restored,
    /// Paths that were not restored, each told.
    pub(super) not_written: HashSet<Box<[u8]>>,
    /// First names of hard links that were not restored, by where they are in memory, and which name stands in for each.
    missing: HashMap<*const Node, (Arc<Node>, Option<Arc<Node>>)>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, restored: Restored::default(), not_written: HashSet::new(), missing: HashMap::new() }
    }

    pub(super) fn progress(&self) -> &dyn Progress {
        self.progress
    }

    /// The name that a further name of a file can be linked to: its first, or the one that stands in for it.
    pub(super) fn linkable(&self, first: &Arc<Node>) -> Option<Arc<Node>> {
        match self.missing.get(&Arc::as_ptr(first)) {
            None => Some(first.clone()),
            Some((_, instead)) => instead.clone(),
        }
    }

    /// From now on further names are linked to `instead`.
    pub(super) fn stands_in(&mut self, first: &Arc<Node>, instead: &Arc<Node>) {
        self.missing.insert(Arc::as_ptr(first), (first.clone(), Some(instead.clone())));
    }

    /// Counts a task once it is done.
    pub(super) fn count(&mut self, task: &Task, outcome: Outcome) -> Result<(), RestoreError> {
        let (node, last) = match task {
            Task::Item { node, part: Some(part), .. } | Task::Part { node, part, .. } => (node, part.last),
            Task::Item { node, .. }
            | Task::Link { node, .. }
            | Task::Leave { node, .. }
            | Task::Refused { node, .. } => (node, true),
        };
        let bytes = match task {
            Task::Item { part: Some(part), .. } | Task::Part { part, .. } => part.bytes(),
            _ => 0,
        };
        self.progress.advance(u64::from(last), bytes);
        if !last {
            return Ok(());
        }
        if !outcome.is_there() {
            self.not_written.insert(node.path.clone());
        }
        if !outcome.is_there() && node.entry.link.is_some() {
            self.missing.insert(Arc::as_ptr(node), (node.clone(), None));
        }
        let done = matches!(outcome, Outcome::Done | Outcome::Partly(_));
        let r = &mut self.restored;
        match &node.entry.body {
            _ if !done => {}
            Body::File(file) => {
                r.files += 1;
                r.bytes += if matches!(task, Task::Link { .. }) { 0 } else { file.size };
            }
            Body::Folder(_) => r.folders += 1,
            _ => r.others += 1,
        }
        let path = node.display();
        match outcome {
            Outcome::Done => {}
            Outcome::Same => r.unchanged += 1,
            Outcome::Partly(lost) => {
                r.partly += 1;
                for what in lost {
                    self.progress.notice(Notice::NotCarried { path: path.clone(), what });
                }
            }
            Outcome::Kept(why) => {
                r.kept += 1;
                self.progress.notice(Notice::Skipped { path, why });
            }
            Outcome::Skipped(why) => {
                r.skipped += 1;
                self.progress.notice(Notice::Skipped { path, why });
            }
            Outcome::Failed(why) => {
                r.failed += 1;
                self.progress.notice(Notice::Unreadable { path, why });
            }
            Outcome::Damaged(why) => {
                r.damaged += 1;
                self.progress.notice(Notice::Unreadable { path, why: why.to_string() });
            }
            Outcome::Unreadable(source) => return Err(RestoreError::Store { path, source }),
            Outcome::Full(source) => return Err(RestoreError::Full { path, source }),
        }
        Ok(())
    }

    /// Tells of an item that does not read back as it was written.
    pub(super) fn mismatch(&mut self, node: &Node, why: &str) {
        self.restored.mismatched += 1;
        self.progress.notice(Notice::Unreadable { path: node.display(), why: why.to_owned() });
    }

    /// What is told once, at the end.
    pub(super) fn remarks(&mut self, carrier: &Carrier) {
        self.restored.owners_lost = carrier.owners_lost();
        if self.restored.owners_lost {
            self.progress.notice(Notice::Remark(
                "owners, and set-id bits of what others own, were not given back: only root may do that".to_owned(),
            ));
        }
    }
}
