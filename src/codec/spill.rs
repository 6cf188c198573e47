//! Sealing of what is too much for memory and lies in a temporary file meanwhile: under a key that only this process ever has.

use super::block::BlockError;
use super::compress::{Effort, compress, decompress};
use super::seal::{DataKey, SealError, random_bytes};
use crate::format::DecodeError;

const BOUND: &[u8] = b"larder spill segment";

/// Seals and opens the segments of temporary files.
#[derive(Debug)]
pub struct SpillKey(DataKey);

impl SpillKey {
    /// A fresh key.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn new() -> Result<Self, SealError> {
        let key = zeroize::Zeroizing::new(random_bytes()?);
        Ok(Self(DataKey::new(&key)))
    }

    /// Compresses and seals a segment. `number`: none of this key's others has it.
    ///
    /// # Errors
    /// If it cannot be compressed.
    pub fn seal(&self, number: u64, plain: &[u8]) -> Result<Vec<u8>, BlockError> {
        let mut bytes = compress(plain, Effort::FLEETING)?;
        self.0.seal(number, BOUND, &mut bytes);
        Ok(bytes)
    }

    /// Opens a segment of so many plain bytes.
    ///
    /// # Errors
    /// If it is not what was sealed under that number.
    pub fn open(&self, number: u64, len: usize, sealed: &[u8]) -> Result<Vec<u8>, BlockError> {
        let bytes = self.0.open(number, BOUND, sealed)?;
        if len > 1 << 30 {
            return Err(DecodeError::malformed("spill segment", "too long").into());
        }
        Ok(decompress(&bytes, len)?)
    }
}
