//! Holes in GNU's sparse format 1.0: a map in front of the data.
//!
//! GNU tar begins each range of data at a new block of 512 bytes, libarchive does not; both agree if every range but the last
//! is a multiple of 512 long. So holes are made smaller to such offsets, and the bytes given up are stored as zeros.

use crate::model::{Extent, FileBody, Holes};
use crate::store::StoreError;
use crate::tree::Pages;

const BLOCK: u64 = 512;

/// The part of a hole that is left out of the archive, if any.
pub(super) fn inner_hole(hole: Extent, size: u64) -> Option<Extent> {
    let end = hole.offset + hole.len;
    let first = hole.offset.next_multiple_of(BLOCK);
    let last = if end == size { end } else { end - end % BLOCK };
    (first < last).then(|| Extent { offset: first, len: last - first })
}

/// The ranges of data that the archive holds; nothing if there are no holes worth the name.
pub(super) fn data_ranges(pages: &Pages, file: &FileBody) -> Result<Option<Vec<Extent>>, StoreError> {
    let mut ranges = Ranges::default();
    match &file.holes {
        Holes::None => return Ok(None),
        Holes::List(list) => list.iter().for_each(|hole| ranges.hole(*hole, file.size)),
        Holes::Paged(page, counts) => {
            let mut items = pages.items::<Extent>(page, counts)?;
            while let Some(item) = items.next()? {
                ranges.hole(item, file.size);
            }
        }
    }
    Ok(ranges.finish(file.size))
}

/// Ranges of data being gathered between holes.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    ranges: Vec<Extent>,
    at: u64,
    any: bool,
}

impl Ranges {
    /// The next hole of a file of this size.
    pub(super) fn hole(&mut self, hole: Extent, size: u64) {
        if let Some(inner) = inner_hole(hole, size) {
            self.any = true;
            if inner.offset > self.at {
                self.ranges.push(Extent { offset: self.at, len: inner.offset - self.at });
            }
            self.at = inner.offset + inner.len;
        }
    }

    /// All of them; nothing if there are no holes worth the name.
    pub(super) fn finish(mut self, size: u64) -> Option<Vec<Extent>> {
        // A hole at the end needs an empty range behind it: that is how a reader learns to make the file so long.
        self.ranges.push(Extent { offset: self.at, len: size - self.at });
        self.any.then_some(self.ranges)
    }
}

/// The map, padded to whole blocks.
pub(super) fn map(ranges: &[Extent]) -> Vec<u8> {
    let numbers = std::iter::once(ranges.len() as u64).chain(ranges.iter().flat_map(|r| [r.offset, r.len]));
    let mut map: Vec<u8> = numbers.flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let len = map.len() as u64;
    super::header::pad(&mut map, len);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_shrink_to_blocks() {
        let inner = |offset, len| inner_hole(Extent { offset, len }, 10_000).map(|h| (h.offset, h.len));
        assert_eq!(inner(0, 4096), Some((0, 4096)));
        assert_eq!(inner(100, 1000), Some((512, 512)));
        assert_eq!(inner(100, 500), None);
        assert_eq!(inner(9000, 1000), Some((9216, 784)));
        assert_eq!(inner(9990, 10), None);
    }
}
