//! What is there already: whether it is the same, and whether it may be replaced.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, makedev};
use rustix::io::Errno;

use crate::codec::ContentDigest;
use crate::model::{Body, Digest, Entry};
use crate::tree::Node;

use super::folders::Folder;
use super::guard::Guarded;
use super::met::Met;
use super::metadata::{Before, On, has_xattrs};
use super::outcome::Outcome;
use super::remove::Removal;
use super::{Context, Overwrite};

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// What stands where an item goes, and may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Nothing,
    /// Something that a rename replaces.
    Thing,
    /// A folder, which is to be removed first.
    Folder,
}

impl Standing {
    /// What became of an item that was put there.
    pub(super) fn then(self, lost: Vec<String>) -> Outcome {
        if self == Self::Nothing { Outcome::Made(lost) } else { Outcome::Replaced(lost) }
    }
}

impl Before {
    /// What an open item has.
    pub(super) fn of(fd: BorrowedFd) -> Self {
        rustix::fs::fstat(fd).map(|stat| Self::from_stat(&stat)).unwrap_or_default()
    }

    fn from_stat(stat: &Stat) -> Self {
        let mode = u16::try_from(stat.st_mode & 0o7777).ok();
        Self { uid: Some(stat.st_uid), gid: Some(stat.st_gid), mode, existed: true, marked: false }
    }
}

impl Context<'_> {
    /// What stands where an item goes, if it may be replaced; else what became of the item.
    pub(super) fn meet(&self, folder: &Folder, node: &Node) -> Result<Standing, Outcome> {
        let Some(stat) = folder.look(node.entry.name.as_bytes())? else { return Ok(Standing::Nothing) };
        if self.overwrite == Overwrite::Never {
            return Err(self.left_alone(folder, &node.entry, &stat));
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return self.may_clear(folder, &stat);
        }
        if self.overwrite == Overwrite::IfChanged && is_same(folder, &node.entry, &stat).unwrap_or(false) {
            return Err(self.keep(folder, node, &stat));
        }
        self.may_replace(&stat)
    }

    /// The same for a further name of a file that has one in the target, `is_linked` to which this one may be already.
    pub(super) fn meet_link(
        &self,
        folder: &Folder,
        node: &Node,
        is_linked: impl Fn(&Stat) -> bool,
    ) -> Result<Standing, Outcome> {
        let Some(stat) = folder.look(node.entry.name.as_bytes())? else { return Ok(Standing::Nothing) };
        match FileType::from_raw_mode(stat.st_mode) {
            _ if is_linked(&stat) => Err(Outcome::Same(Vec::new())),
            _ if self.overwrite == Overwrite::Never => Err(match self.left_alone(folder, &node.entry, &stat) {
                Outcome::Same(_) => Outcome::Kept("it is a file of its own, not linked to its other name".to_owned()),
                other => other,
            }),
            FileType::Directory => self.may_clear(folder, &stat),
            _ => self.may_replace(&stat),
        }
    }

    fn may_replace(&self, stat: &Stat) -> Result<Standing, Outcome> {
        if self.guarded.holds((stat.st_dev, stat.st_ino)) { Err(Guarded::refusal()) } else { Ok(Standing::Thing) }
    }

    fn may_clear(&self, folder: &Folder, stat: &Stat) -> Result<Standing, Outcome> {
        self.may_replace(stat)?;
        let blocked = |why: &str| Err(Outcome::Failed(why.to_owned()));
        match &self.remover {
            None => blocked("a folder stands in its place (--delete removes it)"),
            Some(_) if folder.beyond => {
                blocked("a folder stands in its place, and nothing is removed where something is mounted")
            }
            Some(_) => Ok(Standing::Folder),
        }
    }

    /// Removes a folder that stands where an item goes.
    pub(super) fn clear(&self, folder: &Folder, node: &Node) -> Result<(), Outcome> {
        let blocked = || Outcome::Failed("a folder with things that are not removed stands in its place".to_owned());
        let Some(remover) = self.remover.as_ref().filter(|_| !folder.beyond) else { return Err(blocked()) };
        let mut removed = Vec::new();
        let mut tell = |path: &[u8], is_folder, failed| removed.push(Removal { path: path.into(), is_folder, failed });
        let gone = remover.remove(folder.as_fd(), node.entry.name.as_bytes(), &node.path, true, &mut tell);
        self.removed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut removed);
        gone.then_some(()).ok_or_else(blocked)
    }

    /// Puts the metadata on an item whose content is there, if it has another.
    fn keep(&self, folder: &Folder, node: &Node, stat: &Stat) -> Outcome {
        let (entry, name) = (&node.entry, node.entry.name.as_bytes());
        let xattrs = match self.pages.xattrs(entry) {
            Ok(xattrs) => xattrs,
            Err(e) => return e.into(),
        };
        if self.carrier.fits(entry, Met::of(stat)) && has_xattrs(On::Named(folder, name), &xattrs) {
            return Outcome::Same(Vec::new());
        }
        if let Err(guarded) = self.may_replace(stat) {
            return guarded;
        }
        if self.dry {
            return Outcome::Adjusted(Vec::new());
        }
        let before = Before::from_stat(stat);
        Outcome::Adjusted(if entry.file().is_some() {
            match rustix::fs::openat(folder, name, READ, Mode::empty()) {
                Ok(fd) => self.carrier.put(On::Open(fd.as_fd()), entry, &xattrs, before),
                Err(e) => return Outcome::failed("cannot open what is there", e),
            }
        } else {
            self.carrier.put(On::Named(folder, name), entry, &xattrs, before)
        })
    }

    /// What exists must not be overwritten: is it what would be written?
    pub(super) fn left_alone(&self, folder: &Folder, entry: &Entry, stat: &Stat) -> Outcome {
        if looks_same(folder, entry, stat).unwrap_or(false) {
            let fits = self.carrier.owner_and_mode_fit(entry, Met::of(stat));
            return if fits { Outcome::Same(Vec::new()) } else { Outcome::Unlike };
        }
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        Outcome::Kept(
            if is_folder {
                "a folder stands in its place"
            } else {
                "it exists already (--overwrite if-changed replaces what differs)"
            }
            .to_owned(),
        )
    }
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// True if what is there has an entry's kind, and a file its size and time of change; no content is read.
fn looks_same(folder: &Folder, entry: &Entry, stat: &Stat) -> Result<bool, Errno> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(match &entry.body {
        Body::File(file) => {
            let time = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).ok());
            kind == FileType::RegularFile
                && u64::try_from(stat.st_size) == Ok(file.size)
                && time == (entry.mtime.seconds, Some(entry.mtime.nanos))
        }
        Body::Symlink(target) => {
            let there = || rustix::fs::readlinkat(folder, entry.name.as_bytes(), Vec::new());
            kind == FileType::Symlink && there()?.as_bytes() == &target[..]
        }
        Body::Fifo => kind == FileType::Fifo,
        Body::CharDevice(major, minor) => kind == FileType::CharacterDevice && stat.st_rdev == makedev(*major, *minor),
        Body::BlockDevice(major, minor) => kind == FileType::BlockDevice && stat.st_rdev == makedev(*major, *minor),
        Body::Socket | Body::Folder(_) => false,
    })
}

/// True if what is there has an entry's content: by size and time of change, else by its bytes.
fn is_same(folder: &Folder, entry: &Entry, stat: &Stat) -> Result<bool, Errno> {
    if looks_same(folder, entry, stat)? {
        return Ok(true);
    }
    let Some(file) = entry.file() else { return Ok(false) };
    let comparable = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && u64::try_from(stat.st_size) == Ok(file.size)
        && file.content.is_some();
    Ok(comparable && Some(digest_of(folder, entry.name.as_bytes())?) == file.content)
}

/// True if two names are of one file.
pub(super) fn is_one_file(folder: &Folder, name: &[u8], other: &Stat) -> bool {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (other.st_dev, other.st_ino))
}

/// BLAKE3 of a file, read past what is cached of it where that is written already.
pub(super) fn digest_of(folder: &Folder, name: &[u8]) -> Result<Digest, Errno> {
    let fd = rustix::fs::openat(folder, name, READ, Mode::empty())?;
    let _ = rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::DontNeed);
    let mut hash = ContentDigest::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match rustix::io::read(&fd, &mut buffer[..]) {
            Ok(0) => return Ok(hash.finish()),
            Ok(len) => hash.update(&buffer[..len]),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}
