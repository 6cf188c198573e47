//! How much time has passed, as far as the log bears it out.
//!
//! A clock that runs ahead shows as a stretch in which nothing arrived, longer than any that the store is used to. Of such a stretch no
//! more is believed than is usual: what ends with time, holds and ages, ends later then, never too soon.

use crate::model::{SnapshotId, Timestamp};

use super::holds::{Hold, Holds};
use super::register::Moment;
use super::witness::Witnesses;

/// A stretch without entries that is believed in any store.
const BELIEVED: i64 = 2 * 86_400;
/// Stretches shorter than that are none: what one run writes tells no habit.
const SHORT: i64 = 3600;
/// Of so many stretches before one is the habit told.
const WINDOW: usize = 32;

/// How much time has passed, as far as the log bears it out.
#[derive(Debug, Clone)]
pub struct Elapsed {
    now: Timestamp,
    /// By sequence: the time that an entry counts with, and the seconds that are believed to have passed since the first.
    points: Vec<(u64, i64, i64)>,
    /// The same of the present.
    present: i64,
}

impl Elapsed {
    /// Adds up what lies between the entries of the log and the present. If that is `sure`, all of it is believed.
    #[must_use]
    pub fn new(moments: &[Moment], witnesses: &Witnesses, now: Timestamp, sure: bool) -> Self {
        let (mut points, mut stretches) = (Vec::new(), Vec::new());
        let (mut last, mut passed) = (None, 0_i64);
        let counted = moments.iter().map(|m| (m.sequence, witnesses.counted(m.sequence, m.claimed).time.seconds));
        for (sequence, time) in counted.chain([(u64::MAX, now.seconds)]) {
            let time = last.map_or(time, |last| time.max(last));
            let stretch = time.saturating_sub(last.unwrap_or(time));
            passed = passed.saturating_add(if sure { stretch } else { stretch.min(believed(&stretches)) });
            if stretch >= SHORT {
                stretches.push(stretch);
            }
            points.push((sequence, time, passed));
            last = Some(time);
        }
        Self { now, points, present: passed }
    }

    /// The present, as the clock of this machine has it.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The seconds that are believed to have passed from the first entry to this one.
    #[must_use]
    pub fn at(&self, sequence: u64) -> i64 {
        let at = self.points.partition_point(|(s, ..)| *s < sequence);
        self.points.get(at).map_or(self.present, |(.., passed)| *passed)
    }

    /// A hold that keeps a snapshot: one is over when so much time has passed, and not when a clock says so.
    #[must_use]
    pub fn held<'a>(&self, holds: &'a Holds, id: &SnapshotId) -> Option<&'a Hold> {
        holds.on(id).find(|hold| !self.ends(hold))
    }

    /// True if the time of a hold is over, by the clock and by what has passed since it was set.
    fn ends(&self, hold: &Hold) -> bool {
        let passed = self.present.saturating_sub(self.at(hold.sequence));
        !hold.is_in_force(self.now)
            && hold.until.is_some_and(|until| passed >= until.seconds.saturating_sub(hold.since.seconds))
    }
}

/// The longest stretch that is believed behind these: twice what was seen more than once, for once may have been a clock.
fn believed(stretches: &[i64]) -> i64 {
    let mut seen = stretches[stretches.len().saturating_sub(WINDOW)..].to_vec();
    seen.sort_unstable();
    seen.iter().rev().nth(1).map_or(BELIEVED, |habit| habit.saturating_mul(2).max(BELIEVED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    /// The days that are believed to have passed up to each entry and the present, of entries on these days.
    fn passed(days: &[i64], now: i64) -> Vec<i64> {
        let at = |day: i64| Timestamp { seconds: day * DAY, nanos: 0 };
        let moment = |(n, day): (usize, &i64)| Moment { sequence: n as u64 + 1, claimed: at(*day), vouched: true };
        let moments: Vec<_> = days.iter().enumerate().map(moment).collect();
        let witnesses = Witnesses::find(&moments, at(now), false).unwrap();
        let elapsed = Elapsed::new(&moments, &witnesses, at(now), false);
        elapsed.points.iter().map(|(.., passed)| passed / DAY).collect()
    }

    #[test]
    fn of_a_stretch_beyond_the_habit_little_is_believed() {
        assert_eq!(passed(&[0, 1, 2, 3], 400), [0, 1, 2, 3, 5]);
        assert_eq!(passed(&[0, 1, 2, 402], 403), [0, 1, 2, 4, 5]);
    }

    #[test]
    fn what_was_seen_twice_is_the_habit() {
        assert_eq!(passed(&[0, 30, 60, 90], 120), [0, 2, 4, 34, 64]);
        assert_eq!(passed(&[0, 7, 14, 21, 21], 42), [0, 2, 4, 11, 11, 25]);
    }

    #[test]
    fn time_that_goes_backwards_stands_still() {
        assert_eq!(passed(&[10, 11, 5, 12], 13), [0, 1, 1, 2, 3]);
    }
}
