//! Reading past damage, and taking over files of another database, for repair.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use rocksdb::{DB, Options};

use crate::format::{Family, number_key};

use super::super::error::StoreError;
use super::tables::{Table, Version, family_of};
use super::{Db, fail};

/// Numbers behind a damaged place that are tried one by one, before the steps grow.
const SMALL_STEPS: u64 = 256;

/// Bytes of a family's files up to which all of its rows are held.
const LOOSE_MAX: u64 = 256 << 20;

/// Rows by their keys, read from the table files one by one.
pub(super) type Loose = BTreeMap<Vec<u8>, Version>;

/// True for families whose rows say for ever what they said at first. Of others a damaged file may have held what came later.
pub(super) fn has_lasting_rows(family: Family) -> bool {
    matches!(family, Family::Log | Family::Manifests | Family::Epochs)
}

impl Db {
    /// The rows of a family that are in whole blocks of its files. RocksDB looks for a row in the first three files of a family whichever
    /// keys they have, and scans want all of them: one that is damaged would take the rows of the others along.
    pub(super) fn loose(&self, family: Family) -> Arc<Loose> {
        let mut all = self.loose.lock().unwrap_or_else(PoisonError::into_inner);
        let (mark, loose) = all.entry(family.name()).or_default();
        let now = self.mark();
        if *mark != now || now.is_none() {
            (*mark, *loose) = (now, Arc::new(self.read_loose(family)));
        }
        loose.clone()
    }

    fn read_loose(&self, family: Family) -> Loose {
        let mut loose = Loose::new();
        let mut tables = self.tables().unwrap_or_default();
        tables.retain(|table| table.family == family.name());
        let bytes: u64 = tables.iter().filter_map(|table| table.path.metadata().ok()).map(|about| about.len()).sum();
        if bytes > LOOSE_MAX {
            return loose;
        }
        for table in tables {
            table.whole_rows(|key, version| match loose.get_mut(key) {
                Some(known) if known.sequence > version.sequence => {}
                Some(known) => *known = version,
                None => drop(loose.insert(key.to_vec(), version)),
            });
        }
        loose
    }

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

    /// True if all rows of a table file are as the database has them, and none was written anew or removed since in another file.
    pub(in crate::store) fn is_newest(&self, family: Family, table: &Table) -> bool {
        let mut is_newest = true;
        let is_all = table.whole_rows(|key, version| {
            let now = self.with(family, key, |value| version.value.as_deref() == Some(value));
            is_newest &= matches!(now, Ok(Some(true)));
        });
        is_all && is_newest
    }

    /// Gives what each file of the database has of rows of a family, in whole blocks of it, be it the newest or not.
    pub(in crate::store) fn versions(&self, family: Family, mut row: impl FnMut(&[u8], &[u8])) {
        let mut tables = self.tables().unwrap_or_default();
        tables.retain(|table| table.family == family.name());
        tables.iter().for_each(|table| table.values(&mut row));
    }

    /// Gives the rows of a family that are in whole blocks of files which the database does not name.
    pub(in crate::store) fn rows_of_unnamed(
        &self,
        names: &[String],
        family: Family,
        mut row: impl FnMut(&[u8], &[u8]),
    ) {
        for name in names {
            let path = self.dir.join(name);
            if !path.is_file() || family_of(&path).as_deref() != Some(family.name()) {
                continue;
            }
            let table = Table { name: name.clone(), path, family: family.name().to_owned(), keys: None };
            table.values(&mut row);
        }
    }

    /// The names of families that this version does not know.
    pub(in crate::store) fn unknown_families(dir: &Path) -> Result<Vec<String>, StoreError> {
        let names = DB::list_cf(&Options::default(), dir).map_err(|e| fail(&e))?;
        Ok(names.into_iter().filter(|name| Family::ALL.iter().all(|f| f.name() != name)).collect())
    }
}
