//! Families whose rows are numbered: blocks, and entries of the log (section 9.1).

use std::ops::Bound;

use rocksdb::DBRawIterator;

use crate::format::{Family, number_key};

use super::super::error::StoreError;
use super::salvage::has_lasting_rows;
use super::{Db, fail};

impl Db {
    /// The last number behind `from`, counted on as far as the family's reach carries from row to row.
    pub(in crate::store) fn last_number(&self, family: Family, from: u64) -> Result<Option<u64>, StoreError> {
        self.reading(|opened| {
            let mut rows = opened.rows(family, 0)?;
            last_in_reach(family, from, |at| {
                rows.seek_for_prev(number_key(at));
                while rows.key().is_some_and(|key| number(key).is_none()) {
                    rows.prev();
                }
                rows.status().map_err(|e| fail(&e))?;
                Ok(rows.key().and_then(number))
            })
        })
    }

    /// Calls `row` for every row from the last one back, until it says false. Damage is told when the rows that are whole were given.
    pub(in crate::store) fn scan_back(
        &self,
        family: Family,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let (mut before, mut refused) = (None::<Vec<u8>>, false);
        let scanned = self.last_number(family, 0).and_then(|last| {
            let Some(last) = last else { return Ok(()) };
            self.reading(|opened| {
                let mut rows = opened.rows(family, 0)?;
                match &before {
                    None => rows.seek_for_prev(number_key(last)),
                    Some(before) => {
                        rows.seek_for_prev(before);
                        if rows.key() == Some(before) {
                            rows.prev();
                        }
                    }
                }
                while let Some((key, value)) = rows.item() {
                    if is_stray(key) {
                        rows.prev();
                        continue;
                    }
                    if !row(key, value).inspect_err(|_| refused = true)? {
                        return Ok(());
                    }
                    let before = before.get_or_insert_default();
                    before.clear();
                    before.extend_from_slice(key);
                    rows.prev();
                }
                rows.status().map_err(|e| fail(&e))
            })
        });
        if !refused && has_lasting_rows(family) && scanned.as_ref().is_err_and(StoreError::is_damage) {
            let loose = self.loose(family);
            let up_to = |at: u64| loose.range(..=number_key(at).to_vec()).rev().find_map(|(key, _)| number(key));
            let last = last_in_reach(family, 0, |at| Ok(up_to(at)))?.unwrap_or(0);
            let end = before.map_or(Bound::Included(number_key(last).to_vec()), Bound::Excluded);
            for (key, version) in loose.range((Bound::Unbounded, end)).rev() {
                if let Some(value) = &version.value
                    && !is_stray(key)
                    && !row(key, value)?
                {
                    break;
                }
            }
        }
        scanned
    }

    /// The number of the first row from this one on. Where damage does not let one see it, this number: it is to be asked for by itself.
    pub(in crate::store) fn number_from(&self, family: Family, at: u64) -> Result<Option<u64>, StoreError> {
        self.number_beside(family, at, |rows| rows.seek(number_key(at)))
    }

    /// The same up to this one: that of the last row.
    pub(in crate::store) fn number_up_to(&self, family: Family, at: u64) -> Result<Option<u64>, StoreError> {
        self.number_beside(family, at, |rows| rows.seek_for_prev(number_key(at)))
    }

    fn number_beside(
        &self,
        family: Family,
        at: u64,
        seek: impl Fn(&mut DBRawIterator),
    ) -> Result<Option<u64>, StoreError> {
        let looked = self.reading(|opened| {
            let mut rows = opened.rows(family, 0)?;
            seek(&mut rows);
            rows.status().map_err(|e| fail(&e))?;
            Ok(rows.key().map(|key| number(key).unwrap_or(at)))
        });
        if looked.as_ref().is_err_and(StoreError::is_damage) { Ok(Some(at)) } else { looked }
    }
}

/// True of a row without a number, or with one before the first.
fn is_stray(key: &[u8]) -> bool {
    number(key).is_none_or(|number| number == 0)
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Goes on from number to number, each in reach of the one before. `up_to` gives the greatest that is not above one.
fn last_in_reach(
    family: Family,
    from: u64,
    mut up_to: impl FnMut(u64) -> Result<Option<u64>, StoreError>,
) -> Result<Option<u64>, StoreError> {
    let mut last = None;
    loop {
        let at = last.unwrap_or(from);
        match up_to(at.saturating_add(family.reach()))?.filter(|number| *number > at) {
            Some(number) => last = Some(number),
            None => return Ok(last),
        }
    }
}
