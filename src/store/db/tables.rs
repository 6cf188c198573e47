//! RocksDB's table files, byte by byte: every block in them against its checksum.
//!
//! RocksDB checks what it reads, and of a file's filter, index and properties it reads what it happens to need; its interface
//! for Rust does not offer its own check of whole files. (The form is that of `table/format.cc` in RocksDB 11.8, format version
//! 6, checksums XXH3. Blocks follow each other without a gap, so that the checksums cover every byte.)

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use super::options::holds_blocks;

const FOOTER: usize = 53;
const FORMAT: u32 = 6;
const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
const EXTENDED_MAGIC: [u8; 4] = [0x3e, 0, 0x7a, 0];
/// The number of XXH3 among RocksDB's checksums.
const XXH3: u8 = 4;
/// Behind each block: how it is compressed (1 byte), and the checksum.
const TRAILER: u64 = TRAILER_LEN as u64;
const TRAILER_LEN: u8 = 5;
/// Bytes that the name of a part may have: RocksDB's have fewer than 64.
const MAX_NAME: usize = 255;
/// Bytes of a block: of the longest rows there are, and of the index of a file far greater than any that is written.
const BLOCK_MAX: u64 = 256 << 20;
/// Rows of `data` and `tree` that are longer have a digest in `sums`, by which they are looked at.
const LONG_ROW: u64 = 16 << 10;

/// A table file that the database is made of.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Its name in the folder of the database.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The name of the family whose rows it has.
    pub(crate) family: String,
    /// Its first and last key.
    pub(crate) keys: Option<(Vec<u8>, Vec<u8>)>,
}

/// Which blocks of rows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowBlocks {
    /// All.
    All,
    /// Of `data` and `tree` only short ones: the others are compared with their digests.
    WithoutDigest,
}

/// How a look at a table file ended.
#[derive(Debug)]
pub(crate) enum Looked {
    /// Every byte looked at is what was written.
    Whole,
    /// What is wrong.
    Damaged(String),
    /// It is not there.
    Gone,
}

impl Table {
    /// Compares its blocks with their checksums, a block in memory at a time.
    ///
    /// # Errors
    /// If it cannot be read for another reason than damage.
    pub(crate) fn look(&self, rows: RowBlocks) -> io::Result<Looked> {
        let longest = if rows == RowBlocks::WithoutDigest && holds_blocks(&self.family) { LONG_ROW } else { u64::MAX };
        match check(&self.path, longest) {
            Ok(_) => Ok(Looked::Whole),
            Err(Trouble::Damaged(why)) => Ok(Looked::Damaged(why)),
            Err(Trouble::Io(e)) if e.kind() == io::ErrorKind::NotFound => Ok(Looked::Gone),
            // The disk gives its bytes no more.
            Err(Trouble::Io(e)) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Ok(Looked::Damaged(e.to_string()))
            }
            Err(Trouble::Io(e)) => Err(e),
        }
    }
}

enum Trouble {
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn damaged<T>(why: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Damaged(why.into()))
}

/// Where a block stands, its trailer not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// An open file and what its footer says.
struct Checking {
    file: File,
    base: u32,
    /// Where the footer begins.
    end: u64,
    buffer: Vec<u8>,
    /// How the block in the buffer is compressed; 0: not at all.
    packed: u8,
}

/// Checks a file; blocks of rows longer than `longest` are left out. Gives all blocks in order.
fn check(path: &Path, longest: u64) -> Result<Vec<Handle>, Trouble> {
    let file = File::open(path)?;
    let (mut checking, metaindex) = Checking::begin(file)?;
    let named = named_handles(checking.block(metaindex, "its list of parts")?);
    let Some(named) = named else { return damaged("its list of parts cannot be read") };
    let mut all = vec![metaindex];
    let mut index = None;
    for (name, handle) in named {
        let bytes = checking.block(handle, &name)?;
        if name == "rocksdb.index" {
            index = Some(index_handles(bytes));
        }
        all.push(handle);
    }
    let Some(Some(rows)) = index else { return damaged("its index cannot be read") };
    for handle in rows {
        all.push(handle);
        if handle.size <= longest {
            checking.block(handle, "rows")?;
        }
    }
    all.sort_unstable();
    Ok(all)
}

impl Checking {
    fn begin(file: File) -> Result<(Self, Handle), Trouble> {
        let len = file.metadata()?.len();
        let Some(end) = len.checked_sub(FOOTER as u64) else { return damaged("it ends too early") };
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, end)?;
        let u32_at = |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
        let magic = u64::from(u32_at(45)) | u64::from(u32_at(49)) << 32;
        if magic != MAGIC || u32_at(41) != FORMAT || footer[0] != XXH3 || footer[1..5] != EXTENDED_MAGIC {
            return damaged("it does not end like a table file");
        }
        let (stored, base, size) = (u32_at(5), u32_at(9), u64::from(u32_at(13)));
        let mut unsigned = footer;
        unsigned[5..9].fill(0);
        if checksum(&unsigned).wrapping_add(modifier(base, end)) != stored {
            return damaged("the checksum at its end does not hold");
        }
        let Some(offset) = end.checked_sub(size + TRAILER) else { return damaged("it ends too early") };
        Ok((Self { file, base, end, buffer: Vec::new(), packed: 0 }, Handle { offset, size }))
    }

    /// The bytes of a block, compared with its checksum.
    fn block(&mut self, handle: Handle, what: &str) -> Result<&[u8], Trouble> {
        let Handle { offset, size } = handle;
        let behind = offset.checked_add(size).and_then(|end| end.checked_add(TRAILER)).filter(|end| *end <= self.end);
        let len = behind.and_then(|_| usize::try_from(size + TRAILER).ok());
        let Some(len) = len else { return damaged(format!("{what} would lie outside it")) };
        if size > BLOCK_MAX {
            return damaged(format!("{what} would be longer than anybody writes it"));
        }
        self.buffer.resize(len, 0);
        self.file.read_exact_at(&mut self.buffer, offset)?;
        let (bytes, stored) = self.buffer.split_at(len - 4);
        let stored = u32::from_le_bytes(stored.try_into().unwrap_or_default());
        if checksum(bytes).wrapping_add(modifier(self.base, offset)) != stored {
            return damaged(format!("{what} at byte {offset} do not fit their checksum"));
        }
        self.buffer.truncate(len - usize::from(TRAILER_LEN) + 1);
        self.packed = self.buffer.pop().unwrap_or_default();
        Ok(&self.buffer)
    }
}

/// XXH3 of all but the last byte, which is mixed in by itself.
#[allow(clippy::cast_possible_truncation, reason = "the lower half is what is stored")]
fn checksum(bytes: &[u8]) -> u32 {
    const PRIME: u32 = 0x6b90_83d9;
    let Some((last, front)) = bytes.split_last() else { return 0 };
    XxHash3_64::oneshot(front) as u32 ^ u32::from(*last).wrapping_mul(PRIME)
}

/// What binds a checksum to its file and place.
#[allow(clippy::cast_possible_truncation, reason = "both halves are added")]
fn modifier(base: u32, offset: u64) -> u32 {
    if base == 0 { 0 } else { base ^ (offset as u32).wrapping_add((offset >> 32) as u32) }
}

/// The entries of a block: those before the list of restarts at its end.
fn entries(block: &[u8]) -> Option<&[u8]> {
    let (front, count) = block.split_last_chunk::<4>()?;
    // The uppermost bits are flags.
    let restarts = (u32::from_le_bytes(*count) & 0x0fff_ffff) as usize;
    front.get(..front.len().checked_sub(restarts.checked_mul(4)?)?)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(front)
}

fn handle(bytes: &mut &[u8]) -> Option<Handle> {
    Some(Handle { offset: varint(bytes)?, size: varint(bytes)? })
}

/// The entries of the list of parts: names and handles.
pub(crate) fn named_handles(block: &[u8]) -> Option<Vec<(String, Handle)>> {
    let (mut rest, mut name, mut found) = (entries(block)?, Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (shared, own, value) = (varint(&mut rest)?, varint(&mut rest)?, varint(&mut rest)?);
        name.truncate(usize::try_from(shared).ok()?);
        name.extend_from_slice(take(&mut rest, own)?);
        // Each name repeats what those before it began with: a short list could hold long ones without end.
        if name.len() > MAX_NAME {
            return None;
        }
        let mut value = take(&mut rest, value)?;
        found.push((String::from_utf8_lossy(&name).into_owned(), handle(&mut value)?));
    }
    Some(found)
}

/// The name of the family whose rows a file has, by its properties; empty for files that were made outside the database.
pub(super) fn family_of(path: &Path) -> Option<String> {
    let (mut checking, metaindex) = Checking::begin(File::open(path).ok()?).ok()?;
    let named = named_handles(checking.block(metaindex, "its list of parts").ok()?)?;
    let (name, handle) = named.into_iter().find(|(name, _)| name == "rocksdb.properties")?;
    let mut rest = entries(checking.block(handle, &name).ok()?)?;
    let mut key = Vec::new();
    while !rest.is_empty() {
        let (shared, own, value) = (varint(&mut rest)?, varint(&mut rest)?, varint(&mut rest)?);
        key.truncate(usize::try_from(shared).ok()?);
        key.extend_from_slice(take(&mut rest, own)?);
        let value = take(&mut rest, value)?;
        if key == b"rocksdb.column.family.name" {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    Some(String::new())
}

/// The entries of the index: the handles of blocks of rows. One whose key begins like the one before says only by how much its block
/// is longer than that one's, which it follows.
pub(crate) fn index_handles(block: &[u8]) -> Option<Vec<Handle>> {
    let (mut rest, mut found) = (entries(block)?, Vec::<Handle>::new());
    while !rest.is_empty() {
        let (shared, own) = (varint(&mut rest)?, varint(&mut rest)?);
        take(&mut rest, own)?;
        found.push(match found.last() {
            Some(before) if shared > 0 => {
                let coded = varint(&mut rest)?;
                let longer = (coded >> 1).cast_signed() ^ -(coded & 1).cast_signed();
                let offset = before.offset.checked_add(before.size)?.checked_add(TRAILER)?;
                Handle { offset, size: before.size.checked_add_signed(longer)? }
            }
            _ => handle(&mut rest)?,
        });
    }
    Some(found)
}

/// What was done to a row: its sequence number in the database, and the value that it was given, or nothing if it was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) sequence: u64,
    pub(super) value: Option<Vec<u8>>,
}

impl Table {
    /// Gives every row that stands in a block that is whole; nothing of a file without an index. True if those are all.
    pub(super) fn whole_rows(&self, mut each: impl FnMut(&[u8], Version)) -> bool {
        let blocks = || {
            let (mut checking, metaindex) = Checking::begin(File::open(&self.path)?)?;
            let named = named_handles(checking.block(metaindex, "its list of parts")?).unwrap_or_default();
            let index = named.into_iter().find(|(name, _)| name == "rocksdb.index");
            let Some((name, handle)) = index else { return damaged("it has no index") };
            let handles = index_handles(checking.block(handle, &name)?).unwrap_or_default();
            Ok::<_, Trouble>((checking, handles))
        };
        let Ok((mut checking, handles)) = blocks() else { return false };
        let mut all = true;
        for handle in handles {
            // What a block that is whole would not hold is passed over.
            all &= checking.block(handle, "rows").is_ok()
                && checking.packed == 0
                && rows(&checking.buffer, &mut each).is_some();
        }
        all
    }

    /// The same, of rows that were not removed: their keys and values.
    pub(super) fn values(&self, row: &mut impl FnMut(&[u8], &[u8])) {
        self.whole_rows(|key, version| {
            if let Some(value) = &version.value {
                row(key, value);
            }
        });
    }
}

/// The rows of a block that is not compressed.
fn rows(block: &[u8], each: &mut impl FnMut(&[u8], Version)) -> Option<()> {
    const VALUE: u8 = 1;
    let (mut rest, mut key) = (entries(block)?, Vec::new());
    while !rest.is_empty() {
        let (shared, own, value) = (varint(&mut rest)?, varint(&mut rest)?, varint(&mut rest)?);
        key.truncate(usize::try_from(shared).ok()?);
        key.extend_from_slice(take(&mut rest, own)?);
        let value = take(&mut rest, value)?;
        // Behind each key: what was done, and a sequence number of seven bytes.
        let (row, done) = key.split_last_chunk::<8>()?;
        let value = (done[0] == VALUE).then(|| value.to_vec());
        each(row, Version { sequence: u64::from_le_bytes(*done) >> 8, value });
    }
    Some(())
}

/// A table file without rows whose index has these bytes, for tests.
#[cfg(any(test, fuzzing))]
#[allow(clippy::cast_possible_truncation, reason = "a byte is taken from what is longer")]
pub(crate) fn with_index(index: &[u8]) -> Vec<u8> {
    fn add(file: &mut Vec<u8>, block: &[u8]) {
        let block = [block, &[0]].concat();
        file.extend_from_slice(&block);
        file.extend_from_slice(&checksum(&block).to_le_bytes());
    }
    fn append_varint(bytes: &mut Vec<u8>, mut value: usize) {
        while value > 0x7f {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    }
    let mut file = Vec::new();
    add(&mut file, index);
    let mut handle = vec![0];
    append_varint(&mut handle, index.len());
    let mut parts = vec![0, 13, handle.len() as u8];
    parts.extend_from_slice(b"rocksdb.index");
    parts.extend_from_slice(&handle);
    parts.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
    add(&mut file, &parts);
    let mut footer = [0; FOOTER];
    footer[0] = XXH3;
    footer[1..5].copy_from_slice(&EXTENDED_MAGIC);
    footer[13..17].copy_from_slice(&(parts.len() as u32).to_le_bytes());
    footer[41..45].copy_from_slice(&FORMAT.to_le_bytes());
    footer[45..].copy_from_slice(&MAGIC.to_le_bytes());
    let sum = checksum(&footer);
    footer[5..9].copy_from_slice(&sum.to_le_bytes());
    file.extend_from_slice(&footer);
    file
}

#[cfg(test)]
mod tests {
    use super::super::{Db, RowFile, Rows};
    use super::*;
    use crate::format::{Family, number_key};

    /// A database with a file of blocks and files of rows of several blocks each.
    fn database(dir: &Path) -> Db {
        let db = Db::create(&dir.join("db")).unwrap();
        let mut file = RowFile::create(dir.join("new.sst")).unwrap();
        for (number, len) in [(1, 300), (2, 70_000), (3, 3000), (4, 5000)] {
            file.put(&number_key(number), &vec![7; len]).unwrap();
        }
        db.ingest(Family::Data, &file.finish().unwrap()).unwrap();
        let mut rows = Rows::default();
        for number in 0..600 {
            rows.put(Family::Chunks, crate::codec::digest(&number_key(number)).as_bytes(), b"places");
            rows.put(Family::Log, &number_key(number), &[3; 60]);
        }
        db.write(&rows, true).unwrap();
        db.flush().unwrap();
        db
    }

    #[test]
    fn every_byte_of_a_table_lies_under_a_checksum_that_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        let tables = database(dir.path()).tables().unwrap();
        assert_eq!(tables.len(), 3);
        for table in tables {
            let family = if table.family == "data" { "" } else { table.family.as_str() };
            assert_eq!(family_of(&table.path).as_deref(), Some(family));
            let handles = check(&table.path, u64::MAX).ok().unwrap();
            let whole = std::fs::read(&table.path).unwrap();
            let end = handles.iter().fold(0, |at, handle| {
                assert_eq!(handle.offset, at, "{}", table.family);
                at + handle.size + TRAILER
            });
            assert_eq!(end, (whole.len() - FOOTER) as u64, "{}", table.family);
            for at in (0..whole.len())
                .step_by(if whole.len() > 60_000 { 499 } else { 17 })
                .chain(whole.len() - 120..whole.len())
            {
                let mut changed = whole.clone();
                changed[at] ^= 1 << (at % 8);
                std::fs::write(&table.path, changed).unwrap();
                let looked = table.look(RowBlocks::All).unwrap();
                assert!(matches!(looked, Looked::Damaged(_)), "byte {at} of {}", table.family);
            }
            for len in [0, 52, 53, whole.len() / 2, whole.len() - 1] {
                std::fs::write(&table.path, &whole[..len]).unwrap();
                assert!(matches!(table.look(RowBlocks::All).unwrap(), Looked::Damaged(_)), "{len}");
            }
            std::fs::write(&table.path, &whole).unwrap();
            assert!(matches!(table.look(RowBlocks::All).unwrap(), Looked::Whole));
            std::fs::remove_file(&table.path).unwrap();
            assert!(matches!(table.look(RowBlocks::All).unwrap(), Looked::Gone));
        }
    }

    #[test]
    fn rows_of_whole_blocks_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let tables = database(dir.path()).tables().unwrap();
        let table = tables.iter().find(|t| t.family == "log").unwrap();
        let numbers = || {
            let mut found = Vec::new();
            table.whole_rows(|key, version| {
                assert_eq!(version.value.as_deref(), Some(&[3; 60][..]));
                found.push(u64::from_be_bytes(key.try_into().unwrap()));
            });
            found
        };
        assert_eq!(numbers(), (0..600).collect::<Vec<_>>());
        let mut changed = std::fs::read(&table.path).unwrap();
        changed[100] ^= 1;
        std::fs::write(&table.path, changed).unwrap();
        let left = numbers();
        assert!(left.len() > 400 && left.len() < 600 && left.ends_with(&[598, 599]), "{}", left.len());
        // Blocks that lie.
        for bytes in [&[][..], &[0, 3, 0, b'k', b'e', b'y', 0, 0, 0, 0], &[0, 9, 9, 1, 0, 0, 0, 0], &[0xff; 12]] {
            assert_eq!(rows(bytes, &mut |_, _| panic!("a row")), None);
        }
    }

    #[test]
    fn long_rows_of_blocks_are_left_to_their_digests() {
        let dir = tempfile::tempdir().unwrap();
        let tables = database(dir.path()).tables().unwrap();
        let table = tables.iter().find(|t| t.family == "data").unwrap();
        let whole = std::fs::read(&table.path).unwrap();
        // What stands in one block with a long row is read with it.
        for (at, noticed) in [(100, false), (30_000, false), (72_000, true), (whole.len() - 1, true)] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&table.path, changed).unwrap();
            let looked = table.look(RowBlocks::WithoutDigest).unwrap();
            assert_eq!(matches!(looked, Looked::Damaged(_)), noticed, "byte {at}");
        }
    }

    fn varint_of(n: u16) -> [u8; 2] {
        let [low, high] = (n << 1).to_le_bytes();
        [low >> 1 | 0x80, high]
    }

    /// A file that is nearly all hole takes no memory because it says so.
    #[test]
    fn what_is_far_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (path, len) = (dir.path().join("000009.sst"), 3u64 << 30);
        let mut footer = with_index(&[]).split_off(with_index(&[]).len() - FOOTER);
        footer[5..9].fill(0);
        footer[13..17].copy_from_slice(&(2u32 << 30).to_le_bytes());
        let sum = checksum(&footer);
        footer[5..9].copy_from_slice(&sum.to_le_bytes());
        let file = File::create(&path).unwrap();
        file.set_len(len).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &footer, len - FOOTER as u64).unwrap();
        let table = Table { name: "000009.sst".to_owned(), path, family: String::new(), keys: None };
        let Looked::Damaged(why) = table.look(RowBlocks::All).unwrap() else { panic!("it is whole") };
        assert!(why.contains("longer than"), "{why}");
    }

    #[test]
    fn lists_that_lie_are_refused() {
        for bytes in [&[][..], &[1, 0, 0, 0], &[0xff; 8], &[9, 9, 9, 0, 0, 0, 0], &[0x80, 0, 0, 0, 0]] {
            let _ = (named_handles(bytes), index_handles(bytes));
        }
        // Names that grow by a byte each.
        let growing: Vec<u8> = (0..1000).flat_map(|n: u16| [&varint_of(n)[..], &[1, 2, b'n', 0, 0]].concat()).collect();
        assert_eq!(named_handles(&[&growing[..], &[0; 4]].concat()), None);
        assert_eq!(named_handles(&[&growing[..7 * 100], &[0; 4]].concat()).unwrap().len(), 100);
        assert_eq!(index_handles(&[0, 9, 1, 0, 0, 0, 0]), None);
        assert_eq!(index_handles(&[0, 1, b'k', 5, 7, 0, 0, 0, 0]), Some(vec![Handle { offset: 5, size: 7 }]));
    }
}
