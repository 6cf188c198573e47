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
    clear_waiting, in_files, is_age_file, is_another, is_waiting, names_laid_ready, names_of_files, path, put_in_place,
    row_key, rows, third, waiting,
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
    let (files, ready) = (names_of_files(store.dir())?, names_laid_ready(store.dir())?);
    let is_settled = ready.is_empty()
        && rows.iter().all(|(name, wrapped)| stands(name, wrapped))
        && files.iter().all(|name| rows.contains_key(name));
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
    if let Some(roster) = &roster {
        moved |= set_thirds_aside(store, db, roster, &rows, &ready)?;
    }
    let mut stay = Vec::new();
    for (name, wrapped) in rows.iter().filter(|(name, wrapped)| !stands(name, wrapped)) {
        let path = path(store.dir(), *name);
        // The row of the key in use has opened the store.
        let is_mine = *name == mine.name && is_waiting(&path, wrapped);
        let is_proved = roster.as_ref().is_some_and(|known| is_mine || known.has_proved(*name, wrapped));
        if is_another(&path, wrapped) && !is_proved {
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
    clear_waiting(store.dir(), &rows, &stay)
}

/// Sets aside what lies ready, is neither row nor file, and counts no more, as far as owners have proved it: it was laid ready for a change of keys
/// that never came, or somebody put it there. Of an object that init made there is no proof: there row and file must be the same.
fn set_thirds_aside(
    store: &Store,
    db: &Db,
    roster: &Roster,
    rows: &BTreeMap<KeyName, Vec<u8>>,
    ready: &[KeyName],
) -> Result<bool, StoreError> {
    let mine = store.keyring().name();
    let is_file_as_row = |name: KeyName| {
        let file = read_small(&path(store.dir(), name)).map(unarmoured).ok();
        file.is_some() && file.as_ref() == rows.get(&name)
    };
    let counts_no_more = |name: KeyName, object: &[u8]| {
        let Some(key) = roster.keys.iter().find(|key| key.name == name) else { return true };
        key.object().map_or_else(|| name == mine || is_file_as_row(name), |said| said != digest(object))
    };
    let thirds = ready.iter().map(|name| (path(store.dir(), *name), *name));
    let thirds = thirds.filter(|(path, name)| third(path, rows.get(name)).is_some_and(|o| counts_no_more(*name, &o)));
    let thirds: Vec<_> = thirds.map(|(path, _)| waiting(&path)).collect();
    // One of the entries that are lost may have brought it.
    if thirds.is_empty() || store.has_lost_behind(db, roster)? {
        return Ok(false);
    }
    let aside = new_aside(store.dir())?;
    for path in thirds {
        log::warn!("{} is set aside: it is not of the owners' newest list of keys", path.display());
        set_aside_unless(&path, |_| false, || Ok(aside.clone()))?;
    }
    Ok(true)
}

/// Puts rows right that are not what owners have proved since, as they are where the end of the log was lost and is there again: of a key whose file,
/// or what lies ready beside it, is what an owner wrote last, be there no row, and of one that was removed. Of an object that init made there is no
/// proof: that counts which has opened the store.
fn follow_owners(
    store: &Store,
    db: &Db,
    roster: &Roster,
    rows: &mut BTreeMap<KeyName, Vec<u8>>,
) -> Result<(), StoreError> {
    let mut changed = Rows::default();
    for key in &roster.keys {
        let said = key.object().or_else(|| store.opened_by(key.name));
        let newer =
            in_files(&path(store.dir(), key.name)).find(|object| said.is_some_and(|said| said == digest(object)));
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
