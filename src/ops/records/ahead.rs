//! Groups of lines in the order in which they are wanted, their blocks decoded ahead by rayon's threads.

use std::collections::VecDeque;
use std::ops::Range;

use crate::model::ChunkId;
use crate::store::{Item, Store, StoreError};

/// Blocks that are decoded or waited for at a time.
const BLOCKS: usize = 3;

/// A line of groups of which the first is wanted next.
#[derive(Debug)]
pub(super) struct Ahead {
    store: Store,
    waiting: VecDeque<(ChunkId, Range<usize>, Option<u64>)>,
    /// Blocks that those waiting are in: each run of groups of one block counts.
    blocks: usize,
}

impl Ahead {
    pub(super) fn new(store: &Store) -> Self {
        Self { store: store.clone(), waiting: VecDeque::new(), blocks: 0 }
    }

    /// True if more should be told before the next is taken.
    pub(super) fn has_room(&self) -> bool {
        self.blocks <= BLOCKS
    }

    /// Tells what is wanted behind the others: these bytes of a chunk.
    pub(super) fn push(&mut self, chunk: ChunkId, range: Range<usize>) {
        // What cannot be found is told when it is taken.
        let block = self.store.chunk_block(&chunk).ok().flatten();
        self.push_of(block, chunk, range);
    }

    /// The same where the chunk's block is known.
    pub(super) fn push_of(&mut self, block: Option<u64>, chunk: ChunkId, range: Range<usize>) {
        if self.waiting.back().is_none_or(|(_, _, last)| *last != block) {
            self.blocks += 1;
            // The first is decoded by whoever takes it.
            if let Some(block) = block.filter(|_| !self.waiting.is_empty()) {
                let store = self.store.clone();
                rayon::spawn_fifo(move || store.warm(block));
            }
        }
        self.waiting.push_back((chunk, range, block));
    }

    /// The next group; nothing if none waits.
    pub(super) fn pop(&mut self) -> Result<Option<Item>, StoreError> {
        let Some((chunk, range, block)) = self.waiting.pop_front() else { return Ok(None) };
        if self.waiting.front().is_none_or(|(_, _, next)| *next != block) {
            self.blocks -= 1;
        }
        let short = || StoreError::damage(format!("chunk {chunk}"), "it is shorter than its list says");
        self.store.chunk(&chunk)?.cut(range).map(Some).ok_or_else(short)
    }
}
