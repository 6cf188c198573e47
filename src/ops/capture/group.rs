//! Reading small files, a block's worth at a time, one rayon task each.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::io::Errno;

use crate::codec::{ContentHash, Cutter, IdKeys, digest};
use crate::format::{MAX_CHUNK, encode_xattrs, xattrs_fit};
use crate::model::{Bits, ChunkId, ChunkRef, Chunks, Digest, Extent, FileBody, Holes, Timestamp, Xattrs};
use crate::ops::source::{self, Meta, XattrList};
use crate::store::{StoreError, TINY_CHUNK, Writer};

use super::lists::{keep_chunks, keep_holes};
use super::{CaptureError, Outcomes, Pipeline};

/// A group is full at this many bytes: what it becomes is one block.
pub(super) const GROUP_BYTES: u64 = 1 << 20;
/// Files that are tiny on average fill a longer one: they have more in common than fits into the usual length.
const TINY_GROUP_BYTES: u64 = 2 << 20;
/// … and all are full with this many files.
pub(super) const GROUP_FILES: usize = 4096;
/// Longer files are streamed.
pub(super) const SMALL_FILE: u64 = 512 << 10;

/// True if a group of so many files and bytes is full.
fn is_full(bytes: u64, files: usize) -> bool {
    let wanted = if bytes < files as u64 * TINY_CHUNK { TINY_GROUP_BYTES } else { GROUP_BYTES };
    bytes >= wanted || files >= GROUP_FILES
}

/// A file to be read.
#[derive(Debug)]
pub(super) enum Job {
    /// One of the host.
    Host { dir: Arc<OwnedFd>, name: Box<[u8]>, meta: Meta },
    /// One that was read, its holes as zeros.
    Bytes { bytes: Vec<u8>, holes: Vec<Extent> },
}

impl Job {
    /// Bytes of its content, as far as is known.
    fn size(&self) -> u64 {
        match self {
            Self::Host { meta, .. } => meta.size,
            Self::Bytes { bytes, .. } => bytes.len() as u64,
        }
    }
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct ReadFile {
    pub(super) body: FileBody,
    pub(super) xattrs: Xattrs,
    pub(super) bits: Bits,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) looked: Timestamp,
    pub(super) changed: bool,
}

/// What a piece of a long file owes: its chunks.
pub(super) type Piece = Receiver<Result<Vec<ChunkRef>, StoreError>>;

/// Why an item that went away after its folder was listed is not missed: it is as if it had never been there.
pub(super) const GONE: &str = "it went away meanwhile";

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It went away after its folder was listed.
    Gone,
    /// Reading it failed.
    Failed(String),
}

/// New chunks that do not fill a block, of whatever group.
#[derive(Debug, Default)]
pub(super) struct Leftover(Mutex<(Vec<u8>, Vec<(ChunkId, u32)>)>);

impl Leftover {
    fn add(&self, writer: &Writer, bytes: &[u8], chunks: &[(ChunkId, u32)]) -> Result<(), StoreError> {
        let full = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.0.extend_from_slice(bytes);
            kept.1.extend_from_slice(chunks);
            if is_full(kept.0.len() as u64, kept.1.len()) {
                std::mem::take(&mut *kept)
            } else {
                return Ok(());
            }
        };
        writer.put_chunks(&full.0, &full.1)
    }

    /// Stores what is left at the end.
    pub(super) fn flush(&self, writer: &Writer) -> Result<(), StoreError> {
        let rest = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        writer.put_chunks(&rest.0, &rest.1)
    }
}

/// Hands groups and pieces of long files to rayon; bounds how many are under way.
pub(super) struct Reading<'t, 's> {
    pub(super) pipeline: &'s Pipeline<'s>,
    pub(super) tasks: &'t rayon::Scope<'s>,
    leftover: &'s Leftover,
    results: Sender<Outcomes>,
    jobs: Vec<Job>,
    bytes: u64,
    tokens: (Sender<()>, Receiver<()>),
    pub(super) cutter: Arc<Cutter>,
}

impl<'t, 's> Reading<'t, 's> {
    pub(super) fn new(
        pipeline: &'s Pipeline<'s>,
        tasks: &'t rayon::Scope<'s>,
        leftover: &'s Leftover,
        results: Sender<Outcomes>,
    ) -> Self {
        let under_way = rayon::current_num_threads() * 3 + 2;
        let tokens = bounded(under_way);
        let cutter = Arc::new(pipeline.setting.store.cutter());
        Self { pipeline, tasks, leftover, results, jobs: Vec::new(), bytes: 0, tokens, cutter }
    }

    /// Adds a file to the group at hand.
    pub(super) fn add(&mut self, job: Job) -> Result<(), CaptureError> {
        self.bytes += job.size();
        self.jobs.push(job);
        if is_full(self.bytes, self.jobs.len()) { self.dispatch() } else { Ok(()) }
    }

    /// True if files wait for their group to be full.
    pub(super) fn holds(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Takes a place among the tasks under way; waits for one to end if there are many.
    pub(super) fn token(&self) -> Result<Receiver<()>, CaptureError> {
        self.tokens.0.send(()).map_err(|_| CaptureError::Died("the readers"))?;
        Ok(self.tokens.1.clone())
    }

    /// Sends the group at hand on its way.
    pub(super) fn dispatch(&mut self) -> Result<(), CaptureError> {
        if self.jobs.is_empty() {
            return Ok(());
        }
        let jobs = std::mem::take(&mut self.jobs);
        self.bytes = 0;
        let token = self.token()?;
        let (done, outcomes) = bounded(1);
        self.results.send(outcomes).map_err(|_| CaptureError::Died("the tree thread"))?;
        let (pipeline, leftover, cutter) = (self.pipeline, self.leftover, self.cutter.clone());
        self.tasks.spawn(move |_| {
            let _ = done.send(read_group(pipeline, leftover, &cutter, &jobs));
            let _ = token.recv();
        });
        Ok(())
    }

    /// Stores bytes that belong to no file's content: long xattrs.
    pub(super) fn store_xattrs(&self, list: &XattrList) -> Result<(Xattrs, Bits), CaptureError> {
        Ok(keep_xattrs(self.pipeline.writer, list)?)
    }
}

/// The content of a group: files one behind the other, and which ranges are new chunks.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    new: Vec<(ChunkId, usize, usize)>,
}

fn read_group(
    pipeline: &Pipeline,
    leftover: &Leftover,
    cutter: &Cutter,
    jobs: &[Job],
) -> Result<Vec<Result<ReadFile, Unread>>, StoreError> {
    let expected: u64 = jobs.iter().map(Job::size).sum();
    let mut gathered =
        Gathered { bytes: Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 4096), new: Vec::new() };
    let looked = (pipeline.setting.clock)();
    let mut files = Vec::with_capacity(jobs.len());
    for job in jobs {
        let (dir, name, meta) = match job {
            Job::Host { dir, name, meta } => (dir, name, meta),
            Job::Bytes { bytes, holes } => {
                files.push(Ok(take_bytes(pipeline, cutter, bytes, holes, looked, &mut gathered)?));
                continue;
            }
        };
        files.push(match read_small(pipeline, cutter, (dir, name, meta), looked, &mut gathered) {
            Ok(file) => Ok(file),
            Err(ReadError::Host(e)) if source::is_gone(dir.as_fd(), name, e) => Err(Unread::Gone),
            Err(ReadError::Host(Errno::FBIG)) => Err(Unread::Failed("it grew a lot while it was read".to_owned())),
            Err(ReadError::Host(e)) => Err(Unread::Failed(e.to_string())),
            Err(ReadError::Store(e)) => return Err(e),
        });
    }
    store(pipeline.writer, leftover, gathered)?;
    Ok(files)
}

/// Makes a block of the new chunks, or leaves them for a later one.
fn store(writer: &Writer, leftover: &Leftover, gathered: Gathered) -> Result<(), StoreError> {
    let Gathered { mut bytes, new } = gathered;
    // Move the new chunks to the front.
    let mut end = 0;
    let mut chunks = Vec::with_capacity(new.len());
    for (id, start, len) in new {
        if start != end {
            bytes.copy_within(start..start + len, end);
        }
        end += len;
        chunks.push((id, u32::try_from(len).unwrap_or(u32::MAX)));
    }
    bytes.truncate(end);
    if (end as u64) < GROUP_BYTES / 2 {
        leftover.add(writer, &bytes, &chunks)
    } else {
        writer.put_chunks(&bytes, &chunks)
    }
}

enum ReadError {
    Host(Errno),
    Store(StoreError),
}

impl From<Errno> for ReadError {
    fn from(e: Errno) -> Self {
        Self::Host(e)
    }
}

impl From<StoreError> for ReadError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// Reads a file; if it changed meanwhile, once more.
fn read_small(
    pipeline: &Pipeline,
    cutter: &Cutter,
    (dir, name, meta): (&OwnedFd, &[u8], &Meta),
    looked: Timestamp,
    gathered: &mut Gathered,
) -> Result<ReadFile, ReadError> {
    let file = source::open_file(dir.as_fd(), name)?;
    let start = gathered.bytes.len();
    let mut before = *meta;
    let mut changed = false;
    let mut holes = Vec::new();
    for attempt in 0.. {
        let len = read_all(&file, before.size, &mut gathered.bytes)?;
        holes = if len >= 4096 { source::holes(file.as_fd(), len as u64) } else { Vec::new() };
        let after = source::stat_fd(file.as_fd())?;
        if after.kind != rustix::fs::FileType::RegularFile {
            return Err(ReadError::Host(Errno::STALE));
        }
        if after.same_content(&before) && len as u64 == after.size {
            break;
        }
        if after.size > SMALL_FILE * 4 {
            return Err(ReadError::Host(Errno::FBIG));
        }
        before = after;
        if attempt == 1 {
            changed = true;
            break;
        }
        gathered.bytes.truncate(start);
    }
    let list = source::xattrs_fd(file.as_fd())?;
    // In a file that changes, a hole may have come after its bytes were read: what was read counts.
    let content = &gathered.bytes[start..];
    holes.retain(|hole| range_of(hole).and_then(|range| content.get(range)).is_some_and(|b| b.iter().all(|b| *b == 0)));
    drop(file);
    let body = if holes.is_empty() {
        whole_content(pipeline, cutter, gathered, start)?
    } else {
        sparse_content(pipeline, cutter, gathered, start, holes)?
    };
    let (xattrs, bits) = keep_xattrs(pipeline.writer, &list)?;
    Ok(ReadFile { body, xattrs, bits, mtime: before.mtime, ctime: before.ctime, looked, changed })
}

/// A file whose bytes are at hand.
fn take_bytes(
    pipeline: &Pipeline,
    cutter: &Cutter,
    bytes: &[u8],
    holes: &[Extent],
    looked: Timestamp,
    gathered: &mut Gathered,
) -> Result<ReadFile, StoreError> {
    let start = gathered.bytes.len();
    gathered.bytes.extend_from_slice(bytes);
    let body = if holes.is_empty() {
        whole_content(pipeline, cutter, gathered, start)?
    } else {
        sparse_content(pipeline, cutter, gathered, start, holes.to_vec())?
    };
    let (mtime, ctime) = (Timestamp::EPOCH, Timestamp::EPOCH);
    Ok(ReadFile { body, xattrs: Xattrs::None, bits: Bits::default(), mtime, ctime, looked, changed: false })
}

/// A hole's place in a buffer.
fn range_of(hole: &Extent) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(hole.offset).ok()?;
    Some(start..start.checked_add(usize::try_from(hole.len).ok()?)?)
}

/// Appends a file's bytes to the buffer: as many as expected. That it grew shows in its metadata afterwards.
fn read_all(file: &OwnedFd, expected: u64, bytes: &mut Vec<u8>) -> Result<usize, Errno> {
    let expected = usize::try_from(expected.min(SMALL_FILE * 4)).unwrap_or(0);
    // What says that it is empty may still give bytes (/proc, /sys).
    let wanted = if expected == 0 { 64 << 10 } else { expected };
    source::append_at(file.as_fd(), bytes, wanted, 0)
}

/// Cuts the bytes from `start` on into chunks and claims those that are new.
fn whole_content(
    pipeline: &Pipeline,
    cutter: &Cutter,
    gathered: &mut Gathered,
    start: usize,
) -> Result<FileBody, StoreError> {
    let content = &gathered.bytes[start..];
    let size = content.len() as u64;
    if content.is_empty() {
        return Ok(FileBody::empty());
    }
    let sum = crate::codec::ContentSum::of(content);
    let first = cutter.next(&content[..content.len().min(cutter.max())]);
    let chunks = if first == content.len() {
        let id = pipeline.setting.store.keyring().ids().chunk_of(&sum.blake3);
        if pipeline.writer.claim_chunk(&id)? {
            gathered.new.push((id, start, content.len()));
        }
        Chunks::Whole
    } else {
        keep_chunks(pipeline.writer, cut_and_claim(pipeline, cutter, gathered, start)?)?
    };
    Ok(FileBody { size, crc32: Some(sum.crc32), content: Some(sum.blake3), chunks, holes: Holes::None })
}

/// The same for a file with holes, whose bytes are in the buffer with zeros for them.
fn sparse_content(
    pipeline: &Pipeline,
    cutter: &Cutter,
    gathered: &mut Gathered,
    start: usize,
    holes: Vec<Extent>,
) -> Result<FileBody, StoreError> {
    let size = (gathered.bytes.len() - start) as u64;
    let sum = crate::codec::ContentSum::of(&gathered.bytes[start..]);
    let mut data = Vec::new();
    let mut at = 0;
    for hole in holes.iter().chain(std::iter::once(&Extent { offset: size, len: 0 })) {
        let (from, to) = (start + usize::try_from(at).unwrap_or(0), start + usize::try_from(hole.offset).unwrap_or(0));
        data.extend_from_slice(&gathered.bytes[from..to]);
        at = hole.offset + hole.len;
    }
    gathered.bytes.truncate(start);
    gathered.bytes.extend_from_slice(&data);
    let chunks = keep_chunks(pipeline.writer, cut_and_claim(pipeline, cutter, gathered, start)?)?;
    let holes = keep_holes(pipeline.writer, holes)?;
    Ok(FileBody { size, crc32: Some(sum.crc32), content: Some(sum.blake3), chunks, holes })
}

fn cut_and_claim(
    pipeline: &Pipeline,
    cutter: &Cutter,
    gathered: &mut Gathered,
    start: usize,
) -> Result<Vec<ChunkRef>, StoreError> {
    let mut list = Vec::new();
    let mut at = start;
    while at < gathered.bytes.len() {
        let rest = &gathered.bytes[at..];
        let len = cutter.next(&rest[..rest.len().min(cutter.max())]);
        let id = pipeline.setting.store.keyring().ids().chunk(&rest[..len]);
        if pipeline.writer.claim_chunk(&id)? {
            gathered.new.push((id, at, len));
        }
        list.push(ChunkRef { id, len: u32::try_from(len).unwrap_or(u32::MAX) });
        at += len;
    }
    Ok(list)
}

/// Xattrs as an entry keeps them, and the bits that go with them.
fn keep_xattrs(writer: &Writer, list: &XattrList) -> Result<(Xattrs, Bits), StoreError> {
    if list.is_empty() {
        return Ok((Xattrs::None, Bits::default()));
    }
    let has = |name: &[u8]| list.iter().any(|(n, _)| n == name);
    let mut bits = Bits::XATTRS;
    if has(b"system.posix_acl_access") {
        bits = bits.with(Bits::ACCESS_ACL);
    }
    if has(b"system.posix_acl_default") {
        bits = bits.with(Bits::DEFAULT_ACL);
    }
    let encoded = encode_xattrs(list);
    let xattrs =
        if xattrs_fit(&encoded) { Xattrs::List(list.clone()) } else { Xattrs::Chunks(store_long(writer, &encoded)?) };
    Ok((xattrs, bits))
}

/// Stores a long value as chunks of at most a MiB, in a block of their own.
pub(super) fn store_long(writer: &Writer, bytes: &[u8]) -> Result<Vec<ChunkRef>, StoreError> {
    let ids = writer.store().keyring().ids();
    let mut list = Vec::new();
    for piece in bytes.chunks(MAX_CHUNK.min(1 << 20)) {
        let id = ids.chunk(piece);
        let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        if writer.claim_chunk(&id)? {
            writer.put_chunks(piece, &[(id, len)])?;
        }
        list.push(ChunkRef { id, len });
    }
    Ok(list)
}

/// Hashes the chunks of one piece of a long file, claims and stores those that are new.
pub(super) fn store_piece(
    ids: &IdKeys,
    writer: &Writer,
    leftover: &Leftover,
    bytes: Vec<u8>,
    lens: &[u32],
) -> Result<Vec<ChunkRef>, StoreError> {
    let mut gathered = Gathered { bytes, new: Vec::new() };
    let mut list = Vec::with_capacity(lens.len());
    let mut at = 0;
    for len in lens {
        let end = at + *len as usize;
        let id = ids.chunk_of(&digest(&gathered.bytes[at..end]));
        if writer.claim_chunk(&id)? {
            gathered.new.push((id, at, *len as usize));
        }
        list.push(ChunkRef { id, len: *len });
        at = end;
    }
    store_streamed(writer, leftover, gathered)?;
    Ok(list)
}

/// As [`store`], with the smaller blocks that random reads in long files want.
fn store_streamed(writer: &Writer, leftover: &Leftover, gathered: Gathered) -> Result<(), StoreError> {
    let new: usize = gathered.new.iter().map(|(_, _, len)| len).sum();
    if new == gathered.bytes.len() && new > 0 {
        let chunks: Vec<_> =
            gathered.new.iter().map(|(id, _, len)| (*id, u32::try_from(*len).unwrap_or(u32::MAX))).collect();
        return writer.put_chunks(&gathered.bytes, &chunks);
    }
    store(writer, leftover, gathered)
}

impl Reading<'_, '_> {
    /// A task that stores one piece; its chunks come through the channel.
    pub(super) fn spawn_piece(&self, bytes: Vec<u8>, lens: Vec<u32>) -> Result<Piece, CaptureError> {
        let token = self.token()?;
        let (done, chunks) = bounded(1);
        let (pipeline, leftover) = (self.pipeline, self.leftover);
        self.tasks.spawn(move |_| {
            let ids = pipeline.setting.store.keyring().ids();
            let _ = done.send(store_piece(ids, pipeline.writer, leftover, bytes, &lens));
            let _ = token.recv();
        });
        Ok(chunks)
    }
}

/// Sums of an empty stream.
pub(super) fn finish_sum(sum: ContentHash) -> (Option<u32>, Option<Digest>) {
    let sum = sum.finish();
    (Some(sum.crc32), Some(sum.blake3))
}
