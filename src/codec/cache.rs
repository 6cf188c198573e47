//! Sealing of the capture cache: segments under a key of the file's own.

use crate::format::DecodeError;

use super::block::BlockError;
use super::compress::{Effort, compress, decompress};
use super::hash::IdKeys;
use super::seal::DataKey;

/// Seals or opens the segments of one cache file.
#[derive(Debug)]
pub struct CacheKey(DataKey);

const BOUND: &[u8] = b"larder capture cache segment";

impl CacheKey {
    /// The key of a cache file with this salt, which is random and used for one file only.
    #[must_use]
    pub fn new(ids: &IdKeys, salt: &[u8; 16]) -> Self {
        Self(DataKey::new(&ids.cache_file_key(salt)))
    }

    /// Seals a segment; `number` is its place in the file, used once.
    ///
    /// # Errors
    /// If it cannot be compressed.
    pub fn seal(&self, number: u64, plain: &[u8]) -> Result<Vec<u8>, BlockError> {
        let len = u32::try_from(plain.len()).map_err(|_| DecodeError::malformed("cache segment", "too long"))?;
        let mut bytes = compress(plain, Effort::level(1))?;
        bytes.extend_from_slice(&len.to_le_bytes());
        self.0.seal(number, BOUND, &mut bytes);
        Ok(bytes)
    }

    /// Opens a segment.
    ///
    /// # Errors
    /// If it is not what was sealed at that place.
    pub fn open(&self, number: u64, sealed: &[u8]) -> Result<Vec<u8>, BlockError> {
        let bytes = self.0.open(number, BOUND, sealed)?;
        let short = || DecodeError::malformed("cache segment", "too short");
        let (frame, len) = bytes.split_last_chunk::<4>().ok_or_else(short)?;
        let len = u32::from_le_bytes(*len) as usize;
        if len > 64 << 20 {
            return Err(DecodeError::malformed("cache segment", "too long").into());
        }
        Ok(decompress(frame, len)?)
    }
}
