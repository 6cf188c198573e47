//! The one door to zstd.

use std::cell::RefCell;
use std::io::{self, BufRead, Read, Write};

use zstd::stream::raw::CParameter;

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

    /// One of zstd's levels.
    #[must_use]
    pub const fn level(level: i32) -> Self {
        Self { level, min_match: None }
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Option<(Effort, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
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

/// Input that one thread compresses at a time. A part of the format: another number gives other bytes.
const JOB_BYTES: u32 = 4 << 20;
/// How much of the job before a job looks back on: an eighth of the window.
const JOB_OVERLAP: u32 = 6;

/// A stream as one zstd frame with a checksum, compressed on several threads. Its bytes follow from its content, the level and
/// the version of zstd; not from how many threads there are, nor from how it is written.
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
    /// Levels that may be asked for.
    pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;

    /// A frame that goes to `out`. `threads`: at least one, beside that which writes.
    ///
    /// # Errors
    /// If zstd refuses the level, or has no memory.
    pub fn new(out: W, level: i32, threads: u32) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
        encoder.include_checksum(true)?;
        // Without a thread of its own zstd cuts jobs differently.
        encoder.multithread(threads.max(1))?;
        encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
        encoder.set_parameter(CParameter::OverlapSizeLog(JOB_OVERLAP))?;
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
        self.decoder.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compressible, and longer than a few jobs.
    fn content() -> Vec<u8> {
        (0..u64::from(3 * JOB_BYTES) / 8).flat_map(|i| (i % 4099 * (i >> 16)).to_le_bytes()).chain(*b"end").collect()
    }

    fn framed(content: &[u8], threads: u32, step: usize) -> Vec<u8> {
        let mut writer = FrameWriter::new(Vec::new(), 3, threads).unwrap();
        for slice in content.chunks(step) {
            writer.write_all(slice).unwrap();
            writer.flush().unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn bytes_follow_from_content_alone() {
        let content = content();
        let frame = framed(&content, 1, 1 << 20);
        assert!(frame.len() < content.len() / 2);
        assert_eq!(zstd::stream::decode_all(&frame[..]).unwrap(), content);
        assert!(frame == framed(&content, 4, 1 << 20), "threads change nothing");
        assert!(frame == framed(&content, 2, 70_001), "nor do the sizes of writes");
        assert_eq!(zstd::stream::decode_all(&framed(&[], 2, 1)[..]).unwrap(), b"");
    }

    #[test]
    fn a_frame_without_its_end_is_noticed() {
        let frame = framed(&content(), 2, 1 << 20);
        assert!(zstd::stream::decode_all(&frame[..frame.len() - 1]).is_err());
    }
}
