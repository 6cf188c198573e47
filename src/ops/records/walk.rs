//! All lines of a dataset, in the order of its files.

use std::collections::HashSet;

use crate::model::{ChunkId, Entry};
use crate::store::{Item, StoreError};
use crate::tree::{ContentPiece, ContentPieces, Step, Walk, content_pieces};

use super::dataset::{Dataset, RECORDS, line_ranges};
use super::key::BY_KEY;

/// Gives the lines of a dataset, those of all versions, one by one. Memory: a group of lines.
#[derive(Debug)]
pub struct Lines {
    dataset: Dataset,
    walk: Option<Walk>,
    /// Groups that were given before, if none is to be given twice.
    seen: Option<HashSet<ChunkId>>,
    file: Option<ContentPieces>,
    group: Option<(Item, std::vec::IntoIter<std::ops::Range<usize>>)>,
}

impl Dataset {
    /// All lines.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn lines(&self) -> Result<Lines, StoreError> {
        self.lines_in(RECORDS)
    }

    /// Those that stand under their keys, in the order of the keys' names.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn current_lines(&self) -> Result<Lines, StoreError> {
        self.lines_in(BY_KEY)
    }

    fn lines_in(&self, folder: &str) -> Result<Lines, StoreError> {
        let folder = self.pages().resolve(self.root(), folder.as_bytes())?;
        let tree = folder.as_ref().and_then(|found| found.entry.folder());
        let walk = tree.map(|tree| self.pages().walk(tree, 0)).transpose()?;
        Ok(Lines { dataset: self.clone(), walk, seen: None, file: None, group: None })
    }
}

impl Lines {
    /// The same without groups of lines that were given before; what is given is added to them ([`Lines::seen`]).
    #[must_use]
    pub fn without(self, seen: HashSet<ChunkId>) -> Self {
        Self { seen: Some(seen), ..self }
    }

    /// What was given.
    #[must_use]
    pub fn seen(self) -> HashSet<ChunkId> {
        self.seen.unwrap_or_default()
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn next(&mut self) -> Result<Option<Item>, StoreError> {
        loop {
            if let Some((item, ranges)) = &mut self.group {
                match ranges.next() {
                    Some(range) => return Ok(item.clone().cut(range)),
                    None => self.group = None,
                }
            }
            if let Some(pieces) = &mut self.file {
                match pieces.next()? {
                    Some(ContentPiece::Data { chunk, .. })
                        if self.seen.as_mut().is_some_and(|seen| !seen.insert(chunk.id)) =>
                    {
                        continue;
                    }
                    Some(ContentPiece::Data { chunk, skip, len }) => {
                        let item = self.dataset.pages().store().chunk(&chunk.id)?;
                        let part = item.cut(skip as usize..skip as usize + len as usize);
                        let short =
                            || StoreError::damage(format!("chunk {}", chunk.id), "it is shorter than its list says");
                        let item = part.ok_or_else(short)?;
                        let ranges = line_ranges(&item).into_iter();
                        self.group = Some((item, ranges));
                        continue;
                    }
                    Some(ContentPiece::Hole(_)) => return Err(StoreError::damage("a file of records", "it has holes")),
                    None => self.file = None,
                }
            }
            let Some(walk) = &mut self.walk else { return Ok(None) };
            match walk.next()? {
                Some(Step::Enter(found)) => self.file = self.open(&found.entry)?,
                Some(Step::Leave) => {}
                None => return Ok(None),
            }
        }
    }

    fn open(&self, entry: &Entry) -> Result<Option<ContentPieces>, StoreError> {
        entry.file().map(|file| content_pieces(self.dataset.pages(), file)).transpose()
    }
}
