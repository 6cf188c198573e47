//! What is wrong with a pack.

use std::io;

use crate::archives::{ArchiveError, Fault, printable};
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
        let long = member.len() > usize::from(u16::MAX);
        let member = if long { printable(member) } else { String::from_utf8_lossy(member).into_owned() };
        Self::Mismatch { member, why: why.into() }
    }

    /// What is wrong with a member of a pack of Larder's: there nothing is that Larder would refuse or not read.
    pub(super) fn of_own(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Member { member, why, fault } if fault != Fault::Alike => Self::Mismatch { member, why },
            other => Self::Archive(other),
        }
    }

    /// True if it is one member's fault, and those behind it can be read.
    pub(super) fn is_of_member(&self) -> bool {
        matches!(self, Self::Archive(error) if error.is_of_member())
    }

    /// True for a manifest that is none, of whatever version.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self, Self::Manifest { source: ManifestError::Malformed(_), .. })
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
