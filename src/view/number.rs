//! Numbers of nodes: 64 bits, no table behind them, the same on every machine and at every mount.

/// Bits of the preorder number.
const INDEX_BITS: u32 = 40;

/// The number of a node: the arrival sequence of its snapshot (24 bits) and its preorder number in it (40 bits, format section
/// 12.3). All names of a group of hard links share the number of the first of them. Never used for anything else, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The smallest number there is: what is below is free for others.
    pub const MIN: u64 = 1 << INDEX_BITS;

    /// A node by its snapshot's sequence and its preorder number; nothing if they do not fit.
    #[must_use]
    pub fn new(sequence: u64, index: u64) -> Option<Self> {
        let fits = sequence > 0 && sequence < 1 << (64 - INDEX_BITS) && index < 1 << INDEX_BITS;
        fits.then_some(Self(sequence << INDEX_BITS | index))
    }

    /// From 64 bits that came from outside.
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        (raw >= Self::MIN).then_some(Self(raw))
    }

    /// The 64 bits.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }

    /// Its snapshot's sequence.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0 >> INDEX_BITS
    }

    /// Its preorder number; 0 is the root folder.
    #[must_use]
    pub fn index(self) -> u64 {
        self.0 & (Self::MIN - 1)
    }

    /// The root folder of its snapshot.
    #[must_use]
    pub fn root(self) -> Self {
        Self(self.0 & !(Self::MIN - 1))
    }

    /// Another node of the same snapshot.
    pub(super) fn sibling(self, index: u64) -> Option<Self> {
        Self::new(self.sequence(), index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_stay_in_range() {
        let id = NodeId::new(7, 12).unwrap();
        assert_eq!((id.sequence(), id.index(), id.root().index()), (7, 12, 0));
        assert_eq!(NodeId::from_raw(id.raw()), Some(id));
        assert_eq!(id.sibling(3), NodeId::new(7, 3));
        for (sequence, index) in [(0, 0), (1 << 24, 0), (1, 1 << 40)] {
            assert_eq!(NodeId::new(sequence, index), None);
        }
        assert_eq!(NodeId::from_raw(1), None);
    }
}
