//! What every sort of archive can do: take members of the pack's own, and a tree.

use std::io::Write;

use crate::model::Timestamp;
use crate::tree::Visit;

use super::error::PackError;
use super::loss::Losses;
use super::subject::Subject;
use super::sums::Sums;

/// Writes a file, each time it is asked to with the same bytes.
pub(super) type WriteFile<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<(), PackError>;

/// Is told of each visit of a walk.
pub(super) type Witness<'a> = &'a mut (dyn FnMut(&Visit) + Send);

/// What an archive has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Members.
    pub(super) members: u64,
    /// Bytes.
    pub(super) bytes: u64,
}

/// A tree and where it goes.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) subject: &'a Subject,
    /// What stands in front of each path from the snapshot's root: `NAME/content/`; in a bare archive what the form has there.
    pub(super) prefix: Vec<u8>,
}

/// An archive that is being written. Dropped before [`Self::finish`], what was written does not pass for a whole one.
pub(super) trait Archive {
    /// A folder that is not in the snapshot. Its name ends with a slash.
    fn folder(&mut self, name: &str, mtime: Timestamp) -> Result<(), PackError>;

    /// A file of so many bytes that is not in the snapshot. `write` may be asked several times.
    fn file(&mut self, name: &str, mtime: Timestamp, len: u64, write: WriteFile) -> Result<(), PackError>;

    /// All of a tree. The sums of its files are told if they are wanted. Gives what became of it beside what the form does not carry.
    fn tree(&mut self, tree: &Tree, sums: Option<&mut Sums>, witness: Witness) -> Result<Losses, PackError>;

    /// Ends the archive.
    fn finish(self: Box<Self>) -> Result<Extent, PackError>;
}

/// Counts what is written.
pub(super) struct Counted<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.bytes += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
