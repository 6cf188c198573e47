//! Whose key wrote a snapshot, in words.

use std::collections::{HashMap, HashSet};

use crate::model::{KeyInfo, KeyName, Role, SnapshotId};
use crate::snapshots::{Holds, SnapshotName};
use crate::store::{SnapshotRow, Store};

use super::output::{Output, escaped, short_id};

/// What the keys of a store are called.
pub(super) struct Writers {
    /// None of an unencrypted store, which has no keys, and for a key that may not list them.
    keys: Option<HashMap<KeyName, Option<KeyInfo>>>,
}

impl Writers {
    /// Reads them.
    pub(super) fn read(store: &Store) -> Self {
        let keys = store.keys().ok().map(|list| list.keys.into_iter().map(|row| (row.name, row.info)).collect());
        Self { keys }
    }

    /// The label of the key that wrote a snapshot, its name if it has none. `vouched`: a catalog or owner key vouches for the entry; of
    /// others the name is what whoever wrote it says.
    pub(super) fn label(&self, row: &SnapshotRow, vouched: bool) -> Option<String> {
        let Some(key) = self.keys.as_ref()?.get(&row.writer) else {
            return Some(format!("removed key {}", row.writer));
        };
        let label = key.as_ref().map(|info| info.label.clone()).filter(|label| !label.is_empty());
        let label = label.unwrap_or_else(|| row.writer.to_string());
        let must_vouch = key.as_ref().is_some_and(|info| info.role >= Role::Catalog);
        Some(if must_vouch && !vouched { format!("a writer key that claims to be {label}") } else { label })
    }

    /// Tells whose snapshot it is that stands for its dataset, or for all, where those of several keys could. Where the log cannot be read
    /// nothing is told.
    pub(super) fn tell(store: &Store, name: &SnapshotName, id: SnapshotId, out: &Output) {
        if matches!(name, SnapshotName::Prefix(..)) {
            return;
        }
        let rows = store.snapshots().unwrap_or_default();
        let Some(row) = rows.iter().find(|row| row.id == id) else { return };
        let keys: HashSet<_> =
            rows.iter().filter(|other| other.dataset == row.dataset).map(|other| other.writer).collect();
        if keys.len() > 1 {
            let vouched = Holds::since(store, row.sequence).is_ok_and(|holds| holds.is_vouched(&id));
            let label = Self::read(store).label(row, vouched).unwrap_or_default();
            let (id, count) = (short_id(id), keys.len());
            out.remark(&format!(
                "larder: its dataset has snapshots of {count} keys; this one, {id}, is of {}",
                escaped(&label)
            ));
        }
    }
}
