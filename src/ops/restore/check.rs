//! Reading back what was restored.

use std::sync::Arc;

use crate::model::Body;
use crate::tree::{Flow, Node, Visit, in_order};

use super::RestoreError;
use super::existing::digest_of;
use super::folders::{Folder, Folders, Rules, Top};
use super::report::Tally;
use super::select::{Choice, Chooser};

/// Compares every file's content with its digest, from the disk as far as the system allows, and every symlink's target. What was
/// told not to be restored is left out.
pub(super) fn read_back(
    mut flow: Flow,
    base: &Arc<Folder>,
    rules: Rules,
    tally: &mut Tally,
) -> Result<(), RestoreError> {
    // What is written goes to the disk, so that the cached copy can be dropped and the disk's is read.
    let _ = rustix::fs::syncfs(base);
    let not_written = std::mem::take(&mut tally.not_written);
    let mut folders = Folders::new(Some(base.clone()), rules);
    let mut chooser = Chooser::new(rules.select);
    in_order(
        || {
            let mut items = Vec::new();
            let batch = flow.chosen(|visit| chooser.visit(visit).0 != Choice::Aside);
            if batch.is_empty() {
                return None;
            }
            for visit in batch {
                match visit {
                    Visit::Enter { node, .. } if node.entry.folder().is_some() => {
                        let _ = folders.find(&node);
                    }
                    Visit::Enter { node, .. } if not_written.contains(&node.path) => {}
                    Visit::Enter { node, .. } => {
                        if let Top::Open(folder) = folders.top() {
                            items.push((folder, node));
                        }
                    }
                    Visit::Part(..) | Visit::Odd(..) => {}
                    Visit::Leave(_) | Visit::Lost(..) => {
                        folders.leave();
                    }
                }
            }
            Some(items)
        },
        |items: Vec<(Arc<Folder>, Arc<Node>)>| {
            let wrong =
                items.into_iter().filter_map(|(folder, node)| compare(&folder, &node).err().map(|why| (node, why)));
            wrong.collect::<Vec<_>>()
        },
        |wrong| {
            for (node, why) in &wrong {
                tally.mismatch(node, why);
            }
            if tally.progress().cancelled() { Err(RestoreError::Interrupted) } else { Ok(()) }
        },
    )
}

fn compare(folder: &Folder, node: &Node) -> Result<(), String> {
    let name = node.entry.name.as_bytes();
    let fail = |e: rustix::io::Errno| format!("cannot be read back: {}", std::io::Error::from(e));
    match &node.entry.body {
        Body::File(file) => match file.content {
            Some(content) if digest_of(folder, name).map_err(fail)? != content => {
                Err("its content is not the snapshot's".to_owned())
            }
            _ => Ok(()),
        },
        Body::Symlink(target) => {
            let there = rustix::fs::readlinkat(folder, name, Vec::new()).map_err(fail)?;
            if there.as_bytes() == &target[..] { Ok(()) } else { Err("its target is not the snapshot's".to_owned()) }
        }
        _ => Ok(()),
    }
}
