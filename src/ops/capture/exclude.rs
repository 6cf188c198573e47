//! What is left out, by patterns in the form of .gitignore.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::CaptureError;

/// Patterns of things to leave out.
#[derive(Debug)]
pub(super) struct Exclude(Option<Gitignore>);

impl Exclude {
    /// Patterns as in .gitignore: `*.o`, `/build`, `cache/`, `!keep.o`; those with a leading `/` count from the root.
    pub(super) fn new(patterns: &[String]) -> Result<Self, CaptureError> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder
                .add_line(None, pattern)
                .map_err(|e| CaptureError::Pattern { pattern: pattern.clone(), why: e.to_string() })?;
        }
        let built =
            builder.build().map_err(|e| CaptureError::Pattern { pattern: patterns.join(", "), why: e.to_string() })?;
        Ok(Self(Some(built)))
    }

    /// True if the item at this path (from the root) is to be left out.
    pub(super) fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        self.0.as_ref().is_some_and(|g| g.matched(Path::new(OsStr::from_bytes(path)), is_dir).is_ignore())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let list = ["*.o", "/build", "cache/", "!keep.o"].map(str::to_owned);
        let exclude = Exclude::new(&list).unwrap();
        assert!(exclude.matches(b"a/b.o", false));
        assert!(!exclude.matches(b"a/keep.o", false));
        assert!(exclude.matches(b"build", true));
        assert!(!exclude.matches(b"a/build", true));
        assert!(exclude.matches(b"a/cache", true));
        assert!(!exclude.matches(b"a/cache", false));
        assert!(!exclude.matches(b"\xff\xfe", false));
        assert!(!Exclude::new(&[]).unwrap().matches(b"x", false));
        assert!(Exclude::new(&["a{b".to_owned()]).is_err());
    }
}
