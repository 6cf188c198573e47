//! A first look, for the usual case that nothing has changed: whether the table has just the contents that the dataset has, under the same keys. Hashes and keys tell, if each
//! record of the dataset is the only one of its key; else, and whenever there is a doubt, all is read and sorted (`sides`).

use std::ops::ControlFlow;

use rayon::prelude::*;

use crate::codec::{line_members, member_text};
use crate::model::Progress;
use crate::records::RecordHash;
use crate::sql::{Database, Scope};

use super::super::dataset::{Dataset, line_ranges};
use super::super::error::RecordsError;
use super::decide::Form;
use super::sides::{each_group, form_of};

/// Records of which that is held in memory, 40 bytes each and two sides.
const MAX: u64 = 1_500_000;

/// A hash, and the key in short.
type Mark = [u8; 40];

fn mark(hash: &RecordHash, form: Form) -> Mark {
    let mut mark = [0; 40];
    mark[..32].copy_from_slice(hash.as_bytes());
    mark[32..].copy_from_slice(&form);
    mark
}

/// How many records there are, if the table has all of them and nothing else.
pub(super) fn alike(
    dataset: &Dataset,
    database: &mut dyn Database,
    about: &Scope,
    progress: &dyn Progress,
) -> Result<Option<u64>, RecordsError> {
    let (records, keys) = (dataset.counts().records, dataset.counts().keys);
    if records != keys || records > MAX || !database.has_table() || database.count(about)? != records {
        return Ok(None);
    }
    let (ours, theirs) = std::thread::scope(|threads| {
        let theirs = threads.spawn(|| theirs(database, about, progress));
        let ours = ours(dataset, about, progress);
        let theirs = theirs.join().map_err(|_| RecordsError::Died("reading the table"))?;
        Ok::<_, RecordsError>((ours?, theirs?))
    })?;
    let (Some(mut ours), Some(mut theirs)) = (ours, theirs) else { return Ok(None) };
    rayon::join(|| ours.par_sort_unstable(), || theirs.par_sort_unstable());
    Ok((ours == theirs).then_some(records))
}

/// Those of all records; nothing if one of them is of another source or entity.
fn ours(dataset: &Dataset, about: &Scope, progress: &dyn Progress) -> Result<Option<Vec<Mark>>, RecordsError> {
    let mut all = Some(Vec::with_capacity(usize::try_from(dataset.counts().records).unwrap_or(0)));
    each_group(dataset, |groups| {
        if progress.cancelled() {
            return Err(RecordsError::Interrupted);
        }
        let hashes = groups.par_iter().map(|group| {
            line_ranges(group).into_iter().map(|range| mark_of(&group[range], about)).collect::<Option<Vec<_>>>()
        });
        for hashes in hashes.collect::<Vec<_>>() {
            match (&mut all, hashes) {
                (Some(all), Some(hashes)) => all.extend(hashes),
                _ => all = None,
            }
        }
        Ok(())
    })?;
    Ok(all)
}

fn mark_of(line: &[u8], about: &Scope) -> Option<Mark> {
    let names = ["source_system", "entity_type", "natural_key", "content_sha256"];
    let [source, entity, key, hash] = line_members(line, names)?;
    let is = |value: Option<&[u8]>, text: &str| {
        value.is_some_and(|value| {
            value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) == Some(text.as_bytes())
                || member_text(value).as_deref() == Some(text)
        })
    };
    if !is(source, &about.source) || !is(entity, &about.entity) {
        return None;
    }
    let hash = std::str::from_utf8(hash?.strip_prefix(b"\"")?.strip_suffix(b"\"")?).ok()?;
    let form = form_of([&about.source, &about.entity], member_text(key?).as_deref());
    Some(mark(&hash.parse().ok()?, form))
}

/// Those of all rows; nothing if one of them is none.
fn theirs(
    database: &mut dyn Database,
    about: &Scope,
    progress: &dyn Progress,
) -> Result<Option<Vec<Mark>>, RecordsError> {
    let mut all = Vec::new();
    let mut whole = true;
    database.scan(about, &mut |head| {
        match head.hash.parse::<RecordHash>() {
            Ok(hash) if all.len() % 4096 != 4095 || !progress.cancelled() => {
                all.push(mark(&hash, form_of([&about.source, &about.entity], head.key)));
            }
            _ => whole = false,
        }
        if whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if progress.cancelled() {
        return Err(RecordsError::Interrupted);
    }
    Ok(whole.then_some(all))
}
