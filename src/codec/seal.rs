//! Section 7.3: the one door to the AEAD and to the system's randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce, Tag};
use zeroize::{Zeroize, Zeroizing};

use crate::format::{Cipher, TAG_LEN};

/// Who may open something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Names, structure, manifests.
    Page,
    /// Content.
    Chunk,
}

/// Sealed bytes could not be opened, or the system gave no randomness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The bytes, what they are bound to, or the key are not those that were sealed.
    #[error("it does not open: the bytes are damaged or were sealed under another key")]
    DoesNotOpen,
    /// No randomness from the system.
    #[error("the system gave no random bytes: {0}")]
    NoRandomness(String),
}

/// Fresh random bytes.
///
/// # Errors
/// If the system gives none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| SealError::NoRandomness(e.to_string()))?;
    Ok(bytes)
}

/// A data key. Seals with a counter as its nonce; the counter lives as long as the value and is never set back.
pub struct DataKey {
    cipher: Option<Box<Aes256Gcm>>,
    next: AtomicU64,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(secret)")
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl DataKey {
    /// The key of an unencrypted store: it seals nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { cipher: None, next: AtomicU64::new(0) }
    }

    /// An AES-256-GCM key. To seal, it must be fresh: made in this process and known to no other.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let mut bytes = Key::<Aes256Gcm>::from(*key);
        let cipher = Some(Box::new(Aes256Gcm::new(&bytes)));
        bytes.zeroize();
        Self { cipher, next: AtomicU64::new(0) }
    }

    /// Which cipher it is for.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        if self.cipher.is_some() { Cipher::Aes256Gcm } else { Cipher::None }
    }

    /// Takes the next nonce counter. Never the same twice.
    pub(super) fn take_nonce(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Bytes that sealing adds.
    #[must_use]
    pub fn overhead(&self) -> usize {
        if self.cipher.is_some() { TAG_LEN } else { 0 }
    }

    /// Seals in place: the ciphertext and the tag behind it.
    pub(super) fn seal(&self, counter: u64, bound: &[u8], bytes: &mut Vec<u8>) {
        if let Some(cipher) = &self.cipher {
            let tag = cipher
                .encrypt_inout_detached(&Nonce::from(nonce(counter)), bound, bytes.as_mut_slice().into())
                .expect("a block is far below the cipher's limit");
            bytes.extend_from_slice(&tag);
        }
    }

    /// Opens what [`Self::seal`] sealed.
    pub(super) fn open(&self, counter: u64, bound: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let mut bytes = Zeroizing::new(Vec::new());
        self.open_into(counter, bound, sealed, &mut bytes)?;
        Ok(bytes)
    }

    /// The same into a buffer, whose memory is used again. After an error what is in it means nothing.
    pub(super) fn open_into(
        &self,
        counter: u64,
        bound: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let Some(cipher) = &self.cipher else {
            out.clear();
            out.extend_from_slice(sealed);
            return Ok(());
        };
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(SealError::DoesNotOpen)?;
        out.resize(body.len(), 0);
        let buffer = InOutBuf::new(body, out).map_err(|_| SealError::DoesNotOpen)?;
        cipher
            .decrypt_inout_detached(&Nonce::from(nonce(counter)), bound, buffer, &Tag::from(*tag))
            .map_err(|_| SealError::DoesNotOpen)
    }
}

/// Seals what lies in a temporary file, under a key that this process alone has and forgets.
#[derive(Debug)]
pub struct ScratchKey(DataKey);

impl ScratchKey {
    /// A fresh key.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn new() -> Result<Self, SealError> {
        let key = Zeroizing::new(random_bytes()?);
        Ok(Self(DataKey::new(&key)))
    }

    /// Bytes that sealing adds.
    pub const OVERHEAD: usize = TAG_LEN;

    /// Seals in place. Each number is used once.
    pub fn seal(&self, number: u64, bytes: &mut Vec<u8>) {
        self.0.seal(number, b"", bytes);
    }

    /// Opens what was sealed under that number, into a buffer.
    ///
    /// # Errors
    /// If it is not that.
    pub fn open(&self, number: u64, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.0.open_into(number, b"", sealed, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_what_was_sealed() {
        let key = DataKey::new(&[9; 32]);
        let counter = key.take_nonce();
        let mut bytes = b"some plain bytes".to_vec();
        key.seal(counter, b"bound", &mut bytes);
        assert_eq!(bytes.len(), 16 + TAG_LEN);
        assert_eq!(key.open(counter, b"bound", &bytes).unwrap().as_slice(), b"some plain bytes");
        assert!(key.open(counter + 1, b"bound", &bytes).is_err());
        assert!(key.open(counter, b"other", &bytes).is_err());
        assert!(DataKey::new(&[8; 32]).open(counter, b"bound", &bytes).is_err());
        for mut used in [vec![7; 3], vec![7; 300]] {
            key.open_into(counter, b"bound", &bytes, &mut used).unwrap();
            assert_eq!(used, b"some plain bytes");
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(key.open(counter, b"bound", &bad).is_err());
        }
        assert_ne!(key.take_nonce(), counter);
    }
}
