//! What is searched for, and where it can be.

use globset::{GlobBuilder, GlobMatcher};

use crate::model::{Body, Digest, Entry, Failure, Kind};

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
    /// Of a whole path its names, for telling where nothing can match; nothing where that cannot be told.
    names: Option<Vec<PathPart>>,
}

/// A part of a pattern of paths.
#[derive(Debug)]
enum PathPart {
    /// So many names, none too.
    Any,
    /// A name.
    Name(GlobMatcher),
}

impl Criteria {
    /// Adds a pattern; one of them must match. One without `/` is compared with names, one with `/` with paths from the root:
    /// `*` and `?` stay within a name, `**` goes over folders, `[a-z]` and `{a,b}` are choices.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn pattern(&mut self, pattern: &str, ignore_case: bool) -> Result<(), PatternError> {
        let whole_path = pattern.contains('/');
        let text = pattern.trim_start_matches('/');
        let glob = compiled(text, ignore_case)
            .map_err(|e| PatternError { pattern: pattern.to_owned(), why: e.kind().to_string() })?;
        let names = whole_path.then(|| names_of(text, ignore_case)).flatten();
        self.patterns.push(Pattern { glob, whole_path, names });
        Ok(())
    }

    /// What of a folder's path decides what holds below it; nothing if nothing does.
    pub(super) fn place(&self, folder: &[u8]) -> Option<Vec<u8>> {
        let (mut place, mut alive) = (Vec::new(), self.patterns.is_empty());
        for pattern in &self.patterns {
            let Some(names) = &pattern.names else {
                alive = true;
                continue;
            };
            let at = split(folder).fold(closed(1, names), |at, name| moved(at, name, names));
            alive |= at & !(1 << names.len()) != 0;
            place.extend_from_slice(&at.to_le_bytes());
        }
        alive.then_some(place)
    }

    pub(super) fn holds(&self, path: &[u8], entry: &Entry) -> bool {
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

fn compiled(pattern: &str, ignore_case: bool) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).case_insensitive(ignore_case).build()?;
    Ok(glob.compile_matcher())
}

/// The names of a pattern of paths: it matches no path of which they do not match the names one by one. Nothing if they are too many, or a choice or an escape has a
/// slash in it.
fn names_of(pattern: &str, ignore_case: bool) -> Option<Vec<PathPart>> {
    let part = |text: &str| {
        let glob = compiled(text, ignore_case).ok()?;
        // A class may match a slash.
        let is_any = text.contains("**") || text.contains('[');
        Some(if is_any { PathPart::Any } else { PathPart::Name(glob) })
    };
    let names = pattern.split('/').map(part).collect::<Option<Vec<_>>>()?;
    (names.len() < 64).then_some(names)
}

fn split(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// The parts of a pattern that may be next, a bit for each and one for its end, when one of `at` was: `Any` may be no name.
fn closed(at: u64, parts: &[PathPart]) -> u64 {
    let any = parts.iter().enumerate().filter(|(_, part)| matches!(part, PathPart::Any));
    any.fold(at, |at, (part, _)| if at >> part & 1 == 1 { at | 2 << part } else { at })
}

/// The same behind one more name.
fn moved(at: u64, name: &[u8], parts: &[PathPart]) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(name);
    let next =
        parts.iter().enumerate().filter(|(part, _)| at >> part & 1 == 1).fold(0, |next, (at, part)| match part {
            PathPart::Any => next | 1 << at,
            PathPart::Name(glob) if glob.is_match(name) => next | 2 << at,
            PathPart::Name(_) => next,
        });
    closed(next, parts)
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
    fn where_nothing_can_match() {
        let cases = [
            ("*.rs", "any/where", true),
            ("src/*.rs", "", true),
            ("/src/*.rs", "src", true),
            ("src/*.rs", "doc", false),
            ("src/*.rs", "src/a", false),
            ("src/**/*.rs", "src/a/b", true),
            ("src/**/*.rs", "a/src", false),
            ("**/b/*", "a/c", true),
            ("a/**", "a/b/c", true),
            ("a/b**/c", "a/x/y", true),
            ("[a/b]c/d", "x", true),
            ("[!x]/c", "x/y", true),
            ("{a/b,c}/d", "x", true),
            ("{a,b}/d", "c", false),
            ("A/d", "a", false),
        ];
        for (pattern, folder, expected) in cases {
            let mut criteria = Criteria::default();
            criteria.pattern(pattern, false).unwrap();
            assert_eq!(criteria.place(folder.as_bytes()).is_some(), expected, "{pattern} {folder}");
            // What matches is in a folder where something can.
            for path in ["src/main.rs", "src/a/b/main.rs", "a/b/c", "a/bx/c", "c/d", "b/d", "a/b/d", "y/c", "bc/d"] {
                let (above, name) = path.rsplit_once('/').unwrap();
                if criteria.holds(path.as_bytes(), &file(name, 1)) {
                    let all = above.match_indices('/').map(|(end, _)| &above[..end]).chain([above, ""]);
                    for above in all {
                        assert!(criteria.place(above.as_bytes()).is_some(), "{pattern} {path} {above}");
                    }
                }
            }
        }
        let mut criteria = Criteria::default();
        criteria.pattern("A/d", true).unwrap();
        assert!(criteria.place(b"a").is_some() && criteria.place(b"b").is_none());
        // The same is said of places where the same can match.
        criteria.pattern("**/x", false).unwrap();
        assert_eq!(criteria.place(b"b"), criteria.place(b"c/d"));
        assert_ne!(criteria.place(b"b"), criteria.place(b"a"));
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
