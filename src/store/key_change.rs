//! Changing the keys of a store: adding and removing them, and new identities of the store for what comes.
//!
//! A change is one synced batch of key objects and a log entry. The files are laid ready before and put in place after it; whoever
//! next opens for writing does that if a kill came between (`settling::settle`). No data is written anew.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::codec::{
    Authority, Identity, Passphrase, Recipient, SigningKey, VoucherKey, digest, generate_identity, random_bytes,
    seal_value, unwrap, wrap,
};
use crate::format::{DETAIL, Family, KeyRecord, key_change_ext, key_record_ext, number_key};
use crate::model::{
    DatasetKey, Digest, Ext, KeyChange, KeyInfo, KeyName, LogEntry, LogKind, Purpose, Role, SnapshotId, Timestamp,
    same_recipient,
};

use super::Store;
use super::db::{Db, Rows};
use super::error::StoreError;
use super::exclusive::{Exclusive, add_entry_by, newest_entry, publish};
use super::files::{new_aside, write_whole};
use super::key_files;
use super::keyring::{Keyring, OwnEpoch};
use super::lock::{Waiting, WriterLock};
use super::roster::{Doubt, Roster, authorities, proved};

/// A key to be added.
#[derive(Debug)]
pub struct NewKey {
    /// Whom its object is wrapped to.
    pub recipient: Recipient,
    /// What its holder may do.
    pub role: Role,
    /// What people call it; may be empty.
    pub label: String,
}

/// What became of the keys.
#[derive(Debug)]
pub struct Changed {
    /// Keys that are new.
    pub added: Vec<KeyInfo>,
    /// Keys that are gone.
    pub removed: Vec<KeyInfo>,
    /// Key objects that were written anew, because the store has new identities; nothing if it has not.
    pub rotated: Option<usize>,
    /// The entry of the log that tells of it.
    pub sequence: u64,
}

/// What is sealed in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Writing runs.
    pub epochs: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes that they take on disk.
    pub bytes: u64,
}

/// The one who may change the keys of a store. While it lives nobody else writes.
pub struct KeyAdmin {
    store: Store,
    db: Db,
    epoch: OwnEpoch,
    roster: Roster,
    /// Why nobody goes by these keys before an owner has said which of them stay.
    doubt: Option<Doubt>,
    /// An owner has.
    is_sure: bool,
    _lock: WriterLock,
}

impl std::fmt::Debug for KeyAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyAdmin({})", self.store.dir().display())
    }
}

impl Store {
    /// Takes the writer lock, to change the store's keys.
    ///
    /// # Errors
    /// As [`Store::writer`]; [`StoreError::Closed`] unless an owner's key is in use, [`StoreError::Refused`] if the store is not
    /// encrypted.
    pub fn key_admin(&self, waiting: Waiting, keep_waiting: &dyn Fn() -> bool) -> Result<KeyAdmin, StoreError> {
        self.require(Role::Owner, "changing the store's keys")?;
        if !self.is_encrypted() {
            return Err(StoreError::Refused("the store is not encrypted: it has no keys".to_owned()));
        }
        let Exclusive { db, lock } = Exclusive::begin(self, waiting, keep_waiting)?;
        let epoch = self.keyring().begin_epoch(Purpose::Add)?;
        let (roster, doubt) = self.whole_roster(&db)?;
        Ok(KeyAdmin { store: self.clone(), db, epoch, roster, doubt, is_sure: doubt.is_none(), _lock: lock })
    }
}

impl KeyAdmin {
    /// The keys, as the owners keep them in mind.
    #[must_use]
    pub fn keys(&self) -> &[KeyInfo] {
        &self.roster.keys
    }

    /// The keys whose objects are there though no owner added them.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn strays(&self) -> Result<Vec<KeyName>, StoreError> {
        let mut names: Vec<_> = key_files::rows(&self.db)?.into_keys().collect();
        names.extend(key_files::names_of_files(self.store.dir())?);
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !self.roster.keys.iter().any(|key| key.name == *name));
        Ok(names)
    }

    /// What is sealed in the store.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn sealed(&self) -> Result<Sealed, StoreError> {
        let count = |family| {
            let mut rows = 0;
            self.db.scan(family, &[], |_, _| {
                rows += 1;
                Ok(true)
            })?;
            Ok::<u64, StoreError>(rows)
        };
        let bytes = self.db.family_bytes(Family::Data)? + self.db.family_bytes(Family::Tree)?;
        Ok(Sealed { epochs: count(Family::Epochs)?, blocks: count(Family::Sums)?, bytes })
    }

    /// Refuses to remove keys without which no owner would be left.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if so.
    pub fn can_remove(&self, names: &[KeyName]) -> Result<(), StoreError> {
        self.without(names).map(drop)
    }

    /// True if a passphrase opens a key's object.
    ///
    /// # Errors
    /// If there is no such object.
    pub fn opens(&self, name: KeyName, passphrase: &Passphrase) -> Result<bool, StoreError> {
        let rows = key_files::rows(&self.db)?;
        let what = || StoreError::damage(format!("the key object {name}"), "it is missing");
        let wrapped = rows.get(&name).ok_or_else(what)?;
        Ok(unwrap(wrapped, &[Identity::passphrase(passphrase.clone())]).is_ok())
    }

    /// Refuses to go by a list of keys that may not be the owners' newest, until [`Self::keep`] is told which of them stay.
    ///
    /// # Errors
    /// [`StoreError::KeysInDoubt`] or [`StoreError::KeysNewer`] if so.
    pub fn check_sure(&self) -> Result<(), StoreError> {
        let path = self.store.dir().to_owned();
        match self.doubt.filter(|_| !self.is_sure) {
            None => Ok(()),
            Some(Doubt::GivenUp) => Err(StoreError::KeysInDoubt(path)),
            Some(Doubt::Newer { entry, name }) => Err(StoreError::KeysNewer { path, entry, name }),
        }
    }

    /// True of the key in use.
    #[must_use]
    pub fn is_in_use(&self, name: KeyName) -> bool {
        self.store.keyring().name() == name
    }

    /// True if the list of keys was in doubt when it was read.
    #[must_use]
    pub fn was_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Takes an owner's word for which keys stay. Gives all others, which are to be removed: those of the list, and those that no owner added.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn keep(&mut self, names: &[KeyName]) -> Result<Vec<KeyName>, StoreError> {
        let all = self.roster.keys.iter().map(|key| key.name).chain(self.strays()?);
        let others = all.filter(|name| !names.contains(name)).collect();
        self.is_sure = true;
        Ok(others)
    }

    /// Takes the key in use for all there are, where the list is in doubt since entries were given up, and this key could not be given new identities, since
    /// it is not known whom it is wrapped to: so another one can be added. The rest open the store as before, and count as keys that no owner added.
    /// Gives those that were in the list.
    pub fn set_others_apart(&mut self) -> Vec<KeyInfo> {
        let mine = self.store.keyring().name();
        let is_closed = |key: &KeyInfo| key.name == mine && key.recipient.is_empty();
        if self.is_sure || !matches!(self.doubt, Some(Doubt::GivenUp)) || !self.roster.keys.iter().any(is_closed) {
            return Vec::new();
        }
        let (keys, others): (Vec<_>, _) = self.roster.keys.drain(..).partition(|key| key.name == mine);
        self.roster.former = self.former_with(&others);
        self.roster.keys = keys;
        self.is_sure = true;
        others
    }

    /// Adds keys. When this returns, each of them opens the store.
    ///
    /// # Errors
    /// If writing fails.
    pub fn add(self, new: Vec<NewKey>, now: Timestamp) -> Result<Changed, StoreError> {
        let mine = self.mine()?;
        let (mut keys, mut put, mut added) = (self.roster.keys.clone(), Vec::new(), Vec::new());
        let mut former = self.roster.former.clone();
        for new in new {
            // Who was removed and comes back gets the old name: by its token the holder's clients know that an owner did it.
            let recipient = new.recipient.to_string();
            let comes_back = |key: &KeyInfo| same_recipient(&key.recipient, &recipient) && !has(&keys, key.name);
            let name = match former.iter().position(comes_back) {
                Some(at) => former.remove(at).name,
                None => KeyName::from_bytes(random_bytes()?),
            };
            let info = KeyInfo { name, role: new.role, recipient, label: new.label, added: now, ext: Ext::new() };
            put.push((info.name, wrap_record(mine, &info, &new.recipient)?));
            keys.push(info.clone());
            added.push(info);
        }
        let change = KeyChange {
            added: added.iter().map(|key| key.name).collect(),
            removed: Vec::new(),
            rotated: false,
            keys,
            ext: key_change_ext(&former),
        };
        let (sequence, _) = self.publish(mine, change, &put, now)?;
        Ok(Changed { added, removed: Vec::new(), rotated: None, sequence })
    }

    /// Removes keys. They open the store no more; whoever has kept a copy of an object, and what was in it, still has that.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if no owner would be left; if writing fails.
    pub fn remove(self, names: &[KeyName], now: Timestamp) -> Result<Changed, StoreError> {
        let (keys, removed) = self.without(names)?;
        let ext = key_change_ext(&self.former_with(&removed));
        let change = KeyChange { added: Vec::new(), removed: names.to_vec(), rotated: false, keys, ext };
        let (sequence, _) = self.publish(self.mine()?, change, &[], now)?;
        Ok(Changed { added: Vec::new(), removed, rotated: None, sequence })
    }

    /// Gives the store new identities for what comes, and each key that is left an object with them. What is stored stays under
    /// the old ones, which catalog holders and owners keep.
    ///
    /// `recipients` must name one for every key that is not removed.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if no owner would be left, a recipient is not named, or the key in use is neither in the list nor removed; if writing fails.
    pub fn rotate(
        self,
        removed: &[KeyName],
        recipients: &BTreeMap<KeyName, Recipient>,
        now: Timestamp,
    ) -> Result<Changed, StoreError> {
        let (keys, gone) = self.without(removed)?;
        let mut next = self.mine()?.clone();
        if !has(&keys, next.name) && !removed.contains(&next.name) {
            let (name, why) = (next.name, "is not in the owners' list of keys, and would not have the new identities");
            return Err(StoreError::Refused(format!("the key {name}, which is in use, {why}; nothing was changed")));
        }
        let (page, page_recipient) = generate_identity();
        let (chunk, chunk_recipient) = generate_identity();
        next.page_identities.insert(0, page.as_str().to_owned());
        next.chunk_identities.insert(0, chunk.as_str().to_owned());
        (next.page_recipient, next.chunk_recipient) = (page_recipient, chunk_recipient);
        let mine = keys.iter().find(|key| key.name == next.name).map(|info| record_of(&next, info));
        let mut put = Vec::new();
        for key in &keys {
            let recipient = recipients.get(&key.name).ok_or_else(|| {
                StoreError::Refused(format!("nobody is named whom the key {} is to be wrapped to", key.name))
            })?;
            put.push((key.name, wrap_record(&next, key, recipient)?));
        }
        let ext = key_change_ext(&self.former_with(&gone));
        let change = KeyChange { added: Vec::new(), removed: removed.to_vec(), rotated: true, keys, ext };
        let (sequence, hash) = self.publish(&next, change, &put, now)?;
        if let Some((mine, (_, wrapped))) = mine.zip(put.iter().find(|(name, _)| *name == next.name)) {
            // This session need not be told of what it did itself: it goes by its own new record, tokens and all, and pins that.
            let keyring = Keyring::new(mine, digest(wrapped))?;
            self.store.go_on_with(keyring);
            let mut pin = self.store.inner.pin.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = pin.remember(self.store.keyring(), sequence, &hash);
        }
        Ok(Changed { added: Vec::new(), removed: gone, rotated: Some(put.len()), sequence })
    }

    /// The record of the key in use.
    fn mine(&self) -> Result<&KeyRecord, StoreError> {
        let key = self.store.keyring().key();
        key.map(|(record, _)| record).ok_or_else(|| StoreError::Refused("the store is not encrypted".to_owned()))
    }

    /// The keys that are left without these, and these as far as they are known.
    fn without(&self, names: &[KeyName]) -> Result<(Vec<KeyInfo>, Vec<KeyInfo>), StoreError> {
        let (gone, left): (Vec<_>, Vec<_>) =
            self.roster.keys.iter().cloned().partition(|key| names.contains(&key.name));
        if left.iter().any(|key| key.role == Role::Owner) {
            return Ok((left, gone));
        }
        Err(StoreError::Refused(
            "no owner key would be left, and nobody could read the store; nothing was changed".into(),
        ))
    }

    /// The keys that were removed before, and these: of each recipient the newest.
    fn former_with(&self, gone: &[KeyInfo]) -> Vec<KeyInfo> {
        let again = |key: &KeyInfo| gone.iter().any(|gone| same_recipient(&gone.recipient, &key.recipient));
        let before = self.roster.former.iter().filter(|key| !again(key));
        let known = gone.iter().filter(|key| same_recipient(&key.recipient, &key.recipient));
        before.chain(known).cloned().collect()
    }

    /// Sets key objects aside that are about to be replaced or removed, and are other ones than the list of keys has: one may be the only copy of what an
    /// owner made whose word this session does not know.
    fn set_unaccounted_aside(&self, names: impl Iterator<Item = KeyName>) -> Result<(), StoreError> {
        let others = self.store.unaccounted(&self.roster, &key_files::rows(&self.db)?, names);
        if others.is_empty() {
            return Ok(());
        }
        let aside = new_aside(self.store.dir())?;
        others.iter().try_for_each(|(name, file, bytes)| {
            log::warn!("the key object {name} is set aside: it is not the one that the list of keys has");
            write_whole(&aside.join(file), bytes)
        })
    }

    /// Writes the change: one batch, then the files. `by` has the identities whose owners prove it.
    fn publish(
        &self,
        by: &KeyRecord,
        mut change: KeyChange,
        put: &[(KeyName, Vec<u8>)],
        now: Timestamp,
    ) -> Result<(u64, Digest), StoreError> {
        self.check_sure()?;
        for (name, wrapped) in put {
            let its = change.keys.iter_mut().filter(|key| key.name == *name);
            its.for_each(|key| key.set_object(&digest(wrapped)));
        }
        let change = &change;
        let (before, previous) = newest_entry(&self.db)?;
        let sequence = before + 1;
        let authority = authorities(by).into_iter().next();
        let authority = authority.ok_or_else(|| StoreError::Refused("an owner key is needed".to_owned()))?;
        let plain = proved(change, &authority, sequence, &previous);
        let key = number_key(sequence);
        let sealed = seal_value(self.epoch.id, &self.epoch.page, Family::Log.name(), &key, &plain);
        let entry = LogEntry {
            kind: LogKind::KeyChange,
            sequence,
            arrival: now,
            dataset: DatasetKey::from_bytes([0; 16]),
            manifest: SnapshotId::from_bytes([0; 32]),
            previous,
            writer: self.store.keyring().name(),
            ext: vec![(DETAIL, sealed)],
        };
        let mut rows = Rows::default();
        rows.put(Family::Epochs, self.epoch.id.as_bytes(), &self.epoch.record);
        key_files::add_to(&mut rows, put, &change.removed);
        // By the newest identity: from here on no older one vouches.
        let voucher = by.page_identities.first().map(|newest| VoucherKey::new(newest));
        let hash = add_entry_by(voucher.as_ref(), &self.store, &mut rows, entry);
        self.set_unaccounted_aside(put.iter().map(|(name, _)| *name).chain(change.removed.iter().copied()))?;
        key_files::lay_ready(self.store.dir(), put)?;
        publish(&self.store, &self.db, &rows, sequence, hash)?;
        {
            let mut pin = self.store.inner.pin.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = pin.know(change.keys.iter().map(|key| (key.name, authority.token(&key.name))));
        }
        key_files::follow(self.store.dir(), put, &change.removed)?;
        log::info!("entry {sequence} of the log: the store has {} keys", change.keys.len());
        Ok((sequence, hash))
    }
}

fn has(keys: &[KeyInfo], name: KeyName) -> bool {
    keys.iter().any(|key| key.name == name)
}

/// The object of a key.
fn wrap_record(from: &KeyRecord, info: &KeyInfo, recipient: &Recipient) -> Result<Vec<u8>, StoreError> {
    let plain = zeroize::Zeroizing::new(record_of(from, info).to_bytes());
    Ok(wrap(&plain, recipient)?)
}

/// The record of a key: of what `from` knows, what its role needs.
fn record_of(from: &KeyRecord, info: &KeyInfo) -> KeyRecord {
    let tokens: Vec<_> = authorities(from).iter().map(|authority: &Authority| authority.token(&info.name)).collect();
    let signing = from.page_identities.first().filter(|_| info.role == Role::Writer);
    let signing = signing.map(|newest| VoucherKey::new(newest).signing_key(&info.name));
    let only = |least: Role, identities: &[String]| if info.role >= least { identities.to_vec() } else { Vec::new() };
    KeyRecord {
        store: from.store,
        name: info.name,
        role: info.role,
        id_key: from.id_key,
        chunker_seed: from.chunker_seed,
        page_recipient: from.page_recipient.clone(),
        chunk_recipient: from.chunk_recipient.clone(),
        page_identities: only(Role::Catalog, &from.page_identities),
        chunk_identities: only(Role::Owner, &from.chunk_identities),
        ext: key_record_ext(&tokens, None, signing.as_ref().map(SigningKey::as_bytes)),
    }
}
