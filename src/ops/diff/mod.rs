//! Diff: what differs between two snapshots, or between a snapshot and a folder of the host.

mod change;
mod folder;

use crate::model::{Entry, Failure, Kind, Progress};
use crate::ops::capture::CaptureError;
use crate::ops::query::{QueryError, advance};
use crate::store::StoreError;
use crate::tree::{Difference, Pages, Sum, same_but_for_below};

pub use change::{Aspects, Change, Rewritten, Side, Sort, Sums, Tally, What};
pub use folder::with_folder;

/// What is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiffOptions {
    /// Only what files and links hold; a folder's files are all read, whatever their size and time say.
    pub content: bool,
}

/// Why a snapshot and a folder could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The folder cannot be opened.
    #[error("cannot look into {}: {why}", path.display())]
    Folder {
        /// Which one.
        path: std::path::PathBuf,
        /// Why.
        why: String,
    },
    /// There is no such folder.
    #[error("there is no folder {}", .0.display())]
    NoFolder(std::path::PathBuf),
    /// A rule for what is left out makes no sense.
    #[error(transparent)]
    Rule(#[from] CaptureError),
    /// The user stopped it, or the store.
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl From<StoreError> for DiffError {
    fn from(error: StoreError) -> Self {
        Self::Query(error.into())
    }
}

impl Failure for DiffError {
    fn kind(&self) -> Kind {
        match self {
            Self::Folder { .. } => Kind::Failed,
            Self::NoFolder(_) => Kind::NotFound,
            Self::Rule(e) => e.kind(),
            Self::Query(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Query(e) => e.hint(),
            Self::Rule(e) => e.hint(),
            Self::Folder { .. } | Self::NoFolder(_) => None,
        }
    }
}

/// Tells every change from `old` to `new`, which stand at one path, in preorder. Work and memory grow with what differs, not with the trees.
///
/// # Errors
/// If the store fails, `tell` does, or the user stops it.
pub fn between<E: From<QueryError>>(
    pages: &Pages,
    old: &Entry,
    new: &Entry,
    options: DiffOptions,
    progress: &dyn Progress,
    mut tell: impl FnMut(Change) -> Result<(), E>,
) -> Result<Sums, E> {
    let mut sums = Sums::default();
    let mut differences = pages.diff(&[], old, new).map_err(QueryError::from)?;
    let everywhere = |_: &[u8]| Some(Vec::new());
    let mut pick = |found| {
        advance(progress)?;
        Ok::<_, QueryError>(Change::between(found, options))
    };
    while let Some(change) = differences.next_picked(&everywhere, &mut pick)? {
        sums.count(&change);
        tell(change)?;
    }
    Ok(sums)
}

/// Sums up every change that [`between`] would tell, in steps that grow with the folders that differ and not with the paths that lead to them.
///
/// # Errors
/// If the store fails, or the user stops it.
pub fn sum_between(
    pages: &Pages,
    old: &Entry,
    new: &Entry,
    options: DiffOptions,
    progress: &dyn Progress,
) -> Result<Sums, QueryError> {
    let mut stopped = false;
    let mut count = |old: Option<&Entry>, new: Option<&Entry>| {
        if advance(progress).is_err() {
            stopped = true;
            return Err(StoreError::Interrupted);
        }
        let mut sums = Sums::default();
        if !old.zip(new).is_some_and(|(old, new)| same_but_for_below(old, new)) {
            let found = Difference { path: Box::default(), old: old.cloned(), new: new.cloned() };
            Change::between(found, options).iter().for_each(|change| sums.count(change));
        }
        Ok(sums)
    };
    let sums = count(Some(old), Some(new)).and_then(|mut sums| {
        sums.add(&pages.sum_differences(old, new, usize::MAX, &mut count)?.unwrap_or_default());
        Ok(sums)
    });
    if stopped { Err(QueryError::Interrupted) } else { Ok(sums?) }
}
