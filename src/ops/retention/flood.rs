//! Days on which far more snapshots arrived than the series is used to, and whether that pushes out what came before.
//!
//! Whoever has a writer key can capture as often as he likes, and a rule that counts snapshots keeps the newest. By number alone that is
//! not told from somebody who tries things by hand on one day. So such a day is a flood only if it does harm: if of the older snapshots
//! that the rules would keep, had the series gone on as it used to, a good part is kept no more. Rules that count days, weeks or months
//! are pushed by no number, and under them nobody is alarmed. What stays below four times the usual is none either: of what a rule of
//! numbers keeps, that leaves a quarter of the time that it reached back, and a habit may grow.

use std::collections::{BTreeMap, HashMap};

use crate::model::{Rules, Timestamp};

use super::buckets::apply;
use super::habit::{HANDFUL, judge_day, strange};

/// Snapshots a day, far above what is usual, that are a flood whatever the rules: under rules of days too, and where somebody is named.
const MANY_A_DAY: u64 = 24;
/// A flood pushes out at least one of so many snapshots that would be kept.
const PART: usize = 4;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The day that a time lies in.
pub(super) fn day_of(time: Timestamp) -> i64 {
    time.seconds.div_euclid(DAY)
}

/// Arrivals of a series on one day, those too that were given up since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    pub(super) number: i64,
    pub(super) count: u64,
    /// Sequence of the last one.
    pub(super) last: u64,
    /// Somebody confirmed one of them.
    pub(super) confirmed: bool,
}

/// What of a series is counted together: under policies, what has the same retention class or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group<'a>(pub(super) Option<&'a str>);

/// A living snapshot of a series.
#[derive(Debug, Clone)]
pub(super) struct Member<'a> {
    pub(super) sequence: u64,
    /// When it counts as arrived, and the seconds that are believed to have passed until then.
    pub(super) when: (Timestamp, i64),
    /// What it is counted with, and the rules for that; nothing if it is under none.
    pub(super) rules: Option<(Group<'a>, Rules)>,
}

/// The newest flood of a series: the newest snapshot of its day that is left, and what is strange. What was confirmed, and what came
/// before that, is none. Days and members are given oldest first.
pub(super) fn flooded(days: &[Day], members: &[Member<'_>], confirmed: Option<u64>) -> Option<(u64, String)> {
    let counts: Vec<u64> = days.iter().map(|day| day.count).collect();
    let busy = strange(&counts, days.iter().rposition(|day| day.confirmed), HANDFUL, judge_day);
    (0..busy.len()).rev().find_map(|at| {
        let (day, usual) = (&days[busy[at].0], busy[at].1);
        let newest = members.iter().rfind(|m| day_of(m.when.0) == day.number)?.sequence;
        if Some(newest) <= confirmed {
            return None;
        }
        // As it was at the end of that day: whoever looks later finds the same, until somebody confirms it.
        let by_then: Vec<_> = members.iter().filter(|m| m.sequence <= day.last).collect();
        let usual_on = busy[..=at].iter().map(|(at, usual)| (days[*at].number, *usual)).collect();
        let harm = pushed_out(&by_then, &usual_on);
        let told = format!("{} snapshots arrived on its day where {usual} are usual", day.count);
        match harm {
            Some((gone, kept)) => Some((newest, format!("{told}, and push out {gone} of {kept} that would be kept"))),
            None => (day.count > MANY_A_DAY).then_some((newest, told)),
        }
    })
}

/// How many older snapshots the rules no longer keep because of busy days, and how many they would keep had only the usual number
/// arrived on these; nothing if that is too few to be called a harm.
fn pushed_out(members: &[&Member<'_>], usual_on: &HashMap<i64, u64>) -> Option<(usize, usize)> {
    let mut groups = BTreeMap::<Group<'_>, (Rules, Vec<(Timestamp, i64)>)>::new();
    for member in members.iter().rev() {
        if let Some((group, rules)) = member.rules {
            groups.entry(group).or_insert_with(|| (rules, Vec::new())).1.push(member.when);
        }
    }
    let mut harms = groups.into_values().map(|(rules, newest_first)| of_group(&rules, &newest_first, usual_on));
    harms.find(|(gone, kept)| *gone > 0 && gone * PART >= *kept)
}

fn of_group(rules: &Rules, newest_first: &[(Timestamp, i64)], usual_on: &HashMap<i64, u64>) -> (usize, usize) {
    let mut left = usual_on.clone();
    // Of a busy day its newest stay, as many as are usual.
    let as_usual = |at: &usize| match left.get_mut(&day_of(newest_first[*at].0)) {
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
        None => true,
    };
    let as_usual: Vec<_> = (0..newest_first.len()).filter(as_usual).collect();
    let kept = apply(rules, newest_first);
    let kept_as_usual = apply(rules, &as_usual.iter().map(|at| newest_first[*at]).collect::<Vec<_>>());
    let older = as_usual
        .into_iter()
        .zip(kept_as_usual)
        .filter(|(at, reasons)| !reasons.is_empty() && !usual_on.contains_key(&day_of(newest_first[*at].0)));
    older.fold((0, 0), |(gone, all), (at, _)| (gone + usize::from(kept[at].is_empty()), all + 1))
}

#[cfg(test)]
mod tests {
    use crate::model::Rule;

    use super::*;

    fn keep(rule: Rule, count: u32) -> Rules {
        let mut rules = Rules::default();
        rules.counts[rule as usize] = count;
        rules
    }

    /// Days with so many arrivals each, half an hour apart, all of them living; what is found on which day.
    fn found(counts: &[u64], rules: Option<Rules>) -> Option<(usize, String)> {
        let (mut days, mut members) = (Vec::new(), Vec::new());
        for (number, count) in (0..).zip(counts) {
            for n in 0..*count {
                let seconds = number * DAY + i64::try_from(n).unwrap() * 800;
                let (sequence, rules) = (members.len() as u64 + 1, rules.map(|rules| (Group(None), rules)));
                members.push(Member { sequence, when: (Timestamp { seconds, nanos: 0 }, seconds), rules });
            }
            days.push(Day { number, count: *count, last: members.len() as u64, confirmed: false });
        }
        let found = flooded(&days, &members, None);
        found.map(|(sequence, why)| (days.iter().position(|day| day.last >= sequence).unwrap(), why))
    }

    fn on_day(counts: &[u64], rules: Rules) -> Option<usize> {
        found(counts, Some(rules)).map(|(day, _)| day)
    }

    const USED_TO: [u64; 8] = [1, 1, 2, 1, 1, 1, 1, 1];

    fn then(more: &[u64]) -> Vec<u64> {
        [&USED_TO[..], more].concat()
    }

    #[test]
    fn a_day_that_pushes_out_what_would_be_kept_is_a_flood() {
        let five = keep(Rule::Last, 5);
        for many in [5, 8, 15, 24, 25, 1000] {
            assert_eq!(on_day(&then(&[many]), five), Some(8), "{many}");
        }
        let (_, why) = found(&then(&[8]), Some(five)).unwrap();
        assert_eq!(why, "8 snapshots arrived on its day where 1 are usual, and push out 4 of 4 that would be kept");
        assert_eq!(on_day(&then(&[12]), keep(Rule::Hourly, 8)), Some(8), "hours are filled too");
    }

    #[test]
    fn it_is_told_for_as_long_as_nobody_confirms_it() {
        let five = keep(Rule::Last, 5);
        assert_eq!(on_day(&then(&[8, 1, 1, 1, 1, 1, 1, 1]), five), Some(8));
        // When it has become what is usual, the days on which it was not still tell.
        assert!(on_day(&then(&[8; 20]), five).is_some_and(|day| (8..15).contains(&day)));
    }

    #[test]
    fn several_busy_days_push_out_together_what_none_does_alone() {
        let twelve = keep(Rule::Last, 40);
        let long = [1; 45];
        assert_eq!(on_day(&[&long[..], &[8]].concat(), twelve), None);
        assert_eq!(on_day(&[&long[..], &[8, 8]].concat(), twelve), Some(46));
        assert_eq!(on_day(&[&long[..], &[8, 1, 1, 8]].concat(), twelve), Some(48));
    }

    #[test]
    fn who_tries_things_by_hand_is_no_flood_where_it_does_no_harm() {
        assert_eq!(on_day(&then(&[4]), keep(Rule::Last, 5)), None, "four are a few");
        assert_eq!(on_day(&then(&[8]), keep(Rule::Daily, 3)), None, "days are not pushed out by a number");
        assert_eq!(on_day(&then(&[8]), keep(Rule::Last, 30)), None, "there is room");
        assert_eq!(on_day(&[&[1; 45][..], &[6]].concat(), keep(Rule::Last, 40)), None, "it is a small part");
        assert_eq!(found(&then(&[8]), None), None, "under no rule");
        let both = Rules { counts: [5, 0, 7, 0, 0, 0, 0], within: 0 };
        assert_eq!(on_day(&then(&[8]), both), None, "what one rule loses the other keeps");
    }

    #[test]
    fn more_than_a_day_has_hours_are_a_flood_whatever_the_rules() {
        assert_eq!(on_day(&then(&[25]), keep(Rule::Daily, 3)), Some(8));
        assert_eq!(found(&then(&[25]), None).unwrap().1, "25 snapshots arrived on its day where 1 are usual");
    }

    #[test]
    fn a_habit_that_grows_slowly_and_one_of_hours_are_no_floods() {
        let grows: Vec<_> = (0..90).map(|n| 1 + n / 4).collect();
        assert_eq!(on_day(&grows, keep(Rule::Last, 5)), None);
        let hourly = [&[24; 10][..], &[48, 24, 90, 24]].concat();
        assert_eq!(on_day(&hourly, keep(Rule::Last, 48)), None);
        assert_eq!(on_day(&[1, 1, 1, 1, 20], keep(Rule::Last, 5)), None, "there is no habit yet");
    }
}
