//! Questions to a store, which end early in two ways: the user stops them, or the store fails.

use crate::model::{Failure, Kind, Progress};
use crate::store::StoreError;

/// Why a question to a store was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
    /// The same, of work in steps.
    #[error("stopped; what was done until then stays, and the same command goes on from there")]
    Stopped,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for QueryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Interrupted | Self::Stopped => Kind::Interrupted,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Store(e) = self { e.hint() } else { None }
    }
}

/// Counts one more item as looked at; fails once the user wants the work stopped.
pub(super) fn advance(progress: &dyn Progress) -> Result<(), QueryError> {
    progress.advance(1, 0);
    if progress.cancelled() { Err(QueryError::Interrupted) } else { Ok(()) }
}
