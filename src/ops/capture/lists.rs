//! Chunk lists and hole maps as entries keep them: inline while short, in pages once long.

use crate::format::{chunk_list_fits, hole_list_fits};
use crate::model::{ChunkRef, Chunks, Extent, Holes};
use crate::store::{StoreError, Writer};
use crate::tree::{MapBuilder, PageWriter};

/// Chunks gathered before a list goes to pages.
const LIST_MAX: usize = 24;

/// Chunks of a long file: a short list, or pages once it gets long.
pub(in crate::ops) struct ChunkLister<'a> {
    list: Vec<ChunkRef>,
    paged: Option<(MapBuilder<ChunkRef>, PageWriter<'a>)>,
    writer: &'a Writer,
}

impl<'a> ChunkLister<'a> {
    /// Pages go to this writer.
    pub(in crate::ops) fn new(writer: &'a Writer) -> Self {
        Self { list: Vec::new(), paged: None, writer }
    }

    /// The next chunk of the file.
    pub(in crate::ops) fn push(&mut self, chunk: ChunkRef) -> Result<(), StoreError> {
        if self.paged.is_none() && self.list.len() < LIST_MAX {
            self.list.push(chunk);
            return Ok(());
        }
        let (builder, pages) = self.paged.get_or_insert_with(|| (MapBuilder::default(), PageWriter::new(self.writer)));
        for earlier in self.list.drain(..) {
            builder.push(pages, earlier)?;
        }
        builder.push(pages, chunk)?;
        Ok(())
    }

    /// The list as an entry keeps it.
    pub(in crate::ops) fn finish(self) -> Result<Chunks, StoreError> {
        if let Some((builder, mut pages)) = self.paged {
            let (page, counts) = builder.finish(&mut pages)?;
            pages.flush()?;
            return Ok(Chunks::Paged(page, counts));
        }
        debug_assert!(chunk_list_fits(&self.list));
        Ok(if self.list.is_empty() { Chunks::None } else { Chunks::List(self.list) })
    }
}

/// A hole map as an entry keeps it: inline or in pages.
pub(super) fn keep_holes(writer: &Writer, holes: Vec<Extent>) -> Result<Holes, StoreError> {
    if holes.is_empty() {
        return Ok(Holes::None);
    }
    if hole_list_fits(&holes) {
        return Ok(Holes::List(holes));
    }
    let mut pages = PageWriter::new(writer);
    let mut builder = MapBuilder::default();
    for hole in holes {
        builder.push(&mut pages, hole)?;
    }
    let (page, counts) = builder.finish(&mut pages)?;
    pages.flush()?;
    Ok(Holes::Paged(page, counts))
}

/// A chunk list as an entry keeps it: inline or in pages.
pub(in crate::ops) fn keep_chunks(writer: &Writer, chunks: Vec<ChunkRef>) -> Result<Chunks, StoreError> {
    let mut lister = ChunkLister::new(writer);
    chunks.into_iter().try_for_each(|chunk| lister.push(chunk))?;
    lister.finish()
}
