//! What a pack's folder is called: `DATASET-TIME-ID8`.

use jiff::tz::Offset;

use crate::model::{Manifest, SnapshotId};

/// Characters of the dataset's name that are taken.
const DATASET_MAX: usize = 64;

/// The name of a snapshot's folder: safe on any file system, the same on any machine.
pub(super) fn pack_name(id: SnapshotId, of: &Manifest) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let dataset: String = of.dataset.to_string().chars().take(DATASET_MAX).map(safe).collect();
    let time = jiff::Timestamp::from_second(of.arrival.seconds).map_or_else(
        |_| of.arrival.seconds.to_string(),
        |time| Offset::UTC.to_datetime(time).strftime("%Y-%m-%dT%H-%M-%SZ").to_string(),
    );
    format!("{dataset}-{time}-{}", &id.to_string()[..8])
}
