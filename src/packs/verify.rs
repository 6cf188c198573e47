//! Packs and archives of others, read to their end and held against whatever in them can be held against something.

use std::io;
use std::path::Path;

use crate::archives::{ArchiveError, Content, Limits, Member, Opened, Part, printable};
use crate::model::{Failure, Kind, Progress};

use super::audit::{AuditError, Audited, Visitor, audit};
use super::layouts::{Layout, LayoutError, Observer, Wanted};
use super::manifest::{Head, Tail};
use super::watch::watched;

/// Findings that are kept.
const FINDINGS_MAX: usize = 1000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The member, made printable; empty if it is the archive as a whole.
    pub member: String,
    /// What is wrong with it.
    pub why: String,
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
    /// The archive could not be read to its end: there may be more.
    pub is_cut_short: bool,
    /// What is worth telling of a layout and does no harm.
    pub remarks: Vec<String>,
}

impl Checked {
    /// True if there was nothing to hold the contents against but the format's own checks.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.snapshots.is_empty() && self.layout.is_none()
    }

    fn find(&mut self, member: impl Into<String>, why: impl Into<String>) {
        self.count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Found { member: member.into(), why: why.into() });
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

/// Reads an archive to its end. `dir`: where what is too much for memory goes, sealed. Damage is told in what is given back.
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
    let mut checker = Checker { checked, observer: Observer::new(wanted), current: None, looked_at: (0, 0), progress };
    match audit(opened, limits, dir, &mut checker) {
        Ok(audited) => checker.checked.audited = audited,
        Err(VerifyError::Audit(e)) if e.kind() == Kind::Damage => {
            checker.checked.is_cut_short = true;
            (checker.checked.audited.members, checker.checked.audited.bytes) = checker.looked_at;
            if let (Some((held, _)), Some(last)) = (checker.current.take(), checker.checked.snapshots.last_mut()) {
                *last = held;
            }
            checker.note(e);
        }
        Err(e) => return Err(e),
    }
    let Checker { mut checked, observer, .. } = checker;
    let is_foreign = checked.snapshots.is_empty() && !checked.is_cut_short;
    if let Some(seen) = if is_foreign { observer.finish()? } else { None } {
        checked.layout = Some(seen.layout);
        checked.remarks = seen.remarks;
        let root = if seen.root.is_empty() { String::new() } else { format!("{}/", printable(&seen.root)) };
        for fault in seen.faults {
            checked.find(format!("{root}{}", fault.path), fault.what);
        }
    }
    Ok(checked)
}

struct Checker<'a> {
    checked: Checked,
    observer: Observer,
    /// The snapshot whose members go by, and how much was wrong before it.
    current: Option<(Held, u64)>,
    /// Members that were read to their ends, and bytes of contents.
    looked_at: (u64, u64),
    progress: &'a dyn Progress,
}

impl Checker<'_> {
    fn note(&mut self, error: AuditError) {
        match error {
            AuditError::Mismatch { member, why } | AuditError::Archive(ArchiveError::Refused { member, why }) => {
                self.checked.find(member, why);
            }
            other => self.checked.find("", other.to_string()),
        }
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
        if let Some((held, _)) = &mut self.current {
            held.items += 1;
            // What is wrong with a content the walk tells by itself.
            match drain(content, self.progress) {
                Err(Stopped::Interrupted) => return Err(VerifyError::Interrupted),
                Err(Stopped::Read(_)) => {}
                Ok(bytes) => self.looked_at.1 += bytes,
            }
        } else {
            let mut content = watched(&mut self.observer, member, content);
            self.looked_at.1 += drain(&mut content, self.progress).map_err(|stopped| match stopped {
                Stopped::Interrupted => VerifyError::Interrupted,
                Stopped::Read(e) => AuditError::from(ArchiveError::from(e)).into(),
            })?;
        }
        self.looked_at.0 += 1;
        self.progress.advance(1, 0);
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
}

/// Why a content was not read to its end.
enum Stopped {
    Interrupted,
    Read(io::Error),
}

/// Reads a content to its end; gives its length.
fn drain(content: &mut dyn Content, progress: &dyn Progress) -> Result<u64, Stopped> {
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    loop {
        buffer.clear();
        let part = content.next(&mut buffer).map_err(Stopped::Read)?;
        if progress.cancelled() {
            return Err(Stopped::Interrupted);
        }
        let hole = if let Part::Hole(len) = part { len } else { 0 };
        progress.advance(0, buffer.len() as u64 + hole);
        bytes += buffer.len() as u64 + hole;
        if part == Part::End {
            return Ok(bytes);
        }
    }
}
