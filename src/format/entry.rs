//! Section 13: entries.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};

use super::encoding::{DecodeError, decode_ext, encoded, from_bytes, invalid, to_bytes};
use super::{MAX_ENTRY, MAX_INLINE_LIST, MAX_INLINE_VALUE, MAX_INLINE_XATTRS, MAX_SYMLINK};
use crate::model::{Bits, Body, ChunkRef, Chunks, Entry, Extent, FileBody, Holes, LongValue, Name, TreeRef, Xattrs};

encoded!(FileBody { size, crc32, content, chunks, holes });
encoded!(TreeRef { page, counts });
impl Encode for Bits {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.0.encode(e)
    }
}

impl<C> Decode<C> for Bits {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        Ok(Self(Decode::decode(d)?))
    }
}

impl Encode for Name {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.as_bytes().encode(e)
    }
}

impl<C> Decode<C> for Name {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        let bytes: Vec<u8> = Decode::decode(d)?;
        if bytes.is_empty() { Ok(Self::root()) } else { Self::new(&bytes).map_err(invalid) }
    }
}

impl Encode for Chunks {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::None => 0u32.encode(e),
            Self::Whole => 1u32.encode(e),
            Self::List(list) => (2u32, list).encode(e),
            Self::Paged(page, counts) => (3u32, page, counts).encode(e),
            Self::Part(chunk, from) => (4u32, chunk, from).encode(e),
        }
    }
}

impl<C> Decode<C> for Chunks {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        Ok(match <u32 as Decode<C>>::decode(d)? {
            0 => Self::None,
            1 => Self::Whole,
            2 => Self::List(chunk_list(d).and_then(|list| {
                if chunk_list_fits(&list) { Ok(list) } else { Err(invalid("an inline chunk list that is too long")) }
            })?),
            3 => Self::Paged(Decode::decode(d)?, Decode::decode(d)?),
            4 => {
                let chunk: ChunkRef = Decode::decode(d)?;
                if chunk.len as usize > super::MAX_CHUNK {
                    return Err(invalid("an oversized chunk"));
                }
                Self::Part(chunk, Decode::decode(d)?)
            }
            other => return Err(invalid(format!("unknown form of chunk list {other}"))),
        })
    }
}

fn chunk_list<C, D: Decoder<Context = C>>(d: &mut D) -> Result<Vec<ChunkRef>, BincodeDecode> {
    let list: Vec<ChunkRef> = Decode::decode(d)?;
    if list.is_empty() || list.iter().any(|c| c.len == 0 || c.len as usize > super::MAX_CHUNK) {
        return Err(invalid("an empty or oversized chunk"));
    }
    Ok(list)
}

impl Encode for Holes {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::None => 0u32.encode(e),
            Self::List(list) => (1u32, list).encode(e),
            Self::Paged(page, counts) => (2u32, page, counts).encode(e),
        }
    }
}

impl<C> Decode<C> for Holes {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        Ok(match <u32 as Decode<C>>::decode(d)? {
            0 => Self::None,
            1 => {
                let list: Vec<Extent> = Decode::decode(d)?;
                let apart =
                    |pair: &[Extent]| pair[0].offset.checked_add(pair[0].len).is_some_and(|e| e < pair[1].offset);
                if list.is_empty() || list.iter().any(|h| h.len == 0) || !list.windows(2).all(apart) {
                    return Err(invalid("holes out of order"));
                }
                if !hole_list_fits(&list) {
                    return Err(invalid("an inline hole map that is too long"));
                }
                Self::List(list)
            }
            2 => Self::Paged(Decode::decode(d)?, Decode::decode(d)?),
            other => return Err(invalid(format!("unknown form of hole map {other}"))),
        })
    }
}

impl Encode for LongValue {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::Inline(bytes) => (0u32, bytes).encode(e),
            Self::Chunks(list) => (1u32, list).encode(e),
        }
    }
}

impl<C> Decode<C> for LongValue {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        Ok(match <u32 as Decode<C>>::decode(d)? {
            0 => {
                let bytes: Vec<u8> = Decode::decode(d)?;
                if bytes.len() > MAX_INLINE_VALUE {
                    return Err(invalid("an inline value that is too long"));
                }
                Self::Inline(bytes)
            }
            1 => Self::Chunks(chunk_list(d)?),
            other => return Err(invalid(format!("unknown form of value {other}"))),
        })
    }
}

impl Encode for Xattrs {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::None => 0u32.encode(e),
            Self::List(list) => (1u32, list).encode(e),
            Self::Chunks(list) => {
                2u32.encode(e)?;
                (1u32, list).encode(e)
            }
        }
    }
}

impl<C> Decode<C> for Xattrs {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        Ok(match <u32 as Decode<C>>::decode(d)? {
            0 => Self::None,
            1 => {
                let list: Vec<(Vec<u8>, Vec<u8>)> = Decode::decode(d)?;
                check_xattrs(&list).map_err(invalid)?;
                if !xattrs_fit(&encode_xattrs(&list)) {
                    return Err(invalid("inline xattrs that are too long"));
                }
                Self::List(list)
            }
            2 => match LongValue::decode(d)? {
                LongValue::Chunks(list) => Self::Chunks(list),
                LongValue::Inline(_) => return Err(invalid("long xattrs that stand inline")),
            },
            other => return Err(invalid(format!("unknown form of xattrs {other}"))),
        })
    }
}

fn check_xattrs(list: &[(Vec<u8>, Vec<u8>)]) -> Result<(), &'static str> {
    let named = list.iter().all(|(name, _)| !name.is_empty() && name.len() <= 255 && !name.contains(&0));
    if list.is_empty() || !named || !list.is_sorted_by(|a, b| a.0 < b.0) {
        return Err("xattrs out of order or badly named");
    }
    Ok(())
}

/// The encoded list that long xattrs are chunks of.
#[must_use]
pub fn encode_xattrs(list: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    to_bytes(&list)
}

/// Decodes the list that long xattrs are chunks of.
///
/// # Errors
/// If it is malformed.
pub fn decode_xattrs(bytes: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, DecodeError> {
    let list: Vec<(Vec<u8>, Vec<u8>)> = from_bytes(bytes, "xattrs")?;
    check_xattrs(&list).map_err(|why| DecodeError::malformed("xattrs", why))?;
    Ok(list)
}

/// True if a chunk list is short enough to stand in its entry.
#[must_use]
pub fn chunk_list_fits(list: &[ChunkRef]) -> bool {
    list.len() <= MAX_INLINE_LIST / 33 && to_bytes(&list).len() <= MAX_INLINE_LIST
}

/// True if a hole map is short enough to stand in its entry.
#[must_use]
pub fn hole_list_fits(list: &[Extent]) -> bool {
    list.len() <= MAX_INLINE_LIST / 2 && to_bytes(&list).len() <= MAX_INLINE_LIST
}

/// Bytes that an entry takes in a page.
#[must_use]
pub fn encoded_entry_len(entry: &Entry) -> usize {
    to_bytes(entry).len()
}

impl Encode for Entry {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.name.encode(e)?;
        let kind: u8 = match &self.body {
            Body::File(_) => 1,
            Body::Folder(_) => 2,
            Body::Symlink(_) => 3,
            Body::Fifo => 4,
            Body::Socket => 5,
            Body::CharDevice(..) => 6,
            Body::BlockDevice(..) => 7,
        };
        kind.encode(e)?;
        self.bits.encode(e)?;
        self.mode.encode(e)?;
        self.uid.encode(e)?;
        self.gid.encode(e)?;
        self.user.encode(e)?;
        self.group.encode(e)?;
        self.mtime.encode(e)?;
        self.btime.encode(e)?;
        self.xattrs.encode(e)?;
        self.link.encode(e)?;
        match &self.body {
            Body::File(file) => file.encode(e)?,
            Body::Folder(tree) => tree.encode(e)?,
            Body::Symlink(target) => target.encode(e)?,
            Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => (major, minor).encode(e)?,
            Body::Fifo | Body::Socket => {}
        }
        self.ext.encode(e)
    }
}

impl Decode<()> for Entry {
    fn decode<D: Decoder<Context = ()>>(d: &mut D) -> Result<Self, BincodeDecode> {
        let name: Name = Decode::decode(d)?;
        let kind: u8 = Decode::decode(d)?;
        let bits: Bits = Decode::decode(d)?;
        let mode: u16 = Decode::decode(d)?;
        let (uid, gid) = (Decode::decode(d)?, Decode::decode(d)?);
        let user: Vec<u8> = Decode::decode(d)?;
        let group: Vec<u8> = Decode::decode(d)?;
        let (mtime, btime) = (Decode::decode(d)?, Decode::decode(d)?);
        let xattrs: Xattrs = Decode::decode(d)?;
        let link: Option<_> = Decode::decode(d)?;
        if mode > 0o7777 || user.len() > 255 || group.len() > 255 {
            return Err(invalid("impossible mode or owner"));
        }
        if bits.has(Bits::XATTRS) != (xattrs != Xattrs::None) {
            return Err(invalid("the xattr bit is wrong"));
        }
        let body = match kind {
            1 => Body::File(file_body(Decode::decode(d)?)?),
            2 if link.is_some() => return Err(invalid("a hard-linked folder")),
            2 => Body::Folder(Decode::decode(d)?),
            3 => {
                let target: Vec<u8> = Decode::decode(d)?;
                if target.is_empty() || target.len() > MAX_SYMLINK || target.contains(&0) {
                    return Err(invalid("impossible symlink target"));
                }
                Body::Symlink(target.into())
            }
            4 => Body::Fifo,
            5 => Body::Socket,
            6 => Body::CharDevice(Decode::decode(d)?, Decode::decode(d)?),
            7 => Body::BlockDevice(Decode::decode(d)?, Decode::decode(d)?),
            other => return Err(invalid(format!("unknown kind of entry {other}"))),
        };
        let (user, group) = (user.into(), group.into());
        let ext = decode_ext(d)?;
        let entry = Self { name, bits, mode, uid, gid, user, group, mtime, btime, xattrs, link, body, ext };
        // Without extensions the limits of its parts keep it below.
        if !entry.ext.is_empty() && encoded_entry_len(&entry) > MAX_ENTRY {
            return Err(invalid("an entry that is too long"));
        }
        Ok(entry)
    }
}

/// Checks that data and holes of a file add up to its size.
fn file_body(file: FileBody) -> Result<FileBody, BincodeDecode> {
    let data = match &file.chunks {
        Chunks::None => 0,
        Chunks::Whole if file.content.is_none() || file.holes != Holes::None || file.size == 0 => {
            return Err(invalid("a whole chunk of a file without digest, with holes or without content"));
        }
        Chunks::Whole => file.size,
        Chunks::List(list) => list.iter().map(|c| u64::from(c.len)).sum(),
        Chunks::Paged(_, counts) => counts.bytes,
        Chunks::Part(chunk, from) if file.size > 0 && file.size <= u64::from(chunk.len.saturating_sub(*from)) => {
            file.size
        }
        Chunks::Part(..) => return Err(invalid("a part that its chunk has not")),
    };
    let holes = match &file.holes {
        Holes::None => Some(0),
        Holes::List(list) => {
            let end = list.last().and_then(|h| h.offset.checked_add(h.len));
            if end.is_none_or(|end| end > file.size) {
                return Err(invalid("a hole beyond the end of its file"));
            }
            list.iter().try_fold(0u64, |sum, h| sum.checked_add(h.len))
        }
        Holes::Paged(_, counts) => Some(counts.bytes),
    };
    if holes.and_then(|holes| holes.checked_add(data)) != Some(file.size) {
        return Err(invalid("data and holes do not add up to the size"));
    }
    Ok(file)
}

/// True if encoded xattrs are short enough to stand in their entry.
#[must_use]
pub fn xattrs_fit(encoded: &[u8]) -> bool {
    encoded.len() <= MAX_INLINE_XATTRS
}
