//! The content of a file as pieces: chunks and holes, from any offset.

use crate::codec::IdKeys;
use crate::format::PageItem;
use crate::model::{ChunkCounts, ChunkRef, Chunks, Entry, Extent, FileBody, Holes, PageId};
use crate::store::StoreError;

use super::pages::{Items, Pages};

/// A piece of a file's content. Pieces come in order and cover it without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentPiece {
    /// Bytes of a chunk: those from `skip` on, `len` of them.
    Data {
        /// The chunk.
        chunk: ChunkRef,
        /// Bytes of it to leave out in front.
        skip: u32,
        /// Bytes to take.
        len: u32,
    },
    /// So many zeros.
    Hole(u64),
}

impl ContentPiece {
    /// Its length.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Data { len, .. } => u64::from(*len),
            Self::Hole(len) => *len,
        }
    }

    /// Never true: pieces are not empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A list that stands in its entry or in pages.
#[derive(Debug)]
enum Source<T: PageItem> {
    List(std::vec::IntoIter<T>),
    Paged(Items<T>),
}

impl<T: PageItem> Source<T> {
    fn next(&mut self) -> Result<Option<T>, StoreError> {
        match self {
            Self::List(list) => Ok(list.next()),
            Self::Paged(items) => items.next(),
        }
    }
}

/// The pieces of a file from an offset on.
#[derive(Debug)]
pub struct ContentPieces {
    chunks: Source<ChunkRef>,
    holes: Source<Extent>,
    hole: Option<Extent>,
    rest: Option<(ChunkRef, u32)>,
    at: u64,
    size: u64,
}

/// The pieces of a whole file.
///
/// # Errors
/// If a page cannot be loaded.
pub fn content_pieces(pages: &Pages, file: &FileBody) -> Result<ContentPieces, StoreError> {
    pieces_at(pages, file, 0)
}

/// The pieces of a file from an offset on.
///
/// # Errors
/// If a page cannot be loaded.
pub fn pieces_at(pages: &Pages, file: &FileBody, offset: u64) -> Result<ContentPieces, StoreError> {
    let ids = pages.store().keyring().ids();
    let offset = offset.min(file.size);
    let (mut holes, mut skipped) = holes_at(pages, file, offset)?;
    let hole = holes.next()?;
    if let Some(h) = hole.filter(|h| h.offset < offset) {
        skipped = skipped.saturating_add(offset - h.offset);
    }
    let wanted = offset.checked_sub(skipped).ok_or_else(|| StoreError::damage("a hole map", "holes overlap"))?;
    let (chunks, rest) = chunks_at(pages, ids, file, wanted)?;
    Ok(ContentPieces { chunks, holes, hole, rest, at: offset, size: file.size })
}

/// The holes that end behind an offset, and how many bytes those before them take.
fn holes_at(pages: &Pages, file: &FileBody, offset: u64) -> Result<(Source<Extent>, u64), StoreError> {
    Ok(match &file.holes {
        Holes::None => (Source::List(Vec::new().into_iter()), 0),
        Holes::List(list) => {
            let first = list.partition_point(|h| h.offset + h.len <= offset);
            let bytes = list[..first].iter().map(|h| h.len).sum();
            (Source::List(Vec::from(&list[first..]).into_iter()), bytes)
        }
        Holes::Paged(page, counts) => {
            let mut items = pages.items::<Extent>(page, counts)?;
            let mut bytes = 0;
            items.seek(|last, counts| {
                let before = last.0.saturating_add(last.1) <= offset;
                if before {
                    bytes += counts.bytes;
                }
                before
            })?;
            (Source::Paged(items), bytes)
        }
    })
}

/// The first hole of a file that ends behind an offset.
///
/// # Errors
/// If a page cannot be loaded.
pub fn hole_at(pages: &Pages, file: &FileBody, offset: u64) -> Result<Option<Extent>, StoreError> {
    holes_at(pages, file, offset)?.0.next()
}

/// The chunks from a data offset on, and what is left of the one that the offset lies in.
fn chunks_at(
    pages: &Pages,
    ids: &IdKeys,
    file: &FileBody,
    wanted: u64,
) -> Result<(Source<ChunkRef>, Option<(ChunkRef, u32)>), StoreError> {
    let mut passed = 0;
    let mut source = match &file.chunks {
        Chunks::None => Source::List(Vec::new().into_iter()),
        Chunks::Whole => Source::List(vec![whole_chunk(ids, file)?].into_iter()),
        Chunks::List(list) => {
            let first = list.iter().take_while(|c| {
                let before = passed + u64::from(c.len) <= wanted;
                if before {
                    passed += u64::from(c.len);
                }
                before
            });
            let first = first.count();
            Source::List(Vec::from(&list[first..]).into_iter())
        }
        Chunks::Part(chunk, from) => {
            let skip =
                u32::try_from(wanted).ok().and_then(|wanted| from.checked_add(wanted)).filter(|skip| *skip < chunk.len);
            return Ok((Source::List(Vec::new().into_iter()), skip.map(|skip| (*chunk, skip))));
        }
        Chunks::Paged(page, counts) => {
            let mut items = pages.items::<ChunkRef>(page, counts)?;
            items.seek(|_, counts| {
                let before = passed + counts.bytes <= wanted;
                if before {
                    passed += counts.bytes;
                }
                before
            })?;
            Source::Paged(items)
        }
    };
    let skip = u32::try_from(wanted - passed).unwrap_or(u32::MAX);
    let rest = if skip > 0 { source.next()?.map(|chunk| (chunk, skip)) } else { None };
    Ok((source, rest))
}

fn whole_chunk(ids: &IdKeys, file: &FileBody) -> Result<ChunkRef, StoreError> {
    let content = file.content.ok_or_else(|| StoreError::damage("an entry", "a whole chunk without a digest"))?;
    let len = u32::try_from(file.size).map_err(|_| StoreError::damage("an entry", "a whole chunk that is too long"))?;
    Ok(ChunkRef { id: ids.chunk_of(&content), len })
}

impl ContentPieces {
    /// The next piece, or nothing at the end of the file.
    ///
    /// # Errors
    /// If a page cannot be loaded or the lists do not cover the file.
    pub fn next(&mut self) -> Result<Option<ContentPiece>, StoreError> {
        if self.at >= self.size {
            return Ok(None);
        }
        if let Some(hole) = self.hole.filter(|h| h.offset <= self.at) {
            let end = hole.offset.saturating_add(hole.len).min(self.size);
            self.hole = self.holes.next()?;
            if end <= self.at {
                return Err(StoreError::damage("a hole map", "holes overlap"));
            }
            let len = end - self.at;
            self.at = end;
            return Ok(Some(ContentPiece::Hole(len)));
        }
        let room = self.hole.map_or(self.size, |h| h.offset.min(self.size)) - self.at;
        let (chunk, skip) = match self.rest.take() {
            Some(rest) => rest,
            None => (self.chunks.next()?.ok_or_else(|| StoreError::damage("a chunk list", "it ends too early"))?, 0),
        };
        if skip >= chunk.len {
            return Err(StoreError::damage("a chunk list", "an offset lies behind its chunk"));
        }
        let len = u32::try_from(room.min(u64::from(chunk.len - skip))).unwrap_or(u32::MAX);
        if skip + len < chunk.len {
            self.rest = Some((chunk, skip + len));
        }
        self.at += u64::from(len);
        Ok(Some(ContentPiece::Data { chunk, skip, len }))
    }
}

impl Pages {
    /// The chunks of a long list from the one at a position on.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn items_from(
        &self,
        page: &PageId,
        counts: &ChunkCounts,
        position: u64,
    ) -> Result<Items<ChunkRef>, StoreError> {
        let mut items = self.items::<ChunkRef>(page, counts)?;
        let mut passed = 0;
        items.seek(|_, counts| {
            let before = passed + counts.chunks <= position;
            if before {
                passed += counts.chunks;
            }
            before
        })?;
        Ok(items)
    }

    /// Calls `found` for every chunk that an entry references: content, long xattrs.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn chunks_of(&self, entry: &Entry, mut found: impl FnMut(ChunkRef)) -> Result<(), StoreError> {
        if let crate::model::Xattrs::Chunks(list) = &entry.xattrs {
            list.iter().copied().for_each(&mut found);
        }
        let Some(file) = entry.file() else { return Ok(()) };
        let (mut chunks, part) = chunks_at(self, self.store().keyring().ids(), file, 0)?;
        part.into_iter().for_each(|(chunk, _)| found(chunk));
        while let Some(chunk) = chunks.next()? {
            found(chunk);
        }
        Ok(())
    }

    /// The extended attributes of an entry.
    ///
    /// # Errors
    /// If they are in chunks that cannot be read.
    pub fn xattrs(&self, entry: &Entry) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        match &entry.xattrs {
            crate::model::Xattrs::None => Ok(Vec::new()),
            crate::model::Xattrs::List(list) => Ok(list.clone()),
            crate::model::Xattrs::Chunks(list) => {
                let bytes = self.joined(list, crate::format::MAX_XATTRS)?;
                Ok(crate::format::decode_xattrs(&bytes)?)
            }
        }
    }

    /// The bytes of a few chunks one behind the other.
    pub(super) fn joined(&self, list: &[ChunkRef], max: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        for chunk in list {
            let item = self.store().chunk(&chunk.id)?;
            if item.len() != chunk.len as usize || bytes.len() + item.len() > max {
                return Err(StoreError::damage(
                    format!("chunk {}", chunk.id),
                    "it has another length than its list says",
                ));
            }
            bytes.extend_from_slice(&item);
        }
        Ok(bytes)
    }
}
