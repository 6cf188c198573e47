//! The fresh database that takes the place of a damaged one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use crate::format::{
    BlockHeader, BlockKind, Family, Place, from_bytes, index_key, number_key, sum_key_value, to_bytes,
};
use crate::model::{EpochId, Progress};

use super::super::Store;
use super::super::db::{Db, Looked, RowBlocks, RowFile, Rows, Table};
use super::super::error::StoreError;
use super::super::files::{make_dir, sync_dir, write_whole};
use super::super::key_files;
use super::super::numbers::{NEXT_BLOCK, has_good_next};
use super::super::write::note_block;
use super::log::Log;
use super::records::Records;
use super::scan::{Whole, last_number, number};
use super::{ASIDE, kind};

/// Rows that are written in one step.
const ROWS_MAX: usize = 4096;

/// What the folder holds, for whoever finds it.
const ABOUT: &str = "Larder repaired this store. `db` is its database as it was before, damaged; the store does not need it.\n\
    When everything that matters can be read, this folder may be removed.\n";

/// Whether a row, its key and value, is to be kept.
type Good<'a> = &'a dyn Fn(&[u8], &[u8]) -> bool;

/// What is taken over of the blocks.
pub(super) struct Blocks<'a> {
    /// Numbers of those that are whole.
    pub(super) whole: &'a HashSet<u64>,
    /// Numbers of rows that must not come along with the file that they are in.
    pub(super) unfit: BTreeSet<u64>,
    pub(super) records: &'a Records,
}

/// A database being built beside the old one.
pub(super) struct Fresh<'a> {
    store: &'a Store,
    db: Db,
    aside: PathBuf,
}

impl<'a> Fresh<'a> {
    pub(super) fn begin(store: &'a Store, aside: &Path) -> Result<Self, StoreError> {
        make_dir(&aside.join("tmp"))?;
        Ok(Self { store, db: Db::create_unlogged(&aside.join("db"))?, aside: aside.to_owned() })
    }

    /// Nothing is to be repaired: what was built goes. It never was the store's.
    pub(super) fn discard(self) {
        drop(self.db);
        let _ = std::fs::remove_dir_all(&self.aside);
        if let Some(all) = self.aside.parent().filter(|all| all.ends_with(ASIDE)) {
            // Only if it is empty.
            let _ = std::fs::remove_dir(all);
        }
    }

    /// Writes digest and index entries of a block.
    pub(super) fn index(&self, block: &Whole) -> Result<(), StoreError> {
        let mut rows = Rows::default();
        let key = number_key(block.number);
        rows.put(Family::Sums, &key, &sum_key_value(kind(block.sort), &block.digest));
        let mut places: BTreeMap<_, Vec<Place>> = BTreeMap::new();
        for (ordinal, id) in (0..).zip(&block.ids) {
            places.entry(index_key(id)).or_default().push(Place { block: block.number, ordinal });
        }
        for (key, new) in places {
            let known = self.db.with(block.sort.index(), &key, |v| from_bytes::<Vec<Place>>(v, "index entry"))?;
            let mut all = known.transpose()?.unwrap_or_default();
            all.extend(new);
            rows.put(block.sort.index(), &key, &to_bytes(&all));
        }
        self.db.write(&rows, false)
    }

    /// Copies all other rows as far as they can be read. The ledger begins anew.
    pub(super) fn copy_rows(&self, old: &Db, records: &Records, log: &Log) -> Result<(), StoreError> {
        self.default_rows(old)?;
        for family in [Family::Records, Family::Digests] {
            self.copy(old, family, &[], &|_, _| true)?;
        }
        let manifests: Vec<_> = log.manifests().map(|id| id.as_bytes().to_vec()).collect();
        self.copy(old, Family::Manifests, &manifests, &|key, _| !log.is_unreadable(key))?;
        let datasets: Vec<_> = log.whole_datasets().map(|key| key.as_bytes().to_vec()).collect();
        self.copy(old, Family::Datasets, &datasets, &|key, _| !log.is_stray(key))?;
        let keyring = self.store.keyring();
        self.copy(old, Family::Epochs, &[], &|key, value| super::is_epoch(keyring, key, value))?;
        let mut rows = Rows::default();
        records.iter().for_each(|(epoch, record)| rows.put(Family::Epochs, epoch.as_bytes(), record));
        self.db.write(&rows, false)?;
        log.write(self.store, old, &self.db)
    }

    /// Copies the rows of a family that are `good`; where damage ends that, those with these keys.
    fn copy(&self, old: &Db, family: Family, keys: &[Vec<u8>], good: Good) -> Result<(), StoreError> {
        let mut rows = Rows::default();
        let mut count = 0;
        let scanned = old.scan(family, &[], |key, value| {
            if good(key, value) {
                rows.put(family, key, value);
            }
            count += 1;
            if count % ROWS_MAX == 0 {
                self.db.write(&std::mem::take(&mut rows), false)?;
            }
            Ok(true)
        });
        match scanned {
            Err(e) if !e.is_damage() => return Err(e),
            Ok(()) => {}
            Err(_) => {
                for key in keys {
                    if let Some(value) = old.get(family, key).ok().flatten().filter(|value| good(key, value)) {
                        rows.put(family, key, &value);
                    }
                }
            }
        }
        self.db.write(&rows, false)
    }

    /// Header, canary, and rows that key objects lack, from the files beside the database; a new gc generation: what caches believe to be
    /// stored may no longer be.
    fn default_rows(&self, old: &Db) -> Result<(), StoreError> {
        let has_good_next = has_good_next(old).unwrap_or(true);
        self.copy(old, Family::Default, &[], &|key, value| {
            (has_good_next || key != NEXT_BLOCK) && super::is_known(key, value)
        })?;
        let mut rows = Rows::default();
        rows.put(Family::Default, b"canary", self.store.id().as_bytes());
        rows.put(Family::Default, b"header", &self.store.header().to_bytes());
        // Of keys that no list of owners has, or that were removed, there is no row for a reason.
        for (name, file) in self.store.rows_to_give(old, &self.db) {
            rows.put(Family::Default, &key_files::row_key(name), &file);
        }
        rows.put(Family::Default, b"gc", &super::super::new_generation()?);
        self.db.write(&rows, false)
    }

    /// Takes over the blocks: files that are whole by a link, of others the rows that are.
    pub(super) fn copy_blocks(&self, old: &Db, blocks: &Blocks, progress: &dyn Progress) -> Result<(), StoreError> {
        let tables = old.tables()?;
        for family in [Family::Data, Family::Tree] {
            let last = last_number(old, family)?.unwrap_or(0);
            self.copy_family(old, family, last, &tables, blocks, progress)?;
        }
        Ok(())
    }

    fn copy_family(
        &self,
        old: &Db,
        family: Family,
        last: u64,
        tables: &[Table],
        blocks: &Blocks,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let range = |table: &Table| table.keys.as_ref().and_then(|(from, to)| Some((number(from)?, number(to)?)));
        let tables = || tables.iter().filter(|table| table.family == family.name());
        for (at, table) in tables().enumerate() {
            if progress.cancelled() {
                return Err(StoreError::Interrupted);
            }
            // What is older in one of two files would come back over what is newer in the other, whichever is taken in last.
            let others = tables().enumerate().filter(|(other, _)| *other != at).filter_map(|(_, table)| range(table));
            let is_fit = range(table).is_some_and(|(from, to)| {
                to <= last
                    && blocks.unfit.range(from..=to).next().is_none()
                    && (!others.clone().any(|(first, last)| first <= to && last >= from)
                        || old.is_newest(family, table))
            });
            if !is_fit || !self.link(family, table)? {
                self.copy_table(old, family, table, last, blocks)?;
            }
        }
        Ok(())
    }

    /// False if a file is damaged, or is one that RocksDB does not take from elsewhere (it does so with those that it did not merge).
    fn link(&self, family: Family, table: &Table) -> Result<bool, StoreError> {
        let looked = table.look(RowBlocks::All);
        let looked = looked.map_err(|e| StoreError::io(format!("cannot read {}", table.path.display()), e))?;
        if !matches!(looked, Looked::Whole) {
            return Ok(false);
        }
        let link = self.aside.join("tmp").join(&table.name);
        if std::fs::hard_link(&table.path, &link).is_err() {
            return Ok(false);
        }
        let taken = self.db.ingest(family, &link);
        let _ = std::fs::remove_file(&link);
        Ok(taken.is_ok())
    }

    /// Copies whole blocks up to a number, each behind a note of its epoch (I4). A note that was lost has left its number free.
    fn copy_table(&self, old: &Db, family: Family, table: &Table, end: u64, blocks: &Blocks) -> Result<(), StoreError> {
        let range = table.keys.as_ref().and_then(|(first, last)| Some((number(first)?, number(last)?.min(end))));
        let Some((first, last)) = range else { return Ok(()) };
        let mut copy = Copying { fresh: self, family, file: None, free: first, noted: None };
        let mut failed = None;
        old.scan_past_damage(family, first, last, |number, value| {
            let Ok((header, ..)) = BlockHeader::parse(value) else { return true };
            if header.kind == BlockKind::EpochNote && blocks.records.is_wrong_note(number) {
                let right = blocks.records.of(header.epoch);
                failed = right.and_then(|right| copy.row(number, &header, &note_block(header.epoch, right)).err());
            } else if header.kind == BlockKind::EpochNote || blocks.whole.contains(&number) {
                failed = copy.row(number, &header, value).err();
            }
            failed.is_none()
        })?;
        match (failed, copy.file) {
            (Some(e), _) => Err(e),
            (None, Some(file)) => self.db.ingest(family, &file.finish()?),
            (None, None) => Ok(()),
        }
    }

    /// The two databases change places, in one step.
    pub(super) fn put_in_place(self) -> Result<(), StoreError> {
        self.db.flush()?;
        drop(self.db);
        let (old, new) = (self.store.dir().join("db"), self.aside.join("db"));
        sync_dir(&new)?;
        write_whole(&self.aside.join("README"), ABOUT.as_bytes())?;
        let _ = std::fs::remove_dir(self.aside.join("tmp"));
        rustix::fs::renameat_with(CWD, &old, CWD, &new, RenameFlags::EXCHANGE).map_err(|e| {
            let what = format!("{} and {} cannot change places on this file system", old.display(), new.display());
            StoreError::io(what, e.into())
        })?;
        sync_dir(self.store.dir())?;
        sync_dir(&self.aside)?;
        log::info!("the old database lies in {}", new.display());
        Ok(())
    }
}

/// Rows on their way from a damaged file into a new one.
struct Copying<'a, 'b> {
    fresh: &'a Fresh<'b>,
    family: Family,
    file: Option<RowFile>,
    /// The first number that is free.
    free: u64,
    /// The epoch of the last note.
    noted: Option<EpochId>,
}

impl Copying<'_, '_> {
    fn row(&mut self, number: u64, header: &BlockHeader, value: &[u8]) -> Result<(), StoreError> {
        if header.kind != BlockKind::EpochNote
            && self.noted != Some(header.epoch)
            && number > self.free
            && let Some(record) = self.fresh.db.get(Family::Epochs, header.epoch.as_bytes())?
        {
            self.put(number - 1, &note_block(header.epoch, &record))?;
        }
        self.noted = Some(header.epoch);
        self.free = number.saturating_add(1);
        self.put(number, value)
    }

    fn put(&mut self, number: u64, value: &[u8]) -> Result<(), StoreError> {
        let path = || self.fresh.aside.join("tmp").join(format!("{}-{number}.sst", self.family.name()));
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(RowFile::create(path())?),
        };
        file.put(&number_key(number), value)
    }
}
