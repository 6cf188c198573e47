//! Unpack: an archive becomes a folder, without a store.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::archives::{Content, Limits, Member, Opened};
use crate::model::{Failure, Kind, Notice, Progress};
use crate::ops::restore::{Allowed, ExtractError, Extraction, Restored, Target};

use super::audit::{AuditError, Audited, Visitor, audit};
use super::layouts::{Misfit, Observer, Wanted};
use super::manifest::{Head, SnapshotInfo, Tail};
use super::watch::watched;

/// What a foreign archive's folder is called until it has its name.
const FOREIGN: &str = "content";

/// How to unpack.
#[derive(Debug)]
pub struct UnpackOptions {
    /// What is let in that is not by itself.
    pub allowed: Allowed,
    /// How much the archive may make of itself.
    pub limits: Limits,
    /// Which layouts of other systems are looked for, and checked, in an archive that is not Larder's.
    pub layout: Wanted,
    /// Where what is too much for memory goes, sealed.
    pub temporary: PathBuf,
}

/// What was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// What was made.
    pub done: Restored,
    /// What went by.
    pub audited: Audited,
    /// The snapshots of a pack of Larder's. If there are several, each is in a folder of its own, which has the name that the pack gives it.
    pub snapshots: Vec<(String, SnapshotInfo)>,
}

/// Why nothing was unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive, or the pack in it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The target, or what is not let in.
    #[error(transparent)]
    Extract(ExtractError),
    /// It has the layout of another system, or should have, and is not as that says.
    #[error(transparent)]
    Layout(#[from] Misfit),
    /// Nothing in it.
    #[error("there is nothing in the archive")]
    Empty,
}

impl From<ExtractError> for UnpackError {
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::Archive(e) => Self::Audit(e.into()),
            other => Self::Extract(other),
        }
    }
}

impl Failure for UnpackError {
    fn kind(&self) -> Kind {
        match self {
            Self::Audit(e) => e.kind(),
            Self::Extract(e) => e.kind(),
            Self::Layout(e) => e.kind(),
            Self::Empty => Kind::Damage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Audit(e) => e.hint(),
            Self::Extract(e) => e.hint(),
            Self::Layout(e) => e.hint(),
            Self::Empty => None,
        }
    }
}

/// Unpacks an archive to `dest`, which is not there before all of it was proved. A pack of Larder's gives what a restore of its snapshot would.
///
/// # Errors
/// If anything in it is not as it should be or is not let in, if something is at `dest`, nothing more can be written, or the user stops it. Then nothing
/// was unpacked.
pub fn unpack(
    opened: Opened,
    dest: &Path,
    options: &UnpackOptions,
    progress: &dyn Progress,
) -> Result<Unpacked, UnpackError> {
    let target = Target::new(dest)?;
    let mut unpacking = Unpacking {
        target: &target,
        options,
        progress,
        observer: Observer::new(options.layout),
        open: None,
        done: Restored::default(),
        snapshots: Vec::new(),
    };
    let audited = audit::<UnpackError>(opened, &options.limits, &options.temporary, &mut unpacking)?;
    unpacking.close()?;
    let Unpacking { done, snapshots, observer, .. } = unpacking;
    if audited.members == 0 {
        return Err(UnpackError::Empty);
    }
    let seen = if snapshots.is_empty() { observer.judge()? } else { None };
    for remark in seen.iter().flat_map(|seen| &seen.remarks) {
        progress.notice(Notice::Remark(remark.clone()));
    }
    let only: Option<OsString> = match snapshots.as_slice() {
        [] => Some(FOREIGN.into()),
        [(name, _)] => Some(name.into()),
        _ => None,
    };
    target.place(only.as_deref())?;
    Ok(Unpacked { done, audited, snapshots })
}

struct Unpacking<'a> {
    target: &'a Target,
    options: &'a UnpackOptions,
    progress: &'a dyn Progress,
    observer: Observer,
    open: Option<Extraction<'a>>,
    done: Restored,
    snapshots: Vec<(String, SnapshotInfo)>,
}

impl Unpacking<'_> {
    /// The extraction at hand; a new one under this name if there is none.
    fn start(&mut self, name: &str) -> Result<(), UnpackError> {
        let into = self.target.beside().join(name);
        // Whoever names a bound has thought of the disk.
        let room = if self.options.limits.bytes.is_some() { None } else { self.target.room() };
        self.open = Some(Extraction::new(&into, &self.options.temporary, self.options.allowed, room, self.progress)?);
        Ok(())
    }

    fn close(&mut self) -> Result<(), UnpackError> {
        if let Some(open) = self.open.take() {
            let done = open.finish()?;
            let sum = &mut self.done;
            sum.files += done.files;
            sum.folders += done.folders;
            sum.others += done.others;
            sum.bytes += done.bytes;
            sum.skipped += done.skipped;
            sum.failed += done.failed;
            sum.partly += done.partly;
            sum.owners_lost |= done.owners_lost;
        }
        Ok(())
    }
}

impl Visitor<UnpackError> for Unpacking<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), UnpackError> {
        self.start(&head.name)?;
        self.snapshots.push((head.name.clone(), head.snapshot.clone()));
        Ok(())
    }

    fn member(&mut self, member: &Member, _: bool, content: &mut dyn Content) -> Result<(), UnpackError> {
        if self.open.is_none() {
            self.start(FOREIGN)?;
        }
        match &mut self.open {
            Some(open) if self.snapshots.is_empty() => {
                Ok(open.member(member, &mut watched(&mut self.observer, member, content))?)
            }
            Some(open) => Ok(open.member(member, content)?),
            None => Ok(()),
        }
    }

    fn end(&mut self, _: &Tail) -> Result<(), UnpackError> {
        self.close()
    }
}
