//! Streams in the seekable format of zstd, read past frames that are damaged: each stands by itself, and the table at the end tells where.

use std::io::{self, Read, Seek, SeekFrom};

use super::compress::{FrameReader, SEEK_TABLE, SEEKABLE, WITH_SUMS, decompress};

/// Plain bytes of a frame, at the most: others make longer ones than Larder.
const PLAIN_MAX: u32 = 64 << 20;
/// Bytes of the frame of the table without its entries: in front of them, and behind.
const FRONT: usize = 8;
const END: usize = 9;
/// Bytes of a damaged frame that are decoded at a time: with an error as many are lost.
const STEP: usize = 4 << 10;
/// What stands in place of a damaged frame: no header of a tar, nor the end of one.
const FILLING: u8 = 0xff;

/// The frames of a stream: bytes as they are stored, and plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames(Vec<(u32, u32)>);

impl Frames {
    /// Reads the table of a stream that is all of `from`, which then is at its beginning. Nothing if there is none, or one that does not fit.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(from: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let len = from.seek(SeekFrom::End(0))?;
        let found = Self::behind(from, len);
        from.rewind()?;
        found
    }

    fn behind(from: &mut (impl Read + Seek), len: u64) -> io::Result<Option<Self>> {
        let Some(at) = len.checked_sub(END as u64) else { return Ok(None) };
        let mut end = [0; END];
        from.seek(SeekFrom::Start(at))?;
        from.read_exact(&mut end)?;
        let size: usize = if end[4] & WITH_SUMS == 0 { 8 } else { 12 };
        let entries = u64::from(u32_at(&end, 0)) * size as u64;
        let start = at.checked_sub(entries + FRONT as u64);
        let Some(start) = start.filter(|_| u32_at(&end, 5) == SEEKABLE && end[4] & !WITH_SUMS & !3 == 0) else {
            return Ok(None);
        };
        let mut table = vec![0; usize::try_from(at - start).unwrap_or(0)];
        from.seek(SeekFrom::Start(start))?;
        from.read_exact(&mut table)?;
        let frames = table[FRONT..].chunks_exact(size);
        let frames: Vec<_> = frames.map(|entry| (u32_at(entry, 0), u32_at(entry, 4))).collect();
        let stored: u64 = frames.iter().map(|(stored, _)| u64::from(*stored)).sum();
        let fits = u32_at(&table, 0) == SEEK_TABLE && u64::from(u32_at(&table, 4)) == entries + END as u64;
        let are_short = frames.iter().all(|(stored, plain)| *plain <= PLAIN_MAX && *stored <= PLAIN_MAX * 2);
        Ok((fits && are_short && stored == start).then_some(Self(frames)))
    }
}

impl Frames {
    /// Bytes that are in all of them.
    #[must_use]
    pub fn plain(&self) -> u64 {
        self.0.iter().map(|(_, plain)| u64::from(*plain)).sum()
    }
}

/// What of a damaged frame can be decoded: up to the damage, or past it if the sum alone tells of it.
fn decode_partly(frame: &[u8], len: usize) -> Vec<u8> {
    let (mut plain, mut step) = (Vec::new(), [0; STEP]);
    let Ok(mut reader) = FrameReader::new(frame) else { return plain };
    while plain.len() < len {
        match reader.read(&mut step) {
            Ok(read) if read > 0 => plain.extend_from_slice(&step[..read]),
            _ => break,
        }
    }
    plain.truncate(len);
    plain
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// What is in the frames of a stream; in place of what cannot be decoded of one that is damaged so many bytes of one sort.
pub struct FramesReader<R, F> {
    from: R,
    frames: std::vec::IntoIter<(u32, u32)>,
    plain: Vec<u8>,
    at: usize,
    lost: F,
}

impl<R, F> std::fmt::Debug for FramesReader<R, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FramesReader")
    }
}

impl<R: Read, F: FnMut(u64)> FramesReader<R, F> {
    /// From the first frame on. `lost` is told of each damaged one how many bytes were in it.
    pub fn new(from: R, frames: Frames, lost: F) -> Self {
        Self { from, frames: frames.0.into_iter(), plain: Vec::new(), at: 0, lost }
    }
}

impl<R: Read, F: FnMut(u64)> Read for FramesReader<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            let Some((stored, plain)) = self.frames.next() else { return Ok(0) };
            let mut frame = vec![0; usize::try_from(stored).unwrap_or(0)];
            self.from.read_exact(&mut frame)?;
            let len = usize::try_from(plain).unwrap_or(0);
            self.plain = decompress(&frame, len).unwrap_or_else(|_| {
                (self.lost)(u64::from(plain));
                let mut found = decode_partly(&frame, len);
                found.resize(len, FILLING);
                found
            });
            self.at = 0;
        }
        let len = buffer.len().min(self.plain.len() - self.at);
        buffer[..len].copy_from_slice(&self.plain[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::super::SeekableWriter;
    use super::*;

    const FRAME: usize = 4 << 20;

    #[test]
    fn what_is_not_damaged_is_read() {
        let content: Vec<u8> =
            (0..FRAME as u64 / 4).flat_map(|i| (i % 4099 * (i >> 16)).to_le_bytes()).chain(*b"end").collect();
        let mut writer = SeekableWriter::new(Vec::new(), 3, 1).unwrap();
        writer.write_all(&content).unwrap();
        let whole = writer.finish().unwrap();
        let frames = Frames::of(&mut Cursor::new(&whole)).unwrap().unwrap();
        assert_eq!(frames.0.iter().map(|(_, plain)| *plain).collect::<Vec<_>>(), [4 << 20, 4 << 20, 3]);
        let read = |bytes: &[u8]| {
            let (mut found, mut lost) = (Vec::new(), 0);
            let mut from = Cursor::new(bytes);
            let frames = Frames::of(&mut from).unwrap().unwrap();
            FramesReader::new(from, frames, |len| lost += len).read_to_end(&mut found).unwrap();
            (found, lost)
        };
        assert!(read(&whole) == (content.clone(), 0));
        let mut hurt = whole.clone();
        hurt[frames.0[0].0 as usize / 2] ^= 0x55;
        let (found, lost) = read(&hurt);
        assert!(found[FRAME..] == content[FRAME..] && found.len() == content.len());
        let same = found.iter().zip(&content).take_while(|(a, b)| a == b).count();
        assert!((FRAME / 8..FRAME).contains(&same), "what stands in front of the damage is read: {same}");
        assert_eq!(lost, FRAME as u64);
        // Without its mark nothing of it can be decoded.
        hurt[0] ^= 0x55;
        let (found, _) = read(&hurt);
        assert!(found[..FRAME].iter().all(|b| *b == FILLING) && found[FRAME..] == content[FRAME..]);
        // A table that does not fit is none.
        for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
            assert_eq!(Frames::of(&mut Cursor::new(&whole[..cut])).unwrap(), None);
        }
        for at in whole.len() - 45..whole.len() {
            let mut hurt = whole.clone();
            hurt[at] ^= 0x80;
            // But for the sums, which each frame has too.
            if let Some(frames) = Frames::of(&mut Cursor::new(&hurt)).unwrap() {
                assert_eq!(frames.0.len(), 3, "{at}");
            }
        }
    }
}
