//! What differs between two trees, found in steps that grow with the difference and not with the trees.
//!
//! Both maps are read side by side in key order. Pages end where their keys say, so equal stretches of two maps are the same
//! pages as soon as both sides stand at the beginning of one: those are passed over unread.

use crate::model::{Bits, Entry};
use crate::store::StoreError;

use super::folder::join;
use super::pages::{Head, Items, Pages};

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
/// that differ only in what is in them, the folder itself is not told. Memory: a few pages a level.
#[derive(Debug)]
pub struct TreeDiff {
    pages: Pages,
    first: Option<Difference>,
    folders: Vec<Pair>,
    views: bool,
}

/// Two folders under one path, either of which may be missing.
#[derive(Debug)]
pub(super) struct Pair {
    path: Box<[u8]>,
    old: Option<Items<Entry>>,
    new: Option<Items<Entry>>,
}

impl Pages {
    /// Compares two entries that stand under one path, and all below them. Views are left out.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn diff(&self, path: &[u8], old: &Entry, new: &Entry) -> Result<TreeDiff, StoreError> {
        let mut diff = TreeDiff { pages: self.clone(), first: None, folders: Vec::new(), views: false };
        diff.first = diff.compare(path.into(), Some(old.clone()), Some(new.clone()))?;
        Ok(diff)
    }
}

impl TreeDiff {
    /// The next difference.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn next(&mut self) -> Result<Option<Difference>, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while let Some(pair) = self.folders.last_mut() {
            let Some((old, new)) = pair.next()? else {
                self.folders.pop();
                continue;
            };
            let Some(name) = old.as_ref().or(new.as_ref()).map(|e| &e.name) else { continue };
            let path = join(&pair.path, name.as_bytes());
            if let Some(found) = self.compare(path, old, new)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Passes over what is below the folder told last.
    pub fn skip(&mut self) {
        self.folders.pop();
    }

    /// What is to be told of two entries; folders below which something may differ are put on the stack.
    fn compare(
        &mut self,
        path: Box<[u8]>,
        old: Option<Entry>,
        new: Option<Entry>,
    ) -> Result<Option<Difference>, StoreError> {
        let seen = |e: &Entry| self.views || seen(e);
        let (old, new) = (old.filter(seen), new.filter(seen));
        let trees = (old.as_ref().and_then(Entry::folder), new.as_ref().and_then(Entry::folder));
        if trees.0.map(|t| t.page) != trees.1.map(|t| t.page) {
            self.folders.push(Pair::open(&self.pages, path.clone(), old.as_ref(), new.as_ref())?);
        } else if trees.0.is_some() {
            // So that a caller's skip() finds what it expects.
            self.folders.push(Pair { path: path.clone(), old: None, new: None });
        }
        let same = match (&old, &new) {
            (Some(old), Some(new)) => same_but_for_below(old, new),
            (None, None) => true,
            _ => false,
        };
        Ok((!same).then_some(Difference { path, old, new }))
    }
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
    pub(super) fn open(
        pages: &Pages,
        path: Box<[u8]>,
        old: Option<&Entry>,
        new: Option<&Entry>,
    ) -> Result<Self, StoreError> {
        let open = |entry: Option<&Entry>| {
            entry.and_then(Entry::folder).map(|tree| pages.items(&tree.page, &tree.counts)).transpose()
        };
        Ok(Self { path, old: open(old)?, new: open(new)? })
    }

    /// The next two entries of one name that are not known to be equal; one of them may be missing.
    pub(super) fn next(&mut self) -> Result<Option<(Option<Entry>, Option<Entry>)>, StoreError> {
        loop {
            let heads = (self.old.as_mut().and_then(Items::head), self.new.as_mut().and_then(Items::head));
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
    use crate::tree::samples::{entry, new_store};
    use crate::tree::{MapBuilder, PageWriter};

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
}
