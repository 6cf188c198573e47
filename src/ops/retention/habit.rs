//! What a series is used to, and what is far beyond that: snapshots that shrank or changed wholly, days with a flood of them.
//!
//! Median and median deviation, so that one odd snapshot spoils no measure. With fewer than a few there is no habit.

use crate::model::Statistics;

/// Snapshots that make a habit of what one of them holds: who keeps the last three alone has no more.
pub(super) const FEW: usize = 3;
/// Days, or snapshots before a run of them, that make a habit of what comes and goes.
pub(super) const HANDFUL: usize = 5;
/// Of so many before one is the habit told.
const WINDOW: usize = 10;
/// Losses below that are none to hold anything for.
const FEW_FILES: u64 = 5;
/// So many files that are written anew are nothing to hold anything for: in a small folder that is a day's work.
const FEW_REWRITTEN: u64 = 10;
/// Lost bytes below that are none.
const FEW_BYTES: u64 = 1 << 20;
/// More than so many times the usual is far above it.
const FAR: u64 = 4;

/// What of a snapshot can be strange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Measure {
    /// Files.
    pub(super) files: u64,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Bytes that were new to the store.
    pub(super) new_bytes: u64,
    /// Files of the one before that are not here, or have another content.
    pub(super) rewritten: u64,
    /// How many those are is beyond what is looked at.
    pub(super) beyond: bool,
}

impl From<&Statistics> for Measure {
    fn from(s: &Statistics) -> Self {
        Self { files: s.files, bytes: s.bytes, new_bytes: s.new_bytes, rewritten: 0, beyond: false }
    }
}

/// Those of a list that are far beyond what the ones before them were, `enough` at least, each with what is strange about it.
///
/// `confirmed` is the newest that somebody found to be as it should be: what came before it counts no more, and it makes a habit by itself.
pub(super) fn strange<T, Why>(
    list: &[T],
    confirmed: Option<usize>,
    enough: usize,
    judge: impl Fn(&[T], &T) -> Option<Why>,
) -> Vec<(usize, Why)> {
    let begin = confirmed.unwrap_or(0);
    let enough = if confirmed.is_some() { 1 } else { enough };
    let looked_at = (begin + enough..list.len()).filter_map(|at| {
        let habit = &list[begin.max(at.saturating_sub(WINDOW))..at];
        judge(habit, &list[at]).map(|why| (at, why))
    });
    looked_at.collect()
}

/// What is strange about a snapshot beside those before it.
pub(super) fn judge_snapshot(habit: &[Measure], now: &Measure) -> Option<String> {
    let of = |field: fn(&Measure) -> u64| Spread::of(habit.iter().map(field));
    let (files, bytes, new) = (of(|m| m.files), of(|m| m.bytes), of(|m| m.new_bytes));
    if files.lost_far(now.files, FEW_FILES) {
        return Some(format!("it has {} files where {} are usual", now.files, files.median));
    }
    if bytes.lost_far(now.bytes, FEW_BYTES) {
        return Some(format!("it has {} bytes where {} are usual", now.bytes, bytes.median));
    }
    if now.beyond {
        return Some("more of its folders differ from those of the one before than are compared".to_owned());
    }
    let rewritten = of(|m| m.rewritten);
    // Of a folder that is young it is not known yet how it comes and goes.
    let few = if habit.len() < HANDFUL { 5 * FEW_REWRITTEN } else { FEW_REWRITTEN };
    let mostly = now.rewritten > files.median / 2 && now.rewritten >= few;
    if mostly && rewritten.exceeded_far(now.rewritten) {
        let (usual, changed) = (rewritten.median, now.rewritten);
        return Some(format!(
            "{changed} of {} files are gone or have another content where {usual} are usual",
            files.median
        ));
    }
    // A tree that somebody encrypts is new from end to end.
    let mostly_new = now.new_bytes >= now.bytes / 2 && now.new_bytes >= FEW_BYTES;
    if mostly_new && new.exceeded_far(now.new_bytes) && bytes.median >= FEW_BYTES {
        return Some(format!("{} of its {} bytes are new where {} are usual", now.new_bytes, now.bytes, new.median));
    }
    None
}

/// Snapshots in a row over which files that were rewritten are summed up: who rewrites few at a time has all of them in the end.
const RUNS: [usize; 3] = [2, 4, 8];

/// Those that end a run in which most files were rewritten, far quicker than is usual, each with what is strange about it; but for runs with one
/// that is strange by itself. `confirmed` is as for [`strange`].
pub(super) fn rewritten_runs(
    list: &[Measure],
    confirmed: Option<usize>,
    alone: &[(usize, String)],
) -> Vec<(usize, String)> {
    let begin = confirmed.unwrap_or(0);
    let enough = if confirmed.is_some() { 1 } else { HANDFUL };
    let judge = |end: usize, len: usize| {
        let start = (end + 1).checked_sub(len).filter(|start| *start >= begin + enough)?;
        let habit = &list[begin.max(start.saturating_sub(WINDOW))..start];
        let changed: u64 = list[start..=end].iter().fold(0, |sum, m| sum.saturating_add(m.rewritten));
        let files = Spread::of(habit.iter().map(|m| m.files)).median;
        let usual = Spread::of(habit.iter().map(|m| m.rewritten));
        let is_far =
            usual.exceeded_far(changed / len as u64) && alone.iter().all(|(at, _)| !(start..=end).contains(at));
        (changed > files / 2 && changed >= FEW_REWRITTEN && is_far).then(|| {
            format!(
                "{changed} times in {len} snapshots one of {files} files went or had another content, where {} times in one are usual",
                usual.median
            )
        })
    };
    let ends = (0..list.len()).filter_map(|end| RUNS.iter().find_map(|len| judge(end, *len)).map(|why| (end, why)));
    ends.collect()
}

/// How many snapshots a day are usual, if a day has far more than those before it.
pub(super) fn judge_day(habit: &[u64], now: &u64) -> Option<u64> {
    let usual = Spread::of(habit.iter().copied()).median;
    (*now > usual.saturating_mul(FAR)).then_some(usual)
}

/// The middle of some numbers, and how far half of them are from it at most.
struct Spread {
    median: u64,
    deviation: u64,
}

impl Spread {
    fn of(numbers: impl Iterator<Item = u64>) -> Self {
        let numbers: Vec<_> = numbers.collect();
        let median = median(numbers.clone());
        Self { median, deviation: median_of(numbers.into_iter().map(|n| n.abs_diff(median))) }
    }

    /// True if a number is far more than is usual, and than these numbers wander.
    fn exceeded_far(&self, number: u64) -> bool {
        let wandered = self.median.saturating_add(6 * self.deviation.min(u64::MAX / 8));
        number > self.median.saturating_mul(FAR).max(wandered)
    }

    /// True if a number is less than half of what is usual, and further from it than these numbers wander.
    fn lost_far(&self, number: u64, few: u64) -> bool {
        let lost = self.median.saturating_sub(number);
        number < self.median / 2 && lost >= few && lost / 6 >= self.deviation
    }
}

fn median_of(numbers: impl Iterator<Item = u64>) -> u64 {
    median(numbers.collect())
}

fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn measure(files: u64, megabytes: u64, new: u64) -> Measure {
        Measure { files, bytes: megabytes * MB, new_bytes: new * MB, rewritten: 0, beyond: false }
    }

    fn strange_at(list: &[Measure], confirmed: Option<usize>) -> Vec<usize> {
        strange(list, confirmed, FEW, judge_snapshot).into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn a_series_that_goes_on_as_it_was_is_not_strange() {
        let mut list = vec![measure(1000, 100, 100)];
        list.extend((0..30).map(|n| measure(1000 + n, 100 + n, n % 7)));
        assert_eq!(strange_at(&list, None), [0; 0]);
    }

    #[test]
    fn what_shrank_or_was_emptied_is_strange() {
        let mut list = vec![measure(1000, 100, 1); 8];
        list.extend([measure(2, 0, 0), measure(1000, 100, 1), measure(990, 10, 0)]);
        assert_eq!(strange_at(&list, None), [8, 10]);
    }

    #[test]
    fn who_keeps_three_is_told_too() {
        let usual = vec![measure(300, 3, 0); 3];
        let with = |last: Measure| [usual.clone(), vec![last]].concat();
        let overwritten = Measure { rewritten: 300, ..measure(300, 3, 0) };
        assert_eq!(strange_at(&with(measure(0, 0, 0)), None), [3]);
        assert_eq!(strange_at(&with(overwritten), None), [3]);
        assert_eq!(strange_at(&with(Measure { rewritten: 20, ..measure(30, 3, 0) })[1..], None), [0; 0]);
    }

    #[test]
    fn what_is_new_from_end_to_end_is_strange() {
        let mut list = vec![measure(1000, 100, 1); 8];
        list.push(measure(1000, 100, 100));
        assert_eq!(strange_at(&list, None), [8]);
    }

    #[test]
    fn a_dataset_that_always_changes_wholly_or_wanders_is_not_strange() {
        let dumps = vec![measure(1, 100, 100); 9];
        assert_eq!(strange_at(&dumps, None), [0; 0]);
        let wandering: Vec<_> = [1000, 10, 800, 20, 1500, 30, 900, 15].map(|n| measure(n, n, 1)).into();
        assert_eq!(strange_at(&wandering, None), [0; 0]);
    }

    #[test]
    fn what_is_overwritten_from_end_to_end_is_strange_though_nothing_is_new() {
        let changed = |rewritten| Measure { rewritten, ..measure(40, 1, 0) };
        let mut list: Vec<_> = (0..8).map(|n| changed(n % 3)).collect();
        list.extend([changed(15), changed(40), changed(1)]);
        assert_eq!(strange_at(&list, None), [9]);
        assert_eq!(strange_at(&[changed(40); 9], None), [0; 0], "that is its habit");
    }

    #[test]
    fn what_cannot_be_compared_is_strange() {
        let mut list = vec![measure(40, 1, 0); 8];
        list.push(Measure { beyond: true, ..measure(40, 1, 0) });
        assert_eq!(strange_at(&list, None), [8]);
    }

    #[test]
    fn what_is_overwritten_little_by_little_is_strange_when_most_of_it_is_gone() {
        let changed = |rewritten| Measure { rewritten, ..measure(41, 1, 0) };
        let runs = |list: &[Measure], confirmed| {
            let alone = strange(list, confirmed, FEW, judge_snapshot);
            rewritten_runs(list, confirmed, &alone).into_iter().map(|(at, _)| at).collect::<Vec<_>>()
        };
        let mut list = vec![changed(1); 20];
        list.extend([changed(10); 4]);
        assert_eq!(runs(&list, None), [21, 22, 23]);
        assert_eq!(runs(&list, Some(23)), [0; 0]);
        list.extend([changed(1); 3]);
        assert_eq!(runs(&list, Some(23)), [0; 0]);
        // As quick as ever, or a trifle.
        assert_eq!(runs(&[changed(10); 20], None), [0; 0]);
        assert_eq!(runs(&[vec![changed(1); 20], vec![changed(4); 8]].concat(), None), [0; 0]);
        let few = |rewritten| Measure { files: 8, ..changed(rewritten) };
        assert_eq!(runs(&[vec![few(0); 20], vec![few(2); 4]].concat(), None), [0; 0]);
        // One that is strange by itself tells it all.
        assert_eq!(runs(&[vec![changed(1); 20], vec![changed(40)], vec![changed(1); 9]].concat(), None), [0; 0]);
    }

    #[test]
    fn a_few_are_needed_and_trifles_do_not_count() {
        let mut list = vec![measure(1000, 100, 1); FEW - 1];
        list.push(measure(0, 0, 0));
        assert_eq!(strange_at(&list, None), [0; 0]);
        let mut list = vec![measure(4, 0, 0); 8];
        list.push(measure(0, 0, 0));
        assert_eq!(strange_at(&list, None), [0; 0]);
    }

    #[test]
    fn one_that_was_confirmed_is_the_new_habit() {
        let mut list = vec![measure(1000, 100, 1); 8];
        list.extend([measure(10, 1, 0); 3]);
        assert_eq!(strange_at(&list, None), [8, 9, 10]);
        assert_eq!(strange_at(&list, Some(8)), [0; 0]);
        list.push(measure(0, 0, 0));
        assert_eq!(strange_at(&list, Some(8)), [11]);
    }

    #[test]
    fn busy_days_are_far_above_the_habit() {
        let days = [1, 2, 1, 1, 1, 4, 1, 5, 1, 1000];
        assert_eq!(strange(&days, None, HANDFUL, judge_day), [(7, 1), (9, 1)]);
        let hourly = [24, 24, 24, 24, 24, 48, 96];
        assert_eq!(strange(&hourly, None, HANDFUL, judge_day), []);
    }

    #[test]
    fn numbers_at_their_limits_do_no_harm() {
        let huge =
            Measure { files: u64::MAX, bytes: u64::MAX, new_bytes: u64::MAX, rewritten: u64::MAX, beyond: false };
        assert_eq!(strange_at(&[huge; 9], None), [0; 0]);
    }
}
