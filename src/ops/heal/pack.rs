//! Packs as a source: the bytes of their members.

use std::io::{self, Read};
use std::path::Path;

use crate::model::Progress;
use crate::store::StoreError;

use super::super::query::QueryError;
use super::Finder;

/// Bytes read at a time.
const READ_BYTES: u64 = 1 << 20;

/// Gives the content of each member of a pack; false if a file is none. What knows the formats of packs.
pub type Members = fn(&Path, &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> io::Result<bool>;

/// Looks at the members of a pack, if the path is one.
pub(super) fn look(path: &Path, members: Members, finder: &Finder, progress: &dyn Progress) -> Result<(), QueryError> {
    let mut stopped = None;
    let read = members(path, &mut |bytes| match cut(bytes, finder, progress) {
        Ok(()) => Ok(()),
        Err(Stopped::Read(e)) => Err(e),
        Err(Stopped::Query(e)) => {
            stopped = Some(e);
            Err(io::Error::other("stopped"))
        }
    });
    match (stopped, read) {
        (Some(e), _) => return Err(e),
        (None, Err(e)) => super::folder::unreadable(path, &e, progress),
        (None, Ok(_)) => {}
    }
    Ok(())
}

/// Why a member was not read to its end.
enum Stopped {
    Read(io::Error),
    Query(QueryError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Query(error.into())
    }
}

/// Cuts a stream as a capture does and offers each chunk.
fn cut(bytes: &mut dyn Read, finder: &Finder, progress: &dyn Progress) -> Result<(), Stopped> {
    let cutter = finder.writer.store().cutter();
    let (mut buffer, mut ended) = (Vec::new(), false);
    while !ended || !buffer.is_empty() {
        while !ended && buffer.len() < cutter.max() {
            ended = Read::take(&mut *bytes, READ_BYTES).read_to_end(&mut buffer).map_err(Stopped::Read)? == 0;
        }
        let mut start = 0;
        while start < buffer.len() && (ended || buffer.len() - start >= cutter.max()) {
            let len = cutter.next(&buffer[start..]);
            finder.chunk(&buffer[start..start + len])?;
            start += len;
        }
        progress.advance(0, start as u64);
        if progress.cancelled() {
            return Err(Stopped::Query(QueryError::Interrupted));
        }
        buffer.drain(..start);
    }
    Ok(())
}
