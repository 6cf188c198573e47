//! Texts of records, one by one, from whatever holds them: lines, one JSON document, a list.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use super::error::RecordsError;

/// Bytes that a record may have.
const MAX_RECORD: usize = 64 << 20;
/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;

/// The text of what should be a record, and where it stands.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// The text; nothing if there is too much of it.
    pub text: Option<Vec<u8>>,
    /// The file that it is from; empty if there is only one.
    pub file: Arc<str>,
    /// The line that it begins in, from 1.
    pub line: u64,
    /// What is wrong, if that is known already.
    pub fault: Option<String>,
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
    /// A line that was read to tell the form, and is due.
    due: Option<RawRecord>,
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
        Self { reader, file: file.into(), what: what.to_owned(), line: 0, form: Form::Unknown, due: None }
    }

    /// A stream that is known to have a record a line.
    pub fn lines(reader: impl Read + Send + 'static, file: &str, what: &str) -> Self {
        Self { form: Form::Lines, ..Self::new(reader, file, what) }
    }

    fn raw(&self, text: Option<Vec<u8>>, line: u64) -> RawRecord {
        RawRecord { text, file: self.file.clone(), line, fault: None }
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
        let at = self.line;
        let first = line.as_deref().unwrap_or_default().trim_ascii();
        let mut scan = Scan::default();
        let whole = first.iter().any(|b| scan.take(*b));
        // No text goes on in the next line.
        if first.first() != Some(&b'{') || whole || scan.text {
            self.form = Form::Lines;
            return Ok(Some(self.raw(line, at)));
        }
        let second = self.line()?;
        let behind = second.as_ref().and_then(|Text(line)| line.as_deref()).unwrap_or_default();
        if second.is_some() && (behind.is_empty() || is_record(behind)) {
            // A line that was cut short, and others behind it.
            self.form = Form::Lines;
            self.due = second.map(|Text(line)| self.raw(line, self.line));
            return Ok(Some(self.raw(line, at)));
        }
        self.form = Form::Values;
        // Read again, as the beginning of values.
        let blank = usize::try_from(self.line - at).unwrap_or_default();
        let again = [first, &b"\n".repeat(blank.max(1)), behind].concat();
        self.line = at - 1;
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
        if let Some(due) = self.due.take() {
            return Ok(Some(due));
        }
        match self.form {
            Form::Unknown => self.begin(),
            Form::Lines => Ok(self.line()?.map(|Text(line)| self.raw(line, self.line))),
            Form::Values | Form::List => self.value(),
            Form::Ended => Ok(None),
        }
    }
}

/// True of a line that is a whole object which says what records say.
fn is_record(line: &[u8]) -> bool {
    let (line, mut scan) = (line.trim_ascii(), Scan::default());
    let end = line.iter().position(|b| scan.take(*b));
    line.starts_with(b"{") && end == Some(line.len() - 1) && memchr::memmem::find(line, b"\"exchange_type\"").is_some()
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
        // A first line that was cut short takes no other along.
        let whole = "{\"exchange_type\": \"}\"}";
        for cut in ["{\"a\": \"x", "{\"a\": {\"b\": 1", "{\"a\": [", "{"] {
            gives(&format!("\n{cut}\n\n{whole}\n{{}}"), &[(cut, 2), (whole, 4), ("{}", 5)]);
        }
        gives("{\n\n\"a\": 1}\n{}", &[("{\n\n\"a\": 1}", 1), ("{}", 4)]);
        gives("{\"a\": [\n{\"exchange_type\": 1},\n2]}", &[("{\"a\": [\n{\"exchange_type\": 1},\n2]}", 1)]);
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
}
