//! The arrival log and the dataset records: what is lost of them is made anew from manifests, bit for bit, where a manifest has it.
//!
//! A manifest says everything that its entry says, but for the writer, whom the record of its epoch names. Entries of other kinds are
//! written nowhere else.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::codec::{MacLabel, seal_value};
use crate::format::{EpochRecord, Family, SealedHeader, join_mac, number_key, split_mac};
use crate::model::{DatasetKey, DatasetRecord, KeyName, LogEntry, LogKind, Purpose, SnapshotId};

use super::super::Store;
use super::super::db::{Db, Rows};
use super::super::error::StoreError;
use super::super::exclusive::{add_entry, add_unvouched};
use super::super::inspect::Finding;
use super::super::log::dataset_record;
use super::scan::last_number;

/// What an entry is about.
struct About {
    kind: LogKind,
    dataset: DatasetKey,
    snapshot: SnapshotId,
}

impl From<&LogEntry> for About {
    fn from(entry: &LogEntry) -> Self {
        Self { kind: entry.kind, dataset: entry.dataset, snapshot: entry.manifest }
    }
}

/// The log as far as it is whole, or can be made so.
pub(super) struct Log {
    entries: BTreeMap<u64, About>,
    /// Entries that are lost and follow from a manifest.
    remade: Vec<LogEntry>,
    /// Datasets whose records are.
    datasets: BTreeSet<DatasetKey>,
    /// Snapshots that were given up.
    forgotten: HashSet<SnapshotId>,
    /// Manifests that are there and cannot be opened: they are set aside.
    unreadable: HashSet<SnapshotId>,
    /// What is lost for good.
    pub(super) lost: Vec<Finding>,
}

impl Log {
    /// Looks at the log, the manifests and the dataset records. `acknowledged`: the sequence up to which there were entries.
    pub(super) fn look(store: &Store, db: &Db, acknowledged: u64) -> Result<Self, StoreError> {
        let mut log = Self {
            entries: BTreeMap::new(),
            remade: Vec::new(),
            datasets: BTreeSet::new(),
            forgotten: HashSet::new(),
            unreadable: HashSet::new(),
            lost: Vec::new(),
        };
        if let Some(last) = last_number(db, Family::Log)? {
            db.scan_past_damage(Family::Log, 0, last, |sequence, value| {
                let entry = store.keyring().check_log_entry(value).ok().map(|(entry, _)| entry);
                if let Some(entry) = entry.filter(|entry| entry.sequence == sequence) {
                    if store.forgets(&entry) {
                        log.forgotten.insert(entry.manifest);
                    }
                    log.entries.insert(sequence, About::from(&entry));
                }
                true
            })?;
        }
        log.remake(store, db)?;
        let last = log.entries.keys().next_back().copied().unwrap_or(0).max(acknowledged);
        for sequence in (1..=last).filter(|sequence| !log.entries.contains_key(sequence)) {
            log.lost.push(Finding::new(format!("entry {sequence} of the arrival log"), "it is missing"));
        }
        log.records(store, db)?;
        Ok(log)
    }

    /// How many rows can be made anew.
    pub(super) fn to_remake(&self) -> u64 {
        (self.remade.len() + self.datasets.len()) as u64
    }

    /// How many manifests are there that cannot be opened.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable.len() as u64
    }

    /// True for a manifest that is there and cannot be opened.
    pub(super) fn is_unreadable(&self, key: &[u8]) -> bool {
        SnapshotId::from_slice(key).is_some_and(|id| self.unreadable.contains(&id))
    }

    fn remake(&mut self, store: &Store, db: &Db) -> Result<(), StoreError> {
        let mut ids: BTreeSet<_> = self.snapshots().map(|(_, about)| about.snapshot).collect();
        let scanned = db.scan(Family::Manifests, &[], |key, _| {
            ids.extend(SnapshotId::from_slice(key));
            Ok(true)
        });
        passed(scanned)?;
        for id in ids {
            let manifest = match store.manifest_in(db, &id) {
                Err(e) if e.is_damage() => {
                    // That of a snapshot that was given up may be gone.
                    if !self.forgotten.contains(&id) {
                        self.lost.push(Finding::from_error(&e));
                    }
                    if db.get(Family::Manifests, id.as_bytes()).is_ok_and(|row| row.is_some()) {
                        self.unreadable.insert(id);
                    }
                    continue;
                }
                manifest => manifest?,
            };
            if self.entries.contains_key(&manifest.sequence) {
                continue;
            }
            let entry = LogEntry {
                kind: LogKind::Snapshot,
                sequence: manifest.sequence,
                arrival: manifest.arrival,
                dataset: store.keyring().ids().dataset(&manifest.dataset),
                manifest: id,
                previous: manifest.previous,
                writer: writer_of(db, id),
                ext: Vec::new(),
            };
            self.entries.insert(entry.sequence, About::from(&entry));
            self.remade.push(entry);
        }
        Ok(())
    }

    fn snapshots(&self) -> impl DoubleEndedIterator<Item = (u64, &About)> {
        self.entries
            .iter()
            .filter(|(_, about)| about.kind == LogKind::Snapshot)
            .map(|(sequence, about)| (*sequence, about))
    }

    /// Those that were not given up.
    fn living(&self) -> impl DoubleEndedIterator<Item = (u64, &About)> {
        self.snapshots().filter(|(_, about)| !self.forgotten.contains(&about.snapshot))
    }

    /// A dataset all of whose snapshots were given up has no record.
    fn records(&mut self, store: &Store, db: &Db) -> Result<(), StoreError> {
        let all: BTreeSet<_> = self.living().map(|(_, about)| about.dataset).collect();
        for key in all {
            match dataset_record(db, store.keyring().ids(), key) {
                Ok(Some(_)) => {}
                Err(e) if !e.is_damage() => return Err(e),
                _ => drop(self.datasets.insert(key)),
            }
        }
        Ok(())
    }

    /// The manifests that the log names.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &SnapshotId> {
        self.snapshots().map(|(_, about)| &about.snapshot)
    }

    /// The datasets whose records are whole.
    pub(super) fn whole_datasets(&self) -> impl Iterator<Item = DatasetKey> {
        let all: BTreeSet<_> = self.snapshots().map(|(_, about)| about.dataset).collect();
        all.into_iter().filter(|key| !self.datasets.contains(key))
    }

    /// Copies the whole rows of the log, and adds those that are made anew.
    pub(super) fn write(&self, store: &Store, old: &Db, fresh: &Db) -> Result<(), StoreError> {
        let mut rows = Rows::default();
        // Hashes of entries, by what was written behind them.
        let mut known: BTreeSet<_> = self.remade.iter().map(|entry| entry.previous).collect();
        known
            .extend(super::super::tip::read(store.dir(), store.keyring().ids()).ok().flatten().map(|tip| tip.log_hash));
        for sequence in self.entries.keys() {
            if let Ok(Some(value)) = old.get(Family::Log, &number_key(*sequence)) {
                known.extend(store.keyring().check_log_entry(&value).map(|(entry, _)| entry.previous));
                rows.put(Family::Log, &number_key(*sequence), &value);
            }
        }
        for entry in &self.remade {
            let vouched = add_entry(store, &mut Rows::default(), entry.clone());
            if known.contains(&vouched) {
                add_entry(store, &mut rows, entry.clone());
            } else {
                // Whether somebody vouched for what its writer said of the time is not known.
                add_unvouched(store, &mut rows, entry);
            }
        }
        for key in &self.datasets {
            self.write_record(store, old, *key, &mut rows)?;
        }
        fresh.write(&rows, false)
    }

    fn write_record(&self, store: &Store, old: &Db, key: DatasetKey, rows: &mut Rows) -> Result<(), StoreError> {
        let of_it = || self.snapshots().filter(|(_, about)| about.dataset == key);
        let living = self.living().filter(|(_, about)| about.dataset == key);
        let newest = living.rev().find_map(|(head, about)| {
            Some((head, about.snapshot, store.manifest_in(old, &about.snapshot).ok()?.dataset))
        });
        // Without any manifest its name is not known.
        let Some((head, manifest, name)) = newest else { return Ok(()) };
        let epoch = store.keyring().begin_epoch(Purpose::Add)?;
        rows.put(Family::Epochs, epoch.id.as_bytes(), &epoch.record);
        let name = name.as_str().as_bytes();
        let name = seal_value(epoch.id, &epoch.page, Family::Datasets.name(), key.as_bytes(), name);
        let record = DatasetRecord { head, manifest, count: of_it().count() as u64, name, ext: Vec::new() }.to_bytes();
        let mac = store.keyring().ids().mac(MacLabel::Dataset, &[key.as_bytes(), &record]);
        rows.put(Family::Datasets, key.as_bytes(), &join_mac(record, &mac));
        Ok(())
    }
}

/// Damage ends a scan and no more.
pub(super) fn passed(looked: Result<(), StoreError>) -> Result<(), StoreError> {
    match looked {
        Err(e) if !e.is_damage() => Err(e),
        _ => Ok(()),
    }
}

/// The name of the key whose holder wrote a manifest; zeros if its epoch is lost.
fn writer_of(db: &Db, id: SnapshotId) -> KeyName {
    let epoch = db.with(Family::Manifests, id.as_bytes(), |value| SealedHeader::parse(value).map(|(h, _)| h.epoch));
    let record = epoch.ok().flatten().and_then(Result::ok).and_then(|epoch| {
        let row = db.get(Family::Epochs, epoch.as_bytes()).ok().flatten()?;
        EpochRecord::from_bytes(split_mac(&row, "epoch record").ok()?.0).ok()
    });
    record.map_or(KeyName::from_bytes([0; 8]), |record| record.writer)
}
