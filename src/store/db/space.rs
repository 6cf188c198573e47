//! The files that rows are in, the room that those of blocks take, and how it is given back.

use rocksdb::{BottommostLevelCompaction, CompactOptions, Range, WaitForCompactOptions};

use crate::format::{Family, number_key};

use super::super::error::StoreError;
use super::tables::Table;
use super::{Db, fail};

/// A file of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct BlockFile {
    /// Number of its first row.
    pub(in crate::store) first: u64,
    /// Number of its last row.
    pub(in crate::store) last: u64,
    pub(in crate::store) bytes: u64,
    /// Nothing lies over it: all its rows are the newest.
    pub(in crate::store) is_bottom: bool,
}

/// How often ranges are asked for at a time.
const RANGES: usize = 4096;

impl Db {
    /// The table files that the database is made of.
    pub(in crate::store) fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let files = self.opened().db.live_files().map_err(|e| fail(&e))?;
        let table = |file: rocksdb::LiveFile| {
            let name = file.name.trim_start_matches('/').to_owned();
            let path = self.dir.join(&name);
            Table { name, path, family: file.column_family_name, keys: file.start_key.zip(file.end_key) }
        };
        Ok(files.into_iter().map(table).collect())
    }

    /// The files of a family of blocks, in the order of their rows.
    pub(in crate::store) fn block_files(&self, family: Family) -> Result<Vec<BlockFile>, StoreError> {
        let number = |key: Option<Vec<u8>>| key.and_then(|key| key.try_into().ok()).map(u64::from_be_bytes);
        let files = self.opened().db.live_files().map_err(|e| fail(&e))?;
        let of_family = files.into_iter().filter(|file| file.column_family_name == family.name());
        let mut files: Vec<_> = of_family
            .filter_map(|file| {
                let (first, last) = (number(file.start_key)?, number(file.end_key)?);
                Some(BlockFile { first, last, bytes: file.size as u64, is_bottom: file.level > 0 })
            })
            .collect();
        files.sort_unstable_by_key(|file| (file.first, file.last));
        Ok(files)
    }

    /// Bytes on disk of single rows, all together; each is given with the number of the row behind it. (RocksDB finds a row's end
    /// by the next row: a number in between that no row has may lie on either side of it.)
    pub(in crate::store) fn row_bytes(&self, family: Family, rows: &[(u64, u64)]) -> Result<u64, StoreError> {
        let opened = self.opened();
        let handle = opened.family(family)?;
        let mut all = 0;
        for some in rows.chunks(RANGES) {
            let keys: Vec<_> = some.iter().map(|(from, to)| (number_key(*from), number_key(*to))).collect();
            let ranges: Vec<_> = keys.iter().map(|(from, to)| Range::new(from, to)).collect();
            all += opened.db.get_approximate_sizes_cf(handle, &ranges).iter().sum::<u64>();
        }
        Ok(all)
    }

    /// Takes a file away of which no row is needed any more.
    pub(in crate::store) fn drop_file(&self, family: Family, file: BlockFile) -> Result<(), StoreError> {
        let opened = self.opened();
        let (from, to) = (number_key(file.first), number_key(file.last));
        opened.db.delete_file_in_range_cf(opened.family(family)?, from, to).map_err(|e| fail(&e))
    }

    /// Writes all rows of a family anew, so that no file has what was in their place before.
    pub(in crate::store) fn rewrite_rows(&self, family: Family) -> Result<(), StoreError> {
        self.rewrite(family, None::<&[u8]>, None)
    }

    /// Writes a file anew without the rows that were removed from it. The removals are in files of their own by now.
    pub(in crate::store) fn rewrite_file(&self, family: Family, file: BlockFile) -> Result<(), StoreError> {
        self.rewrite(family, Some(number_key(file.first)), Some(number_key(file.last)))
    }

    /// Writes the rows from one key to another anew.
    fn rewrite<K: AsRef<[u8]>>(&self, family: Family, from: Option<K>, to: Option<K>) -> Result<(), StoreError> {
        let opened = self.opened();
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        opened.db.compact_range_cf_opt(opened.family(family)?, from, to, &options);
        opened.db.wait_for_compact(&WaitForCompactOptions::default()).map_err(|e| fail(&e))?;
        opened.no_error_yet()
    }
}
