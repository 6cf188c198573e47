//! RocksDB's log format, which MANIFEST and write-ahead logs have, as far as it has to be known to mend them.
//!
//! Blocks of 32 KiB; in them fragments: checksum (4 bytes), length (2, little endian), sort (1: whole, 2: first, 3: middle,
//! 4: last), bytes; fewer than 7 bytes at the end of a block are padding. (The format is RocksDB's `db/log_format.h`.)

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::files::read_small;
use super::StoreError;

const BLOCK: usize = 32 << 10;
const HEAD: usize = 7;

/// Sorts of fragments that are in recycled logs alone, of which a store has none.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// A fragment's head.
struct Head {
    sort: u8,
    /// Where it ends, unless that is behind its block or the bytes.
    end: Option<usize>,
}

fn head(bytes: &[u8], at: usize) -> Option<Head> {
    let [_, _, _, _, low, high, sort] = *bytes.get(at..at + HEAD)? else { return None };
    let len = usize::from(u16::from_le_bytes([low, high]));
    let end = at + HEAD + len;
    let fits = end <= bytes.len() && at % BLOCK + HEAD + len <= BLOCK;
    Some(Head { sort, end: fits.then_some(end) })
}

/// Where the next fragment begins: not in the padding.
fn behind_padding(at: usize) -> usize {
    let left = BLOCK - at % BLOCK;
    if left < HEAD { at + left } else { at }
}

/// Where whole records end, as far as the form goes on.
pub(crate) fn record_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    loop {
        at = behind_padding(at);
        let Some(Head { sort: sort @ 1..=4, end: Some(end) }) = head(bytes, at) else { return ends };
        if matches!(sort, 1 | 4) {
            ends.push(end);
        }
        at = end;
    }
}

/// The records themselves, as far as the form goes on; their checksums are RocksDB's to check.
pub(super) fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut records, mut begun) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        at = behind_padding(at);
        let Some(Head { sort: sort @ 1..=4, end: Some(end) }) = head(bytes, at) else { return records };
        if matches!(sort, 1 | 2) {
            begun.clear();
        }
        begun.extend_from_slice(bytes.get(at + HEAD..end).unwrap_or_default());
        if matches!(sort, 1 | 4) {
            records.push(std::mem::take(&mut begun));
        }
        at = end;
    }
}

/// Where RocksDB would come to a fragment at which it goes round for ever.
///
/// Its reader (`ReadPhysicalRecord` in `db/log_reader.cc`, as of 11.8) calls one of a recycled sort bad and does not step over
/// it. Of rubbish it looks at no more places than are looked at here: it goes on in the next block where a checksum does not hold.
pub(crate) fn endless_at(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at = behind_padding(at);
        let head = head(bytes, at)?;
        if RECYCLED.contains(&head.sort) {
            return Some(at);
        }
        at = head.end.unwrap_or(at + BLOCK - at % BLOCK);
    }
}

/// Bytes of CURRENT and IDENTITY at most: each is a line.
const LINE_MAX: u64 = 4 << 10;
/// Bytes of a MANIFEST at most: RocksDB begins another at 1 GiB, and whenever it opens the database for writing.
const MANIFEST_MAX: u64 = (1 << 30) + (64 << 20);
/// Bytes of a write-ahead log at most: all families together are flushed long before.
const LOG_MAX: u64 = 4 << 30;

/// Refuses a database that would never be open.
pub(super) fn check(dir: &Path) -> Result<(), StoreError> {
    for line in ["CURRENT", "IDENTITY"] {
        check_len(&dir.join(line), LINE_MAX)?;
    }
    let manifest = current_manifest(dir).ok().map(|path| (path, MANIFEST_MAX));
    for (path, max) in write_ahead_logs(dir).into_iter().map(|path| (path, LOG_MAX)).chain(manifest) {
        check_len(&path, max)?;
        if let Some(at) = first_endless(&path) {
            return Err(StoreError::damage("the database", format!("rubbish at byte {at} of {}", path.display())));
        }
    }
    Ok(())
}

/// Refuses a file that no store has so long: whoever reads it would do so without an end.
fn check_len(path: &Path, max: u64) -> Result<(), StoreError> {
    match std::fs::metadata(path).map(|meta| meta.len()) {
        Ok(len) if len > max => {
            let why = format!(
                "it has {len} bytes, and at most {max} in any store; `larder repair --apply` puts the database together anew without it"
            );
            Err(StoreError::damage(path.display().to_string(), why))
        }
        _ => Ok(()),
    }
}

/// [`endless_at`] of a file, of which a block at a time is in memory: no fragment goes over the end of one.
fn first_endless(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let (mut block, mut begin) = (Vec::with_capacity(BLOCK), 0);
    loop {
        block.clear();
        let len = Read::take(&mut file, BLOCK as u64).read_to_end(&mut block).ok()?;
        if let Some(at) = endless_at(&block) {
            return Some(begin + at as u64);
        }
        begin += len as u64;
        if len < BLOCK {
            return None;
        }
    }
}

/// The write-ahead logs of a database.
pub(in crate::store) fn write_ahead_logs(dir: &Path) -> Vec<PathBuf> {
    let items = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|item| item.path());
    items.filter(|path| path.extension().is_some_and(|e| e == "log") && path.is_file()).collect()
}

/// The MANIFEST that CURRENT names.
pub(in crate::store) fn current_manifest(db: &Path) -> io::Result<PathBuf> {
    let name = String::from_utf8(read_small(&db.join("CURRENT"))?).map_err(|_| io::ErrorKind::InvalidData)?;
    let name = name.trim();
    let good = name.strip_prefix("MANIFEST-").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if good { Ok(db.join(name)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(sort: u8, len: u16) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0];
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.push(sort);
        bytes.resize(7 + usize::from(len), 0xee);
        bytes
    }

    #[test]
    fn ends_of_records() {
        let two = [fragment(1, 10), fragment(1, 0)].concat();
        assert_eq!(record_ends(&two), [17, 24]);
        assert_eq!(record_ends(&two[..20]), [17]);
        // A record over two blocks: 17 bytes, then 32,744 which fill the block, then the rest of it.
        let long = [fragment(1, 10), fragment(2, 32_744), fragment(4, 5)].concat();
        assert_eq!(record_ends(&long), [17, (32 << 10) + 12]);
        // Three bytes are left in the block: padding.
        let padded = [fragment(1, 32_758), vec![0; 3], fragment(1, 1)].concat();
        assert_eq!(record_ends(&padded), [32_765, (32 << 10) + 8]);
        let rubbish = [fragment(1, 10), fragment(9, 3), fragment(1, 1)].concat();
        assert_eq!(record_ends(&rubbish), [17]);
        let too_long = [fragment(1, 10), fragment(1, 60_000)].concat();
        assert_eq!(record_ends(&too_long), [17]);
        assert_eq!(record_ends(&[]), [0; 0]);
    }

    #[test]
    fn records_that_would_be_read_for_ever() {
        for sort in [5, 8, 11, 131] {
            let behind = |front: Vec<u8>| endless_at(&[front, fragment(sort, 3)].concat());
            assert_eq!(behind(fragment(1, 10)), Some(17), "{sort}");
            // Behind one of an unknown sort, and in the next block, behind one that is too long for its own.
            assert_eq!(behind([fragment(1, 10), fragment(9, 3)].concat()), Some(27), "{sort}");
            let next = [&fragment(1, 60_000)[..7], &vec![0; (32 << 10) - 7]].concat();
            assert_eq!(behind(next), Some(32 << 10), "{sort}");
        }
        let whole = [fragment(1, 10), fragment(2, 32_744), fragment(4, 5), vec![0; 100]].concat();
        assert_eq!((endless_at(&whole), endless_at(&[5; 6])), (None, None));
    }
}
