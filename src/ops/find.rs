//! Find: names in many snapshots, equal versions told once with the snapshots that have them.
//!
//! Of the first snapshot of a dataset the whole tree is looked at, of each later one only what differs from the one before.
//! So a search grows with what there is to find and with the changes, not with the number of snapshots.

use std::collections::{BTreeMap, HashMap};

use globset::{GlobBuilder, GlobMatcher};

use crate::model::{Body, DatasetKey, Digest, Entry, Failure, Kind, Progress};
use crate::snapshots::{Counted, Listed};
use crate::store::SnapshotRow;
use crate::tree::{Pages, Step, join, same_but_for_below};

use super::query::{QueryError, advance};

/// A pattern that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("the pattern {pattern:?} makes no sense: {why}")]
pub struct PatternError {
    /// Which one.
    pub pattern: String,
    /// Why.
    pub why: String,
}

impl Failure for PatternError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// What is searched for: all that is given must hold.
#[derive(Debug, Default)]
pub struct Criteria {
    patterns: Vec<Pattern>,
    /// Which sorts of things: letters as `find -type` has them. Empty: all.
    pub sorts: Vec<char>,
    /// Files of this content.
    pub content: Option<Digest>,
    /// Files of at least so many bytes.
    pub min_size: Option<u64>,
    /// Files of at most so many bytes.
    pub max_size: Option<u64>,
}

#[derive(Debug)]
struct Pattern {
    glob: GlobMatcher,
    whole_path: bool,
}

impl Criteria {
    /// Adds a pattern; one of them must match. One without `/` is compared with names, one with `/` with paths from the root:
    /// `*` and `?` stay within a name, `**` goes over folders, `[a-z]` and `{a,b}` are choices.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn pattern(&mut self, pattern: &str, ignore_case: bool) -> Result<(), PatternError> {
        let whole_path = pattern.contains('/');
        let glob = GlobBuilder::new(pattern.trim_start_matches('/'))
            .literal_separator(true)
            .case_insensitive(ignore_case)
            .build()
            .map_err(|e| PatternError { pattern: pattern.to_owned(), why: e.kind().to_string() })?;
        self.patterns.push(Pattern { glob: glob.compile_matcher(), whole_path });
        Ok(())
    }

    fn holds(&self, path: &[u8], entry: &Entry) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let matches = |pattern: &Pattern| {
            let text = if pattern.whole_path { path } else { entry.name.as_bytes() };
            pattern.glob.is_match(std::ffi::OsStr::from_bytes(text))
        };
        let size_fits = self.min_size.is_none() && self.max_size.is_none()
            || entry
                .file()
                .is_some_and(|f| f.size >= self.min_size.unwrap_or(0) && f.size <= self.max_size.unwrap_or(u64::MAX));
        (self.sorts.is_empty() || self.sorts.contains(&sort_letter(entry)))
            && size_fits
            && (self.content.is_none() || self.content == entry.file().and_then(|f| f.content))
            && (self.patterns.is_empty() || self.patterns.iter().any(matches))
    }
}

/// The letter that `find -type` has for a sort of thing.
fn sort_letter(entry: &Entry) -> char {
    match entry.body {
        Body::File(_) => 'f',
        Body::Folder(_) => 'd',
        Body::Symlink(_) => 'l',
        Body::Fifo => 'p',
        Body::Socket => 's',
        Body::CharDevice(..) => 'c',
        Body::BlockDevice(..) => 'b',
    }
}

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
    /// All that is criteria in one tree.
    fn tree<E: From<QueryError>>(
        &self,
        snapshot: &Searched,
        mut found: impl FnMut(Box<[u8]>, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(tree) = snapshot.root.folder() else { return Ok(()) };
        let mut walk = self.pages.walk(tree, 0).map_err(QueryError::from)?;
        let mut folders: Vec<Box<[u8]>> = vec![Box::default()];
        while let Some(step) = walk.next().map_err(QueryError::from)? {
            let Step::Enter(item) = step else {
                folders.pop();
                continue;
            };
            advance(self.progress)?;
            let path = join(folders.last().map_or(&[], |p| p), item.entry.name.as_bytes());
            if item.entry.folder().is_some() {
                folders.push(path.clone());
            }
            if self.criteria.holds(&path, &item.entry) {
                found(path, item.entry)?;
            }
        }
        Ok(())
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
            let mut differences = self.pages.diff(&[], &pair[0].root, &pair[1].root).map_err(QueryError::from)?;
            while let Some(found) = differences.next().map_err(QueryError::from)? {
                advance(self.progress)?;
                if found.path.is_empty() {
                    continue;
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileBody;
    use crate::tree::samples::entry;

    fn file(name: &str, size: u64) -> Entry {
        entry(name.as_bytes(), Body::File(FileBody { size, ..FileBody::empty() }))
    }

    #[test]
    fn patterns() {
        let cases = [
            ("*.rs", "src/main.rs", true),
            ("*.rs", "src/main.rs.bak", false),
            ("main.*", "a/b/main.c", true),
            ("src/*.rs", "src/main.rs", true),
            ("/src/*.rs", "src/main.rs", true),
            ("src/*.rs", "src/a/main.rs", false),
            ("src/**/*.rs", "src/a/b/main.rs", true),
            ("**/b/*", "src/a/b/main.rs", true),
            ("{a,b}.c", "b.c", true),
            ("[!a].c", "a.c", false),
            ("MAIN.C", "main.c", false),
        ];
        for (pattern, path, expected) in cases {
            let mut criteria = Criteria::default();
            criteria.pattern(pattern, false).unwrap();
            let name = path.rsplit('/').next().unwrap();
            assert_eq!(criteria.holds(path.as_bytes(), &file(name, 1)), expected, "{pattern} {path}");
        }
        let mut criteria = Criteria::default();
        criteria.pattern("MAIN.C", true).unwrap();
        assert!(criteria.holds(b"main.c", &file("main.c", 1)));
        assert!(Criteria::default().pattern("[a", false).is_err());
    }

    #[test]
    fn sorts_and_sizes() {
        let criteria = Criteria { sorts: vec!['f'], min_size: Some(10), max_size: Some(20), ..Criteria::default() };
        assert!(criteria.holds(b"a", &file("a", 10)));
        assert!(criteria.holds(b"a", &file("a", 20)));
        assert!(!criteria.holds(b"a", &file("a", 21)));
        assert!(!Criteria { sorts: vec!['d'], ..Criteria::default() }.holds(b"a", &file("a", 1)));
    }
}
