//! Where a restore may write and remove: not in the store, and nothing of Larder's own; and how others see that it is at work.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::RestoreError;
use super::outcome::Outcome;

/// What tells an item from all others while it exists: device and inode.
pub(super) type Identity = (u64, u64);

/// Symlinks that a path may lead through.
const MAX_LINKS: u32 = 40;
/// Levels of folders of the store that are known one by one: more than it has.
const STORE_DEPTH: u32 = 4;
/// How often, a millisecond apart, a folder is asked for that another restore is just clearing.
const TRIES: u32 = 20;

fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|m| of(&m))
}

fn of(meta: &Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

/// Things that are never replaced, entered or removed, whatever they are called by.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    items: HashSet<Identity>,
    /// Folders of the store: one of them may be mounted where its path does not tell.
    store: HashSet<Identity>,
}

impl Guarded {
    /// What of these paths exists, with the symlinks that lead there, and the store with the folders in it.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>, store: &'a Path) -> Self {
        let mut guarded = Self::default();
        for path in paths.into_iter().chain([store]) {
            trace(path, &mut guarded.items);
        }
        gather(store, STORE_DEPTH, &mut guarded.store);
        guarded
    }

    pub(super) fn holds(&self, identity: Identity) -> bool {
        self.items.contains(&identity) || self.store.contains(&identity)
    }

    /// What becomes of an item in whose place something guarded stands.
    pub(super) fn refusal() -> Outcome {
        Outcome::Failed(
            "the store, a key or something else that Larder needs stands in its place and stays as it is".to_owned(),
        )
    }

    /// Refuses a target in the store or in a folder of Larder's own; and, if things are to be removed from it, one that holds the
    /// store or is `/`.
    pub(super) fn check_target(&self, target: &Path, store: &Path, removes: bool) -> Result<(), RestoreError> {
        let Some(place) = existing_part(target) else { return Ok(()) };
        let above: Vec<Identity> = place.ancestors().filter_map(identity).collect();
        if above.iter().any(|folder| self.store.contains(folder)) {
            return Err(RestoreError::InStore(target.to_owned()));
        }
        if above.iter().any(|folder| self.items.contains(folder)) {
            return Err(RestoreError::InOwn(target.to_owned()));
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
}

/// What a path leads to, and each symlink on the way: were one of them replaced, the path would lead elsewhere.
fn trace(path: &Path, found: &mut HashSet<Identity>) {
    let names =
        |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<OsString>>();
    let Ok(path) = std::path::absolute(path) else { return };
    let (mut todo, mut here, mut links) = (names(&path), PathBuf::new(), 0);
    while let Some(name) = todo.pop() {
        match name.to_str() {
            Some(".") => continue,
            Some("..") => {
                here.pop();
                continue;
            }
            // The root is among the names of an absolute path, and replaces what was there.
            _ => here.push(name),
        }
        let Ok(meta) = here.symlink_metadata() else { return };
        if !meta.is_symlink() {
            continue;
        }
        found.insert(of(&meta));
        links += 1;
        let Ok(target) = here.read_link() else { return };
        if links > MAX_LINKS {
            return;
        }
        here.pop();
        todo.extend(names(&target));
    }
    found.extend(identity(&here));
}

/// A folder and those in it, some levels deep.
fn gather(folder: &Path, depth: u32, found: &mut HashSet<Identity>) {
    found.extend(identity(folder));
    let items = if depth == 0 { None } else { std::fs::read_dir(folder).ok() };
    for item in items.into_iter().flatten().flatten() {
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            gather(&item.path(), depth - 1, found);
        }
    }
}

/// The path, or the deepest folder above it, that exists.
fn existing_part(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|path| path.canonicalize().ok())
}

/// Marks a folder as one in which something is not complete, as long as it stays open.
pub(super) fn hold(folder: BorrowedFd) {
    for _ in 0..TRIES {
        match rustix::fs::flock(folder, FlockOperation::NonBlockingLockShared) {
            Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
            // Where nothing can be locked nothing is cleared away either.
            _ => return,
        }
    }
}
