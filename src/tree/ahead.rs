//! The bytes of parts, for whoever reads contents on several threads; and whether they together are what was captured.
//!
//! Two that need the same block decode it once: the store's cache makes the second wait for the first.

use std::sync::Arc;

use crate::codec::ContentDigest;
use crate::model::{ChunkRef, Chunks, FileBody, Holes};
use crate::store::{Item, StoreError};

use super::content::ContentPiece;
use super::flow::{Node, Part};
use super::pages::Pages;

/// Some bytes of a content.
#[derive(Debug, Clone, Copy)]
pub enum Stretch<'a> {
    /// These; the item tells which block they are in.
    Data(&'a Item),
    /// So many zeros, a hole.
    Hole(u64),
}

impl Pages {
    /// Gives the bytes of a part to `to`, in order, each chunk's id checked; those that stand together in a block in one slice.
    ///
    /// The ids prove the bytes: the list of them is in an entry whose page has been checked by its own id. That they together are
    /// what the file's digest says is a matter of the capture, and of [`WholeCheck`].
    ///
    /// # Errors
    /// If the content is damaged, or `to` fails.
    pub fn read_part<E: From<StoreError>>(
        &self,
        part: &mut Part,
        mut to: impl FnMut(Stretch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut run: Option<Item> = None;
        for piece in &part.pieces {
            let next = match piece {
                ContentPiece::Data { chunk, skip, len } => Some(self.piece(chunk, *skip, *len)?),
                ContentPiece::Hole(_) => None,
            };
            if run.as_mut().zip(next.as_ref()).is_some_and(|(run, next)| run.join(next)) {
                continue;
            }
            if let Some(run) = std::mem::replace(&mut run, next) {
                to(Stretch::Data(&run))?;
            }
            if let ContentPiece::Hole(len) = piece {
                to(Stretch::Hole(*len))?;
            }
        }
        if let Some(run) = run {
            to(Stretch::Data(&run))?;
        }
        part.broken.take().map_or(Ok(()), |e| Err(e.into()))
    }

    fn piece(&self, chunk: &ChunkRef, skip: u32, len: u32) -> Result<Item, StoreError> {
        let item = self.store().chunk(&chunk.id)?;
        let fits = item.len() == chunk.len as usize;
        let wanted = skip as usize..skip as usize + len as usize;
        item.cut(wanted).filter(|_| fits).ok_or_else(|| {
            StoreError::damage(format!("chunk {}", chunk.id), "it has another length than its list says")
        })
    }
}

/// Checks contents that are longer than a part against their digests: parts come here in order, after they were worked on.
#[derive(Debug, Default)]
pub struct LongCheck {
    file: Option<(Arc<Node>, WholeCheck)>,
}

impl LongCheck {
    /// The next part. It is read again, from the store's cache as a rule.
    ///
    /// # Errors
    /// If the content is damaged.
    pub fn add(&mut self, pages: &Pages, node: &Arc<Node>, part: &mut Part) -> Result<(), StoreError> {
        let Some(file) = node.entry.file() else { return Ok(()) };
        if !self.file.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, node)) {
            self.file = Some((node.clone(), WholeCheck::new(file)));
        }
        if let Some((_, check)) = self.file.as_mut().filter(|(_, check)| check.is_needed()) {
            pages.read_part::<StoreError>(part, |stretch| {
                check.update(stretch);
                Ok(())
            })?;
        }
        match self.file.take_if(|_| part.last) {
            Some((_, check)) => check.finish(file),
            None => Ok(()),
        }
    }
}

/// Compares a whole content with its digest, where that is not the id of its one chunk.
///
/// No reader needs it, since the ids prove each byte. It tells whether the capture listed the chunks of what it summed up.
#[derive(Debug)]
pub struct WholeCheck {
    hash: Option<ContentDigest>,
}

impl WholeCheck {
    /// For this file. Of a file that is mostly holes the digest would cost far more time than its bytes; it is not checked: the
    /// chunks are, and their list is part of a page that is.
    #[must_use]
    pub fn new(file: &FileBody) -> Self {
        let holes = match &file.holes {
            Holes::None => 0,
            Holes::List(list) => list.iter().map(|h| h.len).sum(),
            Holes::Paged(_, counts) => counts.bytes,
        };
        let mostly_holes = holes > (64 << 20) + 2 * file.size.saturating_sub(holes);
        let needed = file.content.is_some() && !matches!(file.chunks, Chunks::Whole | Chunks::None) && !mostly_holes;
        Self { hash: needed.then(ContentDigest::default) }
    }

    /// True if it wants the bytes.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.hash.is_some()
    }

    /// The next bytes.
    pub fn update(&mut self, stretch: Stretch) {
        match stretch {
            Stretch::Data(bytes) => self.data(bytes),
            Stretch::Hole(len) => self.zeros(len),
        }
    }

    /// The same, of bytes that are at hand.
    pub fn data(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    /// The same, of so many zeros.
    pub fn zeros(&mut self, len: u64) {
        if let Some(hash) = &mut self.hash {
            hash.zeros(len);
        }
    }

    /// Compares.
    ///
    /// # Errors
    /// If the digest is another.
    pub fn finish(self, file: &FileBody) -> Result<(), StoreError> {
        let (Some(hash), Some(content)) = (self.hash, file.content) else { return Ok(()) };
        if hash.finish() == content {
            Ok(())
        } else {
            Err(StoreError::damage("a content", "its chunks together are not what its digest says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Waiting;
    use crate::tree::samples::new_store;

    #[test]
    fn a_chunk_is_found_whichever_was_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let contents: Vec<Vec<u8>> = (0..6).map(|n| vec![n; 1000 + usize::from(n)]).collect();
        let ids: Vec<_> = contents.iter().map(|content| store.keyring().ids().chunk(content)).collect();
        let writer = store.writer(Waiting::NoWait, &|| true).unwrap();
        for block in [0..4, 4..6] {
            assert!(ids[block.clone()].iter().all(|id| writer.claim_chunk(id).unwrap()));
            let items: Vec<_> = block.clone().map(|n| (ids[n], u32::try_from(contents[n].len()).unwrap())).collect();
            writer.put_chunks(&contents[block].concat(), &items).unwrap();
        }
        writer.keep().unwrap();
        store.refresh().unwrap();
        let orders =
            [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [0, 1, 3, 2, 3, 3], [1, 2, 0, 1, 2, 5], [4, 5, 0, 1, 2, 0]];
        for at in orders.into_iter().flatten() {
            assert_eq!(*store.chunk(&ids[at]).unwrap(), contents[at][..], "{at}");
        }
        let unknown = store.keyring().ids().chunk(b"never stored");
        let _ = (store.chunk(&ids[0]).unwrap(), store.chunk(&ids[1]).unwrap());
        assert!(store.chunk(&unknown).is_err_and(|e| e.is_damage()));
    }

    #[test]
    fn a_block_for_which_the_cache_has_no_room_is_not_decoded_for_each_chunk() {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let contents: Vec<Vec<u8>> = (0..15).map(|n| vec![n; 1 << 20]).chain([b"other".to_vec()]).collect();
        let ids: Vec<_> = contents.iter().map(|content| store.keyring().ids().chunk(content)).collect();
        let writer = store.writer(Waiting::NoWait, &|| true).unwrap();
        for block in [0..15, 15..16] {
            assert!(ids[block.clone()].iter().all(|id| writer.claim_chunk(id).unwrap()));
            let items: Vec<_> = block.clone().map(|n| (ids[n], u32::try_from(contents[n].len()).unwrap())).collect();
            writer.put_chunks(&contents[block].concat(), &items).unwrap();
        }
        writer.keep().unwrap();
        store.refresh().unwrap();
        let mut first = store.chunk(&ids[0]).unwrap();
        assert_eq!(*store.chunk(&ids[15]).unwrap(), *b"other");
        // One behind the other in what is in memory once.
        assert!(first.join(&store.chunk(&ids[1]).unwrap()));
    }
}
