//! Lines of a stream, as long as they may be.

use std::io::{self, BufRead};

/// Reads lines. A line that is longer than may be is passed over and told.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    longest: usize,
    number: u64,
    line: Vec<u8>,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// It, without its end; nothing of one that is too long. A byte order mark at the begin of the stream is no part of it.
    pub bytes: Option<&'a [u8]>,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most so many bytes.
    pub fn new(from: R, longest: usize) -> Self {
        Self { from, longest, number: 0, line: Vec::new() }
    }

    /// How many bytes a line may have.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The next line; nothing behind the last.
    ///
    /// # Errors
    /// If the stream cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut begun, mut too_long) = (false, false);
        loop {
            let buffer = match self.from.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if buffer.is_empty() && !begun {
                return Ok(None);
            }
            begun = true;
            let end = buffer.iter().position(|b| *b == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            too_long |= self.line.len() + piece.len() > self.longest;
            if too_long {
                self.line.clear();
            } else {
                self.line.extend_from_slice(piece);
            }
            let (taken, ended) = (end.map_or(buffer.len(), |end| end + 1), end.is_some() || buffer.is_empty());
            self.from.consume(taken);
            if ended {
                break;
            }
        }
        self.number += 1;
        let line = &self.line[..];
        let line = if self.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        Ok(Some(Line { number: self.number, bytes: (!too_long).then_some(line) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], longest: usize, buffer: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(io::BufReader::with_capacity(buffer, bytes), longest);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            assert_eq!(line.number, found.len() as u64 + 1);
            found.push(line.bytes.map(<[u8]>::to_vec));
        }
        found
    }

    #[test]
    fn whatever_the_buffer() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        for buffer in 1..12 {
            assert_eq!(lines(b"", 9, buffer), []);
            assert_eq!(lines(b"\n", 9, buffer), [some("")]);
            assert_eq!(lines(b"ab\n\ncd", 9, buffer), [some("ab"), some(""), some("cd")]);
            assert_eq!(lines(b"123\n1234\n12345\n12\n", 4, buffer), [some("123"), some("1234"), None, some("12")]);
            assert_eq!(lines(b"123456", 4, buffer), [None]);
        }
        assert_eq!(lines(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", 9, 8), [some("a"), some("\u{feff}b")]);
    }
}
