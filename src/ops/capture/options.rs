//! What a capture is told.

use std::collections::HashSet;
use std::io::Read;
use std::path::PathBuf;

use crate::model::{DatasetName, Evidence, Name, Reference, SnapshotKind};
use crate::store::Waiting;

/// Bytes of a long file in one block, unless told otherwise.
pub(super) const BLOCK_SIZE: usize = 1 << 20;

/// What is captured.
pub enum Source {
    /// One folder, which becomes the root; or several paths, each at its absolute path.
    Paths(Vec<PathBuf>),
    /// A stream, which becomes a file of that name in an otherwise empty root. Only a stream that ends without an error
    /// is captured; an error's text is told as it is.
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

/// What of the source is left out on purpose.
#[derive(Debug, Clone, Default)]
pub struct LeaveOut {
    /// Patterns as in .gitignore, counted from the root. What they say goes before all else.
    pub patterns: Vec<String>,
    /// Those of them that someone wrote for this one capture: it is told if nothing fits them.
    pub expected: HashSet<String>,
    /// Honour the `.larderignore` files of the source.
    pub ignore_files: bool,
    /// Honour its `.gitignore` files too.
    pub gitignore: bool,
    /// Of a folder that holds an entry of such a name, only that entry is captured.
    pub if_present: Vec<Name>,
    /// The same for a `CACHEDIR.TAG` whose content begins with its signature.
    pub caches: bool,
    /// Files of more bytes.
    pub larger_than: Option<u64>,
}

/// How to capture.
#[derive(Debug)]
pub struct CaptureOptions {
    /// Series it belongs to.
    pub dataset: DatasetName,
    /// What to leave out.
    pub leave_out: LeaveOut,
    /// Do not go into other file systems.
    pub one_file_system: bool,
    /// Read all files, whatever the cache says.
    pub force_read: bool,
    /// Make no snapshot that would be equal to the dataset's newest.
    pub skip_if_unchanged: bool,
    /// Bytes of a long file that are compressed as one block, at least; a chunk is never divided. The smaller, the sooner a few
    /// bytes from the middle are had, and the larger the store.
    pub block_size: usize,
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

impl CaptureOptions {
    /// Of a dataset, with nothing asked for.
    #[must_use]
    pub fn new(dataset: DatasetName) -> Self {
        Self {
            dataset,
            leave_out: LeaveOut::default(),
            one_file_system: false,
            force_read: false,
            skip_if_unchanged: false,
            block_size: BLOCK_SIZE,
            check_blocks: true,
            waiting: Waiting::Wait,
            kind: SnapshotKind::Manual,
            reason: None,
            labels: Vec::new(),
            references: Vec::new(),
            evidence: Evidence::default(),
            who: Default::default(),
        }
    }
}
