//! What the user says to leave out: patterns in the form of .gitignore.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::CaptureError;

/// Patterns of things to leave out.
#[derive(Debug, Default)]
pub(super) struct Exclude {
    all: Option<Gitignore>,
    each: Vec<Pattern>,
}

/// One of them by itself, and whether anything was found that it fits.
#[derive(Debug)]
struct Pattern {
    text: String,
    alone: Gitignore,
    met: AtomicBool,
}

impl Exclude {
    /// Patterns as in .gitignore: `*.o`, `/build`, `cache/`, `!keep.o`; those with a leading `/` count from the root.
    pub(super) fn new(patterns: &[String]) -> Result<Self, CaptureError> {
        let mut exclude = Self::default();
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            let bad =
                |e: ignore::Error| CaptureError::Pattern { pattern: pattern.clone(), why: reason(&e, &[pattern]) };
            builder.add_line(None, pattern).map_err(bad)?;
            let mut alone = GitignoreBuilder::new("");
            let alone = alone.add_line(None, pattern).and_then(|b| b.build()).map_err(bad)?;
            // Comments and empty lines are no patterns.
            if !alone.is_empty() {
                exclude.each.push(Pattern { text: pattern.clone(), alone, met: AtomicBool::new(false) });
            }
        }
        if !exclude.each.is_empty() {
            let bad = |e: ignore::Error| CaptureError::Pattern { pattern: patterns.join(", "), why: e.to_string() };
            exclude.all = Some(builder.build().map_err(bad)?);
        }
        Ok(exclude)
    }

    /// Whether the item at this path (from the root) is to be left out; nothing if no pattern speaks of it.
    pub(super) fn says(&self, path: &[u8], is_dir: bool) -> Option<bool> {
        match self.all.as_ref()?.matched(Path::new(OsStr::from_bytes(path)), is_dir) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        }
    }

    /// The pattern that decides on a path, for messages.
    pub(super) fn deciding(&self, path: &[u8], is_dir: bool) -> Option<&str> {
        let matched = self.all.as_ref()?.matched(Path::new(OsStr::from_bytes(path)), is_dir);
        matched.inner().map(|glob| glob.original())
    }

    /// Takes note of which patterns fit a path that [`Self::says`] spoke of: the last one decides, but others may fit too.
    pub(super) fn note(&self, path: &[u8], is_dir: bool) {
        let path = Path::new(OsStr::from_bytes(path));
        for pattern in self.each.iter().filter(|p| !p.met.load(Ordering::Relaxed)) {
            if !pattern.alone.matched(path, is_dir).is_none() {
                pattern.met.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Those of the expected patterns that fitted nothing: mostly typing errors. Of `!` patterns nothing is told: they are
    /// there for what may come.
    pub(super) fn unmet<'a>(&'a self, expected: &'a HashSet<String>) -> impl Iterator<Item = &'a str> {
        let met = |p: &&Pattern| p.met.load(Ordering::Relaxed) || p.text.starts_with('!');
        self.each.iter().filter(move |p| !met(p)).map(|p| p.text.as_str()).filter(|text| expected.contains(*text))
    }
}

/// What is wrong with a pattern, without what the reader knows already: the pattern itself.
pub(super) fn reason(error: &ignore::Error, known: &[&str]) -> String {
    let text = error.to_string();
    let known = known.iter().map(|k| format!("error parsing glob '{k}': "));
    known.into_iter().find_map(|front| text.strip_prefix(&front).map(str::to_owned)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclude(list: &[&str]) -> Result<Exclude, CaptureError> {
        Exclude::new(&list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn patterns() {
        let exclude = exclude(&["*.o", "/build", "cache/", "!keep.o"]).unwrap();
        let cases = [
            (&b"a/b.o"[..], false, Some(true)),
            (b"a/keep.o", false, Some(false)),
            (b"build", true, Some(true)),
            (b"a/build", true, None),
            (b"a/cache", true, Some(true)),
            (b"a/cache", false, None),
            (b"\xff\xfe", false, None),
        ];
        for (path, is_dir, says) in cases {
            assert_eq!(exclude.says(path, is_dir), says, "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn no_patterns_and_broken_ones() {
        for list in [&[][..], &["# a comment", ""]] {
            let none = exclude(list).unwrap();
            assert_eq!((none.says(b"x", false), none.unmet(&HashSet::new()).count()), (None, 0));
        }
        let error = exclude(&["a{b"]).unwrap_err().to_string();
        assert_eq!(error.matches("a{b").count(), 1, "{error}");
    }

    #[test]
    fn a_pattern_that_a_later_one_overrules_has_fitted_all_the_same() {
        let list = ["*.o", "a.o", "!a.o", "*.obj", "!kept", "# *.x", "of a file"];
        let exclude = exclude(&list).unwrap();
        assert_eq!(exclude.says(b"d/a.o", false), Some(false));
        exclude.note(b"d/a.o", false);
        let expected = list[..6].iter().map(|p| (*p).to_owned()).collect();
        assert_eq!(exclude.unmet(&expected).collect::<Vec<_>>(), ["*.obj"]);
    }
}
