//! What snapshots need and the index does not have: what heal looks for.

use std::collections::HashSet;

use crate::model::{ChunkId, PageId, Progress};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

use super::structure::Structure;
use super::{Touched, trace};

/// What is missing.
#[derive(Debug, Default)]
pub struct Missing {
    /// Chunks that are not in the index.
    pub chunks: HashSet<ChunkId>,
    /// Pages that cannot be loaded. What is below them is not known.
    pub pages: HashSet<PageId>,
    /// Snapshots that this touches.
    pub touched: Vec<Touched>,
}

/// Walks all snapshots for what is missing.
///
/// # Errors
/// If the store cannot be read for another reason than damage.
pub fn missing(store: &Store, pages: &Pages, progress: &dyn Progress) -> Result<Missing, StoreError> {
    let mut structure = Structure::begin(store, pages, progress)?;
    let manifests = std::mem::take(&mut structure.manifests);
    structure.look(&manifests);
    if let Some(failed) = structure.failed {
        return Err(failed);
    }
    let bad = structure.bad;
    let touched = if bad.is_empty() { Vec::new() } else { trace::trace(pages, &manifests, &bad) };
    Ok(Missing { chunks: bad.chunks, pages: bad.pages, touched })
}
