//! Stretches of the file that a zip is, and numbers in them.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use super::super::error::ArchiveError;
use super::super::open::ReadSeek;

/// The file, read at several places.
pub(super) type Shared = Rc<RefCell<Box<dyn ReadSeek>>>;

/// A stretch of the file as a stream.
pub(super) struct Window {
    from: Shared,
    at: u64,
    end: u64,
}

impl Window {
    pub(super) fn new(from: &Shared, at: u64, end: u64) -> Self {
        Self { from: Rc::clone(from), at, end }
    }

    /// So many bytes from a place on, which must be there.
    pub(super) fn exact(from: &Shared, at: u64, len: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::with_capacity(len);
        Self::new(from, at, at.saturating_add(len as u64)).read_to_end(&mut bytes)?;
        if bytes.len() == len { Ok(bytes) } else { Err(ArchiveError::damaged("the zip ends too early")) }
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let mut from = self.from.borrow_mut();
        from.seek(SeekFrom::Start(self.at))?;
        let len = from.read(&mut buffer[..room])?;
        self.at += len as u64;
        Ok(len)
    }
}

/// A number of two bytes; 0 where there are none. So are those below.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_le_bytes(*b))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_le_bytes(*b))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b))
}
