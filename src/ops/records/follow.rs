//! Following a source along the lines that a dataset has: whoever imports again what was imported gives the same lines in the same order, and
//! a line that is equal to a stored one, byte for byte, need be neither read nor hashed.

use std::collections::HashMap;
use std::ops::Range;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::codec::digest;
use crate::model::Digest;
use crate::store::{Item, StoreError};
use crate::tree::{ContentPiece, Step, content_pieces};

use super::dataset::{Dataset, RECORDS, days_of, file_path, line_ranges};

/// Groups that are decoded ahead.
const AHEAD: usize = 8;

/// Where in a dataset's lines a source is. A thread of its own decodes ahead; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    groups: Receiver<Here>,
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
        let (to_follow, groups) = bounded(AHEAD);
        let dataset = dataset.clone();
        let decoding = std::thread::Builder::new().name("follow".to_owned());
        // Without the thread nothing is known here, and everything is read.
        let _started = decoding.spawn(move || {
            if let Err(e) = decode(&dataset, &to_follow) {
                log::debug!("the records of the dataset cannot be followed: {e}");
            }
        });
        Self { groups, here: None }
    }

    /// True if a text is a line that the dataset has, near where the source is.
    pub(super) fn knows(&mut self, text: &[u8]) -> bool {
        if self.here.as_ref().is_none_or(|here| here.at >= here.ranges.len()) {
            self.here = self.groups.recv().ok();
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

/// Gives the groups of all files, in the order in which they were written.
fn decode(dataset: &Dataset, to_follow: &Sender<Here>) -> Result<(), StoreError> {
    let pages = dataset.pages();
    for (number, day) in files(dataset)? {
        let Some(found) = pages.resolve(dataset.root(), &file_path(number, day))? else { continue };
        let Some(file) = found.entry.file() else { continue };
        let mut pieces = content_pieces(pages, file)?;
        while let Some(ContentPiece::Data { chunk, .. }) = pieces.next()? {
            let lines = pages.store().chunk(&chunk.id)?;
            let ranges = line_ranges(&lines);
            if to_follow.send(Here { lines, ranges, at: 0, places: None }).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Number and day of each file of records, in the order of the numbers.
pub(super) fn files(dataset: &Dataset) -> Result<Vec<(u64, i32)>, StoreError> {
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
