//! Times as people write them.

use jiff::civil::{Date, DateTime};

use crate::model::Timestamp;

/// The stretch of time that a text speaks of: a day, a minute, a second, or one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Its first moment.
    pub first: Timestamp,
    /// Its last.
    pub last: Timestamp,
}

/// The last nanosecond of a second.
const LAST_NANO: u32 = 999_999_999;

impl When {
    /// Reads a time: RFC 3339 with an offset, or without one for UTC; seconds or the clock time may be left out.
    ///
    /// # Errors
    /// If it is none of these; the text says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let moment = |t: jiff::Timestamp, nanos| Timestamp { seconds: t.as_second(), nanos };
        if let Ok(t) = text.parse::<jiff::Timestamp>() {
            let exact = moment(t, u32::try_from(t.subsec_nanosecond()).unwrap_or(0));
            return Ok(Self { first: exact, last: exact });
        }
        let why = |e: jiff::Error| e.to_string();
        // Days that there are dates for, though a zone might lead past them.
        let utc = |t: DateTime| -> Result<i64, String> {
            let days = t.date().since(Date::constant(1970, 1, 1)).map_err(why)?.get_days();
            let [hour, minute, second] = [t.hour(), t.minute(), t.second()].map(i64::from);
            Ok(i64::from(days) * 86_400 + hour * 3600 + minute * 60 + second)
        };
        let (start, seconds) = if text.len() > 10 {
            let start: DateTime = text.parse().map_err(why)?;
            (start, if text.matches(':').count() >= 2 { 1 } else { 60 })
        } else {
            let day: Date = text.parse().map_err(why)?;
            (day.at(0, 0, 0, 0), 86_400)
        };
        let nanos = u32::try_from(start.subsec_nanosecond()).unwrap_or(0);
        let first = Timestamp { seconds: utc(start)?, nanos };
        if text.contains('.') {
            return Ok(Self { first, last: first });
        }
        Ok(Self { first, last: Timestamp { seconds: first.seconds + seconds - 1, nanos: LAST_NANO } })
    }

    /// The same, or an age: how long before `now`, as `90s`, `30min`, `36h`, `7d` or `2w`.
    ///
    /// # Errors
    /// If it is neither; the text says what it could be.
    pub fn parse_or_age(text: &str, now: Timestamp) -> Result<Self, String> {
        if let Some(age) = age_seconds(text) {
            return at(text, now.seconds.checked_sub(age), now.nanos);
        }
        Self::parse(text).map_err(|e| no_time_and_no_age(text, &e))
    }

    /// The same, or how long after `now`.
    ///
    /// # Errors
    /// If it is neither; the text says what it could be.
    pub fn parse_or_ahead(text: &str, now: Timestamp) -> Result<Self, String> {
        if let Some(age) = age_seconds(text) {
            return at(text, now.seconds.checked_add(age), now.nanos);
        }
        Self::parse(text).map_err(|e| no_time_and_no_age(text, &e))
    }
}

/// A moment, if there is a date for it.
fn at(text: &str, seconds: Option<i64>, nanos: u32) -> Result<When, String> {
    let seconds = seconds.filter(|s| jiff::Timestamp::from_second(*s).is_ok());
    let moment = seconds.map(|seconds| Timestamp { seconds, nanos });
    let moment = moment.ok_or_else(|| format!("{text:?} leads past the years that there are dates for"))?;
    Ok(When { first: moment, last: moment })
}

/// What is wrong with a text that is neither, where `why` it is no time.
pub(super) fn no_time_and_no_age(text: &str, why: &str) -> String {
    let neither = format!(
        "{text:?} is no time like 2024-01-15, 2024-01-15T10:30 or 2024-01-15T10:30:00+02:00, and no age like 36h, 7d or 2w"
    );
    // Of what was meant as an age the reader of times has nothing to say that helps.
    match text.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) if number.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            format!("{neither}; units of age are s, min, h, d and w")
        }
        _ => format!("{neither}: {why}"),
    }
}

/// The seconds of an age, as `90s`, `30min`, `36h`, `7d` or `2w`; nothing if the text is none.
#[must_use]
pub fn age_seconds(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 5] = [("min", 60), ("s", 1), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400)];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok()?.checked_mul(*seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("2024-01-15T10:30:00Z", (1_705_314_600, 0), (1_705_314_600, 0)),
            ("2024-01-15T10:30:00+02:00", (1_705_307_400, 0), (1_705_307_400, 0)),
            ("2024-01-15T10:30", (1_705_314_600, 0), (1_705_314_659, LAST_NANO)),
            ("2024-01-15T10:30:05", (1_705_314_605, 0), (1_705_314_605, LAST_NANO)),
            ("2024-01-15T10:30:05.5", (1_705_314_605, 500_000_000), (1_705_314_605, 500_000_000)),
            ("2024-01-15", (1_705_276_800, 0), (1_705_363_199, LAST_NANO)),
            ("9999-12-31", (253_402_214_400, 0), (253_402_300_799, LAST_NANO)),
            ("0001-01-01", (-62_135_596_800, 0), (-62_135_510_401, LAST_NANO)),
            ("1969-12-31T23:59:59.25", (-1, 250_000_000), (-1, 250_000_000)),
        ];
        for (text, first, last) in cases {
            let when = When::parse(text).unwrap();
            assert_eq!((when.first.seconds, when.first.nanos), first, "{text}");
            assert_eq!((when.last.seconds, when.last.nanos), last, "{text}");
        }
    }

    #[test]
    fn ages() {
        let now = Timestamp { seconds: 1_000_000_000, nanos: 7 };
        let before = |text| now.seconds - When::parse_or_age(text, now).unwrap().first.seconds;
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("30min", 1800), ("36h", 129_600), ("7d", 604_800), ("2w", 1_209_600)]
        {
            assert_eq!(before(text), seconds, "{text}");
        }
        let ahead = When::parse_or_ahead("7d", now).unwrap().last;
        assert_eq!((ahead.seconds - now.seconds, ahead.nanos), (604_800, 7));
        for far in ["99999999w", "9999999999999d"] {
            assert!(When::parse_or_ahead(far, now).unwrap_err().contains("dates"), "{far}");
            assert!(When::parse_or_age(far, now).unwrap_err().contains("dates"), "{far}");
        }
        assert!(When::parse_or_age("1m", now).unwrap_err().ends_with("s, min, h, d and w"));
        for bad in ["", "d", "7", "7m", "-7d", "7 d", "99999999999999999999d", "9223372036854775807w", "yesterday"] {
            assert!(When::parse_or_age(bad, now).is_err(), "{bad}");
        }
    }
}
