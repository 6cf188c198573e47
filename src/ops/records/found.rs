//! Records that are looked for: by what they say, and by what was said where their contents were seen again; by the begin of a hash.

use std::collections::HashSet;

use memchr::memmem;

use crate::codec::{line_members, member_text};
use crate::records::{ObservedAt, Record, RecordHash, RecordParser};
use crate::store::{Item, StoreError};

use super::dataset::{Dataset, checked};
use super::error::RecordsError;
use super::query::Query;
use super::seen_again::seen_again;
use super::sighting::stated_hash;
use super::walk::Lines;

/// Records that were looked for.
#[derive(Debug)]
pub struct FoundRecords {
    dataset: Dataset,
    lines: Lines,
    parser: RecordParser,
    query: Query,
    /// Hashes of contents of which a sighting may be what is looked for.
    seen: HashSet<RecordHash>,
}

impl Dataset {
    /// Looks for records, those of all versions. Where what is asked for is no content, further observations count too: of each content the first that fits is
    /// given, as the record that it was. Memory: a hash for each sighting that may fit.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn find(&self, query: Query) -> Result<FoundRecords, RecordsError> {
        let mut seen = HashSet::new();
        if query.asks_for_observations() && self.counts().sightings > 0 {
            let mut sightings = self.sighting_lines()?;
            while let Some(line) = sightings.next()? {
                if may_fit(&query, &line) {
                    seen.extend(stated_hash(&line).and_then(|hash| hash.parse::<RecordHash>().ok()));
                }
            }
        }
        Ok(FoundRecords { dataset: self.clone(), lines: self.lines()?, parser: RecordParser::of_stored(), query, seen })
    }

    /// The further observations of the content of a line, as the records that they were, in the order in which they came.
    ///
    /// # Errors
    /// If the store cannot be read, or one is not what it should be.
    pub fn seen_again(&self, line: &[u8], parser: &mut RecordParser) -> Result<Vec<(Record, Vec<u8>)>, RecordsError> {
        let damage = || RecordsError::damage("a line of sightings.ndjson", "it is not as such lines are written");
        let hash = stated_hash(line).and_then(|hash| hash.parse().ok()).ok_or_else(damage)?;
        let mut all = Vec::new();
        for sighting in self.sightings(&hash)? {
            let whole = seen_again(line, &sighting).ok_or_else(damage)?;
            all.push((checked(parser, &whole)?, whole));
        }
        Ok(all)
    }

    /// The lines of contents whose hashes, as text, begin so: three at most. A whole hash is looked up in the index. That has keyed hashes, of which the begin
    /// of one tells nothing: for it all lines are searched, as they are stored together and without reading any as JSON that has it not.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn by_hash_begin(&self, begin: &str) -> Result<Vec<Item>, StoreError> {
        if let Ok(hash) = begin.parse() {
            return Ok(self.by_hash(&hash)?.into_iter().collect());
        }
        // As lines have it; a content may have such a text too.
        let text = format!("\"content_sha256\": \"{begin}");
        let finder = memmem::Finder::new(&text);
        let (mut lines, mut found) = (self.lines()?, Vec::new());
        while let Some(group) = lines.next_group()? {
            let mut from = 0;
            while let Some(at) = finder.find(&group[from..]).map(|at| from + at) {
                let start = memchr::memrchr(b'\n', &group[from..at]).map_or(from, |end| from + end + 1);
                let end = memchr::memchr(b'\n', &group[at..]).map_or(group.len(), |end| at + end);
                if stated_hash(&group[start..end]).is_some_and(|hash| hash.starts_with(begin)) {
                    found.extend(group.clone().cut(start..end));
                }
                from = (end + 1).min(group.len());
            }
            if found.len() >= 3 {
                found.truncate(3);
                break;
            }
        }
        Ok(found)
    }
}

impl FoundRecords {
    /// The next one; nothing behind the last.
    ///
    /// # Errors
    /// If the store cannot be read, or a record is not what it should be.
    pub fn next(&mut self) -> Result<Option<Record>, RecordsError> {
        Ok(self.next_line()?.map(|(record, _)| record))
    }

    /// The same, with its line.
    ///
    /// # Errors
    /// As there.
    pub fn next_line(&mut self) -> Result<Option<(Record, Vec<u8>)>, RecordsError> {
        while let Some(line) = self.lines.next()? {
            let record = checked(&mut self.parser, &line)?;
            if self.query.fits(&record) {
                return Ok(Some((record, line.to_vec())));
            }
            if self.seen.contains(&record.content_sha256) {
                let again = self.dataset.seen_again(&line, &mut self.parser)?;
                if let Some(found) = again.into_iter().find(|(record, _)| self.query.fits(record)) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

/// False of a line of sightings that is not what is looked for, by its time and tags.
fn may_fit(query: &Query, sighting: &[u8]) -> bool {
    let Some([time, tags]) = line_members(sighting, ["observed_at_utc", "tags"]) else { return false };
    let time = time.and_then(member_text).as_deref().and_then(ObservedAt::parse);
    query.fits_time(time.as_ref()) && query.fits_tags(tags.unwrap_or(b"[]"))
}
