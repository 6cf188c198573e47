//! The capture cache: what the last capture of a dataset saw, in the order of its walk, sealed. Its loss costs time only.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::codec::{CacheKey, random_bytes};
use crate::format::{CacheHead, CacheRecord, HostMark, from_bytes, to_bytes};
use crate::model::{DatasetName, Digest, Entry};
use crate::store::{Store, StoreError, Writer};

use super::kept::Kept;

const MAGIC: [u8; 8] = *b"LDRCACH1";
/// Records of a segment.
const SEGMENT: usize = 2048;
/// Bytes kept for the sealed head, and all that stands before the records.
const HEAD_ROOM: usize = 484;
const FRONT: usize = 8 + 16 + 4 + HEAD_ROOM;
const PROGRAM: &str = concat!("larder ", env!("CARGO_PKG_VERSION"));

/// Where a dataset's cache is.
pub(super) struct CacheFile {
    path: PathBuf,
}

impl CacheFile {
    pub(super) fn new(store: &Store, dataset: &DatasetName) -> Self {
        let key = store.keyring().ids().dataset(dataset);
        Self { path: store.client_dirs().cache.join(store.id().to_string()).join(format!("{key}.cache")) }
    }
}

/// A cache being read alongside the walk.
pub(super) struct OldCache {
    file: BufReader<File>,
    key: CacheKey,
    segment: u64,
    records: VecDeque<CacheRecord>,
    ended: bool,
    /// Files that were not read again.
    hits: u64,
    /// Where entries must be looked up.
    kept: Option<Kept>,
}

impl Drop for OldCache {
    fn drop(&mut self) {
        log::info!("{} files unchanged since the last capture, by its cache", self.hits);
    }
}

impl OldCache {
    /// Opens the cache if it is of this version and store. If gc has removed something since, each of its entries is looked up.
    ///
    /// `log_hash` and `gc_generation` tell how the store is now: as its writer sees it, or as a reader does.
    pub(super) fn open(
        store: &Store,
        file: &CacheFile,
        log_hash: impl Fn(u64) -> Result<Option<Digest>, StoreError>,
        gc_generation: Result<u64, StoreError>,
    ) -> Option<Self> {
        // Only a regular file: a pipe in its place would be waited for.
        let regular = file.path.symlink_metadata().is_ok_and(|m| m.is_file());
        if !regular {
            return None;
        }
        let mut reader = BufReader::with_capacity(1 << 20, File::open(&file.path).ok()?);
        let mut front = [0; 24];
        reader.read_exact(&mut front).ok()?;
        let (magic, salt) = front.split_at(8);
        if magic != MAGIC {
            return None;
        }
        let key = CacheKey::new(store.keyring().ids(), salt.try_into().ok()?);
        let mut cache =
            Self { file: reader, key, segment: 0, records: VecDeque::new(), ended: false, hits: 0, kept: None };
        let head = CacheHead::from_bytes(&cache.next_segment()?).ok()?;
        cache.file.seek(SeekFrom::Start(FRONT as u64)).ok()?;
        let good =
            head.program == PROGRAM && head.store == store.id() && log_hash(head.sequence).ok()? == Some(head.log_hash);
        cache.kept = (gc_generation.ok()? != head.gc_generation).then(|| Kept::new(store));
        log::debug!("the capture cache {} {}", file.path.display(), if good { "fits" } else { "is of another time" });
        good.then_some(cache)
    }

    /// True if the store has all that an entry refers to.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.holds(entry))
    }

    /// A file was taken from here.
    pub(super) fn count_hit(&mut self) {
        self.hits += 1;
    }

    fn next_segment(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 4];
        self.file.read_exact(&mut len).ok()?;
        let len = u32::from_le_bytes(len);
        if len > 64 << 20 {
            return None;
        }
        let mut sealed = vec![0; len as usize];
        self.file.read_exact(&mut sealed).ok()?;
        let plain = self.key.open(self.segment, &sealed).ok();
        self.segment += 1;
        plain
    }

    fn peek(&mut self) -> Option<&CacheRecord> {
        while self.records.is_empty() && !self.ended {
            let records = self.next_segment().and_then(|plain| from_bytes::<Vec<CacheRecord>>(&plain, "cache").ok());
            match records {
                // A cut or damaged cache ends there: what follows is read afresh.
                None => self.ended = true,
                Some(records) if records.is_empty() => self.ended = true,
                Some(records) => self.records = records.into(),
            }
        }
        self.records.front()
    }

    /// Moves on to `name` in the folder the cache is in and gives its record. A folder's record is entered by this.
    pub(super) fn find(&mut self, name: &[u8]) -> Option<(HostMark, Entry)> {
        loop {
            let (_, entry) = self.peek()?.item.as_ref()?;
            match entry.name.as_bytes().cmp(name) {
                std::cmp::Ordering::Greater => return None,
                std::cmp::Ordering::Equal => return self.records.pop_front()?.item,
                std::cmp::Ordering::Less => {
                    let folder = entry.folder().is_some();
                    self.records.pop_front();
                    if folder {
                        self.leave();
                    }
                }
            }
        }
    }

    /// Moves behind the folder that the cache is in.
    pub(super) fn leave(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            if self.peek().is_none() {
                return;
            }
            match self.records.pop_front() {
                Some(CacheRecord { leave: true, .. }) => depth -= 1,
                Some(CacheRecord { item: Some((_, entry)), .. }) if entry.folder().is_some() => depth += 1,
                _ => {}
            }
        }
    }
}

/// A cache being written beside the old one.
pub(super) struct NewCache {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    salt: [u8; 16],
    key: CacheKey,
    segment: u64,
    records: Vec<CacheRecord>,
    failed: Option<String>,
    gc_generation: u64,
}

/// Marks the folder of caches for programs that leave those out, by the rules of <https://bford.info/cachedir/>.
fn tag(caches: &Path) {
    let path = caches.join("CACHEDIR.TAG");
    if !path.exists() {
        // Without it some captures are longer than they need be.
        let _ = fs::write(path, super::listing::CACHE_SIGNATURE);
    }
}

impl NewCache {
    /// Begins a cache file; nothing if none can be written.
    pub(super) fn create(writer: &Writer, file: &CacheFile) -> Option<Self> {
        let store = writer.store();
        let dir = file.path.parent()?;
        fs::create_dir_all(dir).ok()?;
        tag(&store.client_dirs().cache);
        let beside = file.path.with_extension(format!("{}.new", std::process::id()));
        clear_leftovers(dir);
        let salt = random_bytes().ok()?;
        let key = CacheKey::new(store.keyring().ids(), &salt);
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&beside).ok()?);
        // The head is known last: its room is kept free.
        out.write_all(&[0; FRONT]).ok()?;
        let gc_generation = writer.gc_generation().ok()?;
        let path = file.path.clone();
        Some(Self { path, beside, file: out, salt, key, segment: 1, records: Vec::new(), failed: None, gc_generation })
    }

    pub(super) fn push(&mut self, record: CacheRecord) {
        self.records.push(record);
        if self.records.len() >= SEGMENT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let plain = to_bytes(&std::mem::take(&mut self.records));
        let written = self
            .key
            .seal(self.segment, &plain)
            .map_err(io::Error::other)
            .and_then(|sealed| write_segment(&mut self.file, &sealed));
        self.segment += 1;
        if let Err(e) = written {
            self.failed.get_or_insert(e.to_string());
        }
    }

    /// Puts the cache in place of the old one, bound to the log entry of the snapshot that it describes.
    pub(super) fn finish(mut self, store: &Store, sequence: u64, log_hash: Digest) -> io::Result<()> {
        if !self.records.is_empty() {
            self.flush();
        }
        if let Some(why) = self.failed.take() {
            return Err(io::Error::other(why));
        }
        let head = CacheHead {
            program: PROGRAM.to_owned(),
            store: store.id(),
            sequence,
            log_hash,
            gc_generation: self.gc_generation,
        };
        let sealed = self.key.seal(0, &head.to_bytes()).map_err(io::Error::other)?;
        if sealed.len() > HEAD_ROOM {
            return Err(io::Error::other("its head is too long"));
        }
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&MAGIC)?;
        self.file.write_all(&self.salt)?;
        write_segment(&mut self.file, &sealed)?;
        self.file.flush()?;
        fs::rename(&self.beside, &self.path)
    }
}

impl Drop for NewCache {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

/// Removes what captures that were cut left beside. The writer lock is held: no other capture is under way.
fn clear_leftovers(dir: &std::path::Path) {
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        if item.path().extension().is_some_and(|e| e == "new") {
            let _ = fs::remove_file(item.path());
        }
    }
}

fn write_segment(out: &mut impl Write, sealed: &[u8]) -> io::Result<()> {
    let len = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(sealed)
}
