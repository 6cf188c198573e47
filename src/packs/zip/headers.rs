//! What stands in a member's headers beside its name: mode, kind, times.

use jiff::tz::Offset;
use zip::write::FullFileOptions;
use zip::{CompressionMethod, DateTime, System};

use crate::model::{Body, Entry, Timestamp};

/// Content from which on a member's headers need 64 bits: deflate may make it a little longer.
const LARGE: u64 = (4 << 30) - (16 << 20);

/// Info-ZIP's extended timestamp.
const EXTENDED_TIMESTAMP: u16 = 0x5455;

/// The headers of an entry.
pub(super) fn options(entry: &Entry, level: i32) -> FullFileOptions<'static, 'static> {
    // The upper half is `st_mode` as Unix has it, the lower what DOS knows: that it is a folder.
    let (kind, dos) = match &entry.body {
        Body::Folder(_) => (0o040_000, 0x10),
        Body::Symlink(_) => (0o120_000, 0),
        _ => (0o100_000, 0),
    };
    let mut options = FullFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level.into()))
        .system(System::Unix)
        .external_attributes((kind | u32::from(entry.mode)) << 16 | dos)
        .last_modified_time(dos_time(entry.mtime.seconds))
        .large_file(entry.size() >= LARGE);
    if let Ok(seconds) = i32::try_from(entry.mtime.seconds) {
        let mut field = [1, 0, 0, 0, 0];
        field[1..].copy_from_slice(&seconds.to_le_bytes());
        // A field of nine bytes always has room.
        let _ = options.add_extra_field(EXTENDED_TIMESTAMP, field, false);
    }
    options
}

/// True if a zip holds less of a time than there is.
pub(super) fn is_cut(time: Timestamp) -> bool {
    time.nanos != 0 || i32::try_from(time.seconds).is_err()
}

/// A time in UTC; what lies outside 1980 to 2107 becomes the nearest moment inside.
fn dos_time(seconds: i64) -> DateTime {
    const FIRST: i64 = 315_532_800;
    const LAST: i64 = 4_354_819_198;
    let time = jiff::Timestamp::from_second(seconds.clamp(FIRST, LAST)).unwrap_or_default();
    let time = Offset::UTC.to_datetime(time);
    let small = |n: i8| u8::try_from(n).unwrap_or_default();
    let (year, month, day) = (u16::try_from(time.year()).unwrap_or_default(), small(time.month()), small(time.day()));
    let made =
        DateTime::from_date_and_time(year, month, day, small(time.hour()), small(time.minute()), small(time.second()));
    made.unwrap_or(DateTime::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let words = |seconds| {
            let t = dos_time(seconds);
            (t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
        };
        assert_eq!(words(1_700_000_001), (2023, 11, 14, 22, 13, 20));
        assert_eq!(words(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(words(i64::MAX), (2107, 12, 31, 23, 59, 58));
        assert!(is_cut(Timestamp { seconds: 0, nanos: 1 }) && is_cut(Timestamp { seconds: 1 << 31, nanos: 0 }));
        assert!(!is_cut(Timestamp { seconds: -1, nanos: 0 }));
    }
}
