//! The forward scan: every block opened, every item hashed (section 10 of the format).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::codec::{Class, DataKey, OpenBlock, digest, open_block};
use crate::format::{BlockHeader, BlockKind, Family, number_key};
use crate::model::{Digest, EpochId, Progress, Role};

use super::super::Store;
use super::super::db::Db;
use super::super::error::StoreError;
use super::super::inspect::Finding;
use super::super::notes::{Notes, noted};
use super::super::read::Sort;

/// What is damaged, where its number is told anyway.
const BLOCK: &str = "the block";

/// Sealed bytes that are in memory at once.
const BATCH_BYTES: usize = 48 << 20;

/// A block that is whole.
pub(super) struct Whole {
    pub(super) number: u64,
    pub(super) sort: Sort,
    pub(super) epoch: EpochId,
    pub(super) digest: Digest,
    /// The ids of its items.
    pub(super) ids: Vec<[u8; 32]>,
}

/// What a scan found beside whole blocks.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    /// Blocks that cannot be read or opened.
    pub(super) damaged: Vec<Finding>,
    /// Numbers of blocks that can be read and not opened.
    pub(super) closed: HashSet<u64>,
    /// Epoch records from the notes between blocks.
    pub(super) notes: Notes,
    /// Where notes stand, and the digests of their records.
    pub(super) noted: Vec<Noted>,
    /// Where there are several records of an epoch: how many blocks each opens, by its digest.
    pub(super) opened: HashMap<(EpochId, Digest), u64>,
}

/// A note before blocks.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) sort: Sort,
    pub(super) number: u64,
    pub(super) epoch: EpochId,
    pub(super) record: Digest,
}

/// Opens every block of the store and gives those that are whole to `each`, in the order of their numbers in each family.
pub(super) fn scan(
    store: &Store,
    db: &Db,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&Whole) -> Result<(), StoreError>,
) -> Result<Scanned, StoreError> {
    let mut scanned = Scanned::default();
    let keys = Keys {
        store,
        db,
        notes: Mutex::default(),
        rows: Mutex::default(),
        keys: Mutex::default(),
        opened: Mutex::default(),
    };
    for sort in [Sort::Page, Sort::Chunk] {
        let Some(last) = last_number(db, sort.blocks())? else { continue };
        let (mut batch, mut held, mut failed) = (Vec::new(), 0, None);
        let mut work = |batch: &mut Vec<(u64, Vec<u8>)>| -> Result<(), StoreError> {
            // Notes first: blocks behind them may have no other record of their epoch.
            for (number, value) in batch.iter() {
                let Some((epoch, record)) = noted(value) else { continue };
                scanned.noted.push(Noted { sort, number: *number, epoch, record: digest(record) });
                keys.notes.lock().unwrap_or_else(PoisonError::into_inner).take(value);
            }
            let looked: Vec<_> = batch
                .par_iter()
                .map(|(number, value)| (*number, value.len(), keys.look(sort, *number, value)))
                .collect();
            batch.clear();
            for (number, len, looked) in looked {
                scanned.blocks += 1;
                scanned.bytes += len as u64;
                progress.advance(0, len as u64);
                match looked {
                    Ok(Some(whole)) => each(&whole)?,
                    Ok(None) => scanned.blocks -= 1,
                    Err(Bad::Damage(finding)) => {
                        scanned.closed.insert(number);
                        scanned.damaged.push(finding);
                    }
                    Err(Bad::Other(e)) => return Err(e),
                }
            }
            if progress.cancelled() { Err(StoreError::Interrupted) } else { Ok(()) }
        };
        let unreadable = db.scan_past_damage(sort.blocks(), 0, last, |number, value| {
            batch.push((number, value.to_vec()));
            held += value.len();
            if held < BATCH_BYTES {
                return true;
            }
            held = 0;
            failed = work(&mut batch).err();
            failed.is_none()
        })?;
        if failed.is_none() {
            failed = work(&mut batch).err();
        }
        if let Some(e) = failed {
            return Err(e);
        }
        scanned.damaged.extend(unreadable.into_iter().map(|(number, why)| finding(sort, number, why)));
    }
    scanned.notes = keys.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    scanned.opened = keys.opened.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(scanned)
}

/// The last number that a family has, strays left out. The last row itself may be damaged: then by what the database says of its files.
pub(super) fn last_number(db: &Db, family: Family) -> Result<Option<u64>, StoreError> {
    let last_row = db.last_number(family, 0);
    if let Ok(Some(last)) = last_row
        && last.checked_add(1).is_some_and(|behind| has_row_from(db, family, behind))
    {
        return Ok(Some(last));
    }
    let tables = db.tables()?.into_iter().filter(|table| table.family == family.name());
    let from_tables = tables.filter_map(|table| number(&table.keys?.1)).max();
    Ok(from_tables.max(last_row.ok().flatten()))
}

fn has_row_from(db: &Db, family: Family, number: u64) -> bool {
    let mut has_one = false;
    let scanned = db.scan(family, &number_key(number), |_, _| {
        has_one = true;
        Ok(false)
    });
    scanned.is_ok() && has_one
}

pub(super) fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn finding(sort: Sort, number: u64, why: String) -> Finding {
    let is_data = sort == Sort::Chunk;
    Finding {
        object: format!("block {number} ({})", if is_data { "content" } else { "structure" }),
        why,
        data_block: is_data.then_some(number),
        tree_block: (!is_data).then_some(number),
        is_misnamed: false,
    }
}

enum Bad {
    Damage(Finding),
    Other(StoreError),
}

/// Keys of epochs, from their rows and from the notes before blocks.
struct Keys<'a> {
    store: &'a Store,
    db: &'a Db,
    notes: Mutex<Notes>,
    rows: Mutex<HashMap<EpochId, Option<Arc<[u8]>>>>,
    /// Those that a record holds, by its digest.
    keys: Mutex<HashMap<(Digest, Class), Arc<DataKey>>>,
    /// See [`Scanned::opened`].
    opened: Mutex<HashMap<(EpochId, Digest), u64>>,
}

impl Keys<'_> {
    /// A block's ids; nothing for a note.
    fn look(&self, sort: Sort, number: u64, value: &[u8]) -> Result<Option<Whole>, Bad> {
        let damage = |why: String| Bad::Damage(finding(sort, number, why));
        let (header, ..) = BlockHeader::parse(value).map_err(|e| damage(e.to_string()))?;
        let expected = if sort == Sort::Chunk { BlockKind::Data } else { BlockKind::Tree };
        if header.kind == BlockKind::EpochNote {
            return Ok(None);
        }
        if header.kind != expected {
            return Err(damage("it is a block of another kind".to_owned()));
        }
        let block = self.open(sort, header.epoch, value).map_err(|e| match e {
            StoreError::Damage { what, why } if what == BLOCK => damage(why),
            e if e.is_damage() => damage(e.to_string()),
            e => Bad::Other(e),
        })?;
        let ids = self.store.keyring().ids();
        let id = |bytes: &[u8]| match sort {
            Sort::Chunk => *ids.chunk(bytes).as_bytes(),
            Sort::Page => *ids.page(bytes).as_bytes(),
        };
        let count = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let ids = (0..count).map_while(|ordinal| block.item(ordinal).map(id)).collect();
        Ok(Some(Whole { number, sort, epoch: header.epoch, digest: digest(value), ids }))
    }

    /// Opens a block with whichever record there is of its epoch.
    fn open(&self, sort: Sort, epoch: EpochId, value: &[u8]) -> Result<OpenBlock, StoreError> {
        let records = self.records(epoch)?;
        let mut opened = Err(StoreError::damage(format!("epoch {epoch}"), "its record is missing"));
        for (at, (record, hash)) in records.iter().enumerate() {
            match self.open_with(sort, epoch, (record, *hash), value) {
                Ok(block) => {
                    // Of others it need not be known, where there are no others.
                    if records.len() > 1 {
                        let mut counts = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
                        *counts.entry((epoch, *hash)).or_default() += 1;
                    }
                    opened = opened.or(Ok(block));
                }
                Err(e) if at == 0 => opened = Err(e),
                Err(e) if e.is_damage() || matches!(e, StoreError::OtherIdentities(_)) => {}
                Err(e) => return Err(e),
            }
        }
        opened
    }

    fn open_with(
        &self,
        sort: Sort,
        epoch: EpochId,
        record: (&[u8], Digest),
        value: &[u8],
    ) -> Result<OpenBlock, StoreError> {
        let (page, own) = (self.key(epoch, Class::Page, record)?, self.key(epoch, sort.class(), record)?);
        open_block(value, Some(&page), Some(&own)).map_err(|e| StoreError::damage(BLOCK, e))
    }

    /// All records that there are of an epoch, and their digests: that of its row goes first.
    fn records(&self, epoch: EpochId) -> Result<Vec<(Arc<[u8]>, Digest)>, StoreError> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = if let Some(row) = rows.get(&epoch) {
            row.clone()
        } else {
            let row = match self.db.get(Family::Epochs, epoch.as_bytes()) {
                Err(e) if !e.is_damage() => return Err(e),
                row => row.ok().flatten().map(Arc::from),
            };
            rows.entry(epoch).or_insert(row).clone()
        };
        drop(rows);
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let others = notes.of(epoch).iter().filter(|note| row.as_deref() != Some(note.as_slice()));
        let all = row.iter().cloned().chain(others.map(|note| Arc::from(note.as_slice())));
        Ok(all.map(|record: Arc<[u8]>| (record.clone(), digest(&record))).collect())
    }

    fn key(&self, epoch: EpochId, class: Class, (record, hash): (&[u8], Digest)) -> Result<Arc<DataKey>, StoreError> {
        if let Some(key) = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&(hash, class)) {
            return Ok(key.clone());
        }
        let keyring = self.store.keyring();
        let closed =
            || StoreError::Closed { role: keyring.role(), act: "making the index from content", needs: Role::Owner };
        let key = Arc::new(keyring.open_key(epoch, class, record)?.ok_or_else(closed)?);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert((hash, class), key.clone());
        Ok(key)
    }
}
