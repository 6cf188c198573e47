//! Folders of files that hold records: which of them do, and their texts one by one.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use crate::archives::{ArchiveError, Input, Limits, NoKeys, OpenedOrText, is_wrapped, open_or_text};
use crate::model::Quiet;

use super::error::RecordsError;
use super::source::{RawRecord, Source, Stream, is_text};

/// Bytes that are looked at to tell whether a file holds records.
const LOOKED_AT: u64 = 4096;
/// Files that are left out of a folder and told one by one.
const LEFT_OUT_MAX: usize = 10_000;
/// What describes the records of a folder.
const MANIFEST: &str = "manifest.json";

/// Files one after the other, in the order of their paths.
#[derive(Debug)]
pub struct Files {
    files: std::vec::IntoIter<(PathBuf, String)>,
    open: Option<Stream>,
    /// All have a record a line.
    lines: bool,
    seen_again: bool,
    limits: Limits,
    left_out: LeftOut,
}

/// Files of a folder that hold no records.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// How many there are.
    pub count: u64,
    /// The first of them, each with the reason.
    pub told: Vec<(String, String)>,
}

impl LeftOut {
    fn add(&mut self, file: String, why: impl ToString) {
        self.count += 1;
        if self.told.len() < LEFT_OUT_MAX {
            self.told.push((file, why.to_string()));
        }
    }
}

impl Files {
    /// The files of a folder that may hold records: by their names, or since they begin as JSON does. Of a pack, a folder with `records` in it, those
    /// alone, before them its index, and behind them its sightings. A `manifest.json` describes them. What is compressed may come to what the limits say.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn of(folder: &Path, limits: &Limits) -> Result<Self, RecordsError> {
        let records = folder.join(super::dataset::RECORDS);
        let is_pack = records.is_dir();
        let (mut files, mut left_out) = (Vec::new(), LeftOut::default());
        collect(if is_pack { &records } else { folder }, folder, is_pack, limits, &mut files, &mut left_out)?;
        left_out.told.sort();
        // As their paths sort, part by part.
        files.sort();
        let sightings = folder.join(super::dataset::SIGHTINGS);
        let seen_again = is_pack && sightings.is_file();
        let index = folder.join(super::dataset::INDEX);
        if is_pack && index.is_file() {
            files.insert(0, (index, super::dataset::INDEX.to_owned()));
        }
        files.extend(seen_again.then(|| (sightings, super::dataset::SIGHTINGS.to_owned())));
        let limits = limits.clone();
        Ok(Self { files: files.into_iter(), open: None, lines: is_pack, seen_again, limits, left_out })
    }

    /// What of the folder is left out; empty from then on.
    pub fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    /// True if its last lines are sightings: [`super::SeenAgain`] makes records of them.
    #[must_use]
    pub fn has_sightings(&self) -> bool {
        self.seen_again
    }
}

fn collect(
    at: &Path,
    root: &Path,
    is_pack: bool,
    limits: &Limits,
    files: &mut Vec<(PathBuf, String)>,
    left_out: &mut LeftOut,
) -> Result<(), RecordsError> {
    let io = |error| RecordsError::Io { what: at.display().to_string(), error };
    let ends: &[&str] = if is_pack { &[".ndjson"] } else { &[".ndjson", ".jsonl", ".json"] };
    for entry in std::fs::read_dir(at).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(io)?);
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        // A link to a file is one; a link to a folder may lead back.
        let is_file = || kind.is_file() || kind.is_symlink() && path.is_file();
        if kind.is_dir() {
            collect(&path, root, is_pack, limits, files, left_out)?;
        } else if !is_file() {
            left_out.add(shown, "it is no regular file");
        } else if has_end(&entry.file_name().to_string_lossy(), ends) {
            // What describes the records is none.
            if shown != MANIFEST {
                files.push((path, shown));
            }
        } else if is_pack {
            left_out.add(shown, "its name does not end in .ndjson");
        } else {
            match begins_as_json(&path, limits) {
                Ok(true) => files.push((path, shown)),
                Ok(false) => left_out.add(shown, "it does not begin as records of JSON do"),
                Err(why) => left_out.add(shown, why),
            }
        }
    }
    Ok(())
}

/// True of a file, compressed or not, that begins with an object, or with a list that is empty or begins with one.
fn begins_as_json(path: &Path, limits: &Limits) -> Result<bool, ArchiveError> {
    let mut start = Vec::new();
    text_of(path, limits)?.take(LOOKED_AT).read_to_end(&mut start)?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    let within = start.get(1..).unwrap_or_default().trim_ascii_start().first();
    Ok(match start.first() {
        Some(b'{') => matches!(within, None | Some(b'"' | b'}')),
        Some(b'[') => matches!(within, None | Some(b'{' | b']')),
        _ => false,
    })
}

/// True of a name that ends so, or so and as compressed files do.
fn has_end(name: &str, ends: &[&str]) -> bool {
    let name = [".gz", ".zst", ".xz", ".bz2"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    ends.iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

/// A file with compressions around it taken off.
fn text_of(path: &Path, limits: &Limits) -> Result<Box<dyn Read + Send>, ArchiveError> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(64).read_to_end(&mut start)?;
    file.rewind()?;
    if !is_wrapped(&start) {
        return Ok(Box::new(file));
    }
    match open_or_text(Input::Seekable(Box::new(file)), &NoKeys, limits, &Quiet, &is_text)? {
        OpenedOrText::Text(text) => Ok(text),
        OpenedOrText::Archive(_) => Err(ArchiveError::Unknown("it is an archive, and no text".to_owned())),
    }
}

impl Source for Files {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(raw) = open.next()?
            {
                return Ok(Some(raw));
            }
            let Some((path, shown)) = self.files.next() else { return Ok(None) };
            let what = path.display().to_string();
            let file =
                text_of(&path, &self.limits).map_err(|e| RecordsError::Io { what: what.clone(), error: e.into() })?;
            let stream = if self.lines { Stream::lines } else { Stream::new };
            self.open = Some(stream(file, &shown, &what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_folders_and_packs() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("b.json", "{}");
        write("a/c.ndjson", "1\n2\n");
        write("a/x.txt", "no");
        write("a/y.txt", " \n{\"a\": 1}\n");
        write("a/log", "[2024-01-01] no");
        write("list", "\u{feff}[ {}, {}]");
        write("manifest.json", "{}");
        let link = |to: &str, path: &str| std::os::unix::fs::symlink(to, dir.path().join(path)).unwrap();
        link("b.json", "link.json");
        link("nowhere", "a/lost.json");
        link("a", "folder.json");
        let all = |folder: &Path| {
            let mut files = Files::of(folder, &Limits::default()).unwrap();
            let mut found = Vec::new();
            while let Some(raw) = files.next().unwrap() {
                found.push((raw.file.to_string(), raw.line));
            }
            found
        };
        assert_eq!(
            all(dir.path()),
            [
                ("a/c.ndjson", 1),
                ("a/c.ndjson", 2),
                ("a/y.txt", 2),
                ("b.json", 1),
                ("link.json", 1),
                ("list", 1),
                ("list", 1)
            ]
            .map(|(file, line)| (file.to_owned(), line))
        );
        let left_out = |folder: &Path| -> (u64, Vec<String>) {
            let left_out = Files::of(folder, &Limits::default()).unwrap().take_left_out();
            (left_out.count, left_out.told.into_iter().map(|(file, _)| file).collect())
        };
        assert_eq!(
            left_out(dir.path()),
            (4, ["a/log", "a/lost.json", "a/x.txt", "folder.json"].map(str::to_owned).to_vec())
        );
        write("records/2024/2024-01-01/chunk-0001.ndjson", "{\n}\n");
        let chunk = "records/2024/2024-01-01/chunk-0001.ndjson".to_owned();
        assert_eq!(all(dir.path()), [(chunk.clone(), 1), (chunk, 2)]);
        write("records/2024/notes.txt", "{}");
        assert_eq!(left_out(dir.path()), (1, vec!["records/2024/notes.txt".to_owned()]));
    }
}
