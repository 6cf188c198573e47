//! What a snapshot needs: every page and chunk that can be reached from its manifest. Equal subtrees are walked once.

use crate::format::{PageItem, PageItems, records_of};
use crate::model::{ChunkId, ChunkRef, Chunks, Entry, Extent, FileBody, Holes, LinkItem, Manifest, PageId, Progress};
use crate::model::{RecordItem, TreeRef, Xattrs};
use crate::store::{Mark, StoreError, Survey};
use crate::tree::Pages;

/// Marks into a survey.
pub(super) struct Marker<'a> {
    pub(super) pages: &'a Pages,
    pub(super) survey: &'a mut Survey,
    pub(super) progress: &'a dyn Progress,
    /// Chunks that are needed and that no index entry knows.
    pub(super) missing: u64,
}

impl Marker<'_> {
    /// Marks what a snapshot needs.
    ///
    /// # Errors
    /// If a page is missing or damaged: what is below it is needed and cannot be told.
    pub(super) fn snapshot(&mut self, manifest: &Manifest) -> Result<(), StoreError> {
        self.entry(&manifest.root)?;
        if let Some(tree) = manifest.root.folder() {
            self.folders(*tree)?;
        }
        if let Some(links) = manifest.links {
            self.map::<LinkItem>(links.page, links.counts, &mut |_, _| Ok(()))?;
        }
        if let Some(records) = records_of(manifest)? {
            self.map::<RecordItem>(records.page, records.counts, &mut |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Without recursion: trees may be deep.
    fn folders(&mut self, root: TreeRef) -> Result<(), StoreError> {
        let mut todo = vec![root];
        while let Some(tree) = todo.pop() {
            self.map::<Entry>(tree.page, tree.counts, &mut |here, entry| {
                todo.extend(entry.folder());
                here.entry(entry)
            })?;
        }
        Ok(())
    }

    /// The pages of a map that were not marked before; `each` gets their items.
    fn map<T: PageItem>(
        &mut self,
        root: PageId,
        counts: T::Counts,
        each: &mut dyn FnMut(&mut Self, &T) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut todo = vec![(root, counts)];
        while let Some((id, counts)) = todo.pop() {
            if self.progress.cancelled() {
                return Err(StoreError::Interrupted);
            }
            match self.survey.need_page(&id)? {
                Mark::Known => continue,
                Mark::Missing => return Err(StoreError::damage(format!("page {id}"), "it is not in the index")),
                Mark::New => {}
            }
            self.progress.advance(1, 0);
            let page = self.pages.load::<T>(&id, &counts)?;
            match &page.items {
                PageItems::Leaf(items) => items.iter().try_for_each(|item| each(self, item))?,
                PageItems::Inner(children) => todo.extend(children.iter().map(|child| (child.page, child.counts))),
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), StoreError> {
        if let Xattrs::Chunks(list) = &entry.xattrs {
            self.listed(list)?;
        }
        let Some(file) = entry.file() else { return Ok(()) };
        if let Holes::Paged(page, counts) = &file.holes {
            self.map::<Extent>(*page, *counts, &mut |_, _| Ok(()))?;
        }
        self.chunks(file)
    }

    fn chunks(&mut self, file: &FileBody) -> Result<(), StoreError> {
        match &file.chunks {
            Chunks::None => Ok(()),
            Chunks::Whole => match &file.content {
                Some(content) => {
                    let id = self.pages.store().keyring().ids().chunk_of(content);
                    self.chunk(&id)
                }
                None => Ok(()),
            },
            Chunks::List(list) => self.listed(list),
            Chunks::Part(chunk, _) => self.chunk(&chunk.id),
            Chunks::Paged(page, counts) => {
                self.map::<ChunkRef>(*page, *counts, &mut |here, chunk| here.chunk(&chunk.id))
            }
        }
    }

    fn listed(&mut self, list: &[ChunkRef]) -> Result<(), StoreError> {
        list.iter().try_for_each(|chunk| self.chunk(&chunk.id))
    }

    fn chunk(&mut self, id: &ChunkId) -> Result<(), StoreError> {
        if self.survey.need_chunk(id)? == Mark::Missing {
            self.missing += 1;
        }
        Ok(())
    }
}
