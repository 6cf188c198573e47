//! Adding to a store: blocks, index entries, the commit.
//!
//! Blocks are sealed by whoever calls [`Writer::put`], in parallel. One thread gives them numbers, writes them into sorted
//! files, has each file ingested by rename and then writes its index entries (I3, I4). The commit is one synced write and a
//! flush; only then is the snapshot acknowledged.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};

use crate::codec::{Effort, MacLabel, SealedBlock, digest, seal_block, seal_value};
use crate::format::{
    BlockHeader, BlockKind, Cipher, Family, Place, from_bytes, index_key, join_mac, number_key, sum_key_value, to_bytes,
};
use crate::model::{
    ChunkId, DatasetName, DatasetRecord, Digest, EpochId, LogEntry, LogKind, Manifest, PageId, Purpose, SnapshotId,
    Timestamp,
};

use super::Store;
use super::db::{Db, RowFile, Rows};
use super::error::StoreError;
use super::exclusive::{Exclusive, add_entry, newest_entry, publish};
use super::keyring::OwnEpoch;
use super::lock::{Waiting, WriterLock};
use super::log::{NewSnapshot, dataset_record};
use super::numbers::next_block;
use super::read::{Sort, places};
use super::trust::Trust;

/// A file of blocks is closed at this size at the latest …
const FILE_BYTES_MIN: u64 = 64 << 20;
/// … or, in large stores, at this one …
const FILE_BYTES_MAX: u64 = 1 << 30;
/// … or with that many items waiting for their index entries.
const PENDING_ITEMS_MAX: usize = 200_000;

/// Chunks of fewer bytes than this, on average, are tiny: to open and read so many files takes longer than to compress what
/// they hold, which is alike and gains most from a better effort.
pub const TINY_CHUNK: u64 = 2 << 10;

/// The one who may add to a store. Dropping it without [`Writer::commit`] leaves no snapshot.
pub struct Writer {
    store: Store,
    shared: Arc<Shared>,
    to_ingest: Option<Sender<Finished>>,
    ingest: Option<JoinHandle<Result<(), StoreError>>>,
    check: bool,
    _lock: WriterLock,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({})", self.store.dir().display())
    }
}

struct Shared {
    db: Db,
    epoch: OwnEpoch,
    trust: Trust,
    claimed: [Mutex<HashSet<[u8; 16]>>; 16],
    new_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    failed: AtomicBool,
}

/// A sealed block on its way to a file.
struct Finished {
    sort: Sort,
    block: SealedBlock,
    ids: Vec<[u8; 32]>,
}

/// A committed snapshot.
#[derive(Debug, Clone)]
pub struct CommitInfo {
    /// Its id.
    pub id: SnapshotId,
    /// Its manifest.
    pub manifest: Manifest,
    /// Hash of its log entry.
    pub log_hash: Digest,
}

impl Shared {
    fn shard(&self, id: &[u8; 32]) -> std::sync::MutexGuard<'_, HashSet<[u8; 16]>> {
        self.claimed[usize::from(id[16] & 15)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if whoever asks is the first and must store the item.
    fn claim(&self, sort: Sort, id: &[u8; 32]) -> Result<bool, StoreError> {
        let key = claim_key(sort, id);
        if self.shard(id).contains(&key) {
            return Ok(false);
        }
        for place in places(&self.db, sort, id)? {
            if self.trust.allows(&self.db, sort, place.block)? {
                return Ok(false);
            }
        }
        Ok(self.shard(id).insert(key))
    }
}

/// Chunk and page ids come from different keys; the first bit tells them apart all the same.
fn claim_key(sort: Sort, id: &[u8; 32]) -> [u8; 16] {
    let mut key = index_key(id);
    key[0] = (key[0] & 0x7f) | if sort == Sort::Page { 0x80 } else { 0 };
    key
}

impl Writer {
    pub(super) fn begin(
        store: &Store,
        purpose: Purpose,
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<Self, StoreError> {
        let dir = store.dir();
        let Exclusive { db, lock } = Exclusive::begin(store, waiting, keep_waiting)?;
        let epoch = store.keyring().begin_epoch(purpose)?;
        let trust = Trust::new(&db, store.keyring().name())?;
        let next_block = next_block(&db)?;
        log::info!("epoch {} begun, next block {next_block}", epoch.id);
        let shared = Arc::new(Shared {
            db,
            epoch,
            trust,
            claimed: std::array::from_fn(|_| Mutex::default()),
            new_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        });
        let (to_ingest, finished) = bounded::<Finished>(32);
        let ingest = {
            let shared = shared.clone();
            let tmp = dir.join("tmp");
            std::thread::Builder::new().name("ingest".to_owned()).spawn(move || {
                let mut ingest = Ingest::new(&shared, tmp, next_block);
                let mut outcome = finished.iter().try_for_each(|block| ingest.add(block));
                if outcome.is_ok() {
                    outcome = ingest.finish();
                }
                if outcome.is_err() {
                    shared.failed.store(true, Ordering::SeqCst);
                }
                outcome
            })
        };
        let ingest = ingest.map_err(|e| StoreError::io("cannot start a thread", e))?;
        Ok(Self {
            store: store.clone(),
            shared,
            to_ingest: Some(to_ingest),
            ingest: Some(ingest),
            check: true,
            _lock: lock,
        })
    }

    /// Whether each block is decoded and compared before it is written; it is unless told otherwise.
    pub fn set_check(&mut self, check: bool) {
        self.check = check;
    }

    /// Hash of a log entry, as the writer sees it: nobody else can add to the log meanwhile.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn log_hash(&self, sequence: u64) -> Result<Option<Digest>, StoreError> {
        self.shared.db.with(Family::Log, &number_key(sequence), digest)
    }

    /// The gc generation, as the writer sees it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn gc_generation(&self) -> Result<u64, StoreError> {
        super::db_gc_generation(&self.shared.db)
    }

    /// The newest snapshot of a dataset, as the writer sees it: nobody else can add to it meanwhile. Nothing if it was given up.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn newest(&self, dataset: &DatasetName) -> Result<Option<(SnapshotId, Manifest)>, StoreError> {
        let ids = self.store.keyring().ids();
        let Some(record) = dataset_record(&self.shared.db, ids, ids.dataset(dataset))? else { return Ok(None) };
        if self.store.is_forgotten(&record.manifest, record.head)? {
            return Ok(None);
        }
        Ok(Some((record.manifest, self.store.manifest_in(&self.shared.db, &record.manifest)?)))
    }

    /// The store written to.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// True if a chunk is not in the store and whoever asks is the first to: then it must be given to [`Self::put_chunks`].
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn claim_chunk(&self, id: &ChunkId) -> Result<bool, StoreError> {
        self.shared.claim(Sort::Chunk, id.as_bytes())
    }

    /// True if a page is not in the store and whoever asks is the first to: then it must be given to [`Self::put_pages`].
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn claim_page(&self, id: &PageId) -> Result<bool, StoreError> {
        self.shared.claim(Sort::Page, id.as_bytes())
    }

    /// Makes a block of chunks: their bytes one behind the other, and each one's id and length. Compresses and seals on this thread.
    ///
    /// # Errors
    /// If it cannot be built or an earlier block could not be written.
    pub fn put_chunks(&self, content: &[u8], chunks: &[(ChunkId, u32)]) -> Result<(), StoreError> {
        self.put(Sort::Chunk, content, chunks.iter().map(|(id, len)| (*id.as_bytes(), *len)))
    }

    /// The same where some chunks, by their places, were made with [`crate::codec::index_lines`] of those before them.
    ///
    /// # Errors
    /// If it cannot be built or an earlier block could not be written.
    pub fn put_lines(&self, content: &[u8], chunks: &[(ChunkId, u32)], derived: &[u32]) -> Result<(), StoreError> {
        let items = chunks.iter().map(|(id, len)| (*id.as_bytes(), *len));
        self.put_with(Sort::Chunk, content, items, None, derived)
    }

    /// The same for pages.
    ///
    /// # Errors
    /// If it cannot be built or an earlier block could not be written.
    pub fn put_pages(&self, content: &[u8], pages: &[(PageId, u32)]) -> Result<(), StoreError> {
        self.put_pages_with(content, pages, Effort::USUAL)
    }

    /// The same with another effort.
    ///
    /// # Errors
    /// If it cannot be built or an earlier block could not be written.
    pub fn put_pages_with(&self, content: &[u8], pages: &[(PageId, u32)], effort: Effort) -> Result<(), StoreError> {
        self.put_with(Sort::Page, content, pages.iter().map(|(id, len)| (*id.as_bytes(), *len)), Some(effort), &[])
    }

    pub(super) fn put(
        &self,
        sort: Sort,
        content: &[u8],
        items: impl Iterator<Item = ([u8; 32], u32)>,
    ) -> Result<(), StoreError> {
        self.put_with(sort, content, items, None, &[])
    }

    fn put_with(
        &self,
        sort: Sort,
        content: &[u8],
        items: impl Iterator<Item = ([u8; 32], u32)>,
        effort: Option<Effort>,
        derived: &[u32],
    ) -> Result<(), StoreError> {
        let (ids, lens): (Vec<_>, Vec<_>) = items.unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let epoch = &self.shared.epoch;
        let kind = if sort == Sort::Chunk { BlockKind::Data } else { BlockKind::Tree };
        let tiny = sort == Sort::Chunk && (content.len() as u64) < lens.len() as u64 * TINY_CHUNK;
        let effort = effort.unwrap_or(if tiny { Effort::TINY } else { Effort::USUAL });
        let keys = (&epoch.page, &epoch.chunk);
        let block = seal_block(kind, epoch.id, keys, content, (lens, derived), effort, self.check)?;
        self.shared.new_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
        self.shared.stored_bytes.fetch_add(block.bytes.len() as u64, Ordering::Relaxed);
        let sender = self.to_ingest.as_ref().filter(|_| !self.shared.failed.load(Ordering::SeqCst));
        let sent = sender.map(|s| s.send(Finished { sort, block, ids }));
        if matches!(sent, Some(Ok(()))) {
            Ok(())
        } else {
            Err(StoreError::Database("writing has failed before".to_owned()))
        }
    }

    /// The database as the writer sees it.
    pub(super) fn db(&self) -> &Db {
        &self.shared.db
    }

    /// Writes rows so that they last.
    pub(super) fn write_rows(&self, rows: &Rows) -> Result<(), StoreError> {
        self.shared.db.write(rows, true)?;
        self.shared.db.flush()?;
        self.store.inner.stale.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Ends the ingesting thread; everything put is durable and in the index after this.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        drop(self.to_ingest.take());
        match self.ingest.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(StoreError::Database("the ingesting thread died".to_owned())),
            None => Ok(()),
        }
    }

    /// Puts a manifest back that the store has lost; false if it is another one.
    ///
    /// # Errors
    /// If writing fails.
    pub fn put_manifest(&self, id: &SnapshotId, manifest: &Manifest) -> Result<bool, StoreError> {
        let plain = to_bytes(manifest);
        if self.store.keyring().ids().manifest(&plain) != *id {
            return Ok(false);
        }
        let epoch = &self.shared.epoch;
        let sealed = seal_value(epoch.id, &epoch.page, Family::Manifests.name(), id.as_bytes(), &plain);
        let mut rows = Rows::default();
        rows.put(Family::Epochs, epoch.id.as_bytes(), &epoch.record);
        rows.put(Family::Manifests, id.as_bytes(), &sealed);
        self.write_rows(&rows)?;
        Ok(true)
    }

    /// Ends without a snapshot. What was put survives a power cut when this returns.
    ///
    /// # Errors
    /// If writing fails.
    pub fn keep(mut self) -> Result<(), StoreError> {
        self.settle()?;
        self.shared.db.flush()
    }

    /// Makes the reason for a failed [`Self::put_chunks`] known: the first error of the ingesting thread.
    #[must_use]
    pub fn failure(mut self) -> Option<StoreError> {
        self.settle().err()
    }

    /// Plain bytes that were put so far, and what they take, compressed and sealed.
    #[must_use]
    pub fn put_bytes(&self) -> (u64, u64) {
        (self.shared.new_bytes.load(Ordering::SeqCst), self.shared.stored_bytes.load(Ordering::SeqCst))
    }

    /// Commits a snapshot of what was put. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// If writing fails; then the snapshot is absent.
    pub fn commit(mut self, mut new: NewSnapshot, now: Timestamp) -> Result<CommitInfo, StoreError> {
        self.settle()?;
        (new.statistics.new_bytes, new.statistics.stored_bytes) = self.put_bytes();
        let nothing = || StoreError::Refused("nothing was committed".to_owned());
        self.commit_all(vec![new], now)?.pop().ok_or_else(nothing)
    }

    /// Commits several snapshots at once, in their order, with the sums that they have: all of them, or none.
    ///
    /// # Errors
    /// If writing fails; then none of them is there.
    pub fn commit_all(mut self, new: Vec<NewSnapshot>, now: Timestamp) -> Result<Vec<CommitInfo>, StoreError> {
        self.settle()?;
        let (store, db, epoch) = (&self.store, &self.shared.db, &self.shared.epoch);
        let (mut sequence, mut previous) = newest_entry(db)?;
        let mut rows = Rows::default();
        rows.put(Family::Epochs, epoch.id.as_bytes(), &epoch.record);
        let (mut committed, mut records) = (Vec::<CommitInfo>::new(), HashMap::new());
        for new in new {
            let key = store.keyring().ids().dataset(&new.dataset);
            let parent: Option<DatasetRecord> = match records.remove(&key) {
                Some(record) => Some(record),
                None => dataset_record(db, store.keyring().ids(), key)?,
            };
            sequence += 1;
            let place = (sequence, previous, now);
            let (info, record) = add_snapshot(store, epoch, &mut rows, new, place, parent.as_ref())?;
            previous = info.log_hash;
            committed.push(info);
            records.insert(key, record);
        }
        publish(store, db, &rows, sequence, previous)?;
        for info in &committed {
            log::info!("snapshot {} committed as entry {} of the log", info.id, info.manifest.sequence);
        }
        if let Err(e) = db.merge() {
            log::warn!("small files of the database stay as they are: {e}");
        }
        Ok(committed)
    }
}

/// Adds the rows of a snapshot: its manifest, its entry of the log, its dataset. `place`: its sequence, the hash of the entry before,
/// its arrival.
fn add_snapshot(
    store: &Store,
    epoch: &OwnEpoch,
    rows: &mut Rows,
    new: NewSnapshot,
    (sequence, previous, now): (u64, Digest, Timestamp),
    parent: Option<&DatasetRecord>,
) -> Result<(CommitInfo, DatasetRecord), StoreError> {
    let ids = store.keyring().ids();
    let manifest = Manifest {
        sequence,
        previous,
        arrival: now,
        kind: new.kind,
        dataset: new.dataset,
        parent: parent.map(|p| p.manifest),
        root: new.root,
        links: new.links,
        statistics: new.statistics,
        client_time: new.client_time,
        host: new.host,
        user: new.user,
        program: new.program,
        sources: new.sources,
        git_revision: new.git_revision,
        reason: new.reason,
        labels: new.labels,
        references: new.references,
        evidence: new.evidence,
        ext: [
            new.origin.map(|origin| (Manifest::ORIGIN, origin.into_bytes())),
            new.records.map(|records| (Manifest::RECORDS, to_bytes(&records))),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let plain = to_bytes(&manifest);
    if plain.len() > crate::format::MAX_MANIFEST {
        return Err(StoreError::Refused(
            "labels, metrics and payload together are longer than a manifest may be".to_owned(),
        ));
    }
    let (id, dataset) = (ids.manifest(&plain), ids.dataset(&manifest.dataset));
    let entry = LogEntry {
        kind: LogKind::Snapshot,
        sequence,
        arrival: now,
        dataset,
        manifest: id,
        previous,
        writer: store.keyring().name(),
        ext: Vec::new(),
    };
    let seal = |family: Family, key: &[u8], plain: &[u8]| seal_value(epoch.id, &epoch.page, family.name(), key, plain);
    let record = DatasetRecord {
        head: sequence,
        manifest: id,
        count: parent.map_or(0, |p| p.count).saturating_add(1),
        name: seal(Family::Datasets, dataset.as_bytes(), manifest.dataset.as_str().as_bytes()),
        ext: Vec::new(),
    };
    let bytes = record.to_bytes();
    let bytes = join_mac(bytes.clone(), &ids.mac(MacLabel::Dataset, &[dataset.as_bytes(), &bytes]));
    rows.put(Family::Manifests, id.as_bytes(), &seal(Family::Manifests, id.as_bytes(), &plain));
    let log_hash = add_entry(store, rows, entry);
    rows.put(Family::Datasets, dataset.as_bytes(), &bytes);
    Ok((CommitInfo { id, manifest, log_hash }, record))
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Not committed: what was ingested stays as chunks that the next capture finds; nothing refers to it.
        if self.ingest.is_some() {
            let _ = self.settle();
            let _ = self.shared.db.flush();
        }
    }
}

/// Numbers blocks, writes them to files, ingests the files, writes their index entries.
struct Ingest<'a> {
    shared: &'a Shared,
    tmp: PathBuf,
    next_block: u64,
    file_bytes: u64,
    files: [Option<RowFile>; 2],
    pending: Vec<(Sort, [u8; 32], Place)>,
    sums: Vec<(u64, [u8; 33])>,
}

impl<'a> Ingest<'a> {
    fn new(shared: &'a Shared, tmp: PathBuf, next_block: u64) -> Self {
        let stored = shared.db.family_bytes(Family::Data).unwrap_or(0);
        let file_bytes = (stored / 16).clamp(FILE_BYTES_MIN, FILE_BYTES_MAX);
        Self { shared, tmp, next_block, file_bytes, files: [None, None], pending: Vec::new(), sums: Vec::new() }
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next_block;
        self.next_block += 1;
        number
    }

    fn add(&mut self, finished: Finished) -> Result<(), StoreError> {
        let which = usize::from(finished.sort == Sort::Page);
        if self.files[which].is_none() {
            let note = self.take_number();
            let mut file = RowFile::create(self.tmp.join(format!("{note}.sst")))?;
            let epoch = &self.shared.epoch;
            file.put(&number_key(note), &note_block(epoch.id, &epoch.record))?;
            self.files[which] = Some(file);
        }
        let number = self.take_number();
        let bytes = match &mut self.files[which] {
            Some(file) => {
                file.put(&number_key(number), &finished.block.bytes)?;
                file.bytes()
            }
            None => 0,
        };
        let kind = if finished.sort == Sort::Chunk { BlockKind::Data } else { BlockKind::Tree };
        self.sums.push((number, sum_key_value(kind, &finished.block.digest)));
        for (ordinal, id) in (0u32..).zip(finished.ids) {
            self.pending.push((finished.sort, id, Place { block: number, ordinal }));
        }
        if bytes >= self.file_bytes || self.pending.len() >= PENDING_ITEMS_MAX {
            self.finish()?;
        }
        Ok(())
    }

    /// Ingests what there is, then writes the index entries.
    fn finish(&mut self) -> Result<(), StoreError> {
        if let Some(dir) = self.tmp.parent() {
            super::reserve::keep(dir);
        }
        for (which, family) in [(0, Family::Data), (1, Family::Tree)] {
            if let Some(file) = self.files[which].take() {
                let (bytes, name) = (file.bytes(), family.name());
                log::debug!("syncing {bytes} bytes of {name} blocks");
                self.shared.db.ingest(family, &file.finish()?)?;
                log::info!("{bytes} bytes of {name} blocks ingested");
            }
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut rows = Rows::default();
        rows.put(Family::Epochs, self.shared.epoch.id.as_bytes(), &self.shared.epoch.record);
        for (number, sum) in self.sums.drain(..) {
            rows.put(Family::Sums, &number_key(number), &sum);
        }
        self.pending.sort_unstable_by_key(|(sort, id, place)| (*sort == Sort::Page, *id, *place));
        for same in self.pending.chunk_by(|a, b| a.0 == b.0 && index_key(&a.1) == index_key(&b.1)) {
            let (sort, id, _) = same[0];
            let key = index_key(&id);
            let old = self.shared.db.with(sort.index(), &key, |v| from_bytes::<Vec<Place>>(v, "index entry"))?;
            let mut places = old.transpose()?.unwrap_or_default();
            places.extend(same.iter().map(|(_, _, place)| *place));
            rows.put(sort.index(), &key, &to_bytes(&places));
        }
        self.shared.db.write(&rows, false)?;
        // The index knows them now.
        for (sort, id, _) in self.pending.drain(..) {
            self.shared.shard(&id).remove(&claim_key(sort, &id));
        }
        self.shared.db.keep_merged()
    }
}

/// The block that begins each ingested file.
pub(super) fn note_block(epoch: EpochId, record: &[u8]) -> Vec<u8> {
    let header = BlockHeader {
        kind: BlockKind::EpochNote,
        cipher: Cipher::None,
        epoch,
        table_nonce: 0,
        content_nonce: 0,
        table_len: 0,
        content_len: u32::try_from(record.len()).unwrap_or(u32::MAX),
    };
    [&header.to_bytes()[..], record].concat()
}
