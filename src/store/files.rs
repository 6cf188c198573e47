//! Small files of a store: written beside, synced, renamed, the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::model::KeyName;

use super::error::StoreError;

/// Syncs a folder, so that the names in it last.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| StoreError::io(format!("cannot sync the folder {}", dir.display()), e))
}

/// Makes a folder that only the owner may enter.
pub(super) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| StoreError::io(format!("cannot make the folder {}", dir.display()), e))
}

/// Files that are made and locked in the store, and folders that are written into: another thing in the place of one, a symlink too, leads elsewhere.
const FILES: [&str; 3] = ["writer.lock", "db/LOCK", "leases/snapshots"];
const FOLDERS: [&str; 2] = ["tmp", "leases"];

/// What is said of what stands in the place of a file.
pub(super) const NO_FILE: &str = "it is no file of the store's own; `larder repair --apply` sets it aside";

/// Refuses a file or folder of those if it is none in the store itself.
pub(super) fn check_own(dir: &Path, name: &str) -> Result<(), StoreError> {
    let path = dir.join(name);
    let (is_good, why): (fn(&fs::Metadata) -> bool, _) = if FOLDERS.contains(&name) {
        (fs::Metadata::is_dir, "it is no folder of the store's own; `larder repair --apply` sets it aside")
    } else {
        (fs::Metadata::is_file, NO_FILE)
    };
    match fs::symlink_metadata(&path) {
        Ok(meta) if !is_good(&meta) => Err(StoreError::damage(path.display().to_string(), why)),
        _ => Ok(()),
    }
}

/// Those that are none, and why.
pub(super) fn of_wrong_sort(dir: &Path) -> Vec<(PathBuf, String)> {
    let wrong = |name: &str| match check_own(dir, name) {
        Err(StoreError::Damage { why, .. }) => Some((dir.join(name), why)),
        _ => None,
    };
    // What is in a folder that is none is not looked at.
    let folders: Vec<_> = FOLDERS.into_iter().filter_map(wrong).collect();
    let files =
        FILES.into_iter().filter_map(wrong).filter(|(path, _)| !folders.iter().any(|(dir, _)| path.starts_with(dir)));
    // Where key objects are laid ready a folder is neither written over nor removed.
    let keys = fs::read_dir(dir.join("keys")).into_iter().flatten().flatten();
    let in_keys = keys.filter(|item| item.file_type().is_ok_and(|of| of.is_dir()) && is_for_a_moment(&item.path()));
    let in_keys = in_keys.map(|item| (item.path(), NO_FILE.to_owned()));
    files.chain(folders.iter().cloned()).chain(in_keys).collect()
}

/// The key whose object lies ready in such a file; nothing if it is another sort of file.
pub(super) fn laid_ready_for(path: &Path) -> Option<KeyName> {
    path.file_name()?.to_str()?.strip_suffix(".age.next")?.parse().ok()
}

/// True of what is in `keys` only while they change: what is laid ready, and what is being written.
pub(super) fn is_for_a_moment(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    laid_ready_for(path).is_some() || (name.starts_with('.') && name.ends_with(".new"))
}

/// Refuses a `tmp` that is no folder in the store: what is written there, and removed again, would be elsewhere.
pub(super) fn check_tmp(dir: &Path) -> Result<(), StoreError> {
    check_own(dir, "tmp")
}

/// Opens a file to be locked, in the store itself.
pub(super) fn open_lock_file(dir: &Path, name: &str) -> Result<std::io::Result<File>, StoreError> {
    check_own(dir, name)?;
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let path = dir.join(name);
    Ok(OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(path))
}

/// Removes what a writer that was killed left in `tmp`: files of its own names alone, none of which leads elsewhere.
pub(super) fn empty_tmp(dir: &Path) -> Result<(), StoreError> {
    let tmp = dir.join("tmp");
    make_dir(&tmp)?;
    let fail = |e: rustix::io::Errno| StoreError::io(format!("cannot empty {}", tmp.display()), e.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(&tmp, flags, Mode::empty()).map_err(fail)?;
    for item in rustix::fs::Dir::read_from(&folder).map_err(fail)? {
        let item = item.map_err(fail)?;
        let name = item.file_name().to_bytes();
        let is_ours = name.strip_suffix(b".sst").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
        if is_ours || name.starts_with(b"MANIFEST.") {
            rustix::fs::unlinkat(&folder, item.file_name(), AtFlags::empty()).map_err(fail)?;
        }
    }
    Ok(())
}

/// Writes a file whole or not at all; it lasts when this returns.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = dir.join(format!(".{name}.{}.new", std::process::id()));
    let fail = |e| StoreError::io(format!("cannot write {}", path.display()), e);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if let Err(e) = written {
        let _ = fs::remove_file(&beside);
        return Err(fail(e));
    }
    sync_dir(dir)
}

/// True if a path, which exists, is a folder or lies anywhere in it, by whatever names it is reached: device and inode tell.
///
/// # Errors
/// If either cannot be looked at.
pub fn lies_in(path: &Path, dir: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let dir = identity(dir)?;
    for above in path.canonicalize()?.ancestors() {
        if identity(above)? == dir {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens a regular file for reading. Anything else in its place (a pipe, a device) is refused, not waited for.
pub(super) fn open_regular(path: &Path) -> std::io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let file = opened.map_err(|e| if is_loop(&e) { not_regular() } else { e })?;
    let is_file = file.metadata()?.is_file();
    is_file.then_some(file).ok_or_else(not_regular)
}

fn not_regular() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, NOT_REGULAR)
}

/// True of a symlink that leads to itself.
fn is_loop(e: &std::io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

const NOT_REGULAR: &str = "it is not a regular file";

/// Why a file of the store could not be read: damage, if something else stands in its place.
pub(super) fn unreadable(path: &Path, e: std::io::Error) -> StoreError {
    use std::io::ErrorKind;
    match e.kind() {
        ErrorKind::InvalidData | ErrorKind::IsADirectory => StoreError::damage(path.display().to_string(), e),
        _ => StoreError::io(format!("cannot read {}", path.display()), e),
    }
}

/// Refuses the folder of a database in which something stands that is no file: whoever opens a pipe waits for ever.
pub(super) fn check_regular(dir: &Path) -> Result<(), StoreError> {
    let Ok(items) = fs::read_dir(dir) else { return Ok(()) };
    for item in items.flatten() {
        // Folders that RocksDB makes.
        let is_its_own = || ["archive", "lost"].iter().any(|name| item.file_name() == *name);
        let is_good = item.file_type().is_ok_and(|kind| {
            kind.is_file()
                || kind.is_dir() && is_its_own()
                || kind.is_symlink()
                    && item.file_name() != "LOCK"
                    && fs::metadata(item.path()).map_or_else(|e| !is_loop(&e), |to| to.is_file())
        });
        if !is_good {
            return Err(StoreError::damage(item.path().display().to_string(), NOT_REGULAR));
        }
    }
    Ok(())
}

/// Takes what stands in the place of a file or folder, and is none, out of the way: it can be written anew then.
pub(super) fn set_aside_unless(
    path: &Path,
    is_good: impl FnOnce(&fs::Metadata) -> bool,
    aside: impl FnOnce() -> Result<PathBuf, StoreError>,
) -> Result<(), StoreError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !is_good(&meta) => {
            let to = aside()?.join(path.file_name().unwrap_or_default());
            fs::rename(path, &to).map_err(|e| StoreError::io(format!("cannot set {} aside", path.display()), e))
        }
        _ => Ok(()),
    }
}

/// Where what is damaged, or counts no more, is set aside.
pub(super) const ASIDE: &str = "damaged";

/// A folder of its own for what is set aside now.
pub(super) fn new_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let all = dir.join(ASIDE);
    make_dir(&all)?;
    sync_dir(dir)?;
    let names = std::fs::read_dir(&all).map_err(|e| StoreError::io(format!("cannot read {}", all.display()), e))?;
    let numbers = names.flatten().filter_map(|item| item.file_name().to_str()?.parse::<u64>().ok());
    // One that nobody can have come to by counting is no number.
    let last = numbers.filter(|number| *number < 1 << 48).max().unwrap_or(0);
    let aside = all.join((last + 1).to_string());
    make_dir(&aside)?;
    sync_dir(&all)?;
    Ok(aside)
}

/// Reads a small regular file. Anything else in its place (a pipe, a device, something huge) is refused, not waited for.
pub(super) fn read_small(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read};
    const MAX: u64 = 1 << 20;
    let mut bytes = Vec::new();
    open_regular(path)?.take(MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX {
        return Err(Error::new(ErrorKind::InvalidData, "it is far too long"));
    }
    Ok(bytes)
}
