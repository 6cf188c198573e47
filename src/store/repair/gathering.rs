//! A database that does not open, or of which not all files are named, is put together from its table files, to be read from.

use std::path::{Path, PathBuf};

use super::super::db::Db;
use super::super::error::StoreError;
use super::super::files::make_dir;
use super::super::lock::{Waiting, WriterLock};
use super::super::numbers::last_sequence;
use super::ASIDE;

/// Where a database that does not open is put together to be read from. Nothing but links.
pub(super) fn gathered(dir: &Path) -> PathBuf {
    dir.join(ASIDE).join("gathered")
}

/// The database of all table files, those too that its MANIFEST does not name, if its log goes on farther; else the database as it is.
pub(super) fn gathered_if_longer(dir: &Path, db: Db, why: &str) -> Result<Db, StoreError> {
    let last = last_sequence(&db).unwrap_or(0);
    match gather(dir, why) {
        Ok(all) if last_sequence(&all)? > last => Ok(all),
        Err(e) if !e.is_damage() => Err(e),
        _ => Ok(db),
    }
}

pub(super) fn gather(dir: &Path, why: &str) -> Result<Db, StoreError> {
    let _lock = WriterLock::take(dir, Waiting::NoWait, &|| false)?;
    let to = gathered(dir);
    // A repair that was killed may have left it.
    let _ = std::fs::remove_dir_all(&to);
    make_dir(&to)?;
    // Where it is gone nothing is left but what `heal` takes from a copy.
    make_dir(&dir.join("db"))?;
    ::log::info!("the database does not open; it is put together from its table files");
    Db::gather(&dir.join("db"), &to, why)
}
