//! Holes: where the stretches of data of a sparse file are, and that they can be.

use super::pax::{BAD_MAP, number};

/// Stretches of one file at most: their map is held in memory.
pub(super) const STRETCHES_MAX: usize = 4 << 20;

/// What comes next of a content, as its map says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch {
    Data(u64),
    Hole(u64),
}

/// The stretches of a content, one after the other.
#[derive(Debug)]
pub(super) struct Stretches {
    /// Offsets and lengths of data, the first one last.
    data: Vec<(u64, u64)>,
    at: u64,
    size: u64,
}

impl Stretches {
    /// Of a content without holes.
    pub(super) fn whole(size: u64) -> Self {
        Self { data: if size == 0 { Vec::new() } else { vec![(0, size)] }, at: 0, size }
    }

    /// Of one with a map. `stored`: the bytes of data in the archive.
    ///
    /// # Errors
    /// If map, size and stored bytes contradict each other, or may be understood in two ways.
    pub(super) fn new(mut data: Vec<(u64, u64)>, size: u64, stored: u64) -> Result<Self, &'static str> {
        let (mut at, mut sum, mut ragged) = (0, 0, false);
        data.retain(|(offset, len)| *len > 0 || *offset > size);
        for (offset, len) in &data {
            if ragged {
                // GNU tar begins each stretch at a new block, libarchive does not.
                return Err(
                    "its stretches of data do not end at blocks of 512 bytes, of which programs make different things",
                );
            }
            ragged = len % 512 != 0;
            let end = offset.checked_add(*len).filter(|end| *offset >= at && *end <= size).ok_or(BAD_MAP)?;
            (at, sum) = (end, sum + len);
        }
        if sum != stored {
            return Err("the bytes of its stretches are not as many as are stored");
        }
        data.reverse();
        Ok(Self { data, at: 0, size })
    }

    /// The next one; nothing at the end.
    pub(super) fn next(&mut self) -> Option<Stretch> {
        let next = self.data.last().map_or(self.size, |(offset, _)| *offset);
        if next > self.at {
            let len = next - self.at;
            self.at = next;
            return Some(Stretch::Hole(len));
        }
        let (offset, len) = self.data.pop()?;
        self.at = offset + len;
        Some(Stretch::Data(len))
    }
}

/// The map of format 0.1: numbers divided by commas.
pub(super) fn from_list(text: &[u8]) -> Result<Vec<(u64, u64)>, &'static str> {
    let mut numbers = text.split(|b| *b == b',').map(|n| number(n).filter(|_| !n.is_empty()).ok_or(BAD_MAP));
    let mut data = Vec::new();
    while let Some(offset) = numbers.next() {
        data.push((offset?, numbers.next().ok_or(BAD_MAP)??));
        if data.len() > STRETCHES_MAX {
            return Err(TOO_MANY);
        }
    }
    Ok(data)
}

const TOO_MANY: &str = "it has more than 4194304 stretches of data";

/// Reads the map of format 1.0, which stands in front of the data: how many, then two numbers for each, a line each.
#[derive(Debug, Default)]
pub(super) struct Map {
    digits: Vec<u8>,
    count: Option<usize>,
    offset: Option<u64>,
    data: Vec<(u64, u64)>,
    /// Something else than zeros stands behind its end, in its last block.
    pub(super) is_strange: bool,
}

impl Map {
    /// Takes the next block; gives the map with the last.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<Vec<(u64, u64)>>, &'static str> {
        for (at, byte) in block.iter().enumerate() {
            if *byte != b'\n' {
                if self.digits.len() > 20 {
                    return Err(BAD_MAP);
                }
                self.digits.push(*byte);
                continue;
            }
            let value = number(&self.digits).filter(|_| !self.digits.is_empty()).ok_or(BAD_MAP)?;
            self.digits.clear();
            match (self.count, self.offset) {
                (None, _) => {
                    let count = usize::try_from(value).ok().filter(|n| *n <= STRETCHES_MAX).ok_or(TOO_MANY)?;
                    self.count = Some(count);
                }
                (Some(_), None) => self.offset = Some(value),
                (Some(_), Some(offset)) => {
                    self.offset = None;
                    self.data.push((offset, value));
                }
            }
            if self.count == Some(self.data.len()) {
                self.is_strange = block[at + 1..].iter().any(|b| *b != 0);
                return Ok(Some(std::mem::take(&mut self.data)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::Stretch::{Data, Hole};
    use super::*;

    fn all(mut stretches: Stretches) -> Vec<Stretch> {
        std::iter::from_fn(|| stretches.next()).collect()
    }

    #[test]
    fn stretches() {
        let of = |data: &[(u64, u64)], size, stored| Stretches::new(data.to_vec(), size, stored).map(all);
        assert_eq!(all(Stretches::whole(5)), [Data(5)]);
        assert_eq!(all(Stretches::whole(0)), []);
        assert_eq!(of(&[(0, 512), (4096, 5)], 9000, 517), Ok(vec![Data(512), Hole(3584), Data(5), Hole(4899)]));
        assert_eq!(
            of(&[(512, 512), (1024, 512), (9000, 0)], 9000, 1024),
            Ok(vec![Hole(512), Data(512), Data(512), Hole(7464)])
        );
        assert_eq!(of(&[(0, 0)], 0, 0), Ok(vec![]));
        assert_eq!(of(&[], 10, 0), Ok(vec![Hole(10)]));
        for (data, size, stored) in [
            (&[(0, 512), (0, 512)][..], 9000, 1024),
            (&[(512, 512), (0, 512)], 9000, 1024),
            (&[(0, 512)], 511, 512),
            (&[(0, 512)], 512, 511),
            (&[(0, 512)], 512, 1024),
            (&[(u64::MAX, 512)], u64::MAX, 512),
            (&[(10, 0)], 9, 0),
            (&[(0, 10), (1024, 512)], 9000, 522),
        ] {
            assert!(of(data, size, stored).is_err(), "{data:?} {size} {stored}");
        }
    }

    #[test]
    fn maps() {
        assert_eq!(from_list(b"0,512,4096,5"), Ok(vec![(0, 512), (4096, 5)]));
        for bad in [&b""[..], b"1", b"1,2,3", b"1,,2", b"1,-2", b"a,b"] {
            assert!(from_list(bad).is_err());
        }
        let mut map = Map::default();
        assert_eq!(map.block(b"2\n0\n51"), Ok(None));
        assert_eq!(map.block(b"2\n4096\n5\n\0\0\0"), Ok(Some(vec![(0, 512), (4096, 5)])));
        assert_eq!(Map::default().block(b"0\n\0"), Ok(Some(vec![])));
        for bad in [&b"9999999\n"[..], b"\n", b"x\n", b"1\n\0\0\0\n", b"1\n1\n99999999999999999999999999"] {
            assert!(Map::default().block(bad).is_err());
        }
    }
}
