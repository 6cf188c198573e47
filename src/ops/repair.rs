//! Repair: the store makes anew what it can; what snapshots lack tells what is damage and what a killed capture or gc has left.

use crate::model::Progress;
use crate::store::{Acceptance, Repaired, Sought, Store, StoreError, Waiting};
use crate::tree::Pages;

use super::verify::lacking;

/// Bytes that decoded pages may take.
const PAGE_BUDGET: u64 = 8 << 20;

/// Tells what is to be repaired. Changes nothing.
///
/// # Errors
/// As [`Store::plan_repair`].
pub fn plan(store: &Store, progress: &dyn Progress) -> Result<Repaired, StoreError> {
    store.plan_repair(&|store| seek(store, progress), progress)
}

/// Repairs. With `accept` what is lost of the log for good is given up.
///
/// # Errors
/// As [`Store::repair`].
pub fn repair(
    store: &Store,
    accept: Option<&Acceptance>,
    waiting: Waiting,
    keep_waiting: &dyn Fn() -> bool,
    progress: &dyn Progress,
) -> Result<Repaired, StoreError> {
    let mut repaired = store.repair(&|store| seek(store, progress), accept, waiting, keep_waiting, progress)?;
    if repaired.rebuild {
        repaired.lacking = seek(store, progress)?.is_anything();
    }
    Ok(repaired)
}

fn seek(store: &Store, progress: &dyn Progress) -> Result<Sought, StoreError> {
    let lacking = lacking(store, &Pages::new(store, PAGE_BUDGET), progress)?;
    Ok(Sought { more: !lacking.pages.is_empty() || !lacking.manifests.is_empty(), chunks: lacking.chunks })
}
