//! `larder forget`

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::model::{DatasetName, Failure, Kind};
use crate::ops::retention::{self, Asked, GivenUp, Keeping};
use crate::snapshots::{SnapshotName, Wanted};
use crate::store::{LOST_ENTRIES, Waiting};

use super::error::CliError;
use super::keep::KeepArgs;
use super::output::{Output, counted, short_id};
use super::progress::Bar;
use super::store_args::who;
use super::verdicts::{self, Ended, NamedJson, VerdictsJson};
use super::{Global, Outcome, context, filter};

/// Give up snapshots: those that are named, or those that rules or policies do not keep
///
/// Each dataset is looked at by itself, and in it what each writer key captured, by its signature; what only claims to be of a key is counted
/// apart, and told. A snapshot stays if any rule keeps it. Rules count
/// from the newest snapshot; hours, days and so on are those in which snapshots arrived, in UTC, by clocks that are trusted (those of
/// catalog and owner keys), and only those count in which any did. While a rule has room it keeps the oldest snapshot too.
///
/// Immutable and held snapshots stay whatever is asked for, and those of which a writer key asks that they be immutable, until `larder
/// hold --immutable` grants or `larder release --immutable` denies it; those with a retention class are passed over by rules that
/// are given here, not by name: policies are for them. What came before a
/// strange snapshot (beside the three or more before it: less than half as many files or bytes as usual, or most files gone, overwritten or new; or one of a flood) stays until `larder release --strange` confirms
/// that one: exit status 3. A flood is a day with more than four times as many snapshots of a writer key as are usual, if a quarter of what the
/// rules would keep goes because of it, or if it has more than 24. --keep-daily and the like count days, which no number pushes out.
///
/// Ages, and holds that end, go by the time that the log bears out: of a stretch in which nothing arrived, longer than is usual in the store (and
/// than two days), no more counts than that, for a clock may have been ahead. --clock-is-right has all of it count.
///
/// No rule goes by an entry of the log that names another's snapshot, or one that is not as it says: it is told, and what it names stays unless
/// it is named.
///
/// Nothing is removed yet: `larder gc` does that, and gives the room back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run
  larder forget -d home --keep-last 3 --keep-within 2w
  larder forget --policy                               what `larder policy set` laid down
  larder forget 3f2a91c4 home~1                        these two
  larder forget -d scratch --keep-none                 all of a dataset
  larder forget --lost                                 what neither `repair` nor `heal` could bring back")]
pub(super) struct ForgetArgs {
    /// These snapshots: ids or their first digits, DATASET~1, DATASET@TIME …; DATASET alone is its newest one, not all of it
    #[arg(value_name = "SNAP", conflicts_with_all = ["dataset", "label", "policy", "keep_none", "KeepArgs"])]
    snapshots: Vec<String>,
    #[command(flatten)]
    keep: KeepArgs,
    /// What the policies of the store keep; what is under no policy stays
    #[arg(long, help_heading = "What to keep", conflicts_with_all = ["keep_none", "KeepArgs"])]
    policy: bool,
    /// Nothing: wants --dataset or --label
    #[arg(long, help_heading = "What to keep", conflicts_with = "KeepArgs")]
    keep_none: bool,
    /// The snapshots whose manifests are lost for good: nothing of them can be had any more, and `gc` does nothing until they are
    /// healed or given up
    #[arg(long, conflicts_with_all = ["snapshots", "dataset", "label", "policy", "keep_none", "KeepArgs"])]
    lost: bool,
    /// Only of this dataset (can be repeated)
    #[arg(long, short = 'd', value_name = "NAME")]
    dataset: Vec<DatasetName>,
    /// Only with this label, of this value if one is given (can be repeated); others are neither counted nor forgotten
    #[arg(long, short = 'l', value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Tell what would be forgotten, and why; change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// The clock of this machine is right, though entries of the log are from later (other clocks ran ahead), or long before (the
    /// store was not used)
    #[arg(long)]
    clock_is_right: bool,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// Who asks this, as the log has it.
pub(super) fn asked(reason: Option<&String>, no_wait: bool) -> Asked {
    let (host, user, _) = who();
    let waiting = if no_wait { Waiting::NoWait } else { Waiting::Wait };
    Asked { by: format!("{user}@{host}"), reason: reason.cloned(), waiting, sure_of_clock: false }
}

pub(super) fn run(args: &ForgetArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if !args.snapshots.is_empty() {
        return named(args, global, out);
    }
    if args.lost {
        return lost(args, global, out);
    }
    let keeping = keeping(args)?;
    let wanted = Wanted { datasets: args.dataset.clone(), labels: filter::labels(&args.label), ..Wanted::default() };
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "forget");
    let asked = Asked { sure_of_clock: args.clock_is_right, ..asked(args.reason.as_ref(), args.no_wait) };
    let done = retention::forget(&store, keeping, &wanted, &asked, args.dry_run, &context::now, &bar);
    bar.finish();
    let done = done?;
    verdicts::print(&done, if args.dry_run { Ended::Rehearsed } else { Ended::Done }, out)
}

/// What is to be kept. To ask for nothing must be said in so many words.
fn keeping(args: &ForgetArgs) -> Result<Keeping, CliError> {
    let usage = |text: &str, hint: &str| Err(CliError::new(Kind::Usage, text).hint(hint));
    let rules = args.keep.rules();
    if args.policy {
        return Ok(Keeping::Policies);
    }
    if args.keep_none && args.dataset.is_empty() && args.label.is_empty() {
        return usage(
            "--keep-none of all datasets would forget everything",
            "say of which dataset or label, with --dataset NAME or --label KEY=VALUE",
        );
    }
    if rules.is_empty() && !args.keep_none {
        return usage(
            "without a rule nothing would be kept",
            "say what to keep, with --keep-last N, --keep-daily N …, or --policy; or name the snapshots to forget",
        );
    }
    Ok(Keeping::Rules(rules))
}

fn named(args: &ForgetArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let names = args.snapshots.iter().map(|text| text.parse::<SnapshotName>()).collect::<Result<Vec<_>, _>>()?;
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "forget");
    let asked = Asked { sure_of_clock: args.clock_is_right, ..asked(args.reason.as_ref(), args.no_wait) };
    let rows = retention::forget_named(&store, &names, &asked, args.dry_run, &context::now, &bar);
    bar.finish();
    let rows = rows?;
    tell_all(&rows, args.dry_run, out)
}

/// Gives up what is lost.
fn lost(args: &ForgetArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "forget");
    let asked = Asked { sure_of_clock: args.clock_is_right, ..asked(args.reason.as_ref(), args.no_wait) };
    let done = retention::forget_lost(&store, &asked, args.dry_run, &context::now, &bar);
    bar.finish();
    let (lost, held) = done.map_err(|e| {
        let of_manifests = e.kind() == Kind::Damage && e.hint().is_none_or(|hint| !hint.contains(LOST_ENTRIES));
        let error = CliError::from(e);
        if of_manifests { error.hint(REPAIR_FIRST) } else { error }
    })?;
    let outcome = tell_all(&lost, args.dry_run, out)?;
    for held in &held {
        let id = short_id(held.row.id);
        out.tell(&format!("larder: snapshot {id} is lost and held, and stays: `larder release {id}` lifts the hold"));
    }
    Ok(if held.is_empty() { outcome } else { Outcome::Partial })
}

/// What is lost is only known of a database that is whole.
const REPAIR_FIRST: &str =
    "`larder repair --apply` makes anew what can be; `larder heal` takes manifests from a copy of the store";

fn tell_all(rows: &[GivenUp], dry_run: bool, out: &Output) -> Result<Outcome, CliError> {
    for row in rows {
        let named = NamedJson::new(row);
        if out.json() {
            out.print_json(&VerdictsJson::Named(named))?;
        } else {
            out.line(&named.text())?;
        }
    }
    let count = rows.len() as u64;
    if out.json() {
        out.print_json(&VerdictsJson::summary(0, count, dry_run))?;
        return Ok(Outcome::Done);
    }
    let text = counted(count, "snapshot", "snapshots");
    out.remark(&if dry_run {
        format!("{text} would be forgotten")
    } else {
        format!("{text} forgotten; `larder gc` gives the room back")
    });
    Ok(Outcome::Done)
}
