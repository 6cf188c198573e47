//! Which items of which blocks are needed: a bit for each item, and no id. Of 100 million items that is 12 MiB, and 32 bytes for
//! each block besides.

use std::collections::HashSet;

use crate::format::{BlockKind, Family, Place, from_bytes, index_key, number_key, sum_parts};
use crate::model::{ChunkId, PageId};

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::named::Named;
use super::read::{Sort, places};

/// A block and its items' bits.
#[derive(Debug)]
struct Row {
    number: u64,
    first_bit: u64,
    items: u32,
    needed: u32,
    sort: Sort,
    /// An item is needed that it was not known to have: all of it is.
    whole: bool,
    /// It was looked at: what is not needed of it is dead, whatever the index says (`proof`).
    proven: bool,
}

/// What a mark has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It was not needed by anything before.
    New,
    /// It was.
    Known,
    /// No index entry knows it.
    Missing,
}

/// Sums over blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// How many.
    pub blocks: u64,
    /// Items in them that nothing needs.
    pub items: u64,
    /// Their sealed bytes.
    pub bytes: u64,
}

/// All blocks that a store had when it was surveyed, and which of their items are needed.
pub struct Survey {
    store: Store,
    rows: Vec<Row>,
    bits: Vec<u64>,
    /// Pages that are needed and in none of these blocks: they came later.
    later: HashSet<[u8; 16]>,
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Survey({} blocks)", self.rows.len())
    }
}

impl Store {
    /// Surveys the blocks; nothing is needed yet.
    ///
    /// # Errors
    /// If the database cannot be read, or its index names blocks that it does not have, or an item twice.
    pub fn survey(&self) -> Result<Survey, StoreError> {
        let db = self.fresh_db()?;
        let mut rows = Vec::new();
        db.scan(Family::Sums, &[], |key, value| {
            let number = key.try_into().map(u64::from_be_bytes);
            let number = number.map_err(|_| StoreError::damage("a row of sums", "its key is malformed"))?;
            let (kind, _) = sum_parts(value).map_err(|e| StoreError::damage("a row of sums", e))?;
            let sort = if kind == BlockKind::Data { Sort::Chunk } else { Sort::Page };
            rows.push(Row { number, first_bit: 0, items: 0, needed: 0, sort, whole: false, proven: false });
            Ok(true)
        })?;
        for sort in [Sort::Chunk, Sort::Page] {
            count_items(&db, sort, &mut rows)?;
        }
        let mut bits = 0;
        for row in &mut rows {
            row.first_bit = bits;
            bits += u64::from(row.items);
        }
        let words = usize::try_from(bits.div_ceil(64)).unwrap_or(usize::MAX);
        Ok(Survey { store: self.clone(), rows, bits: vec![0; words], later: HashSet::new() })
    }
}

/// True if a block has a digest by now: where a file was merged with others meanwhile, what is read is newer than what was read before.
pub(super) fn has_digest(db: &Db, block: u64, sort: Sort) -> Result<bool, StoreError> {
    let kind = if sort == Sort::Chunk { BlockKind::Data } else { BlockKind::Tree };
    let of_kind = |value: &[u8]| sum_parts(value).is_ok_and(|(found, _)| found == kind);
    Ok(db.with(Family::Sums, &number_key(block), of_kind)?.unwrap_or(false))
}

fn count_items(db: &Db, sort: Sort, rows: &mut [Row]) -> Result<(), StoreError> {
    let what = || format!("an entry of the index of {}", sort.index().name());
    let mut named: Vec<_> = rows.iter().map(|_| Named::default()).collect();
    db.scan(sort.index(), &[], |_, value| {
        let places = from_bytes::<Vec<Place>>(value, "index entry").map_err(|e| StoreError::damage(what(), e))?;
        for place in places {
            let at = rows.binary_search_by_key(&place.block, |row| row.number).ok();
            if let Some(at) = at.filter(|at| rows[*at].sort == sort) {
                // What is needed cannot be told by rows of which one is wrong.
                named[at]
                    .add(place)
                    .map_err(|why| StoreError::damage(what(), format!("{why}; nothing was removed")))?;
                rows[at].items = rows[at].items.max(place.ordinal + 1);
            } else if !has_digest(db, place.block, sort)? {
                let why = format!("it names block {}, which has no digest", place.block);
                return Err(StoreError::damage(what(), why));
            }
        }
        Ok(true)
    })
}

impl Survey {
    /// Notes that a chunk is needed.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn need_chunk(&mut self, id: &ChunkId) -> Result<Mark, StoreError> {
        self.need(Sort::Chunk, id.as_bytes())
    }

    /// Notes that a page is needed.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn need_page(&mut self, id: &PageId) -> Result<Mark, StoreError> {
        self.need(Sort::Page, id.as_bytes())
    }

    /// All places of an item are needed: should one be damaged, the others have it.
    fn need(&mut self, sort: Sort, id: &[u8; 32]) -> Result<Mark, StoreError> {
        let places = places(&self.store.db(), sort, id)?;
        let mut mark = if places.is_empty() { Mark::Missing } else { Mark::Known };
        for place in places {
            let is_new = match self.at(place.block) {
                Some(at) => self.set(at, place.ordinal),
                None => self.later.insert(index_key(id)),
            };
            if is_new {
                mark = Mark::New;
            }
        }
        Ok(mark)
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    fn at(&self, block: u64) -> Option<usize> {
        self.rows.binary_search_by_key(&block, |row| row.number).ok()
    }

    /// Sets a bit; true if it was not set.
    fn set(&mut self, at: usize, ordinal: u32) -> bool {
        let row = &mut self.rows[at];
        if ordinal >= row.items {
            // Its index entry came later than the survey, by a repair: the block is needed, whatever it holds.
            row.needed = row.needed.max(1);
            row.whole = true;
            return false;
        }
        let bit = row.first_bit + u64::from(ordinal);
        let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| self.bits.get_mut(at)) else { return false };
        let mask = 1 << (bit % 64);
        let is_new = *word & mask == 0;
        *word |= mask;
        row.needed += u32::from(is_new);
        is_new
    }

    /// True if an item of a block is needed.
    pub(super) fn is_needed(&self, block: u64, ordinal: u32) -> bool {
        let Some(row) = self.at(block).map(|at| &self.rows[at]) else { return true };
        row.whole || ordinal < row.items && self.bit(row.first_bit + u64::from(ordinal))
    }

    /// True if nothing in a block is needed. Of blocks that came after the survey nothing is known: they are.
    pub(super) fn is_dead(&self, block: u64) -> bool {
        self.at(block).is_some_and(|at| self.rows[at].needed == 0)
    }

    /// True if something needs the item that a place is named for, known by when the survey was made.
    pub(super) fn is_marked(&self, place: Place) -> bool {
        let row = self.at(place.block).map(|at| &self.rows[at]).filter(|row| place.ordinal < row.items);
        row.is_some_and(|row| self.bit(row.first_bit + u64::from(place.ordinal)))
    }

    /// True if so many items of a block are marked, and no more; of one that is needed as a whole nobody counts them.
    pub(super) fn has_marks(&self, block: u64, marked: u32) -> bool {
        self.at(block).is_none_or(|at| self.rows[at].whole || self.rows[at].needed == marked)
    }

    fn bit(&self, bit: u64) -> bool {
        usize::try_from(bit / 64).ok().and_then(|at| self.bits.get(at)).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// True if a block was looked at, and what is not needed of it is dead.
    pub(super) fn is_proven(&self, block: u64) -> bool {
        self.at(block).is_some_and(|at| self.rows[at].proven)
    }

    /// Notes that it was.
    pub(super) fn set_proven(&mut self, block: u64) {
        if let Some(at) = self.at(block) {
            self.rows[at].proven = true;
        }
    }

    /// Nothing in a block is needed any more: what was has been written elsewhere.
    pub(super) fn moved_out(&mut self, block: u64) {
        if let Some(at) = self.at(block) {
            let (first, items) = (self.rows[at].first_bit, self.rows[at].items);
            for bit in first..first + u64::from(items) {
                if let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| self.bits.get_mut(at)) {
                    *word &= !(1 << (bit % 64));
                }
            }
            self.rows[at].needed = 0;
        }
    }

    /// The family of a block, and whether nothing in it is needed; nothing if there was no such block.
    pub(super) fn block(&self, number: u64) -> Option<(Family, bool)> {
        self.at(number).map(|at| &self.rows[at]).map(|row| (row.sort.blocks(), row.needed == 0))
    }

    /// The family of a block; nothing if there was no such block.
    pub(super) fn family(&self, number: u64) -> Option<Family> {
        self.block(number).map(|block| block.0)
    }

    /// All blocks.
    ///
    /// # Errors
    /// If the database cannot be asked for their sizes.
    pub fn all(&self) -> Result<Room, StoreError> {
        self.room(|_| true)
    }

    /// Blocks in which nothing is needed.
    ///
    /// # Errors
    /// If the database cannot be asked for their sizes.
    pub fn dead(&self) -> Result<Room, StoreError> {
        self.room(|row| row.needed == 0)
    }

    /// Blocks in which something is needed, and less than half of the items.
    ///
    /// # Errors
    /// If the database cannot be asked for their sizes.
    pub fn sparse(&self) -> Result<Room, StoreError> {
        self.room(is_sparse)
    }

    /// Their numbers, chunks or pages.
    pub(super) fn sparse_blocks(&self, sort: Sort) -> Vec<u64> {
        self.rows.iter().filter(|row| row.sort == sort && is_sparse(row)).map(|row| row.number).collect()
    }

    fn room(&self, counts: impl Fn(&Row) -> bool) -> Result<Room, StoreError> {
        let mut room = Room::default();
        let db = self.store.db();
        for sort in [Sort::Chunk, Sort::Page] {
            let (mut ranges, mut end) = (Vec::new(), u64::MAX);
            for row in self.rows.iter().rev().filter(|row| row.sort == sort) {
                if counts(row) {
                    ranges.push((row.number, end));
                    room.items += u64::from(row.items - row.needed.min(row.items));
                }
                end = row.number;
            }
            room.blocks += ranges.len() as u64;
            room.bytes += db.row_bytes(sort.blocks(), &ranges)?;
        }
        Ok(room)
    }
}

fn is_sparse(row: &Row) -> bool {
    row.needed > 0 && row.needed < row.items.div_ceil(2)
}
