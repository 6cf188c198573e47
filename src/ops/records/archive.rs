//! A pack in an archive: its manifest, and its lines in the order of the paths of their files, whatever the order of the members.

use std::path::Path;
use std::sync::Arc;

use crate::archives::{ArchiveError, Content, Cursor, Limits, Member, MemberKind, Opened, Part, Sorter, Spill, read};
use crate::model::{Failure, Kind};
use crate::records::DatasetManifest;

use super::dataset::{MANIFEST, RECORDS};
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
}

impl Failure for PackError {
    fn kind(&self) -> Kind {
        match self {
            Self::Archive(e) => e.kind(),
            Self::Records(e) => e.kind(),
            Self::NoPack => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(e) => e.hint(),
            Self::Records(e) => e.hint(),
            Self::NoPack => None,
        }
    }
}

/// The lines of a pack, sorted; what does not fit into memory is in a sealed temporary file.
#[derive(Debug)]
pub struct PackLines {
    lines: Spill,
    cursor: Cursor,
    file: Arc<str>,
}

/// Reads a pack from an archive: its lines, and its manifest if it has one.
///
/// # Errors
/// If the archive is damaged or hostile, or no pack.
pub fn pack_lines(opened: Opened, limits: &Limits, tmp: &Path) -> Result<(PackLines, Option<Vec<u8>>), PackError> {
    let mut sorter = Sorter::with_memory(tmp, SORT_MEMORY);
    let (mut manifest, mut found) = (None, false);
    read::<PackError>(opened, limits, &mut |member, content| {
        match what(&member) {
            Some(What::Manifest) if manifest.is_none() => manifest = Some(whole(content)?),
            Some(What::Lines) => {
                found = true;
                lines(&member.path, content, &mut sorter)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    if !found && manifest.is_none() {
        return Err(PackError::NoPack);
    }
    let sorted = sorter.sorted();
    let mut merge = sorted.read().map_err(RecordsError::temporary)?;
    let mut spill = Spill::new(tmp, SORT_MEMORY);
    while let Some((key, line)) = merge.next().map_err(RecordsError::temporary)? {
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes();
        spill.push(&[&len[..], &key, &line].concat()).map_err(RecordsError::temporary)?;
    }
    Ok((PackLines { lines: spill, cursor: Cursor::default(), file: "".into() }, manifest))
}

/// True if the manifest of a dataset is among the first members of an archive. What is wrong with the archive is not told.
#[must_use]
pub fn holds_dataset(opened: Opened, limits: &Limits, members: usize) -> bool {
    let (mut seen, mut found) = (0, false);
    let _stopped = read::<PackError>(opened, limits, &mut |member, content| {
        seen += 1;
        if let Some(What::Manifest) = what(&member) {
            found = DatasetManifest::parse(&whole(content)?).is_ok();
        }
        // To end here is to end with an error.
        if found || seen >= members { Err(PackError::NoPack) } else { Ok(()) }
    });
    found
}

enum What {
    Manifest,
    Lines,
}

/// What a member is in a pack, which may be in a folder of its own.
fn what(member: &Member) -> Option<What> {
    if !matches!(member.kind, MemberKind::File { .. }) {
        return None;
    }
    let names: Vec<&[u8]> = member.path.split(|b| *b == b'/').collect();
    let at = names.iter().position(|name| *name == RECORDS.as_bytes());
    match (at, names.last()) {
        (Some(0 | 1), Some(last)) if last.ends_with(b".ndjson") => Some(What::Lines),
        (_, Some(last)) if *last == MANIFEST.as_bytes() && names.len() <= 2 => Some(What::Manifest),
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

fn whole(content: &mut dyn Content) -> Result<Vec<u8>, PackError> {
    let mut bytes = Vec::new();
    while next(content, &mut bytes)? {
        if bytes.len() > MANIFEST_MAX {
            return Err(RecordsError::Refused("its manifest.json is longer than 16 MiB".to_owned()).into());
        }
    }
    Ok(bytes)
}

fn lines(path: &[u8], content: &mut dyn Content, sorter: &mut Sorter) -> Result<(), PackError> {
    let (mut buffer, mut number) = (Vec::new(), 0u64);
    let mut take = |line: &[u8]| {
        number += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let key = [path, &[0], &number.to_be_bytes()].concat();
        sorter.push(&key, line).map_err(RecordsError::temporary)
    };
    loop {
        let more = next(content, &mut buffer)?;
        let mut at = 0;
        while let Some(end) = buffer[at..].iter().position(|b| *b == b'\n') {
            take(&buffer[at..at + end])?;
            at += end + 1;
        }
        buffer.drain(..at);
        if !more {
            return Ok(take(&buffer)?);
        }
        if buffer.len() > LINE_MAX {
            return Err(RecordsError::Refused("a line in it is longer than 64 MiB".to_owned()).into());
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
        Ok(Some(RawRecord { text: Some(text.to_vec()), file: self.file.clone(), line }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pack_has() {
        let is = |path: &str| {
            let mut member = Member::new(MemberKind::File { size: 1 });
            member.path = path.as_bytes().into();
            match what(&member) {
                Some(What::Lines) => "lines",
                Some(What::Manifest) => "manifest",
                None => "",
            }
        };
        for (path, wanted) in [
            ("manifest.json", "manifest"),
            ("pages/manifest.json", "manifest"),
            ("a/b/manifest.json", ""),
            ("records/2024/2024-01-01/chunk-0001.ndjson", "lines"),
            ("pages/records/2024/2024-01-01/chunk-0001.ndjson", "lines"),
            ("index.jsonl", ""),
            ("sightings.ndjson", ""),
            ("records/x.txt", ""),
            ("_pack_meta.json", ""),
        ] {
            assert_eq!(is(path), wanted, "{path}");
        }
    }
}
