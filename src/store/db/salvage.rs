//! Reading past damage, and taking over files of another database, for repair.

use std::path::Path;

use rocksdb::{DB, Options};

use crate::format::{Family, number_key};

use super::super::error::StoreError;
use super::{Db, fail};

/// Numbers behind a damaged place that are tried one by one, before the steps grow.
const SMALL_STEPS: u64 = 256;

impl Db {
    /// Calls `row` for the readable rows of a family whose keys are numbers, from `from` to `last`, until it says false. Gives the first
    /// number of each stretch that could not be read, and why.
    pub(in crate::store) fn scan_past_damage(
        &self,
        family: Family,
        from: u64,
        last: u64,
        mut row: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<Vec<(u64, String)>, StoreError> {
        let (mut next, mut damaged, mut stopped) = (from, Vec::new(), false);
        while next <= last && !stopped {
            let scanned = self.scan(family, &number_key(next), |key, value| {
                let Ok(number) = key.try_into().map(u64::from_be_bytes) else { return Ok(true) };
                if number > last {
                    next = number;
                    return Ok(false);
                }
                next = number.saturating_add(1);
                stopped = !row(number, value);
                Ok(!stopped)
            });
            match scanned {
                Ok(()) => break,
                Err(e) if e.is_damage() => {
                    damaged.push((next, e.to_string()));
                    let Some(behind) = self.behind_damage(family, next, last) else { break };
                    next = behind;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(damaged)
    }

    /// The first number behind a damaged place from which on rows can be read. Rows share a damaged block with their neighbours.
    fn behind_damage(&self, family: Family, at: u64, last: u64) -> Option<u64> {
        let readable = |number: u64| self.scan(family, &number_key(number), |_, _| Ok(false)).is_ok();
        let (mut bad, mut step) = (at, 1);
        loop {
            let tried = bad.checked_add(step).filter(|tried| *tried <= last)?;
            if readable(tried) {
                break;
            }
            bad = tried;
            step = if tried - at < SMALL_STEPS { 1 } else { step * 2 };
        }
        let mut good = bad + step;
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            if readable(middle) { good = middle } else { bad = middle }
        }
        Some(good)
    }

    /// The names of families that this version does not know.
    pub(in crate::store) fn unknown_families(dir: &Path) -> Result<Vec<String>, StoreError> {
        let names = DB::list_cf(&Options::default(), dir).map_err(|e| fail(&e))?;
        Ok(names.into_iter().filter(|name| Family::ALL.iter().all(|f| f.name() != name)).collect())
    }
}
