//! Contents: bytes at an offset, targets of symlinks, extended attributes, holes.

use crate::model::{Body, FileBody};
use crate::store::StoreError;
use crate::tree::{ContentPiece, hole_at, pieces_at};

use super::{Node, NodeId, View, ViewError};

impl View {
    /// Puts the bytes of a file from `offset` on into `into`, `len` of them or up to the end of the file.
    ///
    /// What is read is what was captured, or an error: then `into` is of no use, and other ranges of the file may still be read.
    ///
    /// # Errors
    /// If a chunk or a page is missing or damaged, or the node is not a file.
    pub fn read(&self, id: NodeId, offset: u64, len: usize, into: &mut Vec<u8>) -> Result<(), ViewError> {
        into.clear();
        let node = self.node(id)?;
        let file = node.entry.file().ok_or(ViewError::NotA { id, wanted: "file" })?;
        let rest = file.size.saturating_sub(offset);
        let len = usize::try_from(rest).map_or(len, |rest| len.min(rest));
        if len == 0 {
            return Ok(());
        }
        self.fill(file, offset, len, into).inspect_err(|e| self.tell(id, e))?;
        self.follow(id, file, offset, len as u64);
        Ok(())
    }

    /// Puts a whole file into `into` for somebody who has not asked for it yet. What is damaged is told when it is read.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_ahead(&self, node: &Node, into: &mut Vec<u8>) -> Result<(), ViewError> {
        into.clear();
        let file = node.entry.file().ok_or(ViewError::NotA { id: node.id, wanted: "file" })?;
        let len = usize::try_from(file.size).unwrap_or(usize::MAX);
        Ok(self.fill(file, 0, len, into)?)
    }

    fn fill(&self, file: &FileBody, offset: u64, len: usize, into: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut pieces = pieces_at(self.pages(), file, offset)?;
        while into.len() < len {
            let ended = || StoreError::damage("a chunk list", "it ends too early");
            let piece = pieces.next()?.ok_or_else(ended)?;
            let wanted = len - into.len();
            match piece {
                ContentPiece::Hole(bytes) => {
                    let zeros = usize::try_from(bytes).map_or(wanted, |bytes| bytes.min(wanted));
                    into.resize(into.len() + zeros, 0);
                }
                ContentPiece::Data { chunk, skip, len } => {
                    let item = self.store().chunk(&chunk.id)?;
                    if item.len() != chunk.len as usize {
                        let what = format!("chunk {}", chunk.id);
                        return Err(StoreError::damage(what, "it has another length than its list says"));
                    }
                    let take = (len as usize).min(wanted);
                    let bytes = item.get(skip as usize..skip as usize + take).ok_or_else(ended)?;
                    into.extend_from_slice(bytes);
                    self.touch(file, item.block());
                }
            }
        }
        Ok(())
    }

    /// Where a symlink leads.
    ///
    /// # Errors
    /// If the node is not a symlink.
    pub fn readlink(&self, id: NodeId) -> Result<Vec<u8>, ViewError> {
        match &self.node(id)?.entry.body {
            Body::Symlink(target) => Ok(target.to_vec()),
            _ => Err(ViewError::NotA { id, wanted: "symlink" }),
        }
    }

    /// All extended attributes of a node, sorted by name. Costs nothing for a node that has none.
    ///
    /// # Errors
    /// If they are in chunks that cannot be read.
    pub fn xattrs(&self, node: &Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ViewError> {
        Ok(self.pages().xattrs(&node.entry).inspect_err(|e| self.tell(node.id, e))?)
    }

    /// Where data begins at or behind `offset`; nothing if there is none before the end of the file.
    ///
    /// # Errors
    /// If the hole map cannot be read or the node is not a file.
    pub fn seek_data(&self, id: NodeId, offset: u64) -> Result<Option<u64>, ViewError> {
        self.seek(id, offset, |file, hole| match hole {
            Some((start, end)) if start <= offset => (end < file.size).then_some(end),
            _ => Some(offset),
        })
    }

    /// Where a hole begins at or behind `offset`; the end of the file counts as one. Nothing if `offset` is not in the file.
    ///
    /// # Errors
    /// If the hole map cannot be read or the node is not a file.
    pub fn seek_hole(&self, id: NodeId, offset: u64) -> Result<Option<u64>, ViewError> {
        self.seek(id, offset, |file, hole| Some(hole.map_or(file.size, |(start, _)| start.max(offset))))
    }

    fn seek(
        &self,
        id: NodeId,
        offset: u64,
        answer: impl FnOnce(&FileBody, Option<(u64, u64)>) -> Option<u64>,
    ) -> Result<Option<u64>, ViewError> {
        let node = self.node(id)?;
        let file = node.entry.file().ok_or(ViewError::NotA { id, wanted: "file" })?;
        if offset >= file.size {
            return Ok(None);
        }
        let hole = hole_at(self.pages(), file, offset).inspect_err(|e| self.tell(id, e))?;
        Ok(answer(file, hole.map(|hole| (hole.offset, hole.offset.saturating_add(hole.len)))))
    }
}
