//! Sealing anew what stands under identities that the store has given up, blocks excepted: those are moved (`repack`).
//!
//! Manifests and dataset names are opened and sealed again. What entries of the log say cannot be, since each entry has the hash
//! of the one before it: there the run's keys are wrapped anew, which keeps out whoever has the old identities and not those keys.

use std::collections::HashSet;

use crate::codec::{MacLabel, seal_value};
use crate::format::{DETAIL, EpochRecord, Family, join_mac};
use crate::model::{DatasetKey, DatasetRecord, EpochId, Purpose, Role};

use super::Store;
use super::chain::Judged;
use super::db::{Db, Rows};
use super::epochs::{OldEpochs, epoch_of, epochs_of_rows};
use super::error::StoreError;
use super::exclusive::Exclusive;
use super::keyring::OwnEpoch;
use super::lock::Waiting;
use super::log::dataset_record;
use super::survey::Survey;
use super::sweep::Sweeper;

/// Bytes of manifests that one step seals.
const STEP: usize = 16 << 20;
/// Families whose rows are taken out of the files too, once they are sealed anew or gone.
const REWRITTEN: [Family; 4] = [Family::Default, Family::Epochs, Family::Manifests, Family::Datasets];

/// How far the sealed rows have been looked at.
#[derive(Debug, Clone, Default)]
pub struct RowReseal {
    from: Vec<u8>,
    done: bool,
    /// Rows sealed anew.
    pub rows: u64,
    /// Rows that cannot be opened; they stay as they are.
    pub damaged: u64,
}

impl RowReseal {
    /// True if all rows were looked at.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }
}

/// What became of the records of runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EpochSweep {
    /// Nothing is sealed by them any more: removed.
    pub removed: u64,
    /// Entries of the log alone are: their keys are wrapped anew.
    pub rewrapped: u64,
    /// They stay: something that is damaged is sealed by them.
    pub left: u64,
    /// They came later, and are under identities for which an owner has put newer ones meanwhile.
    pub overtaken: u64,
}

/// What is sealed anew, and how.
struct Resealer<'a> {
    store: &'a Store,
    db: &'a Db,
    old: &'a OldEpochs,
    epoch: OwnEpoch,
    rows: Rows,
    count: u64,
    damaged: u64,
}

impl Store {
    /// One step, under the writer lock: seals manifests anew, and with the last of them the names of datasets.
    ///
    /// # Errors
    /// [`StoreError::Closed`] unless an owner's key is in use; if reading or writing fails.
    pub fn reseal_rows(
        &self,
        old: &OldEpochs,
        at: &mut RowReseal,
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<(), StoreError> {
        self.require(Role::Owner, "sealing the store anew")?;
        let Exclusive { db, lock } = Exclusive::begin(self, waiting, keep_waiting)?;
        let epoch = self.keyring().begin_epoch(Purpose::Move)?;
        let mut resealer = Resealer { store: self, db: &db, old, epoch, rows: Rows::default(), count: 0, damaged: 0 };
        let next = resealer.manifests(&at.from)?;
        if next.is_none() {
            resealer.datasets()?;
        }
        if resealer.count > 0 {
            resealer.rows.put(Family::Epochs, resealer.epoch.id.as_bytes(), &resealer.epoch.record);
            db.write(&resealer.rows, true)?;
            db.flush()?;
            self.inner.stale.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        (at.rows, at.damaged) = (at.rows + resealer.count, at.damaged + resealer.damaged);
        (at.done, at.from) = (next.is_none(), next.unwrap_or_default());
        drop(db);
        drop(lock);
        Ok(())
    }
}

impl Resealer<'_> {
    /// Gives the key at which the next step goes on, if there is more.
    fn manifests(&mut self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let (db, mut bytes, mut next) = (self.db, 0, None);
        db.scan(Family::Manifests, from, |key, value| {
            if bytes >= STEP {
                next = Some(key.to_vec());
                return Ok(false);
            }
            if let Some(sealed) = self.sealed(Family::Manifests, key, value)? {
                bytes += sealed.len();
                self.rows.put(Family::Manifests, key, &sealed);
            }
            Ok(true)
        })?;
        Ok(next)
    }

    fn datasets(&mut self) -> Result<(), StoreError> {
        let (db, mut keys) = (self.db, Vec::new());
        db.scan(Family::Datasets, &[], |key, _| {
            keys.extend(DatasetKey::from_slice(key));
            Ok(true)
        })?;
        let ids = self.store.keyring().ids();
        for key in keys {
            let record = match dataset_record(db, ids, key) {
                Ok(record) => record,
                Err(e) if e.is_damage() => {
                    log::warn!("{e}");
                    self.damaged += 1;
                    continue;
                }
                Err(e) => return Err(e),
            };
            let Some(record) = record else { continue };
            let Some(name) = self.sealed(Family::Datasets, key.as_bytes(), &record.name)? else { continue };
            let record = DatasetRecord { name, ..record }.to_bytes();
            let mac = ids.mac(MacLabel::Dataset, &[key.as_bytes(), &record]);
            self.rows.put(Family::Datasets, key.as_bytes(), &join_mac(record, &mac));
        }
        Ok(())
    }

    /// A value sealed anew; nothing if it need not be, or cannot be opened.
    fn sealed(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if epoch_of(value).is_some_and(|epoch| !self.old.ids.contains(&epoch)) {
            return Ok(None);
        }
        match self.store.open_page_value(self.db, family, key, value) {
            Ok(plain) => {
                self.count += 1;
                Ok(Some(seal_value(self.epoch.id, &self.epoch.page, family.name(), key, &plain)))
            }
            Err(e) if e.is_damage() => {
                log::warn!("a row of {} is not sealed anew: {e}", family.name());
                self.damaged += 1;
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

impl Sweeper {
    /// The last step of sealing anew, when the blocks have been swept: the records of these runs go, or their keys are wrapped
    /// anew; and the files of rows are written without what was in them before.
    ///
    /// # Errors
    /// If reading or writing fails.
    pub fn sweep_epochs(&self, survey: &Survey, old: &OldEpochs) -> Result<EpochSweep, StoreError> {
        let (store, db) = (self.store(), self.db());
        let (kept, logged) = (self.epochs_in_use(survey)?, epochs_of_log(store, db)?);
        let (mut swept, mut rows) = (EpochSweep::default(), self.begin_rows()?);
        for id in &old.ids {
            if kept.as_ref().is_none_or(|kept| kept.contains(id)) {
                swept.left += 1;
            } else if logged.contains(id) {
                match rewrapped(store, db, *id) {
                    Ok(record) => {
                        rows.put(Family::Epochs, id.as_bytes(), &record);
                        swept.rewrapped += 1;
                    }
                    Err(e) => {
                        log::warn!("the keys of epoch {id} cannot be wrapped anew: {e}");
                        swept.left += 1;
                    }
                }
            } else {
                rows.remove(Family::Epochs, id.as_bytes());
                swept.removed += 1;
            }
        }
        // Of a run whose record is damaged or gone it cannot be told who opens it.
        let others: HashSet<_> = kept.iter().flatten().chain(&logged).filter(|id| !old.ids.contains(*id)).collect();
        for id in others {
            match is_newly_wrapped(store, db, *id) {
                Ok(true) => {}
                Ok(false) => swept.overtaken += 1,
                Err(e) => {
                    log::warn!("{e}");
                    swept.left += 1;
                }
            }
        }
        self.write(&rows)?;
        REWRITTEN.iter().try_for_each(|family| db.rewrite_rows(*family))?;
        Ok(swept)
    }

    /// The runs that sealed blocks, manifests or names of datasets; nothing if that cannot be told.
    fn epochs_in_use(&self, survey: &Survey) -> Result<Option<HashSet<EpochId>>, StoreError> {
        let Some(mut used) = survey.epochs_in_files(self.db())? else { return Ok(None) };
        Ok(epochs_of_rows(self.db(), &mut used)?.then_some(used))
    }
}

fn record(store: &Store, db: &Db, id: EpochId) -> Result<EpochRecord, StoreError> {
    let missing = || StoreError::damage(format!("epoch {id}"), "its record is missing");
    store.keyring().epoch_record(id, &db.get(Family::Epochs, id.as_bytes())?.ok_or_else(missing)?)
}

fn rewrapped(store: &Store, db: &Db, id: EpochId) -> Result<Vec<u8>, StoreError> {
    store.keyring().rewrapped(record(store, db, id)?)
}

/// True if a run's keys open with the newest identities, false if one of them opens with others of the store.
fn is_newly_wrapped(store: &Store, db: &Db, id: EpochId) -> Result<bool, StoreError> {
    let (keyring, record) = (store.keyring(), record(store, db, id)?);
    if keyring.is_newly_wrapped(&record) {
        return Ok(true);
    }
    if keyring.is_under_older_identities(&record) {
        return Ok(false);
    }
    Err(StoreError::damage(format!("epoch {id}"), "its keys do not open with the identities of the store"))
}

/// The runs that sealed what entries of the log say.
fn epochs_of_log(store: &Store, db: &Db) -> Result<HashSet<EpochId>, StoreError> {
    let (mut found, mut damage) = (HashSet::new(), None);
    store.walk_back_in(db, &mut |judged, _| {
        match judged {
            Judged::Entry(entry) => {
                let details = entry.ext.iter().filter(|(tag, _)| *tag == DETAIL);
                found.extend(details.filter_map(|(_, sealed)| epoch_of(sealed)));
            }
            // Nothing needs what it says.
            Judged::Void(_) => {}
            Judged::Lost(lost) => damage = Some(lost.to_error()),
        }
        damage.is_none()
    })?;
    damage.map_or(Ok(found), Err)
}
