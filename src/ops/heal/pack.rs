//! Archives as a source: the contents of their members, whoever made them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::archives::{ArchiveError, Content, Input, Keys, Limits, Member, Part, Receiver, open, printable, read_on};
use crate::model::{Notice, Progress};

use super::super::query::QueryError;
use super::Finder;
use super::cut::{Stopped, cut};

/// Looks at the members of an archive, if the path is one. Members that cannot be read are told, and passed over as long as it can be told where the next one is.
pub(super) fn look(path: &Path, keys: &dyn Keys, finder: &Finder, progress: &dyn Progress) -> Result<(), QueryError> {
    match members(path, keys, finder, progress) {
        // Any other file was looked at as a whole already.
        Err(Stopped::Read(ArchiveError::Unknown(_) | ArchiveError::Opaque(_))) => {
            hint(path, keys, progress);
            Ok(())
        }
        Ok(()) => Ok(()),
        Err(Stopped::Read(ArchiveError::Interrupted)) => Err(QueryError::Interrupted),
        Err(Stopped::Read(e)) => {
            super::folder::unreadable(path, &format!("{e}; what stands behind was not looked at"), progress);
            Ok(())
        }
        Err(Stopped::Query(e)) => Err(e),
    }
}

/// Tells of what begins like nothing that it may be a pack that a password opens.
fn hint(path: &Path, keys: &dyn Keys, progress: &dyn Progress) {
    let Ok(input) = Input::file(path) else { return };
    if let Err(ArchiveError::Opaque(why)) = open(input, keys, &Limits::default(), progress) {
        let name = printable(path.as_os_str().as_bytes());
        progress.notice(Notice::Remark(format!(
            "{name} was looked at as a file, and as no archive: {why}; if it is a zip.enc, its password can be in SNAPSHOT_ENCRYPTION_KEY"
        )));
    }
}

impl From<ArchiveError> for Stopped<ArchiveError> {
    fn from(error: ArchiveError) -> Self {
        Self::Read(error)
    }
}

fn members(
    path: &Path,
    keys: &dyn Keys,
    finder: &Finder,
    progress: &dyn Progress,
) -> Result<(), Stopped<ArchiveError>> {
    // What is wanted has a known hash: nothing in an archive can do harm but by its size.
    let limits = Limits { absolute: true, duplicates: true, searches: true, ..Limits::default() };
    let archive = open(Input::file(path).map_err(ArchiveError::Read)?, keys, &limits, progress)?;
    let read = read_on(archive.opened, &limits, &mut Looker { path, finder, progress });
    if limits.lost.bytes() > 0 {
        let why = format!(
            "{} bytes of its zstd stream are damaged: of them what can be decoded was looked at",
            limits.lost.bytes()
        );
        super::folder::unreadable(path, &why, progress);
    }
    read.map(|_| ())
}

/// Who cuts each content.
struct Looker<'a> {
    path: &'a Path,
    finder: &'a Finder<'a>,
    progress: &'a dyn Progress,
}

impl Receiver<Stopped<ArchiveError>> for Looker<'_> {
    fn member(&mut self, _: Member, content: &mut dyn Content) -> Result<(), Stopped<ArchiveError>> {
        let more = |buffer: &mut Vec<u8>| -> Result<bool, ArchiveError> { Ok(content.next(buffer)? != Part::End) };
        match cut(self.finder, self.progress, more) {
            Err(Stopped::Read(error)) if error.is_of_member() => self.fault(error),
            other => other,
        }
    }

    fn fault(&mut self, error: ArchiveError) -> Result<(), Stopped<ArchiveError>> {
        let ArchiveError::Member { member, why, .. } = error else { return Err(error.into()) };
        let path = format!("{}, {member}", self.path.display());
        self.progress.notice(Notice::Unreadable { path, why });
        Ok(())
    }
}
