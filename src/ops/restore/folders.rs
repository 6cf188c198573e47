//! Folders of the target: made in preorder, few of them open at a time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::model::Name;
use crate::tree::Node;

use super::outcome::Outcome;
use super::{Overwrite, RestoreError};

/// Levels above the deepest that stay open.
const NEAR: usize = 64;
/// Of those farther up every so-manieth stays open, so that one that was closed is found again in few steps.
const FAR: usize = 64;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder of the target.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// True if it was there before, with something in it or as a folder of somebody else's.
    pub(super) existed: bool,
    /// True if new items get its group.
    pub(super) gives_group: bool,
    /// True if new items get ACLs from its default ACL.
    pub(super) gives_acl: bool,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Folder {
    fn new(fd: OwnedFd, existed: bool) -> Result<Self, Errno> {
        let mode = rustix::fs::fstat(&fd)?.st_mode;
        let gives_acl = existed && rustix::fs::fgetxattr_query(&fd, DEFAULT_ACL).is_ok_and(|len| len > 0);
        Ok(Self { fd, existed, gives_group: mode & 0o2000 != 0, gives_acl })
    }

    /// Opens a folder in this one.
    pub(super) fn open(&self, name: &[u8], existed: bool) -> Result<Self, Errno> {
        Self::new(rustix::fs::openat(&self.fd, name, OPEN, Mode::empty())?, existed)
    }

    /// Makes a folder in this one. What it inherited is taken off, so that nothing in it inherits further.
    fn make(&self, name: &[u8]) -> Result<Self, Errno> {
        rustix::fs::mkdirat(&self.fd, name, Mode::RWXU)?;
        let made = self.open(name, false)?;
        if self.gives_acl {
            for acl in [DEFAULT_ACL, ACCESS_ACL] {
                let _ = rustix::fs::fremovexattr(&made.fd, acl);
            }
        }
        Ok(made)
    }

    /// Opens the folder that a path from here leads to.
    pub(super) fn descend(self: &Arc<Self>, path: &[u8]) -> Result<Arc<Self>, Errno> {
        let mut here = self.clone();
        for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            here = Arc::new(here.open(name, true)?);
        }
        Ok(here)
    }
}

pub(super) const ACCESS_ACL: &str = "system.posix_acl_access";
pub(super) const DEFAULT_ACL: &str = "system.posix_acl_default";

struct Level {
    name: Name,
    folder: Option<Arc<Folder>>,
    existed: bool,
    /// It could not be made: nothing below it is restored.
    refused: bool,
}

/// The folders between the target and where the walk is.
pub(super) struct Folders {
    base: Arc<Folder>,
    overwrite: Overwrite,
    levels: Vec<Level>,
}

impl Folders {
    /// Makes and opens the target.
    pub(super) fn target(target: &Path) -> Result<Arc<Folder>, RestoreError> {
        let fail = |e: std::io::Error| RestoreError::Target { path: target.to_owned(), source: e };
        let existed = std::fs::read_dir(target).is_ok_and(|mut items| items.next().is_some());
        std::fs::create_dir_all(target).map_err(fail)?;
        // The user named it: here alone a symlink is followed.
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, target, open, Mode::empty()).map_err(|e| fail(e.into()))?;
        let mut folder = Folder::new(fd, true).map_err(|e| fail(e.into()))?;
        folder.existed = existed;
        Ok(Arc::new(folder))
    }

    pub(super) fn new(base: Arc<Folder>, overwrite: Overwrite) -> Self {
        Self { base, overwrite, levels: Vec::new() }
    }

    /// The folder that the walk is in; nothing if it is below one that could not be made.
    pub(super) fn top(&mut self) -> Option<Result<Arc<Folder>, Outcome>> {
        let Some(last) = self.levels.last() else { return Some(Ok(self.base.clone())) };
        if last.refused {
            return None;
        }
        Some(self.reopen().map_err(|e| Outcome::failed("cannot open its folder again", e)))
    }

    /// The deepest folder, opened again from the nearest one above it that is open.
    fn reopen(&mut self) -> Result<Arc<Folder>, Errno> {
        let from = self.levels.iter().rposition(|level| level.folder.is_some());
        let mut here = from.and_then(|at| self.levels[at].folder.clone()).unwrap_or_else(|| self.base.clone());
        for level in self.levels.iter_mut().skip(from.map_or(0, |at| at + 1)) {
            here = Arc::new(here.open(level.name.as_bytes(), level.existed)?);
            level.folder = Some(here.clone());
        }
        Ok(here)
    }

    /// Makes a folder, or opens it if it exists. [`Self::leave`] follows in any case.
    pub(super) fn enter(&mut self, node: &Node) -> Result<(), Outcome> {
        let overwrite = self.overwrite;
        self.step(node, |parent, name| make_or_open(parent, name, overwrite))
    }

    /// Opens a folder that should be there. [`Self::leave`] follows in any case.
    pub(super) fn find(&mut self, node: &Node) -> Result<(), Outcome> {
        self.step(node, |parent, name| {
            parent.open(name, true).map_err(|e| Outcome::failed("cannot open the folder", e))
        })
    }

    fn step(&mut self, node: &Node, get: impl Fn(&Folder, &[u8]) -> Result<Folder, Outcome>) -> Result<(), Outcome> {
        let name = node.entry.name.clone();
        let made = match self.top() {
            // The start is the target itself.
            Some(Ok(folder)) if node.path.is_empty() => Ok(folder),
            Some(Ok(parent)) => get(&parent, name.as_bytes()).map(Arc::new),
            Some(Err(why)) => Err(why),
            None => {
                self.levels.push(Level { name, folder: None, existed: false, refused: true });
                return Ok(());
            }
        };
        let (folder, told) = match made {
            Ok(folder) => (Some(folder), Ok(())),
            Err(why) => (None, Err(why)),
        };
        let existed = folder.as_ref().is_some_and(|f| f.existed);
        self.levels.push(Level { name, refused: folder.is_none(), folder, existed });
        let far = self.levels.len().wrapping_sub(NEAR + 1);
        if let Some(level) = self.levels.get_mut(far).filter(|_| !far.is_multiple_of(FAR)) {
            level.folder = None;
        }
        told
    }

    /// Leaves the deepest folder.
    pub(super) fn leave(&mut self) {
        self.levels.pop();
    }
}

fn make_or_open(parent: &Folder, name: &[u8], overwrite: Overwrite) -> Result<Folder, Outcome> {
    match parent.make(name) {
        Err(Errno::EXIST) => {}
        made => return made.map_err(|e| Outcome::failed("cannot make the folder", e)),
    }
    match parent.open(name, true) {
        Err(Errno::NOTDIR | Errno::LOOP) if overwrite == Overwrite::Never => {
            Err(Outcome::Kept("something that is no folder stands in its place".to_owned()))
        }
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let replaced = rustix::fs::unlinkat(parent, name, AtFlags::empty()).and_then(|()| parent.make(name));
            replaced.map_err(|e| Outcome::failed("cannot make a folder of what stands in its place", e))
        }
        opened => opened.map_err(|e| Outcome::failed("cannot open the folder that is there", e)),
    }
}
