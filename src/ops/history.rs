//! History: how what stands at a path changed from snapshot to snapshot.

use std::collections::HashMap;

use crate::model::{DatasetKey, Entry, Progress};
use crate::snapshots::Listed;
use crate::tree::{Difference, Pages};

use super::diff::{Change, DiffOptions};
use super::query::{QueryError, advance};

/// A snapshot that found something else at the path than the one before it in its dataset.
#[derive(Debug)]
pub struct Version<'a> {
    /// Which snapshot.
    pub snapshot: &'a Listed,
    /// What stands there now; nothing if it is gone.
    pub entry: Option<Entry>,
    /// What changed; nothing if only what is in a folder did.
    pub change: Option<Change>,
}

/// Tells every version of what stands at `path` in these snapshots, oldest arrival first, each dataset by itself. O(depth) a snapshot.
///
/// # Errors
/// If a manifest or page cannot be read, `tell` fails, or the user stops it.
pub fn history<'a, E: From<QueryError>>(
    pages: &Pages,
    snapshots: &'a [Listed],
    path: &[u8],
    progress: &dyn Progress,
    mut tell: impl FnMut(Version<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut last: HashMap<DatasetKey, Entry> = HashMap::new();
    for snapshot in snapshots {
        advance(progress)?;
        // One that is damaged hides no other: whoever lists tells of it.
        let Ok(manifest) = &snapshot.manifest else { continue };
        let now = pages.resolve(&manifest.root, path).map_err(QueryError::from)?.map(|found| found.entry);
        let before = match &now {
            Some(entry) => last.insert(snapshot.row.dataset, entry.clone()),
            None => last.remove(&snapshot.row.dataset),
        };
        if before == now {
            continue;
        }
        let found = Difference { path: path.into(), old: before, new: now.clone() };
        let change = Change::between(found, DiffOptions::default());
        // Of a folder, what is in it may be all that changed.
        if change.is_some() || now.as_ref().is_some_and(|e| e.folder().is_some()) {
            tell(Version { snapshot, entry: now, change })?;
        }
    }
    Ok(())
}
