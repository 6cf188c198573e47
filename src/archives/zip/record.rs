//! The two records of a member: in the directory, and in front of its content. They must say the same.

use super::extra::Extra;
use super::window::{u16_at, u32_at};

/// Bytes of a record in the directory, in front of name, extra fields and comment.
pub(super) const CENTRAL: usize = 46;
/// Bytes of a record in front of a content, before name and extra fields.
pub(super) const LOCAL: usize = 30;

/// The record in the directory.
#[derive(Debug, Clone)]
pub(super) struct Central {
    /// What sort of machine made it.
    pub(super) host: u8,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time: (u16, u16),
    pub(super) crc: u32,
    /// Bytes of the content as they are stored.
    pub(super) stored: u64,
    /// Bytes of the content.
    pub(super) size: u64,
    /// Mode on the machines that have one, and the attributes of DOS.
    pub(super) attributes: u32,
    /// Where its other record is, from the archive's first byte on.
    pub(super) offset: u64,
    pub(super) name: Vec<u8>,
    pub(super) extra: Extra,
}

/// Lengths of name, extra fields and comment, which stand behind a directory's record. Nothing if it is none.
pub(super) fn lengths(fixed: &[u8]) -> Option<[usize; 3]> {
    let has_mark = fixed.len() == CENTRAL && fixed.starts_with(b"PK\x01\x02");
    has_mark.then(|| [28, 30, 32].map(|at| u16_at(fixed, at).into()))
}

impl Central {
    /// A record whose lengths are known, from its fixed part and what stands behind it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(fixed: &[u8], name: &[u8], extra: &[u8]) -> Result<Self, &'static str> {
        let extra = Extra::parse(extra)?;
        let [size, stored, offset] = extra.lengthen([u32_at(fixed, 24), u32_at(fixed, 20), u32_at(fixed, 42)])?;
        if u16_at(fixed, 34) != 0 && u16_at(fixed, 34) != u16::MAX {
            return Err("it is in another part of a zip of several parts");
        }
        Ok(Self {
            host: fixed[5],
            flags: u16_at(fixed, 8),
            method: u16_at(fixed, 10),
            time: (u16_at(fixed, 14), u16_at(fixed, 12)),
            crc: u32_at(fixed, 16),
            stored,
            size,
            attributes: u32_at(fixed, 38),
            offset,
            name: name.to_vec(),
            extra,
        })
    }

    /// Why it is not read, whatever stands in front of its content.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.flags & 1 != 0 || self.method == 99 || self.extra.is_sealed {
            return Some("it is encrypted with zip's own means: extract it with the program that made it".to_owned());
        }
        if self.flags & (1 << 6 | 1 << 13) != 0 {
            return Some("it is encrypted with PKWARE's strong encryption".to_owned());
        }
        if self.flags & 1 << 5 != 0 {
            return Some("it is a patch of another file".to_owned());
        }
        None
    }
}

/// The record in front of a content.
#[derive(Debug, Clone)]
pub(super) struct Local {
    flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    /// Of the content, and as it is stored.
    pub(super) sizes: [u64; 2],
    pub(super) name: Vec<u8>,
    pub(super) extra: Extra,
}

/// Lengths of name and extra fields. Nothing if it is no such record.
pub(super) fn local_lengths(fixed: &[u8]) -> Option<[usize; 2]> {
    let has_mark = fixed.len() == LOCAL && fixed.starts_with(b"PK\x03\x04");
    has_mark.then(|| [26, 28].map(|at| u16_at(fixed, at).into()))
}

impl Local {
    pub(super) fn parse(fixed: &[u8], name: &[u8], extra: &[u8]) -> Result<Self, &'static str> {
        let extra = Extra::parse(extra)?;
        Ok(Self {
            flags: u16_at(fixed, 6),
            method: u16_at(fixed, 8),
            crc: u32_at(fixed, 14),
            sizes: extra.lengthen([u32_at(fixed, 22), u32_at(fixed, 18)])?,
            name: name.to_vec(),
            extra,
        })
    }

    /// True if sum and sizes stand behind the content: whoever wrote it did not know them before.
    pub(super) fn is_streamed(&self) -> bool {
        self.flags & 1 << 3 != 0
    }

    /// True if what is stored is encrypted.
    pub(super) fn is_sealed(&self) -> bool {
        self.flags & (1 | 1 << 6 | 1 << 13) != 0 || self.extra.is_sealed
    }

    /// True if its name says that it is UTF-8.
    pub(super) fn is_utf8(&self) -> bool {
        self.flags & 1 << 11 != 0
    }

    /// True if sum and sizes are told here.
    pub(super) fn tells(&self, central: &Central) -> bool {
        self.crc == central.crc && self.sizes == [central.size, central.stored]
    }

    /// What it says otherwise than the directory.
    pub(super) fn contradicts(&self, central: &Central) -> Option<&'static str> {
        if self.name != central.name {
            return Some("the directory has another name for it than stands in front of its content");
        }
        if self.method != central.method || (self.flags ^ central.flags) & 1 != 0 {
            return Some("the directory says that it is compressed otherwise than what stands in front of its content");
        }
        let unknown = [0, u64::from(u32::MAX)];
        let agree = |own: u64, other: u64| own == other || (self.is_streamed() && unknown.contains(&own));
        let same = agree(self.crc.into(), central.crc.into())
            && agree(self.sizes[0], central.size)
            && agree(self.sizes[1], central.stored);
        (!same).then_some("the directory has other sizes or another sum for it than stand in front of its content")
    }
}

/// Bytes of what stands behind a streamed content, if it says what the directory says: with or without a mark, sizes long or short.
pub(super) fn trailer(bytes: &[u8], central: &Central) -> Option<usize> {
    let sizes = [central.stored, central.size];
    let long = [&central.crc.to_le_bytes()[..], &sizes[0].to_le_bytes(), &sizes[1].to_le_bytes()].concat();
    let short: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()[..4].to_vec()).collect();
    let short = [&central.crc.to_le_bytes()[..], &short].concat();
    let mark = b"PK\x07\x08";
    // The longest first: a short one may be how a long one begins.
    let forms = [[mark, &long[..]].concat(), long, [mark, &short[..]].concat(), short];
    forms.iter().find(|form| bytes.starts_with(form)).map(Vec::len)
}
