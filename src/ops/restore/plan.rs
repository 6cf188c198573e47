//! From visits of the tree to tasks in the target.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::LinkGroup;
use crate::store::StoreError;
use crate::tree::{Flow, Node, Part, Visit};

use super::folders::{Folder, Folders, Origin, Top};
use super::item::LongFile;
use super::outcome::Outcome;
use super::select::{Choice, Chooser};

/// One visit, with the folder it happens in.
pub(super) enum Task {
    Item {
        folder: Arc<Folder>,
        node: Arc<Node>,
        part: Option<Part>,
        long: Option<Arc<LongFile>>,
    },
    Part {
        folder: Arc<Folder>,
        node: Arc<Node>,
        part: Part,
        long: Arc<LongFile>,
    },
    /// A further name of a file; `first` is left aside if `absent`.
    Link {
        folder: Arc<Folder>,
        node: Arc<Node>,
        first: Arc<Node>,
        absent: bool,
    },
    /// What would happen to an item, in a folder that is there or would be.
    Foresee {
        folder: Option<Arc<Folder>>,
        node: Arc<Node>,
        first: Option<(Arc<Node>, bool)>,
    },
    Leave {
        folder: FolderLeft,
        node: Arc<Node>,
        lost: Option<StoreError>,
    },
    Refused {
        node: Arc<Node>,
        why: Outcome,
    },
}

/// A folder that the walk is done with.
pub(super) struct FolderLeft {
    /// Nothing if it would have to be made and is not, in a rehearsal.
    pub(super) folder: Result<Arc<Folder>, Origin>,
    /// It was restored; else only what was in it was looked at.
    pub(super) wanted: bool,
    /// It was taken for its own sake, and so is what is in it.
    pub(super) inside: bool,
}

impl Task {
    /// The item, and whether this is the last of it.
    pub(super) fn subject(&self) -> (&Arc<Node>, bool) {
        match self {
            Self::Item { node, part: Some(part), .. } | Self::Part { node, part, .. } => (node, part.last),
            Self::Item { node, .. }
            | Self::Link { node, .. }
            | Self::Foresee { node, .. }
            | Self::Leave { node, .. }
            | Self::Refused { node, .. } => (node, true),
        }
    }

    /// Bytes of content that it brings.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Item { part: Some(part), .. } | Self::Part { part, .. } => part.bytes(),
            _ => 0,
        }
    }
}

/// Turns visits into tasks.
pub(super) struct Planner<'a> {
    pub(super) folders: Folders<'a>,
    pub(super) chooser: Chooser<'a>,
    pub(super) dry: bool,
    /// What folders have beyond the snapshot is removed: those that nothing is restored in are looked into too.
    pub(super) removes: bool,
    pub(super) long: Option<Arc<LongFile>>,
    /// Groups of hard links whose first name is left aside.
    pub(super) aside: HashSet<LinkGroup>,
}

impl Planner<'_> {
    /// The next tasks; none at the end. Folders are made here, in preorder, ahead of those who fill them.
    pub(super) fn tasks(&mut self, flow: &mut Flow) -> Vec<Task> {
        let mut tasks = Vec::new();
        while tasks.is_empty() {
            let mut choices = Vec::new();
            let batch = flow.chosen(|visit| {
                let (choice, inside) = self.chooser.visit(visit);
                match visit {
                    Visit::Enter { node, first: None, .. } if choice == Choice::Aside => {
                        self.aside.extend(node.entry.link);
                    }
                    _ if choice == Choice::Aside => {}
                    _ => choices.push((choice, inside)),
                }
                choice != Choice::Aside
            });
            if batch.is_empty() {
                break;
            }
            for (visit, (choice, inside)) in batch.into_iter().zip(choices) {
                self.plan(visit, choice, inside, &mut tasks);
            }
        }
        tasks
    }

    fn plan(&mut self, visit: Visit, choice: Choice, inside: bool, tasks: &mut Vec<Task>) {
        match visit {
            Visit::Enter { node, .. } if choice == Choice::Look => self.folders.look_into(&node, inside),
            Visit::Enter { node, .. } if node.entry.folder().is_some() => {
                self.ask_for_all(tasks);
                // Whatever is below a folder that cannot be made is not restored; it is told once.
                if let Err(why) = self.folders.enter(&node, inside) {
                    tasks.push(Task::Refused { node, why });
                }
            }
            Visit::Enter { node, part, first } => {
                self.ask_for_all(tasks);
                tasks.extend(self.item(node, part, first));
            }
            Visit::Odd(node, error) => {
                self.ask_for_all(tasks);
                tasks.push(Task::Refused { node, why: error.into() });
            }
            Visit::Part(node, part) => {
                if let (Top::Open(folder), Some(long)) = (self.folders.top(), self.long.clone()) {
                    tasks.push(Task::Part { folder, node, part, long });
                }
            }
            Visit::Leave(node) => tasks.extend(self.leave(node, None, inside)),
            Visit::Lost(node, error) => tasks.extend(self.leave(node, Some(error), inside)),
        }
    }

    fn ask_for_all(&mut self, tasks: &mut Vec<Task>) {
        tasks.extend(self.folders.ask_for_all().map(|(node, why)| Task::Refused { node, why }));
    }

    fn item(&mut self, node: Arc<Node>, part: Option<Part>, first: Option<Arc<Node>>) -> Option<Task> {
        self.long = part.as_ref().filter(|part| !part.last && !self.dry).map(|_| Arc::default());
        let absent = node.entry.link.is_some_and(|group| self.aside.contains(&group));
        let folder = match self.folders.top() {
            Top::Nowhere => return None,
            Top::Lost(why) => return Some(Task::Refused { node, why }),
            Top::Foreseen(_) => None,
            Top::Open(folder) => Some(folder),
        };
        Some(match (folder, first) {
            (Some(folder), None) if !self.dry => Task::Item { folder, node, part, long: self.long.clone() },
            (Some(folder), Some(first)) if !self.dry => Task::Link { folder, node, first, absent },
            (folder, first) => Task::Foresee { folder, node, first: first.map(|first| (first, absent)) },
        })
    }

    fn leave(&mut self, node: Arc<Node>, lost: Option<StoreError>, inside: bool) -> Option<Task> {
        if self.removes && lost.is_none() && !self.folders.is_wanted() {
            self.folders.open_unasked();
        }
        let top = self.folders.top();
        let wanted = self.folders.leave();
        let folder = match top {
            // A folder that nothing was asked of may still be one that cannot be read.
            Top::Nowhere => return lost.filter(|_| !wanted).map(|error| Task::Refused { node, why: error.into() }),
            Top::Lost(why) => return Some(Task::Refused { node, why }),
            Top::Foreseen(origin) => Err(origin),
            Top::Open(folder) => Ok(folder),
        };
        Some(Task::Leave { folder: FolderLeft { folder, wanted, inside }, node, lost })
    }
}
