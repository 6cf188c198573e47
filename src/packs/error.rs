//! What can go wrong with a pack.

use crate::archives::{ArchiveError, PATH_MAX};
use crate::model::{Failure, Kind};
use crate::ops::restore::RestoreError;
use crate::store::StoreError;
use crate::tree::Node;

use super::audit::AuditError;

/// What can go wrong with a pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something that should go in cannot be read.
    #[error("{path} cannot be packed: {source}")]
    Content {
        /// Of which entry.
        path: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A name in a tar would be longer than readers take.
    #[error(
        "{path} cannot be packed in a tar: its name there would have {len} bytes, and none of more than {PATH_MAX} can be read back"
    )]
    LongName {
        /// Of which entry, or how its path begins.
        path: String,
        /// Bytes of the name.
        len: usize,
    },
    /// The pack cannot be written.
    #[error("the pack cannot be written: {0}")]
    Write(#[source] std::io::Error),
    /// A file of the pack's own came out longer or shorter than it was foreseen: the store has changed what cannot change.
    #[error("the pack cannot be written: {name} has {written} bytes where {told} were foreseen")]
    Length {
        /// Which file.
        name: String,
        /// Bytes that were foreseen.
        told: u64,
        /// Bytes that came.
        written: u64,
    },
    /// A folder cannot be filled.
    #[error(transparent)]
    Restore(RestoreError),
    /// Some items could not be written into a folder.
    #[error("{items} of the items could not be written; the pack is not complete")]
    Incomplete {
        /// How many.
        items: u64,
        /// Some of them because they are damaged in the store.
        damaged: bool,
    },
    /// What was written is not what should be there.
    #[error("{path} was not written as it should be: {why}")]
    Unproved {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// What was written does not read back as it should.
    #[error("what was written does not read back as it should: {0}")]
    Audit(#[from] AuditError),
    /// The user stopped it.
    #[error("stopped; the pack is not complete")]
    Interrupted,
}

impl PackError {
    /// Makes the path of an entry known.
    pub(super) fn of(node: &Node) -> impl FnOnce(StoreError) -> Self {
        |source| Self::Content { path: node.display(), source }
    }

    /// Refuses an entry whose name in a tar is longer than can be read back; `len`: the bytes that stand in front of its path.
    pub(super) fn check_name(node: &Node, len: usize) -> Result<(), Self> {
        /// Bytes of a path that are shown.
        const SHOWN: usize = 200;
        let len = len + node.path.len() + usize::from(node.entry.folder().is_some());
        if len <= PATH_MAX {
            return Ok(());
        }
        let path = String::from_utf8_lossy(&node.path[..node.path.len().min(SHOWN)]);
        Err(Self::LongName { path: format!("{path}…"), len })
    }

    pub(super) fn length(name: &str, told: u64, written: u64) -> Self {
        Self::Length { name: name.to_owned(), told, written }
    }
}

impl From<RestoreError> for PackError {
    fn from(error: RestoreError) -> Self {
        match error {
            // A folder that is filled is put in place as a whole: it is no restore that could go on.
            RestoreError::Interrupted => Self::Interrupted,
            RestoreError::Full { source, .. } => Self::Write(source),
            other => Self::Restore(other),
        }
    }
}

impl From<ArchiveError> for PackError {
    fn from(error: ArchiveError) -> Self {
        AuditError::from(error).into()
    }
}

impl Failure for PackError {
    fn kind(&self) -> Kind {
        match self {
            Self::Content { source, .. } => source.kind(),
            Self::Restore(source) => source.kind(),
            Self::Incomplete { damaged: true, .. } => Kind::Damage,
            Self::Audit(AuditError::Archive(ArchiveError::Interrupted)) => Kind::Interrupted,
            Self::LongName { .. }
            | Self::Write(_)
            | Self::Length { .. }
            | Self::Incomplete { .. }
            | Self::Unproved { .. }
            | Self::Audit(_) => Kind::Failed,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Content { source, .. } => source.hint(),
            Self::Restore(source) => source.hint(),
            Self::LongName { .. } => Some(
                "restore it, or export it with --format dir; or pack the parts without such paths (SNAPSHOT:PATH)"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_that_was_stopped_is_no_restore() {
        let stopped = PackError::from(RestoreError::Interrupted);
        assert_eq!(stopped.to_string(), "stopped; the pack is not complete");
        assert_eq!((stopped.kind(), stopped.hint()), (Kind::Interrupted, None));
        let full = RestoreError::Full { path: "f".to_owned(), source: std::io::ErrorKind::StorageFull.into() };
        let full = PackError::from(full);
        assert_eq!(full.to_string(), "the pack cannot be written: no storage space");
        assert_eq!((full.kind(), full.hint()), (Kind::Failed, None));
    }
}
