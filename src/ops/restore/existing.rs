//! What is there already: whether it is the same, and further names of hard links.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, makedev};
use rustix::io::Errno;

use crate::codec::ContentHash;
use crate::model::{Body, Digest, Entry};
use crate::tree::Node;

use super::folders::Folder;
use super::item::name_beside;
use super::metadata::{Before, On};
use super::outcome::Outcome;
use super::{Context, Overwrite};

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

impl Before {
    /// What an open item has.
    pub(super) fn of(fd: BorrowedFd) -> Self {
        rustix::fs::fstat(fd).map(|stat| Self::from_stat(&stat)).unwrap_or_default()
    }

    fn from_stat(stat: &Stat) -> Self {
        let mode = u16::try_from(stat.st_mode & 0o7777).ok();
        Self { uid: Some(stat.st_uid), gid: Some(stat.st_gid), mode, existed: true }
    }
}

impl Context<'_> {
    /// Something has an item's name. Returns if it may be replaced, else what became of the item.
    pub(super) fn meet(&self, folder: &Folder, node: &Node) -> Result<(), Outcome> {
        match self.overwrite {
            Overwrite::Never => Err(Outcome::Kept(EXISTS.to_owned())),
            Overwrite::Always => Ok(()),
            Overwrite::IfChanged => {
                let name = node.entry.name.as_bytes();
                let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
                let stat = stat.map_err(|e| Outcome::failed("cannot look at what is there", e))?;
                if is_same(folder, &node.entry, &stat).unwrap_or(false) {
                    Err(self.keep(folder, node, &stat))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Puts the metadata on an item whose content is there.
    fn keep(&self, folder: &Folder, node: &Node, stat: &Stat) -> Outcome {
        let (entry, name) = (&node.entry, node.entry.name.as_bytes());
        let xattrs = match self.pages.xattrs(entry) {
            Ok(xattrs) => xattrs,
            Err(e) => return e.into(),
        };
        let before = Before::from_stat(stat);
        let lost = if entry.file().is_some() {
            match rustix::fs::openat(folder, name, READ, Mode::empty()) {
                Ok(fd) => self.carrier.put(On::Open(fd.as_fd()), entry, &xattrs, before),
                Err(e) => return Outcome::failed("cannot open what is there", e),
            }
        } else {
            self.carrier.put(On::Named(folder, name), entry, &xattrs, before)
        };
        if lost.is_empty() { Outcome::Same } else { Outcome::Partly(lost) }
    }

    /// A further name of a file that was restored under another one; nothing if that one is not where it should be.
    pub(super) fn link(&self, base: &Arc<Folder>, folder: &Folder, node: &Node, first: &Node) -> Option<Outcome> {
        let name = node.entry.name.as_bytes();
        let (above, old) = match first.path.iter().rposition(|b| *b == b'/') {
            Some(at) => (&first.path[..at], &first.path[at + 1..]),
            None => (&[][..], &first.path[..]),
        };
        let from = base.descend(above).ok()?;
        let link = |name: &[u8]| rustix::fs::linkat(&from, old, folder, name, AtFlags::empty());
        let linked = match link(name) {
            Err(Errno::NOENT) => return None,
            Err(Errno::EXIST) if is_one_file(&from, old, folder, name) => Ok(Outcome::Same),
            Err(Errno::EXIST) if self.overwrite == Overwrite::Never => Ok(Outcome::Kept(EXISTS.to_owned())),
            Err(Errno::EXIST) => {
                let beside = name_beside();
                link(&beside)
                    .map_err(|e| Outcome::failed("cannot link it", e))
                    .and_then(|()| self.replace(folder, Some(&beside), name).map(|()| Outcome::Done))
            }
            made => made.map(|()| Outcome::Done).map_err(|e| Outcome::failed("cannot link it to its other name", e)),
        };
        Some(linked.unwrap_or_else(|outcome| outcome))
    }
}

const EXISTS: &str = "it exists already";
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn is_one_file(a: &Folder, name_a: &[u8], b: &Folder, name_b: &[u8]) -> bool {
    let stat = |folder, name| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    matches!((stat(a, name_a), stat(b, name_b)), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// True if what is there has an entry's content: by size and time of change, else by its bytes.
fn is_same(folder: &Folder, entry: &Entry, stat: &Stat) -> Result<bool, Errno> {
    let name = entry.name.as_bytes();
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(match &entry.body {
        Body::File(file) => {
            if kind != FileType::RegularFile || u64::try_from(stat.st_size) != Ok(file.size) {
                return Ok(false);
            }
            let same_time = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).ok())
                == (entry.mtime.seconds, Some(entry.mtime.nanos));
            same_time || file.content.is_some() && Some(digest_of(folder, name)?) == file.content
        }
        Body::Symlink(target) => {
            kind == FileType::Symlink && rustix::fs::readlinkat(folder, name, Vec::new())?.as_bytes() == &target[..]
        }
        Body::Fifo => kind == FileType::Fifo,
        Body::CharDevice(major, minor) => kind == FileType::CharacterDevice && stat.st_rdev == makedev(*major, *minor),
        Body::BlockDevice(major, minor) => kind == FileType::BlockDevice && stat.st_rdev == makedev(*major, *minor),
        Body::Socket | Body::Folder(_) => false,
    })
}

/// BLAKE3 of a file, read past what is cached of it where that is written already.
pub(super) fn digest_of(folder: &Folder, name: &[u8]) -> Result<Digest, Errno> {
    let fd = rustix::fs::openat(folder, name, READ, Mode::empty())?;
    let _ = rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::DontNeed);
    let mut hash = ContentHash::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match rustix::io::read(&fd, &mut buffer[..]) {
            Ok(0) => return Ok(hash.finish().blake3),
            Ok(len) => hash.update(&buffer[..len]),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}
