//! The plan of an import: what becomes of each record, decided once. A dry run tells it, a real run applies it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::archives::{Merge, Pair, Sorter};
use crate::model::{Progress, RecordPlace};
use crate::records::{ConflictStrategy, RecordHash, RecordParser};
use crate::store::StoreError;

use super::dataset::{Dataset, checked, line_ranges, places_of, sort};
use super::error::RecordsError;
use super::key::KeyPath;
use super::sighting::{Observation, observation, observed};
use super::stage::{Instant, SORT_MEMORY, SourcePlace, Stage, instant_of};

/// Conflicts that are told one by one.
const CONFLICTS_MAX: usize = 10_000;
/// Sightings up to which is looked for those of versions that are not current: it is a look into the tree for each.
const RETURNED_MAX: u64 = 10_000;

/// What becomes of a record.
pub(super) mod flag {
    /// Its content is stored.
    pub(crate) const NEW: u8 = 1;
    /// It is the current version of its key.
    pub(crate) const CURRENT: u8 = 2;
    /// It is an earlier version, or one that lost a conflict.
    pub(crate) const EARLIER: u8 = 4;
    /// Its content is known, the observation is not.
    pub(crate) const SIGHTING: u8 = 8;
    /// While it is decided: the index has something with its short hash.
    pub(super) const ASKED: u8 = 16;
    /// While it is decided: its content is known.
    pub(super) const KNOWN: u8 = 32;
}

/// Another content under a key that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The path of the key below `by-key`.
    pub path: String,
    /// The hash of what was current.
    pub before: RecordHash,
    /// The hash of what came.
    pub incoming: RecordHash,
    /// True if what came is current now.
    pub won: bool,
    /// The file that it came in; empty if there is only one.
    pub file: String,
    /// The line that it begins in, from 1.
    pub line: u64,
}

/// What becomes of all records of an import.
#[derive(Debug)]
pub(super) struct Plan {
    /// Records whose content is new, under a new key or none.
    pub inserted: u64,
    /// Records that won a conflict and are current now.
    pub updated: u64,
    /// Records whose content is known.
    pub skipped: u64,
    /// Records whose content is new, under a known key.
    pub conflicts: u64,
    /// Of those that were skipped: how many are observations that are not known yet.
    pub sightings: u64,
    /// Of these: how many are of a version that is not current, though the strategy would let a new content win. Not counted if there are many.
    pub returned: u64,
    /// The first of the conflicts.
    pub told: Vec<Conflict>,
    pub(super) keys: u64,
    pub(super) flags: Vec<u8>,
    /// Lines for the index that follow from the plan.
    pub(super) index: Sorter,
    /// Keys that have an earlier version again, and its hash.
    pub(super) again: Vec<(KeyPath, RecordHash)>,
}

/// Who decides.
pub(super) struct Planner<'a> {
    pub(super) dataset: Option<&'a Dataset>,
    pub(super) strategy: ConflictStrategy,
    /// Contents that never win.
    pub(super) losing: &'a HashSet<RecordHash>,
    /// Earlier versions that become current again.
    pub(super) again: &'a HashSet<RecordHash>,
    pub(super) tmp: &'a Path,
    pub(super) progress: &'a dyn Progress,
}

/// A version that is or was current while conflicts are resolved.
struct Version {
    instant: Instant,
    hash: RecordHash,
    /// Its number, if it came with this import.
    number: Option<u64>,
    /// And where it stands there.
    place: SourcePlace,
}

/// A place as bytes that sort as places do.
pub(super) fn place_bytes(place: RecordPlace) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&place.file.to_be_bytes());
    bytes[8..12].copy_from_slice(&place.part.to_be_bytes());
    bytes[12..].copy_from_slice(&(place.day.cast_unsigned() ^ 1 << 31).to_be_bytes());
    bytes
}

pub(super) fn place_from(bytes: &[u8]) -> Option<RecordPlace> {
    let (file, rest) = bytes.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_first_chunk::<4>()?;
    let day = rest.first_chunk::<4>()?;
    let day = (u32::from_be_bytes(*day) ^ 1 << 31).cast_signed();
    Some(RecordPlace { file: u64::from_be_bytes(*file), part: u32::from_be_bytes(*part), day })
}

fn number_of(bytes: &[u8]) -> u64 {
    bytes.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The next pairs whose keys begin alike, but for their last `rest` bytes.
fn group(merge: &mut Merge, rest: usize) -> Result<Vec<Pair>, RecordsError> {
    let mut pairs: Vec<Pair> = Vec::new();
    let begins = |pair: &Pair| pair.0.len().saturating_sub(rest);
    while let Some(next) = merge.peek().map_err(RecordsError::temporary)? {
        if pairs.first().is_some_and(|first| first.0[..begins(first)] != next.0[..begins(next)]) {
            break;
        }
        pairs.extend(merge.next().map_err(RecordsError::temporary)?);
    }
    Ok(pairs)
}

/// The number behind the keys of such a group.
const NUMBER: usize = 8;

impl Planner<'_> {
    /// Decides. What is staged keeps its records alone.
    pub(super) fn plan(&self, stage: &mut Stage) -> Result<Plan, RecordsError> {
        let count = usize::try_from(stage.count).map_err(|_| RecordsError::Refused("too many records".to_owned()))?;
        let mut plan = Plan {
            inserted: 0,
            updated: 0,
            skipped: 0,
            conflicts: 0,
            sightings: 0,
            returned: 0,
            told: Vec::new(),
            keys: 0,
            flags: vec![0; count],
            index: self.sorter(),
            again: Vec::new(),
        };
        let contents = std::mem::replace(&mut stage.contents, self.sorter()).sorted();
        self.contents(&mut plan, &mut contents.read().map_err(RecordsError::temporary)?)?;
        // What the index has something for, and is not that.
        let mut again = contents.read().map_err(RecordsError::temporary)?;
        if plan.flags.iter().any(|f| f & flag::ASKED != 0 && f & flag::KNOWN == 0) {
            loop {
                let pairs = group(&mut again, NUMBER)?;
                let Some(first) = pairs.first() else { break };
                let flags = plan.flags.get(at(number_of(&first.0))).copied().unwrap_or_default();
                if flags & flag::ASKED != 0 && flags & flag::KNOWN == 0 {
                    plan.is_new(&pairs);
                }
            }
        }
        drop(again);
        drop(contents);
        let keys = std::mem::replace(&mut stage.keys, self.sorter()).sorted();
        self.keys(&mut plan, stage, &mut keys.read().map_err(RecordsError::temporary)?)?;
        let new = plan.flags.iter().filter(|f| *f & flag::NEW != 0).count() as u64;
        plan.inserted = new - plan.conflicts;
        plan.skipped = stage.known + stage.count - new;
        plan.sightings = plan.flags.iter().filter(|f| *f & flag::SIGHTING != 0).count() as u64;
        Ok(plan)
    }

    fn sorter(&self) -> Sorter {
        Sorter::with_memory(self.tmp, SORT_MEMORY)
    }

    fn go_on(&self) -> Result<(), RecordsError> {
        if self.progress.cancelled() { Err(RecordsError::Interrupted) } else { Ok(()) }
    }

    /// Which contents are new.
    fn contents(&self, plan: &mut Plan, merge: &mut Merge) -> Result<(), RecordsError> {
        let mut index = self.dataset.map(Dataset::index).transpose()?;
        let mut asked = self.sorter();
        let mut last: ([u8; 6], Vec<RecordPlace>) = Default::default();
        loop {
            self.go_on()?;
            let pairs = group(merge, NUMBER)?;
            let Some((short, rest)) = pairs.first().and_then(|(key, _)| key.split_first_chunk::<6>()) else { break };
            let hash = &rest[..rest.len() - NUMBER];
            if let Some(index) = &mut index
                && (last.0 != *short || last.1.is_empty())
            {
                last = (*short, places_of(index, *short)?);
            }
            if index.is_none() || last.1.is_empty() {
                plan.is_new(&pairs);
                continue;
            }
            for (key, seen) in &pairs {
                plan.set(number_of(key), flag::ASKED);
                for place in &last.1 {
                    let key = [&place_bytes(*place)[..], hash, &key[key.len() - NUMBER..]].concat();
                    asked.push(&key, seen).map_err(RecordsError::temporary)?;
                }
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let sightings = self.known(plan, asked)?;
        self.seen(plan, sightings)
    }

    /// Looks at what stands where the index leads to. Gives the observations that are not those of the records stored.
    fn known(&self, plan: &mut Plan, asked: Sorter) -> Result<Sorter, RecordsError> {
        let mut sightings = self.sorter();
        let asked = asked.sorted();
        let mut merge = asked.read().map_err(RecordsError::temporary)?;
        let Some(dataset) = self.dataset else { return Ok(sightings) };
        let ids = dataset.pages().store().keyring().ids();
        loop {
            self.go_on()?;
            let pairs = group(&mut merge, 32 + NUMBER)?;
            let Some(place) = pairs.first().and_then(|(key, _)| place_from(key)) else { break };
            let lines = dataset.lines_at(place)?;
            let mut there = std::collections::HashMap::new();
            for range in line_ranges(&lines) {
                if let Some((hash, observation)) = observed(&lines[range]) {
                    there.insert(hash, observation);
                }
            }
            for (key, seen) in &pairs {
                let (hash, number) = (&key[16..48], number_of(key));
                let Some(stored) = there.get(hash) else { continue };
                plan.set(number, flag::KNOWN);
                if stored[..] != seen[..] {
                    let key = [&ids.record(sort::SIGHTING, hash)[..], hash, &number.to_be_bytes()].concat();
                    sightings.push(&key, seen).map_err(RecordsError::temporary)?;
                }
            }
        }
        Ok(sightings)
    }

    /// Which of these observations are not among the sightings.
    fn seen(&self, plan: &mut Plan, observations: Sorter) -> Result<(), RecordsError> {
        let Some(dataset) = self.dataset else { return Ok(()) };
        let (mut index, mut asked) = (dataset.index()?, self.sorter());
        let mut last: ([u8; 6], Vec<RecordPlace>) = Default::default();
        let observations = observations.sorted();
        let mut merge = observations.read().map_err(RecordsError::temporary)?;
        loop {
            self.go_on()?;
            let pairs = group(&mut merge, NUMBER)?;
            let Some((short, rest)) = pairs.first().and_then(|(key, _)| key.split_first_chunk::<6>()) else { break };
            let hash = &rest[..rest.len() - NUMBER];
            if last.0 != *short || last.1.is_empty() {
                last = (*short, places_of(&mut index, *short)?);
            }
            let mut these: HashSet<&[u8]> = HashSet::new();
            for (key, seen) in &pairs {
                let number = number_of(key);
                if !these.insert(seen) {
                    continue;
                }
                plan.set(number, flag::SIGHTING);
                for place in &last.1 {
                    let key = [&place_bytes(*place)[..], hash, &number.to_be_bytes()].concat();
                    asked.push(&key, seen).map_err(RecordsError::temporary)?;
                }
            }
        }
        let asked = asked.sorted();
        let mut merge = asked.read().map_err(RecordsError::temporary)?;
        loop {
            self.go_on()?;
            let pairs = group(&mut merge, 32 + NUMBER)?;
            let Some(place) = pairs.first().and_then(|(key, _)| place_from(key)) else { return Ok(()) };
            let lines = dataset.lines_at(place)?;
            let there: HashSet<Observation> =
                line_ranges(&lines).into_iter().map(|range| observation(&lines[range])).collect();
            for (key, seen) in &pairs {
                if Observation::try_from(&seen[..]).is_ok_and(|seen| there.contains(&seen)) {
                    plan.unset(number_of(key), flag::SIGHTING);
                }
            }
        }
    }

    /// Which of the new contents become current under their keys.
    fn keys(&self, plan: &mut Plan, stage: &Stage, merge: &mut Merge) -> Result<(), RecordsError> {
        let mut parser = RecordParser::of_stored();
        let sightings = plan.flags.iter().filter(|flags| *flags & flag::SIGHTING != 0).count() as u64;
        let may_win = matches!(self.strategy, ConflictStrategy::Newest | ConflictStrategy::Incoming);
        let looks_for_returned = may_win && sightings <= RETURNED_MAX;
        loop {
            self.go_on()?;
            let mut pairs = group(merge, NUMBER)?;
            let Some((key, _)) = pairs.first() else { return Ok(()) };
            let path = KeyPath::from_bytes(&key[..key.len() - NUMBER - 1]);
            let mut again = Vec::new();
            if looks_for_returned {
                for (key, value) in pairs.iter().filter(|(key, _)| plan.has(number_of(key), flag::SIGHTING)) {
                    again.push(version(number_of(key), value)?);
                }
            }
            pairs.retain(|(key, value)| plan.has(number_of(key), flag::NEW) || self.is_again(value));
            if pairs.is_empty() && again.is_empty() {
                continue;
            }
            let stored = self.dataset.map_or(Ok(None), |dataset| dataset.current_at(&path))?;
            plan.keys += u64::from(stored.is_none() && !pairs.is_empty());
            let mut current = match stored {
                Some(line) => {
                    let record = checked(&mut parser, &line)?;
                    let (instant, hash) = (instant_of(&record), record.content_sha256);
                    Some(Version { instant, hash, number: None, place: SourcePlace::default() })
                }
                None => None,
            };
            for (key, value) in &pairs {
                let version = version(number_of(key), value)?;
                current = Some(match current {
                    None => version,
                    Some(current) if current.hash == version.hash => current,
                    Some(current) => self.resolve(plan, &path, current, version, &stage.files)?,
                });
            }
            if let Some(current) = &current {
                let later =
                    |seen: &Version| self.strategy != ConflictStrategy::Newest || seen.instant >= current.instant;
                let returned = again.iter().filter(|seen| seen.hash != current.hash && later(seen));
                plan.returned += returned.count() as u64;
            }
            let Some(Version { number: Some(number), hash, .. }) = current else { continue };
            if plan.has(number, flag::NEW) {
                plan.set(number, flag::CURRENT);
            } else {
                plan.again.push((path, hash));
            }
        }
    }

    /// True if a content, told behind its time, becomes current again.
    fn is_again(&self, value: &[u8]) -> bool {
        let hash = value.get(12..).and_then(<[u8]>::first_chunk::<32>);
        hash.is_some_and(|hash| self.again.contains(&RecordHash::from_bytes(*hash)))
    }

    /// The version that is current behind a conflict.
    fn resolve(
        &self,
        plan: &mut Plan,
        path: &KeyPath,
        current: Version,
        incoming: Version,
        files: &[Arc<str>],
    ) -> Result<Version, RecordsError> {
        let shown = String::from_utf8_lossy(&path.path()).into_owned();
        let (file, line) = incoming.place.shown(files);
        let is_again = self.again.contains(&incoming.hash);
        let won = match self.strategy {
            _ if is_again => true,
            _ if self.losing.contains(&incoming.hash) => false,
            ConflictStrategy::Newest => incoming.instant >= current.instant,
            ConflictStrategy::Incoming => true,
            ConflictStrategy::Existing => false,
            ConflictStrategy::Fail => {
                let place = if file.is_empty() { format!("line {line}") } else { format!("{file}:{line}") };
                return Err(RecordsError::Conflict { key: shown, place });
            }
        };
        plan.conflicts += u64::from(!is_again);
        plan.updated += u64::from(won);
        if plan.told.len() < CONFLICTS_MAX {
            let (before, incoming) = (current.hash, incoming.hash);
            plan.told.push(Conflict { path: shown, before, incoming, won, file, line });
        }
        let (winner, loser) = if won { (incoming, current) } else { (current, incoming) };
        match (loser.number, self.dataset) {
            (Some(number), _) => plan.set(number, flag::EARLIER),
            (None, None) => {}
            (None, Some(dataset)) => {
                let missing = || StoreError::damage(path_text(path), "the index does not have its record");
                let (place, _) = dataset.place_of(&loser.hash)?.ok_or_else(missing)?;
                let ids = dataset.pages().store().keyring().ids();
                plan.add_to_index(ids.record(sort::VERSION, path.as_bytes()), place)?;
            }
        }
        Ok(winner)
    }
}

fn path_text(path: &KeyPath) -> String {
    String::from_utf8_lossy(&path.path()).into_owned()
}

fn version(number: u64, value: &[u8]) -> Result<Version, RecordsError> {
    let parted = value.split_first_chunk::<12>().and_then(|(instant, rest)| {
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        Some((*instant, *hash, SourcePlace::from_bytes(rest.first_chunk::<12>()?)))
    });
    let (instant, hash, place) = parted.ok_or(RecordsError::Died("a temporary file"))?;
    Ok(Version { instant, hash: RecordHash::from_bytes(hash), number: Some(number), place })
}

fn at(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Plan {
    fn set(&mut self, number: u64, flag: u8) {
        if let Some(flags) = self.flags.get_mut(at(number)) {
            *flags |= flag;
        }
    }

    fn unset(&mut self, number: u64, flag: u8) {
        if let Some(flags) = self.flags.get_mut(at(number)) {
            *flags &= !flag;
        }
    }

    fn has(&self, number: u64, flag: u8) -> bool {
        self.flags.get(at(number)).is_some_and(|flags| flags & flag != 0)
    }

    /// One content that nobody has: the first is stored, of the others what they observed beside it.
    fn is_new(&mut self, pairs: &[Pair]) {
        let Some(((first, observed), others)) = pairs.split_first() else { return };
        self.set(number_of(first), flag::NEW);
        if others.is_empty() {
            return;
        }
        let mut seen: HashSet<&[u8]> = HashSet::from([&observed[..]]);
        for (key, observed) in others {
            if seen.insert(observed) {
                self.set(number_of(key), flag::SIGHTING);
            }
        }
    }

    /// A line for the index.
    pub(super) fn add_to_index(&mut self, hash: [u8; 6], place: RecordPlace) -> Result<(), RecordsError> {
        let key = [&hash[..], &place_bytes(place)].concat();
        self.index.push(&key, &[]).map_err(RecordsError::temporary)
    }

    /// True if the import would change nothing.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.again.is_empty() && self.flags.iter().all(|flags| flags & (flag::NEW | flag::SIGHTING) == 0)
    }
}
