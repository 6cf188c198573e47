//! What a mount tells about itself: through an attribute of its root, so that nobody needs its process to be found or asked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ops::mounts::mount_of;

use super::MountError;
use super::unmount::resolved;

/// The extended attribute of a mount's root that holds [`Stats`] as JSON. In no listing.
pub(super) const NAME: &str = "user.larder.stats";
/// Bytes that they take at the most.
const MAX: usize = 64 << 10;

/// What a mount has done since it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// The process that serves it.
    pub pid: u32,
    /// For how many seconds.
    pub seconds: u64,
    /// Requests of the kernel, by sort as FUSE calls them. What the kernel keeps in mind it does not ask again.
    pub requests: BTreeMap<String, u64>,
    /// Small files whose contents were pushed to the kernel before it asked for them.
    pub pushed: u64,
    /// Requests that were not answered in time: who made them got an error.
    pub expired: u64,
    /// Bytes of decoded blocks, pages and nodes in memory.
    pub cached: u64,
    /// How many there may be.
    pub cache_size: u64,
    /// Snapshots that the kernel holds something of: gc leaves them where they are.
    pub held: u64,
    /// The kernel's read-ahead, in KiB, where it is known.
    pub read_ahead: Option<u64>,
}

impl Stats {
    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests in {} s", self.total(), self.seconds)?;
        let mut between = " (";
        for (name, count) in &self.requests {
            write!(f, "{between}{name} {count}")?;
            between = ", ";
        }
        if !self.requests.is_empty() {
            f.write_str(")")?;
        }
        if self.pushed > 0 {
            write!(f, ", {} files pushed", self.pushed)?;
        }
        if self.expired > 0 {
            write!(f, ", {} not answered in time", self.expired)?;
        }
        write!(f, "; {} of {} MiB cached", self.cached >> 20, self.cache_size >> 20)?;
        write!(f, "; {} snapshots in use", self.held)?;
        match self.read_ahead {
            Some(kib) => write!(f, "; read-ahead {kib} KiB"),
            None => Ok(()),
        }
    }
}

/// Asks the mount at `mountpoint`.
///
/// # Errors
/// [`MountError::NotMounted`] if none of Larder's is there, or it shows no extended attributes.
pub fn stats(mountpoint: &Path) -> Result<Stats, MountError> {
    let mut bytes = vec![0; MAX];
    let len = rustix::fs::getxattr(mountpoint, NAME, &mut bytes[..]).map_err(|e| match e {
        rustix::io::Errno::OPNOTSUPP if mount_of(&resolved(mountpoint)).is_some_and(|mount| mount.is_larder()) => {
            MountError::Mute(mountpoint.to_owned())
        }
        rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP => MountError::NotMounted(mountpoint.to_owned()),
        other => MountError::Io { what: format!("cannot ask {}", mountpoint.display()), source: other.into() },
    })?;
    let parsed = bytes.get(..len).and_then(|bytes| serde_json::from_slice(bytes).ok());
    parsed.ok_or_else(|| MountError::NotMounted(mountpoint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_line() {
        let requests = [("lookup".to_owned(), 2), ("read".to_owned(), 3)].into_iter().collect();
        let stats = Stats {
            pid: 1,
            seconds: 9,
            requests,
            pushed: 3,
            expired: 0,
            cached: 5 << 20,
            cache_size: 256 << 20,
            held: 1,
            read_ahead: Some(8192),
        };
        assert_eq!(
            stats.to_string(),
            "5 requests in 9 s (lookup 2, read 3), 3 files pushed; 5 of 256 MiB cached; 1 snapshots in use; read-ahead 8192 KiB"
        );
    }
}
