//! What goes is dead, whatever the index says. Its rows have no MAC: one that names another place than the right one, be it by damage or by
//! somebody's hand, would make what is needed look as if nothing needed it. So whoever may open a block looks at it before it goes: of each
//! item in it the index says nothing, or that it is here (and nothing needed it), or it stands where the index says.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::format::{Family, Place, index_key, number_key};
use crate::model::{Progress, Role};

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::notes::Notes;
use super::read::{Decoded, Sort, hex, places};
use super::survey::Survey;
use super::sweep::{BlockSweep, Dead, choose};

/// What an item of a block that is emptied may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It may go with its block, if what is needed of that has been moved.
    Dead,
    /// Some row names this place, and it is not the item's own.
    Misnamed,
}

impl Survey {
    /// Looks at what the next step of a sweep would take out, without the lock, so that the step need not: what is proven here stays so. What
    /// is not, for whatever reason, the step itself looks at.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub fn prove_next(&mut self, sweep: &BlockSweep, progress: &dyn Progress) -> Result<(), StoreError> {
        let db = self.store().fresh_db()?;
        let sort = sweep.sort();
        if !may_open(self.store(), sort) {
            return Ok(());
        }
        let Ok(Some(chosen)) = choose(self.store(), &db, self, &mut sweep.clone()) else { return Ok(()) };
        let blocks: Vec<_> = self.unproven(&chosen.dead).filter(|number| self.is_dead(*number)).collect();
        let look = |number: &u64| {
            let proves = || self.prove(&db, sort, &self.store().decode(&db, sort, *number)?);
            !progress.cancelled() && proves().is_ok()
        };
        let proven: Vec<_> = blocks.par_iter().filter(|number| look(number)).collect();
        proven.into_iter().for_each(|number| self.set_proven(*number));
        Ok(())
    }

    /// Looks at all that is about to be taken out of a file and was not looked at before. Under the lock: nothing changes meanwhile. What cannot be
    /// read, since the file is damaged there, holds nothing that could be had back, and goes as the rest. What can be read and not opened
    /// stays: it may be that somebody has changed the record of its epoch, and that the right one is to be had.
    ///
    /// # Errors
    /// If something is not proven to be dead, or reading fails.
    pub(super) fn prove_rest(&self, db: &Db, sort: Sort, dead: &Dead) -> Result<(), StoreError> {
        if !may_open(self.store(), sort) {
            return Ok(());
        }
        let mut notes = None;
        for number in self.unproven(dead) {
            let closed = match self.store().decode(db, sort, number) {
                Ok(decoded) => {
                    self.prove(db, sort, &decoded)?;
                    continue;
                }
                Err(e) if e.is_damage() || matches!(e, StoreError::OtherIdentities(_)) => e,
                Err(e) => return Err(e),
            };
            if let Err(e) = db.with(sort.blocks(), &number_key(number), |_| ()) {
                if !e.is_damage() {
                    return Err(e);
                }
                log::warn!("what goes cannot be looked at: {e}");
                continue;
            }
            // A run may have been cut before its record was anywhere but in the note before its blocks.
            let notes = match &mut notes {
                Some(notes) => notes,
                none => none.insert(notes_of(db, sort, dead)?),
            };
            match self.store().decode_by_notes(db, sort, number, notes) {
                Ok(decoded) => self.prove(db, sort, &decoded)?,
                Err(e) if e.is_damage() => return Err(unseen(number, closed)),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn unproven(&self, dead: &Dead) -> impl Iterator<Item = u64> {
        let notes: HashSet<_> = dead.notes.iter().copied().collect();
        let blocks = dead.rows.iter().map(|(number, _)| *number);
        blocks.filter(move |number| !notes.contains(number) && !self.is_proven(*number)).collect::<Vec<_>>().into_iter()
    }

    /// Looks at each item of a block of which nothing is needed.
    fn prove(&self, db: &Db, sort: Sort, decoded: &Decoded) -> Result<(), StoreError> {
        for ordinal in 0..decoded.len() {
            self.look_at(db, sort, decoded, ordinal)?;
        }
        Ok(())
    }

    /// Looks at each item of a block that something is to be moved out of. False if it must stay as it is, since a row that something needs
    /// names an item of it that is another's, or that it has not: whose row that is cannot be told from here.
    ///
    /// # Errors
    /// If an item that would go is named elsewhere, and is not there.
    pub(super) fn may_be_emptied(&self, db: &Db, sort: Sort, decoded: &Decoded) -> Result<bool, StoreError> {
        let mut marked = 0;
        for ordinal in 0..decoded.len() {
            if self.look_at(db, sort, decoded, ordinal)? == Found::Misnamed {
                return Ok(false);
            }
            marked += u32::from(self.is_marked(Place { block: decoded.number(), ordinal }));
        }
        Ok(self.has_marks(decoded.number(), marked))
    }

    fn look_at(&self, db: &Db, sort: Sort, decoded: &Decoded, ordinal: u32) -> Result<Found, StoreError> {
        let Some(id) = self.store().id_at(decoded, sort, ordinal) else { return Ok(Found::Dead) };
        let place = Place { block: decoded.number(), ordinal };
        let known = places(db, sort, &id)?;
        let is_marked = self.is_marked(place);
        if known.contains(&place) || known.is_empty() && !is_marked {
            return Ok(Found::Dead);
        }
        for other in &known {
            if self.is_right(db, sort, &id, *other)? {
                return Ok(if is_marked { Found::Misnamed } else { Found::Dead });
            }
        }
        let what = format!("the index of {}", sort.index().name());
        let Place { block, ordinal } = place;
        let named = match known.first() {
            Some(Place { block, ordinal }) => format!("item {ordinal} of block {block}, where it cannot be read"),
            None => "no place, though what stands there is needed".to_owned(),
        };
        let it = format!("{} {}, which is item {ordinal} of block {block}", sort.word(), hex(&id));
        let why =
            format!("for {it}, it names {named}; nothing more was removed. `larder repair --apply` makes it anew");
        Err(StoreError::damage(what, why))
    }

    /// True if an item of this id stands there, or of one that shares its row: the first half of a hash is not all of it.
    fn is_right(&self, db: &Db, sort: Sort, id: &[u8; 32], place: Place) -> Result<bool, StoreError> {
        match self.store().decoded(db, sort, place.block) {
            Ok(decoded) => {
                let found = self.store().id_at(&decoded, sort, place.ordinal);
                Ok(found.is_some_and(|found| index_key(&found) == index_key(id)))
            }
            Err(e) if e.is_damage() => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// A catalog key takes the index's word for blocks of content.
fn may_open(store: &Store, sort: Sort) -> bool {
    sort.blocks() == Family::Tree || store.keyring().role() == Role::Owner
}

/// What the notes of a file say.
fn notes_of(db: &Db, sort: Sort, dead: &Dead) -> Result<Notes, StoreError> {
    let mut notes = Notes::default();
    dead.notes.iter().try_for_each(|note| notes.take_row(db, sort.blocks(), *note))?;
    Ok(notes)
}

/// That a block which looks dead stays, since it does not open.
fn unseen(number: u64, closed: StoreError) -> StoreError {
    let why = match closed {
        StoreError::Damage { why, .. } => why,
        // It is sealed to whom the store may have newer identities for.
        other => return other,
    };
    let why = format!(
        "{why}; nothing in the index needs it, and nobody can look whether that is right, so nothing more was removed. \
         `larder repair --apply` makes anew what can be, and sets it aside"
    );
    StoreError::damage(format!("block {number}"), why)
}
