//! The dry run: what a capture would find and read. Nothing is read but folders and metadata, nothing is written.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::model::{Bits, Body, Entry, LinkGroup, Notice, Progress, Xattrs};
use crate::ops::source::{self, XattrList};
use crate::store::Store;

use super::cache::{CacheFile, OldCache};
use super::exclude::Exclude;
use super::options::CaptureOptions;
use super::roots::Roots;
use super::taker::{NewFile, Taker};
use super::tree::Event;
use super::walk::Walk;
use super::{CaptureError, Clock, Setting, tell_unmet};

/// What a capture would find, as far as it can be told without reading files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Files.
    pub files: u64,
    /// Folders, the root not counted.
    pub folders: u64,
    /// Symlinks, devices, pipes.
    pub others: u64,
    /// Sum of file sizes.
    pub bytes: u64,
    /// Files that are new or changed since the last capture of the dataset on this machine, and would be read.
    pub files_to_read: u64,
    /// Their bytes. How much of that the store has already shows only when they are read.
    pub bytes_to_read: u64,
    /// Items left out by a rule; what is below a folder that is left out is not counted.
    pub left_out: u64,
    /// Folders that cannot be read, and files that may not be.
    pub unreadable: u64,
}

/// Tells what a capture of these paths would find. Takes no lock and writes nothing to the store.
///
/// # Errors
/// If the source cannot be opened at all or the user stops it.
pub fn estimate(
    store: &Store,
    paths: &[PathBuf],
    options: &CaptureOptions,
    progress: &dyn Progress,
    clock: Clock,
) -> Result<Estimate, CaptureError> {
    let exclude = Exclude::new(&options.leave_out.patterns)?;
    let roots = Roots::open(paths, store.dir())?;
    let missing = roots.tell_missing(progress);
    let file = CacheFile::new(store, &options.dataset);
    let old = (!options.force_read)
        .then(|| OldCache::open(store, &file, |sequence| store.log_hash(sequence), store.gc_generation()))
        .flatten();
    let setting = Setting { store, progress, clock, options, exclude: &exclude };
    let counting = Counting { found: Estimate::default(), depth: 0, linked: HashMap::new(), progress };
    let (counted, left_out) = Walk::new(setting, counting, old).run(roots)?;
    tell_unmet(&exclude, &options.leave_out.expected, progress);
    Ok(Estimate { left_out, unreadable: counted.found.unreadable + missing, ..counted.found })
}

/// Counts what the walk finds.
struct Counting<'a> {
    found: Estimate,
    depth: u64,
    /// Sizes of files of which further names may come.
    linked: HashMap<LinkGroup, u64>,
    progress: &'a dyn Progress,
}

impl Counting<'_> {
    fn file_of(&mut self, bytes: u64) {
        self.found.files += 1;
        self.found.bytes = self.found.bytes.saturating_add(bytes);
        self.progress.advance(1, bytes);
    }

    fn ready(&mut self, entry: &Entry, keep: Option<LinkGroup>) {
        if let Body::File(file) = &entry.body {
            self.linked.extend(keep.map(|group| (group, file.size)));
            self.file_of(file.size);
        } else {
            self.found.others += 1;
            self.progress.advance(1, 0);
        }
    }
}

impl Taker for Counting<'_> {
    fn reads(&self) -> bool {
        false
    }

    fn take(&mut self, event: Event) -> Result<(), CaptureError> {
        match event {
            Event::Enter(..) => self.depth += 1,
            Event::Leave => {
                self.depth -= 1;
                // The root is no entry of any folder.
                self.found.folders += u64::from(self.depth > 0);
                self.progress.advance(1, 0);
            }
            Event::Ready { entry, keep, .. } => self.ready(&entry, keep),
            Event::Linked { entry, last, .. } => {
                let size =
                    entry.link.and_then(|g| if last { self.linked.remove(&g) } else { self.linked.get(&g).copied() });
                self.file_of(size.unwrap_or(0));
            }
            Event::Lost => self.found.unreadable += 1,
            Event::Read { .. } | Event::Group(..) | Event::Changed => {}
        }
        Ok(())
    }

    fn xattrs(&mut self, _: &XattrList) -> Result<(Xattrs, Bits), CaptureError> {
        Ok((Xattrs::None, Bits::default()))
    }

    fn file(&mut self, file: NewFile) -> Result<(), CaptureError> {
        if let Err(e) = source::may_read(file.dir.as_fd(), file.entry.name.as_bytes()) {
            self.progress.notice(Notice::Unreadable { path: file.shown, why: e.to_string() });
            self.found.unreadable += 1;
            return Ok(());
        }
        let size = file.meta.size;
        self.linked.extend(file.keep.map(|group| (group, size)));
        self.found.files_to_read += 1;
        self.found.bytes_to_read = self.found.bytes_to_read.saturating_add(size);
        self.file_of(size);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CaptureError> {
        Ok(())
    }
}
