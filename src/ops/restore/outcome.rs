//! How an item, or a whole restore, ends.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::model::{Failure, Kind};
use crate::store::StoreError;

/// What became of an item.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A step on the way; the item is told of later.
    Done,
    /// It was not there; restored, but for these properties.
    Made(Vec<String>),
    /// Something else was there; restored, but for these properties.
    Replaced(Vec<String>),
    /// It was there as it should be; these properties could not be given to it.
    Same(Vec<String>),
    /// It was there but for its metadata, which it has now, but for these properties.
    Adjusted(Vec<String>),
    /// It was there with another mode or owner, and must not be changed.
    Unlike,
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
        matches!(
            self,
            Self::Done | Self::Made(_) | Self::Replaced(_) | Self::Same(_) | Self::Adjusted(_) | Self::Unlike
        )
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
    /// The target is in a folder that Larder keeps for itself.
    #[error("{} is in a folder that Larder keeps for itself; nothing was changed", .0.display())]
    InOwn(PathBuf),
    /// The target is there and is no folder.
    #[error("cannot restore into {}: it is not a folder", .0.display())]
    NoFolder(PathBuf),
    /// The target is a folder from which nothing is ever removed.
    #[error("{} is the root folder or holds the store: nothing is removed there, and nothing was changed", .0.display())]
    NothingRemovedIn(PathBuf),
    /// A pattern makes no sense.
    #[error("the pattern {pattern:?} makes no sense: {why}")]
    Pattern {
        /// Which one.
        pattern: String,
        /// Why.
        why: String,
    },
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
            Self::Target { .. } | Self::NoFolder(_) | Self::Full { .. } => Kind::Failed,
            Self::InStore(_) | Self::InOwn(_) | Self::NothingRemovedIn(_) | Self::Pattern { .. } => Kind::Usage,
            Self::Store { source, .. } => source.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Target { .. } => None,
            Self::Pattern { .. } => {
                Some("patterns are those of .gitignore: *.c, /src, docs/**/*.md, cache/".to_owned())
            }
            Self::NothingRemovedIn(_) => Some("restore without --delete, or into a folder below".to_owned()),
            Self::NoFolder(_) => {
                Some("DEST is the folder that things are put into: name one, or what does not exist yet".to_owned())
            }
            Self::InOwn(_) => Some("choose another folder".to_owned()),
            Self::InStore(_) => Some("choose a folder outside the store".to_owned()),
            Self::Store { source, .. } => source.hint(),
            Self::Full { .. } | Self::Interrupted => Some("the same command goes on where it stopped".to_owned()),
        }
    }
}
