//! What a capture would leave out of a folder, for others who walk it one folder at a time: a comparison.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::ops::source::{Meta, Names};

use super::CaptureError;
use super::exclude::Exclude;
use super::ignore_files::RulesAbove;
use super::listing::{Listing, LookFor};
use super::options::LeaveOut;

/// The rules, and those of the folders that the walk is in.
#[derive(Debug)]
pub(in crate::ops) struct Rules {
    exclude: Exclude,
    look_for: LookFor,
    above: RulesAbove,
    larger_than: Option<u64>,
}

impl Rules {
    pub(in crate::ops) fn new(leave_out: &LeaveOut) -> Result<Self, CaptureError> {
        let look_for = LookFor::new(leave_out);
        Ok(Self {
            exclude: Exclude::new(&leave_out.patterns)?,
            above: RulesAbove::new(look_for.files),
            look_for,
            larger_than: leave_out.larger_than,
        })
    }

    /// The walk goes into the folder at a path: its names, without those that a tag in it leaves out.
    pub(in crate::ops) fn enter(&mut self, path: &[u8], fd: OwnedFd) -> Result<(Arc<OwnedFd>, Arc<Names>), Errno> {
        let listing = Listing::read(fd, None, &self.look_for)?;
        if let Some(rules) = listing.rules {
            self.above.enter(path.len(), rules);
        }
        Ok((listing.fd, listing.names))
    }

    /// The walk leaves the folder at a path.
    pub(in crate::ops) fn leave(&mut self, path: &[u8]) {
        self.above.leave(path.len());
    }

    /// True if what stands at a path is left out; `meta` is what the host says of it, if there is anything.
    pub(in crate::ops) fn leave_out(&self, path: &[u8], is_dir: bool, meta: Option<&Meta>) -> bool {
        let file = meta.filter(|m| m.kind == FileType::RegularFile);
        let too_large = self.larger_than.is_some_and(|max| file.is_some_and(|m| m.size > max));
        too_large || self.exclude.says(path, is_dir).unwrap_or_else(|| self.above.leave_out(path, is_dir))
    }
}
