//! When snapshots arrived: what they only claim is told as such.

use crate::snapshots::Counted;
use crate::store::SnapshotRow;

use super::output::short_time;

/// What a snapshot says of when it arrived, where that is not borne out.
pub(super) fn claim(counted: Counted, row: &SnapshotRow) -> Option<String> {
    counted.moved.then(|| format!("claims {}", short_time(row.arrival)))
}
