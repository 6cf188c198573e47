//! Key objects: the rows of the database, which change in one step with the log, and the files beside it, which follow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::codec::{digest, unarmoured};
use crate::format::Family;
use crate::model::{KeyName, Role};

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
fn waiting(path: &Path) -> PathBuf {
    path.with_extension("age.next")
}

/// The key whose object lies ready in such a file; nothing if it is another sort of file.
pub(super) fn laid_ready_for(path: &Path) -> Option<KeyName> {
    path.file_name()?.to_str()?.strip_suffix(".age.next")?.parse().ok()
}

fn is_waiting(path: &Path, row: &[u8]) -> bool {
    read_small(&waiting(path)).is_ok_and(|bytes| bytes == row)
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

fn put_in_place(path: &Path) -> Result<(), StoreError> {
    std::fs::rename(waiting(path), path)
        .map_err(|e| StoreError::io(format!("cannot put {} in place", path.display()), e))
}

/// Removes a file, if it is there.
fn remove_file(path: &Path) -> Result<(), StoreError> {
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

/// Puts each file in place that is not as its row is: a change of keys that was cut has come that far, or a file is damaged. Takes
/// away those of keys that owners removed, which whoever cannot read the log leaves to others.
/// Before anything is written, so that nothing is sealed to recipients whose identities some key object has not yet.
///
/// Then refuses to write with a key that is not the store's any more.
pub(super) fn settle(store: &Store, db: &Db) -> Result<(), StoreError> {
    let Some((mine, object)) = store.keyring().key() else { return Ok(()) };
    let (mut rows, mut moved) = (rows(db)?, false);
    let stands = |name: &KeyName, wrapped: &Vec<u8>| read_small(&path(store.dir(), *name)).is_ok_and(|b| b == *wrapped);
    if !rows.iter().all(|(name, wrapped)| stands(name, wrapped)) {
        follow_owners(store, db, &mut rows)?;
    }
    for (name, wrapped) in &rows {
        let path = path(store.dir(), *name);
        if read_small(&path).is_ok_and(|bytes| bytes == *wrapped) {
            continue;
        }
        log::warn!("the key object {} is put in place as the database has it", path.display());
        if is_waiting(&path, wrapped) {
            put_in_place(&path)?;
        } else {
            write_whole(&path, wrapped)?;
        }
        moved = true;
    }
    let mut strays = names_of_files(store.dir())?;
    strays.retain(|name| !rows.contains_key(name));
    if !strays.is_empty() && store.keyring().role() >= Role::Catalog {
        let removed = store.removed_keys(db)?;
        for name in strays.into_iter().filter(|name| removed.contains(name)) {
            log::warn!("the key object {name} goes: the key was removed");
            remove_file(&path(store.dir(), name))?;
            moved = true;
        }
    }
    if moved {
        sync_dir(&store.dir().join("keys"))?;
    }
    clear_waiting(store.dir())?;
    match rows.get(&mine.name) {
        Some(wrapped) if digest(wrapped) == *object => Ok(()),
        Some(_) => Err(StoreError::KeysRenewed(store.dir().to_owned())),
        None => Err(StoreError::KeyRemoved { path: store.dir().to_owned(), name: mine.name }),
    }
}

/// Puts rows right that are older than what owners have proved since, as they are where the end of the log was lost and is there again: of a key whose file
/// is what an owner wrote last, and of one that was removed. Nothing without an owner's key.
fn follow_owners(store: &Store, db: &Db, rows: &mut BTreeMap<KeyName, Vec<u8>>) -> Result<(), StoreError> {
    let Some(roster) = store.sure_roster(db) else { return Ok(()) };
    let mut changed = Rows::default();
    for key in &roster.keys {
        let file = read_small(&path(store.dir(), key.name)).map(unarmoured).ok();
        let newer = file.filter(|file| key.object().is_some_and(|said| said == digest(file)));
        if let (Some(newer), Some(row)) = (newer, rows.get_mut(&key.name))
            && newer != *row
        {
            changed.put(Family::Default, &row_key(key.name), &newer);
            *row = newer;
        }
    }
    let is_listed = |name: &KeyName| roster.keys.iter().any(|key| key.name == *name);
    if !rows.keys().all(is_listed) {
        let removed = store.removed_keys(db)?;
        rows.retain(|name, _| {
            let stays = is_listed(name) || !removed.contains(name);
            if !stays {
                changed.remove(Family::Default, &row_key(*name));
            }
            stays
        });
    }
    write(db, &changed)
}

/// Makes the rows follow the files, where the log has lost its end for good: the files may be of changes of keys that are lost with it.
pub(super) fn follow_files(store: &Store, db: &Db) -> Result<(), StoreError> {
    let (mut changed, rows) = (Rows::default(), rows(db)?);
    let files: BTreeMap<_, _> = names_of_files(store.dir())?
        .into_iter()
        .filter_map(|name| Some((name, unarmoured(read_small(&path(store.dir(), name)).ok()?))))
        .filter(|(_, file)| is_age_file(file))
        .collect();
    for (name, file) in files.iter().filter(|(name, file)| rows.get(name) != Some(file)) {
        changed.put(Family::Default, &row_key(*name), file);
    }
    for name in rows.keys().filter(|name| !files.is_empty() && !files.contains_key(name)) {
        changed.remove(Family::Default, &row_key(*name));
    }
    write(db, &changed)
}

fn write(db: &Db, changed: &Rows) -> Result<(), StoreError> {
    if changed.len() == 0 {
        return Ok(());
    }
    db.write(changed, true)?;
    db.flush()
}

/// Removes files that were laid ready for a change that never came, and what was cut while it was written.
fn clear_waiting(dir: &Path) -> Result<(), StoreError> {
    let keys = dir.join("keys");
    let fail = |e| StoreError::io(format!("cannot read {}", keys.display()), e);
    let mut found = false;
    for item in std::fs::read_dir(&keys).map_err(fail)? {
        let path = item.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if laid_ready_for(&path).is_some() || (name.starts_with('.') && name.ends_with(".new")) {
            remove_file(&path)?;
            found = true;
        }
    }
    if found { sync_dir(&keys) } else { Ok(()) }
}
