//! Verify: everything that a store promises, looked at; for each damaged object, the snapshots and paths it touches.
//!
//! Two looks at once: the structure (log, manifests, every reachable page, every chunk's index entry) on one thread; long
//! contents, then all blocks that these did not pass by, on the others. Equal subtrees are looked at once. What is found is
//! traced to paths in a second walk, which passes over subtrees that it has seen to be whole.

mod content;
mod structure;
mod trace;

use std::collections::HashSet;

use crate::model::{Kind, Notice, Progress, SnapshotId};
use crate::store::{BlockCheck, BlockLook, Finding, Store, StoreError};
use crate::tree::Pages;

use super::query::QueryError;
use structure::Structure;

/// Paths told for each snapshot that damage touches.
const PATHS_TOLD: usize = 100;

/// How closely to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Opens every block and recomputes every id; also compares the whole content of every file that has several chunks with
    /// its digest.
    pub read_data: bool,
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
    pub blocks: u64,
    /// Their sealed bytes.
    pub block_bytes: u64,
    /// Index entries.
    pub index_entries: u64,
    /// Files among the entries.
    pub files: u64,
    /// Contents of several chunks that were read from end to end, each once; with [`VerifyOptions::read_data`]. A content of
    /// one chunk is checked with its block: the chunk's id is the content's.
    pub long_contents: u64,
    /// Damaged objects.
    pub findings: Vec<Finding>,
    /// Snapshots that the damage touches.
    pub touched: Vec<Touched>,
    /// Snapshots that can be had by their ids alone, since the log cannot be read.
    pub unlisted: Vec<SnapshotId>,
}

impl Verified {
    /// Damage, if there is any.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        (!self.findings.is_empty()).then_some(Kind::Damage)
    }
}

/// Verifies a store.
///
/// # Errors
/// If it cannot be read at all; damage is what it reports, not an error.
pub fn verify(
    store: &Store,
    pages: &Pages,
    options: VerifyOptions,
    progress: &dyn Progress,
) -> Result<Verified, QueryError> {
    let mut verified = Verified::default();
    verified.findings.extend(store.trouble().map(|e| Finding::from_error(&e)));
    let check = if options.read_data { BlockCheck::Items } else { BlockCheck::Digest };
    let (data, tree, _) = store.disk_bytes()?;
    progress.expect(0, data + tree);
    let mut structure = Structure::begin(store, pages, progress)?;
    let manifests = std::mem::take(&mut structure.manifests);
    let blocks = BlockLook::new(store, check, progress)?;
    let (contents, inspected) = std::thread::scope(|scope| {
        scope.spawn(|| structure.look(&manifests));
        let contents = if options.read_data {
            content::read_whole(pages, &manifests, &blocks, progress)
        } else {
            content::Contents::default()
        };
        (contents, blocks.finish())
    });
    if let Some(failed) = structure.failed {
        return Err(failed.into());
    }
    let (inspected, damaged_blocks) = inspected?;
    (verified.blocks, verified.block_bytes) = (inspected.blocks, inspected.bytes);
    (verified.snapshots, verified.pages) = (manifests.len() as u64, structure.pages);
    (verified.entries, verified.files) = (structure.entries, structure.files);
    verified.long_contents = contents.count;
    verified.findings.extend(damaged_blocks);
    let damaged_copies = or_found(store.check_copies(), &mut verified.findings)?;
    verified.findings.extend(damaged_copies);
    let (entries, damaged_index) = or_found(store.check_index(), &mut verified.findings)?;
    verified.index_entries = entries;
    verified.findings.extend(damaged_index);
    let mut bad = structure.bad;
    bad.blocks.extend(verified.findings.iter().filter_map(|f| f.data_block));
    bad.contents = contents.bad;
    verified.findings.extend(structure.findings);
    verified.findings.extend(contents.findings);
    let mut told = HashSet::new();
    verified.findings.retain(|f| told.insert((f.object.clone(), f.why.clone())));
    if progress.cancelled() {
        return Err(QueryError::Interrupted);
    }
    if !bad.is_empty() {
        verified.touched = trace::trace(pages, &manifests, &bad);
    }
    verified.unlisted = structure.unlisted;
    for snapshot in structure.lost {
        verified.touched.push(Touched { snapshot, dataset: None, paths: vec![Vec::new()], count: 1 });
    }
    if verified.snapshots == 0 && verified.findings.is_empty() {
        progress.notice(Notice::Remark("the store holds no snapshots yet".to_owned()));
    }
    Ok(verified)
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
