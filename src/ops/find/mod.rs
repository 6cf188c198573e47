//! Find: names in many snapshots, equal versions told once with the snapshots that have them.
//!
//! Of the first snapshot of a dataset the whole tree is looked at, of each later one only what differs from the one before.
//! So a search grows with what there is to find and with the changes, not with the number of snapshots.

mod criteria;

use std::collections::{BTreeMap, HashMap};

use crate::model::{Body, DatasetKey, Entry, Progress};
use crate::snapshots::{Counted, Listed};
use crate::store::SnapshotRow;
use crate::tree::{Difference, Pages, TreeDiff, same_but_for_below};

use super::query::{QueryError, advance};
pub use criteria::{Criteria, PatternError};

/// A snapshot to be searched: of its manifest, which may be large, no more than that takes.
#[derive(Debug)]
pub struct Searched {
    /// What the log says of it.
    pub row: SnapshotRow,
    /// What its dataset is called, as [`Listed::dataset_label`] has it.
    pub dataset: String,
    /// When it arrived, as far as witnesses bear it out.
    pub counted: Counted,
    root: Entry,
}

impl Searched {
    /// Of a list; nothing if its manifest cannot be read.
    #[must_use]
    pub fn of(snapshot: &Listed) -> Option<Self> {
        let root = snapshot.manifest.as_ref().ok()?.root.clone();
        let (row, dataset) = (snapshot.row.clone(), snapshot.dataset_label());
        Some(Self { row, dataset, counted: snapshot.counted, root })
    }
}

/// A version of something found.
#[derive(Debug)]
pub struct Found<'a> {
    /// Names from the root, joined by `/`.
    pub path: Box<[u8]>,
    /// What stands there. Of a folder, what is in it may differ between the snapshots.
    pub entry: Entry,
    /// The first snapshot that has it.
    pub first: &'a Searched,
    /// The last one.
    pub last: &'a Searched,
    /// How many have it, one after the other.
    pub count: u64,
}

/// Searches snapshots, which are given oldest arrival first, each dataset by itself. Tells versions by path within a dataset, as
/// soon as the dataset is done; of a single snapshot each as it is found. Memory: what was found in one dataset.
///
/// # Errors
/// If a page cannot be read, `tell` fails, or the user stops it.
pub fn find<'a, E: From<QueryError>>(
    pages: &Pages,
    snapshots: &'a [Searched],
    criteria: &Criteria,
    progress: &dyn Progress,
    mut tell: impl FnMut(Found<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut order = Vec::new();
    let mut datasets: HashMap<DatasetKey, Vec<&'a Searched>> = HashMap::new();
    for snapshot in snapshots {
        let of_dataset = datasets.entry(snapshot.row.dataset).or_default();
        if of_dataset.is_empty() {
            order.push(snapshot.row.dataset);
        }
        of_dataset.push(snapshot);
    }
    for dataset in order {
        let list = datasets.remove(&dataset).unwrap_or_default();
        let search = Search { pages, criteria, progress };
        if let [one] = list[..] {
            search.tree(one, |path, entry| tell(Found { path, entry, first: one, last: one, count: 1 }))?;
        } else {
            search.series(&list, &mut tell)?;
        }
    }
    Ok(())
}

struct Search<'s> {
    pages: &'s Pages,
    criteria: &'s Criteria,
    progress: &'s dyn Progress,
}

/// A version that the snapshot looked at last still has: where in the series it began.
struct Alive {
    entry: Entry,
    first: usize,
}

impl Search<'_> {
    /// All that is searched for in one tree, views included.
    fn tree<E: From<QueryError>>(
        &self,
        snapshot: &Searched,
        mut tell: impl FnMut(Box<[u8]>, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let nothing = Entry { body: Body::Fifo, ..snapshot.root.clone() };
        let differences = self.pages.diff(&[], &nothing, &snapshot.root).map_err(QueryError::from)?;
        let mut differences = differences.with_views();
        while let Some(Difference { path, new, .. }) = self.next_in(&mut differences)? {
            new.map_or(Ok(()), |entry| tell(path, entry))?;
        }
        Ok(())
    }

    /// The next difference of which one side is what is searched for. Folders that hold nothing of it are looked at once, however many paths lead to them.
    fn next_in(&self, differences: &mut TreeDiff) -> Result<Option<Difference>, QueryError> {
        let criteria = self.criteria;
        differences.next_picked(&|folder| criteria.place(folder), &mut |found: Difference| {
            advance(self.progress)?;
            let holds = [&found.old, &found.new].into_iter().flatten().any(|entry| criteria.holds(&found.path, entry));
            Ok((holds && !found.path.is_empty()).then_some(found))
        })
    }

    fn series<'a, E: From<QueryError>>(
        &self,
        list: &[&'a Searched],
        tell: &mut impl FnMut(Found<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut alive: BTreeMap<Box<[u8]>, Alive> = BTreeMap::new();
        let mut ended: BTreeMap<(Box<[u8]>, usize), (Entry, usize)> = BTreeMap::new();
        let Some(first) = list.first() else { return Ok(()) };
        self.tree::<QueryError>(first, |path, entry| {
            alive.insert(path, Alive { entry, first: 0 });
            Ok(())
        })?;
        for (at, pair) in list.windows(2).enumerate() {
            let differences = self.pages.diff(&[], &pair[0].root, &pair[1].root).map_err(QueryError::from)?;
            let mut differences = differences.with_views();
            while let Some(found) = self.next_in(&mut differences)? {
                if let Some(before) = alive.remove(&found.path) {
                    // What is in a folder is no part of its version.
                    if found.new.as_ref().is_some_and(|new| same_but_for_below(&before.entry, new)) {
                        alive.insert(found.path, before);
                        continue;
                    }
                    ended.insert((found.path.clone(), before.first), (before.entry, at));
                }
                if let Some(entry) = found.new.filter(|e| self.criteria.holds(&found.path, e)) {
                    alive.insert(found.path, Alive { entry, first: at + 1 });
                }
            }
        }
        let last = list.len() - 1;
        ended.extend(alive.into_iter().map(|(path, a)| ((path, a.first), (a.entry, last))));
        for ((path, first), (entry, last)) in ended {
            let count = (last - first + 1) as u64;
            tell(Found { path, entry, first: list[first], last: list[last], count })?;
        }
        Ok(())
    }
}
