//! Names that are one name to Windows and macOS: alike but for letter case, or for the way in which accents are written. A zip
//! carries them; what is extracted there is one file of several.

use std::collections::HashSet;

use crate::archives::fold;
use crate::codec::digest;
use crate::model::Body;
use crate::tree::{Node, Visit};

use super::name::member_name;
use crate::packs::{Loss, Losses};

/// Names that are held at a time, those of all folders that the walk is in: 64 MiB of hashes, and what their tables take.
const NAMES_MAX: usize = 4 << 20;

/// Finds such names, folder by folder. Given are the visits of a walk, in order.
#[derive(Debug)]
pub(in crate::packs) struct Alike {
    /// The names met so far in each folder that the walk is in, the innermost last; in front the paths of the starts.
    open: Vec<HashSet<[u8; 16]>>,
    /// How many more can be held.
    room: usize,
    /// Names that found no room: later ones were not compared with them.
    pub(in crate::packs) passed_over: u64,
    /// The names that an earlier one of their folder is like.
    pub(in crate::packs) losses: Losses,
}

impl Default for Alike {
    fn default() -> Self {
        Self { open: vec![HashSet::new()], room: NAMES_MAX, passed_over: 0, losses: Losses::default() }
    }
}

impl Alike {
    /// Takes note of a visit.
    pub(in crate::packs) fn visit(&mut self, visit: &Visit) {
        match visit {
            Visit::Enter { node, .. } => self.node(node),
            Visit::Part(..) | Visit::Odd(..) => {}
            Visit::Leave(_) | Visit::Lost(..) => self.leave(),
        }
    }

    fn node(&mut self, node: &Node) {
        let is_member = matches!(node.entry.body, Body::File(_) | Body::Folder(_) | Body::Symlink(_));
        let is_start = self.open.len() == 1;
        let own = if is_start { &node.path[..] } else { node.path.rsplit(|b| *b == b'/').next().unwrap_or_default() };
        if is_member && !own.is_empty() && self.is_like_another(own) {
            self.losses.note(Loss::Case, || node.display());
        }
        if node.entry.folder().is_some() {
            self.enter();
        }
    }

    fn enter(&mut self) {
        self.open.push(HashSet::new());
    }

    fn leave(&mut self) {
        self.room += self.open.pop().unwrap_or_default().len();
    }

    /// Takes in a name of the innermost folder; tells whether one before it is like it.
    fn is_like_another(&mut self, name: &[u8]) -> bool {
        let Some(names) = self.open.last_mut() else { return false };
        let key = key(name);
        if names.contains(&key) {
            return true;
        }
        if self.room == 0 {
            self.passed_over += 1;
        } else {
            self.room -= 1;
            names.insert(key);
        }
        false
    }
}

/// The same for names that are alike, another for others.
fn key(name: &[u8]) -> [u8; 16] {
    // As it is written: an escape stays what it is.
    let (written, _) = member_name(name, false);
    let mut half = [0; 16];
    half.copy_from_slice(&digest(&fold(written.as_bytes())).as_bytes()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_or_in_how_accents_are_written_are_alike() {
        for (a, b, alike) in [
            ("Makefile", "makefile", true),
            ("a", "b", false),
            ("\u{e9}t\u{e9}", "e\u{301}T\u{c9}", true),
            ("\u{e9}", "e", false),
            ("ΣΑΣ", "σας", true),
            ("Я", "я", true),
            ("stra\u{df}e", "strasse", false),
            ("\u{212b}", "\u{e5}", true),
            ("con", "CON", false),
            ("ﬁ", "fi", false),
            ("Ἀ", "ἀ", true),
        ] {
            assert_eq!(key(a.as_bytes()) == key(b.as_bytes()), alike, "{a} {b}");
        }
        assert!(key(b"caf\xe9") != key(b"caf\xc9"), "bytes that are not UTF-8 are escaped, each in its own way");
    }

    #[test]
    fn no_more_names_are_held_than_there_is_room_for() {
        let mut alike = Alike { room: 3, ..Alike::default() };
        assert!(!alike.is_like_another(b"a") && !alike.is_like_another(b"b"));
        alike.enter();
        assert!(!alike.is_like_another(b"A"), "another folder");
        assert!(!alike.is_like_another(b"c") && alike.passed_over == 1);
        assert!(alike.is_like_another(b"a") && !alike.is_like_another(b"C") && alike.passed_over == 2);
        alike.leave();
        assert!(alike.is_like_another(b"B") && !alike.is_like_another(b"c") && alike.is_like_another(b"C"));
        assert_eq!((alike.passed_over, alike.room), (2, 0));
    }
}
