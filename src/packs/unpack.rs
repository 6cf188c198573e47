//! Unpack: an archive becomes a folder, without a store.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::archives::{Content, Limits, Member, MemberKind, Opened, printable};
use crate::model::{Failure, Kind, Notice, Progress};
use crate::ops::restore::{Allowed, ExtractError, Extraction, Restored, Target};
use crate::tree::covers;

use super::audit::{AuditError, Audited, Visitor, audit};
use super::drain::{Stopped, drain};
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
    /// Paths that are wanted, with what is in them and the folders above; none: all. Of a pack of Larder's they begin at the root of the snapshot.
    pub paths: Vec<Vec<u8>>,
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
    /// A path that was asked for is not in it.
    #[error("there is no {0} in the archive; nothing was unpacked")]
    NoPath(String),
    /// A further name of something that was not asked for.
    #[error("{path}: it is a further name of {first}, which was not asked for; nothing was unpacked")]
    Parted {
        /// The path, made printable.
        path: String,
        /// That of the first name.
        first: String,
    },
    /// The user stopped it.
    #[error("interrupted; nothing was unpacked")]
    Interrupted,
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
            Self::NoPath(_) => Kind::NotFound,
            Self::Parted { .. } => Kind::Usage,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Audit(e) => e.hint(),
            Self::Extract(e) => e.hint(),
            Self::Layout(e) => e.hint(),
            Self::Parted { first, .. } => {
                Some(format!("name {first} too: what follows it in the archive cannot go back to it"))
            }
            Self::Empty | Self::NoPath(_) | Self::Interrupted => None,
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
        wanted: options.paths.iter().map(|path| (&path[..], false)).collect(),
    };
    let audited = audit::<UnpackError>(opened, &options.limits, &options.temporary, &mut unpacking)?;
    unpacking.close()?;
    let Unpacking { done, snapshots, observer, wanted, .. } = unpacking;
    if audited.members == 0 {
        return Err(UnpackError::Empty);
    }
    if let Some((missing, _)) = wanted.iter().find(|(_, met)| !met) {
        return Err(UnpackError::NoPath(printable(missing)));
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
    /// Paths that are wanted, and whether something was met there.
    wanted: Vec<(&'a [u8], bool)>,
}

impl Unpacking<'_> {
    /// True if a member is wanted: it is at a path that is, or in it, or a folder above.
    fn wants(&mut self, member: &Member) -> bool {
        let mut wanted = self.wanted.is_empty();
        for (path, met) in &mut self.wanted {
            if covers(path, &member.path) {
                (*met, wanted) = (true, true);
            } else if member.kind == MemberKind::Folder && covers(&member.path, path) {
                wanted = true;
            }
        }
        wanted
    }

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
        if !self.wants(member) {
            // Whoever reads the archive compares it all the same. An observer must see all.
            let progress = self.progress;
            let mut seen;
            let content: &mut dyn Content = if self.snapshots.is_empty() {
                seen = watched(&mut self.observer, member, content);
                &mut seen
            } else {
                content
            };
            return drain(content, |_| !progress.cancelled()).map_err(|stopped| match stopped {
                Stopped::Cancelled => UnpackError::Interrupted,
                Stopped::Read(error) => AuditError::from(error).into(),
            });
        }
        if let MemberKind::HardLink(first) = &member.kind
            && !self.wanted.is_empty()
            && !self.wanted.iter().any(|(path, _)| covers(path, first))
        {
            return Err(UnpackError::Parted { path: printable(&member.path), first: printable(first) });
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
