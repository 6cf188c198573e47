//! Bytes to bytes: cutting, hashing, compressing, sealing, wrapping keys. Knows no store.
//!
//! `hash` is the one door to BLAKE3 and CRC-32, `cut` to the chunker, `compress` to zstd, `gzip` to deflate, `legacy` to xz and bzip2, `seal` to the AEAD, `wrap`,
//! `identity` and `sealed_stream` to age.

mod block;
mod cache;
mod compress;
mod cut;
mod frames;
mod gzip;
mod hash;
mod identity;
mod legacy;
mod lines;
mod parts;
mod password;
mod scan;
mod seal;
mod sealed_stream;
mod sha256;
mod spare;
mod spill;
mod voucher;
mod wrap;
mod zeros;

pub use block::{BlockError, OpenBlock, SealedBlock, open_block, open_table, open_value, seal_block, seal_value};
pub use cache::CacheKey;
pub use compress::{CompressError, Effort, FrameReader, FrameWriter, SeekableWriter, compress_frame};
pub use cut::Cutter;
pub use frames::{Frames, FramesReader};
pub use gzip::{DEFLATE_WINDOW, GzipReader, GzipWriter, deflate_part, deflate_whole};
pub use hash::{
    Authority, ContentDigest, ContentHash, ContentSum, Crc32, IdKeys, MacLabel, commit_to_record, commitment, digest,
    public_id_key, public_seed,
};
pub use identity::{Identity, generate_identity, parse_identities, recipient_of, unwrap};
pub use legacy::{Bzip2Reader, XzReader};
pub use lines::{behind_member, index_lines, line_members, member_text};
pub use password::{Password, PasswordError, PasswordReader, PasswordWriter};
pub use seal::{Class, DataKey, ScratchKey, SealError, random_bytes};
pub use sealed_stream::{AgeForm, SealReader, SealWriter, Sealed, age_form, unarmoured_stream};
pub use sha256::Sha256;
pub use spare::Bytes;
pub use spill::SpillKey;
pub use voucher::{SigningKey, VoucherKey};
pub use wrap::{
    Passphrase, Prompt, Recipient, StoreIdentity, WrapError, armoured, is_empty_passphrase, is_passphrase_file,
    parse_recipient, same_passphrase, unarmoured, wrap, wrap_to_store,
};
pub use zeros::zeros;
