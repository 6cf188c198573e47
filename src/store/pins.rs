//! Section 17: what this client last saw of a store, kept outside it, so that a swapped or set-back store is noticed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{Digest, StoreId};

use super::error::StoreError;
use super::files::{make_dir, write_whole};

/// Where this client keeps what is its own: pins and caches.
#[derive(Debug, Clone)]
pub struct ClientDirs {
    /// For pins; lasting.
    pub state: PathBuf,
    /// For caches; may vanish.
    pub cache: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pin {
    commitment: String,
    recipients: String,
    pub(super) sequence: u64,
    log_hash: String,
}

/// The pin of one store.
#[derive(Debug)]
pub(super) struct PinFile {
    path: PathBuf,
    store_dir: PathBuf,
    pin: Option<Pin>,
}

fn hex(bytes: &[u8; 32]) -> String {
    Digest::from_bytes(*bytes).to_string()
}

impl PinFile {
    /// Reads the pin of a store, if there is one.
    pub(super) fn read(dirs: &ClientDirs, store: StoreId, store_dir: &Path) -> Result<Self, StoreError> {
        let path = dirs.state.join("pins").join(format!("{store}.json"));
        let pin = match super::files::read_small(&path) {
            Ok(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .map_err(|e| StoreError::BadPin { path: path.clone(), why: e.to_string() })?,
            ),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(StoreError::io(format!("cannot read {}", path.display()), e)),
        };
        Ok(Self { path, store_dir: store_dir.to_owned(), pin })
    }

    /// Refuses other keys than those seen before.
    pub(super) fn check_keys(&self, commitment: &[u8; 32], recipients: Option<&[u8; 32]>) -> Result<(), StoreError> {
        let Some(pin) = &self.pin else { return Ok(()) };
        let what = if pin.commitment != hex(commitment) {
            "the id key"
        } else if recipients.is_some_and(|r| pin.recipients != hex(r)) {
            "the store's recipients"
        } else {
            return Ok(());
        };
        Err(StoreError::KeysChanged { path: self.store_dir.clone(), what, pin: self.path.clone() })
    }

    /// The sequence that was seen last, 0 if none.
    pub(super) fn sequence(&self) -> u64 {
        self.pin.as_ref().map_or(0, |p| p.sequence)
    }

    /// Refuses a log that ends before what was seen, or differs there. `hash` is that of the entry at [`Self::sequence`].
    pub(super) fn check_log(&self, hash: Option<Digest>) -> Result<(), StoreError> {
        let Some(pin) = self.pin.as_ref().filter(|p| p.sequence > 0) else { return Ok(()) };
        let what = match hash {
            Some(hash) if hash.to_string() == pin.log_hash => return Ok(()),
            Some(_) => format!("entry {} of its arrival log is another one", pin.sequence),
            None => format!("its arrival log ends before entry {}", pin.sequence),
        };
        Err(StoreError::SetBack { path: self.store_dir.clone(), what, pin: self.path.clone() })
    }

    /// Remembers the newest state. Never goes back.
    pub(super) fn remember(
        &mut self,
        commitment: &[u8; 32],
        recipients: &[u8; 32],
        sequence: u64,
        log_hash: &Digest,
    ) -> Result<(), StoreError> {
        let pin =
            Pin { commitment: hex(commitment), recipients: hex(recipients), sequence, log_hash: log_hash.to_string() };
        if self.pin.as_ref().is_some_and(|p| *p == pin || p.sequence > sequence) {
            return Ok(());
        }
        if let Some(dir) = self.path.parent() {
            make_dir(dir)?;
        }
        let json = serde_json::to_vec_pretty(&pin).map_err(|e| StoreError::Refused(e.to_string()))?;
        write_whole(&self.path, &json)?;
        self.pin = Some(pin);
        Ok(())
    }
}
