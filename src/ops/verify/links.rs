//! Names of one file hold the same (section 12.4): whether they do, in each snapshot.
//!
//! From one snapshot to the next of a dataset only the pages that come and go are looked at: of each it is counted how many lead to it, and of each group
//! what its names hold. A page counts once, however many paths lead to it.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::codec::digest;
use crate::format::{PageItems, to_bytes};
use crate::model::{Counts, Entry, LinkGroup, Manifest, PageId, Progress, SnapshotId, TreeRef};
use crate::tree::{Holding, Pages};

use super::link_map::{Faults, GROUPS_TOLD, LinkMaps};

/// Groups whose names do not hold the same, or that the map of hard links does not tell as they are: of one snapshot after the other what changes, since
/// snapshots may be many that have the same ones.
#[derive(Debug, Default)]
pub(super) struct OddGroups(Vec<OddOne>);

/// What one snapshot has.
#[derive(Debug)]
struct OddOne {
    snapshot: SnapshotId,
    /// Groups whose names do not hold the same in it and do in the one before, or the other way round.
    changed: Vec<LinkGroup>,
    /// What is wrong with its map.
    map: Faults,
}

impl OddGroups {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives each snapshot that has such groups to `each`, with those whose names differ, those of the map, and whether they are others than those of the one given
    /// before. Ends when `each` says no.
    fn each(&self, mut each: impl FnMut(&OddOne, &BTreeSet<LinkGroup>, bool) -> bool) {
        let (mut odd, mut is_new) = (BTreeSet::new(), false);
        for one in &self.0 {
            for group in &one.changed {
                if !odd.remove(group) {
                    odd.insert(*group);
                }
                is_new = true;
            }
            if odd.is_empty() && one.map.is_empty() {
                continue;
            }
            if !each(one, &odd, is_new || !one.map.is_empty()) {
                return;
            }
            is_new = !one.map.is_empty();
        }
    }

    /// The same with all groups of a snapshot together; of one whose map miscounts them it is not known which.
    pub(super) fn each_snapshot(&self, mut each: impl FnMut(SnapshotId, &dyn Fn(&LinkGroup) -> bool, bool)) {
        self.each(|one, odd, is_new| {
            let has = |group: &LinkGroup| {
                one.map.is_miscounted || odd.contains(group) || one.map.groups.iter().any(|(known, _)| known == group)
            };
            each(one.snapshot, &has, is_new);
            true
        });
    }

    /// Tells of the groups of each snapshot; of many some, and how many more there are. Ends when `tell` says no.
    pub(super) fn tell(&self, mut tell: impl FnMut(SnapshotId, Option<LinkGroup>, String) -> bool) {
        self.each(|one, odd, _| {
            let differ = odd.iter().take(GROUPS_TOLD).map(|group| (Some(*group), DIFFER.to_owned()));
            let unmapped = one.map.groups.iter().map(|(group, why)| (Some(*group), why.clone()));
            let more = odd.len().saturating_sub(GROUPS_TOLD) as u64 + one.map.more;
            let rest = (more > 0).then(|| (None, format!("{more} more are no better")));
            let miscounted = one.map.is_miscounted.then(|| (None, MISCOUNTED.to_owned()));
            differ.chain(unmapped).chain(rest).chain(miscounted).all(|(group, why)| tell(one.snapshot, group, why))
        });
    }
}

/// What is wrong with most such groups.
const DIFFER: &str = "its names do not hold the same";

/// What is wrong with a map that tells how many names a group has, and has another number for it.
const MISCOUNTED: &str = "the map of hard links tells other numbers of names than there are";

/// A page and what its parent says that it sums up to.
type PageKey = [u8; 16];

/// What the snapshot at hand has. Memory: some bytes for each of its pages of directories, and for each of its groups.
struct Names<'a> {
    pages: &'a Pages,
    progress: &'a dyn Progress,
    /// How many pages, or roots, lead to each page.
    held: HashMap<PageKey, u64>,
    /// What the names of a group hold, and how many of them that.
    holdings: HashMap<(LinkGroup, Holding), u64>,
    /// How many things the names of a group hold.
    groups: HashMap<LinkGroup, u64>,
    /// Groups that hold several things now and did not before, or the other way round.
    changed: HashSet<LinkGroup>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Come,
    Go,
}

/// Finds groups whose names differ, and with `mapped` those that the map of hard links does not tell as they are. Pages that cannot be loaded are somebody else's to tell.
pub(super) fn odd_groups(
    pages: &Pages,
    manifests: &[(SnapshotId, Manifest)],
    mapped: bool,
    progress: &dyn Progress,
) -> OddGroups {
    let mut order: Vec<_> = manifests.iter().collect();
    // Of one dataset most is the same from one to the next.
    order.sort_by(|(_, a), (_, b)| (&a.dataset, a.sequence).cmp(&(&b.dataset, b.sequence)));
    let (holdings, groups, changed) = (HashMap::new(), HashMap::new(), HashSet::new());
    let mut names = Names { pages, progress, held: HashMap::new(), holdings, groups, changed };
    let (mut found, mut before) = (OddGroups::default(), None);
    let (mut link_maps, mut maps) = (LinkMaps::new(pages, progress), HashMap::new());
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
        let changed = names.changed.drain().collect();
        let has_map = mapped && !(names.groups.is_empty() && manifest.links.is_none());
        let map = if has_map {
            let known = maps.entry((tree.page, manifest.links.map(|links| links.page)));
            known.or_insert_with(|| link_maps.look(manifest, &mut names.groups.keys().copied())).clone()
        } else {
            Faults::default()
        };
        found.0.push(OddOne { snapshot: *id, changed, map });
    }
    if found.0.iter().all(|one| one.changed.is_empty() && one.map.is_empty()) {
        found.0.clear();
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
        let count = self.holdings.entry((group, holding)).or_default();
        let kinds = self.groups.entry(group).or_default();
        let was_odd = *kinds > 1;
        match step {
            Step::Come => {
                *kinds += u64::from(*count == 0);
                *count += 1;
            }
            Step::Go => {
                *kinds -= u64::from(*count == 1).min(*kinds);
                *count = count.saturating_sub(1);
            }
        }
        let (is_odd, kinds) = (*kinds > 1, *kinds);
        if *count == 0 {
            self.holdings.remove(&(group, holding));
        }
        if kinds == 0 {
            self.groups.remove(&group);
        }
        if was_odd != is_odd && !self.changed.remove(&group) {
            self.changed.insert(group);
        }
    }
}
