//! What a pack's folder is called: `DATASET-TIME-ID8`.

use jiff::tz::Offset;

use crate::model::Timestamp;

/// Characters of the dataset's name that are taken.
const DATASET_MAX: usize = 64;

/// The name of the folder of the snapshot with this id, dataset and arrival: safe on any file system, the same on any machine.
pub(super) fn pack_name(id: &str, dataset: &str, arrival: Timestamp) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let dataset: String = dataset.chars().take(DATASET_MAX).map(safe).collect();
    let time = jiff::Timestamp::from_second(arrival.seconds).map_or_else(
        |_| arrival.seconds.to_string(),
        |time| Offset::UTC.to_datetime(time).strftime("%Y-%m-%dT%H-%M-%SZ").to_string(),
    );
    format!("{dataset}-{time}-{}", id.chars().take(8).collect::<String>())
}
