//! Members of a tar, to the byte as the older system's: ustar headers without owners, PAX records for names that they cannot hold.

use std::io::Write;

use crate::codec::zeros;

use super::LaidOutError;

const BLOCK: u64 = 512;
/// A tar ends at a multiple of this.
const RECORD: u64 = 10_240;

/// Writes the header of a file of a size. Gives the bytes that it took.
pub(super) fn header(path: &str, size: u64, time: i64, out: &mut dyn Write) -> Result<u64, LaidOutError> {
    let mut taken = BLOCK;
    let parts = split(path);
    if parts.is_none() {
        let record = record("path", path);
        let block = block("", "././@PaxHeader", b'x', 0, record.len() as u64, 0);
        write(&block, out)?;
        write(record.as_bytes(), out)?;
        taken += BLOCK + record.len() as u64 + pad(record.len() as u64, out)?;
    }
    let (prefix, name) = parts.unwrap_or(("", cut(path)));
    write(&block(prefix, name, b'0', 0o644, size, time.max(0).unsigned_abs()), out)?;
    Ok(taken)
}

/// Fills the last block of a content.
pub(super) fn pad(size: u64, out: &mut dyn Write) -> Result<u64, LaidOutError> {
    let len = size.next_multiple_of(BLOCK) - size;
    put_zeros(len, out)?;
    Ok(len)
}

/// Ends a tar of which so much is written.
pub(super) fn end(written: u64, out: &mut dyn Write) -> Result<(), LaidOutError> {
    put_zeros((written + 2 * BLOCK).next_multiple_of(RECORD) - written, out)
}

fn write(bytes: &[u8], out: &mut dyn Write) -> Result<(), LaidOutError> {
    out.write_all(bytes).map_err(LaidOutError::Write)
}

fn put_zeros(len: u64, out: &mut dyn Write) -> Result<(), LaidOutError> {
    zeros(len).try_for_each(|piece| write(piece, out))
}

/// Prefix and name as a header holds them; nothing if it cannot.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some(("", path));
    }
    // The prefix as long as it can be.
    let (prefix, name) = path.split_at(path[..path.len().min(156)].rfind('/').filter(|at| *at > 0)?);
    Some((prefix, &name[1..])).filter(|(_, name)| !name.is_empty() && name.len() <= 100)
}

/// So much of a name as fits into a header that does not count.
fn cut(path: &str) -> &str {
    let end = (0..=100.min(path.len())).rev().find(|end| path.is_char_boundary(*end)).unwrap_or(0);
    &path[..end]
}

/// A PAX record: its own length, a name, a value.
fn record(name: &str, value: &str) -> String {
    let rest = name.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    format!("{len} {name}={value}\n")
}

fn block(prefix: &str, name: &str, sort: u8, mode: u32, size: u64, time: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &number(size));
    put(136, &number(time));
    put(156, &[sort]);
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    put(148, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Eleven octal digits, or where they do not do GNU's base 256.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        assert_eq!(record("path", "é"), "11 path=é\n");
        for len in [80, 88, 89, 90, 91, 92, 988, 989, 990, 991] {
            let record = record("path", &"x".repeat(len));
            assert!(record.starts_with(&format!("{} ", record.len())), "{len}");
        }
    }

    #[test]
    fn names_are_split_where_they_can_be() {
        let long = "n".repeat(100);
        assert_eq!(split(&long), Some(("", long.as_str())));
        assert_eq!(split(&format!("a/{long}")), Some(("a", long.as_str())));
        assert_eq!(split(&format!("a/{long}x")), None);
        assert_eq!(split("é"), None);
        assert_eq!(cut(&format!("{}é", "n".repeat(99))), "n".repeat(99));
    }

    #[test]
    fn sizes_in_either_form() {
        assert_eq!(&number(0o1411), b"00000001411\0");
        assert_eq!(number(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }
}
