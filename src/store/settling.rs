//! Which counts where row and file of a key object differ: the row, unless an owner finds that it is not what owners wrote last (section 7.6).

use std::collections::BTreeMap;

use crate::codec::{digest, unarmoured};
use crate::format::Family;
use crate::model::KeyName;

use super::Store;
use super::db::{Db, Rows};
use super::error::StoreError;
use super::files::{new_aside, read_small, set_aside_unless, sync_dir, write_whole};
use super::key_files::{
    clear_waiting, is_age_file, is_another, is_waiting, names_of_files, path, put_in_place, row_key, rows,
};
use super::roster::Roster;

/// Refuses to write with a key that is not the store's any more. Then puts each file in place that is not as its row is: a change of keys that was
/// cut has come that far, or a file is damaged; and sets those aside of keys that owners removed. A file that is another key object than its row only
/// an owner replaces, who can check which of them counts: whoever opens the store finds the newer one laid ready beside. Before anything is written,
/// so that nothing is sealed to recipients whose identities some key object has not yet.
pub(super) fn settle(store: &Store, db: &Db) -> Result<(), StoreError> {
    let Some((mine, object)) = store.keyring().key() else { return Ok(()) };
    let (mut rows, mut moved) = (rows(db)?, false);
    let stands = |name: &KeyName, wrapped: &Vec<u8>| read_small(&path(store.dir(), *name)).is_ok_and(|b| b == *wrapped);
    let files = names_of_files(store.dir())?;
    let is_settled =
        rows.iter().all(|(name, wrapped)| stands(name, wrapped)) && files.iter().all(|name| rows.contains_key(name));
    let roster = if is_settled { None } else { store.sure_roster(db) };
    if let Some(roster) = &roster {
        follow_owners(store, db, roster, &mut rows)?;
    }
    // Before any file is written: what this session has may be newer than the rows.
    match rows.get(&mine.name) {
        Some(wrapped) if digest(wrapped) == *object => {}
        Some(_) => return Err(StoreError::KeysRenewed(store.dir().to_owned())),
        None => return Err(StoreError::KeyRemoved { path: store.dir().to_owned(), name: mine.name }),
    }
    let mut stay = Vec::new();
    for (name, wrapped) in rows.iter().filter(|(name, wrapped)| !stands(name, wrapped)) {
        let path = path(store.dir(), *name);
        if is_another(&path, wrapped) && !roster.as_ref().is_some_and(|known| known.has_proved(*name, wrapped)) {
            log::warn!("the key object {} is another one than the database has: it stays", path.display());
            // An owner may find that the one laid ready is right.
            stay.extend(Some(*name).filter(|_| roster.is_none() && is_waiting(&path, wrapped)));
            continue;
        } else if is_waiting(&path, wrapped) {
            log::warn!("the key object {} is put in place as the database has it", path.display());
            put_in_place(&path)?;
        } else {
            log::warn!("the key object {} is written as the database has it", path.display());
            write_whole(&path, wrapped)?;
        }
        moved = true;
    }
    let strays: Vec<_> = files.into_iter().filter(|name| !rows.contains_key(name)).collect();
    if let Some(roster) = roster.filter(|_| !strays.is_empty()) {
        let removed = store.removed_keys(db, &roster)?;
        for name in strays.into_iter().filter(|name| removed.contains(name)) {
            log::warn!("the key object {name} is set aside: the key was removed");
            set_aside_unless(&path(store.dir(), name), |_| false, || new_aside(store.dir()))?;
            moved = true;
        }
    }
    if moved {
        sync_dir(&store.dir().join("keys"))?;
    }
    clear_waiting(store.dir(), &stay)
}

/// Puts rows right that are not what owners have proved since, as they are where the end of the log was lost and is there again: of a key whose file
/// is what an owner wrote last, be there no row, and of one that was removed. Of an object that init made there is no proof: the file counts that has opened the store.
fn follow_owners(
    store: &Store,
    db: &Db,
    roster: &Roster,
    rows: &mut BTreeMap<KeyName, Vec<u8>>,
) -> Result<(), StoreError> {
    let mut changed = Rows::default();
    let opened = store.keyring().key().map(|(mine, object)| (mine.name, *object));
    for key in &roster.keys {
        let said = key.object().or_else(|| opened.filter(|(name, _)| *name == key.name).map(|(_, object)| object));
        let file = read_small(&path(store.dir(), key.name)).map(unarmoured).ok();
        let newer = file.filter(|file| said.is_some_and(|said| said == digest(file)));
        if let (Some(newer), Some(row)) = (newer, rows.get_mut(&key.name))
            && newer != *row
        {
            changed.put(Family::Default, &row_key(key.name), &newer);
            *row = newer;
        }
    }
    for (name, file) in store.lacking_rows(db, roster, rows, false)? {
        log::warn!("the database has a row of the key object {name} again, from its file");
        changed.put(Family::Default, &row_key(name), &file);
        rows.insert(name, file);
    }
    let is_listed = |name: &KeyName| roster.keys.iter().any(|key| key.name == *name);
    if !rows.keys().all(is_listed) {
        let removed = store.removed_keys(db, roster)?;
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
