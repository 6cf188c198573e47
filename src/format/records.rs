//! Sections 7.1, 7.2, 11.1, 11.2 and 15: key records, epoch records, rows of the ledger and of `digests`, log entries, dataset records.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};
use zeroize::Zeroize;

use super::encoding::{encoded, encoded_byte, invalid};
use crate::model::{DatasetRecord, EpochId, Ext, KeyName, LogEntry, LogKind, Role, SnapshotId, StoreId};

/// The plaintext of a key object. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Store it belongs to.
    pub store: StoreId,
    /// Its name.
    pub name: KeyName,
    /// What its holder may do.
    pub role: Role,
    /// Id key.
    pub id_key: [u8; 32],
    /// Chunker seed.
    pub chunker_seed: [u8; 32],
    /// Recipient of the page class.
    pub page_recipient: String,
    /// Recipient of the chunk class.
    pub chunk_recipient: String,
    /// Identities of the page class, newest first.
    pub page_identities: Vec<String>,
    /// Identities of the chunk class, newest first.
    pub chunk_identities: Vec<String>,
    /// What later versions add.
    pub ext: Ext,
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRecord({} {}, secrets not shown)", self.name, self.role.as_str())
    }
}

impl Drop for KeyRecord {
    fn drop(&mut self) {
        self.id_key.zeroize();
        self.chunker_seed.zeroize();
        self.page_identities.zeroize();
        self.chunk_identities.zeroize();
        // Its tokens.
        self.ext.iter_mut().for_each(|(_, bytes)| bytes.zeroize());
    }
}

/// A version byte that must be 1.
pub(super) struct One;

impl Encode for One {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        1u8.encode(e)
    }
}

impl<C> Decode<C> for One {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        match <u8 as Decode<C>>::decode(d)? {
            1 => Ok(Self),
            other => Err(invalid(format!("version {other}, made by a newer Larder"))),
        }
    }
}

/// Implements encoding for a struct with a version before and an `ext` behind its fields.
macro_rules! versioned {
    ($type:ty, $what:literal { $($field:ident),* $(,)? }) => {
        impl bincode::Encode for $type {
            fn encode<E: bincode::enc::Encoder>(&self, e: &mut E) -> Result<(), bincode::error::EncodeError> {
                bincode::Encode::encode(&$crate::format::records::One, e)?;
                $(bincode::Encode::encode(&self.$field, e)?;)*
                bincode::Encode::encode(&self.ext, e)
            }
        }
        impl<C> bincode::Decode<C> for $type {
            fn decode<D: bincode::de::Decoder<Context = C>>(d: &mut D) -> Result<Self, bincode::error::DecodeError> {
                <$crate::format::records::One as bincode::Decode<C>>::decode(d)?;
                Ok(Self { $($field: bincode::Decode::decode(d)?,)* ext: $crate::format::encoding::decode_ext(d)? })
            }
        }
        impl $type {
            /// The encoded form.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                $crate::format::to_bytes(self)
            }

            /// Decodes it.
            ///
            /// # Errors
            /// If it is malformed or of an unknown version.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, $crate::format::DecodeError> {
                $crate::format::from_bytes(bytes, $what)
            }
        }
    };
}
pub(super) use versioned;

encoded_byte!(Role, "role" { Writer = 1, Catalog = 2, Owner = 3 });
versioned!(KeyRecord, "key record" {
    store, name, role, id_key, chunker_seed, page_recipient, chunk_recipient, page_identities, chunk_identities,
});

/// The data keys of one writing run, wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRecord {
    /// Which epoch.
    pub epoch: EpochId,
    /// Key whose holder wrote.
    pub writer: KeyName,
    /// Page key in an age file; empty in an unencrypted store.
    pub page_key: Vec<u8>,
    /// Chunk key in an age file; empty in an unencrypted store.
    pub chunk_key: Vec<u8>,
    /// What later versions add.
    pub ext: Ext,
}
versioned!(EpochRecord, "epoch record" { epoch, writer, page_key, chunk_key });

encoded_byte!(LogKind, "kind of log entry" { Snapshot = 1, Forget = 2, Hold = 3, Policy = 4, KeyChange = 5, Loss = 6 });
versioned!(LogEntry, "log entry" { kind, sequence, arrival, dataset, manifest, previous, writer });
versioned!(DatasetRecord, "dataset record" { head, manifest, count, name });

/// Block numbers that one row of the ledger is about.
pub const LEDGER_BLOCKS: u64 = 4096;

/// When blocks were looked at, in seconds since 1970; 0 for never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looks {
    /// When their sealed bytes were compared with their digests.
    pub compared: u64,
    /// When they were opened and the id of each item made anew.
    pub opened: u64,
}
encoded!(Looks { compared, opened });

/// A row of the ledger: from the row's first block on, so many blocks and when they were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Runs of blocks.
    pub runs: Vec<(u32, Looks)>,
    /// What later versions add.
    pub ext: Ext,
}
versioned!(LedgerRow, "ledger row" { runs });

/// A row of `digests`: a pack that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    /// When, in seconds since 1970.
    pub written: u64,
    /// Keyed hash of the name of its file; zeros if it had none.
    pub file: [u8; 16],
    /// What is in it, in its order.
    pub snapshots: Vec<SnapshotId>,
    /// What later versions add.
    pub ext: Ext,
}
versioned!(PackRow, "pack row" { written, file, snapshots });
