//! What snapshots need and the index does not have: what heal looks for.

use std::collections::HashSet;

use crate::model::{ChunkId, Manifest, PageId, Progress, SnapshotId};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

use super::structure::{Bad, Structure};
use super::{Touched, trace};

/// What is missing.
#[derive(Debug, Default)]
pub struct Missing {
    /// Chunks that are not in the index.
    pub chunks: HashSet<ChunkId>,
    /// Pages that cannot be loaded. What is below them is not known.
    pub pages: HashSet<PageId>,
    /// Snapshots whose manifests cannot be read. What they need is not known.
    pub manifests: Vec<SnapshotId>,
}

/// Walks all snapshots for what is missing, and tells the snapshots and paths that this touches.
///
/// # Errors
/// If the store cannot be read for another reason than damage.
pub fn missing(store: &Store, pages: &Pages, progress: &dyn Progress) -> Result<(Missing, Vec<Touched>), StoreError> {
    let (bad, lost, manifests) = walk(store, pages, progress)?;
    let mut touched = if bad.is_empty() { Vec::new() } else { trace::trace(pages, &manifests, &bad) };
    touched.extend(lost.iter().map(|id| Touched::lost(*id)));
    Ok((Missing { chunks: bad.chunks, pages: bad.pages, manifests: lost }, touched))
}

/// The same without telling where.
///
/// # Errors
/// The same.
pub fn lacking(store: &Store, pages: &Pages, progress: &dyn Progress) -> Result<Missing, StoreError> {
    let (bad, lost, _) = walk(store, pages, progress)?;
    Ok(Missing { chunks: bad.chunks, pages: bad.pages, manifests: lost })
}

type Walked = (Bad, Vec<SnapshotId>, Vec<(SnapshotId, Manifest)>);

fn walk(store: &Store, pages: &Pages, progress: &dyn Progress) -> Result<Walked, StoreError> {
    let mut structure = Structure::begin(store, pages, progress)?;
    let manifests = std::mem::take(&mut structure.manifests);
    structure.look(&manifests);
    match structure.failed {
        Some(failed) => Err(failed),
        None => Ok((structure.bad, structure.lost, manifests)),
    }
}
