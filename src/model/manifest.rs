//! What a snapshot is, and what the arrival log and datasets say about it.

use std::fmt;
use std::str::FromStr;

use super::page::LinkCounts;
use super::{DatasetKey, DatasetName, Digest, Entry, Ext, KeyName, PageId, SnapshotId, Timestamp};

/// Why a snapshot was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotKind {
    /// By hand.
    Manual,
    /// By a scheduler.
    Scheduled,
    /// From a pack or records.
    Import,
    /// Before something risky.
    Safety,
    /// Before a change.
    Pre,
    /// After a change.
    Post,
}

impl SnapshotKind {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Manual, "manual"),
        (Self::Scheduled, "scheduled"),
        (Self::Import, "import"),
        (Self::Safety, "safety"),
        (Self::Pre, "pre"),
        (Self::Post, "post"),
    ];

    /// The words for all of them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(_, name)| *name)
    }

    /// The word used in the CLI and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("manual", |(_, name)| name)
    }
}

impl fmt::Display for SnapshotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SnapshotKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(kind, _)| *kind)
            .ok_or_else(|| format!("{text:?} is none of manual, scheduled, import, safety, pre, post"))
    }
}

/// Sums over a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Files.
    pub files: u64,
    /// Folders, the root not counted.
    pub folders: u64,
    /// Symlinks, devices, pipes.
    pub others: u64,
    /// Sum of file sizes.
    pub bytes: u64,
    /// Plain bytes of chunks and pages that were new to the store.
    pub new_bytes: u64,
    /// What they take, compressed and sealed.
    pub stored_bytes: u64,
    /// Items that could not be read and are missing.
    pub unreadable: u64,
    /// Files that changed while they were read.
    pub changed: u64,
}

/// Something outside the store that the snapshot speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Name within the snapshot.
    pub key: String,
    /// Where it is.
    pub uri: String,
    /// Its hash, as `algorithm=hex`.
    pub hash: Option<String>,
    /// Whether the hash was checked, and held.
    pub verified: Option<bool>,
}

/// Fields that evidence snapshots carry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// What the snapshot is about.
    pub scope: Option<String>,
    /// Which one of those.
    pub scope_ref: Option<String>,
    /// Who asked for it.
    pub initiator: Option<String>,
    /// What set it off.
    pub trigger_source: Option<String>,
    /// Version of the analyser.
    pub analyzer_version: Option<String>,
    /// Version of its rules.
    pub rule_version: Option<String>,
    /// Where the subject came from.
    pub source_ref: Option<String>,
    /// Asks that it be kept for good.
    pub immutable: bool,
    /// Which retention policy applies.
    pub retention_class: Option<String>,
    /// Figures, as JSON.
    pub metrics: Option<String>,
    /// Anything else, as JSON.
    pub payload: Option<String>,
}

/// Root of the map of hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinksRef {
    /// Root page.
    pub page: PageId,
    /// Sums over it.
    pub counts: LinkCounts,
}

/// The immutable description of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Given by the store, from 1.
    pub sequence: u64,
    /// Hash of the log entry before.
    pub previous: Digest,
    /// When it arrived, by the clock of the store's machine.
    pub arrival: Timestamp,
    /// Why it was made.
    pub kind: SnapshotKind,
    /// Which series it belongs to.
    pub dataset: DatasetName,
    /// The one before it in the series.
    pub parent: Option<SnapshotId>,
    /// The root folder: empty name, its metadata, its tree.
    pub root: Entry,
    /// Map of hard links, if there are any.
    pub links: Option<LinksRef>,
    /// Sums.
    pub statistics: Statistics,
    /// When the capture began, by the client's clock.
    pub client_time: Timestamp,
    /// Which machine captured.
    pub host: String,
    /// Which user.
    pub user: String,
    /// Which program and version.
    pub program: String,
    /// Paths as captured.
    pub sources: Vec<Vec<u8>>,
    /// Commit of the source, where it is a git work tree.
    pub git_revision: Option<String>,
    /// Free text.
    pub reason: Option<String>,
    /// Key and value, ascending by key.
    pub labels: Vec<(String, String)>,
    /// Things outside the store.
    pub references: Vec<Reference>,
    /// Evidence fields.
    pub evidence: Evidence,
    /// What later versions add.
    pub ext: Ext,
}

impl Manifest {
    /// Tag in `ext` of where it comes from.
    pub const ORIGIN: u32 = 1;
    /// Tag in `ext` of what a record dataset keeps beside its tree.
    pub const RECORDS: u32 = 2;

    /// Where it comes from, if it was not captured: a JSON object.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        let (_, bytes) = self.ext.iter().find(|(tag, _)| *tag == Self::ORIGIN)?;
        std::str::from_utf8(bytes).ok()
    }
}

/// What a log entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// A snapshot arrived.
    Snapshot,
    /// A snapshot was given up.
    Forget,
    /// A hold was set or lifted.
    Hold,
    /// A policy changed.
    Policy,
    /// A key was added or removed.
    KeyChange,
    /// Entries are lost for good, and an owner has accepted that.
    Loss,
}

/// One entry of the arrival log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// What happened.
    pub kind: LogKind,
    /// Which entry this is, from 1.
    pub sequence: u64,
    /// When, by the clock of the store's machine.
    pub arrival: Timestamp,
    /// Dataset concerned; zeros if none.
    pub dataset: DatasetKey,
    /// Snapshot concerned; zeros if none.
    pub manifest: SnapshotId,
    /// Hash of the entry before; zeros for the first.
    pub previous: Digest,
    /// Key whose holder wrote.
    pub writer: KeyName,
    /// What later versions add.
    pub ext: Ext,
}

/// What the store keeps of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRecord {
    /// Sequence of its newest snapshot.
    pub head: u64,
    /// That snapshot.
    pub manifest: SnapshotId,
    /// Snapshots that ever arrived.
    pub count: u64,
    /// The name, sealed.
    pub name: Vec<u8>,
    /// What later versions add.
    pub ext: Ext,
}
