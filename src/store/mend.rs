//! What a power cut or a failing disk can leave of the database that RocksDB does not take, put right under the writer lock before it is opened.
//!
//! Two things are known. A MANIFEST whose end could not be synced can hold anything there, rubbish or the names of files that
//! RocksDB then took back, flushed, ingested or merged ones: it is cut back to the last record with which the database opens, lacks
//! no file and holds all that the tip says was acknowledged. And a file that a failed ingest took back still lies in `tmp/`: if cutting
//! does not help, a writer's open puts it back.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::digest;
use crate::format::{Family, Tip, number_key};

use super::db::Db;
use super::error::StoreError;
use super::files::{sync_dir, write_whole};
use super::lock::{Waiting, WriterLock};
use super::tip;

/// Ends of records that are tried, from the end of a MANIFEST: each takes an open, and what was not synced are a few.
const MOST_TRIES: usize = 50;

/// Opens the database for reading; if it is damaged and we may write, what is known is mended first. What cannot be opened
/// whole is opened as far as it goes.
pub(super) fn open_database(dir: &Path, acknowledged: Option<&Tip>) -> Result<Db, StoreError> {
    let mut opened = Db::open_read(&dir.join("db"));
    if is_damaged(&opened)
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
    let opened = Db::open_read(&dir.join("db"));
    if !is_damaged(&opened) {
        return opened;
    }
    if let Some(db) = cut_manifest(dir, acknowledged) {
        log::info!("the end of the MANIFEST, which had not been made durable, was cut off");
        return Ok(db);
    }
    // A database that opens removes files when it is opened for writing; then there is nothing to put back either.
    if opened.is_ok() || !std::fs::read_dir(dir.join("tmp")).is_ok_and(|mut items| items.next().is_some()) {
        return opened;
    }
    drop(Db::open_write(&dir.join("db"), &dir.join("tmp")));
    Db::open_read(&dir.join("db"))
}

/// True if it does not open, or lacks files that its MANIFEST names: RocksDB looks at most of them only when they are read.
fn is_damaged(opened: &Result<Db, StoreError>) -> bool {
    match opened {
        Ok(db) => db.lacks_files(),
        Err(e) => e.is_damage(),
    }
}

/// Cuts the MANIFEST back, if that gives a database that lacks nothing; else leaves all as it was.
///
/// Opened for reading, the database removes no file that a MANIFEST cut too short does not name.
fn cut_manifest(dir: &Path, acknowledged: Option<&Tip>) -> Option<Db> {
    let acknowledged = *acknowledged?;
    let (database, tmp) = (dir.join("db"), dir.join("tmp"));
    let manifest = current_manifest(&database).ok()?;
    let bytes = std::fs::read(&manifest).ok()?;
    let (whole, cut) = (tmp.join("MANIFEST.whole"), tmp.join("MANIFEST.cut"));
    let _ = std::fs::remove_file(&whole);
    std::fs::hard_link(&manifest, &whole).ok()?;
    let mut found = None;
    for end in record_ends(&bytes).into_iter().rev().filter(|end| *end < bytes.len()).take(MOST_TRIES) {
        write_whole(&cut, &bytes[..end]).ok()?;
        std::fs::rename(&cut, &manifest).ok()?;
        let opened = Db::open_read(&database);
        let Some(db) = opened.ok().filter(|db| !db.lacks_files()) else { continue };
        if tip::check(Some(acknowledged), |n| db.with(Family::Log, &number_key(n), digest)).is_ok() {
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

/// The MANIFEST that CURRENT names.
fn current_manifest(db: &Path) -> io::Result<PathBuf> {
    let name = std::fs::read_to_string(db.join("CURRENT"))?;
    let name = name.trim();
    let good = name.strip_prefix("MANIFEST-").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if good { Ok(db.join(name)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Where whole records end in a file in RocksDB's log format, as far as its form goes on.
///
/// Blocks of 32 KiB; in them fragments: checksum (4 bytes), length (2, little endian), type (1: whole, 2: first, 3: middle,
/// 4: last), bytes; fewer than 7 bytes at the end of a block are padding. (The format is RocksDB's `db/log_format.h`.)
fn record_ends(bytes: &[u8]) -> Vec<usize> {
    const BLOCK: usize = 32 << 10;
    const HEAD: usize = 7;
    let mut ends = Vec::new();
    let mut at = 0;
    loop {
        let left = BLOCK - at % BLOCK;
        if left < HEAD {
            at += left;
        }
        let Some([_, _, _, _, low, high, sort]) = bytes.get(at..at + HEAD) else { return ends };
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let end = at + HEAD + len;
        if end > bytes.len() || at % BLOCK + HEAD + len > BLOCK || !(1..=4).contains(sort) {
            return ends;
        }
        if matches!(sort, 1 | 4) {
            ends.push(end);
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(sort: u8, len: u16) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0];
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.push(sort);
        bytes.resize(7 + usize::from(len), 0xee);
        bytes
    }

    #[test]
    fn ends_of_records() {
        let two = [fragment(1, 10), fragment(1, 0)].concat();
        assert_eq!(record_ends(&two), [17, 24]);
        assert_eq!(record_ends(&two[..20]), [17]);
        // A record over two blocks: 17 bytes, then 32,744 which fill the block, then the rest of it.
        let long = [fragment(1, 10), fragment(2, 32_744), fragment(4, 5)].concat();
        assert_eq!(record_ends(&long), [17, (32 << 10) + 12]);
        // Three bytes are left in the block: padding.
        let padded = [fragment(1, 32_758), vec![0; 3], fragment(1, 1)].concat();
        assert_eq!(record_ends(&padded), [32_765, (32 << 10) + 8]);
        let rubbish = [fragment(1, 10), fragment(9, 3), fragment(1, 1)].concat();
        assert_eq!(record_ends(&rubbish), [17]);
        let too_long = [fragment(1, 10), fragment(1, 60_000)].concat();
        assert_eq!(record_ends(&too_long), [17]);
        assert_eq!(record_ends(&[]), [0; 0]);
    }
}
