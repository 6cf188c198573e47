//! Looking at all that a store has, for verify: blocks, rows, the database's files, the plain copies; with keys or without.

mod blocks;
mod closed;
mod rows;

use super::error::StoreError;

pub use blocks::{Ages, BlockLook, Depth};
pub(super) use closed::open_closed_with;
pub use closed::{ClosedLook, ClosedStore, open_closed};

/// Something damaged.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which object.
    pub object: String,
    /// What is wrong.
    pub why: String,
    /// The block concerned, if it is one of chunks.
    pub data_block: Option<u64>,
    /// The block concerned, if it is one of pages.
    pub tree_block: Option<u64>,
    /// Not the block is damaged: the index names items of it that are others'. What it names in other places too can be read.
    pub is_misnamed: bool,
}

impl Finding {
    /// About something that is no block.
    pub(super) fn new(object: impl Into<String>, why: impl ToString) -> Self {
        Self { object: object.into(), why: why.to_string(), data_block: None, tree_block: None, is_misnamed: false }
    }

    /// True if it is an entry of the log.
    #[must_use]
    pub fn is_of_the_log(&self) -> bool {
        super::error::is_entry_label(&self.object)
    }

    /// From an error.
    #[must_use]
    pub fn from_error(error: &StoreError) -> Self {
        match error {
            StoreError::Damage { what, why } => Self::new(what.clone(), why),
            other => Self::new("the store", other),
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Blocks whose sealed bytes were compared with their digests.
    pub blocks: u64,
    /// Their sealed bytes.
    pub bytes: u64,
    /// Those of them that were opened, each item's id made anew.
    pub opened: u64,
    /// Blocks that the store has.
    pub all: u64,
}

/// Damage that ends a look is a finding like another.
fn or_found<T>(looked: Result<T, StoreError>, findings: &mut Vec<Finding>) -> Result<Option<T>, StoreError> {
    match looked {
        Err(e) if e.is_damage() => {
            findings.push(Finding::from_error(&e));
            Ok(None)
        }
        looked => looked.map(Some),
    }
}
