//! Looking at all blocks, for verify.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::codec::{Class, digest, open_table};
use crate::format::{BlockHeader, BlockKind, Family, Place, from_bytes, number_key, sum_parts};
use crate::model::{Digest, Progress};

use super::Store;
use super::error::StoreError;
use super::read::Sort;

/// How closely blocks are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockCheck {
    /// Their digests only: needs no key.
    Digest,
    /// Every item is opened and its id recomputed and compared with the index.
    Items,
}

/// Something damaged.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which object.
    pub object: String,
    /// What is wrong.
    pub why: String,
    /// The block concerned, if it is one of chunks.
    pub data_block: Option<u64>,
    /// The block concerned, if it is one of pages.
    pub tree_block: Option<u64>,
}

impl Finding {
    /// From an error.
    #[must_use]
    pub fn from_error(error: &StoreError) -> Self {
        match error {
            StoreError::Damage { what, why } => {
                Self { object: what.clone(), why: why.clone(), data_block: None, tree_block: None }
            }
            other => {
                Self { object: "the store".to_owned(), why: other.to_string(), data_block: None, tree_block: None }
            }
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Blocks.
    pub blocks: u64,
    /// Their sealed bytes.
    pub bytes: u64,
}

/// A look at every block: present, unchanged, and with [`BlockCheck::Items`] holding what the index says it holds.
///
/// Each is looked at once: by whoever reads contents, while the block is in memory, or at the end.
pub struct BlockLook<'a> {
    store: &'a Store,
    check: BlockCheck,
    progress: &'a dyn Progress,
    /// In the order of their numbers.
    rows: Vec<SumRow>,
    bytes: AtomicU64,
    findings: Mutex<Vec<Finding>>,
    /// The first thing that is no damage, and left a block unseen.
    failed: Mutex<Option<StoreError>>,
}

impl std::fmt::Debug for BlockLook<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("BlockLook")
            .field("check", &self.check)
            .field("blocks", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// A block that the store must have.
struct SumRow {
    number: u64,
    kind: BlockKind,
    sum: Digest,
    looked: AtomicBool,
}

/// Whether a block's decoded bytes come from and stay in the store's cache.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cached {
    Yes,
    No,
}

impl<'a> BlockLook<'a> {
    /// Begins with none looked at. `progress` is told the sealed bytes of each block that was.
    ///
    /// # Errors
    /// If the database cannot be read; what is damaged is a finding, not an error.
    pub fn new(store: &'a Store, check: BlockCheck, progress: &'a dyn Progress) -> Result<Self, StoreError> {
        let (mut rows, mut findings) = (Vec::new(), Vec::new());
        let scanned = store.db().scan(Family::Sums, &[], |key, value| {
            match (key.try_into().map(u64::from_be_bytes), sum_parts(value)) {
                (Ok(number), Ok((kind, sum))) => {
                    rows.push(SumRow { number, kind, sum, looked: AtomicBool::new(false) });
                }
                _ => findings.push(Finding::from_error(&StoreError::damage("a row of sums", "it is malformed"))),
            }
            Ok(true)
        });
        match scanned {
            Err(e) if e.is_damage() => findings.push(Finding::from_error(&e)),
            scanned => scanned?,
        }
        Ok(Self {
            store,
            check,
            progress,
            rows,
            bytes: AtomicU64::new(0),
            findings: Mutex::new(findings),
            failed: Mutex::default(),
        })
    }

    /// Looks at a block of chunks now, if nobody has: whoever read from it has just decoded it.
    pub fn read(&self, number: u64) {
        let row = self.rows.binary_search_by_key(&number, |row| row.number).ok().map(|at| &self.rows[at]);
        if let Some(row) = row.filter(|row| row.kind == BlockKind::Data) {
            self.look(row, Cached::Yes);
        }
    }

    /// Looks at all that are left, unless it is stopped.
    ///
    /// # Errors
    /// If a block could not be looked at for another reason than damage.
    pub fn finish(self) -> Result<(Inspected, Vec<Finding>), StoreError> {
        self.rows.par_iter().for_each(|row| self.look(row, Cached::No));
        if let Some(failed) = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(failed);
        }
        let mut findings = self.findings.into_inner().unwrap_or_else(PoisonError::into_inner);
        findings.sort_by_key(|finding| finding.data_block.or(finding.tree_block));
        Ok((Inspected { blocks: self.rows.len() as u64, bytes: self.bytes.into_inner() }, findings))
    }

    fn look(&self, row: &SumRow, cached: Cached) {
        if self.progress.cancelled() || row.looked.swap(true, Ordering::Relaxed) {
            return;
        }
        let sort = if row.kind == BlockKind::Data { Sort::Chunk } else { Sort::Page };
        let looked = self
            .store
            .db()
            .with(sort.blocks(), &number_key(row.number), |value| (value.len() as u64, digest(value) == row.sum));
        let outcome = match looked {
            Ok(None) => Err("it is missing".to_owned()),
            Ok(Some((len, same))) => {
                self.bytes.fetch_add(len, Ordering::Relaxed);
                let items = match (same, self.check) {
                    (false, _) => Err("its bytes have changed".to_owned()),
                    (true, BlockCheck::Items) => self.store.check_items(sort, row.number, cached),
                    (true, BlockCheck::Digest) => Ok(()),
                };
                self.progress.advance(0, len);
                items
            }
            Err(e) if !e.is_damage() => {
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                return;
            }
            Err(e) => Err(e.to_string()),
        };
        if let Err(why) = outcome {
            let is_data = sort == Sort::Chunk;
            let finding = Finding {
                object: format!("block {} ({})", row.number, if is_data { "content" } else { "structure" }),
                why,
                data_block: is_data.then_some(row.number),
                tree_block: (!is_data).then_some(row.number),
            };
            self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
        }
    }
}

impl Store {
    /// Opens a block and checks that the index finds each of its items here.
    fn check_items(&self, sort: Sort, number: u64, cached: Cached) -> Result<(), String> {
        let db = self.db();
        let decoded = match cached {
            Cached::Yes => self.decoded(&db, sort, number),
            Cached::No => self.decode(&db, sort, number).map(Arc::new),
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            // A catalog holder checks the table and leaves the content to an owner.
            Err(StoreError::Closed { .. }) => return self.check_table(sort, number),
            Err(e) => return Err(e.to_string()),
        };
        for ordinal in 0..decoded.len() {
            let place = Place { block: number, ordinal };
            let id = self.id_at(&decoded, sort, ordinal).ok_or("it has fewer items than its table says")?;
            let places = super::read::places(&db, sort, &id).map_err(|e| e.to_string())?;
            if !places.contains(&place) {
                return Err(format!("the index does not know its item {ordinal} under the id of its bytes"));
            }
        }
        Ok(())
    }

    fn check_table(&self, sort: Sort, number: u64) -> Result<(), String> {
        let db = self.db();
        let looked = db.with(sort.blocks(), &number_key(number), |value| {
            let (header, ..) = BlockHeader::parse(value).map_err(|e| e.to_string())?;
            let page = self.inner.keyring.data_key(&db, header.epoch, Class::Page).map_err(|e| e.to_string())?;
            match page {
                Some(page) => open_table(value, &page).map(drop).map_err(|e| e.to_string()),
                None => Ok(()),
            }
        });
        looked.map_err(|e| e.to_string())?.unwrap_or_else(|| Err("it is missing".to_owned()))
    }

    /// Checks that every index entry names a block that is there, and has a digest.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn check_index(&self) -> Result<(u64, Vec<Finding>), StoreError> {
        let db = self.db();
        let mut blocks = std::collections::HashMap::new();
        db.scan(Family::Sums, &[], |key, value| {
            if let (Ok(number), Ok((kind, _))) = (key.try_into().map(u64::from_be_bytes), sum_parts(value)) {
                blocks.insert(number, kind);
            }
            Ok(true)
        })?;
        let (mut entries, mut findings) = (0, Vec::new());
        for (family, kind) in [(Family::Chunks, BlockKind::Data), (Family::Pages, BlockKind::Tree)] {
            db.scan(family, &[], |key, value| {
                entries += 1;
                let what = || format!("an entry of the index of {}", family.name());
                let bad = match from_bytes::<Vec<Place>>(value, "index entry") {
                    Err(e) => Some(e.to_string()),
                    Ok(places) if places.is_empty() || key.len() != crate::format::ID_PREFIX_LEN => {
                        Some("it is malformed".to_owned())
                    }
                    Ok(places) => places
                        .iter()
                        .find(|p| blocks.get(&p.block) != Some(&kind))
                        .map(|p| format!("it names block {}, which has no digest", p.block)),
                };
                if let Some(why) = bad {
                    findings.push(Finding::from_error(&StoreError::damage(what(), why)));
                }
                Ok(findings.len() < 1000)
            })?;
        }
        // Reading a row checks its file's checksums; blocks are looked at one by one elsewhere.
        for family in Family::ALL.into_iter().filter(|f| !matches!(f, Family::Data | Family::Tree)) {
            let mut keys = Vec::new();
            let scanned = db.scan(family, &[], |key, _| {
                if family == Family::Datasets {
                    keys.push(key.to_vec());
                }
                Ok(true)
            });
            let records = keys.iter().filter_map(|key| crate::model::DatasetKey::from_slice(key));
            for bad in scanned.err().into_iter().chain(records.filter_map(|key| self.dataset_record(key).err())) {
                if !bad.is_damage() {
                    return Err(bad);
                }
                findings.push(Finding::from_error(&bad));
            }
        }
        Ok((entries, findings))
    }

    /// Checks that the plain copies of header and key objects agree with those in the database.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn check_copies(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        if let Ok(None) = super::tip::read(&self.inner.dir, self.inner.keyring.ids()) {
            let path = super::tip::path(&self.inner.dir).display().to_string();
            let why = "it is missing; the next snapshot makes it anew";
            findings.push(Finding::from_error(&StoreError::damage(path, why)));
        }
        let mut compare = |path: std::path::PathBuf, copy: &[u8]| match std::fs::read(&path) {
            Ok(bytes) if bytes == copy => {}
            _ if super::key_files::is_as_good(&path, copy) => {}
            Ok(_) => findings.push(Finding::from_error(&StoreError::damage(
                path.display().to_string(),
                "it differs from the copy in the database",
            ))),
            Err(e) => findings.push(Finding::from_error(&StoreError::damage(path.display().to_string(), e))),
        };
        self.db().scan(Family::Default, &[], |key, value| {
            if key == b"header" {
                compare(self.inner.dir.join("header"), value);
            } else if let Some(name) = key.strip_prefix(b"key/") {
                compare(self.inner.dir.join("keys").join(format!("{}.age", String::from_utf8_lossy(name))), value);
            }
            Ok(true)
        })?;
        Ok(findings)
    }
}
