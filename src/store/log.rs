//! The arrival log, datasets and manifests.

use std::cell::OnceCell;
use std::collections::HashSet;

use crate::codec::{Class, IdKeys, MacLabel, open_value};
use crate::format::{DETAIL, Family, SealedHeader, decode_manifest, number_key, split_mac};
use crate::model::{
    DatasetKey, DatasetName, DatasetRecord, Digest, Entry, Evidence, HoldAction, HoldDetail, LinksRef, LogEntry,
    LogKind, Manifest, RecordsRef, Reference, SnapshotId, SnapshotKind, Statistics, Timestamp,
};

use super::Store;
use super::chain::Judged;
use super::claims::{Claims, FalseEntry, SnapshotRow};
use super::db::Db;
use super::error::{StoreError, entry_label};
use super::numbers::last_sequence;

/// One row of the arrival log; what is damaged about it is told, not hidden.
#[derive(Debug)]
pub struct LogRow {
    /// Which one.
    pub sequence: u64,
    /// What it says.
    pub entry: Result<LogEntry, StoreError>,
}

/// The snapshots that the log tells of.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Those that were not given up, oldest arrival first.
    pub rows: Vec<SnapshotRow>,
    /// Entries that name a snapshot which an earlier one brought.
    pub false_entries: Vec<FalseEntry>,
    /// The first thing that is damaged in the log: it may hide snapshots.
    pub damage: Option<StoreError>,
}

/// What a capture says about a new snapshot; the store adds sequence, arrival and parent.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// Why it was made.
    pub kind: SnapshotKind,
    /// Its series.
    pub dataset: DatasetName,
    /// The root folder.
    pub root: Entry,
    /// Map of hard links.
    pub links: Option<LinksRef>,
    /// Sums; the store fills in new and stored bytes, unless several snapshots come at once.
    pub statistics: Statistics,
    /// When the capture began.
    pub client_time: Timestamp,
    /// Which machine.
    pub host: String,
    /// Which user.
    pub user: String,
    /// Which program.
    pub program: String,
    /// Paths as captured.
    pub sources: Vec<Vec<u8>>,
    /// Commit of the source.
    pub git_revision: Option<String>,
    /// Free text.
    pub reason: Option<String>,
    /// Labels, ascending by key.
    pub labels: Vec<(String, String)>,
    /// References.
    pub references: Vec<Reference>,
    /// Evidence fields.
    pub evidence: Evidence,
    /// Where it comes from, if it was not captured: a JSON object.
    pub origin: Option<String>,
    /// What a record dataset keeps beside its tree.
    pub records: Option<RecordsRef>,
}

impl Store {
    /// Sequence of the newest log entry, 0 if there is none.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn last_sequence(&self) -> Result<u64, StoreError> {
        last_sequence(&*self.fresh_db()?)
    }

    /// Hash of a log entry's bytes; nothing if there is none with that sequence.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn log_hash(&self, sequence: u64) -> Result<Option<Digest>, StoreError> {
        self.fresh_db()?.with(Family::Log, &number_key(sequence), crate::codec::digest)
    }

    /// All rows of the log, oldest first, each with its MAC and its place in the chain checked. Those that are void are left out.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn log(&self) -> Result<Vec<LogRow>, StoreError> {
        let mut rows = Vec::new();
        self.walk_back(|judged, _| {
            match judged {
                Judged::Entry(entry) => rows.push(LogRow { sequence: entry.sequence, entry: Ok(entry) }),
                Judged::Lost(lost) => rows.push(LogRow { sequence: lost.sequence, entry: Err(lost.to_error()) }),
                Judged::Void(_) => {}
            }
            true
        })?;
        rows.reverse();
        if let Some(lost) = self.lost_end() {
            let last = rows.last().map_or(0, |row| row.sequence);
            rows.push(LogRow {
                sequence: self.lost_tip().map_or(last.saturating_add(1), |tip| tip.sequence),
                entry: Err(lost),
            });
        }
        Ok(rows)
    }

    /// An entry of the log, its MAC checked. One that takes something away counts as damaged while it may be from after a change of keys that left out
    /// whoever made it.
    pub(super) fn log_entry(&self, sequence: u64, value: &[u8]) -> Result<LogEntry, StoreError> {
        let entry = self.whole_log_entry(sequence, value)?;
        if self.keyring().is_in_doubt(&entry) && self.takes_away(&entry) {
            let why = "it may be from after the store got new identities, by somebody who was not given them: the entry of that change is lost";
            return Err(StoreError::damage(entry_label(sequence), why));
        }
        Ok(entry)
    }

    /// True if an entry lets more be removed than before it. A hold that cannot be read is one.
    fn takes_away(&self, entry: &LogEntry) -> bool {
        let lets_go = |sealed: &[u8]| {
            let plain = self.open_page_value(&self.db(), Family::Log, &number_key(entry.sequence), sealed).ok()?;
            let detail = HoldDetail::from_bytes(&plain).ok()?;
            Some(!matches!(detail.action, HoldAction::Set | HoldAction::Granted))
        };
        match entry.kind {
            LogKind::Forget | LogKind::Policy => true,
            LogKind::Hold => {
                let detail = entry.ext.iter().find(|(tag, _)| *tag == DETAIL);
                detail.and_then(|(_, sealed)| lets_go(sealed)).unwrap_or(false)
            }
            LogKind::Snapshot | LogKind::KeyChange | LogKind::Loss => false,
        }
    }

    /// The same, whoever made it.
    pub(super) fn whole_log_entry(&self, sequence: u64, value: &[u8]) -> Result<LogEntry, StoreError> {
        let checked = self.keyring().check_log_entry(value).map_err(|e| match e {
            StoreError::Damage { why, .. } => StoreError::damage(entry_label(sequence), why),
            other => other,
        });
        let (entry, _) = checked?;
        if entry.sequence != sequence {
            return Err(StoreError::damage(entry_label(sequence), "it belongs elsewhere"));
        }
        Ok(entry)
    }

    /// Gives those snapshots of the store to `each` that fit, newest arrival first, until it says false. Reads no more of the log than
    /// that, and the manifests of those that fit; gives back what is damaged in the part that was read. Forgotten ones are left out, and
    /// entries that name a snapshot which an earlier one brought.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn newest_snapshots(
        &self,
        fits: impl Fn(&SnapshotRow) -> bool,
        mut each: impl FnMut(SnapshotRow) -> bool,
    ) -> Result<Option<StoreError>, StoreError> {
        let (mut forgotten, claims, mut failed) = (HashSet::new(), OnceCell::new(), None);
        let damage = self.newest_entries(|entry| {
            if self.forgets(&entry) {
                forgotten.insert(entry.manifest);
            }
            if entry.kind != LogKind::Snapshot || forgotten.contains(&entry.manifest) {
                return true;
            }
            let row = SnapshotRow::from(entry);
            if !fits(&row) {
                return true;
            }
            match self.is_first_claim(&row, &claims) {
                Ok(is_first) => !is_first || each(row),
                Err(e) => {
                    failed = Some(e);
                    false
                }
            }
        })?;
        failed.map_or(Ok(damage), Err)
    }

    /// The newest snapshot of a dataset, by its log.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn newest_of(&self, dataset: &DatasetName) -> Result<Option<SnapshotId>, StoreError> {
        let (key, mut newest) = (self.keyring().ids().dataset(dataset), None);
        self.newest_snapshots(
            |row| row.dataset == key,
            |row| {
                newest = self.is_borne_out(&row).then_some(row.id);
                newest.is_none()
            },
        )?;
        Ok(newest)
    }

    /// True if an entry takes a snapshot from those that are listed: who captures cannot tell who vouches for it, and believes it.
    pub(super) fn forgets(&self, entry: &LogEntry) -> bool {
        entry.kind == LogKind::Forget && self.keyring().vouches_for(entry).unwrap_or(true)
    }

    /// The newest snapshot of a dataset that was made with the key in use: who writes with another has no say in it.
    ///
    /// # Errors
    /// If the log or its manifest cannot be read.
    pub fn newest_own(&self, dataset: &DatasetName) -> Result<Option<(SnapshotId, Manifest)>, StoreError> {
        let (key, name) = (self.keyring().ids().dataset(dataset), self.keyring().name());
        let (mut forgotten, mut found) = (HashSet::new(), None);
        self.newest_entries(|entry| {
            if self.forgets(&entry) {
                forgotten.insert(entry.manifest);
            }
            let is_of_it = entry.kind == LogKind::Snapshot && entry.dataset == key;
            // The name in an entry that nobody vouches for is a claim.
            let is_own = || entry.writer == name && self.keyring().vouches_for(&entry).unwrap_or(true);
            if is_of_it && !forgotten.contains(&entry.manifest) && is_own() {
                found = Some(entry.manifest);
            }
            found.is_none()
        })?;
        found.map(|id| Ok((id, self.manifest(&id)?))).transpose()
    }

    /// True if an entry behind the snapshot's own gives it up.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn is_forgotten(&self, id: &SnapshotId, sequence: u64) -> Result<bool, StoreError> {
        let mut found = false;
        self.newest_entries(|entry| {
            found |= entry.manifest == *id && self.forgets(&entry);
            !found && entry.sequence > sequence
        })?;
        Ok(found)
    }

    /// Gives the entries of the log to `each`, newest first, until it says false. Reads no more of the log than that; gives back what
    /// is damaged in the part that was read.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn newest_entries(&self, mut each: impl FnMut(LogEntry) -> bool) -> Result<Option<StoreError>, StoreError> {
        let mut damage = self.lost_end();
        self.walk_back(|judged, _| match judged {
            Judged::Entry(entry) => each(entry),
            Judged::Lost(lost) => {
                damage.get_or_insert_with(|| lost.to_error());
                true
            }
            Judged::Void(_) => true,
        })?;
        Ok(damage)
    }

    /// The snapshots of the store, oldest arrival first, as far as the log can be read. Forgotten ones are left out.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn snapshots(&self) -> Result<Vec<SnapshotRow>, StoreError> {
        Ok(self.arrived()?.rows)
    }

    /// The same, and what is wrong with the log.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn arrived(&self) -> Result<Arrived, StoreError> {
        let (mut arrived, mut claims, mut forgotten) = (Arrived::default(), Claims::default(), HashSet::new());
        for row in self.log()? {
            match row.entry {
                Ok(entry) if entry.kind == LogKind::Snapshot => match claims.take(&entry) {
                    Ok(()) => arrived.rows.push(entry.into()),
                    Err(false_entry) => arrived.false_entries.push(false_entry),
                },
                Ok(entry) if self.forgets(&entry) => {
                    forgotten.insert(entry.manifest);
                }
                Ok(_) => {}
                Err(e) => {
                    arrived.damage.get_or_insert(e);
                }
            }
        }
        arrived.rows.retain(|row| !forgotten.contains(&row.id));
        Ok(arrived)
    }

    /// The ids of all manifests, of forgotten snapshots too: what there is where the log cannot be read. And what is damaged among them: it
    /// may hide some.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn manifest_ids(&self) -> Result<(Vec<SnapshotId>, Option<StoreError>), StoreError> {
        let mut ids = Vec::new();
        let scanned = self.fresh_db()?.scan(Family::Manifests, &[], |key, _| {
            ids.extend(SnapshotId::from_slice(key));
            Ok(true)
        });
        match scanned {
            Err(e) if e.is_damage() => Ok((ids, Some(e))),
            scanned => scanned.map(|()| (ids, None)),
        }
    }

    /// True if a snapshot's manifest is there, damaged or not.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn has_manifest(&self, id: &SnapshotId) -> Result<bool, StoreError> {
        Ok(self.fresh_db()?.with(Family::Manifests, id.as_bytes(), |_| ())?.is_some())
    }

    /// A snapshot's manifest, its id checked.
    ///
    /// # Errors
    /// [`StoreError::Damage`] if it is missing or damaged.
    pub fn manifest(&self, id: &SnapshotId) -> Result<Manifest, StoreError> {
        self.reading(|db| self.manifest_in(db, id))
    }

    /// The same, from a certain view of the database.
    pub(super) fn manifest_in(&self, db: &Db, id: &SnapshotId) -> Result<Manifest, StoreError> {
        let what = || format!("the manifest of {}", super::snapshot_label(*id));
        let value = db.get(Family::Manifests, id.as_bytes()).map_err(|e| match e {
            StoreError::Damage { .. } => StoreError::damage(what(), super::read::cause(&e)),
            other => other,
        })?;
        let value = value.ok_or_else(|| StoreError::damage(what(), "it is missing"))?;
        self.manifest_of(db, id, &value)
    }

    /// The manifest that a row of it holds.
    pub(super) fn manifest_of(&self, db: &Db, id: &SnapshotId, value: &[u8]) -> Result<Manifest, StoreError> {
        let what = || format!("the manifest of {}", super::snapshot_label(*id));
        let plain = self.open_page_value(db, Family::Manifests, id.as_bytes(), value).map_err(|e| match e {
            StoreError::Damage { why, .. } => StoreError::damage(what(), why),
            other => other,
        })?;
        if self.keyring().ids().manifest(&plain) != *id {
            return Err(StoreError::damage(what(), "its bytes are not those its id says"));
        }
        decode_manifest(&plain).map_err(|e| StoreError::damage(what(), e))
    }

    pub(super) fn open_page_value(
        &self,
        db: &Db,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, StoreError> {
        let (header, _) = SealedHeader::parse(value)?;
        let page = self.data_key(db, header.epoch, Class::Page)?;
        let page = page.ok_or_else(|| self.closed(Class::Page))?;
        open_value(value, &page, family.name(), key).map_err(|e| StoreError::damage(family.name(), e))
    }

    /// A dataset's record, its MAC checked.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn dataset_record(&self, key: DatasetKey) -> Result<Option<DatasetRecord>, StoreError> {
        dataset_record(&*self.fresh_db()?, self.keyring().ids(), key)
    }

    /// A dataset's name.
    ///
    /// # Errors
    /// If its record is missing or damaged, or the key in use may not read names.
    pub fn dataset_name(&self, key: DatasetKey) -> Result<DatasetName, StoreError> {
        let what = || format!("the record of dataset {key}");
        self.fresh_db()?;
        let plain = self.reading(|db| {
            let record = dataset_record(db, self.keyring().ids(), key)?;
            let record = record.ok_or_else(|| StoreError::damage(what(), "it is missing"))?;
            self.open_page_value(db, Family::Datasets, key.as_bytes(), &record.name)
        })?;
        let text = std::str::from_utf8(&plain).map_err(|e| StoreError::damage(what(), e))?;
        text.parse().map_err(|e| StoreError::damage(what(), e))
    }
}

/// A dataset's record, its MAC checked.
pub(super) fn dataset_record(db: &Db, ids: &IdKeys, key: DatasetKey) -> Result<Option<DatasetRecord>, StoreError> {
    let Some(value) = db.get(Family::Datasets, key.as_bytes())? else { return Ok(None) };
    let bad = |why: &dyn std::fmt::Display| StoreError::damage(format!("the record of dataset {key}"), why);
    let (body, mac) = split_mac(&value, "dataset record").map_err(|e| bad(&e))?;
    if !ids.mac_holds(MacLabel::Dataset, &[key.as_bytes(), body], mac) {
        return Err(bad(&"its MAC does not hold"));
    }
    DatasetRecord::from_bytes(body).map(Some).map_err(|e| bad(&e))
}
