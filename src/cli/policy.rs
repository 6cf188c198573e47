//! `larder policy`: rules of retention that the store keeps.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{DatasetName, Kind, Rule, Rules};
use crate::ops::retention::{self, Keeping};
use crate::snapshots::{Policy, Register, Wanted};

use super::error::CliError;
use super::forget::asked;
use super::keep::KeepArgs;
use super::output::{Output, escaped, rfc3339, short_time};
use super::progress::Bar;
use super::verdicts::{self, Ended, VerdictsJson};
use super::{Global, Outcome, context};

/// Rules of retention that the store keeps, for `larder forget --policy`
///
/// A snapshot that names a retention class (`larder snapshot --retention-class`) is under the policy of its dataset for that class,
/// else under that of all datasets for it; one that names none is under the policies without a class in the same way. What is under
/// no policy is never forgotten by policies.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  larder policy set --all --keep-daily 7 --keep-weekly 4
  larder policy set home --keep-hourly 24 --keep-daily 30 --keep-yearly all
  larder policy set --all --class evidence --keep-within 520w
  larder policy show
  larder policy explain home                           what would stay, and why
  larder policy clear home")]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Set the policy for a dataset, or for all
    Set {
        #[command(flatten)]
        which: WhichArgs,
        #[command(flatten)]
        keep: KeepArgs,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Show the policies in force
    Show,
    /// Show what the policies keep of a dataset, and why; change nothing
    Explain {
        /// Which dataset (all if none is given)
        #[arg(value_name = "DATASET")]
        dataset: Vec<DatasetName>,
    },
    /// Take a policy away
    Clear {
        #[command(flatten)]
        which: WhichArgs,
        #[command(flatten)]
        how: HowArgs,
    },
}

#[derive(Debug, Args)]
struct WhichArgs {
    /// For this dataset
    #[arg(value_name = "DATASET or --all", required_unless_present = "all")]
    dataset: Option<DatasetName>,
    /// For all datasets that have no policy of their own
    #[arg(long, conflicts_with = "dataset")]
    all: bool,
    /// For snapshots that name this retention class, instead of those that name none
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    class: Option<String>,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// What `larder policy` prints: `show` a policy a line, `explain` what `larder forget` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it stands for both in the schema; each is printed as what it is")]
pub(super) enum PolicyReportJson {
    /// `show`, and `set` the one that was set.
    Policy(PolicyJson),
    /// `explain`.
    Verdict(VerdictsJson),
}

/// A policy.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PolicyJson {
    /// Nothing if it is for all that have none of their own.
    dataset: Option<String>,
    /// Nothing if it is for snapshots that name none.
    class: Option<String>,
    /// Which entry of the log set it.
    sequence: u64,
    /// When; RFC 3339, UTC.
    since: String,
    reason: Option<String>,
    /// Who, as `user@host`.
    by: String,
    /// By rule, how many it keeps; nothing if there is no end to it.
    keep: std::collections::BTreeMap<&'static str, Option<u32>>,
    /// Seconds before the newest within which all stay.
    keep_within: Option<u64>,
    /// The same as options.
    options: String,
}

pub(super) fn run(args: PolicyArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    match args.command {
        PolicyCommand::Set { which, keep, how } => set(&which, keep.rules(), &how, global, out),
        PolicyCommand::Show => show(global, out),
        PolicyCommand::Explain { dataset } => explain(dataset, global, out),
        PolicyCommand::Clear { which, how } => clear(&which, &how, global, out),
    }
}

fn set(which: &WhichArgs, rules: Rules, how: &HowArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if rules.is_empty() {
        return Err(CliError::new(Kind::Usage, "a policy without a rule would keep nothing")
            .hint("say what to keep, with --keep-last N, --keep-daily N …; `--keep-last all` keeps everything"));
    }
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "policy");
    let asked = asked(how.reason.as_ref(), how.no_wait);
    let (dataset, class) = (which.dataset.as_ref(), which.class.as_deref());
    let sequence = retention::set_policy(&store, dataset, class, rules, &asked, &context::now, &bar);
    bar.finish();
    let sequence = sequence?;
    let register = Register::read(&store)?;
    let set = register.policies().find(|policy| policy.sequence == sequence);
    set.map_or(Ok(()), |policy| print(policy, out))?;
    let of = Wanted { datasets: dataset.cloned().into_iter().collect(), ..Wanted::default() }.dataset_keys(&store);
    if let Some(name) = dataset.filter(|_| !register.living().any(|row| of.contains(&row.dataset))) {
        out.remark(&format!("the store has no snapshot of {} yet", escaped(name.as_str())));
    }
    out.remark("`larder policy explain` shows what that keeps, `larder forget --policy` does it");
    Ok(Outcome::Done)
}

fn show(global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_named(global)?;
    retention::may_rule(&store)?;
    let register = Register::read(&store)?;
    let mut none = true;
    for policy in register.policies() {
        none = false;
        print(policy, out)?;
    }
    // Entries that are lost may have been policies.
    if let Some(e) = register.damage.or(register.bad_policy) {
        return Err(e.into());
    }
    if none {
        out.remark("there are no policies; `larder policy set` sets one");
    }
    Ok(Outcome::Done)
}

fn explain(datasets: Vec<DatasetName>, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "policy");
    let wanted = Wanted { datasets, ..Wanted::default() };
    let asked = asked(None, true);
    let explained = retention::forget(&store, Keeping::Policies, &wanted, &asked, true, &context::now, &bar);
    bar.finish();
    verdicts::print(&explained?, Ended::Explained, out)
}

fn clear(which: &WhichArgs, how: &HowArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "policy");
    let asked = asked(how.reason.as_ref(), how.no_wait);
    let (dataset, class) = (which.dataset.as_ref(), which.class.as_deref());
    let cleared = retention::clear_policy(&store, dataset, class, &asked, &context::now, &bar);
    bar.finish();
    cleared?;
    out.remark("the policy is taken away");
    Ok(Outcome::Done)
}

fn print(policy: &Policy, out: &Output) -> Result<(), CliError> {
    let detail = &policy.detail;
    if out.json() {
        return out.print_json(&as_json(policy));
    }
    let dataset = detail.dataset.as_ref().map_or_else(|| "all datasets".to_owned(), |name| escaped(name.as_str()));
    let class = detail.class.as_ref().map_or_else(String::new, |class| format!(", class {}", escaped(class)));
    let reason = detail.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", escaped(reason)));
    let (since, by) = (short_time(policy.since), escaped(&detail.by));
    out.line(&format!("{dataset}{class}  {}  since {since} by {by}{reason}", policy.rules))
}

fn as_json(policy: &Policy) -> PolicyJson {
    let rules = policy.rules;
    let used = Rule::ALL.into_iter().filter(|rule| rules.count(*rule) > 0);
    let keep = used.map(|rule| (rule.as_str(), Some(rules.count(rule)).filter(|n| *n != Rules::EVERY))).collect();
    PolicyJson {
        dataset: policy.detail.dataset.as_ref().map(ToString::to_string),
        class: policy.detail.class.clone(),
        sequence: policy.sequence,
        since: rfc3339(policy.since),
        reason: policy.detail.reason.clone(),
        by: policy.detail.by.clone(),
        keep,
        keep_within: (rules.within > 0).then_some(rules.within),
        options: rules.to_string(),
    }
}
