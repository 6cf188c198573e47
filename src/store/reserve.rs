//! Room that is kept free on a disk that is nearly full, so that snapshots can be given up and gc can run when it is full.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Bytes that giving up snapshots and a run of gc take before they give any back.
const BYTES: u64 = 32 << 20;
/// It is made when fewer bytes than these are free, and taken away when there are twice as many.
const NEARLY_FULL: u64 = 1 << 30;

fn path(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

fn free(dir: &Path) -> Option<u64> {
    statvfs(dir).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// Makes it where the disk is nearly full, and takes it away where it is not. What cannot be done is left undone: nothing that was
/// captured depends on it.
pub(super) fn keep(dir: &Path) {
    let (path, Some(free)) = (path(dir), free(dir)) else { return };
    let is_there = path.symlink_metadata().is_ok();
    if is_there && free > 2 * NEARLY_FULL {
        let _ = fs::remove_file(&path);
    } else if !is_there && (2 * BYTES..NEARLY_FULL).contains(&free) {
        let made = File::create_new(&path).map(|file| fallocate(&file, FallocateFlags::empty(), 0, BYTES));
        if !matches!(made, Ok(Ok(()))) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Gives it up where the rest does not do.
pub(super) fn give_up(dir: &Path) {
    if free(dir).is_some_and(|free| free < BYTES) && fs::remove_file(path(dir)).is_ok() {
        log::info!("the disk is full: the reserve is given up");
    }
}
