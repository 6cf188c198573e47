//! The one door to RocksDB. Its types do not leave this folder.

mod edits;
mod gather;
pub(crate) mod logs;
mod merge;
mod numbered;
mod options;
mod rows;
mod salvage;
mod space;
pub(crate) mod tables;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, ErrorKind, FlushOptions, IngestExternalFileOptions,
    Options, ReadOptions, WriteBatch, WriteOptions,
};

use crate::format::Family;

use super::error::StoreError;
use super::files::{check_regular, read_small};
pub(in crate::store) use logs::{current_manifest, endless_at, record_ends, write_ahead_logs};
use options::{database_options, family_options};
pub(in crate::store) use rows::{RowFile, Rows};
use salvage::{Loose, has_lasting_rows};
pub(in crate::store) use space::BlockFile;
pub(in crate::store) use tables::{Looked, RowBlocks, Table};

/// An open database.
///
/// A writer beside a reader merges files and removes those that it merged. A reader that needs one of them opens the
/// database again by itself: rows are then at least those that it knew.
pub(in crate::store) struct Db {
    now: RwLock<Arc<Opened>>,
    dir: PathBuf,
    /// What it was when it was opened for reading, by whoever holds this; opening it again by itself does not change that.
    opened_at: Option<Fingerprint>,
    /// Why it cannot be opened whole, or not be written into.
    trouble: Option<String>,
    /// Whether rows are written into a write-ahead log first.
    is_logged: bool,
    /// What was read past damage.
    loose: Mutex<HashMap<&'static str, (Option<Fingerprint>, Arc<Loose>)>>,
}

/// Who may be at work while the database is opened for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Writers,
    Nobody,
}

/// One open of the database.
struct Opened {
    db: DB,
    /// Of an open for reading.
    mark: Option<Fingerprint>,
}

/// What changes whenever a writer flushes, ingests or merges: CURRENT and the length of the MANIFEST.
pub(in crate::store) type Fingerprint = (Vec<u8>, u64);

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

fn fingerprint(dir: &Path) -> Option<Fingerprint> {
    let current = read_small(&dir.join("CURRENT")).ok()?;
    let name = String::from_utf8(current.clone()).ok()?;
    let len = std::fs::metadata(dir.join(name.trim())).ok()?.len();
    Some((current, len))
}

fn family_names(dir: &Path) -> Result<Vec<String>, StoreError> {
    check_regular(dir)?;
    logs::check(dir)?;
    let names = DB::list_cf(&Options::default(), dir).map_err(|e| fail(&e))?;
    if let Some(lost) = Family::ALL.iter().find(|f| !names.iter().any(|n| n == f.name())) {
        return Err(StoreError::damage("the database", format!("the column family {} is missing", lost.name())));
    }
    Ok(names)
}

/// How often a database that another process has open for writing still is tried again, and after what time.
const LOCK_TRIES: u32 = 40;
const LOCK_STEP: Duration = Duration::from_millis(50);

/// Bytes of index and rows that a writer keeps, which asks for each chunk whether it is known.
const WRITER_CACHE: usize = 64 << 20;
/// The same for readers, which ask in the order of what they read.
const READER_CACHE: usize = 16 << 20;

fn descriptors(names: Vec<String>, cache: usize) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(cache);
    names.into_iter().map(|n| ColumnFamilyDescriptor::new(n.clone(), family_options(&n, &cache))).collect()
}

impl Opened {
    /// A plain read-only open beside a flushing writer can miss acknowledged rows without an error. So the open counts
    /// only if CURRENT and the length of the MANIFEST were the same before and after it.
    fn for_reading(dir: &Path, options: &Options, beside: Beside) -> Result<Self, StoreError> {
        let mut last = None;
        for attempt in 0..200 {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(2 + attempt / 4));
            }
            let before = fingerprint(dir);
            let opened = family_names(dir).and_then(|names| {
                DB::open_cf_descriptors_read_only(options, dir, descriptors(names, READER_CACHE), false)
                    .map_err(|e| fail(&e))
            });
            let steady = before == fingerprint(dir);
            match opened {
                Ok(db) if steady && before.is_some() => return Ok(Self { db, mark: before }),
                Ok(_) => {}
                // With nobody writing an error stays: a few tries tell.
                Err(e) if steady && (attempt >= 3 || beside == Beside::Nobody) => return Err(e),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| StoreError::Database("it changed so fast that it could not be opened".to_owned())))
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(family.name()).ok_or_else(|| {
            StoreError::damage("the database", format!("the column family {} is missing", family.name()))
        })
    }

    fn rows(&self, family: Family, readahead: usize) -> Result<DBRawIterator<'_>, StoreError> {
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        read.set_readahead_size(readahead);
        Ok(self.db.raw_iterator_cf_opt(self.family(family)?, read))
    }
}

impl Db {
    /// Makes a database with all families that counts only once it was flushed: no write-ahead log is kept of it, for which RocksDB would claim some 35 MB at once.
    pub(in crate::store) fn create_unlogged(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { is_logged: false, ..Self::create(dir)? })
    }

    /// Makes a database with all families.
    pub(in crate::store) fn create(dir: &Path) -> Result<Self, StoreError> {
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
    pub(in crate::store) fn open_write(dir: &Path, tmp: &Path) -> Result<Self, StoreError> {
        if let Some(why) = edits::out_of_reach(dir) {
            return Err(StoreError::damage("the database", why));
        }
        let open = || family_names(dir).and_then(|names| Self::open(dir, &database_options(), names));
        let mut opened = open();
        // A process that was killed lets go of the writer lock a moment before it lets go of RocksDB's.
        for _ in 0..LOCK_TRIES {
            if !opened.as_ref().is_err_and(|e| e.to_string().contains("While lock file")) {
                break;
            }
            std::thread::sleep(LOCK_STEP);
            opened = open();
        }
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

    fn open(dir: &Path, options: &Options, names: Vec<String>) -> Result<Self, StoreError> {
        let db = DB::open_cf_descriptors(options, dir, descriptors(names, WRITER_CACHE)).map_err(|e| fail(&e))?;
        Ok(Self::new(dir, Opened { db, mark: None }))
    }

    fn new(dir: &Path, opened: Opened) -> Self {
        Self {
            opened_at: opened.mark.clone(),
            now: RwLock::new(Arc::new(opened)),
            dir: dir.to_owned(),
            trouble: None,
            is_logged: true,
            loose: Mutex::default(),
        }
    }

    /// Opens for reading, without the lock, beside a writer or not.
    pub(in crate::store) fn open_read(dir: &Path) -> Result<Self, StoreError> {
        Self::to_read(dir, Beside::Writers)
    }

    /// The same for who holds the lock.
    pub(in crate::store) fn open_read_locked(dir: &Path) -> Result<Self, StoreError> {
        Self::to_read(dir, Beside::Nobody)
    }

    fn to_read(dir: &Path, beside: Beside) -> Result<Self, StoreError> {
        let opened = Opened::for_reading(dir, &database_options(), beside)?;
        // Nothing of what can be read is damaged by that.
        Ok(Self { trouble: edits::out_of_reach(dir), ..Self::new(dir, opened) })
    }

    /// The same of a database that cannot be opened whole, for `trouble`: RocksDB looks into the first few files of each
    /// family at once, and one that is damaged would close all the others. Here the damage is met by whoever reads from it.
    pub(in crate::store) fn open_damaged(dir: &Path, trouble: String) -> Result<Self, StoreError> {
        let mut options = database_options();
        options.set_paranoid_checks(false);
        let opened = Opened::for_reading(dir, &options, Beside::Nobody)?;
        Ok(Self { trouble: Some(trouble), ..Self::new(dir, opened) })
    }

    /// Why it could not be opened whole, if part of it may be read all the same, or why nobody may write into it.
    pub(in crate::store) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What it is now: another one than before if a writer was at work meanwhile.
    pub(in crate::store) fn mark(&self) -> Option<Fingerprint> {
        fingerprint(&self.dir)
    }

    /// True if a writer was at work since this view was opened.
    pub(in crate::store) fn is_outdated(&self) -> bool {
        self.opened_at != self.mark()
    }

    /// True if files are gone that the MANIFEST names, and no writer is at work, who may have merged them meanwhile.
    pub(in crate::store) fn lacks_files(&self) -> bool {
        let opened = self.opened();
        let Ok(named) = opened.db.live_files() else { return true };
        let Ok(items) = std::fs::read_dir(&self.dir) else { return true };
        let there: HashSet<_> = items.flatten().map(|item| item.file_name()).collect();
        let gone = |name: &str| !there.contains(OsStr::new(name.trim_start_matches('/')));
        named.iter().any(|file| gone(&file.name)) && opened.mark == fingerprint(&self.dir)
    }

    fn opened(&self) -> Arc<Opened> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A newer open, if the error is about a file that is gone because a writer merged it with others.
    fn reopened(&self, before: &Arc<Opened>, error: &StoreError) -> Option<Arc<Opened>> {
        missing_file(error, &self.dir)?;
        before.mark.as_ref()?;
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&now, before) {
            if before.mark == fingerprint(&self.dir) {
                return None;
            }
            log::info!("a file that a writer merged is gone; the database is opened again");
            *now = Arc::new(Opened::for_reading(&self.dir, &database_options(), Beside::Writers).ok()?);
        }
        Some(now.clone())
    }

    /// Reads, and reads again from a newer open for as long as files vanish.
    fn reading<T>(&self, mut read: impl FnMut(&Opened) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut opened = self.opened();
        loop {
            match read(&opened) {
                Ok(found) => return Ok(found),
                Err(e) => opened = self.reopened(&opened, &e).ok_or(e)?,
            }
        }
    }

    /// A row's value.
    pub(in crate::store) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(family, key, <[u8]>::to_vec)
    }

    /// Gives a row's value to `with` without a copy.
    pub(in crate::store) fn with<T>(
        &self,
        family: Family,
        key: &[u8],
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let mut with = Some(with);
        let found = self.reading(|opened| {
            let value = opened.db.get_pinned_cf(opened.family(family)?, key).map_err(|e| fail(&e))?;
            Ok(value.and_then(|value| with.take().map(|with| with(&value))))
        });
        match found {
            Err(e) if e.is_damage() && has_lasting_rows(family) => {
                let loose = self.loose(family);
                let value = loose.get(key).and_then(|version| version.value.as_deref());
                value.and_then(|value| with.take().map(|with| with(value))).map(Some).ok_or(e)
            }
            found => found,
        }
    }

    /// Calls `row` for every row from `from` on, until it says false. Damage is told when the rows that are whole were given.
    pub(in crate::store) fn scan(
        &self,
        family: Family,
        from: &[u8],
        mut row: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let (mut from, mut refused) = (from.to_vec(), false);
        let scanned = self.reading(|opened| {
            let mut rows = opened.rows(family, 2 << 20)?;
            rows.seek(&from);
            while let Some((key, value)) = rows.item() {
                if !row(key, value).inspect_err(|_| refused = true)? {
                    return Ok(());
                }
                // The first key behind this one: there a newer open would go on.
                from.clear();
                from.extend_from_slice(key);
                from.push(0);
                rows.next();
            }
            rows.status().map_err(|e| fail(&e))
        });
        if !refused && has_lasting_rows(family) && scanned.as_ref().is_err_and(StoreError::is_damage) {
            for (key, version) in self.loose(family).range(from..) {
                if let Some(value) = &version.value
                    && !row(key, value)?
                {
                    return Ok(());
                }
            }
        }
        scanned
    }

    /// Writes rows in one atomic step; `sync` makes it and all before it last.
    pub(in crate::store) fn write(&self, rows: &Rows, sync: bool) -> Result<(), StoreError> {
        let opened = self.opened();
        let mut batch = WriteBatch::default();
        for (family, key, value) in &rows.0 {
            match value {
                Some(value) => batch.put_cf(opened.family(*family)?, key, value),
                None => batch.delete_cf(opened.family(*family)?, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync && self.is_logged);
        options.disable_wal(!self.is_logged);
        opened.db.write_opt(batch, &options).map_err(|e| fail(&e))
    }

    /// Flushes all families, so that nothing acknowledged depends on the write-ahead log.
    pub(in crate::store) fn flush(&self) -> Result<(), StoreError> {
        let opened = self.opened();
        let families: Vec<_> = Family::ALL.iter().map(|f| opened.family(*f)).collect::<Result<_, _>>()?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        opened.db.flush_cfs_opt(&families, &options).map_err(|e| fail(&e))
    }

    /// Takes a finished file of rows in by rename.
    pub(in crate::store) fn ingest(&self, family: Family, file: &Path) -> Result<(), StoreError> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_snapshot_consistency(true);
        options.set_allow_global_seqno(true);
        let opened = self.opened();
        opened.db.ingest_external_file_cf_opts(opened.family(family)?, &options, vec![file]).map_err(|e| fail(&e))
    }

    /// Bytes of the files of a family.
    pub(in crate::store) fn family_bytes(&self, family: Family) -> Result<u64, StoreError> {
        let opened = self.opened();
        Ok(opened.db.get_column_family_metadata_cf(opened.family(family)?).size)
    }
}
