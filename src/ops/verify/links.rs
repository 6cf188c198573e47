//! Names of one file hold the same (section 12.4): whether they do, in each snapshot.
//!
//! From one snapshot to the next of a dataset only the pages that come and go are looked at: of each it is counted how many lead to it, and of each group
//! what its names hold. A page counts once, however many paths lead to it.

use std::collections::{HashMap, HashSet};

use crate::codec::digest;
use crate::format::{PageItems, to_bytes};
use crate::model::{Counts, Entry, LinkGroup, Manifest, PageId, Progress, SnapshotId, TreeRef};
use crate::tree::{Holding, Pages};

/// Groups whose names do not hold the same.
pub(super) type OddGroups = HashMap<SnapshotId, HashSet<LinkGroup>>;

/// A page and what its parent says that it sums up to.
type PageKey = [u8; 16];

/// What the snapshot at hand has. Memory: some bytes for each of its pages of directories, and for each of its groups.
struct Names<'a> {
    pages: &'a Pages,
    progress: &'a dyn Progress,
    /// How many pages, or roots, lead to each page.
    held: HashMap<PageKey, u64>,
    /// What the names of a group hold, and how many of them that.
    groups: HashMap<LinkGroup, Vec<(Holding, u64)>>,
    /// Those that hold several things.
    odd: HashSet<LinkGroup>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Come,
    Go,
}

/// Finds groups whose names differ. Pages that cannot be loaded are somebody else's to tell.
pub(super) fn odd_groups(pages: &Pages, manifests: &[(SnapshotId, Manifest)], progress: &dyn Progress) -> OddGroups {
    let mut order: Vec<_> = manifests.iter().collect();
    // Of one dataset most is the same from one to the next.
    order.sort_by(|(_, a), (_, b)| (&a.dataset, a.sequence).cmp(&(&b.dataset, b.sequence)));
    let mut names = Names { pages, progress, held: HashMap::new(), groups: HashMap::new(), odd: HashSet::new() };
    let (mut found, mut before) = (OddGroups::new(), None);
    for (id, manifest) in order {
        let Some(tree) = manifest.root.folder() else { continue };
        // First what comes: of what stays nothing is looked at.
        names.look(Step::Come, *tree);
        if let Some(before) = before.replace(*tree) {
            names.look(Step::Go, before);
        }
        if progress.cancelled() {
            break;
        }
        if !names.odd.is_empty() {
            found.insert(*id, names.odd.clone());
        }
    }
    found
}

impl Names<'_> {
    fn look(&mut self, step: Step, root: TreeRef) {
        let mut todo = vec![(root.page, root.counts)];
        while let Some((id, counts)) = todo.pop() {
            if self.progress.cancelled() {
                return;
            }
            if !self.is_first_or_last(step, &id, &counts) {
                continue;
            }
            let Ok(page) = self.pages.load::<Entry>(&id, &counts) else { continue };
            match &page.items {
                PageItems::Inner(children) => todo.extend(children.iter().map(|child| (child.page, child.counts))),
                PageItems::Leaf(entries) => {
                    for entry in entries {
                        todo.extend(entry.folder().map(|tree| (tree.page, tree.counts)));
                        if let Some(group) = entry.link {
                            self.name(step, group, Holding::of(entry));
                        }
                    }
                }
            }
        }
    }

    /// Counts a page; true if it was not there before, or is not there any more.
    fn is_first_or_last(&mut self, step: Step, id: &PageId, counts: &Counts) -> bool {
        let mut key = [0; 16];
        key.copy_from_slice(&digest(&[id.as_bytes(), &to_bytes(counts)[..]].concat()).as_bytes()[..16]);
        let count = self.held.entry(key).or_default();
        match step {
            Step::Come => {
                *count += 1;
                *count == 1
            }
            Step::Go => {
                *count = count.saturating_sub(1);
                let is_last = *count == 0;
                if is_last {
                    self.held.remove(&key);
                }
                is_last
            }
        }
    }

    fn name(&mut self, step: Step, group: LinkGroup, holding: Holding) {
        let all = self.groups.entry(group).or_default();
        match (step, all.iter().position(|(known, _)| *known == holding)) {
            (Step::Come, None) => all.push((holding, 1)),
            (Step::Come, Some(at)) => all[at].1 += 1,
            (Step::Go, Some(at)) => {
                all[at].1 -= 1;
                all.retain(|(_, count)| *count > 0);
            }
            (Step::Go, None) => {}
        }
        let (several, none) = (all.len() > 1, all.is_empty());
        if several {
            self.odd.insert(group);
        } else {
            self.odd.remove(&group);
        }
        if none {
            self.groups.remove(&group);
        }
    }
}
