//! Where a restore may write and remove: not in the store, and nothing of Larder's own; and whether it is the only one at work.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::RestoreError;
use super::folders::Folder;

/// What tells an item from all others while it exists: device and inode.
pub(super) type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|m| (m.dev(), m.ino()))
}

/// Things that are never removed, whatever they are called by.
#[derive(Debug, Default)]
pub(super) struct Guarded(Vec<Identity>);

impl Guarded {
    /// Those of these paths that exist.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self(paths.into_iter().filter_map(identity).collect())
    }

    pub(super) fn holds(&self, identity: Identity) -> bool {
        self.0.contains(&identity)
    }
}

/// Refuses a target in the store; and, if things are to be removed from it, one that holds the store or is `/`.
pub(super) fn check_target(target: &Path, store: &Path, removes: bool) -> Result<(), RestoreError> {
    let Some(store_is) = identity(store) else { return Ok(()) };
    let Some(place) = existing_part(target) else { return Ok(()) };
    if place.ancestors().any(|path| identity(path) == Some(store_is)) {
        return Err(RestoreError::InStore(target.to_owned()));
    }
    if !removes {
        return Ok(());
    }
    let target_is = identity(target);
    let holds_store = store
        .canonicalize()
        .is_ok_and(|store| store.ancestors().any(|path| Some(path).and_then(identity) == target_is));
    if target_is.is_some() && (holds_store || target_is == identity(Path::new("/"))) {
        return Err(RestoreError::NothingRemovedIn(target.to_owned()));
    }
    Ok(())
}

/// The path, or the deepest folder above it, that exists.
fn existing_part(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|path| path.canonicalize().ok())
}

/// Marks a target as being restored into, as long as it stays open. True if nobody else does so: then what an earlier restore
/// left half-written is nobody's any more.
pub(super) fn is_alone(target: &Folder) -> bool {
    let lock = |operation| rustix::fs::flock(target.as_fd(), operation).is_ok();
    let alone = lock(FlockOperation::NonBlockingLockExclusive);
    // Between the two another one may have come; then it holds the lock for itself alone, and this fails.
    lock(FlockOperation::NonBlockingLockShared) && alone
}
