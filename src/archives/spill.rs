//! Records that are too many for memory: kept in order, sealed, in a temporary file that has no name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::codec::{SpillKey, random_bytes};

/// Plain bytes that are sealed together.
const SEGMENT: usize = 256 << 10;

/// Records in the order in which they were pushed. They can be read as often as is wanted.
#[derive(Debug)]
pub struct Spill {
    dir: PathBuf,
    /// Bytes of whole segments that may stay in memory.
    room: usize,
    open: Vec<u8>,
    segments: Vec<Segment>,
    file: Option<(File, SpillKey, u64)>,
    records: u64,
}

#[derive(Debug, Clone)]
enum Segment {
    Memory(Arc<Vec<u8>>),
    File { at: u64, sealed: usize, plain: usize },
}

impl Spill {
    /// With so many bytes of memory; what is more goes to a file in `dir`.
    #[must_use]
    pub fn new(dir: &Path, memory: usize) -> Self {
        Self { dir: dir.to_owned(), room: memory, open: Vec::new(), segments: Vec::new(), file: None, records: 0 }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let len = u32::try_from(record.len()).map_err(io::Error::other)?;
        if self.open.capacity() == 0 {
            self.open.reserve(SEGMENT + SEGMENT / 8);
        }
        self.open.extend_from_slice(&len.to_le_bytes());
        self.open.extend_from_slice(record);
        self.records += 1;
        if self.open.len() >= SEGMENT { self.close() } else { Ok(()) }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.records
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some(room) = self.room.checked_sub(self.open.len()) {
            self.room = room;
            self.segments.push(Segment::Memory(Arc::new(std::mem::take(&mut self.open))));
            return Ok(());
        }
        self.room = 0;
        if self.file.is_none() {
            let key = SpillKey::new().map_err(io::Error::other)?;
            self.file = Some((unnamed(&self.dir)?, key, 0));
        }
        let Some((file, key, end)) = &mut self.file else { return Ok(()) };
        let sealed = key.seal(self.segments.len() as u64, &self.open).map_err(io::Error::other)?;
        file.write_all_at(&sealed, *end)?;
        self.segments.push(Segment::File { at: *end, sealed: sealed.len(), plain: self.open.len() });
        *end += sealed.len() as u64;
        self.open.clear();
        if self.open.capacity() > 4 * SEGMENT {
            self.open = Vec::new();
        }
        Ok(())
    }

    /// Nothing more comes: what waits for a whole segment need not stay in memory.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn end(&mut self) -> io::Result<()> {
        if !self.open.is_empty() {
            self.close()?;
        }
        self.open = Vec::new();
        Ok(())
    }

    /// Reads the records from the first on.
    #[must_use]
    pub fn read(&self) -> Records<'_> {
        Records { spill: self, cursor: Cursor::default() }
    }

    /// The record behind a cursor, which moves on.
    ///
    /// # Errors
    /// If the file cannot be read, or somebody has changed it.
    pub fn next<'a>(&self, cursor: &'a mut Cursor) -> io::Result<Option<&'a [u8]>> {
        while cursor.at >= cursor.segment.len() {
            if !self.load(cursor)? {
                return Ok(None);
            }
        }
        let rest = &cursor.segment[cursor.at..];
        let short = || io::Error::other("a temporary file is cut short");
        let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let len = u32::from_le_bytes(*len) as usize;
        cursor.at += 4 + len;
        rest.get(..len).ok_or_else(short).map(Some)
    }

    fn load(&self, cursor: &mut Cursor) -> io::Result<bool> {
        let segment = match self.segments.get(cursor.next) {
            Some(Segment::Memory(plain)) => plain.clone(),
            Some(&Segment::File { at, sealed, plain }) => {
                let Some((file, key, _)) = &self.file else { return Ok(false) };
                let mut bytes = vec![0; sealed];
                file.read_exact_at(&mut bytes, at)?;
                Arc::new(key.open(cursor.next as u64, plain, &bytes).map_err(io::Error::other)?)
            }
            None if cursor.next == self.segments.len() => Arc::new(self.open.clone()),
            None => return Ok(false),
        };
        *cursor = Cursor { next: cursor.next + 1, segment, at: 0 };
        Ok(true)
    }
}

/// Where in a [`Spill`] someone reads. What is pushed once the end was reached it may not see.
#[derive(Debug, Default)]
pub struct Cursor {
    next: usize,
    segment: Arc<Vec<u8>>,
    at: usize,
}

/// Records of a [`Spill`], one after the other.
#[derive(Debug)]
pub struct Records<'a> {
    spill: &'a Spill,
    cursor: Cursor,
}

impl Records<'_> {
    /// The next record.
    ///
    /// # Errors
    /// If the file cannot be read, or somebody has changed it.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.spill.next(&mut self.cursor)
    }
}

/// A file that has no name, or has none any more when this returns.
fn unnamed(dir: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let opened: Result<OwnedFd, _> = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR);
    if let Ok(fd) = opened {
        return Ok(File::from(fd));
    }
    // Not every file system has such files.
    let name = u64::from_le_bytes(random_bytes().map_err(io::Error::other)?);
    let path = dir.join(format!(".larder-{name:016x}.tmp"));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_from_memory_and_file() {
        let dir = tempfile::tempdir().unwrap();
        for memory in [0, 400 << 10, 64 << 20] {
            let mut spill = Spill::new(dir.path(), memory);
            for n in 0..100_000u32 {
                spill.push(format!("record {n}").as_bytes()).unwrap();
            }
            spill.push(&vec![7; 1 << 20]).unwrap();
            assert_eq!((spill.len(), spill.file.is_some()), (100_001, memory < 1 << 20));
            for _ in 0..2 {
                let mut records = spill.read();
                for n in 0..100_000u32 {
                    assert_eq!(records.next().unwrap().unwrap(), format!("record {n}").as_bytes());
                }
                assert_eq!(records.next().unwrap().map(<[u8]>::len), Some(1 << 20));
                assert!(records.next().unwrap().is_none() && records.next().unwrap().is_none());
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(Spill::new(dir.path(), 0).read().next().unwrap().is_none());
    }

    #[test]
    fn what_was_changed_in_the_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(dir.path(), 0);
        for n in 0..40_000u32 {
            spill.push(format!("secret {n}").as_bytes()).unwrap();
        }
        let (file, ..) = spill.file.as_ref().unwrap();
        let mut bytes = vec![0; 64];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"secret"));
        bytes[9] ^= 1;
        file.write_all_at(&bytes, 0).unwrap();
        assert!(spill.read().next().is_err());
    }
}
