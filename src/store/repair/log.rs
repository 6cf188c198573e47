//! The arrival log and the dataset records: what is lost of them is made anew from manifests, bit for bit, where a manifest has it.
//!
//! A manifest says everything that its entry says, but for the writer, whom the record of its epoch names. Entries of other kinds are
//! written nowhere else.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::codec::{MacLabel, digest, seal_value};
use crate::format::{EpochRecord, Family, SealedHeader, Tip, join_mac, number_key, split_mac};
use crate::model::{
    DatasetKey, DatasetName, DatasetRecord, Digest, KeyName, LogEntry, LogKind, Manifest, Purpose, SnapshotId,
};

use super::super::Store;
use super::super::chain::{Details, Judge, Judged, LostEntry, without_detail};
use super::super::db::{Db, Rows};
use super::super::error::StoreError;
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

/// What stands in the place of an entry: the hash of its bytes, and what they say.
type Standing = BTreeMap<u64, (Digest, Result<LogEntry, String>)>;

/// The log as far as it is whole, or can be made so.
#[derive(Default)]
pub(super) struct Log {
    entries: BTreeMap<u64, About>,
    /// Where a row is, be it one that is lost.
    standing: BTreeSet<u64>,
    /// Entries that name a snapshot which an earlier one brought.
    false_entries: HashSet<u64>,
    /// Entries that are lost where they stand, and that another file has still or that follow from a manifest: their rows.
    remade: BTreeMap<u64, Vec<u8>>,
    /// Entries whose loss was accepted.
    void: Vec<u64>,
    /// The tip names another entry than the one that stands there, for which somebody vouches.
    pub(super) wrong_tip: bool,
    /// Datasets whose records are.
    datasets: BTreeSet<DatasetKey>,
    /// Datasets that have a record and no snapshot any more, since that is void.
    headless: BTreeSet<DatasetKey>,
    /// Keys of records that are no dataset's: nobody made them, and the log has no snapshot of such a one.
    strays: BTreeSet<Vec<u8>>,
    /// Manifests that cannot be opened where they stand, and that another file has still.
    manifests: BTreeMap<SnapshotId, Vec<u8>>,
    /// Snapshots that were given up.
    forgotten: HashSet<SnapshotId>,
    /// Manifests that are there and cannot be opened: they are set aside.
    unreadable: HashSet<SnapshotId>,
    /// Entries that are lost for good, or what they say.
    pub(super) lost_entries: Vec<LostEntry>,
    /// All that is lost for good.
    pub(super) lost: Vec<Finding>,
}

impl Log {
    /// Looks at the log, the manifests and the dataset records. `tip`: what was acknowledged, if that is known.
    pub(super) fn look(store: &Store, db: &Db, tip: Option<&Tip>) -> Result<Self, StoreError> {
        let (mut log, mut rows) = (Self::default(), Standing::new());
        if let Some(last) = last_number(db, Family::Log)? {
            db.scan_past_damage(Family::Log, 1, last, |sequence, value| {
                let entry = store.log_entry(sequence, value).map_err(|e| match e {
                    StoreError::Damage { why, .. } => why,
                    other => other.to_string(),
                });
                rows.insert(sequence, (digest(value), entry));
                true
            })?;
        }
        log.standing = rows.keys().copied().collect();
        let tip = tip.filter(|tip| tip.sequence > 0);
        log.judge(store, db, &rows, tip);
        if log.take_older_rows(store, db, &mut rows) {
            log.judge(store, db, &rows, tip);
        }
        log.remake(store, db, &mut rows, tip)?;
        if !log.remade.is_empty() {
            log.judge(store, db, &rows, tip);
            let entries = &log.entries;
            // Not bit for bit what it was: it has the place of another.
            log.remade.retain(|sequence, _| entries.contains_key(sequence));
        }
        let findings: Vec<_> = log.lost_entries.iter().map(|lost| Finding::from_error(&lost.to_error())).collect();
        log.lost.splice(0..0, findings);
        log.records(store, db)?;
        Ok(log)
    }

    /// Tells entries, void and lost ones apart.
    ///
    /// Where two do not fit, the one before is lost: the chain behind it says what must stand there. But everybody with a key could have put one
    /// there that does not fit, for which nobody vouches. Then it is that one, or the tip, that is wrong, if somebody vouches for the one before.
    fn judge(&mut self, store: &Store, db: &Db, rows: &Standing, tip: Option<&Tip>) {
        let mut judge = Judge::new(Some(store.keyring()), tip.map(|tip| (tip.sequence, tip.log_hash)));
        let mut details = Details::default();
        // Somebody vouches for the entry right behind. That one of a later capture is does not tell: no capture looks so far back.
        let mut is_sure = false;
        self.entries.clear();
        self.void.clear();
        self.forgotten.clear();
        self.lost_entries.clear();
        self.wrong_tip = false;
        let front = [(&0, None)];
        for (sequence, row) in rows.iter().rev().map(|(sequence, row)| (sequence, Some(row))).chain(front) {
            for hole in judge.gap(*sequence) {
                self.take(judge.hole(hole));
                is_sure = false;
            }
            let Some((stands, entry)) = row else { continue };
            let said = judge.said(*sequence);
            let whole = entry.as_ref().ok().filter(|_| said.is_some_and(|said| said != *stands));
            let mut judged = judge.row(*sequence, *stands, entry.clone().map_err(|why| StoreError::damage("", why)));
            if let (Judged::Lost(_), Some(entry), false) = (&judged, whole, is_sure)
                && store.keyring().vouches_for(entry) == Some(true)
            {
                self.blame(sequence.saturating_add(1), rows);
                judge.follow(entry);
                judged = Judged::Entry(entry.clone());
            }
            if let Judged::Entry(entry) = &judged {
                is_sure = store.keyring().vouches_for(entry) == Some(true);
                if store.forgets(entry) {
                    self.forgotten.insert(entry.manifest);
                }
                if let Some(why) = details.lost(store, db, entry) {
                    self.lost_entries.push(without_detail(entry.clone(), *stands, &why));
                }
            } else {
                is_sure = false;
            }
            self.take(judged);
        }
        self.lost_entries.sort_by_key(|lost| lost.sequence);
        self.void.reverse();
        let mut named = HashSet::new();
        let snapshots = self.entries.iter().filter(|(_, about)| about.kind == LogKind::Snapshot);
        self.false_entries =
            snapshots.filter(|(_, about)| !named.insert(about.snapshot)).map(|(sequence, _)| *sequence).collect();
    }

    fn take(&mut self, judged: Judged) {
        match judged {
            Judged::Entry(entry) => drop(self.entries.insert(entry.sequence, About::from(&entry))),
            Judged::Void(entry) => self.void.push(entry.sequence),
            Judged::Lost(lost) => self.lost_entries.push(lost),
        }
    }

    /// An entry that was taken for one of the log is none, or the tip is wrong, if there is no such entry.
    fn blame(&mut self, sequence: u64, rows: &Standing) {
        let (Some(_), Some((stands, _))) = (self.entries.remove(&sequence), rows.get(&sequence)) else {
            self.wrong_tip = true;
            return;
        };
        let why = "it names another entry before it than the one that somebody vouches for, and nobody vouches for it"
            .to_owned();
        self.lost_entries.push(LostEntry { sequence, why, stands: *stands, said: None, entry: None });
    }

    /// How many rows can be made anew.
    pub(super) fn to_remake(&self) -> u64 {
        (self.remade.len() + self.manifests.len() + self.datasets.len()) as u64
    }

    /// How many manifests are there that cannot be opened.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable.len() as u64
    }

    /// True for a manifest that is there and cannot be opened.
    pub(super) fn is_unreadable(&self, key: &[u8]) -> bool {
        SnapshotId::from_slice(key).is_some_and(|id| self.unreadable.contains(&id))
    }

    /// Entries whose loss was accepted.
    pub(super) fn void(&self) -> u64 {
        self.void.len() as u64
    }

    /// Takes rows that are whole in another file than the one that has the newest. True if there are any.
    ///
    /// An entry is never written anew: somebody put that there.
    fn take_older_rows(&mut self, store: &Store, db: &Db, rows: &mut Standing) -> bool {
        let lost = self.lost_entries.iter().filter(|lost| lost.entry.is_none());
        let lost: BTreeMap<_, _> = lost.map(|lost| (lost.sequence, lost.said)).collect();
        if !lost.keys().any(|sequence| rows.contains_key(sequence)) {
            return false;
        }
        db.versions(Family::Log, |key, value| {
            let Some(sequence) = key.try_into().ok().map(u64::from_be_bytes) else { return };
            let Some(said) = lost.get(&sequence).filter(|_| rows.contains_key(&sequence)) else { return };
            let hash = digest(value);
            if said.is_none_or(|said| said == hash)
                && rows.get(&sequence).is_none_or(|(stands, _)| *stands != hash)
                && let Ok(entry) = store.log_entry(sequence, value)
            {
                rows.insert(sequence, (hash, Ok(entry)));
                self.remade.insert(sequence, value.to_vec());
            }
        });
        !self.remade.is_empty()
    }

    /// The same with manifests that could not be opened where they stand: they are told by their ids.
    fn take_older_manifests(
        &mut self,
        store: &Store,
        db: &Db,
        failed: &mut BTreeMap<SnapshotId, StoreError>,
    ) -> Vec<(SnapshotId, Manifest)> {
        let mut found = Vec::new();
        let mut wanted: HashSet<_> = failed.keys().filter(|id| !self.forgotten.contains(id)).copied().collect();
        if wanted.is_empty() {
            return found;
        }
        db.versions(Family::Manifests, |key, value| {
            let Some(id) = SnapshotId::from_slice(key).filter(|id| wanted.contains(id)) else { return };
            if let Ok(manifest) = store.manifest_of(db, &id, value) {
                wanted.remove(&id);
                failed.remove(&id);
                self.manifests.insert(id, value.to_vec());
                found.push((id, manifest));
            }
        });
        found
    }

    /// Makes entries anew from manifests.
    fn remake(&mut self, store: &Store, db: &Db, rows: &mut Standing, tip: Option<&Tip>) -> Result<(), StoreError> {
        let mut remade = Vec::new();
        let mut ids: BTreeSet<_> = self.snapshots().map(|(_, about)| about.snapshot).collect();
        let scanned = db.scan(Family::Manifests, &[], |key, _| {
            ids.extend(SnapshotId::from_slice(key));
            Ok(true)
        });
        passed(scanned)?;
        let (mut manifests, mut failed) = (Vec::new(), BTreeMap::new());
        for id in ids {
            match store.manifest_in(db, &id) {
                Err(e) if e.is_damage() => drop(failed.insert(id, e)),
                manifest => manifests.push((id, manifest?)),
            }
        }
        manifests.extend(self.take_older_manifests(store, db, &mut failed));
        for (id, e) in failed {
            // That of a snapshot that was given up may be gone.
            if !self.forgotten.contains(&id) {
                self.lost.push(Finding::from_error(&e));
            }
            if has_row(db, id) {
                self.unreadable.insert(id);
            }
        }
        for (id, manifest) in manifests {
            if self.entries.contains_key(&manifest.sequence) || self.void.contains(&manifest.sequence) {
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
            remade.push(entry);
        }
        // Hashes of entries, by what was written behind them.
        let standing = rows.values().filter_map(|(_, entry)| entry.as_ref().ok());
        let mut known: HashSet<_> = standing.chain(&remade).map(|entry| entry.previous).collect();
        known.extend(tip.map(|tip| tip.log_hash));
        let writers = store.known_writers(db);
        for entry in remade {
            // Whether somebody vouched for what its writer said of the time is known by the hash alone; and the writer, where the manifest was sealed
            // anew since.
            let (entry, bytes) = store.as_it_was(entry, &writers, &|hash| known.contains(hash));
            rows.insert(entry.sequence, (digest(&bytes), Ok(entry.clone())));
            self.remade.insert(entry.sequence, bytes);
        }
        Ok(())
    }

    fn snapshots(&self) -> impl DoubleEndedIterator<Item = (u64, &About)> {
        self.entries
            .iter()
            .filter(|(sequence, about)| about.kind == LogKind::Snapshot && !self.false_entries.contains(sequence))
            .map(|(sequence, about)| (*sequence, about))
    }

    /// Those that were not given up.
    fn living(&self) -> impl DoubleEndedIterator<Item = (u64, &About)> {
        self.snapshots().filter(|(_, about)| !self.forgotten.contains(&about.snapshot))
    }

    /// The newest snapshot of a dataset whose manifest bears its entry out: its sequence, and the dataset's name.
    fn newest_of(&self, store: &Store, db: &Db, key: DatasetKey) -> Option<(u64, SnapshotId, DatasetName)> {
        self.living().filter(|(_, about)| about.dataset == key).rev().find_map(|(head, about)| {
            let older = self.manifests.get(&about.snapshot);
            let manifest = older.map_or_else(
                || store.manifest_in(db, &about.snapshot),
                |older| store.manifest_of(db, &about.snapshot, older),
            );
            let manifest = manifest.ok()?;
            let is_own = manifest.sequence == head && store.keyring().ids().dataset(&manifest.dataset) == key;
            is_own.then_some((head, about.snapshot, manifest.dataset))
        })
    }

    /// A dataset all of whose snapshots were given up has no record.
    fn records(&mut self, store: &Store, db: &Db) -> Result<(), StoreError> {
        let all: BTreeSet<_> = self.living().map(|(_, about)| about.dataset).collect();
        for key in all {
            match dataset_record(db, store.keyring().ids(), key) {
                Ok(Some(record)) if self.void.binary_search(&record.head).is_err() => {}
                Err(e) if !e.is_damage() => return Err(e),
                // Without any manifest its name is not known.
                _ if self.newest_of(store, db, key).is_none() => {}
                _ => drop(self.datasets.insert(key)),
            }
        }
        let known: BTreeSet<_> = self.entries.values().map(|about| about.dataset).collect();
        let mut keys = Vec::new();
        passed(db.scan(Family::Datasets, &[], |key, _| {
            keys.push(key.to_vec());
            Ok(true)
        }))?;
        for bytes in keys {
            let key = DatasetKey::from_slice(&bytes);
            let record = key.and_then(|key| dataset_record(db, store.keyring().ids(), key).ok().flatten());
            match key.filter(|key| record.is_some() || known.contains(key)) {
                None => drop(self.strays.insert(bytes)),
                Some(key) if self.datasets.contains(&key) => {}
                Some(key) => {
                    if record.is_some_and(|record| self.void.binary_search(&record.head).is_ok()) {
                        self.headless.insert(key);
                    }
                }
            }
        }
        Ok(())
    }

    /// How many records are no dataset's.
    pub(super) fn strays(&self) -> u64 {
        self.strays.len() as u64
    }

    /// True for the key of one of them.
    pub(super) fn is_stray(&self, key: &[u8]) -> bool {
        self.strays.contains(key)
    }

    /// How many datasets have a record whose snapshot is void, and no other one.
    pub(super) fn headless(&self) -> u64 {
        self.headless.len() as u64
    }

    /// Writes the records of datasets as the log has them, once entries of it are void.
    pub(super) fn settle_datasets(&self, store: &Store, db: &Db) -> Result<(), StoreError> {
        if self.datasets.is_empty() && self.headless.is_empty() {
            return Ok(());
        }
        let mut rows = Rows::default();
        self.write_records(store, db, &mut rows)?;
        db.write(&rows, true)?;
        db.flush()
    }

    fn write_records(&self, store: &Store, old: &Db, rows: &mut Rows) -> Result<(), StoreError> {
        self.headless.iter().for_each(|key| rows.remove(Family::Datasets, key.as_bytes()));
        self.datasets.iter().try_for_each(|key| self.write_record(store, old, *key, rows))
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

    /// Copies the rows of the log, and adds those that are made anew. What is lost stays as it stands: that there was something is not forgotten.
    pub(super) fn write(&self, store: &Store, old: &Db, fresh: &Db) -> Result<(), StoreError> {
        let mut rows = Rows::default();
        for sequence in self.standing.iter().filter(|sequence| !self.remade.contains_key(sequence)) {
            if let Ok(Some(value)) = old.get(Family::Log, &number_key(*sequence)) {
                rows.put(Family::Log, &number_key(*sequence), &value);
            }
        }
        for (sequence, bytes) in &self.remade {
            rows.put(Family::Log, &number_key(*sequence), bytes);
        }
        for (id, value) in &self.manifests {
            rows.put(Family::Manifests, id.as_bytes(), value);
        }
        self.write_records(store, old, &mut rows)?;
        fresh.write(&rows, false)
    }

    fn write_record(&self, store: &Store, old: &Db, key: DatasetKey, rows: &mut Rows) -> Result<(), StoreError> {
        let of_it = || self.snapshots().filter(|(_, about)| about.dataset == key);
        let Some((head, manifest, name)) = self.newest_of(store, old, key) else { return Ok(()) };
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

fn has_row(db: &Db, id: SnapshotId) -> bool {
    db.get(Family::Manifests, id.as_bytes()).is_ok_and(|row| row.is_some())
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
