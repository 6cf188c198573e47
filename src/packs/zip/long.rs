//! Content that comes in parts: compressed in blocks of one size, wherever the parts end.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::codec::{Crc32, DEFLATE_WINDOW, FrameWriter, deflate_part};
use crate::packs::PackError;

use super::Method;
use super::headers::Written;

/// Plain bytes that are deflated at a time. A part of the form of compressed zips.
const BLOCK: usize = 1 << 20;
/// Blocks that are gathered before they are deflated side by side.
const BLOCKS: usize = 16;

/// Where compressed bytes go.
pub(super) type Give<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), PackError>;

/// A content on its way.
pub(super) struct Long {
    way: Way,
    crc: Crc32,
    pub(super) size: u64,
    compressed: u64,
}

enum Way {
    Stored,
    Deflate(Deflate),
    Zstd(Box<FrameWriter<Shared>>, Shared),
}

struct Deflate {
    level: u32,
    /// The end of what was deflated before.
    before: Vec<u8>,
    blocks: Vec<Vec<u8>>,
}

/// What a compressor has written, to be taken by who drives it.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Long {
    pub(super) fn new(method: Method) -> Result<Self, PackError> {
        let way = match method {
            Method::Stored => Way::Stored,
            Method::Deflate(level) => Way::Deflate(Deflate { level, before: Vec::new(), blocks: Vec::new() }),
            Method::Zstd(level) => {
                let shared = Shared::default();
                let threads = u32::try_from(rayon::current_num_threads().clamp(1, 16)).unwrap_or(1);
                let frame = FrameWriter::new(shared.clone(), level, threads).map_err(PackError::Write)?;
                Way::Zstd(Box::new(frame), shared)
            }
        };
        Ok(Self { way, crc: Crc32::default(), size: 0, compressed: 0 })
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], give: Give) -> Result<(), PackError> {
        self.crc.update(bytes);
        self.size += bytes.len() as u64;
        let compressed = &mut self.compressed;
        let mut give = |bytes: &[u8]| {
            *compressed += bytes.len() as u64;
            give(bytes)
        };
        match &mut self.way {
            Way::Stored => give(bytes),
            Way::Deflate(deflate) => deflate.data(bytes, &mut give),
            Way::Zstd(frame, shared) => {
                frame.write_all(bytes).map_err(PackError::Write)?;
                let ready = std::mem::take(&mut *shared.0.borrow_mut());
                give(&ready)
            }
        }
    }

    /// All bytes have come.
    pub(super) fn finish(mut self, give: Give) -> Result<Written, PackError> {
        let compressed = &mut self.compressed;
        let mut give = |bytes: &[u8]| {
            *compressed += bytes.len() as u64;
            give(bytes)
        };
        match self.way {
            Way::Stored => {}
            Way::Deflate(mut deflate) => deflate.run(true, &mut give)?,
            Way::Zstd(frame, shared) => {
                frame.finish().map_err(PackError::Write)?;
                let ready = std::mem::take(&mut *shared.0.borrow_mut());
                give(&ready)?;
            }
        }
        Ok(Written { crc: self.crc.finish(), compressed: self.compressed })
    }
}

impl Deflate {
    fn data(&mut self, mut bytes: &[u8], give: Give) -> Result<(), PackError> {
        while !bytes.is_empty() {
            if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
                // Only of what comes behind it is known that a block is not the last.
                if self.blocks.len() == BLOCKS {
                    self.run(false, give)?;
                }
                self.blocks.push(Vec::with_capacity(BLOCK));
            }
            let Some(block) = self.blocks.last_mut() else { break };
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Deflates the blocks that were gathered, side by side.
    fn run(&mut self, is_last: bool, give: Give) -> Result<(), PackError> {
        if self.blocks.is_empty() {
            self.blocks.push(Vec::new());
        }
        let blocks = std::mem::take(&mut self.blocks);
        let end = blocks.len() - 1;
        let deflated: Vec<_> = blocks
            .par_iter()
            .enumerate()
            .map(|(at, block)| {
                let before = if at == 0 { &self.before[..] } else { &blocks[at - 1][BLOCK - DEFLATE_WINDOW..] };
                deflate_part(before, block, self.level, is_last && at == end)
            })
            .collect();
        self.before = blocks[end][blocks[end].len().saturating_sub(DEFLATE_WINDOW)..].to_vec();
        deflated.into_iter().try_for_each(|bytes| give(&bytes.map_err(PackError::Write)?))
    }
}
