//! What an archive of another system says of itself, as a snapshot made from it keeps it.

use crate::model::{Evidence, Reference};

/// Names of the labels that tell of a replay: a snapshot of what another store or system had before.
pub mod labels {
    /// `true`.
    pub const REPLAY: &str = "replay";
    /// Which layout the archive had.
    pub const LAYOUT: &str = "layout";
    /// The id that it had there.
    pub const ID: &str = "original-id";
    /// When it was made there, as it was written.
    pub const CREATED_AT: &str = "original-created-at";
    /// Its status there.
    pub const STATUS: &str = "original-status";
    /// Where its chain of evidence ends.
    pub const ROOT_HASH: &str = "root-hash";
}

/// What a snapshot of it is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// Its id in the system that it comes from.
    pub original_id: String,
    /// When it was made there, as it was written.
    pub original_created_at: Option<String>,
    /// Labels, ascending by key.
    pub labels: Vec<(String, String)>,
    /// What it is about, figures, and all else as JSON.
    pub evidence: Evidence,
    /// What it speaks of and does not hold.
    pub references: Vec<Reference>,
}

impl Provenance {
    /// Puts labels on it, where there is a value.
    pub(super) fn label(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.labels.push((key.to_owned(), value.to_owned()));
            self.labels.sort();
        }
    }
}
