//! What is restored of a tree: patterns of what to take and of what to leave aside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use globset::{GlobBuilder, GlobMatcher};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::tree::{Node, Visit};

use super::RestoreError;

/// Patterns in the form of .gitignore, from the root of what is restored: `*.c`, `/src`, `docs/**/*.md`, `cache/`.
///
/// What matches an exclusion is left aside, a folder with all that is in it. If there are inclusions, only what matches one of
/// them is taken, a folder with all that is in it; and the folders above it.
#[derive(Debug, Default)]
pub struct Select {
    exclude: Option<Gitignore>,
    include: Option<Include>,
    /// What is taken, by its paths.
    paths: Option<Vec<Box<[u8]>>>,
}

#[derive(Debug)]
struct Include {
    patterns: Gitignore,
    /// Where each pattern can match at all; nothing if one of them can anywhere.
    anchored: Option<Vec<Vec<GlobMatcher>>>,
    each: Vec<Single>,
}

/// A pattern by itself, and whether anything was taken that it fits.
#[derive(Debug)]
struct Single {
    text: String,
    pattern: Gitignore,
    met: AtomicBool,
}

impl Select {
    /// Reads patterns.
    ///
    /// # Errors
    /// If one of them makes no sense.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, RestoreError> {
        let patterns = |list: &[String]| -> Result<Option<Gitignore>, RestoreError> {
            let mut builder = GitignoreBuilder::new("");
            let refused = |pattern: &str, e: ignore::Error| RestoreError::Pattern {
                pattern: pattern.to_owned(),
                why: e.to_string(),
            };
            for pattern in list {
                builder.add_line(None, pattern).map_err(|e| refused(pattern, e))?;
            }
            let built = builder.build().map_err(|e| refused(&list.join(", "), e))?;
            Ok((!list.is_empty()).then_some(built))
        };
        let anchored = include.iter().map(|pattern| anchor(pattern)).collect();
        let mut each = Vec::new();
        for text in include {
            if let Some(pattern) = patterns(std::slice::from_ref(text))? {
                each.push(Single { text: text.clone(), pattern, met: AtomicBool::new(false) });
            }
        }
        let include = patterns(include)?.map(|patterns| Include { patterns, anchored, each });
        Ok(Self { exclude: patterns(exclude)?, include, paths: None })
    }

    /// Takes what stands at these paths, a folder with all that is in it; and the folders above.
    #[must_use]
    pub fn paths(paths: Vec<Box<[u8]>>) -> Self {
        Self { exclude: None, include: None, paths: Some(paths) }
    }

    /// True if everything is taken.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.exclude.is_none() && self.include.is_none() && self.paths.is_none()
    }

    /// After a restore: the inclusions that fitted nothing that was taken. Of `!` patterns beside others nothing is told.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        let each = || self.include.iter().flat_map(|include| &include.each);
        let takes_back = |one: &Single| one.text.starts_with('!');
        let all_do = each().all(takes_back);
        each()
            .filter(move |one| (all_do || !takes_back(one)) && !one.met.load(Ordering::Relaxed))
            .map(|one| one.text.as_str())
    }

    /// Takes note of which inclusions fit an item of the snapshot that is taken.
    fn note(&self, path: &[u8], is_folder: bool) {
        let path = Path::new(OsStr::from_bytes(path));
        let unmet =
            self.include.iter().flat_map(|include| &include.each).filter(|one| !one.met.load(Ordering::Relaxed));
        for one in unmet {
            if one.pattern.matched(path, is_folder).is_ignore() {
                one.met.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What is done with an item. `inside`: it is in a folder that was taken itself.
    pub(super) fn choose(&self, path: &[u8], is_folder: bool, inside: bool) -> Choice {
        let matches = |list: &Gitignore| list.matched(Path::new(OsStr::from_bytes(path)), is_folder).is_ignore();
        if self.exclude.as_ref().is_some_and(matches) {
            return Choice::Aside;
        }
        if let Some(paths) = self.paths.as_ref().filter(|_| !inside) {
            let covers = |above: &[u8], path: &[u8]| {
                above.is_empty()
                    || path.strip_prefix(above).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            };
            return match () {
                () if paths.iter().any(|taken| covers(taken, path)) => Choice::Take,
                () if is_folder && paths.iter().any(|taken| covers(path, taken)) => Choice::Look,
                () => Choice::Aside,
            };
        }
        match &self.include {
            _ if inside => Choice::Take,
            None => Choice::Take,
            Some(include) if matches(&include.patterns) => Choice::Take,
            Some(include) if is_folder && include.may_match_below(path) => Choice::Look,
            Some(_) => Choice::Aside,
        }
    }
}

/// What is done with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is restored.
    Take,
    /// A folder that is not restored for its own sake; what is in it may be.
    Look,
    /// It is left aside, and what is in it.
    Aside,
}

impl Include {
    fn may_match_below(&self, folder: &[u8]) -> bool {
        let Some(anchored) = &self.anchored else { return true };
        anchored.iter().any(|names| {
            let mut above = folder.split(|b| *b == b'/').zip(names);
            above.all(|(name, pattern)| pattern.is_match(Path::new(OsStr::from_bytes(name))))
        })
    }
}

/// The names that the folders above a match must have, in order, as far as the pattern tells; nothing if it can match anywhere.
fn anchor(pattern: &str) -> Option<Vec<GlobMatcher>> {
    let pattern = pattern.trim_end_matches('/');
    if pattern.starts_with(['!', '#', '\\']) || !pattern.contains('/') {
        return None;
    }
    let names = pattern.trim_start_matches('/').split('/').take_while(|name| *name != "**");
    names.map(|name| GlobBuilder::new(name).build().ok().map(|glob| glob.compile_matcher())).collect()
}

/// Follows a walk and tells of each visit what is done with it.
#[derive(Debug)]
pub(super) struct Chooser<'a> {
    select: &'a Select,
    /// Of each open folder: whether it was taken itself.
    inside: Vec<bool>,
    /// The file entered last is left aside, and so are its parts.
    aside: bool,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(select: &'a Select) -> Self {
        Self { select, inside: Vec::new(), aside: false }
    }

    fn inside(&self) -> bool {
        self.inside.last().copied().unwrap_or(false)
    }

    /// What is done with a visit, and whether the folder that it is in, or leaves, was taken itself. Of a folder left aside
    /// nothing more may come.
    pub(super) fn visit(&mut self, visit: &Visit) -> (Choice, bool) {
        let inside = self.inside();
        let choice = match visit {
            Visit::Enter { node, .. } | Visit::Odd(node, _) => self.enter(node),
            Visit::Part(..) if self.aside => Choice::Aside,
            Visit::Part(..) => Choice::Take,
            Visit::Leave(_) | Visit::Lost(..) => {
                self.inside.pop();
                Choice::Take
            }
        };
        (choice, inside)
    }

    fn enter(&mut self, node: &Node) -> Choice {
        let is_folder = node.entry.folder().is_some();
        if node.path.is_empty() {
            self.inside.push(self.select.include.is_none() && self.select.paths.is_none());
            return Choice::Take;
        }
        let choice = self.select.choose(&node.path, is_folder, self.inside());
        if choice == Choice::Take {
            self.select.note(&node.path, is_folder);
        }
        if is_folder && choice != Choice::Aside {
            self.inside.push(choice == Choice::Take);
        }
        self.aside = choice == Choice::Aside;
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(include: &[&str], exclude: &[&str]) -> Select {
        let owned = |list: &[&str]| list.iter().map(|&p| p.to_owned()).collect::<Vec<_>>();
        Select::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn exclusions_weigh_more_than_inclusions() {
        let select = select(&["*.c", "/docs/"], &["old", "!keep.c", "/gen.c"]);
        let choose = |path: &str, folder, inside| select.choose(path.as_bytes(), folder, inside);
        assert_eq!(choose("a/b.c", false, false), Choice::Take);
        assert_eq!(choose("gen.c", false, false), Choice::Aside);
        assert_eq!(choose("a/gen.c", false, false), Choice::Take);
        assert_eq!(choose("a/b.h", false, false), Choice::Aside);
        assert_eq!(choose("docs", true, false), Choice::Take);
        assert_eq!(choose("docs", false, false), Choice::Aside);
        assert_eq!(choose("docs/x", false, true), Choice::Take);
        assert_eq!(choose("docs/old", true, true), Choice::Aside);
        assert_eq!(choose("a", true, false), Choice::Look);
    }

    #[test]
    fn folders_in_which_nothing_can_match_are_not_looked_into() {
        let anchored = select(&["/src/*.d/**/*.c", "docs/a.txt"], &[]);
        let choose = |path: &str| anchored.choose(path.as_bytes(), true, false);
        for (path, choice) in [
            ("src", Choice::Look),
            ("src/x.d", Choice::Look),
            ("src/x.d/any/depth", Choice::Look),
            ("src/x", Choice::Aside),
            ("docs", Choice::Look),
            ("lib", Choice::Aside),
        ] {
            assert_eq!(choose(path), choice, "{path}");
        }
        assert_eq!(select(&["/src", "a.txt"], &[]).choose(b"lib", true, false), Choice::Look);
    }

    #[test]
    fn what_is_taken_by_its_path() {
        let select = Select::paths(vec![b"a/b".as_slice().into(), b"c!".as_slice().into()]);
        for (path, folder, choice) in [
            ("a", true, Choice::Look),
            ("a", false, Choice::Aside),
            ("a/b", true, Choice::Take),
            ("a/bc", true, Choice::Aside),
            ("a/b/c", false, Choice::Take),
            ("c", true, Choice::Aside),
            ("c!", false, Choice::Take),
        ] {
            assert_eq!(select.choose(path.as_bytes(), folder, false), choice, "{path}");
        }
    }

    #[test]
    fn patterns_that_make_no_sense_are_refused() {
        assert!(Select::new(&["a{b".to_owned()], &[]).is_err());
        assert!(Select::new(&[], &["a{b".to_owned()]).is_err());
        assert!(select(&[], &[]).is_all());
    }
}
