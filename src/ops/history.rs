//! History: how what stands at a path changed from snapshot to snapshot.

use std::collections::HashMap;

use crate::model::{DatasetKey, Entry, Progress};
use crate::snapshots::Listed;
use crate::tree::{Difference, Pages};

use super::diff::{Change, DiffOptions};
use super::query::{QueryError, advance};

/// What a snapshot found at the path, unlike the one before it in its dataset.
#[derive(Debug)]
pub struct Version {
    /// What stands there now; nothing if it is gone.
    pub entry: Option<Entry>,
    /// What changed; nothing if only what is in a folder did.
    pub change: Option<Change>,
}

/// Follows a path through snapshots, each dataset by itself. Memory: an entry for each dataset.
#[derive(Debug)]
pub struct History<'a> {
    pages: &'a Pages,
    path: &'a [u8],
    last: HashMap<DatasetKey, Entry>,
}

impl<'a> History<'a> {
    /// Of a path from the root: names joined by `/`.
    #[must_use]
    pub fn new(pages: &'a Pages, path: &'a [u8]) -> Self {
        Self { pages, path, last: HashMap::new() }
    }

    /// The version that begins with this snapshot, if one does. Snapshots are given oldest arrival first; one whose manifest is
    /// damaged has none, and hides no other. O(depth).
    ///
    /// # Errors
    /// If a page cannot be read, or the user stops it.
    pub fn next(&mut self, snapshot: &Listed, progress: &dyn Progress) -> Result<Option<Version>, QueryError> {
        advance(progress)?;
        let Ok(manifest) = &snapshot.manifest else { return Ok(None) };
        let now = self.pages.resolve(&manifest.root, self.path)?.map(|found| found.entry);
        let before = match &now {
            Some(entry) => self.last.insert(snapshot.row.dataset, entry.clone()),
            None => self.last.remove(&snapshot.row.dataset),
        };
        if before == now {
            return Ok(None);
        }
        let found = Difference { path: self.path.into(), old: before, new: now.clone() };
        let change = Change::between(found, DiffOptions::default());
        // Of a folder, what is in it may be all that changed.
        let told = change.is_some() || now.as_ref().is_some_and(|e| e.folder().is_some());
        Ok(told.then_some(Version { entry: now, change }))
    }
}
