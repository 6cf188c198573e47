//! Section 9: column families and their keys.

use super::block::BlockKind;
use super::{DecodeError, ID_PREFIX_LEN};
use crate::model::Digest;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Copies of plain files, canary, gc generation.
    Default,
    /// Epoch records.
    Epochs,
    /// Blocks of chunks.
    Data,
    /// Blocks of pages.
    Tree,
    /// Digests of blocks.
    Sums,
    /// Chunk index.
    Chunks,
    /// Page index.
    Pages,
    /// Sealed manifests.
    Manifests,
    /// Arrival log.
    Log,
    /// Dataset records.
    Datasets,
    /// Reserved: record indexes.
    Records,
    /// Packs that were written.
    Digests,
    /// Reserved: verification ledger.
    Ledger,
}

impl Family {
    /// All of them, as init makes them.
    pub const ALL: [Self; 13] = [
        Self::Default,
        Self::Epochs,
        Self::Data,
        Self::Tree,
        Self::Sums,
        Self::Chunks,
        Self::Pages,
        Self::Manifests,
        Self::Log,
        Self::Datasets,
        Self::Records,
        Self::Digests,
        Self::Ledger,
    ];

    /// Its name in RocksDB.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Epochs => "epochs",
            Self::Data => "data",
            Self::Tree => "tree",
            Self::Sums => "sums",
            Self::Chunks => "chunks",
            Self::Pages => "pages",
            Self::Manifests => "manifests",
            Self::Log => "log",
            Self::Datasets => "datasets",
            Self::Records => "records",
            Self::Digests => "digests",
            Self::Ledger => "ledger",
        }
    }

    /// How far the number of a row may be from the one before it (section 9.1): more than were ever lost or removed in a row.
    #[must_use]
    pub const fn reach(self) -> u64 {
        match self {
            Self::Log => 1 << 18,
            Self::Data | Self::Tree | Self::Sums => 1 << 40,
            _ => u64::MAX,
        }
    }
}

/// Key of a row named by a number (block, sequence): big endian, so that rows sort by it.
#[must_use]
pub const fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Key of an index row: the first bytes of the id.
#[must_use]
pub fn index_key(id: &[u8; 32]) -> [u8; ID_PREFIX_LEN] {
    let mut key = [0; ID_PREFIX_LEN];
    key.copy_from_slice(&id[..ID_PREFIX_LEN]);
    key
}

/// Value of a row in `sums`.
#[must_use]
pub fn sum_key_value(kind: BlockKind, digest: &Digest) -> [u8; 33] {
    let mut value = [0; 33];
    value[0] = kind.number();
    value[1..].copy_from_slice(digest.as_bytes());
    value
}

/// The parts of a row in `sums`.
///
/// # Errors
/// If the row is malformed.
pub fn sum_parts(value: &[u8]) -> Result<(BlockKind, Digest), DecodeError> {
    let malformed = || DecodeError::malformed("block digest", "wrong length or kind");
    let (kind, digest) = value.split_first().ok_or_else(malformed)?;
    let kind = BlockKind::from_number(*kind).ok_or_else(malformed)?;
    Ok((kind, Digest::from_slice(digest).ok_or_else(malformed)?))
}
