//! The names that an archive has used so far: none twice but those of folders, nothing below what is no folder, no link to what did not come before.
//!
//! Kept is for each name the first 16 bytes of the BLAKE3 of its folded path, 7 bytes of the path's own, and what it is: with the table's spare room
//! 28 to 56 bytes a name, whatever its length. Names that are alike to an earlier one take as much again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::codec::digest;

use super::error::{ArchiveError, printable};
use super::fold::fold;
use super::limits::{Alike, Limits};
use super::member::{Member, MemberKind};

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Known {
    /// A folder that has members, but has not come itself.
    Implied,
    Folder,
    File,
    Symlink,
    /// A pipe, device or socket.
    Special,
}

impl Known {
    /// True if something else may take its place: what is in a folder would have nowhere to be.
    fn takes_turns(self) -> bool {
        !matches!(self, Self::Implied | Self::Folder)
    }

    const ALL: [Self; 5] = [Self::Implied, Self::Folder, Self::File, Self::Symlink, Self::Special];

    fn word(self) -> &'static str {
        match self {
            Self::Implied | Self::Folder => "a folder",
            Self::File => "a file",
            Self::Symlink => "a symlink",
            Self::Special => "a pipe, device or socket",
        }
    }
}

/// The beginning of a path's hash.
type Half = [u8; 16];

/// A path's hashes: of it folded, and of it as it is.
struct Hashes {
    folded: Half,
    own: Half,
    /// More of its own.
    more: [u8; 7],
}

impl Hashes {
    fn of(path: &[u8]) -> Self {
        let (own, folded) = (digest(path), fold(path));
        let half = |hash: &[u8; 32]| {
            let mut half = [0; 16];
            half.copy_from_slice(&hash[..16]);
            half
        };
        let mut more = [0; 7];
        more.copy_from_slice(&own.as_bytes()[16..23]);
        let folded = if *folded == *path { half(own.as_bytes()) } else { half(digest(&folded).as_bytes()) };
        Self { folded, own: half(own.as_bytes()), more }
    }
}

/// The names so far.
#[derive(Debug)]
pub(super) struct Names {
    limits: Limits,
    /// The first path of each folded one: more of its own hash, and what it is.
    first: HashMap<Half, [u8; 8]>,
    /// Further paths with the same folded one, by their own hashes.
    further: HashMap<Half, Known>,
    /// The folder whose member came last: it and all above are known to be folders.
    folder: Vec<u8>,
    /// Names that are alike to an earlier one.
    pub(super) alike: u64,
    /// The first of them.
    pub(super) alike_examples: Vec<Box<[u8]>>,
}

/// Names that are told of.
const EXAMPLES: usize = 20;

impl Names {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            first: HashMap::new(),
            further: HashMap::new(),
            folder: Vec::new(),
            alike: 0,
            alike_examples: Vec::new(),
        }
    }

    /// Lets a member in, or says why not. Marks it if it brings a name that is alike to an earlier one, or takes the place of one.
    pub(super) fn admit(&mut self, member: &mut Member) -> Result<(), ArchiveError> {
        let before = self.alike;
        member.replaces = self.check(member)?;
        member.is_alike = self.alike > before;
        Ok(())
    }

    /// True if it takes the place of an earlier member.
    fn check(&mut self, member: &Member) -> Result<bool, ArchiveError> {
        let path = &member.path;
        let refused = |why: String| Err(ArchiveError::refused(path, why));
        let known = match &member.kind {
            MemberKind::Folder => Known::Folder,
            MemberKind::File { .. } => Known::File,
            MemberKind::Symlink(_) => Known::Symlink,
            MemberKind::HardLink(first) if first == path => {
                return refused(format!("it is a further name of {}, which is itself", printable(first)));
            }
            MemberKind::HardLink(first) => match self.get(&Hashes::of(first)) {
                Some(known @ (Known::File | Known::Symlink | Known::Special)) => known,
                Some(known) => {
                    return refused(format!("it is a further name of {}, which is {}", printable(first), known.word()));
                }
                None => {
                    return refused(format!(
                        "it is a further name of {}, which is no earlier member",
                        printable(first)
                    ));
                }
            },
            MemberKind::Fifo | MemberKind::CharDevice(..) | MemberKind::BlockDevice(..) | MemberKind::Socket => {
                Known::Special
            }
        };
        if path.is_empty() {
            if known != Known::Folder {
                return refused(format!("the archive's root is {} there", known.word()));
            }
            return Ok(false);
        }
        self.parents(path)?;
        self.put(path, known)
    }

    /// Sees to it that all above a path are folders.
    fn parents(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        let parent = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        if path[..parent] == self.folder[..] {
            return Ok(());
        }
        let depth = path.split(|b| *b == b'/').count() - 1;
        if depth as u64 > u64::from(self.limits.depth) {
            let most = self.limits.depth;
            let text = format!("{}: it lies below more than {most} folders (--max-depth)", printable(path));
            return Err(ArchiveError::Limit(text));
        }
        // What the last member's folder has in common with this one is known already.
        let common = self.folder.iter().zip(path).take_while(|(a, b)| a == b).count();
        let is_inside = common == self.folder.len() && path.get(common) == Some(&b'/');
        let known_to = if is_inside { common } else { path[..common].iter().rposition(|b| *b == b'/').unwrap_or(0) };
        let ends = path.iter().enumerate().filter(|(at, b)| **b == b'/' && *at > known_to).map(|(at, _)| at);
        for end in ends {
            let hashes = Hashes::of(&path[..end]);
            match self.get(&hashes) {
                Some(Known::Implied | Known::Folder) => {}
                Some(other) => {
                    let why = format!("it lies below {}, which is {}", printable(&path[..end]), other.word());
                    return Err(ArchiveError::refused(path, why));
                }
                None => self.insert(&path[..end], &hashes, Known::Implied)?,
            }
        }
        self.folder = path[..parent].to_vec();
        Ok(())
    }

    /// True if it takes the place of an earlier one.
    fn put(&mut self, path: &[u8], known: Known) -> Result<bool, ArchiveError> {
        let hashes = Hashes::of(path);
        match (self.get(&hashes), known) {
            (None, _) => self.insert(path, &hashes, known).map(|()| false),
            // Who appends to a tar lists folders again: what is said last counts.
            (Some(Known::Implied | Known::Folder), Known::Folder) => {
                self.set(&hashes, Known::Folder);
                Ok(false)
            }
            (Some(before), now) if self.limits.duplicates && before.takes_turns() && now.takes_turns() => {
                self.set(&hashes, known);
                Ok(true)
            }
            (Some(before), now) if before.word() == now.word() => {
                Err(ArchiveError::refused(path, "it is there twice (--allow duplicates lets the last one count)"))
            }
            (Some(before), now) => {
                let both = before.takes_turns() && now.takes_turns();
                let flag = if both { " (--allow duplicates lets the last one count)" } else { "" };
                let why = format!("it is {} and was {} before{flag}", now.word(), before.word());
                Err(ArchiveError::refused(path, why))
            }
        }
    }

    fn get(&self, hashes: &Hashes) -> Option<Known> {
        match self.first.get(&hashes.folded) {
            None => None,
            Some([more @ .., known]) if *more == hashes.more => Known::ALL.get(usize::from(*known)).copied(),
            Some(_) => self.further.get(&hashes.own).copied(),
        }
    }

    fn set(&mut self, hashes: &Hashes, now: Known) {
        match self.first.get_mut(&hashes.folded) {
            Some([more @ .., known]) if *more == hashes.more => *known = now as u8,
            _ => _ = self.further.insert(hashes.own, now),
        }
    }

    /// Adds a name that is not there yet.
    fn insert(&mut self, path: &[u8], hashes: &Hashes, known: Known) -> Result<(), ArchiveError> {
        let names = (self.first.len() + self.further.len()) as u64;
        // Folders that did not come themselves take as much room as those that did.
        if names >= self.limits.members {
            let text = format!("the archive has more than {} members (--max-members)", self.limits.members);
            return Err(ArchiveError::Limit(text));
        }
        if let Entry::Vacant(place) = self.first.entry(hashes.folded) {
            let mut value = [0; 8];
            value[..7].copy_from_slice(&hashes.more);
            value[7] = known as u8;
            place.insert(value);
            return Ok(());
        }
        if self.limits.alike == Alike::Refuse {
            return Err(ArchiveError::alike(path));
        }
        self.further.insert(hashes.own, known);
        self.alike += 1;
        if self.alike_examples.len() < EXAMPLES {
            self.alike_examples.push(path.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(path: &str, kind: MemberKind) -> Member {
        Member { path: path.as_bytes().into(), ..Member::new(kind) }
    }

    fn file() -> MemberKind {
        MemberKind::File { size: 0 }
    }

    fn link(to: &str) -> MemberKind {
        MemberKind::Symlink(to.as_bytes().into())
    }

    fn hard(to: &str) -> MemberKind {
        MemberKind::HardLink(to.as_bytes().into())
    }

    /// Why the last member is refused.
    fn last(members: &[(&str, MemberKind)], limits: &Limits) -> Option<String> {
        let mut names = Names::new(limits.clone());
        let (last, before) = members.split_last().unwrap();
        for (path, kind) in before {
            names.admit(&mut member(path, kind.clone())).unwrap();
        }
        names.admit(&mut member(last.0, last.1.clone())).err().map(|e| e.to_string())
    }

    #[test]
    fn what_is_let_in() {
        let folder = || MemberKind::Folder;
        let all = Limits::default();
        for members in [
            &[("", folder()), ("a", folder()), ("a/b", file())][..],
            &[("a/b", file()), ("a/c/d", file()), ("a/c", folder()), ("a", folder()), ("", folder())],
            &[("a/b", file()), ("ab/c", file()), ("a/d", file()), ("a/b.c/d", file())],
            &[("a", file()), ("b", hard("a")), ("c", hard("b"))],
            &[("a", link("/etc")), ("b", hard("a"))],
            &[("A", file()), ("a", folder()), ("a/x", file())],
            &[("", folder()), ("a", folder()), ("a/x", file()), ("", folder()), ("a", folder()), ("a/y", file())],
        ] {
            assert_eq!(last(members, &all), None, "{members:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        let folder = || MemberKind::Folder;
        for (members, why) in [
            (&[("a", file()), ("a", file())][..], "a: it is there twice (--allow duplicates lets the last one count)"),
            (&[("a", file()), ("b", file()), ("a", folder())], "a: it is a folder and was a file before"),
            (&[("a/b", file()), ("a", file())], "a: it is a file and was a folder before"),
            (&[("a/b", file()), ("a", link(".."))], "a: it is a symlink and was a folder before"),
            (&[("a", link("..")), ("a", folder())], "a: it is a folder and was a symlink before"),
            (&[("a", link("..")), ("a/b", file())], "a/b: it lies below a, which is a symlink"),
            (&[("a", file()), ("a/b/c", file())], "a/b/c: it lies below a, which is a file"),
            (&[("a", link("..")), ("b", hard("a")), ("b/c", file())], "b/c: it lies below b, which is a symlink"),
            (
                &[("x/a/b", file()), ("x/ab", link("/")), ("x/ab/c", file())],
                "x/ab/c: it lies below x/ab, which is a symlink",
            ),
            (
                &[("x/a", link("/")), ("x/b/c", file()), ("x/a/c", file())],
                "x/a/c: it lies below x/a, which is a symlink",
            ),
            (&[("b", hard("a"))], "b: it is a further name of a, which is no earlier member"),
            (&[("b", hard("b"))], "b: it is a further name of b, which is itself"),
            (&[("a", folder()), ("b", hard("a"))], "b: it is a further name of a, which is a folder"),
            (&[("", link("/"))], "the root: the archive's root is a symlink there"),
        ] {
            assert_eq!(last(members, &Limits::default()).as_deref(), Some(why));
        }
    }

    #[test]
    fn limits_and_names_that_are_alike() {
        let few = Limits { members: 2, ..Limits::default() };
        assert_eq!(last(&[("a", file()), ("b", file())], &few), None);
        assert!(last(&[("a", file()), ("b/c", file())], &few).is_some_and(|why| why.contains("--max-members")));
        let shallow = Limits { depth: 2, ..Limits::default() };
        assert_eq!(last(&[("a/b/c", file())], &shallow), None);
        assert!(last(&[("a/b/c/d", file())], &shallow).is_some_and(|why| why.contains("--max-depth")));
        let folding = Limits { alike: Alike::Refuse, ..Limits::default() };
        assert!(last(&[("A/x", file()), ("a/y", file())], &folding).is_some_and(|why| why.contains("letter case")));
        assert_eq!(last(&[("A/x", file()), ("A/y", file())], &folding), None);
        let mut names = Names::new(Limits::default());
        for name in ["É", "e\u{301}", "É/x"] {
            let kind = if name.ends_with('x') { file() } else { MemberKind::Folder };
            let mut member = member(name, kind);
            names.admit(&mut member).unwrap();
            assert_eq!(member.is_alike, name == "e\u{301}");
        }
        assert_eq!((names.alike, names.alike_examples), (1, vec!["e\u{301}".as_bytes().into()]));
    }

    #[test]
    fn the_last_of_a_name_counts_where_that_is_let_in() {
        let folder = || MemberKind::Folder;
        let all = Limits { duplicates: true, ..Limits::default() };
        for (members, replaces) in [
            (&[("a", file()), ("a", file())][..], true),
            (&[("a", file()), ("a", link("x"))], true),
            (&[("a", file()), ("b", file()), ("b", hard("a"))], true),
            (&[("a", folder()), ("a", folder())], false),
        ] {
            let mut names = Names::new(all.clone());
            let marks = members.iter().map(|(path, kind)| {
                let mut member = member(path, kind.clone());
                names.admit(&mut member).unwrap();
                member.replaces
            });
            assert_eq!(marks.last(), Some(replaces), "{members:?}");
        }
        for (members, why) in [
            (&[("a", folder()), ("a", file())][..], "a: it is a file and was a folder before"),
            (&[("a", file()), ("a", folder())], "a: it is a folder and was a file before"),
            (&[("a", file()), ("a", link("..")), ("a/b", file())], "a/b: it lies below a, which is a symlink"),
            (&[("a", file()), ("a", hard("a"))], "a: it is a further name of a, which is itself"),
        ] {
            assert_eq!(last(members, &all).as_deref(), Some(why));
        }
    }
}
