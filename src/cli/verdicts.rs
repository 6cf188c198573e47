//! What becomes of snapshots under rules: the lines that `larder forget` and `larder policy explain` print.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ops::retention::{Forgot, GivenUp, Origin, Plan, Strange, Verdict};

use super::Outcome;
use super::error::CliError;
use super::output::{Output, counted, escaped, rfc3339, short_id, short_time};

/// What a run was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The snapshots are forgotten.
    Done,
    /// They would be.
    Rehearsed,
    /// Nothing was to be done.
    Explained,
}

/// A line of what `larder forget --json` and `larder policy explain --json` print: each snapshot, then the sums.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum VerdictsJson {
    /// A snapshot under rules or policies.
    Snapshot(Box<VerdictJson>),
    /// A snapshot that was named.
    Named(NamedJson),
    /// The sums, last.
    Summary(SummaryJson),
}

/// What becomes of a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct VerdictJson {
    id: String,
    sequence: u64,
    /// Nothing if the name cannot be read.
    dataset: Option<String>,
    /// The writer key whose snapshots are counted by themselves; nothing if a catalog or owner key vouches for it.
    writer: Option<String>,
    /// True if that is only what whoever wrote it says: then it counts with what else claims that, and apart from what that key wrote.
    claimed: bool,
    retention_class: Option<String>,
    /// When it arrived, as its log entry says; RFC 3339, UTC.
    arrival: String,
    /// The time it counts with: between those of the entries before and after it that a catalog or owner key vouches for.
    counted_as: String,
    /// `keep` or `forget`.
    action: &'static str,
    /// Why; never empty.
    reasons: Vec<ReasonJson>,
}

/// Why a snapshot stays, or does not.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct ReasonJson {
    /// `last`, `hourly`, `daily`, `weekly`, `monthly`, `quarterly`, `yearly`, `within`; `immutable`, `immutable asked`, `held`, `class`, `no policy`,
    /// `unreadable`, `false entry`, `strange`; `not kept` of what is forgotten.
    code: &'static str,
    /// For people, and not always in the same words.
    text: String,
}

/// A snapshot that was named.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct NamedJson {
    id: String,
    sequence: u64,
    /// Nothing if the name cannot be read.
    dataset: Option<String>,
    arrival: String,
    /// Always `forget`.
    action: &'static str,
}

/// The sums.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct SummaryJson {
    kept: u64,
    forgotten: u64,
    /// True if nothing was changed.
    dry_run: bool,
    /// What is strange. If it alone keeps snapshots, the exit status is 3.
    strange: Vec<StrangeJson>,
    /// Snapshots that count with another time than they say, because no witness bears it out.
    moved: u64,
    /// Snapshots that only claim to be of the key that they name.
    claimed: u64,
    /// Snapshots of which a writer key asks that they be immutable, and on which nobody has decided.
    undecided: u64,
    /// Entries of the log that want what a writer key may not; they are not heeded.
    unvouched: Vec<u64>,
    /// Entries of the log that name a snapshot which an earlier one brought; they are not heeded.
    false_entries: Vec<u64>,
}

/// Something strange that keeps what came before it, until `larder release --strange` confirms it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct StrangeJson {
    id: String,
    dataset: String,
    why: String,
    /// Snapshots that are kept for nothing but this.
    keeps: u64,
}

impl VerdictsJson {
    /// The sums of a run on snapshots that were named.
    pub(super) fn summary(kept: u64, forgotten: u64, dry_run: bool) -> Self {
        let (strange, unvouched, false_entries) = (Vec::new(), Vec::new(), Vec::new());
        Self::Summary(SummaryJson {
            kept,
            forgotten,
            dry_run,
            strange,
            moved: 0,
            claimed: 0,
            undecided: 0,
            unvouched,
            false_entries,
        })
    }
}

impl NamedJson {
    pub(super) fn new(given_up: &GivenUp) -> Self {
        let row = &given_up.row;
        Self {
            id: row.id.to_string(),
            sequence: row.sequence,
            dataset: given_up.dataset.as_ref().map(ToString::to_string),
            arrival: rfc3339(row.arrival),
            action: "forget",
        }
    }

    pub(super) fn text(&self) -> String {
        let dataset = self.dataset.as_deref().unwrap_or_default();
        format!("{:6}  {}  {}  {}", self.action, &self.id[..16], self.arrival, escaped(dataset)).trim_end().to_owned()
    }
}

/// Prints each snapshot, dataset by dataset, and what is to be known of all.
pub(super) fn print(done: &Forgot, ended: Ended, out: &Output) -> Result<Outcome, CliError> {
    let plan = &done.plan;
    let mut verdicts: Vec<_> = plan.verdicts.iter().map(|v| (plan.dataset_label(v.row.dataset), v)).collect();
    verdicts.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.row.sequence.cmp(&b.1.row.sequence)));
    let width = verdicts.iter().map(|(label, _)| escaped(label).chars().count()).max().unwrap_or(0);
    for (label, verdict) in &verdicts {
        if out.json() {
            out.print_json(&VerdictsJson::Snapshot(Box::new(verdict_json(verdict))))?;
        } else {
            out.line(&line(&escaped(label), width, verdict))?;
        }
    }
    if out.json() {
        out.print_json(&VerdictsJson::Summary(summary(done, ended)))?;
    } else {
        sums(plan, ended, out);
    }
    warn(done, out);
    let held_back = plan.strange.iter().any(|s| s.keeps > 0) && ended != Ended::Explained;
    Ok(if held_back { Outcome::Partial } else { Outcome::Done })
}

fn action(verdict: &Verdict) -> &'static str {
    if verdict.forget { "forget" } else { "keep" }
}

fn line(label: &str, width: usize, verdict: &Verdict) -> String {
    let reasons: Vec<_> = verdict.reasons.iter().map(|r| escaped(&r.to_string())).collect();
    let (id, time) = (short_id(verdict.row.id), short_time(verdict.counted));
    format!("{:6}  {id}  {time}  {label:width$}  {}", action(verdict), reasons.join(", "))
}

fn verdict_json(verdict: &Verdict) -> VerdictJson {
    VerdictJson {
        id: verdict.row.id.to_string(),
        sequence: verdict.row.sequence,
        dataset: verdict.dataset.as_ref().map(ToString::to_string),
        writer: match verdict.origin {
            Origin::Vouched => None,
            Origin::Writer(key) | Origin::Claimed(key) => Some(key.to_string()),
        },
        claimed: matches!(verdict.origin, Origin::Claimed(_)),
        retention_class: verdict.class.clone(),
        arrival: rfc3339(verdict.row.arrival),
        counted_as: rfc3339(verdict.counted),
        action: action(verdict),
        reasons: verdict.reasons.iter().map(|r| ReasonJson { code: r.code(), text: r.to_string() }).collect(),
    }
}

fn summary(done: &Forgot, ended: Ended) -> SummaryJson {
    let plan = &done.plan;
    let forgotten = plan.forgotten().count() as u64;
    let strange = |s: &Strange| StrangeJson {
        id: s.id.to_string(),
        dataset: plan.dataset_label(s.dataset),
        why: s.why.clone(),
        keeps: s.keeps,
    };
    SummaryJson {
        kept: plan.verdicts.len() as u64 - forgotten,
        forgotten,
        dry_run: ended != Ended::Done,
        strange: plan.strange.iter().map(strange).collect(),
        moved: plan.moved.iter().map(|m| m.count).sum(),
        claimed: plan.claimed.iter().map(|m| m.count).sum(),
        undecided: plan.undecided.iter().map(|m| m.count).sum(),
        unvouched: done.register.unvouched.iter().map(|(sequence, _)| *sequence).collect(),
        false_entries: done.register.false_entries.iter().map(|entry| entry.sequence).collect(),
    }
}

fn sums(plan: &Plan, ended: Ended, out: &Output) {
    let forgotten = plan.forgotten().count() as u64;
    let kept = plan.verdicts.len() as u64 - forgotten;
    let stay = format!("{} {}", counted(kept, "snapshot", "snapshots"), if kept == 1 { "stays" } else { "stay" });
    out.remark(&match ended {
        _ if plan.verdicts.is_empty() => "no snapshot fits".to_owned(),
        Ended::Done if forgotten > 0 => format!("{forgotten} forgotten, {stay}; `larder gc` gives the room back"),
        Ended::Done => format!("nothing to forget, {stay}"),
        Ended::Rehearsed | Ended::Explained => format!("{forgotten} would be forgotten, {stay}"),
    });
}

/// What must be heard, quiet or not: somebody may be at work who should not be.
fn warn(done: &Forgot, out: &Output) {
    let plan = &done.plan;
    for strange in &plan.strange {
        let kept = match strange.keeps {
            0 => "what came before it will not be forgotten".to_owned(),
            1 => "one snapshot before it is kept for that alone".to_owned(),
            n => format!("{n} snapshots before it are kept for that alone"),
        };
        out.tell(&format!(
            "larder: snapshot {} of {} is strange: {}; {kept}; if it is as it should be: larder release --strange {}",
            short_id(strange.id),
            plan.dataset_label(strange.dataset),
            strange.why,
            short_id(strange.id),
        ));
    }
    for moved in &plan.moved {
        out.tell(&format!(
            "larder: of {}, {} in {} a time that no entry around it bears out; it counts as near to that as they allow",
            whose(moved.origin),
            counted(moved.count, "snapshot", "snapshots"),
            plan.dataset_label(moved.dataset) + if moved.count == 1 { " claims" } else { " claim" },
        ));
    }
    for claimed in &plan.claimed {
        let (are, count) = if claimed.count == 1 { ("is", "it counts") } else { ("are", "they count") };
        out.tell(&format!(
            "larder: {} in {} {are} of {}: nothing proves it, and {count} apart from what that key wrote",
            counted(claimed.count, "snapshot", "snapshots"),
            plan.dataset_label(claimed.dataset),
            whose(claimed.origin),
        ));
    }
    for asking in &plan.undecided {
        out.remark(&format!(
            "larder: of {}, {} in {}{} to be immutable; that stays until `larder hold --immutable` grants or `larder release --immutable` denies it",
            whose(asking.origin),
            counted(asking.count, "snapshot", "snapshots"),
            plan.dataset_label(asking.dataset),
            if asking.count == 1 { " asks" } else { " ask" },
        ));
    }
    for (sequence, kind) in &done.register.unvouched {
        out.tell(&format!(
            "larder: entry {sequence} of the log ({kind:?}) is vouched for by no catalog or owner key, and not heeded: a writer key may have been misused"
        ));
    }
    for entry in &done.register.false_entries {
        out.tell(&format!("larder: {entry}; it is not heeded: a writer key may have been misused"));
    }
}

fn whose(origin: Origin) -> String {
    match origin {
        Origin::Vouched => "catalog and owner keys".to_owned(),
        Origin::Writer(key) => format!("the writer key {key}"),
        Origin::Claimed(key) => format!("a writer key that claims to be {key}"),
    }
}
