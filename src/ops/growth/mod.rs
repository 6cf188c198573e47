//! Growth: which paths make a snapshot big, and which made the store grow when it arrived.

mod shares;

use std::collections::HashSet;

use crate::codec::IdKeys;
use crate::model::{Body, Entry, FileBody, Holes, Manifest, Progress, SnapshotId};
use crate::tree::{Pages, Step, join};

use super::query::{QueryError, advance};
use shares::Sums;
pub use shares::{Limits, Rest, Share, Shares};

/// The paths that make `root` big, which stands at `place` in its snapshot. Counts what is in files: holes not at all, and a file with
/// several names (hard links) at the first of them in the snapshot, in preorder, so that what disjoint folders have adds up. The same content
/// in several files counts in each. Looks at every entry. Memory: a few pages, and what is told.
///
/// # Errors
/// If a page cannot be read, or the user stops it.
pub fn biggest(
    pages: &Pages,
    root: &Entry,
    place: &[u8],
    limits: Limits,
    progress: &dyn Progress,
) -> Result<Shares, QueryError> {
    let mut sums = Sums::new(limits, root.folder().is_some());
    let Some(tree) = root.folder() else {
        sums.add(1, root.file().map_or(0, data_bytes));
        return Ok(sums.finish());
    };
    progress.expect(tree.counts.total, 0);
    let ids = pages.store().keyring().ids();
    let mut walk = pages.walk(tree, 0)?;
    while let Some(step) = walk.next()? {
        let Step::Enter(item) = step else {
            sums.leave();
            continue;
        };
        advance(progress)?;
        let entry = item.entry;
        if entry.folder().is_some() {
            sums.add(1, 0);
            sums.enter(entry.name.as_bytes(), true);
        } else {
            sums.enter(entry.name.as_bytes(), false);
            let file = entry.file().filter(|_| is_first_name(ids, &entry, || join(place, sums.path())));
            sums.add(1, file.map_or(0, data_bytes));
            sums.leave();
        }
    }
    Ok(sums.finish())
}

/// True if a file has no other names, or this is the first of them: their group's id is made of that one's path.
fn is_first_name(ids: &IdKeys, entry: &Entry, path: impl FnOnce() -> Box<[u8]>) -> bool {
    entry.link.is_none_or(|group| group == ids.link_group(&path()))
}

/// Bytes of a file without its holes.
fn data_bytes(file: &FileBody) -> u64 {
    let holes = match &file.holes {
        Holes::None => 0,
        Holes::List(list) => list.iter().fold(0, |sum: u64, hole| sum.saturating_add(hole.len)),
        Holes::Paged(_, counts) => counts.bytes,
    };
    file.size.saturating_sub(holes)
}

/// What a snapshot brought into the store.
#[derive(Debug)]
pub struct Brought {
    /// Plain bytes of chunks that no earlier snapshot had, by path; of a chunk that several files share, the first path counts.
    /// Nothing at all if there are none.
    pub shares: Shares,
    /// Plain bytes of pages: names, metadata and structure.
    pub structure: u64,
}

/// The paths through which content came that a snapshot brought. Only what differs from the snapshot before it in the dataset is looked at.
/// Memory: the ids of the chunks that are new, and what is told.
///
/// # Errors
/// If the store cannot be read, or the user stops it.
pub fn brought(
    pages: &Pages,
    id: SnapshotId,
    manifest: &Manifest,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<Brought, QueryError> {
    let store = pages.store();
    let mut own = store.own_chunks(&id)?;
    // If the one before is gone, all is looked at: that takes longer and says the same.
    let empty = Entry { body: Body::Fifo, ..manifest.root.clone() };
    let before = manifest.parent.and_then(|p| store.manifest(&p).ok()).map_or(empty, |m| m.root);
    let mut sums = Sums::new(limits, true);
    let mut counted = HashSet::new();
    let mut differences = pages.diff(&[], &before, &manifest.root)?;
    // Nothing is picked: two folders that were compared have nothing more to tell where they meet again.
    let nothing = differences.next_picked(&|_| Some(Vec::new()), &mut |found| {
        advance(progress)?;
        let Some(entry) = found.new else { return Ok::<_, QueryError>(None::<()>) };
        // What the path had before did not come now, wherever it was moved to since.
        let mut known = HashSet::new();
        if let Some(old) = &found.old {
            pages.chunks_of(old, |chunk| {
                known.insert(chunk.id);
            })?;
        }
        let mut bytes = 0;
        let mut failed = None;
        pages.chunks_of(&entry, |chunk| match own.has(&chunk.id) {
            Ok(true) if !known.contains(&chunk.id) && counted.insert(chunk.id) => bytes += u64::from(chunk.len),
            Ok(_) => {}
            Err(e) => failed = Some(e),
        })?;
        if let Some(e) = failed {
            return Err(e.into());
        }
        if bytes > 0 {
            sums.enter_path(&found.path, entry.folder().is_some());
            sums.add(1, bytes);
        }
        Ok(None)
    })?;
    debug_assert!(nothing.is_none());
    let mut shares = sums.finish();
    let content = shares.told.first().map_or(0, |root| root.bytes);
    shares.told.retain(|share| share.bytes > 0);
    Ok(Brought { shares, structure: manifest.statistics.new_bytes.saturating_sub(content) })
}
