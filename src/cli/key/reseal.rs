//! `larder key reseal`, and what `larder key rotate --reseal` does after the change of keys

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::gc::{Collected, GcOptions, Resealed, collect};
use crate::store::{EpochSweep, Store, Waiting};

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, counted, human_bytes};
use super::super::progress::Bar;
use super::super::{Global, Outcome};
use super::{KeyReportJson, Locking};

/// Seal anew what is under older identities of the store
///
/// After `key rotate` what was stored before stays under the old identities. This opens it, checks it, seals it to the new ones and
/// takes the old away, as `gc` does, which it runs with it: then who held a key that was removed opens nothing in a copy of the
/// store made from now on. Readers, mounts and captures go on meanwhile. What was stopped is finished by the next run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder key reseal
  larder key rotate --reseal                           both in one

Exit status 3: something stays under older identities, since it is damaged, the disk has no room, or there are newer ones meanwhile. 13: damage is in the way;
`larder repair --apply` sets it aside.")]
pub(super) struct ResealArgs {
    #[command(flatten)]
    locking: Locking,
}

/// What was sealed anew.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct ResealJson {
    /// Blocks that were under older identities.
    blocks: u64,
    /// Blocks that were moved out of, those among them that were mostly dead.
    moved_blocks: u64,
    /// Bytes that were moved, unpacked.
    moved_bytes: u64,
    /// Manifests and names of datasets.
    rows: u64,
    /// Manifests and names of datasets that are damaged: they stay as they are.
    rows_damaged: u64,
    /// Runs whose records went, since nothing is sealed by them any more.
    epochs_removed: u64,
    /// Runs whose keys were wrapped anew: they sealed entries of the log, which stay as they are.
    epochs_rewrapped: u64,
    /// Runs that stay under older identities, since something that is damaged was sealed by them.
    epochs_left: u64,
    /// Runs under identities for which an owner has put newer ones meanwhile: the next run seals them anew.
    epochs_overtaken: u64,
    /// Bytes by which the files of blocks became shorter; what was moved before is not taken off.
    freed: u64,
    /// True if another process began to write in between, and `--no-wait` had this stop there: exit status 11.
    cut_short: bool,
    /// The folder in which `larder repair` set things aside, as they were: it is not sealed anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_aside: Option<String>,
}

pub(super) fn run(args: &ResealArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "sealing the store anew", global)?;
    let done = reseal(&store, args.locking.waiting(), out)?;
    tell(&store, &done, out)
}

/// Seals anew, under a bar.
pub(super) fn reseal(store: &Store, waiting: Waiting, out: &Output) -> Result<Collected, CliError> {
    let bar = Bar::start(out, "reseal");
    let options = GcOptions { dry_run: false, reseal: true, waiting, now: context::now() };
    let done = collect(store, &context::pages(store), options, &bar);
    bar.finish();
    Ok(done?)
}

impl ResealJson {
    pub(super) fn new(store: &Store, done: &Collected) -> Self {
        let resealed = done.resealed.unwrap_or_default();
        Self {
            blocks: resealed.blocks,
            moved_blocks: done.repacked.0,
            moved_bytes: done.repacked.1,
            rows: resealed.rows,
            rows_damaged: resealed.damaged,
            epochs_removed: resealed.epochs.removed,
            epochs_rewrapped: resealed.epochs.rewrapped,
            epochs_left: resealed.epochs.left,
            epochs_overtaken: resealed.epochs.overtaken,
            freed: done.freed,
            cut_short: done.cut_short,
            set_aside: store.set_aside().map(|path| path.display().to_string()),
        }
    }
}

fn tell(store: &Store, done: &Collected, out: &Output) -> Result<Outcome, CliError> {
    if out.json() {
        out.print_json(&KeyReportJson::Reseal(ResealJson::new(store, done)))?;
    }
    remark(store, done, out)
}

/// True if nothing in the store's folder is sealed under older identities any more.
pub(super) fn is_all(store: &Store, done: &Collected) -> bool {
    let is_all = |epochs: EpochSweep| epochs.left + epochs.overtaken == 0;
    let all = done.resealed.is_some_and(|resealed| resealed.damaged == 0 && is_all(resealed.epochs));
    all && !done.cut_short && store.set_aside().is_none()
}

/// Tells people what was sealed anew; whether it is all.
pub(super) fn remark(store: &Store, done: &Collected, out: &Output) -> Result<Outcome, CliError> {
    let Resealed { blocks, rows, damaged, epochs } = done.resealed.unwrap_or_default();
    if done.cut_short {
        let text = format!(
            "another process writes now: {} and {} were sealed anew, the rest is left for `larder key reseal`",
            human_bytes(done.repacked.1),
            counted(rows, "manifest or name", "manifests and names")
        );
        return Err(CliError::new(Kind::Locked, text).hint("without --no-wait larder waits for it").told(out.json()));
    }
    if blocks + rows + epochs.removed + epochs.rewrapped + epochs.left + epochs.overtaken == 0 {
        out.remark("nothing is under older identities of the store");
    } else {
        out.remark(&format!(
            "sealed anew: {} of {}, {}",
            human_bytes(done.repacked.1),
            counted(blocks, "block", "blocks"),
            counted(rows, "manifest or name", "manifests and names")
        ));
    }
    if let Some(aside) = store.set_aside() {
        out.remark(&format!(
            "{} holds what was set aside by a repair, sealed as it was: remove it when nothing in it is wanted",
            super::super::output::escaped(&aside.display().to_string())
        ));
    }
    if damaged > 0 {
        let rows =
            counted(damaged, "manifest or name is damaged and stays", "manifests and names are damaged and stay");
        out.tell(&format!("{rows} as they were: `larder verify` tells which"));
    }
    if epochs.overtaken > 0 {
        out.tell(&format!(
            "{} under older identities again: an owner has given the store newer ones meanwhile; `larder key reseal` seals them anew",
            counted(epochs.overtaken, "run is", "runs are")
        ));
    }
    if epochs.left == 0 {
        return Ok(if epochs.overtaken == 0 { Outcome::Done } else { Outcome::Partial });
    }
    out.tell(&format!(
        "{} under older identities still: what they sealed is damaged (`larder verify --read-data` tells), or the disk has no room to move it",
        counted(epochs.left, "run is", "runs are")
    ));
    Ok(Outcome::Partial)
}
