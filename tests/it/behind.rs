//! The database of a store, read and changed behind Larder's back.

use std::fs;
use std::path::{Path, PathBuf};

use larder::format::Family;

/// A store's database, open for writing.
pub(crate) fn database(store: &Path) -> rocksdb::DB {
    let mut table = rocksdb::BlockBasedOptions::default();
    table.set_format_version(6);
    let mut options = rocksdb::Options::default();
    options.set_block_based_table_factory(&table);
    let family = |f: Family| rocksdb::ColumnFamilyDescriptor::new(f.name(), options.clone());
    rocksdb::DB::open_cf_descriptors(&options, store.join("db"), Family::ALL.map(family)).unwrap()
}

/// All rows of a family.
pub(crate) fn rows(db: &rocksdb::DB, family: Family) -> Vec<(Box<[u8]>, Box<[u8]>)> {
    let handle = db.cf_handle(family.name()).unwrap();
    db.iterator_cf(handle, rocksdb::IteratorMode::Start).map(Result::unwrap).collect()
}

/// Writes a row.
pub(crate) fn put(db: &rocksdb::DB, family: Family, key: &[u8], value: &[u8]) {
    let handle = db.cf_handle(family.name()).unwrap();
    db.put_cf(handle, key, value).unwrap();
    db.flush_cf(handle).unwrap();
}

/// Takes a row away.
pub(crate) fn delete(db: &rocksdb::DB, family: Family, key: &[u8]) {
    let handle = db.cf_handle(family.name()).unwrap();
    db.delete_cf(handle, key).unwrap();
    db.flush_cf(handle).unwrap();
}

/// Merges the files of a family, so that none has what was in a row before.
pub(crate) fn merge(db: &rocksdb::DB, family: Family) {
    let mut all = rocksdb::CompactOptions::default();
    all.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
    db.compact_range_cf_opt(db.cf_handle(family.name()).unwrap(), None::<&[u8]>, None::<&[u8]>, &all);
}

/// The table files of a store, in the order of their names.
pub(crate) fn tables(store: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(store.join("db")).unwrap().map(|item| item.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "sst")).collect();
    files.sort();
    files
}

/// Those with rows of a family: by the property of that name, of which what its key shares with the one before it is left out.
pub(crate) fn tables_of(store: &Path, family: Family) -> Vec<PathBuf> {
    let name = format!("name{}", family.name());
    let holds = |path: &PathBuf| fs::read(path).unwrap().windows(name.len()).any(|w| w == name.as_bytes());
    tables(store).into_iter().filter(holds).collect()
}
