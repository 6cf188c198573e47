//! Key objects: the rows of the database, which change in one step with the log, and the files beside it, which follow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::codec::digest;
use crate::format::Family;
use crate::model::KeyName;

use super::Store;
use super::db::{Db, Rows};
use super::error::StoreError;
use super::files::{read_small, sync_dir, write_whole};

/// What a row's key begins with.
const FRONT: &[u8] = b"key/";

/// The file of a key object.
pub(super) fn path(dir: &Path, name: KeyName) -> PathBuf {
    dir.join("keys").join(format!("{name}.age"))
}

fn row_key(name: KeyName) -> Vec<u8> {
    [FRONT, name.to_string().as_bytes()].concat()
}

/// The key objects as the database has them. A row of another sort of name is passed over.
pub(super) fn rows(db: &Db) -> Result<BTreeMap<KeyName, Vec<u8>>, StoreError> {
    let mut found = BTreeMap::new();
    db.scan(Family::Default, FRONT, |key, value| {
        let Some(name) = key.strip_prefix(FRONT) else { return Ok(false) };
        if let Some(name) = std::str::from_utf8(name).ok().and_then(|text| text.parse().ok()) {
            found.insert(name, value.to_vec());
        }
        Ok(true)
    })?;
    Ok(found)
}

/// The names of the key objects that lie as files.
pub(super) fn names_of_files(dir: &Path) -> Result<Vec<KeyName>, StoreError> {
    let keys = dir.join("keys");
    let fail = |e| StoreError::io(format!("cannot read {}", keys.display()), e);
    let mut found = Vec::new();
    for item in std::fs::read_dir(&keys).map_err(fail)? {
        let name = item.map_err(fail)?.file_name();
        found.extend(name.to_str().and_then(|n| n.strip_suffix(".age")).and_then(|n| n.parse::<KeyName>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Key objects to be put in place or taken away, in the rows that are about to be written.
pub(super) fn add_to(rows: &mut Rows, put: &[(KeyName, Vec<u8>)], gone: &[KeyName]) {
    put.iter().for_each(|(name, wrapped)| rows.put(Family::Default, &row_key(*name), wrapped));
    gone.iter().for_each(|name| rows.delete(Family::Default, &row_key(*name)));
}

/// The same with the files, when the rows are written: new ones first, so that at no time fewer keys open the store.
pub(super) fn follow(dir: &Path, put: &[(KeyName, Vec<u8>)], gone: &[KeyName]) -> Result<(), StoreError> {
    for (name, wrapped) in put {
        write_whole(&path(dir, *name), wrapped)?;
    }
    for name in gone {
        remove_file(dir, *name)?;
    }
    sync_dir(&dir.join("keys"))
}

/// Takes the file of a key object away, if it is there.
pub(super) fn remove_file(dir: &Path, name: KeyName) -> Result<(), StoreError> {
    let path = path(dir, name);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io(format!("cannot remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

/// Puts each file in place that is not as its row is: a change of keys that was cut has come that far, or a file is damaged.
/// Before anything is written, so that nothing is sealed to recipients whose identities some key object has not yet.
///
/// Then refuses to write with a key that is not the store's any more.
pub(super) fn settle(store: &Store, db: &Db) -> Result<(), StoreError> {
    let Some((mine, object)) = store.keyring().key() else { return Ok(()) };
    let rows = rows(db)?;
    for (name, wrapped) in &rows {
        let path = path(store.dir(), *name);
        if !read_small(&path).is_ok_and(|bytes| bytes == *wrapped) {
            log::warn!("the key object {} is put in place from its copy in the database", path.display());
            write_whole(&path, wrapped)?;
        }
    }
    match rows.get(&mine.name) {
        Some(wrapped) if digest(wrapped) == *object => Ok(()),
        Some(_) => Err(StoreError::KeysRenewed(store.dir().to_owned())),
        None => Err(StoreError::KeyRemoved { path: store.dir().to_owned(), name: mine.name }),
    }
}
