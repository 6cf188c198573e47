//! The index of a pack held against its records: it alone tells, in a pack of the system that the form comes from, that some are missing.

use std::collections::HashMap;

use crate::records::json::{Json, parse};

use super::error::RecordsError;
use super::source::{RawRecord, Source};

/// What an index lists and what has come of it, in any order. Memory: some 40 bytes for each.
#[derive(Debug, Default)]
pub struct Listed(HashMap<[u8; 16], State>);

#[derive(Debug, Clone, Copy)]
enum State {
    /// In that line of the index; the record has not come.
    Listed(u64),
    Come,
}

/// The hash that a text begins with, half of it.
fn half(text: &[u8]) -> Option<[u8; 16]> {
    let digits = std::str::from_utf8(text.get(..64)?).ok()?;
    let whole = digits.parse::<crate::records::RecordHash>().ok()?;
    whole.as_bytes().first_chunk().copied()
}

impl Listed {
    /// Takes a line of the index.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn index_line(&mut self, number: u64, line: &[u8]) -> Result<(), String> {
        let json = parse(line).map_err(|e| format!("it is no JSON: {}", e.on_one_line()))?;
        let hash = json.get("h").and_then(Json::text).and_then(|hash| half(hash.as_bytes()));
        let hash = hash.ok_or("it is no line of an index: there is no hash in it")?;
        self.0.entry(hash).or_insert(State::Listed(number));
        Ok(())
    }

    /// Takes a line of records: whatever it names as a hash has come.
    pub fn record_line(&mut self, line: &[u8]) {
        const NAME: &[u8] = b"\"content_sha256\"";
        for at in memchr::memmem::find_iter(line, NAME) {
            let behind = line[at + NAME.len()..].trim_ascii_start();
            let text =
                behind.strip_prefix(b":").map(<[u8]>::trim_ascii_start).and_then(|text| text.strip_prefix(b"\""));
            if let Some(hash) = text.and_then(half) {
                self.0.insert(hash, State::Come);
            }
        }
    }

    /// The lines of the index whose records have not come.
    #[must_use]
    pub fn missing(self) -> Vec<u64> {
        let lines =
            self.0.into_values().filter_map(|state| if let State::Listed(line) = state { Some(line) } else { None });
        let mut lines: Vec<_> = lines.collect();
        lines.sort_unstable();
        lines
    }
}

/// Why such a line is told.
pub const MISSING: &str = "the record that it lists is not in the pack";

/// A pack whose first file is its index, without it: what is missing comes behind all others, as faults.
#[derive(Debug)]
pub struct Indexed<S> {
    pack: S,
    listed: Option<Listed>,
    index: std::sync::Arc<str>,
    missing: std::vec::IntoIter<u64>,
}

impl<S: Source> Indexed<S> {
    /// Of such a pack.
    pub fn new(pack: S) -> Self {
        Self {
            pack,
            listed: Some(Listed::default()),
            index: super::dataset::INDEX.into(),
            missing: Vec::new().into_iter(),
        }
    }
}

impl<S: Source> Source for Indexed<S> {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        while let Some(listed) = &mut self.listed {
            let Some(raw) = self.pack.next()? else {
                self.missing = self.listed.take().unwrap_or_default().missing().into_iter();
                break;
            };
            let text = raw.text.as_deref().unwrap_or_default();
            let name = raw.file.rsplit('/').next();
            if name == Some(super::dataset::INDEX) {
                self.index = raw.file.clone();
                if let Err(why) = listed.index_line(raw.line, text) {
                    return Ok(Some(RawRecord { fault: Some(why), ..raw }));
                }
                continue;
            }
            if name != Some(super::dataset::SIGHTINGS) {
                listed.record_line(text);
            }
            return Ok(Some(raw));
        }
        let missing = self.missing.next();
        Ok(missing.map(|line| RawRecord {
            text: None,
            file: self.index.clone(),
            line,
            fault: Some(MISSING.to_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_index_lists() {
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
        let mut listed = Listed::default();
        listed.record_line(format!("{{\"content_sha256\": \"{a}\"}}").as_bytes());
        for (n, hash) in [(1, &a), (2, &b), (3, &c), (4, &b)] {
            listed.index_line(n, format!("{{\"h\": \"{hash}\"}}").as_bytes()).unwrap();
        }
        listed.record_line(format!("{{\"x\": {{\"content_sha256\": 1}}, \"content_sha256\":\"{c}\"}}").as_bytes());
        for bad in ["", "{}", "rubbish", "{\"h\": 1}", "{\"h\": \"abc\"}"] {
            assert!(listed.index_line(9, bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(listed.missing(), [2]);
    }
}
