//! What `larder snapshot` prints as JSON.

use schemars::JsonSchema;
use serde::Serialize;

use super::output::SnapshotJson;

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
    /// Folders that cannot be read.
    pub(super) unreadable: u64,
}
