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
}

/// Refuses something that no snapshot can hold.
pub(super) fn refused(path: &[u8], why: impl Into<String>) -> CaptureError {
    let path = if path.is_empty() { "the root".to_owned() } else { String::from_utf8_lossy(path).into_owned() };
    CaptureError::Refused { path, why: why.into() }
}

/// What is kept of an item until the tree is built.
#[derive(Debug)]
pub(super) enum Kept {
    /// An entry; true if it has or had further names.
    Entry(Box<Entry>, bool),
    /// What stands at this path has further names: this is their group.
    Group(LinkGroup),
}

impl Kept {
    /// Of an entry.
    pub(super) fn bytes_of(entry: &Entry, linked: bool) -> Vec<u8> {
        [&[u8::from(linked)], &to_bytes(entry)[..]].concat()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Entry(entry, linked) => Self::bytes_of(entry, *linked),
            Self::Group(group) => [&[2], &group.as_bytes()[..]].concat(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (2, group) => Some(Self::Group(LinkGroup::from_slice(group)?)),
            (linked, rest) => Some(Self::Entry(Box::new(from_bytes(rest, "entry").ok()?), *linked == 1)),
        }
    }
}
