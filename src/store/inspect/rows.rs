//! Dataset records, the database's files, and the plain copies of header and keys. Nothing here needs a key.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;

use crate::format::{Family, number_key};
use crate::model::{DatasetKey, EpochId, Progress};

use super::super::Store;
use super::super::db::{Db, Looked, RowBlocks};
use super::super::error::StoreError;
use super::super::notes::{Row, each_row, noted};
use super::super::read::Sort;
use super::Finding;

/// Rounds of looking at the files that writers make of those that were to be looked at.
const ROUNDS_MAX: usize = 10;

impl Store {
    /// Checks the dataset records, and the MACs of the records of epochs.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn check_records(&self) -> Result<Vec<Finding>, StoreError> {
        let (mut keys, mut findings) = (Vec::new(), Vec::new());
        let scanned = self.db().scan(Family::Datasets, &[], |key, _| {
            keys.extend(DatasetKey::from_slice(key));
            Ok(true)
        });
        for bad in scanned.err().into_iter().chain(keys.iter().filter_map(|key| self.dataset_record(*key).err())) {
            if !bad.is_damage() {
                return Err(bad);
            }
            findings.push(Finding::from_error(&bad));
        }
        let scanned = self.db().scan(Family::Epochs, &[], |key, value| {
            match EpochId::from_slice(key) {
                Some(id) => {
                    let bad = self.keyring().epoch_record(id, value).err();
                    findings.extend(bad.map(|e| Finding::from_error(&e)));
                }
                None => findings.push(Finding::new("a row of epochs", "its key is malformed")),
            }
            Ok(true)
        });
        super::or_found(scanned, &mut findings)?;
        Ok(findings)
    }

    /// Checks that the plain copies of header and key objects agree with those in the database, and that there is a tip.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn check_copies(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        let path = super::super::tip::path(&self.inner.dir);
        if !path.exists() {
            findings.push(Finding::new(path.display().to_string(), "it is missing; the next snapshot makes it anew"));
        }
        // By the tip as it was before the database was opened: a writer may have gone on since.
        findings.extend(super::super::unnamed::beyond_the_end(&self.db(), self.lost_tip())?);
        findings.extend(copies(&self.db(), &self.inner.dir)?);
        // What lies ready and is another than the row is told below, by the row.
        let has_row = super::super::key_files::rows(&self.db())?;
        for name in self.keys_without_row(&self.db()).into_iter().filter(|name| !has_row.contains_key(name)) {
            findings.push(Finding::new(
                format!("the key object {name}"),
                "the database has no row of it: its holder can read, not write; `larder repair --apply` gives it one where the list of keys has its file, else \
                 `larder key rotate` does",
            ));
        }
        for name in self.in_a_later_view_too(|db| self.swapped_keys(db))? {
            findings.push(Finding::new(
                format!("the key object {name}"),
                "it is not the one that an owner wrote last, and its holder's client refuses it; `larder key rotate` writes all of them anew",
            ));
        }
        for sequence in self.in_a_later_view_too(|db| self.forged_changes(db))? {
            findings.push(Finding::new(
                format!("the change of keys in entry {sequence}"),
                "no owner with the identities of the key in use made it: somebody forged it, and `larder key rotate`, or `larder key rotate --keep NAME…` where that refuses, writes a list of keys behind it; \
                 but if another owner is not told of it, the key object in use was set back, and it is for that owner to rotate",
            ));
        }
        Ok(findings)
    }

    /// What is found in a later view too: keys may have been changed while we looked.
    fn in_a_later_view_too<T: PartialEq>(&self, look: impl Fn(&Db) -> Vec<T>) -> Result<Vec<T>, StoreError> {
        let mut found = look(&self.db());
        if !found.is_empty() {
            let still = look(&*self.fresh_db()?);
            found.retain(|one| still.contains(one));
        }
        Ok(found)
    }

    /// Compares every block of the database's files with its checksum, but for those that have a digest. Gives the number of files.
    ///
    /// # Errors
    /// If one cannot be read for another reason than damage.
    pub fn check_tables(&self, progress: &dyn Progress) -> Result<(u64, Vec<Finding>), StoreError> {
        tables(&self.db(), &self.inner.dir, progress)
    }
}

/// Compares every block of the database's files with its checksum, but for those that have a digest. Gives the number of files.
pub(super) fn tables(db: &Db, dir: &Path, progress: &dyn Progress) -> Result<(u64, Vec<Finding>), StoreError> {
    let (mut seen, findings) = (HashSet::new(), Mutex::new(Vec::new()));
    let mut todo = db.tables()?;
    for round in 1.. {
        let fresh: Vec<_> = todo.into_iter().filter(|table| seen.insert(table.name.clone())).collect();
        let gone: Result<Vec<_>, StoreError> = fresh
            .par_iter()
            .map(|table| {
                if progress.cancelled() {
                    return Ok(None);
                }
                let path = table.path.display().to_string();
                let looked = table.look(RowBlocks::WithoutDigest);
                let why = match looked.map_err(|e| StoreError::io(format!("cannot read {path}"), e))? {
                    Looked::Whole => return Ok(None),
                    Looked::Gone => return Ok(Some(path)),
                    Looked::Damaged(why) => why,
                };
                let finding = Finding::new(format!("{path} (rows of {})", table.family), why);
                findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(finding);
                Ok(None)
            })
            .collect();
        let gone: Vec<_> = gone?.into_iter().flatten().collect();
        let mut findings = findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if gone.is_empty() {
            break;
        }
        // A writer merges files and removes those that it merged: then others have the rows.
        if round < ROUNDS_MAX && db.is_outdated() {
            todo = Db::open_read(&dir.join("db"))?.tables()?;
            continue;
        }
        findings.extend(gone.into_iter().map(|path| Finding::new(path, "it is missing")));
        break;
    }
    Ok((seen.len() as u64, findings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)))
}

/// Checks that the plain copies of header and key objects agree with those in the database, and that what writers need is what it should be.
pub(super) fn copies(db: &Db, dir: &Path) -> Result<Vec<Finding>, StoreError> {
    let wrong = super::super::files::of_wrong_sort(dir).into_iter();
    let mut findings: Vec<_> = wrong.map(|(path, why)| Finding::new(path.display().to_string(), why)).collect();
    let mut compare = |path: std::path::PathBuf, copy: &[u8]| {
        let why = match super::super::files::read_small(&path) {
            Ok(bytes) if bytes == copy => return,
            _ if super::super::key_files::is_as_good(&path, copy) => return,
            Ok(_) => "it differs from the copy in the database".to_owned(),
            Err(e) => e.to_string(),
        };
        findings.push(Finding::new(path.display().to_string(), why));
    };
    db.scan(Family::Default, &[], |key, value| {
        if key == b"header" {
            compare(dir.join("header"), value);
        } else if let Some(name) = key.strip_prefix(b"key/") {
            compare(dir.join("keys").join(format!("{}.age", String::from_utf8_lossy(name))), value);
        }
        Ok(true)
    })?;
    Ok(findings)
}

/// Compares each note with the row of its epoch; takes no key. A run that was cut may have left its record in the note alone. `known` gives
/// the family of each block that has a digest.
///
/// # Errors
/// If the database cannot be read.
pub(super) fn notes(
    db: &Db,
    known: &dyn Fn(u64) -> Option<Family>,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    for sort in [Sort::Chunk, Sort::Page] {
        each_row(db, sort.blocks(), known, &mut |number, row| {
            if !matches!(row, Row::Note(_) | Row::Unreadable) {
                return Ok(());
            }
            let object = || format!("row {number} of {}", sort.blocks().name());
            let found = db.with(sort.blocks(), &number_key(number), |value| {
                let Some((epoch, record)) = noted(value) else {
                    return Ok(Some(Finding::new(object(), "it is neither a block nor the record of a run")));
                };
                let row = db.get(Family::Epochs, epoch.as_bytes())?;
                let why = || {
                    let place = object();
                    format!("its record is not the one that stands before its blocks ({place}); `larder repair` finds out which of them opens these")
                };
                Ok::<_, StoreError>(
                    row.filter(|row| record != row).map(|_| Finding::new(format!("epoch {epoch}"), why())),
                )
            });
            // What cannot be read is told by who looks at the files.
            findings.extend(found.ok().flatten().and_then(Result::ok).flatten());
            Ok(())
        })?;
    }
    Ok(())
}
