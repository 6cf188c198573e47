//! The SHA-256 of each file of a pack, gathered while the contents go by, until `checksums.sha256` is written behind them.

use std::collections::HashMap;

use crate::codec::Sha256;
use crate::model::LinkGroup;
use crate::tree::{Node, Stretch};

/// A SHA-256.
pub(super) type Sum = [u8; 32];

/// What is told of a file's content, in the order of the archive.
#[derive(Debug)]
pub(super) enum Told {
    /// The whole content is this.
    Whole(Sum),
    /// It begins, and comes in pieces.
    Begin,
    /// It has ended.
    End,
    /// The content is that of an earlier name.
    Same,
}

/// Gathers sums in the order of the archive.
#[derive(Debug, Default)]
pub(super) struct Sums {
    sums: Vec<Sum>,
    /// Of files with several names.
    groups: HashMap<LinkGroup, Sum>,
    open: Option<Sha256>,
}

impl Sums {
    /// Takes note of a file.
    pub(super) fn tell(&mut self, node: &Node, told: Told) {
        let sum = match told {
            Told::Begin => {
                self.open = Some(Sha256::default());
                return;
            }
            Told::Whole(sum) => sum,
            Told::End => self.open.take().unwrap_or_default().bytes(),
            Told::Same => node.entry.link.and_then(|group| self.groups.get(&group).copied()).unwrap_or_default(),
        };
        if let Some(group) = node.entry.link {
            self.groups.insert(group, sum);
        }
        self.sums.push(sum);
    }

    /// More bytes of the file that began.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.open {
            hash.update(bytes);
        }
    }

    /// More zeros of the file that began.
    pub(super) fn zeros(&mut self, len: u64) {
        if let Some(hash) = &mut self.open {
            hash.zeros(len);
        }
    }

    /// The sums, in the order in which they were told.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Sum> {
        self.sums.iter()
    }
}

/// Adds a stretch of content to a hash.
pub(super) fn add_stretch(hash: &mut Sha256, stretch: Stretch) {
    match stretch {
        Stretch::Data(bytes) => hash.update(bytes),
        Stretch::Hole(len) => hash.zeros(len),
    }
}

/// A sum as digits.
pub(super) fn hex(sum: &Sum) -> String {
    sum.iter().map(|b| format!("{b:02x}")).collect()
}
