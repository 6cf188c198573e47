//! Holds set and lifted, and strange snapshots confirmed.

use crate::model::{HoldAction, HoldDetail, Immutable, LogKind, Progress, Timestamp};
use crate::snapshots::{Hold, SnapshotName, resolve_row};
use crate::store::{NewEntry, SnapshotRow, Store};

use super::error::RetentionError;
use super::forget::whole_register;
use super::{Asked, Clock, log_writer};

/// A snapshot and the holds on it that were lifted.
#[derive(Debug)]
pub struct Lifted {
    /// Which one.
    pub row: SnapshotRow,
    /// What held it.
    pub holds: Vec<Hold>,
}

fn entry(row: &SnapshotRow, detail: &HoldDetail) -> NewEntry {
    NewEntry {
        kind: LogKind::Hold,
        dataset: Some(row.dataset),
        snapshot: Some(row.id),
        detail: Some(detail.to_bytes()),
    }
}

fn new(action: HoldAction, asked: &Asked) -> HoldDetail {
    let (by, reason) = (asked.by.clone(), asked.reason.clone());
    HoldDetail { action, hold: 0, until: None, reason, by, ext: Vec::new() }
}

fn rows(store: &Store, names: &[SnapshotName], now: Timestamp) -> Result<Vec<SnapshotRow>, RetentionError> {
    let mut rows = names.iter().map(|name| resolve_row(store, name, now)).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|row| row.sequence);
    rows.dedup_by_key(|row| row.sequence);
    Ok(rows)
}

/// Holds snapshots, all or none; until a time if one is given. A snapshot may be held several times.
///
/// # Errors
/// If one of them is not there; if writing fails.
pub fn hold(
    store: &Store,
    names: &[SnapshotName],
    until: Option<Timestamp>,
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<Vec<(SnapshotRow, Hold)>, RetentionError> {
    let mut log = log_writer(store, asked, progress)?;
    let now = clock();
    let rows = rows(store, names, now)?;
    let detail = HoldDetail { until, ..new(HoldAction::Set, asked) };
    let sequences = log.append(&rows.iter().map(|row| entry(row, &detail)).collect::<Vec<_>>(), now)?;
    let hold = |sequence| Hold { sequence, since: now, until, reason: detail.reason.clone(), by: detail.by.clone() };
    Ok(rows.into_iter().zip(sequences.into_iter().map(hold)).collect())
}

/// Lifts all holds on snapshots, on all of them or none. One whose time is over is lifted too.
///
/// # Errors
/// If one of them is not there or not held; if writing fails.
pub fn release(
    store: &Store,
    names: &[SnapshotName],
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Lifted>, RetentionError> {
    let mut log = log_writer(store, asked, progress)?;
    let now = clock();
    let register = whole_register(store)?;
    let mut lifted = Vec::new();
    for row in rows(store, names, now)? {
        let holds: Vec<_> = register.holds.on(&row.id).cloned().collect();
        if holds.is_empty() {
            let asks = store.manifest(&row.id).is_ok_and(|manifest| manifest.evidence.immutable);
            return Err(match register.holds.immutable(&row.id, asks) {
                Immutable::Yes => RetentionError::Immutable(row.id),
                _ => RetentionError::NotHeld(row.id),
            });
        }
        lifted.push(Lifted { row, holds });
    }
    let lift = |l: &Lifted| {
        let detail = |hold: &Hold| HoldDetail { hold: hold.sequence, ..new(HoldAction::Lifted, asked) };
        l.holds.iter().map(|hold| entry(&l.row, &detail(hold))).collect::<Vec<_>>()
    };
    log.append(&lifted.iter().flat_map(lift).collect::<Vec<_>>(), now)?;
    Ok(lifted)
}

/// Confirms that snapshots are as they should be, however strange they and those before them in their series are.
///
/// # Errors
/// If one of them is not there; if writing fails.
pub fn confirm(
    store: &Store,
    names: &[SnapshotName],
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Lifted>, RetentionError> {
    decide(store, names, HoldAction::Confirmed, asked, clock, progress, |_| Ok(()))
}

/// Makes snapshots immutable, whoever captured them: nothing takes that back.
///
/// # Errors
/// If one of them is not there; if writing fails.
pub fn grant_immutable(
    store: &Store,
    names: &[SnapshotName],
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Lifted>, RetentionError> {
    decide(store, names, HoldAction::Granted, asked, clock, progress, |_| Ok(()))
}

/// Does not heed that a writer key asks for snapshots to be immutable: they are like any other then.
///
/// # Errors
/// If one of them is not there, does not ask for it, or is immutable already; if writing fails.
pub fn deny_immutable(
    store: &Store,
    names: &[SnapshotName],
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Lifted>, RetentionError> {
    decide(store, names, HoldAction::Denied, asked, clock, progress, |rows| {
        let register = whole_register(store)?;
        rows.iter().try_for_each(|row| {
            let asks = store.manifest(&row.id)?.evidence.immutable;
            match register.holds.immutable(&row.id, asks) {
                Immutable::Asked => Ok(()),
                Immutable::No => Err(RetentionError::NotAsked(row.id)),
                Immutable::Yes => Err(RetentionError::Immutable(row.id)),
            }
        })
    })
}

/// Writes one and the same about some snapshots, if nothing is against it.
fn decide(
    store: &Store,
    names: &[SnapshotName],
    action: HoldAction,
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
    check: impl FnOnce(&[SnapshotRow]) -> Result<(), RetentionError>,
) -> Result<Vec<Lifted>, RetentionError> {
    let mut log = log_writer(store, asked, progress)?;
    let now = clock();
    let rows = rows(store, names, now)?;
    check(&rows)?;
    let detail = new(action, asked);
    log.append(&rows.iter().map(|row| entry(row, &detail)).collect::<Vec<_>>(), now)?;
    Ok(rows.into_iter().map(|row| Lifted { row, holds: Vec::new() }).collect())
}
