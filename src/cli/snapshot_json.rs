//! A snapshot as JSON, and what `larder snapshot` prints.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Manifest, SnapshotId, Timestamp};
use crate::snapshots::Hold;
use crate::store::SnapshotRow;

use super::hold_json::HoldJson;
use super::output::rfc3339;

/// A snapshot: the one shape that `snapshot`, `list` and `show` share.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SnapshotJson {
    /// 64 hexadecimal digits.
    id: String,
    /// Which entry of the arrival log it is.
    sequence: u64,
    dataset: String,
    /// When the store acknowledged it, by the clock of the machine that captured; RFC 3339, UTC.
    arrival: String,
    /// When it arrived by what catalog and owner keys vouch for; only `list` and `show` tell this and the two below.
    counted_as: Option<String>,
    /// The name of the key that wrote it, as `larder key list` has it; nothing in an unencrypted store.
    writer: Option<String>,
    /// The label of that key, its name if it has none; in words if the key was removed, or if the name is only claimed.
    written_by: Option<String>,
    /// manual, scheduled, import, safety, pre or post.
    kind: &'static str,
    /// The id of the snapshot before it in its dataset.
    parent: Option<String>,
    /// The id of the root's first page: equal trees have equal ones.
    tree: String,
    files: u64,
    /// The root not counted.
    folders: u64,
    /// Symlinks, devices, pipes.
    others: u64,
    /// Sum of the sizes of all files.
    bytes: u64,
    /// Bytes that the store did not have before, before compression.
    new_bytes: u64,
    /// What these take in the store.
    stored_bytes: u64,
    /// Items left out because they could not be read.
    unreadable: u64,
    /// Files that changed while they were read.
    changed: u64,
    /// When the capture began, by the clock of the machine that captured; RFC 3339, UTC.
    client_time: String,
    /// The machine that captured.
    host: String,
    /// The user who captured.
    user: String,
    /// The program that captured, with its version.
    program: String,
    /// The paths that were captured; none of a stream. Bytes that are not UTF-8 are replaced.
    sources: Vec<String>,
    /// The commit that was checked out in the source, where it is a git work tree.
    git_revision: Option<String>,
    reason: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
    /// Things outside the store that the snapshot speaks of.
    references: Vec<ReferenceJson>,
    /// What it is about.
    scope: Option<String>,
    /// Which one of those.
    scope_ref: Option<String>,
    /// Who asked for it.
    initiator: Option<String>,
    /// What set it off.
    trigger_source: Option<String>,
    analyzer_version: Option<String>,
    rule_version: Option<String>,
    /// Where the subject came from.
    source_ref: Option<String>,
    /// It was asked at capture that it be kept for good; of what a writer key asks, a catalog or owner key decides.
    immutable: bool,
    /// Which retention policy applies.
    retention_class: Option<String>,
    /// Figures.
    metrics: Option<serde_json::Value>,
    /// Anything else.
    payload: Option<serde_json::Value>,
    /// Where it comes from, if it was not captured but imported.
    origin: Option<serde_json::Value>,
    /// What `larder hold` set on it and nobody lifted, those too whose time is over.
    holds: Vec<HoldJson>,
}

/// Something outside the store that a snapshot speaks of.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReferenceJson {
    /// Its name within the snapshot.
    key: String,
    uri: String,
    /// As `sha256=` and hexadecimal digits.
    hash: Option<String>,
    /// True if the hash was compared at capture, and held.
    verified: Option<bool>,
}

impl SnapshotJson {
    pub(super) fn new<'a>(id: SnapshotId, m: &Manifest, holds: impl Iterator<Item = &'a Hold>) -> Self {
        let json = |text: &Option<String>| {
            text.as_ref().map(|t| serde_json::from_str(t).unwrap_or_else(|_| serde_json::Value::String(t.clone())))
        };
        let s = &m.statistics;
        Self {
            id: id.to_string(),
            sequence: m.sequence,
            dataset: m.dataset.to_string(),
            arrival: rfc3339(m.arrival),
            counted_as: None,
            writer: None,
            written_by: None,
            kind: m.kind.as_str(),
            parent: m.parent.map(|p| p.to_string()),
            tree: m.root.folder().map_or_else(String::new, |t| t.page.to_string()),
            files: s.files,
            folders: s.folders,
            others: s.others,
            bytes: s.bytes,
            new_bytes: s.new_bytes,
            stored_bytes: s.stored_bytes,
            unreadable: s.unreadable,
            changed: s.changed,
            client_time: rfc3339(m.client_time),
            host: m.host.clone(),
            user: m.user.clone(),
            program: m.program.clone(),
            sources: m.sources.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect(),
            git_revision: m.git_revision.clone(),
            reason: m.reason.clone(),
            labels: m.labels.iter().cloned().collect(),
            references: m
                .references
                .iter()
                .map(|r| ReferenceJson {
                    key: r.key.clone(),
                    uri: r.uri.clone(),
                    hash: r.hash.clone(),
                    verified: r.verified,
                })
                .collect(),
            scope: m.evidence.scope.clone(),
            scope_ref: m.evidence.scope_ref.clone(),
            initiator: m.evidence.initiator.clone(),
            trigger_source: m.evidence.trigger_source.clone(),
            analyzer_version: m.evidence.analyzer_version.clone(),
            rule_version: m.evidence.rule_version.clone(),
            source_ref: m.evidence.source_ref.clone(),
            immutable: m.evidence.immutable,
            retention_class: m.evidence.retention_class.clone(),
            metrics: json(&m.evidence.metrics),
            payload: json(&m.evidence.payload),
            origin: json(&m.origin().map(str::to_owned)),
            holds: holds.map(HoldJson::from).collect(),
        }
    }

    /// The same, with who wrote it and when it arrived, as far as that is borne out.
    pub(super) fn witnessed(self, row: &SnapshotRow, by: Option<String>, counted: Timestamp) -> Self {
        let writer = by.is_some().then(|| row.writer.to_string());
        Self { counted_as: Some(rfc3339(counted)), writer, written_by: by, ..self }
    }
}

/// A snapshot that was made, or the one that stands for what has not changed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CapturedJson {
    #[serde(flatten)]
    pub(super) snapshot: SnapshotJson,
    /// No snapshot was made: nothing has changed since this one.
    pub(super) skipped: bool,
    /// Items left out by a rule; what is below a folder that is left out is not counted.
    pub(super) left_out: u64,
}

/// What `larder snapshot --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SnapshotReportJson {
    /// Without `--dry-run`.
    Captured(Box<CapturedJson>),
    /// With it.
    DryRun(RehearsalJson),
}

/// A line of what `larder snapshot --dry-run --json` prints: each item that would be left out (none with `--quiet`), then the sums.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum RehearsalJson {
    /// An item that would be left out.
    LeftOut(LeftOutJson),
    /// The sums, last.
    Summary(DryRunJson),
}

/// An item that a capture would leave out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct LeftOutJson {
    /// Where it is; bytes that are not UTF-8 are replaced.
    pub(super) path: String,
    /// Why: for people, and not always in the same words.
    pub(super) why: String,
}

/// What a capture would find, as far as it can be told without reading files.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct DryRunJson {
    /// Always true.
    pub(super) dry_run: bool,
    pub(super) dataset: String,
    pub(super) files: u64,
    /// The root not counted.
    pub(super) folders: u64,
    /// Symlinks, devices, pipes.
    pub(super) others: u64,
    /// Sum of the sizes of all files.
    pub(super) bytes: u64,
    /// Files that are new or changed since the last capture of the dataset on this machine.
    pub(super) files_to_read: u64,
    /// Their bytes; some of them the store may have already.
    pub(super) bytes_to_read: u64,
    /// Items left out by a rule; what is below a folder that is left out is not counted.
    pub(super) left_out: u64,
    /// Folders that cannot be read, and files that may not be.
    pub(super) unreadable: u64,
}
