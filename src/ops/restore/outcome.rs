//! How an item, or a whole restore, ends.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::model::{Failure, Kind};
use crate::store::StoreError;

/// What became of an item.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Restored.
    Done,
    /// Restored without these properties.
    Partly(Vec<String>),
    /// It was there as it should be.
    Same,
    /// It was there and must not be overwritten.
    Kept(String),
    /// Left out on purpose.
    Skipped(String),
    /// It could not be written.
    Failed(String),
    /// Nor can anything else be.
    Full(std::io::Error),
    /// The store has it no more.
    Damaged(StoreError),
    /// The store cannot be read.
    Unreadable(StoreError),
}

impl Outcome {
    /// A call failed.
    pub(super) fn failed(what: &str, errno: Errno) -> Self {
        match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::MFILE | Errno::NFILE => Self::Full(errno.into()),
            _ => Self::Failed(format!("{what}: {}", std::io::Error::from(errno))),
        }
    }

    /// True if the item is there now.
    pub(super) fn is_there(&self) -> bool {
        matches!(self, Self::Done | Self::Partly(_) | Self::Same)
    }

    /// Made; these properties could not be given to it.
    pub(super) fn carried(lost: Vec<String>) -> Self {
        if lost.is_empty() { Self::Done } else { Self::Partly(lost) }
    }
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        if error.is_damage() { Self::Damaged(error) } else { Self::Unreadable(error) }
    }
}

/// Why a restore ended early.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The target cannot be used.
    #[error("cannot restore into {}: {source}", path.display())]
    Target {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The target is the store, or in it.
    #[error("{} is in the store; nothing was changed", .0.display())]
    InStore(PathBuf),
    /// Going on would fail for every item.
    #[error("cannot restore {path}: {source}")]
    Full {
        /// At which item.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be read, or not with this key.
    #[error("cannot restore {path}: {source}")]
    Store {
        /// At which item.
        path: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The user stopped it.
    #[error("stopped; the restore is not complete")]
    Interrupted,
}

impl Failure for RestoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Target { .. } | Self::Full { .. } => Kind::Failed,
            Self::InStore(_) => Kind::Usage,
            Self::Store { source, .. } => source.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Target { .. } => None,
            Self::InStore(_) => Some("choose a folder outside the store".to_owned()),
            Self::Store { source, .. } => source.hint(),
            Self::Full { .. } | Self::Interrupted => {
                Some("the same command with --overwrite=if-changed goes on where it stopped".to_owned())
            }
        }
    }
}
