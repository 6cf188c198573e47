//! Which chunks came into the store with a snapshot: those in blocks that were sealed by the run that committed it.

use std::collections::HashMap;

use crate::format::{EpochRecord, Family, SealedHeader, epoch_purpose, split_mac};
use crate::model::{ChunkId, EpochId, Purpose, SnapshotId};

use super::error::StoreError;
use super::notes::block_header;
use super::{Store, snapshot_label};

/// Tells the chunks that a snapshot may have brought from those that were there before. Of what was moved since, nothing is known but
/// that it may. Remembers a few bytes for each block asked for.
#[derive(Debug)]
pub struct OwnChunks {
    store: Store,
    /// The run that committed it; nothing if its manifest was sealed anew since.
    epoch: Option<EpochId>,
    /// Runs that were asked for: whether they moved what was there.
    moves: HashMap<EpochId, bool>,
    blocks: HashMap<u64, bool>,
}

impl Store {
    /// Prepares to tell which chunks a snapshot brought.
    ///
    /// # Errors
    /// If its manifest is missing or damaged.
    pub fn own_chunks(&self, id: &SnapshotId) -> Result<OwnChunks, StoreError> {
        let what = || format!("the manifest of {}", snapshot_label(*id));
        let epoch =
            self.db().with(Family::Manifests, id.as_bytes(), |value| SealedHeader::parse(value).map(|p| p.0.epoch))?;
        let epoch = epoch.ok_or_else(|| StoreError::damage(what(), "it is missing"))?;
        let epoch = epoch.map_err(|e| StoreError::damage(what(), e))?;
        let mut own = OwnChunks { store: self.clone(), epoch: None, moves: HashMap::new(), blocks: HashMap::new() };
        own.epoch = (!own.moved(epoch)?).then_some(epoch);
        Ok(own)
    }
}

impl OwnChunks {
    /// True if a chunk came with the snapshot, or may have. A run that was killed before it stored it counts as another.
    ///
    /// # Errors
    /// If the index or a block cannot be read.
    pub fn has(&mut self, id: &ChunkId) -> Result<bool, StoreError> {
        let Some(block) = self.store.chunk_block(id)? else { return Ok(false) };
        if let Some(own) = self.blocks.get(&block) {
            return Ok(*own);
        }
        let missing = || StoreError::damage(format!("block {block}"), "it is missing");
        let epoch = block_header(&self.store.db(), Family::Data, block)?.ok_or_else(missing)??.epoch;
        let own = self.epoch.is_none_or(|own| own == epoch) || self.moved(epoch)?;
        self.blocks.insert(block, own);
        Ok(own)
    }

    /// True if a run moved what was there.
    fn moved(&mut self, epoch: EpochId) -> Result<bool, StoreError> {
        if let Some(moves) = self.moves.get(&epoch) {
            return Ok(*moves);
        }
        let record = self.store.db().with(Family::Epochs, epoch.as_bytes(), |value| {
            split_mac(value, "epoch record").and_then(|(body, _)| EpochRecord::from_bytes(body))
        })?;
        let moves = record.and_then(Result::ok).is_some_and(|record| epoch_purpose(&record.ext) == Purpose::Move);
        self.moves.insert(epoch, moves);
        Ok(moves)
    }
}
