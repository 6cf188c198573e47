//! Memory of blocks that were given up, for the next ones.
//!
//! A block is about a megabyte. Asked for and given back each time, by many threads, such pieces leave the allocator with nearly half as
//! much again as is in use, and the kernel with pages to clear: over a store read from end to end, nearly half of its time.

use std::mem;
use std::ops::{Deref, RangeInclusive};
use std::sync::{Mutex, PoisonError};

/// Pieces that are kept at the most.
const KEPT: usize = 4;
/// Shorter pieces the allocator itself hands out again well; longer ones are rare.
const SIZES: RangeInclusive<usize> = 128 << 10..=4 << 20;
/// Pieces have multiples of this, so that one fits where another was.
const STEP: usize = 128 << 10;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes whose memory is used again when they are dropped.
#[derive(Debug)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// None yet, with room for `len`.
    pub(super) fn with_capacity(len: usize) -> Self {
        if !SIZES.contains(&len) {
            return Self(Vec::with_capacity(len));
        }
        let len = len.next_multiple_of(STEP);
        // Not one that is far too long: that would be lost to other uses.
        let fits = |spare: &Vec<u8>| (len..=len + STEP).contains(&spare.capacity());
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let found = spare.iter().rposition(fits).map(|at| spare.swap_remove(at));
        Self(found.unwrap_or_else(|| Vec::with_capacity(len)))
    }

    /// How much memory they take.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// To be filled.
    pub(super) fn as_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if SIZES.contains(&self.0.capacity()) {
            let mut bytes = mem::take(&mut self.0);
            bytes.clear();
            let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() == KEPT {
                spare.remove(0);
            }
            spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_where_it_fits() {
        let of = |len: usize| {
            let mut bytes = Bytes::with_capacity(len);
            bytes.as_mut().resize(len, 1);
            bytes
        };
        // A size that no other test has.
        let first = of(3_333_333);
        let at = first.as_ptr();
        drop(first);
        assert!(of(100).as_ptr() != at);
        let again = of(3_300_000);
        assert_eq!((again.as_ptr(), again.len(), again[3_299_999]), (at, 3_300_000, 1));
        let other = of(3_333_333);
        assert!(other.as_ptr() != at);
    }
}
