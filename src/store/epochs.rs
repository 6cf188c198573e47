//! Which runs are sealed under identities that the store has given up for newer ones, and which blocks are theirs.
//!
//! A run's blocks follow its note (section 10). So the notes tell whose a block is, and no block need be read for that.

use std::collections::HashSet;

use crate::format::Family;
use crate::model::{EpochId, Role};

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::notes::{Row, block_header, each_row};
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
        let mut old = OldEpochs::default();
        self.fresh_db()?.scan(Family::Epochs, &[], |key, value| {
            old.of += 1;
            // One that cannot be read is verify's to tell.
            let Some(id) = EpochId::from_slice(key) else { return Ok(true) };
            let record = self.keyring().epoch_record(id, value);
            if rotated && record.is_ok_and(|record| self.keyring().is_under_older_identities(&record)) {
                old.ids.insert(id);
            }
            Ok(true)
        })?;
        Ok(old)
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
                        // Where the note is damaged the block is asked; one that is damaged too stays where it is.
                        let of = match noted {
                            Some(epoch) => Some(epoch),
                            None => block_header(&db, sort.blocks(), number)?
                                .and_then(Result::ok)
                                .map(|header| header.epoch),
                        };
                        if of.is_some_and(|epoch| old.ids.contains(&epoch)) {
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
            each_row(db, sort.blocks(), &|number| self.family(number), &mut |_, row| {
                match row {
                    Row::Note(epoch) => {
                        is_noted = true;
                        found.insert(epoch);
                    }
                    Row::Other(epoch) => drop(found.insert(epoch)),
                    Row::Known => in_doubt |= !is_noted,
                    Row::Unreadable => in_doubt = true,
                }
                Ok(())
            })?;
        }
        Ok((!in_doubt).then_some(found))
    }
}
