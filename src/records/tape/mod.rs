//! JSON as one flat list of its values, read without recursion: however deep it is nested, no stack grows, and nothing is allocated for
//! a value. The one reader of JSON that must be kept as it is written; [`super::json`] makes a tree of what it reads.
//!
//! What it takes is RFC 8259 and what Python's reader takes beside it: bare `NaN`, `Infinity` and `-Infinity`.

use std::borrow::Cow;

/// What is read of a text, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Lists and objects in each other.
    pub depth: usize,
    /// Bytes of the text.
    pub bytes: usize,
    /// Values and names; each takes 16 bytes of memory.
    pub values: usize,
}

impl Limits {
    /// Those of what was read before and is read again.
    pub const NONE: Self = Self { depth: usize::MAX, bytes: usize::MAX, values: usize::MAX };
}

impl Default for Limits {
    /// 1,000 deep, 64 MiB, four million values.
    fn default() -> Self {
        Self { depth: 1000, bytes: 64 << 20, values: 4 << 20 }
    }
}

/// Why a text is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (line {line}, column {column})")]
pub struct JsonError {
    /// What is wrong.
    pub what: Cow<'static, str>,
    /// Where, from 1.
    pub line: usize,
    /// The byte in that line, from 1.
    pub column: usize,
}

impl JsonError {
    /// The same in a text of one line, as whoever counts lines himself wants it.
    #[must_use]
    pub fn on_one_line(&self) -> String {
        format!("{} (column {})", self.what, self.column)
    }

    fn at(bytes: &[u8], at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        let before = &bytes[..at.min(bytes.len())];
        let line = before.split(|b| *b == b'\n').count();
        let column = before.len() - before.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1) + 1;
        Self { what: what.into(), line, column }
    }
}

/// The sort of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number without fraction and exponent.
    Whole,
    /// A number with one of them.
    Fraction,
    /// `NaN`, `Infinity` or `-Infinity`
    NotFinite,
    /// A string.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

/// A value: where it stands in the text, and where the next one stands that is not part of it. Of an object each name is a value too.
#[derive(Debug, Clone, Copy)]
struct Node {
    sort: Sort,
    /// Of a string: something in it is escaped.
    escaped: bool,
    /// Of a string: all of it is ASCII, as it stands in the text.
    ascii: bool,
    from: u32,
    to: u32,
    after: u32,
}

/// Reads texts, one after the other; keeps its memory between them.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
    open: Vec<u32>,
}

/// A value of a text that was read. `'t` is the text, `'n` the tape.
#[derive(Debug, Clone, Copy)]
pub struct Value<'t, 'n> {
    text: &'t str,
    nodes: &'n [Node],
    at: u32,
}

impl Tape {
    /// Reads a text that holds one value.
    ///
    /// # Errors
    /// If it is no JSON, not UTF-8, holds half of a surrogate pair, or goes beyond a limit.
    pub fn read<'t, 'n>(&'n mut self, bytes: &'t [u8], limits: &Limits) -> Result<Value<'t, 'n>, JsonError> {
        // Places are 32 bits.
        let longest = limits.bytes.min(1 << 30);
        if bytes.len() > longest {
            let what = match longest >> 20 {
                0 => format!("it is longer than the {longest} bytes that are read"),
                mib => format!("it is longer than the {mib} MiB that are read"),
            };
            return Err(JsonError { what: what.into(), line: 1, column: 1 });
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => return Err(JsonError::at(bytes, e.valid_up_to(), "it is not UTF-8")),
        };
        self.nodes.clear();
        self.open.clear();
        let mut reader = Reader { bytes, at: 0, limits, tape: self };
        if let Err(what) = reader.document() {
            let at = reader.at;
            return Err(JsonError::at(bytes, at, what));
        }
        Ok(Value { text, nodes: &self.nodes, at: 0 })
    }
}

struct Reader<'t, 'n> {
    bytes: &'t [u8],
    at: usize,
    limits: &'n Limits,
    tape: &'n mut Tape,
}

type Read<T> = Result<T, Cow<'static, str>>;

impl Reader<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, word: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "no text is longer than a GiB, and no value shorter than a byte"
    )]
    fn push(&mut self, sort: Sort, from: usize) -> Read<u32> {
        let at = self.tape.nodes.len();
        if at >= self.limits.values {
            return Err("it holds more values than fit into the memory that is granted".into());
        }
        let after = at as u32 + 1;
        let node = Node { sort, escaped: false, ascii: true, from: from as u32, to: self.at as u32, after };
        self.tape.nodes.push(node);
        Ok(at as u32)
    }

    fn document(&mut self) -> Read<()> {
        loop {
            let opened = self.value()?;
            if opened && self.begun()? {
                continue;
            }
            if !self.ended()? {
                break;
            }
        }
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { Err("something stands behind the value".into()) }
    }

    /// A value, or the begin of one: then true.
    fn value(&mut self) -> Read<bool> {
        self.space();
        let from = self.at;
        let sort = match self.peek().ok_or("it ends where a value is due")? {
            b'"' => {
                self.text()?;
                return Ok(false);
            }
            b'n' if self.takes(b"null") => Sort::Null,
            b't' if self.takes(b"true") => Sort::True,
            b'f' if self.takes(b"false") => Sort::False,
            b'N' if self.takes(b"NaN") => Sort::NotFinite,
            b'I' if self.takes(b"Infinity") => Sort::NotFinite,
            b'-' if self.takes(b"-Infinity") => Sort::NotFinite,
            b'-' | b'0'..=b'9' => self.number()?,
            open @ (b'[' | b'{') => {
                if self.tape.open.len() >= self.limits.depth {
                    return Err(format!("it is nested more than {} deep", self.limits.depth).into());
                }
                self.at += 1;
                let at = self.push(if open == b'[' { Sort::List } else { Sort::Object }, from)?;
                self.tape.open.push(at);
                return Ok(true);
            }
            _ => return Err("no value begins so".into()),
        };
        self.push(sort, from)?;
        Ok(false)
    }

    /// Behind the begin of a list or object: true if a value follows, false if it ends at once.
    fn begun(&mut self) -> Read<bool> {
        self.space();
        let Some(top) = self.tape.open.last().map(|at| self.tape.nodes[*at as usize].sort) else { return Ok(false) };
        match (top, self.peek()) {
            (Sort::List, Some(b']')) | (Sort::Object, Some(b'}')) => return Ok(false),
            (_, None) => return Err("it ends within a list or object".into()),
            (Sort::Object, _) => self.name()?,
            _ => {}
        }
        Ok(true)
    }

    /// Behind a value: closes what ends here; true if another value follows.
    #[expect(clippy::cast_possible_truncation, reason = "no text is longer than a GiB")]
    fn ended(&mut self) -> Read<bool> {
        while let Some(at) = self.tape.open.last().copied() {
            self.space();
            let after = self.tape.nodes.len() as u32;
            let top = &mut self.tape.nodes[at as usize];
            match (self.bytes.get(self.at), top.sort) {
                (Some(b']'), Sort::List) | (Some(b'}'), Sort::Object) => {
                    self.at += 1;
                    (top.to, top.after) = (self.at as u32, after);
                    self.tape.open.pop();
                }
                (Some(b','), sort) => {
                    self.at += 1;
                    if sort == Sort::Object {
                        self.space();
                        self.name()?;
                    }
                    return Ok(true);
                }
                (Some(_), _) => return Err("a comma or the end of the list or object is due".into()),
                (None, _) => return Err("it ends within a list or object".into()),
            }
        }
        Ok(false)
    }

    fn name(&mut self) -> Read<()> {
        if self.peek() != Some(b'"') {
            return Err("a name in quotes is due".into());
        }
        self.text()?;
        self.space();
        if self.takes(b":") { Ok(()) } else { Err("a colon is due".into()) }
    }

    fn number(&mut self) -> Read<Sort> {
        let mut sort = Sort::Whole;
        self.takes(b"-");
        if !self.takes(b"0") {
            self.digits()?;
        }
        if self.takes(b".") {
            sort = Sort::Fraction;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            sort = Sort::Fraction;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(sort)
    }

    fn digits(&mut self) -> Read<()> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err("a digit is due".into()) } else { Ok(()) }
    }

    /// A string, from its first quote on.
    fn text(&mut self) -> Read<()> {
        let from = self.at;
        let (mut ascii, mut escaped) = (true, false);
        self.at += 1;
        loop {
            ascii &= self.plain();
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err("a control character stands in a string".into()),
                None => return Err("it ends within a string".into()),
            }
        }
        self.at += 1;
        let at = self.push(Sort::Text, from)?;
        let node = &mut self.tape.nodes[at as usize];
        (node.escaped, node.ascii) = (escaped, ascii);
        Ok(())
    }

    /// Goes over characters that stand for themselves, eight at a time; true if all are ASCII.
    fn plain(&mut self) -> bool {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let is = |word: u64, byte: u8| {
            let differs = word ^ (ONES * u64::from(byte));
            differs.wrapping_sub(ONES) & !differs & HIGH
        };
        let mut high = 0;
        while let Some((eight, _)) = self.bytes[self.at..].split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            // The lowest bit that is set is right: borrows go upwards.
            let stops = is(word, b'"') | is(word, b'\\') | (word.wrapping_sub(ONES * 0x20) & !word & HIGH);
            if stops != 0 {
                let before = stops.trailing_zeros() / 8;
                high |= word & ((1u64 << (8 * before)) - 1) & HIGH;
                self.at += before as usize;
                return high == 0;
            }
            high |= word & HIGH;
            self.at += 8;
        }
        let from = self.at;
        while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..0x20)) {
            self.at += 1;
        }
        high == 0 && self.bytes[from..self.at].is_ascii()
    }

    fn escape(&mut self) -> Read<()> {
        self.at += 1;
        match self.peek().ok_or("it ends within a string")? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Ok(())
            }
            b'u' => self.unicode(),
            _ => Err("no escape is written so".into()),
        }
    }

    /// `uXXXX`, or two of them for a surrogate pair.
    fn unicode(&mut self) -> Read<()> {
        const HALF: &str = "half of a surrogate pair is no character";
        self.at += 1;
        let first = self.four()?;
        if !(0xd800..0xe000).contains(&first) {
            return Ok(());
        }
        if first >= 0xdc00 || !self.takes(b"\\u") {
            return Err(HALF.into());
        }
        if (0xdc00..0xe000).contains(&self.four()?) { Ok(()) } else { Err(HALF.into()) }
    }

    fn four(&mut self) -> Read<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(hexadecimal);
        let digits = digits.ok_or("four hexadecimal digits are due")?;
        self.at += 4;
        Ok(digits)
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
}

impl<'t, 'n> Value<'t, 'n> {
    fn node(&self) -> &'n Node {
        &self.nodes[self.at as usize]
    }

    /// What it is.
    #[must_use]
    pub fn sort(&self) -> Sort {
        self.node().sort
    }

    /// As it stands in the text: a string with its quotes.
    #[must_use]
    pub fn raw(&self) -> &'t str {
        let node = self.node();
        &self.text[node.from as usize..node.to as usize]
    }

    /// True of a string all of whose characters are ASCII and stand for themselves.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let node = self.node();
        node.ascii && !node.escaped
    }

    /// True of a string in which something is escaped.
    #[must_use]
    pub fn is_escaped(&self) -> bool {
        self.node().escaped
    }

    /// The string, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'t, str>> {
        let node = self.node();
        if node.sort != Sort::Text {
            return None;
        }
        let inner = &self.text[node.from as usize + 1..node.to as usize - 1];
        Some(if node.escaped { Cow::Owned(unescaped(inner)) } else { Cow::Borrowed(inner) })
    }

    /// Names and values of an object, in the order of the text; of anything else none.
    pub fn members(&self) -> impl Iterator<Item = (Self, Self)> + use<'t, 'n> {
        let all = if self.sort() == Sort::Object { self.children() } else { Children { next: *self, end: self.at } };
        Pairs(all)
    }

    /// The elements of a list; of anything else none.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'t, 'n> {
        if self.sort() == Sort::List { self.children() } else { Children { next: *self, end: self.at } }
    }

    fn children(&self) -> Children<'t, 'n> {
        Children { next: Self { at: self.at + 1, ..*self }, end: self.node().after }
    }

    /// Where it stands in the text.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let node = self.node();
        node.from as usize..node.to as usize
    }

    /// Where it stands on the tape.
    pub(super) fn place(&self) -> u32 {
        self.at
    }

    /// The value at a place of the same tape.
    pub(super) fn at(&self, at: u32) -> Self {
        Self { at, ..*self }
    }

    /// The place behind this value and all that is in it.
    pub(super) fn end(&self) -> u32 {
        self.node().after
    }
}

#[derive(Debug)]
struct Children<'t, 'n> {
    next: Value<'t, 'n>,
    end: u32,
}

impl<'t, 'n> Iterator for Children<'t, 'n> {
    type Item = Value<'t, 'n>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next.at >= self.end {
            return None;
        }
        let value = self.next;
        self.next.at = value.end();
        Some(value)
    }
}

#[derive(Debug)]
struct Pairs<'t, 'n>(Children<'t, 'n>);

impl<'t, 'n> Iterator for Pairs<'t, 'n> {
    type Item = (Value<'t, 'n>, Value<'t, 'n>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().zip(self.0.next())
    }
}

/// What a string of JSON says, from what stands between its quotes.
fn unescaped(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest.as_bytes()[at + 1..];
        let mut long = 2;
        out.push(match escape[0] {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                long = 6;
                let first = hexadecimal(&escape[1..5]).unwrap_or(0);
                let code = if (0xd800..0xdc00).contains(&first) {
                    long = 12;
                    0x1_0000 + ((first - 0xd800) << 10) + (hexadecimal(&escape[7..11]).unwrap_or(0xdc00) - 0xdc00)
                } else {
                    first
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => char::from(other),
        });
        rest = &rest[at + long..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
