//! The files beside the database: header and key objects, of which each has a copy in the other place.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::format::{Family, Header};

use super::super::db::Db;
use super::super::error::StoreError;
use super::super::files::{make_dir, read_small, set_aside_unless, write_whole};
use super::super::inspect::{ClosedStore, open_closed, open_closed_with};
use super::super::key_files::{self, is_age_file};
use super::super::lock::{Waiting, WriterLock};
use super::super::mend::Mending;
use super::super::pins::ClientDirs;
use super::gathering::{Locking, gather};

/// A file that is to be written anew from its copy in the database, or set aside.
#[derive(Debug, Clone)]
pub struct PlainFile {
    /// Which one.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// Its copy; nothing of what is only set aside.
    bytes: Option<Vec<u8>>,
    /// It is whole, and another one than the copy: which of them is right the keys tell.
    is_another: bool,
}

impl PlainFile {
    /// True if it comes from a copy.
    #[must_use]
    pub fn has_copy(&self) -> bool {
        self.bytes.is_some()
    }

    /// True of the header.
    #[must_use]
    pub fn is_header(&self) -> bool {
        self.path.ends_with("header")
    }

    /// The same file with the bytes that it has now, so that these can be put back.
    #[must_use]
    pub fn as_it_is(&self) -> Option<Self> {
        let bytes = read_small(&self.path).ok()?;
        Some(Self { bytes: Some(bytes), ..self.clone() })
    }

    /// True if it is whole, and another one than its copy: it gives way to that only where the store does not open with it.
    #[must_use]
    pub fn is_another(&self) -> bool {
        self.is_another
    }
}

/// Opens a store without a key for a repair: a database that does not open is put together from its table files.
///
/// # Errors
/// As [`super::super::open_closed`].
pub fn open_closed_for_repair(dir: &Path, dirs: &ClientDirs) -> Result<ClosedStore, StoreError> {
    match open_closed(dir, dirs, Mending::Yes) {
        Err(StoreError::Damage { what, why }) => open_closed_with(dir, dirs, || gather(dir, &why, Locking::Needed))
            .map_err(|_| StoreError::Damage { what, why }),
        opened => opened,
    }
}

/// What stands where writers have files and folders of their own, and is none.
#[must_use]
pub fn of_wrong_sort(dir: &Path) -> Vec<PlainFile> {
    let wrong = super::super::files::of_wrong_sort(dir).into_iter();
    wrong.map(|(path, why)| PlainFile { path, why, bytes: None, is_another: false }).collect()
}

/// Sets that aside. What belongs in its place is made by whoever needs it next.
///
/// # Errors
/// If that fails.
pub fn set_wrong_sort_aside(dir: &Path) -> Result<Vec<PlainFile>, StoreError> {
    let wrong = of_wrong_sort(dir);
    for file in &wrong {
        set_aside_unless(&file.path, |_| false, || super::new_aside(dir))?;
        if file.path.ends_with("leases") {
            make_dir(&file.path)?;
        }
    }
    Ok(wrong)
}

impl ClosedStore {
    /// The header and key objects that are missing, or not what the database has a copy of: RocksDB guards the copy with a checksum,
    /// and nothing guards the file.
    ///
    /// # Errors
    /// If the copies cannot be read.
    pub fn damaged_files(&self) -> Result<Vec<PlainFile>, StoreError> {
        let mut found = Vec::new();
        let copies = copies(self.db(), self.dir())?;
        let is_there = |path: &Path, copy: &[u8]| read_small(path).is_ok_and(|bytes| bytes == copy);
        let is_header = |path: &Path| path.ends_with("header");
        // A header of another store comes with a database of that, unless the key objects agree.
        let keys_agree = copies.iter().any(|(path, copy)| !is_header(path) && is_there(path, copy));
        let is_behind = self.lacks_end() && has_key_object(self.dir());
        for (path, copy) in copies {
            let why = match read_small(&path) {
                Ok(bytes) if bytes == copy => continue,
                Ok(_) => "it differs from its copy in the database".to_owned(),
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    "it was missing".to_owned()
                }
                Err(e) => e.to_string(),
            };
            let is_another = if is_header(&path) {
                // A copy that is none is worse than none.
                let Ok(copy) = Header::parse(&copy) else { continue };
                let there = read_small(&path).ok().and_then(|bytes| Header::parse(&bytes).ok());
                if there.as_ref().is_some_and(|there| there.store != copy.store) && !keys_agree {
                    continue;
                }
                there.is_some()
            } else {
                // Where the end of the log is lost the files may be newer, and of keys that were removed since there is none for a reason.
                is_behind || key_files::is_another(&path, &copy)
            };
            found.push(PlainFile { path, why, bytes: Some(copy), is_another });
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
            let Some(bytes) = &file.bytes else { continue };
            write_whole(&file.path, bytes)?;
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

/// True if there is a file that may be a key object.
fn has_key_object(dir: &Path) -> bool {
    let items = std::fs::read_dir(dir.join("keys"));
    items.is_ok_and(|items| items.flatten().any(|item| read_small(&item.path()).is_ok_and(|bytes| is_age_file(&bytes))))
}

/// The file of a key object by its name: 16 hex digits, so that no row can name a file elsewhere.
pub(super) fn key_file(name: &[u8]) -> Option<String> {
    let good = name.len() == 16 && name.iter().all(u8::is_ascii_hexdigit);
    good.then(|| format!("{}.age", String::from_utf8_lossy(name)))
}
