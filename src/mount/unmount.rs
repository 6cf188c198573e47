//! Taking a mount away. Our own code: fuser 0.18 fails on busy mounts and may take away another file system at the same path.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount as umount2};

use super::MountError;

/// What is on top of a mount point, as the kernel's table has it.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    device: u64,
    ours: bool,
}

/// Takes the mount at a path away, a busy one too: it disappears from the tree at once, and ends when the last file in it is
/// closed.
///
/// # Errors
/// If nothing of Larder's is mounted there, or it may not be taken away.
pub fn unmount(mountpoint: &Path) -> Result<(), MountError> {
    let path = resolved(mountpoint);
    match mounted_at(&path) {
        Some(mounted) if mounted.ours => detach(&path),
        _ => Err(MountError::NotMounted(mountpoint.to_owned())),
    }
}

/// The same, only if it is the mount with this device number that is on top.
pub(super) fn unmount_device(path: &Path, device: Option<u64>) -> Result<(), MountError> {
    match mounted_at(path) {
        Some(mounted) if mounted.ours && device.is_none_or(|d| d == mounted.device) => detach(path),
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
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().clone_into(&mut why),
                Err(e) => why = format!("{program}: {e}"),
            }
        }
    }
    Err(MountError::Stuck { path: path.to_owned(), why })
}

/// The canonical path, without asking the mount itself: it may be dead.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) if !absolute.is_symlink() => {
            parent.canonicalize().map_or_else(|_| absolute.clone(), |parent| parent.join(name))
        }
        _ => absolute.canonicalize().unwrap_or(absolute),
    }
}

fn mounted_at(path: &Path) -> Option<Mounted> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    topmost(&table, path)
}

/// The last row with this mount point is the one on top.
fn topmost(table: &[u8], path: &Path) -> Option<Mounted> {
    table.split(|b| *b == b'\n').filter_map(|row| parse(row, path)).next_back()
}

fn parse(row: &[u8], path: &Path) -> Option<Mounted> {
    let mut fields = row.split(|b| *b == b' ');
    let (device, _, point) = (fields.nth(2)?, fields.next()?, fields.next()?);
    if unescaped(point) != path.as_os_str() {
        return None;
    }
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    let mut tail = fields.skip_while(|f| *f != b"-").skip(1);
    let (kind, source) = (tail.next()?, tail.next()?);
    let ours = kind == b"fuse.larder" || (kind == b"fuse" && source.starts_with(b"larder:"));
    Some(Mounted { device, ours })
}

/// Octal escapes undone.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let byte = code.and_then(|c| std::str::from_utf8(c).ok()).and_then(|c| u8::from_str_radix(c, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_on_top_is_found() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            40 22 0:50 / /mnt/a\\040b ro,nosuid - fuse larder:/store ro\n\
            41 22 0:51 / /mnt/x ro - fuse.larder larder:/store ro\n\
            42 41 0:52 / /mnt/x rw shared:5 - tmpfs tmpfs rw\n";
        let at = |path: &str| topmost(table, Path::new(path)).map(|m| (m.device, m.ours));
        assert_eq!(at("/mnt/a b"), Some((rustix::fs::makedev(0, 50), true)));
        assert_eq!(at("/mnt/x"), Some((rustix::fs::makedev(0, 52), false)));
        assert_eq!(at("/mnt"), None);
    }
}
