//! Folders of which a capture took only what leads on to its sources.

use std::collections::HashSet;

use crate::model::Manifest;
use crate::store::StoreError;
use crate::tree::Pages;

/// The folders above a snapshot's sources, where these stand at their absolute paths (`ops/capture/roots.rs` places them):
/// as paths from `start`, a path of the snapshot.
///
/// # Errors
/// If the snapshot's tree cannot be read.
pub fn passed(pages: &Pages, manifest: &Manifest, start: &[u8]) -> Result<HashSet<Box<[u8]>>, StoreError> {
    let sources: Vec<_> = manifest.sources.iter().map(|path| path.strip_prefix(b"/").unwrap_or(path)).collect();
    let at_their_paths = match sources.as_slice() {
        // A stream stands in no folder of its own.
        [] => true,
        // A folder that was captured alone is the root itself.
        [one] => pages.resolve(&manifest.root, one)?.is_some_and(|node| node.entry.folder().is_none()),
        _ => true,
    };
    let mut passed = HashSet::new();
    if at_their_paths {
        passed.insert(Vec::new());
        for source in &sources {
            passed.extend((0..source.len()).filter(|at| source[*at] == b'/').map(|end| source[..end].to_vec()));
        }
    }
    // What is in a source is no way to another.
    let inside = |folder: &[u8]| {
        sources.iter().any(|s| folder == *s || folder.strip_prefix(*s).is_some_and(|r| r.first() == Some(&b'/')))
    };
    passed.retain(|folder| !inside(folder));
    let below = |folder: Vec<u8>| match folder.strip_prefix(start)? {
        rest if start.is_empty() || rest.is_empty() => Some(Box::from(rest)),
        [b'/', rest @ ..] => Some(Box::from(rest)),
        _ => None,
    };
    Ok(passed.into_iter().filter_map(below).collect())
}
