//! What can go wrong with a view.

use crate::model::{Failure, Kind};
use crate::store::StoreError;

use super::NodeId;

/// What can go wrong with a view.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// No node has this number (any more).
    #[error("there is no node {} in the snapshot with sequence {}", .0.index(), .0.sequence())]
    Stale(NodeId),
    /// The node is not of the kind that was asked for.
    #[error("node {} of the snapshot with sequence {} is not a {wanted}", id.index(), id.sequence())]
    NotA {
        /// Which node.
        id: NodeId,
        /// What it should have been.
        wanted: &'static str,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for ViewError {
    fn kind(&self) -> Kind {
        match self {
            Self::Stale(_) => Kind::NotFound,
            Self::NotA { .. } => Kind::Usage,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Stale(_) | Self::NotA { .. } => None,
            Self::Store(e) => e.hint(),
        }
    }
}
