//! Reading items: index, block, decode, check.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::codec::{Class, DataKey, OpenBlock, open_block};
use crate::format::{BlockHeader, Family, Place, from_bytes, index_key, number_key};
use crate::model::{ChunkId, EpochId, PageId, Role};

use super::Store;
use super::db::Db;
use super::error::StoreError;

/// Bytes that decoded blocks may take in memory.
#[derive(Debug, Clone, Copy)]
pub struct CacheSize(pub u64);

impl Default for CacheSize {
    fn default() -> Self {
        Self(96 << 20)
    }
}

/// A decoded block, and the ids of those of its items that were asked for.
#[derive(Debug)]
pub(super) struct Decoded {
    number: u64,
    block: OpenBlock,
    ids: Box<[OnceLock<[u8; 32]>]>,
    /// Which items were found to be those that were asked for, and how many.
    right: (Box<[AtomicBool]>, AtomicU32),
}

impl Decoded {
    /// The block's number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// An item's bytes.
    pub(super) fn item(&self, ordinal: u32) -> Option<&[u8]> {
        self.block.item(ordinal)
    }

    /// How many items it has.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// Counts an item that is the one that was asked for, once; true if that was the last one.
    fn is_right(&self, ordinal: u32) -> bool {
        let (items, count) = &self.right;
        let is_known = items.get(ordinal as usize).is_none_or(|item| item.swap(true, Ordering::Relaxed));
        !is_known && count.fetch_add(1, Ordering::Relaxed) + 1 == self.len()
    }
}

/// Where a thread has found its last chunk.
#[derive(Debug, Default)]
struct Trace {
    block: Weak<Decoded>,
    ordinal: u32,
    /// Tells stores apart: with other keys the same bytes have other ids.
    keys: [u8; 32],
    /// The one before stood right in front of it.
    in_order: bool,
}

thread_local! {
    /// Whoever reads files in the order in which they were captured finds the next chunk behind the last one, and needs no index for it:
    /// what its bytes are tells its id.
    static TRACE: RefCell<Trace> = RefCell::default();
}

impl Trace {
    /// The block to look into, and where.
    fn next(&self, keys: &[u8; 32]) -> Option<(Arc<Decoded>, u32)> {
        let is_known = self.in_order && self.keys == *keys;
        Some((self.block.upgrade().filter(|_| is_known)?, self.ordinal.checked_add(1)?))
    }

    fn found(&mut self, keys: [u8; 32], block: &Arc<Decoded>, ordinal: u32) {
        let is_same = std::ptr::eq(self.block.as_ptr(), Arc::as_ptr(block));
        let in_order = is_same && self.ordinal.checked_add(1) == Some(ordinal);
        *self = Self { block: Arc::downgrade(block), ordinal, keys, in_order };
    }
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<(Family8, u64), Arc<Decoded>> for ByBytes {
    fn weight(&self, _: &(Family8, u64), value: &Arc<Decoded>) -> u64 {
        (value.block.content.capacity() + value.block.len() * 52 + 256) as u64
    }
}

/// Data or tree, as a cache key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family8 {
    Data,
    Tree,
}

/// Decoded blocks, bounded by bytes.
#[derive(Debug)]
pub(super) struct Blocks {
    cache: Cache<(Family8, u64), Arc<Decoded>, ByBytes>,
    /// The last one of each sort that is larger than any that a capture makes, and for which the cache may have no room: what is read next of it must not
    /// have it decoded again.
    large: Mutex<[Option<Arc<Decoded>>; 2]>,
}

/// Bytes of such a block.
const LARGE: usize = 4 << 20;

impl Blocks {
    pub(super) fn new(size: CacheSize) -> Self {
        let estimate = usize::try_from(size.0 / (256 << 10)).unwrap_or(1024).max(16);
        // Half of it is for blocks that are new, of which those that were decoded ahead must stay until they are read: the usual small part
        // of many shards would not hold one block.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(estimate)
            .weight_capacity(size.0)
            .shards(4)
            .hot_allocation(0.5)
            .build()
            .expect("all that is needed is given");
        let hasher = DefaultHashBuilder::default();
        let cache = Cache::with_options(options, ByBytes, hasher, DefaultLifecycle::default());
        Self { cache, large: Mutex::default() }
    }

    /// A block, decoded by `decode` if it is not here.
    fn get(
        &self,
        (sort, number): (Sort, u64),
        decode: impl FnOnce() -> Result<Decoded, StoreError>,
    ) -> Result<Arc<Decoded>, StoreError> {
        let large = || self.large.lock().unwrap_or_else(PoisonError::into_inner);
        self.cache.get_or_insert_with(&(sort.cache(), number), || {
            let slot = usize::from(sort == Sort::Page);
            if let Some(decoded) = large()[slot].as_ref().filter(|decoded| decoded.number == number) {
                return Ok(decoded.clone());
            }
            let decoded = Arc::new(decode()?);
            if decoded.block.content.len() >= LARGE {
                large()[slot] = Some(decoded.clone());
            }
            Ok(decoded)
        })
    }
}

/// The bytes of a chunk or page, its id checked; or a part of them, or of several that stand one behind the other. Keeps its
/// block in memory while it lives.
#[derive(Debug, Clone)]
pub struct Item {
    decoded: Arc<Decoded>,
    range: Range<usize>,
}

impl Item {
    /// The number of the block that it is in. What was captured next stands mostly in the next block.
    #[must_use]
    pub fn block(&self) -> u64 {
        self.decoded.number
    }

    /// Some of its bytes; nothing if it has not so many.
    #[must_use]
    pub fn cut(mut self, range: Range<usize>) -> Option<Self> {
        let (start, end) = (self.range.start.checked_add(range.start)?, self.range.start.checked_add(range.end)?);
        let fits = start <= end && end <= self.range.end;
        self.range = start..end;
        fits.then_some(self)
    }

    /// Takes in the bytes of another that follow in the same block. False, and nothing done, if they stand elsewhere.
    #[must_use]
    pub fn join(&mut self, next: &Self) -> bool {
        let follows = Arc::ptr_eq(&self.decoded, &next.decoded) && self.range.end == next.range.start;
        if follows {
            self.range.end = next.range.end;
        }
        follows
    }
}

impl std::ops::Deref for Item {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.decoded.block.content.get(self.range.clone()).unwrap_or_default()
    }
}

/// Which sort of item: where its index and blocks are, how its id is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sort {
    Chunk,
    Page,
}

/// Gives the key of an epoch and class; nothing to whom it is closed.
pub(super) type Keys<'a> = &'a dyn Fn(EpochId, Class) -> Result<Option<Arc<DataKey>>, StoreError>;

impl Sort {
    pub(super) const fn index(self) -> Family {
        match self {
            Self::Chunk => Family::Chunks,
            Self::Page => Family::Pages,
        }
    }

    pub(super) const fn blocks(self) -> Family {
        match self {
            Self::Chunk => Family::Data,
            Self::Page => Family::Tree,
        }
    }

    pub(super) const fn class(self) -> Class {
        match self {
            Self::Chunk => Class::Chunk,
            Self::Page => Class::Page,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::Page => "page",
        }
    }

    const fn cache(self) -> Family8 {
        match self {
            Self::Chunk => Family8::Data,
            Self::Page => Family8::Tree,
        }
    }
}

impl Store {
    /// Bytes of decoded blocks that are kept.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.inner.blocks.cache.weight()
    }

    /// The bytes of a chunk.
    ///
    /// # Errors
    /// [`StoreError::Damage`] if it is missing or not what its id says.
    pub fn chunk(&self, id: &ChunkId) -> Result<Item, StoreError> {
        let keys = self.keyring().ids().commitment();
        let next = TRACE.with_borrow(|trace| trace.next(keys));
        if let Some((decoded, ordinal)) = next
            && let Some(item) = self.item_in(&decoded, Sort::Chunk, id.as_bytes(), ordinal)
        {
            TRACE.with_borrow_mut(|trace| trace.ordinal = ordinal);
            return Ok(item);
        }
        let (item, ordinal) = self.item(Sort::Chunk, id.as_bytes())?;
        TRACE.with_borrow_mut(|trace| trace.found(*keys, &item.decoded, ordinal));
        Ok(item)
    }

    /// The bytes of a page.
    ///
    /// # Errors
    /// [`StoreError::Damage`] if it is missing or not what its id says.
    pub fn page(&self, id: &PageId) -> Result<Item, StoreError> {
        Ok(self.item(Sort::Page, id.as_bytes())?.0)
    }

    /// True if a chunk is in none of the places that the index names for it.
    #[must_use]
    pub fn lacks_chunk(&self, id: &ChunkId) -> bool {
        self.item(Sort::Chunk, id.as_bytes()).is_err_and(|e| e.is_damage())
    }

    /// The block that holds a chunk, for those who want to read blocks in order; nothing if the chunk is unknown.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn chunk_block(&self, id: &ChunkId) -> Result<Option<u64>, StoreError> {
        Ok(places(&self.db(), Sort::Chunk, id.as_bytes())?.first().map(|p| p.block))
    }

    /// Decodes a block of chunks so that it is in memory when its chunks are asked for. Whatever stands in the way of that is
    /// not told: whoever asks for the chunks hears of it.
    pub fn warm(&self, block: u64) {
        let _ = self.decoded(&self.db(), Sort::Chunk, block);
    }

    /// True if a chunk is in the index.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn has_chunk(&self, id: &ChunkId) -> Result<bool, StoreError> {
        Ok(!places(&self.db(), Sort::Chunk, id.as_bytes())?.is_empty())
    }

    /// True if a page is in the index.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn has_page(&self, id: &PageId) -> Result<bool, StoreError> {
        Ok(!places(&self.db(), Sort::Page, id.as_bytes())?.is_empty())
    }

    /// An item, and its ordinal in its block.
    fn item(&self, sort: Sort, id: &[u8; 32]) -> Result<(Item, u32), StoreError> {
        self.reading(|db| self.find(db, sort, id))
    }

    fn find(&self, db: &Arc<Db>, sort: Sort, id: &[u8; 32]) -> Result<(Item, u32), StoreError> {
        let what = || format!("{} {}", sort.word(), hex(id));
        let places = places(db, sort, id).map_err(|e| match e {
            StoreError::Damage { .. } => StoreError::damage(what(), cause(&e)),
            other => other,
        })?;
        if places.is_empty() {
            return Err(StoreError::damage(what(), "it is not in the index"));
        }
        let mut first_error = None;
        for place in places {
            match self.item_at(db, sort, id, place) {
                Ok(Some(item)) => return Ok((item, place.ordinal)),
                Ok(None) => {}
                Err(e) if e.is_damage() => {
                    first_error.get_or_insert(e);
                }
                Err(e) => return Err(e),
            }
        }
        let why = first_error.map_or_else(|| "its bytes are not those its id says".to_owned(), |e| cause(&e));
        Err(StoreError::damage(what(), why))
    }

    /// The item at a place if its id is this one.
    pub(super) fn item_at(&self, db: &Db, sort: Sort, id: &[u8; 32], place: Place) -> Result<Option<Item>, StoreError> {
        let decoded = self.decoded(db, sort, place.block)?;
        if place.ordinal >= decoded.len() {
            return Err(StoreError::damage(format!("block {}", place.block), "it has fewer items than the index says"));
        }
        Ok(self.item_in(&decoded, sort, id, place.ordinal))
    }

    /// An item of a block if its id is this one.
    fn item_in(&self, decoded: &Arc<Decoded>, sort: Sort, id: &[u8; 32], ordinal: u32) -> Option<Item> {
        if self.id_at(decoded, sort, ordinal)? != *id {
            return None;
        }
        if decoded.is_right(ordinal) {
            self.inner.seen.add(decoded.number);
        }
        Some(Item { decoded: decoded.clone(), range: decoded.block.range(ordinal)? })
    }

    /// The id of an item's bytes, which is made once while the block is in memory; nothing if the block has not so many.
    pub(super) fn id_at(&self, decoded: &Decoded, sort: Sort, ordinal: u32) -> Option<[u8; 32]> {
        let slot = decoded.ids.get(ordinal as usize)?;
        let bytes = decoded.block.item(ordinal)?;
        let ids = self.keyring().ids();
        Some(*slot.get_or_init(|| match sort {
            Sort::Chunk => *ids.chunk(bytes).as_bytes(),
            Sort::Page => *ids.page(bytes).as_bytes(),
        }))
    }

    /// A decoded block, from the cache if it is there.
    pub(super) fn decoded(&self, db: &Db, sort: Sort, block: u64) -> Result<Arc<Decoded>, StoreError> {
        self.inner.blocks.get((sort, block), || self.decode(db, sort, block))
    }

    /// That the key in use may not open what is of this class.
    pub(super) fn closed(&self, class: Class) -> StoreError {
        let (act, needs) = match class {
            Class::Chunk => ("reading content", Role::Owner),
            Class::Page => ("reading names and structure", Role::Catalog),
        };
        StoreError::Closed { role: self.keyring().role(), act, needs }
    }

    /// Reads, opens and decodes a block past the cache.
    pub(super) fn decode(&self, db: &Db, sort: Sort, block: u64) -> Result<Decoded, StoreError> {
        self.decode_with(db, sort, block, &|epoch, class| self.data_key(db, epoch, class))
    }

    /// The same with keys of epochs from elsewhere.
    pub(super) fn decode_with(&self, db: &Db, sort: Sort, block: u64, keys: Keys) -> Result<Decoded, StoreError> {
        let what = || format!("block {block}");
        let opened = db.with(sort.blocks(), &number_key(block), |value| {
            let (header, ..) = BlockHeader::parse(value).map_err(|e| StoreError::damage(what(), e))?;
            let key = |class| keys(header.epoch, class);
            let class = sort.class();
            let content = key(class)?.ok_or_else(|| self.closed(class))?;
            open_block(value, key(Class::Page)?.as_deref(), Some(&content)).map_err(|e| StoreError::damage(what(), e))
        })?;
        let opened = opened.unwrap_or_else(|| Err(StoreError::damage(what(), "it is missing")))?;
        let ids = (0..opened.len()).map(|_| OnceLock::new()).collect();
        let right = ((0..opened.len()).map(|_| AtomicBool::new(false)).collect(), AtomicU32::new(0));
        Ok(Decoded { number: block, block: opened, ids, right })
    }
}

/// What is damaged and how, as the reason of further damage.
pub(super) fn cause(error: &StoreError) -> String {
    match error {
        StoreError::Damage { what, why } => format!("{what}: {why}"),
        other => other.to_string(),
    }
}

/// Where an item is, by its index row.
pub(super) fn places(db: &Db, sort: Sort, id: &[u8; 32]) -> Result<Vec<Place>, StoreError> {
    let row = db.with(sort.index(), &index_key(id), |value| from_bytes::<Vec<Place>>(value, "index entry"))?;
    match row {
        None => Ok(Vec::new()),
        Some(places) => {
            places.map_err(|e| StoreError::damage(format!("the index entry of {} {}", sort.word(), hex(id)), e))
        }
    }
}

pub(super) fn hex(id: &[u8; 32]) -> String {
    crate::model::Digest::from_bytes(*id).to_string()
}
