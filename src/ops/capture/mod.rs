//! Capture: a folder of the host, or a stream, becomes a snapshot.
//!
//! Four stages run at once. The *walk* (this thread) goes through the folders in preorder and compares with the capture
//! cache; small files that must be read are gathered into groups of about a block. A rayon task per *group* reads,
//! hashes, drops what the store has, compresses and seals. Long files are *streamed*: this thread reads and cuts, rayon
//! tasks do the rest. The *tree* thread takes everything in preorder, waits for what a group owes it, and builds pages.
//! All queues are bounded.

mod cache;
mod exclude;
mod group;
mod lists;
mod owners;
mod roots;
mod stream;
mod tree;
mod walk;

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::model::{
    Body, Counts, DatasetName, Entry, Evidence, Failure, Kind, Name, Progress, Reference, SnapshotKind, Timestamp,
    TreeRef, Xattrs,
};
use crate::store::{CommitInfo, NewSnapshot, Store, StoreError, Waiting};

use cache::OldCache;
use exclude::Exclude;
use tree::TreeOutcome;

/// What is captured.
pub enum Source {
    /// One folder, which becomes the root; or several paths, each at its absolute path.
    Paths(Vec<PathBuf>),
    /// A stream, which becomes a file of that name in an otherwise empty root.
    Stream(Name, Box<dyn Read + Send>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paths(paths) => write!(f, "Paths({paths:?})"),
            Self::Stream(name, _) => write!(f, "Stream({name:?})"),
        }
    }
}

/// How to capture.
#[derive(Debug)]
pub struct CaptureOptions {
    /// Series it belongs to.
    pub dataset: DatasetName,
    /// Patterns of what to leave out, as in .gitignore.
    pub exclude: Vec<String>,
    /// Do not go into other file systems.
    pub one_file_system: bool,
    /// Read all files, whatever the cache says.
    pub force_read: bool,
    /// Decode each block and compare before it is written.
    pub check_blocks: bool,
    /// Wait for another writer or not.
    pub waiting: Waiting,
    /// Why the snapshot is made.
    pub kind: SnapshotKind,
    /// Free text.
    pub reason: Option<String>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// References.
    pub references: Vec<Reference>,
    /// Evidence fields.
    pub evidence: Evidence,
    /// Machine, user and program, as the manifest records them.
    pub who: (String, String, String),
}

/// What stops a capture. Items that cannot be read do not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The source cannot be opened.
    #[error("cannot capture {}: {why}", path.display())]
    Source {
        /// Which path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A pattern makes no sense.
    #[error("the pattern {pattern:?} makes no sense: {why}")]
    Pattern {
        /// Which one.
        pattern: String,
        /// Why.
        why: String,
    },
    /// The stream broke off.
    #[error("the stream could not be read to its end: {0}")]
    Stream(String),
    /// The user stopped it.
    #[error("interrupted; no snapshot was made")]
    Interrupted,
    /// A part of this program died.
    #[error("a part of the capture died: {0}")]
    Died(&'static str),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for CaptureError {
    fn kind(&self) -> Kind {
        match self {
            Self::Source { .. } => Kind::Failed,
            Self::Pattern { .. } => Kind::Usage,
            Self::Stream(_) | Self::Died(_) => Kind::Failed,
            Self::Interrupted => Kind::Interrupted,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(e) => e.hint(),
            Self::Interrupted => Some("what was stored so far is found again by the next capture".to_owned()),
            _ => None,
        }
    }
}

/// Moments that a capture asks for.
pub type Clock<'a> = &'a (dyn Fn() -> Timestamp + Sync);

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
) -> Result<CommitInfo, CaptureError> {
    let client_time = clock();
    let exclude = Exclude::new(&options.exclude)?;
    let plan = match source {
        Source::Paths(paths) => Plan::Walk(roots::Roots::open(&paths)?),
        Source::Stream(name, reader) => Plan::Stream(name, reader),
    };
    let (sources, git_revision) = match &plan {
        Plan::Walk(roots) => (roots.sources(), roots.git_revision()),
        Plan::Stream(..) => (Vec::new(), None),
    };
    let told = AtomicBool::new(false);
    let mut writer = store.writer(options.waiting, &|| {
        if !told.swap(true, Ordering::Relaxed) {
            let text = "another larder is writing to this store; waiting for it".to_owned();
            progress.notice(crate::model::Notice::Remark(text));
        }
        !progress.cancelled()
    })?;
    writer.set_check(options.check_blocks);
    let cache_file = cache::CacheFile::new(store, &options.dataset);
    let old = if options.force_read { None } else { OldCache::open(&writer, &cache_file) };
    let pipeline = Pipeline { store, writer: &writer, progress, clock, options: &options, exclude: &exclude };
    let outcome = match pipeline.run(plan, old, &cache_file) {
        Ok(outcome) => outcome,
        Err(CaptureError::Store(e)) => {
            // A failing disk shows first as "writing has failed before": tell the reason instead.
            return Err(writer.failure().unwrap_or(e).into());
        }
        Err(e) => return Err(e),
    };
    let new = NewSnapshot {
        kind: options.kind,
        dataset: options.dataset,
        root: outcome.root,
        links: outcome.links,
        statistics: outcome.statistics,
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
    };
    if progress.cancelled() {
        return Err(CaptureError::Interrupted);
    }
    let info = writer.commit(new, clock())?;
    if let Some(cache) = outcome.cache {
        // Only time is lost if this fails.
        if let Err(e) = cache.finish(store, &info) {
            progress.notice(crate::model::Notice::Remark(format!("the capture cache could not be kept: {e}")));
        }
    }
    Ok(info)
}

enum Plan {
    Walk(roots::Roots),
    Stream(Name, Box<dyn Read + Send>),
}

/// What the stages share.
struct Pipeline<'a> {
    store: &'a Store,
    writer: &'a crate::store::Writer,
    progress: &'a dyn Progress,
    clock: Clock<'a>,
    options: &'a CaptureOptions,
    exclude: &'a Exclude,
}

impl Pipeline<'_> {
    fn run(
        &self,
        plan: Plan,
        old: Option<OldCache>,
        cache_file: &cache::CacheFile,
    ) -> Result<TreeOutcome, CaptureError> {
        // More than a group holds, or groups would be sent on before they are full.
        let (events, to_build) = bounded(4 * group::GROUP_FILES);
        // As many groups as can be under way: sends to it never block.
        let (group_results, groups) = bounded(1024);
        let leftover = group::Leftover::default();
        let walked_all = AtomicBool::new(false);
        let built = std::thread::scope(|threads| {
            let cache =
                matches!(plan, Plan::Walk(_)).then(|| cache::NewCache::create(self.writer, cache_file)).flatten();
            if let (Plan::Walk(roots), true) = (&plan, self.progress.wants_totals()) {
                let (paths, stop) = (roots.paths(), &walked_all);
                threads.spawn(move || roots::count(&paths, self.progress, stop));
            }
            let tree = tree::TreeThread::new(self, to_build, groups, cache);
            let tree = threads.spawn(move || tree.run());
            let walked = rayon::in_place_scope(|tasks| {
                let reading = group::Reading::new(self, tasks, &leftover, group_results);
                match plan {
                    Plan::Walk(roots) => walk::Walk::new(self, reading, events, old).run(roots),
                    Plan::Stream(name, reader) => self.stream_only(reading, &events, name, reader),
                }
            });
            walked_all.store(true, Ordering::Relaxed);
            let built = tree.join().map_err(|_| CaptureError::Died("the tree thread"))?;
            match (walked, built) {
                // The tree thread's error is the cause of the walk's.
                (_, Err(e)) => Err(e),
                (Err(e), _) => Err(e),
                (Ok(()), Ok(built)) => built.ok_or(CaptureError::Died("the walk")),
            }
        })?;
        leftover.flush(self.writer)?;
        Ok(built)
    }

    /// A root with one file: a stream.
    fn stream_only(
        &self,
        mut reading: group::Reading,
        events: &Sender<tree::Event>,
        name: Name,
        mut reader: Box<dyn Read + Send>,
    ) -> Result<(), CaptureError> {
        let now = (self.clock)();
        let mut owners = owners::Owners::default();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let entry = |name, mode, body, owners: &mut owners::Owners| Entry {
            name,
            bits: crate::model::Bits::default(),
            mode,
            uid,
            gid,
            user: owners.user(uid),
            group: owners.group(gid),
            mtime: now,
            btime: None,
            xattrs: Xattrs::None,
            link: None,
            body,
            ext: Vec::new(),
        };
        let gone = |_| CaptureError::Died("the tree thread");
        events.send(tree::Event::Enter(entry(Name::root(), 0o755, no_tree(), &mut owners), None)).map_err(gone)?;
        let body = reading.stream(&mut stream::FromReader::new(&mut reader))?;
        let file = entry(name, 0o644, Body::File(body), &mut owners);
        events.send(tree::Event::Ready { entry: file, mark: None, keep: None }).map_err(gone)?;
        events.send(tree::Event::Leave).map_err(gone)
    }
}

/// A folder's body while its tree is not yet known.
fn no_tree() -> Body {
    Body::Folder(TreeRef { page: crate::model::PageId::from_bytes([0; 32]), counts: Counts::default() })
}

type Outcomes = Receiver<Vec<Result<group::ReadFile, String>>>;
