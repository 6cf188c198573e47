//! An evidence item, reduced to what its checks need.

use crate::records::Link;
use crate::records::json::{Json, parse};

use super::rows::Rows;
use super::shown::short;

/// Digits of a SHA-256: no hash of a chain is longer.
const HASH_DIGITS: usize = 64;

/// An item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Its place in the chain.
    pub(super) link: Link,
    /// Whether it states its number.
    pub(super) has_seq: bool,
    /// What it is; nothing if it does not say.
    pub(super) kind: Option<String>,
    /// The rows that stand in it, not in its content.
    pub(super) rows: Option<Rows>,
}

impl Item {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        Self::of(&parse(bytes).map_err(|e| e.to_string())?)
    }

    /// Reduces one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn of(json: &Json) -> Result<Self, String> {
        let mut link = Link::of(json).map_err(|e| short(&e))?;
        for (name, hash) in [("prev_hash", &mut link.prev_hash), ("content_hash", &mut link.content_hash)] {
            if hash.as_ref().is_some_and(|hash| hash.len() > HASH_DIGITS) {
                return Err(format!("{name} is longer than any hash"));
            }
            // The older system takes an empty one for none.
            *hash = hash.take().filter(|hash| !hash.is_empty());
        }
        let kind = match json.get("kind") {
            None | Some(Json::Null) => None,
            Some(Json::Text(kind)) => Some(short(kind)),
            Some(_) => return Err("kind is not text".to_owned()),
        };
        let rows = json.get("sample_rows").and_then(Rows::of).filter(|rows| rows.count > 0);
        Ok(Self { link, has_seq: json.get("seq").is_some(), kind, rows })
    }
}

/// The file that an item of such a number and kind stands in, as the older system names it.
pub(super) fn file_name(seq: u64, kind: &str) -> String {
    format!("{seq:03}-{kind}.json")
}

/// The number that the name of a file of `evidence/` begins with, and what stands behind it: `007-hypothesis.json`.
pub(super) fn numbered(name: &str) -> Option<(u64, &str)> {
    let (digits, rest) = name.split_once('-')?;
    let number = digits.parse().ok().filter(|_| digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some((number, rest))
}

/// The files below `evidence/` that the older system reads as items.
pub(super) fn is_item(name: &str) -> bool {
    // As it was read: by its very letters.
    name.strip_suffix(".json").is_some() && !name.contains("-results.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(numbered("007-hypothesis.json"), Some((7, "hypothesis.json")));
        assert_eq!(numbered("1000-results.parquet"), Some((1000, "results.parquet")));
        for none in ["7-x.json", "x.json", "+07-x.json", "-001.json", "99999999999999999999-x.json"] {
            assert_eq!(numbered(none), None, "{none}");
        }
        assert_eq!(file_name(7, "unknown"), "007-unknown.json");
        assert_eq!(file_name(12345, "x"), "12345-x.json");
    }

    #[test]
    fn what_is_read() {
        let item = Item::read(br#"{"seq": 2, "kind": "query_result", "content_hash": "", "sample_rows": [{"a": 1}]}"#);
        let item = item.unwrap();
        assert!(item.has_seq && item.link.content_hash.is_none() && item.rows.is_some_and(|rows| rows.count == 1));
        let bare = Item::read(b"{}").unwrap();
        assert!(!bare.has_seq && bare.kind.is_none() && bare.link.seq == 0);
        for (text, why) in [
            ("[1,2]", "no object"),
            ("{", "ends"),
            (r#"{"kind": 1}"#, "kind"),
            (&format!(r#"{{"content_hash": "{}"}}"#, "a".repeat(65)), "longer"),
        ] {
            assert!(Item::read(text.as_bytes()).unwrap_err().contains(why), "{text}");
        }
    }
}
