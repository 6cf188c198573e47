//! What stood in the target when the restore came to it.

use rustix::fs::Stat;

/// The permission, set-id and sticky bits.
pub(super) const MODE_BITS: u32 = 0o7777;

/// The attribute that a folder has until it is finished. Its mode alone could be a user's wish.
pub(super) const MARK: &str = "user.larder.unfinished";

/// What an item had when the restore came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
}

impl Met {
    pub(super) fn of(stat: &Stat) -> Self {
        let mtime = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(u32::MAX));
        Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & MODE_BITS, mtime }
    }
}
