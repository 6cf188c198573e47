//! Inode numbers: nodes of the view, and the few folders and links that list snapshots.

use crate::view::NodeId;

/// What an inode number stands for. FUSE wants the root to be 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ino {
    /// The root of a whole-store mount.
    Top,
    /// `snapshots`.
    Snapshots,
    /// `datasets`.
    Datasets,
    /// `at`.
    At,
    /// `at/TIME`, by the last second since 1970 that TIME speaks of.
    AsOf(u64),
    /// `datasets/NAME`, by the sequence of the dataset's first snapshot.
    Dataset(u64),
    /// `datasets/NAME/TIME`, by the snapshot's sequence.
    Time(u64),
    /// `datasets/NAME/latest`, by the sequence it leads to: another target is another inode, since the kernel keeps targets.
    Latest(u64),
    /// A node of a snapshot.
    Node(NodeId),
}

const DATASET: u64 = 1 << 36;
const TIME: u64 = 2 << 36;
const LATEST: u64 = 3 << 36;
const AS_OF: u64 = 4 << 36;
const KIND: u64 = 0xf << 36;

/// Above every second that an inode number has room for: some two thousand years.
pub(super) const SECONDS_END: u64 = 1 << 36;

impl Ino {
    /// Its number; `root` is the node that is the root of the mount, if one is.
    pub(super) fn raw(self, root: Option<NodeId>) -> u64 {
        match self {
            Self::Top => 1,
            Self::Snapshots => 2,
            Self::Datasets => 3,
            Self::At => 4,
            Self::Dataset(sequence) => DATASET | sequence,
            Self::AsOf(seconds) => AS_OF | seconds,
            Self::Time(sequence) => TIME | sequence,
            Self::Latest(sequence) => LATEST | sequence,
            Self::Node(id) if Some(id) == root => 1,
            Self::Node(id) => id.raw(),
        }
    }

    /// What a number stands for.
    pub(super) fn from_raw(raw: u64, root: Option<NodeId>) -> Option<Self> {
        if let Some(id) = NodeId::from_raw(raw) {
            return Some(Self::Node(id));
        }
        if let Some(root) = root {
            return (raw == 1).then_some(Self::Node(root));
        }
        let sequence = raw & !KIND;
        match (raw & KIND, raw) {
            (0, 1) => Some(Self::Top),
            (0, 2) => Some(Self::Snapshots),
            (0, 3) => Some(Self::Datasets),
            (0, 4) => Some(Self::At),
            (DATASET, _) => Some(Self::Dataset(sequence)),
            (TIME, _) => Some(Self::Time(sequence)),
            (LATEST, _) => Some(Self::Latest(sequence)),
            (AS_OF, _) => Some(Self::AsOf(sequence)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        let node = NodeId::new(9, 5).unwrap();
        let folders = [Ino::Top, Ino::Snapshots, Ino::Datasets, Ino::At, Ino::Dataset(4), Ino::AsOf(SECONDS_END - 1)];
        let all = folders.into_iter().chain([Ino::Time(4), Ino::Latest(4), Ino::Node(node)]);
        for ino in all {
            assert_eq!(Ino::from_raw(ino.raw(None), None), Some(ino));
        }
        let root = node.root();
        assert_eq!(Ino::Node(root).raw(Some(root)), 1);
        assert_eq!(Ino::from_raw(1, Some(root)), Some(Ino::Node(root)));
        assert_eq!(Ino::from_raw(2, Some(root)), None);
    }
}
