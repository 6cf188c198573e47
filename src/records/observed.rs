//! When a record was observed: times as Python 3.11 reads and writes them (`datetime.fromisoformat`, `isoformat`), since the system that
//! records come from does. The offset stays what it is; a time without one stays without.

use std::fmt;

/// A time.
///
/// ```
/// use larder::records::ObservedAt;
///
/// let time = ObservedAt::parse("2024-02-03T03:15:00.500Z").unwrap();
/// assert_eq!(time.as_str(), "2024-02-03T03:15:00.500000+00:00");
/// let same = ObservedAt::parse("20240203T084500,5+0530").unwrap();
/// assert_eq!(same.as_str(), "2024-02-03T08:45:00.500000+05:30");
/// assert_eq!(same.instant(), time.instant());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedAt {
    text: String,
    seconds: i64,
    micros: u32,
    day: (i32, u8, u8),
}

/// Date and time as they stand in a text.
#[derive(Debug, Default)]
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    clock: [i64; 4],
    /// Seconds and microseconds, both of one sign.
    offset: Option<(i64, i64)>,
}

impl ObservedAt {
    /// Reads a time: `2024-01-15T10:30:00+00:00` and whatever else Python 3.11 takes (a date alone, basic forms, weeks, any separator, a
    /// comma, more than six digits of a fraction, which are cut); `Z` means UTC.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let zulu;
        let text = if text.contains('Z') {
            zulu = text.replace('Z', "+00:00");
            &zulu
        } else {
            text
        };
        Self::of(&fields(text)?)
    }

    /// A moment in UTC, microseconds below a million; none before the year 1 or behind 9999.
    #[must_use]
    pub fn utc(seconds: i64, micros: u32) -> Option<Self> {
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date_of(days)?;
        let clock = [second / 3600, second / 60 % 60, second % 60, i64::from(micros)];
        Self::of(&Fields { year, month, day, clock, offset: Some((0, 0)) })
    }

    fn of(fields: &Fields) -> Option<Self> {
        let Fields { year, month, day, clock: [hour, minute, second, micros], offset } = *fields;
        let well = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60
            && micros < 1_000_000;
        if !well {
            return None;
        }
        let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if micros > 0 {
            text.push_str(&format!(".{micros:06}"));
        }
        let (off, off_micros) = offset.unwrap_or_default();
        if (off.abs() * 1_000_000 + off_micros.abs()) >= 86_400 * 1_000_000 {
            return None;
        }
        if offset.is_some() {
            let (sign, size) = if off < 0 { ('-', -off) } else { ('+', off) };
            text.push_str(&format!("{sign}{:02}:{:02}", size / 3600, size / 60 % 60));
            if size % 60 > 0 || off_micros != 0 {
                text.push_str(&format!(":{:02}", size % 60));
            }
            if off_micros != 0 {
                text.push_str(&format!(".{:06}", off_micros.abs()));
            }
        }
        let local = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let all = (local - off) * 1_000_000 + micros - off_micros;
        let small = |n: i64| u8::try_from(n).ok();
        Some(Self {
            text,
            seconds: all.div_euclid(1_000_000),
            micros: u32::try_from(all.rem_euclid(1_000_000)).ok()?,
            day: (i32::try_from(year).ok()?, small(month)?, small(day)?),
        })
    }

    /// As Python's `isoformat` writes it: the offset as `+00:00`, microseconds only if there are any.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Seconds since 1970 in UTC and microseconds below a million. A time without an offset counts as UTC.
    #[must_use]
    pub fn instant(&self) -> (i64, u32) {
        (self.seconds, self.micros)
    }

    /// Year, month and day in the time's own offset.
    #[must_use]
    pub fn day(&self) -> (i32, u8, u8) {
        self.day
    }
}

impl fmt::Display for ObservedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text with a NUL behind its end, as the reader that is followed here sees it.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn at(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn number(self, from: usize, digits: usize) -> Option<i64> {
        (from..from + digits).try_fold(0, |sum, at| {
            let digit = self.at(at);
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    }
}

fn fields(text: &str) -> Option<Fields> {
    let bytes = Bytes(text.as_bytes());
    let len = text.len();
    if len < 7 {
        return None;
    }
    let date_ends = date_ends(bytes, len)?;
    let mut fields = Fields::default();
    date(bytes, date_ends, &mut fields)?;
    if len > date_ends {
        let separator = text[date_ends..].chars().next()?.len_utf8();
        time(bytes, date_ends + separator, len, &mut fields)?;
    }
    Some(fields)
}

/// Where the date ends: what follows is one character that parts it from the time.
fn date_ends(bytes: Bytes<'_>, len: usize) -> Option<usize> {
    Some(match (bytes.at(4), bytes.at(5)) {
        _ if len == 7 => 7,
        (b'-', b'W') if bytes.at(8) != b'-' => 8,
        (b'-', b'W') if len == 9 => return None,
        // A digit behind it: a week, a hyphen, a time.
        (b'-', b'W') if bytes.at(10).is_ascii_digit() => 8,
        (b'-', _) => 10,
        (b'W', _) => match (7..len).find(|at| !bytes.at(*at).is_ascii_digit()).unwrap_or(len) {
            digits @ ..9 => digits,
            digits if digits % 2 == 0 => 7,
            _ => 8,
        },
        _ => 8,
    })
}

fn date(bytes: Bytes<'_>, end: usize, fields: &mut Fields) -> Option<()> {
    fields.year = bytes.number(0, 4)?;
    let hyphen = usize::from(bytes.at(4) == b'-');
    let at = 4 + hyphen;
    if bytes.at(at) == b'W' {
        let week = bytes.number(at + 1, 2)?;
        let mut day = 1;
        if at + 3 < end {
            if hyphen == 1 && bytes.at(at + 3) != b'-' {
                return None;
            }
            day = bytes.number(at + 3 + hyphen, 1)?;
        }
        (fields.year, fields.month, fields.day) = week_date(fields.year, week, day)?;
        return Some(());
    }
    fields.month = bytes.number(at, 2)?;
    if hyphen == 1 && bytes.at(at + 2) != b'-' {
        return None;
    }
    fields.day = bytes.number(at + 2 + hyphen, 2)?;
    (at + 4 + hyphen == end).then_some(())
}

fn time(bytes: Bytes<'_>, from: usize, len: usize, fields: &mut Fields) -> Option<()> {
    let zone = (from..len).find(|at| matches!(bytes.at(*at), b'+' | b'-')).unwrap_or(len);
    let (clock, whole) = clock(bytes, from, zone)?;
    fields.clock = clock;
    if zone >= len {
        return whole.then_some(());
    }
    let ([hours, minutes, seconds, micros], whole) = self::clock(bytes, zone + 1, len)?;
    let sign = if bytes.at(zone) == b'-' { -1 } else { 1 };
    let seconds = hours * 3600 + minutes * 60 + seconds;
    // Without seconds the microseconds of an offset are nothing to Python.
    fields.offset = Some((sign * seconds, if seconds == 0 { 0 } else { sign * micros }));
    whole.then_some(())
}

/// `HH`, `HH:MM`, `HH:MM:SS`, with or without colons, and a fraction; and whether the text ends where it was read to.
fn clock(bytes: Bytes<'_>, from: usize, end: usize) -> Option<([i64; 4], bool)> {
    let mut clock = [0; 4];
    let (mut at, mut colons) = (from, true);
    for part in 0..3 {
        clock[part] = bytes.number(at, 2)?;
        let next = bytes.at(at + 2);
        at += 3;
        if part == 0 {
            colons = next == b':';
        }
        if at >= end {
            return Some((clock, next == 0));
        }
        match next {
            // Even behind the seconds: then a fraction follows.
            b':' if colons => {}
            // Even behind hours or minutes, of which it is no fraction.
            b'.' | b',' => break,
            _ if !colons => at -= 1,
            _ => return None,
        }
    }
    let digits = (end - at).min(6);
    clock[3] = bytes.number(at, digits)? * 10_i64.pow(6 - u32::try_from(digits).ok()?);
    at += digits;
    while bytes.at(at).is_ascii_digit() {
        at += 1;
    }
    Some((clock, bytes.at(at) == 0))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    before * 365 + before / 4 - before / 100 + before / 400 + months + day - 1 - 719_162
}

/// The date so many days behind 1970-01-01, from the year 1 to 9999.
fn date_of(days: i64) -> Option<(i64, i64, i64)> {
    if !(days_of(1, 1, 1)..=days_of(9999, 12, 31)).contains(&days) {
        return None;
    }
    // Not behind it, and a few years before it at most.
    let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    while days_of(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut rest = days - days_of(year, 1, 1);
    let mut month = 1;
    while rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    Some((year, month, rest + 1))
}

/// The date of a day in a week of ISO 8601.
fn week_date(year: i64, week: i64, day: i64) -> Option<(i64, i64, i64)> {
    if !(1..=9999).contains(&year) || !(1..=7).contains(&day) {
        return None;
    }
    let first = days_of(year, 1, 1);
    // 1970-01-01 was a Thursday: Monday is 0.
    let weekday = (first + 3).rem_euclid(7);
    let long = weekday == 3 || (weekday == 2 && is_leap(year));
    if !(1..=if long { 53 } else { 52 }).contains(&week) {
        return None;
    }
    let monday = first - weekday + if weekday > 3 { 7 } else { 0 };
    date_of(monday + (week - 1) * 7 + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts and what Python 3.11.7 reads in them: what it writes then, microseconds since 1970 in UTC, the day.
    const VECTORS: &str = include_str!("../../tests/data/records/time_vectors.jsonl");

    fn check(vectors: &str) -> usize {
        let mut read = 0;
        for line in vectors.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let found = ObservedAt::parse(vector["text"].as_str().unwrap());
            let found = found.map(|time| {
                let (year, month, day) = time.day();
                let micros = time.instant().0 * 1_000_000 + i64::from(time.instant().1);
                serde_json::json!([time.as_str(), micros, [year, month, day]])
            });
            assert_eq!(found.clone().unwrap_or_default(), vector["read"], "{line}");
            read += usize::from(found.is_some());
        }
        read
    }

    #[test]
    fn as_python_reads_and_writes() {
        assert_eq!((check(VECTORS), VECTORS.lines().count()), (425, 714));
    }

    #[test]
    fn moments() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00+00:00"),
            (-1, 999_999, "1969-12-31T23:59:59.999999+00:00"),
            (951_782_400, 0, "2000-02-29T00:00:00+00:00"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00+00:00"),
            (253_402_300_799, 1, "9999-12-31T23:59:59.000001+00:00"),
        ] {
            let time = ObservedAt::utc(seconds, micros).unwrap();
            assert_eq!(time.as_str(), text);
            assert_eq!(time.instant(), (seconds, micros));
            assert_eq!(ObservedAt::parse(text).unwrap(), time);
        }
        for seconds in [-62_135_596_801, 253_402_300_800, i64::MIN, i64::MAX] {
            assert_eq!(ObservedAt::utc(seconds, 0), None);
        }
        assert_eq!(ObservedAt::utc(0, 1_000_000), None);
    }
}
