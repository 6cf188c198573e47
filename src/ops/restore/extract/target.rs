//! Where an extraction goes: a hidden folder beside the target, which gets the target's name when all of it is there.
//!
//! Whoever extracts holds a lock on the hidden folder; a later one to the same target that gets it alone clears it away.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use crate::archives::room;
use crate::codec::random_bytes;

use super::error::ExtractError;

/// What stands between the target's name and random digits in the name of a hidden folder.
const MARK: &str = ".larder-unpack-";
/// Digits behind it.
const DIGITS: usize = 16;

/// A target, and the folder beside it in which things are made ready.
#[derive(Debug)]
pub struct Target {
    /// What it will be called.
    path: PathBuf,
    beside: PathBuf,
    /// Nothing was put in its place yet.
    pending: bool,
    /// The hidden folder, locked.
    lock: File,
}

impl Target {
    /// Makes a hidden folder beside `path`, which must be an empty folder or nothing at all. Folders above are made.
    ///
    /// # Errors
    /// If something is there, or nothing can be made.
    pub fn new(path: &Path) -> Result<Self, ExtractError> {
        let fail = |why: String| ExtractError::Target { path: path.to_owned(), why };
        let io = |e: std::io::Error| fail(e.to_string());
        let (path_is, folder) = match path.canonicalize() {
            Ok(real) => {
                let mut items = fs::read_dir(&real).map_err(|e| match Errno::from_io_error(&e) {
                    Some(Errno::NOTDIR) => fail("it is not a folder".to_owned()),
                    _ => io(e),
                })?;
                if items.next().is_some() {
                    return Err(ExtractError::NotEmpty(path.to_owned()));
                }
                if std::env::current_dir().is_ok_and(|here| here.starts_with(&real)) {
                    return Err(fail("it is the folder that this command runs in; name one in it".to_owned()));
                }
                let above = real.parent().ok_or_else(|| fail("it is the root folder".to_owned()))?.to_owned();
                (real, above)
            }
            Err(_) if path.symlink_metadata().is_ok() => {
                return Err(fail("it is a symlink that leads nowhere".to_owned()));
            }
            Err(_) => {
                let name = path.file_name().ok_or_else(|| fail("it is no name of a folder".to_owned()))?;
                let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
                fs::create_dir_all(above).map_err(io)?;
                let above = above.canonicalize().map_err(io)?;
                (above.join(name), above)
            }
        };
        let name = path_is.file_name().unwrap_or_default().to_owned();
        clear_leftovers(&folder, &name);
        let digits = u64::from_le_bytes(random_bytes().map_err(|e| fail(e.to_string()))?);
        let mut hidden = front(&name);
        hidden.push(format!("{digits:0DIGITS$x}"));
        let beside = folder.join(hidden);
        rustix::fs::mkdir(&beside, rustix::fs::Mode::RWXU).map_err(|e| io(e.into()))?;
        let lock = File::open(&beside).map_err(io)?;
        let _ = rustix::fs::flock(lock.as_fd(), FlockOperation::NonBlockingLockShared);
        Ok(Self { path: path_is, beside, pending: true, lock })
    }

    /// The hidden folder.
    #[must_use]
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    /// Bytes that may be written there.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        room(&self.lock)
    }

    /// Gives one of the folders in the hidden one the target's name, and removes the hidden one; or, if there are several, the hidden
    /// one itself.
    ///
    /// # Errors
    /// If something has come to stand in the target's place.
    pub fn place(mut self, only: Option<&OsStr>) -> Result<(), ExtractError> {
        let from = only.map_or_else(|| self.beside.clone(), |name| self.beside.join(name));
        if only.is_none() {
            // It was made for this user alone; the folders in it have modes of their own.
            let _ = rustix::fs::chmod(&self.beside, rustix::fs::Mode::from_raw_mode(0o755));
        }
        // Whoever finds the name must find the contents, after a power cut too. One call for all of them: a call for each file would take many times as long.
        rustix::fs::syncfs(&self.lock).map_err(|e| ExtractError::Target {
            path: self.path.clone(),
            why: format!("what was extracted cannot be put on the disk: {}", std::io::Error::from(e)),
        })?;
        let put = match rustix::fs::renameat_with(CWD, &from, CWD, &self.path, RenameFlags::NOREPLACE) {
            // An empty folder gives its place up; and not every file system knows the flag.
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => rustix::fs::rename(&from, &self.path),
            put => put,
        };
        put.map_err(|e| match e {
            Errno::NOTEMPTY | Errno::EXIST => ExtractError::NotEmpty(self.path.clone()),
            Errno::BUSY => {
                let why = "something is mounted there; name a folder in it".to_owned();
                ExtractError::Target { path: self.path.clone(), why }
            }
            e => ExtractError::Target { path: self.path.clone(), why: std::io::Error::from(e).to_string() },
        })?;
        if only.is_none() {
            self.pending = false;
        }
        // That the name is there is on the disk soon in any case.
        if let Some(above) = self.path.parent() {
            let _ = File::open(above).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.pending {
            remove(&self.beside);
        }
    }
}

/// What the name of a hidden folder begins with.
fn front(name: &OsStr) -> OsString {
    let mut front = OsString::from(".");
    // A long name leaves room for what is behind it.
    front.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(200)]));
    front.push(MARK);
    front
}

/// Removes what extractions to this target that were cut short have left.
fn clear_leftovers(folder: &Path, name: &OsStr) {
    let front = front(name);
    for item in fs::read_dir(folder).into_iter().flatten().flatten() {
        let found = item.file_name();
        let digits = found.as_bytes().strip_prefix(front.as_bytes());
        let is_ours = digits.is_some_and(|d| d.len() == DIGITS && d.iter().all(u8::is_ascii_hexdigit));
        let owned =
            item.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw());
        if !is_ours || !owned {
            continue;
        }
        let Ok(dir) = File::open(item.path()) else { continue };
        if rustix::fs::flock(dir.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&item.path());
        }
    }
}

/// Removes a folder with all that is in it. Folders that forbid it are opened first, as long as they are ours.
fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_ok() {
        return;
    }
    unlock(path, 0);
    let _ = fs::remove_dir_all(path);
}

/// Lets the owner into a folder and those below.
fn unlock(path: &Path, depth: u32) {
    if depth > 4096 || !path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return;
    }
    let _ = rustix::fs::chmod(path, rustix::fs::Mode::RWXU);
    for item in fs::read_dir(path).into_iter().flatten().flatten() {
        unlock(&item.path(), depth + 1);
    }
}
