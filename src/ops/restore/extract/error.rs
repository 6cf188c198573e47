//! Why an extraction ended.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::archives::ArchiveError;
use crate::model::{Failure, Kind};

/// Why an extraction ended.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive, or what is read of it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A member that is not let in.
    #[error("{path}: {why}")]
    Refused {
        /// Its path, made printable.
        path: String,
        /// What is wrong with it.
        why: String,
        /// What lets it in, if anything does.
        hint: Option<&'static str>,
    },
    /// A name that the file system of the target does not hold, or takes for another's.
    #[error("{path}: {why}; nothing was extracted")]
    Name {
        /// The path, made printable.
        path: String,
        /// Why not.
        why: String,
    },
    /// The target cannot be used.
    #[error("cannot extract into {}: {why}", path.display())]
    Target {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is something in the target.
    #[error("{} is not empty; nothing was changed", .0.display())]
    NotEmpty(PathBuf),
    /// There is more than the disk has room for.
    #[error("{0}: with it there is more than the disk has space for; nothing was extracted")]
    Room(String),
    /// Nothing more can be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// At which member.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A temporary file failed.
    #[error("a temporary file cannot be used: {0}")]
    Temporary(#[source] io::Error),
    /// The user stopped it.
    #[error("interrupted; nothing was extracted")]
    Interrupted,
}

impl ExtractError {
    /// A member that is not let in.
    pub(super) fn refused(path: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { path: shown(path), why: why.into(), hint: None }
    }

    /// A name that the file system of the target does not hold.
    pub(super) fn not_held(path: &[u8]) -> Self {
        Self::Name { path: shown(path), why: "this file system cannot hold such a name".to_owned() }
    }

    /// A call failed for a member.
    pub(super) fn write(path: &[u8], errno: Errno) -> Self {
        Self::Write { path: shown(path), source: errno.into() }
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { String::from_utf8_lossy(path).into_owned() }
}

impl Failure for ExtractError {
    fn kind(&self) -> Kind {
        match self {
            Self::Archive(e) => e.kind(),
            Self::NotEmpty(_) | Self::Refused { .. } => Kind::Usage,
            Self::Name { .. } | Self::Target { .. } | Self::Room(_) | Self::Write { .. } | Self::Temporary(_) => {
                Kind::Failed
            }
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(e) => e.hint(),
            Self::Refused { hint, .. } => hint.map(str::to_owned),
            Self::Room(_) => {
                Some("a twentieth of what is free is left for others; --max-total SIZE sets another bound".to_owned())
            }
            Self::Name { .. } => Some("unpack it onto a file system that tells all its names apart".to_owned()),
            Self::NotEmpty(_) => Some("name a folder that is empty or does not exist".to_owned()),
            Self::Target { .. } | Self::Write { .. } | Self::Temporary(_) | Self::Interrupted => None,
        }
    }
}
