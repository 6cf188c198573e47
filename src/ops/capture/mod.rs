//! Capture: a folder of the host, or a stream, becomes a snapshot.
//!
//! Four stages run at once. The *walk* (this thread) goes through the folders in preorder, leaves out what rules leave
//! out and compares with the capture cache; small files that must be read are gathered into groups of about a block. A
//! rayon task per *group* reads, hashes, drops what the store has, compresses and seals. Long files are *streamed*: this
//! thread reads and cuts, rayon tasks do the rest. The *tree* thread takes everything in preorder, waits for what a group
//! owes it, and builds pages. All queues are bounded.

mod cache;
mod error;
mod estimate;
mod exclude;
mod file_systems;
mod frame;
mod group;
pub(crate) mod ignore_files;
mod intake;
mod kept;
mod listing;
pub(in crate::ops) mod lists;
mod options;
mod piped;
mod roots;
mod rules;
mod stream;
mod taker;
mod tree;
mod unchanged;
mod walk;

use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, bounded};

use crate::format::records_of;
use crate::model::{Body, Counts, DatasetName, Manifest, Name, Notice, Progress, Role, SnapshotId, Timestamp, TreeRef};
use crate::store::{NewSnapshot, Store, StoreError, Writer};

pub use error::CaptureError;
pub use estimate::{Estimate, estimate};
pub use intake::{About, Intake, intake};
pub use options::{CaptureOptions, LeaveOut, Source};
pub(in crate::ops) use rules::Rules;

use cache::OldCache;
use exclude::Exclude;
use tree::TreeOutcome;

/// Moments that a capture asks for.
pub type Clock<'a> = &'a (dyn Fn() -> Timestamp + Sync);

/// What a capture came to.
#[derive(Debug)]
pub struct Captured {
    /// The snapshot that stands for the source: a new one, or the dataset's newest if nothing has changed since.
    pub id: SnapshotId,
    /// Its manifest.
    pub manifest: Manifest,
    /// No snapshot was made: it would have been equal.
    pub unchanged: bool,
    /// Items left out by a rule; what is below a folder that is left out is not counted.
    pub left_out: u64,
}

/// Captures a source into a snapshot. When this returns, the snapshot survives a power cut.
///
/// Items that cannot be read are noticed, counted in the statistics and left out.
///
/// # Errors
/// If the source cannot be opened at all, the store fails, or the user stops it; then there is no snapshot.
pub fn capture(
    store: &Store,
    source: Source,
    options: CaptureOptions,
    progress: &dyn Progress,
    clock: Clock,
) -> Result<Captured, CaptureError> {
    let client_time = clock();
    let exclude = Exclude::new(&options.leave_out.patterns)?;
    let plan = match source {
        Source::Paths(paths) => Plan::Walk(roots::Roots::open(&paths, store.dir())?),
        Source::Stream(name, reader) => Plan::Stream(name, reader),
    };
    let (sources, git_revision, missing) = match &plan {
        Plan::Walk(roots) => (roots.sources(), roots.git_revision(), roots.tell_missing(progress)),
        Plan::Stream(..) => (Vec::new(), None, 0),
    };
    let mut writer = writer(store, &options, progress)?;
    writer.set_check(options.check_blocks);
    // One that cannot be read is as good as none here; verify tells of it.
    let newest = writer.newest(&options.dataset).ok().flatten();
    refuse_records(newest.as_ref(), &options.dataset)?;
    if options.skip_if_unchanged && store.keyring().role() == Role::Writer {
        let text = "a writer key cannot read the newest snapshot: one is made whether anything has changed or not";
        progress.notice(Notice::Remark(text.to_owned()));
    }
    if let Some((_, before)) = &newest {
        tell_other_source(before, &options, &sources, progress);
    }
    let newest = if options.skip_if_unchanged { store.newest_own(&options.dataset).ok().flatten() } else { None };
    let newest = newest.map(|newest| unchanged::Newest::new(&writer, newest));
    let cache_file = cache::CacheFile::new(store, &options.dataset);
    let open_cache = || OldCache::open(store, &cache_file, |n| writer.log_hash(n), writer.gc_generation());
    let old = if options.force_read { None } else { open_cache() };
    let setting = Setting { store, progress, clock, options: &options, exclude: &exclude };
    let pipeline = Pipeline { setting, writer: &writer, newest: newest.as_ref() };
    let (outcome, left_out) = match pipeline.run(plan, old, &cache_file) {
        Ok(outcome) => outcome,
        Err(CaptureError::Store(e)) => {
            // A failing disk shows first as "writing has failed before": tell the reason instead.
            return Err(writer.failure().unwrap_or(e).into());
        }
        Err(e) => return Err(e),
    };
    if progress.cancelled() {
        return Err(CaptureError::Interrupted);
    }
    tell_unmet(&exclude, &options.leave_out.expected, progress);
    let TreeOutcome { root, links, mut statistics, cache } = outcome;
    statistics.unreadable += missing;
    if let Some(newest) = newest.filter(|newest| newest.equals(&root, links.as_ref(), &statistics)) {
        let log_hash = writer.log_hash(newest.manifest.sequence)?;
        drop(writer);
        if let (Some(cache), Some(hash)) = (cache, log_hash) {
            keep_cache(cache.finish(store, newest.manifest.sequence, hash), progress);
        }
        return Ok(Captured { id: newest.id, manifest: newest.manifest, unchanged: true, left_out });
    }
    let new = NewSnapshot {
        kind: options.kind,
        dataset: options.dataset,
        root,
        links,
        statistics,
        client_time,
        host: options.who.0,
        user: options.who.1,
        program: options.who.2,
        sources,
        git_revision,
        reason: options.reason,
        labels: options.labels,
        references: options.references,
        evidence: options.evidence,
        origin: None,
        records: None,
    };
    let info = writer.commit(new, clock())?;
    if let Some(cache) = cache {
        keep_cache(cache.finish(store, info.manifest.sequence, info.log_hash), progress);
    }
    Ok(Captured { id: info.id, manifest: info.manifest, unchanged: false, left_out })
}

/// The store's writer, waited for if another has the lock.
fn writer(store: &Store, options: &CaptureOptions, progress: &dyn Progress) -> Result<Writer, CaptureError> {
    let told = AtomicBool::new(false);
    Ok(store.writer(options.waiting, &|| {
        if !told.swap(true, Ordering::Relaxed) {
            let text = "another larder is writing to this store; waiting for it".to_owned();
            progress.notice(Notice::Remark(text));
        }
        !progress.cancelled()
    })?)
}

/// What is captured does not follow upon records: nobody would find them any more.
fn refuse_records(newest: Option<&(SnapshotId, Manifest)>, dataset: &DatasetName) -> Result<(), CaptureError> {
    let has_records = newest.is_some_and(|(_, manifest)| !matches!(records_of(manifest), Ok(None)));
    if has_records { Err(CaptureError::Records(dataset.clone())) } else { Ok(()) }
}

/// Tells that the dataset's newest snapshot is of another source: two folders of one name make one series by mistake.
fn tell_other_source(before: &Manifest, options: &CaptureOptions, sources: &[Vec<u8>], progress: &dyn Progress) {
    if before.sources == sources && before.host == options.who.0 {
        return;
    }
    let shown: Vec<_> = before.sources.iter().map(|path| String::from_utf8_lossy(path)).collect();
    let what = if shown.is_empty() { "a stream".to_owned() } else { shown.join(", ") };
    let text = format!("the snapshot before in the dataset {} is of {what} on {}", options.dataset, before.host);
    progress.notice(Notice::Remark(text));
}

/// Only time is lost if the cache could not be kept.
fn keep_cache(kept: std::io::Result<()>, progress: &dyn Progress) {
    if let Err(e) = kept {
        progress.notice(Notice::Remark(format!("the capture cache could not be kept: {e}")));
    }
}

/// Tells which patterns fitted nothing.
fn tell_unmet(exclude: &Exclude, expected: &HashSet<String>, progress: &dyn Progress) {
    for pattern in exclude.unmet(expected) {
        let why = if pattern.starts_with('/') {
            "; a pattern that begins with / counts from the root of the snapshot"
        } else {
            ""
        };
        progress.notice(Notice::Remark(format!("nothing was found that fits the pattern {pattern:?}{why}")));
    }
}

enum Plan {
    Walk(roots::Roots),
    Stream(Name, Box<dyn Read + Send>),
}

/// What a walk needs to know.
#[derive(Clone, Copy)]
struct Setting<'a> {
    store: &'a Store,
    progress: &'a dyn Progress,
    clock: Clock<'a>,
    options: &'a CaptureOptions,
    exclude: &'a Exclude,
}

/// What the stages share.
struct Pipeline<'a> {
    setting: Setting<'a>,
    writer: &'a Writer,
    /// The snapshot to compare with, if none is to be made that equals it.
    newest: Option<&'a unchanged::Newest>,
}

impl Pipeline<'_> {
    /// Gives the tree, and how many items were left out by a rule.
    fn run(
        &self,
        plan: Plan,
        old: Option<OldCache>,
        cache_file: &cache::CacheFile,
    ) -> Result<(TreeOutcome, u64), CaptureError> {
        // More than a group holds, or groups would be sent on before they are full.
        let (events, to_build) = bounded(4 * group::GROUP_FILES);
        // As many groups as can be under way: sends to it never block.
        let (group_results, groups) = bounded(1024);
        let leftover = group::Leftover::default();
        let walked_all = AtomicBool::new(false);
        let progress = self.setting.progress;
        let built = std::thread::scope(|threads| {
            let cache =
                matches!(plan, Plan::Walk(_)).then(|| cache::NewCache::create(self.writer, cache_file)).flatten();
            if let (Plan::Walk(roots), true) = (&plan, progress.wants_totals()) {
                let (paths, stop) = (roots.paths(), &walked_all);
                threads.spawn(move || roots::count(&paths, progress, stop));
            }
            let tree = tree::TreeThread::new(self, to_build, groups, cache);
            let tree = threads.spawn(move || tree.run());
            let walked = rayon::in_place_scope(|tasks| {
                let reading = group::Reading::new(self, tasks, &leftover, group_results);
                let taker = taker::Capturing { reading, events };
                match plan {
                    Plan::Walk(roots) => walk::Walk::new(self.setting, taker, old).run(roots).map(|(_, left)| left),
                    Plan::Stream(name, reader) => piped::one_file(self, taker, name, reader).map(|()| 0),
                }
            });
            walked_all.store(true, Ordering::Relaxed);
            let built = tree.join().map_err(|_| CaptureError::Died("the tree thread"))?;
            match (walked, built) {
                // The tree thread's error is the cause of the walk's, unless it found only that the walk had ended.
                (Err(e), Err(CaptureError::Died(_))) => Err(e),
                (_, Err(e)) => Err(e),
                (Err(e), _) => Err(e),
                (Ok(left_out), Ok(built)) => Ok((built.ok_or(CaptureError::Died("the walk"))?, left_out)),
            }
        })?;
        leftover.flush(self.writer)?;
        Ok(built)
    }
}

/// A folder's body while its tree is not yet known.
fn no_tree() -> Body {
    Body::Folder(TreeRef { page: crate::model::PageId::from_bytes([0; 32]), counts: Counts::default() })
}

type Outcomes = Receiver<Result<Vec<Result<group::ReadFile, group::Unread>>, StoreError>>;
