//! Values to bytes and back. The only code that knows offsets; it mirrors `store-format.md` section by section:
//! `encoding` is section 5, `header` 8, `keyspace` 9, `block` 10 and 11, `page` 12, `entry` 13, `manifest` 14, `records` 7 and 15, `keys` what they have
//! in their extensions, `details` 15.3.

mod block;
mod cache;
mod details;
mod encoding;
mod entry;
mod header;
mod keys;
mod keyspace;
mod manifest;
mod page;
mod records;

pub use block::{BlockHeader, BlockKind, BlockTable, Cipher, Codec, LinesHead, Place, SealedHeader};
pub use cache::{CacheHead, CacheRecord, HostMark};
pub use details::{DETAIL, loss_proof, void_entries, void_ext};
pub use encoding::{DecodeError, from_bytes, join_mac, split_mac, to_bytes};
pub use entry::{chunk_list_fits, decode_xattrs, encode_xattrs, encoded_entry_len, hole_list_fits, xattrs_fit};
pub use header::{Header, HeaderError, Tip};
pub use keys::{
    epoch_ext, epoch_proof, epoch_purpose, epoch_role, former_keys, initial_keys, key_change_ext, key_record_ext,
    signing_key_of, tokens_of,
};
pub use keyspace::{Family, index_key, number_key, sum_key_value, sum_parts};
pub use manifest::{decode_manifest, records_of, sums_fit};
pub use page::{Child, Page, PageItem, PageItems, PageKind};
pub use records::{EpochRecord, KeyRecord, LEDGER_BLOCKS, LedgerRow, Looks, PackRow};

/// Header version that this program writes and the newest it opens.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of a header.
pub const HEADER_LEN: usize = 160;
/// Bytes of a tip.
pub const TIP_LEN: usize = 80;
/// Bytes of a block before its table.
pub const BLOCK_HEADER_LEN: usize = 48;
/// Bytes of a sealed value before the sealed part.
pub const SEALED_HEADER_LEN: usize = 28;
/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;
/// Bytes of an entry's name.
pub const MAX_NAME: usize = 255;
/// Bytes of a symlink's target.
pub const MAX_SYMLINK: usize = 4095;
/// Bytes of an encoded page.
pub const MAX_PAGE: usize = 65_536;
/// Bytes of the items of a page.
pub const MAX_PAGE_ITEMS_BYTES: usize = 65_024;
/// Bytes of an encoded entry.
pub const MAX_ENTRY: usize = 8192;
/// Bytes of an inline chunk list or hole map.
pub const MAX_INLINE_LIST: usize = 1024;
/// Bytes of inline xattrs.
pub const MAX_INLINE_XATTRS: usize = 512;
/// Bytes of an inline long value.
pub const MAX_INLINE_VALUE: usize = 4096;
/// Highest level of a page.
pub const MAX_LEVEL: u8 = 16;
/// Entries at any depth that a folder may count.
pub const MAX_TOTAL: u64 = u64::MAX >> 1;
/// Bytes of a chunk.
pub const MAX_CHUNK: usize = 16 << 20;
/// Bytes of the plain content of a block.
pub const MAX_BLOCK: usize = 32 << 20;
/// Items of a block.
pub const MAX_BLOCK_ITEMS: usize = 65_536;
/// Bytes of an encoded manifest.
pub const MAX_MANIFEST: usize = 16 << 20;
/// Bytes of the encoded xattrs of an entry.
pub const MAX_XATTRS: usize = 16 << 20;
/// Bytes of an id in an index key.
pub const ID_PREFIX_LEN: usize = 16;
/// Smallest chunk that init asks for.
pub const CHUNK_MIN: u32 = 128 << 10;
/// Average chunk that init asks for.
pub const CHUNK_AVG: u32 = 256 << 10;
/// Largest chunk that init asks for.
pub const CHUNK_MAX: u32 = 1 << 20;
/// Page boundary mask that init asks for: one key in 64 ends a page.
pub const PAGE_MASK: u32 = 63;
/// Children before a boundary is tested.
pub const PAGE_MIN: u32 = 16;

/// The constants by name, as the table of section 19 lists them.
pub const CONSTANTS: &[(&str, u64)] = &[
    ("FORMAT_VERSION", FORMAT_VERSION as u64),
    ("HEADER_LEN", HEADER_LEN as u64),
    ("TIP_LEN", TIP_LEN as u64),
    ("BLOCK_HEADER_LEN", BLOCK_HEADER_LEN as u64),
    ("SEALED_HEADER_LEN", SEALED_HEADER_LEN as u64),
    ("TAG_LEN", TAG_LEN as u64),
    ("MAX_NAME", MAX_NAME as u64),
    ("MAX_SYMLINK", MAX_SYMLINK as u64),
    ("MAX_PAGE", MAX_PAGE as u64),
    ("MAX_PAGE_ITEMS_BYTES", MAX_PAGE_ITEMS_BYTES as u64),
    ("MAX_ENTRY", MAX_ENTRY as u64),
    ("MAX_INLINE_LIST", MAX_INLINE_LIST as u64),
    ("MAX_INLINE_XATTRS", MAX_INLINE_XATTRS as u64),
    ("MAX_INLINE_VALUE", MAX_INLINE_VALUE as u64),
    ("MAX_LEVEL", MAX_LEVEL as u64),
    ("MAX_TOTAL", MAX_TOTAL),
    ("MAX_CHUNK", MAX_CHUNK as u64),
    ("MAX_BLOCK", MAX_BLOCK as u64),
    ("MAX_BLOCK_ITEMS", MAX_BLOCK_ITEMS as u64),
    ("MAX_MANIFEST", MAX_MANIFEST as u64),
    ("MAX_XATTRS", MAX_XATTRS as u64),
    ("ID_PREFIX_LEN", ID_PREFIX_LEN as u64),
    ("CHUNK_MIN", CHUNK_MIN as u64),
    ("CHUNK_AVG", CHUNK_AVG as u64),
    ("CHUNK_MAX", CHUNK_MAX as u64),
    ("PAGE_MASK", PAGE_MASK as u64),
    ("PAGE_MIN", PAGE_MIN as u64),
    ("LEDGER_BLOCKS", LEDGER_BLOCKS),
];
