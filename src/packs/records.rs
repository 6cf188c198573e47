//! Records of a pack, held against the hashes that they state, as their files go by.

use std::collections::HashMap;
use std::io;

use crate::archives::{Content, Member, Part, printable};
use crate::ops::records::{Listed, MISSING, RecordMember, record_member};
use crate::records::tape::Limits;
use crate::records::{DatasetManifest, RecordParser, Verified};

/// Bytes of a line or manifest at most.
const MOST: usize = 64 << 20;
/// Faults that are kept.
const FAULTS_MAX: usize = 1000;

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordsCompared {
    /// Records whose hash is that of their content.
    pub right: u64,
    /// Records that another system has redacted, which keeps the hash of what was there before: nobody can compute that again.
    pub redacted_before: u64,
}

/// What has gone by.
#[derive(Debug)]
pub(super) struct Compare {
    parser: RecordParser,
    found: RecordsCompared,
    is_dataset: bool,
    /// By the folder that an index lies in.
    listed: HashMap<Vec<u8>, (String, Listed)>,
    faults: Vec<(String, String)>,
    fault_count: u64,
}

/// Records of a pack that are not as they should be, each with where it stands, and how many there are.
pub(super) type Faults = (Vec<(String, String)>, u64);

impl Default for Compare {
    fn default() -> Self {
        // However deep it is: a record that was let in is one.
        let parser = RecordParser::new(Limits { depth: usize::MAX, ..Limits::default() });
        let (faults, listed) = (Vec::new(), HashMap::new());
        Self { parser, found: RecordsCompared::default(), is_dataset: false, listed, faults, fault_count: 0 }
    }
}

impl Compare {
    /// What came of it, and the faults; nothing if it was no pack of records.
    pub(super) fn finish(mut self) -> Option<(RecordsCompared, Faults)> {
        for (_, (path, listed)) in std::mem::take(&mut self.listed) {
            // Nothing was told to be an index there.
            let missing = if path.is_empty() { Vec::new() } else { listed.missing() };
            missing.into_iter().for_each(|line| self.fault(format!("{path}:{line}"), MISSING.to_owned()));
        }
        self.is_dataset.then_some((self.found, (self.faults, self.fault_count)))
    }

    /// A content that is looked at as it is read.
    pub(super) fn watched<'a>(&'a mut self, member: &Member, content: &'a mut dyn Content) -> Reading<'a> {
        let sort = record_member(member);
        let path = if sort.is_some() { printable(&member.path) } else { String::new() };
        let folder = if sort.is_some() { folder_of(&member.path) } else { Vec::new() };
        Reading { compare: self, content, sort, path, folder, begun: Vec::new(), is_long: false, line: 0 }
    }

    fn fault(&mut self, place: String, why: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((place, why));
        }
    }

    /// A line of an index, or of records.
    fn line(&mut self, reading: (&str, &[u8], Option<RecordMember>), number: u64, line: Option<&[u8]>) {
        let (path, folder, sort) = reading;
        let (index, listed) = self.listed.entry(folder.to_vec()).or_default();
        if sort == Some(RecordMember::Index) {
            path.clone_into(index);
            if let Err(why) = listed.index_line(number, line.unwrap_or_default()) {
                self.fault(format!("{path}:{number}"), why);
            }
            return;
        }
        listed.record_line(line.unwrap_or_default());
        let why = match line.map(|line| self.parser.read(line)) {
            None => format!("it is longer than the {} MiB that a record may have", MOST >> 20),
            Some(Err(e)) => e.to_string(),
            Some(Ok(record)) => match record.verified() {
                Verified::Same => return self.found.right += 1,
                Verified::RedactedBefore(_) => return self.found.redacted_before += 1,
                Verified::New => "content_sha256 is missing".to_owned(),
            },
        };
        self.fault(format!("{path}:{number}"), why);
    }
}

/// The folder of a pack that a file of it is in.
fn folder_of(path: &[u8]) -> Vec<u8> {
    let names: Vec<_> = path.split(|b| *b == b'/').collect();
    let records = names.iter().position(|name| *name == b"records").unwrap_or(names.len() - 1);
    names[..records].join(&b'/')
}

/// A content whose lines are compared as they go by.
pub(super) struct Reading<'a> {
    compare: &'a mut Compare,
    content: &'a mut dyn Content,
    sort: Option<RecordMember>,
    path: String,
    folder: Vec<u8>,
    /// What has begun and not ended.
    begun: Vec<u8>,
    is_long: bool,
    line: u64,
}

impl Reading<'_> {
    fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) =
            memchr::memchr(b'\n', rest).filter(|_| matches!(self.sort, Some(RecordMember::Lines | RecordMember::Index)))
        {
            self.push(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.push(rest);
    }

    fn push(&mut self, bytes: &[u8]) {
        self.is_long |= self.begun.len() + bytes.len() > MOST;
        if self.is_long {
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        self.line += 1;
        let line = self.begun.trim_ascii();
        let line = if self.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if self.is_long || !line.is_empty() {
            let reading = (&*self.path, &*self.folder, self.sort);
            self.compare.line(reading, self.line, (!self.is_long).then_some(line));
        }
        self.begun.clear();
        self.is_long = false;
    }
}

impl Content for Reading<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        let start = buffer.len();
        let part = self.content.next(buffer)?;
        if self.sort.is_none() {
            return Ok(part);
        }
        self.take(&buffer[start..]);
        match part {
            Part::Data => {}
            // Zeros are no JSON: some of them are enough to be told.
            Part::Hole(_) => self.push(&[0]),
            Part::End => {
                match self.sort {
                    Some(RecordMember::Manifest) => {
                        self.compare.is_dataset |= DatasetManifest::parse(&self.begun).is_ok();
                    }
                    Some(RecordMember::Lines | RecordMember::Index) if !self.begun.is_empty() || self.is_long => {
                        self.end_line();
                    }
                    _ => {}
                }
                self.sort = None;
            }
        }
        Ok(part)
    }
}
