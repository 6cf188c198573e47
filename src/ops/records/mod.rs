//! Record datasets: exchanges kept once by the hash of their content, found by key and hash, laid out as a pack of the system that they come from.
//!
//! An import goes through its input once (`stage`), decides what becomes of each record (`plan`), and only then writes (`groups`, `apply`): a
//! dry run makes the same plan and stops there. What is staged is sorted with what fits into memory, the rest in sealed files without a name.

mod apply;
mod archive;
mod changes;
mod dataset;
mod error;
mod follow;
mod groups;
mod import;
mod key;
mod library;
mod plan;
mod query;
mod seen_again;
mod sighting;
mod source;
mod stage;
mod sync;
mod walk;

pub use archive::{PackError, PackLines, holds_dataset, pack_lines};
pub use changes::{Changed, JsonChange, RecordDiff};
pub use dataset::{Dataset, Key, checked};
pub use error::RecordsError;
pub use import::{ImportOptions, Nothing, Report, import_records, rehearse_records};
pub use library::{FoundRecords, RecordReader, RecordWriter};
pub use plan::Conflict;
pub use query::{JsonPath, NoPath, Query};
pub use seen_again::SeenAgain;
pub use source::{Files, RawRecord, Source, Stream};
pub use stage::{BadLine, RedactedPlace};
pub use sync::{Direction, Preference, Resolution, SyncConflict, SyncOptions, SyncReport, Tally, synchronise};
pub use walk::Lines;
