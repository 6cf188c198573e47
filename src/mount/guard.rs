//! Refusing mount points that would hide the store or a mount of Larder's, or lie in the store: found out before anything is touched.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::ops::mounts::mount_of;

use super::MountError;
use super::unmount::resolved;

/// The mount point's canonical path, if it is a folder on which Larder has mounted nothing yet and that has nothing to do with
/// the store's. Any other mount may be there: it is hidden, as `mount` hides it.
///
/// Compared by canonical path, and upwards by device and inode, so that bind mounts of the store are noticed too.
pub(super) fn checked(mountpoint: &Path, store: &Path) -> Result<PathBuf, MountError> {
    let bad = |why: String| MountError::NotAFolder { path: mountpoint.to_owned(), why };
    let failed = |e: std::io::Error| bad(e.to_string());
    refuse_taken(mountpoint)?;
    let path = mountpoint.canonicalize().map_err(failed)?;
    if !fs::metadata(&path).map_err(failed)?.is_dir() {
        return Err(bad("it is not a folder".to_owned()));
    }
    let fail = |source| MountError::Io { what: format!("cannot look at {}", store.display()), source };
    let store = store.canonicalize().map_err(fail)?;
    let over = |how| MountError::OverStore { mountpoint: path.clone(), store: store.clone(), how };
    if path == store {
        return Err(over("is"));
    }
    if path.starts_with(&store) || is_above(identity(&store), &path) {
        return Err(over("lies in"));
    }
    if store.starts_with(&path) || is_above(identity(&path), &store) {
        return Err(over("would hide"));
    }
    Ok(path)
}

/// Lets one at a time mount on a folder, as long as what is returned lives: the second finds the mount of the first. Where the folder
/// cannot be opened or locked it is left to [`checked`] to say why.
pub(super) fn one_at_a_time(mountpoint: &Path) -> Result<Option<File>, MountError> {
    refuse_taken(mountpoint)?;
    let is_folder = fs::metadata(mountpoint).is_ok_and(|meta| meta.is_dir());
    let folder = is_folder.then(|| File::open(mountpoint).ok()).flatten();
    Ok(folder.filter(|folder| folder.lock().is_ok()))
}

/// Refuses what lies in a mount that nobody serves any more, and what Larder is mounted on already: a second mount would hide
/// the first, and each would have to be taken away.
fn refuse_taken(mountpoint: &Path) -> Result<(), MountError> {
    let path = resolved(mountpoint);
    let is_dead = fs::metadata(mountpoint).is_err_and(|e| Errno::from_io_error(&e) == Some(Errno::NOTCONN));
    // In one of Larder's a mount would hide what was captured.
    let there = mount_of(&path);
    match there {
        Some(mounted) if is_dead && mounted.kind.starts_with("fuse") => {
            let ours = mounted.is_larder();
            Err(MountError::Dead { point: mounted.point, origin: mounted.source, ours })
        }
        Some(mounted) if mounted.is_larder() => Err(MountError::Taken { point: mounted.point, origin: mounted.source }),
        _ => Ok(()),
    }
}

/// What to tell of a mount point that is not empty.
pub(super) fn hidden_by(mountpoint: &Path) -> Option<String> {
    let is_empty = fs::read_dir(mountpoint).is_ok_and(|mut items| items.next().is_none());
    (!is_empty).then(|| format!("what is in {} is hidden as long as the mount lasts", mountpoint.display()))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// True if the folder with this device and inode is `path` or one above it.
fn is_above(folder: Option<(u64, u64)>, path: &Path) -> bool {
    folder.is_some() && path.ancestors().any(|p| identity(p) == folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Kind};

    #[test]
    fn mount_points_in_or_over_the_store_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (store, inner, beside) = (dir.path().join("s"), dir.path().join("s/db"), dir.path().join("mnt"));
        for path in [&inner, &beside] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(dir.path().join("file"), b"").unwrap();
        std::os::unix::fs::symlink(&inner, dir.path().join("link")).unwrap();
        assert_eq!(checked(&beside, &store).unwrap(), beside.canonicalize().unwrap());
        for bad in [
            &store,
            &inner,
            &dir.path().to_owned(),
            &dir.path().join("link"),
            &dir.path().join("file"),
            &dir.path().join("no"),
        ] {
            assert_eq!(checked(bad, &store).unwrap_err().kind(), Kind::Usage, "{}", bad.display());
        }
    }
}
