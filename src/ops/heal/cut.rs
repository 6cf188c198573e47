//! Bytes from elsewhere, cut as a capture cuts them, each chunk offered to whoever looks for it.

use crate::model::Progress;
use crate::store::StoreError;

use super::super::query::QueryError;
use super::Finder;

/// Why something was not read to its end: `E` is what reading says.
pub(super) enum Stopped<E> {
    Read(E),
    Query(QueryError),
}

impl<E> From<StoreError> for Stopped<E> {
    fn from(error: StoreError) -> Self {
        Self::Query(error.into())
    }
}

/// Cuts a content, its holes left out, and offers each chunk. `more` adds what comes next to what is there, and says whether there may be more. If it fails, what came before is
/// cut all the same.
pub(super) fn cut<E>(
    finder: &Finder,
    progress: &dyn Progress,
    mut more: impl FnMut(&mut Vec<u8>) -> Result<bool, E>,
) -> Result<(), Stopped<E>> {
    let cutter = finder.writer.store().cutter();
    let (mut buffer, mut ended, mut failed) = (Vec::new(), false, None);
    while !ended || !buffer.is_empty() {
        while !ended && buffer.len() < cutter.max() {
            match more(&mut buffer) {
                Ok(has_more) => ended = !has_more,
                Err(error) => (ended, failed) = (true, Some(error)),
            }
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
    failed.map_or(Ok(()), |error| Err(Stopped::Read(error)))
}
