//! A pack in an archive: its manifest, and its lines in the order of the paths of their files, whatever the order of the members.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::archives::{
    ArchiveError, Content, Cursor, Limits, Member, MemberKind, Opened, Part, ReadSeek, Sorter, Spill, read,
};
use crate::model::{Failure, Kind};
use crate::records::DatasetManifest;

use super::dataset::{INDEX, MANIFEST, RECORDS, SIGHTINGS};
use super::error::RecordsError;
use super::source::{RawRecord, Source};
use super::stage::SORT_MEMORY;

/// Bytes of a manifest at most.
const MANIFEST_MAX: usize = 16 << 20;
/// Bytes of a line at most.
const LINE_MAX: usize = 64 << 20;

/// Why a pack cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A temporary file, or what is in the archive.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// There are no records in it.
    #[error("it is no pack of records: there is no file in it whose path is records/…/*.ndjson")]
    NoPack,
    /// There are more than fit into one.
    #[error("there are several datasets in it: {0}")]
    Several(String),
}

impl Failure for PackError {
    fn kind(&self) -> Kind {
        match self {
            Self::Archive(e) => e.kind(),
            Self::Records(e) => e.kind(),
            Self::NoPack | Self::Several(_) => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(e) => e.hint(),
            Self::Records(e) => e.hint(),
            Self::NoPack => None,
            Self::Several(_) => Some("unpack it (`larder unpack`), and import the folder of each".to_owned()),
        }
    }
}

/// The lines of a pack, sorted; what does not fit into memory is in a sealed temporary file.
#[derive(Debug)]
pub struct PackLines {
    lines: Spill,
    seen_again: bool,
    cursor: Cursor,
    file: Arc<str>,
}

/// Reads a pack from an archive: its lines, and its manifest if it has one.
///
/// # Errors
/// If the archive is damaged or hostile, or no pack.
pub fn pack_lines(opened: Opened, limits: &Limits, tmp: &Path) -> Result<(PackLines, Option<Vec<u8>>), PackError> {
    let mut sorter = Sorter::with_memory(tmp, SORT_MEMORY);
    let (mut manifest, mut found, mut seen_again) = (None, false, false);
    let mut names = BTreeSet::new();
    read::<PackError>(opened, limits, &mut |member, content| {
        match what(&member) {
            // A pack of Larder's has one of its own in front.
            Some(What::Manifest) => {
                let bytes = whole(content)?;
                names.extend(
                    bytes
                        .as_deref()
                        .and_then(|bytes| DatasetManifest::parse(bytes).ok())
                        .map(|found| found.dataset_name),
                );
                if !manifest.as_deref().is_some_and(is_dataset) {
                    manifest = bytes.or(manifest.take());
                }
            }
            // Its path comes before those of the records.
            Some(What::Index) => lines(&member.path, content, &mut sorter)?,
            Some(What::Lines) => {
                found = true;
                lines(&member.path, content, &mut sorter)?;
            }
            // Its path comes behind those of the records.
            Some(What::Sightings) => {
                seen_again = true;
                lines(&member.path, content, &mut sorter)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    if !found && manifest.is_none() {
        return Err(PackError::NoPack);
    }
    if names.len() > 1 {
        return Err(PackError::Several(names.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let sorted = sorter.sorted();
    let mut merge = sorted.read().map_err(RecordsError::temporary)?;
    let mut spill = Spill::new(tmp, SORT_MEMORY);
    while let Some((key, line)) = merge.next().map_err(RecordsError::temporary)? {
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes();
        spill.push(&[&len[..], &key, &line].concat()).map_err(RecordsError::temporary)?;
    }
    Ok((PackLines { lines: spill, seen_again, cursor: Cursor::default(), file: "".into() }, manifest))
}

impl PackLines {
    /// True if its last lines are sightings: [`super::SeenAgain`] makes records of them.
    #[must_use]
    pub fn has_sightings(&self) -> bool {
        self.seen_again
    }
}

/// A zip that is lent to who looks into it.
struct Lent(Arc<Mutex<Box<dyn ReadSeek>>>);

impl Lent {
    fn zip(&self) -> MutexGuard<'_, Box<dyn ReadSeek>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.zip().read(buffer)
    }
}

impl Seek for Lent {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.zip().seek(to)
    }
}

/// Tells whether the manifest of a dataset is among the first members of a zip, or behind others of a pack. Gives the zip back. Other archives, which can be read once, are
/// not looked at; what is wrong with a zip is not told.
#[must_use]
pub fn holds_dataset(opened: Opened, limits: &Limits, members: usize) -> (Opened, bool) {
    let Opened::Zip(zip) = opened else { return (opened, false) };
    let zip = Arc::new(Mutex::new(zip));
    let found = has_manifest(Opened::Zip(Box::new(Lent(zip.clone()))), limits, members);
    let mut zip = Lent(zip);
    // If it cannot be read from its start again, reading it tells.
    let _ = zip.rewind();
    (Opened::Zip(Box::new(zip)), found)
}

fn has_manifest(opened: Opened, limits: &Limits, members: usize) -> bool {
    let (mut seen, mut found) = (0, false);
    let _stopped = read::<PackError>(opened, limits, &mut |member, content| {
        seen += 1;
        // In a pack of Larder's it stands deeper: that one is proved as a whole by whoever imports it.
        let is_near = member.path.split(|b| *b == b'/').count() <= 2;
        if let (true, Some(What::Manifest)) = (is_near, what(&member)) {
            found = whole(content)?.is_some_and(|bytes| is_dataset(&bytes));
        }
        // Files of a pack may stand in front of its manifest, however many they are. To end here is to end with an error.
        let may_come = seen < members || is_of_pack(&member);
        if found || !may_come { Err(PackError::NoPack) } else { Ok(()) }
    });
    found
}

/// A file of a pack that whoever compares hashes looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordMember {
    /// It may be the manifest of a dataset.
    Manifest,
    /// It has a record a line.
    Lines,
    /// It lists them.
    Index,
}

/// What a member is, if it is one of those.
#[must_use]
pub fn record_member(member: &Member) -> Option<RecordMember> {
    match what(member)? {
        What::Manifest => Some(RecordMember::Manifest),
        What::Lines => Some(RecordMember::Lines),
        What::Index => Some(RecordMember::Index),
        What::Sightings => None,
    }
}

enum What {
    Manifest,
    Lines,
    Index,
    Sightings,
}

/// True of what a pack has beside its manifest.
fn is_of_pack(member: &Member) -> bool {
    let name = member.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let is_folder = !matches!(member.kind, MemberKind::File { .. });
    is_folder || what(member).is_some() || name == b"_pack_meta.json"
}

fn is_dataset(manifest: &[u8]) -> bool {
    DatasetManifest::parse(manifest).is_ok()
}

/// What a member is in a pack, which may be in a folder of its own, or in one of Larder's.
fn what(member: &Member) -> Option<What> {
    if !matches!(member.kind, MemberKind::File { .. }) {
        return None;
    }
    let mut names: Vec<&[u8]> = member.path.split(|b| *b == b'/').collect();
    if names.len() > 2 && names[1] == b"content" {
        names.remove(1);
    }
    let at = names.iter().position(|name| *name == RECORDS.as_bytes());
    match (at, names.last()) {
        (Some(0 | 1), Some(last)) if last.ends_with(b".ndjson") => Some(What::Lines),
        (_, Some(last)) if *last == MANIFEST.as_bytes() && names.len() <= 2 => Some(What::Manifest),
        (_, Some(last)) if *last == INDEX.as_bytes() && names.len() <= 2 => Some(What::Index),
        (_, Some(last)) if *last == SIGHTINGS.as_bytes() && names.len() <= 2 => Some(What::Sightings),
        _ => None,
    }
}

fn next(content: &mut dyn Content, buffer: &mut Vec<u8>) -> Result<bool, PackError> {
    match content.next(buffer).map_err(ArchiveError::from)? {
        Part::Data => Ok(true),
        Part::Hole(len) => {
            // Zeros are no JSON: some of them are enough to be told.
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(16);
            buffer.resize(buffer.len() + len, 0);
            Ok(true)
        }
        Part::End => Ok(false),
    }
}

/// The bytes of a manifest; nothing of one that is longer than one of a dataset can be.
fn whole(content: &mut dyn Content) -> Result<Option<Vec<u8>>, PackError> {
    let mut bytes = Vec::new();
    while next(content, &mut bytes)? {
        if bytes.len() > MANIFEST_MAX {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

fn lines(path: &[u8], content: &mut dyn Content, sorter: &mut Sorter) -> Result<(), PackError> {
    let (mut buffer, mut number, mut is_long) = (Vec::new(), 0u64, false);
    let mut take = |line: &[u8], is_long: bool| {
        number += 1;
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.trim_ascii().is_empty() && !is_long {
            return Ok(());
        }
        let key = [path, &[0], &number.to_be_bytes()].concat();
        // Of what is too long nothing is kept but that it was there.
        sorter.push(&key, if is_long { b"" } else { line }).map_err(RecordsError::temporary)
    };
    loop {
        let mut searched = buffer.len();
        let more = next(content, &mut buffer)?;
        let mut at = 0;
        while let Some(end) = buffer[searched..].iter().position(|b| *b == b'\n').map(|end| searched + end) {
            take(&buffer[at..end], is_long || end - at > LINE_MAX)?;
            (at, searched, is_long) = (end + 1, end + 1, false);
        }
        buffer.drain(..at);
        if !more {
            return if buffer.is_empty() && !is_long { Ok(()) } else { Ok(take(&buffer, is_long)?) };
        }
        if buffer.len() > LINE_MAX {
            is_long = true;
            buffer.clear();
        }
    }
}

impl Source for PackLines {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        let Some(packed) = self.lines.next(&mut self.cursor).map_err(RecordsError::temporary)? else { return Ok(None) };
        let parted = packed.split_first_chunk::<4>().and_then(|(len, rest)| {
            let (key, line) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            let (path, number) = key.split_last_chunk::<8>()?;
            Some((path.strip_suffix(&[0])?, u64::from_be_bytes(*number), line))
        });
        let (path, line, text) = parted.ok_or(RecordsError::Died("a temporary file"))?;
        if self.file.as_bytes() != path {
            self.file = String::from_utf8_lossy(path).into();
        }
        let text = (!text.is_empty()).then(|| text.to_vec());
        Ok(Some(RawRecord { text, file: self.file.clone(), line, fault: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of a content, one after the other.
    struct Parts(Vec<Vec<u8>>);

    impl Content for Parts {
        fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Part, io::Error> {
            if self.0.is_empty() {
                return Ok(Part::End);
            }
            buffer.extend(self.0.remove(0));
            Ok(Part::Data)
        }
    }

    #[test]
    fn lines_of_a_member() {
        let read = |parts: &[&[u8]]| {
            let mut sorter = Sorter::with_memory(Path::new("/tmp"), 1 << 20);
            lines(b"f", &mut Parts(parts.iter().map(|part| part.to_vec()).collect()), &mut sorter).unwrap();
            let sorted = sorter.sorted();
            let (mut merge, mut found) = (sorted.read().unwrap(), Vec::new());
            while let Some((key, line)) = merge.next().unwrap() {
                found.push((key[key.len() - 1], String::from_utf8(line.to_vec()).unwrap()));
            }
            found
        };
        let wanted = |list: &[(u8, &str)]| list.iter().map(|(n, line)| (*n, (*line).to_owned())).collect::<Vec<_>>();
        assert_eq!(read(&[b"\xef\xbb\xbfa\r\n\nb", b"c\n", b" \nd"]), wanted(&[(1, "a\r"), (3, "bc"), (5, "d")]));
        assert_eq!(read(&[b"", b"a\n"]), wanted(&[(1, "a")]));
        let long = vec![b'x'; LINE_MAX - 1];
        assert_eq!(read(&[b"a\n", &long, b"xxx", b"y\nb\n"]), wanted(&[(1, "a"), (2, ""), (3, "b")]));
        assert_eq!(read(&[&long, b"xxx"]), wanted(&[(1, "")]));
    }

    #[test]
    fn what_a_pack_has() {
        let is = |path: &str| {
            let mut member = Member::new(MemberKind::File { size: 1 });
            member.path = path.as_bytes().into();
            match what(&member) {
                Some(What::Lines) => "lines",
                Some(What::Manifest) => "manifest",
                Some(What::Index) => "index",
                Some(What::Sightings) => "sightings",
                None => "",
            }
        };
        for (path, wanted) in [
            ("manifest.json", "manifest"),
            ("pages/manifest.json", "manifest"),
            ("a/b/manifest.json", ""),
            ("pages-x/content/manifest.json", "manifest"),
            ("pages-x/content/records/2024/2024-01-01/chunk-0001.ndjson", "lines"),
            ("pages-x/content/sightings.ndjson", "sightings"),
            ("a/b/records/x.ndjson", ""),
            ("records/2024/2024-01-01/chunk-0001.ndjson", "lines"),
            ("pages/records/2024/2024-01-01/chunk-0001.ndjson", "lines"),
            ("index.jsonl", "index"),
            ("a/b/index.jsonl", ""),
            ("sightings.ndjson", "sightings"),
            ("pages/sightings.ndjson", "sightings"),
            ("a/b/sightings.ndjson", ""),
            ("records/x.txt", ""),
            ("_pack_meta.json", ""),
        ] {
            assert_eq!(is(path), wanted, "{path}");
        }
    }
}
