//! Whether the map of hard links tells the names of a snapshot as section 12.4 says: the first path of each group, and how many names it has.
//!
//! From one snapshot to the next of a dataset only what differs is looked at. Pages may be shared, so that few of them are more names than anybody can walk:
//! each two folders are compared once.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::model::{Body, DatasetName, Entry, LinkGroup, LinkItem, Manifest, Progress};
use crate::store::StoreError;
use crate::tree::{Difference, Links, Pages, Sum, comes_before};

/// Groups of one snapshot that are told one by one.
pub(super) const GROUPS_TOLD: usize = 10;

/// What is wrong with what a map says.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Some of the groups that are not as it says, and why.
    pub(super) groups: Vec<(LinkGroup, String)>,
    /// How many more there are.
    pub(super) more: u64,
    /// It tells other numbers of names than there are; of which groups is not known.
    pub(super) is_miscounted: bool,
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && !self.is_miscounted
    }

    fn add(&mut self, group: LinkGroup, why: &str) {
        if self.groups.len() < GROUPS_TOLD {
            self.groups.push((group, why.to_owned()));
        } else {
            self.more += 1;
        }
    }
}

/// A sum over names: of each what stands for its group, a number that nobody can know who makes a tree. Two such sums are equal if all groups have as many names in
/// the one as in the other, and hardly ever else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct NameSum(u128);

impl Sum for NameSum {
    fn add(&mut self, other: &Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

/// A snapshot whose map tells its names as they are.
struct Known {
    dataset: DatasetName,
    root: Entry,
    sum: NameSum,
}

/// Looks at the maps of snapshots. Memory: some bytes for each folder that is looked into.
pub(super) struct LinkMaps<'a> {
    pages: &'a Pages,
    progress: &'a dyn Progress,
    weights: [RandomState; 2],
    known: Option<Known>,
}

impl<'a> LinkMaps<'a> {
    pub(super) fn new(pages: &'a Pages, progress: &'a dyn Progress) -> Self {
        Self { pages, progress, weights: [RandomState::new(), RandomState::new()], known: None }
    }

    /// What is wrong with the map of a snapshot in which there are names of these groups. What cannot be loaded is somebody else's to tell.
    pub(super) fn look(&mut self, manifest: &Manifest, groups: &mut dyn Iterator<Item = LinkGroup>) -> Faults {
        let links = Links::new(self.pages, manifest.links);
        let (mut faults, mut odd) = (Faults::default(), HashSet::new());
        for group in groups {
            if self.progress.cancelled() {
                return faults;
            }
            if let Some(why) = self.fault(&links, manifest, group) {
                faults.add(group, &why);
                odd.insert(group);
            }
        }
        let known = self.known.take().filter(|known| known.dataset == manifest.dataset);
        let nothing = || (Entry { body: Body::Fifo, ..manifest.root.clone() }, NameSum::default());
        let (before, sum) = known.map_or_else(nothing, |known| (known.root, known.sum));
        let looked = self.look_for_earlier(&before, &manifest.root, &links, (&mut odd, &mut faults));
        let sums = looked.and_then(|()| Ok((self.sum(&before, &manifest.root, sum)?, self.told(manifest)?)));
        if let Ok((sum, told)) = sums {
            // A map that is not there was told of already.
            faults.is_miscounted = sum != told && manifest.links.is_some();
            if faults.is_empty() {
                self.known = Some(Known { dataset: manifest.dataset.clone(), root: manifest.root.clone(), sum });
            }
        }
        faults.groups.sort_unstable();
        faults
    }

    /// What is wrong with the path that the map has for a group, for itself.
    fn fault(&self, links: &Links, manifest: &Manifest, group: LinkGroup) -> Option<String> {
        let first = match links.group(group) {
            Ok((_, first)) => first,
            Err(StoreError::Damage { what, why }) if what.contains(&group.to_string()) => return Some(why),
            Err(_) => return None,
        };
        let is_first = self.pages.store().keyring().ids().link_group(&first) == group;
        let found = self.pages.resolve(&manifest.root, &first).ok()?;
        let is_name = found.is_some_and(|found| found.entry.link == Some(group));
        (!is_first || !is_name).then(|| "the map of hard links names another path as its first".to_owned())
    }

    /// Looks for names before the first ones, among those that were not there before. Each two folders are looked into where they are met first: there their
    /// names are the first ones.
    fn look_for_earlier(
        &self,
        before: &Entry,
        root: &Entry,
        links: &Links,
        (odd, faults): (&mut HashSet<LinkGroup>, &mut Faults),
    ) -> Result<(), StoreError> {
        let mut look = |found: Difference| {
            if self.progress.cancelled() {
                return Err(StoreError::Interrupted);
            }
            let Some(group) = found.new.and_then(|entry| entry.link).filter(|group| !odd.contains(group)) else {
                return Ok(None);
            };
            if comes_before(&found.path, &links.group(group)?.1) {
                faults.add(group, "a name of it comes before the path that the map of hard links names as its first");
                odd.insert(group);
            }
            Ok(None::<()>)
        };
        let mut diff = self.pages.diff(&[], before, root)?.with_views();
        diff.next_picked(&|_| Some(Vec::new()), &mut look)?;
        Ok(())
    }

    /// What stands for a group.
    fn weight(&self, group: LinkGroup) -> u128 {
        let [high, low] = self.weights.each_ref().map(|half| u128::from(half.hash_one(group)));
        high << 64 | low
    }

    /// The sum over the names of a tree, from that of another.
    fn sum(&self, before: &Entry, root: &Entry, mut sum: NameSum) -> Result<NameSum, StoreError> {
        let weight = |entry: Option<&Entry>| entry.and_then(|entry| entry.link).map_or(0, |group| self.weight(group));
        let mut count = |old: Option<&Entry>, new: Option<&Entry>| {
            if self.progress.cancelled() {
                return Err(StoreError::Interrupted);
            }
            Ok(NameSum(weight(new).wrapping_sub(weight(old))))
        };
        if let Some(more) = self.pages.sum_differences(before, root, usize::MAX, &mut count)? {
            sum.add(&more);
        }
        Ok(sum)
    }

    /// The same as the map of a snapshot tells it.
    fn told(&self, manifest: &Manifest) -> Result<NameSum, StoreError> {
        let (mut sum, Some(links)) = (NameSum::default(), manifest.links) else { return Ok(NameSum::default()) };
        let mut items = self.pages.items::<LinkItem>(&links.page, &links.counts)?;
        while let Some(item) = items.next()? {
            sum.add(&NameSum(self.weight(item.group).wrapping_mul(item.names.into())));
        }
        Ok(sum)
    }
}
