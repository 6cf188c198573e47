//! Bytes to bytes: cutting, hashing, compressing, sealing, wrapping keys. Knows no store.
//!
//! `hash` is the one door to BLAKE3 and CRC-32, `cut` to the chunker, `compress` to zstd, `seal` to the AEAD, `wrap` and `identity` to age.

mod block;
mod cache;
mod compress;
mod cut;
mod hash;
mod identity;
mod seal;
mod sha256;
mod spare;
mod spill;
mod voucher;
mod wrap;

pub use block::{BlockError, OpenBlock, SealedBlock, open_block, open_table, open_value, seal_block, seal_value};
pub use cache::CacheKey;
pub use compress::{CompressError, Effort, FrameReader, FrameWriter};
pub use cut::Cutter;
pub use hash::{
    Authority, ContentDigest, ContentHash, ContentSum, IdKeys, MacLabel, commitment, digest, public_id_key, public_seed,
};
pub use identity::{Identity, generate_identity, parse_identities, recipient_of, unwrap};
pub use seal::{Class, DataKey, SealError, random_bytes};
pub use sha256::Sha256;
pub use spare::Bytes;
pub use spill::SpillKey;
pub use voucher::VoucherKey;
pub use wrap::{
    Passphrase, Prompt, Recipient, StoreIdentity, WrapError, armoured, is_empty_passphrase, is_passphrase_file,
    parse_recipient, same_passphrase, unarmoured, wrap, wrap_to_store,
};
