//! Paths from a snapshot's root, and their order.

use crate::model::Name;

/// True if a text is a path from a snapshot's root; that of the root itself is empty.
pub(super) fn is_path(path: &[u8]) -> bool {
    path.is_empty() || path.split(|b| *b == b'/').all(|name| Name::new(name).is_ok())
}

/// True if a name comes before another in preorder.
pub(super) fn comes_before(name: &[u8], other: &[u8]) -> bool {
    let names = |path| <[u8]>::split(path, |b: &u8| *b == b'/');
    names(name).lt(names(other))
}
