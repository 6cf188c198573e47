//! Groups of hard links.

use super::{LinkGroup, LongValue};

/// One group of hard links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkItem {
    /// Which group.
    pub group: LinkGroup,
    /// How many names the snapshot has of it.
    pub names: u64,
    /// The first of them in preorder, from the root, joined by `/`.
    pub first: LongValue,
}
