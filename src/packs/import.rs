//! Import: an archive becomes a snapshot, each snapshot of a pack of Larder's one of its own.
//!
//! An imported snapshot is a replay: it says so itself (its kind, its labels), and keeps what the original said of itself (its origin). What
//! another store granted counts for nothing here: *immutable* and the retention class are taken over only if whoever imports says so.

use std::collections::BTreeMap;

use serde_json::json;

use crate::archives::{ArchiveError, Content, Limits, Member, Opened};
use crate::format::records_of;
use crate::model::{DatasetName, Evidence, Failure, Kind, Notice, Progress, Reference, SnapshotKind, Timestamp};
use crate::ops::capture::{About, CaptureError, CaptureOptions, Captured, Clock, Intake, intake};
use crate::store::Store;

use super::audit::{AuditError, Audited, Visitor, audit};
use super::drain::{Stopped, drain};
use super::layouts::{Misfit, Observer, Seen, Wanted, labels};
use super::manifest::{Head, SnapshotInfo, Tail};
use super::watch::watched;

/// How to import.
#[derive(Debug)]
pub struct ImportOptions {
    /// How it is stored, and what goes before what the pack says: reason, labels, references, evidence fields. Its dataset is that of an
    /// archive that names none.
    pub capture: CaptureOptions,
    /// The dataset, whatever the pack says.
    pub dataset: Option<DatasetName>,
    /// Take *immutable* and the retention class over from the pack.
    pub keep_retention: bool,
    /// Where the archive comes from, for its origin: a file's name.
    pub source: Option<String>,
    /// How much the archive may make of itself.
    pub limits: Limits,
    /// Which layouts of other systems are looked for in an archive that is not Larder's.
    pub layout: Wanted,
}

/// A snapshot that was imported.
#[derive(Debug)]
pub struct Imported {
    /// What stands for it.
    pub captured: Captured,
    /// What the pack says of the original; nothing of archives of others.
    pub original: Option<Original>,
}

/// The snapshot that a pack carries.
#[derive(Debug, Clone)]
pub struct Original {
    /// What the pack says of it.
    pub snapshot: SnapshotInfo,
    /// The pack has not all of it: paths that it has.
    pub paths: Option<Vec<String>>,
}

impl From<&Head> for Original {
    fn from(head: &Head) -> Self {
        Self { snapshot: head.snapshot.clone(), paths: head.printable_paths() }
    }
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive, or the pack in it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store, or what it cannot hold.
    #[error(transparent)]
    Capture(CaptureError),
    /// It has the layout of another system, or should have, and is not as that says.
    #[error(transparent)]
    Layout(#[from] Misfit),
    /// Nothing in it.
    #[error("there is nothing in the archive")]
    Empty,
}

impl From<CaptureError> for ImportError {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Content(e) => Self::Audit(ArchiveError::from(e).into()),
            other => Self::Capture(other),
        }
    }
}

impl Failure for ImportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Audit(e) => e.kind(),
            Self::Capture(e) => e.kind(),
            Self::Layout(e) => e.kind(),
            Self::Empty => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Audit(e) => e.hint(),
            Self::Capture(e) => e.hint(),
            Self::Layout(e) => e.hint(),
            Self::Empty => None,
        }
    }
}

/// Imports all that an archive holds, in one commit. Tells what was met, too.
///
/// # Errors
/// If anything in it is not as it should be, the store fails, or the user stops it; then nothing was imported.
pub fn import(
    store: &Store,
    opened: Opened,
    options: &ImportOptions,
    progress: &dyn Progress,
    clock: Clock,
) -> Result<(Vec<Imported>, Audited), ImportError> {
    let dir = store.dir().join("tmp");
    let (mut originals, mut met) = (Vec::new(), Audited::default());
    let captured = intake::<ImportError>(store, &options.capture, progress, clock, |intake| {
        let observer = Observer::new(options.layout);
        let mut importing = Importing { store, intake, options, head: None, observer, originals: &mut originals };
        let audited = audit::<ImportError>(opened, &options.limits, &dir, &mut importing)?;
        let Importing { intake, observer, .. } = importing;
        let seen = judged(&audited, observer, progress)?;
        if audited.snapshots == 0 {
            intake.finish(foreign(options, seen))?;
        }
        met = audited;
        Ok(())
    })?;
    let mut originals = originals.into_iter();
    let imported = captured.into_iter().map(|captured| Imported { captured, original: originals.next() });
    Ok((imported.collect(), met))
}

/// Looks at all that an archive holds, as an import does, and stores nothing.
///
/// # Errors
/// If an import would fail for what is in it, or the user stops it.
pub fn rehearse(
    opened: Opened,
    options: &ImportOptions,
    progress: &dyn Progress,
    dir: &std::path::Path,
) -> Result<(Audited, Vec<Original>), ImportError> {
    let mut looking = Looking { progress, observer: Observer::new(options.layout), originals: Vec::new() };
    let audited = audit::<ImportError>(opened, &options.limits, dir, &mut looking)?;
    let Looking { observer, originals, .. } = looking;
    judged(&audited, observer, progress)?;
    Ok((audited, originals))
}

/// What the observer saw of an archive that is not Larder's; refused if that is not as it should be.
fn judged(audited: &Audited, observer: Observer, progress: &dyn Progress) -> Result<Option<Seen>, ImportError> {
    if audited.members == 0 {
        return Err(ImportError::Empty);
    }
    if audited.snapshots > 0 {
        return Ok(None);
    }
    let seen = observer.judge()?;
    for remark in seen.iter().flat_map(|seen| &seen.remarks) {
        progress.notice(Notice::Remark(remark.clone()));
    }
    Ok(seen)
}

/// The dataset that a snapshot of a pack goes to: the one that the pack names, unless the newest snapshot of that name here was captured, or has records. Then
/// that goes on as it was, and replays have a series beside it, with `.import` behind its name.
///
/// # Errors
/// If the pack names one that cannot be.
pub fn dataset_of(store: &Store, options: &ImportOptions, original: &SnapshotInfo) -> Result<DatasetName, ImportError> {
    if let Some(dataset) = &options.dataset {
        return Ok(dataset.clone());
    }
    let own: DatasetName = original.dataset.parse().map_err(|_| wrong("the name of its dataset"))?;
    if !goes_on(store, &own)? {
        return Ok(own);
    }
    format!("{own}.import")
        .parse()
        .map_err(|_| wrong("the name of its dataset is too long for one behind which stands .import"))
}

/// True if the newest snapshot of a dataset is there and no replay, or one of records. Who may not look takes it for one.
fn goes_on(store: &Store, dataset: &DatasetName) -> Result<bool, ImportError> {
    let newest = store.newest_of(dataset).map_err(CaptureError::from)?;
    let manifest = newest.and_then(|id| store.manifest(&id).ok());
    Ok(manifest
        .is_some_and(|manifest| manifest.kind != SnapshotKind::Import || !matches!(records_of(&manifest), Ok(None))))
}

fn wrong(what: &str) -> ImportError {
    let why = format!("the snapshot that it tells of cannot be: {what}");
    AuditError::Mismatch { member: "manifest.json".to_owned(), why }.into()
}

struct Importing<'a, 'i, 't, 's> {
    store: &'a Store,
    intake: &'i mut Intake<'t, 's>,
    options: &'a ImportOptions,
    head: Option<Head>,
    observer: Observer,
    originals: &'a mut Vec<Original>,
}

impl Visitor<ImportError> for Importing<'_, '_, '_, '_> {
    fn begin(&mut self, head: &Head) -> Result<(), ImportError> {
        // What cannot be is refused before anything is read.
        about(self.store, self.options, head)?;
        self.head = Some(head.clone());
        Ok(())
    }

    fn member(&mut self, member: &Member, linked: bool, content: &mut dyn Content) -> Result<(), ImportError> {
        if self.head.is_some() {
            return Ok(self.intake.member(member, linked, content)?);
        }
        Ok(self.intake.member(member, linked, &mut watched(&mut self.observer, member, content))?)
    }

    fn end(&mut self, _: &Tail) -> Result<(), ImportError> {
        if let Some(head) = self.head.take() {
            self.intake.finish(about(self.store, self.options, &head)?)?;
            self.originals.push(Original::from(&head));
        }
        Ok(())
    }
}

struct Looking<'a> {
    progress: &'a dyn Progress,
    observer: Observer,
    originals: Vec<Original>,
}

impl Visitor<ImportError> for Looking<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), ImportError> {
        self.originals.push(Original::from(head));
        Ok(())
    }

    fn member(&mut self, member: &Member, _: bool, content: &mut dyn Content) -> Result<(), ImportError> {
        let mut seen;
        let content: &mut dyn Content = if self.originals.is_empty() {
            seen = watched(&mut self.observer, member, content);
            &mut seen
        } else {
            content
        };
        let read = drain(content, |bytes| {
            self.progress.advance(0, bytes);
            !self.progress.cancelled()
        });
        read.map_err(|stopped| match stopped {
            Stopped::Cancelled => ImportError::from(CaptureError::Interrupted),
            Stopped::Read(error) => AuditError::from(error).into(),
        })?;
        self.progress.advance(1, 0);
        Ok(())
    }

    fn end(&mut self, _: &Tail) -> Result<(), ImportError> {
        Ok(())
    }
}

/// What the snapshot of another's archive says of itself.
fn foreign(options: &ImportOptions, seen: Option<Seen>) -> About {
    let given = &options.capture;
    let mut about = About {
        dataset: options.dataset.clone().unwrap_or_else(|| given.dataset.clone()),
        kind: given.kind,
        reason: given.reason.clone(),
        labels: given.labels.clone(),
        references: given.references.clone(),
        evidence: given.evidence.clone(),
        sources: Vec::new(),
        git_revision: None,
        origin: Some(json!({"archive": options.source}).to_string()),
    };
    if let Some(Seen { layout, provenance, .. }) = seen {
        let (theirs, ours) = (provenance.evidence, about.evidence);
        about.evidence = Evidence {
            scope: ours.scope.or(theirs.scope),
            scope_ref: ours.scope_ref.or(theirs.scope_ref),
            initiator: ours.initiator.or(theirs.initiator),
            trigger_source: ours.trigger_source.or(theirs.trigger_source),
            analyzer_version: ours.analyzer_version.or(theirs.analyzer_version),
            rule_version: ours.rule_version.or(theirs.rule_version),
            source_ref: ours.source_ref.or(theirs.source_ref),
            metrics: ours.metrics.or(theirs.metrics),
            payload: ours.payload.or(theirs.payload),
            ..ours
        };
        let mut labels: BTreeMap<_, _> = provenance.labels.into_iter().collect();
        labels.extend(about.labels);
        about.labels = labels.into_iter().collect();
        let new = |theirs: &Reference| about.references.iter().all(|ours| ours.key != theirs.key);
        let theirs: Vec<_> = provenance.references.into_iter().filter(new).collect();
        about.references = theirs.into_iter().chain(about.references).collect();
        let origin = json!({
            "archive": options.source,
            "layout": layout.as_str(),
            "id": provenance.original_id,
            "created_at": provenance.original_created_at,
        });
        about.origin = Some(origin.to_string());
    }
    about
}

/// What a snapshot that comes from a pack says of itself.
fn about(store: &Store, options: &ImportOptions, head: &Head) -> Result<About, ImportError> {
    let (given, original) = (&options.capture, &head.snapshot);
    let mut all = original.labels.clone();
    all.insert(labels::REPLAY.to_owned(), "true".to_owned());
    all.insert(labels::ID.to_owned(), original.id.clone());
    all.insert(labels::CREATED_AT.to_owned(), text(original.arrival.0));
    all.extend(given.labels.iter().cloned());
    if all.keys().any(String::is_empty) {
        return Err(wrong("a label without a key"));
    }
    let original_kind: Result<SnapshotKind, _> = original.kind.parse();
    if original_kind.is_err() {
        return Err(wrong("its kind"));
    }
    Ok(About {
        dataset: dataset_of(store, options, original)?,
        kind: given.kind,
        reason: given.reason.clone().or_else(|| original.reason.clone()),
        labels: all.into_iter().collect(),
        references: references(&given.references, original),
        evidence: evidence(options, original)?,
        sources: original.sources.iter().map(|path| path.bytes().to_vec()).collect(),
        git_revision: original.git_revision.clone(),
        origin: Some(origin(head)?),
    })
}

fn text(time: Timestamp) -> String {
    let nanos = i32::try_from(time.nanos).unwrap_or_default();
    jiff::Timestamp::new(time.seconds, nanos).map_or_else(|_| time.seconds.to_string(), |time| time.to_string())
}

fn references(given: &[Reference], original: &SnapshotInfo) -> Vec<Reference> {
    let original = original.references.iter().filter(|theirs| given.iter().all(|ours| ours.key != theirs.key));
    let original = original.map(|theirs| Reference {
        key: theirs.key.clone(),
        uri: theirs.uri.clone(),
        hash: theirs.hash.clone(),
        verified: theirs.verified,
    });
    original.chain(given.iter().cloned()).collect()
}

fn evidence(options: &ImportOptions, original: &SnapshotInfo) -> Result<Evidence, ImportError> {
    let given = options.capture.evidence.clone();
    let json = |text: &Option<String>, what: &str| match text {
        Some(json) if serde_json::from_str::<serde_json::Value>(json).is_err() => Err(wrong(what)),
        other => Ok(other.clone()),
    };
    let (metrics, payload) = (json(&original.metrics, "its metrics")?, json(&original.payload, "its payload")?);
    let kept = |theirs: &Option<String>| theirs.clone().filter(|_| options.keep_retention);
    Ok(Evidence {
        scope: given.scope.or_else(|| original.scope.clone()),
        scope_ref: given.scope_ref.or_else(|| original.scope_ref.clone()),
        initiator: given.initiator.or_else(|| original.initiator.clone()),
        trigger_source: given.trigger_source.or_else(|| original.trigger_source.clone()),
        analyzer_version: given.analyzer_version.or_else(|| original.analyzer_version.clone()),
        rule_version: given.rule_version.or_else(|| original.rule_version.clone()),
        source_ref: given.source_ref.or_else(|| original.source_ref.clone()),
        immutable: given.immutable || (options.keep_retention && original.immutable),
        retention_class: given.retention_class.or_else(|| kept(&original.retention_class)),
        metrics: given.metrics.or(metrics),
        payload: given.payload.or(payload),
    })
}

/// What the pack says of the original, without what the snapshot has from it as it is and what may be long.
fn origin(head: &Head) -> Result<String, ImportError> {
    let snapshot = SnapshotInfo { metrics: None, payload: None, ..head.snapshot.clone() };
    let whole = json!({"pack": head.name, "paths": head.paths, "snapshot": snapshot});
    serde_json::to_string(&whole).map_err(|e| wrong(&e.to_string()))
}
