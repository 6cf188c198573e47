//! Files in the source that say what to leave out of their folder: `.larderignore`, and `.gitignore` if asked for.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use rustix::fs::FileType;

use crate::ops::source::{self, Names};

use super::exclude::reason;

/// The file whose patterns count unless told otherwise.
pub(super) const LARDERIGNORE: &[u8] = b".larderignore";
/// The file whose patterns count if asked for.
pub(super) const GITIGNORE: &[u8] = b".gitignore";
/// Longer ones are disregarded: whoever may write in the source must not make the capture slow.
const MAX_BYTES: u64 = 256 << 10;

/// Which files of patterns count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Which {
    pub(super) larderignore: bool,
    pub(super) gitignore: bool,
}

impl Which {
    /// True if such a file has this name: its patterns never leave out a file of patterns, so that a capture of what was
    /// restored leaves out the same.
    fn is_one(self, name: &[u8]) -> bool {
        (self.larderignore && name == LARDERIGNORE) || (self.gitignore && name == GITIGNORE)
    }
}

/// Something about a file of patterns that is not as it should be.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// Which file.
    pub(super) name: &'static str,
    /// Where in it; nothing if the file as a whole is meant.
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(super) why: String,
}

/// What the files of patterns in one folder say.
#[derive(Debug)]
pub(super) struct FolderRules {
    /// First those that win.
    files: Vec<Gitignore>,
}

impl FolderRules {
    /// Reads the files of patterns among these names of a folder. Nothing if there are none with patterns.
    pub(super) fn read(dir: BorrowedFd, names: &Names, which: Which, troubles: &mut Vec<Trouble>) -> Option<Self> {
        let wanted = [(which.larderignore, ".larderignore"), (which.gitignore, ".gitignore")];
        let mut files = Vec::new();
        for (_, name) in wanted.into_iter().filter(|(wanted, name)| *wanted && names.contains(name.as_bytes())) {
            match read_text(dir, name.as_bytes()) {
                Ok(text) => files.push(parse(&text, name, troubles)),
                Err(why) => troubles.push(Trouble { name, line: None, why }),
            }
        }
        files.retain(|f| !f.is_empty());
        (!files.is_empty()).then_some(Self { files })
    }

    /// The pattern that speaks of the item at this path, from the folder; it is taken back by one that begins with `!`.
    fn says(&self, path: &Path, is_dir: bool) -> Match<&Glob> {
        self.files.iter().map(|file| file.matched(path, is_dir)).find(|m| !m.is_none()).unwrap_or(Match::None)
    }
}

fn read_text(dir: BorrowedFd, name: &[u8]) -> Result<Vec<u8>, String> {
    let file = source::open_file(dir, name).map_err(|e| e.to_string())?;
    let meta = source::stat_fd(std::os::fd::AsFd::as_fd(&file)).map_err(|e| e.to_string())?;
    if meta.kind != FileType::RegularFile {
        return Err("it is not a regular file".to_owned());
    }
    if meta.size > MAX_BYTES {
        return Err(format!("it is longer than {} KiB", MAX_BYTES >> 10));
    }
    let mut text = Vec::new();
    let max = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    source::append_at(std::os::fd::AsFd::as_fd(&file), &mut text, max, 0).map_err(|e| e.to_string())?;
    Ok(text)
}

pub(crate) fn parse(text: &[u8], name: &'static str, troubles: &mut Vec<Trouble>) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (at, line) in text.split(|b| *b == b'\n').enumerate() {
        let mut broken = |why: String| troubles.push(Trouble { name, line: Some(at + 1), why });
        match std::str::from_utf8(line) {
            Err(_) => broken("it is not UTF-8".to_owned()),
            Ok(line) => {
                if let Err(e) = builder.add_line(Some(PathBuf::from(name)), line) {
                    broken(format!("{:?}: {}", line.trim_end(), reason(&e, &[line, line.trim_end()])));
                }
            }
        }
    }
    builder.build().unwrap_or_else(|e| {
        troubles.push(Trouble { name, line: None, why: e.to_string() });
        Gitignore::empty()
    })
}

/// The rules of the folders that a walk is in, outermost first.
#[derive(Debug)]
pub(super) struct RulesAbove {
    which: Which,
    /// With the length of each folder's path.
    folders: Vec<(usize, FolderRules)>,
}

impl RulesAbove {
    /// Those of a walk that is nowhere yet.
    pub(super) fn new(which: Which) -> Self {
        Self { which, folders: Vec::new() }
    }

    /// The walk goes into a folder that has rules.
    pub(super) fn enter(&mut self, path_len: usize, rules: FolderRules) {
        self.folders.push((path_len, rules));
    }

    /// The walk leaves the folder whose path has this length.
    pub(super) fn leave(&mut self, path_len: usize) {
        self.folders.pop_if(|(len, _)| *len == path_len);
    }

    /// True if the item at this path (from the root) is to be left out: the innermost folder that speaks of it decides.
    pub(super) fn leave_out(&self, path: &[u8], is_dir: bool) -> bool {
        self.says(path, is_dir).is_some_and(|(_, said)| said.is_ignore())
    }

    /// The file, by its path from the root, and the pattern in it that decide on an item, for messages.
    pub(super) fn deciding(&self, path: &[u8], is_dir: bool) -> Option<(PathBuf, &str)> {
        let (len, said) = self.says(path, is_dir)?;
        let glob = said.inner()?;
        let folder = Path::new(OsStr::from_bytes(path.get(..len)?));
        Some((folder.join(glob.from()?), glob.original()))
    }

    /// What decides on an item, and the length of the path of the folder that says it.
    fn says(&self, path: &[u8], is_dir: bool) -> Option<(usize, Match<&Glob>)> {
        if self.folders.is_empty() || self.which.is_one(path.rsplit(|b| *b == b'/').next().unwrap_or(path)) {
            return None;
        }
        self.folders.iter().rev().find_map(|(len, rules)| {
            let below = if *len == 0 { path } else { path.get(len + 1..)? };
            let said = rules.says(Path::new(OsStr::from_bytes(below)), is_dir);
            (!said.is_none()).then_some((*len, said))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> (FolderRules, Vec<Trouble>) {
        let mut troubles = Vec::new();
        let file = parse(text.as_bytes(), ".larderignore", &mut troubles);
        (FolderRules { files: vec![file] }, troubles)
    }

    #[test]
    fn the_innermost_folder_decides() {
        let mut above = RulesAbove::new(Which { larderignore: true, gitignore: false });
        assert!(!above.leave_out(b"a.o", false));
        above.enter(0, rules("*.o\n/top\nsub/deep\n.*\n").0);
        above.enter(3, rules("!keep.o\n/here\n").0);
        let cases = [
            (&b"x.o"[..], false, true),
            (b"sub/x.o", false, true),
            (b"sub/keep.o", false, false),
            (b"sub/here", false, true),
            (b"sub/more/here", false, false),
            (b"sub/top", false, false),
            (b"sub/deep", true, true),
            (b"sub/.hidden", false, true),
            (b"sub/.larderignore", false, false),
            (b"sub/.gitignore", false, true),
        ];
        for (path, is_dir, out) in cases {
            assert_eq!(above.leave_out(path, is_dir), out, "{}", String::from_utf8_lossy(path));
        }
        let by = |path: &[u8]| above.deciding(path, false).map(|(file, pattern)| (file, pattern.to_owned()));
        assert_eq!(by(b"sub/here"), Some(("sub/.larderignore".into(), "/here".to_owned())));
        assert_eq!(by(b"sub/x.o"), Some((".larderignore".into(), "*.o".to_owned())));
        above.leave(3);
        assert!(above.leave_out(b"sub/keep.o", false));
        above.leave(0);
        assert!(!above.leave_out(b"x.o", false));
    }

    #[test]
    fn a_broken_line_is_told_and_the_others_count() {
        let (found, troubles) = rules("\u{feff}*.o\r\n# {\n\na{b\n*.tmp");
        assert_eq!(troubles.len(), 1);
        assert_eq!(troubles[0].line, Some(4));
        assert_eq!(troubles[0].why.matches("a{b").count(), 1, "{}", troubles[0].why);
        for name in ["x.o", "x.tmp"] {
            assert!(found.says(Path::new(name), false).is_ignore(), "{name}");
        }
    }
}
