//! Packs and archives of others, read to their end and held against whatever in them can be held against something.

use std::path::Path;

use crate::archives::{ArchiveError, Content, Fault, Limits, Member, Opened, printable};
use crate::model::{Failure, Kind, Progress};

use super::audit::{AuditError, Audited, Visitor, audit};
use super::drain::{Stopped, drain};
use super::layouts::{Layout, LayoutError, Observer, Wanted};
use super::manifest::{Head, Tail};
use super::records::Compare;
use super::watch::watched;

pub use super::records::RecordsCompared;

/// Findings that are kept.
const FINDINGS_MAX: usize = 1000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The member, made printable; empty if it is the archive as a whole.
    pub member: String,
    /// What is wrong with it.
    pub why: String,
    /// Of what sort that is.
    pub sort: Sort,
}

/// Sorts of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// It is not what it should be.
    Damaged,
    /// Nobody takes it in: a name that leads out, a member that is there twice.
    Refused,
    /// It is in a form that Larder does not read.
    Unsupported,
    /// It goes beyond a limit.
    Limit,
}

impl Sort {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::Limit => "limit",
        }
    }
}

/// A snapshot that a pack holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The pack's folder.
    pub name: String,
    /// The snapshot's id, and the dataset's name.
    pub id: String,
    /// Its dataset.
    pub dataset: String,
    /// The pack has not all of it: paths that it has, made printable.
    pub paths: Option<Vec<String>>,
    /// Items of its inventory.
    pub items: u64,
    /// Everything in it was as manifest and checksums say.
    pub is_whole: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Checked {
    /// The snapshots of a pack of Larder's, in order.
    pub snapshots: Vec<Held>,
    /// The layout of another system that it has.
    pub layout: Option<Layout>,
    /// What went by, and what is strange about it.
    pub audited: Audited,
    /// What is wrong: the first thousand.
    pub findings: Vec<Found>,
    /// How much is wrong.
    pub count: u64,
    /// How much of that is damage.
    pub damaged: u64,
    /// The archive could not be read to its end: there may be more.
    pub is_cut_short: bool,
    /// What is worth telling of a layout and does no harm.
    pub remarks: Vec<String>,
    /// Of a pack of exchange records: how many were compared with their hashes.
    pub records: Option<RecordsCompared>,
}

impl Checked {
    /// True if there was nothing to hold the contents against but the format's own checks.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.snapshots.is_empty() && self.layout.is_none() && self.records.is_none()
    }

    fn find(&mut self, sort: Sort, member: impl Into<String>, why: impl Into<String>) {
        self.count += 1;
        self.damaged += u64::from(sort == Sort::Damaged);
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Found { member: member.into(), why: why.into(), sort });
        }
    }
}

/// Why a look ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// What is read is no archive, or the system does not let it be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// It is not of the layout that was asked for, or not of a version that is known.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The user stopped it.
    #[error("stopped; what was looked at so far is not told")]
    Interrupted,
}

impl Failure for VerifyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Audit(e) => e.kind(),
            Self::Layout(e) => e.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Audit(e) => e.hint(),
            Self::Layout(e) => e.hint(),
            Self::Interrupted => None,
        }
    }
}

/// Reads an archive to its end, past members that are damaged or not let in, as far as it can be told where the next one is. `dir`: where what is too much for memory
/// goes, sealed. What is wrong is told in what is given back.
///
/// # Errors
/// If it is no archive, is not of the wanted layout, cannot be read, or the user stops it.
pub fn check(
    opened: Opened,
    limits: &Limits,
    wanted: Wanted,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Checked, VerifyError> {
    let checked = Checked::default();
    let observer = Observer::new(wanted);
    let compare = Compare::default();
    let mut checker = Checker { checked, observer, compare, current: None, looked_at: (0, 0), progress };
    match audit(opened, limits, dir, &mut checker) {
        Ok(audited) => checker.checked.audited = audited,
        Err(VerifyError::Audit(e))
            if e.kind() == Kind::Damage || matches!(e, AuditError::Archive(ArchiveError::Limit(_))) =>
        {
            checker.checked.is_cut_short = true;
            (checker.checked.audited.members, checker.checked.audited.bytes) = checker.looked_at;
            if let (Some((held, _)), Some(last)) = (checker.current.take(), checker.checked.snapshots.last_mut()) {
                *last = held;
            }
            checker.note(e);
        }
        Err(e) => return Err(e),
    }
    let Checker { mut checked, observer, compare, .. } = checker;
    if let Some((compared, (faults, count))) = compare.finish() {
        checked.records = Some(compared);
        let untold = count - faults.len() as u64;
        faults.into_iter().for_each(|(place, why)| checked.find(Sort::Damaged, place, why));
        (checked.count, checked.damaged) = (checked.count + untold, checked.damaged + untold);
    }
    // What was not seen whole cannot be judged as a whole.
    let is_foreign = checked.snapshots.is_empty() && checked.count == 0;
    let seen = match observer.finish() {
        _ if !is_foreign => None,
        Ok(seen) => seen,
        Err(LayoutError::Metadata(e)) if e.kind() == Kind::Damage => {
            checked.layout = Some(Layout::Investigation);
            checked.find(Sort::Damaged, "", e.to_string());
            None
        }
        Err(e) => return Err(e.into()),
    };
    if let Some(seen) = seen {
        checked.layout = Some(seen.layout);
        checked.remarks = seen.remarks;
        let root = if seen.root.is_empty() { String::new() } else { format!("{}/", printable(&seen.root)) };
        for fault in seen.faults {
            checked.find(Sort::Damaged, format!("{root}{}", fault.path), fault.what);
        }
    }
    Ok(checked)
}

struct Checker<'a> {
    checked: Checked,
    observer: Observer,
    compare: Compare,
    /// The snapshot whose members go by, and how much was wrong before it.
    current: Option<(Held, u64)>,
    /// Members that were read to their ends, and bytes of contents.
    looked_at: (u64, u64),
    progress: &'a dyn Progress,
}

impl Checker<'_> {
    fn note(&mut self, error: AuditError) {
        let (sort, member, why) = match error {
            AuditError::Mismatch { member, why } => (Sort::Damaged, member, why),
            AuditError::Archive(ArchiveError::Member { member, why, fault }) => {
                let sort = match fault {
                    Fault::Damaged => Sort::Damaged,
                    Fault::Refused | Fault::Alike => Sort::Refused,
                    Fault::Unsupported => Sort::Unsupported,
                };
                (sort, member, why)
            }
            AuditError::Manifest { name, source } => {
                (Sort::Damaged, format!("{name}/manifest.json"), source.to_string())
            }
            AuditError::Archive(ArchiveError::Limit(why)) => (Sort::Limit, String::new(), why),
            other => (Sort::Damaged, String::new(), other.to_string()),
        };
        self.checked.find(sort, member, why);
    }
}

impl Visitor<VerifyError> for Checker<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), VerifyError> {
        let snapshot = &head.snapshot;
        let held = Held {
            name: head.name.clone(),
            id: snapshot.id.clone(),
            dataset: snapshot.dataset.clone(),
            paths: head.printable_paths(),
            items: 0,
            is_whole: false,
        };
        self.checked.snapshots.push(held.clone());
        self.current = Some((held, self.checked.count));
        Ok(())
    }

    fn member(&mut self, member: &Member, _: bool, content: &mut dyn Content) -> Result<(), VerifyError> {
        let (progress, mut bytes) = (self.progress, 0);
        let mut step = |len| {
            progress.advance(0, len);
            bytes += len;
            !progress.cancelled()
        };
        let content = &mut self.compare.watched(member, content);
        let read = match &mut self.current {
            Some((held, _)) => {
                held.items += 1;
                drain(content, &mut step)
            }
            None => drain(&mut watched(&mut self.observer, member, content), &mut step),
        };
        match read {
            Ok(()) => {
                self.looked_at.0 += 1;
                self.looked_at.1 += bytes;
            }
            Err(Stopped::Cancelled) => return Err(VerifyError::Interrupted),
            // What is wrong with a content of Larder's the walk tells by itself.
            Err(Stopped::Read(_)) if self.current.is_some() => {}
            Err(Stopped::Read(error)) if error.is_of_member() => self.note(error.into()),
            Err(Stopped::Read(error)) => return Err(AuditError::from(error).into()),
        }
        progress.advance(1, 0);
        Ok(())
    }

    fn end(&mut self, _: &Tail) -> Result<(), VerifyError> {
        if let (Some((held, before)), Some(last)) = (self.current.take(), self.checked.snapshots.last_mut()) {
            *last = Held { is_whole: before == self.checked.count, ..held };
        }
        Ok(())
    }

    fn mismatch(&mut self, error: AuditError) -> Result<(), VerifyError> {
        self.note(error);
        Ok(())
    }

    fn deviation(&mut self, error: AuditError) -> Result<(), VerifyError> {
        self.note(error);
        Ok(())
    }
}
