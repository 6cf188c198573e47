//! Synchronising a dataset with a table of a database: both sides are read in one order (`sides`), it is decided what becomes of each record and row
//! (`decide`), and only then something is changed. What comes from the table is one import, and so one snapshot or none; what goes into it goes in
//! transactions (`push`). The dataset comes first: what is replaced in the table is in its history by then. Whenever it is stopped both sides are
//! right, and the next run finds what is left.

mod alike;
mod decide;
mod judge;
mod push;
mod sides;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::archives::{Records, Sorter, Spill};
use crate::model::{Notice, Progress, SnapshotId, Timestamp};
use crate::records::{ConflictStrategy, Record, RecordHash, RecordParser, Redactor};
use crate::sql::{Database, Payload, Scope};
use crate::store::Store;

use super::dataset::{Dataset, checked};
use super::error::RecordsError;
use super::import::{ImportOptions, import_records};
use super::source::{RawRecord, Source};
use decide::{Decider, Dispute, Group, Step};
use judge::{Judge, Portions, Verdict, Verdicts};
use sides::Sides;

pub use decide::{Direction, Preference, Resolution, Tally};

/// Groups that are decided together.
const WINDOW: usize = 2048;
/// Contents that the table is asked for at a time.
const ASKED: usize = 8192;
/// Conflicts and errors that are told one by one.
const TOLD_MAX: usize = 10_000;
/// Bytes that steps take in memory.
const STEPS_MEMORY: usize = 4 << 20;

/// How a dataset is synchronised.
#[derive(Debug)]
pub struct SyncOptions {
    /// Which way.
    pub direction: Direction,
    /// Who wins.
    pub preference: Preference,
    /// Change nothing, tell what would be changed.
    pub dry_run: bool,
    /// Make the table, and the indexes that it lacks.
    pub create: bool,
    /// Fill the table from the dataset as it was in a snapshot; it must not have rows that are not in it.
    pub rebuild: bool,
    /// Read all payloads, of rows too whose hashes the dataset knows.
    pub check_rows: bool,
    /// How what comes from the table is imported.
    pub import: ImportOptions,
}

/// Two contents under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncConflict {
    /// The source.
    pub source: String,
    /// The entity.
    pub entity: String,
    /// The key.
    pub key: Option<String>,
    /// The hash of what the dataset has.
    pub dataset: RecordHash,
    /// The hash of what the table has.
    pub sql: RecordHash,
    /// How it ended.
    pub resolution: Resolution,
}

/// What a synchronisation came to, or would come to.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// Counts.
    pub tally: Tally,
    /// The first of the conflicts.
    pub conflicts: Vec<SyncConflict>,
    /// The first of what could not be carried, and why.
    pub errors: Vec<String>,
    /// How many could not.
    pub error_count: u64,
    /// There are conflicts, and nobody may win: nothing was changed.
    pub failed: bool,
    /// The snapshot of what came from the table.
    pub snapshot: Option<SnapshotId>,
}

/// What could not be carried.
#[derive(Debug, Default)]
struct Errors {
    told: Vec<String>,
    count: u64,
}

impl Errors {
    fn tell(&mut self, text: String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(text);
        }
    }
}

/// A record in a message.
fn shown_key(key: Option<&str>, hash: &RecordHash) -> String {
    let hash = &hash.to_string()[..16];
    match key.filter(|key| !key.is_empty()) {
        Some(key) => {
            let cut: String = key.chars().take(80).collect();
            format!("{cut:?}{} ({hash})", if cut.len() < key.len() { "…" } else { "" })
        }
        None => hash.to_owned(),
    }
}

/// What is to be done.
struct Plan {
    /// Numbers of lines that go into the table, with the hashes of the rows that they replace.
    actions: Sorter,
    /// Hashes of rows that go into the dataset, in their order.
    takes: Spill,
    losing: HashSet<RecordHash>,
    /// Earlier versions that become current again.
    again: HashSet<RecordHash>,
    decider: Decider,
    conflicts: Vec<SyncConflict>,
    errors: Errors,
    /// Lines that are to go into the table, and of which it is not known yet whether their contents stand elsewhere in it.
    asked: Vec<(Step, RecordHash)>,
    /// The table has no rows at all.
    is_empty: bool,
    /// Contents of which an error tells.
    bad: HashSet<RecordHash>,
}

/// Synchronises a dataset, as it is in a snapshot, with a table. What does not fit into memory goes to files in `tmp`.
///
/// # Errors
/// If the store or the database fails, the table is missing, has rows that a rebuilt one must not have, or the user stops it. What was done until
/// then stays, and is right.
pub fn synchronise(
    store: &Store,
    dataset: &Dataset,
    database: &mut dyn Database,
    options: SyncOptions,
    tmp: &Path,
    progress: &dyn Progress,
    clock: &dyn Fn() -> Timestamp,
) -> Result<SyncReport, RecordsError> {
    if !database.has_table() {
        if !options.create {
            return Err(database.no_table().into());
        }
        if !options.dry_run {
            database.create()?;
        }
    } else if database.lacks_index() && !options.create {
        let text = "the table has no unique index on its hashes: `larder sync --create` makes what it lacks";
        progress.notice(Notice::Remark(text.to_owned()));
    }
    let Plan { actions, takes, losing, again, decider, conflicts, mut errors, .. } =
        plan(store, dataset, database, &options, tmp, progress)?;
    let mut tally = decider.tally;
    if options.rebuild && tally.strangers > 0 {
        return Err(RecordsError::Refused(format!(
            "{} has {} rows of this dataset that are not in the snapshot; nothing was changed: empty the table, then rebuild it",
            database.shown(),
            tally.strangers
        )));
    }
    let failed = options.preference == Preference::Fail && tally.conflicts > 0;
    if failed {
        let Tally { skipped, known, conflicts, strangers, .. } = tally;
        let (records, rows) = (tally.records - tally.new_keys, tally.rows - tally.inserted);
        tally = Tally { skipped, known, conflicts, records, rows, strangers, ..Tally::default() };
    }
    let mut snapshot = None;
    if !failed && !options.dry_run {
        if !takes.is_empty() {
            let strategy = Some(ConflictStrategy::Incoming);
            let import = ImportOptions { strategy, losing, again, ..options.import };
            snapshot = take(store, dataset, &takes, database, import, &mut tally, &mut errors, progress, clock)?;
        }
        if !actions.is_empty() {
            let pushed = push::push(dataset, actions, database, &mut tally, &mut errors, progress);
            if let (Err(_), Some(id)) = (&pushed, &snapshot) {
                let text = format!("what came from the table is the snapshot {}", &id.to_string()[..16]);
                progress.notice(Notice::Remark(text));
            }
            pushed?;
        }
        if options.create {
            for why in database.index()? {
                errors.tell(format!("an index of the table was not made: {why}"));
            }
        }
    }
    Ok(SyncReport { tally, conflicts, errors: errors.told, error_count: errors.count, failed, snapshot })
}

/// Reads both sides and decides.
fn plan(
    store: &Store,
    dataset: &Dataset,
    database: &mut dyn Database,
    options: &SyncOptions,
    tmp: &Path,
    progress: &dyn Progress,
) -> Result<Plan, RecordsError> {
    let manifest = dataset.manifest()?;
    let about = Scope { source: manifest.source_system.clone(), entity: manifest.entity_type.clone() };
    let alike = if options.check_rows { None } else { alike::alike(dataset, database, &about, progress)? };
    let mut plan = Plan {
        actions: Sorter::with_memory(tmp, STEPS_MEMORY),
        takes: Spill::new(tmp, STEPS_MEMORY),
        losing: HashSet::new(),
        again: HashSet::new(),
        decider: Decider::new(options.direction, options.preference),
        conflicts: Vec::new(),
        errors: Errors::default(),
        asked: Vec::new(),
        is_empty: !database.has_table() || database.is_empty()?,
        bad: HashSet::new(),
    };
    if let Some(records) = alike {
        plan.decider.all_agree(records);
        return Ok(plan);
    }
    let sides = Sides::read(dataset, database, about, tmp, progress)?;
    let policy = &manifest.redaction_policy;
    let redacts = options.import.redact.unwrap_or(policy.enabled);
    let redactor = redacts.then(|| Redactor::new(policy, store.keyring().ids().redaction())).transpose()?;
    let mut judge = Judge { dataset, redactor, limits: options.import.limits, portions: Portions::default() };
    plan.errors = Errors { told: sides.bad.clone(), count: sides.bad_count };
    (plan.decider.tally.strangers, plan.decider.tally.rows) = (sides.bad_count, sides.bad_count);
    let mut groups = sides.groups(dataset)?;
    let (mut window, mut asked) = (Vec::with_capacity(WINDOW), Vec::new());
    loop {
        if progress.cancelled() {
            return Err(RecordsError::Interrupted);
        }
        while window.len() < WINDOW
            && let Some(group) = groups.next()?
        {
            if options.check_rows {
                asked.extend(group.rows.iter().map(|row| (row.hash, row.form)));
            } else if !options.rebuild {
                asked.extend(group.unknown(options.direction).map(|row| (row.hash, row.form)));
            }
            window.push(group);
        }
        if window.is_empty() {
            plan.ask(dataset, database)?;
            return Ok(plan);
        }
        let verdicts = if asked.is_empty() { Verdicts::new() } else { judge.judge(&asked, database)? };
        for mut group in window.drain(..) {
            weigh(&mut group, &verdicts, &mut plan);
            plan.decider.decide(&group);
            plan.note(dataset)?;
        }
        if plan.asked.len() >= ASKED {
            plan.ask(dataset, database)?;
        }
        asked.clear();
    }
}

/// Puts into a group what is known of its rows; those that do not hold what they say are told and left out.
fn weigh(group: &mut Group, verdicts: &Verdicts, plan: &mut Plan) {
    let Group { versions, rows, .. } = group;
    rows.retain_mut(|row| match verdicts.get(&(row.hash, row.form)) {
        Some(Verdict::Bad(why)) => {
            if plan.bad.insert(row.hash) {
                plan.errors.tell(format!("row {}: {why}; it was left as it is", row.hash));
            }
            plan.decider.tally.rows += 1;
            false
        }
        Some(Verdict::Good { means, instant, known }) => {
            (row.means, row.instant, row.known) = (*means, *instant, *known);
            true
        }
        None => {
            if let Some(version) = versions.iter().find(|version| version.hash == row.hash) {
                row.instant = version.instant;
            }
            true
        }
    });
}

impl Plan {
    /// Keeps what was decided.
    fn note(&mut self, dataset: &Dataset) -> Result<(), RecordsError> {
        for step in std::mem::take(&mut self.decider.steps) {
            match step {
                Step::Insert(_, hash) | Step::Replace(_, hash, _) if !self.is_empty => self.asked.push((step, hash)),
                Step::Insert(..) | Step::Replace(..) => self.act(step)?,
                Step::Take(row) => self.take(row)?,
                Step::Keep(row, means) => {
                    self.losing.insert(means);
                    self.take(row)?;
                }
                Step::Again(means) => {
                    self.again.insert(means);
                    self.take(means)?;
                }
            }
        }
        for dispute in std::mem::take(&mut self.decider.disputes) {
            if self.conflicts.len() < TOLD_MAX {
                self.conflicts.push(named(dataset, dispute)?);
            }
        }
        Ok(())
    }

    fn take(&mut self, row: RecordHash) -> Result<(), RecordsError> {
        self.takes.push(row.as_bytes()).map_err(RecordsError::temporary)
    }

    fn act(&mut self, step: Step) -> Result<(), RecordsError> {
        match step {
            Step::Insert(line, _) => self.actions.push(&line.to_be_bytes(), &[]),
            Step::Replace(line, _, row) => self.actions.push(&line.to_be_bytes(), row.as_bytes()),
            Step::Again(_) | Step::Take(_) | Step::Keep(..) => Ok(()),
        }
        .map_err(RecordsError::temporary)
    }

    /// Lets lines go into the table whose contents do not stand elsewhere in it: it has each content once. Of the others it is told.
    fn ask(&mut self, dataset: &Dataset, database: &mut dyn Database) -> Result<(), RecordsError> {
        let asked = std::mem::take(&mut self.asked);
        for asked in asked.chunks(ASKED) {
            let hashes: Vec<_> = asked.iter().map(|(_, hash)| *hash).collect();
            let there: HashSet<String> = database.payloads(&hashes)?.into_iter().map(|payload| payload.hash).collect();
            for (step, hash) in asked {
                if !there.contains(&hash.to_string()) {
                    self.act(*step)?;
                    continue;
                }
                let tally = &mut self.decider.tally;
                if matches!(step, Step::Insert(..)) {
                    (tally.inserted, tally.rows) = (tally.inserted - 1, tally.rows - 1);
                } else {
                    tally.updated -= 1;
                }
                if self.bad.insert(*hash) {
                    let record = stored(dataset, hash)?;
                    let shown = shown_key(record.natural_key.as_deref(), hash);
                    self.errors.tell(format!(
                        "{shown}: the table has this content under another source, entity or key; nothing was changed"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A record that the dataset has.
fn stored(dataset: &Dataset, hash: &RecordHash) -> Result<Record, RecordsError> {
    let missing = || RecordsError::damage("a record", "the index does not have it");
    let line = dataset.by_hash(hash)?.ok_or_else(missing)?;
    checked(&mut RecordParser::of_stored(), &line)
}

/// A conflict with the names of what it is about.
fn named(dataset: &Dataset, dispute: Dispute) -> Result<SyncConflict, RecordsError> {
    let Dispute { dataset: ours, sql, resolution } = dispute;
    let record = stored(dataset, &ours)?;
    let (source, entity, key) = (record.source_system, record.entity_type, record.natural_key);
    Ok(SyncConflict { source, entity, key, dataset: ours, sql, resolution })
}

/// Imports rows.
#[allow(clippy::too_many_arguments, reason = "each is another thing")]
fn take(
    store: &Store,
    dataset: &Dataset,
    takes: &Spill,
    database: &mut dyn Database,
    import: ImportOptions,
    tally: &mut Tally,
    errors: &mut Errors,
    progress: &dyn Progress,
    clock: &dyn Fn() -> Timestamp,
) -> Result<Option<SnapshotId>, RecordsError> {
    let again = import.again.clone();
    let mut source = Taken {
        file: Arc::from(database.shown()),
        hashes: takes.read(),
        dataset,
        again: &again,
        database,
        portions: Portions::default(),
        waiting: Vec::new().into_iter(),
        number: 0,
        gone: 0,
    };
    let report = import_records(store, &mut source, import, progress, clock)?;
    for bad in &report.bad {
        errors.tell(format!("a row was changed meanwhile, or cannot be kept: {}", bad.reason));
    }
    errors.count += report.invalid - report.bad.len() as u64;
    for _ in 0..source.gone {
        errors.tell("a row was taken away meanwhile".to_owned());
    }
    let lost = report.invalid + source.gone;
    tally.taken = tally.taken.saturating_sub(lost);
    tally.records -= lost.min(tally.new_keys);
    Ok(report.snapshot.map(|(id, _)| id))
}

/// Rows of a table, as a source of records; what the dataset has comes from there.
struct Taken<'a> {
    hashes: Records<'a>,
    dataset: &'a Dataset,
    again: &'a HashSet<RecordHash>,
    database: &'a mut dyn Database,
    portions: Portions,
    file: Arc<str>,
    waiting: std::vec::IntoIter<Vec<u8>>,
    number: u64,
    /// Rows that were there when it was decided.
    gone: u64,
}

impl Taken<'_> {
    /// The next lines; false if there are none any more.
    fn fill(&mut self) -> Result<bool, RecordsError> {
        let mut hashes = Vec::new();
        while hashes.len() < self.portions.rows()
            && let Some(hash) = self.hashes.next().map_err(RecordsError::temporary)?
        {
            let hash = hash.first_chunk::<32>().ok_or(RecordsError::Died("a temporary file"))?;
            hashes.push(RecordHash::from_bytes(*hash));
        }
        let of_table: Vec<_> = hashes.iter().filter(|hash| !self.again.contains(hash)).copied().collect();
        let payloads = self.database.payloads(&of_table)?;
        self.portions.saw(&payloads);
        let mut by_hash: HashMap<String, String> =
            payloads.into_iter().map(|Payload { hash, text }| (hash, text)).collect();
        let (mut lines, any) = (Vec::with_capacity(hashes.len()), !hashes.is_empty());
        for hash in hashes {
            if self.again.contains(&hash) {
                lines.extend(self.dataset.by_hash(&hash)?.map(|line| line.to_vec()));
            } else {
                let text = by_hash.remove(&hash.to_string());
                self.gone += u64::from(text.is_none());
                lines.extend(text.map(|text| judge::line_of(&text).into_owned().into_bytes()));
            }
        }
        self.waiting = lines.into_iter();
        Ok(any)
    }
}

impl Source for Taken<'_> {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        while self.waiting.len() == 0 && self.fill()? {}
        let Some(text) = self.waiting.next() else { return Ok(None) };
        self.number += 1;
        Ok(Some(RawRecord { text: Some(text), file: self.file.clone(), line: self.number, fault: None }))
    }
}
