//! Importing records: read, plan, apply, commit.

use std::collections::HashSet;

use crate::model::{
    DatasetName, Evidence, Manifest, Notice, Progress, SnapshotId, SnapshotKind, Statistics, Timestamp,
};
use crate::records::tape::Limits;
use crate::records::{ConflictStrategy, DatasetManifest, ObservedAt, RecordHash, Redactor};
use crate::store::{NewSnapshot, Store, StoreError, Waiting, Writer};
use crate::tree::Pages;

use super::apply::{Applier, Look};
use super::dataset::{Dataset, days_of};
use super::error::RecordsError;
use super::plan::{Plan, Planner};
use super::source::{RawRecord, Source};
use super::stage::{BadLine, Reading, RedactedPlace};
use crate::ops::owners::Owners;

/// Records in a file unless a dataset says otherwise.
const CHUNK_SIZE: u32 = 1000;
/// Bytes that decoded pages may take.
const PAGE_BUDGET: u64 = 32 << 20;

/// How records are imported.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Into which dataset.
    pub dataset: DatasetName,
    /// What a dataset that is made for them is like; nothing: one that is not there is an error.
    pub new: Option<DatasetManifest>,
    /// Instead of what the dataset says.
    pub strategy: Option<ConflictStrategy>,
    /// Contents that become earlier versions, whatever the strategy says.
    pub losing: HashSet<RecordHash>,
    /// Earlier versions that become current again when they come.
    pub again: HashSet<RecordHash>,
    /// Make the dataset though no record comes.
    pub empty: bool,
    /// Import nothing if a line is no record.
    pub strict: bool,
    /// What is read of a record at most.
    pub limits: Limits,
    /// Redact, or do not, whatever the dataset says.
    pub redact: Option<bool>,
    /// Wait for another writer.
    pub waiting: Waiting,
    /// Host, user and program.
    pub who: (String, String, String),
    /// Why.
    pub reason: Option<String>,
    /// Where the records come from, as paths.
    pub sources: Vec<Vec<u8>>,
}

impl ImportOptions {
    /// For a dataset: by its own policies, with the usual limits, waiting for other writers; it must be there.
    #[must_use]
    pub fn new(dataset: DatasetName) -> Self {
        Self {
            dataset,
            new: None,
            strategy: None,
            losing: HashSet::new(),
            again: HashSet::new(),
            empty: false,
            strict: false,
            limits: Limits::default(),
            redact: None,
            waiting: Waiting::Wait,
            who: (String::new(), String::new(), String::new()),
            reason: None,
            sources: Vec::new(),
        }
    }
}

/// What an import came to, or would come to.
#[derive(Debug)]
pub struct Report {
    /// Records whose content was new, under a new key or none.
    pub inserted: u64,
    /// Records that won a conflict.
    pub updated: u64,
    /// Records whose content was known.
    pub skipped: u64,
    /// Records whose content was new, under a known key.
    pub conflicts: u64,
    /// Records in which something was redacted.
    pub redacted: u64,
    /// Records that said, as they came, that something had been redacted in them.
    pub redacted_before: u64,
    /// Lines that are no records.
    pub invalid: u64,
    /// Further observations that were kept.
    pub sightings: u64,
    /// Of these: how many are of a version that is not current, observed when a new content would have won. Not counted among more than 10,000
    /// sightings.
    pub returned: u64,
    /// The first of the bad lines.
    pub bad: Vec<BadLine>,
    /// The first of the conflicts.
    pub told: Vec<super::plan::Conflict>,
    /// The first of the redactions.
    pub redactions: Vec<RedactedPlace>,
    /// The dataset was not there before.
    pub new_dataset: bool,
    /// A policy of redaction was obeyed.
    pub redacts: bool,
    /// The snapshot; nothing if nothing was to be changed, or of a dry run.
    pub snapshot: Option<(SnapshotId, Manifest)>,
}

/// A source that is known to be empty.
#[derive(Debug)]
pub struct Nothing;

impl Source for Nothing {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        Ok(None)
    }
}

/// Imports records: all of them that are records, in one snapshot, or none.
///
/// # Errors
/// If the source cannot be read, a conflict or a bad line forbids it, the store fails, or the user stops it; then there is no snapshot.
pub fn import_records(
    store: &Store,
    source: &mut dyn Source,
    options: ImportOptions,
    progress: &dyn Progress,
    clock: &dyn Fn() -> Timestamp,
) -> Result<Report, RecordsError> {
    import_with(store, source, options, &mut |_| Ok(()), progress, clock)
}

/// Changes what a dataset says of itself and the policies that hold for it, in a snapshot of its own, or none if it says so already. Its name stays.
///
/// # Errors
/// If it is no record dataset, `change` refuses, or the store fails.
pub fn change_dataset(
    store: &Store,
    options: ImportOptions,
    change: &mut dyn FnMut(&mut DatasetManifest) -> Result<(), RecordsError>,
    progress: &dyn Progress,
    clock: &dyn Fn() -> Timestamp,
) -> Result<Report, RecordsError> {
    import_with(store, &mut Nothing, options, change, progress, clock)
}

fn import_with(
    store: &Store,
    source: &mut dyn Source,
    options: ImportOptions,
    change: &mut dyn FnMut(&mut DatasetManifest) -> Result<(), RecordsError>,
    progress: &dyn Progress,
    clock: &dyn Fn() -> Timestamp,
) -> Result<Report, RecordsError> {
    let begun = clock();
    let told = std::sync::atomic::AtomicBool::new(false);
    let writer = store.writer(options.waiting, &|| {
        if !told.swap(true, std::sync::atomic::Ordering::Relaxed) {
            progress.notice(Notice::Remark("another larder is writing to this store; waiting for it".to_owned()));
        }
        !progress.cancelled()
    })?;
    let newest = writer.newest(&options.dataset)?;
    let tmp = store.dir().join("tmp");
    let job = Job::new(store, &options, newest.as_ref().map(|(_, manifest)| manifest), begun)?;
    let outcome = job.read(source, &options, &tmp, progress).and_then(|(mut stage, mut manifest)| {
        let plan = job.plan(&mut stage, &manifest, &options, &tmp, progress)?;
        let report = job.report(&plan, &mut stage, &manifest, &options);
        let before = manifest.clone();
        change(&mut manifest)?;
        if plan.is_empty() && manifest == before && (newest.is_some() || !options.empty) {
            return Ok((report, None));
        }
        let applied = job.apply(&writer, &stage, plan, &manifest, &tmp, progress)?;
        Ok((report, Some((applied, manifest.retention_class))))
    });
    let (mut report, applied) = match outcome {
        Ok(done) => done,
        // A failing disk shows first as "writing has failed before": tell the reason instead.
        Err(RecordsError::Store(e)) => return Err(writer.failure().unwrap_or(e).into()),
        Err(e) => return Err(e),
    };
    let Some((applied, class)) = applied else { return Ok(report) };
    if progress.cancelled() {
        return Err(RecordsError::Interrupted);
    }
    let evidence = Evidence { retention_class: class, ..Evidence::default() };
    let new = job.snapshot(applied, evidence, options, newest.map(|(_, manifest)| manifest));
    let info = writer.commit(new, clock())?;
    report.snapshot = Some((info.id, info.manifest));
    Ok(report)
}

/// Tells what an import would do, by the same plan, and writes nothing.
///
/// # Errors
/// As [`import_records`].
pub fn rehearse_records(
    store: &Store,
    source: &mut dyn Source,
    options: &ImportOptions,
    tmp: &std::path::Path,
    progress: &dyn Progress,
    now: Timestamp,
) -> Result<Report, RecordsError> {
    let newest = newest_of(store, &options.dataset)?;
    let job = Job::new(store, options, newest.as_ref(), now)?;
    let (mut stage, manifest) = job.read(source, options, tmp, progress)?;
    let plan = job.plan(&mut stage, &manifest, options, tmp, progress)?;
    Ok(job.report(&plan, &mut stage, &manifest, options))
}

/// The newest snapshot of a dataset, if it has one.
///
/// # Errors
/// If the store cannot be read.
pub fn newest_of(store: &Store, dataset: &DatasetName) -> Result<Option<Manifest>, StoreError> {
    store.newest_of(dataset)?.map(|id| store.manifest(&id)).transpose()
}

struct Job<'a> {
    store: &'a Store,
    pages: Pages,
    dataset: Option<Dataset>,
    begun: Timestamp,
}

impl<'a> Job<'a> {
    fn new(
        store: &'a Store,
        options: &ImportOptions,
        newest: Option<&Manifest>,
        begun: Timestamp,
    ) -> Result<Self, RecordsError> {
        let pages = Pages::new(store, PAGE_BUDGET);
        let dataset = match newest {
            Some(manifest) => {
                let of = Dataset::of(&pages, manifest)?;
                Some(of.ok_or_else(|| Dataset::missing(&pages, manifest, options.dataset.as_str()))?)
            }
            None => None,
        };
        Ok(Self { store, pages, dataset, begun })
    }

    fn report(
        &self,
        plan: &Plan,
        stage: &mut super::stage::Stage,
        manifest: &DatasetManifest,
        options: &ImportOptions,
    ) -> Report {
        Report {
            inserted: plan.inserted,
            updated: plan.updated,
            skipped: plan.skipped,
            conflicts: plan.conflicts,
            redacted: stage.redacted,
            redacted_before: stage.redacted_before,
            invalid: stage.invalid,
            sightings: plan.sightings,
            returned: plan.returned,
            bad: std::mem::take(&mut stage.bad),
            told: plan.told.clone(),
            redactions: std::mem::take(&mut stage.redactions),
            new_dataset: self.dataset.is_none(),
            redacts: options.redact.unwrap_or(manifest.redaction_policy.enabled),
            snapshot: None,
        }
    }

    /// The dataset's description as it is, or as it is to be.
    fn manifest(&self, options: &ImportOptions) -> Result<DatasetManifest, RecordsError> {
        match (&self.dataset, &options.new) {
            (Some(dataset), _) => dataset.manifest(),
            (None, Some(new)) => Ok(new.clone()),
            (None, None) => Err(RecordsError::NoDataset(options.dataset.to_string())),
        }
    }

    fn read(
        &self,
        source: &mut dyn Source,
        options: &ImportOptions,
        tmp: &std::path::Path,
        progress: &dyn Progress,
    ) -> Result<(super::stage::Stage, DatasetManifest), RecordsError> {
        let manifest = self.manifest(options)?;
        let ids = self.store.keyring().ids();
        let redacts = options.redact.unwrap_or(manifest.redaction_policy.enabled);
        let redactor = redacts.then(|| Redactor::new(&manifest.redaction_policy, ids.redaction())).transpose()?;
        let redact = redactor.as_ref();
        let dataset = self.dataset.as_ref();
        // What is passed over because its line is known does not become current.
        let known = dataset.filter(|_| options.again.is_empty());
        let reading =
            Reading { ids, limits: options.limits, redact, dataset: known, today: self.today(), tmp, progress };
        let stage = reading.stage(source)?;
        if options.strict && stage.invalid > 0 {
            let bad = stage.bad.iter().take(20).map(|bad| {
                let colon = if bad.file.is_empty() { "" } else { ":" };
                format!("{}{colon}{}: {}", bad.file, bad.line, bad.reason)
            });
            let bad: Vec<_> = bad.collect();
            return Err(RecordsError::Strict(format!("{} lines ({})", stage.invalid, bad.join("; "))));
        }
        Ok((stage, manifest))
    }

    fn today(&self) -> i32 {
        ObservedAt::utc(self.begun.seconds, 0).map_or(0, |today| days_of(today.day()))
    }

    fn plan(
        &self,
        stage: &mut super::stage::Stage,
        manifest: &DatasetManifest,
        options: &ImportOptions,
        tmp: &std::path::Path,
        progress: &dyn Progress,
    ) -> Result<Plan, RecordsError> {
        let strategy = options.strategy.unwrap_or(manifest.sync_policy.conflict_strategy);
        let (losing, again) = (&options.losing, &options.again);
        Planner { dataset: self.dataset.as_ref(), strategy, losing, again, tmp, progress }.plan(stage)
    }

    fn apply(
        &self,
        writer: &Writer,
        stage: &super::stage::Stage,
        plan: Plan,
        manifest: &DatasetManifest,
        tmp: &std::path::Path,
        progress: &dyn Progress,
    ) -> Result<super::apply::Applied, RecordsError> {
        let mut manifest = manifest.clone();
        let now = ObservedAt::utc(self.begun.seconds, self.begun.nanos / 1000).map(|now| now.as_str().to_owned());
        manifest.created_at = manifest.created_at.or_else(|| now.clone());
        manifest.updated_at = now;
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let mut owners = Owners::default();
        let look = Look { uid, gid, user: owners.user(uid), group: owners.group(gid), now: self.begun };
        let applier = Applier {
            writer,
            pages: &self.pages,
            dataset: self.dataset.as_ref(),
            look,
            chunk_size: manifest.chunk_size.unwrap_or(CHUNK_SIZE),
            manifest: manifest.to_text(),
            tmp,
            progress,
        };
        applier.apply(stage, plan)
    }

    fn snapshot(
        &self,
        applied: super::apply::Applied,
        evidence: Evidence,
        options: ImportOptions,
        before: Option<Manifest>,
    ) -> NewSnapshot {
        let before = before.map_or_else(Statistics::default, |before| before.statistics);
        let (files, folders, bytes) = applied.grown;
        let statistics = Statistics {
            files: before.files + files,
            folders: before.folders + folders,
            bytes: u64::try_from(i128::from(before.bytes) + bytes).unwrap_or(0),
            ..Statistics::default()
        };
        NewSnapshot {
            kind: SnapshotKind::Import,
            dataset: options.dataset,
            root: applied.root,
            links: None,
            statistics,
            client_time: self.begun,
            host: options.who.0,
            user: options.who.1,
            program: options.who.2,
            sources: options.sources,
            git_revision: None,
            reason: options.reason,
            labels: Vec::new(),
            references: Vec::new(),
            evidence,
            origin: None,
            records: Some(applied.records),
        }
    }
}
