//! Sections 7.4, 10 and 11: blocks, sealed values, places.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};

use super::encoding::{DecodeError, decode_ext, encoded_byte, from_bytes, invalid, to_bytes};
use super::{BLOCK_HEADER_LEN, MAX_BLOCK, MAX_BLOCK_ITEMS, MAX_CHUNK, SEALED_HEADER_LEN};
use crate::model::{EpochId, Ext};

const MAGIC: [u8; 4] = *b"LBK1";

/// How data is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// Not at all: an unencrypted store.
    None,
    /// AES-256-GCM.
    Aes256Gcm,
}

impl Cipher {
    /// Its number on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Aes256Gcm => 1,
        }
    }

    /// The cipher with that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Chunks.
    Data,
    /// Pages.
    Tree,
    /// The epoch record of the blocks behind it.
    EpochNote,
}

impl BlockKind {
    /// Its number on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Tree => 2,
            Self::EpochNote => 3,
        }
    }

    /// The kind with that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Data),
            2 => Some(Self::Tree),
            3 => Some(Self::EpochNote),
            _ => None,
        }
    }
}

/// The clear part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// What the block holds.
    pub kind: BlockKind,
    /// How it is sealed.
    pub cipher: Cipher,
    /// Under which epoch.
    pub epoch: EpochId,
    /// Nonce counter of the table.
    pub table_nonce: u64,
    /// Nonce counter of the content.
    pub content_nonce: u64,
    /// Bytes of the sealed table.
    pub table_len: u32,
    /// Bytes of the sealed content.
    pub content_len: u32,
}

impl BlockHeader {
    /// The 48 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BLOCK_HEADER_LEN] {
        let mut out = [0; BLOCK_HEADER_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = self.kind.number();
        out[5] = self.cipher.number();
        out[8..24].copy_from_slice(self.epoch.as_bytes());
        out[24..32].copy_from_slice(&self.table_nonce.to_le_bytes());
        out[32..40].copy_from_slice(&self.content_nonce.to_le_bytes());
        out[40..44].copy_from_slice(&self.table_len.to_le_bytes());
        out[44..48].copy_from_slice(&self.content_len.to_le_bytes());
        out
    }

    /// Parses a block's value into its header, sealed table and sealed content.
    ///
    /// # Errors
    /// If it is no block or its lengths do not add up.
    pub fn parse(block: &[u8]) -> Result<(Self, &[u8], &[u8]), DecodeError> {
        let bad = |why: &str| DecodeError::malformed("block", why);
        let (head, rest) = block.split_first_chunk::<BLOCK_HEADER_LEN>().ok_or_else(|| bad("it ends too early"))?;
        if head[..4] != MAGIC || head[6..8] != [0, 0] {
            return Err(bad("it does not begin like one"));
        }
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header = Self {
            kind: BlockKind::from_number(head[4]).ok_or_else(|| bad("unknown kind"))?,
            cipher: Cipher::from_number(head[5]).ok_or_else(|| bad("unknown cipher"))?,
            epoch: EpochId::from_slice(&head[8..24]).ok_or_else(|| bad("epoch"))?,
            table_nonce: u64_at(24),
            content_nonce: u64_at(32),
            table_len: u32_at(40),
            content_len: u32_at(44),
        };
        if header.table_len as usize + header.content_len as usize != rest.len() {
            return Err(bad("its lengths do not add up"));
        }
        let (table, content) = rest.split_at(header.table_len as usize);
        Ok((header, table, content))
    }
}

/// How a block's content is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Raw,
    /// One zstd frame.
    Zstd,
    /// Lines of records: text, what was taken out of it, what follows from it (section 10.1).
    Lines,
}
encoded_byte!(Codec, "codec" { Raw = 0, Zstd = 1, Lines = 2 });

/// What stands in front of the text of a block of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinesHead {
    /// Items that are the index of the item before, by their ordinals, and the file that they name.
    pub derived: Vec<(u32, Vec<u8>)>,
    /// Plain bytes of the text.
    pub text: u32,
    /// Bytes of the text's frame.
    pub frame: u32,
}
super::encoding::encoded!(LinesHead { derived, text, frame });

impl LinesHead {
    /// The encoded form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Decodes it.
    ///
    /// # Errors
    /// If it is malformed, or beyond what a block may be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let head: Self = from_bytes(bytes, "block of lines")?;
        if head.text as usize > MAX_BLOCK || !head.derived.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(DecodeError::malformed("block of lines", "impossible lengths"));
        }
        Ok(head)
    }
}

/// The sealed table of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTable {
    /// How the content is coded.
    pub codec: Codec,
    /// Dictionary, 0 for none.
    pub dictionary: u32,
    /// Bytes behind the coded content that do not count.
    pub padding: u32,
    /// Length of the plain content.
    pub length: u32,
    /// Length of each item.
    pub items: Vec<u32>,
    /// What later versions add.
    pub ext: Ext,
}

impl Encode for BlockTable {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.codec.encode(e)?;
        self.dictionary.encode(e)?;
        self.padding.encode(e)?;
        self.length.encode(e)?;
        self.items.encode(e)?;
        self.ext.encode(e)
    }
}

impl<C> Decode<C> for BlockTable {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        let table = Self {
            codec: Decode::decode(d)?,
            dictionary: Decode::decode(d)?,
            padding: Decode::decode(d)?,
            length: Decode::decode(d)?,
            items: Decode::decode(d)?,
            ext: decode_ext(d)?,
        };
        let sum: u64 = table.items.iter().map(|n| u64::from(*n)).sum();
        let sizes = table.items.iter().all(|n| *n > 0 && *n as usize <= MAX_CHUNK);
        if sum != u64::from(table.length)
            || !sizes
            || table.length as usize > MAX_BLOCK
            || table.items.len() > MAX_BLOCK_ITEMS
        {
            return Err(invalid("impossible lengths"));
        }
        if table.dictionary != 0 {
            return Err(invalid(format!("unknown dictionary {}", table.dictionary)));
        }
        Ok(table)
    }
}

impl BlockTable {
    /// The encoded form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Decodes a table.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        from_bytes(bytes, "block table")
    }
}

/// Where an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Block number.
    pub block: u64,
    /// Position in the block.
    pub ordinal: u32,
}

impl Encode for Place {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        0u32.encode(e)?;
        self.block.encode(e)?;
        self.ordinal.encode(e)
    }
}

impl<C> Decode<C> for Place {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        match <u32 as Decode<C>>::decode(d)? {
            0 => Ok(Self { block: Decode::decode(d)?, ordinal: Decode::decode(d)? }),
            other => Err(invalid(format!("unknown kind of place {other}"))),
        }
    }
}

/// The clear part of a sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHeader {
    /// How it is sealed.
    pub cipher: Cipher,
    /// Under which epoch.
    pub epoch: EpochId,
    /// Nonce counter.
    pub nonce: u64,
}

impl SealedHeader {
    /// The 28 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SEALED_HEADER_LEN] {
        let mut out = [0; SEALED_HEADER_LEN];
        out[0] = 1;
        out[1] = self.cipher.number();
        out[4..20].copy_from_slice(self.epoch.as_bytes());
        out[20..28].copy_from_slice(&self.nonce.to_le_bytes());
        out
    }

    /// Parses a sealed value into its header and the sealed part.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(value: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let bad = |why: &str| DecodeError::malformed("sealed value", why);
        let (head, sealed) = value.split_first_chunk::<SEALED_HEADER_LEN>().ok_or_else(|| bad("it ends too early"))?;
        if head[0] != 1 {
            return Err(DecodeError::Version { what: "sealed value", found: u64::from(head[0]) });
        }
        if head[2..4] != [0, 0] {
            return Err(bad("reserved bytes are not zero"));
        }
        let mut nonce = [0; 8];
        nonce.copy_from_slice(&head[20..28]);
        let header = Self {
            cipher: Cipher::from_number(head[1]).ok_or_else(|| bad("unknown cipher"))?,
            epoch: EpochId::from_slice(&head[4..20]).ok_or_else(|| bad("epoch"))?,
            nonce: u64::from_le_bytes(nonce),
        };
        Ok((header, sealed))
    }
}
