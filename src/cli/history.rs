//! `larder history`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::history::{History, Version};
use crate::snapshots::{List, Listed};

use super::arrival::claim;
use super::context;
use super::diff;
use super::entry::{PathJson, content_digest, kind, mode_text};
use super::error::CliError;
use super::filter::FilterArgs;
use super::output::{Output, escaped, human_bytes, rfc3339, short_id, short_time};
use super::progress::Bar;
use super::{Global, Outcome};

/// Show how a path changed from snapshot to snapshot
///
/// Each line has the snapshot that first found it so, `+` for what was added, `-` gone, `M` holds something else, `T` became another sort of
/// thing, `U` only metadata changed, and what stands there since. A folder also has a line when only something
/// in it changed: `…`. Times are UTC; those of snapshots are when they arrived by clocks that are trusted, as `larder list` has it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  larder history src/main.rs\n  larder history --dataset host /etc/passwd")]
pub(super) struct HistoryArgs {
    /// Which path, from the root of the snapshots
    #[arg(value_name = "PATH")]
    path: OsString,
    #[command(flatten)]
    filter: FilterArgs,
}

/// A version; `larder history --json` prints one a line.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VersionJson {
    dataset: String,
    /// The snapshot that first found it so.
    id: String,
    sequence: u64,
    /// When the store acknowledged it, by the clock of the machine that captured.
    arrival: String,
    /// When it arrived by what catalog and owner keys vouch for.
    counted_as: String,
    #[serde(flatten)]
    path: PathJson,
    /// `added`, `removed`, `type`, `content` or `metadata`; `below` if only something in a folder changed.
    change: &'static str,
    /// `file`, `folder`, `symlink`, `fifo`, `character device` or `block device`; nothing if it is gone.
    kind: Option<&'static str>,
    /// Bytes: of a folder, of all files in it.
    size: Option<u64>,
    mtime: Option<String>,
    /// BLAKE3 of a file's content.
    blake3: Option<String>,
}

pub(super) fn run(args: &HistoryArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Catalog, "searching snapshots", global)?;
    let now = context::now();
    let list = List::find(&store, args.filter.wanted(now)?, now)?;
    let names = args.path.as_bytes().split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".");
    let path = names.collect::<Vec<_>>().join(&b'/');
    let bar = Bar::start(out, "history");
    let pages = context::pages(&store);
    let mut history = History::new(&pages, &path);
    let (mut versions, mut damage) = (0u64, None);
    list.each(false, |snapshot| {
        if let Some(version) = history.next(&snapshot, &bar)? {
            versions += 1;
            if out.json() {
                out.print_json(&as_json(&snapshot, &version, &path))?;
            } else {
                line(&snapshot, &version, out)?;
            }
        }
        damage = damage.take().or(snapshot.manifest.err());
        Ok::<_, CliError>(())
    })?;
    bar.finish();
    if let Some(why) = damage.or(list.damage) {
        return Err(CliError::new(Kind::Damage, format!("not every snapshot could be looked at: {why}")));
    }
    if versions == 0 {
        let what = format!("no snapshot has {}", args.path.display());
        return Err(CliError::new(Kind::NotFound, what).hint("`larder find NAME` searches by name"));
    }
    Ok(Outcome::Done)
}

/// The sign and the word for what changed.
fn signs(version: &Version) -> (char, &'static str) {
    version.change.as_ref().map_or(('…', "below"), |change| diff::signs(change.what))
}

/// Bytes of a file, or of all files in a folder.
fn size(version: &Version) -> Option<u64> {
    version.entry.as_ref().map(|e| e.folder().map_or(e.size(), |tree| tree.counts.bytes))
}

fn line(snapshot: &Listed, version: &Version, out: &Output) -> Result<(), CliError> {
    let row = &snapshot.row;
    let now = version.entry.as_ref().map_or_else(String::new, |e| {
        format!("  {} {:>10}  {}", mode_text(e), human_bytes(size(version).unwrap_or(0)), short_time(e.mtime))
    });
    let metadata = version.change.as_ref().map_or_else(String::new, |change| diff::metadata_text(change.what));
    let claim = claim(snapshot.counted, row).map_or_else(String::new, |claim| format!("  {claim}"));
    out.line(&format!(
        "{}  {}  {}  {}{now}{metadata}{claim}",
        short_id(row.id),
        short_time(snapshot.counted.time),
        escaped(&snapshot.dataset_label()),
        signs(version).0
    ))
}

fn as_json(snapshot: &Listed, version: &Version, path: &[u8]) -> VersionJson {
    let row = &snapshot.row;
    let entry = version.entry.as_ref();
    VersionJson {
        dataset: snapshot.dataset_label(),
        id: row.id.to_string(),
        sequence: row.sequence,
        arrival: rfc3339(row.arrival),
        counted_as: rfc3339(snapshot.counted.time),
        path: path.into(),
        change: signs(version).1,
        kind: entry.map(|e| kind(e).1),
        size: size(version),
        mtime: entry.map(|e| rfc3339(e.mtime)),
        blake3: entry.and_then(content_digest),
    }
}
