//! The records of epochs that stand in files of blocks, before the blocks (section 10). What `epochs` has is the same, byte for byte. Where it
//! is not, somebody has changed one of the two, and the MAC does not tell which: everybody with a key can make it. What opens the blocks does.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::{BlockHeader, BlockKind, Family, number_key, sum_parts};
use crate::model::EpochId;

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::numbers::MANY_ABSENT;
use super::read::{Decoded, Sort};

/// The records that notes have of each epoch, each of them once.
#[derive(Debug, Default)]
pub(super) struct Notes(HashMap<EpochId, Vec<Vec<u8>>>);

impl Notes {
    /// Those of all files of blocks.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn of_files(db: &Db) -> Result<Self, StoreError> {
        let mut numbers = Vec::new();
        db.scan(Family::Sums, &[], |key, value| {
            if let (Ok(number), Ok((kind, _))) = (key.try_into().map(u64::from_be_bytes), sum_parts(value)) {
                numbers.push((number, if kind == BlockKind::Data { Family::Data } else { Family::Tree }));
            }
            Ok(true)
        })?;
        let known = |number| numbers.binary_search_by_key(&number, |known| known.0).ok().map(|at| numbers[at].1);
        let mut notes = Self::default();
        for sort in [Sort::Chunk, Sort::Page] {
            each_row(db, sort.blocks(), &known, &mut |number, row| {
                if matches!(row, Row::Note(_)) {
                    notes.take_row(db, sort.blocks(), number)?;
                }
                Ok(())
            })?;
        }
        Ok(notes)
    }

    /// Takes in what a note says; nothing of a block.
    pub(super) fn take(&mut self, value: &[u8]) {
        if let Some((epoch, record)) = noted(value) {
            let known = self.0.entry(epoch).or_default();
            if known.iter().all(|known| known != record) {
                known.push(record.to_vec());
            }
        }
    }

    /// The same of a row, if it can be read.
    pub(super) fn take_row(&mut self, db: &Db, family: Family, number: u64) -> Result<(), StoreError> {
        match db.with(family, &number_key(number), |value| self.take(value)) {
            Err(e) if !e.is_damage() => Err(e),
            _ => Ok(()),
        }
    }

    /// What they say of an epoch.
    pub(super) fn of(&self, epoch: EpochId) -> &[Vec<u8>] {
        self.0.get(&epoch).map_or(&[], Vec::as_slice)
    }

    /// All of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EpochId, &[Vec<u8>])> {
        self.0.iter().map(|(epoch, records)| (*epoch, records.as_slice()))
    }
}

/// The epoch and the record that a note has; nothing of a block.
pub(super) fn noted(value: &[u8]) -> Option<(EpochId, &[u8])> {
    let (header, _, record) = BlockHeader::parse(value).ok()?;
    (header.kind == BlockKind::EpochNote).then_some((header.epoch, record))
}

impl Store {
    /// Opens a block with the record that a note has of its epoch, where that in `epochs` does not open it.
    ///
    /// # Errors
    /// If no such record opens it, or it cannot be read.
    pub(super) fn decode_by_notes(
        &self,
        db: &Db,
        sort: Sort,
        block: u64,
        notes: &Notes,
    ) -> Result<Decoded, StoreError> {
        let missing = || StoreError::damage(format!("block {block}"), "it is missing");
        let header = block_header(db, sort.blocks(), block)?.ok_or_else(missing)??;
        for record in notes.of(header.epoch) {
            let key = |epoch, class| Ok(self.keyring().open_key(epoch, class, record)?.map(Arc::new));
            match self.decode_with(db, sort, block, &key) {
                Err(e) if e.is_damage() || matches!(e, StoreError::OtherIdentities(_)) => {}
                decoded => return decoded,
            }
        }
        Err(StoreError::damage(format!("block {block}"), "no record of its epoch opens it"))
    }
}

/// A row of a family of blocks.
pub(super) enum Row {
    /// A block that has a digest: it is there, or was when digests were looked at.
    Known,
    /// A note of this epoch.
    Note(EpochId),
    /// A block of this epoch that was not known then: it came later, or its digest was never written.
    Other(EpochId),
    /// It cannot be read.
    Unreadable,
}

/// Gives all rows of a family to `each`, in order. Reads those alone of which `known` does not give the family: notes, and what came later.
///
/// # Errors
/// If the database cannot be read, or what `each` says.
pub(super) fn each_row(
    db: &Db,
    family: Family,
    known: &dyn Fn(u64) -> Option<Family>,
    each: &mut dyn FnMut(u64, Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut next = 0;
    for file in db.block_files(family)? {
        let (mut at, mut absent) = (Some(file.first.max(next)), 0);
        while let Some(number) = at.filter(|number| *number <= file.last) {
            absent += 1;
            match known(number) {
                Some(its) if its == family => {
                    absent = 0;
                    each(number, Row::Known)?;
                }
                Some(_) => {}
                None => {
                    let row = block_header(db, family, number)?.map(|header| match header {
                        Ok(header) if header.kind == BlockKind::EpochNote => Row::Note(header.epoch),
                        Ok(header) => Row::Other(header.epoch),
                        Err(_) => Row::Unreadable,
                    });
                    if let Some(row) = row {
                        absent = 0;
                        each(number, row)?;
                    }
                }
            }
            at = match number.checked_add(1) {
                Some(behind) if absent >= MANY_ABSENT => db.number_from(family, behind)?,
                behind => behind,
            };
        }
        next = next.max(file.last.saturating_add(1));
    }
    Ok(())
}

/// The header of a row of blocks, or how it is damaged; nothing if there is no such row.
pub(super) fn block_header(
    db: &Db,
    family: Family,
    number: u64,
) -> Result<Option<Result<BlockHeader, StoreError>>, StoreError> {
    match db.with(family, &number_key(number), |value| BlockHeader::parse(value).map(|p| p.0)) {
        Ok(header) => Ok(header.map(|header| header.map_err(StoreError::from))),
        Err(e) if e.is_damage() => Ok(Some(Err(e))),
        Err(e) => Err(e),
    }
}
