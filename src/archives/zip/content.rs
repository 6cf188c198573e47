//! Contents of members: taken out of what they are compressed with, and compared with their sums.

use std::io::{self, BufReader, Read};

use super::super::error::ArchiveError;
use super::super::meter::too_wide;
use super::window::Window;
use crate::codec::FrameReader;

/// Bytes read at a time.
const READ_BYTES: u64 = 1 << 20;
/// Bytes of what is stored that are read ahead.
const AHEAD: usize = 128 << 10;

/// A content that is being read.
pub(super) struct Decoder {
    from: Form,
    sum: crc32fast::Hasher,
    given: u64,
}

enum Form {
    Stored(Window),
    Deflate(flate2::bufread::DeflateDecoder<BufReader<Window>>),
    Zstd(FrameReader<BufReader<Window>>),
}

impl Decoder {
    /// Of a content that is stored in a window, in one of the ways that there are.
    ///
    /// # Errors
    /// If Larder does not know the way, what it is called.
    pub(super) fn new(method: u16, window: Window) -> Result<Self, ArchiveError> {
        let ahead = |window| BufReader::with_capacity(AHEAD, window);
        let from = match method {
            0 => Form::Stored(window),
            8 => Form::Deflate(flate2::bufread::DeflateDecoder::new(ahead(window))),
            93 | 20 => Form::Zstd(FrameReader::new(ahead(window))?),
            other => {
                let (name, other) = (method_name(other), other);
                return Err(ArchiveError::Unknown(format!("it is compressed with {name} (method {other})")));
            }
        };
        Ok(Self { from, sum: crc32fast::Hasher::new(), given: 0 })
    }

    /// More of it behind what is in the buffer; 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<u64> {
        let before = buffer.len();
        let from: &mut dyn Read = match &mut self.from {
            Form::Stored(from) => from,
            Form::Deflate(from) => from,
            Form::Zstd(from) => from,
        };
        let read = from.take(READ_BYTES).read_to_end(buffer);
        let read = read.map_err(|e| match e.kind() {
            io::ErrorKind::OutOfMemory if e.raw_os_error().is_none() => too_wide("content of a member"),
            // What the decoder says of the bytes, not the system of the file.
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::Other
                if e.raw_os_error().is_none()
                    && !e.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<ArchiveError>) =>
            {
                ArchiveError::damaged(format!("its content cannot be decompressed: {e}")).into()
            }
            _ => e,
        })?;
        self.sum.update(&buffer[before..]);
        self.given += read as u64;
        Ok(read as u64)
    }

    /// Compares what was read, to its end, with what was told.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn finish(self, crc: u32, size: u64, stored: u64) -> Result<(), &'static str> {
        if self.given != size {
            return Err("it has more or fewer bytes than it says");
        }
        if self.sum.finalize() != crc {
            return Err("its content does not have the sum that the zip has for it");
        }
        match self.from {
            Form::Deflate(from) if from.total_in() != stored => {
                Err("something stands behind the end of its compressed content")
            }
            _ => Ok(()),
        }
    }
}

fn method_name(method: u16) -> &'static str {
    match method {
        1 => "shrink",
        2..=5 => "reduce",
        6 => "implode",
        9 => "deflate64",
        10 => "PKWARE's DCL implode",
        12 => "bzip2",
        14 => "LZMA",
        16 => "IBM's CMPSC",
        18 => "IBM TERSE",
        19 => "IBM LZ77",
        94 => "MP3",
        95 => "xz",
        96 => "JPEG",
        97 => "WavPack",
        98 => "PPMd",
        _ => "something unknown",
    }
}
