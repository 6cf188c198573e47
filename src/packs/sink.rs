//! The last station of a pack: counts its bytes, sums them up, and lets no more out than are allowed.

use std::io::{self, Write};

use crate::codec::Sha256;

/// Where a pack goes.
#[derive(Debug)]
pub struct Sink<W> {
    out: W,
    bytes: u64,
    hash: Option<Sha256>,
    max: Option<u64>,
    /// More came than are allowed.
    over: bool,
}

impl<W: Write> Sink<W> {
    /// `sum`: the SHA-256 is wanted. `max`: bytes that are allowed.
    pub fn new(out: W, sum: bool, max: Option<u64>) -> Self {
        Self { out, bytes: 0, hash: sum.then(Sha256::default), max, over: false }
    }

    /// Bytes that went out; if more came than are allowed, at least so many came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True if more came than are allowed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The SHA-256 of what went out, if it was wanted.
    #[must_use]
    pub fn sum(self) -> Option<[u8; 32]> {
        self.hash.map(Sha256::bytes)
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let after = self.bytes + bytes.len() as u64;
        if self.over || self.max.is_some_and(|max| after > max) {
            if !self.over {
                (self.over, self.bytes) = (true, after);
            }
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let len = self.out.write(bytes)?;
        self.bytes += len as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes[..len]);
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_goes_out_than_is_allowed() {
        let mut out = Vec::new();
        let mut sink = Sink::new(&mut out, true, Some(5));
        assert!(sink.write_all(b"abc").is_ok() && !sink.is_over());
        assert!(sink.write_all(b"def").is_err() && sink.write_all(b"d").is_err() && sink.is_over());
        assert_eq!((sink.bytes(), sink.sum().map(|sum| sum[0])), (6, Some(0xba)));
        assert_eq!(out, b"abc");
    }
}
