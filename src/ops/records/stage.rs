//! The first pass of an import: every text is read once, by all processors, and what the plan and the writing need of it is kept, in memory
//! while it is little, else in sealed temporary files.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::bounded;
use rayon::prelude::*;

use crate::archives::{Records, Sorter, Spill};
use crate::codec::IdKeys;
use crate::format::MAX_CHUNK;
use crate::model::Progress;
use crate::records::tape::Limits;
use crate::records::{ObservedAt, Record, RecordError, RecordHash, RecordParser, Redactor};

use super::dataset::{Dataset, days_of, sort};
use super::error::RecordsError;
use super::follow::Follower;
use super::key::KeyPath;
use super::sighting::{Observation, observation, says_redacted};
use super::source::{RawRecord, Source};

/// Bytes of texts that are read together.
const BATCH_BYTES: usize = 2 << 20;
/// The same in texts.
const BATCH_RECORDS: usize = 4096;
/// Bytes of staged records that stay in memory.
const STAGED_MEMORY: usize = 24 << 20;
/// Bytes that a sort takes in memory.
pub(super) const SORT_MEMORY: usize = 12 << 20;
/// Bad lines that are told one by one.
const BAD_MAX: usize = 10_000;

/// What is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The file it is in; empty if there is only one.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Something that was redacted in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactedPlace {
    /// The file it is in; empty if there is only one.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// Where in the record.
    pub place: String,
    /// By which rule.
    pub rule: String,
}

/// How texts are read.
pub(super) struct Reading<'a> {
    pub(super) ids: &'a IdKeys,
    pub(super) limits: Limits,
    pub(super) redact: Option<&'a Redactor>,
    /// What is known already, if there is a dataset.
    pub(super) dataset: Option<&'a Dataset>,
    /// The day of a record that does not say when it was observed.
    pub(super) today: i32,
    pub(super) tmp: &'a Path,
    pub(super) progress: &'a dyn Progress,
}

/// All texts, read.
#[derive(Debug)]
pub(super) struct Stage {
    /// The records, in order.
    records: Spill,
    /// By keyed hash, hash and number; with the observation.
    pub(super) contents: Sorter,
    /// By path of the key and number; with the time, the hash and the place in the source.
    pub(super) keys: Sorter,
    /// The names of the files that records came in.
    pub(super) files: Vec<Arc<str>>,
    pub(super) count: u64,
    /// Lines that the dataset has, byte for byte, and that are not staged.
    pub(super) known: u64,
    pub(super) redacted: u64,
    /// Records that say, as they come, that something was redacted in them.
    pub(super) redacted_before: u64,
    pub(super) redactions: Vec<RedactedPlace>,
    pub(super) invalid: u64,
    pub(super) bad: Vec<BadLine>,
}

/// One of them, ready to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Staged<'a> {
    pub(super) hash: RecordHash,
    pub(super) day: i32,
    pub(super) path: &'a [u8],
    /// With its end.
    pub(super) line: &'a [u8],
}

/// Where a record stands in what it came from: the number of the file, and the line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SourcePlace {
    file: u32,
    line: u64,
}

impl SourcePlace {
    fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.file.to_le_bytes());
        bytes[4..].copy_from_slice(&self.line.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; 12]) -> Self {
        let [a, b, c, d, line @ ..] = *bytes;
        Self { file: u32::from_le_bytes([a, b, c, d]), line: u64::from_le_bytes(line) }
    }

    /// The name of the file, and the line.
    pub(super) fn shown(self, files: &[Arc<str>]) -> (String, u64) {
        (files.get(self.file as usize).map_or_else(String::new, ToString::to_string), self.line)
    }
}

/// A time as bytes that sort; of a record that has none it is before all others.
pub(super) type Instant = [u8; 12];

pub(super) fn instant_of(record: &Record) -> Instant {
    instant_at(record.observed_at.as_ref())
}

pub(super) fn instant_at(observed: Option<&ObservedAt>) -> Instant {
    let mut bytes = [0; 12];
    if let Some(observed) = observed {
        let (seconds, micros) = observed.instant();
        let shifted = seconds.cast_unsigned() ^ 1 << 63;
        bytes[..8].copy_from_slice(&shifted.to_be_bytes());
        bytes[8..].copy_from_slice(&micros.to_be_bytes());
    }
    bytes
}

/// What a text comes to.
struct Read {
    packed: Vec<u8>,
    hash: RecordHash,
    observation: Observation,
    /// Path and time, if it has a key.
    key: Option<(KeyPath, Instant)>,
    replaced: Vec<RedactedPlace>,
    redacted_before: bool,
    file: Arc<str>,
    line: u64,
}

enum Outcome {
    Record(Box<Read>),
    Bad(BadLine),
}

impl Reading<'_> {
    /// Reads all texts of a source.
    pub(super) fn stage(&self, source: &mut dyn Source) -> Result<Stage, RecordsError> {
        let (batches, to_keep) = bounded::<Vec<Outcome>>(2);
        std::thread::scope(|threads| {
            let keeping = threads.spawn(move || {
                let mut stage = Stage::new(self.tmp);
                for batch in to_keep {
                    for outcome in batch {
                        stage.keep(outcome, self.ids)?;
                    }
                }
                Ok(stage)
            });
            let read = self.read_all(source, &batches);
            drop(batches);
            let kept: Result<Stage, RecordsError> =
                keeping.join().map_err(|_| RecordsError::Died("keeping records"))?;
            // If keeping failed that is the cause; the reading found only that nobody listens.
            let mut kept = kept?;
            let (known, redacted_before) = read?;
            kept.known = known;
            kept.redacted_before += redacted_before;
            Ok(kept)
        })
    }

    /// Gives how many lines were known, and in how many of them something had been redacted.
    fn read_all(
        &self,
        source: &mut dyn Source,
        batches: &crossbeam_channel::Sender<Vec<Outcome>>,
    ) -> Result<(u64, u64), RecordsError> {
        let mut ended = false;
        let mut follower = self.dataset.map(Follower::new);
        let (mut known, mut redacted_before) = (0, 0);
        while !ended {
            if self.progress.cancelled() {
                return Err(RecordsError::Interrupted);
            }
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while bytes < BATCH_BYTES && batch.len() < BATCH_RECORDS {
                let Some(raw) = source.next()? else {
                    ended = true;
                    break;
                };
                let text = raw.text.as_deref().unwrap_or_default();
                bytes += text.len();
                // What is stored with secrets in it, from a time without redaction, is not what would be stored now.
                let may_change = |line: &[u8]| self.redact.is_some_and(|redact| redact.may_find(line));
                if raw.fault.is_none()
                    && follower.as_mut().is_some_and(|follower| follower.knows(text.trim_ascii()))
                    && !may_change(text.trim_ascii())
                {
                    known += 1;
                    redacted_before += u64::from(says_redacted(text.trim_ascii()));
                } else {
                    batch.push(raw);
                }
            }
            self.progress.advance(batch.len() as u64, bytes as u64);
            let outcomes = batch
                .into_par_iter()
                .with_min_len(16)
                .map_init(|| RecordParser::new(self.limits), |parser, raw| self.read(parser, raw))
                .collect();
            if batches.send(outcomes).is_err() {
                return Err(RecordsError::Died("keeping records"));
            }
        }
        Ok((known, redacted_before))
    }

    fn read(&self, parser: &mut RecordParser, raw: RawRecord) -> Outcome {
        let bad = |reason: String| Outcome::Bad(BadLine { file: raw.file.to_string(), line: raw.line, reason });
        if let Some(fault) = &raw.fault {
            return bad(fault.clone());
        }
        let Some(text) = &raw.text else {
            return bad(beyond());
        };
        let mut record = match parser.read(text.trim_ascii()) {
            Ok(record) => record,
            // What may be secret is not told either.
            Err(RecordError::Type { field, wanted, found }) if self.redact.is_some() && found.starts_with('"') => {
                return bad(RecordError::Type { field, wanted, found: "another text".into() }.to_string());
            }
            Err(e) => return bad(e.to_string()),
        };
        let redacted_before = record.redactions_applied.as_str() != "[]";
        let mut replaced = Vec::new();
        if let Some(redact) = self.redact {
            match redact.apply(&record, parser) {
                Ok(None) => {}
                Ok(Some(redacted)) => {
                    record = redacted.record;
                    let places = redacted.places.into_iter();
                    let told = places.map(|place| RedactedPlace {
                        file: raw.file.to_string(),
                        line: raw.line,
                        place: place.path,
                        rule: place.rule,
                    });
                    replaced = told.collect();
                }
                // It is not stored with its secrets.
                Err(e) => return bad(format!("it cannot be redacted: {e}")),
            }
        }
        if record.exchange_id.is_empty() {
            record.exchange_id = id_for(self.ids, &record);
        }
        let mut line = record.line();
        line.push('\n');
        if let Some(why) = too_long(&line) {
            return bad(why);
        }
        let path = KeyPath::of(&record);
        let day = record.observed_at.as_ref().map_or(self.today, |observed| days_of(observed.day()));
        let staged = Staged { hash: record.content_sha256, day, path: path.as_bytes(), line: line.as_bytes() };
        Outcome::Record(Box::new(Read {
            packed: staged.pack(),
            hash: record.content_sha256,
            observation: observation(record.sighting().as_bytes()),
            key: record.key().is_some().then(|| (path, instant_of(&record))),
            replaced,
            redacted_before,
            file: raw.file,
            line: raw.line,
        }))
    }
}

/// Why a line cannot be kept, if it is too long.
pub(super) fn too_long(line: &str) -> Option<String> {
    (line.len() > MAX_CHUNK).then(beyond)
}

fn beyond() -> String {
    format!("it is longer than the {} MiB that a record may have", MAX_CHUNK >> 20)
}

/// An id for an observation that has none: the same for the same line, so that it is known when it comes again.
fn id_for(ids: &IdKeys, record: &Record) -> String {
    let line = record.line();
    let mut bytes = [0; 16];
    for (part, sort) in bytes.chunks_mut(6).zip(*b"ijk") {
        part.copy_from_slice(&ids.record(sort.to_ascii_uppercase(), line.as_bytes())[..part.len()]);
    }
    // Version 8 of RFC 9562: made in a way of its own.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl Stage {
    fn new(tmp: &Path) -> Self {
        Self {
            records: Spill::new(tmp, STAGED_MEMORY),
            contents: Sorter::with_memory(tmp, SORT_MEMORY),
            keys: Sorter::with_memory(tmp, SORT_MEMORY),
            files: Vec::new(),
            count: 0,
            known: 0,
            redacted: 0,
            redacted_before: 0,
            redactions: Vec::new(),
            invalid: 0,
            bad: Vec::new(),
        }
    }

    fn keep(&mut self, outcome: Outcome, ids: &IdKeys) -> Result<(), RecordsError> {
        let mut read = match outcome {
            Outcome::Record(read) => read,
            Outcome::Bad(bad) => {
                self.invalid += 1;
                if self.bad.len() < BAD_MAX {
                    self.bad.push(bad);
                }
                return Ok(());
            }
        };
        let number = self.count.to_be_bytes();
        let hash = read.hash.as_bytes();
        let key = [&ids.record(sort::CONTENT, hash)[..], hash, &number].concat();
        self.contents.push(&key, &read.observation).map_err(RecordsError::temporary)?;
        if let Some((path, instant)) = &read.key {
            if self.files.last().is_none_or(|last| *last != read.file) {
                self.files.push(read.file.clone());
            }
            let file = u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX);
            let place = SourcePlace { file, line: read.line }.bytes();
            let key = [path.as_bytes(), &[0], &number].concat();
            self.keys.push(&key, &[&instant[..], hash, &place].concat()).map_err(RecordsError::temporary)?;
        }
        self.records.push(&read.packed).map_err(RecordsError::temporary)?;
        self.count += 1;
        self.redacted += u64::from(!read.replaced.is_empty());
        self.redacted_before += u64::from(read.redacted_before);
        if self.redactions.len() < BAD_MAX {
            self.redactions.append(&mut read.replaced);
        }
        Ok(())
    }

    /// The records from the first on.
    pub(super) fn read(&self) -> StagedRecords<'_> {
        StagedRecords(self.records.read())
    }
}

/// Staged records, in order.
pub(super) struct StagedRecords<'a>(Records<'a>);

impl StagedRecords<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Staged<'_>>, RecordsError> {
        let packed = self.0.next().map_err(RecordsError::temporary)?;
        packed.map(|packed| Staged::unpack(packed).ok_or(RecordsError::Died("a temporary file"))).transpose()
    }
}

impl<'a> Staged<'a> {
    fn pack(&self) -> Vec<u8> {
        let path_len = u32::try_from(self.path.len()).unwrap_or(u32::MAX);
        [&self.hash.as_bytes()[..], &self.day.to_le_bytes(), &path_len.to_le_bytes(), self.path, self.line].concat()
    }

    fn unpack(packed: &'a [u8]) -> Option<Self> {
        let (hash, rest) = packed.split_first_chunk::<32>()?;
        let (day, rest) = rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (path, line) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(Self { hash: RecordHash::from_bytes(*hash), day: i32::from_le_bytes(*day), path, line })
    }
}
