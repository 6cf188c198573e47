//! The sightings of a pack of Larder's, made records again: an import decides anew which of them are further observations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archives::{Cursor, Sorter, Spill};
use crate::codec::{behind_member, line_members};
use crate::records::USUAL_END;

use super::dataset::SIGHTINGS;
use super::error::RecordsError;
use super::sighting::stated_hash;
use super::source::{RawRecord, Source};
use super::stage::SORT_MEMORY;

/// Records of a pack, and behind them its sightings, each with the content that it is of. What does not fit into memory meanwhile is in sealed
/// temporary files.
pub struct SeenAgain {
    pack: Box<dyn Source>,
    tmp: PathBuf,
    /// By hash: the record's line, and the sightings behind it, each with its number.
    lines: Option<Sorter>,
    /// The sightings as lines of records, each with its number in front.
    again: Spill,
    cursor: Cursor,
    file: Arc<str>,
}

impl std::fmt::Debug for SeenAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeenAgain")
    }
}

/// Of two lines of one hash the record's comes first.
const RECORD: u8 = 0;
const SIGHTING: u8 = 1;
/// A sighting of what is not there.
const LONELY: u8 = 2;

impl SeenAgain {
    /// Of a pack whose last file is its sightings.
    pub fn new(pack: impl Source + 'static, tmp: &Path) -> Self {
        Self {
            pack: Box::new(pack),
            tmp: tmp.to_owned(),
            lines: Some(Sorter::with_memory(tmp, SORT_MEMORY)),
            again: Spill::new(tmp, SORT_MEMORY),
            cursor: Cursor::default(),
            file: SIGHTINGS.into(),
        }
    }

    /// Brings sightings and contents together.
    fn join(&self, lines: Sorter) -> Result<Spill, RecordsError> {
        let mut again = Spill::new(&self.tmp, SORT_MEMORY);
        let sorted = lines.sorted();
        let mut merge = sorted.read().map_err(RecordsError::temporary)?;
        let mut record = Vec::new();
        while let Some((key, line)) = merge.next().map_err(RecordsError::temporary)? {
            let Some((hash_and_sort, number)) = key.split_last_chunk::<8>() else { continue };
            if hash_and_sort.last() == Some(&RECORD) {
                record = line.to_vec();
                continue;
            }
            // What has no record here, or is not as such lines are written, is told as the line that it is.
            let is_of_it = stated_hash(&record) == stated_hash(&line);
            let whole = if is_of_it { seen_again(&record, &line) } else { None };
            let sort = if is_of_it { RECORD } else { LONELY };
            let text = whole.as_deref().unwrap_or(&line);
            again.push(&[&number[..], &[sort], text].concat()).map_err(RecordsError::temporary)?;
        }
        Ok(again)
    }
}

impl Source for SeenAgain {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        while let Some(lines) = &mut self.lines {
            let Some(raw) = self.pack.next()? else {
                if let Some(lines) = self.lines.take() {
                    self.again = self.join(lines)?;
                }
                break;
            };
            let text = raw.text.as_deref().unwrap_or_default().trim_ascii();
            let Some(hash) = stated_hash(text) else { return Ok(Some(raw)) };
            let is_sighting = raw.file.rsplit('/').next() == Some(SIGHTINGS);
            let sort = if is_sighting { SIGHTING } else { RECORD };
            let key = [hash.as_bytes(), &[sort], &raw.line.to_be_bytes()].concat();
            lines.push(&key, text).map_err(RecordsError::temporary)?;
            if !is_sighting {
                return Ok(Some(raw));
            }
            self.file = raw.file;
        }
        let Some(packed) = self.again.next(&mut self.cursor).map_err(RecordsError::temporary)? else {
            return Ok(None);
        };
        let (number, text) = packed.split_first_chunk::<8>().ok_or(RecordsError::Died("a temporary file"))?;
        let line = u64::from_be_bytes(*number);
        let (text, fault) = match text.split_first() {
            Some((&LONELY, text)) => {
                (Some(text.to_vec()), Some("the record that it was of is not in the pack".to_owned()))
            }
            found => (found.map(|(_, text)| text.to_vec()), None),
        };
        Ok(Some(RawRecord { text, file: self.file.clone(), line, fault }))
    }
}

/// The line of a record as it would be if the sighting had come first.
pub(super) fn seen_again(record: &[u8], sighting: &[u8]) -> Option<Vec<u8>> {
    let [kind, source, entity, request, response] =
        line_members(record, ["exchange_type", "source_system", "entity_type", "request", "response"])?;
    let [hash, id, time, key, provenance] =
        line_members(sighting, ["content_sha256", "exchange_id", "observed_at_utc", "natural_key", "provenance"])?;
    let mut line = Vec::with_capacity(record.len() + sighting.len());
    for (name, value) in [
        ("{\"exchange_id\": ", id),
        (", \"exchange_type\": ", kind),
        (", \"source_system\": ", source),
        (", \"entity_type\": ", entity),
        (", \"natural_key\": ", key),
        (", \"request\": ", request),
        (", \"response\": ", response),
        (", \"observed_at_utc\": ", time),
        (", \"provenance\": ", provenance),
        (", \"content_sha256\": ", hash),
    ] {
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(value?);
    }
    let behind = behind_member(sighting, "provenance")?;
    line.extend_from_slice(if behind == b"}" { USUAL_END.as_bytes() } else { behind });
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::super::sighting::sighting_line;
    use super::*;
    use crate::records::Record;

    #[test]
    fn a_sighting_and_its_content_are_a_record() {
        let base = r#"{"exchange_type": "http", "source_system": "s", "entity_type": "e", "request": {"a": [1, "}"]}, "response": "x\n", "natural_key": "#;
        let first = Record::parse(format!(r#"{base}"é", "tags": ["t"]}}"#).as_bytes()).unwrap().line();
        for more in [
            "",
            r#", "provenance": {"host": "h"}"#,
            r#", "response_ref": "r", "z": {"n": NaN}"#,
            r#", "observed_at_utc": "2024-01-01""#,
        ] {
            let later = Record::parse(format!("{base}\"e\u{301}\", \"exchange_id\": \"id\"{more}}}").as_bytes())
                .unwrap()
                .line();
            let sighting = sighting_line(later.as_bytes()).unwrap();
            let again = seen_again(first.as_bytes(), &sighting).unwrap();
            assert_eq!(String::from_utf8(again).unwrap(), later);
        }
        assert_eq!(seen_again(first.as_bytes(), b"{}"), None);
    }
}
