//! Restore: a snapshot, or part of one, back into a folder, with everything that an entry holds.
//!
//! One thread walks the tree and makes folders, several write files, and the caller's finishes in order what needs order:
//! further names of hard links, long files, folders' own metadata (which would change while they are filled), removals.
//! Everything is done relative to open folders and never follows a symlink: nothing outside the target can be reached.
//!
//! A restore that was cut short is finished by running it again. Files get their names when they are complete, folders have a
//! mode of their own until they are; so what is there tells by itself what is done.

mod check;
mod existing;
mod extract;
mod finish;
mod folders;
mod guard;
mod item;
mod met;
mod metadata;
mod outcome;
mod parts;
mod passed;
mod place;
mod plan;
mod remove;
mod report;
mod select;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::codec::random_bytes;
use crate::model::{Entry, Progress};
use crate::tree::{Flow, Node, Pages, in_order};

pub use extract::{Allowed, ExtractError, Extraction, Target};
use finish::folder_outcome;
use folders::{Folder, Folders, Rules};
use guard::Guarded;
use metadata::Carrier;
use outcome::Outcome;
pub use outcome::RestoreError;
use parts::Token;
pub use passed::passed;
use plan::{FolderLeft, Planner, Task};
use remove::{Removal, Remover};
use report::Tally;
pub use report::{Change, Mark, Restored};
use select::Chooser;
pub use select::Select;

/// What happens to files that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// They stay; each that differs in size or time of change is noticed.
    #[default]
    Never,
    /// Those that differ are replaced: by size and time of change, then by content.
    IfChanged,
    /// They are replaced.
    Always,
}

/// How to restore.
#[derive(Debug, Default)]
pub struct RestoreOptions {
    /// What happens to files that exist.
    pub overwrite: Overwrite,
    /// Reads back what was written and compares.
    pub verify: bool,
    /// What is restored.
    pub select: Select,
    /// Removes what the folders of the target have and those of the snapshot have not.
    pub delete: bool,
    /// Restores views too: folders whose content stands elsewhere in the snapshot.
    pub views: bool,
    /// Nothing is changed, only told.
    pub dry_run: bool,
    /// Files and folders that are never replaced, entered or removed, beside the store.
    pub guarded: Vec<PathBuf>,
    /// Folders of what is restored, by path, of which the capture took only what leads on to its sources: what else the target has in
    /// them is no stranger.
    pub passed: HashSet<Box<[u8]>>,
}

/// What all threads of one restore share.
struct Context<'a> {
    pages: &'a Pages,
    overwrite: Overwrite,
    carrier: Carrier,
    /// The target; nothing if it would have to be made and is not.
    base: Option<Arc<Folder>>,
    /// What its first names end with.
    token: Token,
    guarded: &'a Guarded,
    /// Nothing is changed.
    dry: bool,
    remover: Option<Remover<'a>>,
    /// Removed and not told yet.
    removed: Mutex<Vec<Removal>>,
}

/// A task of which the part that needs no order is done.
struct Worked {
    task: Task,
    outcome: Outcome,
    /// Bytes of content that it wrote, if it made anything.
    written: u64,
}

/// Restores an entry into `target`, which is made if it is missing: of a folder its contents, anything else under its name.
/// `changes` is told of each item, a folder after what is in it.
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
    changes: &mut dyn FnMut(Change),
) -> Result<Restored, RestoreError> {
    let store = pages.store().dir();
    let guarded = Guarded::new(options.guarded.iter().map(PathBuf::as_path), store);
    guarded.check_target(target, store, options.delete)?;
    let token = Token(
        random_bytes()
            .map_err(|e| RestoreError::Target { path: target.to_owned(), source: std::io::Error::other(e) })?,
    );
    let base = Folders::target(target, options.dry_run, start.folder().is_some())?;
    let remover =
        Remover { pages, select: &options.select, guarded: &guarded, passed: &options.passed, dry: options.dry_run };
    let context = Context {
        pages,
        overwrite: options.overwrite,
        carrier: Carrier::new(),
        token,
        guarded: &guarded,
        base,
        dry: options.dry_run,
        remover: options.delete.then_some(remover),
        removed: Mutex::default(),
    };
    let path = start.name.as_bytes().into();
    let starts = || vec![(if start.folder().is_some() { Box::default() } else { Box::clone(&path) }, start.clone())];
    let mut tally = Tally::new(progress, changes);
    let mut flow = Flow::new(pages, starts());
    if options.views {
        flow = flow.with_views();
    }
    let rules =
        Rules { overwrite: options.overwrite, dry: options.dry_run, select: &options.select, guarded: &guarded };
    let mut planner = Planner {
        folders: Folders::new(context.base.clone(), rules),
        chooser: Chooser::new(&options.select),
        dry: options.dry_run,
        removes: options.delete,
        long: None,
        aside: HashSet::new(),
    };
    in_order(
        || Some(planner.tasks(&mut flow)).filter(|tasks| !tasks.is_empty()),
        |tasks: Vec<Task>| tasks.into_iter().map(|task| context.work(task)).collect::<Vec<_>>(),
        |worked| {
            for mut one in worked {
                context.finish(&mut one, &mut tally);
                context.tell_removed(&mut tally);
                tally.count(&one.task, one.outcome, one.written)?;
            }
            if progress.cancelled() { Err(RestoreError::Interrupted) } else { Ok(()) }
        },
    )?;
    tally.remarks(&context.carrier);
    if let (true, Some(base)) = (options.verify && !options.dry_run, &context.base) {
        let flow = Flow::new(pages, starts());
        let flow = if options.views { flow.with_views() } else { flow };
        check::read_back(flow, base, rules, &mut tally)?;
    }
    Ok(tally.restored)
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
            Task::Foresee { folder, node, first: None } => self.foresee(folder.as_deref(), node, None),
            Task::Link { .. } | Task::Foresee { .. } | Task::Leave { .. } => Outcome::Done,
            Task::Refused { why, .. } => std::mem::replace(why, Outcome::Done),
        };
        let (node, _) = task.subject();
        let written = if matches!(task, Task::Link { .. }) { 0 } else { node.entry.size() };
        Worked { task, outcome, written }
    }

    /// What must wait for all before it.
    fn finish(&self, one: &mut Worked, tally: &mut Tally) {
        match &mut one.task {
            Task::Item { node, part: Some(part), long: Some(long), .. } | Task::Part { node, part, long, .. } => {
                one.outcome = self.finish_part(node, part, long);
            }
            Task::Link { folder, node, first, absent } => {
                let link = |first: &Arc<Node>| self.base.as_ref().and_then(|base| self.link(base, folder, node, first));
                let alone = || self.put_alone(folder, node);
                (one.outcome, one.written) = further_name(tally, node, first, *absent, link, alone);
            }
            Task::Foresee { folder, node, first: Some((first, absent)) } => {
                let fresh = tally.linkable(first).is_some_and(|first| tally.is_fresh(&first));
                let link = |first: &Arc<Node>| Some(self.foresee(folder.as_deref(), node, Some((first, fresh))));
                let alone = || self.foresee(folder.as_deref(), node, None);
                (one.outcome, one.written) = further_name(tally, node, first, *absent, link, alone);
            }
            Task::Leave { folder, node, lost } => {
                one.outcome = match lost.take() {
                    Some(error) => error.into(),
                    None => self.leave(folder, node, tally),
                };
            }
            Task::Item { .. } | Task::Foresee { .. } | Task::Refused { .. } => {}
        }
    }

    /// Finishes a folder: removes what does not belong there, then gives it its metadata.
    fn leave(&self, left: &FolderLeft, node: &Node, tally: &mut Tally) -> Outcome {
        let folder = match &left.folder {
            Ok(folder) => folder,
            Err(origin) if left.wanted => return folder_outcome(*origin, Vec::new()),
            Err(_) => return Outcome::Done,
        };
        let ours = node.entry.folder().map(|tree| self.clear_leftovers(folder, tree)).unwrap_or_default();
        if let (Some(remover), Some(tree)) = (&self.remover, node.entry.folder()) {
            let mut tell = |path: &[u8], is_folder, failed| {
                tally.removal(&Removal { path: path.into(), is_folder, failed });
            };
            if let Err(why) = remover.clean(folder, node, tree, left.inside, &ours, &mut tell) {
                return why;
            }
        }
        if left.wanted { self.finish_folder(folder, node) } else { Outcome::Done }
    }

    fn tell_removed(&self, tally: &mut Tally) {
        let removed = std::mem::take(&mut *self.removed.lock().unwrap_or_else(PoisonError::into_inner));
        removed.iter().for_each(|removal| tally.removal(removal));
    }
}

/// A further name of a file: linked to the one that is there, or, if there is none, restored with its content; then the rest
/// are linked to it. Gives what became of it and how much it wrote.
fn further_name(
    tally: &mut Tally,
    node: &Arc<Node>,
    first: &Arc<Node>,
    absent: bool,
    link: impl Fn(&Arc<Node>) -> Option<Outcome>,
    alone: impl Fn() -> Outcome,
) -> (Outcome, u64) {
    if absent && !tally.is_missing(first) {
        tally.stands_in(first, None);
    }
    if let Some(outcome) = tally.linkable(first).and_then(|first| link(&first)) {
        return (outcome, 0);
    }
    let outcome = alone();
    if outcome.is_there() {
        tally.stands_in(first, Some(node));
    }
    (outcome, node.entry.size())
}
