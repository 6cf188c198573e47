//! Which runs are sealed under identities that the store has given up for newer ones, and which blocks are theirs.
//!
//! A run's blocks follow its note (section 10). So the notes tell whose a block is, and no block need be read for that.

use std::collections::HashSet;

use crate::format::{BlockHeader, BlockKind, Family, number_key};
use crate::model::{EpochId, Role};

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::numbers::MANY_ABSENT;
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

/// A row of a family of blocks.
enum Row {
    /// A block that the survey knows: it is there, or was when the survey was made.
    Surveyed,
    Note(EpochId),
    /// A block that is not in the survey: it came later, or its digest was never written.
    Other(EpochId),
    Unreadable,
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
            self.each_row(&db, sort.blocks(), &mut |number, row| {
                match row {
                    Row::Note(epoch) => noted = Some(epoch),
                    Row::Surveyed => {
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
            self.each_row(db, sort.blocks(), &mut |_, row| {
                match row {
                    Row::Note(epoch) => {
                        is_noted = true;
                        found.insert(epoch);
                    }
                    Row::Other(epoch) => drop(found.insert(epoch)),
                    Row::Surveyed => in_doubt |= !is_noted,
                    Row::Unreadable => in_doubt = true,
                }
                Ok(())
            })?;
        }
        Ok((!in_doubt).then_some(found))
    }

    /// Gives all rows of a family to `each`, in order. Reads those alone that the survey does not know: notes, and what came later.
    fn each_row(
        &self,
        db: &Db,
        family: Family,
        each: &mut dyn FnMut(u64, Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut next = 0;
        for file in db.block_files(family)? {
            let (mut at, mut absent) = (Some(file.first.max(next)), 0);
            while let Some(number) = at.filter(|number| *number <= file.last) {
                absent += 1;
                match self.block(number) {
                    Some((its, _)) if its == family => {
                        absent = 0;
                        each(number, Row::Surveyed)?;
                    }
                    Some(_) => {}
                    None => {
                        let row = block_header(db, family, number)?.map(|header| match header {
                            Ok(header) if header.kind == BlockKind::EpochNote => Row::Note(header.epoch),
                            Ok(header) => Row::Other(header.epoch),
                            Err(_) => Row::Unreadable,
                        });
                        if let Some(row) = row {
                            absent = 0;
                            each(number, row)?;
                        }
                    }
                }
                at = match number.checked_add(1) {
                    Some(behind) if absent >= MANY_ABSENT => db.number_from(family, behind)?,
                    behind => behind,
                };
            }
            next = next.max(file.last.saturating_add(1));
        }
        Ok(())
    }
}

/// The header of a row of blocks, or how it is damaged; nothing if there is no such row.
pub(super) fn block_header(
    db: &Db,
    family: Family,
    number: u64,
) -> Result<Option<Result<BlockHeader, StoreError>>, StoreError> {
    match db.with(family, &number_key(number), |value| BlockHeader::parse(value).map(|p| p.0)) {
        Ok(header) => Ok(header.map(|header| header.map_err(StoreError::from))),
        Err(e) if e.is_damage() => Ok(Some(Err(e))),
        Err(e) => Err(e),
    }
}
