//! Room that is kept free on a disk that is nearly full, so that snapshots can be given up and gc can run when it is full: bytes, and
//! inodes where a file system has a fixed number of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, StatVfs, fallocate, statvfs};

/// Bytes that giving up snapshots and a run of gc take before they give any back …
const BYTES: u64 = 32 << 20;
/// … on a disk of which that is no more than one of so many parts. A smaller disk has a smaller store, and so much of it is kept …
const PART: u64 = 8;
/// … but at least so many bytes: what entries of the log take in files of every family.
const BYTES_MIN: u64 = 1 << 20;
/// Files that they make before they remove any.
const FILES: u64 = 128;
/// It is made when fewer bytes than these are free, and taken away when there are twice as many.
const NEARLY_FULL: u64 = 1 << 30;
/// The same for files.
const FEW_FILES: u64 = 4096;

fn path(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

fn path_of_files(dir: &Path) -> PathBuf {
    dir.join("reserve.files")
}

fn bytes_free(fs: &StatVfs) -> u64 {
    fs.f_bavail.saturating_mul(fs.f_frsize)
}

/// Bytes that are kept on a disk of this size.
fn bytes_kept(fs: &StatVfs) -> u64 {
    (fs.f_blocks.saturating_mul(fs.f_frsize) / PART).clamp(BYTES_MIN, BYTES)
}

/// Bytes that can still be written where a store lies.
pub(super) fn room(dir: &Path) -> u64 {
    statvfs(dir).map_or(u64::MAX, |fs| bytes_free(&fs))
}

/// Files that can still be made; some file systems make inodes as they go and tell none.
fn files_free(fs: &StatVfs) -> u64 {
    if fs.f_files == 0 { u64::MAX } else { fs.f_favail }
}

/// Makes it where the disk is nearly full and there is as much room besides, and takes it away where it is not. What cannot be done is
/// left undone: nothing that was captured depends on it.
pub(super) fn keep(dir: &Path) {
    keep_beside(dir, 1);
}

/// Makes it anew when room has been given back: what was taken from it comes first.
pub(super) fn renew(dir: &Path) {
    keep_beside(dir, 16);
}

/// Keeps it where there is room for it, and for one of so many parts of it besides.
fn keep_beside(dir: &Path, part: u64) {
    let Ok(fs) = statvfs(dir) else { return };
    let (path, free, bytes) = (path(dir), bytes_free(&fs), bytes_kept(&fs));
    let is_there = path.symlink_metadata().is_ok();
    if is_there && free > 2 * NEARLY_FULL {
        let _ = fs::remove_file(&path);
    } else if !is_there && (bytes + bytes / part..NEARLY_FULL).contains(&free) {
        // Made by us: nobody else's is taken away.
        let made = File::create_new(&path).map(|file| fallocate(&file, FallocateFlags::empty(), 0, bytes));
        if matches!(made, Ok(Err(_))) {
            let _ = fs::remove_file(&path);
        }
    }
    let (path, free) = (path_of_files(dir), files_free(&fs));
    let is_there = path.symlink_metadata().is_ok();
    if is_there && free > 2 * FEW_FILES {
        let _ = fs::remove_dir_all(&path);
    } else if !is_there && (FILES + FILES / part..FEW_FILES).contains(&free) {
        let made = fs::create_dir(&path);
        let made =
            made.and_then(|()| (1..FILES).try_for_each(|n| File::create_new(path.join(n.to_string())).map(drop)));
        if made.is_err() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Gives it up where the rest does not do.
pub(super) fn give_up(dir: &Path) {
    let Ok(fs) = statvfs(dir) else { return };
    if bytes_free(&fs) < bytes_kept(&fs) && fs::remove_file(path(dir)).is_ok() {
        log::info!("the disk is full: the reserve is given up");
    }
    if files_free(&fs) < FILES && fs::remove_dir_all(path_of_files(dir)).is_ok() {
        log::info!("the file system has no room for more files: the reserve of them is given up");
    }
}
