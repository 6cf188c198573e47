//! From identities to a keyring.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::codec::{Identity, Passphrase, WrapError, commitment, is_passphrase_file, unwrap};
use crate::format::{Cipher, Header, KeyRecord};

use super::error::StoreError;
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

/// Opens a key object of the store and compares the keys with those this client has seen.
pub(super) fn keyring(
    dir: &Path,
    header: &Header,
    unlock: &dyn Unlock,
    dirs: &ClientDirs,
) -> Result<(Keyring, PinFile), StoreError> {
    let pin = PinFile::read(dirs, header.store, dir)?;
    let keyring = if header.cipher == Cipher::None {
        // A store that was encrypted when this client last saw it must not turn up open.
        Keyring::public()
    } else {
        Keyring::new(&key_record(dir, header, unlock, &pin)?)?
    };
    if *keyring.ids().commitment() != header.commitment {
        return Err(StoreError::damage("the header", "it does not fit the key of unencrypted stores"));
    }
    pin.check_keys(&header.commitment, Some(&keyring.recipients_hash()))?;
    Ok((keyring, pin))
}

fn key_objects(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, StoreError> {
    let keys = dir.join("keys");
    let fail = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            StoreError::damage(keys.display().to_string(), "the folder of the key objects is missing")
        }
        _ => StoreError::io(format!("cannot read {}", keys.display()), e),
    };
    let mut found = Vec::new();
    for item in std::fs::read_dir(&keys).map_err(fail)? {
        let path = item.map_err(fail)?.path();
        if path.extension().is_some_and(|e| e == "age") {
            let bytes = super::files::read_small(&path)
                .map_err(|e| StoreError::io(format!("cannot read {}", path.display()), e))?;
            found.push((path, bytes));
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(StoreError::damage(keys.display().to_string(), "there is no key object in it"));
    }
    Ok(found)
}

fn key_record(dir: &Path, header: &Header, unlock: &dyn Unlock, pin: &PinFile) -> Result<KeyRecord, StoreError> {
    let objects = key_objects(dir)?;
    let identities = unlock.identities()?;
    let mut forged = None;
    let mut broken = None;
    let mut try_open = |identities: &[Identity], only_passphrase: bool| -> Option<KeyRecord> {
        for (path, wrapped) in &objects {
            if is_passphrase_file(wrapped) != only_passphrase {
                continue;
            }
            match unwrap(wrapped, identities) {
                Ok(plain) => match accept(&plain, header, path) {
                    Ok(record) => {
                        log::info!("the key object {} fits", path.display());
                        return Some(record);
                    }
                    Err(e) => forged = Some(e),
                },
                Err(WrapError::NoMatch) => log::debug!("the key object {} does not fit", path.display()),
                Err(e) => broken = Some(StoreError::damage(format!("the key object {}", path.display()), e)),
            }
        }
        None
    };
    if let Some(record) = if identities.is_empty() { None } else { try_open(&identities, false) } {
        return Ok(record);
    }
    let mut wrong = StoreError::WrongKey(dir.to_owned());
    if objects.iter().any(|(_, wrapped)| is_passphrase_file(wrapped)) {
        match unlock.passphrase()? {
            Some(passphrase) => match try_open(&[Identity::passphrase(passphrase)], true) {
                Some(record) => return Ok(record),
                None => wrong = StoreError::WrongPassphrase(dir.to_owned()),
            },
            None => wrong = StoreError::NoPassphrase(dir.to_owned()),
        }
    }
    // A header with another commitment than the one we know explains why a good key object does not fit.
    if forged.is_some() {
        pin.check_keys(&header.commitment, None)?;
    }
    Err(forged.or(broken).unwrap_or(wrong))
}

/// Takes a key record only if it is this store's: its id and its id key's commitment are those of the header.
fn accept(plain: &[u8], header: &Header, path: &Path) -> Result<KeyRecord, StoreError> {
    let what = || format!("the key object {}", path.display());
    let record = KeyRecord::from_bytes(plain).map_err(|e| StoreError::damage(what(), e))?;
    if record.store != header.store || commitment(&record.id_key) != header.commitment {
        return Err(StoreError::damage(what(), "it does not belong to this store's header: one of them was replaced"));
    }
    Ok(record)
}
