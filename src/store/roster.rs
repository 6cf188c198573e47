//! Which keys a store has, as its owners know: from the newest log entry that one of them has proved, or from init.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::PoisonError;

use crate::codec::{Authority, Identity, digest, unarmoured};
use crate::format::{DETAIL, Family, KeyRecord, former_keys, initial_keys, number_key, split_mac};
use crate::model::{Digest, Ext, KeyChange, KeyInfo, KeyName, LogEntry, LogKind, Role, Timestamp};

use super::chain::{Details, Judged, LostEntry, without_detail};
use super::db::Db;
use super::error::StoreError;
use super::files::read_small;
use super::{Store, key_files};

/// The keys of a store.
#[derive(Debug)]
pub struct KeyList {
    /// In the order in which they were added.
    pub keys: Vec<KeyRow>,
    /// Log entries that tell of a change of keys which no owner made: somebody who knows the id key forged them.
    pub forged: Vec<u64>,
    /// Log entries that are lost and were written behind this: one may be a newer list of keys.
    pub lost: Vec<LostEntry>,
    /// True if it is proved that an owner wrote this; only an owner can tell.
    pub proved: bool,
    /// True if entries were given up behind this list, or that of a rotation is lost: keys that it has may have been removed since, and others added.
    pub outdated: bool,
}

/// A key of a store.
#[derive(Debug)]
pub struct KeyRow {
    /// Its name.
    pub name: KeyName,
    /// What the owners know of it. Nothing if no owner added it: it is left of a removal that was cut, or was put there by hand.
    pub info: Option<KeyInfo>,
    /// It opened the store this time.
    pub in_use: bool,
    /// The file of its object is there.
    pub there: bool,
    /// Its object, in the file or in the database, is another one than owners wrote last; of one that init made, the two differ.
    pub swapped: bool,
}

/// The keys as the owners keep them in mind.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) keys: Vec<KeyInfo>,
    /// Those that were removed and whose recipients are known.
    pub(super) former: Vec<KeyInfo>,
    /// The entry that says so; 0 for init.
    since: u64,
    pub(super) forged: Vec<u64>,
    /// Those of them that nobody proved who was an owner as far as this session can tell: forged, or of identities that are newer than its own.
    pub(super) unproved: Vec<u64>,
    pub(super) proved: bool,
    /// Owners have the identities of now since; false where what brought these is lost, and only an older list is there.
    is_newest: bool,
}

impl Roster {
    /// True if it is the owners' newest word: a session that was opened before others changed the keys cannot check what these said.
    fn is_sure(&self) -> bool {
        self.is_proved() && self.forged.is_empty()
    }

    /// True if owners of the newest identities of this session wrote it, whatever entries behind it claim: enough to tell what is another than it says.
    fn is_proved(&self) -> bool {
        self.proved && self.is_newest
    }

    /// True if entries behind this list were given up, or the list of the newest identities was: keys of which there is no object may have been
    /// removed by them, and are not given one again.
    fn is_outdated(&self, void: &[u64]) -> bool {
        !self.is_newest || !void.is_empty()
    }

    /// True if this is the object of a key that an owner wrote last, as far as that is proved.
    pub(super) fn has_proved(&self, name: KeyName, object: &[u8]) -> bool {
        let of = self.keys.iter().find(|key| key.name == name);
        self.is_sure() && of.and_then(KeyInfo::object).is_some_and(|said| said == digest(object))
    }

    /// The keys whose file is another one than owners wrote last, or of what init made another one than the row, as far as that is proved.
    fn swapped_files(&self, dir: &Path, objects: &BTreeMap<KeyName, Vec<u8>>) -> Vec<KeyName> {
        let is_other = |key: &KeyInfo| {
            let (path, row) = (key_files::path(dir, key.name), objects.get(&key.name));
            let Ok(file) = read_small(&path).map(unarmoured) else { return false };
            match key.object() {
                Some(said) => said != digest(&file) && !row.is_some_and(|row| key_files::is_waiting(&path, row)),
                None => row.is_some_and(|row| *row != file),
            }
        };
        self.keys.iter().filter(|key| self.is_proved() && is_other(key)).map(|key| key.name).collect()
    }

    /// The keys whose object is another one than owners wrote last, as far as that is proved.
    fn swapped(&self, objects: &BTreeMap<KeyName, Vec<u8>>) -> Vec<KeyName> {
        let is_other = |key: &KeyInfo| {
            key.object().zip(objects.get(&key.name)).is_some_and(|(said, stands)| said != digest(stands))
        };
        self.keys.iter().filter(|key| self.is_proved() && is_other(key)).map(|key| key.name).collect()
    }
}

/// Why nobody goes by the list of keys before an owner has said which of them stay.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doubt {
    /// Entries were given up that may have removed some of them, or added others.
    GivenUp,
    /// An entry may be the word of an owner who has newer identities than this session, and the object of a key may have these.
    Newer { entry: u64, name: KeyName },
}

/// A key object that is another one than the list of keys has: the name of its file, and its bytes.
pub(super) type Unaccounted = (KeyName, String, Vec<u8>);

/// The authorities of all generations of the store's identities, newest first. None without an owner's key.
pub(super) fn authorities(record: &KeyRecord) -> Vec<Authority> {
    record.chunk_identities.iter().map(|identity| Authority::new(identity)).collect()
}

impl Store {
    /// The keys of the store.
    ///
    /// # Errors
    /// [`StoreError::Closed`] under a writer key; [`StoreError::Refused`] if the store is not encrypted.
    pub fn keys(&self) -> Result<KeyList, StoreError> {
        self.require(Role::Catalog, "listing keys")?;
        let db = self.fresh_db()?;
        let (roster, objects) = self.roster_and_objects(&db)?;
        let mut swapped = self.swapped_in(&roster, &objects);
        if !swapped.is_empty() {
            // Keys may have been changed while we looked.
            let (roster, objects) = self.roster_and_objects(&*self.fresh_db()?)?;
            let still = self.swapped_in(&roster, &objects);
            swapped.retain(|name| still.contains(name));
        }
        let there = self.names_there(&objects)?;
        let files = key_files::names_of_files(self.dir())?;
        let (lost, void) = self.lost_behind(&db, &roster)?;
        let (outdated, Roster { mut keys, mut forged, proved, .. }) = (roster.is_outdated(&void), roster);
        self.complete(&mut keys, outdated, &there);
        // What cannot be read any more, and was given up or not, nobody forged.
        forged.retain(|sequence| !void.contains(sequence) && !lost.iter().any(|entry| entry.sequence == *sequence));
        let mine = self.keyring().name();
        let row = |name: KeyName, info: Option<KeyInfo>| KeyRow {
            name,
            info,
            in_use: name == mine,
            there: files.contains(&name) || key_files::lies_ready(self.dir(), name, &objects),
            swapped: swapped.contains(&name),
        };
        let unknown: Vec<KeyName> = there.iter().filter(|n| !keys.iter().any(|k| k.name == **n)).copied().collect();
        let known = keys.into_iter().map(|info| row(info.name, Some(info)));
        let rows = known.chain(unknown.into_iter().map(|name| row(name, None))).collect();
        Ok(KeyList { keys: rows, forged, lost, proved, outdated })
    }

    /// The keys of which row or file is not what it should be.
    fn swapped_in(&self, roster: &Roster, objects: &BTreeMap<KeyName, Vec<u8>>) -> Vec<KeyName> {
        [roster.swapped(objects), roster.swapped_files(self.dir(), objects)].concat()
    }

    /// The entries behind the newest list of keys that are lost, oldest first, and the numbers of those that are void.
    fn lost_behind(&self, db: &Db, roster: &Roster) -> Result<(Vec<LostEntry>, Vec<u64>), StoreError> {
        let (mut lost, mut void, mut details) = (Vec::new(), Vec::new(), Details::default());
        self.walk_back_in(db, &mut |judged, stands| {
            let sequence = judged.sequence();
            match judged {
                _ if sequence <= roster.since => {}
                Judged::Lost(entry) => lost.push(entry),
                Judged::Void(_) => void.push(sequence),
                Judged::Entry(entry) if entry.kind == LogKind::KeyChange => {
                    let why = details.lost(self, db, &entry);
                    lost.extend(why.map(|why| without_detail(entry, stands, &why)));
                }
                Judged::Entry(_) => {}
            }
            sequence > roster.since
        })?;
        lost.reverse();
        Ok((lost, void))
    }

    /// True if entries behind the newest list of keys are lost.
    pub(super) fn has_lost_behind(&self, db: &Db, roster: &Roster) -> Result<bool, StoreError> {
        Ok(!self.lost_behind(db, roster)?.0.is_empty())
    }

    /// The entries behind the newest list of keys that claim a change of keys, can be read, and were made by no owner: somebody who knows the id key
    /// forged them. Without an owner's key none are known, nor where what it takes cannot be read, which is told by others.
    pub(super) fn forged_changes(&self, db: &Db) -> Vec<u64> {
        let looked = self.roster_and_objects(db).and_then(|(roster, _)| Ok((self.lost_behind(db, &roster)?, roster)));
        let Some(((lost, void), roster)) = looked.ok().filter(|(_, roster)| roster.proved) else { return Vec::new() };
        let is_told = |sequence: &u64| void.contains(sequence) || lost.iter().any(|entry| entry.sequence == *sequence);
        roster.forged.into_iter().filter(|sequence| *sequence > roster.since && !is_told(sequence)).collect()
    }

    /// What owners know of each key that they listed or whose object is there, without a look for what is wrong with their list.
    ///
    /// # Errors
    /// As [`Self::keys`].
    pub fn key_infos(&self) -> Result<BTreeMap<KeyName, Option<KeyInfo>>, StoreError> {
        self.require(Role::Catalog, "listing keys")?;
        let db = self.fresh_db()?;
        let there = self.names_there(&key_files::rows(&db)?)?;
        let listed = self.roster(&db)?.keys;
        Ok(there.into_iter().map(|name| (name, None)).chain(listed.into_iter().map(|i| (i.name, Some(i)))).collect())
    }

    /// The keys whose objects are there, as rows or files.
    fn names_there(&self, objects: &BTreeMap<KeyName, Vec<u8>>) -> Result<BTreeSet<KeyName>, StoreError> {
        let files = key_files::names_of_files(self.dir())?;
        Ok(objects.keys().copied().chain(files).collect())
    }

    /// A key object, as it lies in the store: of row, file and what lies ready the one that opened the store, else that of which the list of keys has
    /// the hash, else the first.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if there is none of that name.
    pub fn key_object(&self, name: KeyName) -> Result<Vec<u8>, StoreError> {
        let db = self.fresh_db()?;
        let row = key_files::rows(&db)?.remove(&name).into_iter();
        let mut there: Vec<_> = row.chain(key_files::in_files(&key_files::path(self.dir(), name))).collect();
        let opened = self.opened_by(name);
        let listed = || self.roster(&db).ok()?.keys.iter().find(|key| key.name == name)?.object();
        let at = |said: Digest| there.iter().position(|object| digest(object) == said);
        let at = opened.and_then(at).or_else(|| listed().and_then(at)).unwrap_or(0);
        if at < there.len() {
            return Ok(there.swap_remove(at));
        }
        Err(StoreError::Refused(format!("the store has no key object {name}")))
    }

    /// The keys, for who changes them.
    ///
    /// # Errors
    /// If entries behind the list are lost: whom it leaves out may have been added since, and whom it names may have been removed. Beside the list
    /// why it is in doubt, if it is.
    pub(super) fn whole_roster(&self, db: &Db) -> Result<(Roster, Option<Doubt>), StoreError> {
        let mut roster = self.roster(db)?;
        let (lost, void) = self.lost_behind(db, &roster)?;
        if let Some(lost) = lost.first() {
            return Err(lost.to_error());
        }
        roster.unproved.retain(|sequence| !void.contains(sequence));
        let (rows, mine) = (key_files::rows(db)?, self.keyring().name());
        let there = self.names_there(&rows)?;
        let (newest, listed) = (roster.unproved.first(), roster.keys.iter().map(|key| key.name));
        let other = self.unaccounted(&roster, &rows, listed).into_iter().next();
        let newer = newest.zip(other).map(|(entry, (name, ..))| Doubt::Newer { entry: *entry, name });
        let is_outdated = roster.is_outdated(&void);
        self.complete(&mut roster.keys, is_outdated, &there);
        let given_up = (is_outdated && there.iter().any(|name| *name != mine)).then_some(Doubt::GivenUp);
        Ok((roster, newer.or(given_up)))
    }

    /// The objects of these keys, as rows, files and files laid ready, that are other ones than the list has. Of one that init made it has no hash: what
    /// opened the store counts, and of others nothing is said against them but where an entry may be of newer identities.
    pub(super) fn unaccounted(
        &self,
        roster: &Roster,
        rows: &BTreeMap<KeyName, Vec<u8>>,
        names: impl Iterator<Item = KeyName>,
    ) -> Vec<Unaccounted> {
        let mut found = Vec::new();
        for name in names {
            let listed = roster.keys.iter().find(|key| key.name == name).and_then(KeyInfo::object);
            let said = listed.or_else(|| self.opened_by(name));
            let is_other = |bytes: &[u8]| said.map_or(!roster.unproved.is_empty(), |said| said != digest(bytes));
            let path = key_files::path(self.dir(), name);
            let row = rows.get(&name).cloned().map(|row| (format!("{name}.row.age"), row));
            let file =
                |path: &Path| Some((path.file_name()?.to_str()?.to_owned(), read_small(path).map(unarmoured).ok()?));
            let objects = [file(&path), row, file(&key_files::waiting(&path))].into_iter().flatten();
            for (file, bytes) in objects.filter(|(_, bytes)| key_files::is_age_file(bytes) && is_other(bytes)) {
                if !found.iter().any(|(of, _, known): &Unaccounted| *of == name && *known == bytes) {
                    found.push((name, file, bytes));
                }
            }
        }
        found
    }

    /// Leaves the keys of which there is an object, behind a list that may not be the newest; the key in use is one of them, whatever that says. Whom it is
    /// wrapped to tells what opened it, where nobody else does.
    fn complete(&self, keys: &mut Vec<KeyInfo>, is_outdated: bool, there: &BTreeSet<KeyName>) {
        let Some((mine, _)) = self.keyring().key() else { return };
        let opener = self.inner.opener.lock().unwrap_or_else(PoisonError::into_inner);
        let recipient = opener.as_ref().and_then(Identity::recipient).unwrap_or_default();
        if let Some(known) = keys.iter_mut().find(|key| key.name == mine.name && key.recipient.is_empty()) {
            (known.role, known.recipient) = (mine.role, recipient.to_owned());
        }
        if is_outdated {
            keys.retain(|key| there.contains(&key.name));
            if !keys.iter().any(|key| key.name == mine.name) {
                keys.push(self.unlisted_key(mine.name, mine.role, recipient));
            }
        }
    }

    /// The owners' newest word, if this session can check it.
    pub(super) fn sure_roster(&self, db: &Db) -> Option<Roster> {
        self.roster(db).ok().filter(Roster::is_sure)
    }

    /// True if the owners' newest list of keys is there and this session can check it, whatever entries behind it claim.
    pub(super) fn has_newest_list(&self, db: &Db) -> bool {
        self.roster(db).is_ok_and(|roster| roster.is_proved())
    }

    pub(super) fn roster(&self, db: &Db) -> Result<Roster, StoreError> {
        let Some((record, _)) = self.keyring().key() else {
            return Err(StoreError::Refused("the store is not encrypted: it has no keys".to_owned()));
        };
        let authority = self.keyring().authorities().first();
        let (mut found, mut since, mut unproved, mut older) = (None, 0, Vec::new(), Vec::new());
        db.scan_back(Family::Log, |key, value| {
            // Entries that cannot be read are verify's to tell.
            let Ok((entry, _)) = self.keyring().check_log_entry(value) else { return Ok(true) };
            if entry.kind != LogKind::KeyChange || number_key(entry.sequence) != *key {
                return Ok(true);
            }
            match self.key_change(db, &entry, authority) {
                Some(change) => {
                    found = Some(change);
                    since = entry.sequence;
                }
                None if self.older_change(db, &entry).is_some() => older.push(entry.sequence),
                None => unproved.push(entry.sequence),
            }
            Ok(found.is_none())
        })?;
        let was_rotated = self.keyring().authorities().len() > 1;
        let is_newest = found.is_some() || !was_rotated;
        if !is_newest && let Some((sequence, change)) = self.newest_older_list(db)? {
            // No list of the newest identities is there: it was lost, and the one before is the best there is.
            (found, since) = (Some(change), sequence);
        }
        // Whoever was an owner once may have made those behind the list.
        unproved.retain(|sequence| *sequence > since);
        let mut forged: Vec<u64> = older.into_iter().filter(|sequence| *sequence > since).collect();
        forged.extend(&unproved);
        forged.sort_unstable_by_key(|sequence| std::cmp::Reverse(*sequence));
        let (keys, former) = match (found, initial_keys(&record.ext)?) {
            (Some(change), _) => (change.keys, former_keys(&change.ext)?),
            (None, Some(keys)) => (keys, Vec::new()),
            // What owners said of them is lost.
            (None, None) if was_rotated => (Vec::new(), Vec::new()),
            (None, None) => (self.unlisted(db)?, Vec::new()),
        };
        Ok(Roster { keys, former, since, forged, unproved, proved: authority.is_some(), is_newest })
    }

    /// The newest list with a proof of older identities, and its entry: it stands in the log as it was written, and before the newest identities came into
    /// use. Whoever was an owner once can prove another one, behind these or in the place of an entry that is lost.
    fn newest_older_list(&self, db: &Db) -> Result<Option<(u64, KeyChange)>, StoreError> {
        let mut found = None;
        self.walk_back_in(db, &mut |judged, _| {
            if let Judged::Entry(entry) = judged
                && entry.kind == LogKind::KeyChange
                && let Some((by, change)) = self.older_change(db, &entry)
                && self.keyring().was_newest(by, entry.sequence)
            {
                found = Some((entry.sequence, change));
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// What an entry says about the keys by the proof of older identities, and of which.
    fn older_change(&self, db: &Db, entry: &LogEntry) -> Option<(usize, KeyChange)> {
        let mut before = self.keyring().authorities().iter().enumerate().skip(1);
        before.find_map(|(by, authority)| Some((by, self.key_change(db, entry, Some(authority))?)))
    }

    /// The keys that an owner has proved there to be, whose object is there as a file and has no row, or lies ready and is another than the row. Without
    /// an owner's key none are known, nor where what it takes cannot be read, which is told by others.
    pub(super) fn keys_without_row(&self, db: &Db) -> Vec<KeyName> {
        let roster = self.roster(db).ok().filter(|roster| roster.proved);
        let (Some(roster), Ok(rows)) = (roster, key_files::rows(db)) else { return Vec::new() };
        let is_proved = roster.is_proved();
        let lacks = |key: &KeyInfo| {
            let (path, row) = (key_files::path(self.dir(), key.name), rows.get(&key.name));
            let said = key.object().or_else(|| self.opened_by(key.name));
            let is_right = |object: &Vec<u8>| is_proved && said == Some(digest(object));
            row.is_none() && (path.exists() || key_files::third(&path, None).is_some())
                || key_files::third(&path, row).as_ref().is_some_and(is_right)
        };
        roster.keys.into_iter().filter(lacks).map(|key| key.name).collect()
    }

    /// The hash of the object that opened the store, if it is of this key.
    pub(super) fn opened_by(&self, name: KeyName) -> Option<Digest> {
        self.keyring().key().filter(|(mine, _)| mine.name == name).map(|(_, object)| *object)
    }

    /// Rows that key objects lack in `of`, for a repair; the log is that of `db`. None where this cannot be read.
    pub(super) fn rows_to_give(&self, db: &Db, of: &Db) -> BTreeMap<KeyName, Vec<u8>> {
        let given = self.roster(db).and_then(|roster| self.lacking_rows(db, &roster, &key_files::rows(of)?, true));
        given.unwrap_or_default()
    }

    /// Rows that key objects lack among `rows`, from their files: of keys of the owners' newest list, where it has the file by hash, and of the key in
    /// use, if it opened the store with its file. Behind a list that is not the newest for sure only the latter: the others may have been removed. In a
    /// repair the files of keys count, too, that init made, of which there is no hash; and forged entries are in nobody's way, which else may be the
    /// word of owners who have newer identities than this session.
    pub(super) fn lacking_rows(
        &self,
        db: &Db,
        roster: &Roster,
        rows: &BTreeMap<KeyName, Vec<u8>>,
        in_repair: bool,
    ) -> Result<BTreeMap<KeyName, Vec<u8>>, StoreError> {
        let mut lacking = BTreeMap::new();
        let (lost, void) = self.lost_behind(db, roster)?;
        let is_whole = lost.is_empty() && !roster.is_outdated(&void);
        let mut names = key_files::names_of_files(self.dir())?;
        names.extend(key_files::names_laid_ready(self.dir())?);
        for name in names.into_iter().filter(|name| roster.proved && !rows.contains_key(name)) {
            let listed = roster.keys.iter().find(|key| key.name == name);
            let is_mine = |object: &Vec<u8>| {
                let counts = (in_repair || roster.forged.is_empty()) && (listed.is_some() || !is_whole);
                counts && self.opened_by(name) == Some(digest(object))
            };
            let is_said =
                |key: &KeyInfo, object: &Vec<u8>| key.object().map_or(in_repair, |said| said == digest(object));
            let is_known = |object: &Vec<u8>| is_whole && listed.is_some_and(|key| is_said(key, object));
            let there: Vec<_> = key_files::in_files(&key_files::path(self.dir(), name)).collect();
            let right =
                there.iter().find(|object| is_mine(object)).or_else(|| there.iter().find(|object| is_known(object)));
            lacking.extend(right.map(|object| (name, object.clone())));
        }
        Ok(lacking)
    }

    /// The keys whose object is another one than owners wrote last, as they have proved. Without an owner's key none are known, nor where what it
    /// takes cannot be read, which is told by others.
    pub(super) fn swapped_keys(&self, db: &Db) -> Vec<KeyName> {
        let Ok((roster, objects)) = self.roster_and_objects(db) else { return Vec::new() };
        let mut swapped = roster.swapped(&objects);
        // What init made is never laid ready: whatever an owner writes anew has a hash in the list.
        let init: Vec<_> = roster.keys.iter().filter(|key| key.object().is_none()).map(|key| key.name).collect();
        let others = roster.swapped_files(self.dir(), &objects).into_iter();
        swapped.extend(others.filter(|name| init.contains(name) && key_files::lies_ready(self.dir(), *name, &objects)));
        swapped
    }

    /// The list of keys, and the rows of their objects as they were at the same time: a view of the database goes on by itself where a writer has removed
    /// what it needs, and keys may change in between. What seems forged may be the word of owners who have given the store new identities meanwhile.
    fn roster_and_objects(&self, db: &Db) -> Result<(Roster, BTreeMap<KeyName, Vec<u8>>), StoreError> {
        let mut roster = self.roster(db)?;
        loop {
            if !roster.forged.is_empty() && self.renew_keys(db).unwrap_or(false) {
                roster = self.roster(db)?;
            }
            let objects = key_files::rows(db)?;
            let again = self.roster(db)?;
            if (again.since, &again.forged) == (roster.since, &roster.forged) {
                return Ok((roster, objects));
            }
            roster = again;
        }
    }

    /// The keys that owners removed and did not add again, as they have proved. Without an owner's key none are known, nor while an entry behind the
    /// newest list is lost, which may have added some again.
    pub(super) fn removed_keys(&self, db: &Db, roster: &Roster) -> Result<BTreeSet<KeyName>, StoreError> {
        let (mut removed, mut counting) = (BTreeSet::new(), self.keyring().authorities());
        if counting.is_empty() || !self.lost_behind(db, roster)?.0.is_empty() {
            return Ok(removed);
        }
        db.scan(Family::Log, &[], |key, value| {
            let entry = self.keyring().check_log_entry(value).ok().map(|(entry, _)| entry);
            let is_change = |entry: &LogEntry| entry.kind == LogKind::KeyChange && number_key(entry.sequence) == *key;
            let Some(entry) = entry.filter(is_change) else { return Ok(true) };
            let proved = |(at, of): (usize, &Authority)| Some((at, self.key_change(db, &entry, Some(of))?));
            if let Some((at, change)) = counting.iter().enumerate().find_map(proved) {
                // Whoever was an owner once knows the older ones, and proves nothing behind a newer one.
                counting = &counting[..=at];
                if self.keyring().was_newest(at, entry.sequence) {
                    removed.extend(change.removed);
                    removed.retain(|name| !change.keys.iter().any(|key| key.name == *name));
                }
            }
            Ok(true)
        })?;
        removed.retain(|name| !roster.keys.iter().any(|key| key.name == *name));
        Ok(removed)
    }

    /// What an entry says about the keys; nothing if it is not proved or not understood.
    fn key_change(&self, db: &Db, entry: &LogEntry, authority: Option<&Authority>) -> Option<KeyChange> {
        let (_, sealed) = entry.ext.iter().find(|(tag, _)| *tag == DETAIL)?;
        let plain = self.open_page_value(db, Family::Log, &number_key(entry.sequence), sealed).ok()?;
        let (detail, proof) = split_mac(&plain, "key change").ok()?;
        let holds = |a: &Authority| a.proof_holds(entry.sequence, &entry.previous, detail, proof);
        authority.is_none_or(holds).then(|| KeyChange::from_bytes(detail).ok()).flatten()
    }

    /// The keys of a store whose init did not write down what it made: all are owners, and their recipients are not known.
    fn unlisted(&self, db: &Db) -> Result<Vec<KeyInfo>, StoreError> {
        Ok(key_files::rows(db)?.into_keys().map(|name| self.unlisted_key(name, Role::Owner, "")).collect())
    }

    /// A key of which no list says more.
    fn unlisted_key(&self, name: KeyName, role: Role, recipient: &str) -> KeyInfo {
        let added = Timestamp { seconds: self.header().created, nanos: 0 };
        KeyInfo { name, role, recipient: recipient.to_owned(), label: String::new(), added, ext: Ext::new() }
    }
}

/// The bytes of a detail with its proof behind it.
pub(super) fn proved(change: &KeyChange, authority: &Authority, sequence: u64, previous: &Digest) -> Vec<u8> {
    let detail = change.to_bytes();
    let proof = authority.proof(sequence, previous, &detail);
    crate::format::join_mac(detail, &proof)
}
