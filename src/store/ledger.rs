//! When each block was last looked at (section 11.1 of the format), so that verify begins with those that had to wait longest.
//!
//! A convenience, never a promise: a row that is damaged or was not written by a holder of the id key counts for nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::codec::MacLabel;
use crate::format::{Family, LEDGER_BLOCKS, LedgerRow, Looks, join_mac, number_key, split_mac};
use crate::model::{Role, Timestamp};

use super::Store;
use super::db::Rows;
use super::error::StoreError;
use super::exclusive::Exclusive;
use super::lock::Waiting;

/// What the ledger says of all blocks. Memory: a few bytes for each run of blocks that were looked at together.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: BTreeMap<u64, Vec<(u32, Looks)>>,
}

impl Ledger {
    /// When a block was looked at.
    #[must_use]
    pub fn of(&self, block: u64) -> Looks {
        let mut at = block % LEDGER_BLOCKS;
        for (blocks, looks) in self.rows.get(&(block / LEDGER_BLOCKS)).into_iter().flatten() {
            match at.checked_sub(u64::from(*blocks)) {
                Some(behind) => at = behind,
                None => return *looks,
            }
        }
        Looks::default()
    }
}

/// Blocks of which each item was read by this process, and was what its id says.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashSet<u64>>);

impl Seen {
    pub(super) fn add(&self, block: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(block);
    }
}

/// Fewer blocks than this are not worth opening the database for writing.
const WORTH_NOTING: usize = 16;

impl Store {
    /// Notes the blocks that this process has read whole, so that verify goes on with others. What stands in the way of that is not
    /// told: who reads need not be able to write, and never waits for who does.
    pub fn note_reads(&self, at: Timestamp) {
        let seen = std::mem::take(&mut *self.inner.seen.0.lock().unwrap_or_else(PoisonError::into_inner));
        if seen.len() < WORTH_NOTING || self.keyring().role() < Role::Owner || self.trouble().is_some() {
            return;
        }
        let looked: Vec<_> = seen.into_iter().map(|block| (block, true)).collect();
        if let Err(e) = self.keep_ledger(&looked, at) {
            log::debug!("what was read is not noted: {e}");
        }
    }

    /// Reads the ledger. Rows that nobody with the id key wrote, and times in the future, are left out.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ledger(&self, now: Timestamp) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger::default();
        let now = seconds(now);
        self.fresh_db()?.scan(Family::Ledger, &[], |key, value| {
            let row = key.try_into().ok().map(u64::from_be_bytes).zip(self.ledger_row(key, value));
            if let Some((number, mut runs)) = row {
                for (_, looks) in &mut runs {
                    looks.compared = if looks.compared > now { 0 } else { looks.compared };
                    looks.opened = if looks.opened > now { 0 } else { looks.opened };
                }
                ledger.rows.insert(number, runs);
            }
            Ok(true)
        })?;
        Ok(ledger)
    }

    /// Notes blocks as looked at, `true` for those that were opened too. Never waits for another writer.
    ///
    /// # Errors
    /// If the store is being written to, or cannot be.
    pub fn keep_ledger(&self, looked: &[(u64, bool)], at: Timestamp) -> Result<(), StoreError> {
        if looked.is_empty() {
            return Ok(());
        }
        let mut by_row: BTreeMap<u64, Vec<(u64, bool)>> = BTreeMap::new();
        for (block, opened) in looked {
            by_row.entry(block / LEDGER_BLOCKS).or_default().push((block % LEDGER_BLOCKS, *opened));
        }
        let exclusive = Exclusive::begin(self, Waiting::NoWait, &|| false)?;
        let db = &exclusive.db;
        let mut rows = Rows::default();
        for (number, looked) in by_row {
            let key = number_key(number);
            let before = db.with(Family::Ledger, &key, |value| self.ledger_row(&key, value))?.flatten();
            let runs = marked(&before.unwrap_or_default(), &looked, seconds(at));
            let bytes = LedgerRow { runs, ext: Vec::new() }.to_bytes();
            let mac = self.keyring().ids().mac(MacLabel::Ledger, &[&key, &bytes]);
            rows.put(Family::Ledger, &key, &join_mac(bytes, &mac));
        }
        db.write(&rows, true)?;
        db.flush()?;
        if let Err(e) = db.merge() {
            log::warn!("small files of the database stay as they are: {e}");
        }
        log::debug!("{} blocks noted in the ledger", looked.len());
        Ok(())
    }

    fn ledger_row(&self, key: &[u8], value: &[u8]) -> Option<Vec<(u32, Looks)>> {
        let (body, mac) = split_mac(value, "ledger row").ok()?;
        let good = self.keyring().ids().mac_holds(MacLabel::Ledger, &[key, body], mac);
        let row = LedgerRow::from_bytes(body).ok().filter(|_| good)?;
        let blocks: u64 = row.runs.iter().map(|(blocks, _)| u64::from(*blocks)).sum();
        (blocks <= LEDGER_BLOCKS).then_some(row.runs)
    }
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.seconds).unwrap_or(0)
}

/// The runs of a row after some of its blocks were looked at.
fn marked(before: &[(u32, Looks)], looked: &[(u64, bool)], at: u64) -> Vec<(u32, Looks)> {
    let mut all = Vec::with_capacity(4096);
    for (blocks, looks) in before {
        all.extend(std::iter::repeat_n(*looks, *blocks as usize));
    }
    for (block, opened) in looked {
        let block = usize::try_from(*block).unwrap_or(0);
        if all.len() <= block {
            all.resize(block + 1, Looks::default());
        }
        all[block].compared = all[block].compared.max(at);
        if *opened {
            all[block].opened = all[block].opened.max(at);
        }
    }
    let runs = all.chunk_by(|a, b| a == b).map(|run| (u32::try_from(run.len()).unwrap_or(u32::MAX), run[0]));
    runs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_looked_at_together_are_one_run() {
        let all: Vec<_> = (0..LEDGER_BLOCKS).map(|block| (block, false)).collect();
        let first = marked(&[], &all, 100);
        assert_eq!(first, [(4096, Looks { compared: 100, opened: 0 })]);
        let second = marked(&first, &[(7, true), (8, true), (4095, false)], 200);
        let old = Looks { compared: 100, opened: 0 };
        let opened = Looks { compared: 200, opened: 200 };
        assert_eq!(second, [(7, old), (2, opened), (4086, old), (1, Looks { compared: 200, opened: 0 })]);
        // What is known already is not forgotten by a look that is older or not so close.
        assert_eq!(marked(&second, &[(7, false), (8, true)], 150), second);
        let ledger = Ledger { rows: BTreeMap::from([(0, second)]) };
        assert_eq!((ledger.of(6), ledger.of(8), ledger.of(4096)), (old, opened, Looks::default()));
        assert_eq!(marked(&[], &[(2, false)], 5), [(2, Looks::default()), (1, Looks { compared: 5, opened: 0 })]);
    }
}
