//! Record datasets: exchanges kept once by the hash of their content, found by key and hash, laid out as a pack of the system that they come from.
//!
//! An import goes through its input once (`stage`), decides what becomes of each record (`plan`), and only then writes (`groups`, `apply`): a
//! dry run makes the same plan and stops there. What is staged is sorted with what fits into memory, the rest in sealed files without a name.

mod ahead;
mod apply;
mod archive;
mod changes;
mod dataset;
mod error;
mod files;
mod follow;
mod found;
mod groups;
mod import;
mod key;
mod library;
mod listed;
mod plan;
mod query;
mod sealing;
mod seen_again;
mod sighting;
mod source;
mod stage;
mod sync;
mod walk;

pub use archive::{PackError, PackLines, RecordMember, holds_dataset, pack_lines, record_member};
pub use changes::{Changed, JsonChange, RecordDiff};
pub use dataset::{Dataset, Key, checked, holds_pack};
pub use error::RecordsError;
pub use files::{Files, LeftOut};
pub use found::FoundRecords;
pub use import::{ImportOptions, Nothing, Report, change_dataset, import_records, newest_of, rehearse_records};
pub use library::{RecordReader, RecordWriter};
pub use listed::{Indexed, Listed, MISSING};
pub use plan::Conflict;
pub use query::{JsonPath, NoPath, Query};
pub use seen_again::SeenAgain;
pub use source::{RawRecord, Source, Stream, is_text};
pub use stage::{BadLine, RedactedPlace};
pub use sync::{Direction, Preference, Resolution, SyncConflict, SyncOptions, SyncReport, Tally, synchronise};
pub use walk::Lines;
