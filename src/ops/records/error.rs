//! What stops work on record datasets.

use std::io;

use crate::archives::ArchiveError;
use crate::model::{Failure, InvalidName, Kind};
use crate::records::{ManifestError, RedactError};
use crate::sql::SqlError;
use crate::store::StoreError;

/// What stops work on a record dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The dataset is one of something else.
    #[error("{0} is no record dataset")]
    NotRecords(String),
    /// The dataset holds a pack of records as any other files.
    #[error("{0} holds a pack of records as files, and is no record dataset")]
    PackAsFiles(String),
    /// The dataset has no snapshot.
    #[error("there is no dataset {0}")]
    NoDataset(String),
    /// There is such a dataset already.
    #[error("there is a dataset {0} already")]
    Exists(String),
    /// A key or hash is not in the dataset.
    #[error("{0}")]
    NotFound(String),
    /// Arguments or policies make no sense.
    #[error("{0}")]
    Refused(String),
    /// The strategy is `fail`, and there was a conflict.
    #[error("{place}: another content is known under the key {key}, and the strategy is fail; nothing was imported")]
    Conflict {
        /// Under which key.
        key: String,
        /// Where what came stands.
        place: String,
    },
    /// Lines are not records, and none may be left out.
    #[error("{0} are no records; nothing was imported")]
    Strict(String),
    /// `manifest.json` of a pack or dataset.
    #[error("manifest.json: {0}")]
    Manifest(#[from] ManifestError),
    /// The policy of redaction.
    #[error("the dataset's policy of redaction: {0}")]
    Policy(#[from] RedactError),
    /// A file or stream.
    #[error("{what}: {error}")]
    Io {
        /// Which one.
        what: String,
        /// What it said.
        error: io::Error,
    },
    /// A name that no folder can hold.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The user stopped it.
    #[error("interrupted; nothing was imported")]
    Interrupted,
    /// A part of this program died.
    #[error("a part of the import died: {0}")]
    Died(&'static str),
    /// The database of a synchronisation.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RecordsError {
    /// A temporary file.
    pub(super) fn temporary(error: io::Error) -> Self {
        Self::Io { what: "a temporary file".to_owned(), error }
    }

    /// A record in the store that is not what it should be.
    pub(super) fn damage(what: impl ToString, why: impl ToString) -> Self {
        Self::Store(StoreError::damage(what.to_string(), why.to_string()))
    }
}

impl Failure for RecordsError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotRecords(_) | Self::PackAsFiles(_) | Self::NoDataset(_) | Self::NotFound(_) => Kind::NotFound,
            Self::Exists(_) | Self::Refused(_) | Self::Manifest(_) | Self::Policy(_) => Kind::Usage,
            Self::Conflict { .. } | Self::Name(_) | Self::Died(_) => Kind::Failed,
            Self::Strict(_) => Kind::Partial,
            Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            // What lies around lines may be damaged.
            Self::Io { error, .. } => {
                let around = error.get_ref().and_then(|inner| inner.downcast_ref::<ArchiveError>());
                around.map_or(Kind::Failed, Failure::kind)
            }
            Self::Interrupted => Kind::Interrupted,
            Self::Sql(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDataset(_) => Some(
                "`larder stats` shows which there are; `larder records init` and `larder records import` make one"
                    .to_owned(),
            ),
            Self::Sql(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::PackAsFiles(_) => {
                let hint = "`larder records import PACK --dataset NAME` puts the records of the pack that it came from into one under another name; without that pack, restore it and import the folder";
                Some(hint.to_owned())
            }
            Self::Io { error, .. }
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                let hint = "make room (`df` and `df -i` tell of what): temporary files are in the store's folder, those of a rehearsal where TMPDIR says";
                Some(hint.to_owned())
            }
            _ => None,
        }
    }
}
