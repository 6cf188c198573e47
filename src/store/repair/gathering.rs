//! A database that does not open, or of which not all files are named, is put together from its table files, to be read from.

use std::path::{Path, PathBuf};

use crate::format::{Family, Tip, number_key};

use super::super::db::Db;
use super::super::error::StoreError;
use super::super::files::make_dir;
use super::super::keyring::Keyring;
use super::super::lock::{Waiting, WriterLock};
use super::super::unnamed;
use super::ASIDE;
use super::log::passed;

/// Whether the writer lock is to be taken, or is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    Needed,
    Held,
}

/// Where databases that do not open are put together to be read from. Nothing but links.
pub(super) fn gathered(dir: &Path) -> PathBuf {
    dir.join(ASIDE).join("gathered")
}

/// A database, or one of all files beside it, if its MANIFEST lacks some with which the log goes on farther.
pub(super) fn with_unnamed(
    dir: &Path,
    db: Db,
    tip: Option<Tip>,
    keyring: &Keyring,
    locking: Locking,
) -> Result<Db, StoreError> {
    let unnamed = match tip {
        None => unnamed::without_a_tip(&db)?,
        Some(_) => match unnamed::beyond_the_end(&db, tip)? {
            None => unnamed::beyond_the_log(&db, Some(keyring))?,
            some => some,
        },
    };
    match unnamed {
        Some(finding) => gathered_if_longer(dir, db, keyring, &finding.why, locking),
        None => Ok(db),
    }
}

/// The database of all table files, those too that its MANIFEST does not name, if its log goes on farther; else the database as it is.
fn gathered_if_longer(dir: &Path, db: Db, keyring: &Keyring, why: &str, locking: Locking) -> Result<Db, StoreError> {
    let last = last_entry(&db, keyring)?;
    // Files that were put there may have rows of another log, and newer ones by RocksDB's count.
    let has_ours = |all: &Db| -> Result<bool, StoreError> {
        let row = |db: &Db| db.get(Family::Log, &number_key(last));
        Ok(last == 0 || row(all)? == row(&db)?)
    };
    match gather(dir, why, locking) {
        Ok(all) if last_entry(&all, keyring)? > last && has_ours(&all)? => Ok(all),
        Err(e) if !e.is_damage() => Err(e),
        _ => Ok(db),
    }
}

/// The number of the newest entry that can be read and was made with these keys; 0 if there is none.
fn last_entry(db: &Db, keyring: &Keyring) -> Result<u64, StoreError> {
    let mut last = 0;
    passed(db.scan_back(Family::Log, |key, value| {
        let entry = keyring.check_log_entry(value).ok().map(|(entry, _)| entry);
        last = entry.filter(|entry| number_key(entry.sequence) == *key).map_or(0, |entry| entry.sequence);
        Ok(last == 0)
    }))?;
    Ok(last)
}

pub(super) fn gather(dir: &Path, why: &str, locking: Locking) -> Result<Db, StoreError> {
    let lock = || WriterLock::take(dir, Waiting::NoWait, &|| false);
    let _lock = (locking == Locking::Needed).then(lock).transpose()?;
    // Of who holds the lock one of its own: a database is in use in a process once.
    let to = gathered(dir).join(if locking == Locking::Held { "1" } else { "0" });
    // A repair that was killed may have left it.
    let _ = std::fs::remove_dir_all(&to);
    make_dir(&to)?;
    // Where it is gone nothing is left but what `heal` takes from a copy.
    make_dir(&dir.join("db"))?;
    ::log::info!("the database does not open; it is put together from its table files");
    Db::gather(&dir.join("db"), &to, why)
}
