//! Rows on their way into the database.

use std::path::PathBuf;

use rocksdb::{Cache, Options, SstFileWriter};

use crate::format::Family;

use super::super::error::StoreError;
use super::fail;
use super::options::family_options;

/// Rows to be written in one step.
#[derive(Debug, Default)]
pub(in crate::store) struct Rows(pub(super) Vec<(Family, Vec<u8>, Option<Vec<u8>>)>);

impl Rows {
    /// Adds a row.
    pub(in crate::store) fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.0.push((family, key.to_vec(), Some(value.to_vec())));
    }

    /// Takes a row away.
    pub(in crate::store) fn delete(&mut self, family: Family, key: &[u8]) {
        self.0.push((family, key.to_vec(), None));
    }
}

/// A file of rows being written, to be ingested.
pub(in crate::store) struct RowFile {
    // Dropped before the options it borrows would be: the writer holds its own copy of them inside RocksDB.
    writer: SstFileWriter<'static>,
    path: PathBuf,
    bytes: u64,
    finished: bool,
}

impl Drop for RowFile {
    fn drop(&mut self) {
        if !self.finished {
            // On a full disk its room is wanted.
            let _ = std::fs::remove_file(&self.path);
        }
    }
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
    pub(in crate::store) fn create(path: PathBuf) -> Result<Self, StoreError> {
        let writer = SstFileWriter::create(row_file_options());
        writer.open(&path).map_err(|e| fail(&e))?;
        Ok(Self { writer, path, bytes: 0, finished: false })
    }

    /// Adds a row; keys ascend.
    pub(in crate::store) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.bytes += value.len() as u64;
        self.writer.put(key, value).map_err(|e| fail(&e))
    }

    /// Bytes so far.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Finishes and syncs the file.
    pub(in crate::store) fn finish(mut self) -> Result<PathBuf, StoreError> {
        self.writer.finish().map_err(|e| fail(&e))?;
        self.finished = true;
        Ok(self.path.clone())
    }
}
