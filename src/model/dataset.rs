//! Names of datasets.

use std::fmt;
use std::str::FromStr;

/// The name of a dataset: a series of snapshots. Validated when made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetName(String);

/// Why a text is not a dataset's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be a dataset's name: {why}")]
pub struct InvalidDatasetName {
    name: String,
    why: &'static str,
}

impl DatasetName {
    /// Longest name in bytes.
    pub const MAX: usize = 255;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A valid name made from any text: characters that are not allowed become `_`.
    /// Gives `fallback` where nothing usable is left.
    #[must_use]
    pub fn coerce(text: &str, fallback: &str) -> Self {
        let mut name: String = text.chars().map(|c| if forbidden(c) { '_' } else { c }).collect();
        while name.len() > Self::MAX {
            name.pop();
        }
        let name = name.trim_start_matches(['.', '-']).to_owned();
        let name = if snapshot_like(&name) { format!("{name}_") } else { name };
        name.parse().unwrap_or_else(|_| Self(fallback.to_owned()))
    }
}

fn forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '/' | ':' | '@' | '~' | '#')
}

fn snapshot_like(text: &str) -> bool {
    text == "latest" || (text.len() >= 4 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl FromStr for DatasetName {
    type Err = InvalidDatasetName;
    fn from_str(text: &str) -> Result<Self, InvalidDatasetName> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > Self::MAX {
            "it is longer than 255 bytes"
        } else if text.chars().any(forbidden) {
            "it holds a control character or one of / : @ ~ #"
        } else if text.starts_with(['.', '-']) {
            "it begins with . or -"
        } else if snapshot_like(text) {
            "it could be taken for a snapshot (latest, or four or more hexadecimal digits alone)"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(InvalidDatasetName { name: text.to_owned(), why })
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["home", "linux-6.1", "abc", "zzzz", "data set", "ünï"] {
            assert!(good.parse::<DatasetName>().is_ok(), "{good}");
        }
        for bad in ["", "latest", "beef", "0123", "a/b", "a:b", "a@b", "a~1", "a#b", ".x", "-x", "a\nb"] {
            assert!(bad.parse::<DatasetName>().is_err(), "{bad}");
            assert!(DatasetName::coerce(bad, "default").as_str().parse::<DatasetName>().is_ok(), "{bad}");
        }
        assert_eq!(DatasetName::coerce("cafe", "default").as_str(), "cafe_");
        assert_eq!(DatasetName::coerce("..", "default").as_str(), "default");
    }
}
