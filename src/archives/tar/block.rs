//! A member's header: one block of 512 bytes, in the dialects that there are.

use super::super::error::ArchiveError;

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

/// Whose fields stand behind the first 257 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The seventh edition's: none.
    V7,
    /// POSIX: names of owners, devices, a prefix of the name.
    Posix,
    /// star's, which keeps times at the end of the prefix.
    Star,
    /// GNU's, which has its own use for the prefix.
    Gnu,
}

/// Where fields are.
type Field = std::ops::Range<usize>;

pub(super) const MODE: Field = 100..108;
pub(super) const UID: Field = 108..116;
pub(super) const GID: Field = 116..124;
pub(super) const SIZE: Field = 124..136;
pub(super) const MTIME: Field = 136..148;
const SUM: Field = 148..156;
const KIND: usize = 156;
const LINK: Field = 157..257;
const MAGIC: Field = 257..265;
const USER: Field = 265..297;
const GROUP: Field = 297..329;
pub(super) const MAJOR: Field = 329..337;
pub(super) const MINOR: Field = 337..345;
const PREFIX: Field = 345..500;
/// Of GNU's old sparse files: four stretches, whether more blocks of them follow, the size with holes.
pub(super) const STRETCHES: Field = 386..482;
pub(super) const IS_EXTENDED: usize = 482;
pub(super) const REAL_SIZE: Field = 483..495;

/// True for a header whose checksum is right: what a tar begins with.
pub(in super::super) fn is_header(block: &[u8]) -> bool {
    let Ok(block) = <&Block>::try_from(block) else { return false };
    let told = number(&block[SUM]).ok().flatten();
    let own = |b: (usize, &u8)| if SUM.contains(&b.0) { b' ' } else { *b.1 };
    let sum: i64 = block.iter().enumerate().map(|b| i64::from(own(b))).sum();
    // Some systems once took bytes for signed ones.
    let signed: i64 = block.iter().enumerate().map(|b| i64::from(own(b).cast_signed())).sum();
    told.is_some_and(|told| told == sum || told == signed)
}

/// A header whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a>(pub(super) &'a Block);

impl<'a> Header<'a> {
    pub(super) fn dialect(self) -> Dialect {
        let digit = |b: u8| (b'0'..=b'7').contains(&b);
        match &self.0[MAGIC] {
            b"ustar  \0" => Dialect::Gnu,
            magic if !magic.starts_with(b"ustar") => Dialect::V7,
            _ if &self.0[508..] == b"tar\0" => Dialect::Star,
            // Before that mark: two times in octal digits, each with a blank behind.
            _ if self.0[475] == 0 && digit(self.0[476]) && self.0[487] == b' ' && self.0[499] == b' ' => Dialect::Star,
            _ => Dialect::Posix,
        }
    }

    pub(super) fn kind(self) -> u8 {
        self.0[KIND]
    }

    pub(super) fn name(self) -> Vec<u8> {
        let prefix = match self.dialect() {
            Dialect::Posix => text(&self.0[PREFIX]),
            Dialect::Star => text(&self.0[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        match prefix {
            b"" => text(&self.0[..100]).to_vec(),
            prefix => [prefix, b"/", text(&self.0[..100])].concat(),
        }
    }

    pub(super) fn link(self) -> &'a [u8] {
        text(&self.0[LINK])
    }

    pub(super) fn user(self) -> &'a [u8] {
        if self.dialect() == Dialect::V7 { b"" } else { text(&self.0[USER]) }
    }

    pub(super) fn group(self) -> &'a [u8] {
        if self.dialect() == Dialect::V7 { b"" } else { text(&self.0[GROUP]) }
    }

    /// A number; nothing if the field is empty.
    pub(super) fn number(self, field: Field, what: &str) -> Result<Option<i64>, ArchiveError> {
        number(&self.0[field]).map_err(|()| ArchiveError::spoiled(&self.name(), format!("its {what} is no number")))
    }

    /// A number that cannot be negative; 0 if the field is empty.
    pub(super) fn count(self, field: Field, what: &str) -> Result<u64, ArchiveError> {
        let number = self.number(field, what)?.unwrap_or(0);
        u64::try_from(number).map_err(|_| ArchiveError::spoiled(&self.name(), format!("its {what} is negative")))
    }
}

/// Up to the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())]
}

/// Octal digits, blanks in front, a blank, zero byte or nothing behind; or, with the first bit set, a binary number of two's complement.
pub(super) fn number(field: &[u8]) -> Result<Option<i64>, ()> {
    let [first, rest @ ..] = field else { return Ok(None) };
    if first & 0x80 != 0 {
        let start = if first & 0x40 == 0 { 0 } else { -1_i128 };
        let value = rest.iter().fold((start << 6) | i128::from(first & 0x3f), |value, b| (value << 8) | i128::from(*b));
        return i64::try_from(value).map(Some).map_err(|_| ());
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(digits.len());
    if end == 0 {
        return Ok(None);
    }
    let digits = std::str::from_utf8(&digits[..end]).map_err(|_| ())?;
    if digits.starts_with('+') {
        return Err(());
    }
    i64::from_str_radix(digits, 8).map(Some).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], Ok(Some(0o644))),
            (b"   644 \0", Ok(Some(0o644))),
            (b"77777777", Ok(Some(0o77_777_777))),
            (b"\0\0\0\0\0\0\0\0", Ok(None)),
            (b"        ", Ok(None)),
            (b"644\0rubbish", Ok(Some(0o644))),
            (b"0000648\0", Err(())),
            (b"+644\0", Err(())),
            (b"0x10\0", Err(())),
            (b"-1\0", Ok(Some(-1))),
            (b"\x80\0\0\0\0\0\x01\0", Ok(Some(256))),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(Some(-2))),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Ok(Some(i64::MAX))),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", Err(())),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", Err(())),
            (b"777777777777777777777777\0", Err(())),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
