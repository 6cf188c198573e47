//! When a snapshot really arrived, as far as it can be known.
//!
//! The order of the log is certain; the time that an entry tells is the word of the machine that wrote it. Entries for which a
//! catalog or owner key vouches are believed and are the witnesses of all others: what lies between two of them arrived between their
//! times. So a writer that lies about its clock moves its own snapshots within one such stretch, and nobody else's at all.

use crate::model::Timestamp;
use crate::store::{SnapshotRow, Store, StoreError};

use super::register::Moment;

/// How far clocks of machines that are believed may differ before that is worth a word.
const TOLERANCE: i64 = 3600;
/// So many witnesses before the first entry that somebody looks at tell which of them have a wrong clock.
const BEFORE: usize = 32;

/// The times that are believed, by sequence. Neither goes backwards.
#[derive(Debug, Clone, Default)]
pub struct Witnesses {
    believed: Vec<(u64, Timestamp)>,
}

/// The clock of this machine is far behind what the log bears out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockBehind {
    /// What it says.
    pub now: Timestamp,
    /// The newest time that is believed.
    pub witness: Timestamp,
}

/// The time that a snapshot counts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// When.
    pub time: Timestamp,
    /// True if that is far from what its entry says.
    pub moved: bool,
}

impl Witnesses {
    /// Finds them among the entries of the log, the present run being the last.
    ///
    /// A clock that was wrong for a while contradicts others: of all vouched entries the largest set is believed in which no time
    /// is before an earlier entry's.
    ///
    /// With `sure`, no entry from after the present is believed, whoever vouches for it.
    ///
    /// # Errors
    /// If it is `now` that cannot be believed.
    pub fn find(moments: &[Moment], now: Timestamp, sure: bool) -> Result<Self, ClockBehind> {
        let vouched = vouched(moments.iter().filter(|m| !(sure && m.claimed > now)));
        let with = |now| longest_run(&[&vouched[..], &[(u64::MAX, now)]].concat());
        let believed = with(now);
        match believed.last() {
            Some((u64::MAX, _)) => Ok(Self { believed }),
            Some((_, witness)) if witness.seconds.saturating_sub(now.seconds) <= TOLERANCE => {
                Ok(Self { believed: with(*witness) })
            }
            last => Err(ClockBehind { now, witness: last.map_or(now, |(_, witness)| *witness) }),
        }
    }

    /// Reads from the log who vouches for what, as far as it bears on entries from `first` on, for whoever forgets nothing: a present that
    /// cannot be believed, or none, is left out. A key that cannot tell who vouches believes nobody.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn read(store: &Store, now: Option<Timestamp>, first: u64) -> Result<Self, StoreError> {
        let (mut moments, mut before) = (Vec::new(), 0);
        store.newest_entries(|entry| {
            let vouched = store.keyring().vouches_for(&entry) == Some(true);
            moments.push(Moment { sequence: entry.sequence, claimed: entry.arrival, vouched });
            before += usize::from(vouched && entry.sequence < first);
            before < BEFORE
        })?;
        moments.reverse();
        let with_present = now.and_then(|now| Self::find(&moments, now, false).ok());
        Ok(with_present.unwrap_or_else(|| Self { believed: longest_run(&vouched(moments.iter())) }))
    }

    /// When a snapshot arrived.
    #[must_use]
    pub fn arrival(&self, row: &SnapshotRow) -> Timestamp {
        self.counted(row.sequence, row.arrival).time
    }

    /// The time with which an entry counts.
    #[must_use]
    pub fn counted(&self, sequence: u64, claimed: Timestamp) -> Counted {
        let at = self.believed.partition_point(|(s, _)| *s < sequence);
        let mut time = claimed;
        if let Some((found, believed)) = self.believed.get(at) {
            time = if *found == sequence { *believed } else { time.min(*believed) };
        }
        if let Some((_, before)) = at.checked_sub(1).and_then(|at| self.believed.get(at)) {
            time = time.max(*before);
        }
        Counted { time, moved: time.seconds.abs_diff(claimed.seconds) > TOLERANCE.unsigned_abs() }
    }
}

fn vouched<'a>(moments: impl Iterator<Item = &'a Moment>) -> Vec<(u64, Timestamp)> {
    moments.filter(|m| m.vouched).map(|m| (m.sequence, m.claimed)).collect()
}

/// The longest part of a list, in its order, whose times do not go backwards; of several the one that ends earliest. By the lengths of
/// the runs that end at each item (patience sorting), in n log n steps.
fn longest_run(list: &[(u64, Timestamp)]) -> Vec<(u64, Timestamp)> {
    // By length less one: the item with the earliest time that ends a run of that length.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![None; list.len()];
    for (at, (_, time)) in list.iter().enumerate() {
        let length = ends.partition_point(|end| list[*end].1 <= *time);
        before[at] = length.checked_sub(1).map(|shorter| ends[shorter]);
        if length == ends.len() { ends.push(at) } else { ends[length] = at }
    }
    let mut run: Vec<_> = std::iter::successors(ends.last().copied(), |at| before[*at]).map(|at| list[at]).collect();
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    /// Entries from the first: who vouches (`+`) or not (`-`), and the time that each tells.
    fn moments(list: &[(char, i64)]) -> Vec<Moment> {
        let moment = |(n, (sign, time)): (usize, &(char, i64))| Moment {
            sequence: n as u64 + 1,
            claimed: at(*time),
            vouched: *sign == '+',
        };
        list.iter().enumerate().map(moment).collect()
    }

    fn counted(list: &[(char, i64)], now: i64) -> Vec<i64> {
        let moments = moments(list);
        let witnesses = Witnesses::find(&moments, at(now), false).unwrap();
        moments.iter().map(|m| witnesses.counted(m.sequence, m.claimed).time.seconds).collect()
    }

    #[test]
    fn a_claim_counts_between_the_witnesses_around_it() {
        let list =
            [('-', 5), ('+', 100), ('-', 3), ('-', 150), ('-', 9_000_000), ('+', 200), ('-', 0), ('-', 9_000_000)];
        assert_eq!(counted(&list, 300), [5, 100, 100, 150, 200, 200, 200, 300]);
    }

    #[test]
    fn what_came_before_the_first_witness_is_only_bounded_above() {
        assert_eq!(counted(&[('-', -50), ('-', 500), ('+', 100)], 300), [-50, 100, 100]);
    }

    #[test]
    fn claims_are_no_witnesses_however_many() {
        let mut list = vec![('+', 100)];
        list.extend([('-', 9_000_000); 50]);
        list.push(('+', 200));
        assert_eq!(counted(&list, 300)[51], 200);
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_while_is_outvoted() {
        let future = [('+', 10), ('+', 20), ('+', 9_000), ('+', 30), ('+', 40)];
        assert_eq!(counted(&future, 50), [10, 20, 30, 30, 40]);
        let past = [('+', 10), ('+', 20), ('+', -7_000), ('-', 25), ('+', 30)];
        assert_eq!(counted(&past, 50), [10, 20, 20, 25, 30]);
        let newest = [('+', 10), ('+', 20), ('+', 90_000)];
        assert_eq!(counted(&newest, 50), [10, 20, 50]);
    }

    #[test]
    fn a_present_far_behind_is_refused_and_one_a_little_behind_is_not() {
        let list = moments(&[('+', 1_000_000), ('+', 1_000_010), ('-', 1_000_020)]);
        let behind = Witnesses::find(&list, at(0), false).unwrap_err();
        assert_eq!(behind, ClockBehind { now: at(0), witness: at(1_000_010) });
        let sure = Witnesses::find(&list, at(0), true).unwrap();
        assert_eq!(sure.counted(1, at(1_000_000)).time, at(0));
        let witnesses = Witnesses::find(&list, at(1_000_000 - 600), false).unwrap();
        assert_eq!(witnesses.counted(3, at(1_000_020)), Counted { time: at(1_000_010), moved: false });
        assert!(witnesses.counted(3, at(2_000_000)).moved);
    }

    #[test]
    fn an_empty_log_needs_no_witness() {
        let witnesses = Witnesses::find(&[], at(7), false).unwrap();
        assert_eq!(witnesses.counted(1, at(9)).time, at(7));
    }
}
