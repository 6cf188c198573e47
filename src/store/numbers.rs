//! Numbers of blocks and of entries of the log (section 9.1): they grow by one, so what stands farther from all others than anybody can have come to by
//! counting is a stray. It is passed over, told by verify, and left out by repair.

use crate::format::{Family, number_key};

use super::db::Db;
use super::error::{StoreError, entry_label};
use super::inspect::Finding;

/// The row of the number of the next block.
pub(super) const NEXT_BLOCK: &[u8] = b"next";

/// Numbers in a row without a row of theirs after which the database is asked for the next one that has.
pub(super) const MANY_ABSENT: u32 = 64;

/// Families of blocks and of what belongs to each.
const BLOCKS: [Family; 3] = [Family::Data, Family::Tree, Family::Sums];

/// The number of the newest entry of the log; 0 if there is none.
pub(super) fn last_sequence(db: &Db) -> Result<u64, StoreError> {
    Ok(db.last_number(Family::Log, 0)?.unwrap_or(0))
}

/// True if an entry that was acknowledged can be one of this log, of which the end may be lost. Of a log that cannot be read any can.
pub(super) fn has_in_reach(db: &Db, sequence: u64) -> bool {
    last_sequence(db).map_or(true, |last| sequence.saturating_sub(last) <= Family::Log.reach())
}

/// The number of the next block: greater than any that ever was, though gc may have removed the newest.
pub(super) fn next_block(db: &Db) -> Result<u64, StoreError> {
    let last = last_block(db)?;
    let next = kept_next(db)?.filter(|next| is_next(*next, last)).unwrap_or(1).max(last.saturating_add(1));
    // Strays may have led there, each in reach of the other; a number that is used twice would be worse.
    let is_free = next < u64::MAX >> 1;
    is_free.then_some(next).ok_or_else(|| StoreError::damage("the blocks", "a row has an impossible number"))
}

/// The greatest number of a block.
fn last_block(db: &Db) -> Result<u64, StoreError> {
    let mut last = 0;
    loop {
        let mut further = None;
        for family in BLOCKS {
            further = further.max(db.last_number(family, last)?);
        }
        match further {
            Some(number) => last = number,
            None => return Ok(last),
        }
    }
}

fn kept_next(db: &Db) -> Result<Option<u64>, StoreError> {
    let row = db.get(Family::Default, NEXT_BLOCK)?;
    // One of another length is no number, and as far away as any can be.
    Ok(row.map(|row| row.try_into().map_or(u64::MAX, u64::from_be_bytes)))
}

fn is_next(next: u64, last: u64) -> bool {
    next.saturating_sub(last) <= Family::Data.reach()
}

/// What is a stray, with the row of the next block: each as a finding.
pub(super) fn strays(db: &Db) -> Result<Vec<Finding>, StoreError> {
    let (mut found, last) = (Vec::new(), last_block(db)?);
    for family in [&BLOCKS[..], &[Family::Log]].concat() {
        let last = if family == Family::Log { last_sequence(db)? } else { last };
        // Of blocks those before the last one are not read for this.
        let behind = number_key(last.saturating_add(1));
        db.scan(family, if family == Family::Log { &[] } else { &behind }, |key, _| {
            let number = key.try_into().map(u64::from_be_bytes);
            let object = match (family, number) {
                (_, Ok(number)) if (1..=last).contains(&number) => return Ok(true),
                (Family::Log, Ok(number)) => entry_label(number),
                (family, Ok(number)) => format!("row {number} of {}", family.name()),
                (family, Err(_)) => format!("a row of {} without a number", family.name()),
            };
            found.push(Finding::new(object, "nobody can have come to its number by counting"));
            Ok(found.len() < STRAYS_TOLD)
        })?;
    }
    if kept_next(db)?.is_some_and(|next| !is_next(next, last)) {
        found.push(Finding::new("the number of the next block", "nobody can have come to it by counting"));
    }
    Ok(found)
}

/// More need not be told.
const STRAYS_TOLD: usize = 100;

/// True if the row of the next block is to be kept.
pub(super) fn has_good_next(db: &Db) -> Result<bool, StoreError> {
    let last = last_block(db)?;
    Ok(kept_next(db)?.is_none_or(|next| is_next(next, last)))
}
