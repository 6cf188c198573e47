//! Which record of an epoch is right, where its row and the notes before its blocks say different things: everybody with a key can make the MAC
//! of one, and only the right one opens the blocks.

use std::collections::{HashMap, HashSet};

use crate::codec::digest;
use crate::format::{EpochRecord, Family, split_mac};
use crate::model::EpochId;

use super::super::Store;
use super::super::db::Db;
use super::super::error::StoreError;
use super::super::inspect::Finding;
use super::is_epoch;
use super::log::passed;
use super::scan::Scanned;

/// The records of those epochs of which there are notes.
#[derive(Debug, Default)]
pub(super) struct Records {
    right: HashMap<EpochId, Vec<u8>>,
    /// Numbers of notes that have another record than the right one.
    wrong_notes: HashSet<u64>,
    /// Rows and notes that are wrong.
    pub(super) findings: Vec<Finding>,
    /// Epochs without a row that makes sense.
    pub(super) without_row: HashSet<EpochId>,
}

impl Records {
    /// Finds them, and has the session go by them from now on.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn look(store: &Store, db: &Db, scanned: &Scanned) -> Result<Self, StoreError> {
        let (keyring, mut records) = (store.keyring(), Self::default());
        let makes_sense = |epoch: EpochId, record: &[u8]| is_epoch(keyring, epoch.as_bytes(), record);
        for (epoch, notes) in scanned.notes.iter() {
            let row = match db.get(Family::Epochs, epoch.as_bytes()) {
                Err(e) if !e.is_damage() => return Err(e),
                row => row.ok().flatten().filter(|row| makes_sense(epoch, row)),
            };
            let notes = notes.iter().filter(|note| row.as_ref() != Some(note) && makes_sense(epoch, note));
            // Of two with the same keys one was wrapped anew, which takes no more than having had them once. As long as blocks are there honest
            // hands do that to neither: the older one tells who opens them.
            let worth = |record: &&Vec<u8>| {
                let opened = scanned.opened.get(&(epoch, digest(record))).copied().unwrap_or(0);
                let is_older = keyring.epoch_record(epoch, record).is_ok_and(|r| keyring.is_under_older_identities(&r));
                (opened, is_older, row.as_ref() == Some(*record))
            };
            let Some(right) = row.iter().chain(notes).max_by_key(worth) else { continue };
            if row.as_ref() != Some(right) {
                keyring.learn(epoch, right);
                if row.is_some() {
                    let why =
                        "its record is not the one that opens its blocks, which stands before them in their files";
                    records.findings.push(Finding::new(format!("epoch {epoch}"), why));
                } else {
                    records.without_row.insert(epoch);
                }
            }
            records.right.insert(epoch, right.clone());
        }
        // Rows under the id of another epoch: each record says whose it is.
        passed(db.scan(Family::Epochs, &[], |key, value| {
            let own = split_mac(value, "epoch record").ok().and_then(|(body, _)| EpochRecord::from_bytes(body).ok());
            if let Some(epoch) = own.map(|record| record.epoch).filter(|epoch| epoch.as_bytes()[..] != *key)
                && makes_sense(epoch, value)
                && !records.right.contains_key(&epoch)
                && !db
                    .get(Family::Epochs, epoch.as_bytes())
                    .is_ok_and(|row| row.is_some_and(|row| makes_sense(epoch, &row)))
            {
                keyring.learn(epoch, value);
                records.without_row.insert(epoch);
                records.right.insert(epoch, value.to_vec());
            }
            Ok(true)
        }))?;
        for note in &scanned.noted {
            if records.right.get(&note.epoch).is_none_or(|right| digest(right) != note.record) {
                let what = format!("row {} of {}", note.number, note.sort.blocks().name());
                let why = format!("it is not the record of epoch {}, which it says it is", note.epoch);
                records.findings.push(Finding::new(what, why));
                records.wrong_notes.insert(note.number);
            }
        }
        Ok(records)
    }

    /// The right one, where that is known.
    pub(super) fn of(&self, epoch: EpochId) -> Option<&Vec<u8>> {
        self.right.get(&epoch)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&EpochId, &Vec<u8>)> {
        self.right.iter()
    }

    /// True if a note is wrong.
    pub(super) fn is_wrong_note(&self, number: u64) -> bool {
        self.wrong_notes.contains(&number)
    }

    /// The numbers of all that are.
    pub(super) fn wrong_notes(&self) -> impl Iterator<Item = &u64> {
        self.wrong_notes.iter()
    }
}
