//! What can go wrong with a pack.

use crate::model::{Failure, Kind};
use crate::store::StoreError;
use crate::tree::Node;

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
    /// The pack cannot be written.
    #[error("the pack cannot be written: {0}")]
    Write(#[source] std::io::Error),
    /// The user stopped it.
    #[error("stopped; the pack is not complete")]
    Interrupted,
}

impl PackError {
    /// Makes the path of an entry known.
    pub(super) fn of(node: &Node) -> impl FnOnce(StoreError) -> Self {
        |source| Self::Content { path: node.display(), source }
    }
}

impl Failure for PackError {
    fn kind(&self) -> Kind {
        match self {
            Self::Content { source, .. } => source.kind(),
            Self::Write(_) => Kind::Failed,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Content { source, .. } => source.hint(),
            Self::Write(_) | Self::Interrupted => None,
        }
    }
}
