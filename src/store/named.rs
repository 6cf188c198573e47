//! Which places the indexes name. Their rows have no MAC; but an item has one id, so of two rows that name one place one is wrong, and it
//! takes no key to see that.

use crate::format::{MAX_BLOCK_ITEMS, Place};

/// The items of a block that were named: a bit for each.
#[derive(Debug, Default)]
pub(super) struct Named(Vec<u64>);

impl Named {
    /// Notes that a row names an item of this block.
    ///
    /// # Errors
    /// How that row, or the one that named it before, is wrong.
    pub(super) fn add(&mut self, place: Place) -> Result<(), String> {
        let Place { block, ordinal } = place;
        let (at, bit) = (ordinal as usize / 64, 1 << (ordinal % 64));
        if ordinal as usize >= MAX_BLOCK_ITEMS {
            return Err(format!("it names item {ordinal} of block {block}, and no block has so many"));
        }
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        let is_new = self.0[at] & bit == 0;
        self.0[at] |= bit;
        if is_new {
            return Ok(());
        }
        Err(format!("it names item {ordinal} of block {block}, which was named before: one of both names is wrong"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_named_once_and_no_memory_is_taken_for_what_no_block_has() {
        let mut named = Named::default();
        for ordinal in [0, 63, 64, 65_535] {
            assert_eq!(named.add(Place { block: 9, ordinal }), Ok(()));
            assert!(named.add(Place { block: 9, ordinal }).unwrap_err().contains("named before"));
        }
        assert!(named.add(Place { block: 9, ordinal: u32::MAX }).unwrap_err().contains("no block has so many"));
        assert_eq!(named.0.len(), 65_536 / 64);
    }
}
