//! What a file is, told by how it begins.

use crate::codec::{AgeForm, age_form};

/// Bytes from the start that tell.
pub(super) const START: usize = 1024;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Age(AgeForm),
    Zstd,
    Gzip,
    Xz,
    Bzip2,
    Tar,
    Zip,
    /// A program, which may have a zip behind it.
    Program,
    /// Known, and not read: its name.
    Foreign(&'static str),
    Empty,
    Unknown,
}

/// What begins with these bytes: the first [`START`], or all if there are fewer.
pub(super) fn sort(start: &[u8]) -> Sort {
    if let Some(form) = age_form(start) {
        return Sort::Age(form);
    }
    match start {
        [] => Sort::Empty,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Sort::Zstd,
        // A frame that zstd passes over may be the first: others keep their tables there.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Sort::Zstd,
        [0x1f, 0x8b, 8, ..] => Sort::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Sort::Xz,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Sort::Bzip2,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Sort::Bzip2,
        // A member, the end of an empty one, or the mark of one that could have been in several parts.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, b'P', b'K', ..] => Sort::Zip,
        // An executable or a script may be a zip that extracts itself; it may also be the first name in an old tar.
        _ if is_tar(start) => Sort::Tar,
        [b'M', b'Z', ..] | [0x7f, b'E', b'L', b'F', ..] | [b'#', b'!', ..] => Sort::Program,
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Sort::Foreign("7z archive"),
        [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => Sort::Foreign("RAR archive"),
        [4, 0x22, 0x4d, 0x18, ..] => Sort::Foreign("lz4 stream"),
        [b'L', b'Z', b'I', b'P', ..] => Sort::Foreign("lzip stream"),
        [0x1f, 0x9d, ..] => Sort::Foreign("stream of compress (.Z)"),
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2' | b'7', ..] | [0xc7, 0x71, ..] => Sort::Foreign("cpio archive"),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Sort::Foreign("ar archive"),
        _ => Sort::Unknown,
    }
}

/// What archives begin with, byte for byte, and what they are.
const MARKS: [(&[u8], &str); 9] = [
    (b"age-encryption.org/v1\n", "age file"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "age file"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd stream"),
    (&[0x1f, 0x8b, 8, 0], "gzip stream"),
    // With the name of what it was made of.
    (&[0x1f, 0x8b, 8, 8], "gzip stream"),
    (b"\xfd7zXZ\0", "xz stream"),
    (b"BZh91AY&SY", "bzip2 stream"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
];

/// What begins nearly so: but for one byte, or with the mark of a tar and a sum that is not that of its header.
pub(super) fn nearly(start: &[u8]) -> Option<&'static str> {
    let misses = |mark: &[u8]| start.iter().zip(mark).filter(|(a, b)| a != b).count();
    let near = MARKS.iter().find(|(mark, _)| start.len() >= mark.len() && misses(mark) == 1);
    near.map(|(_, what)| *what).or_else(|| start.get(257..262).filter(|mark| *mark == b"ustar").map(|_| "tar"))
}

/// False if it cannot be what a cipher wrote: of 1024 such bytes 251 or so are different ones, and fewer than 200 never.
pub(super) fn may_be_sealed(start: &[u8]) -> bool {
    let mut met = [false; 256];
    start.iter().for_each(|b| met[usize::from(*b)] = true);
    start.len() < START || met.iter().filter(|met| **met).count() >= 200
}

/// True if it may be what a cipher wrote, and is no text: an empty zip under a password has 66 bytes.
pub(super) fn looks_sealed(start: &[u8]) -> bool {
    may_be_sealed(start) && start.len() >= 66 && std::str::from_utf8(start).is_err()
}

/// True if a tar begins so: a header whose checksum is right, or the empty blocks of one without members.
fn is_tar(start: &[u8]) -> bool {
    const BLOCK: usize = 512;
    let Some(header) = start.get(..BLOCK) else { return false };
    if header.iter().all(|b| *b == 0) {
        return start.len() >= 2 * BLOCK && start.iter().all(|b| *b == 0);
    }
    let field = header[148..156].iter().copied().skip_while(|b| *b == b' ');
    let digits: Vec<u8> = field.take_while(|b| matches!(b, b'0'..=b'7')).collect();
    let stored = digits.iter().fold(0i64, |sum, digit| sum * 8 + i64::from(digit - b'0'));
    let sum = |value: fn(u8) -> i64| -> i64 {
        header.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { value(*b) }).sum()
    };
    // Some have added signed bytes up.
    !digits.is_empty() && (stored == sum(i64::from) || stored == sum(|b| i64::from(b.cast_signed())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_their_first_bytes() {
        for (start, wanted) in [
            (&b"age-encryption.org/v1\n-> X25519"[..], Sort::Age(AgeForm::Binary)),
            (b"-----BEGIN AGE ENCRYPTED FILE-----\n", Sort::Age(AgeForm::Armoured)),
            (b"\x28\xb5\x2f\xfd....", Sort::Zstd),
            (b"\x5e\x2a\x4d\x18....", Sort::Zstd),
            (b"\x1f\x8b\x08\x00", Sort::Gzip),
            (b"\xfd7zXZ\x00", Sort::Xz),
            (b"BZh91AY&SY", Sort::Bzip2),
            (b"BZh9 is a text", Sort::Unknown),
            (b"PK\x03\x04", Sort::Zip),
            (b"PK\x05\x06", Sort::Zip),
            (b"PK\x07\x08PK\x03\x04", Sort::Zip),
            (b"MZ\x90\x00", Sort::Program),
            (b"#!/bin/sh\n", Sort::Program),
            (b"7z\xbc\xaf\x27\x1c", Sort::Foreign("7z archive")),
            (b"", Sort::Empty),
            (b"{\"json\": 1}", Sort::Unknown),
            (&[0; 1024], Sort::Tar),
            (&[0; 512], Sort::Unknown),
        ] {
            assert_eq!(sort(start), wanted, "{start:?}");
        }
    }

    #[test]
    fn what_begins_nearly_so() {
        for (start, wanted) in [
            (&b"age-encryption.org/v2\n"[..], Some("age file")),
            (b"\x29\xb5\x2f\xfd....", Some("zstd stream")),
            (b"\x1f\x8b\x00\x08", Some("gzip stream")),
            (b"\x1f\x8b\x00\x07", None),
            (b"\xfd6zXZ\x00", Some("xz stream")),
            (b"BZh91AX&SY", Some("bzip2 stream")),
            (b"QK\x03\x04", Some("zip")),
            (b"PK\x03", None),
            (b"", None),
            (b"just a text", None),
        ] {
            assert_eq!(nearly(start), wanted, "{start:?}");
        }
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(1024).collect();
        assert!(!may_be_sealed(&text) && !may_be_sealed(&[0; START]) && may_be_sealed(&text[..1023]));
        assert!(may_be_sealed(&(0..1024).map(|n: u32| (n * 167 % 251) as u8).collect::<Vec<_>>()));
    }

    /// Nothing in an old tar's header but the checksum tells what it is.
    #[test]
    fn an_old_tar_by_its_checksum() {
        let mut header = [0; 512];
        header[..5].copy_from_slice(b"na\xefve");
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(b"00000000000\0");
        let sum = |signed: bool| -> i64 {
            let value = |b: u8| if signed { i64::from(b.cast_signed()) } else { i64::from(b) };
            header.iter().map(|b| value(*b)).sum::<i64>() + 8 * 32
        };
        for text in [format!("{:06o}\0 ", sum(false)), format!("{:7o}\0", sum(true))] {
            let mut whole = header;
            whole[148..156].copy_from_slice(text.as_bytes());
            assert_eq!(sort(&whole), Sort::Tar, "{text}");
            whole[3] ^= 1;
            assert_eq!(sort(&whole), Sort::Unknown, "{text}");
        }
    }
}
