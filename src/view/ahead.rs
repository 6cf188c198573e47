//! Decoding ahead of whoever reads on, on other threads, into the store's cache of blocks.
//!
//! Two readers are known by their traces. One goes through a long file: what comes next is in the file's chunk list. The other
//! walks a tree and reads small files: captured in the same order, they stand in blocks with growing numbers. Both are bounded
//! in how far they go, and all together in how much they do at a time; a wrong guess costs a few decoded blocks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;

use crate::model::FileBody;
use crate::tree::{ContentPiece, pieces_at};

use super::{NodeId, View};

/// Files of at most this size are taken for pieces of a walk.
const SMALL: u64 = 1 << 20;
/// How far ahead of a sequential reader is decoded at the most.
const WINDOW: u64 = 8 << 20;
/// Requests of one reader overtake each other by this much.
const SLACK: u64 = 4 << 20;
/// Blocks decoded ahead of a walk.
const BLOCKS: u64 = 4;
/// Files whose readers are watched.
const STREAMS: usize = 256;
/// Walks that are watched.
const WALKS: usize = 8;
/// Blocks that may wait to be decoded.
const WAITING: usize = 64;

/// A sequential reader of a file.
#[derive(Debug, Default)]
struct Stream {
    /// Behind the last byte read.
    next: u64,
    /// Bytes read in order.
    run: u64,
    /// Behind the last byte asked for ahead.
    ahead: u64,
}

/// A walk over small files.
#[derive(Debug, Clone, Copy, Default)]
struct WalkTrace {
    last: u64,
    ahead: u64,
}

/// What is known about readers.
pub(super) struct Ahead {
    streams: Cache<NodeId, Arc<Mutex<Stream>>>,
    walks: Mutex<Vec<WalkTrace>>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { streams: Cache::new(STREAMS), walks: Mutex::default(), waiting: Arc::default() }
    }
}

impl Stream {
    /// Notes a read; gives the range that should be decoded ahead.
    fn note(&mut self, offset: u64, len: u64, size: u64) -> Option<(u64, u64)> {
        let end = offset + len;
        if offset > self.next + SLACK || end + SLACK < self.next {
            *self = Self { next: end, run: 0, ahead: end };
            return None;
        }
        self.next = self.next.max(end);
        self.run += len;
        let from = self.ahead.max(self.next);
        let to = self.next.saturating_add((self.run * 2).clamp(SMALL, WINDOW)).min(size);
        // In steps, so that not each read starts a search; the last one may be short.
        if to < from + SMALL / 2 && to < size || to <= from {
            return None;
        }
        self.ahead = to;
        Some((from, to))
    }
}

impl WalkTrace {
    /// True if a block with this number is the next step of this walk, or the one it stands at.
    fn fits(&self, block: u64) -> bool {
        (self.last..=self.last + BLOCKS).contains(&block)
    }
}

impl View {
    /// Notes a read of a file and decodes ahead if it is one of a sequence.
    pub(super) fn follow(&self, id: NodeId, file: &FileBody, offset: u64, len: u64) {
        if file.size <= SMALL {
            return;
        }
        let stream = self.inner.ahead.streams.get_or_insert_with(&id, || Ok::<_, ()>(Arc::default()));
        let Ok(stream) = stream else { return };
        let range = stream.lock().unwrap_or_else(PoisonError::into_inner).note(offset, len, file.size);
        let Some((from, to)) = range else { return };
        let (view, file) = (self.clone(), file.clone());
        rayon::spawn_fifo(move || view.decode_range(&file, from, to));
    }

    /// Decodes the blocks of a range of a file. What is damaged is told when it is read.
    fn decode_range(&self, file: &FileBody, from: u64, to: u64) {
        let Ok(mut pieces) = pieces_at(self.pages(), file, from) else { return };
        let (mut at, mut last) = (from, None);
        while at < to {
            let Ok(Some(piece)) = pieces.next() else { return };
            at += piece.len();
            if let ContentPiece::Data { chunk, .. } = piece {
                let block = self.store().chunk_block(&chunk.id).unwrap_or_default();
                if let Some(block) = block.filter(|block| last != Some(*block)) {
                    last = Some(block);
                    self.warm(block);
                }
            }
        }
    }

    /// Notes that a chunk of a small file was read from a block and decodes the next blocks if there is a walk.
    pub(super) fn touch(&self, file: &FileBody, block: u64) {
        if file.size > SMALL {
            return;
        }
        let wanted = {
            let mut walks = self.inner.ahead.walks.lock().unwrap_or_else(PoisonError::into_inner);
            next_blocks(&mut walks, block)
        };
        for block in wanted {
            self.warm(block);
        }
    }

    fn warm(&self, block: u64) {
        let waiting = self.inner.ahead.waiting.clone();
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let store = self.store().clone();
        rayon::spawn_fifo(move || {
            store.warm(block);
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The blocks to decode now that one was touched.
fn next_blocks(walks: &mut Vec<WalkTrace>, block: u64) -> std::ops::Range<u64> {
    let Some(at) = walks.iter().position(|walk| walk.fits(block)) else {
        if walks.len() == WALKS {
            walks.remove(0);
        }
        walks.push(WalkTrace { last: block, ahead: block });
        return 0..0;
    };
    let mut walk = walks[at];
    if block == walk.last {
        return 0..0;
    }
    walk.last = block;
    let wanted = walk.ahead.max(block) + 1..block + BLOCKS + 1;
    walk.ahead = block + BLOCKS;
    // The walk used last stands at the end.
    walks.remove(at);
    walks.push(walk);
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_followed_and_a_jump_is_not() {
        let (mib, size) = (1 << 20, 100 << 20);
        let mut stream = Stream::default();
        assert_eq!(stream.note(0, mib, size), Some((mib, 3 * mib)));
        assert_eq!(stream.note(mib, mib, size), Some((3 * mib, 6 * mib)));
        assert_eq!(stream.note(50 * mib, 4096, size), None);
        assert_eq!(stream.note(20 * mib, 4096, size), None);
        let mut last = Stream { next: size - 2 * mib, run: size, ahead: size - mib };
        assert_eq!(last.note(size - 2 * mib, mib, size), Some((size - mib, size)));
        assert_eq!(last.note(size - mib, mib, size), None);
    }

    #[test]
    fn a_walk_is_followed_and_each_block_asked_for_once() {
        let mut walks = Vec::new();
        assert!(next_blocks(&mut walks, 10).is_empty());
        assert!(next_blocks(&mut walks, 10).is_empty());
        assert_eq!(next_blocks(&mut walks, 11), 12..16);
        assert_eq!(next_blocks(&mut walks, 12), 16..17);
        assert!(next_blocks(&mut walks, 900).is_empty());
        assert_eq!(next_blocks(&mut walks, 13), 17..18);
        for block in 0..100 {
            next_blocks(&mut walks, block * 50);
        }
        assert_eq!(walks.len(), WALKS);
    }
}
