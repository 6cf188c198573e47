//! What a restore tells: its result, its errors, its notices, each change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Body, Kind, Notice, Progress};
use crate::tree::Node;

use super::metadata::Carrier;
use super::outcome::{Outcome, RestoreError};
use super::plan::Task;
use super::remove::Removal;

/// What a restore did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files written, further names of hard links counted too.
    pub files: u64,
    /// Folders made.
    pub folders: u64,
    /// Symlinks, devices, pipes.
    pub others: u64,
    /// Bytes of the files written, holes counted.
    pub bytes: u64,
    /// Of those written or made: how many took the place of something.
    pub replaced: u64,
    /// Things removed that the snapshot does not have.
    pub removed: u64,
    /// Items that were there already as they should be.
    pub unchanged: u64,
    /// Items that were there but for their metadata, which was put right.
    pub adjusted: u64,
    /// Items left as they were because they must not be overwritten.
    pub kept: u64,
    /// Items left out on purpose: sockets.
    pub skipped: u64,
    /// Items that could not be written, things that could not be removed.
    pub failed: u64,
    /// Items that are damaged in the store and were not written.
    pub damaged: u64,
    /// Items of which some property could not be given back.
    pub partly: u64,
    /// Items that read back otherwise than the snapshot has them.
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

/// What happens to something in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It was not there and is made.
    Made,
    /// Something else was there and is replaced.
    Replaced,
    /// It is removed.
    Removed,
    /// It is there as it should be.
    Same,
    /// Only its metadata is put right.
    Adjusted,
    /// It is there otherwise and stays so.
    Kept,
}

/// A change to the target, done or foreseen.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What happens.
    pub mark: Mark,
    /// To what: the path from the target, empty for the target itself.
    pub path: &'a [u8],
    /// True for a folder.
    pub is_folder: bool,
}

/// Counts outcomes and tells what is worth telling.
pub(super) struct Tally<'a> {
    progress: &'a dyn Progress,
    changes: &'a mut dyn FnMut(Change),
    pub(super) restored: Restored,
    /// Paths that were not restored, each told.
    pub(super) not_written: HashSet<Box<[u8]>>,
    /// First names of hard links that were not restored, by where they are in memory, and which name stands in for each.
    missing: HashMap<*const Node, (Arc<Node>, Option<Arc<Node>>)>,
    /// Names of hard links that were written: what was linked to them is not any more.
    fresh: HashMap<*const Node, Arc<Node>>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(progress: &'a dyn Progress, changes: &'a mut dyn FnMut(Change)) -> Self {
        Self {
            progress,
            changes,
            restored: Restored::default(),
            not_written: HashSet::new(),
            missing: HashMap::new(),
            fresh: HashMap::new(),
        }
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

    /// True if a first name is known not to be there.
    pub(super) fn is_missing(&self, first: &Arc<Node>) -> bool {
        self.missing.contains_key(&Arc::as_ptr(first))
    }

    /// True if a name was written by this restore.
    pub(super) fn is_fresh(&self, name: &Arc<Node>) -> bool {
        self.fresh.contains_key(&Arc::as_ptr(name))
    }

    /// From now on further names are linked to `instead`; to none, until one stands in.
    pub(super) fn stands_in(&mut self, first: &Arc<Node>, instead: Option<&Arc<Node>>) {
        self.missing.insert(Arc::as_ptr(first), (first.clone(), instead.cloned()));
    }

    /// Counts a task once it is done. `written`: bytes of content that it wrote, if it made anything.
    pub(super) fn count(&mut self, task: &Task, outcome: Outcome, written: u64) -> Result<(), RestoreError> {
        let (node, last) = task.subject();
        let bytes = task.bytes();
        self.progress.advance(u64::from(last), bytes);
        if !last || matches!(outcome, Outcome::Done) {
            return Ok(());
        }
        if !outcome.is_there() {
            self.not_written.insert(node.path.clone());
        }
        if node.entry.link.is_some() && node.entry.folder().is_none() {
            self.note_link(node, &outcome);
        }
        let made = matches!(outcome, Outcome::Made(_) | Outcome::Replaced(_));
        let r = &mut self.restored;
        r.replaced += u64::from(matches!(outcome, Outcome::Replaced(_)));
        r.unchanged += u64::from(matches!(outcome, Outcome::Same(_)));
        r.adjusted += u64::from(matches!(outcome, Outcome::Adjusted(_)));
        match &node.entry.body {
            _ if !made => {}
            Body::File(_) => (r.files, r.bytes) = (r.files + 1, r.bytes + written),
            Body::Folder(_) => r.folders += 1,
            _ => r.others += 1,
        }
        let mark = match &outcome {
            Outcome::Made(_) => Some(Mark::Made),
            Outcome::Replaced(_) => Some(Mark::Replaced),
            Outcome::Same(_) => Some(Mark::Same),
            Outcome::Adjusted(_) => Some(Mark::Adjusted),
            Outcome::Kept(_) | Outcome::Unlike => Some(Mark::Kept),
            _ => None,
        };
        if let Some(mark) = mark {
            (self.changes)(Change { mark, path: &node.path, is_folder: node.entry.folder().is_some() });
        }
        self.tell(node.display(), outcome)
    }

    fn note_link(&mut self, node: &Arc<Node>, outcome: &Outcome) {
        match outcome {
            Outcome::Made(_) | Outcome::Replaced(_) => {
                self.fresh.insert(Arc::as_ptr(node), node.clone());
            }
            outcome if !outcome.is_there() => self.stands_in(node, None),
            _ => {}
        }
    }

    fn tell(&mut self, path: String, outcome: Outcome) -> Result<(), RestoreError> {
        let r = &mut self.restored;
        let notice = match outcome {
            Outcome::Done => return Ok(()),
            Outcome::Made(lost) | Outcome::Same(lost) | Outcome::Adjusted(lost) | Outcome::Replaced(lost)
                if !lost.is_empty() =>
            {
                r.partly += 1;
                for what in lost {
                    self.progress.notice(Notice::NotCarried { path: path.clone(), what });
                }
                return Ok(());
            }
            Outcome::Made(_) | Outcome::Same(_) | Outcome::Adjusted(_) | Outcome::Replaced(_) => return Ok(()),
            Outcome::Unlike => {
                r.kept += 1;
                Notice::Skipped { path, why: "it has other permissions or another owner".to_owned() }
            }
            Outcome::Kept(why) => {
                r.kept += 1;
                Notice::Skipped { path, why }
            }
            Outcome::Skipped(why) => {
                r.skipped += 1;
                Notice::Skipped { path, why }
            }
            Outcome::Failed(why) => {
                r.failed += 1;
                Notice::NotCarried { path, what: why }
            }
            Outcome::Damaged(why) => {
                r.damaged += 1;
                Notice::Unreadable { path, why: why.to_string() }
            }
            Outcome::Unreadable(source) => return Err(RestoreError::Store { path, source }),
            Outcome::Full(source) => return Err(RestoreError::Full { path, source }),
        };
        self.progress.notice(notice);
        Ok(())
    }

    /// Counts something that the snapshot does not have.
    pub(super) fn removal(&mut self, removal: &Removal) {
        let Removal { path, is_folder, failed } = removal;
        match failed {
            None => {
                self.restored.removed += 1;
                (self.changes)(Change { mark: Mark::Removed, path, is_folder: *is_folder });
            }
            Some(e) => {
                self.restored.failed += 1;
                let what = format!("cannot be removed: {}", std::io::Error::from(*e));
                self.progress.notice(Notice::NotCarried { path: String::from_utf8_lossy(path).into_owned(), what });
            }
        }
    }

    /// Tells of an item that does not read back as the snapshot has it.
    pub(super) fn mismatch(&mut self, node: &Node, why: &str) {
        self.restored.mismatched += 1;
        self.progress.notice(Notice::NotCarried { path: node.display(), what: why.to_owned() });
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
