//! From what a user calls a snapshot to the snapshot.

use crate::model::{DatasetName, Failure, Kind, SnapshotId, SnapshotKind, Timestamp};
use crate::store::{Arrived, SnapshotRow, Store, StoreError};

use super::name::{ID_DIGITS, SnapshotName, is_hex};
use super::witness::Witnesses;

/// Why a snapshot could not be found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such snapshot.
    #[error("there is no snapshot {0}")]
    Nothing(String),
    /// No such dataset, and too few digits for an id.
    #[error("there is no dataset {0}; if it begins an id, at least {ID_DIGITS} digits are needed")]
    Short(String),
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
            Self::Nothing(_) | Self::Short(_) | Self::Ambiguous { .. } => Kind::NotFound,
            Self::Lost(e) | Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Nothing(_) | Self::Short(_) => Some("`larder list` shows what there is".to_owned()),
            Self::Ambiguous { .. } => Some("give more digits".to_owned()),
            Self::Lost(_) => Some("`larder list` shows what is left; name it by its id".to_owned()),
            Self::Store(e) => e.hint(),
        }
    }
}

/// Finds a snapshot. Ages count from `now`.
///
/// # Errors
/// If there is none, or several.
pub fn resolve(store: &Store, name: &SnapshotName, now: Timestamp) -> Result<SnapshotId, ResolveError> {
    let found = resolve_row(store, name, now).map(|row| row.id);
    match (name, &found) {
        // An id is an id, also where the log cannot be read.
        (SnapshotName::Prefix(prefix, 0), Err(ResolveError::Lost(e) | ResolveError::Store(e))) if e.is_damage() => {
            let ids = store.manifest_ids().unwrap_or_default().0;
            let mut fitting = ids.into_iter().filter(|id| id.to_string().starts_with(prefix.as_str()));
            match (fitting.next(), fitting.next()) {
                (Some(id), None) => Ok(id),
                _ => found,
            }
        }
        _ => found,
    }
}

/// The same, with all that the log says of it. gc leaves the snapshot where it is for as long as the store is open.
///
/// # Errors
/// If there is none, or several.
pub fn resolve_row(store: &Store, name: &SnapshotName, now: Timestamp) -> Result<SnapshotRow, ResolveError> {
    let mut found = find(store, name, now);
    if let Ok(row) = &found {
        match store.keep(row.sequence) {
            Err(StoreError::Locked(_)) => {
                return Err(ResolveError::Nothing(format!("{}: it was given up, and gc removes it now", row.id)));
            }
            // Who may not write into the store's folder reads all the same, and gets errors should gc come by.
            Err(e) => log::debug!("snapshot {} cannot be leased: {e}", row.id),
            // Between the look and the lease gc may have removed it.
            Ok(()) if store.is_outdated() => {
                if let Err(e) = store.refresh() {
                    log::debug!("the store cannot be looked at again: {e}");
                }
                if store.is_forgotten(&row.id, row.sequence).unwrap_or(false) {
                    found = Err(ResolveError::Nothing(format!("{}: it was given up", row.id)));
                }
            }
            Ok(()) => {}
        }
    }
    match (store.lost_end(), name, found) {
        // Which one is the newest cannot be told when the newest are gone; an id is an id.
        (Some(lost), SnapshotName::Prefix(..), Err(ResolveError::Nothing(_))) => Err(ResolveError::Lost(lost)),
        (None, _, found) | (Some(_), SnapshotName::Prefix(..), found) => found,
        (Some(lost), ..) => Err(ResolveError::Lost(lost)),
    }
}

fn find(store: &Store, name: &SnapshotName, now: Timestamp) -> Result<SnapshotRow, ResolveError> {
    let key = |dataset: &DatasetName| store.keyring().ids().dataset(dataset);
    let nothing = |text: String| ResolveError::Nothing(text);
    match name {
        SnapshotName::Latest(back) => nth_newest(store, *back, |_| true, false)?.map_err(|count| {
            nothing(match count {
                0 => "at all in this store".to_owned(),
                1 => format!("latest~{back}: the store has only one"),
                n => format!("latest~{back}: the store has {n}"),
            })
        }),
        SnapshotName::Prefix(prefix, back) => {
            let Arrived { rows, damage, .. } = store.arrived()?;
            let found: Vec<_> = rows.iter().filter(|r| r.id.to_string().starts_with(prefix.as_str())).collect();
            let row = match (found.as_slice(), damage) {
                ([], Some(damage)) => return Err(ResolveError::Lost(damage)),
                ([], None) => return Err(nothing(prefix.clone())),
                ([row], _) => (*row).clone(),
                (several, _) => return Err(ResolveError::Ambiguous { text: prefix.clone(), count: several.len() }),
            };
            if *back == 0 {
                return Ok(row);
            }
            let mut count = 0;
            for before in rows.iter().rev().filter(|r| r.dataset == row.dataset && r.sequence < row.sequence) {
                count += u64::from(store.is_borne_out(before));
                if count == *back {
                    return Ok(before.clone());
                }
            }
            Err(nothing(match count {
                0 => format!("{prefix}~{back}: it is the first of its dataset"),
                1 => format!("{prefix}~{back}: only one came before it in its dataset"),
                n => format!("{prefix}~{back}: {n} came before it in its dataset"),
            }))
        }
        SnapshotName::Back(dataset, back) => {
            let key = key(dataset);
            nth_newest(store, *back, |row| row.dataset == key, true)?.map_err(|count| match count {
                0 if dataset.as_str().len() < ID_DIGITS && is_hex(dataset.as_str()) => {
                    ResolveError::Short(dataset.to_string())
                }
                0 => nothing(format!("of a dataset {dataset}")),
                1 => nothing(format!("{dataset}~{back}: the dataset has only one")),
                n => nothing(format!("{dataset}~{back}: the dataset has {n}")),
            })
        }
        SnapshotName::At(dataset, time) => by(store, dataset.as_ref(), *time, now),
        SnapshotName::Ago(dataset, age) => {
            let then = Timestamp { seconds: now.seconds.saturating_sub(*age), ..now };
            by(store, dataset.as_ref(), then, now)
        }
    }
}

/// True unless a snapshot is not what its entry says, or was taken of what a restore was about to change, which nobody means by `latest`.
fn is_meant(store: &Store, row: &SnapshotRow, safety: bool) -> bool {
    store.manifest(&row.id).map_or(true, |manifest| {
        (safety || manifest.kind != SnapshotKind::Safety) && store.belied_by(row, &manifest).is_none()
    })
}

/// The newest of a dataset, or of all, that had arrived by then, as far as witnesses bear it out: of that, what a snapshot claims is no
/// proof.
fn by(
    store: &Store,
    dataset: Option<&DatasetName>,
    time: Timestamp,
    now: Timestamp,
) -> Result<SnapshotRow, ResolveError> {
    let key = dataset.map(|dataset| store.keyring().ids().dataset(dataset));
    let fits = |row: &SnapshotRow| is_meant(store, row, key.is_some());
    let witnesses = Witnesses::read(store, Some(now), 0)?;
    let rows = store.snapshots()?.into_iter().filter(|row| key.is_none_or(|key| row.dataset == key));
    let arrived = rows.map(|row| (witnesses.arrival(&row), row)).filter(|(arrival, _)| *arrival <= time);
    let mut by_then: Vec<_> = arrived.collect();
    by_then.sort_by_key(|(arrival, row)| (*arrival, row.sequence));
    by_then.into_iter().rev().map(|(_, row)| row).find(fits).ok_or_else(|| {
        let of = dataset.map_or_else(String::new, |dataset| format!("of {dataset} "));
        ResolveError::Nothing(format!("{of}that had arrived by then"))
    })
}

/// The n-th before the newest of those that fit, or how many there are; `safety`: with those that a restore took. Reads no more of the log than that.
fn nth_newest(
    store: &Store,
    back: u64,
    fits: impl Fn(&SnapshotRow) -> bool,
    safety: bool,
) -> Result<Result<SnapshotRow, u64>, StoreError> {
    let (mut count, mut found) = (0, None);
    store.newest_snapshots(fits, |row| {
        if is_meant(store, &row, safety) {
            found = (count == back).then_some(row);
            count += 1;
        }
        found.is_none()
    })?;
    Ok(found.ok_or(count))
}
