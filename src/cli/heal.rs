//! `larder heal`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::heal::{Elsewhere, Healed, heal, is_copy};
use crate::store::{LOST_ENTRIES, Store, Waiting};

use super::context;
use super::error::CliError;
use super::output::{Output, counted, escaped, human_bytes};
use super::pack_keys::PackKeys;
use super::progress::Bar;
use super::verify::print_touched;
use super::verify_json::{LostEntryJson, TouchedJson};
use super::{Global, Outcome};

/// Take what the store has lost from a folder, a mount, a pack or a copy of the store
///
/// Reads the places that are named and stores whatever hashes to something that a snapshot needs and the store has no more. From a folder,
/// a mount, a file, or any tar or zip (compressed, or sealed to an identity at hand) come contents; from a copy of this store also names, structure,
/// manifests, and entries of the arrival log (holds, policies, changes of keys …), of which each is taken only if the one behind it says that it is that
/// one. A store of its own is mounted first, and the
/// mount is named. What is in damaged blocks counts as lost once `larder repair --apply` was run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder heal ~/work                                   the folder that was captured
  larder heal home.tar.zst                             what was exported once
  larder heal /mnt/old /media/copy-of-the-store        a mount, and a copy of this store")]
pub(super) struct HealArgs {
    /// Folders, files, packs, mounts, or copies of the store
    #[arg(required = true, value_name = "FROM", value_hint = ValueHint::AnyPath)]
    from: Vec<PathBuf>,
    /// Fail if another larder writes to the store, instead of waiting for it
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(args: &HealArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Catalog, "looking for what is missing", global)?;
    let from = args.from.iter().map(|path| elsewhere(path, &store, global)).collect::<Result<Vec<_>, _>>()?;
    let waiting = if args.no_wait { Waiting::NoWait } else { Waiting::Wait };
    let bar = Bar::start(out, "heal");
    let healed = heal(&store, &from, &PackKeys::unasked(global), waiting, &bar);
    bar.finish();
    let healed = healed?;
    let report = HealJson::new(&healed);
    if out.json() {
        out.print_json(&report)?;
    } else {
        print(&healed, out)?;
    }
    if healed.left() == 0 {
        return Ok(Outcome::Done);
    }
    let hint = match () {
        () if !healed.entries_left.is_empty() => LOST_ENTRIES,
        () if healed.manifests_left > 0 => LOST_MANIFESTS,
        () => ELSEWHERE,
    };
    Err(CliError::new(Kind::Damage, "something is still missing").hint(hint).told(out.json()))
}

/// What to do about the rest.
const ELSEWHERE: &str = "name other places that may have it, for names and structure copies of the store; `larder snapshot` of a source that has not changed, or `larder import` of a pack, \
    stores both anew; what nothing has is lost with the paths above, and what is not named is whole";
/// The same, if manifests are among it.
const LOST_MANIFESTS: &str = "name other places that may have it, for manifests copies of the store; if there are none, \
    `larder forget --lost` gives up the snapshots whose manifests are lost; what is not named above is whole";

/// What a path is: a copy of the store, or something to be read.
fn elsewhere(path: &Path, store: &Store, global: &Global) -> Result<Elsewhere, CliError> {
    if let Err(e) = path.symlink_metadata() {
        return Err(CliError::new(Kind::NotFound, format!("cannot read {}: {e}", path.display())));
    }
    if path.metadata().is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        let text = format!("{} is a pipe, device or socket, of which nothing is read", path.display());
        return Err(
            CliError::new(Kind::Usage, text).hint("name a folder, a file, a pack, a mount, or a copy of the store")
        );
    }
    if !path.join("header").is_file() || !path.join("db").is_dir() {
        return Ok(Elsewhere::Path(path.to_owned()));
    }
    let other = context::open_copy(path, global)?;
    if is_copy(store, &other) {
        return Ok(Elsewhere::Store(Box::new(other)));
    }
    let text = format!("{} is a store with keys of its own: its ids mean nothing here", path.display());
    Err(CliError::new(Kind::Usage, text).hint("mount it with larder mount, and name the mount"))
}

fn print(healed: &Healed, out: &Output) -> Result<(), CliError> {
    print_touched(&healed.touched, out)?;
    for lost in &healed.entries_left {
        out.line(&format!("lost: {}: {}", escaped(&lost.object()), escaped(&lost.why)))?;
    }
    if healed.missing == 0 {
        return out.line("nothing is missing (where `larder verify` tells of damage `larder repair --apply` goes first: what is in damaged blocks counts as missing then)");
    }
    out.line(&format!(
        "of {} that were missing {} found, {}; {} still missing",
        counted(
            healed.missing,
            "chunk, page, manifest or entry of the log",
            "chunks, pages, manifests and entries of the log"
        ),
        healed.found,
        human_bytes(healed.found_bytes),
        healed.left()
    ))
}

/// What was found, and what is still missing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HealJson {
    /// Chunks, pages, manifests and entries of the arrival log that were missing, as far as that could be known.
    missing: u64,
    /// Those that were found and stored.
    found: u64,
    /// Their bytes.
    found_bytes: u64,
    /// Chunks of content that are still missing; if there are any, or pages, the exit status is 13.
    chunks_left: u64,
    /// Pages, which hold names and structure, that are still missing. What is below them is not known.
    pages_left: u64,
    /// Manifests that are still missing: of their snapshots nothing can be had.
    manifests_left: u64,
    /// Entries of the arrival log that are still missing, or what they say: holds, policies, what was given up, changes of keys.
    entries_left: Vec<LostEntryJson>,
    /// The snapshots that what is missing touches.
    touched: Vec<TouchedJson>,
}

impl HealJson {
    fn new(healed: &Healed) -> Self {
        Self {
            missing: healed.missing,
            found: healed.found,
            found_bytes: healed.found_bytes,
            chunks_left: healed.chunks_left,
            pages_left: healed.pages_left,
            manifests_left: healed.manifests_left,
            entries_left: healed.entries_left.iter().map(Into::into).collect(),
            touched: healed.touched.iter().map(Into::into).collect(),
        }
    }
}
