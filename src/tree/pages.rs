//! Loading pages, and streaming the items of a map.

use std::any::Any;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::format::{Child, Page, PageItem, PageItems, PageKind};
use crate::model::PageId;
use crate::store::{Store, StoreError};

#[derive(Debug, Clone)]
struct ByBytes;

type AnyPage = (u64, Arc<dyn Any + Send + Sync>);

impl Weighter<(PageKind, PageId), AnyPage> for ByBytes {
    fn weight(&self, _: &(PageKind, PageId), value: &AnyPage) -> u64 {
        value.0
    }
}

/// Loads pages of a store and keeps the decoded ones it used last.
#[derive(Debug, Clone)]
pub struct Pages {
    store: Store,
    cache: Arc<Cache<(PageKind, PageId), AnyPage, ByBytes>>,
}

impl Pages {
    /// `budget`: bytes that decoded pages may take.
    #[must_use]
    pub fn new(store: &Store, budget: u64) -> Self {
        let estimate = usize::try_from(budget / (32 << 10)).unwrap_or(64).max(16);
        Self { store: store.clone(), cache: Arc::new(Cache::with_weighter(estimate, budget, ByBytes)) }
    }

    /// How many pages were loaded, where none was given up.
    #[cfg(test)]
    pub(super) fn loaded(&self) -> usize {
        self.cache.len()
    }

    /// Bytes of decoded pages that are kept.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A page, its id, form and sums checked.
    ///
    /// # Errors
    /// If it is missing or damaged, or its sums are not `counts`.
    pub fn load<T: PageItem>(&self, id: &PageId, counts: &T::Counts) -> Result<Arc<Page<T>>, StoreError> {
        let what = || format!("page {id}");
        let (_, any) = self.cache.get_or_insert_with(&(T::KIND, *id), || {
            let item = self.store.page(id)?;
            let page = Page::<T>::from_bytes(&item).map_err(|e| StoreError::damage(what(), e))?;
            Ok::<AnyPage, StoreError>((weight(&page, item.len()), Arc::new(page)))
        })?;
        let page = any.downcast::<Page<T>>().map_err(|_| StoreError::damage(what(), "a page of another kind"))?;
        if page.counts != *counts {
            return Err(StoreError::damage(what(), "its sums are not those that its parent has"));
        }
        Ok(page)
    }

    /// A page below another, which stands at the level `above`; checked as it is by [`Self::load`], and that it is the one meant. `after` is the last
    /// key of the map before it, if there is one.
    ///
    /// # Errors
    /// The same, and if it is another.
    pub fn load_below<T: PageItem>(
        &self,
        above: u8,
        child: &Child<T>,
        after: Option<&T::Key>,
    ) -> Result<Arc<Page<T>>, StoreError> {
        let page = self.load::<T>(&child.page, &child.counts)?;
        check_below(&page, above, child, after)?;
        Ok(page)
    }

    /// Streams the items of a map from its first one.
    ///
    /// # Errors
    /// If the root cannot be loaded.
    pub fn items<T: PageItem>(&self, root: &PageId, counts: &T::Counts) -> Result<Items<T>, StoreError> {
        let page = self.load::<T>(root, counts)?;
        Ok(Items {
            pages: self.clone(),
            stack: vec![Level { id: *root, counts: *counts, after: None, page: Some(page), at: 0 }],
        })
    }
}

/// About how much memory a page takes that has so many bytes when it is not decoded.
fn weight<T: PageItem>(page: &Page<T>, bytes: usize) -> u64 {
    // What the allocator adds to the few pieces that an item has.
    const PIECES: usize = 64;
    let each = match &page.items {
        PageItems::Leaf(items) => items.len() * (size_of::<T>() + PIECES),
        PageItems::Inner(children) => children.len() * (size_of::<Child<T>>() + PIECES),
    };
    (each + bytes + 256) as u64
}

/// Streams of the folders above one another that keep their pages in memory: trees may be deep, and few bytes be many pages.
const AWAKE: usize = 32;

/// Lets go of pages that are not needed before what is below is done: of a stack of streams all but the innermost ones keep their places alone.
pub(super) fn let_go<S>(stack: &mut [S], sleep: impl Fn(&mut S)) {
    if let Some(innermost) = stack.len().checked_sub(AWAKE).and_then(|at| stack.get_mut(at)) {
        sleep(innermost);
    }
}

/// A page of a stream, and where in it the stream stands.
#[derive(Debug)]
struct Level<T: PageItem> {
    id: PageId,
    counts: T::Counts,
    /// The last key before it; nothing of a leaf, whose items are behind it.
    after: Option<T::Key>,
    /// Nothing while the stream sleeps.
    page: Option<Arc<Page<T>>>,
    at: usize,
}

/// A stream of items. Memory: a page a level.
#[derive(Debug)]
pub struct Items<T: PageItem> {
    pages: Pages,
    stack: Vec<Level<T>>,
}

impl<T: PageItem> Items<T> {
    /// Lets go of all pages: they are loaded again when the stream goes on.
    pub(super) fn sleep(&mut self) {
        self.stack.iter_mut().for_each(|level| level.page = None);
    }

    /// True if one of its pages is in memory.
    #[cfg(test)]
    pub(super) fn is_awake(&self) -> bool {
        self.stack.iter().any(|level| level.page.is_some())
    }

    /// The page at hand, and where in it the stream stands.
    fn top(&mut self) -> Result<Option<(&Page<T>, &mut usize)>, StoreError> {
        let Some(Level { id, counts, page, at, .. }) = self.stack.last_mut() else { return Ok(None) };
        let page = match page {
            Some(page) => page,
            None => page.insert(self.pages.load(id, counts)?),
        };
        Ok(Some((page, at)))
    }

    /// The next item, or nothing at the end.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn next(&mut self) -> Result<Option<T>, StoreError> {
        loop {
            let Some((page, at)) = self.top()? else { return Ok(None) };
            match &page.items {
                PageItems::Leaf(items) => {
                    if let Some(item) = items.get(*at) {
                        *at += 1;
                        return Ok(Some(item.clone()));
                    }
                    self.stack.pop();
                }
                PageItems::Inner(children) if *at < children.len() => self.enter()?,
                PageItems::Inner(_) => {
                    self.stack.pop();
                }
            }
        }
    }

    /// Goes down to the first item for which `before` says no; `before` is asked with the last key and the sums of each subtree
    /// passed over, in order.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub(super) fn seek(&mut self, mut before: impl FnMut(&T::Key, &T::Counts) -> bool) -> Result<(), StoreError> {
        loop {
            let Some((page, at)) = self.top()? else { return Ok(()) };
            match &page.items {
                PageItems::Leaf(items) => {
                    while items.get(*at).is_some_and(|i| before(&i.key(), &i.counts())) {
                        *at += 1;
                    }
                    return Ok(());
                }
                PageItems::Inner(children) => {
                    while children.get(*at).is_some_and(|c| before(&c.last, &c.counts)) {
                        *at += 1;
                    }
                    if *at >= children.len() {
                        return Ok(());
                    }
                    self.enter()?;
                }
            }
        }
    }
}

/// What stands next in a stream of items: the item, or a page that can be taken whole.
#[derive(Debug)]
pub(super) enum Upcoming<T: PageItem> {
    Item(T),
    Page(u8, Child<T>),
}

/// What stands next in a stream of items: the item, or the page that begins with it and has not been loaded.
#[derive(Debug)]
pub(super) enum Head<T: PageItem> {
    Item(T),
    Page { level: u8, id: PageId },
}

impl<T: PageItem> Items<T> {
    /// What stands next, without a move. No page is loaded but that which the stream stands in, if it has slept.
    ///
    /// # Errors
    /// If that cannot be loaded.
    pub(super) fn head(&mut self) -> Result<Option<Head<T>>, StoreError> {
        loop {
            let Some((page, at)) = self.top()? else { return Ok(None) };
            let head = match &page.items {
                PageItems::Leaf(items) => items.get(*at).cloned().map(Head::Item),
                PageItems::Inner(children) => {
                    children.get(*at).map(|c| Head::Page { level: page.level.saturating_sub(1), id: c.page })
                }
            };
            if head.is_some() {
                return Ok(head);
            }
            self.stack.pop();
        }
    }

    /// The same, with all that is known of the page.
    ///
    /// # Errors
    /// The same.
    pub(super) fn upcoming(&mut self) -> Result<Option<Upcoming<T>>, StoreError> {
        loop {
            let Some((page, at)) = self.top()? else { return Ok(None) };
            let next = match &page.items {
                PageItems::Leaf(items) => items.get(*at).cloned().map(Upcoming::Item),
                PageItems::Inner(children) => {
                    children.get(*at).map(|c| Upcoming::Page(page.level.saturating_sub(1), c.clone()))
                }
            };
            if next.is_some() {
                return Ok(next);
            }
            self.stack.pop();
        }
    }

    /// Passes over what [`Self::head`] told.
    pub(super) fn pass(&mut self) {
        if let Some(level) = self.stack.last_mut() {
            level.at += 1;
        }
    }

    /// Goes into the page that [`Self::head`] told.
    ///
    /// # Errors
    /// If it cannot be loaded; then it is passed over.
    pub(super) fn enter(&mut self) -> Result<(), StoreError> {
        self.top()?;
        let Some(Level { page: Some(page), at, after, .. }) = self.stack.last_mut() else { return Ok(()) };
        let PageItems::Inner(children) = &page.items else { return Ok(()) };
        let Some(child) = children.get(*at) else { return Ok(()) };
        let after = children[..*at].last().map(|before| &before.last).or(after.as_ref());
        *at += 1;
        let below = self.pages.load_below(page.level, child, after)?;
        let after = after.filter(|_| below.level > 0).cloned();
        let level = Level { id: child.page, counts: child.counts, after, page: Some(below), at: 0 };
        self.stack.push(level);
        Ok(())
    }
}

/// Refuses a page that is not the one that its parent means: with another last key, or one that begins before the page in front of it ends, keys would stand in
/// several places of one map, and few pages could be a map without an end.
fn check_below<T: PageItem>(
    page: &Page<T>,
    above: u8,
    child: &Child<T>,
    after: Option<&T::Key>,
) -> Result<(), StoreError> {
    let why = if page.level + 1 != above {
        "it stands at the wrong level"
    } else if page.last_key().as_ref() != Some(&child.last) {
        "it ends with another key than its parent says"
    } else if after.zip(page.first_key()).is_some_and(|(after, first)| !T::ordered(after, &first)) {
        "it begins with a key that does not come after those of the page before it"
    } else {
        return Ok(());
    };
    Err(StoreError::damage(format!("page {}", child.page), why))
}
