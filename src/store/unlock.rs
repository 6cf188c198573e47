//! From identities to a keyring.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::codec::{Identity, Passphrase, WrapError, commitment, digest, is_passphrase_file, unarmoured, unwrap};
use crate::format::{Cipher, Header, KeyRecord};
use crate::model::Digest;

use super::db::Db;
use super::error::StoreError;
use super::key_files;
use super::keyring::Keyring;
use super::pins::{ClientDirs, PinFile};

/// Where identities and passphrases come from.
pub trait Unlock {
    /// The identities at hand, in the order in which they are tried.
    ///
    /// # Errors
    /// If a file that was named cannot be read.
    fn identities(&self) -> Result<Vec<Identity>, StoreError>;

    /// The passphrase, asked for only if a key object wants one and no identity fits; nothing if there is none to be had.
    ///
    /// # Errors
    /// If asking fails.
    fn passphrase(&self) -> Result<Option<Passphrase>, StoreError>;
}

/// What unlocking gives.
pub(super) struct Unlocked {
    pub(super) keyring: Keyring,
    pub(super) pin: PinFile,
    /// The identity that opened the key object, so that it can be opened again when an owner has wrapped it anew.
    pub(super) opener: Option<Identity>,
}

/// Opens a key object of the store and compares the keys with those this client has seen.
pub(super) fn unlock(
    dir: &Path,
    header: &Header,
    unlock: &dyn Unlock,
    dirs: &ClientDirs,
) -> Result<Unlocked, StoreError> {
    let pin = PinFile::read(dirs, header.store, dir)?;
    if header.cipher == Cipher::None {
        let keyring = Keyring::public();
        if *keyring.ids().commitment() != header.commitment {
            return Err(StoreError::damage("the header", "it does not fit the key of unencrypted stores"));
        }
        // A store that was encrypted when this client last saw it must not turn up open.
        pin.check_commitment(&header.commitment)?;
        return Ok(Unlocked { keyring, pin, opener: None });
    }
    let (record, object, opener) = key_record(dir, header, unlock, &pin)?;
    pin.check_commitment(&header.commitment)?;
    pin.check_recipients(Some(&record))?;
    Ok(Unlocked { keyring: Keyring::new(record, object)?, pin, opener: Some(opener) })
}

fn key_objects(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, StoreError> {
    let keys = dir.join("keys");
    let fail = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            StoreError::damage(keys.display().to_string(), "the folder of the key objects is missing")
        }
        _ => StoreError::io(format!("cannot read {}", keys.display()), e),
    };
    let (mut found, mut ready) = (BTreeMap::new(), Vec::new());
    for item in std::fs::read_dir(&keys).map_err(fail)? {
        let path = item.map_err(fail)?.path();
        if path.extension().is_some_and(|e| e == "age") {
            let bytes = super::files::read_small(&path)
                .map_err(|e| StoreError::io(format!("cannot read {}", path.display()), e))?;
            found.insert(path, unarmoured(bytes));
        } else if let Some(of) = key_files::laid_ready_for(&path) {
            ready.push(of);
        }
    }
    // A change of keys is under way, or was cut: what the database has counts.
    if !ready.is_empty() {
        let rows = Db::open_read(&dir.join("db")).and_then(|db| key_files::rows(&db)).unwrap_or_default();
        for name in ready {
            if let Some(row) = rows.get(&name) {
                found.insert(key_files::path(dir, name), row.clone());
            }
        }
    }
    if found.is_empty() {
        return Err(StoreError::damage(keys.display().to_string(), "there is no key object in it"));
    }
    Ok(found.into_iter().collect())
}

/// What came of trying identities on key objects, besides a key record.
#[derive(Default)]
struct Tried {
    /// A record that is not of this store.
    forged: Option<StoreError>,
    /// An object that is no age file.
    broken: Option<StoreError>,
}

impl Tried {
    /// The record of the first object that one of these opens, the digest of that object, and the one that opened it. Identities go
    /// before objects: who names one means it, whatever the default one opens.
    fn open<'a>(
        &mut self,
        header: &Header,
        objects: impl Iterator<Item = &'a (PathBuf, Vec<u8>)> + Clone,
        identities: Vec<Identity>,
    ) -> Option<(KeyRecord, Digest, Identity)> {
        for identity in identities {
            for (path, wrapped) in objects.clone() {
                match unwrap(wrapped, std::slice::from_ref(&identity)) {
                    Ok(plain) => match accept(&plain, header, path) {
                        Ok(record) => {
                            log::info!("the key object {} fits: {}", path.display(), record.role);
                            return Some((record, digest(wrapped), identity));
                        }
                        Err(e) => self.forged = Some(e),
                    },
                    Err(WrapError::NoMatch) => log::debug!("the key object {} does not fit", path.display()),
                    Err(e) => self.broken = Some(StoreError::damage(format!("the key object {}", path.display()), e)),
                }
            }
        }
        None
    }
}

fn key_record(
    dir: &Path,
    header: &Header,
    unlock: &dyn Unlock,
    pin: &PinFile,
) -> Result<(KeyRecord, Digest, Identity), StoreError> {
    let objects = key_objects(dir)?;
    let with_passphrase = |wanted: bool| objects.iter().filter(move |(_, w)| is_passphrase_file(w) == wanted);
    let mut tried = Tried::default();
    if let Some(found) = tried.open(header, with_passphrase(false), unlock.identities()?) {
        return Ok(found);
    }
    let mut wrong = StoreError::WrongKey(dir.to_owned());
    if with_passphrase(true).next().is_some() {
        match unlock.passphrase()? {
            Some(passphrase) => match tried.open(header, with_passphrase(true), vec![Identity::passphrase(passphrase)])
            {
                Some(found) => return Ok(found),
                None => wrong = StoreError::WrongPassphrase(dir.to_owned()),
            },
            None => wrong = StoreError::NoPassphrase(dir.to_owned()),
        }
    }
    // A header with another commitment than the one we know explains why a good key object does not fit.
    if tried.forged.is_some() {
        pin.check_commitment(&header.commitment)?;
    }
    Err(tried.forged.or(tried.broken).unwrap_or(wrong))
}

/// Takes a key record only if it is this store's: its id and its id key's commitment are those of the header.
pub(super) fn accept(plain: &[u8], header: &Header, path: &Path) -> Result<KeyRecord, StoreError> {
    let what = || format!("the key object {}", path.display());
    let record = KeyRecord::from_bytes(plain).map_err(|e| StoreError::damage(what(), e))?;
    if record.store != header.store || commitment(&record.id_key) != header.commitment {
        return Err(StoreError::damage(what(), "it does not belong to this store's header: one of them was replaced"));
    }
    Ok(record)
}
