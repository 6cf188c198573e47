//! Records of the capture cache. Their form is private to the version that wrote them (section 17).

use super::encoding::{DecodeError, encoded, from_bytes, to_bytes};
use crate::model::{Digest, Entry, StoreId, Timestamp};

/// How the host identified an item when it was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostMark {
    /// Last change of content or metadata.
    pub ctime: Timestamp,
    /// Device.
    pub dev: (u32, u32),
    /// Inode.
    pub ino: u64,
}
encoded!(HostMark { ctime, dev, ino });

/// A record of the capture cache, in the order of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// 0: an item; 1: the folder entered last is done; an item that is a folder is followed by its items and a 1.
    pub leave: bool,
    /// The item's mark and entry.
    pub item: Option<(HostMark, Entry)>,
}

impl bincode::Encode for CacheRecord {
    fn encode<E: bincode::enc::Encoder>(&self, e: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.leave.encode(e)?;
        self.item.encode(e)
    }
}

impl bincode::Decode<()> for CacheRecord {
    fn decode<D: bincode::de::Decoder<Context = ()>>(d: &mut D) -> Result<Self, bincode::error::DecodeError> {
        Ok(Self { leave: bincode::Decode::decode(d)?, item: bincode::Decode::decode(d)? })
    }
}

/// What a cache file was made after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheHead {
    /// Program version that wrote it.
    pub program: String,
    /// Store.
    pub store: StoreId,
    /// Sequence of the snapshot it describes.
    pub sequence: u64,
    /// Hash of that log entry.
    pub log_hash: Digest,
    /// gc generation then.
    pub gc_generation: u64,
}
encoded!(CacheHead { program, store, sequence, log_hash, gc_generation });

impl CacheHead {
    /// The encoded form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Decodes it.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        from_bytes(bytes, "cache head")
    }
}
