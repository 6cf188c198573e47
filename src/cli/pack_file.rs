//! The file that a pack goes to: never half of one under its name, never over what Larder itself lives on.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::model::Kind;
use crate::store::{Store, lies_in};

use super::error::CliError;
use super::{Global, config, folders, settings};

/// How often is looked whether someone reads from a pipe.
const READER_INTERVAL: Duration = Duration::from_millis(20);
/// Symlinks that are followed, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// Where a pack goes.
#[derive(Debug)]
pub(super) struct PackFile {
    /// As the user wrote it, for messages.
    named: PathBuf,
    /// What the name leads to; it need not exist.
    target: PathBuf,
}

impl PackFile {
    /// Finds out where the name leads. Refused is what would destroy the store, or what opens or describes it.
    pub(super) fn new(named: &Path, store: &Store, global: &Global) -> Result<Self, CliError> {
        Self::for_what("a pack", named, store, global).map_err(|e| match e.kind {
            Kind::Usage => e.hint("name another file with -o"),
            _ => e,
        })
    }

    /// The same for something else that is written where the user says.
    pub(super) fn for_what(what: &str, named: &Path, store: &Store, global: &Global) -> Result<Self, CliError> {
        let found = Self { named: named.to_owned(), target: PathBuf::new() };
        let target = follow(named).map_err(|e| found.failed(&e))?;
        let found = Self { target, ..found };
        match found.belongs_to(store, global) {
            None => Ok(found),
            Some(whose) => {
                let message = format!("{what} cannot be written to {}: it {whose}", named.display());
                Err(CliError::new(Kind::Usage, message))
            }
        }
    }

    /// The error of an operation on it.
    pub(super) fn failed(&self, error: &io::Error) -> CliError {
        CliError::new(Kind::Failed, format!("cannot write {}: {error}", self.named.display()))
    }

    /// What of Larder's own it is or lies in.
    fn belongs_to(&self, store: &Store, global: &Global) -> Option<&'static str> {
        let within = |dir: &Path| {
            let folder = self.folder();
            [&self.target, folder].into_iter().any(|path| lies_in(path, dir).unwrap_or(false))
        };
        let dirs = store.client_dirs();
        if within(store.dir()) {
            return Some("lies in the store");
        }
        if within(&dirs.state) || within(&dirs.cache) {
            return Some("lies where Larder keeps what it remembers");
        }
        let named = settings::identities(global, Some(store.dir())).value;
        if named.iter().chain([&folders::default_identity()]).any(|file| self.is(file)) {
            return Some("is an identity");
        }
        let settings = global.settings.config.file.clone().unwrap_or_else(config::default_file);
        self.is(&settings).then_some("is the configuration")
    }

    /// True if it is this file, or stands where that one is looked for.
    fn is(&self, file: &Path) -> bool {
        let identity = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
        let same = |a: &Path, b: &Path| identity(a).is_some_and(|a| Some(a) == identity(b));
        same(&self.target, file)
            || (self.target.file_name() == file.file_name() && same(self.folder(), folder_of(file)))
    }

    fn folder(&self) -> &Path {
        folder_of(&self.target)
    }

    /// A device or a pipe, which takes the bytes as they come. A pipe that nobody reads from yet is waited for.
    pub(super) fn stream(&self, stopped: impl Fn() -> bool) -> Result<Option<File>, CliError> {
        if !self.target.metadata().is_ok_and(|meta| !meta.is_file()) {
            return Ok(None);
        }
        // Without waiting in the system, which a signal would not end.
        let at_once = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        loop {
            let opened = OpenOptions::new().write(true).custom_flags(at_once).open(&self.target);
            match opened {
                Err(e) if Errno::from_io_error(&e) == Some(Errno::NXIO) => std::thread::sleep(READER_INTERVAL),
                Err(e) => return Err(self.failed(&e)),
                Ok(file) => {
                    let flags = rustix::fs::fcntl_getfl(&file).map_err(|e| self.failed(&e.into()))?;
                    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK).map_err(|e| self.failed(&e.into()))?;
                    return Ok(Some(file));
                }
            }
            if stopped() {
                let why = format!("stopped; nobody reads from {}", self.named.display());
                return Err(CliError::new(Kind::Interrupted, why));
            }
        }
    }

    /// Writes beside, syncs, proves, renames. The file keeps the mode of the one that it replaces. While it is written it has no name, where the
    /// system can do that: whoever is killed leaves nothing. `prove` is given what `write` gave, and the file by a name that leads to it.
    pub(super) fn replace<T>(
        &self,
        write: impl FnOnce(&mut File) -> Result<T, CliError>,
        prove: impl FnOnce(&T, &Path) -> Result<(), CliError>,
    ) -> Result<T, CliError> {
        let beside = self.beside()?;
        let mode = self.target.metadata().ok().map(|meta| meta.permissions().mode() & 0o777);
        let (mut file, nameless) = self.begin(&beside, mode.unwrap_or(0o666)).map_err(|e| self.failed(&e))?;
        let written = write(&mut file).and_then(|written| {
            // What the umask took is given back: the user had set it.
            let kept = mode.map_or(Ok(()), |mode| file.set_permissions(Permissions::from_mode(mode)));
            kept.and_then(|()| file.sync_all()).map_err(|e| self.failed(&e))?;
            prove(&written, nameless.as_deref().unwrap_or(&beside))?;
            let put = || -> io::Result<()> {
                if let Some(own) = &nameless {
                    rustix::fs::linkat(CWD, own, CWD, &beside, AtFlags::SYMLINK_FOLLOW)?;
                }
                std::fs::rename(&beside, &self.target)?;
                File::open(self.folder())?.sync_all()
            };
            put().map(|()| written).map_err(|e| self.failed(&e))
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    /// A file to be written, and the name that leads to it if it has none of its own.
    fn begin(&self, beside: &Path, mode: u32) -> io::Result<(File, Option<PathBuf>)> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(fd) = rustix::fs::open(self.folder(), flags, Mode::from_raw_mode(mode)) {
            let file = File::from(fd);
            let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            if own.metadata().is_ok_and(|meta| {
                file.metadata().is_ok_and(|same| (meta.dev(), meta.ino()) == (same.dev(), same.ino()))
            }) {
                return Ok((file, Some(own)));
            }
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(beside)?;
        Ok((file, None))
    }

    /// Fills a folder beside, syncs, renames. There may be an empty folder already, nothing else.
    pub(super) fn fill<T>(&self, fill: impl FnOnce(&Path) -> Result<T, CliError>) -> Result<T, CliError> {
        let is_free = match std::fs::read_dir(&self.target) {
            Ok(mut list) => list.next().is_none(),
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        };
        if !is_free {
            let message = format!("{} is there already and is no empty folder", self.named.display());
            return Err(CliError::new(Kind::Usage, message).hint("name a folder that is not there yet"));
        }
        let beside = self.beside()?;
        std::fs::create_dir(&beside).map_err(|e| self.failed(&e))?;
        // Whoever comes later knows by the lock that it is in use.
        let lock = File::open(&beside).and_then(|dir| dir.try_lock().map(|()| dir).map_err(io::Error::other));
        let filled = fill(&beside).and_then(|filled| {
            let put = || -> io::Result<()> {
                rustix::fs::syncfs(File::open(&beside)?)?;
                std::fs::rename(&beside, &self.target)?;
                File::open(self.folder())?.sync_all()
            };
            put().map(|()| filled).map_err(|e| self.failed(&e))
        });
        if filled.is_err() {
            let _ = std::fs::remove_dir_all(&beside);
        }
        drop(lock);
        filled
    }

    /// The name beside, under which it is written. What killed runs have left there is removed.
    fn beside(&self) -> Result<PathBuf, CliError> {
        let name = self.target.file_name().ok_or_else(|| self.failed(&io::ErrorKind::InvalidInput.into()))?;
        let mut front = OsString::from(".");
        front.push(name);
        front.push(".");
        for entry in std::fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let middle = name.as_bytes().strip_prefix(front.as_bytes()).and_then(|rest| rest.strip_suffix(b".part"));
            // A folder alone: a file may be one that is written where files cannot be without a name.
            let is_left = middle.is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit))
                && entry.file_type().is_ok_and(|t| t.is_dir());
            if is_left && File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        front.push(format!("{}.part", std::process::id()));
        Ok(self.folder().join(front))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a name leads, symlinks followed even if nothing is at their end.
fn follow(named: &Path) -> io::Result<PathBuf> {
    let mut path = named.to_owned();
    for _ in 0..LINKS_MAX {
        match std::fs::read_link(&path) {
            Ok(target) => path = folder_of(&path).join(target),
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => return Ok(path),
            Err(e) => return Err(e),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn symlinks_are_followed_to_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        symlink("b", at("a")).unwrap();
        symlink(at("none"), at("b")).unwrap();
        symlink("loop", at("loop")).unwrap();
        assert_eq!(follow(&at("a")).unwrap(), at("none"));
        assert_eq!(follow(&at("plain")).unwrap(), at("plain"));
        assert!(follow(&at("loop")).is_err());
    }
}
