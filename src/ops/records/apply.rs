//! A plan becomes a tree: lines and sightings into blocks, then by-key, index and files into the folders, in the order of their names.

use std::path::Path;
use std::sync::Mutex;

use crate::archives::{Sorted, Sorter};
use crate::codec::Effort;
use crate::model::{
    Bits, Body, ChunkRef, Chunks, Counts, Entry, FileBody, Holes, Name, PageId, Progress, RecordItem, RecordsRef,
    Timestamp, TreeRef, Xattrs,
};
use crate::store::{StoreError, Writer};
use crate::tree::{FolderEditor, MapEditor, PageSink, PageWriter, Pages};

use super::dataset::{Dataset, INDEX, MANIFEST, RECORDS, SIGHTINGS, file_names};
use super::error::RecordsError;
use super::groups::{Blocks, Groups, RecordFile, line_body};
use super::key::{BY_KEY, KeyPath};
use super::plan::{Plan, flag, place_from};
use super::sealing::Sealing;
use super::sighting::sighting_line;
use super::stage::Stage;

/// Bytes of a block of pages: entries of `by-key` are much alike.
const TREE_BLOCK_BYTES: usize = 1 << 20;
/// Chunks of a list that stands in its entry.
const LIST_MAX: usize = 24;

/// How what is made looks in the tree.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: Box<[u8]>,
    pub(super) group: Box<[u8]>,
    pub(super) now: Timestamp,
}

impl Look {
    pub(super) fn entry(&self, name: Name, body: Body) -> Entry {
        let is_folder = matches!(body, Body::Folder(_));
        Entry {
            name,
            bits: Bits::default(),
            mode: if is_folder { 0o755 } else { 0o644 },
            uid: self.uid,
            gid: self.gid,
            user: self.user.clone(),
            group: self.group.clone(),
            mtime: self.now,
            btime: None,
            xattrs: Xattrs::None,
            link: None,
            body,
            ext: Vec::new(),
        }
    }

    /// A folder without anything in it yet.
    pub(super) fn folder(&self, name: Name) -> Entry {
        self.entry(name, Body::Folder(TreeRef { page: PageId::from_bytes([0; 32]), counts: Counts::default() }))
    }
}

/// What is needed to apply a plan.
pub(super) struct Applier<'a> {
    pub(super) writer: &'a Writer,
    pub(super) pages: &'a Pages,
    pub(super) dataset: Option<&'a Dataset>,
    pub(super) look: Look,
    pub(super) chunk_size: u32,
    pub(super) manifest: String,
    pub(super) tmp: &'a Path,
    pub(super) progress: &'a dyn Progress,
}

/// What came of it.
pub(super) struct Applied {
    pub(super) root: Entry,
    pub(super) records: RecordsRef,
    /// Files, folders and bytes more than before.
    pub(super) grown: (u64, u64, i128),
}

/// Lines that were written, and what is to be done with them in the tree.
struct Written {
    files: Vec<RecordFile>,
    index: Vec<ChunkRef>,
    sightings: Vec<ChunkRef>,
    manifest: ChunkRef,
    current: Sorted,
    number: u64,
}

impl Applier<'_> {
    pub(super) fn apply(&self, stage: &Stage, mut plan: Plan) -> Result<Applied, RecordsError> {
        let failed = Mutex::new(None);
        let applied = rayon::in_place_scope(|tasks| {
            let sealing = Sealing::new(self.writer, tasks, &failed);
            let written = self.write(&sealing, stage, &mut plan)?;
            let sink = |content: Vec<u8>, pages: Vec<(PageId, u32)>| {
                sealing.begin(move |writer| writer.put_pages_with(&content, &pages, Effort::LINES))
            };
            let lines = std::mem::replace(&mut plan.index, Sorter::with_memory(self.tmp, 0));
            // The tree and the index know nothing of each other.
            let (tree, index) = rayon::join(|| self.tree(&sink, &written), || self.index(&sink, lines));
            let ((root, grown), (page, counts)) = (tree?, index?);
            let before = self.dataset.map(Dataset::counts);
            let new = plan.inserted + plan.conflicts;
            let records = RecordsRef {
                page,
                counts,
                files: written.number,
                records: before.map_or(0, |b| b.records) + new,
                keys: before.map_or(0, |b| b.keys) + plan.keys,
                sightings: before.map_or(0, |b| b.sightings) + plan.sightings,
            };
            Ok(Applied { root, records, grown })
        });
        // Who fills blocks may have met the failure of a task, or what came of it.
        match failed.into_inner().unwrap_or_default() {
            Some(e) => Err(e.into()),
            None => applied,
        }
    }

    /// Writes what is new, in the order in which it came.
    fn write(&self, sealing: &Sealing, stage: &Stage, plan: &mut Plan) -> Result<Written, RecordsError> {
        let number = self.dataset.map_or(0, |dataset| dataset.counts().files);
        let sightings = self.old(SIGHTINGS)?.map_or(Ok(0), |entry| chunk_count(&entry))?;
        let mut blocks = Blocks::new(sealing);
        let mut groups = Groups::new(self.writer, self.tmp, self.chunk_size, number, sightings);
        let mut records = stage.read();
        let mut at = 0;
        while let Some(staged) = records.next()? {
            if self.progress.cancelled() {
                return Err(RecordsError::Interrupted);
            }
            let flags = plan.flags.get(at).copied().unwrap_or_default();
            at += 1;
            if flags & flag::NEW != 0 {
                groups.add(&mut blocks, plan, staged, flags)?;
            } else if flags & flag::SIGHTING != 0 {
                let line = sighting_line(staged.line.trim_ascii_end()).ok_or(RecordsError::Died("a sighting"))?;
                groups.add_sighting(&mut blocks, plan, staged.hash, &line)?;
            }
        }
        groups.finish(&mut blocks, plan)?;
        for (path, hash) in &plan.again {
            let missing = || RecordsError::damage("a record", "the index does not have it");
            let place = self.dataset.map_or(Ok(None), |dataset| dataset.part_of(hash))?.ok_or_else(missing)?;
            groups.set_current(path.as_bytes(), place)?;
        }
        let manifest = blocks.put(self.manifest.as_bytes())?;
        blocks.flush()?;
        let number = groups.number();
        let Groups { files, index, sightings, current, .. } = groups;
        Ok(Written { files, index, sightings, manifest, current: current.sorted(), number })
    }

    /// What stands in the root under a name.
    fn old(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        let Some(dataset) = self.dataset else { return Ok(None) };
        Ok(self.pages.resolve(dataset.root(), name.as_bytes())?.map(|found| found.entry))
    }

    /// Changes the folders.
    fn tree(&self, sink: &PageSink, written: &Written) -> Result<(Entry, (u64, u64, i128)), RecordsError> {
        let out = &mut PageWriter::new(self.writer).with_blocks(TREE_BLOCK_BYTES, sink);
        let look = &self.look;
        let make = |depth: usize, name: &Name| {
            let mut entry = look.folder(name.clone());
            if depth == 0 && name.as_bytes() == BY_KEY.as_bytes() {
                entry.bits = entry.bits.with(Bits::VIEW);
            }
            entry
        };
        let mut root = self.dataset.map_or_else(|| look.folder(Name::root()), |dataset| dataset.root().clone());
        root.mtime = look.now;
        let mut editor = FolderEditor::new(self.pages, root, self.dataset.is_some())?;
        let mut current = written.current.read().map_err(RecordsError::temporary)?;
        while let Some((path, value)) = current.next().map_err(RecordsError::temporary)? {
            let (folders, name) = KeyPath::from_bytes(&path).names()?;
            let body = line_body(&value).ok_or(RecordsError::Died("a temporary file"))?;
            editor.put(out, &folders, look.entry(name, Body::File(body)), &make)?;
        }
        self.put_appended(out, &mut editor, INDEX, &written.index, &make)?;
        let manifest = FileBody {
            size: u64::from(written.manifest.len),
            crc32: None,
            content: None,
            chunks: Chunks::List(vec![written.manifest]),
            holes: Holes::None,
        };
        editor.put(out, &[], look.entry(Name::new(MANIFEST.as_bytes())?, Body::File(manifest)), &make)?;
        let mut files: Vec<_> = written.files.iter().map(|file| (file_names(file.number, file.day), file)).collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        // There is a folder of records before there is one of them.
        let records = Name::new(RECORDS.as_bytes())?;
        editor.get(out, std::slice::from_ref(&records), &Name::root(), &make)?;
        for ([year, date, name], file) in files {
            let folders = [records.clone(), Name::new(year.as_bytes())?, Name::new(date.as_bytes())?];
            let entry = look.entry(Name::new(name.as_bytes())?, Body::File(file.body.clone()));
            editor.put(out, &folders, entry, &make)?;
        }
        self.put_appended(out, &mut editor, SIGHTINGS, &written.sightings, &make)?;
        let done = editor.finish(out)?;
        out.flush()?;
        Ok(done)
    }

    /// Puts a file with chunks at its end that it did not have.
    fn put_appended(
        &self,
        out: &mut PageWriter,
        editor: &mut FolderEditor,
        name: &str,
        chunks: &[ChunkRef],
        make: &dyn Fn(usize, &Name) -> Entry,
    ) -> Result<(), RecordsError> {
        let old = self.old(name)?;
        // Other programs look for the index of a dataset, be it empty; nobody does for sightings.
        if chunks.is_empty() && (old.is_some() || name == SIGHTINGS) {
            return Ok(());
        }
        let old = old.as_ref().and_then(Entry::file);
        let added: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let size = old.map_or(0, |file| file.size) + added;
        let list = self.appended(out, old.map(|file| &file.chunks), chunks)?;
        let body = FileBody { size, crc32: None, content: None, chunks: list, holes: Holes::None };
        let entry = self.look.entry(Name::new(name.as_bytes())?, Body::File(body));
        Ok(editor.put(out, &[], entry, make)?)
    }

    fn appended(
        &self,
        out: &mut PageWriter,
        old: Option<&Chunks>,
        chunks: &[ChunkRef],
    ) -> Result<Chunks, RecordsError> {
        let (root, mut list) = match old {
            None | Some(Chunks::None) => (None, Vec::new()),
            Some(Chunks::List(list)) => (None, list.clone()),
            Some(Chunks::Paged(page, counts)) => (Some((*page, *counts)), Vec::new()),
            Some(Chunks::Whole | Chunks::Part(..)) => {
                return Err(RecordsError::damage("a file of a record dataset", "it is no list of chunks"));
            }
        };
        list.extend_from_slice(chunks);
        if root.is_none() && list.len() <= LIST_MAX {
            return Ok(if list.is_empty() { Chunks::None } else { Chunks::List(list) });
        }
        let mut editor = MapEditor::<ChunkRef>::new(self.pages, root)?;
        for chunk in list {
            editor.append(out, chunk)?;
        }
        let (page, counts) = editor.finish(out)?;
        Ok(Chunks::Paged(page, counts))
    }

    /// Changes the index.
    fn index(&self, sink: &PageSink, lines: Sorter) -> Result<(PageId, crate::model::RecordCounts), RecordsError> {
        let out = &mut PageWriter::new(self.writer).with_blocks(TREE_BLOCK_BYTES, sink);
        let old = self.dataset.map(|dataset| (dataset.counts().page, dataset.counts().counts));
        let mut editor = MapEditor::<RecordItem>::new(self.pages, old)?;
        let lines = lines.sorted();
        let mut merge = lines.read().map_err(RecordsError::temporary)?;
        let mut last = None;
        while let Some((key, _)) = merge.next().map_err(RecordsError::temporary)? {
            let item = key
                .split_first_chunk::<6>()
                .and_then(|(hash, rest)| Some(RecordItem { hash: *hash, place: place_from(rest)? }));
            let item = item.ok_or(RecordsError::Died("a temporary file"))?;
            // Several of one hash may stand in one place.
            if last != Some(item) {
                editor.put(out, item)?;
                last = Some(item);
            }
        }
        let done = editor.finish(out)?;
        out.flush()?;
        Ok(done)
    }
}

/// How many chunks a file has.
fn chunk_count(entry: &Entry) -> Result<u32, RecordsError> {
    let count = match entry.file().map(|file| &file.chunks) {
        Some(Chunks::List(list)) => list.len() as u64,
        Some(Chunks::Paged(_, counts)) => counts.chunks,
        _ => 0,
    };
    u32::try_from(count).map_err(|_| RecordsError::Refused("the dataset has too many sightings".to_owned()))
}
