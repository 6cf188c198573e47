//! Key objects: the rows of the database, which change in one step with the log, and the files beside it, which follow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::codec::unarmoured;
use crate::format::Family;
use crate::model::KeyName;

use super::db::{Db, Rows};
use super::error::StoreError;
use super::files::{NO_FILE, is_for_a_moment, laid_ready_for, read_small, sync_dir, write_whole};

/// What a row's key begins with.
const FRONT: &[u8] = b"key/";

/// The file of a key object.
pub(super) fn path(dir: &Path, name: KeyName) -> PathBuf {
    dir.join("keys").join(format!("{name}.age"))
}

pub(super) fn row_key(name: KeyName) -> Vec<u8> {
    [FRONT, name.to_string().as_bytes()].concat()
}

/// The key objects as the database has them. A row of another sort of name is passed over.
pub(super) fn rows(db: &Db) -> Result<BTreeMap<KeyName, Vec<u8>>, StoreError> {
    let mut found = BTreeMap::new();
    db.scan(Family::Default, FRONT, |key, value| {
        let Some(name) = key.strip_prefix(FRONT) else { return Ok(false) };
        // Rubbish is as good as no row: it must not take the place of a file that is whole.
        if let Some(name) =
            std::str::from_utf8(name).ok().and_then(|text| text.parse().ok()).filter(|_| is_age_file(value))
        {
            found.insert(name, value.to_vec());
        }
        Ok(true)
    })?;
    Ok(found)
}

/// True of what begins as an age file does, armoured or not.
pub(super) fn is_age_file(bytes: &[u8]) -> bool {
    [&b"age-encryption.org/"[..], b"-----BEGIN AGE "].iter().any(|front| bytes.starts_with(front))
}

/// The key whose object a file is; nothing if its name is of another sort.
pub(super) fn name_of(path: &Path) -> Option<KeyName> {
    path.file_name()?.to_str()?.strip_suffix(".age")?.parse().ok()
}

/// The names of the key objects that lie as files.
pub(super) fn names_of_files(dir: &Path) -> Result<Vec<KeyName>, StoreError> {
    let keys = dir.join("keys");
    let fail = |e| StoreError::io(format!("cannot read {}", keys.display()), e);
    let mut found = Vec::new();
    for item in std::fs::read_dir(&keys).map_err(fail)? {
        found.extend(name_of(&item.map_err(fail)?.path()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Key objects to be put in place or taken away, in the rows that are about to be written.
pub(super) fn add_to(rows: &mut Rows, put: &[(KeyName, Vec<u8>)], gone: &[KeyName]) {
    put.iter().for_each(|(name, wrapped)| rows.put(Family::Default, &row_key(*name), wrapped));
    gone.iter().for_each(|name| rows.remove(Family::Default, &row_key(*name)));
}

/// Where the file of a key object waits for its row.
pub(super) fn waiting(path: &Path) -> PathBuf {
    path.with_extension("age.next")
}

pub(super) fn is_waiting(path: &Path, row: &[u8]) -> bool {
    read_small(&waiting(path)).is_ok_and(|bytes| bytes == row)
}

/// True if what the row of a key has lies ready beside its file.
pub(super) fn lies_ready(dir: &Path, name: KeyName, rows: &BTreeMap<KeyName, Vec<u8>>) -> bool {
    rows.get(&name).is_some_and(|row| is_waiting(&path(dir, name), row))
}

/// True if a file is an age file and another one than its row. Which of them is right, and whether one is damaged, only a proof tells.
pub(super) fn is_another(path: &Path, row: &[u8]) -> bool {
    let Ok(file) = read_small(path).map(unarmoured) else { return false };
    is_age_file(&file) && file != row
}

/// True if a file that differs from its row is no damage: it is the same as text, or older because a change of keys was cut, and
/// the newer one lies beside.
pub(super) fn is_as_good(path: &Path, row: &[u8]) -> bool {
    let is_object = path.extension().is_some_and(|e| e == "age");
    is_object && (is_waiting(path, row) || read_small(path).is_ok_and(|bytes| unarmoured(bytes) == row))
}

/// Lays the files of new key objects ready, before their rows are written: what can fail, a full disk say, fails here.
pub(super) fn lay_ready(dir: &Path, put: &[(KeyName, Vec<u8>)]) -> Result<(), StoreError> {
    put.iter().try_for_each(|(name, wrapped)| write_whole(&waiting(&path(dir, *name)), wrapped))
}

/// Puts files in place when their rows are written. New ones first, so that at no time fewer keys open the store.
pub(super) fn follow(dir: &Path, put: &[(KeyName, Vec<u8>)], gone: &[KeyName]) -> Result<(), StoreError> {
    put.iter().try_for_each(|(name, _)| put_in_place(&path(dir, *name)))?;
    gone.iter().try_for_each(|name| remove_file(&path(dir, *name)))?;
    sync_dir(&dir.join("keys"))
}

pub(super) fn put_in_place(path: &Path) -> Result<(), StoreError> {
    std::fs::rename(waiting(path), path)
        .map_err(|e| StoreError::io(format!("cannot put {} in place", path.display()), e))
}

/// Removes a file, if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io(format!("cannot remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

/// True if a key object's file is not there as the database has it: then it may be that no key opens which should.
#[must_use]
pub fn lacks_key_files(dir: &Path) -> bool {
    let rows = Db::open_read(&dir.join("db")).and_then(|db| rows(&db)).unwrap_or_default();
    rows.iter().any(|(name, row)| {
        let path = path(dir, *name);
        !read_small(&path).is_ok_and(|bytes| bytes == *row) && !is_as_good(&path, row)
    })
}

/// The key objects whose file is another one than the row.
pub(super) fn others(dir: &Path, db: &Db) -> Result<Vec<PathBuf>, StoreError> {
    let all = rows(db)?.into_iter().map(|(name, row)| (path(dir, name), row));
    Ok(all.filter(|(path, row)| is_another(path, row)).map(|(path, _)| path).collect())
}

/// Removes files that were laid ready for a change that never came, and what was cut while it was written; not those that `stay`.
pub(super) fn clear_waiting(dir: &Path, stay: &[KeyName]) -> Result<(), StoreError> {
    let keys = dir.join("keys");
    let fail = |e| StoreError::io(format!("cannot read {}", keys.display()), e);
    let mut found = false;
    for item in std::fs::read_dir(&keys).map_err(fail)? {
        let path = item.map_err(fail)?.path();
        if is_for_a_moment(&path) && !laid_ready_for(&path).is_some_and(|name| stay.contains(&name)) {
            if path.is_dir() && !path.is_symlink() {
                return Err(StoreError::damage(path.display().to_string(), NO_FILE));
            }
            remove_file(&path)?;
            found = true;
        }
    }
    if found { sync_dir(&keys) } else { Ok(()) }
}
