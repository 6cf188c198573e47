//! Which chunks came into the store with a snapshot: those in blocks that were sealed by the run that committed it.

use std::collections::HashMap;

use crate::format::{BlockHeader, Family, SealedHeader, number_key};
use crate::model::{ChunkId, EpochId, SnapshotId};

use super::error::StoreError;
use super::{Store, snapshot_label};

/// Tells the chunks that a snapshot brought from those that were there before. Remembers a few bytes for each block asked for.
#[derive(Debug)]
pub struct OwnChunks {
    store: Store,
    epoch: EpochId,
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
        Ok(OwnChunks {
            store: self.clone(),
            epoch: epoch.map_err(|e| StoreError::damage(what(), e))?,
            blocks: HashMap::new(),
        })
    }
}

impl OwnChunks {
    /// True if a chunk came with the snapshot. A run that was killed before it stored it counts as another.
    ///
    /// # Errors
    /// If the index or a block cannot be read.
    pub fn has(&mut self, id: &ChunkId) -> Result<bool, StoreError> {
        let Some(block) = self.store.chunk_block(id)? else { return Ok(false) };
        if let Some(own) = self.blocks.get(&block) {
            return Ok(*own);
        }
        let parsed = self.store.db().with(Family::Data, &number_key(block), |value| {
            BlockHeader::parse(value).map(|(header, ..)| header.epoch == self.epoch)
        })?;
        let what = || format!("block {block}");
        let own = parsed.ok_or_else(|| StoreError::damage(what(), "it is missing"))?;
        let own = own.map_err(|e| StoreError::damage(what(), e))?;
        self.blocks.insert(block, own);
        Ok(own)
    }
}
