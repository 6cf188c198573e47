//! Looking at all blocks.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::codec::{Class, digest, open_table};
use crate::format::{BlockHeader, BlockKind, Family, ID_PREFIX_LEN, Looks, Place, from_bytes, number_key, sum_parts};
use crate::model::{Digest, Progress, Timestamp};

use super::super::Store;
use super::super::db::Db;
use super::super::error::StoreError;
use super::super::ledger::Ledger;
use super::super::named::Named;
use super::super::numbers::strays;
use super::super::read::{Sort, places};
use super::super::survey::has_digest;
use super::{Finding, Inspected, or_found};

/// Sealed bytes between two steps of a look: what was looked at can be noted then.
const STEP_BYTES: u64 = 4 << 30;

/// Findings in the index at most: of one in ruins more need not be told.
const INDEX_FINDINGS_MAX: usize = 1000;

/// How closely blocks are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Their digests only: needs no key.
    Compare,
    /// So many of a hundred, those that were not for the longest time, are also opened: every item's id is made anew and
    /// compared with the index.
    Open(u8),
}

/// A look at every block: present, unchanged, and those that are opened hold what the index says they hold.
///
/// Each is looked at once: by whoever reads contents, while the block is in memory, or in [`Self::finish`].
pub struct BlockLook<'a> {
    db: Arc<Db>,
    /// Who opens blocks.
    opener: Option<&'a Store>,
    progress: &'a dyn Progress,
    index_entries: u64,
    /// In the order of their numbers.
    rows: Vec<SumRow>,
    /// Positions in `rows`, those first that are looked at first.
    order: Vec<usize>,
    compared: AtomicU64,
    opened: AtomicU64,
    bytes: AtomicU64,
    findings: Mutex<Vec<Finding>>,
    /// The first thing that is no damage, and left a block unseen.
    failed: Mutex<Option<StoreError>>,
}

impl std::fmt::Debug for BlockLook<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("BlockLook").field("blocks", &self.rows.len()).finish_non_exhaustive()
    }
}

/// A block that the store must have.
struct SumRow {
    number: u64,
    kind: BlockKind,
    sum: Digest,
    /// It is to be opened.
    open: bool,
    /// How many places in it the index names.
    indexed: u64,
    /// What of [`TAKEN`], [`COMPARED`], [`OPENED`] and [`NOTED`] is true of it.
    state: AtomicU8,
}

/// Somebody looks at it, or has.
const TAKEN: u8 = 1;
/// Its bytes are what was written.
const COMPARED: u8 = 2;
/// So are its items.
const OPENED: u8 = 4;
/// The ledger knows.
const NOTED: u8 = 8;

/// When all blocks were last looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ages {
    /// When the bytes of the one that waits longest were compared with its digest; nothing if one never was.
    pub compared: Option<u64>,
    /// Blocks of which they never were.
    pub never_compared: u64,
    /// When the one that waits longest was opened; nothing if one never was.
    pub opened: Option<u64>,
    /// Blocks that never were.
    pub never_opened: u64,
}

/// What is wrong with a block, or with what the index says of it.
struct Wrong {
    why: String,
    is_misnamed: bool,
}

impl Wrong {
    fn damaged(why: impl ToString) -> Self {
        Self { why: why.to_string(), is_misnamed: false }
    }
}

/// Whether a block's decoded bytes come from and stay in the store's cache.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cached {
    Yes,
    No,
}

impl<'a> BlockLook<'a> {
    /// Begins with none looked at. `progress` is told the sealed bytes of each block that was. What the ledger says decides which
    /// are opened, if not all are.
    ///
    /// # Errors
    /// If the database cannot be read; what is damaged is a finding, not an error.
    pub fn new(
        store: &'a Store,
        depth: Depth,
        ledger: &Ledger,
        progress: &'a dyn Progress,
    ) -> Result<Self, StoreError> {
        let mut look = Self::begin(store.db(), Some(store), progress)?;
        if let Depth::Open(percent) = depth {
            let mut oldest: Vec<_> = (0..look.rows.len()).collect();
            if percent < 100 {
                oldest.sort_by_cached_key(|at| ledger.of(look.rows[*at].number).opened);
            }
            let some = (oldest.len() * usize::from(percent.min(100))).div_ceil(100);
            oldest[..some].iter().for_each(|at| look.rows[*at].open = true);
        }
        Ok(look)
    }

    /// The same without keys: digests only.
    pub(super) fn closed(db: &Arc<Db>, progress: &'a dyn Progress) -> Result<Self, StoreError> {
        Self::begin(db.clone(), None, progress)
    }

    fn begin(db: Arc<Db>, opener: Option<&'a Store>, progress: &'a dyn Progress) -> Result<Self, StoreError> {
        let (mut rows, mut findings) = (Vec::new(), Vec::new());
        let scanned = db.scan(Family::Sums, &[], |key, value| {
            match (key.try_into().map(u64::from_be_bytes), sum_parts(value)) {
                (Ok(number), Ok((kind, sum))) => {
                    rows.push(SumRow { number, kind, sum, open: false, indexed: 0, state: AtomicU8::new(0) });
                }
                _ => findings.push(Finding::new("a row of sums", "it is malformed")),
            }
            Ok(true)
        });
        or_found(scanned, &mut findings)?;
        let strays = or_found(strays(&db), &mut findings)?;
        findings.extend(strays.unwrap_or_default());
        let index_entries = look_at_index(&db, &mut rows, &mut findings)?;
        let family = |kind| if kind == BlockKind::Data { Family::Data } else { Family::Tree };
        let known = |number| rows.binary_search_by_key(&number, |row| row.number).ok().map(|at| family(rows[at].kind));
        let compared = super::rows::notes(&db, &known, &mut findings);
        or_found(compared, &mut findings)?;
        Ok(Self {
            db,
            index_entries,
            opener,
            progress,
            order: (0..rows.len()).collect(),
            rows,
            compared: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            findings: Mutex::new(findings),
            failed: Mutex::default(),
        })
    }

    /// Looks first at those that had to wait longest.
    pub fn oldest_first(&mut self, ledger: &Ledger) {
        let age = |at: &usize| {
            let row = &self.rows[*at];
            let looks = ledger.of(row.number);
            (!row.open, if row.open { looks.opened } else { looks.compared })
        };
        self.order.sort_by_cached_key(age);
    }

    /// Looks at a block of chunks now, if nobody has: whoever read from it has just decoded it.
    pub fn read(&self, number: u64) {
        let row = self.rows.binary_search_by_key(&number, |row| row.number).ok().map(|at| &self.rows[at]);
        if let Some(row) = row.filter(|row| row.kind == BlockKind::Data) {
            self.look(row, Cached::Yes);
        }
    }

    /// Looks at all that are left, unless it is stopped. `step` is called now and then, by one thread at a time or several.
    ///
    /// # Errors
    /// If a block could not be looked at for another reason than damage.
    pub fn finish(&self, step: &(dyn Fn(&Self) + Sync)) -> Result<(Inspected, Vec<Finding>), StoreError> {
        let next = AtomicUsize::new(0);
        rayon::broadcast(|_| {
            while let Some(at) = self.order.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.progress.cancelled() {
                    return;
                }
                let before = self.bytes.load(Ordering::Relaxed);
                self.look(&self.rows[*at], Cached::No);
                if before / STEP_BYTES < self.bytes.load(Ordering::Relaxed) / STEP_BYTES {
                    step(self);
                }
            }
        });
        if let Some(failed) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(failed);
        }
        let mut findings = std::mem::take(&mut *self.findings.lock().unwrap_or_else(PoisonError::into_inner));
        findings.sort_by_key(|finding| finding.data_block.or(finding.tree_block));
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let inspected = Inspected {
            blocks: load(&self.compared),
            bytes: load(&self.bytes),
            opened: load(&self.opened),
            all: self.rows.len() as u64,
        };
        Ok((inspected, findings))
    }

    /// Entries of the index.
    #[must_use]
    pub fn index_entries(&self) -> u64 {
        self.index_entries
    }

    /// True if damage was found so far.
    #[must_use]
    pub fn has_found(&self) -> bool {
        !self.findings.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Gives the blocks that were found whole since this was last called to `keep`, `true` for those that were opened too. If it
    /// fails they are given again.
    ///
    /// # Errors
    /// What `keep` says.
    pub fn note<E>(&self, keep: impl FnOnce(&[(u64, bool)]) -> Result<(), E>) -> Result<(), E> {
        let state = |row: &SumRow| row.state.load(Ordering::Relaxed);
        let fresh = self.rows.iter().filter(|row| state(row) & (COMPARED | NOTED) == COMPARED);
        let fresh: Vec<_> = fresh.map(|row| (row, state(row) & OPENED != 0)).collect();
        let blocks: Vec<_> = fresh.iter().map(|(row, opened)| (row.number, *opened)).collect();
        keep(&blocks)?;
        for (row, _) in fresh {
            row.state.fetch_or(NOTED, Ordering::Relaxed);
        }
        Ok(())
    }

    /// When all blocks were last looked at, this look counted.
    #[must_use]
    pub fn ages(&self, ledger: &Ledger, now: Timestamp) -> Ages {
        let now = u64::try_from(now.seconds).unwrap_or(0);
        let mut ages = Ages { compared: Some(now), opened: Some(now), ..Ages::default() };
        for row in &self.rows {
            let state = row.state.load(Ordering::Relaxed);
            let mut looks: Looks = ledger.of(row.number);
            looks.compared = if state & COMPARED == 0 { looks.compared } else { now };
            looks.opened = if state & OPENED == 0 { looks.opened } else { now };
            ages.never_compared += u64::from(looks.compared == 0);
            ages.never_opened += u64::from(looks.opened == 0);
            ages.compared = ages.compared.map(|oldest| oldest.min(looks.compared));
            ages.opened = ages.opened.map(|oldest| oldest.min(looks.opened));
        }
        ages.compared = ages.compared.filter(|_| ages.never_compared == 0);
        ages.opened = ages.opened.filter(|_| ages.never_opened == 0);
        ages
    }

    fn look(&self, row: &SumRow, cached: Cached) {
        if self.progress.cancelled() || row.state.fetch_or(TAKEN, Ordering::Relaxed) & TAKEN != 0 {
            return;
        }
        let sort = if row.kind == BlockKind::Data { Sort::Chunk } else { Sort::Page };
        let key = number_key(row.number);
        let compared = self.db.with(sort.blocks(), &key, |value| (value.len() as u64, digest(value) == row.sum));
        let outcome = match compared {
            Ok(None) => Err(Wrong::damaged("it is missing")),
            Ok(Some((len, same))) => {
                self.compared.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(len, Ordering::Relaxed);
                let opened =
                    if same { self.open(row, sort, cached) } else { Err(Wrong::damaged("its bytes have changed")) };
                self.progress.advance(0, len);
                opened
            }
            Err(e) if !e.is_damage() => {
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                return;
            }
            Err(e) => Err(Wrong::damaged(e)),
        };
        match outcome {
            Ok(opened) => {
                self.opened.fetch_add(u64::from(opened), Ordering::Relaxed);
                let state = COMPARED | if opened { OPENED } else { 0 };
                row.state.fetch_or(state, Ordering::Relaxed);
            }
            Err(Wrong { why, is_misnamed }) => {
                let is_data = sort == Sort::Chunk;
                let object = format!("block {} ({})", row.number, if is_data { "content" } else { "structure" });
                let (data_block, tree_block) = (is_data.then_some(row.number), (!is_data).then_some(row.number));
                let finding = Finding { object, why, data_block, tree_block, is_misnamed };
                self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
            }
        }
    }

    /// Opens a block if it is to be opened; true if its items were looked at.
    fn open(&self, row: &SumRow, sort: Sort, cached: Cached) -> Result<bool, Wrong> {
        match self.opener.filter(|_| row.open) {
            Some(store) => store.check_items(&self.db, sort, row, cached),
            None => Ok(false),
        }
    }
}

/// Checks that every index entry names blocks that have a digest, and items in them that no other names, and counts, block by block, the
/// places named. Gives the number of entries.
fn look_at_index(db: &Db, rows: &mut [SumRow], findings: &mut Vec<Finding>) -> Result<u64, StoreError> {
    let mut entries = 0;
    let mut named: Vec<_> = rows.iter().map(|_| Named::default()).collect();
    let most = findings.len() + INDEX_FINDINGS_MAX;
    for (sort, kind) in [(Sort::Chunk, BlockKind::Data), (Sort::Page, BlockKind::Tree)] {
        let family = sort.index();
        let scanned = db.scan(family, &[], |key, value| {
            entries += 1;
            let mut misnamed = None;
            let bad = match from_bytes::<Vec<Place>>(value, "index entry") {
                Err(e) => Some(e.to_string()),
                Ok(places) if places.is_empty() || key.len() != ID_PREFIX_LEN => Some("it is malformed".to_owned()),
                Ok(places) => {
                    let mut bad = None;
                    for place in places {
                        let is_bad = bad.is_some();
                        let why = match rows.binary_search_by_key(&place.block, |row| row.number) {
                            Ok(at) if rows[at].kind == kind => {
                                rows[at].indexed += 1;
                                let twice = named[at].add(place).err();
                                misnamed = misnamed.or(twice.is_some().then_some(place.block).filter(|_| !is_bad));
                                twice
                            }
                            // It may have come since.
                            _ if has_digest(db, place.block, sort)? => None,
                            _ => Some(format!("it names block {}, which has no digest", place.block)),
                        };
                        bad = bad.or(why);
                    }
                    bad
                }
            };
            if let Some(why) = bad.filter(|_| findings.len() < most) {
                let finding = Finding::new(format!("an entry of the index of {}", family.name()), why);
                let data_block = misnamed.filter(|_| sort == Sort::Chunk);
                findings.push(Finding { data_block, is_misnamed: misnamed.is_some(), ..finding });
            }
            Ok(true)
        });
        or_found(scanned, findings)?;
    }
    Ok(entries)
}

impl Store {
    /// Opens a block and checks that each of its items that the index names is here under the id of its bytes: of a block that
    /// gc is about to remove it names fewer than there are. False if the key in use may only see its table.
    fn check_items(&self, db: &Arc<Db>, sort: Sort, row: &SumRow, cached: Cached) -> Result<bool, Wrong> {
        let number = row.number;
        let decoded = match cached {
            Cached::Yes => self.decoded(db, sort, number),
            Cached::No => self.decode(db, sort, number).map(Arc::new),
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            // A catalog holder checks the table and leaves the content to an owner.
            Err(StoreError::Closed { .. }) => {
                return self.check_table(db, sort, number).map(|()| false).map_err(Wrong::damaged);
            }
            Err(e) => return Err(Wrong::damaged(e)),
        };
        let mut known = 0;
        for ordinal in 0..decoded.len() {
            let place = Place { block: number, ordinal };
            let id = self
                .id_at(&decoded, sort, ordinal)
                .ok_or_else(|| Wrong::damaged("it has fewer items than its table says"))?;
            let places = places(db, sort, &id).map_err(Wrong::damaged)?;
            known += places.iter().filter(|known| **known == place).count() as u64;
        }
        if known == row.indexed {
            Ok(true)
        } else {
            let why = format!("the index names {} items in it, and {known} of them are there", row.indexed);
            Err(Wrong { why, is_misnamed: true })
        }
    }

    fn check_table(&self, db: &Db, sort: Sort, number: u64) -> Result<(), String> {
        let looked = db.with(sort.blocks(), &number_key(number), |value| {
            let (header, ..) = BlockHeader::parse(value).map_err(|e| e.to_string())?;
            let page = self.data_key(db, header.epoch, Class::Page).map_err(|e| e.to_string())?;
            match page {
                Some(page) => open_table(value, &page).map(drop).map_err(|e| e.to_string()),
                None => Ok(()),
            }
        });
        looked.map_err(|e| e.to_string())?.unwrap_or_else(|| Err("it is missing".to_owned()))
    }
}
