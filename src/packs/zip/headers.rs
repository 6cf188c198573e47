//! The records of a zip (APPNOTE.TXT 6.3): what stands in front of a content, behind it, and in the directory.

use jiff::tz::Offset;

use crate::model::Timestamp;

/// Content up to which a file is compressed in one piece, its sizes in front of it. A part of the form: nothing but the size decides.
pub(super) const SHORT: u64 = 4 << 20;
/// Content from which on a member whose compressed size is not known yet has fields of 64 bits: compression may make it a little longer.
const LARGE: u64 = (4 << 30) - (16 << 20);
/// What a field of 32 bits holds if the value stands elsewhere.
const ELSEWHERE: u32 = u32::MAX;
/// Made by: Unix (3), version 4.5 of the APPNOTE. A part of the form.
const MADE_BY: u16 = 0x032d;
/// Sizes stand behind the content.
const BEHIND: u16 = 1 << 3;
/// The name is UTF-8.
const UTF8: u16 = 1 << 11;
/// Info-ZIP's extended timestamp.
const EXTENDED_TIMESTAMP: u16 = 0x5455;
const ZIP64: u16 = 1;

/// A member, but for its content.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Whole, a folder's with a slash behind.
    pub(super) name: String,
    /// The file type and permissions as `st_mode` has them.
    pub(super) mode: u32,
    pub(super) mtime: Timestamp,
    /// 0 stored, 8 deflate, 93 zstd.
    pub(super) method: u16,
    /// Bytes of its content.
    pub(super) size: u64,
    /// Its CRC-32 and compressed size stand behind its content.
    pub(super) behind: bool,
}

/// What is known of a content once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) crc: u32,
    pub(super) compressed: u64,
}

/// Zero of everything: an empty content.
pub(super) const NOTHING: Written = Written { crc: 0, compressed: 0 };

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A value in 32 bits, or the mark that it stands elsewhere.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(ELSEWHERE)
}

fn len16(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

impl Member {
    /// True if the header in front has fields of 64 bits.
    fn is_large(&self, written: Option<Written>) -> bool {
        match written {
            None => self.size >= LARGE,
            Some(written) => self.size.max(written.compressed) >= u64::from(ELSEWHERE),
        }
    }

    fn version_needed(&self, zip64: bool) -> u16 {
        match self.method {
            93 => 63,
            _ if zip64 => 45,
            8 => 20,
            _ if self.name.ends_with('/') => 20,
            _ => 10,
        }
    }

    /// What both headers of a member begin with, from the version that is needed to its times.
    fn put_front(&self, out: &mut Vec<u8>, zip64: bool) {
        put16(out, self.version_needed(zip64));
        put16(out, if self.behind { BEHIND } else { 0 } | if self.name.is_ascii() { 0 } else { UTF8 });
        put16(out, self.method);
        let (time, date) = dos_time(self.mtime.seconds);
        put16(out, time);
        put16(out, date);
    }

    /// The header in front of the content. `written`: nothing if it stands behind.
    pub(super) fn put_local(&self, out: &mut Vec<u8>, written: Option<Written>) {
        let large = self.is_large(written);
        let mut extra = self.time_field();
        if large {
            put16(&mut extra, ZIP64);
            put16(&mut extra, 16);
            put64(&mut extra, written.map_or(0, |_| self.size));
            put64(&mut extra, written.map_or(0, |w| w.compressed));
        }
        put32(out, 0x0403_4b50);
        self.put_front(out, large);
        put32(out, written.map_or(0, |w| w.crc));
        let size = |value: u64| if large { ELSEWHERE } else { narrow(value) };
        put32(out, size(written.map_or(0, |w| w.compressed)));
        put32(out, size(written.map_or(0, |_| self.size)));
        put16(out, len16(self.name.as_bytes()));
        put16(out, len16(&extra));
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
    }

    /// What stands behind the content if the header in front could not tell.
    pub(super) fn put_behind(&self, out: &mut Vec<u8>, written: Written) {
        put32(out, 0x0807_4b50);
        put32(out, written.crc);
        if self.is_large(None) {
            put64(out, written.compressed);
            put64(out, self.size);
        } else {
            put32(out, narrow(written.compressed));
            put32(out, narrow(self.size));
        }
    }

    /// The member's line in the directory. `offset`: where its header stands.
    pub(super) fn put_central(&self, out: &mut Vec<u8>, written: Written, offset: u64) {
        let mut wide = Vec::new();
        for value in [self.size, written.compressed, offset] {
            if value >= u64::from(ELSEWHERE) {
                put64(&mut wide, value);
            }
        }
        let mut extra = self.time_field();
        if !wide.is_empty() {
            put16(&mut extra, ZIP64);
            put16(&mut extra, len16(&wide));
            extra.extend_from_slice(&wide);
        }
        let front = if self.behind { None } else { Some(written) };
        put32(out, 0x0201_4b50);
        put16(out, MADE_BY.max(0x0300 + self.version_needed(false)));
        self.put_front(out, !wide.is_empty() || self.is_large(front));
        put32(out, written.crc);
        put32(out, narrow(written.compressed));
        put32(out, narrow(self.size));
        put16(out, len16(self.name.as_bytes()));
        put16(out, len16(&extra));
        // No comment, one disk, no guess whether it is text.
        out.extend_from_slice(&[0; 6]);
        let is_folder = self.name.ends_with('/');
        put32(out, self.mode << 16 | if is_folder { 0x10 } else { 0 });
        put32(out, narrow(offset));
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
    }

    fn time_field(&self) -> Vec<u8> {
        let mut field = Vec::new();
        if let Ok(seconds) = i32::try_from(self.mtime.seconds) {
            put16(&mut field, EXTENDED_TIMESTAMP);
            put16(&mut field, 5);
            field.push(1);
            field.extend_from_slice(&seconds.to_le_bytes());
        }
        field
    }
}

/// What a zip ends with. `start`: where its directory begins.
pub(super) fn end(members: u64, start: u64, len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let count = u16::try_from(members).unwrap_or(u16::MAX);
    if count == u16::MAX || start.max(len) >= u64::from(ELSEWHERE) {
        put32(&mut out, 0x0606_4b50);
        put64(&mut out, 44);
        put16(&mut out, MADE_BY);
        put16(&mut out, 45);
        put64(&mut out, 0);
        put64(&mut out, members);
        put64(&mut out, members);
        put64(&mut out, len);
        put64(&mut out, start);
        put32(&mut out, 0x0706_4b50);
        put32(&mut out, 0);
        put64(&mut out, start + len);
        put32(&mut out, 1);
    }
    put32(&mut out, 0x0605_4b50);
    put32(&mut out, 0);
    put16(&mut out, count);
    put16(&mut out, count);
    put32(&mut out, narrow(len));
    put32(&mut out, narrow(start));
    put16(&mut out, 0);
    out
}

/// True if a zip holds less of a time than there is.
pub(super) fn is_cut(time: Timestamp) -> bool {
    time.nanos != 0 || i32::try_from(time.seconds).is_err()
}

/// The first and the last moment that DOS has.
pub(super) const FIRST: i64 = 315_532_800;
const LAST: i64 = 4_354_819_198;

/// What a zip holds of a time: whole seconds, where they fit into 32 bits; else every second one of DOS's.
pub(crate) fn kept_time(time: Timestamp) -> Timestamp {
    let seconds = time.seconds;
    let seconds = if i32::try_from(seconds).is_ok() { seconds } else { seconds.clamp(FIRST, LAST) / 2 * 2 };
    Timestamp { seconds, nanos: 0 }
}

/// Time and date as DOS has them, in UTC; what lies outside 1980 to 2107 becomes the nearest moment inside.
fn dos_time(seconds: i64) -> (u16, u16) {
    let time = jiff::Timestamp::from_second(seconds.clamp(FIRST, LAST)).unwrap_or_default();
    let time = Offset::UTC.to_datetime(time);
    let small = |n: i8| u16::try_from(n).unwrap_or_default();
    let year = u16::try_from(time.year()).unwrap_or_default().saturating_sub(1980);
    (
        small(time.hour()) << 11 | small(time.minute()) << 5 | (small(time.second()) / 2),
        year << 9 | small(time.month()) << 5 | small(time.day()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let words = |seconds| {
            let (time, date) = dos_time(seconds);
            (1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
        };
        assert_eq!(words(1_700_000_001), (2023, 11, 14, 22, 13, 20));
        assert_eq!(words(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(words(i64::MAX), (2107, 12, 31, 23, 59, 58));
        assert!(is_cut(Timestamp { seconds: 0, nanos: 1 }) && is_cut(Timestamp { seconds: 1 << 31, nanos: 0 }));
        assert!(!is_cut(Timestamp { seconds: -1, nanos: 0 }));
    }
}
