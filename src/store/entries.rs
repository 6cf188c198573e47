//! Entries of the arrival log that no capture makes: snapshots given up, holds, policies, changes of keys.

use std::cell::RefCell;
use std::collections::HashSet;

use crate::codec::{MacLabel, seal_value};
use crate::format::{DETAIL, Family, join_mac, number_key};
use crate::model::{DatasetKey, DatasetRecord, Digest, LogEntry, LogKind, Purpose, Role, SnapshotId, Timestamp};

use super::Store;
use super::db::{Db, Rows};
use super::error::StoreError;
use super::exclusive::{Exclusive, add_entry, newest_entry, publish};
use super::keyring::OwnEpoch;
use super::lock::{Waiting, WriterLock};
use super::log::dataset_record;

/// An entry to be added; the store gives it sequence, time and place in the chain.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// What happened.
    pub kind: LogKind,
    /// Dataset concerned, if one is.
    pub dataset: Option<DatasetKey>,
    /// Snapshot concerned, if one is.
    pub snapshot: Option<SnapshotId>,
    /// More about it, to be sealed under the page class.
    pub detail: Option<Vec<u8>>,
}

/// The one who may add entries to the log. While it lives nobody else writes: what the log says cannot change.
pub struct LogWriter {
    store: Store,
    db: Db,
    epoch: OwnEpoch,
    _lock: WriterLock,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogWriter({})", self.store.dir().display())
    }
}

impl Store {
    /// Takes the writer lock, to add entries to the log. What the store knows afterwards is as new as the lock.
    ///
    /// # Errors
    /// As [`Store::writer`], and [`StoreError::Closed`] under a writer key.
    pub fn log_writer(&self, waiting: Waiting, keep_waiting: &dyn Fn() -> bool) -> Result<LogWriter, StoreError> {
        self.require(Role::Catalog, "changing what the log says")?;
        super::reserve::give_up(self.dir());
        let Exclusive { db, lock } = Exclusive::begin(self, waiting, keep_waiting)?;
        let epoch = self.keyring().begin_epoch(Purpose::Add)?;
        Ok(LogWriter { store: self.clone(), db, epoch, _lock: lock })
    }

    /// What an entry says beyond its kind; nothing if it says no more.
    ///
    /// # Errors
    /// If it is damaged, or the key in use may not read it.
    pub fn detail(&self, entry: &LogEntry) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, StoreError> {
        let Some((_, sealed)) = entry.ext.iter().find(|(tag, _)| *tag == DETAIL) else { return Ok(None) };
        self.fresh_db()?;
        self.reading(|db| self.open_page_value(db, Family::Log, &number_key(entry.sequence), sealed)).map(Some)
    }
}

impl LogWriter {
    /// Adds entries in one step, all or none; gives their sequences. When this returns they survive a power cut.
    ///
    /// # Errors
    /// If writing fails.
    pub fn append(&mut self, entries: &[NewEntry], now: Timestamp) -> Result<Vec<u64>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let (mut sequence, mut previous) = newest_entry(&self.db)?;
        let (mut rows, mut sequences) = (Rows::default(), Vec::new());
        rows.put(Family::Epochs, self.epoch.id.as_bytes(), &self.epoch.record);
        for new in entries {
            sequence += 1;
            previous = add_entry(&self.store, &mut rows, self.entry(new, sequence, previous, now));
            sequences.push(sequence);
        }
        self.set_heads(&mut rows, entries)?;
        publish(&self.store, &self.db, &rows, sequence, previous)?;
        log::info!("{} entries added to the log, up to {sequence}", entries.len());
        Ok(sequences)
    }

    /// Datasets of which a snapshot is given up get the newest one left as their head, so that nothing goes on from one that
    /// may be gone. A dataset without any loses its record: the log has it all.
    fn set_heads(&self, rows: &mut Rows, entries: &[NewEntry]) -> Result<(), StoreError> {
        let given_up = |entry: &&NewEntry| entry.kind == LogKind::Forget;
        let ids: HashSet<_> = entries.iter().filter(given_up).filter_map(|entry| entry.snapshot).collect();
        let datasets: HashSet<_> = entries.iter().filter(given_up).filter_map(|entry| entry.dataset).collect();
        if datasets.is_empty() {
            return Ok(());
        }
        let keyring = self.store.keyring().ids();
        let (mut heads, datasets) = (Vec::new(), RefCell::new(datasets));
        let damage = self.store.newest_snapshots(
            |row| !ids.contains(&row.id) && datasets.borrow().contains(&row.dataset),
            |row| {
                if self.store.is_borne_out(&row) {
                    datasets.borrow_mut().remove(&row.dataset);
                    heads.push(row);
                }
                !datasets.borrow().is_empty()
            },
        )?;
        if let Some(damage) = damage {
            return Err(damage);
        }
        for row in heads {
            if let Some(record) = dataset_record(&self.db, keyring, row.dataset)? {
                let record = DatasetRecord { head: row.sequence, manifest: row.id, ..record }.to_bytes();
                let mac = keyring.mac(MacLabel::Dataset, &[row.dataset.as_bytes(), &record]);
                rows.put(Family::Datasets, row.dataset.as_bytes(), &join_mac(record, &mac));
            }
        }
        datasets.borrow().iter().for_each(|key| rows.remove(Family::Datasets, key.as_bytes()));
        Ok(())
    }

    fn entry(&self, new: &NewEntry, sequence: u64, previous: Digest, now: Timestamp) -> LogEntry {
        let detail = new.detail.as_ref().map(|plain| {
            let key = number_key(sequence);
            (DETAIL, seal_value(self.epoch.id, &self.epoch.page, Family::Log.name(), &key, plain))
        });
        LogEntry {
            kind: new.kind,
            sequence,
            arrival: now,
            dataset: new.dataset.unwrap_or(DatasetKey::from_bytes([0; 16])),
            manifest: new.snapshot.unwrap_or(SnapshotId::from_bytes([0; 32])),
            previous,
            writer: self.store.keyring().name(),
            ext: detail.into_iter().collect(),
        }
    }
}
