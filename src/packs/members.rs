//! The contents of a pack's members, one after the other: whatever their names are, and in bounded memory.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use ::tar::{EntryType, Header, PaxExtensions};
use ::zip::ZipArchive;

use crate::codec::FrameReader;

const BLOCK: usize = 512;
/// Bytes that what stands in front of a member may take: times, a long name, a map of holes.
const FRONT_MAX: u64 = 1 << 20;

/// Takes the bytes of a member, its holes left out. What it leaves is passed over.
pub type Take<'a> = &'a mut dyn FnMut(&mut dyn Read) -> io::Result<()>;

/// What a file is, by how it begins.
enum Sort {
    Tar,
    Zst,
    Gz,
    Zip,
}

/// Gives the content of each regular file in a tar, tar.zst, tar.gz or zip. False if the file is none of these.
///
/// # Errors
/// If it cannot be read on, or `take` fails.
pub fn members(path: &Path, take: Take) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(BLOCK as u64).read_to_end(&mut start)?;
    let Some(sort) = sort(&start) else { return Ok(false) };
    file.rewind()?;
    let file = io::BufReader::with_capacity(1 << 17, file);
    match sort {
        Sort::Tar => tar(file, take)?,
        Sort::Zst => tar(FrameReader::new(file)?, take)?,
        Sort::Gz => tar(flate2::bufread::MultiGzDecoder::new(file), take)?,
        Sort::Zip => zip(file, take)?,
    }
    Ok(true)
}

fn sort(start: &[u8]) -> Option<Sort> {
    match start {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Sort::Zst),
        [0x1f, 0x8b, 8, ..] => Some(Sort::Gz),
        [b'P', b'K', 3, 4, ..] => Some(Sort::Zip),
        _ => start.get(257..262).filter(|magic| *magic == b"ustar").map(|_| Sort::Tar),
    }
}

fn zip(file: impl Read + Seek, take: Take) -> io::Result<()> {
    let mut archive = ZipArchive::new(file)?;
    for at in 0..archive.len() {
        let mut member = archive.by_index(at)?;
        if member.is_file() {
            take(&mut member)?;
        }
    }
    Ok(())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a tar whose {what} makes no sense"))
}

/// What extended headers say of the member behind them.
#[derive(Default)]
struct Extended {
    size: Option<u64>,
    /// Its data begins with a map of its holes.
    has_map: bool,
}

fn tar(mut from: impl Read, take: Take) -> io::Result<()> {
    let mut extended = Extended::default();
    let mut block = [0; BLOCK];
    loop {
        // The end is two empty blocks; some leave them out.
        if !fill(&mut from, &mut block)? || block == [0; BLOCK] {
            return Ok(());
        }
        let header = Header::from_byte_slice(&block);
        let sum: u32 =
            block.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) }).sum();
        if header.cksum()? != sum {
            return Err(bad("checksum"));
        }
        let kind = header.entry_type();
        let stored = header.entry_size()?;
        let size = if kind == EntryType::XHeader { stored } else { extended.size.unwrap_or(stored) };
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        if kind == EntryType::GNUSparse {
            pass_old_map(header, &mut from)?;
        }
        let mut body = (&mut from).take(size);
        match kind {
            EntryType::XHeader => extended = read_extended(&mut body)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                // Behind the map stands the data of one stretch after the other, as a capture has it.
                if std::mem::take(&mut extended).has_map {
                    pass_map(&mut body)?;
                }
                take(&mut body)?;
            }
            // A long name belongs to the member behind it, as extended headers do.
            EntryType::GNULongName | EntryType::GNULongLink => {}
            _ => extended = Extended::default(),
        }
        io::copy(&mut body, &mut io::sink())?;
        if body.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        io::copy(&mut (&mut from).take(padding), &mut io::sink())?;
    }
}

/// False at the end.
fn fill(from: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<bool> {
    let mut read = Vec::with_capacity(BLOCK);
    from.by_ref().take(BLOCK as u64).read_to_end(&mut read)?;
    if read.is_empty() {
        return Ok(false);
    }
    block.copy_from_slice(read.get(..BLOCK).ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(true)
}

fn read_extended(body: &mut io::Take<impl Read>) -> io::Result<Extended> {
    if body.limit() > FRONT_MAX {
        return Err(bad("extended header"));
    }
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    let mut extended = Extended::default();
    for record in PaxExtensions::new(&bytes) {
        let record = record?;
        match record.key_bytes() {
            b"size" => extended.size = record.value().ok().and_then(|text| text.parse().ok()),
            b"GNU.sparse.major" => extended.has_map = record.value_bytes() == b"1",
            _ => {}
        }
    }
    Ok(extended)
}

/// Reads over the map of stretches of data (GNU's format 1.0): their number, then two numbers for each.
fn pass_map(body: &mut impl Read) -> io::Result<()> {
    let (mut number, mut left) = (0_usize, None);
    let mut block = [0; BLOCK];
    for _ in 0..FRONT_MAX / BLOCK as u64 {
        if !fill(body, &mut block)? {
            break;
        }
        for byte in block {
            match (byte, left) {
                (b'0'..=b'9', None) => number = number.saturating_mul(10).saturating_add(usize::from(byte - b'0')),
                (b'0'..=b'9', Some(_)) => {}
                (b'\n', None) => left = Some(number.saturating_mul(2)),
                (b'\n', Some(numbers)) => left = Some(numbers - 1),
                _ => return Err(bad("map of holes")),
            }
            if left == Some(0) {
                return Ok(());
            }
        }
    }
    Err(bad("map of holes"))
}

/// Reads over the headers behind the first one that hold the rest of the map (GNU's old format).
fn pass_old_map(header: &Header, from: &mut impl Read) -> io::Result<()> {
    let mut more = header.as_gnu().is_some_and(::tar::GnuHeader::is_extended);
    let mut next = ::tar::GnuExtSparseHeader::new();
    while more {
        from.read_exact(next.as_mut_bytes())?;
        more = next.is_extended();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(kind: EntryType, size: u64, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_path("x").unwrap();
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn contents(tar_bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        tar(tar_bytes, &mut |bytes| {
            let mut content = Vec::new();
            bytes.read_to_end(&mut content)?;
            found.push(content);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn members_are_given_without_their_holes() {
        let mut all = member(EntryType::Regular, 5, b"hello");
        all.extend(member(EntryType::Directory, 0, b""));
        let pax = b"12 size=600\n22 GNU.sparse.major=1\n";
        all.extend(member(EntryType::XHeader, pax.len() as u64, pax));
        let mut sparse = b"2\n0\n80\n4096\n8\n".to_vec();
        sparse.resize(BLOCK, 0);
        sparse.extend([b'a'; 80]);
        sparse.extend([b'b'; 8]);
        all.extend(member(EntryType::Regular, 0, &sparse));
        all.extend(member(EntryType::Regular, 3, b"end"));
        let data = [[b'a'; 80].as_slice(), &[b'b'; 8]].concat();
        assert_eq!(contents(&all).unwrap(), [b"hello".as_slice(), &data, b"end"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_takes_no_memory() {
        let whole = member(EntryType::Regular, 5, b"hello");
        for at in [0, 130, 150] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(contents(&changed).is_err(), "byte {at}");
        }
        for len in [100, 514] {
            assert!(contents(&whole[..len]).is_err(), "cut to {len}");
        }
        assert!(contents(&member(EntryType::XHeader, 1 << 40, b"")).is_err());
        let pax = b"22 GNU.sparse.major=1\n";
        for map in [&b"99999999999\n"[..], b"99999999999999999999999\n", b"x", b"3\n1\n"] {
            let mut all = member(EntryType::XHeader, pax.len() as u64, pax);
            all.extend(member(EntryType::Regular, BLOCK as u64, map));
            assert!(contents(&all).is_err(), "{map:?}");
        }
    }
}
