//! The SHA-256 of each file of a pack, gathered while the contents go by, until `checksums.sha256` is written behind them.

use std::collections::HashMap;
use std::path::Path;

use crate::archives::{Records, Spill};
use crate::codec::Sha256;
use crate::model::LinkGroup;
use crate::tree::{Node, Stretch};

use super::PackError;

/// Bytes of sums that are held.
const MEMORY: usize = 16 << 20;

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
#[derive(Debug)]
pub(super) struct Sums {
    sums: Spill,
    /// Of files with several names.
    groups: HashMap<LinkGroup, Sum>,
    open: Option<Sha256>,
}

impl Sums {
    /// None yet. `scratch`: where what is too much for memory goes, sealed.
    pub(super) fn new(scratch: &Path) -> Self {
        Self { sums: Spill::new(scratch, MEMORY), groups: HashMap::new(), open: None }
    }

    /// Takes note of a file.
    pub(super) fn tell(&mut self, node: &Node, told: Told) -> Result<(), PackError> {
        let sum = match told {
            Told::Begin => {
                self.open = Some(Sha256::default());
                return Ok(());
            }
            Told::Whole(sum) => sum,
            Told::End => self.open.take().unwrap_or_default().bytes(),
            Told::Same => node.entry.link.and_then(|group| self.groups.get(&group).copied()).unwrap_or_default(),
        };
        if let Some(group) = node.entry.link {
            self.groups.insert(group, sum);
        }
        self.sums.push(&sum).map_err(PackError::Write)
    }

    /// More bytes of the file that began.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.open {
            hash.update(bytes);
        }
    }

    /// More zeros of the file that began; as many as come before somebody wants it stopped.
    pub(super) fn zeros(&mut self, len: u64, stop: Stop) {
        if let Some(hash) = &mut self.open {
            add_zeros(hash, len, stop);
        }
    }

    /// The sums, in the order in which they were told.
    pub(super) fn read(&self) -> Records<'_> {
        self.sums.read()
    }
}

/// Tells whether somebody wants the work stopped.
pub(super) type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Zeros that are added before one looks whether to stop.
const STEP: u64 = 64 << 20;

/// Adds a stretch of content to a hash. If it is stopped in a hole, the hash is worth nothing.
pub(super) fn add_stretch(hash: &mut Sha256, stretch: Stretch, stop: Stop) {
    match stretch {
        Stretch::Data(bytes) => hash.update(bytes),
        Stretch::Hole(len) => add_zeros(hash, len, stop),
    }
}

fn add_zeros(hash: &mut Sha256, mut len: u64, stop: Stop) {
    while len > 0 && !stop() {
        let step = len.min(STEP);
        hash.zeros(step);
        len -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_hole_is_left_when_somebody_wants_to_stop() {
        let (mut hash, mut other) = (Sha256::default(), Sha256::default());
        add_stretch(&mut hash, Stretch::Hole(u64::MAX), &|| true);
        add_stretch(&mut hash, Stretch::Hole(STEP + 1), &|| false);
        other.zeros(STEP + 1);
        assert_eq!(hash.bytes(), other.bytes());
    }
}
