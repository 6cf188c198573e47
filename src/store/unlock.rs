//! From identities to a keyring.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::codec::{Identity, Passphrase, WrapError, commitment, digest, is_passphrase_file, unarmoured, unwrap};
use crate::format::{Cipher, Header, KeyRecord};
use crate::model::{Digest, Role};

use super::db::Db;
use super::error::{StoreError, THE_HEADER};
use super::key_files;
use super::keyring::Keyring;
use super::pins::{ClientDirs, PinFile};

/// Where identities and passphrases come from.
pub trait Unlock {
    /// The identities that were named. Of those that open the store the one is used that may do most, of equals the first.
    ///
    /// # Errors
    /// If a file that was named cannot be read.
    fn identities(&self) -> Result<Vec<Identity>, StoreError>;

    /// Identities that are at hand though nobody named them: they are asked for only if none that was named opens the store.
    ///
    /// # Errors
    /// If none was named, and these cannot be read.
    fn unnamed_identities(&self) -> Result<Vec<Identity>, StoreError> {
        Ok(Vec::new())
    }

    /// Told that there are identities, none of them fits, and the passphrase is asked for next.
    fn no_identity_fits(&self) {}

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
    /// What opened the key object, so that it can be opened again when an owner has wrapped it anew.
    pub(super) opener: Option<Identity>,
}

/// The way from a header to a keyring, with all that was asked for on it.
pub(super) struct Unlocking<'a> {
    dir: &'a Path,
    header: &'a Header,
    unlock: &'a dyn Unlock,
    pin: PinFile,
    objects: Vec<(PathBuf, Vec<u8>)>,
    named: OnceCell<Vec<Identity>>,
    unnamed: OnceCell<Vec<Identity>>,
    passphrase: OnceCell<Option<Identity>>,
    /// What opened the object that was opened last.
    opener: Cell<Opener>,
}

/// What opened an object: one of the identities, by its place, or the passphrase.
#[derive(Debug, Clone, Copy)]
enum Opener {
    Named(usize),
    Unnamed(usize),
    Passphrase,
}

impl<'a> Unlocking<'a> {
    /// Opens a key object of the store and compares the keys with those this client has seen.
    pub(super) fn begin(
        dir: &'a Path,
        header: &'a Header,
        unlock: &'a dyn Unlock,
        dirs: &ClientDirs,
    ) -> Result<(Keyring, Self), StoreError> {
        let pin = PinFile::read(dirs, header.store, dir)?;
        let objects = if header.cipher == Cipher::None { Vec::new() } else { key_objects(dir)? };
        let (named, unnamed, passphrase) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let opener = Cell::new(Opener::Passphrase);
        let unlocking = Self { dir, header, unlock, pin, objects, named, unnamed, passphrase, opener };
        let keyring = if header.cipher == Cipher::None { unlocking.public() } else { unlocking.open(&|_| true) }?;
        Ok((keyring, unlocking))
    }

    fn public(&self) -> Result<Keyring, StoreError> {
        let keyring = Keyring::public();
        if *keyring.ids().commitment() != self.header.commitment {
            return Err(StoreError::damage(THE_HEADER, "it does not fit the key of unencrypted stores"));
        }
        // A store that was encrypted when this client last saw it must not turn up open.
        self.pin.check_commitment(&self.header.commitment)?;
        Ok(keyring)
    }

    /// The keyring that counts, now that the database can be asked. An object that it does not have is left of a removal that was cut,
    /// or was put there by hand: where the same identities open one that it has, that is meant.
    pub(super) fn settle(self, keyring: Keyring, db: &Db) -> Unlocked {
        let Some((record, object)) = keyring.key() else { return Unlocked { keyring, pin: self.pin, opener: None } };
        // What cannot be read is verify's to tell.
        let listed: Vec<_> = key_files::rows(db).unwrap_or_default().into_values().collect();
        if listed.is_empty() || listed.iter().any(|row| digest(row) == *object) {
            return self.finish(keyring);
        }
        log::warn!("the object of the key {} that was opened is none that the database has", record.name);
        let opener = self.opener.get();
        let meant = self.open(&|wrapped| listed.iter().any(|row| row == wrapped)).unwrap_or_else(|_| {
            self.opener.set(opener);
            keyring
        });
        self.finish(meant)
    }

    /// Keeps of the identities the one that opened the object, and no other.
    fn finish(self, keyring: Keyring) -> Unlocked {
        let place = |all: OnceCell<Vec<Identity>>, at| all.into_inner().and_then(|all| all.into_iter().nth(at));
        let opener = match self.opener.get() {
            Opener::Named(at) => place(self.named, at),
            Opener::Unnamed(at) => place(self.unnamed, at),
            Opener::Passphrase => self.passphrase.into_inner().flatten(),
        };
        Unlocked { keyring, pin: self.pin, opener }
    }
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
            match super::files::read_small(&path).map_err(|e| super::files::unreadable(&path, e)) {
                Ok(bytes) => drop(found.insert(path, unarmoured(bytes))),
                // Another object may be the one that opens the store; verify and repair tell of this one.
                Err(e) if e.is_damage() => ::log::warn!("{e}"),
                Err(e) => return Err(e),
            }
        } else if let Some(of) = super::files::laid_ready_for(&path) {
            ready.push(of);
        }
    }
    let mut objects = Vec::new();
    // A change of keys is under way, or was cut: what the database has comes first. But nobody is shut out by a row that opens nothing,
    // nor where what lies ready is all that does.
    if !ready.is_empty() {
        let rows = Db::open_read(&dir.join("db")).and_then(|db| key_files::rows(&db)).unwrap_or_default();
        for name in ready {
            let (path, row) = (key_files::path(dir, name), rows.get(&name));
            objects.extend(key_files::third(&path, row).map(|object| (key_files::waiting(&path), object)));
            objects.extend(row.filter(|row| found.get(&path) != Some(row)).map(|row| (path, row.clone())));
        }
    }
    objects.extend(found);
    // The row of a key before its file, and that before what lies ready beside it.
    objects.sort_by(|(one, _), (other, _)| one.cmp(other));
    if objects.is_empty() {
        return Err(StoreError::damage(keys.display().to_string(), "there is no key object in it"));
    }
    Ok(objects)
}

/// What came of trying identities on key objects, besides a keyring: why it was none, of the first of each sort.
#[derive(Default)]
struct Tried {
    /// A record that is not of this store, or not of one whose keys this client knows.
    forged: Option<StoreError>,
    /// An object that is no age file.
    broken: Option<StoreError>,
    /// An identity that cannot be used as it is.
    locked: Option<StoreError>,
}

impl Unlocking<'_> {
    /// The keyring of an object, of those that are wanted, that an identity or the passphrase opens.
    fn open(&self, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Keyring, StoreError> {
        let objects = || self.objects.iter().filter(|(_, wrapped)| wanted(wrapped));
        let with_passphrase = |yes: bool| objects().filter(move |(_, wrapped)| is_passphrase_file(wrapped) == yes);
        let mut tried = Tried::default();
        // Who names one means it, whatever the others open.
        if let Some((found, at)) = self.try_all(with_passphrase(false), self.named()?, &mut tried) {
            self.opener.set(Opener::Named(at));
            return Ok(found);
        }
        if let Some((found, at)) = self.try_all(with_passphrase(false), self.unnamed()?, &mut tried) {
            self.opener.set(Opener::Unnamed(at));
            return Ok(found);
        }
        let mut wrong = StoreError::WrongKey(self.dir.to_owned());
        if with_passphrase(true).next().is_some() {
            let (path, others) = (self.dir.to_owned(), !self.named()?.is_empty() || !self.unnamed()?.is_empty());
            if others && self.passphrase.get().is_none() {
                self.unlock.no_identity_fits();
            }
            match self.passphrase()? {
                Some(passphrase) => {
                    if let Some((found, _)) =
                        self.try_all(with_passphrase(true), std::slice::from_ref(passphrase), &mut tried)
                    {
                        self.opener.set(Opener::Passphrase);
                        return Ok(found);
                    }
                    wrong = StoreError::WrongPassphrase { path, tried: others };
                }
                None => wrong = StoreError::NoPassphrase { path, tried: others },
            }
        }
        // A header with another commitment than the one we know explains why a good key object does not fit.
        if tried.forged.is_some() {
            self.pin.check_commitment(&self.header.commitment)?;
        }
        Err(tried.forged.or(tried.broken).or(tried.locked).unwrap_or(wrong))
    }

    fn named(&self) -> Result<&[Identity], StoreError> {
        if let Some(known) = self.named.get() {
            return Ok(known);
        }
        let found = self.unlock.identities()?;
        Ok(self.named.get_or_init(|| found))
    }

    fn unnamed(&self) -> Result<&[Identity], StoreError> {
        if let Some(known) = self.unnamed.get() {
            return Ok(known);
        }
        let found = self.unlock.unnamed_identities()?;
        Ok(self.unnamed.get_or_init(|| found))
    }

    fn passphrase(&self) -> Result<Option<&Identity>, StoreError> {
        if let Some(known) = self.passphrase.get() {
            return Ok(known.as_ref());
        }
        let given = self.unlock.passphrase()?.map(Identity::passphrase);
        Ok(self.passphrase.get_or_init(|| given).as_ref())
    }

    /// The keyring to be had that may do most, and by which of the identities; of equals the first one, identities before objects. Who
    /// has a writer's key and a catalog's beside it may do what both may. Behind an owner's nothing more is tried: nobody is asked for more.
    fn try_all<'a>(
        &self,
        objects: impl Iterator<Item = &'a (PathBuf, Vec<u8>)> + Clone,
        identities: &[Identity],
        tried: &mut Tried,
    ) -> Option<(Keyring, usize)> {
        let mut best: Option<(Keyring, usize)> = None;
        for (at, identity) in identities.iter().enumerate() {
            for (path, wrapped) in objects.clone() {
                let best_role = best.as_ref().map(|(keyring, _)| keyring.role());
                if best_role == Some(Role::Owner) {
                    return best;
                }
                let damage = |e: WrapError| StoreError::damage(format!("the key object {}", path.display()), e);
                match unwrap(wrapped, std::slice::from_ref(identity)) {
                    Ok(plain) => match self.accept(&plain, path, digest(wrapped)) {
                        Ok(keyring) => {
                            log::info!("the key object {} fits: {}", path.display(), keyring.role());
                            if best_role.is_none_or(|role| role < keyring.role()) {
                                best = Some((keyring, at));
                            }
                        }
                        Err(e) => {
                            log::warn!("the key object {} is passed over: {e}", path.display());
                            tried.forged.get_or_insert(e);
                        }
                    },
                    Err(WrapError::NoMatch) => log::debug!("the key object {} does not fit", path.display()),
                    Err(e @ (WrapError::Locked { .. } | WrapError::Plugin(_))) => {
                        tried.locked.get_or_insert(e.into());
                    }
                    Err(e) => {
                        tried.broken.get_or_insert_with(|| damage(e));
                    }
                }
            }
        }
        best
    }

    /// Takes a key record only if it is this store's, and if its recipients are those that this client knows.
    fn accept(&self, plain: &[u8], path: &Path, object: Digest) -> Result<Keyring, StoreError> {
        let record = record_of(plain, self.header, path)?;
        self.pin.check_commitment(&self.header.commitment)?;
        self.pin.check_recipients(Some(&record))?;
        Keyring::new(record, object)
    }
}

/// What is said of a key object and a header of which one is another store's.
const FOREIGN: &str = "it does not belong to this store's header: one of them was replaced; if it is the header, remove it, and `larder repair --apply` takes its copy from \
    the database";

/// The key record in an object, if it is the store's: its id and its id key's commitment are those of the header.
pub(super) fn record_of(plain: &[u8], header: &Header, path: &Path) -> Result<KeyRecord, StoreError> {
    let what = || format!("the key object {}", path.display());
    let record = KeyRecord::from_bytes(plain).map_err(|e| StoreError::damage(what(), e))?;
    if record.store != header.store || commitment(&record.id_key) != header.commitment {
        return Err(StoreError::damage(what(), FOREIGN));
    }
    Ok(record)
}
