//! What differs between two trees, found in steps that grow with the difference and not with the trees.
//!
//! Both maps are read side by side in key order. Pages end where their keys say, so equal stretches of two maps are the same
//! pages as soon as both sides stand at the beginning of one: those are passed over unread.

use std::collections::HashSet;

use crate::codec::digest;
use crate::model::{Bits, Entry, PageId};
use crate::store::StoreError;

use super::folder::push_name;
use super::pages::{Head, Items, Pages, let_go};

/// A path where the trees differ: what stands there in the one and in the other, at least one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Names from the root, joined by `/`; empty for the roots themselves.
    pub path: Box<[u8]>,
    /// What was there.
    pub old: Option<Entry>,
    /// What is there.
    pub new: Option<Entry>,
}

/// A stream of differences in preorder. A folder that is only in one tree is told with all that is in it; of two folders
/// that differ only in what is in them, the folder itself is not told. Memory: a few pages a level, and some bytes for each few dozen entries that were passed by.
#[derive(Debug)]
pub struct TreeDiff {
    pages: Pages,
    first: Option<Difference>,
    folders: Vec<Open>,
    /// The path of what was compared last: those of the folders it is in begin it.
    path: Vec<u8>,
    views: bool,
    /// How many differences were picked.
    picked: u64,
    /// Folders below which nothing was.
    barren: HashSet<Key>,
}

/// Two folders that are being compared.
#[derive(Debug)]
struct Open {
    pair: Pair,
    /// How long their path is.
    path: usize,
    /// What they are remembered by.
    key: Option<Key>,
    /// How many differences were picked before.
    picked: u64,
}

/// Two folders and a place.
type Key = [u8; 16];

/// Entries that two folders hold at any depth to be worth remembering: fewer are soon looked at again.
const WORTH: u64 = 64;

/// Two folders under one path, either of which may be missing.
#[derive(Debug)]
pub(super) struct Pair {
    old: Option<Items<Entry>>,
    new: Option<Items<Entry>>,
}

/// Says of the path of a folder what decides what is picked below it; nothing if nothing is.
pub type Place<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// Makes of a difference what is wanted of it, if it is.
pub type Pick<'a, T, E> = &'a mut dyn FnMut(Difference) -> Result<Option<T>, E>;

impl Pages {
    /// Compares two entries that stand under one path, and all below them. Views are left out.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn diff(&self, path: &[u8], old: &Entry, new: &Entry) -> Result<TreeDiff, StoreError> {
        let (first, folders, barren) = (None, Vec::new(), HashSet::new());
        let mut diff =
            TreeDiff { pages: self.clone(), first, folders, path: path.to_vec(), views: false, picked: 0, barren };
        diff.first = diff.compare(Some(old.clone()), Some(new.clone()), &|_| Some(Vec::new()))?;
        Ok(diff)
    }
}

impl TreeDiff {
    /// Looks at views too, but for those that were compared first.
    #[must_use]
    pub fn with_views(mut self) -> Self {
        self.views = true;
        self
    }

    /// The next difference.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn next(&mut self) -> Result<Option<Difference>, StoreError> {
        self.next_picked(&|_| Some(Vec::new()), &mut |found| Ok(Some(found)))
    }

    /// What is picked next. Two folders below which nothing was are passed over where they meet again in a place of which the same is said: so the steps
    /// grow with the folders and with what is picked, and not with the paths that lead to them. `place` and `pick` are to be the same each time.
    ///
    /// # Errors
    /// If a page cannot be loaded, or `pick` fails.
    pub fn next_picked<T, E: From<StoreError>>(
        &mut self,
        place: Place<'_>,
        pick: Pick<'_, T, E>,
    ) -> Result<Option<T>, E> {
        if let Some(first) = self.first.take()
            && let Some(picked) = pick(first)?
        {
            return Ok(Some(picked));
        }
        while let Some(top) = self.folders.last_mut() {
            let Some((old, new)) = top.pair.next()? else {
                let done = self.folders.pop();
                let is_barren = |open: &Open| open.picked == self.picked;
                self.barren.extend(done.filter(is_barren).and_then(|open| open.key));
                continue;
            };
            let Some(name) = old.as_ref().or(new.as_ref()).map(|e| &e.name) else { continue };
            self.path.truncate(top.path);
            push_name(&mut self.path, name.as_bytes());
            if let Some(found) = self.compare(old, new, place)?
                && let Some(picked) = pick(found)?
            {
                self.picked += 1;
                return Ok(Some(picked));
            }
        }
        Ok(None)
    }

    /// Passes over what is below the folder told last.
    pub fn skip(&mut self) {
        self.folders.pop();
    }

    /// What is to be told of two entries whose path is at hand; folders below which something may differ are put on the stack.
    fn compare(
        &mut self,
        old: Option<Entry>,
        new: Option<Entry>,
        place: Place<'_>,
    ) -> Result<Option<Difference>, StoreError> {
        let seen = |e: &Entry| self.views || seen(e);
        let (old, new) = (old.filter(seen), new.filter(seen));
        let trees = (old.as_ref().and_then(Entry::folder), new.as_ref().and_then(Entry::folder));
        let (mut pair, mut key) = (Pair { old: None, new: None }, None);
        if trees.0.map(|t| t.page) != trees.1.map(|t| t.page)
            && let Some(said) = place(&self.path)
        {
            key = key_of(old.as_ref(), new.as_ref(), &said).filter(|_| is_worth_it(old.as_ref(), new.as_ref()));
            if key.is_none_or(|key| !self.barren.contains(&key)) {
                pair = Pair::open(&self.pages, old.as_ref(), new.as_ref())?;
            }
        }
        // An empty pair too, so that a caller's skip() finds what it expects.
        if trees.0.or(trees.1).is_some() {
            let_go(&mut self.folders, |above| above.pair.sleep());
            self.folders.push(Open { pair, path: self.path.len(), key, picked: self.picked });
        }
        let same = match (&old, &new) {
            (Some(old), Some(new)) => same_but_for_below(old, new),
            (None, None) => true,
            _ => false,
        };
        Ok((!same).then(|| Difference { path: self.path.as_slice().into(), old, new }))
    }
}

/// True if two folders are worth remembering.
pub(super) fn is_worth_it(old: Option<&Entry>, new: Option<&Entry>) -> bool {
    let trees = [old, new].into_iter().flatten().filter_map(Entry::folder);
    trees.fold(0, |all, tree| tree.counts.total.saturating_add(all)) >= WORTH
}

/// What tells two folders that differ, in a place of which this is said, from any other two; nothing if there is nothing to be compared.
pub(super) fn key_of(old: Option<&Entry>, new: Option<&Entry>, said: &[u8]) -> Option<Key> {
    let page = |entry: Option<&Entry>| entry.and_then(Entry::folder).map(|tree| tree.page);
    let (old, new) = (page(old), page(new));
    if old == new {
        return None;
    }
    let bytes = |page: &Option<PageId>| {
        page.map_or([0; 33], |page| {
            let mut bytes = [1; 33];
            bytes[1..].copy_from_slice(page.as_bytes());
            bytes
        })
    };
    let hash = digest(&[&bytes(&old)[..], &bytes(&new), said].concat());
    hash.as_bytes().first_chunk().copied()
}

/// True if two entries are equal, of folders without a look at what is in them.
#[must_use]
pub fn same_but_for_below(old: &Entry, new: &Entry) -> bool {
    match (old.folder(), new.folder()) {
        (Some(tree), Some(_)) => {
            let new = Entry { body: crate::model::Body::Folder(*tree), ..new.clone() };
            *old == new
        }
        _ => old == new,
    }
}

/// True of what is compared: no view.
pub(super) fn seen(entry: &Entry) -> bool {
    !(entry.bits.has(Bits::VIEW) && entry.folder().is_some())
}

impl Pair {
    /// What is in two entries, as far as they are folders.
    ///
    /// # Errors
    /// If a root page cannot be loaded.
    pub(super) fn open(pages: &Pages, old: Option<&Entry>, new: Option<&Entry>) -> Result<Self, StoreError> {
        let open = |entry: Option<&Entry>| {
            entry.and_then(Entry::folder).map(|tree| pages.items(&tree.page, &tree.counts)).transpose()
        };
        Ok(Self { old: open(old)?, new: open(new)? })
    }

    /// The next two entries of one name that are not known to be equal; one of them may be missing.
    pub(super) fn next(&mut self) -> Result<Option<(Option<Entry>, Option<Entry>)>, StoreError> {
        loop {
            let head = |side: &mut Option<Items<Entry>>| side.as_mut().map_or(Ok(None), Items::head);
            let heads = (head(&mut self.old)?, head(&mut self.new)?);
            let (from_old, from_new) = match &heads {
                (None, None) => return Ok(None),
                (Some(Head::Page { level: a, id: old }), Some(Head::Page { level: b, id: new })) => {
                    if old == new {
                        self.pass(true, true);
                    } else {
                        self.enter(a >= b, b >= a)?;
                    }
                    continue;
                }
                (Some(Head::Page { .. }), _) => {
                    self.enter(true, false)?;
                    continue;
                }
                (_, Some(Head::Page { .. })) => {
                    self.enter(false, true)?;
                    continue;
                }
                (Some(Head::Item(_)), None) => (true, false),
                (None, Some(Head::Item(_))) => (false, true),
                (Some(Head::Item(old)), Some(Head::Item(new))) => (old.name <= new.name, new.name <= old.name),
            };
            self.pass(from_old, from_new);
            let item = |head: Option<Head<Entry>>, take: bool| match head {
                Some(Head::Item(entry)) if take => Some(entry),
                _ => None,
            };
            let (old, new) = (item(heads.0, from_old), item(heads.1, from_new));
            if old != new {
                return Ok(Some((old, new)));
            }
        }
    }

    /// Lets go of pages, which are loaded again when they are needed.
    pub(super) fn sleep(&mut self) {
        self.old.iter_mut().chain(&mut self.new).for_each(Items::sleep);
    }

    /// True if one of its pages is in memory.
    #[cfg(test)]
    fn is_awake(&self) -> bool {
        self.old.iter().chain(&self.new).any(Items::is_awake)
    }

    fn pass(&mut self, old: bool, new: bool) {
        self.old.as_mut().filter(|_| old).map(Items::pass);
        self.new.as_mut().filter(|_| new).map(Items::pass);
    }

    fn enter(&mut self, old: bool, new: bool) -> Result<(), StoreError> {
        self.old.as_mut().filter(|_| old).map_or(Ok(()), Items::enter)?;
        self.new.as_mut().filter(|_| new).map_or(Ok(()), Items::enter)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Body, FileBody, Name, TreeRef};
    use crate::store::{Store, Waiting};
    use crate::tree::samples::{bomb, entry, folder, new_store, stored};
    use crate::tree::{MapBuilder, PageWriter, Step};

    /// Names of files and the seconds of their time; a name with `/` is in a folder.
    type Files = BTreeMap<String, i64>;

    fn build(pages: &mut PageWriter, files: &Files) -> Entry {
        let mut below: BTreeMap<String, Files> = BTreeMap::new();
        let mut items = Vec::new();
        for (path, time) in files {
            if let Some((folder, rest)) = path.split_once('/') {
                below.entry(folder.to_owned()).or_default().insert(rest.to_owned(), *time);
            } else {
                let mut file = entry(path.as_bytes(), Body::File(FileBody::empty()));
                file.mtime.seconds = *time;
                items.push(file);
            }
        }
        items.extend(
            below
                .iter()
                .map(|(name, files)| Entry { name: Name::new(name.as_bytes()).unwrap(), ..build(pages, files) }),
        );
        items.sort_by(|a, b| a.name.cmp(&b.name));
        let mut map = MapBuilder::default();
        items.into_iter().for_each(|item| map.push(pages, item).unwrap());
        let (page, counts) = map.finish(pages).unwrap();
        entry(b"", Body::Folder(TreeRef { page, counts }))
    }

    fn both(store: &Store, old: &Files, new: &Files) -> (Entry, Entry) {
        let writer = store.writer(Waiting::Wait, &|| true).unwrap();
        let mut pages = PageWriter::new(&writer);
        let trees = (build(&mut pages, old), build(&mut pages, new));
        pages.flush().unwrap();
        drop(pages);
        drop(writer);
        store.refresh().unwrap();
        trees
    }

    /// Paths that differ, with the times on both sides; folders left out.
    fn told(pages: &Pages, (old, new): &(Entry, Entry)) -> Vec<(String, Option<i64>, Option<i64>)> {
        let mut diff = pages.diff(&[], old, new).unwrap();
        let mut found = Vec::new();
        while let Some(d) = diff.next().unwrap() {
            let time = |e: Option<Entry>| e.filter(|e| e.folder().is_none()).map(|e| e.mtime.seconds);
            let times = (time(d.old), time(d.new));
            if times != (None, None) {
                found.push((String::from_utf8(d.path.into()).unwrap(), times.0, times.1));
            }
        }
        found
    }

    fn expected(old: &Files, new: &Files) -> Vec<(String, Option<i64>, Option<i64>)> {
        let paths: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let all = paths.into_iter().map(|p| (p.clone(), old.get(p).copied(), new.get(p).copied()));
        let mut differ: Vec<_> = all.filter(|(_, a, b)| a != b).collect();
        // Preorder is the order of lists of names.
        differ.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
        differ
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_same_as_looking_at_everything(
            old in prop::collection::btree_map("([ab]/|c/d/)?[a-z]{1,2}[0-9]{0,2}", 0..4i64, 0..600),
            edits in prop::collection::vec(("([ab]/|c/d/)?[a-z]{1,2}[0-9]{0,2}", prop::option::of(0..4i64)), 0..40),
        ) {
            // A folder's name is no file's.
            let old: Files = old.into_iter().filter(|(p, _)| !["a", "b", "c"].contains(&p.as_str())).collect();
            let mut new = old.clone();
            for (path, time) in edits {
                match time {
                    _ if ["a", "b", "c"].contains(&path.as_str()) => {}
                    Some(time) => _ = new.insert(path, time),
                    None => _ = new.remove(&path),
                }
            }
            let dir = tempfile::tempdir().unwrap();
            let store = new_store(dir.path());
            let trees = both(&store, &old, &new);
            prop_assert_eq!(told(&Pages::new(&store, 64 << 20), &trees), expected(&old, &new));
        }
    }

    #[test]
    fn only_what_differs_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let old: Files = (0..20_000).map(|n| (format!("{:03}/{n:06}", n / 5000), 0)).collect();
        let mut new = old.clone();
        new.insert("001/007777".to_owned(), 1);
        new.remove("003/019999");
        let trees = both(&store, &old, &new);
        let pages = Pages::new(&store, 256 << 20);
        let found = told(&pages, &trees);
        assert_eq!(found, [("001/007777".to_owned(), Some(0), Some(1)), ("003/019999".to_owned(), Some(0), None)]);
        // Two trees of about 320 pages each; a path of at most four pages and their neighbours for each change and side.
        assert!(pages.loaded() < 40, "{} pages were loaded", pages.loaded());
        assert_eq!(told(&pages, &(trees.0.clone(), trees.0.clone())), []);
    }

    /// Paths that lead to few folders are many; each two folders of which nothing is picked are looked at once.
    #[test]
    fn few_pages_of_many_files_are_looked_through_in_few_steps() {
        let (_dir, store, (old, new)) = stored(|pages| {
            let some = entry(b"some", Body::File(FileBody::empty()));
            let (bomb, other) = (bomb(pages, 18, 0), bomb(pages, 18, 1));
            (folder(pages, "x", vec![bomb]), folder(pages, "x", vec![some, other]))
        });
        let nothing = Entry { body: Body::Fifo, ..new.clone() };
        let steps = |old: &Entry, new: &Entry, place: Place<'_>, wanted: &str| {
            let (mut steps, mut found) = (0, Vec::new());
            let mut diff = Pages::new(&store, 16 << 20).diff(&[], old, new).unwrap();
            let mut pick = |found: Difference| {
                steps += 1;
                assert!(steps < 10_000, "it does not end");
                Ok::<_, StoreError>(Some(found.path).filter(|path| **path == *wanted.as_bytes()))
            };
            while let Some(path) = diff.next_picked(place, &mut pick).unwrap() {
                found.push(path);
            }
            (steps, found)
        };
        let path = "x/5/0/1";
        for (old, new) in [(&old, &new), (&nothing, &new)] {
            let (few, found) = steps(old, new, &|_| Some(Vec::new()), "no such");
            assert!(found.is_empty() && few < 2000, "{few}");
            let (_, found) = steps(old, new, &|_| Some(Vec::new()), "some");
            assert_eq!(found, [Box::from(&b"some"[..])]);
            // What is picked depends on the path.
            let place =
                |folder: &[u8]| Some(if path.as_bytes().starts_with(folder) { folder.to_vec() } else { vec![b'/'] });
            let (_, found) = steps(old, new, &place, path);
            assert_eq!(found.len(), usize::from(old.folder().is_none()), "folders that differ only below are not told");
            let (none, found) = steps(old, new, &|folder| folder.is_empty().then(Vec::new), path);
            assert!(found.is_empty() && none <= 3, "{none}");
        }
    }

    /// Of folders in folders few have their pages in memory, and those above are as they were.
    #[test]
    fn a_deep_tree_is_compared_and_walked_to_its_end() {
        let (_dir, store, (old, new)) = stored(|pages| {
            let mut chain = |time: i64| {
                let file = |name: &str| {
                    let mut file = entry(name.as_bytes(), Body::File(FileBody::empty()));
                    file.mtime.seconds = time;
                    file
                };
                (0..200).fold(folder(pages, "d", vec![file("e")]), |below, _| {
                    folder(pages, "d", vec![file("a"), below, file("z")])
                })
            };
            (chain(0), chain(1))
        });
        // So small that no page stays.
        let pages = Pages::new(&store, 1);
        let (mut diff, mut most, mut paths) = (pages.diff(&[], &old, &new).unwrap(), 0, Vec::new());
        while let Some(found) = diff.next().unwrap() {
            most = most.max(diff.folders.iter().filter(|open| open.pair.is_awake()).count());
            paths.push(found.path);
        }
        assert_eq!((paths.len(), diff.folders.len()), (401, 0));
        assert!(paths.is_sorted_by_key(|path| path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>()));
        assert!(most <= 33, "{most}");
        let (mut walk, mut entries, mut depth) = (pages.walk(new.folder().unwrap(), 0).unwrap(), 0, 0);
        while let Some(step) = walk.next().unwrap() {
            match step {
                Step::Enter(found) => {
                    entries += 1;
                    depth += u64::from(found.entry.folder().is_some());
                    assert!(walk.awake() <= 33, "{}", walk.awake());
                }
                Step::Leave => depth -= 1,
            }
        }
        assert_eq!((entries, depth), (601, 0));
        let mut count =
            |old: Option<&Entry>, _: Option<&Entry>| Ok(u64::from(old.is_some_and(|old| old.file().is_some())));
        assert_eq!(pages.sum_differences(&old, &new, 1000, &mut count).unwrap(), Some(401));
    }
}
