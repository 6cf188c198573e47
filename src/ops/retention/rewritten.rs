//! How many files of a snapshot are not what they were in the one before it. Neither their number nor their sizes need tell, nor what is
//! new to the store: a tree overwritten with zeros brings next to nothing.

use rayon::prelude::*;

use crate::model::{Entry, FileBody, Progress};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

/// Bytes that decoded pages may take.
const PAGE_BUDGET: u64 = 16 << 20;
/// Pairs of folders of two trees that are compared at most: some hundred bytes each. So many differ in no snapshot that anybody captures often; folders that
/// share their pages crosswise can be made to, by whoever wants nothing to be told of them.
const FOLDERS_MAX: usize = 1 << 21;

/// Compares pairs of trees, the older first; equal parts are not looked at, nor any two folders twice. Of a pair that is beyond what is compared
/// nothing is known. A pair that cannot be compared counts as equal: verify tells of the damage.
pub(super) fn measure(
    store: &Store,
    pairs: Vec<(&Entry, &Entry)>,
    progress: &dyn Progress,
) -> Result<Vec<Option<u64>>, StoreError> {
    let pages = Pages::new(store, PAGE_BUDGET);
    let compare = |(old, new): (&Entry, &Entry)| match rewritten(&pages, old, new, progress) {
        Err(e) if e.is_damage() => Ok(Some(0)),
        other => other,
    };
    pairs.into_par_iter().map(compare).collect()
}

/// Files of the old tree at whose paths no file of the same content stands.
fn rewritten(pages: &Pages, old: &Entry, new: &Entry, progress: &dyn Progress) -> Result<Option<u64>, StoreError> {
    pages.sum_differences(old, new, FOLDERS_MAX, &mut |old, new| {
        if progress.cancelled() {
            return Err(StoreError::Interrupted);
        }
        let (old, new) = (old.and_then(Entry::file), new.and_then(Entry::file));
        Ok(u64::from(old.is_some_and(|old| !new.is_some_and(|new| has_same_content(old, new)))))
    })
}

fn has_same_content(a: &FileBody, b: &FileBody) -> bool {
    match (a.content, b.content) {
        (Some(a), Some(b)) => a == b,
        _ => a.size == b.size && a.chunks == b.chunks,
    }
}
