//! Which times were looked up below `at`: the kernel keeps their listings and must be told when a snapshot changes them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Times that are kept in mind; of more the earliest are forgotten, which hardly ever change.
const MOST: usize = 1024;

/// The seconds of the folders that were looked up.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<Mutex<BTreeSet<u64>>>);

impl Asked {
    fn set(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one in mind.
    pub(super) fn add(&self, seconds: u64) {
        let mut set = self.set();
        set.insert(seconds);
        if set.len() > MOST {
            set.pop_first();
        }
    }

    /// Those that snapshots may still come to which arrive at this second or later.
    pub(super) fn since(&self, seconds: u64) -> Vec<u64> {
        self.set().range(seconds..).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept_and_the_latest_of_them() {
        let asked = Asked::default();
        (0..3000).rev().for_each(|seconds| asked.add(seconds));
        assert_eq!((asked.since(0).len(), asked.since(2990)), (MOST, (2990..3000).collect()));
    }
}
