//! Policies set and taken away.

use crate::model::{DatasetName, LogKind, PolicyDetail, Progress, Rules};
use crate::snapshots::Register;
use crate::store::{NewEntry, Store};

use super::error::RetentionError;
use super::{Asked, Clock, log_writer};

/// Sets the policy for a dataset (for all without one of their own if none is given) and a retention class (for snapshots without
/// one if none is given); gives the sequence of its log entry.
///
/// # Errors
/// If writing fails.
pub fn set_policy(
    store: &Store,
    dataset: Option<&DatasetName>,
    class: Option<&str>,
    rules: Rules,
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<u64, RetentionError> {
    let mut log = log_writer(store, asked, progress)?;
    let now = clock();
    let sequences = log.append(&[entry(store, dataset, class, Some(rules), asked)], now)?;
    Ok(sequences.first().copied().unwrap_or_default())
}

/// Takes a policy away.
///
/// # Errors
/// If there is none; if writing fails.
pub fn clear_policy(
    store: &Store,
    dataset: Option<&DatasetName>,
    class: Option<&str>,
    asked: &Asked,
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<(), RetentionError> {
    let mut log = log_writer(store, asked, progress)?;
    let now = clock();
    let is_it = |d: &PolicyDetail| d.dataset.as_ref() == dataset && d.class.as_deref() == class;
    if !Register::read(store)?.policies().any(|policy| is_it(&policy.detail)) {
        return Err(RetentionError::NoPolicy);
    }
    log.append(&[entry(store, dataset, class, None, asked)], now)?;
    Ok(())
}

fn entry(
    store: &Store,
    dataset: Option<&DatasetName>,
    class: Option<&str>,
    rules: Option<Rules>,
    asked: &Asked,
) -> NewEntry {
    let detail = PolicyDetail {
        dataset: dataset.cloned(),
        class: class.map(str::to_owned),
        rules,
        reason: asked.reason.clone(),
        by: asked.by.clone(),
        ext: Vec::new(),
    };
    NewEntry {
        kind: LogKind::Policy,
        dataset: dataset.map(|name| store.keyring().ids().dataset(name)),
        snapshot: None,
        detail: Some(detail.to_bytes()),
    }
}
