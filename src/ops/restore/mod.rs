//! Restore: a snapshot, or part of one, back into a folder, with everything that an entry holds.
//!
//! One thread walks the tree and makes folders, several write files, and the caller's finishes in order what needs order:
//! further names of hard links, long files, folders' own metadata (which would change while they are filled).
//! Everything is done relative to open folders and never follows a symlink: nothing outside the target can be reached.

mod check;
mod existing;
mod folders;
mod item;
mod metadata;
mod outcome;
mod report;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::model::{Entry, Progress};
use crate::store::StoreError;
use crate::tree::{Flow, LongCheck, Node, Pages, Part, Visit, in_order};

use folders::{Folder, Folders};
use item::LongFile;
use metadata::Carrier;
use outcome::Outcome;
pub use outcome::RestoreError;
pub use report::Restored;
use report::Tally;

/// What happens to files that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// They stay; each is noticed.
    #[default]
    Never,
    /// Those that differ are replaced: by size and time of change, then by content.
    IfChanged,
    /// They are replaced.
    Always,
}

/// How to restore.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestoreOptions {
    /// What happens to files that exist.
    pub overwrite: Overwrite,
    /// Reads back what was written and compares.
    pub verify: bool,
}

/// What all threads of one restore share.
struct Context<'a> {
    pages: &'a Pages,
    overwrite: Overwrite,
    carrier: Carrier,
}

/// One visit, with the folder it happens in.
enum Task {
    Item { folder: Arc<Folder>, node: Arc<Node>, part: Option<Part>, long: Option<Arc<LongFile>> },
    Part { folder: Arc<Folder>, node: Arc<Node>, part: Part, long: Arc<LongFile> },
    Link { folder: Arc<Folder>, node: Arc<Node>, first: Arc<Node> },
    Leave { folder: Arc<Folder>, node: Arc<Node>, lost: Option<StoreError> },
    Refused { node: Arc<Node>, why: Outcome },
}

/// A task of which the part that needs no order is done.
struct Worked {
    task: Task,
    outcome: Outcome,
}

/// Restores an entry into `target`, which is made if it is missing: of a folder its contents, anything else under its name.
///
/// # Errors
/// If the target cannot be made or used at all, if its disk is full, or if the user stops it. What single items suffer is told
/// by notices and in [`Restored`].
pub fn restore(
    pages: &Pages,
    start: &Entry,
    target: &Path,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<Restored, RestoreError> {
    if in_store(target, pages.store().dir()) {
        return Err(RestoreError::InStore(target.to_owned()));
    }
    let base = Folders::target(target)?;
    let context = Context { pages, overwrite: options.overwrite, carrier: Carrier::new() };
    let path = start.name.as_bytes().into();
    let starts = || vec![(if start.folder().is_some() { Box::default() } else { Box::clone(&path) }, start.clone())];
    let mut tally = Tally::new(progress);
    let mut flow = Flow::new(pages, starts());
    let mut planner = Planner { folders: Folders::new(base.clone(), options.overwrite), long: None };
    let mut long = LongCheck::default();
    in_order(
        || {
            // Folders are made here, in preorder, ahead of those who fill them.
            let mut tasks = Vec::new();
            while tasks.is_empty() {
                let batch = flow.batch();
                if batch.is_empty() {
                    return None;
                }
                tasks.extend(batch.into_iter().filter_map(|visit| planner.plan(visit)));
            }
            Some(tasks)
        },
        |tasks: Vec<Task>| tasks.into_iter().map(|task| context.work(task)).collect::<Vec<_>>(),
        |worked| {
            for mut one in worked {
                context.finish(&mut one, &base, &mut long, &mut tally);
                tally.count(&one.task, one.outcome)?;
            }
            if progress.cancelled() { Err(RestoreError::Interrupted) } else { Ok(()) }
        },
    )?;
    tally.remarks(&context.carrier);
    if options.verify {
        check::read_back(pages, starts(), &base, &mut tally)?;
    }
    Ok(tally.restored)
}

/// True if a path, or the folder that it would be made in, is the store's folder or below it: by device and inode.
fn in_store(target: &Path, store: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
    let Some(store) = identity(store) else { return false };
    let Ok(target) = std::path::absolute(target) else { return false };
    let existing = target.ancestors().find_map(|path| path.canonicalize().ok());
    existing.is_some_and(|path| path.ancestors().any(|path| identity(path) == Some(store)))
}

/// Turns visits into tasks.
struct Planner {
    folders: Folders,
    long: Option<Arc<LongFile>>,
}

impl Planner {
    fn plan(&mut self, visit: Visit) -> Option<Task> {
        match visit {
            Visit::Enter { node, .. } if node.entry.folder().is_some() => {
                // Whatever is below a folder that cannot be made is not restored; it is told once.
                self.folders.enter(&node).err().map(|why| Task::Refused { node, why })
            }
            Visit::Enter { node, part, first } => {
                self.long = part.as_ref().filter(|part| !part.last).map(|_| Arc::default());
                let folder = match self.folders.top()? {
                    Ok(folder) => folder,
                    Err(why) => return Some(Task::Refused { node, why }),
                };
                Some(match first {
                    Some(first) => Task::Link { folder, node, first },
                    None => Task::Item { folder, node, part, long: self.long.clone() },
                })
            }
            Visit::Part(node, part) => {
                let (folder, long) = (self.folders.top()?.ok()?, self.long.clone()?);
                Some(Task::Part { folder, node, part, long })
            }
            Visit::Leave(node) => self.leave(node, None),
            Visit::Lost(node, error) => self.leave(node, Some(error)),
        }
    }

    fn leave(&mut self, node: Arc<Node>, lost: Option<StoreError>) -> Option<Task> {
        let folder = self.folders.top();
        self.folders.leave();
        Some(match folder? {
            Ok(folder) => Task::Leave { folder, node, lost },
            Err(why) => Task::Refused { node, why },
        })
    }
}

impl Context<'_> {
    /// What can be done in any order.
    fn work(&self, mut task: Task) -> Worked {
        let outcome = match &mut task {
            Task::Item { folder, node, part: Some(part), long: None } => self.put_file(folder, node, part),
            Task::Item { folder, node, part: Some(part), long: Some(long) }
            | Task::Part { folder, node, part, long } => {
                self.put_part(folder, node, part, long);
                Outcome::Done
            }
            Task::Item { folder, node, part: None, .. } => self.put_other(folder, node),
            Task::Link { .. } | Task::Leave { .. } => Outcome::Done,
            Task::Refused { why, .. } => std::mem::replace(why, Outcome::Done),
        };
        Worked { task, outcome }
    }

    /// What must wait for all before it.
    fn finish(&self, one: &mut Worked, base: &Arc<Folder>, check: &mut LongCheck, tally: &mut Tally) {
        match &mut one.task {
            Task::Item { folder, node, part: Some(part), long: Some(long) }
            | Task::Part { folder, node, part, long } => {
                one.outcome = self.finish_part(folder, node, part, long, check);
            }
            Task::Link { folder, node, first } => {
                let linked = tally.linkable(first).and_then(|first| self.link(base, folder, node, &first));
                one.outcome = linked.unwrap_or_else(|| {
                    // The name to link it to is not there: this one gets the content, and the rest are linked to it.
                    let outcome = self.put_alone(folder, node);
                    if outcome.is_there() {
                        tally.stands_in(first, node);
                    }
                    outcome
                });
            }
            Task::Leave { folder, node, lost } => one.outcome = self.finish_folder(folder, node, lost.take()),
            Task::Item { .. } | Task::Refused { .. } => {}
        }
    }
}
