//! Names: whatever is made gets one of its own first and takes its final one when it is complete.
//!
//! So a kill never leaves half a file under a name of the snapshot, and what is replaced stays whole until the new one is. No two
//! restores share a first name, and what a kill leaves under one a later restore knows and clears away (`parts`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::tree::Node;

use super::existing::{Standing, is_one_file};
use super::folders::Folder;
use super::outcome::Outcome;
use super::parts::first_name;
use super::{Context, Overwrite};

/// The first name of something that is not complete. What has it vanishes when this is dropped.
#[derive(Debug)]
pub(super) struct Beside {
    folder: Arc<Folder>,
    name: Vec<u8>,
    placed: AtomicBool,
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.placed.load(Ordering::Relaxed) {
            let _ = rustix::fs::unlinkat(&self.folder, &self.name[..], AtFlags::empty());
        }
    }
}

impl Beside {
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Context<'_> {
    /// Makes something under a first name; `make` must fail if it exists.
    pub(super) fn beside<T>(
        &self,
        folder: &Arc<Folder>,
        node: &Node,
        make: impl Fn(&[u8]) -> Result<T, Errno>,
    ) -> Result<(Beside, T), Errno> {
        let name = first_name(node.entry.name.as_bytes(), self.token);
        let made = make(&name)?;
        Ok((Beside { folder: folder.clone(), name, placed: AtomicBool::new(false) }, made))
    }

    /// Gives what is complete its final name.
    pub(super) fn place(&self, beside: &Beside, node: &Node, standing: Standing) -> Result<(), Outcome> {
        let (folder, from, to) = (&beside.folder, &beside.name[..], node.entry.name.as_bytes());
        if standing == Standing::Folder {
            self.clear(folder, node)?;
        }
        let fail = |e| Outcome::failed("cannot take the place of what is there", e);
        let put = || rustix::fs::renameat(folder, from, folder, to);
        if standing == Standing::Nothing {
            match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) if self.overwrite == Overwrite::Never => return Err(self.met_late(folder, node)),
                // Not every file system knows the flag.
                Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => put().map_err(fail)?,
                placed => placed.map_err(fail)?,
            }
        } else {
            put().map_err(fail)?;
        }
        beside.placed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What became of an item in whose place something came to be meanwhile: another restore may have put the same there.
    fn met_late(&self, folder: &Folder, node: &Node) -> Outcome {
        match folder.look_again(node.entry.name.as_bytes()) {
            Ok(Some(stat)) => self.left_alone(folder, &node.entry, &stat),
            Ok(None) => Outcome::Failed("something was in its place, and is gone".to_owned()),
            Err(outcome) => outcome,
        }
    }

    /// A further name of a file that was restored under another one; nothing if that one is not where it should be.
    pub(super) fn link(&self, base: &Arc<Folder>, folder: &Arc<Folder>, node: &Node, first: &Node) -> Option<Outcome> {
        let (above, old) = parted(&first.path);
        let from = base.descend(above).ok()?;
        let standing = match self.meet_link(folder, node, |stat| is_one_file(&from, old, stat)) {
            Ok(standing) => standing,
            Err(outcome) => return Some(outcome),
        };
        let link = |name: &[u8]| rustix::fs::linkat(&from, old, folder, name, AtFlags::empty());
        if standing == Standing::Nothing {
            let name = node.entry.name.as_bytes();
            return match link(name) {
                Err(Errno::NOENT) => None,
                Err(Errno::EXIST) => Some(match folder.look_again(name) {
                    Ok(Some(stat)) if is_one_file(&from, old, &stat) => Outcome::Same(Vec::new()),
                    _ => self.met_late(folder, node),
                }),
                Err(e) => Some(Outcome::failed("cannot link it to its other name", e)),
                Ok(()) => Some(Outcome::Made(Vec::new())),
            };
        }
        let beside = match self.beside(folder, node, link) {
            Err(Errno::NOENT) => return None,
            Err(e) => return Some(Outcome::failed("cannot link it to its other name", e)),
            Ok((beside, ())) => beside,
        };
        Some(self.place(&beside, node, standing).map_or_else(|outcome| outcome, |()| standing.then(Vec::new())))
    }
}

/// A path's folder, and its last name.
pub(super) fn parted(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}
