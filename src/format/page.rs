//! Section 12: pages.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};

use super::encoding::{DecodeError, decode_ext, encoded, encoded_byte, from_bytes, invalid, to_bytes};
use super::{MAX_CHUNK, MAX_LEVEL, MAX_PAGE, MAX_TOTAL};
use crate::model::{
    ChunkCounts, ChunkId, ChunkRef, Counts, Entry, Ext, Extent, HoleCounts, LinkCounts, LinkGroup, LinkItem, LongValue,
    Name, PageId, RecordCounts, RecordItem, RecordPlace,
};

/// What a page is a piece of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageKind {
    /// A folder.
    Directory,
    /// A long chunk list.
    ChunkList,
    /// A long hole map.
    HoleMap,
    /// The map of hard links.
    Links,
    /// The index of a record dataset.
    Records,
}
encoded_byte!(PageKind, "kind of page" { Directory = 1, ChunkList = 2, HoleMap = 3, Links = 4, Records = 5 });

impl PageKind {
    /// Its number on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Directory => 1,
            Self::ChunkList => 2,
            Self::HoleMap => 3,
            Self::Links => 4,
            Self::Records => 5,
        }
    }
}

impl Encode for Counts {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        (self.entries, self.subdirs, self.total, self.bytes).encode(e)
    }
}

impl<C> Decode<C> for Counts {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        let (entries, subdirs, total, bytes) = Decode::decode(d)?;
        // Preorder numbers are sums of totals: whoever adds them need not fear that they overflow.
        if subdirs > entries || entries > total || total > MAX_TOTAL {
            return Err(invalid("impossible counts of entries"));
        }
        Ok(Self { entries, subdirs, total, bytes })
    }
}

encoded!(ChunkCounts { chunks, bytes });
encoded!(HoleCounts { holes, bytes });
encoded!(LinkCounts { groups, names });
encoded!(ChunkRef { id, len });
encoded!(Extent { offset, len });
encoded!(RecordCounts { items });
encoded!(RecordPlace { file, part, day });
encoded!(RecordItem { hash, place });
encoded!(LinkItem { group, names, first });

/// What the leaves of a tree hold.
pub trait PageItem: Encode + Decode<()> + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// Which trees hold it.
    const KIND: PageKind;
    /// What sorts it and decides page boundaries.
    type Key: Encode + Decode<()> + Clone + Ord + std::fmt::Debug + Send + Sync + 'static;
    /// Sums over items.
    type Counts: Encode + Decode<()> + Copy + PartialEq + Default + std::fmt::Debug + Send + Sync + 'static;

    /// The item's key.
    fn key(&self) -> Self::Key;
    /// The bytes of a key that decide whether a page ends.
    fn boundary(key: &Self::Key) -> Vec<u8>;
    /// What one item counts.
    fn counts(&self) -> Self::Counts;
    /// The sum of two counts; nothing if it overflows.
    fn add(a: &Self::Counts, b: &Self::Counts) -> Option<Self::Counts>;
    /// How many items lie below a page at the lowest level, where the sums tell it; else as many as a page needs for its natural end.
    #[must_use]
    fn items(_: &Self::Counts) -> u64 {
        u64::MAX
    }
    /// True if an item may be like this, beyond what its encoding says.
    fn possible(&self) -> bool;
    /// True if a key of a page above leaves may be like this.
    #[must_use]
    fn possible_key(_: &Self::Key) -> bool {
        true
    }
    /// True if items in this order may stand behind each other.
    fn ordered(a: &Self::Key, b: &Self::Key) -> bool;
}

impl PageItem for Entry {
    const KIND: PageKind = PageKind::Directory;
    type Key = Name;
    type Counts = Counts;

    fn key(&self) -> Name {
        self.name.clone()
    }
    fn boundary(key: &Name) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
    fn counts(&self) -> Counts {
        let below = self.folder().map_or(Counts::default(), |tree| tree.counts);
        Counts {
            entries: 1,
            subdirs: u64::from(self.folder().is_some()),
            total: below.total.saturating_add(1),
            bytes: self.file().map_or(below.bytes, |file| file.size),
        }
    }
    fn add(a: &Counts, b: &Counts) -> Option<Counts> {
        Some(Counts {
            entries: a.entries.checked_add(b.entries)?,
            subdirs: a.subdirs.checked_add(b.subdirs)?,
            total: a.total.checked_add(b.total)?,
            // Sparse files of exabytes may be many: the sum stops at the limit.
            bytes: a.bytes.saturating_add(b.bytes),
        })
    }
    fn items(counts: &Counts) -> u64 {
        counts.entries
    }
    fn possible(&self) -> bool {
        Self::possible_key(&self.name)
    }
    /// Only a root has no name, and no root is in a folder.
    fn possible_key(key: &Name) -> bool {
        *key != Name::root()
    }
    fn ordered(a: &Name, b: &Name) -> bool {
        a < b
    }
}

impl PageItem for ChunkRef {
    const KIND: PageKind = PageKind::ChunkList;
    type Key = ChunkId;
    type Counts = ChunkCounts;

    fn key(&self) -> ChunkId {
        self.id
    }
    fn boundary(key: &ChunkId) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
    fn counts(&self) -> ChunkCounts {
        ChunkCounts { chunks: 1, bytes: u64::from(self.len) }
    }
    fn add(a: &ChunkCounts, b: &ChunkCounts) -> Option<ChunkCounts> {
        Some(ChunkCounts { chunks: a.chunks.checked_add(b.chunks)?, bytes: a.bytes.checked_add(b.bytes)? })
    }
    fn possible(&self) -> bool {
        self.len > 0 && self.len as usize <= MAX_CHUNK
    }
    fn ordered(_: &ChunkId, _: &ChunkId) -> bool {
        true
    }
}

impl PageItem for Extent {
    const KIND: PageKind = PageKind::HoleMap;
    type Key = (u64, u64);
    type Counts = HoleCounts;

    fn key(&self) -> (u64, u64) {
        (self.offset, self.len)
    }
    fn boundary(key: &(u64, u64)) -> Vec<u8> {
        [key.0.to_be_bytes(), key.1.to_be_bytes()].concat()
    }
    fn counts(&self) -> HoleCounts {
        HoleCounts { holes: 1, bytes: self.len }
    }
    fn add(a: &HoleCounts, b: &HoleCounts) -> Option<HoleCounts> {
        Some(HoleCounts { holes: a.holes.checked_add(b.holes)?, bytes: a.bytes.checked_add(b.bytes)? })
    }
    fn possible(&self) -> bool {
        Self::possible_key(&self.key())
    }
    fn possible_key((offset, len): &(u64, u64)) -> bool {
        *len > 0 && offset.checked_add(*len).is_some()
    }
    fn ordered(a: &(u64, u64), b: &(u64, u64)) -> bool {
        a.0.checked_add(a.1).is_some_and(|end| end < b.0)
    }
}

impl PageItem for LinkItem {
    const KIND: PageKind = PageKind::Links;
    type Key = LinkGroup;
    type Counts = LinkCounts;

    fn key(&self) -> LinkGroup {
        self.group
    }
    fn boundary(key: &LinkGroup) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
    fn counts(&self) -> LinkCounts {
        LinkCounts { groups: 1, names: self.names }
    }
    fn add(a: &LinkCounts, b: &LinkCounts) -> Option<LinkCounts> {
        Some(LinkCounts { groups: a.groups.checked_add(b.groups)?, names: a.names.checked_add(b.names)? })
    }
    fn items(counts: &LinkCounts) -> u64 {
        counts.groups
    }
    fn possible(&self) -> bool {
        self.names > 0 && self.first != LongValue::Inline(Vec::new())
    }
    fn ordered(a: &LinkGroup, b: &LinkGroup) -> bool {
        a < b
    }
}

impl PageItem for RecordItem {
    const KIND: PageKind = PageKind::Records;
    type Key = ([u8; 6], RecordPlace);
    type Counts = RecordCounts;

    fn key(&self) -> Self::Key {
        (self.hash, self.place)
    }
    fn boundary((hash, place): &Self::Key) -> Vec<u8> {
        let day = place.day.cast_unsigned() ^ 1 << 31;
        [&hash[..], &place.file.to_be_bytes(), &place.part.to_be_bytes(), &day.to_be_bytes()].concat()
    }
    fn counts(&self) -> RecordCounts {
        RecordCounts { items: 1 }
    }
    fn add(a: &RecordCounts, b: &RecordCounts) -> Option<RecordCounts> {
        Some(RecordCounts { items: a.items.checked_add(b.items)? })
    }
    fn possible(&self) -> bool {
        true
    }
    fn ordered(a: &Self::Key, b: &Self::Key) -> bool {
        a < b
    }
}

/// A reference from a page to one a level below.
#[derive(Debug, Clone, PartialEq)]
pub struct Child<T: PageItem> {
    /// Key of the last item below.
    pub last: T::Key,
    /// The page.
    pub page: PageId,
    /// Sums over it.
    pub counts: T::Counts,
}

impl<T: PageItem> Encode for Child<T> {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.last.encode(e)?;
        self.page.encode(e)?;
        self.counts.encode(e)
    }
}

impl<T: PageItem> Decode<()> for Child<T> {
    fn decode<D: Decoder<Context = ()>>(d: &mut D) -> Result<Self, BincodeDecode> {
        Ok(Self { last: Decode::decode(d)?, page: Decode::decode(d)?, counts: Decode::decode(d)? })
    }
}

/// The items of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum PageItems<T: PageItem> {
    /// Of a leaf.
    Leaf(Vec<T>),
    /// Of a page above leaves.
    Inner(Vec<Child<T>>),
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T: PageItem> {
    /// 0 for a leaf.
    pub level: u8,
    /// Sums over everything below.
    pub counts: T::Counts,
    /// Its items.
    pub items: PageItems<T>,
    /// What later versions add.
    pub ext: Ext,
}

impl<T: PageItem> Encode for Page<T> {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        T::KIND.encode(e)?;
        self.level.encode(e)?;
        self.counts.encode(e)?;
        match &self.items {
            PageItems::Leaf(items) => items.encode(e)?,
            PageItems::Inner(items) => items.encode(e)?,
        }
        self.ext.encode(e)
    }
}

impl<T: PageItem> Decode<()> for Page<T> {
    fn decode<D: Decoder<Context = ()>>(d: &mut D) -> Result<Self, BincodeDecode> {
        let kind = PageKind::decode(d)?;
        if kind != T::KIND {
            return Err(invalid(format!("a page of another kind: {kind:?}")));
        }
        let level = u8::decode(d)?;
        if level > MAX_LEVEL {
            return Err(invalid(format!("level {level}")));
        }
        let counts = Decode::decode(d)?;
        let items = if level == 0 { PageItems::Leaf(Decode::decode(d)?) } else { PageItems::Inner(Decode::decode(d)?) };
        Ok(Self { level, counts, items, ext: decode_ext(d)? })
    }
}

impl<T: PageItem> Page<T> {
    /// The encoded form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The key of the last item below; nothing of an empty map.
    #[must_use]
    pub fn last_key(&self) -> Option<T::Key> {
        match &self.items {
            PageItems::Leaf(items) => items.last().map(PageItem::key),
            PageItems::Inner(children) => children.last().map(|child| child.last.clone()),
        }
    }

    /// The least key that is known without a look at what is below: of a leaf the first one, of another page the last one below its first child.
    #[must_use]
    pub fn first_key(&self) -> Option<T::Key> {
        match &self.items {
            PageItems::Leaf(items) => items.first().map(PageItem::key),
            PageItems::Inner(children) => children.first().map(|child| child.last.clone()),
        }
    }

    /// Decodes a page; checks items, order and sums.
    ///
    /// # Errors
    /// If it is malformed in any way.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "page";
        if bytes.len() > MAX_PAGE {
            return Err(DecodeError::malformed(WHAT, "longer than a page may be"));
        }
        let page: Self = from_bytes(bytes, WHAT)?;
        let (possible, ordered, sum) = match &page.items {
            PageItems::Leaf(items) => (
                items.iter().all(PageItem::possible),
                in_order::<T>(items.iter().map(PageItem::key)),
                total::<T>(items.iter().map(PageItem::counts)),
            ),
            PageItems::Inner(items) => {
                if items.is_empty() {
                    return Err(DecodeError::malformed(WHAT, "nothing below an inner page"));
                }
                (
                    items.iter().all(|c| T::possible_key(&c.last)),
                    in_order::<T>(items.iter().map(|c| c.last.clone())),
                    total::<T>(items.iter().map(|c| c.counts)),
                )
            }
        };
        if !possible {
            return Err(DecodeError::malformed(WHAT, "an item that cannot be"));
        }
        if !ordered {
            return Err(DecodeError::malformed(WHAT, "items out of order"));
        }
        if sum != Some(page.counts) {
            return Err(DecodeError::malformed(WHAT, "counts do not add up"));
        }
        Ok(page)
    }
}

fn in_order<T: PageItem>(mut keys: impl Iterator<Item = T::Key>) -> bool {
    let Some(mut before) = keys.next() else { return true };
    for key in keys {
        if !T::ordered(&before, &key) {
            return false;
        }
        before = key;
    }
    true
}

fn total<T: PageItem>(counts: impl Iterator<Item = T::Counts>) -> Option<T::Counts> {
    counts.into_iter().try_fold(T::Counts::default(), |sum, c| T::add(&sum, &c))
}
