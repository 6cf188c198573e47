//! Files, symlinks, pipes and devices: made, filled, finished.
//!
//! Each gets its name when it is complete, content and metadata (`place`).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;

use crate::model::{Body, Entry, Xattrs};
use crate::tree::{Flow, Node, Part, Stretch, Visit};

use super::Context;
use super::existing::Standing;
use super::folders::Folder;
use super::metadata::{Before, On};
use super::outcome::Outcome;
use super::place::Beside;

/// A file being written. It vanishes when dropped, unless it was put in its place.
#[derive(Debug)]
pub(super) struct Opened {
    fd: OwnedFd,
    before: Before,
    standing: Standing,
    beside: Beside,
}

/// A file whose parts are written by several threads.
#[derive(Debug, Default)]
pub(super) struct LongFile {
    opened: OnceLock<Option<Opened>>,
    /// Held by the one that writes. The system lets only one write to a file, and has the others spin.
    writing: Mutex<()>,
    settled: Mutex<Option<Outcome>>,
}

impl LongFile {
    fn settle(&self, outcome: Outcome) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(outcome);
    }

    fn is_settled(&self) -> bool {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Context<'_> {
    /// A file that is in one part.
    pub(super) fn put_file(&self, folder: &Arc<Folder>, node: &Node, part: &mut Part) -> Outcome {
        match self.open_file(folder, node) {
            Ok(opened) => self.close(node, &opened, fill(self, &opened, node, part, None)),
            Err(outcome) => outcome,
        }
    }

    /// A part of a file that has several. Whichever thread comes first opens it.
    pub(super) fn put_part(&self, folder: &Arc<Folder>, node: &Node, part: &mut Part, long: &LongFile) {
        let opened =
            long.opened.get_or_init(|| self.open_file(folder, node).map_err(|outcome| long.settle(outcome)).ok());
        if let Some(opened) = opened.as_ref().filter(|_| !long.is_settled())
            && let Err(outcome) = fill(self, opened, node, part, Some(&long.writing))
        {
            long.settle(outcome);
        }
    }

    /// The same part once all before it are written: the last one finishes the file.
    pub(super) fn finish_part(&self, node: &Node, part: &Part, long: &LongFile) -> Outcome {
        if !part.last {
            return Outcome::Done;
        }
        let settled = long.settled.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (long.opened.get().and_then(Option::as_ref), settled) {
            (Some(opened), settled) => self.close(node, opened, settled.map_or(Ok(()), Err)),
            (None, settled) => settled.unwrap_or(Outcome::Done),
        }
    }

    /// An item that was to be linked to another name of it, which is not there.
    pub(super) fn put_alone(&self, folder: &Arc<Folder>, node: &Node) -> Outcome {
        let mut flow = Flow::new(self.pages, vec![(node.path.clone(), node.entry.clone())]);
        let (long, mut outcome) = (LongFile::default(), Outcome::Done);
        while let Some(visit) = flow.next() {
            let (Visit::Enter { node, part: Some(mut part), .. } | Visit::Part(node, mut part)) = visit else {
                return self.put_other(folder, node);
            };
            if part.offset == 0 && part.last {
                return self.put_file(folder, &node, &mut part);
            }
            self.put_part(folder, &node, &mut part, &long);
            outcome = self.finish_part(&node, &part, &long);
        }
        outcome
    }

    fn open_file(&self, folder: &Arc<Folder>, node: &Node) -> Result<Opened, Outcome> {
        let standing = self.meet(folder, node)?;
        let (mode, before) = self.carrier.new_item(&node.entry, folder, node.entry.xattrs != Xattrs::None);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = self.beside(folder, node, |name| rustix::fs::openat(folder, name, flags, mode));
        let (beside, fd) = made.map_err(|e| Outcome::failed("cannot make the file", e))?;
        Ok(Opened { fd, before, standing, beside })
    }

    /// Finishes a file. If it could not be filled it vanishes: no file of Larder's holds wrong bytes.
    fn close(&self, node: &Node, opened: &Opened, filled: Result<(), Outcome>) -> Outcome {
        let finished = filled.and_then(|()| {
            let xattrs = self.pages.xattrs(&node.entry)?;
            let lost = self.carrier.put(On::Open(opened.fd.as_fd()), &node.entry, &xattrs, opened.before);
            self.place(&opened.beside, node, opened.standing)?;
            Ok(opened.standing.then(lost))
        });
        finished.unwrap_or_else(|outcome| outcome)
    }

    /// A symlink, pipe or device.
    pub(super) fn put_other(&self, folder: &Arc<Folder>, node: &Node) -> Outcome {
        if node.entry.body == Body::Socket {
            return Outcome::Skipped(SOCKET.to_owned());
        }
        self.try_other(folder, node).unwrap_or_else(|outcome| outcome)
    }

    fn try_other(&self, folder: &Arc<Folder>, node: &Node) -> Result<Outcome, Outcome> {
        let entry = &node.entry;
        let standing = self.meet(folder, node)?;
        let (mode, before) = self.carrier.new_item(entry, folder, entry.xattrs != Xattrs::None);
        let made = self.beside(folder, node, |name| make_other(folder, name, entry, mode));
        let (beside, ()) = made.map_err(|e| Outcome::failed("cannot make it", e))?;
        let xattrs = self.pages.xattrs(entry)?;
        let lost = self.carrier.put(On::Named(folder, beside.name()), entry, &xattrs, before);
        self.place(&beside, node, standing)?;
        Ok(standing.then(lost))
    }
}

/// Why no socket comes back.
pub(super) const SOCKET: &str = "a socket belongs to a running program and is not restored";

pub(super) fn make_other(folder: &Folder, name: &[u8], entry: &Entry, mode: Mode) -> Result<(), Errno> {
    let node = |kind, device| rustix::fs::mknodat(folder, name, kind, mode, device);
    match &entry.body {
        Body::Symlink(target) => rustix::fs::symlinkat(&target[..], folder, name),
        Body::Fifo => node(FileType::Fifo, 0),
        Body::CharDevice(major, minor) => node(FileType::CharacterDevice, makedev(*major, *minor)),
        Body::BlockDevice(major, minor) => node(FileType::BlockDevice, makedev(*major, *minor)),
        Body::Socket | Body::File(_) | Body::Folder(_) => Err(Errno::INVAL),
    }
}

/// Writes a part; `writing` is held meanwhile. Holes are left out; one at the end needs the length set.
fn fill(
    context: &Context,
    opened: &Opened,
    node: &Node,
    part: &mut Part,
    writing: Option<&Mutex<()>>,
) -> Result<(), Outcome> {
    let mut at = part.offset;
    let mut ends_in_hole = false;
    let fail = |e| Outcome::failed("cannot write", e);
    context.pages.read_part::<Outcome>(part, |stretch| {
        ends_in_hole = matches!(stretch, Stretch::Hole(_));
        match stretch {
            Stretch::Hole(len) => at += len,
            Stretch::Data(item) => {
                let mut bytes: &[u8] = item;
                let _alone = writing.map(|writing| writing.lock().unwrap_or_else(PoisonError::into_inner));
                while !bytes.is_empty() {
                    match rustix::io::pwrite(&opened.fd, bytes, at) {
                        Ok(0) => return Err(fail(Errno::IO)),
                        Ok(written) => (bytes, at) = (&bytes[written..], at + written as u64),
                        Err(Errno::INTR) => {}
                        Err(e) => return Err(fail(e)),
                    }
                }
            }
        }
        Ok(())
    })?;
    if part.last && ends_in_hole {
        rustix::fs::ftruncate(&opened.fd, node.entry.size()).map_err(fail)?;
    }
    Ok(())
}
