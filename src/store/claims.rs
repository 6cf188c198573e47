//! Which entry of the log a snapshot came with (section 15.1).
//!
//! Everybody with a key can write an entry that says of another's snapshot that it came with it. But a manifest has the sequence of its entry and
//! the hash of the one before, and its id is a hash under a key: nobody can name it before it is there. So of several entries
//! that name it the first counts, which is told without any manifest; and what the manifest says tells the rest.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::model::{DatasetKey, Digest, KeyName, LogEntry, LogKind, Manifest, SnapshotId, Timestamp};

use super::Store;
use super::chain::Judged;
use super::error::StoreError;

/// A snapshot as the log knows it.
#[derive(Debug, Clone)]
pub struct SnapshotRow {
    /// Its id.
    pub id: SnapshotId,
    /// Its sequence.
    pub sequence: u64,
    /// When it arrived.
    pub arrival: Timestamp,
    /// Its dataset's key.
    pub dataset: DatasetKey,
    /// Hash of the entry before.
    pub previous: Digest,
    /// Key whose holder wrote it.
    pub writer: KeyName,
}

impl From<LogEntry> for SnapshotRow {
    fn from(entry: LogEntry) -> Self {
        Self {
            id: entry.manifest,
            sequence: entry.sequence,
            arrival: entry.arrival,
            dataset: entry.dataset,
            previous: entry.previous,
            writer: entry.writer,
        }
    }
}

/// The first entries that name each snapshot.
#[derive(Debug, Default)]
pub struct Claims(HashMap<SnapshotId, u64>);

impl Claims {
    /// Takes the next entry, the oldest first; an error if a snapshot is said to have come with it that an earlier one brought.
    ///
    /// # Errors
    /// That is what it gives.
    pub fn take(&mut self, entry: &LogEntry) -> Result<(), FalseEntry> {
        if entry.kind != LogKind::Snapshot {
            return Ok(());
        }
        match *self.0.entry(entry.manifest).or_insert(entry.sequence) {
            first if first == entry.sequence => Ok(()),
            first => Err(FalseEntry::new(&entry.clone().into(), &format!("entry {first} brought it"))),
        }
    }

    fn is_first(&self, row: &SnapshotRow) -> bool {
        self.0.get(&row.id).is_none_or(|first| *first == row.sequence)
    }
}

/// An entry that says of a snapshot that it came with it, and it did not, or not as that says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FalseEntry {
    /// Which entry.
    pub sequence: u64,
    /// The snapshot that it names.
    pub snapshot: SnapshotId,
    /// The key whose holder wrote it, as it says.
    pub writer: KeyName,
    /// What shows that it is false.
    pub why: String,
}

impl FalseEntry {
    fn new(row: &SnapshotRow, why: &str) -> Self {
        Self { sequence: row.sequence, snapshot: row.id, writer: row.writer, why: why.to_owned() }
    }
}

impl std::fmt::Display for FalseEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sequence, snapshot, writer, why } = self;
        let snapshot = super::snapshot_label(*snapshot);
        write!(
            f,
            "entry {sequence} of the arrival log, which names {snapshot}: {why}; written by the key {writer}, as it says"
        )
    }
}

impl Store {
    /// What is false about an entry, by what the manifest says that it names.
    #[must_use]
    pub fn belied_by(&self, row: &SnapshotRow, manifest: &Manifest) -> Option<FalseEntry> {
        let told = |why: &str| Some(FalseEntry::new(row, why));
        match () {
            () if manifest.sequence != row.sequence => {
                told(&format!("its manifest says that it came with entry {}", manifest.sequence))
            }
            () if manifest.previous != row.previous => told("its manifest names another entry before it"),
            () if self.keyring().ids().dataset(&manifest.dataset) != row.dataset => {
                told(&format!("its manifest says that it is of the dataset {}", manifest.dataset))
            }
            () if manifest.arrival != row.arrival => told("its manifest says that it arrived at another time"),
            () => None,
        }
    }

    /// True unless the manifest that an entry names can be read, and belies it. Then neither a dataset's name nor a rule means that snapshot.
    #[must_use]
    pub fn is_borne_out(&self, row: &SnapshotRow) -> bool {
        self.manifest(&row.id).map_or(true, |manifest| self.belied_by(row, &manifest).is_none())
    }

    /// True if no entry before this one names its snapshot. Where the manifest says that it came with this entry, the log need not be
    /// asked: nobody can have known its id before.
    pub(super) fn is_first_claim(&self, row: &SnapshotRow, known: &OnceCell<Claims>) -> Result<bool, StoreError> {
        let bears_out = |manifest: Manifest| manifest.sequence == row.sequence && manifest.previous == row.previous;
        if self.manifest(&row.id).is_ok_and(bears_out) {
            return Ok(true);
        }
        if let Some(claims) = known.get() {
            return Ok(claims.is_first(row));
        }
        let mut entries = Vec::new();
        self.walk_back(|judged, _| {
            if let Judged::Entry(entry) = judged
                && entry.kind == LogKind::Snapshot
            {
                entries.push(entry);
            }
            true
        })?;
        let mut claims = Claims::default();
        entries.iter().rev().for_each(|entry| drop(claims.take(entry)));
        Ok(known.get_or_init(|| claims).is_first(row))
    }
}
