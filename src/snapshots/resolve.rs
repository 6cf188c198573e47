//! From `latest`, `home~1`, `home@2024-01-15T10:30` or the first digits of an id to a snapshot.

use std::collections::HashMap;
use std::str::FromStr;

use crate::model::{DatasetKey, DatasetName, Failure, Kind, Manifest, SnapshotId, Timestamp};
use crate::store::{SnapshotRow, Store, StoreError};

/// What a user may call a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotName {
    /// The newest arrival of all.
    Latest,
    /// Hexadecimal digits at the front of an id, at least 4.
    Prefix(String),
    /// A dataset's newest, or the n-th before it.
    Back(DatasetName, u64),
    /// A dataset's newest that had arrived by then.
    At(DatasetName, Timestamp),
}

/// Why a snapshot could not be found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The text names no snapshot in any form.
    #[error("{text:?} does not name a snapshot: {why}")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No such snapshot.
    #[error("there is no snapshot {0}")]
    Nothing(String),
    /// Several.
    #[error("{text} is the beginning of {count} snapshots' ids")]
    Ambiguous {
        /// What was given.
        text: String,
        /// How many.
        count: usize,
    },
    /// It, or a newer one, may be among those that are gone.
    #[error("{0}")]
    Lost(#[source] StoreError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for ResolveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Malformed { .. } => Kind::Usage,
            Self::Nothing(_) | Self::Ambiguous { .. } => Kind::NotFound,
            Self::Lost(e) | Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => Some(
                "a snapshot is an id or the first 4 digits or more of it, `latest`, DATASET, DATASET~1 or DATASET@TIME"
                    .to_owned(),
            ),
            Self::Nothing(_) => Some("`larder list` shows what there is".to_owned()),
            Self::Ambiguous { .. } => Some("give more digits".to_owned()),
            Self::Lost(_) => Some("`larder list` shows what is left; name it by its id".to_owned()),
            Self::Store(e) => e.hint(),
        }
    }
}

impl FromStr for SnapshotName {
    type Err = ResolveError;

    fn from_str(text: &str) -> Result<Self, ResolveError> {
        let malformed =
            |why: &dyn std::fmt::Display| ResolveError::Malformed { text: text.to_owned(), why: why.to_string() };
        let dataset = |name: &str| name.parse::<DatasetName>().map_err(|e| malformed(&e));
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if text.len() >= 4 && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self::Prefix(text.to_ascii_lowercase()));
        }
        if let Some((name, back)) = text.rsplit_once('~') {
            let back = back.parse().map_err(|_| malformed(&"behind ~ stands how many snapshots to go back"))?;
            return Ok(Self::Back(dataset(name)?, back));
        }
        if let Some((name, time)) = text.split_once('@') {
            return Ok(Self::At(dataset(name)?, parse_time(time).map_err(|e| malformed(&e))?));
        }
        Ok(Self::Back(dataset(text)?, 0))
    }
}

/// Reads a time: RFC 3339 with an offset, or without one for UTC; seconds or the clock time may be left out.
///
/// A time that is left out stands for its end: a day for its last moment.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    use jiff::civil::{Date, DateTime};
    let from = |t: jiff::Timestamp, nanos| Timestamp { seconds: t.as_second(), nanos };
    if let Ok(t) = text.parse::<jiff::Timestamp>() {
        return Ok(from(t, u32::try_from(t.subsec_nanosecond()).unwrap_or(0)));
    }
    let utc = |t: DateTime| t.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp()).map_err(|e| e.to_string());
    if text.len() > 10 {
        let t: DateTime = text.parse().map_err(|e: jiff::Error| e.to_string())?;
        let seconds_given = text.matches(':').count() >= 2;
        let t = utc(t)?;
        let end = if seconds_given { from(t, u32::try_from(t.subsec_nanosecond()).unwrap_or(0)) } else { from(t, 0) };
        let whole = if seconds_given { 0 } else { 59 };
        let nanos = if seconds_given && text.contains('.') { end.nanos } else { 999_999_999 };
        return Ok(Timestamp { seconds: end.seconds + whole, nanos });
    }
    let day: Date = text.parse().map_err(|e: jiff::Error| e.to_string())?;
    let t = utc(day.at(23, 59, 59, 0))?;
    Ok(from(t, 999_999_999))
}

/// Finds a snapshot.
///
/// # Errors
/// If there is none, or several.
pub fn resolve(store: &Store, name: &SnapshotName) -> Result<SnapshotId, ResolveError> {
    let found = find(store, name);
    match (store.lost_end(), name, found) {
        // Which one is the newest cannot be told when the newest are gone; an id is an id.
        (Some(lost), SnapshotName::Prefix(_), Err(ResolveError::Nothing(_))) => Err(ResolveError::Lost(lost)),
        (None, _, found) | (Some(_), SnapshotName::Prefix(_), found) => found,
        (Some(lost), ..) => Err(ResolveError::Lost(lost)),
    }
}

fn find(store: &Store, name: &SnapshotName) -> Result<SnapshotId, ResolveError> {
    let rows = store.snapshots()?;
    let of = |dataset: &DatasetName| -> Vec<&SnapshotRow> {
        let key = store.keyring().ids().dataset(dataset);
        rows.iter().filter(|r| r.dataset == key).collect()
    };
    let nothing = |text: String| ResolveError::Nothing(text);
    match name {
        SnapshotName::Latest => rows.last().map(|r| r.id).ok_or_else(|| nothing("at all in this store".to_owned())),
        SnapshotName::Prefix(prefix) => {
            let found: Vec<_> = rows.iter().filter(|r| r.id.to_string().starts_with(prefix.as_str())).collect();
            match found.as_slice() {
                [] => Err(nothing(prefix.clone())),
                [row] => Ok(row.id),
                several => Err(ResolveError::Ambiguous { text: prefix.clone(), count: several.len() }),
            }
        }
        SnapshotName::Back(dataset, back) => {
            let found = of(dataset);
            let at = usize::try_from(*back).ok().and_then(|back| found.len().checked_sub(back + 1));
            at.and_then(|at| found.get(at)).map(|r| r.id).ok_or_else(|| {
                nothing(match (found.len(), back) {
                    (0, _) => format!("of a dataset {dataset}"),
                    (n, back) => format!("{dataset}~{back}: the dataset has {n}"),
                })
            })
        }
        SnapshotName::At(dataset, time) => {
            let found = of(dataset).into_iter().rev().find(|r| r.arrival <= *time);
            found.map(|r| r.id).ok_or_else(|| nothing(format!("of {dataset} that had arrived by then")))
        }
    }
}

/// A snapshot in a list: what can be said of it even if its manifest is damaged.
#[derive(Debug)]
pub struct Listed {
    /// What the log says.
    pub row: SnapshotRow,
    /// Its dataset's name, if that can be read.
    pub dataset: Option<DatasetName>,
    /// Its manifest, or what is wrong with it.
    pub manifest: Result<Manifest, StoreError>,
}

/// The snapshots of a store, oldest arrival first. Damage of one hides no other.
///
/// # Errors
/// If the log cannot be read at all.
pub fn list(store: &Store, dataset: Option<&DatasetName>, limit: Option<usize>) -> Result<Vec<Listed>, StoreError> {
    let mut rows = store.snapshots()?;
    if let Some(dataset) = dataset {
        let key = store.keyring().ids().dataset(dataset);
        rows.retain(|r| r.dataset == key);
    }
    if let Some(limit) = limit {
        rows.drain(..rows.len().saturating_sub(limit));
    }
    let mut names: HashMap<DatasetKey, Option<DatasetName>> = HashMap::new();
    Ok(rows
        .into_iter()
        .map(|row| {
            let manifest = store.manifest(&row.id);
            let name = match &manifest {
                Ok(manifest) => Some(manifest.dataset.clone()),
                Err(_) => names.entry(row.dataset).or_insert_with(|| store.dataset_name(row.dataset).ok()).clone(),
            };
            Listed { row, dataset: name, manifest }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let parse = |t: &str| t.parse::<SnapshotName>();
        assert_eq!(parse("latest").unwrap(), SnapshotName::Latest);
        assert_eq!(parse("BEEF").unwrap(), SnapshotName::Prefix("beef".to_owned()));
        assert!(matches!(parse("home~2").unwrap(), SnapshotName::Back(_, 2)));
        assert!(matches!(parse("home").unwrap(), SnapshotName::Back(_, 0)));
        for bad in ["", "home~x", "a/b", "home@yesterday", ".x", "home~"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        let t = |text| parse_time(text).map(|t| (t.seconds, t.nanos)).unwrap();
        assert_eq!(t("2024-01-15T10:30:00Z"), (1_705_314_600, 0));
        assert_eq!(t("2024-01-15T10:30:00+02:00"), (1_705_307_400, 0));
        assert_eq!(t("2024-01-15T10:30"), (1_705_314_659, 999_999_999));
        assert_eq!(t("2024-01-15T10:30:05"), (1_705_314_605, 999_999_999));
        assert_eq!(t("2024-01-15"), (1_705_363_199, 999_999_999));
    }
}
