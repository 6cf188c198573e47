//! Reading a content to its end, for whoever wants to know no more than whether that is possible.

use crate::archives::{ArchiveError, Content, Part};

/// Why a content was not read to its end.
pub(super) enum Stopped {
    /// Whoever was told of the steps did not want any more.
    Cancelled,
    /// It cannot be read on.
    Read(ArchiveError),
}

/// Reads a content to its end. `step` is told of the bytes of each step, holes counted, and says whether to go on.
pub(super) fn drain(content: &mut dyn Content, mut step: impl FnMut(u64) -> bool) -> Result<(), Stopped> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let part = content.next(&mut buffer).map_err(|e| Stopped::Read(e.into()))?;
        let hole = if let Part::Hole(len) = part { len } else { 0 };
        if !step(buffer.len() as u64 + hole) {
            return Err(Stopped::Cancelled);
        }
        if part == Part::End {
            return Ok(());
        }
    }
}
