//! What is wrong with a pack.

use std::io;

use crate::archives::ArchiveError;
use crate::model::{Failure, Kind};
use crate::packs::manifest::ManifestError;

/// What is wrong with a pack.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its manifest.
    #[error("{name}/{source}")]
    Manifest {
        /// In which folder of the archive.
        name: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// Something in it is not what its manifest or its checksums say.
    #[error("{member}: {why}")]
    Mismatch {
        /// A member, made printable.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// A temporary file failed.
    #[error("a temporary file cannot be used: {0}")]
    Temporary(#[source] io::Error),
}

impl AuditError {
    /// A member that is not what it should be.
    pub(super) fn mismatch(member: &[u8], why: impl Into<String>) -> Self {
        Self::Mismatch { member: String::from_utf8_lossy(member).into_owned(), why: why.into() }
    }
}

impl Failure for AuditError {
    fn kind(&self) -> Kind {
        match self {
            Self::Archive(e) => e.kind(),
            Self::Manifest { source, .. } => source.kind(),
            Self::Mismatch { .. } => Kind::Damage,
            Self::Temporary(_) => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(e) => e.hint(),
            Self::Manifest { source, .. } => source.hint(),
            Self::Mismatch { .. } | Self::Temporary(_) => None,
        }
    }
}
