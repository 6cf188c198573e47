//! From damaged objects to the snapshots and paths they touch.

use std::collections::{HashMap, HashSet};

use crate::model::{ChunkId, Entry, LinkGroup, Manifest, PageId, SnapshotId, TreeRef};
use crate::store::{Store, StoreError};
use crate::tree::Pages;

use super::structure::Bad;
use super::{PATHS_TOLD, Touched};

/// How many bad paths lie below a folder, for those that were walked to their ends.
type Known = HashMap<PageId, u64>;

/// Finds what each snapshot has lost.
pub(super) fn trace(pages: &Pages, manifests: &[(SnapshotId, Manifest)], bad: &Bad) -> Vec<Touched> {
    let mut known = Known::new();
    let mut touched = Vec::new();
    for (id, manifest) in manifests {
        let mut one =
            Touched { snapshot: *id, dataset: Some(manifest.dataset.to_string()), paths: Vec::new(), count: 0 };
        if entry_is_bad(pages, &manifest.root, bad) || links_are_bad(manifest, bad) {
            tell(&mut one, &[]);
        }
        // What another snapshot has in the same folder may be as it should be.
        let (names, mut own) = (bad.names.get(id), Known::new());
        let known = if names.is_some() { &mut own } else { &mut known };
        if let Some(tree) = manifest.root.folder() {
            walk(pages, *tree, (bad, names), known, &mut one);
        }
        if one.count > 0 {
            touched.push(one);
        }
    }
    touched
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
    (bad, names): (&Bad, Option<&HashSet<LinkGroup>>),
    known: &mut Known,
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
                let is_odd = found.entry.link.zip(names).is_some_and(|(group, names)| names.contains(&group));
                if is_odd || entry_is_bad(pages, &found.entry, bad) {
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
