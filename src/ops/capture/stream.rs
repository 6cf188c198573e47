//! Long content: read and cut on this thread, hashed, compressed and sealed by rayon tasks.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::archives::{Content, HOLE_MAX, Part};
use crate::codec::ContentHash;
use crate::model::{Chunks, Extent, FileBody, Holes};
use crate::ops::source;

use super::CaptureError;
use super::group::{Piece, Reading, finish_sum};
use super::lists::{ChunkLister, keep_holes};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// Pieces whose chunks are waited for at most.
const PIECES_AHEAD: usize = 64;

/// A file of the host, its holes left out.
pub(super) struct FromFile<'a> {
    file: &'a OwnedFd,
    holes: VecDeque<Extent>,
    at: u64,
    size: u64,
    /// Why reading stopped, if it did.
    pub(super) failed: Option<rustix::io::Errno>,
}

impl<'a> FromFile<'a> {
    pub(super) fn new(file: &'a OwnedFd, size: u64) -> Self {
        Self { file, holes: source::holes(file.as_fd(), size).into(), at: 0, size, failed: None }
    }
}

impl Content for FromFile<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        if self.at >= self.size {
            return Ok(Part::End);
        }
        if let Some(hole) = self.holes.front().filter(|h| h.offset <= self.at) {
            let end = hole.offset + hole.len;
            let len = (end - self.at).min(HOLE_MAX);
            self.at += len;
            self.holes.pop_front_if(|_| self.at == end);
            return Ok(Part::Hole(len));
        }
        let room = self.holes.front().map_or(self.size, |h| h.offset) - self.at;
        let want = READ_BYTES.min(usize::try_from(room).unwrap_or(usize::MAX));
        match source::append_at(self.file.as_fd(), buffer, want, self.at) {
            // It became shorter meanwhile.
            Ok(0) => {
                self.at = self.size;
                Ok(Part::End)
            }
            Ok(n) => {
                self.at += n as u64;
                Ok(Part::Data)
            }
            Err(e) => {
                self.failed = Some(e);
                Ok(Part::End)
            }
        }
    }
}

impl Reading<'_, '_> {
    /// Stores long content and tells what it is.
    pub(super) fn stream(&mut self, content: &mut dyn Content) -> Result<FileBody, CaptureError> {
        let writer = self.pipeline.writer;
        let mut chunks = ChunkLister::new(writer);
        let mut under_way: VecDeque<Piece> = VecDeque::new();
        let (mut holes, mut sum) = (Vec::<Extent>::new(), ContentHash::default());
        let (mut buffer, mut at) = (Vec::with_capacity(READ_BYTES * 4), 0u64);
        let mut ended = false;
        while !ended {
            if self.pipeline.setting.progress.cancelled() {
                return Err(CaptureError::Interrupted);
            }
            let start = buffer.len();
            let part = match content.next(&mut buffer) {
                // What gives the stream was stopped together with us.
                Err(_) if self.pipeline.setting.progress.cancelled() => return Err(CaptureError::Interrupted),
                part => part.map_err(CaptureError::Content)?,
            };
            let got = buffer.len() - start;
            sum.update(&buffer[start..]);
            at += got as u64;
            match part {
                Part::Data => {}
                Part::Hole(0) => {}
                Part::Hole(len) => {
                    sum.zeros(len);
                    match holes.last_mut() {
                        Some(last) if last.offset + last.len == at => last.len += len,
                        _ => holes.push(Extent { offset: at, len }),
                    }
                    at = at.checked_add(len).ok_or_else(|| io::Error::other("it is longer than a file can be"))?;
                }
                Part::End => ended = true,
            }
            self.cut_pieces(&mut buffer, ended, &mut under_way)?;
            while under_way.len() > if ended { 0 } else { PIECES_AHEAD } {
                take_front(&mut under_way, &mut chunks)?;
            }
        }
        let (crc32, content) = finish_sum(sum);
        let holes = keep_holes(writer, holes)?;
        let mut chunks = chunks.finish()?;
        // One chunk that is the whole content needs no list.
        if holes == Holes::None && matches!(&chunks, Chunks::List(list) if list.len() == 1) {
            chunks = Chunks::Whole;
        }
        Ok(FileBody { size: at, crc32, content, chunks, holes })
    }

    /// Cuts as many chunks as can be told from the buffer and sends full pieces on their way.
    fn cut_pieces(
        &self,
        buffer: &mut Vec<u8>,
        ended: bool,
        under_way: &mut VecDeque<Piece>,
    ) -> Result<(), CaptureError> {
        let piece_bytes = self.pipeline.setting.options.block_size;
        loop {
            let (mut end, mut lens) = (0, Vec::new());
            while end < piece_bytes {
                let rest = &buffer[end..];
                if rest.is_empty() || (!ended && rest.len() < self.cutter.max()) {
                    break;
                }
                let len = self.cutter.next(&rest[..rest.len().min(self.cutter.max())]);
                lens.push(u32::try_from(len).unwrap_or(u32::MAX));
                end += len;
            }
            if end == 0 || (end < piece_bytes && !ended) {
                return Ok(());
            }
            let rest = buffer.split_off(end);
            let piece = std::mem::replace(buffer, rest);
            under_way.push_back(self.spawn_piece(piece, lens)?);
        }
    }
}

fn take_front(under_way: &mut VecDeque<Piece>, chunks: &mut ChunkLister) -> Result<(), CaptureError> {
    let Some(front) = under_way.pop_front() else { return Ok(()) };
    let list = front.recv().map_err(|_| CaptureError::Died("a reader"))?;
    list?.into_iter().try_for_each(|chunk| chunks.push(chunk))?;
    Ok(())
}
