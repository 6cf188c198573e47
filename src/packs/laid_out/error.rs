//! Why a folder is not written in another layout.

use std::io;

use crate::model::{Failure, Kind};
use crate::ops::read::ReadError;
use crate::packs::PackError;
use crate::packs::layouts::ComposeError;
use crate::store::StoreError;

/// Why a folder is not written in another layout.
#[derive(Debug, thiserror::Error)]
pub enum LaidOutError {
    /// It is not laid out so.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// It cannot be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of it cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The archive cannot be written.
    #[error("the archive cannot be written: {0}")]
    Write(#[source] io::Error),
    /// The user stopped it.
    #[error("stopped; the archive is not complete")]
    Interrupted,
}

impl From<ReadError> for LaidOutError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Write(e) => Self::Write(e),
            ReadError::Interrupted => Self::Interrupted,
            other => Self::Read(other),
        }
    }
}

impl Failure for LaidOutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Compose(e) => e.kind(),
            Self::Store(e) => e.kind(),
            Self::Read(e) => e.kind(),
            Self::Write(_) => Kind::Failed,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Compose(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::Read(e) => e.hint(),
            Self::Write(_) | Self::Interrupted => None,
        }
    }
}

/// When it is written, what was found to be so laid out can only fail to be read or written.
impl From<LaidOutError> for PackError {
    fn from(error: LaidOutError) -> Self {
        match error {
            LaidOutError::Store(source) | LaidOutError::Read(ReadError::Store { source, .. }) => {
                Self::Content { path: "a file of the folder".to_owned(), source }
            }
            LaidOutError::Write(e) => Self::Write(e),
            LaidOutError::Interrupted => Self::Interrupted,
            LaidOutError::Compose(_) | LaidOutError::Read(_) => Self::Write(io::Error::other(error.to_string())),
        }
    }
}
