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
const KIND: u64 = 0xf << 36;

impl Ino {
    /// Its number; `root` is the node that is the root of the mount, if one is.
    pub(super) fn raw(self, root: Option<NodeId>) -> u64 {
        match self {
            Self::Top => 1,
            Self::Snapshots => 2,
            Self::Datasets => 3,
            Self::Dataset(sequence) => DATASET | sequence,
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
            (DATASET, _) => Some(Self::Dataset(sequence)),
            (TIME, _) => Some(Self::Time(sequence)),
            (LATEST, _) => Some(Self::Latest(sequence)),
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
        let all =
            [Ino::Top, Ino::Snapshots, Ino::Datasets, Ino::Dataset(4), Ino::Time(4), Ino::Latest(4), Ino::Node(node)];
        for ino in all {
            assert_eq!(Ino::from_raw(ino.raw(None), None), Some(ino));
        }
        let root = node.root();
        assert_eq!(Ino::Node(root).raw(Some(root)), 1);
        assert_eq!(Ino::from_raw(1, Some(root)), Some(Ino::Node(root)));
        assert_eq!(Ino::from_raw(2, Some(root)), None);
    }
}
