//! How many requests the kernel has made, by sort: what it keeps in mind it does not ask again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sorts of requests, as FUSE calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
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
    Access,
    Flush,
}

const NAMES: [&str; 14] = [
    "lookup",
    "getattr",
    "readlink",
    "open",
    "read",
    "opendir",
    "readdir",
    "readdirplus",
    "statfs",
    "getxattr",
    "listxattr",
    "lseek",
    "access",
    "flush",
];

/// Counters that all threads of a mount share.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; NAMES.len()]);

impl Counts {
    /// Counts one.
    pub(super) fn add(&self, request: Request) {
        self.0[request as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Those that were made at all, by name.
    pub(super) fn by_name(&self) -> BTreeMap<String, u64> {
        let counts = NAMES.iter().zip(&self.0).map(|(name, count)| ((*name).to_owned(), count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_has_its_name() {
        let counts = Counts::default();
        counts.add(Request::Lookup);
        counts.add(Request::Flush);
        counts.add(Request::Flush);
        let expected = [("flush".to_owned(), 2), ("lookup".to_owned(), 1)];
        assert_eq!(counts.by_name(), expected.into_iter().collect());
    }
}
