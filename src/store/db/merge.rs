//! Small files become few: each commit leaves a small file in most families, and every open reads their list.
//!
//! Nothing of this is needed for what was acknowledged. What cannot be merged stays as it is.

use rocksdb::{BottommostLevelCompaction, CompactOptions, LiveFile, WaitForCompactOptions};

use crate::format::Family;

use super::super::error::StoreError;
use super::options::holds_blocks;
use super::{Db, Opened, fail};

/// So many of the newest files of blocks become one, if none of them is longer than all that are newer together. So their number grows,
/// and a block is written anew, with the logarithm of what was added alone.
const MOST_FILES: usize = 8;
/// Files of that many bytes are left alone.
const LONG_FILE: usize = 32 << 20;
/// A family of rows is merged when that many of its files have not been …
const MANY_FILES: u64 = 12;
/// … or that many, while a long capture goes on.
const TOO_MANY_FILES: u64 = 40;

impl Db {
    /// Merges where small files have become many. What is merged has the length of what was added lately, not of the store.
    pub(in crate::store) fn merge(&self) -> Result<(), StoreError> {
        let opened = self.opened();
        let files = opened.db.live_files().map_err(|e| fail(&e))?;
        for family in Family::ALL.into_iter().filter(|f| holds_blocks(f.name())) {
            opened.merge_blocks(family, &files)?;
            opened.no_error_yet()?;
        }
        if opened.merge_rows(MANY_FILES)? {
            opened.db.wait_for_compact(&WaitForCompactOptions::default()).map_err(|e| fail(&e))?;
        }
        Ok(())
    }

    /// Lets merging begin beside a long capture, so that look-ups stay quick.
    pub(in crate::store) fn keep_merged(&self) -> Result<(), StoreError> {
        self.opened().merge_rows(TOO_MANY_FILES).map(drop)
    }
}

impl Opened {
    /// Lets RocksDB merge, by size, in the families of so many young files. True if there are such.
    fn merge_rows(&self, many: u64) -> Result<bool, StoreError> {
        let mut any = false;
        for family in Family::ALL.into_iter().filter(|f| !holds_blocks(f.name())) {
            let handle = self.family(family)?;
            let young = self.db.property_int_value_cf(handle, "rocksdb.num-files-at-level0").map_err(|e| fail(&e))?;
            let young = young.unwrap_or(0);
            if young >= many {
                log::debug!("merging {young} files of {}", family.name());
                self.db.set_options_cf(handle, &[("disable_auto_compactions", "false")]).map_err(|e| fail(&e))?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Merging blocks gives no status. On a disk that fails nothing more is merged: it would take old files away.
    pub(super) fn no_error_yet(&self) -> Result<(), StoreError> {
        let errors = self.db.property_int_value("rocksdb.background-errors").map_err(|e| fail(&e))?;
        if errors.is_none_or(|errors| errors > 0) {
            return Err(StoreError::Database("merging has failed".to_owned()));
        }
        Ok(())
    }

    fn merge_blocks(&self, family: Family, files: &[LiveFile]) -> Result<(), StoreError> {
        let mut files: Vec<_> = files.iter().filter(|f| f.column_family_name == family.name()).collect();
        files.sort_unstable_by(|a, b| a.start_key.cmp(&b.start_key));
        let sizes: Vec<_> = files.iter().map(|f| f.size).collect();
        let Some(first) = first_to_merge(&sizes) else { return Ok(()) };
        let (from, to) = (files[first].start_key.as_deref(), files.last().and_then(|f| f.end_key.as_deref()));
        log::debug!("merging {} files of {}", files.len() - first, family.name());
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        self.db.compact_range_cf_opt(self.family(family)?, from, to, &options);
        Ok(())
    }
}

/// Of files by age, the first of those at the end that are to be merged.
fn first_to_merge(sizes: &[usize]) -> Option<usize> {
    let mut newer = 0;
    let fits = |size: &&usize| {
        let fits = **size < LONG_FILE && (newer == 0 || **size <= newer);
        newer += **size;
        fits
    };
    let run = sizes.iter().rev().take_while(fits).count();
    (run >= MOST_FILES).then(|| sizes.len() - run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_few_and_little_is_written_anew() {
        let turns: [fn(usize) -> usize; 4] = [
            |_| 9 << 10,
            |turn| if turn % 50 == 49 { 2 << 20 } else { 9 << 10 },
            |turn| if turn % 1000 == 999 { 100 << 20 } else { 300 << 10 },
            |turn| (turn.wrapping_mul(0x9E37_79B9) % (4 << 20)) + 1,
        ];
        for size_at in turns {
            let (mut files, mut written, mut added) = (Vec::new(), 0, 0);
            for size in (0..10_000).map(size_at) {
                files.push(size);
                added += size;
                if let Some(first) = first_to_merge(&files) {
                    let sum: usize = files.drain(first..).sum();
                    assert!(sum < MOST_FILES * LONG_FILE);
                    files.push(sum);
                    written += sum;
                }
            }
            assert_eq!(files.iter().sum::<usize>(), added);
            let long = files.iter().filter(|size| **size >= LONG_FILE).count();
            assert!(files.len() - long < 100 && long <= added / LONG_FILE, "{} files, {long} long", files.len());
            assert!(written < 12 * added, "{written} bytes written anew for {added}");
        }
        assert_eq!(first_to_merge(&[5; 7]), None);
        assert_eq!(first_to_merge(&[40 << 20, 5, 5, 5, 5, 5, 5, 5, 5]), Some(1));
        assert_eq!(first_to_merge(&[100, 5, 5, 5, 5, 5, 5, 5]), None);
    }
}
