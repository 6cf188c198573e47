//! The records at the end of a zip, which say where its directory is.

use std::io::{Seek, SeekFrom};

use super::super::error::ArchiveError;
use super::window::{Shared, Window, u16_at, u32_at, u64_at};

const END: usize = 22;
const LOCATOR: usize = 20;
const END64: usize = 56;
/// Bytes of a comment, which stands behind all.
const COMMENT_MAX: usize = 0xffff;

/// Where the directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes that stand in front of the archive: of a program that extracts itself. All offsets count from behind them.
    pub(super) front: u64,
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) count: u64,
    /// The count is one of 16 bits, and may have gone round.
    pub(super) is_short: bool,
    /// Where the last of the records at the end ends, its comment too.
    pub(super) end: u64,
}

/// Finds the directory.
pub(super) fn find(from: &Shared) -> Result<Place, ArchiveError> {
    let len = from.borrow_mut().seek(SeekFrom::End(0))?;
    let filled = without_zeros(from, len)?;
    let tail_start = filled.saturating_sub((END + COMMENT_MAX) as u64);
    let tail_end = len.min(filled + END as u64);
    let tail = Window::exact(from, tail_start, usize::try_from(tail_end - tail_start).unwrap_or(0))?;
    let is_end = |at: &usize| {
        let record = &tail[*at..];
        let end = tail_start + (*at + END + usize::from(u16_at(record, 20))) as u64;
        record.starts_with(b"PK\x05\x06") && (filled..=len).contains(&end)
    };
    let mut ends = (0..tail.len().saturating_sub(END - 1)).rev().filter(is_end);
    let Some(at) = ends.next() else {
        return Err(ArchiveError::damaged("the zip's end is missing, or something stands behind it"));
    };
    if ends.next().is_some() {
        return Err(ArchiveError::damaged("the zip has two ends, one in the comment of the other"));
    }
    let (record, at) = (&tail[at..], tail_start + at as u64);
    let last = at + (END + usize::from(u16_at(record, 20))) as u64;
    let short = Short {
        disks: [u16_at(record, 4), u16_at(record, 6)],
        counts: [u16_at(record, 8), u16_at(record, 10)],
        size: u32_at(record, 12),
        start: u32_at(record, 16),
    };
    let long = long(from, at, &short)?;
    let (end, size, start, count) =
        long.unwrap_or((at, u64::from(short.size), u64::from(short.start), u64::from(short.counts[1])));
    if long.is_none() && (short.disks != [0, 0] || short.counts[0] != short.counts[1]) {
        return Err(ArchiveError::damaged("the zip is one of several parts: put them together first"));
    }
    let found = end.checked_sub(size).and_then(|real| Some((real, real.checked_sub(start)?)));
    let Some((real, front)) = found else {
        return Err(ArchiveError::damaged(
            "the zip's end says that its directory is longer than what stands before it",
        ));
    };
    Ok(Place { front, start: real, size, count, is_short: long.is_none(), end: last })
}

/// How long the file is without zeros at its end, with which some fill up a block of a tape or a pipe.
fn without_zeros(from: &Shared, len: u64) -> Result<u64, ArchiveError> {
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(COMMENT_MAX as u64);
        let bytes = Window::exact(from, start, usize::try_from(end - start).unwrap_or(0))?;
        if let Some(last) = bytes.iter().rposition(|b| *b != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// What the old record says.
struct Short {
    disks: [u16; 2],
    counts: [u16; 2],
    size: u32,
    start: u32,
}

/// What the records of zip64 say, if there are any: where they begin, size and place of the directory, number of members.
fn long(from: &Shared, end: u64, short: &Short) -> Result<Option<(u64, u64, u64, u64)>, ArchiveError> {
    let Some(locator_at) = end.checked_sub(LOCATOR as u64) else { return Ok(None) };
    let locator = Window::exact(from, locator_at, LOCATOR)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let damaged = || ArchiveError::damaged("the zip's two ends, the old and that of zip64, contradict each other");
    // Where it says, or, where something stands in front of the archive, right before.
    let told = u64_at(&locator, 8);
    let mut found = None;
    for at in [Some(told), locator_at.checked_sub(END64 as u64)].into_iter().flatten() {
        if at.checked_add(END64 as u64).is_some_and(|end| end <= locator_at) {
            let record = Window::exact(from, at, END64)?;
            let len = u64_at(&record, 4).checked_add(12).and_then(|len| at.checked_add(len));
            if record.starts_with(b"PK\x06\x06") && len == Some(locator_at) {
                found = Some((at, record));
                break;
            }
        }
    }
    let (at, record) = found.ok_or_else(damaged)?;
    let disks = [u32_at(&record, 16), u32_at(&record, 20), u32_at(&locator, 4), u32_at(&locator, 16).saturating_sub(1)];
    let counts = [u64_at(&record, 24), u64_at(&record, 32)];
    if disks != [0; 4] || counts[0] != counts[1] {
        return Err(ArchiveError::damaged("the zip is one of several parts: put them together first"));
    }
    let (size, start) = (u64_at(&record, 40), u64_at(&record, 48));
    // What the old record has room for it must say too.
    let agrees = |old: u64, full: u64, new: u64| old == full || old == new;
    let same = agrees(short.counts[1].into(), 0xffff, counts[1])
        && agrees(short.size.into(), 0xffff_ffff, size)
        && agrees(short.start.into(), 0xffff_ffff, start);
    if same { Ok(Some((at, size, start, counts[1]))) } else { Err(damaged()) }
}
