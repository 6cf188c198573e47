//! Files, symlinks, pipes and devices: made, filled, finished.
//!
//! A new file is written where it belongs. A kill leaves it short and with the time of the kill, so `--overwrite=if-changed`
//! sees that it is not done; a name of its own and a rename would cost two more calls a file to say no more. What replaces
//! something is written beside it and renamed over it: the old one stays whole until the new one is.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;

use crate::model::{Body, Entry, Xattrs};
use crate::store::StoreError;
use crate::tree::{Flow, LongCheck, Node, Part, Stretch, Visit, WholeCheck};

use super::Context;
use super::folders::Folder;
use super::metadata::{Before, On};
use super::outcome::Outcome;

/// A file being written.
#[derive(Debug)]
pub(super) struct Opened {
    fd: OwnedFd,
    before: Before,
    /// Its name until it takes the place of another.
    beside: Option<Vec<u8>>,
}

/// A file whose parts are written by several threads.
#[derive(Debug, Default)]
pub(super) struct LongFile {
    opened: OnceLock<Option<Opened>>,
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

/// A name beside, which nobody else uses.
pub(super) fn name_beside() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = rustix::process::getpid().as_raw_nonzero();
    format!(".larder-{process:x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed)).into_bytes()
}

impl Context<'_> {
    /// A file that is in one part.
    pub(super) fn put_file(&self, folder: &Folder, node: &Node, part: &mut Part) -> Outcome {
        let Some(file) = node.entry.file() else { return Outcome::Done };
        let opened = match self.open_file(folder, node) {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let mut check = WholeCheck::new(file);
        let filled = fill(self, &opened, node, part, |stretch| check.update(stretch));
        self.close(folder, node, &opened, filled.and_then(|()| Ok(check.finish(file)?)))
    }

    /// A part of a file that has several. Whichever thread comes first opens it.
    pub(super) fn put_part(&self, folder: &Folder, node: &Node, part: &mut Part, long: &LongFile) {
        let opened =
            long.opened.get_or_init(|| self.open_file(folder, node).map_err(|outcome| long.settle(outcome)).ok());
        if let Some(opened) = opened.as_ref().filter(|_| !long.is_settled())
            && let Err(outcome) = fill(self, opened, node, part, |_| {})
        {
            long.settle(outcome);
        }
    }

    /// The same part once all before it are written: the last one finishes the file.
    pub(super) fn finish_part(
        &self,
        folder: &Folder,
        node: &Arc<Node>,
        part: &mut Part,
        long: &LongFile,
        check: &mut LongCheck,
    ) -> Outcome {
        if !long.is_settled()
            && let Err(e) = check.add(self.pages, node, part)
        {
            long.settle(e.into());
        }
        if !part.last {
            return Outcome::Done;
        }
        let settled = long.settled.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (long.opened.get().and_then(Option::as_ref), settled) {
            (Some(opened), settled) => self.close(folder, node, opened, settled.map_or(Ok(()), Err)),
            (None, settled) => settled.unwrap_or(Outcome::Done),
        }
    }

    /// An item that was to be linked to another name of it, which is not there.
    pub(super) fn put_alone(&self, folder: &Folder, node: &Node) -> Outcome {
        let mut flow = Flow::new(self.pages, vec![(node.path.clone(), node.entry.clone())]);
        let (long, mut check, mut outcome) = (LongFile::default(), LongCheck::default(), Outcome::Done);
        while let Some(visit) = flow.next() {
            let (Visit::Enter { node, part: Some(mut part), .. } | Visit::Part(node, mut part)) = visit else {
                return self.put_other(folder, node);
            };
            if part.offset == 0 && part.last {
                return self.put_file(folder, &node, &mut part);
            }
            self.put_part(folder, &node, &mut part, &long);
            outcome = self.finish_part(folder, &node, &mut part, &long, &mut check);
        }
        outcome
    }

    fn open_file(&self, folder: &Folder, node: &Node) -> Result<Opened, Outcome> {
        let name = node.entry.name.as_bytes();
        let opened = match self.create(folder, name, &node.entry) {
            Err(Errno::EXIST) => {
                self.meet(folder, node)?;
                let beside = name_beside();
                self.create(folder, &beside, &node.entry).map(|opened| Opened { beside: Some(beside), ..opened })
            }
            created => created,
        };
        opened.map_err(|e| Outcome::failed("cannot make the file", e))
    }

    fn create(&self, folder: &Folder, name: &[u8], entry: &Entry) -> Result<Opened, Errno> {
        let (mode, before) = self.carrier.new_item(entry, folder, entry.xattrs != Xattrs::None);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Opened { fd: rustix::fs::openat(folder, name, flags, mode)?, before, beside: None })
    }

    /// Finishes a file, or takes it away again if it could not be filled: no file of Larder's holds wrong bytes.
    fn close(&self, folder: &Folder, node: &Node, opened: &Opened, filled: Result<(), Outcome>) -> Outcome {
        let name = node.entry.name.as_bytes();
        let now = opened.beside.as_deref().unwrap_or(name);
        let finished = filled.and_then(|()| {
            let xattrs = self.pages.xattrs(&node.entry)?;
            let lost = self.carrier.put(On::Open(opened.fd.as_fd()), &node.entry, &xattrs, opened.before);
            self.replace(folder, opened.beside.as_deref(), name)?;
            Ok(lost)
        });
        finished.map_or_else(
            |outcome| {
                let _ = rustix::fs::unlinkat(folder, now, AtFlags::empty());
                outcome
            },
            Outcome::carried,
        )
    }

    /// Puts what was made beside in the place of what was there.
    pub(super) fn replace(&self, folder: &Folder, beside: Option<&[u8]>, name: &[u8]) -> Result<(), Outcome> {
        let Some(beside) = beside else { return Ok(()) };
        rustix::fs::renameat(folder, beside, folder, name).map_err(|e| {
            let _ = rustix::fs::unlinkat(folder, beside, AtFlags::empty());
            Outcome::failed("cannot take the place of what is there", e)
        })
    }

    /// A symlink, pipe or device.
    pub(super) fn put_other(&self, folder: &Folder, node: &Node) -> Outcome {
        if node.entry.body == Body::Socket {
            return Outcome::Skipped("a socket belongs to a running program and is not restored".to_owned());
        }
        self.try_other(folder, node).map_or_else(|outcome| outcome, Outcome::carried)
    }

    fn try_other(&self, folder: &Folder, node: &Node) -> Result<Vec<String>, Outcome> {
        let (entry, name) = (&node.entry, node.entry.name.as_bytes());
        let fail = |e| Outcome::failed("cannot make it", e);
        let (mode, before) = self.carrier.new_item(entry, folder, entry.xattrs != Xattrs::None);
        let beside = match make_other(folder, name, entry, mode) {
            Err(Errno::EXIST) => {
                self.meet(folder, node)?;
                let beside = name_beside();
                make_other(folder, &beside, entry, mode).map_err(fail)?;
                Some(beside)
            }
            made => made.map(|()| None).map_err(fail)?,
        };
        let xattrs = self.pages.xattrs(entry)?;
        let now = beside.as_deref().unwrap_or(name);
        let lost = self.carrier.put(On::Named(folder, now), entry, &xattrs, before);
        self.replace(folder, beside.as_deref(), name)?;
        Ok(lost)
    }

    /// Puts a folder's own metadata on it, after all that is in it. A folder that was there keeps its own unless files may be
    /// overwritten.
    pub(super) fn finish_folder(&self, folder: &Folder, node: &Node, lost: Option<StoreError>) -> Outcome {
        if let Some(error) = lost {
            return error.into();
        }
        if folder.existed && self.overwrite == super::Overwrite::Never {
            return Outcome::Done;
        }
        let put = self.pages.xattrs(&node.entry).map(|xattrs| {
            let before = Before { existed: folder.existed, ..Before::of(folder.as_fd()) };
            self.carrier.put(On::Open(folder.as_fd()), &node.entry, &xattrs, before)
        });
        put.map_or_else(Outcome::from, Outcome::carried)
    }
}

fn make_other(folder: &Folder, name: &[u8], entry: &Entry, mode: Mode) -> Result<(), Errno> {
    let node = |kind, device| rustix::fs::mknodat(folder, name, kind, mode, device);
    match &entry.body {
        Body::Symlink(target) => rustix::fs::symlinkat(&target[..], folder, name),
        Body::Fifo => node(FileType::Fifo, 0),
        Body::CharDevice(major, minor) => node(FileType::CharacterDevice, makedev(*major, *minor)),
        Body::BlockDevice(major, minor) => node(FileType::BlockDevice, makedev(*major, *minor)),
        Body::Socket | Body::File(_) | Body::Folder(_) => Err(Errno::INVAL),
    }
}

/// Writes a part. Holes are left out; one at the end needs the length set.
fn fill(
    context: &Context,
    opened: &Opened,
    node: &Node,
    part: &mut Part,
    mut seen: impl FnMut(Stretch),
) -> Result<(), Outcome> {
    let mut at = part.offset;
    let mut ends_in_hole = false;
    let fail = |e| Outcome::failed("cannot write", e);
    context.pages.read_part::<Outcome>(part, |stretch| {
        seen(stretch);
        ends_in_hole = matches!(stretch, Stretch::Hole(_));
        match stretch {
            Stretch::Hole(len) => at += len,
            Stretch::Data(mut bytes) => {
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
