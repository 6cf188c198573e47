//! What is kept of members until the tree is built.

use crate::format::{from_bytes, to_bytes};
use crate::model::{Entry, LinkGroup};
use crate::ops::capture::CaptureError;

/// An entry, and where it stands.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) path: Box<[u8]>,
    pub(super) entry: Entry,
    /// It is a further name of what stands there; of the entry its name alone counts.
    pub(super) target: Option<Box<[u8]>>,
    /// It has or had further names.
    pub(super) linked: bool,
    /// It takes the place of what came with its path before.
    pub(super) replaces: bool,
}

/// Refuses something that no snapshot can hold.
pub(super) fn refused(path: &[u8], why: impl Into<String>) -> CaptureError {
    let path = if path.is_empty() { "the root".to_owned() } else { String::from_utf8_lossy(path).into_owned() };
    CaptureError::Refused { path, why: why.into() }
}

/// What is kept of an item until the tree is built.
#[derive(Debug)]
pub(super) enum Kept {
    /// An entry.
    Entry(Box<Entry>, Marks),
    /// What stands at this path has further names: this is their group.
    Group(LinkGroup),
}

/// What is known of an entry beside it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// It has or had further names.
    pub(super) linked: bool,
    /// It takes the place of what came with its path before.
    pub(super) replaces: bool,
}

impl Kept {
    /// Of an entry.
    pub(super) fn bytes_of(entry: &Entry, marks: Marks) -> Vec<u8> {
        [&[u8::from(marks.linked) | u8::from(marks.replaces) << 2], &to_bytes(entry)[..]].concat()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Entry(entry, marks) => Self::bytes_of(entry, *marks),
            Self::Group(group) => [&[2], &group.as_bytes()[..]].concat(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (2, group) => Some(Self::Group(LinkGroup::from_slice(group)?)),
            (marks, rest) => {
                let marks = Marks { linked: marks & 1 != 0, replaces: marks & 4 != 0 };
                Some(Self::Entry(Box::new(from_bytes(rest, "entry").ok()?), marks))
            }
        }
    }
}
