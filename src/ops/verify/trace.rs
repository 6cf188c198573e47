//! From damaged objects to the snapshots and paths they touch.

use std::collections::HashSet;

use crate::model::{ChunkId, Entry, Manifest, PageId, SnapshotId, TreeRef};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

use super::structure::Bad;
use super::{PATHS_TOLD, Touched};

/// Finds what each snapshot has lost.
pub(super) fn trace(pages: &Pages, manifests: &[(SnapshotId, Manifest)], bad: &Bad) -> Vec<Touched> {
    let mut whole = HashSet::new();
    let mut touched = Vec::new();
    for (id, manifest) in manifests {
        let mut one =
            Touched { snapshot: *id, dataset: Some(manifest.dataset.to_string()), paths: Vec::new(), count: 0 };
        if entry_is_bad(pages, &manifest.root, bad) || links_are_bad(manifest, bad) {
            tell(&mut one, &[]);
        }
        if let Some(tree) = manifest.root.folder() {
            walk(pages, *tree, bad, &mut whole, &mut one);
        }
        if one.count > 0 {
            touched.push(one);
        }
    }
    touched
}

fn tell(one: &mut Touched, path: &[u8]) {
    one.count += 1;
    if one.paths.len() < PATHS_TOLD {
        one.paths.push(path.to_vec());
    }
}

fn links_are_bad(manifest: &Manifest, bad: &Bad) -> bool {
    manifest.links.is_some_and(|links| bad.pages.contains(&links.page))
}

/// A folder being walked: what was found before it, to know afterwards whether it is whole.
struct Open {
    page: PageId,
    found_before: u64,
    path: usize,
}

fn walk(pages: &Pages, root: TreeRef, bad: &Bad, whole: &mut HashSet<PageId>, one: &mut Touched) {
    let mut path = Vec::new();
    let mut open = vec![Open { page: root.page, found_before: one.count, path: 0 }];
    let mut walk = match pages.walk(&root, 0) {
        Ok(walk) if !whole.contains(&root.page) => walk,
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
                if entry_is_bad(pages, &found.entry, bad) {
                    tell(one, &path);
                }
                match found.entry.folder() {
                    Some(tree) if !whole.contains(&tree.page) => {
                        open.push(Open { page: tree.page, found_before: one.count, path: end });
                    }
                    folder => {
                        if folder.is_some() {
                            walk.skip();
                        }
                        path.truncate(end);
                    }
                }
            }
            Ok(Some(crate::tree::Step::Leave)) => leave(&mut open, &mut path, whole, one),
            Ok(None) => return leave(&mut open, &mut path, whole, one),
            // The folder's list is damaged: it is touched as a whole, whatever of it was seen.
            Err(_) => {
                tell(one, &path);
                leave(&mut open, &mut path, whole, one);
            }
        }
    }
}

fn leave(open: &mut Vec<Open>, path: &mut Vec<u8>, whole: &mut HashSet<PageId>, one: &Touched) {
    if let Some(folder) = open.pop() {
        path.truncate(folder.path);
        if one.count == folder.found_before {
            whole.insert(folder.page);
        }
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
