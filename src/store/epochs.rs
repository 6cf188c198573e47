//! Which runs are sealed under identities that the store has given up for newer ones, and which blocks are theirs.
//!
//! A run's blocks follow its note (section 10), and it is quickly told which are under older identities. That a block is not, it is asked itself: who
//! can write to the files can put another note before it, and a run of which nothing was found any more would lose its record.

use std::collections::{HashMap, HashSet};
use std::iter;

use crate::format::{Family, SealedHeader, epoch_role, split_mac};
use crate::model::{DatasetRecord, EpochId, LogKind, Role};

use super::Store;
use super::chain::Judged;
use super::db::Db;
use super::error::StoreError;
use super::exclusive::Exclusive;
use super::lock::Waiting;
use super::notes::{Notes, Row, block_header, each_row};
use super::read::Sort;
use super::survey::Survey;

/// What is sealed under identities that the store has given up for newer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderOld {
    /// Writing runs.
    pub epochs: u64,
    /// Of so many.
    pub of: u64,
}

/// Runs that are under older identities of the store, or may be.
#[derive(Debug, Clone, Default)]
pub struct OldEpochs {
    pub(super) ids: HashSet<EpochId>,
    of: u64,
}

/// Blocks that such runs have sealed.
#[derive(Debug, Clone, Default)]
pub struct OldBlocks {
    pub(super) blocks: Vec<(Sort, u64)>,
}

impl OldEpochs {
    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl OldBlocks {
    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// What is known of the runs of a store.
#[derive(Default)]
struct Runs {
    /// Those that are known to be under older identities.
    old: OldEpochs,
    notes: Notes,
    /// Those of which no owner has proved that they are not, and the roles of the keys that wrote them, as their records say.
    unproved: HashMap<EpochId, Role>,
    /// Those that sealed manifests of snapshots since the newest identities are in use, by the log.
    since: HashSet<EpochId>,
}

/// The runs that sealed manifests of snapshots, by what the log tells of their time.
#[derive(Default)]
struct Sealed {
    /// From before the newest identities were in use.
    before: HashSet<EpochId>,
    since: HashSet<EpochId>,
}

impl Store {
    /// Looks for runs that are to be sealed anew: those that are under identities which the store has given up for newer ones, and those that may be.
    /// Whoever had the keys of a run can wrap them to whomever they like, and whoever has a key can make all that tells of a writer's run; so what no owner has
    /// proved (section 7.5) counts as old, if blocks, manifests or names of datasets are sealed by it. Under the writer lock: no run that is
    /// found is under way. Unwraps a key or two for each run, if there are older identities.
    ///
    /// # Errors
    /// [`StoreError::Closed`] unless an owner's key is in use; if the database cannot be read.
    pub fn old_epochs(&self, waiting: Waiting, keep_waiting: &dyn Fn() -> bool) -> Result<OldEpochs, StoreError> {
        self.require(Role::Owner, "sealing the store anew")?;
        let Exclusive { db, lock } = Exclusive::begin(self, waiting, keep_waiting)?;
        let Runs { mut old, notes, unproved, .. } = self.runs(&db)?;
        if !unproved.is_empty() {
            let mut used = HashSet::new();
            // Of what cannot be told the last step says that it stays.
            epochs_of_rows(&db, &mut used)?;
            old.ids.extend(unproved.into_keys().filter(|id| used.contains(id) || !notes.of(*id).is_empty()));
        }
        drop(db);
        drop(lock);
        Ok(old)
    }

    /// How many writing runs are sealed under older identities: those that are known to be, and of an owner's those of which nothing tells that they are not.
    ///
    /// # Errors
    /// [`StoreError::Closed`] under a writer key; if the database cannot be read.
    pub fn under_old(&self) -> Result<UnderOld, StoreError> {
        self.require(Role::Catalog, "reading the store's epochs")?;
        let db = self.fresh_db()?;
        let Runs { mut old, notes, unproved, since } = self.runs(&db)?;
        let owners = unproved.into_iter().filter(|(_, role)| *role == Role::Owner).map(|(id, _)| id);
        old.ids.extend(owners.filter(|id| !since.contains(id) && !notes.of(*id).is_empty()));
        Ok(UnderOld { epochs: old.ids.len() as u64, of: old.of })
    }

    fn runs(&self, db: &Db) -> Result<Runs, StoreError> {
        let keyring = self.keyring();
        let rotated = keyring.key().is_some_and(|(record, _)| record.page_identities.len() > 1);
        let mut runs =
            Runs { notes: if rotated { passed(Notes::of_files(db))? } else { Notes::default() }, ..Runs::default() };
        let can_prove = rotated && !keyring.authorities().is_empty();
        let Runs { old, notes, unproved, .. } = &mut runs;
        db.scan(Family::Epochs, &[], |key, value| {
            old.of += 1;
            // One that cannot be read is verify's to tell.
            let Some(id) = EpochId::from_slice(key).filter(|_| rotated) else { return Ok(true) };
            // Whoever had its keys can wrap them anew in either place, and who holds the older identities has them.
            let others = notes.of(id).iter().map(Vec::as_slice).filter(|note| *note != value);
            let records: Vec<_> = iter::once(value).chain(others).flat_map(|r| keyring.epoch_record(id, r)).collect();
            if records.iter().any(|record| keyring.is_under_older_identities(record)) {
                old.ids.insert(id);
            }
            if can_prove && !records.iter().any(|record| keyring.is_proved_new(record)) {
                let role = records.first().and_then(|record| epoch_role(&record.ext).ok());
                unproved.insert(id, role.unwrap_or(Role::Owner));
            }
            Ok(true)
        })?;
        if rotated {
            let Sealed { before, since } = passed(self.epochs_of_manifests(db))?;
            old.ids.extend(before.into_iter().filter(|id| !notes.of(*id).is_empty()));
            runs.since = since;
        }
        Ok(runs)
    }

    /// The runs that sealed manifests of snapshots. Of those from before the newest identities were in use the log is the proof: an entry that
    /// is vouched for with these has the hash of all before it. What seals manifests anew seals no blocks; so a run of which there are
    /// blocks is of that time, whomever its keys are wrapped to. (What `heal` put back has both in one run, and is sealed anew once more.)
    fn epochs_of_manifests(&self, db: &Db) -> Result<Sealed, StoreError> {
        let since =
            self.keyring().since().and_then(|since| since.latest.first().copied()).filter(|since| *since != u64::MAX);
        let (Some(since), mut snapshots, mut sealed) = (since, Vec::new(), Sealed::default()) else {
            return Ok(Sealed::default());
        };
        self.walk_back_in(db, &mut |judged, _| {
            match judged {
                Judged::Entry(entry) if entry.kind == LogKind::Snapshot => {
                    snapshots.push((entry.sequence < since, entry.manifest));
                }
                _ => {}
            }
            true
        })?;
        for (is_before, id) in snapshots {
            let of_time = if is_before { &mut sealed.before } else { &mut sealed.since };
            of_time.extend(passed(db.with(Family::Manifests, id.as_bytes(), epoch_of))?.flatten());
        }
        Ok(sealed)
    }
}

impl Survey {
    /// The blocks that these runs have sealed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn blocks_of(&self, old: &OldEpochs) -> Result<OldBlocks, StoreError> {
        let mut found = OldBlocks::default();
        if old.is_empty() {
            return Ok(found);
        }
        let db = self.store().fresh_db()?;
        for sort in [Sort::Chunk, Sort::Page] {
            let mut noted = None;
            each_row(&db, sort.blocks(), &|number| self.family(number), &mut |number, row| {
                match row {
                    Row::Note(epoch) => noted = Some(epoch),
                    Row::Known => {
                        // A note that is damaged, or another's, says nothing: the block is asked. One that is damaged too stays where it is.
                        let is_old = |epoch: EpochId| old.ids.contains(&epoch);
                        let of_block =
                            || Ok::<_, StoreError>(block_header(&db, sort.blocks(), number)?.and_then(Result::ok));
                        if noted.is_some_and(is_old) || of_block()?.is_some_and(|header| is_old(header.epoch)) {
                            found.blocks.push((sort, number));
                        }
                    }
                    Row::Unreadable => noted = None,
                    Row::Other(_) => {}
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// The runs of which a file of blocks has a note or a block; nothing if some row makes no sense, and they cannot be told.
    pub(super) fn epochs_in_files(&self, db: &Db) -> Result<Option<HashSet<EpochId>>, StoreError> {
        let (mut found, mut in_doubt) = (HashSet::new(), false);
        for sort in [Sort::Chunk, Sort::Page] {
            let mut is_noted = false;
            each_row(db, sort.blocks(), &|number| self.family(number), &mut |number, row| {
                match row {
                    Row::Note(epoch) => {
                        is_noted = true;
                        found.insert(epoch);
                    }
                    Row::Other(epoch) => drop(found.insert(epoch)),
                    Row::Known => match block_header(db, sort.blocks(), number)? {
                        Some(Ok(header)) => drop(found.insert(header.epoch)),
                        Some(Err(_)) => in_doubt |= !is_noted,
                        None => {}
                    },
                    Row::Unreadable => in_doubt = true,
                }
                Ok(())
            })?;
        }
        Ok((!in_doubt).then_some(found))
    }
}

/// Adds the runs that sealed manifests and names of datasets; false if one of them cannot be told.
pub(super) fn epochs_of_rows(db: &Db, used: &mut HashSet<EpochId>) -> Result<bool, StoreError> {
    let mut in_doubt = false;
    db.scan(Family::Manifests, &[], |_, value| {
        in_doubt |= epoch_of(value).map(|epoch| used.insert(epoch)).is_none();
        Ok(true)
    })?;
    db.scan(Family::Datasets, &[], |_, value| {
        let record = split_mac(value, "dataset record").and_then(|(body, _)| DatasetRecord::from_bytes(body));
        in_doubt |= record.ok().and_then(|record| epoch_of(&record.name)).map(|epoch| used.insert(epoch)).is_none();
        Ok(true)
    })?;
    Ok(!in_doubt)
}

/// The run that sealed a value.
pub(super) fn epoch_of(value: &[u8]) -> Option<EpochId> {
    SealedHeader::parse(value).ok().map(|(header, _)| header.epoch)
}

/// What is damaged is verify's to tell.
fn passed<T: Default>(looked: Result<T, StoreError>) -> Result<T, StoreError> {
    match looked {
        Err(e) if e.is_damage() => {
            log::warn!("which runs are under older identities is not known for sure: {e}");
            Ok(T::default())
        }
        looked => looked,
    }
}
