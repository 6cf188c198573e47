//! What a capture would leave out of a folder, for others who walk it one folder at a time: a comparison.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::ops::source::{Meta, Names};

use super::CaptureError;
use super::exclude::Exclude;
use super::file_systems::FileSystems;
use super::ignore_files::RulesAbove;
use super::listing::{Listing, LookFor};
use super::options::LeaveOut;
use super::roots::Only;

/// The rules, and those of the folders that the walk is in.
#[derive(Debug)]
pub(in crate::ops) struct Rules {
    exclude: Exclude,
    look_for: LookFor,
    above: RulesAbove,
    larger_than: Option<u64>,
    file_systems: FileSystems,
    /// The devices of the folders that the walk is in, each behind the length of its path.
    devices: Vec<(usize, (u32, u32))>,
}

impl Rules {
    pub(in crate::ops) fn new(leave_out: &LeaveOut) -> Result<Self, CaptureError> {
        let look_for = LookFor::new(leave_out);
        Ok(Self {
            exclude: Exclude::new(&leave_out.patterns)?,
            above: RulesAbove::new(look_for.files),
            look_for,
            larger_than: leave_out.larger_than,
            file_systems: FileSystems::default(),
            devices: Vec::new(),
        })
    }

    /// The walk goes into the folder at a path, which is on this device: its names, without those that a tag in it leaves out;
    /// none if it is the mount point of a file system that is left out.
    pub(in crate::ops) fn enter(
        &mut self,
        path: &[u8],
        device: (u32, u32),
        fd: OwnedFd,
    ) -> Result<(Arc<OwnedFd>, Arc<Names>), Errno> {
        let above = self.devices.last().map_or(device, |(_, above)| *above);
        let nothing = self.file_systems.begun_by(&fd, device, above).map(|_| Only::default());
        let listing = Listing::read(fd, nothing.as_ref(), &self.look_for)?;
        self.devices.push((path.len(), device));
        if let Some(rules) = listing.rules {
            self.above.enter(path.len(), rules);
        }
        Ok((listing.fd, listing.names))
    }

    /// The walk leaves the folder at a path.
    pub(in crate::ops) fn leave(&mut self, path: &[u8]) {
        self.above.leave(path.len());
        self.devices.pop_if(|(len, _)| *len == path.len());
    }

    /// True if what stands at a path is left out; `host` is its folder and what the host says of it, if
    /// there is anything.
    pub(in crate::ops) fn leave_out(&mut self, path: &[u8], is_dir: bool, host: Option<(&OwnedFd, &Meta)>) -> bool {
        let file = host.filter(|(_, m)| m.kind == FileType::RegularFile);
        let too_large = self.larger_than.is_some_and(|max| file.is_some_and(|(_, m)| m.size > max));
        let above = self.devices.last().map(|(_, device)| *device);
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let pseudo = file.zip(above).and_then(|((dir, m), above)| self.file_systems.of_file(dir, name, m, above));
        too_large
            || pseudo.is_some()
            || self.exclude.says(path, is_dir).unwrap_or_else(|| self.above.leave_out(path, is_dir))
    }
}
