//! Section 8.1: the newest state that was acknowledged, kept outside the database.
//!
//! RocksDB takes a MANIFEST or write-ahead log that ends too early for one that was never written to its end, and opens what
//! is before it without a word. The tip tells that something acknowledged is gone.

use std::path::{Path, PathBuf};

use crate::codec::{IdKeys, MacLabel, digest};
use crate::format::{Family, Tip, number_key};

use super::db::Db;
use super::error::{StoreError, THE_TIP};
use super::files::write_whole;

/// What is wrong with one that names an entry which no such log can have.
pub(super) const OUT_OF_REACH: &str =
    "nobody can have come to the number of the entry that it names by counting on from the last one";

/// Where it is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("tip")
}

/// The bytes of a tip.
pub(super) fn to_bytes(tip: &Tip, ids: &IdKeys) -> Vec<u8> {
    let mut bytes = tip.signed_part();
    let mac = ids.mac(MacLabel::Tip, &[&bytes]);
    bytes.extend_from_slice(&mac);
    bytes
}

/// Puts a tip in place; it lasts when this returns.
pub(super) fn write(dir: &Path, tip: &Tip, ids: &IdKeys) -> Result<(), StoreError> {
    write_whole(&path(dir), &to_bytes(tip, ids))
}

/// Reads the tip; nothing if it is missing. To be read before the database is opened: what it says was there by then.
pub(super) fn read(dir: &Path, ids: &IdKeys) -> Result<Option<Tip>, StoreError> {
    let path = path(dir);
    let bytes = match super::files::read_small(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(super::files::unreadable(&path, e)),
    };
    let good = Tip::parse(&bytes).filter(|(tip, mac)| ids.mac_holds(MacLabel::Tip, &[&tip.signed_part()], mac));
    good.map(|(tip, _)| Some(tip)).ok_or_else(|| StoreError::damage(THE_TIP, "it is not what was written"))
}

/// Refuses a database whose log lacks what the tip says was acknowledged.
pub(super) fn check(tip: Option<Tip>, db: &Db) -> Result<(), StoreError> {
    let Some(tip) = tip.filter(|t| t.sequence > 0) else { return Ok(()) };
    let what = || format!("entry {} of the arrival log", tip.sequence);
    match db.with(Family::Log, &number_key(tip.sequence), digest)? {
        Some(hash) if hash == tip.log_hash => Ok(()),
        Some(_) => Err(StoreError::damage(what(), "it is not the one that was acknowledged")),
        None => Err(StoreError::damage(what(), "it was acknowledged and is gone: the end of the database is lost")),
    }
}
