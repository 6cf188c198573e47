//! Table files that the database does not name. A kill may leave some, and whoever next opens the database for writing removes them; but where the log
//! lacks what the tip says was acknowledged, it is the database's list of its files, its MANIFEST, that is too old.

use std::collections::HashSet;

use crate::codec::digest;
use crate::format::{Family, Tip, number_key, split_mac};
use crate::model::LogEntry;

use super::db::Db;
use super::error::StoreError;
use super::inspect::Finding;
use super::keyring::Keyring;
use super::numbers::last_sequence;
use super::tip;

/// What is to be told of such files where the log lacks what a tip says was acknowledged.
pub(super) fn beyond_the_end(db: &Db, tip: Option<Tip>) -> Result<Option<Finding>, StoreError> {
    match tip::check(tip, db) {
        Err(e) if e.is_damage() => {}
        other => return other.map(|()| None),
    }
    let count = count(db)?;
    let why = format!(
        "its MANIFEST does not name {count} of the files beside it, and the log lacks its end: `larder repair --apply` puts it together anew from all of them"
    );
    Ok((count > 0).then(|| Finding::new("the database", why)))
}

/// The same where there is no tip: whether the log has lost its end is then not known.
pub(super) fn without_a_tip(db: &Db) -> Result<Option<Finding>, StoreError> {
    let count = count(db)?;
    let why = format!(
        "its MANIFEST does not name {count} of the files beside it, and no tip tells whether the log lacks its end: `larder repair --apply` looks into all of them"
    );
    Ok((count > 0).then(|| Finding::new("the database", why)))
}

/// What is to be told of such files where entries of the log are in them that come behind all that the database has. Of what a kill has left there are none:
/// what was being written is in the write-ahead log still.
/// Without keys every entry is believed that has the right form. One that does not follow on the newest of the database is of another log: a former
/// one of this store, say.
pub(super) fn beyond_the_log(db: &Db, keyring: Option<&Keyring>) -> Result<Option<Finding>, StoreError> {
    let (names, mut further) = (names(db)?, 0);
    if names.is_empty() {
        return Ok(None);
    }
    let last = last_sequence(db)?;
    let entry_in = |value: &[u8]| match keyring {
        Some(keyring) => keyring.check_log_entry(value).ok().map(|(entry, _)| entry),
        None => split_mac(value, "log entry").ok().and_then(|(body, _)| LogEntry::from_bytes(body).ok()),
    };
    let end = db.with(Family::Log, &number_key(last), |value| entry_in(value).map(|_| digest(value))).ok();
    let end = end.flatten().flatten();
    db.rows_of_unnamed(&names, Family::Log, |key, value| {
        let sequence = key.try_into().map_or(0, u64::from_be_bytes);
        let goes_on = |entry: LogEntry| {
            entry.sequence == sequence && end.is_none_or(|end| sequence - 1 == last && entry.previous == end)
        };
        further += usize::from(sequence > last && entry_in(value).is_some_and(goes_on));
    });
    let why = format!(
        "its MANIFEST does not name {} of the files beside it, in which the log goes on: `larder repair --apply` puts it together anew from all of them",
        names.len()
    );
    Ok((further > 0).then(|| Finding::new("the database", why)))
}

/// How many there are.
fn count(db: &Db) -> Result<usize, StoreError> {
    Ok(names(db)?.len())
}

/// Their names.
fn names(db: &Db) -> Result<Vec<String>, StoreError> {
    // Of a list that cannot be read nothing is known.
    let named = match db.tables() {
        Err(e) if !e.is_damage() => return Err(e),
        tables => tables.unwrap_or_default(),
    };
    let named: HashSet<_> = named.into_iter().map(|table| table.name).collect();
    let fail = |e| StoreError::io(format!("cannot read {}", db.dir().display()), e);
    let mut found = Vec::new();
    for item in std::fs::read_dir(db.dir()).map_err(fail)? {
        let name = item.map_err(fail)?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".sst") && !named.contains(name.as_ref()) {
            found.push(name.into_owned());
        }
    }
    Ok(found)
}
