//! `larder hold` and `larder release`

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Kind;
use crate::ops::retention;
use crate::snapshots::{Hold, SnapshotName, When};
use crate::store::SnapshotRow;

use super::error::CliError;
use super::forget::asked;
use super::hold_json::{HoldJson, text};
use super::output::{Output, escaped, short_id};
use super::progress::Bar;
use super::{Global, Outcome, context};

/// Keep snapshots whatever rules, policies and `forget` say, until they are released
///
/// A snapshot can be held several times. The hold, its reason and who set it stand in the log; `larder show` tells them, and `larder
/// list` marks what is held.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder hold home --reason 'before the migration'
  larder hold 3f2a91c4 --reason 'case 4711' --until 2030-01-01
  larder hold home~1 --reason 'being looked at' --until 30d
  larder hold --immutable 3f2a91c4                     for ever, as the writer key asks that captured it")]
pub(super) struct HoldArgs {
    /// Which ones: ids or their first digits, `latest`, DATASET, DATASET~1, DATASET@TIME
    #[arg(value_name = "SNAP", required = true)]
    snapshots: Vec<String>,
    /// Why; a hold wants one, --immutable need not have any
    #[arg(long, value_name = "TEXT", required_unless_present = "immutable", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// For ever: make them immutable, which nothing takes back
    #[arg(long, conflicts_with = "until")]
    immutable: bool,
    /// When it ends by itself, by the clock of the machine that forgets: a day (its last moment), a time, or how long from now (30d)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// Lift the holds on snapshots, or confirm that strange ones are as they should be
///
/// With --strange: a snapshot that is far smaller than those before it in its dataset, or new from end to end, or one of a flood,
/// keeps what came before it from being forgotten. Once it is confirmed, its dataset is taken to be used to it.
///
/// With --immutable: a snapshot of a writer key that was captured with `--immutable` stays until somebody decides. `larder hold
/// --immutable` grants it for ever, this denies it: rules may then forget the snapshot like any other.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder release 3f2a91c4                              lift all holds on it
  larder release --strange home --reason 'moved the videos away'")]
pub(super) struct ReleaseArgs {
    /// Which ones: ids or their first digits, `latest`, DATASET, DATASET~1, DATASET@TIME
    #[arg(value_name = "SNAP", required = true)]
    snapshots: Vec<String>,
    /// Confirm that they are as they should be, and lift no hold
    #[arg(long)]
    strange: bool,
    /// Do not heed that a writer key asks for them to be immutable, and lift no hold
    #[arg(long, conflicts_with = "strange")]
    immutable: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// What `larder hold` and `larder release` print, a line for each snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HeldJson {
    id: String,
    /// Those that were set or lifted; none with --strange or --immutable.
    holds: Vec<HoldJson>,
}

fn names(texts: &[String]) -> Result<Vec<SnapshotName>, CliError> {
    Ok(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

fn print(row: &SnapshotRow, holds: &[Hold], word: &str, out: &Output) -> Result<(), CliError> {
    if out.json() {
        return out.print_json(&HeldJson { id: row.id.to_string(), holds: holds.iter().map(Into::into).collect() });
    }
    if holds.is_empty() {
        return out.line(&format!("{word} {}", short_id(row.id)));
    }
    let mut lines = holds.iter().map(|hold| format!("{word} {}  {}", short_id(row.id), escaped(&text(hold))));
    lines.try_for_each(|line| out.line(&line))
}

pub(super) fn run(args: &HoldArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let names = names(&args.snapshots)?;
    let now = context::now();
    let until = args.until.as_deref().map(|text| When::parse_or_ahead(text, now)).transpose();
    let until = until.map_err(|e| CliError::new(Kind::Usage, e))?.map(|when| when.last);
    if until.is_some_and(|until| until <= now) {
        return Err(CliError::new(Kind::Usage, "the hold would end before it begins"));
    }
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "hold");
    let asked = asked(args.reason.as_ref(), args.no_wait);
    if args.immutable {
        let granted = retention::grant_immutable(&store, &names, &asked, &context::now, &bar);
        bar.finish();
        granted?.iter().try_for_each(|granted| print(&granted.row, &[], "immutable", out))?;
        return Ok(Outcome::Done);
    }
    let held = retention::hold(&store, &names, until, &asked, &context::now, &bar);
    bar.finish();
    for (row, hold) in held? {
        print(&row, &[hold], "held", out)?;
    }
    Ok(Outcome::Done)
}

pub(super) fn run_release(args: &ReleaseArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let names = names(&args.snapshots)?;
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "release");
    let asked = asked(args.reason.as_ref(), args.no_wait);
    let (word, lifted) = if args.strange {
        ("confirmed", retention::confirm(&store, &names, &asked, &context::now, &bar))
    } else if args.immutable {
        ("denied", retention::deny_immutable(&store, &names, &asked, &context::now, &bar))
    } else {
        ("released", retention::release(&store, &names, &asked, &context::now, &bar))
    };
    bar.finish();
    for lifted in lifted? {
        print(&lifted.row, &lifted.holds, word, out)?;
    }
    Ok(Outcome::Done)
}
