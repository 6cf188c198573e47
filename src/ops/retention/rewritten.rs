//! How many files of a snapshot are not what they were in the one before it. Neither their number nor their sizes need tell, nor what is
//! new to the store: a tree overwritten with zeros brings next to nothing.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::model::{Entry, FileBody, Progress};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

use super::survey::{Series, Subject};

/// Bytes that decoded pages may take.
const PAGE_BUDGET: u64 = 16 << 20;

/// Compares each snapshot of a series with the one before it that is left; equal parts of trees are not looked at. One that cannot be
/// compared counts as unchanged: verify tells of the damage.
pub(super) fn measure(store: &Store, subjects: &mut [Subject], progress: &dyn Progress) -> Result<(), StoreError> {
    let pages = Pages::new(store, PAGE_BUDGET);
    let mut newest = HashMap::<Series, &Entry>::new();
    let mut pairs = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        if let Ok(facts) = &subject.facts {
            pairs.extend(newest.insert(subject.series, &facts.root).map(|before| (at, before, &facts.root)));
        }
    }
    let compare = |(at, old, new): (usize, &Entry, &Entry)| match rewritten(&pages, old, new, progress) {
        Ok(count) => Ok((at, count)),
        Err(e) if e.is_damage() => Ok((at, 0)),
        Err(e) => Err(e),
    };
    let counts = pairs.into_par_iter().map(compare).collect::<Result<Vec<_>, _>>()?;
    for (at, count) in counts {
        if let Ok(facts) = &mut subjects[at].facts {
            facts.measure.rewritten = count;
        }
    }
    Ok(())
}

/// Files of the old tree at whose paths no file of the same content stands.
fn rewritten(pages: &Pages, old: &Entry, new: &Entry, progress: &dyn Progress) -> Result<u64, StoreError> {
    let (mut diff, mut count) = (pages.diff(b"", old, new)?, 0);
    while let Some(difference) = diff.next()? {
        if progress.cancelled() {
            return Err(StoreError::Interrupted);
        }
        let file = |entry: &Option<Entry>| entry.as_ref().and_then(Entry::file).cloned();
        let (old, new) = (file(&difference.old), file(&difference.new));
        count += u64::from(old.is_some_and(|old| !new.is_some_and(|new| has_same_content(&old, &new))));
    }
    Ok(count)
}

fn has_same_content(a: &FileBody, b: &FileBody) -> bool {
    match (a.content, b.content) {
        (Some(a), Some(b)) => a == b,
        _ => a.size == b.size && a.chunks == b.chunks,
    }
}
