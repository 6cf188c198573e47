//! Sections 7.1, 7.2 and 15: key records, epoch records, log entries, dataset records.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};
use zeroize::Zeroize;

use super::encoding::{DecodeError, decode_ext, encoded_byte, from_bytes, invalid, to_bytes};
use crate::model::{DatasetRecord, EpochId, Ext, KeyName, LogEntry, LogKind, Role, StoreId};

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

macro_rules! versioned {
    ($type:ty, $what:literal { $($field:ident),* $(,)? }) => {
        impl Encode for $type {
            fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
                One.encode(e)?;
                $(self.$field.encode(e)?;)*
                self.ext.encode(e)
            }
        }
        impl<C> Decode<C> for $type {
            fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
                One::decode(d)?;
                Ok(Self { $($field: Decode::decode(d)?,)* ext: decode_ext(d)? })
            }
        }
        impl $type {
            /// The encoded form.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                to_bytes(self)
            }

            /// Decodes it.
            ///
            /// # Errors
            /// If it is malformed or of an unknown version.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
                from_bytes(bytes, $what)
            }
        }
    };
}

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

encoded_byte!(LogKind, "kind of log entry" { Snapshot = 1, Forget = 2, Hold = 3, Policy = 4, KeyChange = 5 });
versioned!(LogEntry, "log entry" { kind, sequence, arrival, dataset, manifest, previous, writer });
versioned!(DatasetRecord, "dataset record" { head, manifest, count, name });
