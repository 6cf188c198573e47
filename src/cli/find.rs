//! `larder find`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Digest, Entry, Kind, Role};
use crate::ops::find::{Criteria, Found, Searched, find};
use crate::snapshots::{List, SnapshotName, resolve_row};

use super::arrival::claim;
use super::context;
use super::entry::{PathJson, content_digest, kind, mode_text};
use super::error::CliError;
use super::filter::FilterArgs;
use super::output::{Output, escaped, human_bytes, rfc3339, short_id, short_time};
use super::progress::Bar;
use super::{Global, Outcome};

/// Find names in snapshots: in all of them, unless told otherwise
///
/// A pattern without `/` is compared with names, one with `/` with paths from the root. `*` and `?` stay within a name, `**`
/// goes over folders. A version of a path is told once for each series of snapshots that have it, with the first and last of them.
/// Times are UTC; those of snapshots are when they arrived by clocks that are trusted, as `larder list` has it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  larder find '*.key'\n  larder find 'src/**/*.rs' --snapshot work~1\n  larder find --dataset work --type f --min-size 100M"
)]
pub(super) struct FindArgs {
    /// What to look for; one of them must match. Without any, all that has the --type, size or content
    #[arg(value_name = "PATTERN", required_unless_present_any = ["blake3", "type", "min_size", "max_size"])]
    patterns: Vec<String>,
    /// Only in this snapshot (can be repeated)
    #[arg(long, value_name = "SNAP")]
    snapshot: Vec<SnapshotName>,
    /// Capital and small letters are the same
    #[arg(long)]
    ignore_case: bool,
    /// Only these sorts of things: f file, d folder, l symlink, p pipe, c and b devices (can be repeated)
    #[arg(long, short = 't', value_name = "LETTER", value_parser = sort)]
    r#type: Vec<char>,
    /// Only files of this content, by its BLAKE3 in hexadecimal
    #[arg(long, value_name = "DIGEST")]
    blake3: Option<Digest>,
    /// Only files of at least this size
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    min_size: Option<u64>,
    /// Only files of at most this size
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    max_size: Option<u64>,
    #[command(flatten)]
    filter: FilterArgs,
}

/// A version of something found; `larder find --json` prints one a line.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FoundJson {
    dataset: String,
    #[serde(flatten)]
    path: PathJson,
    /// `file`, `folder`, `symlink`, `fifo`, `character device` or `block device`.
    kind: &'static str,
    mode: String,
    size: u64,
    mtime: String,
    /// BLAKE3 of a file's content.
    blake3: Option<String>,
    first: SeenJson,
    last: SeenJson,
    /// How many snapshots have this version, one after the other.
    snapshots: u64,
}

/// A snapshot that has it.
#[derive(Debug, Serialize, JsonSchema)]
struct SeenJson {
    id: String,
    /// When the store acknowledged it, by the clock of the machine that captured.
    arrival: String,
    /// When it arrived by what catalog and owner keys vouch for.
    counted_as: String,
}

pub(super) fn run(args: &FindArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let mut criteria = Criteria::default();
    criteria.sorts.clone_from(&args.r#type);
    (criteria.content, criteria.min_size, criteria.max_size) = (args.blake3, args.min_size, args.max_size);
    for pattern in &args.patterns {
        criteria.pattern(pattern, args.ignore_case)?;
    }
    let store = context::open_for(Role::Catalog, "searching snapshots", global)?;
    let now = context::now();
    let within = args.filter.wanted(now)?;
    let list = if args.snapshot.is_empty() {
        List::find(&store, within, now)?
    } else {
        let rows = args.snapshot.iter().map(|name| resolve_row(&store, name, now)).collect::<Result<_, _>>()?;
        List::among(&store, rows, within, now)?
    };
    let (mut snapshots, mut damage) = (Vec::new(), None);
    list.each(false, |snapshot| {
        snapshots.extend(Searched::of(&snapshot));
        // One that is damaged hides no other.
        damage = damage.take().or(snapshot.manifest.err());
        Ok::<_, CliError>(())
    })?;
    let bar = Bar::start(out, "find");
    let mut versions = 0u64;
    let shows_snapshots = snapshots.len() > 1;
    find(&context::pages(&store), &snapshots, &criteria, &bar, |found| {
        versions += 1;
        if out.json() { out.print_json(&as_json(&found)) } else { line(&found, shows_snapshots, out) }
    })?;
    bar.finish();
    if versions == 0 {
        out.remark("nothing was found");
    }
    match damage.or(list.damage) {
        Some(why) => Err(CliError::new(Kind::Damage, format!("not every snapshot could be searched: {why}"))),
        None => Ok(Outcome::Done),
    }
}

fn sort(text: &str) -> Result<char, String> {
    match text.as_bytes() {
        [letter @ (b'f' | b'd' | b'l' | b'p' | b'c' | b'b')] => Ok(char::from(*letter)),
        _ => Err("it is none of f, d, l, p, c, b".to_owned()),
    }
}

fn line(found: &Found, shows_snapshots: bool, out: &Output) -> Result<(), CliError> {
    let Entry { mtime, .. } = found.entry;
    let mut text =
        format!("{} {:>10}  {}  ", mode_text(&found.entry), human_bytes(found.entry.size()), short_time(mtime))
            .into_bytes();
    if shows_snapshots {
        text.extend_from_slice(escaped(&found.first.dataset).as_bytes());
        text.push(b':');
    }
    text.extend_from_slice(&out.name(&found.path));
    if shows_snapshots {
        let seen = |s: &Searched| {
            let claim = claim(s.counted, &s.row).map_or_else(String::new, |claim| format!(" ({claim})"));
            format!("{} of {}{claim}", short_id(s.row.id), short_time(s.counted.time))
        };
        let when = if found.count == 1 {
            format!("  in {}", seen(found.first))
        } else {
            format!("  in {} snapshots, {} to {}", found.count, seen(found.first), seen(found.last))
        };
        text.extend_from_slice(when.as_bytes());
    }
    text.push(b'\n');
    out.raw(&text)
}

fn as_json(found: &Found) -> FoundJson {
    let seen = |s: &Searched| SeenJson {
        id: s.row.id.to_string(),
        arrival: rfc3339(s.row.arrival),
        counted_as: rfc3339(s.counted.time),
    };
    FoundJson {
        dataset: found.first.dataset.clone(),
        path: (&*found.path).into(),
        kind: kind(&found.entry).1,
        mode: format!("{:04o}", found.entry.mode),
        size: found.entry.size(),
        mtime: rfc3339(found.entry.mtime),
        blake3: content_digest(&found.entry),
        first: seen(found.first),
        last: seen(found.last),
        snapshots: found.count,
    }
}
