//! Who takes what the walk finds: a capture reads and stores it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crossbeam_channel::Sender;
use rustix::fs::FileType;

use crate::format::HostMark;
use crate::model::{Bits, Body, Entry, LinkGroup, Notice, Xattrs};
use crate::ops::source::{self, Meta, XattrList};

use super::CaptureError;
use super::group::{GONE, Job, Reading, SMALL_FILE};
use super::stream::FromFile;
use super::tree::{Event, settled};

/// A file whose content is not known.
pub(super) struct NewFile {
    pub(super) dir: Arc<OwnedFd>,
    /// Its body, xattrs and bits are still to be filled in.
    pub(super) entry: Entry,
    pub(super) meta: Meta,
    pub(super) mark: HostMark,
    /// Set if later names of the same file will ask for its body.
    pub(super) keep: Option<LinkGroup>,
    /// Its path as users know it.
    pub(super) shown: String,
}

/// Takes what the walk finds, in preorder.
pub(super) trait Taker {
    /// False if nobody will look at contents, targets of links and attributes.
    fn reads(&self) -> bool;

    /// A step of the walk.
    fn take(&mut self, event: Event) -> Result<(), CaptureError>;

    /// Extended attributes as an entry keeps them.
    fn xattrs(&mut self, list: &XattrList) -> Result<(Xattrs, Bits), CaptureError>;

    /// A file that the cache does not know as it is now.
    fn file(&mut self, file: NewFile) -> Result<(), CaptureError>;

    /// The walk is over.
    fn finish(&mut self) -> Result<(), CaptureError>;
}

/// Reads, stores, and hands on to the tree thread.
pub(super) struct Capturing<'t, 's> {
    pub(super) reading: Reading<'t, 's>,
    pub(super) events: Sender<Event>,
}

impl Taker for Capturing<'_, '_> {
    fn reads(&self) -> bool {
        true
    }

    fn take(&mut self, event: Event) -> Result<(), CaptureError> {
        // The tree thread may wait for a group that is not yet full: never block on it with files in hand.
        if self.events.is_full() && self.reading.holds() {
            self.reading.dispatch()?;
        }
        self.events.send(event).map_err(|_| CaptureError::Died("the tree thread"))
    }

    fn xattrs(&mut self, list: &XattrList) -> Result<(Xattrs, Bits), CaptureError> {
        self.reading.store_xattrs(list)
    }

    fn file(&mut self, file: NewFile) -> Result<(), CaptureError> {
        if file.meta.size > SMALL_FILE {
            return self.long_file(file);
        }
        let NewFile { dir, entry, meta, mark, keep, shown } = file;
        let job = Job::Host { dir, name: entry.name.as_bytes().into(), meta };
        self.take(Event::Read { entry, path: shown.into_bytes(), mark, keep })?;
        self.reading.add(job)
    }

    fn finish(&mut self) -> Result<(), CaptureError> {
        self.reading.dispatch()
    }
}

impl Capturing<'_, '_> {
    /// A file that is read piece by piece.
    fn long_file(&mut self, file: NewFile) -> Result<(), CaptureError> {
        let NewFile { dir, mut entry, mark, keep, shown, .. } = file;
        let setting = self.reading.pipeline.setting;
        let looked = (setting.clock)();
        let opened = source::open_file(dir.as_fd(), entry.name.as_bytes())
            .and_then(|file| Ok((source::stat_fd(file.as_fd())?, source::xattrs_fd(file.as_fd())?, file)));
        let (before, list, file) = match opened {
            Ok((before, ..)) if before.kind != FileType::RegularFile => {
                return self.lost(shown, &"it was replaced meanwhile");
            }
            Ok(opened) => opened,
            Err(e) if source::is_gone(dir.as_fd(), entry.name.as_bytes(), e) => {
                setting.progress.notice(Notice::Skipped { path: shown, why: GONE.to_owned() });
                return Ok(());
            }
            Err(e) => return self.lost(shown, &e),
        };
        let mut content = FromFile::new(&file, before.size);
        let body = self.reading.stream(&mut content)?;
        if let Some(e) = content.failed {
            return self.lost(shown, &e);
        }
        let after = source::stat_fd(file.as_fd()).unwrap_or(before);
        let changed = !after.same_content(&before) || body.size != after.size;
        if changed {
            setting.progress.notice(Notice::Changed { path: shown });
            self.take(Event::Changed)?;
        }
        let (xattrs, bits) = self.xattrs(&list)?;
        (entry.body, entry.xattrs, entry.bits, entry.mtime) = (Body::File(body), xattrs, bits, before.mtime);
        let mark = settled(HostMark { ctime: before.ctime, ..mark }, looked).filter(|_| !changed);
        self.take(Event::Ready { entry, mark, keep })
    }

    fn lost(&mut self, path: String, why: &dyn std::fmt::Display) -> Result<(), CaptureError> {
        self.reading.pipeline.setting.progress.notice(Notice::Unreadable { path, why: why.to_string() });
        self.take(Event::Lost)
    }
}
