//! The one door to RocksDB. Its types do not leave this file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, ErrorKind, FlushOptions,
    IngestExternalFileOptions, Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};

use crate::format::Family;

use super::error::StoreError;

/// An open database.
pub(super) struct Db {
    db: DB,
    dir: PathBuf,
    opened_at: Option<Fingerprint>,
}

/// What changes whenever a writer flushes, ingests or compacts: CURRENT and the length of the MANIFEST.
pub(super) type Fingerprint = (Vec<u8>, u64);

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Db({})", self.dir.display())
    }
}

fn fail(error: &rocksdb::Error) -> StoreError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::IOError if text.contains("No such file") => StoreError::damage("the database", text),
        ErrorKind::IOError if text.contains("No space left") => {
            StoreError::io("the store could not be written", std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => {
            StoreError::damage("the database", text)
        }
        _ => StoreError::Database(text),
    }
}

/// The file that is missing, by what RocksDB says of it, if it is a table.
fn missing_file(error: &StoreError, dir: &Path) -> Option<PathBuf> {
    let StoreError::Damage { why, .. } = error else { return None };
    if !why.contains("No such file") {
        return None;
    }
    let name =
        why.split(['/', ' ', ':', ',', '\'']).find(|word| Path::new(word).extension().is_some_and(|e| e == "sst"))?;
    Some(dir.join(name)).filter(|path| !path.exists())
}

/// True for families whose rows are blocks, which are only ever ingested.
fn holds_blocks(name: &str) -> bool {
    name == Family::Data.name() || name == Family::Tree.name()
}

fn is_index(name: &str) -> bool {
    name == Family::Chunks.name() || name == Family::Pages.name()
}

fn family_options(name: &str, cache: &Cache) -> Options {
    let mut options = Options::default();
    // Blocks are compressed and sealed before they come here; the default would be LZ4.
    options.set_compression_type(DBCompressionType::None);
    options.set_bottommost_compression_type(DBCompressionType::None);
    let mut table = BlockBasedOptions::default();
    // The newest that store-format.md allows (section 4): RocksDB's default moves on, and other readers do not know it yet.
    table.set_format_version(6);
    if holds_blocks(name) {
        // A row is hundreds of KiB: nothing to gain from a cache, and rewriting rows is gc's business alone.
        table.disable_cache();
        options.set_disable_auto_compactions(true);
    } else {
        table.set_block_cache(cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    }
    if is_index(name) {
        table.set_bloom_filter(10.0, false);
        options.set_write_buffer_size(32 << 20);
    } else {
        options.set_write_buffer_size(4 << 20);
    }
    options.set_block_based_table_factory(&table);
    options
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.set_atomic_flush(true);
    options.set_max_open_files(open_files_limit());
    options.set_keep_log_file_num(1);
    options.set_log_level(rocksdb::LogLevel::Error);
    options.set_max_background_jobs(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// Raises the limit of open files as far as allowed and leaves room for other uses.
fn open_files_limit() -> i32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    }
    let now = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    i32::try_from((now / 2).clamp(64, 65_536)).unwrap_or(1024)
}

fn fingerprint(dir: &Path) -> Option<Fingerprint> {
    let current = std::fs::read(dir.join("CURRENT")).ok()?;
    let name = String::from_utf8(current.clone()).ok()?;
    let len = std::fs::metadata(dir.join(name.trim())).ok()?.len();
    Some((current, len))
}

impl Db {
    /// Makes a database with all families.
    pub(super) fn create(dir: &Path) -> Result<Self, StoreError> {
        let mut options = database_options();
        options.create_if_missing(true);
        options.set_error_if_exists(true);
        options.create_missing_column_families(true);
        Self::open(dir, &options, Family::ALL.iter().map(|f| f.name().to_owned()).collect())
    }

    /// Opens for writing. The caller holds the writer lock.
    ///
    /// When the sync of the MANIFEST fails during an ingest, RocksDB takes its link to the file back, though the MANIFEST may
    /// name it for good; the file itself is still in `tmp`. Then it is put back: RocksDB tells by its unique id if it is another.
    pub(super) fn open_write(dir: &Path, tmp: &Path) -> Result<Self, StoreError> {
        let open = || Self::families(dir).and_then(|names| Self::open(dir, &database_options(), names));
        let mut opened = open();
        while let Some(missing) = opened.as_ref().err().and_then(|e| missing_file(e, dir)) {
            let candidates = std::fs::read_dir(tmp).into_iter().flatten().flatten().map(|item| item.path());
            let mended = candidates.filter(|p| p.extension().is_some_and(|e| e == "sst")).find_map(|candidate| {
                std::fs::hard_link(&candidate, &missing).ok()?;
                let again = open();
                let fits = match &again {
                    Ok(_) => true,
                    Err(e) => missing_file(e, dir).is_some_and(|other| other != missing),
                };
                if fits { Some(again) } else { std::fs::remove_file(&missing).ok().and(None) }
            });
            match mended {
                Some(again) => opened = again,
                None => break,
            }
        }
        opened
    }

    fn families(dir: &Path) -> Result<Vec<String>, StoreError> {
        let names = DB::list_cf(&Options::default(), dir).map_err(|e| fail(&e))?;
        if let Some(lost) = Family::ALL.iter().find(|f| !names.iter().any(|n| n == f.name())) {
            return Err(StoreError::damage("the database", format!("the column family {} is missing", lost.name())));
        }
        Ok(names)
    }

    fn open(dir: &Path, options: &Options, names: Vec<String>) -> Result<Self, StoreError> {
        let cache = Cache::new_lru_cache(64 << 20);
        let families: Vec<_> =
            names.into_iter().map(|n| ColumnFamilyDescriptor::new(n.clone(), family_options(&n, &cache))).collect();
        let db = DB::open_cf_descriptors(options, dir, families).map_err(|e| fail(&e))?;
        Ok(Self { db, dir: dir.to_owned(), opened_at: None })
    }

    /// Opens for reading, without the lock, beside a writer or not.
    ///
    /// A plain read-only open beside a flushing writer can miss acknowledged rows without an error. So the open counts
    /// only if CURRENT and the length of the MANIFEST were the same before and after it.
    pub(super) fn open_read(dir: &Path) -> Result<Self, StoreError> {
        let mut last = None;
        for attempt in 0..200 {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(2 + attempt / 4));
            }
            let before = fingerprint(dir);
            let opened = Self::families(dir).and_then(|names| {
                let cache = Cache::new_lru_cache(64 << 20);
                let families: Vec<_> = names
                    .into_iter()
                    .map(|n| ColumnFamilyDescriptor::new(n.clone(), family_options(&n, &cache)))
                    .collect();
                DB::open_cf_descriptors_read_only(&database_options(), dir, families, false).map_err(|e| fail(&e))
            });
            let steady = before == fingerprint(dir);
            match opened {
                Ok(db) if steady && before.is_some() => return Ok(Self { db, dir: dir.to_owned(), opened_at: before }),
                Ok(_) => {}
                // With nobody writing an error stays: a few tries tell.
                Err(e) if steady && attempt >= 3 => return Err(e),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| StoreError::Database("it changed so fast that it could not be opened".to_owned())))
    }

    /// What it is now: another one than before if a writer was at work meanwhile.
    pub(super) fn mark(&self) -> Option<Fingerprint> {
        fingerprint(&self.dir)
    }

    /// True if a writer was at work since this view was opened.
    pub(super) fn is_outdated(&self) -> bool {
        self.opened_at != self.mark()
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(family.name()).ok_or_else(|| {
            StoreError::damage("the database", format!("the column family {} is missing", family.name()))
        })
    }

    /// A row's value.
    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(family)?, key).map_err(|e| fail(&e))
    }

    /// Gives a row's value to `with` without a copy.
    pub(super) fn with<T>(
        &self,
        family: Family,
        key: &[u8],
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let value = self.db.get_pinned_cf(self.family(family)?, key).map_err(|e| fail(&e))?;
        Ok(value.map(|v| with(&v)))
    }

    /// Calls `row` for every row from `from` on, until it says false.
    pub(super) fn scan(
        &self,
        family: Family,
        from: &[u8],
        mut row: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        read.set_readahead_size(2 << 20);
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family)?, read);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !row(key, value)? {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|e| fail(&e))
    }

    /// The same backwards, from the last row on.
    pub(super) fn scan_back(
        &self,
        family: Family,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family)?, read);
        rows.seek_to_last();
        while let Some((key, value)) = rows.item() {
            if !row(key, value)? {
                return Ok(());
            }
            rows.prev();
        }
        rows.status().map_err(|e| fail(&e))
    }

    /// The last key of a family.
    pub(super) fn last_key(&self, family: Family) -> Result<Option<Vec<u8>>, StoreError> {
        let mut rows = self.db.raw_iterator_cf(self.family(family)?);
        rows.seek_to_last();
        let key = rows.key().map(<[u8]>::to_vec);
        rows.status().map_err(|e| fail(&e))?;
        Ok(key)
    }

    /// Writes rows in one atomic step; `sync` makes it and all before it last.
    pub(super) fn write(&self, rows: &Rows, sync: bool) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (family, key, value) in &rows.0 {
            batch.put_cf(self.family(*family)?, key, value);
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(|e| fail(&e))
    }

    /// Flushes all families, so that nothing acknowledged depends on the write-ahead log.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let families: Vec<_> = Family::ALL.iter().map(|f| self.family(*f)).collect::<Result<_, _>>()?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&families, &options).map_err(|e| fail(&e))
    }

    /// Takes a finished file of rows in by rename.
    pub(super) fn ingest(&self, family: Family, file: &Path) -> Result<(), StoreError> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_snapshot_consistency(true);
        options.set_allow_global_seqno(true);
        self.db.ingest_external_file_cf_opts(self.family(family)?, &options, vec![file]).map_err(|e| fail(&e))
    }

    /// Bytes of the files of a family.
    pub(super) fn family_bytes(&self, family: Family) -> Result<u64, StoreError> {
        Ok(self.db.get_column_family_metadata_cf(self.family(family)?).size)
    }
}

/// Rows to be written in one step.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<(Family, Vec<u8>, Vec<u8>)>);

impl Rows {
    /// Adds a row.
    pub(super) fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.0.push((family, key.to_vec(), value.to_vec()));
    }
}

/// A file of rows being written, to be ingested.
pub(super) struct RowFile {
    // Dropped before the options it borrows would be: the writer holds its own copy of them inside RocksDB.
    writer: SstFileWriter<'static>,
    path: PathBuf,
    bytes: u64,
}

/// Options of row files. Leaked once per process: the writer borrows them.
fn row_file_options() -> &'static Options {
    static OPTIONS: std::sync::OnceLock<Options> = std::sync::OnceLock::new();
    OPTIONS.get_or_init(|| {
        let mut options = family_options(Family::Data.name(), &Cache::new_lru_cache(1 << 20));
        // The disk begins early, so that the sync at the end is short.
        options.set_bytes_per_sync(2 << 20);
        options
    })
}

impl RowFile {
    /// Begins a file.
    pub(super) fn create(path: PathBuf) -> Result<Self, StoreError> {
        let writer = SstFileWriter::create(row_file_options());
        writer.open(&path).map_err(|e| fail(&e))?;
        Ok(Self { writer, path, bytes: 0 })
    }

    /// Adds a row; keys ascend.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.bytes += value.len() as u64;
        self.writer.put(key, value).map_err(|e| fail(&e))
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Finishes and syncs the file.
    pub(super) fn finish(mut self) -> Result<PathBuf, StoreError> {
        self.writer.finish().map_err(|e| fail(&e))?;
        Ok(self.path)
    }
}
