//! Following a source along the lines that a dataset has: whoever imports again what was imported gives the same lines in the same order, and
//! a line that is equal to a stored one, byte for byte, need be neither read nor hashed.

use std::collections::HashMap;
use std::ops::Range;

use crate::codec::digest;
use crate::model::Digest;
use crate::store::{Item, StoreError};
use crate::tree::{ContentPiece, ContentPieces, Step, content_pieces};

use super::dataset::{Dataset, RECORDS, days_of, file_path, line_ranges};

/// Where in a dataset's lines a source is.
#[derive(Debug)]
pub(super) struct Follower {
    dataset: Dataset,
    /// The files of records in the order in which they were written: number and day.
    files: std::vec::IntoIter<(u64, i32)>,
    file: Option<ContentPieces>,
    here: Option<Here>,
}

/// A group of lines.
#[derive(Debug)]
struct Here {
    lines: Item,
    ranges: Vec<Range<usize>>,
    /// The line that is due.
    at: usize,
    /// Where each line is, by its digest; made when the source leaves the order.
    places: Option<HashMap<Digest, usize>>,
}

impl Follower {
    /// At the first line. What cannot be read here is passed over: who needs it meets it again, and is told.
    pub(super) fn new(dataset: &Dataset) -> Self {
        let files = files(dataset).unwrap_or_default().into_iter();
        Self { dataset: dataset.clone(), files, file: None, here: None }
    }

    fn next_group(&mut self) -> Result<Option<Here>, StoreError> {
        loop {
            if let Some(pieces) = &mut self.file {
                if let Some(ContentPiece::Data { chunk, .. }) = pieces.next()? {
                    let lines = self.dataset.pages().store().chunk(&chunk.id)?;
                    let ranges = line_ranges(&lines);
                    return Ok(Some(Here { lines, ranges, at: 0, places: None }));
                }
                self.file = None;
            }
            let Some((number, day)) = self.files.next() else { return Ok(None) };
            let found = self.dataset.pages().resolve(self.dataset.root(), &file_path(number, day))?;
            let file = found.as_ref().and_then(|found| found.entry.file());
            self.file = file.map(|file| content_pieces(self.dataset.pages(), file)).transpose()?;
        }
    }

    /// True if a text is a line that the dataset has, near where the source is.
    pub(super) fn knows(&mut self, text: &[u8]) -> bool {
        if self.here.as_ref().is_none_or(|here| here.at >= here.ranges.len()) {
            self.here = self.next_group().ok().flatten();
        }
        let Some(here) = &mut self.here else { return false };
        if here.ranges.get(here.at).is_some_and(|range| &here.lines[range.clone()] == text) {
            here.at += 1;
            return true;
        }
        let (lines, ranges) = (&here.lines, &here.ranges);
        let places = here.places.get_or_insert_with(|| {
            ranges.iter().enumerate().map(|(at, range)| (digest(&lines[range.clone()]), at)).collect()
        });
        match places.get(&digest(text)) {
            Some(at) => {
                here.at = at + 1;
                true
            }
            None => false,
        }
    }
}

/// Number and day of each file of records, in the order of the numbers.
fn files(dataset: &Dataset) -> Result<Vec<(u64, i32)>, StoreError> {
    let mut files = Vec::new();
    let folder = dataset.pages().resolve(dataset.root(), RECORDS.as_bytes())?;
    let Some(tree) = folder.as_ref().and_then(|found| found.entry.folder()) else { return Ok(files) };
    let (mut walk, mut day) = (dataset.pages().walk(tree, 0)?, None);
    while let Some(step) = walk.next()? {
        let Step::Enter(found) = step else { continue };
        let name = String::from_utf8_lossy(found.entry.name.as_bytes()).into_owned();
        if found.entry.folder().is_some() {
            day = date(&name).map(days_of);
        } else if let (Some(day), Some(number)) =
            (day, name.strip_prefix("chunk-").and_then(|n| n.strip_suffix(".ndjson")))
        {
            files.extend(number.parse().ok().map(|number| (number, day)));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn date(name: &str) -> Option<(i32, u8, u8)> {
    let mut parts = name.split('-');
    let date = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(date)
}
