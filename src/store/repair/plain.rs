//! The files beside the database: header and key objects, of which each has a copy in the other place.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use crate::format::{Family, Header};

use super::super::db::Db;
use super::super::error::StoreError;
use super::super::files::{make_dir, read_small, set_aside_unless, write_whole};
use super::super::inspect::ClosedStore;
use super::super::key_files::is_age_file;
use super::super::lock::{Waiting, WriterLock};

/// A file that is to be written anew from its copy in the database.
#[derive(Debug, Clone)]
pub struct PlainFile {
    /// Which one.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    bytes: Vec<u8>,
}

impl ClosedStore {
    /// The header and key objects that are missing, or not what the database has a copy of: RocksDB guards the copy with a checksum,
    /// and nothing guards the file.
    ///
    /// # Errors
    /// If the copies cannot be read.
    pub fn damaged_files(&self) -> Result<Vec<PlainFile>, StoreError> {
        let mut found = Vec::new();
        for (path, copy) in copies(self.db(), self.dir())? {
            let why = match read_small(&path) {
                Ok(bytes) if bytes == copy => continue,
                Ok(_) => "it differs from its copy in the database".to_owned(),
                Err(e) => e.to_string(),
            };
            // A copy that is no header is worse than none; and one of another store comes with a database of that.
            if path.ends_with("header") {
                let there = read_small(&path).ok().and_then(|bytes| Header::parse(&bytes).ok());
                match Header::parse(&copy) {
                    Ok(header) if there.is_none_or(|there| there.store == header.store) => {}
                    _ => continue,
                }
            }
            found.push(PlainFile { path, why, bytes: copy });
        }
        Ok(found)
    }

    /// Puts files in place, each whole or not at all; what was there is set aside.
    ///
    /// # Errors
    /// If another process writes and we are not to wait, or writing fails.
    pub fn put_in_place(
        &self,
        files: &[PlainFile],
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<(), StoreError> {
        if files.is_empty() {
            return Ok(());
        }
        let _lock = WriterLock::take(self.dir(), waiting, keep_waiting)?;
        let aside = super::new_aside(self.dir())?;
        for file in files {
            if let Some(folder) = file.path.parent().filter(|folder| *folder != self.dir()) {
                set_aside_unless(folder, Metadata::is_dir, || Ok(aside.clone()))?;
                make_dir(folder)?;
            }
            set_aside_unless(&file.path, Metadata::is_file, || Ok(aside.clone()))?;
            if let (Ok(bytes), Some(name)) = (read_small(&file.path), file.path.file_name()) {
                write_whole(&aside.join(name), &bytes)?;
            }
            write_whole(&file.path, &file.bytes)?;
            log::info!("{} put in place from its copy", file.path.display());
        }
        Ok(())
    }
}

/// What the database has copies of.
fn copies(db: &Db, dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    let scanned = db.scan(Family::Default, &[], |key, value| {
        if key == b"header" {
            found.push((dir.join("header"), value.to_vec()));
        } else if let Some(name) = key.strip_prefix(b"key/").and_then(key_file).filter(|_| is_age_file(value)) {
            found.push((dir.join("keys").join(name), value.to_vec()));
        }
        Ok(true)
    });
    // Copies that cannot be read leave the files as they are.
    super::log::passed(scanned)?;
    Ok(found)
}

/// The file of a key object by its name: 16 hex digits, so that no row can name a file elsewhere.
pub(super) fn key_file(name: &[u8]) -> Option<String> {
    let good = name.len() == 16 && name.iter().all(u8::is_ascii_hexdigit);
    good.then(|| format!("{}.age", String::from_utf8_lossy(name)))
}
