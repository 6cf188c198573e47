//! What a restore tells: each change, and the sums, for people and as JSON.

use std::path::Path;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::SnapshotId;
use crate::ops::restore::{Change, Mark, Restored};

use super::entry::PathJson;
use super::error::CliError;
use super::output::{Output, counted, human_bytes};

/// Which changes are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Changes {
    /// What is done
    Done,
    /// Also what is there already
    All,
}

impl Changes {
    fn include(self, mark: Mark) -> bool {
        self == Self::All || mark != Mark::Same
    }
}

/// What `larder restore --json` prints, one a line: with `--changes` or `--dry-run` the changes, then the sums.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum RestoreReportJson {
    /// A change.
    Change(RestoreChangeJson),
    /// The sums, last.
    Summary(Box<RestoreJson>),
}

/// Something that happened to an item of the folder restored into, or with `--dry-run` would happen. The path begins at that
/// folder; it is empty for the folder itself.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct RestoreChangeJson {
    /// `made`, `replaced`, `adjusted` (only its metadata was put right), `removed`, `kept` (it is otherwise and stays so), or with
    /// `--changes=all` `same`.
    change: &'static str,
    #[serde(flatten)]
    path: PathJson,
    /// It is a folder.
    folder: bool,
}

/// What a restore did, or with `dry_run` would do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct RestoreJson {
    /// The snapshot's id.
    snapshot: String,
    /// The folder restored into.
    dest: String,
    /// Nothing was changed: the counts are what a restore would do.
    dry_run: bool,
    /// Id of the snapshot of `dest` that was taken before.
    safety: Option<String>,
    /// Files written, further names of hard links counted too.
    files: u64,
    /// Folders made.
    folders: u64,
    /// Symlinks, devices and pipes made.
    others: u64,
    /// Bytes of the files written, holes counted.
    bytes: u64,
    /// Of those written or made: how many took the place of something.
    replaced: u64,
    /// Things removed that the snapshot does not have.
    removed: u64,
    /// Items that were there already as they should be.
    unchanged: u64,
    /// Items that were there but for their metadata, which was put right.
    adjusted: u64,
    /// Items that were not overwritten.
    kept: u64,
    /// Items left out on purpose: sockets.
    skipped: u64,
    /// Items that could not be written, things that could not be removed.
    failed: u64,
    /// Items that are damaged in the store.
    damaged: u64,
    /// Items that came back without some property.
    partly: u64,
    /// Items that read back otherwise than the snapshot has them, also such as were there already.
    mismatched: u64,
    /// Owners were not given back, for want of permission.
    owners_lost: bool,
    /// The patterns of `--include` that fitted nothing that could be restored; if there are any, the exit status is 3.
    unmatched: Vec<String>,
}

/// What the sums tell of beside them.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) snapshot: SnapshotId,
    pub(super) dest: &'a Path,
    pub(super) dry_run: bool,
    pub(super) safety: Option<SnapshotId>,
    /// Patterns that nothing fitted.
    pub(super) unmatched: &'a [String],
}

/// Prints a change, if the user wants to see it.
pub(super) fn print(change: &Change, wanted: Option<Changes>, out: &Output) -> Result<(), CliError> {
    if !wanted.is_some_and(|wanted| wanted.include(change.mark)) {
        return Ok(());
    }
    if out.json() {
        return out.print_json(&RestoreReportJson::Change(RestoreChangeJson {
            change: word(change.mark),
            path: change.path.into(),
            folder: change.is_folder,
        }));
    }
    let sign = match change.mark {
        Mark::Made => b'+',
        Mark::Replaced => b'~',
        Mark::Removed => b'-',
        Mark::Adjusted => b'.',
        Mark::Kept => b'!',
        Mark::Same => b'=',
    };
    let name = if change.path.is_empty() { b".".to_vec() } else { out.name(change.path) };
    let end: &[u8] = if change.is_folder { b"/\n" } else { b"\n" };
    out.raw(&[&[sign, b' '], &name[..], end].concat())
}

fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Made => "made",
        Mark::Replaced => "replaced",
        Mark::Removed => "removed",
        Mark::Adjusted => "adjusted",
        Mark::Kept => "kept",
        Mark::Same => "same",
    }
}

impl RestoreJson {
    pub(super) fn new(run: &Run, done: &Restored) -> Self {
        Self {
            snapshot: run.snapshot.to_string(),
            dest: run.dest.to_string_lossy().into_owned(),
            dry_run: run.dry_run,
            safety: run.safety.map(|id| id.to_string()),
            files: done.files,
            folders: done.folders,
            others: done.others,
            bytes: done.bytes,
            replaced: done.replaced,
            removed: done.removed,
            unchanged: done.unchanged,
            adjusted: done.adjusted,
            kept: done.kept,
            skipped: done.skipped,
            failed: done.failed,
            damaged: done.damaged,
            partly: done.partly,
            mismatched: done.mismatched,
            owners_lost: done.owners_lost,
            unmatched: run.unmatched.to_vec(),
        }
    }
}

/// The sums in words.
pub(super) fn summary(run: &Run, done: &Restored) -> String {
    let mut text = format!(
        "{} {}, {}, {} into {}",
        if run.dry_run { "would restore" } else { "restored" },
        counted(done.files, "file", "files"),
        counted(done.folders, "folder", "folders"),
        human_bytes(done.bytes),
        run.dest.display()
    );
    let extra = [
        (done.others, "symlink, device or pipe", "symlinks, devices and pipes"),
        (done.replaced, "took the place of something", "took the place of something"),
        (done.removed, "removed", "removed"),
        (done.unchanged, "was there already", "were there already"),
        (done.adjusted, "had only its metadata put right", "had only their metadata put right"),
        (done.kept, "was not overwritten", "were not overwritten"),
        (done.skipped, "was left out", "were left out"),
        (done.partly, "came back without some property", "came back without some property"),
        (done.failed, "failed", "failed"),
        (done.damaged, "is damaged in the store", "are damaged in the store"),
        (done.mismatched, "is not what the snapshot has", "are not what the snapshot has"),
    ];
    for (count, one, many) in extra.iter().filter(|(count, ..)| *count > 0) {
        text.push_str(&format!("; {}", counted(*count, one, many)));
    }
    text
}
