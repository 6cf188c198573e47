//! Whole contents: files of several chunks, each compared with its digest once, and the blocks that they are in; sizes of those of one chunk.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::codec::digest;
use crate::format::to_bytes;
use crate::model::{Chunks, Digest, FileBody, Manifest, PageId, Progress, SnapshotId};
use crate::store::{BlockLook, Finding, StoreError};
use crate::tree::{Flow, LongCheck, Node, Pages, Part, Stretch, Visit, WholeCheck, in_order};

/// What reading all long contents gave.
#[derive(Default)]
pub(super) struct Contents {
    /// How many there were.
    pub(super) count: u64,
    /// Those that are not what their digests say, or cannot be read.
    pub(super) bad: HashSet<Digest>,
    pub(super) findings: Vec<Finding>,
}

/// Reads every file that has several chunks, looks how long those of one are, and at each block while it is in memory for that.
pub(super) fn read_whole(
    pages: &Pages,
    manifests: &[(SnapshotId, Manifest)],
    blocks: &BlockLook,
    progress: &dyn Progress,
) -> Contents {
    let starts = manifests.iter().map(|(_, manifest)| (Box::default(), manifest.root.clone())).collect();
    let mut flow = Flow::new(pages, starts);
    let (mut seen, mut folders) = (HashSet::<Digest>::new(), HashSet::<PageId>::new());
    // There are many of one chunk. What nobody can foresee of their hashes tells them apart.
    let (mut short, hasher) = (HashSet::<u64>::new(), RandomState::new());
    let mut reading = None;
    let mut long = LongCheck::default();
    let mut contents = Contents::default();
    let _stopped: Result<(), ()> = in_order(
        || {
            // Whatever is below an equal folder was visited there, in whichever snapshot: most of them share most.
            let batch = flow.chosen(|visit| match visit {
                Visit::Enter { node, .. } => node.entry.folder().is_none_or(|tree| folders.insert(tree.page)),
                _ => true,
            });
            if batch.is_empty() {
                return None;
            }
            let parts = batch.into_iter().filter_map(|visit| match visit {
                Visit::Enter { node, part: Some(part), .. } => {
                    let wanted = match node.entry.file().filter(|file| file.chunks == Chunks::Whole) {
                        Some(file) => short.insert(hasher.hash_one((file.content, file.size))),
                        None => wanted(&node).is_some_and(|content| seen.insert(content)),
                    };
                    reading = wanted.then(|| node.clone());
                    wanted.then_some((node, part))
                }
                Visit::Part(node, part) => {
                    reading.as_ref().is_some_and(|r| Arc::ptr_eq(r, &node)).then_some((node, part))
                }
                _ => None,
            });
            Some(parts.collect::<Vec<_>>())
        },
        |parts: Vec<(Arc<Node>, Part)>| {
            let read = parts.into_iter().map(|(node, mut part)| {
                let outcome = read_one(pages, blocks, &node, &mut part);
                (node, part, outcome)
            });
            read.collect::<Vec<_>>()
        },
        |parts| {
            for (node, mut part, mut outcome) in parts {
                if let Some(file) = node.entry.file().filter(|file| file.chunks == Chunks::Whole) {
                    if let Err(e) = outcome
                        && contents.bad.insert(body_digest(file))
                    {
                        contents.findings.push(Finding::from_error(&e));
                    }
                    continue;
                }
                if !(part.offset == 0 && part.last) && outcome.is_ok() {
                    outcome = long.add(pages, &node, &mut part);
                }
                contents.count += u64::from(part.last);
                if let (Err(e), Some(content)) = (outcome, wanted(&node))
                    && contents.bad.insert(content)
                {
                    contents.findings.push(Finding::from_error(&e));
                }
            }
            if progress.cancelled() { Err(()) } else { Ok(()) }
        },
    );
    contents
}

/// What a file is known by that needs to be read for it.
fn wanted(node: &Node) -> Option<Digest> {
    node.entry.file().filter(|file| !matches!(file.chunks, Chunks::None | Chunks::Whole)).map(body_digest)
}

/// What tells one file body from another: digest, chunks and holes together.
pub(super) fn body_digest(file: &FileBody) -> Digest {
    digest(&to_bytes(file))
}

/// The id of a chunk that is a whole content proves its bytes, and not that they are as many as the entry says. That it cannot be read is told of its block.
fn size_of_whole(pages: &Pages, blocks: &BlockLook, file: &FileBody) -> Result<(), StoreError> {
    let store = pages.store();
    let Some(id) = file.content.map(|content| store.keyring().ids().chunk_of(&content)) else { return Ok(()) };
    let Ok(item) = store.chunk(&id) else { return Ok(()) };
    blocks.read(item.block());
    if item.len() as u64 == file.size {
        return Ok(());
    }
    let why = format!("it has {} bytes, and is the whole content of a file of {}", item.len(), file.size);
    Err(StoreError::damage(format!("chunk {id}"), why))
}

fn read_one(pages: &Pages, blocks: &BlockLook, node: &Node, part: &mut Part) -> Result<(), StoreError> {
    let Some(file) = node.entry.file() else { return Ok(()) };
    if file.chunks == Chunks::Whole {
        return size_of_whole(pages, blocks, file);
    }
    // Of a longer file this only has its blocks looked at; it is summed up in order afterwards.
    let mut check = WholeCheck::new(file);
    let whole = part.offset == 0 && part.last;
    pages.read_part::<StoreError>(part, |stretch| {
        if let Stretch::Data(item) = stretch {
            blocks.read(item.block());
        }
        if whole {
            check.update(stretch);
        }
        Ok(())
    })?;
    if whole { check.finish(file) } else { Ok(()) }
}
