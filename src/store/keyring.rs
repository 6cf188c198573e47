//! What this process may open: the keys from a key object, and those of the epochs behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::codec::{
    Class, DataKey, IdKeys, MacLabel, StoreIdentity, VoucherKey, digest, public_id_key, public_seed, random_bytes,
    wrap_to_store,
};
use crate::format::{EpochRecord, Family, KeyRecord, Role, join_mac, split_mac};
use crate::model::{Digest, EpochId, KeyName};

use super::db::Db;
use super::error::StoreError;

/// The keys that a session works with.
#[derive(Debug)]
pub struct Keyring {
    ids: IdKeys,
    seed: [u8; 32],
    name: KeyName,
    role: Role,
    recipients: Option<(String, String)>,
    page: Vec<StoreIdentity>,
    chunk: Vec<StoreIdentity>,
    /// What vouches for log entries, newest first; nothing for a writer.
    vouchers: Vec<VoucherKey>,
    /// Keys of epochs, as far as they were asked for.
    opened: Mutex<HashMap<(EpochId, Class), Option<Arc<DataKey>>>>,
}

/// An epoch of this process's own: it may seal.
#[derive(Debug)]
pub(super) struct OwnEpoch {
    pub(super) id: EpochId,
    pub(super) page: DataKey,
    pub(super) chunk: DataKey,
    /// The record with its MAC, as stored.
    pub(super) record: Vec<u8>,
}

impl Keyring {
    /// The keys of an unencrypted store.
    pub(super) fn public() -> Self {
        Self {
            ids: IdKeys::new(&public_id_key()),
            seed: public_seed(),
            name: KeyName::from_bytes([0; 8]),
            role: Role::Owner,
            recipients: None,
            page: Vec::new(),
            chunk: Vec::new(),
            vouchers: Vec::new(),
            opened: Mutex::default(),
        }
    }

    /// From a key record whose store and commitment were checked.
    pub(super) fn new(record: &KeyRecord) -> Result<Self, StoreError> {
        let parse = |list: &[String]| list.iter().map(|t| StoreIdentity::parse(t)).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            ids: IdKeys::new(&record.id_key),
            seed: record.chunker_seed,
            name: record.name,
            role: record.role,
            recipients: Some((record.page_recipient.clone(), record.chunk_recipient.clone())),
            page: parse(&record.page_identities)?,
            chunk: parse(&record.chunk_identities)?,
            vouchers: record.page_identities.iter().map(|text| VoucherKey::new(text)).collect(),
            opened: Mutex::default(),
        })
    }

    /// Keys for ids and MACs.
    #[must_use]
    pub fn ids(&self) -> &IdKeys {
        &self.ids
    }

    /// Seed of the chunker.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Name of the key in use; zeros in an unencrypted store.
    #[must_use]
    pub fn name(&self) -> KeyName {
        self.name
    }

    /// What the key in use may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// True if roles mean something here: in an unencrypted store everybody has all keys.
    pub(super) fn knows_roles(&self) -> bool {
        self.recipients.is_some()
    }

    /// Keys that vouch for log entries, newest first; nothing for a writer, or in an unencrypted store.
    pub(super) fn vouchers(&self) -> &[VoucherKey] {
        &self.vouchers
    }

    /// A hash of the recipients that this session seals to.
    pub(super) fn recipients_hash(&self) -> [u8; 32] {
        let (page, chunk) = self.recipients.as_ref().map_or(("", ""), |(p, c)| (p, c));
        *digest(format!("{page}\n{chunk}\n").as_bytes()).as_bytes()
    }

    /// Begins an epoch: fresh keys, wrapped to the store's recipients.
    pub(super) fn begin_epoch(&self) -> Result<OwnEpoch, StoreError> {
        let id = EpochId::from_bytes(random_bytes()?);
        let (page, chunk, page_key, chunk_key);
        match &self.recipients {
            None => (page, chunk, page_key, chunk_key) = (DataKey::none(), DataKey::none(), Vec::new(), Vec::new()),
            Some((page_to, chunk_to)) => {
                let make = |class: u8, to: &str| -> Result<(DataKey, Vec<u8>), StoreError> {
                    let key = zeroize::Zeroizing::new(random_bytes::<32>()?);
                    let mut plain = zeroize::Zeroizing::new(vec![class]);
                    plain.extend_from_slice(id.as_bytes());
                    plain.extend_from_slice(key.as_slice());
                    Ok((DataKey::new(&key), wrap_to_store(&plain, to)?))
                };
                (page, page_key) = make(1, page_to)?;
                (chunk, chunk_key) = make(2, chunk_to)?;
            }
        }
        let record = EpochRecord { epoch: id, writer: self.name, page_key, chunk_key, ext: Vec::new() }.to_bytes();
        let mac = self.ids.mac(MacLabel::Epoch, &[&record]);
        Ok(OwnEpoch { id, page, chunk, record: join_mac(record, &mac) })
    }

    /// An epoch's key of a class; nothing if this session may not have it. Each is unwrapped when it is first asked for: that
    /// is the slowest step of reading a manifest.
    pub(super) fn data_key(&self, db: &Db, id: EpochId, class: Class) -> Result<Option<Arc<DataKey>>, StoreError> {
        if let Some(key) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&(id, class)) {
            return Ok(key.clone());
        }
        let what = || format!("epoch {id}");
        let stored = db
            .get(Family::Epochs, id.as_bytes())?
            .ok_or_else(|| StoreError::damage(what(), "its record is missing"))?;
        let key = self.open_key(id, class, &stored)?.map(Arc::new);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert((id, class), key.clone());
        Ok(key)
    }

    pub(super) fn open_key(&self, id: EpochId, class: Class, stored: &[u8]) -> Result<Option<DataKey>, StoreError> {
        let bad = |why: &dyn std::fmt::Display| StoreError::damage(format!("epoch {id}"), why);
        let (body, mac) = split_mac(stored, "epoch record").map_err(|e| bad(&e))?;
        if !self.ids.mac_holds(MacLabel::Epoch, &[body], mac) {
            return Err(bad(&"its MAC does not hold"));
        }
        let record = EpochRecord::from_bytes(body).map_err(|e| bad(&e))?;
        if record.epoch != id {
            return Err(bad(&"it is the record of another epoch"));
        }
        if self.recipients.is_none() {
            return Ok(Some(DataKey::none()));
        }
        let (number, wrapped, identities) = match class {
            Class::Page => (1, &record.page_key, &self.page),
            Class::Chunk => (2, &record.chunk_key, &self.chunk),
        };
        if identities.is_empty() {
            return Ok(None);
        }
        let plain = identities
            .iter()
            .find_map(|i| i.unwrap(wrapped).ok())
            .ok_or_else(|| bad(&"its keys open with none of the store's identities"))?;
        match plain.split_at_checked(17) {
            Some((head, key)) if head[0] == number && head[1..] == *id.as_bytes() => {
                let key: &[u8; 32] = key.try_into().map_err(|_| bad(&"a wrapped key has the wrong length"))?;
                Ok(Some(DataKey::new(key)))
            }
            _ => Err(bad(&"a wrapped key is another one")),
        }
    }

    /// The hash of a log entry, its MAC checked.
    pub(super) fn check_log_entry(&self, stored: &[u8]) -> Result<(crate::model::LogEntry, Digest), StoreError> {
        let bad = |why: &dyn std::fmt::Display| StoreError::damage("an entry of the arrival log", why);
        let (body, mac) = split_mac(stored, "log entry").map_err(|e| bad(&e))?;
        if !self.ids.mac_holds(MacLabel::Log, &[body], mac) {
            return Err(bad(&"its MAC does not hold"));
        }
        let entry = crate::model::LogEntry::from_bytes(body).map_err(|e| bad(&e))?;
        Ok((entry, digest(stored)))
    }
}
