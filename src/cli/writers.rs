//! Whose key wrote a snapshot, in words.

use std::collections::{BTreeMap, HashSet};

use crate::model::{KeyInfo, KeyName, SnapshotId};
use crate::snapshots::{Holds, SnapshotName};
use crate::store::{SnapshotRow, Store};

use super::output::{Output, escaped, short_id};

/// What the keys of a store are called.
pub(super) struct Writers {
    /// None of an unencrypted store, which has no keys, and for a key that may not list them.
    keys: Option<BTreeMap<KeyName, Option<KeyInfo>>>,
}

impl Writers {
    /// Reads them.
    pub(super) fn read(store: &Store) -> Self {
        Self { keys: store.key_infos().ok() }
    }

    /// The label of the key that wrote a snapshot, its name if it has none. `proved`: its entry was made with that key; of others the name is
    /// what whoever wrote it says.
    pub(super) fn label(&self, row: &SnapshotRow, proved: bool) -> Option<String> {
        let label = match self.keys.as_ref()?.get(&row.writer) {
            None => format!("removed key {}", row.writer),
            Some(key) => {
                let label = key.as_ref().map(|info| info.label.clone()).filter(|label| !label.is_empty());
                label.unwrap_or_else(|| row.writer.to_string())
            }
        };
        Some(if proved { label } else { format!("a writer key that claims to be {label}") })
    }

    /// Tells whose snapshot it is that stands for its dataset, or for all, where those of several keys could, or where it only claims whose it
    /// is. Where the log cannot be read nothing is told.
    pub(super) fn tell(store: &Store, name: &SnapshotName, id: SnapshotId, out: &Output) {
        if matches!(name, SnapshotName::Prefix(..)) {
            return;
        }
        let rows = store.snapshots().unwrap_or_default();
        let Some(row) = rows.iter().find(|row| row.id == id) else { return };
        let keys: HashSet<_> =
            rows.iter().filter(|other| other.dataset == row.dataset).map(|other| other.writer).collect();
        let proved = Holds::since(store, row.sequence).is_ok_and(|holds| holds.is_proved(row));
        if keys.len() == 1 && proved {
            return;
        }
        let Some(label) = Self::read(store).label(row, proved) else { return };
        let (id, label) = (short_id(id), escaped(&label));
        out.remark(&match keys.len() {
            1 => format!("larder: this one, {id}, is of {label}"),
            count => format!("larder: its dataset has snapshots of {count} keys; this one, {id}, is of {label}"),
        });
    }
}
