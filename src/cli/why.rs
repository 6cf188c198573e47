//! `larder why-big` and `larder why-new`

use std::ffi::OsString;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::growth::{Limits, Shares, biggest, brought};

use super::context;
use super::entry::PathJson;
use super::error::CliError;
use super::output::{Output, counted, human_bytes};
use super::place::Place;
use super::progress::Bar;
use super::{Global, Outcome};

/// Show which paths make a snapshot big
///
/// Counts what files hold, before compression: holes not at all, and a file with several names (hard links) at the first of them in the
/// snapshot. The same content in several files counts in each.
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
    /// What lies directly in the folders among these paths, and has less than `--percent` asks for.
    rest: RestJson,
    /// Of why-new: bytes of names, metadata and structure that were new.
    #[serde(skip_serializing_if = "Option::is_none")]
    structure_bytes: Option<u64>,
}

/// Paths that are not shown. Folders at the depth of `--depth` stand for what is in them: that is not among the rest.
#[derive(Debug, Serialize, JsonSchema)]
struct RestJson {
    /// How many; what is below one of them counts with it.
    paths: u64,
    bytes: u64,
}

/// A path, empty for the whole, and its part of it.
#[derive(Debug, Serialize, JsonSchema)]
struct ShareJson {
    #[serde(flatten)]
    path: PathJson,
    folder: bool,
    /// Of why-big: what files hold, at the first name of each; of why-new: new chunks, at the first path of each.
    bytes: u64,
    /// Items counted, all below a folder included.
    items: u64,
}

impl Shown {
    fn limits(&self) -> Result<Limits, CliError> {
        if (0.0..=100.0).contains(&self.percent) {
            Ok(Limits { percent: self.percent, depth: self.depth })
        } else {
            Err(CliError::new(Kind::Usage, "--percent is between 0 and 100"))
        }
    }
}

pub(super) fn big(args: &WhyBigArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (place, limits) = (Place::parse(&args.what)?, args.shown.limits()?);
    let store = context::open_for(Role::Catalog, "measuring snapshots", global)?;
    let found = place.find(&store)?;
    let bar = Bar::start(out, "why-big");
    let shares = biggest(&found.pages, &found.entry, &found.path, limits, &bar)?;
    bar.finish();
    show(&found.id.to_string(), &shares, None, out)
}

pub(super) fn new(args: &WhyNewArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (place, limits) = (Place::parse(&args.what)?, args.shown.limits()?);
    if !place.is_whole() {
        return Err(CliError::new(Kind::Usage, "name a snapshot without a path: what came with it is sorted by paths"));
    }
    let store = context::open_for(Role::Catalog, "measuring snapshots", global)?;
    let found = place.find(&store)?;
    let bar = Bar::start(out, "why-new");
    let brought = brought(&found.pages, found.id, &found.manifest, limits, &bar)?;
    bar.finish();
    show(&found.id.to_string(), &brought.shares, Some(brought.structure), out)
}

fn show(id: &str, shares: &Shares, structure: Option<u64>, out: &Output) -> Result<Outcome, CliError> {
    if out.json() {
        out.print_json(&WhyJson {
            id: id.to_owned(),
            paths: as_json(shares),
            rest: RestJson { paths: shares.rest.paths, bytes: shares.rest.bytes },
            structure_bytes: structure,
        })?;
        return Ok(Outcome::Done);
    }
    let whole = shares.told.first().map_or(0, |s| s.bytes).max(1);
    let columns = |bytes: u64| format!("{:>10} {:>5.1} %  ", human_bytes(bytes), bytes as f64 * 100.0 / whole as f64);
    for share in &shares.told {
        let mut text = columns(share.bytes).into_bytes();
        text.extend_from_slice("  ".repeat(share.depth).as_bytes());
        text.extend_from_slice(&out.name(if share.name.is_empty() { b"." } else { &share.name }));
        text.extend_from_slice(if share.folder { b"/\n" } else { b"\n" });
        out.raw(&text)?;
    }
    if shares.rest.paths > 0 {
        out.line(&format!(
            "{}in {} of these folders",
            columns(shares.rest.bytes),
            counted(shares.rest.paths, "smaller path", "smaller paths")
        ))?;
    }
    if let Some(structure) = structure {
        out.line(&format!("{:>10}          names, metadata and structure", human_bytes(structure)))?;
    }
    Ok(Outcome::Done)
}

fn as_json(shares: &Shares) -> Vec<ShareJson> {
    let mut all = Vec::new();
    shares.each(|path, share| {
        all.push(ShareJson { path: path.into(), folder: share.folder, bytes: share.bytes, items: share.items });
    });
    all
}
