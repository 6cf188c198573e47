//! What there is to be decided on: living snapshots with their facts and times, whose they are, and what is strange among them.

use std::collections::{BTreeMap, HashMap};

use crate::model::{DatasetKey, Entry, Immutable, KeyName, Progress, Rules, SnapshotId, Timestamp};
use crate::snapshots::{Counted, Elapsed, Register, Wanted, Witnesses};
use crate::store::{SnapshotRow, Store, StoreError};

use super::error::RetentionError;
use super::facts::{self, Facts};
use super::flood::{Day, Group, Member, day_of, flooded};
use super::habit::{FEW, Measure, judge_snapshot, rewritten_runs, strange};
use super::rewritten;

/// Whose a snapshot is, as far as that can be trusted: one who is trusted pushes out nobody else's, and nobody else his.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A catalog or owner key vouches for it.
    Vouched,
    /// The writer key by this name wrote it.
    Writer(KeyName),
    /// Whoever wrote it says that it was the key by this name, and nothing proves that.
    Claimed(KeyName),
}

/// The snapshots of a dataset with one origin.
pub(super) type Series = (DatasetKey, Origin);

/// A living snapshot.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) row: SnapshotRow,
    pub(super) series: Series,
    pub(super) counted: Counted,
    pub(super) facts: Result<Facts, String>,
}

impl Subject {
    /// What its manifest says, if that can be read and is of the snapshot that its entry says.
    pub(super) fn own_facts(&self) -> Option<&Facts> {
        self.facts.as_ref().ok().filter(|facts| facts.false_entry.is_none())
    }
}

/// Something strange that keeps what came before it, until somebody confirms that it is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strange {
    /// The snapshot to be looked at, and confirmed.
    pub id: SnapshotId,
    /// Its dataset.
    pub dataset: DatasetKey,
    /// What is strange.
    pub why: String,
    /// Snapshots that are kept for nothing but this.
    pub keeps: u64,
    series: Series,
    /// Snapshots of its series with sequences below are kept.
    before: u64,
}

/// How many snapshots of a series are so that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// In which dataset.
    pub dataset: DatasetKey,
    /// Whose.
    pub origin: Origin,
    /// How many.
    pub count: u64,
}

/// What a snapshot is counted with, and the rules for that; nothing if it is under none.
pub(super) type RulesFor<'a> = &'a dyn for<'s> Fn(&'s Subject) -> Option<(Group<'s>, Rules)>;

/// All of it.
#[derive(Debug)]
pub(super) struct Survey {
    /// Oldest arrival first.
    pub(super) subjects: Vec<Subject>,
    /// One for each series at most: the one that keeps most.
    pub(super) strange: Vec<Strange>,
    /// They count with another time than they say.
    pub(super) moved: Vec<Tally>,
    /// They only claim whose they are.
    pub(super) claimed: Vec<Tally>,
    /// A writer key asks that they be immutable, and nobody has decided.
    pub(super) undecided: Vec<Tally>,
    /// How much time has passed.
    pub(super) elapsed: Elapsed,
}

impl Survey {
    /// Looks at the living snapshots of some datasets; of all if none is given. With the present: whether it is sure, whatever the
    /// log says. The rules tell which floods do harm.
    pub(super) fn take(
        store: &Store,
        register: &Register,
        datasets: &[DatasetKey],
        (wanted, rules): (&Wanted, RulesFor<'_>),
        (now, sure): (Timestamp, bool),
        progress: &dyn Progress,
    ) -> Result<Self, RetentionError> {
        let (witnesses, elapsed) = elapsed(register, now, sure)?;
        let rows = register.living().filter(|row| datasets.is_empty() || datasets.contains(&row.dataset));
        let rows: Vec<_> = rows.cloned().collect();
        let facts = facts::read(store, &rows, wanted, progress)?;
        let mut subjects: Vec<_> = rows
            .into_iter()
            .zip(facts)
            .map(|(row, facts)| Subject {
                series: series(register, &row),
                counted: witnesses.counted(row.sequence, row.arrival),
                row,
                facts,
            })
            .collect();
        compare_with_those_before(store, &mut subjects, progress)?;
        let mut days = arrivals_by_day(register, &witnesses);
        let found = by_series(&subjects).into_iter().filter_map(|(series, list)| {
            let flood = days.remove(&series).and_then(|days| flood(&days, &list, register, &elapsed, rules));
            // Of several things the newest, which keeps most: to confirm it confirms what came before.
            odd(&list, register).into_iter().chain(flood).max_by_key(|s| s.before)
        });
        let strange = found.collect();
        let moved = tally(subjects.iter().filter(|s| s.counted.moved));
        let claimed = tally(subjects.iter().filter(|s| matches!(s.series.1, Origin::Claimed(_))));
        let asks = |s: &&Subject| s.facts.as_ref().is_ok_and(|facts| facts.immutable);
        let open = |s: &&Subject| register.holds.immutable(&s.row.id, true) == Immutable::Asked;
        let undecided = tally(subjects.iter().filter(asks).filter(open));
        Ok(Self { subjects, strange, moved, claimed, undecided, elapsed })
    }

    /// What keeps a subject because it came before something strange.
    pub(super) fn strange_after(&self, subject: &Subject) -> Option<usize> {
        self.strange.iter().position(|s| s.series == subject.series && subject.row.sequence < s.before)
    }
}

/// Compares each snapshot of a series with the one before it that is left.
fn compare_with_those_before(
    store: &Store,
    subjects: &mut [Subject],
    progress: &dyn Progress,
) -> Result<(), StoreError> {
    let (mut newest, mut places, mut pairs) = (HashMap::<Series, &Entry>::new(), Vec::new(), Vec::new());
    for (at, subject) in subjects.iter().enumerate() {
        let Some(facts) = subject.own_facts() else { continue };
        if let Some(before) = newest.insert(subject.series, &facts.root) {
            places.push(at);
            pairs.push((before, &facts.root));
        }
    }
    let counts = rewritten::measure(store, pairs, progress)?;
    for (at, count) in places.into_iter().zip(counts) {
        if let Ok(facts) = &mut subjects[at].facts {
            facts.measure.rewritten = count.unwrap_or_default();
            facts.measure.beyond = count.is_none();
        }
    }
    Ok(())
}

/// Who is believed about time, and how much of it has passed.
pub(super) fn elapsed(register: &Register, now: Timestamp, sure: bool) -> Result<(Witnesses, Elapsed), RetentionError> {
    let witnesses = Witnesses::find(&register.moments, now, sure)
        .map_err(|e| RetentionError::ClockBehind { now: e.now, witness: e.witness })?;
    let elapsed = Elapsed::new(&register.moments, &witnesses, now, sure);
    Ok((witnesses, elapsed))
}

fn series(register: &Register, row: &SnapshotRow) -> Series {
    let origin = match () {
        () if register.is_vouched(row.sequence) => Origin::Vouched,
        () if register.holds.is_proved(row) => Origin::Writer(row.writer),
        () => Origin::Claimed(row.writer),
    };
    (row.dataset, origin)
}

fn tally<'a>(subjects: impl Iterator<Item = &'a Subject>) -> Vec<Tally> {
    let mut counts = BTreeMap::<Series, u64>::new();
    subjects.for_each(|subject| *counts.entry(subject.series).or_default() += 1);
    counts.into_iter().map(|((dataset, origin), count)| Tally { dataset, origin, count }).collect()
}

fn by_series(subjects: &[Subject]) -> BTreeMap<Series, Vec<&Subject>> {
    let mut by_series = BTreeMap::<Series, Vec<&Subject>>::new();
    for subject in subjects {
        by_series.entry(subject.series).or_default().push(subject);
    }
    by_series
}

/// The newest snapshot of a series that is far beyond its habit.
fn odd(list: &[&Subject], register: &Register) -> Option<Strange> {
    let readable: Vec<_> = list.iter().filter_map(|s| s.own_facts().map(|f| (*s, f.measure))).collect();
    let confirmed = readable.iter().rposition(|(s, _)| register.holds.is_confirmed(&s.row.id));
    let measures: Vec<Measure> = readable.iter().map(|(_, measure)| *measure).collect();
    let alone = strange(&measures, confirmed, FEW, judge_snapshot);
    let (at, why) = rewritten_runs(&measures, confirmed, &alone).into_iter().chain(alone).max_by_key(|(at, _)| *at)?;
    let subject = readable[at].0;
    Some(strange_at(subject, why))
}

/// How many snapshots of writers arrived on which day, those too that were given up since. Of what is vouched for there are no floods.
fn arrivals_by_day(register: &Register, witnesses: &Witnesses) -> HashMap<Series, Vec<Day>> {
    let mut days = HashMap::<Series, BTreeMap<i64, Day>>::new();
    for row in &register.arrived {
        let series = series(register, row);
        if series.1 == Origin::Vouched {
            continue;
        }
        let number = day_of(witnesses.counted(row.sequence, row.arrival).time);
        let new = Day { number, count: 0, last: 0, confirmed: false };
        let day = days.entry(series).or_default().entry(number).or_insert(new);
        day.count += 1;
        day.last = day.last.max(row.sequence);
        day.confirmed |= register.holds.is_confirmed(&row.id);
    }
    days.into_iter().map(|(series, days)| (series, days.into_values().collect())).collect()
}

/// The newest flood of a series, if any snapshot of its day is left to be confirmed.
fn flood(
    days: &[Day],
    list: &[&Subject],
    register: &Register,
    elapsed: &Elapsed,
    rules: RulesFor<'_>,
) -> Option<Strange> {
    let confirmed = list.iter().filter(|s| register.holds.is_confirmed(&s.row.id)).map(|s| s.row.sequence).max();
    let mut members = Vec::with_capacity(list.len());
    for subject in list {
        let (sequence, when) = (subject.row.sequence, (subject.counted.time, elapsed.at(subject.row.sequence)));
        members.push(Member { sequence, when, rules: rules(subject) });
    }
    let (sequence, why) = flooded(days, &members, confirmed)?;
    list.iter().find(|s| s.row.sequence == sequence).map(|subject| strange_at(subject, why))
}

/// All that came before it is kept: of a flood's day too, which may hold what was captured before the flood.
fn strange_at(subject: &Subject, why: String) -> Strange {
    let before = subject.row.sequence;
    Strange { id: subject.row.id, dataset: subject.row.dataset, why, keeps: 0, series: subject.series, before }
}
