//! Growth: which paths make a snapshot big, and which made the store grow when it arrived.

use std::collections::{BTreeMap, HashSet};

use crate::model::{Entry, Failure, Kind, Manifest, Progress, SnapshotId};
use crate::store::{Store, StoreError};
use crate::tree::{Pages, join};

/// Why the question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum GrowthError {
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for GrowthError {
    fn kind(&self) -> Kind {
        match self {
            Self::Interrupted => Kind::Interrupted,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Store(e) = self { e.hint() } else { None }
    }
}

/// A path and what it amounts to with all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Names from the root, joined by `/`; empty for the root.
    pub path: Box<[u8]>,
    /// How many names the path has.
    pub depth: usize,
    /// True for a folder.
    pub folder: bool,
    /// Bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// The paths below `root` that hold at least `percent` of its bytes, each folder before what is in it, the biggest first. Sizes are those of the
/// files. Folders that are smaller are not looked into.
///
/// # Errors
/// If a page cannot be read, or the user stops it.
pub fn biggest(pages: &Pages, root: &Entry, percent: f64, progress: &dyn Progress) -> Result<Vec<Share>, GrowthError> {
    let share = |path: Box<[u8]>, depth, entry: &Entry| match entry.folder() {
        Some(tree) => Share { path, depth, folder: true, bytes: tree.counts.bytes, files: tree.counts.total },
        None => Share { path, depth, folder: false, bytes: entry.file().map_or(0, |f| f.size), files: 1 },
    };
    let least = part(root.folder().map_or(root.size(), |tree| tree.counts.bytes), percent);
    let mut found = Vec::new();
    let mut open = vec![(share(Box::default(), 0, root), root.clone())];
    while let Some((next, entry)) = open.pop() {
        let (path, depth) = (next.path.clone(), next.depth);
        found.push(next);
        let Some(tree) = entry.folder() else { continue };
        let mut below = Vec::new();
        let mut list = pages.list(tree, 0, 0)?;
        while let Some(item) = list.next()? {
            progress.advance(1, 0);
            if progress.cancelled() {
                return Err(GrowthError::Interrupted);
            }
            let share = share(join(&path, item.entry.name.as_bytes()), depth + 1, &item.entry);
            if share.bytes >= least {
                below.push((share, item.entry));
            }
        }
        // The biggest is popped first.
        below.sort_by(|a, b| (a.0.bytes, &b.0.path).cmp(&(b.0.bytes, &a.0.path)));
        open.extend(below);
    }
    Ok(found)
}

/// What a snapshot brought into the store.
#[derive(Debug)]
pub struct Brought {
    /// Plain bytes of chunks that no earlier snapshot had, by path; of a chunk that several files share, the first path counts.
    pub shares: Vec<Share>,
    /// Plain bytes of pages: names, metadata and structure.
    pub structure: u64,
}

/// The paths through which came at least `percent` of the content that a snapshot brought, each folder before what is in it, the biggest first.
/// Only what differs from the snapshot before it in the dataset is looked at. Memory: what is new.
///
/// # Errors
/// If the store cannot be read, or the user stops it.
pub fn brought(
    store: &Store,
    pages: &Pages,
    id: SnapshotId,
    manifest: &Manifest,
    percent: f64,
    progress: &dyn Progress,
) -> Result<Brought, GrowthError> {
    let mut own = store.own_chunks(&id)?;
    // If the one before is gone, all is looked at: that takes longer and says the same.
    let empty = Entry { body: crate::model::Body::Fifo, ..manifest.root.clone() };
    let before = manifest.parent.and_then(|p| store.manifest(&p).ok()).map_or(empty, |m| m.root);
    let mut sums: BTreeMap<Box<[u8]>, Share> = BTreeMap::new();
    let mut counted = HashSet::new();
    let mut total = 0;
    let mut differences = pages.diff(&[], &before, &manifest.root)?;
    while let Some(found) = differences.next()? {
        progress.advance(1, 0);
        if progress.cancelled() {
            return Err(GrowthError::Interrupted);
        }
        let Some(entry) = found.new else { continue };
        let mut bytes = 0;
        let mut failed = None;
        pages.chunks_of(&entry, |chunk| match own.has(&chunk.id) {
            Ok(true) if counted.insert(chunk.id) => bytes += u64::from(chunk.len),
            Ok(_) => {}
            Err(e) => failed = Some(e),
        })?;
        if let Some(e) = failed {
            return Err(e.into());
        }
        if bytes > 0 {
            total += bytes;
            add(&mut sums, &found.path, bytes);
        }
    }
    let least = part(total, percent);
    sums.retain(|_, share| share.bytes >= least);
    Ok(Brought { shares: by_size(sums), structure: manifest.statistics.new_bytes.saturating_sub(total) })
}

/// So many percent of a size, at least a byte.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a size is a size")]
fn part(whole: u64, percent: f64) -> u64 {
    ((whole as f64 * percent / 100.0) as u64).max(1)
}

/// Adds the bytes of a file to its path and all above.
fn add(sums: &mut BTreeMap<Box<[u8]>, Share>, path: &[u8], bytes: u64) {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    let start = (!path.is_empty()).then_some(0);
    for (depth, end) in start.into_iter().chain(ends).chain([path.len()]).enumerate() {
        let share = sums.entry(path[..end].into()).or_insert_with(|| Share {
            path: path[..end].into(),
            depth,
            folder: end < path.len(),
            bytes: 0,
            files: 0,
        });
        share.bytes += bytes;
        share.files += 1;
    }
}

/// Preorder, the biggest first.
fn by_size(sums: BTreeMap<Box<[u8]>, Share>) -> Vec<Share> {
    let mut below: BTreeMap<Box<[u8]>, Vec<Share>> = BTreeMap::new();
    let mut open = Vec::new();
    for (path, share) in sums {
        if path.is_empty() {
            open.push(share);
            continue;
        }
        let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        below.entry(path[..end].into()).or_default().push(share);
    }
    let mut found = Vec::new();
    while let Some(share) = open.pop() {
        let mut next = below.remove(&share.path).unwrap_or_default();
        next.sort_by(|a, b| (a.bytes, &b.path).cmp(&(b.bytes, &a.path)));
        open.extend(next);
        found.push(share);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_up_and_the_biggest_comes_first() {
        let mut sums = BTreeMap::new();
        for (path, bytes) in [("a/x", 5), ("a/b/y", 1), ("c", 10), ("a/b/z", 2)] {
            add(&mut sums, path.as_bytes(), bytes);
        }
        let shares = by_size(sums);
        let shown: Vec<_> =
            shares.iter().map(|s| (String::from_utf8_lossy(&s.path).into_owned(), s.depth, s.bytes, s.files)).collect();
        let expected = [
            ("", 0, 18, 4),
            ("c", 1, 10, 1),
            ("a", 1, 8, 3),
            ("a/x", 2, 5, 1),
            ("a/b", 2, 3, 2),
            ("a/b/z", 3, 2, 1),
            ("a/b/y", 3, 1, 1),
        ];
        assert_eq!(shown, expected.map(|(p, d, b, f)| (p.to_owned(), d, b, f)));
    }
}
