//! Texts of records, one by one, from whatever holds them: lines, one JSON document, a list, folders of such files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archives::{ArchiveError, Input, Limits, NoKeys, OpenedOrText, is_wrapped, open_or_text};
use crate::model::Quiet;

use super::error::RecordsError;

/// Bytes that a record may have.
const MAX_RECORD: usize = 64 << 20;
/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;
/// Bytes that are looked at to tell whether a file holds records.
const LOOKED_AT: u64 = 4096;
/// Files that are left out of a folder and told one by one.
const LEFT_OUT_MAX: usize = 10_000;
/// What describes the records of a folder.
const MANIFEST: &str = "manifest.json";

/// The text of what should be a record, and where it stands.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// The text; nothing if there is too much of it.
    pub text: Option<Vec<u8>>,
    /// The file that it is from; empty if there is only one.
    pub file: Arc<str>,
    /// The line that it begins in, from 1.
    pub line: u64,
}

/// Gives texts in their order.
pub trait Source: Send {
    /// The next one; nothing at the end.
    ///
    /// # Errors
    /// If it cannot be read.
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError>;
}

/// One file or stream.
pub struct Stream {
    reader: BufReader<Box<dyn Read + Send>>,
    file: Arc<str>,
    what: String,
    line: u64,
    form: Form,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.what)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing was read yet.
    Unknown,
    /// A record a line.
    Lines,
    /// Values one behind the other.
    Values,
    /// The elements of a list.
    List,
    /// A list has ended.
    Ended,
}

/// A line; nothing of one that is too long.
struct Text(Option<Vec<u8>>);

impl Stream {
    /// `file`: how lines of it are told; `what`: what it is called when it cannot be read.
    pub fn new(reader: impl Read + Send + 'static, file: &str, what: &str) -> Self {
        let reader: Box<dyn Read + Send> = Box::new(reader);
        let reader = BufReader::with_capacity(BUFFER, reader);
        Self { reader, file: file.into(), what: what.to_owned(), line: 0, form: Form::Unknown }
    }

    /// A stream that is known to have a record a line.
    pub fn lines(reader: impl Read + Send + 'static, file: &str, what: &str) -> Self {
        Self { form: Form::Lines, ..Self::new(reader, file, what) }
    }

    fn raw(&self, text: Option<Vec<u8>>, line: u64) -> RawRecord {
        RawRecord { text, file: self.file.clone(), line }
    }

    fn buffer(&mut self) -> Result<&[u8], RecordsError> {
        while let Err(error) = self.reader.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(RecordsError::Io { what: self.what.clone(), error });
            }
        }
        Ok(self.reader.buffer())
    }

    /// A line that is not blank.
    fn line(&mut self) -> Result<Option<Text>, RecordsError> {
        loop {
            let (mut line, mut long, mut ended) = (Vec::new(), false, false);
            while !ended {
                let buffer = self.buffer()?;
                if buffer.is_empty() {
                    break;
                }
                let end = memchr::memchr(b'\n', buffer);
                let used = end.map_or(buffer.len(), |end| end + 1);
                long |= line.len() + used > MAX_RECORD;
                if long {
                    line.clear();
                } else {
                    line.extend_from_slice(&buffer[..used]);
                }
                self.reader.consume(used);
                ended = end.is_some();
            }
            if !ended && !long && line.is_empty() {
                return Ok(None);
            }
            self.line += 1;
            if self.line == 1 && line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
            if long || !line.trim_ascii().is_empty() {
                return Ok(Some(Text((!long).then_some(line))));
            }
        }
    }

    /// True if the first that is not blank is the beginning of a list, which is passed then: all of it may stand in one line, longer than a line may be.
    fn begins_list(&mut self) -> Result<bool, RecordsError> {
        if self.buffer()?.starts_with(b"\xef\xbb\xbf") {
            self.reader.consume(3);
        }
        loop {
            let Some(byte) = self.buffer()?.first().copied() else { return Ok(false) };
            if !byte.is_ascii_whitespace() && byte != b'[' {
                return Ok(false);
            }
            self.line += u64::from(byte == b'\n');
            self.reader.consume(1);
            if byte == b'[' {
                return Ok(true);
            }
        }
    }

    /// Tells the form by what is not blank first: a record a line, unless a list begins there, or an object that does not end in its line.
    fn begin(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        if self.begins_list()? {
            self.form = Form::List;
            return self.value();
        }
        let Some(Text(line)) = self.line()? else { return Ok(None) };
        let first = line.as_deref().unwrap_or_default().trim_ascii();
        let mut scan = Scan::default();
        let whole = first.iter().any(|b| scan.take(*b));
        if first.first() != Some(&b'{') || whole {
            self.form = Form::Lines;
            return Ok(Some(self.raw(line, self.line)));
        }
        self.form = Form::Values;
        // Read again, as the beginning of values.
        self.line -= 1;
        let again = [first, b"\n"].concat();
        let rest = std::mem::replace(&mut self.reader, BufReader::new(Box::new(io::empty())));
        self.reader = BufReader::with_capacity(BUFFER, Box::new(io::Cursor::new(again).chain(rest)));
        self.value()
    }

    /// The next value of a list, or of several behind each other.
    fn value(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        let (mut value, mut long, mut scan, mut begun) = (Vec::new(), false, Scan::default(), None);
        loop {
            let Some(byte) = self.buffer()?.first().copied() else {
                let open = self.form == Form::List;
                self.form = Form::Ended;
                // What breaks off is no record, nor is a list that has no end.
                return Ok(match begun {
                    Some(line) => Some(self.raw(Some(value), line)),
                    None => open.then(|| self.raw(Some(b"[".to_vec()), self.line.max(1))),
                });
            };
            let line = self.line + 1;
            let between = begun.is_none() && matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',');
            let ends_list = !scan.is_open() && byte == b']' && self.form == Form::List;
            // A number or a word, which is no record, ends where something else begins.
            let ends_word = begun.is_some() && !scan.is_open() && matches!(byte, b',' | b'\n' | b']');
            if ends_word {
                return Ok(begun.map(|line| self.raw((!long).then_some(value), line)));
            }
            self.line += u64::from(byte == b'\n');
            self.reader.consume(1);
            if ends_list {
                self.form = Form::Ended;
                return self.behind_list();
            }
            if between {
                continue;
            }
            begun.get_or_insert(line);
            long |= value.len() >= MAX_RECORD;
            if long {
                value.clear();
            } else {
                value.push(byte);
            }
            if scan.take(byte) {
                return Ok(begun.map(|line| self.raw((!long).then_some(value), line)));
            }
        }
    }

    /// Behind a list nothing stands; what does is no record.
    fn behind_list(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        let Some(Text(line)) = self.line()? else { return Ok(None) };
        Ok(Some(self.raw(line.map(|line| [b"]", &line[..]].concat()), self.line)))
    }
}

impl Source for Stream {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        match self.form {
            Form::Unknown => self.begin(),
            Form::Lines => Ok(self.line()?.map(|Text(line)| self.raw(line, self.line))),
            Form::Values | Form::List => self.value(),
            Form::Ended => Ok(None),
        }
    }
}

/// Where in a value one is.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    text: bool,
    escaped: bool,
}

impl Scan {
    /// True within a list, an object or a string.
    fn is_open(&self) -> bool {
        self.depth > 0 || self.text
    }

    /// Takes the next byte; true if a list or object ends with it.
    fn take(&mut self, byte: u8) -> bool {
        if self.text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.text = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// False of what begins as no text does: an archive, a seal, a compression. Lines that are no records are told one by one, so what begins like JSON
/// is text though a byte be wrong.
#[must_use]
pub fn is_text(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let wraps = [&b"PK"[..], b"age-encryption.org/", b"-----BEGIN AGE", b"BZh"];
    let is_utf8 = std::str::from_utf8(start).map_or_else(|e| e.error_len().is_none(), |_| true);
    let is_plain = !start.iter().any(|b| *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r'));
    let begins_json = matches!(start.trim_ascii_start().first(), Some(b'{' | b'['));
    let is_like_text = is_utf8 && is_plain || begins_json && (is_utf8 || is_plain);
    let has_line = start.windows(3).any(|three| three == b"\n{\"");
    !wraps.iter().any(|wrap| start.starts_with(wrap)) && (is_like_text || has_line)
}

/// Files one after the other, in the order of their paths.
#[derive(Debug)]
pub struct Files {
    files: std::vec::IntoIter<(PathBuf, String)>,
    open: Option<Stream>,
    /// All have a record a line.
    lines: bool,
    seen_again: bool,
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
    /// alone, and behind them its sightings. A `manifest.json` describes them.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn of(folder: &Path) -> Result<Self, RecordsError> {
        let records = folder.join(super::dataset::RECORDS);
        let is_pack = records.is_dir();
        let ends: &[&str] = if is_pack { &[".ndjson"] } else { &[".ndjson", ".jsonl", ".json"] };
        let (mut files, mut left_out) = (Vec::new(), LeftOut::default());
        collect(if is_pack { &records } else { folder }, folder, ends, is_pack, &mut files, &mut left_out)?;
        left_out.told.sort();
        // As their paths sort, part by part.
        files.sort();
        let sightings = folder.join(super::dataset::SIGHTINGS);
        let seen_again = is_pack && sightings.is_file();
        files.extend(seen_again.then(|| (sightings, super::dataset::SIGHTINGS.to_owned())));
        Ok(Self { files: files.into_iter(), open: None, lines: is_pack, seen_again, left_out })
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
    ends: &[&str],
    is_pack: bool,
    files: &mut Vec<(PathBuf, String)>,
    left_out: &mut LeftOut,
) -> Result<(), RecordsError> {
    let io = |error| RecordsError::Io { what: at.display().to_string(), error };
    for entry in std::fs::read_dir(at).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(io)?);
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if kind.is_dir() {
            collect(&path, root, ends, is_pack, files, left_out)?;
        } else if !kind.is_file() {
            left_out.add(shown, "it is no regular file");
        } else if has_end(&entry.file_name().to_string_lossy(), ends) {
            // What describes the records is none.
            if shown != MANIFEST {
                files.push((path, shown));
            }
        } else if is_pack {
            left_out.add(shown, "its name does not end in .ndjson");
        } else {
            match begins_as_json(&path) {
                Ok(true) => files.push((path, shown)),
                Ok(false) => left_out.add(shown, "it does not begin as records of JSON do"),
                Err(why) => left_out.add(shown, why),
            }
        }
    }
    Ok(())
}

/// True of a file, compressed or not, that begins with an object, or with a list that is empty or begins with one.
fn begins_as_json(path: &Path) -> Result<bool, ArchiveError> {
    let mut start = Vec::new();
    text_of(path)?.take(LOOKED_AT).read_to_end(&mut start)?;
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
fn text_of(path: &Path) -> Result<Box<dyn Read + Send>, ArchiveError> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(64).read_to_end(&mut start)?;
    file.rewind()?;
    if !is_wrapped(&start) {
        return Ok(Box::new(file));
    }
    match open_or_text(Input::Seekable(Box::new(file)), &NoKeys, &Limits::default(), &Quiet, &is_text)? {
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
            let file = text_of(&path).map_err(|e| RecordsError::Io { what: what.clone(), error: e.into() })?;
            let stream = if self.lines { Stream::lines } else { Stream::new };
            self.open = Some(stream(file, &shown, &what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &str) -> Vec<(String, u64)> {
        let mut stream = Stream::new(io::Cursor::new(input.to_owned().into_bytes()), "", "test");
        let mut found = Vec::new();
        while let Some(raw) = stream.next().unwrap() {
            let text = String::from_utf8(raw.text.unwrap()).unwrap();
            found.push((text.trim().to_owned(), raw.line));
        }
        found
    }

    #[track_caller]
    fn gives(input: &str, wanted: &[(&str, u64)]) {
        let wanted: Vec<_> = wanted.iter().map(|(text, line)| ((*text).to_owned(), *line)).collect();
        assert_eq!(texts(input), wanted, "{input:?}");
    }

    #[test]
    fn text_is_told_from_what_lies_around_an_archive() {
        let long = "é".repeat(40);
        for (start, wanted) in [
            (&b""[..], true),
            (b"{\"a\": 1}", true),
            (b"\xef\xbb\xbf  [", true),
            (b"{\"a\": \"\xff\"}", true),
            (b"{\"a\": \"\x01\"}", true),
            (b"rubbish\r\n", true),
            (b"\xff\x00rubbish\n{\"a\": 1}", true),
            // A character that is cut.
            (&long.as_bytes()[..63], true),
            (b"PK\x03\x04", false),
            (b"age-encryption.org/v1\n", false),
            (b"\x1f\x8b\x08", false),
            (b"{\x00\xff", false),
            (b"\xff\xfe{\x00", false),
            (b"BZh91AY", false),
        ] {
            assert_eq!(is_text(start), wanted, "{start:?}");
        }
    }

    #[test]
    fn lines_values_and_lists() {
        gives("", &[]);
        gives("\n \n", &[]);
        gives("{\"a\": 1}\n\n{\"b\": \"}\"}", &[("{\"a\": 1}", 1), ("{\"b\": \"}\"}", 3)]);
        gives("\u{feff}{\"a\": 1}\nrubbish\n{}\n", &[("{\"a\": 1}", 1), ("rubbish", 2), ("{}", 3)]);
        gives("{\n \"a\": [1,\n2]\n}\n{\n}\n", &[("{\n \"a\": [1,\n2]\n}", 1), ("{\n}", 5)]);
        gives(
            "[{\"a\": \"\\\"]\"}, {},\n {\"b\": []}\n]\n",
            &[("{\"a\": \"\\\"]\"}", 1), ("{}", 1), ("{\"b\": []}", 2)],
        );
        gives("[]", &[]);
        gives("\n[ ]\n \n", &[]);
        gives("\u{feff} \n [{}\n,{}]", &[("{}", 2), ("{}", 3)]);
        gives("[1, \"x\", {}]", &[("1", 1), ("\"x\"", 1), ("{}", 1)]);
        gives("[{}", &[("{}", 1), ("[", 1)]);
        gives("[{}]\n{}\n", &[("{}", 1), ("]{}", 2)]);
        gives("{\"a\": 1", &[("{\"a\": 1", 1)]);
        gives("{}{}", &[("{}{}", 1)]);
    }

    /// A list may be longer than a record, though it be one line; what is too long in it is told, and the rest goes on.
    #[test]
    fn a_long_list_in_one_line() {
        let long = format!("\"{}\"", "x".repeat(MAX_RECORD));
        let text = format!("[{{\"a\": 1}}, {{\"b\": {long}}}, {{\"c\": 2}}]");
        let mut stream = Stream::new(io::Cursor::new(text.into_bytes()), "", "test");
        let mut found = Vec::new();
        while let Some(raw) = stream.next().unwrap() {
            found.push(raw.text.map(|text| String::from_utf8(text).unwrap()));
        }
        assert_eq!(found, [Some("{\"a\": 1}".to_owned()), None, Some("{\"c\": 2}".to_owned())]);
    }

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
        std::os::unix::fs::symlink("b.json", dir.path().join("link.json")).unwrap();
        let all = |folder: &Path| {
            let mut files = Files::of(folder).unwrap();
            let mut found = Vec::new();
            while let Some(raw) = files.next().unwrap() {
                found.push((raw.file.to_string(), raw.line));
            }
            found
        };
        assert_eq!(
            all(dir.path()),
            [("a/c.ndjson", 1), ("a/c.ndjson", 2), ("a/y.txt", 2), ("b.json", 1), ("list", 1), ("list", 1)]
                .map(|(file, line)| (file.to_owned(), line))
        );
        let left_out = |folder: &Path| -> (u64, Vec<String>) {
            let left_out = Files::of(folder).unwrap().take_left_out();
            (left_out.count, left_out.told.into_iter().map(|(file, _)| file).collect())
        };
        assert_eq!(left_out(dir.path()), (3, ["a/log", "a/x.txt", "link.json"].map(str::to_owned).to_vec()));
        write("records/2024/2024-01-01/chunk-0001.ndjson", "{\n}\n");
        let chunk = "records/2024/2024-01-01/chunk-0001.ndjson".to_owned();
        assert_eq!(all(dir.path()), [(chunk.clone(), 1), (chunk, 2)]);
        write("records/2024/notes.txt", "{}");
        assert_eq!(left_out(dir.path()), (1, vec!["records/2024/notes.txt".to_owned()]));
    }
}
