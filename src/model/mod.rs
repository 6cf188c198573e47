//! The words of Larder as plain values: no bytes, no input or output, no clock.

mod dataset;
mod entry;
mod failure;
mod hashed;
mod ids;
mod keys;
mod link;
mod manifest;
mod page;
mod progress;
mod retention;
mod time;

pub use dataset::{DatasetName, InvalidDatasetName};
pub use entry::{
    Bits, Body, ChunkRef, Chunks, Entry, Extent, FileBody, Holes, InvalidName, LongValue, Name, TreeRef, Xattrs,
};
pub use failure::{Failure, Kind, shell_word};
pub use hashed::{RecordItem, RecordPlace, RecordsRef};
pub use ids::{ChunkId, DatasetKey, Digest, EpochId, InvalidId, KeyName, LinkGroup, PageId, SnapshotId, StoreId};
pub use keys::{KeyChange, KeyInfo, Purpose, Role, same_recipient};
pub use link::LinkItem;
pub use manifest::{
    DatasetRecord, Evidence, LinksRef, LogEntry, LogKind, Manifest, Reference, SnapshotKind, Statistics,
};
pub use page::{ChunkCounts, Counts, HoleCounts, LinkCounts, RecordCounts};
pub use progress::{Notice, Progress, Quiet};
pub use retention::{
    ForgetCause, ForgetDetail, HoldAction, HoldDetail, Immutable, LossDetail, PolicyDetail, Rule, Rules, VoidEntry,
    age_text,
};
pub use time::Timestamp;

/// What later versions add to a structure: tags in ascending order, each with its bytes.
pub type Ext = Vec<(u32, Vec<u8>)>;
