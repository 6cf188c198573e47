//! All lines of a dataset, or the current ones, one by one.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use crate::archives::{Cursor, Sorter, Spill};
use crate::model::{ChunkId, Chunks};
use crate::store::{Item, StoreError};
use crate::tree::{ContentPiece, ContentPieces, Step, Walk, content_pieces};

use super::ahead::Ahead;
use super::dataset::{Dataset, RECORDS, SIGHTINGS, line_ranges};
use super::error::RecordsError;
use super::key::BY_KEY;
use super::stage::SORT_MEMORY;

/// Chunks whose blocks are kept in mind.
const BLOCKS_KNOWN: usize = 1 << 18;

/// Gives the lines of a dataset one by one. Memory: some blocks.
#[derive(Debug)]
pub struct Lines {
    from: From,
    ahead: Ahead,
    /// What stands in the way behind all that waits.
    broken: Option<StoreError>,
    group: Option<(Item, std::vec::IntoIter<Range<usize>>)>,
}

/// Where lines come from.
#[derive(Debug)]
enum From {
    /// Files, group by group.
    Files(Box<InFiles>),
    /// Single lines by the places where they are stored.
    Places(Box<(Spill, Cursor)>),
}

#[derive(Debug)]
struct InFiles {
    dataset: Dataset,
    walk: Option<Walk>,
    file: Option<ContentPieces>,
    /// Groups that were given before, if none is to be given twice.
    seen: Option<HashSet<ChunkId>>,
}

impl Dataset {
    /// All lines, those of all versions, in the order of the files.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn lines(&self) -> Result<Lines, StoreError> {
        let walk = self.walk(RECORDS)?;
        let files = InFiles { dataset: self.clone(), walk, file: None, seen: None };
        Ok(self.lines_from(From::Files(Box::new(files))))
    }

    /// Those that stand under their keys, in the order in which they are stored; that is found by sorting, beyond some memory in a sealed
    /// file in `tmp`.
    ///
    /// # Errors
    /// If the store cannot be read, or the file not be written.
    pub fn current_lines(&self, tmp: &Path) -> Result<Lines, RecordsError> {
        let (mut sorter, mut blocks) = (Sorter::with_memory(tmp, SORT_MEMORY), HashMap::new());
        let mut walk = self.walk(BY_KEY)?;
        while let Some(step) = walk.as_mut().map_or(Ok(None), Walk::next)? {
            let Step::Enter(found) = step else { continue };
            let Some(file) = found.entry.file() else { continue };
            let Chunks::Part(chunk, from) = &file.chunks else {
                return Err(RecordsError::damage("a file under by-key", "it is no part of a chunk"));
            };
            if blocks.len() > BLOCKS_KNOWN {
                blocks.clear();
            }
            let block = match blocks.get(&chunk.id) {
                Some(block) => *block,
                // What is not there is told when it is wanted.
                None => {
                    *blocks.entry(chunk.id).or_insert(self.pages().store().chunk_block(&chunk.id)?.unwrap_or(u64::MAX))
                }
            };
            let len = u32::try_from(file.size).unwrap_or(u32::MAX);
            let key = [&block.to_be_bytes()[..], chunk.id.as_bytes(), &from.to_be_bytes()].concat();
            sorter.push(&key, &len.to_be_bytes()).map_err(RecordsError::temporary)?;
        }
        let (sorted, mut places) = (sorter.sorted(), Spill::new(tmp, SORT_MEMORY));
        let mut merge = sorted.read().map_err(RecordsError::temporary)?;
        while let Some((key, len)) = merge.next().map_err(RecordsError::temporary)? {
            places.push(&[&key[..], &len].concat()).map_err(RecordsError::temporary)?;
        }
        Ok(self.lines_from(From::Places(Box::new((places, Cursor::default())))))
    }

    /// All lines of sightings, in the order in which they came.
    pub(super) fn sighting_lines(&self) -> Result<Lines, StoreError> {
        let entry = self.pages().resolve(self.root(), SIGHTINGS.as_bytes())?;
        let file = entry.as_ref().and_then(|found| found.entry.file());
        let file = file.map(|file| content_pieces(self.pages(), file)).transpose()?;
        Ok(self.lines_from(From::Files(Box::new(InFiles { dataset: self.clone(), walk: None, file, seen: None }))))
    }

    fn walk(&self, folder: &str) -> Result<Option<Walk>, StoreError> {
        let folder = self.pages().resolve(self.root(), folder.as_bytes())?;
        let tree = folder.as_ref().and_then(|found| found.entry.folder());
        tree.map(|tree| self.pages().walk(tree, 0)).transpose()
    }

    fn lines_from(&self, from: From) -> Lines {
        Lines { from, ahead: Ahead::new(self.pages().store()), broken: None, group: None }
    }
}

impl Lines {
    /// The same without groups of lines that were given before; what is given is added to them ([`Lines::seen`]).
    #[must_use]
    pub fn without(mut self, given: HashSet<ChunkId>) -> Self {
        if let From::Files(files) = &mut self.from {
            files.seen = Some(given);
        }
        self
    }

    /// What was given.
    #[must_use]
    pub fn seen(self) -> HashSet<ChunkId> {
        match self.from {
            From::Files(files) => files.seen.unwrap_or_default(),
            From::Places(..) => HashSet::new(),
        }
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
            let Some(item) = self.next_group()? else { return Ok(None) };
            let ranges = line_ranges(&item).into_iter();
            self.group = Some((item, ranges));
        }
    }

    /// The next lines that are stored together, each with its end.
    pub(super) fn next_group(&mut self) -> Result<Option<Item>, StoreError> {
        while self.ahead.has_room() && self.broken.is_none() {
            match self.tell() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => self.broken = Some(e),
            }
        }
        match self.ahead.pop()? {
            Some(item) => Ok(Some(item)),
            None => self.broken.take().map_or(Ok(None), Err),
        }
    }

    /// Tells what is wanted behind all that was told; false at the end.
    fn tell(&mut self) -> Result<bool, StoreError> {
        let InFiles { dataset, walk, file, seen } = match &mut self.from {
            From::Files(files) => &mut **files,
            From::Places(places) => {
                let (places, cursor) = &mut **places;
                let lost = |e: std::io::Error| StoreError::Database(format!("a temporary file: {e}"));
                let Some(place) = places.next(cursor).map_err(lost)? else { return Ok(false) };
                let (block, chunk, range) = place_of(place).ok_or_else(|| lost(std::io::Error::other("cut short")))?;
                self.ahead.push_of(block, chunk, range);
                return Ok(true);
            }
        };
        loop {
            if let Some(pieces) = file {
                match pieces.next()? {
                    Some(ContentPiece::Data { chunk, .. })
                        if seen.as_mut().is_some_and(|seen| !seen.insert(chunk.id)) =>
                    {
                        continue;
                    }
                    Some(ContentPiece::Data { chunk, skip, len }) => {
                        self.ahead.push(chunk.id, skip as usize..skip as usize + len as usize);
                        return Ok(true);
                    }
                    Some(ContentPiece::Hole(_)) => return Err(StoreError::damage("a file of records", "it has holes")),
                    None => *file = None,
                }
            }
            match walk.as_mut().map_or(Ok(None), Walk::next)? {
                Some(Step::Enter(found)) => {
                    *file = found.entry.file().map(|file| content_pieces(dataset.pages(), file)).transpose()?;
                }
                Some(Step::Leave) => {}
                None => {
                    *walk = None;
                    return Ok(false);
                }
            }
        }
    }
}

/// What [`Dataset::current_lines`] sorts: block, chunk, place and length of a line.
fn place_of(place: &[u8]) -> Option<(Option<u64>, ChunkId, Range<usize>)> {
    let (block, rest) = place.split_first_chunk::<8>()?;
    let (chunk, rest) = rest.split_first_chunk::<32>()?;
    let (from, rest) = rest.split_first_chunk::<4>()?;
    let (from, len) = (u32::from_be_bytes(*from) as usize, u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize);
    let block = u64::from_be_bytes(*block);
    Some(((block != u64::MAX).then_some(block), ChunkId::from_bytes(*chunk), from..from + len))
}
