//! What stops a capture.

use std::io;
use std::path::PathBuf;

use crate::archives::ArchiveError;
use crate::model::{DatasetName, Failure, Kind};
use crate::store::StoreError;

/// What stops a capture. Items that cannot be read do not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// There is nothing at the path.
    #[error("cannot capture {}: there is no such file or folder", .0.display())]
    Missing(PathBuf),
    /// The source cannot be opened.
    #[error("cannot capture {}: {why}", path.display())]
    Source {
        /// Which path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The source is the store, or lies in it.
    #[error("cannot capture {}: it is the store itself, or lies in it", .0.display())]
    InStore(PathBuf),
    /// A pattern makes no sense.
    #[error("the pattern {pattern:?} makes no sense: {why}")]
    Pattern {
        /// Which one.
        pattern: String,
        /// Why.
        why: String,
    },
    /// The stream broke off.
    #[error("no snapshot was made: {0}")]
    Stream(String),
    /// What was to be taken in cannot be read on.
    #[error("{0}")]
    Content(#[from] io::Error),
    /// Something that no snapshot can hold.
    #[error("{path}: {why}; nothing was taken in")]
    Refused {
        /// Its path, made printable.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The dataset is one of records.
    #[error("{0} is a record dataset: a snapshot of something else would end it")]
    Records(DatasetName),
    /// The user stopped it.
    #[error("interrupted; no snapshot was made")]
    Interrupted,
    /// A part of this program died.
    #[error("a part of the capture died: {0}")]
    Died(&'static str),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CaptureError {
    /// A path of the source that cannot be opened.
    pub(super) fn source(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        let path = path.into();
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Self::Missing(path),
            _ => Self::Source { path, why: error.to_string() },
        }
    }
}

impl Failure for CaptureError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) => Kind::NotFound,
            Self::Source { .. } | Self::Stream(_) | Self::Died(_) => Kind::Failed,
            Self::Pattern { .. } | Self::InStore(_) | Self::Refused { .. } | Self::Records(_) => Kind::Usage,
            Self::Content(e) => {
                let archive = e.get_ref().and_then(|inner| inner.downcast_ref::<ArchiveError>());
                archive.map_or(Kind::Failed, Failure::kind)
            }
            Self::Interrupted => Kind::Interrupted,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(e) => e.hint(),
            Self::Records(_) => {
                Some("name another with --dataset; records come into it with `larder records import`".to_owned())
            }
            Self::Interrupted => Some("what was stored so far is kept: the next capture finds it again".to_owned()),
            _ => None,
        }
    }
}
