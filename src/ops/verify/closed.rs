//! Verify without a key.

use crate::model::{Notice, Progress};
use crate::store::ClosedStore;

use super::super::query::QueryError;
use super::Verified;

/// What only the holder of a key can look at.
const NOT_CHECKED: &[&str] = &[
    "the MACs of header, tip, log, epochs and dataset records",
    "manifests, names and structure: that the pages and chunks which a snapshot needs are in the index",
    "that blocks open, and hold what the index says",
];

/// Verifies what can be without a key: that no sealed byte has changed, nor a row of the database; what the plain parts of header,
/// log and records say of each other.
///
/// # Errors
/// If the store cannot be read at all; damage is what it reports, not an error.
pub fn verify_closed(store: &ClosedStore, progress: &dyn Progress) -> Result<Verified, QueryError> {
    let look = store.look(progress)?;
    if progress.cancelled() {
        return Err(QueryError::Interrupted);
    }
    if look.snapshots == 0 && look.findings.is_empty() {
        progress.notice(Notice::Remark("the store holds no snapshots yet".to_owned()));
    }
    Ok(Verified {
        snapshots: look.snapshots,
        inspected: look.inspected,
        tables: look.tables,
        index_entries: look.index_entries,
        findings: look.findings,
        void: look.void,
        false_entries: look.false_entries,
        not_checked: NOT_CHECKED,
        ..Verified::default()
    })
}
