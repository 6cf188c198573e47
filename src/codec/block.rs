//! Sections 7.4 and 10: building and opening blocks and sealed values.

use std::cell::RefCell;
use std::ops::Range;

use crate::format::{BlockHeader, BlockKind, BlockTable, Codec, DecodeError, MAX_BLOCK, SealedHeader};
use crate::model::{Digest, EpochId};

use super::compress::{CompressError, Effort, compress, decompress_into};
use super::hash::digest;
use super::lines::{self, LinesError};
use super::seal::{Class, DataKey, SealError};
use super::spare::Bytes;

/// A block that could not be built or opened.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Its bytes make no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It does not decompress.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// What was written does not read back the same: the machine's memory or processor is at fault.
    #[error("a block did not read back as it was written: this machine's memory or processor makes mistakes")]
    ReadBack,
}

/// A finished block.
#[derive(Debug)]
pub struct SealedBlock {
    /// The value to store.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
}

/// An opened block.
#[derive(Debug)]
pub struct OpenBlock {
    /// Plain content: the items one behind the other.
    pub content: Bytes,
    /// Where each item ends.
    pub ends: Vec<u32>,
}

impl OpenBlock {
    /// An item's bytes.
    #[must_use]
    pub fn item(&self, ordinal: u32) -> Option<&[u8]> {
        self.content.get(self.range(ordinal)?)
    }

    /// Where an item's bytes are in the content.
    #[must_use]
    pub fn range(&self, ordinal: u32) -> Option<Range<usize>> {
        let at = ordinal as usize;
        let end = *self.ends.get(at)? as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        Some(start..end)
    }

    /// How many items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

fn bound(header: &BlockHeader, part: u8) -> Vec<u8> {
    let mut bound = header.to_bytes().to_vec();
    bound.push(part);
    bound
}

/// The class of a block's content.
fn content_class(kind: BlockKind) -> Class {
    if kind == BlockKind::Data { Class::Chunk } else { Class::Page }
}

/// Compresses and seals items into a block. With `check`, opens it again and compares.
///
/// `content` holds the items one behind the other, `items` their lengths; `page` and `chunk` are the epoch's keys. `derived`: which items are
/// known to be the index of the lines before them.
///
/// # Errors
/// If zstd fails or the check does.
pub fn seal_block(
    kind: BlockKind,
    epoch: EpochId,
    (page, chunk): (&DataKey, &DataKey),
    content: &[u8],
    (items, derived): (Vec<u32>, &[u32]),
    effort: Effort,
    check: bool,
) -> Result<SealedBlock, BlockError> {
    let of_lines =
        if kind == BlockKind::Data && lines::is_lines(content) { lines::pack(content, &items, derived)? } else { None };
    let (codec, packed) = match of_lines {
        Some(packed) => (Codec::Lines, packed),
        None => (Codec::Zstd, compress(content, effort)?),
    };
    // Not worth a decoder's time below 3 %.
    let (codec, mut body) = if packed.len() < content.len() - content.len() / 32 {
        (codec, packed)
    } else {
        (Codec::Raw, content.to_vec())
    };
    let length = u32::try_from(content.len()).map_err(|_| DecodeError::malformed("block", "too long"))?;
    let table = BlockTable { codec, dictionary: 0, padding: 0, length, items, ext: Vec::new() };
    let mut table_bytes = table.to_bytes();
    let content_key = if content_class(kind) == Class::Chunk { chunk } else { page };
    let header = BlockHeader {
        kind,
        cipher: page.cipher(),
        epoch,
        table_nonce: page.take_nonce(),
        content_nonce: content_key.take_nonce(),
        table_len: u32::try_from(table_bytes.len() + page.overhead()).unwrap_or(u32::MAX),
        content_len: u32::try_from(body.len() + content_key.overhead()).unwrap_or(u32::MAX),
    };
    page.seal(header.table_nonce, &bound(&header, 1), &mut table_bytes);
    content_key.seal(header.content_nonce, &bound(&header, 2), &mut body);
    let mut bytes = Vec::with_capacity(crate::format::BLOCK_HEADER_LEN + table_bytes.len() + body.len());
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(&table_bytes);
    bytes.extend_from_slice(&body);
    if check {
        let opened = open_block(&bytes, Some(page), Some(content_key))?;
        if *opened.content != *content || opened.ends.len() != table.items.len() {
            return Err(BlockError::ReadBack);
        }
    }
    let digest = digest(&bytes);
    Ok(SealedBlock { bytes, digest })
}

/// Opens a block's table.
///
/// # Errors
/// If it is malformed, damaged, or `page` is not its key.
pub fn open_table(block: &[u8], page: &DataKey) -> Result<(BlockHeader, BlockTable), BlockError> {
    let (header, table, _) = BlockHeader::parse(block)?;
    if header.cipher != page.cipher() {
        return Err(SealError::DoesNotOpen.into());
    }
    let table = page.open(header.table_nonce, &bound(&header, 1), table)?;
    Ok((header, BlockTable::from_bytes(&table)?))
}

/// Opens a block: `page` is its epoch's page key, `content` the key of its content's class.
///
/// # Errors
/// If it is malformed or damaged, or a key is missing or wrong.
pub fn open_block(block: &[u8], page: Option<&DataKey>, content: Option<&DataKey>) -> Result<OpenBlock, BlockError> {
    let (page, key) = (page.ok_or(SealError::DoesNotOpen)?, content.ok_or(SealError::DoesNotOpen)?);
    let (header, table) = open_table(block, page)?;
    let (_, _, sealed) = BlockHeader::parse(block)?;
    let content = BODY.with_borrow_mut(|body| {
        key.open_into(header.content_nonce, &bound(&header, 2), sealed, body)?;
        let content = unpacked(body, &table);
        if body.len() > BODY_KEPT {
            *body = Vec::new();
        }
        content
    })?;
    let mut end = 0;
    let ends = table
        .items
        .iter()
        .map(|len| {
            end += len;
            end
        })
        .collect();
    Ok(OpenBlock { content, ends })
}

thread_local! {
    /// Where a block is opened before it is unpacked. Used again: memory that is new to a process costs more than what is done there.
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes of a body beyond which its memory is given back: nearly all blocks have fewer.
const BODY_KEPT: usize = 4 << 20;

/// The content in an opened block.
fn unpacked(body: &[u8], table: &BlockTable) -> Result<Bytes, BlockError> {
    let body = body.len().checked_sub(table.padding as usize).map(|len| &body[..len]);
    let body = body.ok_or_else(|| DecodeError::malformed("block", "more padding than content"))?;
    let length = table.length as usize;
    debug_assert!(length <= MAX_BLOCK);
    let mut content = Bytes::with_capacity(length);
    match table.codec {
        Codec::Raw if body.len() == length => content.as_mut().extend_from_slice(body),
        Codec::Raw => return Err(DecodeError::malformed("block", "content of another length").into()),
        Codec::Zstd => decompress_into(body, length, content.as_mut())?,
        Codec::Lines => lines::unpack(body, &table.items, content.as_mut()).map_err(|e| match e {
            LinesError::Decode(e) => BlockError::from(e),
            LinesError::Compress(e) => BlockError::from(e),
        })?,
    }
    Ok(content)
}

fn value_bound(header: &SealedHeader, family: &str, key: &[u8]) -> Vec<u8> {
    [&header.to_bytes()[..], family.as_bytes(), &[0], key].concat()
}

/// Seals a small value under a page key, bound to its row.
#[must_use]
pub fn seal_value(epoch: EpochId, page: &DataKey, family: &str, key: &[u8], plain: &[u8]) -> Vec<u8> {
    let header = SealedHeader { cipher: page.cipher(), epoch, nonce: page.take_nonce() };
    let mut sealed = plain.to_vec();
    page.seal(header.nonce, &value_bound(&header, family, key), &mut sealed);
    [&header.to_bytes()[..], &sealed].concat()
}

/// Opens a small value.
///
/// # Errors
/// If it is malformed, damaged, or `page` is not its key.
pub fn open_value(
    value: &[u8],
    page: &DataKey,
    family: &str,
    key: &[u8],
) -> Result<zeroize::Zeroizing<Vec<u8>>, BlockError> {
    let (header, sealed) = SealedHeader::parse(value)?;
    if header.cipher != page.cipher() {
        return Err(SealError::DoesNotOpen.into());
    }
    Ok(page.open(header.nonce, &value_bound(&header, family, key), sealed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (DataKey, DataKey) {
        (DataKey::new(&[1; 32]), DataKey::new(&[2; 32]))
    }

    #[test]
    fn round_trip_and_every_flipped_byte() {
        let (page, chunk) = keys();
        let epoch = EpochId::from_bytes([3; 16]);
        let content = b"hello hello hello hello hello hello hello!".repeat(3);
        for kind in [BlockKind::Data, BlockKind::Tree] {
            let items = vec![6, u32::try_from(content.len()).unwrap() - 6];
            let block = seal_block(kind, epoch, (&page, &chunk), &content, (items, &[]), Effort::USUAL, true).unwrap();
            let key = if kind == BlockKind::Data { &chunk } else { &page };
            let open = open_block(&block.bytes, Some(&page), Some(key)).unwrap();
            assert_eq!(open.item(0), Some(&b"hello "[..]));
            assert_eq!(open.item(1).map(<[u8]>::len), Some(content.len() - 6));
            assert_eq!(open.item(2), None);
            for at in 0..block.bytes.len() {
                let mut bad = block.bytes.clone();
                bad[at] ^= 0x20;
                assert!(open_block(&bad, Some(&page), Some(key)).is_err(), "byte {at}");
                assert_ne!(digest(&bad), block.digest);
            }
            for len in 0..block.bytes.len() {
                assert!(open_block(&block.bytes[..len], Some(&page), Some(key)).is_err());
            }
        }
    }

    #[test]
    fn a_catalog_key_opens_the_table_but_not_the_content() {
        let (page, chunk) = keys();
        let block = seal_block(
            BlockKind::Data,
            EpochId::from_bytes([0; 16]),
            (&page, &chunk),
            b"content",
            (vec![7], &[]),
            Effort::USUAL,
            false,
        )
        .unwrap();
        assert!(open_table(&block.bytes, &page).is_ok());
        assert!(open_block(&block.bytes, Some(&page), None).is_err());
        assert!(open_block(&block.bytes, Some(&page), Some(&page)).is_err());
    }

    #[test]
    fn values_are_bound_to_their_row() {
        let (page, _) = keys();
        let sealed = seal_value(EpochId::from_bytes([0; 16]), &page, "manifests", b"key", b"plain");
        assert_eq!(open_value(&sealed, &page, "manifests", b"key").unwrap().as_slice(), b"plain");
        assert!(open_value(&sealed, &page, "manifests", b"kez").is_err());
        assert!(open_value(&sealed, &page, "datasets", b"key").is_err());
    }
}
