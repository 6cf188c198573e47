//! Which runs are sealed under identities that the store has given up for newer ones, and which blocks are theirs.
//!
//! A run's blocks follow its note (section 10), and it is quickly told which are under older identities. That a block is not, it is asked itself: who
//! can write to the files can put another note before it, and a run of which nothing was found any more would lose its record.

use std::collections::HashSet;

use crate::format::{Family, SealedHeader};
use crate::model::{EpochId, LogKind, Role};

use super::Store;
use super::chain::Judged;
use super::db::Db;
use super::error::StoreError;
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

/// Runs whose keys open with older identities of the store alone.
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

impl Store {
    /// Looks for runs that are sealed under identities which the store has given up for newer ones. Unwraps a key or two for each
    /// run, if there are such identities.
    ///
    /// # Errors
    /// [`StoreError::Closed`] under a writer key; if the database cannot be read.
    pub fn old_epochs(&self) -> Result<OldEpochs, StoreError> {
        self.require(Role::Catalog, "reading the store's epochs")?;
        let rotated = self.keyring().key().is_some_and(|(record, _)| record.page_identities.len() > 1);
        let (db, keyring, mut old) = (self.fresh_db()?, self.keyring(), OldEpochs::default());
        let notes = if rotated { passed(Notes::of_files(&db))? } else { Notes::default() };
        let is_old = |id: EpochId, record: &[u8]| {
            let record = keyring.epoch_record(id, record);
            rotated && record.is_ok_and(|record| keyring.is_under_older_identities(&record))
        };
        db.scan(Family::Epochs, &[], |key, value| {
            old.of += 1;
            // One that cannot be read is verify's to tell.
            let Some(id) = EpochId::from_slice(key) else { return Ok(true) };
            // Whoever had its keys can wrap them anew in either place, and who holds the older identities has them.
            let mut others = notes.of(id).iter().filter(|note| *note != value);
            if is_old(id, value) || others.any(|note| is_old(id, note)) {
                old.ids.insert(id);
            }
            Ok(true)
        })?;
        if rotated {
            let sealed = passed(self.epochs_of_older_manifests(&db))?;
            old.ids.extend(sealed.into_iter().filter(|id| !notes.of(*id).is_empty()));
        }
        Ok(old)
    }

    /// The runs that sealed manifests of snapshots from before the newest identities were in use, of which the log is the proof: an entry that
    /// is vouched for with these has the hash of all before it. What seals manifests anew seals no blocks; so a run of which there are
    /// blocks is of that time, whomever its keys are wrapped to. (What `heal` put back has both in one run, and is sealed anew once more.)
    fn epochs_of_older_manifests(&self, db: &Db) -> Result<HashSet<EpochId>, StoreError> {
        let since = self.keyring().since().first().copied().filter(|since| *since != u64::MAX);
        let (Some(since), mut snapshots, mut sealed) = (since, Vec::new(), HashSet::new()) else {
            return Ok(HashSet::new());
        };
        self.walk_back_in(db, &mut |judged, _| {
            match judged {
                Judged::Entry(entry) if entry.kind == LogKind::Snapshot && entry.sequence < since => {
                    snapshots.push(entry.manifest);
                }
                _ => {}
            }
            true
        })?;
        for id in snapshots {
            let epoch =
                db.with(Family::Manifests, id.as_bytes(), |value| SealedHeader::parse(value).map(|(h, _)| h.epoch));
            sealed.extend(passed(epoch)?.and_then(Result::ok));
        }
        Ok(sealed)
    }

    /// How many writing runs are sealed so.
    ///
    /// # Errors
    /// As [`Store::old_epochs`].
    pub fn under_old(&self) -> Result<UnderOld, StoreError> {
        let old = self.old_epochs()?;
        Ok(UnderOld { epochs: old.ids.len() as u64, of: old.of })
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
