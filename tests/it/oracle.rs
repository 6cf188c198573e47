//! What a store must hold, in memory: the other side of `random_runs.rs`. It knows nothing of how Larder does it.

use std::rc::Rc;

use larder::model::Role;
use serde_json::Value;

use crate::sandbox::Model;

/// Seconds by which a clock may be behind others that are believed.
const TOLERANCE: i64 = 3600;
/// What a command may take, when its clock counts.
const SLACK: i64 = 120;

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Living,
    Forgotten,
    /// The same, and a gc was killed: it may be collected.
    PerhapsCollected,
    Collected,
}

/// Whose snapshots are counted together: those of all who are trusted, and those of each writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    Trusted,
    Writer(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) dataset: usize,
    pub(crate) tree: Rc<Model>,
    pub(crate) series: Series,
    pub(crate) immutable: bool,
    /// When each hold ends, if it does.
    pub(crate) holds: Vec<Option<i64>>,
    pub(crate) state: State,
}

impl Snapshot {
    pub(crate) fn lives(&self) -> bool {
        self.state == State::Living
    }

    /// Nobody may give it up.
    pub(crate) fn is_kept(&self, now: i64) -> bool {
        self.immutable || self.holds.iter().any(|until| until.is_none_or(|until| until > now))
    }
}

/// Somebody with a key, or without one any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) has_key: bool,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    /// In the order in which they arrived.
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) members: Vec<Member>,
    /// How many of the newest the policy of a dataset keeps.
    pub(crate) policies: [Option<usize>; 3],
    /// The latest time that anybody who is trusted has written into the log.
    pub(crate) latest: i64,
}

pub(crate) const DATASETS: [&str; 3] = ["alpha", "beta", "gamma"];

impl Oracle {
    /// Those that rules let go which keep the newest ones of each series of a dataset: nothing, if there is no rule for it.
    pub(crate) fn beyond(&self, keep: impl Fn(usize) -> Option<usize>, now: i64) -> Vec<usize> {
        let mut found: Vec<_> = (0..self.snapshots.len()).filter(|at| self.is_beyond(*at, &keep, now)).collect();
        found.sort_unstable();
        found
    }

    fn is_beyond(&self, at: usize, keep: impl Fn(usize) -> Option<usize>, now: i64) -> bool {
        let snapshot = &self.snapshots[at];
        let Some(keep) = keep(snapshot.dataset) else { return false };
        let beside = |s: &&Snapshot| s.lives() && s.dataset == snapshot.dataset && s.series == snapshot.series;
        let newer = self.snapshots[at + 1..].iter().filter(beside).count();
        snapshot.lives() && !snapshot.is_kept(now) && newer >= keep
    }

    /// How giving up snapshots by name must end: 0 if all of them go.
    pub(crate) fn of_forgetting(&self, named: &[usize], now: i64) -> i32 {
        let list = || named.iter().map(|at| &self.snapshots[*at]);
        match () {
            () if list().any(|s| !s.lives()) => 10,
            () if list().any(|s| s.is_kept(now)) => 2,
            () => 0,
        }
    }

    /// True if a clock is so far behind that Larder may refuse to rule by it.
    pub(crate) fn may_be_behind(&self, now: i64) -> bool {
        now < self.latest - TOLERANCE + SLACK
    }

    pub(crate) fn set(&mut self, which: &[usize], state: State) {
        which.iter().for_each(|at| self.snapshots[*at].state = state);
    }

    /// Those that a gc removes.
    pub(crate) fn garbage(&self, now: i64) -> Vec<usize> {
        let is = |s: &Snapshot| matches!(s.state, State::Forgotten | State::PerhapsCollected) && !s.is_kept(now);
        (0..self.snapshots.len()).filter(|at| is(&self.snapshots[*at])).collect()
    }

    /// The ids that a list must show.
    pub(crate) fn living(&self) -> Vec<&str> {
        self.snapshots.iter().filter(|s| s.lives()).map(|s| s.id.as_str()).collect()
    }

    /// Compares what `list --json` shows.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) fn compare(&self, list: &Value) -> Result<(), String> {
        let list = list.as_array().ok_or("no list")?;
        let ids: Vec<_> = list.iter().filter_map(|s| s["id"].as_str()).collect();
        if ids != self.living() {
            return Err(format!("there should be {:?}, there are {ids:?}", self.living()));
        }
        for (shown, snapshot) in list.iter().zip(self.snapshots.iter().filter(|s| s.lives())) {
            let files: Vec<_> = snapshot.tree.values().filter(|words| words.starts_with("100000 ")).collect();
            let told =
                (&shown["dataset"], &shown["immutable"], shown["holds"].as_array().map(Vec::len), &shown["files"]);
            let known = (
                &Value::from(DATASETS[snapshot.dataset]),
                &Value::from(snapshot.immutable),
                Some(snapshot.holds.len()),
                &Value::from(files.len()),
            );
            if told != known {
                return Err(format!("snapshot {} should be {known:?} and is {told:?}", snapshot.id));
            }
        }
        Ok(())
    }
}

#[test]
fn the_oracle_counts_each_series_by_itself_and_lets_nothing_go_that_is_kept() {
    let snapshot = |series, holds: &[Option<i64>]| Snapshot {
        id: String::new(),
        dataset: 0,
        tree: Rc::default(),
        series,
        immutable: false,
        holds: holds.to_vec(),
        state: State::Living,
    };
    let (trusted, writer) = (Series::Trusted, Series::Writer(1));
    let list =
        [(trusted, &[][..]), (trusted, &[Some(50)]), (writer, &[]), (trusted, &[]), (writer, &[]), (trusted, &[])];
    let snapshots: Vec<_> = list.into_iter().map(|(series, holds)| snapshot(series, holds)).collect();
    let mut oracle = Oracle { snapshots, ..Oracle::default() };
    assert_eq!(oracle.beyond(|_| Some(1), 49), [0, 2, 3]);
    assert_eq!(oracle.beyond(|_| Some(1), 51), [0, 1, 2, 3]);
    assert_eq!((oracle.of_forgetting(&[0, 1], 49), oracle.of_forgetting(&[0, 1], 51)), (2, 0));
    oracle.set(&[0, 1], State::Forgotten);
    assert_eq!((oracle.garbage(49), oracle.garbage(51)), (vec![0], vec![0, 1]));
    assert_eq!((oracle.of_forgetting(&[0], 51), oracle.living().len()), (10, 4));
}
