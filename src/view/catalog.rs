//! The snapshots of a store with the names they have in a view.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::model::{DatasetKey, DatasetName, SnapshotId, Timestamp};
use crate::snapshots::Witnesses;
use crate::store::{Arrived, Store, StoreError};

/// A snapshot and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogRow {
    /// Its id.
    pub id: SnapshotId,
    /// Its sequence.
    pub sequence: u64,
    /// When it arrived, as far as witnesses bear it out.
    pub arrival: Timestamp,
    /// Its dataset, if the name can be read.
    pub dataset: Option<DatasetName>,
    /// Its arrival as a file name, `2024-01-15T10-30-05Z`; a second one of its dataset in that second ends in `-2`.
    pub time_name: String,
}

impl CatalogRow {
    /// The first 16 digits of its id.
    #[must_use]
    pub fn short_id(&self) -> String {
        let mut digits = self.id.to_string();
        digits.truncate(16);
        digits
    }
}

/// The snapshots of a store, oldest arrival first.
#[derive(Debug)]
pub struct Catalog {
    rows: Vec<CatalogRow>,
    mark: Option<(Vec<u8>, u64)>,
    unnamed: Option<String>,
    hidden: Option<String>,
}

impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Catalog {
    /// Reads it. `mark` is the change mark from before the store was opened or refreshed, where that is known.
    pub(super) fn read(store: &Store, mark: Option<(Vec<u8>, u64)>) -> Result<Self, StoreError> {
        let mut names: HashMap<DatasetKey, Option<DatasetName>> = HashMap::new();
        let mut used: HashMap<(DatasetKey, String), u32> = HashMap::new();
        let (mut rows, mut unnamed) = (Vec::new(), None);
        let witnesses = Witnesses::read(store, None, 0)?;
        let Arrived { rows: all, damage, .. } = store.arrived()?;
        for row in all {
            let mut name = || match store.dataset_name(row.dataset) {
                Ok(name) => Some(name),
                Err(e) => {
                    unnamed = unnamed.take().or_else(|| e.is_damage().then(|| e.to_string()));
                    None
                }
            };
            let dataset = names.entry(row.dataset).or_insert_with(&mut name).clone();
            let arrival = witnesses.arrival(&row);
            let mut time_name = file_name(arrival);
            let times = used.entry((row.dataset, time_name.clone())).or_default();
            *times += 1;
            if *times > 1 {
                let _ = write!(time_name, "-{times}");
            }
            rows.push(CatalogRow { id: row.id, sequence: row.sequence, arrival, dataset, time_name });
        }
        Ok(Self { rows, mark, unnamed, hidden: damage.map(|e| e.to_string()) })
    }

    /// All snapshots, oldest first.
    #[must_use]
    pub fn rows(&self) -> &[CatalogRow] {
        &self.rows
    }

    /// The one with a sequence.
    #[must_use]
    pub fn by_sequence(&self, sequence: u64) -> Option<&CatalogRow> {
        self.rows.binary_search_by_key(&sequence, |row| row.sequence).ok().and_then(|at| self.rows.get(at))
    }

    /// The one whose [`CatalogRow::short_id`] is this; the first, should two have the same.
    #[must_use]
    pub fn by_short_id(&self, name: &[u8]) -> Option<&CatalogRow> {
        let digits = std::str::from_utf8(name).ok().filter(|text| text.len() == 16)?;
        let is_lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let front = u64::from_str_radix(digits, 16).ok().filter(|_| is_lower)?.to_be_bytes();
        self.rows.iter().find(|row| row.id.as_bytes().starts_with(&front))
    }

    /// Of each dataset the newest that had arrived by this second since 1970, by the names of the datasets.
    #[must_use]
    pub fn as_of(&self, seconds: i64) -> BTreeMap<&DatasetName, &CatalogRow> {
        let mut by_then: Vec<_> = self.rows.iter().filter(|row| row.arrival.seconds <= seconds).collect();
        by_then.sort_by_key(|row| (row.arrival, row.sequence));
        by_then.into_iter().filter_map(|row| Some((row.dataset.as_ref()?, row))).collect()
    }

    /// The earliest arrival at which this shows what `before` did not: of a new snapshot, or of one that counts with another time now.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Option<Timestamp> {
        let changed = self.rows.iter().filter_map(|row| match before.by_sequence(row.sequence) {
            Some(old) if old.arrival == row.arrival => None,
            Some(old) => Some(old.arrival.min(row.arrival)),
            None => Some(row.arrival),
        });
        changed.min()
    }

    /// Those of a dataset, oldest first.
    #[must_use]
    pub fn of_dataset<'a>(&'a self, name: &'a DatasetName) -> impl DoubleEndedIterator<Item = &'a CatalogRow> {
        self.rows.iter().filter(move |row| row.dataset.as_ref() == Some(name))
    }

    /// The first snapshot of each dataset, oldest first: they stand for their datasets.
    #[must_use]
    pub fn datasets(&self) -> Vec<&CatalogRow> {
        let mut seen = std::collections::HashSet::new();
        self.rows.iter().filter(|row| row.dataset.as_ref().is_some_and(|name| seen.insert(name))).collect()
    }

    /// True if a dataset's name is damaged: then a list of their names is not whole.
    #[must_use]
    pub fn lacks_names(&self) -> bool {
        self.unnamed.is_some()
    }

    /// True if damage may hide snapshots: then no list of them is whole.
    #[must_use]
    pub fn lacks_snapshots(&self) -> bool {
        self.hidden.is_some()
    }

    /// What is wrong with a dataset's name, and with the log: each as what a user may look for.
    pub(super) fn damage(&self) -> [(&'static str, Option<&str>); 2] {
        [("the names of datasets", self.unnamed.as_deref()), ("the list of snapshots", self.hidden.as_deref())]
    }

    /// The store's state when this was read.
    pub(super) fn mark(&self) -> Option<&(Vec<u8>, u64)> {
        self.mark.as_ref()
    }
}

/// A moment as a file name: seconds in UTC, no colons.
fn file_name(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds)
        .map_or_else(|_| format!("@{}", time.seconds), |t| t.strftime("%Y-%m-%dT%H-%M-%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_names() {
        assert_eq!(file_name(Timestamp { seconds: 1_705_314_605, nanos: 7 }), "2024-01-15T10-30-05Z");
        assert_eq!(file_name(Timestamp { seconds: i64::MAX, nanos: 0 }), format!("@{}", i64::MAX));
    }
}
