//! Section 12.1: filling pages in key order. The same items give the same pages, whatever came before.
//!
//! Source: prolly trees as in Noms and Dolt (boundaries by a hash of the key), with a keyed hash, so that nobody can
//! choose names that make bad pages.

use crate::codec::IdKeys;
use crate::format::{Child, MAX_LEVEL, MAX_PAGE_ITEMS_BYTES, Page, PageItem, PageItems, to_bytes};
use crate::model::PageId;
use crate::store::{StoreError, Writer};

/// A tree block is closed at this many plain bytes.
const BLOCK_BYTES: usize = 512 << 10;

/// What decides where pages end.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// For boundaries and ids.
    pub ids: &'a IdKeys,
    /// Page boundary mask.
    pub mask: u32,
    /// Items before a boundary is tested.
    pub min: u32,
}

/// What is done with a block that is full: its pages' bytes one behind the other, and each one's id and length.
pub type PageSink<'a> = dyn Fn(Vec<u8>, Vec<(PageId, u32)>) -> Result<(), StoreError> + Sync + 'a;

/// Gathers pages into blocks.
pub struct PageWriter<'a> {
    writer: &'a Writer,
    block_bytes: usize,
    sink: Option<&'a PageSink<'a>>,
    content: Vec<u8>,
    pages: Vec<(PageId, u32)>,
}

impl std::fmt::Debug for PageWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageWriter({} pages)", self.pages.len())
    }
}

impl<'a> PageWriter<'a> {
    /// Pages go to this writer.
    #[must_use]
    pub fn new(writer: &'a Writer) -> Self {
        Self { writer, block_bytes: BLOCK_BYTES, sink: None, content: Vec::new(), pages: Vec::new() }
    }

    /// Closes blocks at so many bytes instead of the usual (pages that are much alike take less room together), and gives them to `sink`
    /// instead of compressing and sealing them on this thread.
    #[must_use]
    pub fn with_blocks(self, block_bytes: usize, sink: &'a PageSink<'a>) -> Self {
        Self { block_bytes, sink: Some(sink), ..self }
    }

    /// Where the pages go.
    #[must_use]
    pub fn writer(&self) -> &'a Writer {
        self.writer
    }

    /// What decides where pages end in this store.
    #[must_use]
    pub fn shape(&self) -> Shape<'a> {
        let header = self.writer.store().header();
        Shape { ids: self.writer.store().keyring().ids(), mask: header.page_mask, min: header.page_min }
    }

    /// Takes a page; stores it unless the store has it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put(&mut self, bytes: &[u8]) -> Result<PageId, StoreError> {
        let id = self.writer.store().keyring().ids().page(bytes);
        if self.writer.claim_page(&id)? {
            if self.content.len() + bytes.len() > self.block_bytes {
                self.flush()?;
            }
            self.content.extend_from_slice(bytes);
            self.pages.push((id, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        Ok(id)
    }

    /// Makes a block of what is gathered.
    ///
    /// # Errors
    /// If the store fails.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        match self.sink {
            Some(sink) if !self.pages.is_empty() => {
                sink(std::mem::take(&mut self.content), std::mem::take(&mut self.pages))?;
            }
            Some(_) => {}
            None => self.writer.put_pages(&self.content, &self.pages)?,
        }
        self.content.clear();
        self.pages.clear();
        Ok(())
    }
}

/// One level of a tree being built.
struct Level<T: PageItem> {
    children: Vec<Child<T>>,
    bytes: usize,
}

/// Builds one sorted map. Memory: a page a level.
#[derive(Debug)]
pub struct MapBuilder<T: PageItem> {
    items: Vec<T>,
    bytes: usize,
    levels: Vec<Level<T>>,
    last: Option<T::Key>,
}

impl<T: PageItem> std::fmt::Debug for Level<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Level({} children)", self.children.len())
    }
}

impl<T: PageItem> Default for MapBuilder<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: 0, levels: Vec::new(), last: None }
    }
}

pub(super) fn ends<T: PageItem>(shape: &Shape, level: u8, count: usize, key: &T::Key) -> bool {
    count >= shape.min as usize && shape.ids.boundary(level, T::KIND.number(), &T::boundary(key)) & shape.mask == 0
}

fn sum<T: PageItem>(counts: impl Iterator<Item = T::Counts>) -> Result<T::Counts, StoreError> {
    counts
        .into_iter()
        .try_fold(T::Counts::default(), |sum, c| T::add(&sum, &c))
        .ok_or_else(|| StoreError::Refused("the tree holds more than 64 bits can count".to_owned()))
}

impl<T: PageItem> MapBuilder<T> {
    /// Adds the next item; keys come in order.
    ///
    /// # Errors
    /// If the order is broken or the store fails.
    pub fn push(&mut self, pages: &mut PageWriter, item: T) -> Result<(), StoreError> {
        let key = item.key();
        if self.last.as_ref().is_some_and(|last| !T::ordered(last, &key)) {
            return Err(StoreError::Refused(format!("items of a tree out of order: {key:?}")));
        }
        let len = to_bytes(&item).len();
        if self.bytes + len > MAX_PAGE_ITEMS_BYTES {
            self.end_leaf(pages)?;
        }
        self.items.push(item);
        self.bytes += len;
        let full = ends::<T>(&pages.shape(), 0, self.items.len(), &key);
        self.last = Some(key);
        if full {
            self.end_leaf(pages)?;
        }
        Ok(())
    }

    /// True if a page of this level can be taken as it is: nothing waits for the end of a page at its level or below.
    pub(super) fn takes_page(&self, level: u8) -> bool {
        self.items.is_empty() && self.levels.iter().take(usize::from(level)).all(|l| l.children.is_empty())
    }

    /// Adds all that is below a page which ends where its last key says, and for which [`Self::takes_page`] holds.
    pub(super) fn push_page(&mut self, pages: &mut PageWriter, level: u8, page: Child<T>) -> Result<(), StoreError> {
        if self.last.as_ref().is_some_and(|last| !T::ordered(last, &page.last)) {
            return Err(StoreError::Refused(format!("pages of a tree out of order: {:?}", page.last)));
        }
        self.last = Some(page.last.clone());
        self.add_child(pages, level + 1, page)
    }

    fn end_leaf(&mut self, pages: &mut PageWriter) -> Result<(), StoreError> {
        let Some(last) = self.items.last().map(PageItem::key) else { return Ok(()) };
        let counts = sum::<T>(self.items.iter().map(PageItem::counts))?;
        let items = PageItems::Leaf(std::mem::take(&mut self.items));
        self.bytes = 0;
        let page = pages.put(&Page { level: 0, counts, items, ext: Vec::new() }.to_bytes())?;
        self.add_child(pages, 1, Child { last, page, counts })
    }

    fn add_child(&mut self, pages: &mut PageWriter, level: u8, child: Child<T>) -> Result<(), StoreError> {
        if level > MAX_LEVEL {
            return Err(StoreError::Refused("a folder holds more entries than a tree can".to_owned()));
        }
        let at = usize::from(level) - 1;
        while self.levels.len() <= at {
            self.levels.push(Level { children: Vec::new(), bytes: 0 });
        }
        let len = to_bytes(&child).len();
        if self.levels[at].bytes + len > MAX_PAGE_ITEMS_BYTES {
            self.end_inner(pages, level)?;
        }
        let here = &mut self.levels[at];
        let full = ends::<T>(&pages.shape(), level, here.children.len() + 1, &child.last);
        here.children.push(child);
        here.bytes += len;
        if full {
            self.end_inner(pages, level)?;
        }
        Ok(())
    }

    fn end_inner(&mut self, pages: &mut PageWriter, level: u8) -> Result<(), StoreError> {
        let here = &mut self.levels[usize::from(level) - 1];
        let children = std::mem::take(&mut here.children);
        here.bytes = 0;
        let Some(last) = children.last().map(|c| c.last.clone()) else { return Ok(()) };
        let counts = sum::<T>(children.iter().map(|c| c.counts))?;
        let page = pages.put(&Page { level, counts, items: PageItems::Inner(children), ext: Vec::new() }.to_bytes())?;
        self.add_child(pages, level + 1, Child { last, page, counts })
    }

    /// Ends the map: its root page and the sums over it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn finish(mut self, pages: &mut PageWriter) -> Result<(PageId, T::Counts), StoreError> {
        if self.last.is_none() {
            let counts = T::Counts::default();
            let empty = Page::<T> { level: 0, counts, items: PageItems::Leaf(Vec::new()), ext: Vec::new() };
            return Ok((pages.put(&empty.to_bytes())?, counts));
        }
        self.end_leaf(pages)?;
        // The root is the first level with one page: go up until a level has a single child and none above it.
        let mut level = 1u8;
        loop {
            let at = usize::from(level) - 1;
            let top = self.levels.len() == at + 1;
            if top && self.levels[at].children.len() == 1 {
                let root = self.levels[at].children.swap_remove(0);
                return Ok((root.page, root.counts));
            }
            self.end_inner(pages, level)?;
            level += 1;
        }
    }
}
