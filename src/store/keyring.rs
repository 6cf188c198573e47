//! What this process may open: the keys from a key object, and those of the epochs behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use crate::codec::{
    Authority, Class, DataKey, IdKeys, MacLabel, SigningKey, StoreIdentity, VoucherKey, WrapError, digest,
    public_id_key, public_seed, random_bytes, wrap_to_store,
};
use crate::format::{EpochRecord, Family, KeyRecord, epoch_ext, epoch_proof, join_mac, signing_key_of, split_mac};
use crate::model::{Digest, EpochId, KeyName, Purpose, Role};

use super::Inner;
use super::db::Db;
use super::error::StoreError;

/// The keys that a session works with.
#[derive(Debug)]
pub struct Keyring {
    ids: IdKeys,
    seed: zeroize::Zeroizing<[u8; 32]>,
    /// What the key object says, and the digest of its bytes; nothing in an unencrypted store.
    key: Option<(KeyRecord, Digest)>,
    page: Vec<StoreIdentity>,
    chunk: Vec<StoreIdentity>,
    /// What owners prove their word with, newest first; nothing without an owner's key.
    authorities: Vec<Authority>,
    /// What vouches for log entries, newest first; nothing for a writer.
    vouchers: Vec<VoucherKey>,
    /// Since when each of them is in use, where there are several; read from the log when first asked for.
    since: Mutex<Option<Arc<Since>>>,
    /// The session that it belongs to.
    session: OnceLock<Weak<Inner>>,
    /// What signs log entries; for a writer alone.
    signing: Option<SigningKey>,
    /// Keys of epochs, as far as they were asked for.
    opened: Mutex<HashMap<(EpochId, Class), Option<Arc<DataKey>>>>,
}

/// Of each page identity but the first one, newest first, the entry since which it was in use. Where that cannot be told, the first and the last that it may be; the
/// greatest number where no entry has its voucher.
#[derive(Debug)]
pub(super) struct Since {
    pub(super) earliest: Vec<u64>,
    pub(super) latest: Vec<u64>,
}

impl Since {
    /// True if all can be told.
    pub(super) fn is_known(&self) -> bool {
        self.earliest == self.latest
    }
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
            seed: public_seed().into(),
            key: None,
            page: Vec::new(),
            chunk: Vec::new(),
            authorities: Vec::new(),
            vouchers: Vec::new(),
            since: Mutex::default(),
            session: OnceLock::new(),
            signing: None,
            opened: Mutex::default(),
        }
    }

    /// From a key record whose store and commitment were checked, and the digest of the object that holds it.
    pub(super) fn new(record: KeyRecord, object: Digest) -> Result<Self, StoreError> {
        let parse = |list: &[String]| list.iter().map(|t| StoreIdentity::parse(t)).collect::<Result<Vec<_>, _>>();
        let (page, chunk) = (parse(&record.page_identities)?, parse(&record.chunk_identities)?);
        // Whoever makes a record that is not an owner can name recipients, not the identities that belong to them.
        let fits = |has: bool, identities: &[StoreIdentity], recipient: &str| {
            if has {
                identities.first().is_some_and(|newest| newest.recipient() == recipient)
            } else {
                identities.is_empty()
            }
        };
        if !fits(record.role >= Role::Catalog, &page, &record.page_recipient)
            || !fits(record.role == Role::Owner, &chunk, &record.chunk_recipient)
        {
            let what = format!("the key object {}", record.name);
            return Err(StoreError::damage(what, "its identities are not those of its role and recipients"));
        }
        Ok(Self {
            ids: IdKeys::new(&record.id_key),
            signing: signing_key_of(&record.ext).map(SigningKey::from_bytes),
            authorities: record.chunk_identities.iter().map(|text| Authority::new(text)).collect(),
            vouchers: record.page_identities.iter().map(|text| VoucherKey::new(text)).collect(),
            since: Mutex::default(),
            session: OnceLock::new(),
            seed: record.chunker_seed.into(),
            key: Some((record, object)),
            page,
            chunk,
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
        self.key.as_ref().map_or(KeyName::from_bytes([0; 8]), |(record, _)| record.name)
    }

    /// What the key in use may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.key.as_ref().map_or(Role::Owner, |(record, _)| record.role)
    }

    /// What the key object says, and the digest of its bytes; nothing in an unencrypted store.
    pub(super) fn key(&self) -> Option<&(KeyRecord, Digest)> {
        self.key.as_ref()
    }

    /// True if roles mean something here: in an unencrypted store everybody has all keys.
    pub(super) fn knows_roles(&self) -> bool {
        self.key.is_some()
    }

    /// What owners prove their word with, of all generations of the store's identities, newest first; nothing without an owner's key.
    pub(super) fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// Keys that vouch for log entries, newest first; nothing for a writer, or in an unencrypted store.
    pub(super) fn vouchers(&self) -> &[VoucherKey] {
        &self.vouchers
    }

    /// Tells it which session it belongs to: from whose log it learns since when the store has its identities.
    pub(super) fn join(&self, session: Weak<Inner>) {
        let _ = self.session.set(session);
    }

    /// Since when each of the vouchers is in use, where there are several; nothing before the store is open.
    pub(super) fn since(&self) -> Option<Arc<Since>> {
        let session = self.session.get().and_then(Weak::upgrade).filter(|_| self.vouchers.len() > 1)?;
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        Some(since.get_or_insert_with(|| self.learn_since(&session)).clone())
    }

    /// The log may tell more of that by now.
    pub(super) fn learn_since_anew(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What signs log entries; for a writer alone.
    pub(super) fn signing(&self) -> Option<&SigningKey> {
        self.signing.as_ref()
    }

    /// A hash of the recipients that this session seals to.
    pub(super) fn recipients_hash(&self) -> [u8; 32] {
        let (page, chunk) =
            self.key.as_ref().map_or(("", ""), |(record, _)| (&record.page_recipient, &record.chunk_recipient));
        recipients_hash(page, chunk)
    }

    /// True if one of an epoch's keys opens only with an identity that the store has given up for a newer one.
    pub(super) fn is_under_older_identities(&self, record: &EpochRecord) -> bool {
        let is_older = |identities: &[StoreIdentity], wrapped: &[u8]| {
            let opens = |identity: &StoreIdentity| identity.unwrap(wrapped).is_ok();
            // What none of them opens is sealed to newer ones than this session knows.
            identities.split_first().is_some_and(|(newest, older)| !opens(newest) && older.iter().any(opens))
        };
        is_older(&self.page, &record.page_key) || is_older(&self.chunk, &record.chunk_key)
    }

    /// True if an owner made an epoch's keys under the newest identities.
    pub(super) fn is_proved_new(&self, record: &EpochRecord) -> bool {
        let proof = epoch_proof(&record.ext).zip(self.authorities.first());
        proof.is_some_and(|(proof, newest)| newest.epoch_proof_holds(&record.epoch, &proof))
    }

    /// True if both of an epoch's keys open with the newest identities.
    pub(super) fn is_newly_wrapped(&self, record: &EpochRecord) -> bool {
        let opens = |identities: &[StoreIdentity], wrapped: &[u8]| {
            identities.first().is_some_and(|newest| newest.unwrap(wrapped).is_ok())
        };
        self.key.is_none() || opens(&self.page, &record.page_key) && opens(&self.chunk, &record.chunk_key)
    }

    /// The record of an epoch, its MAC checked.
    pub(super) fn epoch_record(&self, id: EpochId, stored: &[u8]) -> Result<EpochRecord, StoreError> {
        let bad = |why: &dyn std::fmt::Display| StoreError::damage(format!("epoch {id}"), why);
        let (body, mac) = split_mac(stored, "epoch record").map_err(|e| bad(&e))?;
        if !self.ids.mac_holds(MacLabel::Epoch, &[body], mac) {
            return Err(bad(&"its MAC does not hold"));
        }
        let record = EpochRecord::from_bytes(body).map_err(|e| bad(&e))?;
        if record.epoch != id {
            return Err(bad(&"it is the record of another epoch"));
        }
        Ok(record)
    }

    /// The record of an epoch with the same keys, wrapped to the store's recipients of now; with its MAC.
    pub(super) fn rewrapped(&self, record: EpochRecord) -> Result<Vec<u8>, StoreError> {
        let Some((mine, _)) = &self.key else {
            return Err(StoreError::Refused("the store is not encrypted".to_owned()));
        };
        let page_key = wrap_to_store(&self.unwrapped(Class::Page, &record)?, &mine.page_recipient)?;
        let chunk_key = wrap_to_store(&self.unwrapped(Class::Chunk, &record)?, &mine.chunk_recipient)?;
        let record = EpochRecord { page_key, chunk_key, ..record }.to_bytes();
        let mac = self.ids.mac(MacLabel::Epoch, &[&record]);
        Ok(join_mac(record, &mac))
    }

    /// Begins an epoch: fresh keys, wrapped to the store's recipients.
    pub(super) fn begin_epoch(&self, purpose: Purpose) -> Result<OwnEpoch, StoreError> {
        let id = EpochId::from_bytes(random_bytes()?);
        let (page, chunk, page_key, chunk_key);
        match &self.key {
            None => (page, chunk, page_key, chunk_key) = (DataKey::none(), DataKey::none(), Vec::new(), Vec::new()),
            Some((mine, _)) => {
                let make = |class: u8, to: &str| -> Result<(DataKey, Vec<u8>), StoreError> {
                    let key = zeroize::Zeroizing::new(random_bytes::<32>()?);
                    let mut plain = zeroize::Zeroizing::new(vec![class]);
                    plain.extend_from_slice(id.as_bytes());
                    plain.extend_from_slice(key.as_slice());
                    Ok((DataKey::new(&key), wrap_to_store(&plain, to)?))
                };
                (page, page_key) = make(1, &mine.page_recipient)?;
                (chunk, chunk_key) = make(2, &mine.chunk_recipient)?;
            }
        }
        let proof = self.authorities.first().map(|newest| newest.epoch_proof(&id));
        let (writer, ext) = (self.name(), epoch_ext(self.role(), purpose, proof.as_ref()));
        let record = EpochRecord { epoch: id, writer, page_key, chunk_key, ext }.to_bytes();
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

    /// Takes an epoch's keys from a copy of its record from now on: its row is lost, or a wrong one.
    pub(super) fn learn(&self, id: EpochId, stored: &[u8]) {
        for class in [Class::Page, Class::Chunk] {
            if let Ok(key) = self.open_key(id, class, stored) {
                let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
                opened.insert((id, class), key.map(Arc::new));
            }
        }
    }

    pub(super) fn open_key(&self, id: EpochId, class: Class, stored: &[u8]) -> Result<Option<DataKey>, StoreError> {
        let bad = |why: &dyn std::fmt::Display| StoreError::damage(format!("epoch {id}"), why);
        let record = self.epoch_record(id, stored)?;
        if self.key.is_none() {
            return Ok(Some(DataKey::none()));
        }
        if self.identities(class).is_empty() {
            return Ok(None);
        }
        let plain = self.unwrapped(class, &record)?;
        let key: Option<&[u8; 32]> = plain.get(17..).and_then(|key| key.try_into().ok());
        Ok(Some(DataKey::new(key.ok_or_else(|| bad(&"a wrapped key has the wrong length"))?)))
    }

    fn identities(&self, class: Class) -> &[StoreIdentity] {
        match class {
            Class::Page => &self.page,
            Class::Chunk => &self.chunk,
        }
    }

    /// What the store's identity of a class is given in an epoch record: class, epoch, key.
    fn unwrapped(&self, class: Class, record: &EpochRecord) -> Result<zeroize::Zeroizing<Vec<u8>>, StoreError> {
        let bad = |why: &dyn std::fmt::Display| StoreError::damage(format!("epoch {}", record.epoch), why);
        let (number, wrapped) = match class {
            Class::Page => (1, &record.page_key),
            Class::Chunk => (2, &record.chunk_key),
        };
        let mut opened = Err(WrapError::NoMatch);
        for identity in self.identities(class) {
            opened = identity.unwrap(wrapped);
            if !matches!(opened, Err(WrapError::NoMatch)) {
                break;
            }
        }
        // The MAC holds: what opens with none of ours was written after we were left out.
        let plain = opened.map_err(|e| match e {
            WrapError::NoMatch => StoreError::OtherIdentities(record.epoch),
            other => bad(&other),
        })?;
        match plain.split_at_checked(17) {
            Some((head, _)) if head[0] == number && head[1..] == *record.epoch.as_bytes() => Ok(plain),
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

/// A hash of recipients, as pins keep it.
pub(super) fn recipients_hash(page: &str, chunk: &str) -> [u8; 32] {
    *digest(format!("{page}\n{chunk}\n").as_bytes()).as_bytes()
}
