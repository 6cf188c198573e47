//! Whether the store still has what an entry of the capture cache refers to, after gc has removed something.

use crate::model::{ChunkId, ChunkRef, Chunks, Entry, Extent, FileBody, Holes, Xattrs};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

/// Bytes that decoded pages of chunk lists may take.
const PAGES: u64 = 1 << 20;

/// Looks each piece up in the index.
pub(super) struct Kept {
    pages: Pages,
}

impl Kept {
    pub(super) fn new(store: &Store) -> Self {
        Self { pages: Pages::new(store, PAGES) }
    }

    /// True if everything is there. What cannot be told counts as gone: then the file is read anew.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        self.look(entry).unwrap_or(false)
    }

    fn look(&self, entry: &Entry) -> Result<bool, StoreError> {
        if let Xattrs::Chunks(list) = &entry.xattrs
            && !self.listed(list)?
        {
            return Ok(false);
        }
        entry.file().map_or(Ok(true), |file| self.file(file))
    }

    fn file(&self, file: &FileBody) -> Result<bool, StoreError> {
        if let Holes::Paged(page, counts) = &file.holes {
            // To read the list is to look its pages up.
            let mut holes = self.pages.items::<Extent>(page, counts)?;
            while holes.next()?.is_some() {}
        }
        match &file.chunks {
            Chunks::None => Ok(true),
            Chunks::Whole => file.content.as_ref().map_or(Ok(false), |content| {
                let store = self.pages.store();
                store.has_chunk(&store.keyring().ids().chunk_of(content))
            }),
            Chunks::List(list) => self.listed(list),
            Chunks::Part(chunk, _) => self.has(&chunk.id),
            Chunks::Paged(page, counts) => {
                let mut chunks = self.pages.items::<ChunkRef>(page, counts)?;
                while let Some(chunk) = chunks.next()? {
                    if !self.has(&chunk.id)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    fn listed(&self, list: &[ChunkRef]) -> Result<bool, StoreError> {
        for chunk in list {
            if !self.has(&chunk.id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has(&self, id: &ChunkId) -> Result<bool, StoreError> {
        self.pages.store().has_chunk(id)
    }
}
