//! Which stored chunks and pages a capture may take instead of its own: not those that a stranger's run has filed.
//!
//! Whoever captures cannot always read what is stored, so a run that filed rubbish under an id would make every later snapshot
//! with that content unreadable. Taken are items in blocks of one's own runs and of owners' runs, as epoch records tell.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::format::{EpochRecord, Family, epoch_role, split_mac};
use crate::model::{EpochId, KeyName, Role};

use super::db::Db;
use super::error::StoreError;
use super::notes::block_header;
use super::read::Sort;

/// Blocks whose answer is kept in memory.
const KEPT: usize = 1 << 20;

/// The runs of strangers, and what was asked for.
#[derive(Debug)]
pub(super) struct Trust {
    strangers: HashSet<EpochId>,
    blocks: Mutex<HashMap<u64, bool>>,
}

impl Trust {
    /// As the holder of this key sees the store.
    pub(super) fn new(db: &Db, mine: KeyName) -> Result<Self, StoreError> {
        let mut strangers = HashSet::new();
        db.scan(Family::Epochs, &[], |key, value| {
            let record = split_mac(value, "epoch record").and_then(|(body, _)| EpochRecord::from_bytes(body));
            // What cannot be read is not taken from.
            let own =
                record.is_ok_and(|r| r.writer == mine || epoch_role(&r.ext).is_ok_and(|role| role == Role::Owner));
            if !own {
                strangers.extend(EpochId::from_slice(key));
            }
            Ok(true)
        })?;
        if !strangers.is_empty() {
            log::info!("{} runs of other keys are in the store: what they filed is not relied on", strangers.len());
        }
        Ok(Self { strangers, blocks: Mutex::default() })
    }

    /// True if what is in a block may be taken. A store without strangers costs nothing; else each block is looked at once.
    pub(super) fn allows(&self, db: &Db, sort: Sort, block: u64) -> Result<bool, StoreError> {
        if self.strangers.is_empty() {
            return Ok(true);
        }
        if let Some(known) = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).get(&block) {
            return Ok(*known);
        }
        // What is damaged is not relied on: what it had is stored anew.
        let header = block_header(db, sort.blocks(), block)?;
        let allowed = matches!(header, Some(Ok(header)) if !self.strangers.contains(&header.epoch));
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() >= KEPT {
            blocks.clear();
        }
        blocks.insert(block, allowed);
        Ok(allowed)
    }
}
