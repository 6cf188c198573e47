//! What would be forgotten and what stays, with the reasons.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::model::{DatasetKey, DatasetName, Immutable, Progress, Rules, SnapshotId, Timestamp};
use crate::snapshots::{Elapsed, Hold, Register, Wanted};
use crate::store::{SnapshotRow, Store, snapshot_label};

use super::buckets::{KeptBy, apply};
use super::error::RetentionError;
use super::facts::Facts;
use super::flood::Group;
use super::survey::{Origin, RulesFor, Series, Strange, Subject, Survey, Tally};

/// What is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// What these rules keep, whatever the policies; if they are empty, nothing. Snapshots that name a retention class stay.
    Rules(Rules),
    /// What the policies of the store keep; what is under none stays.
    Policies,
}

/// Why a snapshot stays, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A rule keeps it.
    Rule(KeptBy),
    /// It has no delete path.
    Immutable,
    /// A writer key asks that it be immutable, and no catalog or owner key has decided on it.
    ImmutableAsked,
    /// Somebody holds it.
    Held(Hold),
    /// Somebody held it, and that its time is over only a clock says that may be ahead.
    HeldInDoubt(Hold),
    /// It names a retention class, and rules were given with the command.
    Class(String),
    /// It is under no policy: its retention class.
    NoPolicy(Option<String>),
    /// Its manifest is damaged: what it asks for is not known.
    Unreadable(String),
    /// What it names is not the snapshot that its entry of the log says: why.
    FalseEntry(String),
    /// It came before something strange.
    Before(SnapshotId),
    /// None of these rules keeps it, set by the log entry with this sequence if they are a policy's.
    NotKept(Rules, u64),
}

impl Reason {
    /// A word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rule(KeptBy { rule: Some(rule), .. }) => rule.as_str(),
            Self::Rule(KeptBy { rule: None, .. }) => "within",
            Self::Immutable => "immutable",
            Self::ImmutableAsked => "immutable asked",
            Self::Held(_) | Self::HeldInDoubt(_) => "held",
            Self::Class(_) => "class",
            Self::NoPolicy(_) => "no policy",
            Self::Unreadable(_) => "unreadable",
            Self::FalseEntry(_) => "false entry",
            Self::Before(_) => "strange",
            Self::NotKept(..) => "not kept",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(KeptBy { rule: None, bucket, .. }) => f.write_str(bucket),
            Self::Rule(KeptBy { rule: Some(rule), bucket, oldest }) => {
                let oldest = if *oldest { ", the oldest" } else { "" };
                write!(f, "{} ({bucket}{oldest})", rule.as_str())
            }
            Self::Immutable => f.write_str("immutable"),
            Self::ImmutableAsked => f.write_str("a writer key asks that it be immutable"),
            Self::Held(hold) => {
                let reason = hold.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                write!(f, "held{reason}")
            }
            Self::HeldInDoubt(hold) => {
                let reason = hold.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                write!(f, "held{reason}; that its time is over nothing but the clock of this machine says")
            }
            Self::Class(class) => write!(f, "its retention class {class} is for policies to rule"),
            Self::NoPolicy(None) => f.write_str("no policy"),
            Self::NoPolicy(Some(class)) => write!(f, "no policy for the retention class {class}"),
            Self::Unreadable(why) => f.write_str(why),
            Self::FalseEntry(why) => write!(f, "its entry of the log is false, and no rule goes by it: {why}"),
            Self::Before(id) => write!(f, "{} after it is strange", snapshot_label(*id)),
            Self::NotKept(rules, 0) if rules.is_empty() => f.write_str("all are forgotten"),
            Self::NotKept(rules, _) => write!(f, "not kept by {rules}"),
        }
    }
}

/// What becomes of a snapshot.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Which one.
    pub row: SnapshotRow,
    /// Its dataset's name, if it can be read.
    pub dataset: Option<DatasetName>,
    /// Whose it is.
    pub origin: Origin,
    /// Its retention class.
    pub class: Option<String>,
    /// When it arrived, as far as witnesses bear it out.
    pub counted: Timestamp,
    /// True if it is to be forgotten.
    pub forget: bool,
    /// Why; never empty.
    pub reasons: Vec<Reason>,
}

/// What would be forgotten and what stays.
#[derive(Debug)]
pub struct Plan {
    /// The snapshots that were asked about, oldest arrival first.
    pub verdicts: Vec<Verdict>,
    /// What is strange, and keeps what came before it.
    pub strange: Vec<Strange>,
    /// Snapshots with times that no witness bears out.
    pub moved: Vec<Tally>,
    /// Snapshots that only claim whose they are.
    pub claimed: Vec<Tally>,
    /// Snapshots of which a writer key asks that they be immutable, and on which nobody has decided.
    pub undecided: Vec<Tally>,
    names: HashMap<DatasetKey, Option<DatasetName>>,
}

impl Plan {
    /// Those that are to be forgotten.
    pub fn forgotten(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|v| v.forget)
    }

    /// What a dataset is called where people read it.
    #[must_use]
    pub fn dataset_label(&self, key: DatasetKey) -> String {
        self.names.get(&key).and_then(Option::as_ref).map_or_else(|| format!("({key})"), ToString::to_string)
    }
}

/// Makes a plan for the snapshots that are wanted, by dataset and by what manifests tell. Each dataset, and in it each writer key, is
/// counted by itself; under policies each retention class too. With the present: whether it is sure, whatever the log says.
///
/// # Errors
/// If the clock cannot be right, or a dataset that is asked for has no snapshot.
pub(super) fn plan(
    store: &Store,
    register: &Register,
    keeping: Keeping,
    wanted: &Wanted,
    (now, sure): (Timestamp, bool),
    progress: &dyn Progress,
) -> Result<Plan, RetentionError> {
    let keys = wanted.dataset_keys(store);
    if let Some(at) = keys.iter().position(|key| !register.living().any(|row| row.dataset == *key)) {
        return Err(RetentionError::NoDataset(wanted.datasets[at].clone()));
    }
    let rules_for: RulesFor<'_> = &|subject| {
        let group = group_of(subject, keeping)?;
        let (rules, _) = rules(register, keeping, subject.row.dataset, group.0)?;
        Some((group, rules))
    };
    let survey = Survey::take(store, register, &keys, (wanted, rules_for), (now, sure), progress)?;
    let mut plan = Plan {
        verdicts: Vec::new(),
        strange: survey.strange.clone(),
        moved: survey.moved.clone(),
        claimed: survey.claimed.clone(),
        undecided: survey.undecided.clone(),
        names: HashMap::new(),
    };
    for subject in &survey.subjects {
        plan.names.entry(subject.row.dataset).or_insert_with(|| store.dataset_name(subject.row.dataset).ok());
    }
    let mut reasons = by_rules(&survey, register, keeping);
    for (at, subject) in survey.subjects.iter().enumerate() {
        let mut reasons = match &subject.facts {
            Ok(facts) if !facts.wanted => continue,
            Ok(Facts { false_entry: Some(why), .. }) => vec![Reason::FalseEntry(why.clone())],
            Ok(facts) => reasons.remove(&at).unwrap_or_else(|| {
                let class = facts.class.clone().map(Reason::Class);
                own_guards(subject, facts, register, &survey.elapsed).chain(class).collect()
            }),
            Err(why) => vec![Reason::Unreadable(why.clone())],
        };
        // Rules alone would let it go.
        if let (Ok(facts), [Reason::NotKept(..)]) = (&subject.facts, reasons.as_slice()) {
            let guards: Vec<_> = own_guards(subject, facts, register, &survey.elapsed).collect();
            let strange = survey.strange_after(subject);
            if let (true, Some(strange)) = (guards.is_empty(), strange) {
                plan.strange[strange].keeps += 1;
            }
            let before = strange.map(|at| Reason::Before(survey.strange[at].id));
            let kept: Vec<_> = guards.into_iter().chain(before).collect();
            if !kept.is_empty() {
                reasons = kept;
            }
        }
        let name = plan.names.get(&subject.row.dataset).cloned().flatten();
        plan.verdicts.push(verdict(subject, name, reasons));
    }
    Ok(plan)
}

fn verdict(subject: &Subject, dataset: Option<DatasetName>, reasons: Vec<Reason>) -> Verdict {
    Verdict {
        row: subject.row.clone(),
        dataset,
        origin: subject.series.1,
        class: subject.facts.as_ref().ok().and_then(|f| f.class.clone()),
        counted: subject.counted.time,
        forget: matches!(reasons.as_slice(), [Reason::NotKept(..)]),
        reasons,
    }
}

/// What a subject is counted with; nothing if it is not asked about, or has a class, which rules that are given pass over: it takes nobody's place.
fn group_of(subject: &Subject, keeping: Keeping) -> Option<Group<'_>> {
    let facts = subject.own_facts().filter(|facts| facts.wanted)?;
    let is_ruled = keeping == Keeping::Policies || facts.class.is_none();
    is_ruled.then_some(Group(facts.class.as_deref()))
}

/// What the rules say of each subject that is asked about, by its place.
fn by_rules(survey: &Survey, register: &Register, keeping: Keeping) -> HashMap<usize, Vec<Reason>> {
    let mut groups = BTreeMap::<(Series, Group<'_>), Vec<usize>>::new();
    for (at, subject) in survey.subjects.iter().enumerate().rev() {
        if let Some(group) = group_of(subject, keeping) {
            groups.entry((subject.series, group)).or_default().push(at);
        }
    }
    let mut found = HashMap::new();
    for (((dataset, _), Group(class)), newest_first) in groups {
        let times = |at: &usize| {
            let subject = &survey.subjects[*at];
            (subject.counted.time, survey.elapsed.at(subject.row.sequence))
        };
        let times: Vec<_> = newest_first.iter().map(times).collect();
        let reasons = match rules(register, keeping, dataset, class) {
            Some((rules, policy)) => of_group(&rules, policy, &times),
            None => vec![vec![Reason::NoPolicy(class.map(str::to_owned))]; times.len()],
        };
        found.extend(newest_first.into_iter().zip(reasons));
    }
    found
}

/// The rules for a group, and the sequence of the policy that they are; nothing if it is under no policy.
fn rules(register: &Register, keeping: Keeping, dataset: DatasetKey, class: Option<&str>) -> Option<(Rules, u64)> {
    match keeping {
        Keeping::Rules(rules) => Some((rules, 0)),
        Keeping::Policies => register.policy(dataset, class).map(|policy| (policy.rules, policy.sequence)),
    }
}

fn of_group(rules: &Rules, policy: u64, newest_first: &[(Timestamp, i64)]) -> Vec<Vec<Reason>> {
    let reasons = |kept: Vec<KeptBy>| {
        if kept.is_empty() {
            return vec![Reason::NotKept(*rules, policy)];
        }
        kept.into_iter().map(Reason::Rule).collect()
    };
    apply(rules, newest_first).into_iter().map(reasons).collect()
}

/// What keeps a snapshot whoever wants it gone.
pub(super) fn own_guards<'a>(
    subject: &Subject,
    facts: &Facts,
    register: &'a Register,
    elapsed: &Elapsed,
) -> impl Iterator<Item = Reason> + use<'a> {
    let immutable = match register.holds.immutable(&subject.row.id, facts.immutable) {
        Immutable::Yes => Some(Reason::Immutable),
        Immutable::Asked => Some(Reason::ImmutableAsked),
        Immutable::No => None,
    };
    let held = elapsed
        .held(&register.holds, &subject.row.id)
        .cloned()
        .map(|hold| if hold.is_in_force(elapsed.now()) { Reason::Held(hold) } else { Reason::HeldInDoubt(hold) });
    immutable.into_iter().chain(held)
}
