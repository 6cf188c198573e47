//! Lines on their way into the store: gathered into groups, a chunk each, with the index of each group behind it; groups into blocks.

use crate::archives::Sorter;
use crate::codec::index_lines;
use crate::model::{ChunkId, ChunkRef, Chunks, FileBody, Holes, RecordPlace};
use crate::ops::capture::lists::keep_chunks;
use crate::records::RecordHash;
use crate::store::{StoreError, Writer};

use super::dataset::{file_path, sort};
use super::error::RecordsError;
use super::plan::{Plan, flag};
use super::sealing::Sealing;
use super::stage::{SORT_MEMORY, Staged};

/// Bytes of lines that are a chunk together. Each of them costs three ids in the store; whoever reads a record hashes the whole.
const GROUP_BYTES: usize = 128 << 10;
/// Bytes of a block of such chunks, their index among them. Of 63,681 package records 1 MiB more makes the store 0.5 % smaller, and the first look into a
/// block a millisecond longer.
const BLOCK_BYTES: usize = 5 << 19;

/// A file of records that is complete.
#[derive(Debug)]
pub(super) struct RecordFile {
    pub(super) number: u64,
    pub(super) day: i32,
    pub(super) body: FileBody,
}

/// Fills blocks of chunks.
pub(super) struct Blocks<'a, 's> {
    sealing: &'a Sealing<'a, 's>,
    content: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
    /// Which of them follow from those before.
    derived: Vec<u32>,
}

impl<'a, 's> Blocks<'a, 's> {
    pub(super) fn new(sealing: &'a Sealing<'a, 's>) -> Self {
        Self { sealing, content: Vec::new(), chunks: Vec::new(), derived: Vec::new() }
    }

    /// Ends the block if so much more does not fit into it.
    fn make_room(&mut self, bytes: usize) -> Result<(), RecordsError> {
        if self.content.len() + bytes > BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Takes lines and their index, which follow each other in one block: so the index takes no room there.
    fn put_group(&mut self, lines: &[u8], index: &[u8]) -> Result<(ChunkRef, ChunkRef), RecordsError> {
        self.make_room(lines.len() + index.len())?;
        let before = self.chunks.len();
        let refs = (self.put(lines)?, self.put(index)?);
        // If the store has neither.
        if self.chunks.len() == before + 2 {
            self.derived.extend(u32::try_from(before + 1));
        }
        Ok(refs)
    }

    /// Takes a chunk; stores it unless the store has it.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<ChunkRef, RecordsError> {
        let id = self.sealing.writer().store().keyring().ids().chunk(bytes);
        let len = u32::try_from(bytes.len()).map_err(|_| RecordsError::Refused("a record is too long".to_owned()))?;
        if self.sealing.writer().claim_chunk(&id)? {
            self.content.extend_from_slice(bytes);
            self.chunks.push((id, len));
        }
        Ok(ChunkRef { id, len })
    }

    /// Sends what is gathered on its way.
    pub(super) fn flush(&mut self) -> Result<(), RecordsError> {
        let (content, chunks) = (std::mem::take(&mut self.content), std::mem::take(&mut self.chunks));
        let derived = std::mem::take(&mut self.derived);
        if !chunks.is_empty() {
            self.sealing.begin(move |writer| writer.put_lines(&content, &chunks, &derived))?;
        }
        Ok(())
    }
}

/// Fills files of records and of sightings.
pub(super) struct Groups<'a> {
    writer: &'a Writer,
    /// Records that a file has.
    chunk_size: u32,
    /// The number of the newest file.
    number: u64,
    open: Open,
    /// Complete files.
    pub(super) files: Vec<RecordFile>,
    /// The chunks of the index.
    pub(super) index: Vec<ChunkRef>,
    /// Chunks of sightings.
    pub(super) sightings: Vec<ChunkRef>,
    sightings_before: u32,
    rows: Vec<u8>,
    row_hashes: Vec<RecordHash>,
    /// What becomes current: the path of the key, and where its line is.
    pub(super) current: Sorter,
}

/// The file that is being filled.
#[derive(Default)]
struct Open {
    day: i32,
    records: u32,
    chunks: Vec<ChunkRef>,
    lines: Vec<u8>,
    hashes: Vec<RecordHash>,
    /// Paths of lines that become current, and where these are in the group.
    current: Vec<(Box<[u8]>, u32, u32)>,
    earlier: Vec<Box<[u8]>>,
}

impl<'a> Groups<'a> {
    /// `number`: of the newest file of records; `sightings`: how many chunks of sightings there are.
    pub(super) fn new(writer: &'a Writer, tmp: &std::path::Path, chunk_size: u32, number: u64, sightings: u32) -> Self {
        Self {
            writer,
            chunk_size: chunk_size.max(1),
            number,
            open: Open::default(),
            files: Vec::new(),
            index: Vec::new(),
            sightings: Vec::new(),
            sightings_before: sightings,
            rows: Vec::new(),
            row_hashes: Vec::new(),
            current: Sorter::with_memory(tmp, SORT_MEMORY),
        }
    }

    /// Takes a record whose content is new.
    pub(super) fn add(
        &mut self,
        blocks: &mut Blocks,
        plan: &mut Plan,
        staged: Staged,
        flags: u8,
    ) -> Result<(), RecordsError> {
        if !self.open.lines.is_empty() && self.open.lines.len() + staged.line.len() > GROUP_BYTES {
            self.close_group(blocks, plan)?;
        }
        let open = &mut self.open;
        if open.records == 0 {
            open.day = staged.day;
            self.number += 1;
        }
        open.records += 1;
        let short = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        if flags & flag::EARLIER == 0 {
            open.current.push((staged.path.into(), short(open.lines.len()), short(staged.line.len())));
        } else {
            open.earlier.push(staged.path.into());
        }
        open.hashes.push(staged.hash);
        open.lines.extend_from_slice(staged.line);
        if open.records >= self.chunk_size { self.close_file(blocks, plan) } else { Ok(()) }
    }

    /// Takes a sighting: a line without its end.
    pub(super) fn add_sighting(
        &mut self,
        blocks: &mut Blocks,
        plan: &mut Plan,
        hash: RecordHash,
        line: &[u8],
    ) -> Result<(), RecordsError> {
        if !self.rows.is_empty() && self.rows.len() + line.len() >= GROUP_BYTES {
            self.close_rows(blocks, plan)?;
        }
        self.rows.extend_from_slice(line);
        self.rows.push(b'\n');
        self.row_hashes.push(hash);
        Ok(())
    }

    fn close_rows(&mut self, blocks: &mut Blocks, plan: &mut Plan) -> Result<(), RecordsError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let part = self.sightings_before + u32::try_from(self.sightings.len()).unwrap_or(u32::MAX);
        let place = RecordPlace { file: 0, part, day: 0 };
        blocks.make_room(self.rows.len())?;
        self.sightings.push(blocks.put(&self.rows)?);
        self.rows.clear();
        let ids = self.writer.store().keyring().ids();
        for hash in self.row_hashes.drain(..) {
            plan.add_to_index(ids.record(sort::SIGHTING, hash.as_bytes()), place)?;
        }
        Ok(())
    }

    fn close_group(&mut self, blocks: &mut Blocks, plan: &mut Plan) -> Result<(), RecordsError> {
        let open = &mut self.open;
        if open.lines.is_empty() {
            return Ok(());
        }
        let part = u32::try_from(open.chunks.len()).unwrap_or(u32::MAX);
        let place = RecordPlace { file: self.number, part, day: open.day };
        let index = index_lines(&open.lines, &file_path(self.number, open.day));
        let index = index.ok_or(RecordsError::Died("writing an index"))?;
        let (chunk, index) = blocks.put_group(&open.lines, &index)?;
        self.index.push(index);
        open.chunks.push(chunk);
        open.lines.clear();
        let ids = self.writer.store().keyring().ids();
        for hash in open.hashes.drain(..) {
            plan.add_to_index(ids.record(sort::CONTENT, hash.as_bytes()), place)?;
        }
        for path in open.earlier.drain(..) {
            plan.add_to_index(ids.record(sort::VERSION, &path), place)?;
        }
        for (path, from, len) in std::mem::take(&mut open.current) {
            self.set_current(&path, (chunk, from, len))?;
        }
        Ok(())
    }

    /// Takes a line of a chunk, from a byte on and so long, for the current version of its key.
    pub(super) fn set_current(
        &mut self,
        path: &[u8],
        (chunk, from, len): (ChunkRef, u32, u32),
    ) -> Result<(), RecordsError> {
        let value = [&chunk.id.as_bytes()[..], &chunk.len.to_le_bytes(), &from.to_le_bytes(), &len.to_le_bytes()];
        self.current.push(path, &value.concat()).map_err(RecordsError::temporary)
    }

    fn close_file(&mut self, blocks: &mut Blocks, plan: &mut Plan) -> Result<(), RecordsError> {
        self.close_group(blocks, plan)?;
        let open = std::mem::take(&mut self.open);
        if open.records > 0 {
            let body = body_of(self.writer, open.chunks)?;
            self.files.push(RecordFile { number: self.number, day: open.day, body });
        }
        Ok(())
    }

    /// All have come.
    pub(super) fn finish(&mut self, blocks: &mut Blocks, plan: &mut Plan) -> Result<(), RecordsError> {
        self.close_file(blocks, plan)?;
        self.close_rows(blocks, plan)
    }

    /// The number of the newest file.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// A file of these chunks, without sums over the whole: such files grow at their ends.
fn body_of(writer: &Writer, chunks: Vec<ChunkRef>) -> Result<FileBody, StoreError> {
    let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    Ok(FileBody { size, crc32: None, content: None, chunks: keep_chunks(writer, chunks)?, holes: Holes::None })
}

/// Where a line is, from a value of [`Groups::current`].
pub(super) fn line_body(value: &[u8]) -> Option<FileBody> {
    let (id, rest) = value.split_first_chunk::<32>()?;
    let (chunk_len, rest) = rest.split_first_chunk::<4>()?;
    let (from, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*rest.first_chunk::<4>()?);
    let chunk = ChunkRef { id: ChunkId::from_bytes(*id), len: u32::from_le_bytes(*chunk_len) };
    let chunks = Chunks::Part(chunk, u32::from_le_bytes(*from));
    Some(FileBody { size: u64::from(len), crc32: None, content: None, chunks, holes: Holes::None })
}
