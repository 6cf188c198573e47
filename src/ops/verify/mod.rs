//! Verify: everything that a store promises, looked at; for each damaged object, the snapshots and paths it touches.
//!
//! Two looks at once: the structure (log, manifests, every reachable page, every chunk's index entry) on one thread; long
//! contents, then all blocks that these did not pass by, on the others. Equal subtrees are looked at once. What is found is
//! traced to paths in a second walk, which passes over subtrees that it has seen to be whole.

mod closed;
mod content;
mod link_map;
mod links;
mod missing;
mod records;
mod structure;
mod trace;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::{Kind, Notice, Progress, SnapshotId, Timestamp};
use crate::store::{Ages, BlockLook, Depth, FalseEntry, Finding, Inspected, Ledger, Store, StoreError};
use crate::tree::Pages;

use super::query::QueryError;
pub use closed::verify_closed;
pub use missing::{Missing, lacking, missing};
use structure::Structure;

/// Paths told for each snapshot that damage touches.
const PATHS_TOLD: usize = 100;
/// Looks at a store of which gc removes something each time.
const LOOKS_MAX: u32 = 3;

/// How closely to look, and for how long.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// So many blocks of a hundred are opened and every id in them made anew, those first that were not for the longest time. With
    /// 100, and without an end of the time, the whole content of every file that has several chunks is also compared with its digest.
    pub read_data: u8,
    /// The present.
    pub now: Timestamp,
    /// True once the time is up: what is not looked at by then stays so.
    pub time_is_up: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl std::fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("VerifyOptions").field("read_data", &self.read_data).finish_non_exhaustive()
    }
}

/// What became of the ledger.
#[derive(Debug, Clone, Default)]
pub struct LedgerKept {
    /// When all blocks were last looked at.
    pub ages: Ages,
    /// Why it does not know of this look.
    pub not_kept: Option<String>,
}

/// A snapshot that damage touches.
#[derive(Debug, Clone)]
pub struct Touched {
    /// Which one.
    pub snapshot: SnapshotId,
    /// Its dataset, if its manifest can be read.
    pub dataset: Option<String>,
    /// Paths that cannot be read, the first of them; a folder stands for all in it.
    pub paths: Vec<Vec<u8>>,
    /// How many such paths there are.
    pub count: u64,
}

/// What verify found.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Pages, each counted once.
    pub pages: u64,
    /// Entries of all pages, each page counted once.
    pub entries: u64,
    /// Blocks.
    pub inspected: Inspected,
    /// Files of the database of which every block was compared with its checksum.
    pub tables: u64,
    /// Index entries.
    pub index_entries: u64,
    /// Files among the entries.
    pub files: u64,
    /// Contents of several chunks that were read from end to end, each once; with [`VerifyOptions::read_data`]. A content of
    /// one chunk is checked with its block: the chunk's id is the content's.
    pub long_contents: u64,
    /// Records whose hashes were compared with their contents.
    pub records: u64,
    /// Damaged objects.
    pub findings: Vec<Finding>,
    /// Snapshots that the damage touches.
    pub touched: Vec<Touched>,
    /// Entries of the log that are lost, which an owner has accepted: no damage. Without a key nobody can tell if it was an owner.
    pub void: Vec<u64>,
    /// Entries of the log that name another's snapshot, or one that is not as they say: no damage, and of no effect.
    pub false_entries: Vec<FalseEntry>,
    /// Snapshots that can be had by their ids alone, since the log cannot be read.
    pub unlisted: Vec<SnapshotId>,
    /// The time was up before all was looked at.
    pub cut_short: bool,
    /// What could not be looked at without a key; nothing where there was one.
    pub not_checked: &'static [&'static str],
    /// The ledger; nothing without a key.
    pub ledger: Option<LedgerKept>,
}

impl Touched {
    /// One whose manifest is lost, and with it the way to all that is in it.
    fn lost(snapshot: SnapshotId) -> Self {
        Self { snapshot, dataset: None, paths: vec![Vec::new()], count: 1 }
    }
}

impl Verified {
    /// Damage, if there is any.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        (!self.findings.is_empty()).then_some(Kind::Damage)
    }
}

/// Progress that also stops when the time is up.
struct Until<'a> {
    progress: &'a dyn Progress,
    time_is_up: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// It did.
    cut_short: AtomicBool,
}

impl Progress for Until<'_> {
    fn expect(&self, items: u64, bytes: u64) {
        self.progress.expect(items, bytes);
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.progress.advance(items, bytes);
    }

    fn notice(&self, notice: Notice) {
        self.progress.notice(notice);
    }

    fn cancelled(&self) -> bool {
        let up = self.time_is_up.is_some_and(|is_up| is_up());
        if up {
            self.cut_short.store(true, Ordering::Relaxed);
        }
        up || self.progress.cancelled()
    }
}

/// Verifies a store. What was found whole is noted in the ledger, if nothing is damaged and nobody else writes.
///
/// # Errors
/// If it cannot be read at all; damage is what it reports, not an error.
pub fn verify(
    store: &Store,
    pages: &Pages,
    options: VerifyOptions,
    progress: &dyn Progress,
) -> Result<Verified, QueryError> {
    let mut looks = 0;
    loop {
        let generation = store.gc_generation()?;
        let verified = look(store, pages, options, progress)?;
        looks += 1;
        // What gc has removed meanwhile is not damaged.
        let removed = !verified.findings.is_empty()
            && store.refresh().is_ok()
            && store.gc_generation().is_ok_and(|now| now != generation);
        if !removed || looks == LOOKS_MAX {
            return Ok(verified);
        }
        progress.notice(Notice::Remark("gc has removed something meanwhile; looking again".to_owned()));
    }
}

fn look(store: &Store, pages: &Pages, options: VerifyOptions, progress: &dyn Progress) -> Result<Verified, QueryError> {
    let until = Until { progress, time_is_up: options.time_is_up, cut_short: AtomicBool::new(false) };
    let mut verified = Verified::default();
    verified.findings.extend(store.trouble().map(|e| Finding::from_error(&e)));
    let (data, tree, _) = store.disk_bytes()?;
    progress.expect(0, data + tree);
    let ledger = or_found(store.ledger(options.now), &mut verified.findings)?;
    let damaged_copies = or_found(store.check_copies(), &mut verified.findings)?;
    verified.findings.extend(damaged_copies);
    let (tables, damaged_tables) = store.check_tables(&until)?;
    verified.tables = tables;
    verified.findings.extend(damaged_tables);
    let mut structure = Structure::begin(store, pages, &until)?;
    let manifests = std::mem::take(&mut structure.manifests);
    let reads_all = options.read_data >= 100 && options.time_is_up.is_none();
    let depth = if options.read_data == 0 { Depth::Compare } else { Depth::Open(options.read_data) };
    let mut blocks = BlockLook::new(store, depth, &ledger, &until)?;
    if options.time_is_up.is_some() {
        blocks.oldest_first(&ledger);
    }
    let keeper = Keeper { store, now: options.now, whole: verified.findings.is_empty(), not_kept: Mutex::default() };
    let (contents, inspected) = std::thread::scope(|scope| {
        scope.spawn(|| {
            structure.look(&manifests);
            structure.look_at_names(&manifests, reads_all);
        });
        let contents = if reads_all {
            content::read_whole(pages, &manifests, &blocks, &until)
        } else {
            content::Contents::default()
        };
        (contents, blocks.finish(&|blocks| keeper.step(blocks)))
    });
    if let Some(failed) = structure.failed {
        return Err(failed.into());
    }
    let (inspected, damaged_blocks) = inspected?;
    verified.inspected = inspected;
    (verified.snapshots, verified.pages) = (manifests.len() as u64, structure.pages);
    (verified.entries, verified.files) = (structure.entries, structure.files);
    verified.long_contents = contents.count;
    verified.findings.extend(damaged_blocks);
    verified.index_entries = blocks.index_entries();
    verified.findings.extend(store.check_records()?);
    let mut bad = structure.bad;
    let told = |misnamed: bool| {
        verified.findings.iter().filter(move |f| f.is_misnamed == misnamed).filter_map(|f| f.data_block)
    };
    bad.blocks.extend(told(false));
    bad.misnamed.extend(told(true));
    bad.contents.extend(contents.bad);
    verified.findings.extend(structure.findings);
    verified.findings.extend(contents.findings);
    if reads_all {
        let (compared, findings) = records::compare(pages, &manifests, &until);
        verified.records = compared;
        verified.findings.extend(findings);
    }
    let mut told = HashSet::new();
    verified.findings.retain(|f| told.insert((f.object.clone(), f.why.clone())));
    verified.ledger = Some(keeper.finish(&blocks, &ledger, !verified.findings.is_empty()));
    if progress.cancelled() {
        return Err(QueryError::Interrupted);
    }
    verified.cut_short = until.cut_short.load(Ordering::Relaxed);
    if !bad.is_empty() {
        verified.touched = trace::trace(pages, &manifests, &bad);
    }
    verified.unlisted = structure.unlisted;
    verified.void = structure.void;
    verified.false_entries = structure.false_entries;
    verified.touched.extend(structure.lost.into_iter().map(Touched::lost));
    if verified.snapshots == 0 && verified.findings.is_empty() {
        progress.notice(Notice::Remark("the store holds no snapshots yet".to_owned()));
    }
    Ok(verified)
}

/// Notes in the ledger what was found whole, in steps, so that a look that is ended early was not for nothing.
struct Keeper<'a> {
    store: &'a Store,
    now: Timestamp,
    /// Nothing damaged was met before the blocks.
    whole: bool,
    not_kept: Mutex<Option<String>>,
}

impl Keeper<'_> {
    fn step(&self, blocks: &BlockLook) {
        // One thread writes, the others go on.
        let Ok(mut not_kept) = self.not_kept.try_lock() else { return };
        if self.whole && !blocks.has_found() {
            *not_kept = blocks.note(|looked| self.store.keep_ledger(looked, self.now)).err().map(|e| e.to_string());
        }
    }

    fn finish(self, blocks: &BlockLook, ledger: &Ledger, damaged: bool) -> LedgerKept {
        let ages = blocks.ages(ledger, self.now);
        // Into a damaged store nothing is written that need not be.
        let not_kept = if damaged {
            Some("there is damage".to_owned())
        } else {
            blocks.note(|looked| self.store.keep_ledger(looked, self.now)).err().map(|e| e.to_string())
        };
        LedgerKept { ages, not_kept }
    }
}

/// Damage that ends a look is a finding like another.
fn or_found<T: Default>(looked: Result<T, StoreError>, findings: &mut Vec<Finding>) -> Result<T, StoreError> {
    match looked {
        Err(e) if e.is_damage() => {
            findings.push(Finding::from_error(&e));
            Ok(T::default())
        }
        looked => looked,
    }
}
