//! Contents on their way through an audit: hashed, compared, their holes as the manifest has them.

use std::io::{self, Read};

use crate::archives::{ArchiveError, Content, HOLE_MAX, Part};
use crate::codec::{ContentDigest, Sha256};
use crate::model::Digest;

/// Bytes given at a time.
const STEP: usize = 1 << 20;

/// A content of which nothing may be there.
pub(super) struct Nothing;

impl Content for Nothing {
    fn next(&mut self, _: &mut Vec<u8>) -> io::Result<Part> {
        Ok(Part::End)
    }
}

/// A content that is hashed as it goes by.
pub(super) struct Summed<'a> {
    inner: &'a mut dyn Content,
    sha: Sha256,
}

impl<'a> Summed<'a> {
    pub(super) fn new(inner: &'a mut dyn Content) -> Self {
        Self { inner, sha: Sha256::default() }
    }

    /// Its SHA-256, once it was read to its end.
    pub(super) fn sum(&mut self) -> [u8; 32] {
        std::mem::take(&mut self.sha).bytes()
    }

    /// Reads what is left of it.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = Vec::new();
        while self.next(&mut buffer)? != Part::End {
            buffer.clear();
        }
        Ok(())
    }
}

impl Content for Summed<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        let start = buffer.len();
        let part = self.inner.next(buffer)?;
        self.sha.update(&buffer[start..]);
        if let Part::Hole(len) = part {
            self.sha.zeros(len);
        }
        Ok(part)
    }
}

/// A content as a stream of bytes, holes as zeros.
pub(super) struct AsReader<'a> {
    content: &'a mut dyn Content,
    buffer: Vec<u8>,
    at: usize,
    zeros: u64,
    ended: bool,
}

impl<'a> AsReader<'a> {
    pub(super) fn new(content: &'a mut dyn Content) -> Self {
        Self { content, buffer: Vec::new(), at: 0, zeros: 0, ended: false }
    }
}

impl Read for AsReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.len() && self.zeros == 0 && !self.ended {
            self.buffer.clear();
            self.at = 0;
            match self.content.next(&mut self.buffer)? {
                Part::Data => {}
                Part::Hole(len) => self.zeros = len,
                Part::End => self.ended = true,
            }
        }
        if self.at < self.buffer.len() {
            let len = out.len().min(self.buffer.len() - self.at);
            out[..len].copy_from_slice(&self.buffer[self.at..self.at + len]);
            self.at += len;
            return Ok(len);
        }
        let len = usize::try_from(self.zeros).map_or(out.len(), |zeros| zeros.min(out.len()));
        out[..len].fill(0);
        self.zeros -= len as u64;
        Ok(len)
    }
}

/// What was read of a content already, and the rest of it.
pub(super) struct Replayed<'a> {
    pub(super) front: Vec<u8>,
    pub(super) rest: &'a mut dyn Content,
}

impl Content for Replayed<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        if self.front.is_empty() {
            return self.rest.next(buffer);
        }
        buffer.append(&mut self.front);
        Ok(Part::Data)
    }
}

/// What a file must be.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) blake3: Digest,
    /// Offset and length of each, ascending and apart, within the size.
    pub(super) holes: Vec<(u64, u64)>,
}

/// The content of a file of the inventory: compared with it, its holes where the inventory has them.
pub(super) struct Checked<'a> {
    inner: Summed<'a>,
    expected: &'a Expected,
    /// The next hole.
    hole: usize,
    at: u64,
    /// What came and was not given yet: bytes from `taken` on, or zeros.
    pending: Vec<u8>,
    taken: usize,
    zeros: u64,
    blake3: ContentDigest,
    whole: bool,
    /// In what it is not as it should be, once that was found.
    wrong: Option<String>,
}

impl<'a> Checked<'a> {
    pub(super) fn new(inner: &'a mut dyn Content, expected: &'a Expected) -> Self {
        Self {
            inner: Summed::new(inner),
            expected,
            hole: 0,
            at: 0,
            pending: Vec::new(),
            taken: 0,
            zeros: 0,
            blake3: ContentDigest::default(),
            whole: false,
            wrong: None,
        }
    }

    /// Reads what is left, though it is not what it should be; gives its SHA-256.
    pub(super) fn drain(&mut self) -> io::Result<[u8; 32]> {
        self.inner.drain()?;
        Ok(self.inner.sum())
    }

    /// In what it is not as it should be, if that was found.
    pub(super) fn wrong(&mut self) -> Option<String> {
        self.wrong.take()
    }

    fn refuse(&mut self, why: impl Into<String>) -> io::Error {
        // The first is what is told: what comes behind follows from it.
        let why = self.wrong.get_or_insert_with(|| why.into());
        ArchiveError::Damaged(why.clone()).into()
    }

    /// Reads what is left of it; gives its SHA-256.
    pub(super) fn finish(&mut self) -> io::Result<[u8; 32]> {
        let mut buffer = Vec::new();
        while !self.whole {
            buffer.clear();
            self.next(&mut buffer)?;
        }
        Ok(self.inner.sum())
    }

    /// Waits for something; false at the end.
    fn pull(&mut self) -> io::Result<bool> {
        while self.taken == self.pending.len() && self.zeros == 0 {
            self.pending.clear();
            self.taken = 0;
            match self.inner.next(&mut self.pending)? {
                Part::Data => {}
                Part::Hole(len) => self.zeros = len,
                Part::End => return Ok(false),
            }
        }
        Ok(true)
    }

    fn short(&mut self) -> io::Error {
        self.refuse(format!("its content ends after {} of {} bytes", self.at, self.expected.size))
    }

    /// Takes a hole off what comes.
    fn pass(&mut self, len: u64) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            if !self.pull()? {
                return Err(self.short());
            }
            if self.zeros > 0 {
                let step = self.zeros.min(left);
                (self.zeros, left) = (self.zeros - step, left - step);
                continue;
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.pending.len() - self.taken);
            let bytes = &self.pending[self.taken..self.taken + room];
            if bytes.iter().any(|b| *b != 0) {
                return Err(self.refuse("it has data where the manifest has a hole"));
            }
            (self.taken, left) = (self.taken + room, left - room as u64);
        }
        self.at += len;
        self.blake3.zeros(len);
        Ok(())
    }

    fn end(&mut self) -> io::Result<Part> {
        if self.pull()? {
            let size = self.expected.size;
            return Err(self.refuse(format!("its content is longer than the {size} bytes of the manifest")));
        }
        let found = std::mem::take(&mut self.blake3).finish();
        if !self.whole && self.expected.blake3 != found {
            return Err(self.refuse(format!("its content has the BLAKE3 {found}, which is not that of the manifest")));
        }
        self.whole = true;
        Ok(Part::End)
    }
}

impl Content for Checked<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        if self.at >= self.expected.size {
            return if self.whole { Ok(Part::End) } else { self.end() };
        }
        let hole = self.expected.holes.get(self.hole).copied();
        if let Some((offset, len)) = hole.filter(|(offset, _)| *offset <= self.at) {
            let left = len - (self.at - offset);
            let step = left.min(HOLE_MAX);
            self.pass(step)?;
            self.hole += usize::from(step == left);
            return Ok(Part::Hole(step));
        }
        if !self.pull()? {
            return Err(self.short());
        }
        let room = hole.map_or(self.expected.size, |(offset, _)| offset) - self.at;
        let start = buffer.len();
        if self.zeros > 0 {
            // A hole of the archive that is none of the manifest's.
            let step = room.min(self.zeros).min(STEP as u64);
            buffer.resize(start + usize::try_from(step).unwrap_or(STEP), 0);
            self.zeros -= step;
        } else {
            let left = &self.pending[self.taken..];
            let step = usize::try_from(room).unwrap_or(usize::MAX).min(left.len());
            buffer.extend_from_slice(&left[..step]);
            self.taken += step;
        }
        self.blake3.update(&buffer[start..]);
        self.at += (buffer.len() - start) as u64;
        Ok(Part::Data)
    }
}
