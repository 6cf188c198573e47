//! Refusing mount points that would hide the store, or lie in it: found out before anything is touched.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::MountError;

/// The mount point's canonical path, if it is a folder that has nothing to do with the store's.
///
/// Compared by canonical path, and upwards by device and inode, so that bind mounts of the store are noticed too.
pub(super) fn checked(mountpoint: &Path, store: &Path) -> Result<PathBuf, MountError> {
    let bad = |why: String| MountError::NotAFolder { path: mountpoint.to_owned(), why };
    let failed = |e: std::io::Error| match e.raw_os_error() {
        Some(code) if rustix::io::Errno::from_raw_os_error(code) == rustix::io::Errno::NOTCONN => {
            bad("a mount that has died is still there; `larder unmount` removes it".to_owned())
        }
        _ => bad(e.to_string()),
    };
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
