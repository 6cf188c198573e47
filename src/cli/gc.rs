//! `larder gc`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Kind;
use crate::ops::gc::{Collected, GcOptions, collect};
use crate::store::{DAMAGED, Room, Waiting};

use super::context;
use super::error::CliError;
use super::output::{Output, counted, escaped, human_bytes, short_id};
use super::progress::Bar;
use super::{Global, Outcome};

/// Give back the room of what no snapshot needs
///
/// `larder forget` gives snapshots up; this removes them, and what they alone needed. Reading, mounts and captures go on meanwhile:
/// between two small steps a capture that waits goes first. A snapshot that somebody reads, and one that is immutable, stays.
/// If a manifest or a page that a snapshot needs is damaged, or a chunk that it needs is missing, nothing is removed: what is needed
/// cannot be told, or may be found again in what would go. `larder verify` tells more. Nor is anything removed on the word of the index alone:
/// with an owner's key each block is opened before it goes, and if the index is wrong about what is in it, it stays, and gc ends (exit status 13).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder gc --dry-run                                  what would be removed, and why
  larder gc")]
pub(super) struct GcArgs {
    /// Only tell what would be removed
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Fail if another process writes, instead of waiting for it; if one begins between two steps, stop there and tell what was done
    #[arg(long)]
    no_wait: bool,
}

/// What gc did, or would do (`--dry-run`).
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GcJson {
    dry_run: bool,
    /// Snapshots that live.
    living: u64,
    /// Snapshots that were given up and are removed.
    removed: Vec<String>,
    /// Given up, and kept this time because somebody reads them.
    leased: Vec<String>,
    /// Given up, and kept because they are immutable or held.
    kept_back: Vec<KeptJson>,
    /// All blocks before.
    all: RoomJson,
    /// Blocks in which nothing is needed.
    dead: RoomJson,
    /// Blocks of which less than half is needed: that is moved.
    sparse: RoomJson,
    /// Chunks that snapshots need and that are missing: damage.
    missing_chunks: u64,
    /// What was done; absent from a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<DoneJson>,
}

/// A snapshot that was given up and stays.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct KeptJson {
    id: String,
    why: String,
}

/// Some blocks.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RoomJson {
    blocks: u64,
    /// Chunks and pages in them that nothing needs.
    items: u64,
    /// Sealed bytes.
    bytes: u64,
}

/// What gc has done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DoneJson {
    /// Blocks that were moved out of.
    repacked_blocks: u64,
    /// Bytes that were moved, unpacked.
    repacked_bytes: u64,
    /// Index entries removed.
    index_entries: u64,
    /// Blocks removed.
    blocks: u64,
    /// Blocks removed that were not among all blocks before: runs that were cut had left them.
    left_behind: u64,
    /// True if another process began to write in between, and `--no-wait` had gc stop there: exit status 11.
    cut_short: bool,
    /// Bytes by which the files of blocks became shorter.
    freed: u64,
    /// Sealed bytes of dead blocks that stay until more of their files is dead, or the disk has room to write those anew.
    kept: u64,
    /// Free bytes that the disk would have to have for that; absent if it has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<u64>,
}

impl From<Room> for RoomJson {
    fn from(room: Room) -> Self {
        Self { blocks: room.blocks, items: room.items, bytes: room.bytes }
    }
}

pub(super) fn run(args: &GcArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_named(global)?;
    let pages = context::pages(&store);
    let bar = Bar::start(out, "gc");
    let waiting = if args.no_wait { Waiting::NoWait } else { Waiting::Wait };
    let collected =
        collect(&store, &pages, GcOptions { dry_run: args.dry_run, reseal: false, waiting, now: context::now() }, &bar);
    bar.finish();
    let collected = collected?;
    if out.json() {
        out.print_json(&as_json(&collected, args.dry_run))?;
    } else {
        print(&collected, args.dry_run, out)?;
    }
    if collected.cut_short {
        let text = "another process writes now: what is left is for the next run";
        return Err(CliError::new(Kind::Locked, text).hint("without --no-wait larder waits for it").told(out.json()));
    }
    if collected.missing > 0 {
        let text = "what snapshots need is missing: gc will remove nothing";
        return Err(CliError::new(Kind::Damage, text).hint(DAMAGED).told(out.json()));
    }
    Ok(Outcome::Done)
}

fn print(collected: &Collected, dry_run: bool, out: &Output) -> Result<(), CliError> {
    let verb = if dry_run { "would be removed" } else { "removed" };
    for id in &collected.removed {
        out.line(&format!("{verb}: snapshot {}, given up", short_id(*id)))?;
    }
    for id in &collected.leased {
        out.line(&format!("kept: snapshot {}, given up, in use", short_id(*id)))?;
    }
    for (id, why) in &collected.kept_back {
        out.line(&format!("kept: snapshot {}, given up: {}", short_id(*id), escaped(why)))?;
    }
    let room = |room: Room| format!("{} ({})", counted(room.blocks, "block", "blocks"), human_bytes(room.bytes));
    let Collected { living, all, dead, sparse, missing, .. } = *collected;
    if missing > 0 {
        let chunks = counted(missing, "chunk", "chunks");
        out.line(&format!("damaged: {chunks} that snapshots need are missing; `larder verify` tells what they touch"))?;
    }
    out.line(&format!("{} live, in {}", counted(living, "snapshot", "snapshots"), room(all)))?;
    out.line(&format!("nothing is needed of {}", room(dead)))?;
    if sparse.blocks > 0 {
        out.line(&format!("less than half is needed of {}", room(sparse)))?;
    }
    if !dry_run {
        let (blocks, bytes) = collected.repacked;
        if blocks > 0 {
            out.line(&format!("{} moved out of {}", human_bytes(bytes), counted(blocks, "block", "blocks")))?;
        }
        let removed = counted(collected.blocks, "block", "blocks");
        let more = match collected.left_behind {
            0 => String::new(),
            count => format!(", and {} of runs that were cut", counted(count, "block", "blocks")),
        };
        out.line(&format!("freed {}: {removed} removed{more}", human_bytes(collected.freed)))?;
        if collected.wanted > 0 {
            let (kept, wanted) = (human_bytes(collected.kept), human_bytes(collected.wanted));
            out.line(&format!("{kept} stay, since the disk is nearly full: run gc again when {wanted} are free"))?;
        } else if collected.kept > 0 {
            out.line(&format!("{} stay until more of their files is dead", human_bytes(collected.kept)))?;
        }
    }
    Ok(())
}

fn as_json(collected: &Collected, dry_run: bool) -> GcJson {
    let ids = |ids: &[crate::model::SnapshotId]| ids.iter().map(ToString::to_string).collect();
    GcJson {
        dry_run,
        living: collected.living,
        removed: ids(&collected.removed),
        leased: ids(&collected.leased),
        kept_back: collected
            .kept_back
            .iter()
            .map(|(id, why)| KeptJson { id: id.to_string(), why: why.clone() })
            .collect(),
        all: collected.all.into(),
        dead: collected.dead.into(),
        sparse: collected.sparse.into(),
        missing_chunks: collected.missing,
        done: (!dry_run).then_some(DoneJson {
            repacked_blocks: collected.repacked.0,
            repacked_bytes: collected.repacked.1,
            index_entries: collected.index_entries,
            blocks: collected.blocks,
            left_behind: collected.left_behind,
            cut_short: collected.cut_short,
            freed: collected.freed,
            kept: collected.kept,
            wanted: Some(collected.wanted).filter(|wanted| *wanted > 0),
        }),
    }
}
