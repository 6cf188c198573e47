//! Stats: what the datasets of a store amount to.

use std::collections::HashMap;

use crate::model::{DatasetKey, Timestamp};
use crate::snapshots::Listed;

/// Sums over the snapshots of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetStats {
    /// Its name; its key in brackets where that cannot be read.
    pub dataset: String,
    /// How many snapshots.
    pub snapshots: u64,
    /// When the first one arrived, as far as witnesses bear it out.
    pub first: Timestamp,
    /// When the last one arrived, in the same way.
    pub last: Timestamp,
    /// Files of the newest one.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes of the files of all snapshots, each snapshot counted whole.
    pub logical: u64,
    /// Plain bytes that these snapshots brought and that were not in the store before, whatever dataset had them.
    pub unique: u64,
    /// What those take, compressed and sealed.
    pub stored: u64,
    /// Snapshots whose manifest cannot be read; they count as snapshots alone.
    pub damaged: u64,
}

impl DatasetStats {
    /// Logical bytes for each stored one.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.stored > 0).then(|| self.logical as f64 / self.stored as f64)
    }

    fn new(snapshot: &Listed) -> Self {
        Self {
            dataset: snapshot.dataset_label(),
            snapshots: 0,
            first: snapshot.counted.time,
            last: snapshot.counted.time,
            files: 0,
            bytes: 0,
            logical: 0,
            unique: 0,
            stored: 0,
            damaged: 0,
        }
    }

    fn add(&mut self, snapshot: &Listed) {
        self.snapshots += 1;
        self.last = snapshot.counted.time;
        let Ok(manifest) = &snapshot.manifest else {
            self.damaged += 1;
            return;
        };
        let s = &manifest.statistics;
        (self.files, self.bytes) = (s.files, s.bytes);
        self.logical = self.logical.saturating_add(s.bytes);
        self.unique = self.unique.saturating_add(s.new_bytes);
        self.stored = self.stored.saturating_add(s.stored_bytes);
    }
}

/// Sums by dataset. Memory: a few hundred bytes for each dataset.
#[derive(Debug, Default)]
pub struct Stats(HashMap<DatasetKey, DatasetStats>);

impl Stats {
    /// Counts a snapshot. They are given oldest arrival first.
    pub fn add(&mut self, snapshot: &Listed) {
        self.0.entry(snapshot.row.dataset).or_insert_with(|| DatasetStats::new(snapshot)).add(snapshot);
    }

    /// The sums, in the order of names.
    #[must_use]
    pub fn by_name(self) -> Vec<DatasetStats> {
        let mut sums: Vec<_> = self.0.into_values().collect();
        sums.sort_by(|a, b| a.dataset.cmp(&b.dataset));
        sums
    }
}
