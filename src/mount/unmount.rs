//! Taking a mount away. Our own code: fuser 0.18 fails on busy mounts and may take away another file system at the same path.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount as umount2};

use crate::ops::mounts::mounted_at;

use super::MountError;

/// Takes the mount at a path away, a busy one too: it disappears from the tree at once, and ends when the last file in it is
/// closed.
///
/// # Errors
/// If nothing of Larder's is mounted there, or it may not be taken away.
pub fn unmount(mountpoint: &Path) -> Result<(), MountError> {
    let path = resolved(mountpoint);
    match mounted_at(&path) {
        Some(mounted) if mounted.is_larder() => detach(&path),
        _ => Err(MountError::NotMounted(mountpoint.to_owned())),
    }
}

/// The same, only if it is the mount with this device number that is on top.
pub(super) fn unmount_device(path: &Path, device: Option<u64>) -> Result<(), MountError> {
    match mounted_at(path) {
        Some(mounted) if mounted.is_larder() && device.is_none_or(|d| d == mounted.device) => detach(path),
        _ => Err(MountError::NotMounted(path.to_owned())),
    }
}

fn detach(path: &Path) -> Result<(), MountError> {
    let Err(error) = umount2(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) else { return Ok(()) };
    let mut why = error.to_string();
    if error == rustix::io::Errno::PERM {
        for program in ["fusermount3", "fusermount"] {
            let done = Command::new(program).args(["-u", "-z", "-q", "--"]).arg(path).stdin(Stdio::null()).output();
            match done {
                Ok(output) if output.status.success() => return Ok(()),
                Ok(output) if output.stderr.trim_ascii().is_empty() => {}
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().clone_into(&mut why),
                Err(e) => why = format!("{program}: {e}"),
            }
        }
    }
    Err(MountError::Stuck { path: path.to_owned(), why })
}

/// The canonical path, without asking the mount itself: it may be dead.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else { return absolute };
    let direct = parent.canonicalize().map_or_else(|_| absolute.clone(), |parent| parent.join(name));
    // What is in the table is no symlink; to look would be to ask whoever serves it, and wait if it does not answer.
    if mounted_at(&direct).is_none() && absolute.is_symlink() {
        return absolute.canonicalize().unwrap_or(absolute);
    }
    direct
}
