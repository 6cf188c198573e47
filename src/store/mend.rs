//! What a power cut or a failing disk can leave of the database that RocksDB does not take, put right under the writer lock before it is opened.
//!
//! Three things are known. A MANIFEST whose end could not be synced can hold anything there, rubbish or the names of files that
//! RocksDB then took back, flushed, ingested or merged ones: it is cut back to the last record with which the database opens, lacks
//! no file and holds all that the tip says was acknowledged. And a file that a failed ingest took back still lies in `tmp/`: if cutting
//! does not help, a writer's open puts it back. And rubbish behind what was synced of a write-ahead log can be such that RocksDB would
//! read it for ever: it is cut off.

use std::path::{Path, PathBuf};

use crate::format::Tip;

use super::db::{Db, current_manifest, endless_at, record_ends, write_ahead_logs};
use super::error::StoreError;
use super::files::{check_tmp, sync_dir, write_whole};
use super::lock::{Waiting, WriterLock};
use super::tip;

/// Ends of records that are tried, from the end of a MANIFEST: each takes an open, and what was not synced are a few.
const MOST_TRIES: usize = 50;

/// Whether a database that is damaged is mended before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mending {
    /// What is known is put right, if we may write.
    Yes,
    /// Nothing is changed.
    No,
}

/// Opens the database for reading. What cannot be opened whole is opened as far as it goes.
pub(super) fn open_database(dir: &Path, acknowledged: Option<&Tip>, mending: Mending) -> Result<Db, StoreError> {
    let mut opened = Db::open_read(&dir.join("db"));
    let is_half_mended = kept_whole(dir).is_some_and(|(whole, _)| whole.exists());
    if mending == Mending::Yes
        && (is_half_mended || is_damaged(&opened))
        && let Ok(_lock) = WriterLock::take(dir, Waiting::NoWait, &|| false)
    {
        opened = open_locked(dir, acknowledged);
    }
    match opened {
        Err(StoreError::Damage { what, why }) => {
            Db::open_damaged(&dir.join("db"), why.clone()).map_err(|_| StoreError::Damage { what, why })
        }
        opened => opened,
    }
}

/// The same for who holds the writer lock. What cannot be mended is opened as it is, if it opens: part of it can be read.
pub(super) fn open_locked(dir: &Path, acknowledged: Option<&Tip>) -> Result<Db, StoreError> {
    // Where it fails it fails again below.
    let _ = put_back(dir);
    let mut opened = Db::open_read_locked(&dir.join("db"));
    if opened.is_err() && cut_logs(&dir.join("db")) {
        log::info!("the end of a write-ahead log, which had not been made durable, was cut off");
        opened = Db::open_read_locked(&dir.join("db"));
    }
    // Mending puts files into `tmp`; what can be read without that is.
    if !is_damaged(&opened) || check_tmp(dir).is_err() {
        return opened;
    }
    if let Some(db) = cut_manifest(dir, acknowledged) {
        log::info!("the end of the MANIFEST, which had not been made durable, was cut off");
        return Ok(db);
    }
    // A database that opens removes files when it is opened for writing; then there is nothing to put back either. So it does with a
    // MANIFEST that is cut by way of trial still, because the disk failed.
    if put_back(dir).is_err()
        || opened.is_ok()
        || !std::fs::read_dir(dir.join("tmp")).is_ok_and(|mut items| items.next().is_some())
    {
        return opened;
    }
    drop(Db::open_write(&dir.join("db"), &dir.join("tmp")));
    Db::open_read_locked(&dir.join("db"))
}

/// Where a MANIFEST is kept whole while it is found out how far it must be cut back, and the MANIFEST. The name binds it to this one:
/// whoever opens the database for writing begins another.
fn kept_whole(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let manifest = current_manifest(&dir.join("db")).ok().filter(|manifest| manifest.is_file())?;
    let name = manifest.file_name()?.to_str()?;
    Some((dir.join("tmp").join(format!("{name}.whole")), manifest))
}

/// Puts a MANIFEST back that was cut by way of trial when its process ended. For who holds the writer lock.
///
/// # Errors
/// If that fails: then nobody may write, as files that it does not name would be removed.
pub(super) fn put_back(dir: &Path) -> Result<(), StoreError> {
    let Some((whole, manifest)) = kept_whole(dir).filter(|_| check_tmp(dir).is_ok()) else { return Ok(()) };
    match std::fs::rename(&whole, &manifest) {
        Ok(()) => {
            log::info!("a MANIFEST that was cut by way of trial is whole again");
            // Two names of one file both stay.
            let _ = std::fs::remove_file(&whole);
            sync_dir(&dir.join("db"))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(StoreError::io(format!("cannot put {} back", manifest.display()), e)),
    }
}

/// True if it does not open, or lacks files that its MANIFEST names: RocksDB looks at most of them only when they are read.
fn is_damaged(opened: &Result<Db, StoreError>) -> bool {
    match opened {
        Ok(db) => db.lacks_files(),
        Err(e) => e.is_damage(),
    }
}

/// Cuts rubbish off that RocksDB would read for ever, behind the last whole record before it; true if there was any. What is
/// acknowledged has been flushed and depends on no log.
fn cut_logs(db: &Path) -> bool {
    let mut cut = false;
    for path in write_ahead_logs(db) {
        let Ok(bytes) = read_log(&path) else { continue };
        let Some(rubbish) = endless_at(&bytes) else { continue };
        let end = record_ends(&bytes).into_iter().rfind(|end| *end <= rubbish).unwrap_or(0);
        let shorten = || {
            let file = std::fs::OpenOptions::new().write(true).open(&path)?;
            file.set_len(end as u64)?;
            file.sync_all()
        };
        cut |= shorten().is_ok();
    }
    cut
}

/// Reads a MANIFEST or write-ahead log, unless it is far longer than one is that a cut is to be looked for in.
fn read_log(path: &Path) -> std::io::Result<Vec<u8>> {
    const MAX: u64 = 1 << 30;
    if std::fs::metadata(path)?.len() > MAX { Err(std::io::ErrorKind::InvalidData.into()) } else { std::fs::read(path) }
}

/// Cuts the MANIFEST back, if that gives a database that lacks nothing; else leaves all as it was.
///
/// Opened for reading, the database removes no file that a MANIFEST cut too short does not name.
fn cut_manifest(dir: &Path, acknowledged: Option<&Tip>) -> Option<Db> {
    let acknowledged = *acknowledged?;
    let (database, tmp) = (dir.join("db"), dir.join("tmp"));
    let (whole, manifest) = kept_whole(dir)?;
    let bytes = read_log(&manifest).ok()?;
    let cut = tmp.join("MANIFEST.cut");
    std::fs::hard_link(&manifest, &whole).ok()?;
    sync_dir(&tmp).ok()?;
    let mut found = None;
    for end in record_ends(&bytes).into_iter().rev().filter(|end| *end < bytes.len()).take(MOST_TRIES) {
        write_whole(&cut, &bytes[..end]).ok()?;
        std::fs::rename(&cut, &manifest).ok()?;
        let opened = Db::open_read_locked(&database);
        let Some(db) = opened.ok().filter(|db| !db.lacks_files()) else { continue };
        if tip::check(Some(acknowledged), &db).is_ok() {
            found = Some(db);
        }
        // If this lacks something, so does every shorter one.
        break;
    }
    match found {
        Some(_) => drop(std::fs::remove_file(&whole)),
        // The damage is not at the end. What was there comes back under its name.
        None => std::fs::rename(&whole, &manifest).ok()?,
    }
    sync_dir(&database).ok()?;
    found
}
