//! Going on when an owner has given the store new identities meanwhile: the object of the key in use, wrapped anew, is opened again.
//!
//! A session keeps the identity that opened its key object for this. What is in the new object is taken only if it holds the newest
//! token of the old one, as pins ask it of whoever comes later (section 7.5): nobody but an owner can have made it.

use std::sync::{Arc, PoisonError};

use crate::codec::{Class, DataKey, digest, unwrap};
use crate::format::tokens_of;
use crate::model::EpochId;

use super::Store;
use super::db::Db;
use super::error::StoreError;
use super::keyring::Keyring;
use super::{key_files, settling, unlock};

/// What is said of a row that is neither the object that opened the store nor one that an owner made in its place.
const NOT_BY_AN_OWNER: &str = "it is another one than the file that opened the store, and no owner made it for this key: somebody changed it, or it is damaged; an \
    owner's `larder repair --apply` puts it right, or else `larder key rotate`";

impl Store {
    /// An epoch's key of a class, nothing if this session may not have it; with new keys, if the epoch is sealed to those.
    pub(super) fn data_key(&self, db: &Db, id: EpochId, class: Class) -> Result<Option<Arc<DataKey>>, StoreError> {
        match self.keyring().data_key(db, id, class) {
            Err(StoreError::OtherIdentities(_)) if self.renew_keys(db)? => self.keyring().data_key(db, id, class),
            other => other,
        }
    }

    /// Puts rows and files of key objects right, with the keys of now if an owner has changed them since this session has its own.
    pub(super) fn settle_keys(&self, db: &Db) -> Result<(), StoreError> {
        match settling::settle(self, db) {
            Err(StoreError::KeysRenewed(_)) if self.renew_keys(db)? => settling::settle(self, db),
            Err(StoreError::KeysRenewed(_)) => {
                let what = format!("the key object {} in the database", self.keyring().name());
                Err(StoreError::damage(what, NOT_BY_AN_OWNER))
            }
            settled => settled,
        }
    }

    /// Takes the keys that the key object of this session has by now. False if they are those that it has already, if the key was
    /// taken away, or if the object is not for the identity that opened it before.
    pub(super) fn renew_keys(&self, db: &Db) -> Result<bool, StoreError> {
        let Some((mine, object)) = self.keyring().key() else { return Ok(false) };
        // Others may have renewed them while this one waited.
        let opener = self.inner.opener.lock().unwrap_or_else(PoisonError::into_inner);
        if self.keyring().key().is_some_and(|(_, newest)| newest != object) {
            return Ok(true);
        }
        let Some(identity) = opener.as_ref() else { return Ok(false) };
        let Some(wrapped) = key_files::rows(db)?.remove(&mine.name) else { return Ok(false) };
        if digest(&wrapped) == *object {
            return Ok(false);
        }
        let Ok(plain) = unwrap(&wrapped, std::slice::from_ref(identity)) else { return Ok(false) };
        let path = key_files::path(self.dir(), mine.name);
        let record = unlock::record_of(&plain, self.header(), &path)?;
        let known = tokens_of(&mine.ext).first().copied();
        let before = tokens_of(&record.ext).first().copied();
        if before != known && before.is_some_and(|token| tokens_of(&mine.ext).contains(&token)) {
            let why = "it is older than the key objects beside it: it was set back, or they are of a newer copy of the store; put back the newer `db`, \
                or the `keys` that belong to this one";
            return Err(StoreError::damage("the database", why));
        }
        if record.name != mine.name || known.is_none_or(|token| !tokens_of(&record.ext).contains(&token)) {
            log::warn!("{} was replaced, and not by an owner of the store", path.display());
            return Ok(false);
        }
        let keyring = Keyring::new(record, digest(&wrapped))?;
        self.go_on_with(keyring);
        log::info!("an owner gave the store new identities: this session goes on with them");
        Ok(true)
    }

    /// Has this session go on with another keyring.
    pub(super) fn go_on_with(&self, keyring: Keyring) {
        keyring.join(Arc::downgrade(&self.inner));
        self.inner.keyrings.add(keyring);
    }
}
