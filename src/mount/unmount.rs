//! Taking a mount away. Our own code: fuser 0.18 fails on busy mounts and may take away another file system at the same path.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use rustix::mount::{UnmountFlags, unmount as umount2};

use crate::ops::mounts::mounted_at;

use super::MountError;

/// Who serves a mount always has a thread that takes requests (`desk.rs`): after this time nobody serves it any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the mount at a path away, a busy one too: it disappears from the tree at once, and ends when the last file in it is
/// closed. If whoever serves it does not answer it ends at once, and all who wait for an answer get an error: a server that was killed
/// while one of its threads waited for the kernel, which waits for the server, cannot end by itself, nor can those who read from it.
///
/// # Errors
/// If nothing of Larder's is mounted there, or it may not be taken away.
pub fn unmount(mountpoint: &Path) -> Result<(), MountError> {
    let path = resolved(mountpoint);
    match mounted_at(&path) {
        Some(mounted) if mounted.is_larder() => {
            let dead = !answers(&path);
            if dead {
                abort(mounted.device);
            }
            detach(&path, dead)
        }
        _ => Err(MountError::NotMounted(mountpoint.to_owned())),
    }
}

/// False if a mount gives no answer, be it an error. On a thread that is left alone then: nobody can end who waits for one.
fn answers(path: &Path) -> bool {
    let (send, answered) = bounded(1);
    let path = path.to_owned();
    let ask = move || {
        let _ = rustix::fs::statfs(&path);
        let _ = send.send(());
    };
    let asked = thread::Builder::new().name("unmount".to_owned()).spawn(ask);
    asked.is_err() || answered.recv_timeout(PATIENCE).is_ok()
}

/// Ends a mount's connection to who serves it, if the kernel shows it and lets us: who made the mount may.
pub(super) fn abort(device: u64) {
    let number = rustix::fs::minor(device);
    let file = format!("/sys/fs/fuse/connections/{number}/abort");
    if let Err(e) = std::fs::write(&file, "1") {
        log::info!("{file}: {e}");
    }
}

/// The same, only if it is the mount with this device number that is on top.
pub(super) fn unmount_device(path: &Path, device: Option<u64>) -> Result<(), MountError> {
    match mounted_at(path) {
        Some(mounted) if mounted.is_larder() && device.is_none_or(|d| d == mounted.device) => detach(path, false),
        _ => Err(MountError::NotMounted(path.to_owned())),
    }
}

/// Takes a mount out of the tree. One that is `dead` is ended too, if we are root: the kernel need not show its connections then.
fn detach(path: &Path, dead: bool) -> Result<(), MountError> {
    let force = if dead { UnmountFlags::FORCE } else { UnmountFlags::empty() };
    let Err(error) = umount2(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW | force) else { return Ok(()) };
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
