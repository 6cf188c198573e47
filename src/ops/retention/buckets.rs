//! Rules applied to a series: which snapshots which rule keeps. Times are UTC, weeks begin on Monday (ISO 8601).

use std::collections::HashSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::{Rule, Rules, Timestamp, age_text};

/// Why a rule keeps a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBy {
    /// Which rule; none if it is the age alone.
    pub rule: Option<Rule>,
    /// The stretch of time whose newest it is, in words; how manieth it is for `last`.
    pub bucket: String,
    /// It is the oldest of all, and kept because the rule has room left: of a young series nothing old is given up too early.
    pub oldest: bool,
}

/// What keeps each of a series' snapshots, given newest first by their times, each with the seconds that are believed to have passed
/// until then: ages are told from these, so that no clock makes all others old. Nothing keeps those with an empty list.
#[must_use]
pub(super) fn apply(rules: &Rules, newest_first: &[(Timestamp, i64)]) -> Vec<Vec<KeptBy>> {
    let mut kept = vec![Vec::new(); newest_first.len()];
    let times: Vec<_> = newest_first.iter().map(|(time, _)| *time).collect();
    for rule in Rule::ALL {
        keep_by(rule, rules.count(rule), &times, &mut kept);
    }
    let newest =
        newest_first.iter().map(|(time, _)| *time).max().zip(newest_first.iter().map(|(_, passed)| *passed).max());
    if let (true, Some((newest, passed))) = (rules.within > 0, newest) {
        let within = i64::try_from(rules.within).unwrap_or(i64::MAX);
        let since = Timestamp { seconds: newest.seconds.saturating_sub(within), ..newest };
        let bucket = format!("within {} of the newest", age_text(rules.within));
        for ((time, by_then), kept) in newest_first.iter().zip(&mut kept) {
            if *time >= since {
                kept.push(KeptBy { rule: None, bucket: bucket.clone(), oldest: false });
            } else if *by_then >= passed.saturating_sub(within) {
                let bucket = format!("{bucket}, unless a clock was ahead");
                kept.push(KeptBy { rule: None, bucket, oldest: false });
            }
        }
    }
    kept
}

/// Keeps the newest of each of so many stretches. A stretch counts once, in whatever order times come.
fn keep_by(rule: Rule, count: u32, newest_first: &[Timestamp], kept: &mut [Vec<KeptBy>]) {
    let mut seen = HashSet::new();
    for (at, (time, kept)) in newest_first.iter().zip(kept).enumerate() {
        if count != Rules::EVERY && seen.len() >= count as usize {
            return;
        }
        let (number, bucket) = bucket(rule, *time, at);
        let new = seen.insert(number);
        let oldest = !new && at + 1 == newest_first.len();
        if new || oldest {
            kept.push(KeptBy { rule: Some(rule), bucket, oldest });
        }
    }
}

/// The number of the stretch that a time lies in, and what it is called.
fn bucket(rule: Rule, time: Timestamp, at: usize) -> (i64, String) {
    let whole = jiff::Timestamp::from_second(time.seconds);
    let limit = if time.seconds < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    let utc = whole.unwrap_or(limit).to_zoned(TimeZone::UTC).datetime();
    let date: Date = utc.date();
    let (year, month) = (i64::from(date.year()), i64::from(date.month()));
    match rule {
        Rule::Last => (i64::try_from(at).unwrap_or(i64::MAX), format!("{} from the newest", at + 1)),
        Rule::Hourly => (time.seconds.div_euclid(3600), format!("{date} {:02}h", utc.hour())),
        Rule::Daily => (time.seconds.div_euclid(86_400), date.to_string()),
        Rule::Weekly => {
            let week = date.iso_week_date();
            // 1970 began on a Thursday.
            ((time.seconds.div_euclid(86_400) + 3).div_euclid(7), format!("{}-W{:02}", week.year(), week.week()))
        }
        Rule::Monthly => (year * 12 + month, format!("{year}-{month:02}")),
        Rule::Quarterly => {
            let quarter = (month - 1) / 3;
            (year * 4 + quarter, format!("{year}-Q{}", quarter + 1))
        }
        Rule::Yearly => (year, year.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        let t: jiff::Timestamp = format!("{text}Z").parse().unwrap();
        Timestamp { seconds: t.as_second(), nanos: 0 }
    }

    /// With the time that has passed, where no clock is in doubt.
    fn passing(times: &[Timestamp]) -> Vec<(Timestamp, i64)> {
        times.iter().map(|time| (*time, time.seconds)).collect()
    }

    /// The snapshots, oldest first, that one rule keeps, with the stretch each is the newest of; `…` marks the oldest.
    fn kept(rule: Rule, count: u32, times: &[&str]) -> Vec<(usize, String)> {
        let mut counts = [0; 7];
        counts[rule as usize] = count;
        let newest_first: Vec<_> = times.iter().rev().map(|t| time(t)).collect();
        let kept = apply(&Rules { counts, within: 0 }, &passing(&newest_first));
        let mut found: Vec<_> = kept
            .into_iter()
            .enumerate()
            .flat_map(|(at, list)| list.into_iter().map(move |k| (times.len() - 1 - at, k)))
            .map(|(at, k)| (at, if k.oldest { format!("{}…", k.bucket) } else { k.bucket }))
            .collect();
        found.reverse();
        found
    }

    fn names(list: &[(usize, &str)]) -> Vec<(usize, String)> {
        list.iter().map(|(at, name)| (*at, (*name).to_owned())).collect()
    }

    #[test]
    fn the_last_and_all() {
        let times = ["2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-02T00:00:00"];
        assert_eq!(kept(Rule::Last, 2, &times), names(&[(1, "2 from the newest"), (2, "1 from the newest")]));
        assert_eq!(kept(Rule::Last, Rules::EVERY, &times).len(), 3);
        assert_eq!(kept(Rule::Last, 9, &times).len(), 3);
        assert_eq!(kept(Rule::Daily, 0, &times), []);
    }

    #[test]
    fn the_newest_of_an_hour_or_day_stays() {
        let times = [
            "2024-02-28T23:59:59",
            "2024-02-29T00:00:00",
            "2024-02-29T10:00:00",
            "2024-02-29T10:59:59",
            "2024-03-01T11:00:00",
        ];
        let hours = [(1, "2024-02-29 00h"), (3, "2024-02-29 10h"), (4, "2024-03-01 11h")];
        assert_eq!(kept(Rule::Hourly, 3, &times), names(&hours));
        assert_eq!(kept(Rule::Daily, 2, &times), names(&[(3, "2024-02-29"), (4, "2024-03-01")]));
    }

    #[test]
    fn of_a_tie_in_one_second_the_last_arrival_stays() {
        let times = ["2024-01-01T12:00:00"; 4];
        assert_eq!(kept(Rule::Hourly, 1, &times), names(&[(3, "2024-01-01 12h")]));
    }

    #[test]
    fn weeks_begin_on_monday_and_pass_over_the_end_of_a_year() {
        // 2020-12-28 is the Monday of week 53, which lasts to Sunday 2021-01-03; 2024-12-30 begins week 1 of 2025.
        let times = ["2020-12-27T23:00:00", "2020-12-28T00:00:00", "2021-01-03T23:59:59", "2021-01-04T00:00:00"];
        let weeks = [(0, "2020-W52"), (2, "2020-W53"), (3, "2021-W01")];
        assert_eq!(kept(Rule::Weekly, 3, &times), names(&weeks));
        let times = ["2024-12-29T00:00:00", "2024-12-30T00:00:00", "2025-01-01T00:00:00"];
        assert_eq!(kept(Rule::Weekly, 2, &times), names(&[(0, "2024-W52"), (2, "2025-W01")]));
        assert_eq!(kept(Rule::Yearly, 2, &times), names(&[(1, "2024"), (2, "2025")]));
    }

    #[test]
    fn months_quarters_and_years() {
        let times = [
            "2022-12-31T23:59:59",
            "2023-01-01T00:00:00",
            "2023-03-31T00:00:00",
            "2023-04-01T00:00:00",
            "2023-04-30T00:00:00",
            "2024-04-30T00:00:00",
        ];
        assert_eq!(kept(Rule::Monthly, 2, &times), names(&[(4, "2023-04"), (5, "2024-04")]));
        let quarters = [(2, "2023-Q1"), (4, "2023-Q2"), (5, "2024-Q2")];
        assert_eq!(kept(Rule::Quarterly, 3, &times), names(&quarters));
        assert_eq!(kept(Rule::Yearly, 3, &times), names(&[(0, "2022"), (4, "2023"), (5, "2024")]));
    }

    #[test]
    fn the_oldest_stays_while_a_rule_has_room_and_no_longer() {
        let times = ["2024-01-01T00:00:00", "2024-01-01T05:00:00", "2024-01-02T00:00:00"];
        let all = [(0, "2024-01-01…"), (1, "2024-01-01"), (2, "2024-01-02")];
        assert_eq!(kept(Rule::Daily, 7, &times), names(&all));
        assert_eq!(kept(Rule::Daily, 2, &times), names(&all[1..]));
    }

    #[test]
    fn a_stretch_counts_once_though_times_jump_to_and_fro() {
        let times = ["2024-01-01T00:00:00", "2024-01-03T00:00:00", "2024-01-02T00:00:00", "2024-01-03T00:00:00"];
        let days = [(0, "2024-01-01"), (2, "2024-01-02"), (3, "2024-01-03")];
        assert_eq!(kept(Rule::Daily, 3, &times), names(&days));
    }

    #[test]
    fn ages_count_from_the_newest_and_include_the_limit() {
        let times = ["2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-03T00:00:00"].map(time);
        let newest_first: Vec<_> = times.into_iter().rev().collect();
        let kept = apply(&Rules { counts: [0; 7], within: 86_400 }, &passing(&newest_first));
        assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!(kept[0][0].bucket, "within 1d of the newest");
    }

    #[test]
    fn times_beyond_the_calendar_do_no_harm() {
        let far = [i64::MAX, i64::MAX - 1, i64::MIN].map(|seconds| Timestamp { seconds, nanos: 0 });
        let every = Rules { counts: [1; 7], within: u64::MAX };
        assert_eq!(apply(&every, &passing(&far)).len(), 3);
        assert_eq!(apply(&every, &[]).len(), 0);
    }
}
