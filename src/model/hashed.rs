//! Where a record dataset finds what it holds: short keyed hashes, each with the place that it leads to.

use super::{PageId, RecordCounts};

/// One line of the index of a record dataset. A hash that is this short proves nothing: whoever follows it looks at what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordItem {
    /// The first bytes of a keyed hash of what is looked for.
    pub hash: [u8; 6],
    /// Where it leads.
    pub place: RecordPlace,
}

/// A chunk of lines in a record dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordPlace {
    /// The number in the name of the file of records; 0 for `sightings.ndjson`.
    pub file: u64,
    /// Which of its chunks, from 0.
    pub part: u32,
    /// The day in the file's path, counted from 1970-01-01.
    pub day: i32,
}

/// What a snapshot of a record dataset keeps beside its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordsRef {
    /// Root page of the index.
    pub page: PageId,
    /// Sums over it.
    pub counts: RecordCounts,
    /// The highest number in the name of a file of records.
    pub files: u64,
    /// Distinct contents.
    pub records: u64,
    /// Distinct keys.
    pub keys: u64,
    /// Sightings.
    pub sightings: u64,
}
