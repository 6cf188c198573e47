//! A temporary file without a name, sealed with a key that is in memory alone: for what must be read at any place and comes as a stream.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use crate::codec::ScratchKey;

use super::room;

/// Plain bytes of a sealed piece.
const PIECE: usize = 64 << 10;
/// The same in the file.
const STORED: usize = PIECE + ScratchKey::OVERHEAD;

/// Takes a stream. Nothing of it can be read from the disk, now or later.
#[derive(Debug)]
pub struct Spool {
    file: File,
    key: ScratchKey,
    piece: Vec<u8>,
    pieces: u64,
}

impl Spool {
    /// An empty one, in the system's folder for temporary files.
    ///
    /// # Errors
    /// If none can be made there.
    pub fn new() -> io::Result<Self> {
        let key = ScratchKey::new().map_err(io::Error::other)?;
        Ok(Self { file: tempfile::tempfile()?, key, piece: Vec::with_capacity(STORED), pieces: 0 })
    }

    /// Bytes that it may take, so that others have room for theirs.
    pub(super) fn room(&self) -> Option<u64> {
        room(&self.file)
    }

    fn put(&mut self) -> io::Result<()> {
        self.key.seal(self.pieces, &mut self.piece);
        self.file.write_all_at(&self.piece, self.pieces * STORED as u64)?;
        self.piece.clear();
        self.pieces += 1;
        Ok(())
    }

    /// What was written, to be read at any place.
    ///
    /// # Errors
    /// If the rest cannot be written.
    pub fn into_reader(mut self) -> io::Result<SpoolReader> {
        let len = self.pieces * PIECE as u64 + self.piece.len() as u64;
        if !self.piece.is_empty() {
            self.put()?;
        }
        let Self { file, key, piece, .. } = self;
        Ok(SpoolReader { file, key, len, at: 0, piece, held: None, sealed: Vec::new() })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..len]);
        if self.piece.len() == PIECE {
            self.put()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a [`Spool`] has taken.
#[derive(Debug)]
pub struct SpoolReader {
    file: File,
    key: ScratchKey,
    len: u64,
    at: u64,
    /// A piece, opened, and which one.
    piece: Vec<u8>,
    held: Option<u64>,
    sealed: Vec<u8>,
}

impl SpoolReader {
    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn hold(&mut self, number: u64) -> io::Result<()> {
        if self.held == Some(number) {
            return Ok(());
        }
        self.held = None;
        let plain = usize::try_from(self.len - number * PIECE as u64).unwrap_or(PIECE).min(PIECE);
        self.sealed.resize(plain + ScratchKey::OVERHEAD, 0);
        self.file.read_exact_at(&mut self.sealed, number * STORED as u64)?;
        self.key.open(number, &self.sealed, &mut self.piece).map_err(|e| {
            io::Error::new(io::ErrorKind::InvalidData, format!("a temporary file was changed while it was used: {e}"))
        })?;
        self.held = Some(number);
        Ok(())
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len || buffer.is_empty() {
            return Ok(0);
        }
        self.hold(self.at / PIECE as u64)?;
        let from = usize::try_from(self.at % PIECE as u64).unwrap_or(0);
        let bytes = self.piece.get(from..).unwrap_or_default();
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for SpoolReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "in front of the start"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_at_any_place_and_is_not_on_the_disk() {
        let content: Vec<u8> = (0..=250).cycle().take(3 * PIECE + 5).collect();
        for len in [0, 1, PIECE, content.len()] {
            let mut spool = Spool::new().unwrap();
            content[..len].chunks(1000).for_each(|slice| spool.write_all(slice).unwrap());
            let mut reader = spool.into_reader().unwrap();
            assert_eq!(reader.len(), len as u64);
            for at in [0, 1, PIECE - 1, PIECE, 2 * PIECE + 9, len, len + 3] {
                reader.seek(SeekFrom::Start(at as u64)).unwrap();
                let mut found = Vec::new();
                reader.by_ref().take(100).read_to_end(&mut found).unwrap();
                assert_eq!(found, content[at.min(len)..(at + 100).min(len).max(at.min(len))], "{len} {at}");
            }
            let mut stored = Vec::new();
            reader.file.rewind().unwrap();
            reader.file.read_to_end(&mut stored).unwrap();
            let plain = &content[..len.min(64)];
            assert!(plain.len() < 64 || !stored.windows(64).any(|window| window == plain), "it is sealed");
        }
    }

    #[test]
    fn a_change_on_the_disk_is_noticed() {
        let mut spool = Spool::new().unwrap();
        spool.write_all(b"plain").unwrap();
        let mut reader = spool.into_reader().unwrap();
        reader.file.write_all_at(b"x", 2).unwrap();
        assert!(reader.read(&mut [0; 5]).is_err());
    }
}
