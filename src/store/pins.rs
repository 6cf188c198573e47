//! Section 17: what this client last saw of a store, and where, kept outside it, so that a swapped or set-back store is noticed.

use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::codec::digest;
use crate::format::{KeyRecord, Tip, tokens_of};
use crate::model::{Digest, KeyName, StoreId};

use super::error::StoreError;
use super::files::{make_dir, write_whole};
use super::keyring::{Keyring, recipients_hash};
use super::pin::Pin;

/// Where this client keeps what is its own: pins and caches.
#[derive(Debug, Clone)]
pub struct ClientDirs {
    /// For pins; lasting. Empty: nothing is compared or remembered, as for a copy that may be older than what was seen.
    pub state: PathBuf,
    /// For caches; may vanish.
    pub cache: PathBuf,
}

/// The pin of one store.
#[derive(Debug)]
pub(super) struct PinFile {
    path: PathBuf,
    store_dir: PathBuf,
    pin: Option<Pin>,
    place: Place,
}

/// Which store stands in a folder, as this client knows it.
#[derive(Debug)]
struct Place {
    /// The file that says so; none if nothing is remembered.
    path: Option<PathBuf>,
    store: StoreId,
    is_known: bool,
}

impl Place {
    /// Refuses a store that stands where another stood, unless this client has seen it too (disks may take turns at one mount point).
    fn read(dirs: &ClientDirs, store: StoreId, store_dir: &Path, has_pin: bool) -> Result<Self, StoreError> {
        let path = store_dir.canonicalize().ok().map(|dir| {
            let name = digest(dir.as_os_str().as_bytes()).to_string();
            dirs.state.join("places").join(&name[..32])
        });
        let text = path.as_ref().and_then(|path| super::files::read_small(path).ok());
        let known = text.and_then(|text| String::from_utf8(text).ok()).map(|text| text.trim().to_owned());
        let is_known = known.as_ref().is_some_and(|known| *known == store.to_string());
        match (known, &path) {
            (Some(known), Some(place)) if !is_known && !has_pin => {
                Err(StoreError::OtherStore { path: store_dir.to_owned(), known, found: store, place: place.clone() })
            }
            _ => Ok(Self { path, store, is_known }),
        }
    }

    fn remember(&mut self) -> Result<(), StoreError> {
        if let Some(path) = self.path.as_ref().filter(|_| !self.is_known) {
            if let Some(dir) = path.parent() {
                make_dir(dir)?;
            }
            write_whole(path, format!("{}\n", self.store).as_bytes())?;
            self.is_known = true;
        }
        Ok(())
    }
}

/// Remembers that a store that was just made stands in a folder, whichever stood there before.
///
/// # Errors
/// If that cannot be written.
pub fn remember_place(dirs: &ClientDirs, store: StoreId, store_dir: &Path) -> Result<(), StoreError> {
    if dirs.state.as_os_str().is_empty() { Ok(()) } else { Place::read(dirs, store, store_dir, true)?.remember() }
}

fn hex(bytes: &[u8; 32]) -> String {
    Digest::from_bytes(*bytes).to_string()
}

impl PinFile {
    /// Reads the pin of a store, if there is one.
    pub(super) fn read(dirs: &ClientDirs, store: StoreId, store_dir: &Path) -> Result<Self, StoreError> {
        if dirs.state.as_os_str().is_empty() {
            let place = Place { path: None, store, is_known: true };
            return Ok(Self { path: PathBuf::new(), store_dir: store_dir.to_owned(), pin: None, place });
        }
        let path = dirs.state.join("pins").join(format!("{store}.json"));
        let pin = match super::files::read_small(&path) {
            Ok(bytes) => Some(
                Pin::from_json(&bytes).map_err(|e| StoreError::BadPin { path: path.clone(), why: e.to_string() })?,
            ),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(StoreError::io(format!("cannot read {}", path.display()), e)),
        };
        let place = Place::read(dirs, store, store_dir, pin.is_some())?;
        Ok(Self { path, store_dir: store_dir.to_owned(), pin, place })
    }

    /// Refuses another id key than the one seen before.
    pub(super) fn check_commitment(&self, commitment: &[u8; 32]) -> Result<(), StoreError> {
        match &self.pin {
            Some(pin) if pin.commitment != hex(commitment) => Err(self.changed("the id key", None)),
            _ => Ok(()),
        }
    }

    /// Refuses a key record without the token by which this client knows records that owners make; and other recipients than those seen
    /// before, unless it has that token: then owners have rotated the store's identities.
    pub(super) fn check_recipients(&self, record: Option<&KeyRecord>) -> Result<(), StoreError> {
        let Some(pin) = &self.pin else { return Ok(()) };
        let (page, chunk) = record.map_or(("", ""), |r| (&r.page_recipient, &r.chunk_recipient));
        let same = pin.recipients == hex(&recipients_hash(page, chunk));
        let known = record.and_then(|r| pin.tokens.get(&r.name.to_string()).zip(Some(r)));
        let holds = known.map(|(known, r)| tokens_of(&r.ext).iter().any(|token| digest(token).to_string() == *known));
        match holds {
            // With the same recipients too: what else is in it is not what an owner put there.
            Some(false) => Err(self.changed(if same { "the key record" } else { "the store's recipients" }, None)),
            Some(true) if !same => {
                log::info!("the store's identities were rotated by an owner");
                Ok(())
            }
            _ if same => Ok(()),
            // Nothing that this client has seen says who made this record: a key that is new here, or was used before keys had tokens.
            _ => Err(self.changed("the store's recipients", record.map(|r| r.name))),
        }
    }

    fn changed(&self, what: &'static str, unknown: Option<KeyName>) -> StoreError {
        StoreError::KeysChanged { path: self.store_dir.clone(), what, unknown, pin: self.path.clone() }
    }

    /// The sequence that was seen last, 0 if none.
    pub(super) fn sequence(&self) -> u64 {
        self.pin.as_ref().map_or(0, |p| p.sequence)
    }

    /// The entry that was seen last, as a tip would name it.
    pub(super) fn seen(&self) -> Option<Tip> {
        let pin = self.pin.as_ref().filter(|pin| pin.sequence > 0)?;
        Some(Tip { sequence: pin.sequence, log_hash: pin.log_hash.parse().ok()? })
    }

    /// True if this is the hash of the entry that was seen last.
    pub(super) fn has_seen(&self, hash: &Digest) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.log_hash == hash.to_string())
    }

    /// Refuses a log that ends before what was seen, or differs there. `hash` is that of the entry at [`Self::sequence`].
    pub(super) fn check_log(&self, hash: Option<Digest>) -> Result<(), StoreError> {
        let Some(pin) = self.pin.as_ref().filter(|p| p.sequence > 0) else { return Ok(()) };
        let what = match hash {
            Some(hash) if hash.to_string() == pin.log_hash => return Ok(()),
            Some(_) => format!("entry {} of its arrival log is another one", pin.sequence),
            None => format!("its arrival log ends before entry {}", pin.sequence),
        };
        let (path, pin) = (self.store_dir.clone(), self.path.clone());
        Err(StoreError::SetBack { path, what, pin, claimed: None, has_tip: true })
    }

    /// Remembers the newest state, seen with these keys. Never goes back.
    pub(super) fn remember(&mut self, keyring: &Keyring, sequence: u64, log_hash: &Digest) -> Result<(), StoreError> {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        self.place.remember()?;
        let record = keyring.key().map(|(record, _)| record);
        let mut tokens = self.pin.as_ref().map(|pin| pin.tokens.clone()).unwrap_or_default();
        if let Some((record, newest)) = record.and_then(|r| Some((r, *tokens_of(&r.ext).first()?))) {
            tokens.insert(record.name.to_string(), digest(&newest).to_string());
        }
        let pin = Pin {
            commitment: hex(keyring.ids().commitment()),
            recipients: hex(&keyring.recipients_hash()),
            sequence,
            log_hash: log_hash.to_string(),
            tokens,
        };
        if self.pin.as_ref().is_some_and(|p| *p == pin || p.sequence > sequence) {
            return Ok(());
        }
        self.write(pin)
    }

    /// Remembers the newest tokens of keys that this client has wrapped itself: it may be the holder of one of them next.
    pub(super) fn know(&mut self, tokens: impl Iterator<Item = (KeyName, [u8; 32])>) -> Result<(), StoreError> {
        let Some(mut pin) = self.pin.clone() else { return Ok(()) };
        pin.tokens.extend(tokens.map(|(name, token)| (name.to_string(), digest(&token).to_string())));
        self.write(pin)
    }

    /// What another process of this client has written since, and is farther, stays; but this one goes by what it has seen itself.
    fn write(&mut self, pin: Pin) -> Result<(), StoreError> {
        let mut lock = None;
        if let Some(dir) = self.path.parent() {
            make_dir(dir)?;
            lock = lock_for_a_moment(dir);
        }
        let there = super::files::read_small(&self.path).ok().and_then(|bytes| Pin::from_json(&bytes).ok());
        let kept = there.map_or_else(|| pin.clone(), |there| pin.clone().or_farther(there));
        let json = kept.to_json().map_err(|e| StoreError::Refused(e.to_string()))?;
        write_whole(&self.path, &json)?;
        drop(lock);
        self.pin = Some(pin);
        Ok(())
    }
}

/// Locks the folder of the pins, so that no other process writes one between reading and writing. Without the lock after some seconds, or where
/// there are no locks: whoever hangs keeps nobody from working.
fn lock_for_a_moment(dir: &Path) -> Option<File> {
    const TRIES: u32 = 150;
    let folder = File::open(dir).ok()?;
    for _ in 0..TRIES {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    log::warn!("{} is locked by another process for long; it is written to all the same", dir.display());
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin_file(state: &Path) -> PinFile {
        let dirs = ClientDirs { state: state.to_owned(), cache: PathBuf::new() };
        PinFile::read(&dirs, StoreId::from_bytes([7; 16]), state).unwrap()
    }

    #[test]
    fn what_another_process_has_seen_since_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (keyring, hash) = (Keyring::public(), |n| Digest::from_bytes([n; 32]));
        pin_file(dir.path()).remember(&keyring, 7, &hash(7)).unwrap();
        let (mut slow, mut fast) = (pin_file(dir.path()), pin_file(dir.path()));
        fast.remember(&keyring, 9, &hash(9)).unwrap();
        fast.know([(KeyName::from_bytes([1; 8]), [1; 32])].into_iter()).unwrap();
        slow.remember(&keyring, 8, &hash(8)).unwrap();
        slow.know([(KeyName::from_bytes([2; 8]), [2; 32])].into_iter()).unwrap();
        let now = pin_file(dir.path());
        assert!(now.sequence() == 9 && now.has_seen(&hash(9)));
        assert_eq!(now.pin.unwrap().tokens.len(), 2, "whatever either of them knows");
        assert_eq!((slow.sequence(), fast.sequence()), (8, 9), "each goes by what it has seen");
        fast.remember(&keyring, 10, &hash(10)).unwrap();
        assert_eq!(pin_file(dir.path()).sequence(), 10);
    }

    #[test]
    fn a_lock_that_is_kept_for_long_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut pin = pin_file(dir.path());
        make_dir(&dir.path().join("pins")).unwrap();
        let kept = File::open(dir.path().join("pins")).unwrap();
        kept.lock().unwrap();
        pin.remember(&Keyring::public(), 1, &Digest::from_bytes([1; 32])).unwrap();
        assert_eq!(pin_file(dir.path()).sequence(), 1);
    }
}
