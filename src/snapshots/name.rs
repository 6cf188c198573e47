//! `latest`, `home~1`, `home@2024-01-15T10:30`, the first digits of an id: what snapshots are called.

use std::str::FromStr;

use crate::model::{DatasetName, Failure, Kind, Timestamp};

use super::when::{When, age_seconds, no_time_and_no_age};

/// Digits of an id that are enough to name a snapshot, if no other has them.
pub(super) const ID_DIGITS: usize = 4;

/// What the newest of all datasets is called.
const LATEST: &str = "latest";

/// What a user may call a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotName {
    /// The newest arrival of all, or the n-th before it.
    Latest(u64),
    /// Hexadecimal digits at the front of an id, at least 4; or the n-th before that one in its dataset.
    Prefix(String, u64),
    /// A dataset's newest, or the n-th before it.
    Back(DatasetName, u64),
    /// The newest of a dataset, or of all, that had arrived by then.
    At(Option<DatasetName>, Timestamp),
    /// The same, by so many seconds ago.
    Ago(Option<DatasetName>, i64),
}

/// A text that names no snapshot in any form.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} does not name a snapshot: {why}")]
pub struct InvalidSnapshotName {
    text: String,
    why: String,
}

impl Failure for InvalidSnapshotName {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(
            "a snapshot is an id or the first 4 digits or more of it, `latest` or DATASET, any of them with ~1 for the one before, or DATASET@TIME or latest@TIME, where TIME may be an age like 36h"
                .to_owned(),
        )
    }
}

impl FromStr for SnapshotName {
    type Err = InvalidSnapshotName;

    fn from_str(text: &str) -> Result<Self, InvalidSnapshotName> {
        let malformed =
            |why: &dyn std::fmt::Display| InvalidSnapshotName { text: text.to_owned(), why: why.to_string() };
        if let Some((_, path)) = text.split_once(':').filter(|(name, _)| !name.contains('@')) {
            return Err(malformed(&format!("a whole snapshot is wanted here, without the path {path:?}")));
        }
        let dataset = |name: &str| name.parse::<DatasetName>().map_err(|e| malformed(&e));
        if let Some((name, time)) = text.split_once('@') {
            let dataset = if name == LATEST { None } else { Some(dataset(name)?) };
            if let Some(seconds) = age_seconds(time) {
                return Ok(Self::Ago(dataset, seconds));
            }
            return Ok(Self::At(
                dataset,
                When::parse(time).map_err(|e| malformed(&no_time_and_no_age(time, &e)))?.last,
            ));
        }
        let (name, back) = match text.rsplit_once('~') {
            None => (text, 0),
            Some((name, back)) => {
                let digits = !back.is_empty() && back.bytes().all(|b| b.is_ascii_digit());
                let back = back.parse().ok().filter(|_| digits);
                (name, back.ok_or_else(|| malformed(&"behind ~ stands how many snapshots to go back"))?)
            }
        };
        if name == LATEST {
            return Ok(Self::Latest(back));
        }
        if name.len() >= ID_DIGITS && name.len() <= 64 && is_hex(name) {
            return Ok(Self::Prefix(name.to_ascii_lowercase(), back));
        }
        Ok(Self::Back(dataset(name)?, back))
    }
}

impl SnapshotName {
    /// Splits `SNAP[:PATH]` at the colon behind which a path begins; without one the path is empty. Times have colons too: the longest
    /// front that names a snapshot counts.
    ///
    /// # Errors
    /// If no front names one.
    pub fn with_path(text: &[u8]) -> Result<(Self, &[u8]), InvalidSnapshotName> {
        let named = |front: &[u8]| std::str::from_utf8(front).ok().and_then(|t| t.parse().ok());
        if let Some(name) = named(text) {
            return Ok((name, &[]));
        }
        let colons = text.iter().enumerate().rev().filter(|(_, b)| **b == b':').map(|(at, _)| at);
        for at in colons {
            if let Some(name) = named(&text[..at]) {
                return Ok((name, &text[at + 1..]));
            }
        }
        let front = String::from_utf8_lossy(text.split(|b| *b == b':').next().unwrap_or_default());
        front.parse::<Self>().and_then(|_| {
            let text = String::from_utf8_lossy(text).into_owned();
            Err(InvalidSnapshotName { text, why: "its front is not UTF-8".to_owned() })
        })
    }
}

pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        use SnapshotName::{Ago, Back, Latest, Prefix};
        let parse = |t: &str| t.parse::<SnapshotName>();
        let home = || "home".parse::<DatasetName>().unwrap();
        let cases = [
            ("latest", Latest(0)),
            ("latest~2", Latest(2)),
            ("BEEF", Prefix("beef".to_owned(), 0)),
            ("beef~1", Prefix("beef".to_owned(), 1)),
            ("home", Back(home(), 0)),
            ("home~2", Back(home(), 2)),
            ("abc", Back("abc".parse().unwrap(), 0)),
            ("home@36h", Ago(Some(home()), 129_600)),
            ("latest@36h", Ago(None, 129_600)),
        ];
        for (text, name) in cases {
            assert_eq!(parse(text).unwrap(), name, "{text}");
        }
        for bad in
            ["", "home~x", "home~+1", "a/b", "home@yesterday", ".x", "home~", "~1", "home@1y", "home@1h~1", "home~1~1"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn colons() {
        let path = |text: &'static str| SnapshotName::with_path(text.as_bytes()).map(|(_, path)| path);
        let cases = [
            ("latest", ""),
            ("latest:/etc", "/etc"),
            ("home:a:b", "a:b"),
            ("home@2024-01-15T10:30", ""),
            ("home@2024-01-15T10:30:/etc", "/etc"),
            ("home@1h:src/a", "src/a"),
            ("home~1:x", "x"),
        ];
        for (text, wanted) in cases {
            assert_eq!(path(text).unwrap(), wanted.as_bytes(), "{text}");
        }
        assert!(path("a/b:c").is_err() && path("").is_err());
        assert!(SnapshotName::with_path(b"\xff:x").is_err());
    }
}
