//! What of a snapshot's manifest matters to retention.

use rayon::prelude::*;

use crate::model::{Entry, Manifest, Progress};
use crate::snapshots::Wanted;
use crate::store::{SnapshotRow, Store, StoreError};

use super::habit::Measure;

/// What of a snapshot's manifest matters to retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// What shows that it is not the snapshot that its entry says: then no rule means it.
    pub(super) false_entry: Option<String>,
    /// It asks to be immutable.
    pub(super) immutable: bool,
    /// Which policies apply.
    pub(super) class: Option<String>,
    /// It is among those that the run is about.
    pub(super) wanted: bool,
    /// The root of its tree.
    pub(super) root: Entry,
    /// What can be strange about it.
    pub(super) measure: Measure,
}

impl Facts {
    fn of(store: &Store, row: &SnapshotRow, manifest: &Manifest, wanted: &Wanted) -> Self {
        Self {
            false_entry: store.belied_by(row, manifest).map(|entry| entry.why),
            immutable: manifest.evidence.immutable,
            class: manifest.evidence.retention_class.clone(),
            wanted: wanted.fits_manifest(manifest),
            root: manifest.root.clone(),
            measure: Measure::from(&manifest.statistics),
        }
    }
}

/// Reads the manifests of snapshots, by all processors together; what cannot be read is told as such. Nothing if the user wants it
/// stopped.
pub(super) fn read(
    store: &Store,
    rows: &[SnapshotRow],
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Vec<Result<Facts, String>>, StoreError> {
    progress.expect(rows.len() as u64, 0);
    let read = |row: &SnapshotRow| {
        if progress.cancelled() {
            return Err(StoreError::Interrupted);
        }
        let manifest = store.manifest(&row.id);
        progress.advance(1, 0);
        match manifest {
            Ok(manifest) => Ok(Ok(Facts::of(store, row, &manifest, wanted))),
            Err(e) if e.is_damage() => Ok(Err(e.to_string())),
            Err(e) => Err(e),
        }
    };
    rows.par_iter().map(read).collect()
}
