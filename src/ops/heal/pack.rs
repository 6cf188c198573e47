//! Archives as a source: the contents of their members, whoever made them.

use std::path::Path;

use crate::archives::{ArchiveError, Input, Keys, Limits, Part, open, read};
use crate::model::Progress;

use super::super::query::QueryError;
use super::Finder;
use super::cut::{Stopped, cut};

/// Looks at the members of an archive, if the path is one. What cannot be read is told; what came before it was looked at.
pub(super) fn look(path: &Path, keys: &dyn Keys, finder: &Finder, progress: &dyn Progress) -> Result<(), QueryError> {
    match members(path, keys, finder, progress) {
        // Any other file was looked at as a whole already.
        Ok(()) | Err(Stopped::Read(ArchiveError::Unknown(_) | ArchiveError::Opaque(_))) => Ok(()),
        Err(Stopped::Read(ArchiveError::Interrupted)) => Err(QueryError::Interrupted),
        Err(Stopped::Read(e)) => {
            super::folder::unreadable(path, &e, progress);
            Ok(())
        }
        Err(Stopped::Query(e)) => Err(e),
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
    let limits = Limits::default();
    let archive = open(Input::file(path).map_err(ArchiveError::Read)?, keys, &limits, progress)?;
    read(archive.opened, &limits, &mut |_, content| {
        cut(finder, progress, |buffer| Ok(content.next(buffer).map_err(ArchiveError::from)? != Part::End))
    })?;
    Ok(())
}
