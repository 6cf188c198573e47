//! Listing snapshots: which ones are wanted, and their manifests one after the other.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::model::{DatasetKey, DatasetName, Manifest, SnapshotKind, Timestamp};
use crate::store::{SnapshotRow, Store, StoreError};

use super::holds::Holds;
use super::witness::{Counted, Witnesses};

/// Manifests read at a time, by all processors together. They may be of up to 16 MiB each.
const BATCH: usize = 64;

/// Which snapshots are wanted: all that a field asks for must hold; of a list one is enough, but of labels all.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of these datasets; of all if there are none.
    pub datasets: Vec<DatasetName>,
    /// With these labels; with any value where none is said.
    pub labels: Vec<(String, Option<String>)>,
    /// Made for one of these purposes.
    pub kinds: Vec<SnapshotKind>,
    /// With this scope.
    pub scope: Option<String>,
    /// With this reference of the scope.
    pub scope_ref: Option<String>,
    /// Arrived then or later.
    pub since: Option<Timestamp>,
    /// Arrived then or before.
    pub until: Option<Timestamp>,
    /// Only the newest of them, that many.
    pub newest: Option<usize>,
}

impl Wanted {
    /// The keys of the datasets that are asked for.
    #[must_use]
    pub fn dataset_keys(&self, store: &Store) -> Vec<DatasetKey> {
        self.datasets.iter().map(|d| store.keyring().ids().dataset(d)).collect()
    }

    /// What the log can tell.
    fn fits_row(&self, row: &SnapshotRow, keys: &[DatasetKey], witnesses: &Witnesses) -> bool {
        let arrival = witnesses.arrival(row);
        (keys.is_empty() || keys.contains(&row.dataset))
            && self.since.is_none_or(|since| arrival >= since)
            && self.until.is_none_or(|until| arrival <= until)
    }

    fn asks_manifest(&self) -> bool {
        !self.labels.is_empty() || !self.kinds.is_empty() || self.scope.is_some() || self.scope_ref.is_some()
    }

    /// What the manifest alone can tell.
    #[must_use]
    pub fn fits_manifest(&self, m: &Manifest) -> bool {
        let has_label = |(key, value): &(String, Option<String>)| {
            m.labels.iter().any(|(k, v)| k == key && value.as_ref().is_none_or(|value| v == value))
        };
        let same = |wanted: &Option<String>, given: &Option<String>| wanted.is_none() || wanted == given;
        self.labels.iter().all(has_label)
            && (self.kinds.is_empty() || self.kinds.contains(&m.kind))
            && same(&self.scope, &m.evidence.scope)
            && same(&self.scope_ref, &m.evidence.scope_ref)
    }

    /// A snapshot whose manifest cannot be read is never ruled out by it: damage is to be seen.
    fn fits(&self, listed: &Listed) -> bool {
        listed.manifest.as_ref().map_or(true, |m| self.fits_manifest(m))
    }
}

/// A snapshot in a list: what can be said of it even if its manifest is damaged.
#[derive(Debug)]
pub struct Listed {
    /// What the log says.
    pub row: SnapshotRow,
    /// Its dataset's name, if that can be read.
    pub dataset: Option<DatasetName>,
    /// When it arrived, as far as witnesses bear it out.
    pub counted: Counted,
    /// Its manifest, or what is wrong with it.
    pub manifest: Result<Manifest, StoreError>,
}

impl Listed {
    /// What its dataset is called where people read it: its name; its key in brackets if the name cannot be read.
    #[must_use]
    pub fn dataset_label(&self) -> String {
        dataset_label(self.row.dataset, self.dataset.as_ref())
    }
}

fn dataset_label(key: DatasetKey, name: Option<&DatasetName>) -> String {
    name.map_or_else(|| format!("({key})"), ToString::to_string)
}

/// Snapshots that may be wanted, and what of the log could not be read.
#[derive(Debug)]
pub struct List {
    store: Store,
    wanted: Wanted,
    rows: Vec<SnapshotRow>,
    names: HashMap<DatasetKey, Option<DatasetName>>,
    witnesses: Witnesses,
    /// What is damaged in the log itself: it may hide snapshots.
    pub damage: Option<StoreError>,
}

impl List {
    /// Finds the snapshots that are wanted. To find the newest ones, no more of the log and no more manifests are read than it
    /// takes.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn find(store: &Store, wanted: Wanted, now: Timestamp) -> Result<Self, StoreError> {
        let keys = wanted.dataset_keys(store);
        let mut list = Self::empty(store, wanted);
        list.witness_all(now)?;
        if let Some(count) = list.wanted.newest {
            list.find_newest(count, &keys)?;
        } else {
            let mut arrived = list.store.arrived()?;
            arrived.rows.retain(|row| list.wanted.fits_row(row, &keys, &list.witnesses));
            (list.rows, list.damage) = (arrived.rows, arrived.damage);
        }
        list.end(now)?;
        Ok(list)
    }

    /// Those of a few known snapshots that are wanted, each once; `newest` is not heeded. The log's damage is not told.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn among(
        store: &Store,
        mut rows: Vec<SnapshotRow>,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let keys = wanted.dataset_keys(store);
        let mut list = Self::empty(store, wanted);
        list.witness_all(now)?;
        rows.retain(|row| list.wanted.fits_row(row, &keys, &list.witnesses));
        rows.sort_by_key(|row| row.sequence);
        rows.dedup_by_key(|row| row.sequence);
        list.rows = rows;
        list.end(now)?;
        Ok(list)
    }

    fn empty(store: &Store, wanted: Wanted) -> Self {
        let (rows, names, witnesses) = (Vec::new(), HashMap::new(), Witnesses::default());
        Self { store: store.clone(), wanted, rows, names, witnesses, damage: None }
    }

    /// Whoever asks for times must know all that bears on them before; else it is enough to know what bears on the snapshots found.
    fn witness_all(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.wanted.since.is_some() || self.wanted.until.is_some() {
            self.witnesses = Witnesses::read(&self.store, Some(now), 0)?;
        }
        Ok(())
    }

    fn end(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.read_names();
        if let (true, Some(row)) = (self.wanted.since.is_none() && self.wanted.until.is_none(), self.rows.first()) {
            self.witnesses = Witnesses::read(&self.store, Some(now), row.sequence)?;
        }
        Ok(())
    }

    fn read_names(&mut self) {
        for row in &self.rows {
            self.names.entry(row.dataset).or_insert_with(|| self.store.dataset_name(row.dataset).ok());
        }
    }

    fn find_newest(&mut self, count: usize, keys: &[DatasetKey]) -> Result<(), StoreError> {
        let (mut kept, mut batch) = (Vec::new(), Vec::new());
        let mut sift = |batch: &mut Vec<SnapshotRow>| {
            let rows = std::mem::take(batch);
            if self.wanted.asks_manifest() {
                kept.extend(self.read(&rows).into_iter().filter(|l| self.wanted.fits(l)).map(|l| l.row));
            } else {
                kept.extend(rows);
            }
            kept.len() >= count
        };
        let at_once = if self.wanted.asks_manifest() { BATCH } else { count };
        let damage = self.store.newest_snapshots(
            |row| count == 0 || self.wanted.fits_row(row, keys, &self.witnesses),
            |row| {
                batch.push(row);
                count > 0 && (batch.len() < at_once || !sift(&mut batch))
            },
        )?;
        sift(&mut batch);
        kept.truncate(count);
        kept.reverse();
        (self.rows, self.damage) = (kept, damage);
        Ok(())
    }

    fn read(&self, rows: &[SnapshotRow]) -> Vec<Listed> {
        let read = |row: &SnapshotRow| {
            let manifest = self.store.manifest(&row.id);
            let known = || self.names.get(&row.dataset).cloned().flatten();
            let dataset = manifest.as_ref().map_or_else(|_| known(), |m| Some(m.dataset.clone()));
            let counted = self.witnesses.counted(row.sequence, row.arrival);
            Listed { row: row.clone(), dataset, counted, manifest }
        };
        rows.par_iter().map(read).collect()
    }

    /// What the datasets are called that snapshots of the list belong to, as [`Listed::dataset_label`] has it.
    pub fn dataset_labels(&self) -> impl Iterator<Item = String> {
        self.names.iter().map(|(key, name)| dataset_label(*key, name.as_ref()))
    }

    /// True if more than one key wrote them, as they say, or if one of them only says so.
    #[must_use]
    pub fn are_of_several(&self, holds: &Holds) -> bool {
        self.rows.windows(2).any(|two| two[0].writer != two[1].writer)
            || self.rows.iter().any(|row| !holds.is_proved(row))
    }

    /// The holds on snapshots of the list.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn holds(&self) -> Result<Holds, StoreError> {
        self.rows.first().map_or(Ok(Holds::default()), |row| Holds::since(&self.store, row.sequence))
    }

    /// Gives each snapshot to `each`, oldest arrival first or, with `reverse`, newest first. Damage of one hides no other.
    ///
    /// # Errors
    /// Those of `each`, which end it.
    pub fn each<E>(&self, reverse: bool, mut each: impl FnMut(Listed) -> Result<(), E>) -> Result<(), E> {
        if reverse {
            let batches = self.rows.rchunks(BATCH).map(|batch| self.read(batch).into_iter().rev());
            batches.flatten().filter(|l| self.wanted.fits(l)).try_for_each(&mut each)
        } else {
            let batches = self.rows.chunks(BATCH).map(|batch| self.read(batch));
            batches.flatten().filter(|l| self.wanted.fits(l)).try_for_each(&mut each)
        }
    }
}
