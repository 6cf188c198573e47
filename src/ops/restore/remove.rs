//! `--delete`: what is in a folder of the target and not in the snapshot's.
//!
//! A folder's list is read to its end, without an error, before anything in it is removed: damage never leads to a removal. What
//! patterns leave aside stays, and so does all that is in another file system, or mounted. Symlinks are removed, not followed.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, makedev};
use rustix::io::Errno;

use crate::model::TreeRef;
use crate::ops::source::Names;
use crate::tree::{Node, Pages};

use super::folders::Folder;
use super::guard::Guarded;
use super::outcome::Outcome;
use super::select::{Choice, Select};

/// What is removed, and how.
#[derive(Debug)]
pub(super) struct Remover<'a> {
    pub(super) pages: &'a Pages,
    pub(super) select: &'a Select,
    pub(super) guarded: &'a Guarded,
    /// Folders in which nothing is a stranger.
    pub(super) passed: &'a HashSet<Box<[u8]>>,
    /// Nothing is removed, only told.
    pub(super) dry: bool,
}

/// Something that the snapshot does not have.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) path: Box<[u8]>,
    pub(super) is_folder: bool,
    /// Why it is still there.
    pub(super) failed: Option<Errno>,
}

/// What became of one thing that the snapshot does not have.
pub(super) type Tell<'t> = &'t mut dyn FnMut(&[u8], bool, Option<Errno>);

impl Remover<'_> {
    /// Removes what a folder has and its tree has not; `ours` are no strangers. `tell` gets each path, whether it is a folder, and
    /// why it could not be removed.
    pub(super) fn clean(
        &self,
        folder: &Folder,
        node: &Node,
        tree: &TreeRef,
        inside: bool,
        ours: &HashSet<Vec<u8>>,
        tell: Tell,
    ) -> Result<(), Outcome> {
        if folder.beyond || self.passed.contains(&node.path) {
            return Ok(());
        }
        let there = Names::read(folder.as_fd()).map_err(|e| Outcome::failed("cannot list what is there", e))?;
        for at in self.strangers(&there, tree)? {
            let Some(name) = there.get(at).filter(|name| !ours.contains(*name)) else { continue };
            self.remove(folder.as_fd(), name, &below(&node.path, name), inside, tell);
        }
        Ok(())
    }

    /// Positions of the names that a tree does not have. Both are sorted.
    fn strangers(&self, there: &Names, tree: &TreeRef) -> Result<Vec<usize>, Outcome> {
        let mut strangers = Vec::new();
        let mut listing = self.pages.list(tree, 0, 0)?;
        let mut known = listing.next()?;
        for at in 0..there.len() {
            let Some(name) = there.get(at) else { break };
            while known.as_ref().is_some_and(|known| known.entry.name.as_bytes() < name) {
                known = listing.next()?;
            }
            if known.as_ref().is_none_or(|known| known.entry.name.as_bytes() != name) {
                strangers.push(at);
            }
        }
        // The rest must be readable too.
        while known.is_some() {
            known = listing.next()?;
        }
        Ok(strangers)
    }

    /// Removes one thing with all that is in it, as far as that is allowed. True if nothing of it is left.
    pub(super) fn remove(&self, above: BorrowedFd, name: &[u8], path: &[u8], inside: bool, tell: Tell) -> bool {
        let stat = match rustix::fs::statx(above, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return true,
            Err(e) => {
                tell(path, false, Some(e));
                return false;
            }
        };
        let is_folder = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
        let choice = self.select.choose(path, is_folder, inside);
        let same_device = rustix::fs::statx(above, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .is_ok_and(|above| device(&above) == device(&stat));
        if choice == Choice::Aside || (is_folder && !same_device) || self.stays(&stat) {
            return false;
        }
        if !is_folder {
            return self.unlink(above, name, path, AtFlags::empty(), tell);
        }
        match self.empty(above, name, path, &stat, choice == Choice::Take, tell) {
            Ok(true) if choice == Choice::Take => self.unlink(above, name, path, AtFlags::REMOVEDIR, tell),
            Ok(_) => false,
            Err(e) => {
                tell(path, true, Some(e));
                false
            }
        }
    }

    /// Removes what is in a folder of the same file system; true if it is empty then.
    fn empty(
        &self,
        above: BorrowedFd,
        name: &[u8],
        path: &[u8],
        stat: &Statx,
        inside: bool,
        tell: Tell,
    ) -> Result<bool, Errno> {
        let mut descent = Descent::begin(above, name, path, stat, inside)?;
        loop {
            let Some(level) = descent.levels.last_mut() else { return Ok(true) };
            let Some(name) = level.names.get(level.at).map(<[u8]>::to_vec) else {
                // This folder is done: itself, unless it is where this began.
                let done = descent.levels.pop();
                let Some(done) = done else { return Ok(true) };
                if descent.levels.is_empty() {
                    return Ok(!done.left);
                }
                descent.up()?;
                let gone = done.taken && !done.left && {
                    let path = &descent.path[..done.path];
                    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
                    self.unlink(descent.fd.as_fd(), name, path, AtFlags::REMOVEDIR, tell)
                };
                descent.leave_behind(!gone);
                continue;
            };
            level.at += 1;
            let (path, inside) = (below(&descent.path[..level.path], &name), level.taken);
            let stat = rustix::fs::statx(&descent.fd, &name[..], AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
            let is_folder = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
            let choice = self.select.choose(&path, is_folder, inside);
            let elsewhere = is_folder && device(&stat) != descent.device;
            if choice == Choice::Aside || elsewhere || self.stays(&stat) {
                descent.leave_behind(true);
            } else if is_folder {
                if let Err(e) = descent.down(&name, &path, &stat, choice == Choice::Take) {
                    tell(&path, true, Some(e));
                    descent.leave_behind(true);
                }
            } else {
                let gone = self.unlink(descent.fd.as_fd(), &name, &path, AtFlags::empty(), tell);
                descent.leave_behind(!gone);
            }
        }
    }

    /// True for what is mounted, and for what is never removed.
    fn stays(&self, stat: &Statx) -> bool {
        let identity = (makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino);
        stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) || self.guarded.holds(identity)
    }

    fn unlink(&self, above: BorrowedFd, name: &[u8], path: &[u8], flags: AtFlags, tell: Tell) -> bool {
        let removed = if self.dry { Ok(()) } else { rustix::fs::unlinkat(above, name, flags) };
        let gone = matches!(removed, Ok(()) | Err(Errno::NOENT));
        tell(path, flags == AtFlags::REMOVEDIR, removed.err().filter(|_| !gone));
        gone
    }
}

/// A way down through folders of which one is open at a time: no depth is too deep.
struct Descent {
    fd: OwnedFd,
    device: (u32, u32),
    levels: Vec<Level>,
    /// The path of the innermost folder, or of one that was done in it: those of the folders it is in begin it.
    path: Vec<u8>,
}

struct Level {
    /// How long its path is.
    path: usize,
    identity: ((u32, u32), u64),
    names: Names,
    at: usize,
    /// The folder itself goes too, once it is empty.
    taken: bool,
    /// Something stays in it.
    left: bool,
}

impl Descent {
    fn begin(above: BorrowedFd, name: &[u8], path: &[u8], stat: &Statx, taken: bool) -> Result<Self, Errno> {
        let (fd, level) = Level::open(above, name, path.len(), stat, taken)?;
        Ok(Self { fd, device: device(stat), levels: vec![level], path: path.to_vec() })
    }

    fn down(&mut self, name: &[u8], path: &[u8], stat: &Statx, taken: bool) -> Result<(), Errno> {
        let (fd, level) = Level::open(self.fd.as_fd(), name, path.len(), stat, taken)?;
        self.fd = fd;
        path.clone_into(&mut self.path);
        self.levels.push(level);
        Ok(())
    }

    /// Back to the folder above, which must be the one we came from: somebody may have moved the one we are in.
    fn up(&mut self) -> Result<(), Errno> {
        let fd = rustix::fs::openat(&self.fd, "..", OPEN, Mode::empty())?;
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        if self.levels.last().is_none_or(|level| level.identity != identity(&stat)) {
            return Err(Errno::STALE);
        }
        self.fd = fd;
        Ok(())
    }

    /// Notes that something stays in the folder that we are in.
    fn leave_behind(&mut self, left: bool) {
        if let Some(level) = self.levels.last_mut() {
            level.left |= left;
        }
    }
}

impl Level {
    /// Opens a folder; it must be the one that was looked at.
    fn open(above: BorrowedFd, name: &[u8], path: usize, seen: &Statx, taken: bool) -> Result<(OwnedFd, Self), Errno> {
        let fd = rustix::fs::openat(above, name, OPEN, Mode::empty())?;
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        if identity(&stat) != identity(seen) {
            return Err(Errno::STALE);
        }
        let names = Names::read(fd.as_fd())?;
        Ok((fd, Self { path, identity: identity(&stat), names, at: 0, taken, left: false }))
    }
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn device(stat: &Statx) -> (u32, u32) {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

fn identity(stat: &Statx) -> ((u32, u32), u64) {
    (device(stat), stat.stx_ino)
}

/// A path one name longer.
fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
