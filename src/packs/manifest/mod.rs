//! `manifest.json`: what stands first in a pack (pack-format.md, section 3). The types that are written are those that are read, and
//! those whose schema `larder schema pack` prints.

mod read;
mod text;
mod write;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Body, Manifest as Snapshot, SnapshotId};

pub use read::{Head, ManifestError, Piece, Tail, read_manifest};
pub use text::{HexBytes, Text, Time};
pub(super) use write::{write_end, write_item, write_start};

/// The version that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The whole of a manifest. For its schema alone: its inventory is never held.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackManifest {
    /// 1.
    pub schema_version: u32,
    /// The rules that the archive follows: `tar-v1`, `zip-v1` or `dir-v1`.
    pub form: String,
    /// The name of the pack's folder.
    pub name: String,
    /// What the snapshot says of itself.
    pub snapshot: SnapshotInfo,
    /// Of a pack of parts: their paths. Absent if the whole snapshot is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<Text>>,
    /// All that is selected, in the order of the archive, what the form leaves out too.
    pub inventory: Vec<Item>,
    /// Sums over the inventory.
    pub totals: Totals,
    /// What stock tools do not get out of this form.
    pub losses: Vec<LossInfo>,
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotInfo {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The series that it belongs to.
    pub dataset: String,
    /// Which entry of the store's arrival log it was.
    pub sequence: u64,
    /// When the store acknowledged it.
    pub arrival: Time,
    /// manual, scheduled, import, safety, pre or post.
    pub kind: String,
    /// The id of the snapshot before it in its dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The id of the root's first page: equal trees of one store have equal ones.
    pub tree: String,
    /// Files.
    pub files: u64,
    /// The root not counted.
    pub folders: u64,
    /// Symlinks, devices, pipes.
    pub others: u64,
    /// Sum of the sizes of all files.
    pub bytes: u64,
    /// Items that could not be read when it was captured, and are missing.
    pub unreadable: u64,
    /// Files that changed while they were read.
    pub changed: u64,
    /// When the capture began, by the clock of the machine that captured.
    pub client_time: Time,
    /// The machine that captured.
    pub host: String,
    /// The user who captured.
    pub user: String,
    /// The program that captured, with its version.
    pub program: String,
    /// The paths that were captured; none of a stream.
    pub sources: Vec<Text>,
    /// The commit that was checked out in the source, where it was a git work tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// Why it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Things outside the store that the snapshot speaks of. They are not in the pack.
    pub references: Vec<ReferenceInfo>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Which one of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_ref: Option<String>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// What set it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_source: Option<String>,
    /// Version of what analysed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyzer_version: Option<String>,
    /// Version of the rules it was analysed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_version: Option<String>,
    /// Where the subject came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<String>,
    /// It was asked at capture that it be kept for good.
    pub immutable: bool,
    /// Which retention policy applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_class: Option<String>,
    /// Figures: a string that holds JSON, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Anything else: a string that holds JSON, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Of what was imported: where it came from; a string that holds JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// Something outside the store that a snapshot speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceInfo {
    /// Its name within the snapshot.
    pub key: String,
    /// Where it is.
    pub uri: String,
    /// As `sha256=` and hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Whether the hash was compared at capture, and held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// What an item of the inventory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symlink.
    Symlink,
    /// A pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

impl ItemKind {
    /// What an entry with this body is.
    #[must_use]
    pub fn of(body: &Body) -> Self {
        match body {
            Body::File(_) => Self::File,
            Body::Folder(_) => Self::Folder,
            Body::Symlink(_) => Self::Symlink,
            Body::Fifo => Self::Fifo,
            Body::Socket => Self::Socket,
            Body::CharDevice(..) => Self::Char,
            Body::BlockDevice(..) => Self::Block,
        }
    }
}

/// An item of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    /// Names from the root of the snapshot, joined by `/`; the root's is empty.
    pub path: Text,
    /// What it is.
    pub kind: ItemKind,
    /// Permission, set-id and sticky bits: four octal digits.
    pub mode: String,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Text>,
    /// Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Text>,
    /// When the content was changed.
    pub mtime: Time,
    /// When it was made, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btime: Option<Time>,
    /// Names and values, ascending by name; ACLs among them in the kernel's form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<(Text, Text)>,
    /// Of a file: bytes, holes counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Of a file: BLAKE3 of the content, holes as zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// Of a file: offset and length of each hole, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<(u64, u64)>,
    /// Of what has or had several names: the path of the first of them in this pack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Text>,
    /// Of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Text>,
    /// Of a device: major and minor number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
    /// Its name below the pack's folder, if that is not `content/` and the path; null if it is not in the archive.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "or_null")]
    #[schemars(with = "Option<String>")]
    pub member: Option<Option<String>>,
}

/// A member that may be absent, null or there: in JSON these are three things.
#[allow(clippy::option_option, clippy::ref_option)]
mod or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Option<String>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(from).map(Some)
    }
}

/// Sums over an inventory, each item as often as it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// All items.
    pub items: u64,
    /// Files.
    pub files: u64,
    /// Folders, the root among them.
    pub folders: u64,
    /// Symlinks, devices, pipes, sockets.
    pub others: u64,
    /// The sum of the files' sizes, those of further names too.
    pub bytes: u64,
}

impl Totals {
    /// Counts an item.
    pub fn add(&mut self, kind: ItemKind, size: u64) {
        self.items += 1;
        match kind {
            ItemKind::File => self.files += 1,
            ItemKind::Folder => self.folders += 1,
            _ => self.others += 1,
        }
        self.bytes = self.bytes.saturating_add(size);
    }

    /// Adds the sums of what comes behind.
    pub fn append(&mut self, more: &Self) {
        self.items += more.items;
        self.files += more.files;
        self.folders += more.folders;
        self.others += more.others;
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// A sort of thing that stock tools do not get out of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossInfo {
    /// `owners`, `times`, `attributes`, `holes`, `hard-links`, `special`, `names` or `case`.
    pub sort: String,
    /// What becomes of it.
    pub what: String,
    /// How many items have it.
    pub items: u64,
    /// The first few of them, for people; none of what nearly every item has.
    pub examples: Vec<String>,
}

impl SnapshotInfo {
    /// What a pack says of a snapshot.
    #[must_use]
    pub fn new(id: SnapshotId, of: &Snapshot) -> Self {
        let (sums, evidence) = (&of.statistics, of.evidence.clone());
        let reference = |r: &crate::model::Reference| ReferenceInfo {
            key: r.key.clone(),
            uri: r.uri.clone(),
            hash: r.hash.clone(),
            verified: r.verified,
        };
        Self {
            id: id.to_string(),
            dataset: of.dataset.to_string(),
            sequence: of.sequence,
            arrival: Time(of.arrival),
            kind: of.kind.to_string(),
            parent: of.parent.map(|parent| parent.to_string()),
            tree: of.root.folder().map_or_else(String::new, |tree| tree.page.to_string()),
            files: sums.files,
            folders: sums.folders,
            others: sums.others,
            bytes: sums.bytes,
            unreadable: sums.unreadable,
            changed: sums.changed,
            client_time: Time(of.client_time),
            host: of.host.clone(),
            user: of.user.clone(),
            program: of.program.clone(),
            sources: of.sources.iter().map(|path| Text::new(path)).collect(),
            git_revision: of.git_revision.clone(),
            reason: of.reason.clone(),
            labels: of.labels.iter().cloned().collect(),
            references: of.references.iter().map(reference).collect(),
            scope: evidence.scope,
            scope_ref: evidence.scope_ref,
            initiator: evidence.initiator,
            trigger_source: evidence.trigger_source,
            analyzer_version: evidence.analyzer_version,
            rule_version: evidence.rule_version,
            source_ref: evidence.source_ref,
            immutable: evidence.immutable,
            retention_class: evidence.retention_class,
            metrics: evidence.metrics,
            payload: evidence.payload,
            origin: of.origin().map(str::to_owned),
        }
    }
}
