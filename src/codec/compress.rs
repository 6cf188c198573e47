//! The one door to zstd.

use std::cell::RefCell;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use zstd::stream::raw::CParameter;

use super::parts::{Made, Part, Parts, Sizes};

/// Compressing or decompressing failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CompressError(String);

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    level: i32,
    /// Bytes of the shortest match looked for, if not the level's own.
    min_match: Option<u32>,
}

impl Effort {
    /// For most content: beyond this level bytes are bought with a lot of time.
    pub const USUAL: Self = Self::level(3);
    /// For many short pieces of text that are alike: no matches that are too short to tell apart. On 63,666 JSON records as small
    /// as level 6, in four fifths of its time.
    pub const TINY: Self = Self { level: 5, min_match: Some(6) };

    /// For lines of records without their digests: a twentieth smaller than at level 5. One level more makes them 1 % smaller in a fifth more time.
    pub const LINES: Self = Self::level(7);

    /// For what is read again once, soon, and then gone.
    pub const FLEETING: Self = Self::level(-4);

    /// One of zstd's levels.
    #[must_use]
    pub const fn level(level: i32) -> Self {
        Self { level, min_match: None }
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Option<(Effort, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    /// With checksums, for streams.
    static STREAMS: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// One zstd frame of `bytes`.
pub(super) fn compress(bytes: &[u8], effort: Effort) -> Result<Vec<u8>, CompressError> {
    let fail = |e: std::io::Error| CompressError(format!("zstd could not compress: {e}"));
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(e, _)| *e != effort) {
            let mut compressor = zstd::bulk::Compressor::new(effort.level).map_err(fail)?;
            if let Some(bytes) = effort.min_match {
                compressor.set_parameter(CParameter::MinMatch(bytes)).map_err(fail)?;
            }
            *slot = Some((effort, compressor));
        }
        slot.as_mut()
            .map_or_else(|| Err(CompressError("no compressor".to_owned())), |(_, c)| c.compress(bytes).map_err(fail))
    })
}

/// The content of one zstd frame, which must be exactly `len` bytes.
pub(super) fn decompress(frame: &[u8], len: usize) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::with_capacity(len);
    decompress_into(frame, len, &mut out)?;
    Ok(out)
}

/// The same into `out`, which is empty and has room for it.
pub(super) fn decompress_into(frame: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CompressError> {
    let fail = |e: std::io::Error| CompressError(format!("zstd could not decompress: {e}"));
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(zstd::bulk::Decompressor::new().map_err(fail)?);
        }
        let decompressor = slot.as_mut().ok_or_else(|| CompressError("no decompressor".to_owned()))?;
        let got = decompressor.decompress_to_buffer(frame, out).map_err(fail)?;
        if got != len {
            return Err(CompressError(format!("{got} bytes where {len} were expected")));
        }
        Ok(())
    })
}

/// The level at which tables of half the size, which stay in a core's own cache, save a twentieth of the time for a hundredth more bytes.
const SMALLER_TABLES: i32 = 3;

/// One zstd frame of `bytes` with a checksum, for whoever reads it by itself.
///
/// # Errors
/// If zstd refuses the level, or has no memory.
pub fn compress_frame(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    STREAMS.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(l, _)| *l != level) {
            let mut compressor = zstd::bulk::Compressor::new(level)?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            if level == SMALLER_TABLES {
                compressor.set_parameter(CParameter::HashLog(16))?;
                compressor.set_parameter(CParameter::ChainLog(15))?;
            }
            *slot = Some((level, compressor));
        }
        let (_, compressor) = slot.as_mut().ok_or_else(|| io::Error::other("no compressor"))?;
        compressor.compress(bytes)
    })
}

/// Plain bytes of a frame in a stream. A part of the format: another number gives other bytes.
const FRAME_BYTES: usize = 4 << 20;
/// The sort of skippable frame that a seek table has.
pub(super) const SEEK_TABLE: u32 = 0x184d_2a5e;
/// What a seek table ends with.
pub(super) const SEEKABLE: u32 = 0x8f92_eab1;
/// Each entry of the table has a checksum.
pub(super) const WITH_SUMS: u8 = 0x80;
/// Frames that readers of a seek table take.
const FRAMES_MAX: usize = 0x0800_0000;

/// A stream in the seekable format of zstd: frames of 4 MiB that do not need each other, compressed on several threads, and a table of them at the end, in a frame
/// that other readers pass over. Its bytes follow from its content, the level and the version of zstd; not from how many threads there are, nor from how it is written.
///
/// Dropped before [`Self::finish`], it lacks frames or at least the table; plain zstd notices the first alone.
pub struct SeekableWriter<W: Write> {
    parts: Parts<W, Frame>,
    table: Arc<Mutex<Vec<Frame>>>,
}

/// A line of the seek table.
#[derive(Debug, Clone, Copy)]
struct Frame {
    compressed: u32,
    plain: u32,
    /// The lower half of the content's XXH64, with which the frame ends.
    sum: [u8; 4],
}

impl<W: Write> std::fmt::Debug for SeekableWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeekableWriter")
    }
}

impl<W: Write> SeekableWriter<W> {
    /// Levels that may be asked for.
    pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;

    /// A stream that goes to `out`. `threads`: at least one, beside that which writes.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(out: W, level: i32, threads: usize) -> io::Result<Self> {
        // What high levels remember of a frame is tens of megabytes for each thread.
        let threads = threads.min(match level {
            ..10 => 16,
            10..16 => 8,
            _ => 4,
        });
        let table = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&table);
        let work = move |part: &Part| {
            let bytes = compress_frame(&part.bytes, level)?;
            let narrow = |len: usize| u32::try_from(len).map_err(io::Error::other);
            let sum = *bytes.last_chunk().ok_or_else(|| io::Error::other("a frame without a checksum"))?;
            let note = Frame { compressed: narrow(bytes.len())?, plain: narrow(part.bytes.len())?, sum };
            Ok(Made { bytes, note })
        };
        let taken = move |frame| filled.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        let sizes = Sizes { part: FRAME_BYTES, before: 0 };
        Ok(Self { parts: Parts::new(out, sizes, threads, work, taken)?, table })
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        let mut out = self.parts.finish()?;
        let table = std::mem::take(&mut *self.table.lock().unwrap_or_else(PoisonError::into_inner));
        let long = || io::Error::other("the stream is longer than a seek table can say");
        let frames = u32::try_from(table.len()).ok().filter(|_| table.len() <= FRAMES_MAX).ok_or_else(long)?;
        let len = frames.checked_mul(12).and_then(|len| len.checked_add(9)).ok_or_else(long)?;
        let mut bytes = Vec::with_capacity(table.len() * 12 + 17);
        bytes.extend_from_slice(&SEEK_TABLE.to_le_bytes());
        bytes.extend_from_slice(&len.to_le_bytes());
        for frame in table {
            bytes.extend_from_slice(&frame.compressed.to_le_bytes());
            bytes.extend_from_slice(&frame.plain.to_le_bytes());
            bytes.extend_from_slice(&frame.sum);
        }
        bytes.extend_from_slice(&frames.to_le_bytes());
        bytes.push(WITH_SUMS);
        bytes.extend_from_slice(&SEEKABLE.to_le_bytes());
        out.write_all(&bytes)?;
        Ok(out)
    }
}

impl<W: Write> Write for SeekableWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.parts.write(bytes)
    }

    /// Passes on what is compressed; what is not stays: an early end of a frame would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.parts.out().flush()
    }
}

/// A stream as one zstd frame with a checksum, compressed by whoever writes. Its bytes follow from its content, the level and the version of
/// zstd; not from how it is written. For readers that stop behind a frame.
///
/// Dropped before [`Self::finish`], the frame has no end, and whoever decompresses it is told.
pub struct FrameWriter<W: Write> {
    encoder: zstd::stream::write::Encoder<'static, W>,
}

impl<W: Write> std::fmt::Debug for FrameWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameWriter")
    }
}

impl<W: Write> FrameWriter<W> {
    /// A frame that goes to `out`.
    ///
    /// # Errors
    /// If zstd refuses the level, or has no memory.
    pub fn new(out: W, level: i32) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
        encoder.include_checksum(true)?;
        Ok(Self { encoder })
    }

    /// Ends the frame.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.encoder.finish()
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write(bytes)
    }

    /// Passes on what is compressed; what is not stays: an early end of a job would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.encoder.get_mut().flush()
    }
}

/// The content of a stream of zstd frames. Its window, and with it the memory, is bounded by zstd: 128 MiB.
pub struct FrameReader<R: BufRead> {
    decoder: zstd::stream::read::Decoder<'static, R>,
}

impl<R: BufRead> std::fmt::Debug for FrameReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameReader")
    }
}

impl<R: BufRead> FrameReader<R> {
    /// Reads from `from`.
    ///
    /// # Errors
    /// If zstd has no memory.
    pub fn new(from: R) -> io::Result<Self> {
        Ok(Self { decoder: zstd::stream::read::Decoder::with_buffer(from)? })
    }
}

impl<R: BufRead> Read for FrameReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| {
            // The frame is not damaged: its writer has looked back further than a reader without orders goes.
            let is_wide = error.to_string() == "Frame requires too much memory for decoding";
            if is_wide { io::Error::new(io::ErrorKind::OutOfMemory, error) } else { error }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compressible, and longer than a few frames.
    fn content() -> Vec<u8> {
        (0..3 * FRAME_BYTES as u64 / 8).flat_map(|i| (i % 4099 * (i >> 16)).to_le_bytes()).chain(*b"end").collect()
    }

    fn framed(content: &[u8], threads: usize, step: usize) -> Vec<u8> {
        let mut writer = SeekableWriter::new(Vec::new(), 3, threads).unwrap();
        for slice in content.chunks(step) {
            writer.write_all(slice).unwrap();
            writer.flush().unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn one_frame_has_the_same_bytes_however_it_is_written() {
        let content = content();
        let frame = |step: usize| {
            let mut writer = FrameWriter::new(Vec::new(), 3).unwrap();
            content.chunks(step).for_each(|slice| writer.write_all(slice).unwrap());
            writer.finish().unwrap()
        };
        let one = frame(1 << 20);
        assert!(one == frame(70_001) && read(&one).unwrap() == content);
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        FrameReader::new(bytes)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn a_window_that_is_too_wide_is_no_damage() {
        let frame = |window: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0, window, 4 << 3 | 1, 0, 0][..], b"text"].concat();
        assert_eq!(read(&frame(17 << 3)).unwrap(), b"text");
        assert_eq!(read(&frame(21 << 3)).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn bytes_follow_from_content_alone() {
        let content = content();
        let stream = framed(&content, 1, 1 << 20);
        assert!(stream.len() < content.len() / 2);
        assert!(read(&stream).unwrap() == content);
        assert!(stream == framed(&content, 4, 1 << 20), "threads change nothing");
        assert!(stream == framed(&content, 2, 70_001), "nor do the sizes of writes");
        for short in [&b""[..], b"x"] {
            assert_eq!(read(&framed(short, 2, 1)).unwrap(), short);
        }
    }

    /// As a reader at random places does it, from the end.
    #[test]
    fn the_table_tells_where_frames_are() {
        let content = content();
        let stream = framed(&content, 2, 1 << 20);
        let number = |at: usize| u32::from_le_bytes(stream[at..at + 4].try_into().unwrap());
        let end = stream.len();
        assert_eq!((number(end - 4), stream[end - 5]), (0x8f92_eab1, 0x80));
        let frames = number(end - 9) as usize;
        let table = end - 9 - 12 * frames;
        assert_eq!((frames, number(table - 8), number(table - 4) as usize), (4, 0x184d_2a5e, 12 * frames + 9));
        let (mut at, mut plain_at) = (0, 0);
        for frame in 0..frames {
            let (len, plain) = (number(table + 12 * frame) as usize, number(table + 12 * frame + 4) as usize);
            let own = &stream[at..at + len];
            assert!(read(own).unwrap() == content[plain_at..plain_at + plain], "frame {frame} stands by itself");
            assert_eq!(own[len - 4..], stream[table + 12 * frame + 8..][..4]);
            (at, plain_at) = (at + len, plain_at + plain);
        }
        assert_eq!((at, plain_at), (table - 8, content.len()));
    }

    #[test]
    fn what_is_cut_or_followed_by_something_is_noticed() {
        let stream = framed(&content(), 2, 1 << 20);
        for len in [stream.len() - 1, stream.len() - 30, stream.len() / 2, 3] {
            assert!(read(&stream[..len]).is_err(), "{len}");
        }
        assert!(read(&[&stream[..], b"rubbish"].concat()).is_err());
        assert!(read(&[&stream[..], &[0; 512]].concat()).is_err());
    }
}
