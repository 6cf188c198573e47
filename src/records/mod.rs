//! What other systems keep as records: JSON read without loss, its canonical forms, records and hashes over them.

pub mod canonical;
mod chain;
mod dataset_manifest;
pub mod json;
mod lines;
mod observed;
mod python;
mod quoted;
mod record;
mod redact;
pub mod tape;

pub use chain::{ALGORITHM, Chain, ChainFault, DOMAIN, Link, content_hash_of, follow, same};
pub use dataset_manifest::{
    ConflictStrategy, DatasetManifest, EncryptionPolicy, ManifestError, Pattern, RedactionPolicy, SqlTarget, SyncPolicy,
};
pub use lines::{Line, Lines};
pub use observed::ObservedAt;
pub(crate) use record::USUAL_END;
pub use record::{JsonText, NotAHash, Record, RecordError, RecordHash, RecordParser, Verified};
pub use redact::{MARK, Place, RedactError, Redacted, Redactor, known_patterns, misspelt_pattern};
