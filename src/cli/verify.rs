//! `larder verify`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::verify::{Verified, VerifyOptions, verify};

use super::context;
use super::error::CliError;
use super::output::{Output, counted, escaped, human_bytes, short_id};
use super::progress::Bar;
use super::{Global, Outcome};

/// Paths shown for each snapshot that damage touches.
const PATHS_SHOWN: usize = 10;

/// Check the store: structure, and that no byte has changed
///
/// Names each damaged object, and the snapshots and paths that it touches; exit status 13 if there is any damage.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder verify                                        structure, and the sealed bytes of every block
  larder verify --read-data                            every byte, as a restore would read it")]
pub(super) struct VerifyArgs {
    /// Open every block and file too, and recompute every hash
    #[arg(long)]
    read_data: bool,
}

pub(super) fn run(args: &VerifyArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let needs = if args.read_data { Role::Owner } else { Role::Catalog };
    let store =
        context::open_for(needs, if args.read_data { "reading all content" } else { "verifying structure" }, global)?;
    let pages = context::pages(&store);
    let bar = Bar::start(out, "verify");
    let options = VerifyOptions { read_data: args.read_data };
    let verified = verify(&store, &pages, options, &bar);
    bar.finish();
    // It would send its user in a circle.
    let verified = verified.map_err(|e| CliError { hint: None, ..CliError::from(e) })?;
    if out.json() {
        out.print_json(&as_json(&verified, args.read_data))?;
    } else {
        print(&verified, args.read_data, out)?;
    }
    if verified.findings.is_empty() {
        return Ok(Outcome::Done);
    }
    let count = verified.findings.len();
    Err(CliError::new(
        Kind::Damage,
        format!("damage found: {count} objects, {} snapshots touched", verified.touched.len()),
    )
    .hint("what is not named above is whole and can be restored; copy it out, and capture the sources into a new store")
    .told(out.json()))
}

fn print(verified: &Verified, read_data: bool, out: &Output) -> Result<(), CliError> {
    for finding in &verified.findings {
        out.line(&format!("damaged: {}: {}", escaped(&finding.object), escaped(&finding.why)))?;
    }
    for touched in &verified.touched {
        let dataset = touched.dataset.as_ref().map_or_else(String::new, |d| format!(" of {}", escaped(d)));
        out.line(&format!("touched: snapshot {}{dataset}: {} paths", short_id(touched.snapshot), touched.count))?;
        for path in touched.paths.iter().take(PATHS_SHOWN) {
            out.line(&format!("  {}", escaped(&String::from_utf8_lossy(path))))?;
        }
        let more = touched.count.saturating_sub(touched.paths.len().min(PATHS_SHOWN) as u64);
        if more > 0 {
            out.line(&format!("  … and {more} more"))?;
        }
    }
    for id in &verified.unlisted {
        out.line(&format!("listed nowhere, to be had by its id: snapshot {id}"))?;
    }
    if verified.findings.is_empty() {
        let files = counted(verified.files, "file", "files");
        let depth =
            if read_data { format!("every byte of {files} read") } else { "structure and sealed bytes".to_owned() };
        out.line(&format!(
            "no damage: {}, {}, {}, {} ({depth})",
            counted(verified.snapshots, "snapshot", "snapshots"),
            counted(verified.entries, "entry", "entries"),
            counted(verified.blocks, "block", "blocks"),
            human_bytes(verified.block_bytes)
        ))?;
    }
    Ok(())
}

/// What was checked and what was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VerifyJson {
    /// True if there are findings; then the exit status is 13.
    damaged: bool,
    snapshots: u64,
    pages: u64,
    /// Entries of folders. What several snapshots share is counted once.
    entries: u64,
    blocks: u64,
    /// Bytes of those blocks in the store.
    block_bytes: u64,
    index_entries: u64,
    /// Files among the entries of which every byte was read: all of them with --read-data, else none. Damage may have
    /// hindered some.
    files_read: u64,
    /// Contents of several chunks that were also read from end to end, each once, whatever number of files has it: none
    /// without --read-data.
    long_contents: u64,
    findings: Vec<FindingJson>,
    /// The snapshots that the findings touch.
    touched: Vec<TouchedJson>,
    /// Ids of the snapshots that can be had by these alone, since the log that lists them cannot be read.
    unlisted: Vec<String>,
}

/// A damaged object.
#[derive(Debug, Serialize, JsonSchema)]
struct FindingJson {
    object: String,
    why: String,
    /// The number of the block of content it is, or is in.
    data_block: Option<u64>,
    /// The number of the block of pages it is, or is in.
    tree_block: Option<u64>,
}

/// A snapshot that damage touches.
#[derive(Debug, Serialize, JsonSchema)]
struct TouchedJson {
    /// Its id.
    snapshot: String,
    /// Nothing if its manifest cannot be read.
    dataset: Option<String>,
    /// The first of the paths that are touched; bytes that are not UTF-8 are replaced.
    paths: Vec<String>,
    /// How many paths are touched.
    count: u64,
}

fn as_json(v: &Verified, read_data: bool) -> VerifyJson {
    let findings = v.findings.iter().map(|f| FindingJson {
        object: f.object.clone(),
        why: f.why.clone(),
        data_block: f.data_block,
        tree_block: f.tree_block,
    });
    let touched = v.touched.iter().map(|t| TouchedJson {
        snapshot: t.snapshot.to_string(),
        dataset: t.dataset.clone(),
        paths: t.paths.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect(),
        count: t.count,
    });
    VerifyJson {
        damaged: !v.findings.is_empty(),
        snapshots: v.snapshots,
        pages: v.pages,
        entries: v.entries,
        blocks: v.blocks,
        block_bytes: v.block_bytes,
        index_entries: v.index_entries,
        files_read: if read_data { v.files } else { 0 },
        long_contents: v.long_contents,
        findings: findings.collect(),
        touched: touched.collect(),
        unlisted: v.unlisted.iter().map(ToString::to_string).collect(),
    }
}
