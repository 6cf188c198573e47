//! The one door to deflate and gzip.

use std::cell::RefCell;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Compress, Compression, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::parts::{Made, Part, Parts, Sizes};

/// Input that one thread deflates at a time. A part of the format: another number gives other bytes.
const PART_BYTES: usize = 1 << 20;
/// How far deflate looks back.
pub const DEFLATE_WINDOW: usize = 32 << 10;

/// Deflates a part of a stream by itself (raw: nothing in front or behind). `before` is what stands in front of it in the stream, of which the
/// last 32 KiB count. The parts joined are one deflate stream: each but the last ends with an empty stored block, at a byte's end.
///
/// # Errors
/// If the library refuses.
pub fn deflate_part(before: &[u8], bytes: &[u8], level: u32, last: bool) -> io::Result<Vec<u8>> {
    // Made anew each time: one that was reset gives now and then other bytes, depending on what it had before. It costs no more.
    let mut deflate = Compress::new(Compression::new(level), false);
    if !before.is_empty() {
        let start = before.len().saturating_sub(DEFLATE_WINDOW);
        deflate.set_dictionary(&before[start..]).map_err(io::Error::other)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    // Stored blocks make it longer by five bytes in some thousands.
    let mut out = Vec::with_capacity(bytes.len() / 2 + bytes.len() / 1000 + 64);
    loop {
        let done = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        let status = deflate.compress_vec(bytes.get(done..).unwrap_or_default(), &mut out, flush)?;
        match status {
            Status::StreamEnd => return Ok(out),
            // With room left all is flushed.
            _ if !last && deflate.total_in() == bytes.len() as u64 && out.len() < out.capacity() => return Ok(out),
            _ => out.reserve(bytes.len() / 2 + 64),
        }
    }
}

thread_local! {
    /// The last compressor of this thread, its level, and where it writes: to make them costs more than to deflate a short file.
    static WHOLE: RefCell<Option<(u32, Compressor, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Deflates bytes as a stream of their own (raw: nothing in front or behind), in one go. `level`: one of [`GzipWriter::LEVELS`]. The result follows from
/// these alone.
///
/// # Errors
/// If there is no such level.
pub fn deflate_whole(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    WHOLE.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(last, ..)| *last != level) {
            let known = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
            let known = known.ok_or_else(|| io::Error::other("no such level of deflate"))?;
            *slot = Some((level, Compressor::new(known), Vec::new()));
        }
        let (_, compressor, out) = slot.as_mut().ok_or_else(|| io::Error::other("no compressor"))?;
        let bound = compressor.deflate_compress_bound(bytes.len());
        if out.len() < bound {
            out.resize(bound, 0);
        }
        let len = compressor.deflate_compress(bytes, out).map_err(io::Error::other)?;
        Ok(out[..len].to_vec())
    })
}

/// A stream as one gzip member, deflated on several threads, without name and time. Its bytes follow from its content, the level and the version of the
/// library; not from how many threads there are, nor from how it is written.
///
/// One member, not one for each part: readers that stop behind the first one are many.
///
/// Dropped before [`Self::finish`], the member has no end, and whoever reads it is told.
pub struct GzipWriter<W: Write> {
    parts: Parts<W, Sum>,
    sum: Arc<Mutex<Sum>>,
}

impl<W: Write> std::fmt::Debug for GzipWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GzipWriter")
    }
}

/// CRC-32 and length of what a part holds.
type Sum = flate2::Crc;

impl<W: Write> GzipWriter<W> {
    /// Levels that may be asked for.
    pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=9;
    /// A sixth less work than the 6 that gzip uses, for half a percent more bytes (Linux sources).
    pub const DEFAULT_LEVEL: i32 = 5;

    /// A member that goes to `out`. `threads`: at least one, beside that which writes.
    ///
    /// # Errors
    /// If its head cannot be written, or a thread cannot be started.
    pub fn new(mut out: W, level: i32, threads: usize) -> io::Result<Self> {
        let level = u32::try_from(level.clamp(1, 9)).unwrap_or(6);
        let effort = match level {
            1 => 4,
            9 => 2,
            _ => 0,
        };
        // Magic, deflate, no flags, no time, effort, Unix.
        out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 3])?;
        let sum = Arc::new(Mutex::new(Sum::new()));
        let total = Arc::clone(&sum);
        let work = move |part: &Part| {
            let bytes = deflate_part(&part.before, &part.bytes, level, part.last)?;
            let mut note = Sum::new();
            note.update(&part.bytes);
            Ok(Made { bytes, note })
        };
        let taken = move |note| total.lock().unwrap_or_else(PoisonError::into_inner).combine(&note);
        let sizes = Sizes { part: PART_BYTES, before: DEFLATE_WINDOW };
        Ok(Self { parts: Parts::new(out, sizes, threads, work, taken)?, sum })
    }

    /// Ends the member.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        let mut out = self.parts.finish()?;
        let sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&sum.sum().to_le_bytes())?;
        out.write_all(&sum.amount().to_le_bytes())?;
        Ok(out)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.parts.write(bytes)
    }

    /// Passes on what is deflated; what is not stays: an early end of a part would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.parts.out().flush()
    }
}

/// The content of a gzip stream: one member or several. Its checksums are compared; behind the last member there may be zeros (tapes fill their
/// blocks with them), and nothing else.
pub struct GzipReader<R: BufRead> {
    /// Absent once all was read.
    member: Option<flate2::bufread::GzDecoder<R>>,
}

impl<R: BufRead> std::fmt::Debug for GzipReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GzipReader")
    }
}

impl<R: BufRead> GzipReader<R> {
    /// Reads from `from`.
    pub fn new(from: R) -> Self {
        Self { member: Some(flate2::bufread::GzDecoder::new(from)) }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let len = member.read(buffer)?;
            if len > 0 {
                return Ok(len);
            }
            let Some(mut from) = self.member.take().map(flate2::bufread::GzDecoder::into_inner) else { break };
            match from.fill_buf()? {
                [] => {}
                [0, ..] => pass_zeros(from)?,
                _ => self.member = Some(flate2::bufread::GzDecoder::new(from)),
            }
        }
        Ok(0)
    }
}

fn pass_zeros(mut from: impl BufRead) -> io::Result<()> {
    loop {
        let bytes = from.fill_buf()?;
        if bytes.iter().any(|b| *b != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "something else follows the gzip stream"));
        }
        match bytes.len() {
            0 => return Ok(()),
            len => from.consume(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compressible, and longer than a few parts.
    fn content() -> Vec<u8> {
        (0..3 * PART_BYTES as u64 / 8).flat_map(|i| (i % 4099 * (i >> 14)).to_le_bytes()).chain(*b"end").collect()
    }

    fn packed(content: &[u8], threads: usize, step: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), 5, threads).unwrap();
        for slice in content.chunks(step) {
            writer.write_all(slice).unwrap();
            writer.flush().unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        GzipReader::new(bytes).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn what_is_deflated_in_one_go_follows_from_content_and_level_alone() {
        let content = content();
        let pieces: Vec<_> = [0, 1, 100, 70_000, 1 << 20].map(|len| &content[content.len() - len..]).to_vec();
        for level in [1, 5, 9] {
            let first: Vec<_> = pieces.iter().map(|piece| deflate_whole(piece, level).unwrap()).collect();
            // A thread of its own has a compressor that has seen nothing.
            let fresh = std::thread::scope(|scope| {
                let alone = |piece| scope.spawn(move || deflate_whole(piece, level).unwrap()).join().unwrap();
                pieces.iter().map(|piece| alone(*piece)).collect::<Vec<_>>()
            });
            assert!(first == fresh, "level {level}");
            for (piece, made) in pieces.iter().zip(first) {
                let mut plain = Vec::new();
                flate2::bufread::DeflateDecoder::new(&made[..]).read_to_end(&mut plain).unwrap();
                assert!(&plain == piece, "level {level}, {} bytes", piece.len());
            }
        }
        assert!(deflate_whole(b"x", 13).is_err());
    }

    #[test]
    fn bytes_follow_from_content_alone() {
        let content = content();
        let member = packed(&content, 1, 1 << 20);
        assert!(member.len() < content.len() / 2);
        assert_eq!(read(&member).unwrap(), content);
        assert!(member == packed(&content, 4, 1 << 20), "threads change nothing");
        assert!(member == packed(&content, 2, 70_001), "nor do the sizes of writes");
        for short in [&b""[..], b"x"] {
            assert_eq!(read(&packed(short, 2, 1)).unwrap(), short);
        }
        let whole = content[..2 * PART_BYTES].to_vec();
        assert_eq!(read(&packed(&whole, 2, 4096)).unwrap(), whole);
    }

    #[test]
    fn incompressible_parts_are_stored() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).to_le_bytes()[0]
        };
        let content: Vec<u8> = (0..PART_BYTES + 9).map(|_| next()).collect();
        let member = packed(&content, 2, 1 << 16);
        assert!(member.len() < content.len() + content.len() / 1000 + 64);
        assert_eq!(read(&member).unwrap(), content);
    }

    #[test]
    fn members_follow_each_other_and_zeros_the_last() {
        let member = packed(b"abc", 1, 3);
        let cases: [(&[u8], Option<&[u8]>); 7] = [
            (&[&member[..], &member].concat(), Some(b"abcabc")),
            (&[&member[..], &[0; 700]].concat(), Some(b"abc")),
            (&[&member[..], &[0; 5], &member].concat(), None),
            (&[&member[..], b"rubbish"].concat(), None),
            (&[&member[..], &member[..4]].concat(), None),
            (&member[..member.len() - 1], None),
            (&[], None),
        ];
        for (at, (bytes, wanted)) in cases.into_iter().enumerate() {
            assert_eq!(read(bytes).ok().as_deref(), wanted, "{at}");
        }
        for at in [0, 10, member.len() - 8, member.len() - 1] {
            let mut bad = member.clone();
            bad[at] ^= 4;
            assert!(read(&bad).is_err(), "{at}");
        }
    }

    /// Whatever was deflated before on the same thread.
    #[test]
    fn a_part_is_the_same_bytes_each_time() {
        let content = content();
        let (before, part) = content[..2 << 20].split_at(1 << 20);
        for level in [1, 2, 5, 6, 9] {
            let first = deflate_part(before, part, level, false).unwrap();
            deflate_part(b"", &content, level, true).unwrap();
            assert!(deflate_part(before, part, level, false).unwrap() == first, "{level}");
        }
    }
}
