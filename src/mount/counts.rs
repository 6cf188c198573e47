//! How many questions the kernel has asked, by sort: what it keeps in mind it does not ask again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sorts of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Lookup,
    Getattr,
    Readlink,
    Open,
    Read,
    Opendir,
    Readdir,
    Readdirplus,
    Statfs,
    Getxattr,
    Listxattr,
    Lseek,
    Other,
}

const NAMES: [&str; 13] = [
    "lookup", "getattr", "readlink", "open", "read", "opendir", "readdir", "readdirplus", "statfs", "getxattr", "listxattr",
    "lseek", "other",
];

/// Counters that are shared by all threads of a mount.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(Arc<[AtomicU64; NAMES.len()]>);

impl Counts {
    /// Counts one.
    pub(super) fn add(&self, asked: Asked) {
        self.0[asked as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let counts = NAMES.iter().zip(self.0.iter()).map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        let mut total = 0;
        for (name, count) in counts.filter(|(_, count)| *count > 0) {
            write!(f, "{name} {count}, ")?;
            total += count;
        }
        write!(f, "in all {total}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_has_its_name() {
        let counts = Counts::default();
        counts.add(Asked::Lookup);
        counts.add(Asked::Other);
        counts.add(Asked::Other);
        assert_eq!(counts.to_string(), "lookup 1, other 2, in all 3");
    }
}
