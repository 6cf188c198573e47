//! Giving snapshots up: by rules, or by name.

use crate::model::{DatasetName, ForgetCause, ForgetDetail, LogKind, Progress, Rules, SnapshotId, Timestamp};
use crate::snapshots::{Register, SnapshotName, Wanted, resolve_row};
use crate::store::{LogWriter, NewEntry, SnapshotRow, Store};

use super::error::RetentionError;
use super::plan::{Keeping, Plan, Reason, own_guards, plan};
use super::survey::{RulesFor, Subject, Survey, elapsed};
use super::{Asked, Clock, log_writer, may_rule};

/// Entries that are written in one step: so many are in memory at a time.
const STEP: usize = 10_000;

/// What a run with rules did, or would do.
#[derive(Debug)]
pub struct Forgot {
    /// What was decided.
    pub plan: Plan,
    /// What the log said before.
    pub register: Register,
}

/// Gives up what is not to be kept; with `dry_run` only tells.
///
/// # Errors
/// If the log or a policy cannot be read whole, the clock cannot be right, a dataset that is asked for has no snapshot; if writing
/// fails.
pub fn forget(
    store: &Store,
    keeping: Keeping,
    wanted: &Wanted,
    asked: &Asked,
    dry_run: bool,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<Forgot, RetentionError> {
    may_rule(store)?;
    let mut log = if dry_run { None } else { Some(log_writer(store, asked, progress)?) };
    let now = clock();
    let register = whole_register(store)?;
    if let (Keeping::Policies, Some(_)) = (keeping, &register.bad_policy) {
        return Err(register.bad_policy.map_or(RetentionError::NoPolicy, RetentionError::Policy));
    }
    let plan = plan(store, &register, keeping, wanted, (now, asked.sure_of_clock), progress)?;
    if let Some(log) = &mut log {
        let entries: Vec<_> = plan.forgotten().map(|v| (&v.row, detail(&v.reasons, asked))).collect();
        append(log, &entries, now)?;
    }
    Ok(Forgot { plan, register })
}

/// The log, if all of it can be read.
pub(super) fn whole_register(store: &Store) -> Result<Register, RetentionError> {
    let mut register = Register::read(store)?;
    register.damage.take().map_or(Ok(register), |damage| Err(RetentionError::Log(damage)))
}

fn detail(reasons: &[Reason], asked: &Asked) -> ForgetDetail {
    let (cause, rules, policy) = match reasons {
        [Reason::NotKept(rules, 0)] => (ForgetCause::Rules, *rules, 0),
        [Reason::NotKept(rules, policy)] => (ForgetCause::Policy, *rules, *policy),
        _ => (ForgetCause::Named, Rules::default(), 0),
    };
    ForgetDetail { cause, rules, policy, reason: asked.reason.clone(), by: asked.by.clone(), ext: Vec::new() }
}

fn append(log: &mut LogWriter, list: &[(&SnapshotRow, ForgetDetail)], now: Timestamp) -> Result<(), RetentionError> {
    for step in list.chunks(STEP) {
        let entry = |(row, detail): &(&SnapshotRow, ForgetDetail)| NewEntry {
            kind: LogKind::Forget,
            dataset: Some(row.dataset),
            snapshot: Some(row.id),
            detail: Some(detail.to_bytes()),
        };
        log.append(&step.iter().map(entry).collect::<Vec<_>>(), now)?;
    }
    Ok(())
}

/// Gives up the snapshots that are named, all or none of them.
///
/// # Errors
/// If one of them is not there, or may not be given up.
pub fn forget_named(
    store: &Store,
    names: &[SnapshotName],
    asked: &Asked,
    dry_run: bool,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<Vec<GivenUp>, RetentionError> {
    may_rule(store)?;
    let mut log = if dry_run { None } else { Some(log_writer(store, asked, progress)?) };
    let now = clock();
    let register = whole_register(store)?;
    let rows = names.iter().map(|name| resolve_row(store, name, now)).collect::<Result<Vec<_>, _>>()?;
    let mut datasets: Vec<_> = rows.iter().map(|row| row.dataset).collect();
    datasets.sort_unstable();
    datasets.dedup();
    let (all, no_rules): (_, RulesFor<'_>) = (Wanted::default(), &|_| None);
    let survey = Survey::take(store, &register, &datasets, (&all, no_rules), (now, asked.sure_of_clock), progress)?;
    let named = |subject: &&Subject| rows.iter().any(|row| row.id == subject.row.id);
    let subjects: Vec<_> = survey.subjects.iter().filter(named).collect();
    for subject in &subjects {
        may_go(subject, &survey, &register)?;
    }
    let given_up = subjects.iter().map(|subject| GivenUp::new(store, &subject.row)).collect();
    if let Some(log) = &mut log {
        let entries: Vec<_> = subjects.iter().map(|s| (&s.row, detail(&[], asked))).collect();
        append(log, &entries, now)?;
    }
    Ok(given_up)
}

/// A snapshot that was given up by its name, or is lost.
#[derive(Debug)]
pub struct GivenUp {
    /// Which one.
    pub row: SnapshotRow,
    /// Its dataset; nothing if the name cannot be read. The store itself forgets it with the last snapshot of it.
    pub dataset: Option<DatasetName>,
}

impl GivenUp {
    fn new(store: &Store, row: &SnapshotRow) -> Self {
        Self { row: row.clone(), dataset: store.dataset_name(row.dataset).ok() }
    }
}

/// Gives up the snapshots whose manifests are lost, and with them all that they held, so that gc knows again what is needed. Gives those
/// too that are lost and stay because they are held.
///
/// # Errors
/// If a manifest is damaged and not lost yet: repair sets such aside. If writing fails.
pub fn forget_lost(
    store: &Store,
    asked: &Asked,
    dry_run: bool,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<(Vec<GivenUp>, Vec<GivenUp>), RetentionError> {
    may_rule(store)?;
    let mut log = if dry_run { None } else { Some(log_writer(store, asked, progress)?) };
    let now = clock();
    let register = whole_register(store)?;
    let elapsed = elapsed(&register, now, asked.sure_of_clock)?.1;
    let (mut lost, mut held) = (Vec::new(), Vec::new());
    for row in register.living() {
        if store.has_manifest(&row.id)? {
            store.manifest(&row.id)?;
        } else if elapsed.held(&register.holds, &row.id).is_some() {
            held.push(GivenUp::new(store, row));
        } else {
            lost.push(GivenUp::new(store, row));
        }
    }
    if let Some(log) = &mut log {
        let detail = || ForgetDetail { cause: ForgetCause::Lost, ..detail(&[], asked) };
        append(log, &lost.iter().map(|lost| (&lost.row, detail())).collect::<Vec<_>>(), now)?;
    }
    Ok((lost, held))
}

/// Refuses to give up what must stay, whoever names it.
fn may_go(subject: &Subject, survey: &Survey, register: &Register) -> Result<(), RetentionError> {
    let id: SnapshotId = subject.row.id;
    let kept = |why: String, hint| Err(RetentionError::Kept { id, why, hint });
    let facts = match &subject.facts {
        Ok(facts) => facts,
        Err(why) => return kept(format!("whether it is immutable cannot be read: {why}"), None),
    };
    match own_guards(subject, facts, register, &survey.elapsed).next() {
        Some(Reason::Immutable) => return kept("it is immutable, and no option changes that".to_owned(), None),
        Some(Reason::ImmutableAsked) => {
            let hint = "`larder hold --immutable` grants it for ever, `larder release --immutable` denies it";
            return kept(Reason::ImmutableAsked.to_string(), Some(hint));
        }
        Some(reason @ Reason::HeldInDoubt(_)) => {
            return kept(
                reason.to_string(),
                Some("if the clock is right, say --clock-is-right; `larder release` lifts a hold"),
            );
        }
        Some(reason) => return kept(reason.to_string(), Some("`larder release` lifts a hold")),
        None => {}
    }
    match survey.strange_after(subject).map(|at| &survey.strange[at]) {
        Some(strange) => kept(
            format!("of {} after it, {}", crate::store::snapshot_label(strange.id), strange.why),
            Some("if that is as it should be, `larder release --strange` with that snapshot confirms it"),
        ),
        None => Ok(()),
    }
}
