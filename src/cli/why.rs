//! `larder why-big` and `larder why-new`

use std::ffi::OsString;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Kind;
use crate::ops::growth::{Share, biggest, brought};

use super::context;
use super::error::CliError;
use super::ls::path_hex;
use super::output::{Output, human_bytes};
use super::place::Place;
use super::progress::Bar;
use super::{Global, Outcome};

/// Show which paths make a snapshot big
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  larder why-big work\n  larder why-big work:src --percent 1 --depth 2")]
pub(super) struct WhyBigArgs {
    /// What: a snapshot or a folder of it
    #[arg(value_name = "SNAP[:PATH]", default_value = "latest")]
    what: OsString,
    #[command(flatten)]
    shown: Shown,
}

/// Show which paths made the store grow when a snapshot arrived
///
/// Counts the bytes, before compression, of chunks that the store did not have. Of a chunk that several files share the first path counts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  larder why-new work\n  larder why-new work~3 --percent 1")]
pub(super) struct WhyNewArgs {
    /// Which snapshot
    #[arg(value_name = "SNAP", default_value = "latest")]
    what: OsString,
    #[command(flatten)]
    shown: Shown,
}

/// How much is shown.
#[derive(Debug, Args)]
struct Shown {
    /// Leave out paths with less than this part of the whole
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    percent: f64,
    /// Leave out paths below this depth
    #[arg(long, value_name = "LEVELS")]
    depth: Option<usize>,
}

/// What `larder why-big --json` and `larder why-new --json` print.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WhyJson {
    /// The snapshot.
    id: String,
    /// Each folder before what is in it, the biggest first; the whole is the first one.
    paths: Vec<ShareJson>,
    /// Of why-new: bytes of names, metadata and structure that were new.
    #[serde(skip_serializing_if = "Option::is_none")]
    structure_bytes: Option<u64>,
}

/// A path and its part of the whole.
#[derive(Debug, Serialize, JsonSchema)]
struct ShareJson {
    /// Names from the root, joined by `/`; empty for the root.
    path: String,
    /// The same in hexadecimal, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    folder: bool,
    bytes: u64,
    /// Items counted, all below a folder included.
    items: u64,
}

impl Shown {
    fn percent(&self) -> Result<f64, CliError> {
        if (0.0..=100.0).contains(&self.percent) {
            Ok(self.percent)
        } else {
            Err(CliError::new(Kind::Usage, "--percent is between 0 and 100"))
        }
    }
}

pub(super) fn big(args: &WhyBigArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (place, percent) = (Place::parse(&args.what)?, args.shown.percent()?);
    let store = context::open_named(global)?;
    let found = place.find(&store)?;
    let bar = Bar::start(out, "why-big");
    let shares = biggest(&found.pages, &found.entry, percent, &bar)?;
    bar.finish();
    show(&found.id.to_string(), shares, None, args.shown.depth, out)
}

pub(super) fn new(args: &WhyNewArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (place, percent) = (Place::parse(&args.what)?, args.shown.percent()?);
    if !place.is_whole() {
        return Err(CliError::new(Kind::Usage, "name a snapshot without a path: what came with it is sorted by paths"));
    }
    let store = context::open_named(global)?;
    let found = place.find(&store)?;
    let bar = Bar::start(out, "why-new");
    let brought = brought(&store, &found.pages, found.id, &found.manifest, percent, &bar)?;
    bar.finish();
    show(&found.id.to_string(), brought.shares, Some(brought.structure), args.shown.depth, out)
}

fn show(
    id: &str,
    mut shares: Vec<Share>,
    structure: Option<u64>,
    depth: Option<usize>,
    out: &Output,
) -> Result<Outcome, CliError> {
    shares.retain(|s| depth.is_none_or(|most| s.depth <= most));
    if out.json() {
        let paths = shares.iter().map(as_json).collect();
        out.print_json(&WhyJson { id: id.to_owned(), paths, structure_bytes: structure })?;
        return Ok(Outcome::Done);
    }
    let whole = shares.first().map_or(0, |s| s.bytes).max(1);
    for share in &shares {
        let name = share.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let mut text = format!(
            "{:>10} {:>5.1} %  {}",
            human_bytes(share.bytes),
            share.bytes as f64 * 100.0 / whole as f64,
            "  ".repeat(share.depth)
        )
        .into_bytes();
        text.extend_from_slice(&out.name(if name.is_empty() { b"." } else { name }));
        text.extend_from_slice(if share.folder { b"/\n" } else { b"\n" });
        out.raw(&text)?;
    }
    if let Some(structure) = structure {
        out.line(&format!("{:>10}          names, metadata and structure", human_bytes(structure)))?;
    }
    Ok(Outcome::Done)
}

fn as_json(share: &Share) -> ShareJson {
    ShareJson {
        path: String::from_utf8_lossy(&share.path).into_owned(),
        path_hex: path_hex(&share.path),
        folder: share.folder,
        bytes: share.bytes,
        items: share.files,
    }
}
