//! From damaged objects to the snapshots and paths they touch.

use std::collections::HashMap;

use crate::model::{ChunkId, Entry, LinkGroup, Manifest, PageId, SnapshotId, TreeRef};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

use super::structure::Bad;
use super::{PATHS_TOLD, Touched};

/// How many bad paths lie below a folder, for those that were walked to their ends.
type Known = HashMap<PageId, u64>;

/// Whether a name is of a group of hard links that is not as it should be.
type IsOdd<'a> = &'a dyn Fn(&LinkGroup) -> bool;

/// Entries that are looked at for groups of hard links that are not as they should be, in all snapshots together: what one snapshot has in a folder another may have
/// in the same one as it should be, so each is walked for itself. Behind that a snapshot that has such groups is touched as a whole.
const LOOKED_AT: u64 = 1 << 23;

/// Finds what each snapshot has lost.
pub(super) fn trace(pages: &Pages, manifests: &[(SnapshotId, Manifest)], bad: &Bad) -> Vec<Touched> {
    let mut known = Known::new();
    let mut touched = HashMap::new();
    let all: HashMap<_, _> = manifests.iter().map(|(id, manifest)| (*id, manifest)).collect();
    let (mut own, mut left) = (Known::new(), LOOKED_AT);
    bad.names.each_snapshot(|id, is_odd, is_new| {
        if is_new {
            own.clear();
        }
        let Some(manifest) = all.get(&id) else { return };
        let mut one = trace_one(pages, (id, manifest), (bad, Some(is_odd)), &mut own, &mut left);
        if one.count == 0 && left == 0 {
            tell(&mut one, &[]);
        }
        touched.insert(id, one);
    });
    let (mut traced, mut boundless) = (Vec::new(), u64::MAX);
    for (id, manifest) in manifests {
        let one = match touched.remove(id) {
            Some(one) => one,
            None => trace_one(pages, (*id, manifest), (bad, None), &mut known, &mut boundless),
        };
        traced.extend(Some(one).filter(|one| one.count > 0));
    }
    traced
}

fn trace_one(
    pages: &Pages,
    (snapshot, manifest): (SnapshotId, &Manifest),
    (bad, is_odd): (&Bad, Option<IsOdd>),
    known: &mut Known,
    left: &mut u64,
) -> Touched {
    let dataset = Some(manifest.dataset.to_string());
    let mut one = Touched { snapshot, dataset, paths: Vec::new(), count: 0 };
    if entry_is_bad(pages, &manifest.root, bad) || links_are_bad(manifest, bad) {
        tell(&mut one, &[]);
    }
    if let Some(tree) = manifest.root.folder() {
        walk(pages, *tree, (bad, is_odd), (known, left), &mut one);
    }
    one
}

fn tell(one: &mut Touched, path: &[u8]) {
    one.count = one.count.saturating_add(1);
    if one.paths.len() < PATHS_TOLD {
        one.paths.push(path.to_vec());
    }
}

fn links_are_bad(manifest: &Manifest, bad: &Bad) -> bool {
    manifest.links.is_some_and(|links| bad.pages.contains(&links.page))
}

/// A folder being walked: what was found before it, to know afterwards what is bad below it.
struct Open {
    page: PageId,
    found_before: u64,
    path: usize,
}

/// Passes over folders of which it is known what is bad below them, unless paths of it are to be told: many paths may lead to few pages.
fn walk(
    pages: &Pages,
    root: TreeRef,
    (bad, is_odd): (&Bad, Option<IsOdd>),
    (known, left): (&mut Known, &mut u64),
    one: &mut Touched,
) {
    let mut path = Vec::new();
    let mut open = vec![Open { page: root.page, found_before: one.count, path: 0 }];
    let mut walk = match pages.walk(&root, 0) {
        Ok(walk) if known.get(&root.page) != Some(&0) => walk,
        Ok(_) => return,
        Err(_) => return tell(one, &[]),
    };
    loop {
        match walk.next() {
            Ok(Some(crate::tree::Step::Enter(found))) => {
                let end = path.len();
                if end > 0 {
                    path.push(b'/');
                }
                path.extend_from_slice(found.entry.name.as_bytes());
                if *left == 0 {
                    return;
                }
                *left -= 1;
                if found.entry.link.zip(is_odd).is_some_and(|(group, is_odd)| is_odd(&group))
                    || entry_is_bad(pages, &found.entry, bad)
                {
                    tell(one, &path);
                }
                let Some(tree) = found.entry.folder() else {
                    path.truncate(end);
                    continue;
                };
                match known.get(&tree.page) {
                    Some(below) if *below == 0 || one.paths.len() >= PATHS_TOLD => {
                        one.count = one.count.saturating_add(*below);
                        walk.skip();
                        path.truncate(end);
                    }
                    _ => open.push(Open { page: tree.page, found_before: one.count, path: end }),
                }
            }
            Ok(Some(crate::tree::Step::Leave)) => leave(&mut open, &mut path, known, one),
            Ok(None) => return leave(&mut open, &mut path, known, one),
            // The folder's list is damaged: it is touched as a whole, whatever of it was seen.
            Err(_) => {
                tell(one, &path);
                leave(&mut open, &mut path, known, one);
            }
        }
    }
}

fn leave(open: &mut Vec<Open>, path: &mut Vec<u8>, known: &mut Known, one: &Touched) {
    if let Some(folder) = open.pop() {
        path.truncate(folder.path);
        known.insert(folder.page, one.count - folder.found_before);
    }
}

/// True if something that the entry itself references is damaged.
fn entry_is_bad(pages: &Pages, entry: &Entry, bad: &Bad) -> bool {
    if !bad.contents.is_empty()
        && entry.file().is_some_and(|file| bad.contents.contains(&super::content::body_digest(file)))
    {
        return true;
    }
    let mut hit = false;
    let looked = pages.chunks_of(entry, |chunk| {
        hit = hit || bad.chunks.contains(&chunk.id) || is_in_bad_block(pages.store(), &chunk.id, bad);
    });
    hit || looked.is_err() || holes_are_bad(pages, entry).is_err()
}

fn is_in_bad_block(store: &Store, id: &ChunkId, bad: &Bad) -> bool {
    if bad.blocks.is_empty() && bad.misnamed.is_empty() {
        return false;
    }
    let Ok(Some(block)) = store.chunk_block(id) else { return false };
    bad.blocks.contains(&block) || bad.misnamed.contains(&block) && store.lacks_chunk(id)
}

fn holes_are_bad(pages: &Pages, entry: &Entry) -> Result<(), StoreError> {
    if let Some(crate::model::Holes::Paged(page, counts)) = entry.file().map(|file| &file.holes) {
        let mut items = pages.items::<crate::model::Extent>(page, counts)?;
        while items.next()?.is_some() {}
    }
    Ok(())
}
