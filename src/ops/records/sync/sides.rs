//! Both sides, brought into one order: what may be one record stands together. Memory: what a sorter takes for each of them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use crossbeam_channel::{Sender, bounded};
use rayon::prelude::*;

use crate::archives::{Merge, Sorted, Sorter};
use crate::codec::{digest, line_members, member_text};
use crate::model::Progress;
use crate::records::canonical::nfc;
use crate::records::{ObservedAt, RecordHash};
use crate::sql::{Database, Head, Scope};
use crate::store::{Item, StoreError};
use crate::tree::{ContentPiece, content_pieces};

use super::super::dataset::{Dataset, file_path, line_ranges};
use super::super::error::RecordsError;
use super::super::follow::files;
use super::super::key::KeyPath;
use super::super::stage::{Instant, instant_at};
use super::decide::{Form, Group, Standing, Version};

/// Bytes that each side's sorter takes in memory.
const SORT_MEMORY: usize = 24 << 20;
/// Groups of lines that are decoded ahead.
const AHEAD: usize = 6;
/// Groups of lines that are looked at together.
const TOGETHER: usize = 8;
/// Rows whose hash is none that are told.
const BAD_MAX: usize = 1000;

/// What may be one record, as bytes that sort: a digest over source, entity and key in NFC, or over the content of a record without a key.
type Place = [u8; 16];

fn short<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    let mut short = [0; N];
    short.copy_from_slice(&digest(&bytes).as_bytes()[..N]);
    short
}

/// Source, entity and key as they are written; an empty key is none.
pub(super) fn form_of([source, entity]: [&str; 2], key: Option<&str>) -> Form {
    let key = key.filter(|key| !key.is_empty()).map(str::as_bytes);
    let parts = [source.as_bytes(), entity.as_bytes()].into_iter().chain(key);
    short(&parts.collect::<Vec<_>>())
}

/// Where a record stands: the first bit tells whether it has a key.
fn place_of(scope: [&str; 2], key: Option<&str>, hash: &RecordHash) -> (Place, Form) {
    let form = form_of(scope, key);
    let mut place: Place;
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        let [source, entity, key] = [scope[0], scope[1], key].map(nfc);
        place = short(&[source.as_bytes(), entity.as_bytes(), key.as_bytes()]);
        place[0] |= 0x80;
    } else {
        place = short(&[hash.as_bytes()]);
        place[0] &= 0x7f;
    }
    (place, form)
}

/// Both sides, sorted.
pub(super) struct Sides {
    versions: Sorted,
    rows: Sorted,
    /// Rows whose hash is none.
    pub(super) bad: Vec<String>,
    pub(super) bad_count: u64,
}

/// What a line tells of its record.
struct LineHead {
    place: Place,
    form: Form,
    hash: RecordHash,
    instant: Instant,
    scope: Scope,
    path: Option<KeyPath>,
}

impl Sides {
    /// Reads both: all of the dataset, and of the table the rows with a source and entity that the dataset is about or has records of.
    pub(super) fn read(
        dataset: &Dataset,
        database: &mut dyn Database,
        about: Scope,
        tmp: &Path,
        progress: &dyn Progress,
    ) -> Result<Self, RecordsError> {
        let mut rows = Rows { sorter: Sorter::with_memory(tmp, SORT_MEMORY), bad: Vec::new(), bad_count: 0 };
        let (versions, mut scopes) = std::thread::scope(|threads| {
            let has_table = database.has_table();
            let first = has_table.then(|| threads.spawn(|| rows.scan(database, &about, progress)));
            let read = versions(dataset, tmp, progress);
            if let Some(first) = first {
                first.join().map_err(|_| RecordsError::Died("reading the table"))??;
            }
            read
        })?;
        scopes.remove(&about);
        if database.has_table() {
            for scope in &scopes {
                rows.scan(database, scope, progress)?;
            }
        }
        let Rows { sorter, bad, bad_count } = rows;
        Ok(Self { versions, rows: sorter.sorted(), bad, bad_count })
    }

    /// What may be one record, from the first on.
    pub(super) fn groups<'a>(&'a self, dataset: &'a Dataset) -> Result<Groups<'a>, RecordsError> {
        Ok(Groups {
            dataset,
            versions: self.versions.read().map_err(RecordsError::temporary)?,
            rows: self.rows.read().map_err(RecordsError::temporary)?,
        })
    }
}

/// Rows on their way into the order.
struct Rows {
    sorter: Sorter,
    bad: Vec<String>,
    bad_count: u64,
}

impl Rows {
    fn scan(
        &mut self,
        database: &mut dyn Database,
        scope: &Scope,
        progress: &dyn Progress,
    ) -> Result<(), RecordsError> {
        let (mut failed, mut count) = (None, 0u64);
        database.scan(scope, &mut |head: Head<'_>| {
            count += 1;
            if count.is_multiple_of(4096) && progress.cancelled() {
                failed = Some(RecordsError::Interrupted);
                return ControlFlow::Break(());
            }
            match self.add(scope, head) {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    failed = Some(e);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn add(&mut self, scope: &Scope, head: Head<'_>) -> Result<(), RecordsError> {
        let Ok(hash) = head.hash.parse::<RecordHash>() else {
            self.bad_count += 1;
            if self.bad.len() < BAD_MAX {
                let shown: String = head.hash.chars().take(80).collect();
                self.bad.push(format!("row {shown:?}: that is no hash of 64 lower-case hexadecimal digits"));
            }
            return Ok(());
        };
        let (place, form) = place_of([&scope.source, &scope.entity], head.key, &hash);
        let key = [&place[..], hash.as_bytes()].concat();
        self.sorter.push(&key, &form).map_err(RecordsError::temporary)
    }
}

/// All lines of a dataset by the places of their records, and which sources and entities there are.
fn versions(dataset: &Dataset, tmp: &Path, progress: &dyn Progress) -> Result<(Sorted, BTreeSet<Scope>), RecordsError> {
    // With as many keys as records each is the only one of its key; else paths tell which is the current one.
    let counts = dataset.counts();
    let with_paths = counts.records != counts.keys;
    let mut sorter = Sorter::with_memory(tmp, SORT_MEMORY);
    let (mut lines, mut scopes) = (0u64, BTreeSet::new());
    each_group(dataset, |groups| {
        if progress.cancelled() {
            return Err(RecordsError::Interrupted);
        }
        let read: Result<Vec<_>, RecordsError> = groups.par_iter().map(|group| heads(group, with_paths)).collect();
        for head in read?.into_iter().flatten() {
            let key = [&head.place[..], &lines.to_be_bytes()].concat();
            let path = head.path.as_ref().map_or(&[][..], KeyPath::as_bytes);
            let value = [&head.hash.as_bytes()[..], &head.instant, &head.form, path].concat();
            sorter.push(&key, &value).map_err(RecordsError::temporary)?;
            if !scopes.contains(&head.scope) {
                scopes.insert(head.scope);
            }
            lines += 1;
        }
        Ok(())
    })?;
    Ok((sorter.sorted(), scopes))
}

fn heads(group: &Item, with_paths: bool) -> Result<Vec<LineHead>, RecordsError> {
    line_ranges(group).into_iter().map(|range| head(&group[range], with_paths)).collect()
}

fn head(line: &[u8], with_path: bool) -> Result<LineHead, RecordsError> {
    let damage = || RecordsError::damage("a record", "it is not written as records are");
    let names = ["source_system", "entity_type", "natural_key", "observed_at_utc", "content_sha256"];
    let found = line_members(line, names).ok_or_else(damage)?;
    let [source, entity, key, observed, hash] = found.map(|value| value.and_then(member_text));
    let (source, entity) = (source.ok_or_else(damage)?, entity.ok_or_else(damage)?);
    let hash: RecordHash = hash.and_then(|hash| hash.parse().ok()).ok_or_else(damage)?;
    let observed = observed.as_deref().and_then(ObservedAt::parse);
    let (place, form) = place_of([&source, &entity], key.as_deref(), &hash);
    let path = with_path.then(|| match key.as_deref().filter(|key| !key.is_empty()) {
        Some(key) => KeyPath::keyed(&source, &entity, key),
        None => KeyPath::keyless(&source, &entity, &hash),
    });
    Ok(LineHead { place, form, hash, instant: instant_at(observed.as_ref()), scope: Scope { source, entity }, path })
}

/// Gives all lines of a dataset, some groups at a time, always in the same order. They are decoded ahead.
pub(super) fn each_group(
    dataset: &Dataset,
    mut take: impl FnMut(&[Item]) -> Result<(), RecordsError>,
) -> Result<(), RecordsError> {
    std::thread::scope(|threads| {
        let (to_take, groups) = bounded::<Result<Item, StoreError>>(AHEAD + TOGETHER);
        threads.spawn(move || {
            if let Err(e) = decode(dataset, &to_take) {
                let _gone = to_take.send(Err(e));
            }
        });
        let mut together = Vec::with_capacity(TOGETHER);
        loop {
            together.clear();
            let Ok(first) = groups.recv() else { return Ok(()) };
            together.push(first?);
            while together.len() < TOGETHER {
                let Ok(next) = groups.try_recv() else { break };
                together.push(next?);
            }
            take(&together)?;
        }
    })
}

/// Gives the groups of all files, in the order in which they were written: so they stand in blocks.
fn decode(dataset: &Dataset, to_take: &Sender<Result<Item, StoreError>>) -> Result<(), StoreError> {
    let pages = dataset.pages();
    for (number, day) in files(dataset)? {
        let Some(found) = pages.resolve(dataset.root(), &file_path(number, day))? else { continue };
        let Some(file) = found.entry.file() else { continue };
        let mut pieces = content_pieces(pages, file)?;
        while let Some(ContentPiece::Data { chunk, .. }) = pieces.next()? {
            if to_take.send(Ok(pages.store().chunk(&chunk.id)?)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What may be one record, one after the other.
pub(super) struct Groups<'a> {
    dataset: &'a Dataset,
    versions: Merge<'a>,
    rows: Merge<'a>,
}

impl Groups<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Group>, RecordsError> {
        let place = |merge: &mut Merge<'_>| -> Result<Option<Place>, RecordsError> {
            let pair = merge.peek().map_err(RecordsError::temporary)?;
            Ok(pair.and_then(|(key, _)| key.first_chunk::<16>().copied()))
        };
        let (version, row) = (place(&mut self.versions)?, place(&mut self.rows)?);
        let Some(least) = version.into_iter().chain(row).min() else { return Ok(None) };
        let mut group = Group { keyed: least[0] & 0x80 != 0, ..Group::default() };
        let mut paths = Vec::new();
        while place(&mut self.versions)? == Some(least) {
            if let Some((key, value)) = self.versions.next().map_err(RecordsError::temporary)? {
                let (version, path) = version_of(&key, &value).ok_or(RecordsError::Died("a temporary file"))?;
                group.versions.push(version);
                paths.push(path);
            }
        }
        while place(&mut self.rows)? == Some(least) {
            if let Some((key, value)) = self.rows.next().map_err(RecordsError::temporary)? {
                group.rows.push(row_of(&key, &value).ok_or(RecordsError::Died("a temporary file"))?);
            }
        }
        self.set_current(&mut group, &paths)?;
        Ok(Some(group))
    }

    /// Of several versions of one key, which one stands there.
    fn set_current(&self, group: &mut Group, paths: &[Vec<u8>]) -> Result<(), RecordsError> {
        for (at, path) in paths.iter().enumerate() {
            let form = group.versions[at].form;
            if group.versions.iter().filter(|version| version.form == form).count() == 1 {
                group.versions[at].current = true;
                continue;
            }
            if group.versions[..at].iter().any(|before| before.form == form) {
                continue;
            }
            let path = KeyPath::from_bytes(path);
            let line = self.dataset.current_at(&path)?;
            let current = line.as_deref().and_then(super::super::sighting::stated_hash).and_then(|h| h.parse().ok());
            let current: RecordHash = current.ok_or_else(|| {
                RecordsError::damage(
                    String::from_utf8_lossy(&path.path()),
                    "there is no record, though there are versions",
                )
            })?;
            for version in group.versions.iter_mut().filter(|version| version.form == form) {
                version.current = version.hash == current;
            }
        }
        Ok(())
    }
}

fn version_of(key: &[u8], value: &[u8]) -> Option<(Version, Vec<u8>)> {
    let line = u64::from_be_bytes(*key.last_chunk::<8>()?);
    let (hash, rest) = value.split_first_chunk::<32>()?;
    let (instant, rest) = rest.split_first_chunk::<12>()?;
    let (form, path) = rest.split_first_chunk::<8>()?;
    let hash = RecordHash::from_bytes(*hash);
    Some((Version { hash, instant: *instant, form: *form, line, current: false }, path.to_vec()))
}

fn row_of(key: &[u8], value: &[u8]) -> Option<Standing> {
    let hash = RecordHash::from_bytes(*key.last_chunk::<32>()?);
    let form = *value.first_chunk::<8>()?;
    Some(Standing { hash, means: hash, instant: [0; 12], form, known: false })
}
