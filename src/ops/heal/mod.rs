//! Heal: what snapshots need and the store has no more is taken from elsewhere, wherever the bytes hash right.
//!
//! A folder, a mount, a file or an archive's member is read, cut as a capture cuts, and hashed with this store's keys. Another store with the same id key,
//! which is a copy of this one, is asked for chunks, pages and manifests by their ids, and before that for entries of the log: what these tell of is
//! needed too. What is found is stored as a capture stores it; no snapshot is made.

mod cut;
mod folder;
mod pack;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::archives::Keys;
use crate::model::{ChunkId, PageId, Progress};
use crate::store::{LostEntry, Store, StoreError, Waiting, Writer};
use crate::tree::Pages;

use super::query::QueryError;
use super::verify::{Missing, Touched, missing};

/// Bytes that are stored as one block.
const BLOCK_BYTES: usize = 1 << 20;

/// Where what is missing may be had.
#[derive(Debug)]
pub enum Elsewhere {
    /// A folder, mount or file; a file may be an archive too.
    Path(PathBuf),
    /// A copy of this store.
    Store(Box<Store>),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Healed {
    /// Chunks, pages, manifests and entries of the log that were missing, as far as that was known.
    pub missing: u64,
    /// Those that were found and stored.
    pub found: u64,
    /// Their bytes.
    pub found_bytes: u64,
    /// Chunks that are still missing.
    pub chunks_left: u64,
    /// Pages that are still missing. What is below them is not known.
    pub pages_left: u64,
    /// Manifests that are still missing, and with them the way to all that their snapshots hold.
    pub manifests_left: u64,
    /// Entries of the log that are still missing, or what they say.
    pub entries_left: Vec<LostEntry>,
    /// Snapshots that this touches.
    pub touched: Vec<Touched>,
}

impl Healed {
    /// How much is still missing.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.chunks_left + self.pages_left + self.manifests_left + self.entries_left.len() as u64
    }
}

/// True if a store has the same id key, so that its ids mean the same.
#[must_use]
pub fn is_copy(store: &Store, other: &Store) -> bool {
    store.keyring().ids().commitment() == other.keyring().ids().commitment()
}

/// Takes what is missing from elsewhere. `keys` open archives that are sealed.
///
/// # Errors
/// If another process writes and we are not to wait, or the store cannot be read or written to. What was stored by then stays.
pub fn heal(
    store: &Store,
    from: &[Elsewhere],
    keys: &dyn Keys,
    waiting: Waiting,
    progress: &dyn Progress,
) -> Result<Healed, QueryError> {
    let copies: Vec<_> = from
        .iter()
        .filter_map(|place| match place {
            Elsewhere::Store(copy) => Some(&**copy),
            Elsewhere::Path(_) => None,
        })
        .collect();
    let log = store.heal_log(&copies, waiting, &|| !progress.cancelled())?;
    let (mut healed, mut seen) = (Healed::default(), HashSet::new());
    (healed.missing, healed.found, healed.entries_left) = (log.missing, log.found, log.left);
    loop {
        let (lost, touched) = missing(store, &Pages::new(store, 8 << 20), progress)?;
        if progress.cancelled() {
            return Err(QueryError::Interrupted);
        }
        healed.missing += lost.chunks.iter().map(|id| *id.as_bytes()).filter(|id| seen.insert(*id)).count() as u64;
        healed.missing += lost.pages.iter().map(|id| *id.as_bytes()).filter(|id| seen.insert(*id)).count() as u64;
        healed.missing += lost.manifests.iter().map(|id| *id.as_bytes()).filter(|id| seen.insert(*id)).count() as u64;
        let is_whole = lost.chunks.is_empty() && lost.pages.is_empty() && lost.manifests.is_empty();
        let found = if is_whole { (0, 0) } else { look(store, &lost, from, keys, waiting, progress)? };
        healed.found += found.0;
        healed.found_bytes += found.1;
        // Below pages and manifests that were found more may be missing.
        if found.0 == 0 || lost.pages.is_empty() && lost.manifests.is_empty() {
            let (left, touched) = match found.0 {
                0 => (lost, touched),
                _ => missing(store, &Pages::new(store, 8 << 20), progress)?,
            };
            (healed.chunks_left, healed.pages_left) = (left.chunks.len() as u64, left.pages.len() as u64);
            healed.manifests_left = left.manifests.len() as u64;
            healed.touched = touched;
            return Ok(healed);
        }
    }
}

/// Looks everywhere once, stores what is found; gives its number and bytes.
fn look(
    store: &Store,
    lost: &Missing,
    from: &[Elsewhere],
    keys: &dyn Keys,
    waiting: Waiting,
    progress: &dyn Progress,
) -> Result<(u64, u64), QueryError> {
    let writer = store.writer(waiting, &|| !progress.cancelled())?;
    let finder = Finder {
        writer,
        wanted: lost,
        gathered: Mutex::default(),
        pages: Mutex::default(),
        manifests: AtomicU64::new(0),
    };
    for place in from {
        match place {
            Elsewhere::Path(path) => {
                folder::look(path, &finder, progress)?;
                if path.is_file() {
                    pack::look(path, keys, &finder, progress)?;
                }
            }
            Elsewhere::Store(other) => finder.ask(other, progress)?,
        }
    }
    let found = finder.finish()?;
    store.refresh()?;
    Ok(found)
}

/// Bytes of items on their way to a block.
struct Gathered<T> {
    content: Vec<u8>,
    items: Vec<(T, u32)>,
    /// Of all blocks so far.
    count: u64,
    bytes: u64,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { content: Vec::new(), items: Vec::new(), count: 0, bytes: 0 }
    }
}

impl<T> Gathered<T> {
    fn add(&mut self, id: T, bytes: &[u8]) {
        self.content.extend_from_slice(bytes);
        self.items.push((id, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        self.count += 1;
        self.bytes += bytes.len() as u64;
    }

    fn put(&mut self, put: impl FnOnce(&[u8], &[(T, u32)]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        put(&self.content, &self.items)?;
        self.content.clear();
        self.items.clear();
        Ok(())
    }
}

/// Takes what is wanted, from several threads.
struct Finder<'a> {
    writer: Writer,
    wanted: &'a Missing,
    gathered: Mutex<Gathered<ChunkId>>,
    pages: Mutex<Gathered<PageId>>,
    /// Manifests that were found.
    manifests: AtomicU64,
}

impl Finder<'_> {
    /// Stores a chunk if it is one of those that are missing.
    fn chunk(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let id = self.writer.store().keyring().ids().chunk(bytes);
        if !self.wanted.chunks.contains(&id) || !self.writer.claim_chunk(&id)? {
            return Ok(());
        }
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.add(id, bytes);
        if gathered.content.len() < BLOCK_BYTES {
            return Ok(());
        }
        gathered.put(|content, items| self.writer.put_chunks(content, items))
    }

    fn page(&self, id: PageId, bytes: &[u8]) -> Result<(), StoreError> {
        if self.writer.store().keyring().ids().page(bytes) != id || !self.writer.claim_page(&id)? {
            return Ok(());
        }
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.add(id, bytes);
        if pages.content.len() < BLOCK_BYTES {
            return Ok(());
        }
        pages.put(|content, items| self.writer.put_pages(content, items))
    }

    /// Asks a copy of the store for what is missing by its id.
    fn ask(&self, other: &Store, progress: &dyn Progress) -> Result<(), QueryError> {
        for id in &self.wanted.manifests {
            match other.manifest(id) {
                Ok(manifest) => {
                    let stored = self.writer.put_manifest(id, &manifest)?;
                    self.manifests.fetch_add(u64::from(stored), Ordering::Relaxed);
                }
                Err(e) if e.is_damage() => {}
                Err(e) => return Err(e.into()),
            }
            super::query::advance(progress)?;
        }
        for id in &self.wanted.pages {
            match other.page(id) {
                Ok(bytes) => self.page(*id, &bytes)?,
                Err(e) if e.is_damage() => {}
                Err(e) => return Err(e.into()),
            }
            super::query::advance(progress)?;
        }
        for id in &self.wanted.chunks {
            match other.chunk(id) {
                Ok(bytes) => self.chunk(&bytes)?,
                Err(e) if e.is_damage() => {}
                Err(e) => return Err(e.into()),
            }
            super::query::advance(progress)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(u64, u64), StoreError> {
        let manifests = self.manifests.into_inner();
        let mut chunks = self.gathered.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut pages = self.pages.into_inner().unwrap_or_else(PoisonError::into_inner);
        chunks.put(|content, items| self.writer.put_chunks(content, items))?;
        pages.put(|content, items| self.writer.put_pages(content, items))?;
        self.writer.keep()?;
        Ok((chunks.count + pages.count + manifests, chunks.bytes + pages.bytes))
    }
}
