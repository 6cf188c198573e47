//! What `verify --json` prints.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Timestamp;
use crate::ops::verify::{LedgerKept, Touched, Verified};
use crate::store::{FalseEntry, Finding, LostEntry};

use super::output::rfc3339;

/// What was checked of a store and what was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VerifyJson {
    /// True if there are findings; then the exit status is 13.
    damaged: bool,
    snapshots: u64,
    pages: u64,
    /// Entries of folders. What several snapshots share is counted once.
    entries: u64,
    /// Blocks whose bytes were compared with their digests: all, unless the time was up before.
    blocks: u64,
    /// Bytes of those blocks in the store.
    block_bytes: u64,
    /// Blocks that the store has.
    all_blocks: u64,
    /// Blocks that were also opened and each item's id made anew: none without --read-data.
    opened_blocks: u64,
    /// Files of the database of which every part was compared with its checksum.
    database_files: u64,
    index_entries: u64,
    /// Files among the entries of which every byte was read: all of them with --read-data, else none. Damage may have
    /// hindered some.
    files_read: u64,
    /// Contents of several chunks that were also read from end to end, each once, whatever number of files has it: none
    /// without --read-data.
    long_contents: u64,
    /// Exchange records whose `content_sha256` was compared with their content; all with --read-data.
    records: u64,
    findings: Vec<FindingJson>,
    /// The snapshots that the findings touch.
    touched: Vec<TouchedJson>,
    /// Ids of the snapshots that can be had by these alone, since the log that lists them cannot be read.
    unlisted: Vec<String>,
    /// Entries of the arrival log that are lost for good, which an owner has accepted (`larder repair --accept-lost-entries`): no damage. Without a key it
    /// cannot be told whether it was an owner.
    void_entries: Vec<u64>,
    /// Entries of the arrival log that name another's snapshot, or one that is not as they say. They are not heeded, and no damage; a key may have been
    /// misused.
    false_entries: Vec<FalseEntryJson>,
    /// True if --budget was used up before all was looked at.
    cut_short: bool,
    /// What could not be looked at because there was no key; empty if there was one.
    not_checked: Vec<String>,
    /// When blocks were last looked at, this look counted; nothing without a key.
    ledger: Option<LedgerJson>,
}

/// When blocks were last looked at, as the store remembers it for the next look with a budget.
#[derive(Debug, Serialize, JsonSchema)]
struct LedgerJson {
    /// When the block that waits longest was last compared with its digest (RFC 3339); nothing if one never was.
    oldest_compared: Option<String>,
    /// Blocks that never were.
    never_compared: u64,
    /// When the block that waits longest was last opened; nothing if one never was.
    oldest_opened: Option<String>,
    /// Blocks that never were.
    never_opened: u64,
    /// Why this look was not noted, if it was not: another larder writes, there is damage, the store cannot be written to.
    not_kept: Option<String>,
}

/// A damaged object.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FindingJson {
    object: String,
    why: String,
    /// The number of the block of content it is, is in, or names.
    data_block: Option<u64>,
    /// The number of the block of pages it is, or is in.
    tree_block: Option<u64>,
}

/// A snapshot that damage touches.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TouchedJson {
    /// Its id.
    snapshot: String,
    /// Nothing if its manifest cannot be read.
    dataset: Option<String>,
    /// The first of the paths that are touched; bytes that are not UTF-8 are replaced.
    paths: Vec<String>,
    /// How many paths are touched.
    count: u64,
}

/// An entry of the arrival log that is false.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FalseEntryJson {
    sequence: u64,
    /// The id of the snapshot that it names.
    snapshot: String,
    /// The name of the key whose holder wrote it, as it says.
    writer: String,
    /// What shows it.
    why: String,
}

impl From<&FalseEntry> for FalseEntryJson {
    fn from(entry: &FalseEntry) -> Self {
        let FalseEntry { sequence, snapshot, writer, why } = entry;
        Self { sequence: *sequence, snapshot: snapshot.to_string(), writer: writer.to_string(), why: why.clone() }
    }
}

/// An entry of the arrival log that is lost, or what it says.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LostEntryJson {
    sequence: u64,
    why: String,
}

impl From<&LostEntry> for LostEntryJson {
    fn from(lost: &LostEntry) -> Self {
        Self { sequence: lost.sequence, why: lost.why.clone() }
    }
}

impl From<&Finding> for FindingJson {
    fn from(f: &Finding) -> Self {
        Self { object: f.object.clone(), why: f.why.clone(), data_block: f.data_block, tree_block: f.tree_block }
    }
}

impl From<&Touched> for TouchedJson {
    fn from(t: &Touched) -> Self {
        Self {
            snapshot: t.snapshot.to_string(),
            dataset: t.dataset.clone(),
            paths: t.paths.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect(),
            count: t.count,
        }
    }
}

impl From<&LedgerKept> for LedgerJson {
    fn from(kept: &LedgerKept) -> Self {
        let time = |seconds: Option<u64>| {
            let seconds = seconds.map(|s| i64::try_from(s).unwrap_or(i64::MAX));
            seconds.map(|seconds| rfc3339(Timestamp { seconds, nanos: 0 }))
        };
        Self {
            oldest_compared: time(kept.ages.compared),
            never_compared: kept.ages.never_compared,
            oldest_opened: time(kept.ages.opened),
            never_opened: kept.ages.never_opened,
            not_kept: kept.not_kept.clone(),
        }
    }
}

impl VerifyJson {
    /// Of a look that opened so many of a hundred blocks.
    pub(super) fn new(v: &Verified, read_data: u8) -> Self {
        let files_read = if read_data >= 100 && !v.cut_short && v.not_checked.is_empty() { v.files } else { 0 };
        Self {
            damaged: !v.findings.is_empty(),
            snapshots: v.snapshots,
            pages: v.pages,
            entries: v.entries,
            blocks: v.inspected.blocks,
            block_bytes: v.inspected.bytes,
            all_blocks: v.inspected.all,
            opened_blocks: v.inspected.opened,
            database_files: v.tables,
            index_entries: v.index_entries,
            files_read,
            long_contents: v.long_contents,
            records: v.records,
            findings: v.findings.iter().map(Into::into).collect(),
            touched: v.touched.iter().map(Into::into).collect(),
            unlisted: v.unlisted.iter().map(ToString::to_string).collect(),
            void_entries: v.void.clone(),
            false_entries: v.false_entries.iter().map(Into::into).collect(),
            cut_short: v.cut_short,
            not_checked: v.not_checked.iter().map(|&text| text.to_owned()).collect(),
            ledger: v.ledger.as_ref().map(Into::into),
        }
    }
}
