//! Content as it comes: stretches of bytes and holes, one after the other.

use std::io::{self, Read};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// What comes next of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Bytes were appended.
    Data,
    /// A hole of so many bytes.
    Hole(u64),
    /// The end.
    End,
}

/// Where a file's content comes from.
pub trait Content {
    /// The next part; data is appended to the buffer.
    ///
    /// # Errors
    /// If it cannot be read on. What was given before is then not a whole content.
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part>;
}

/// A stream without holes.
pub struct FromReader<'a>(&'a mut dyn Read);

impl std::fmt::Debug for FromReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FromReader")
    }
}

impl<'a> FromReader<'a> {
    /// Takes a stream from where it stands.
    pub fn new(reader: &'a mut dyn Read) -> Self {
        Self(reader)
    }
}

impl Content for FromReader<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        // `take` and `read_to_end` go on after an interruption by themselves.
        match (&mut *self.0).take(READ_BYTES as u64).read_to_end(buffer)? {
            0 => Ok(Part::End),
            _ => Ok(Part::Data),
        }
    }
}
