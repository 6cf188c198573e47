//! JSON as it stands in a text: numbers as they are written, members in their order, doubled ones too.
//!
//! `serde_json` reads a number into 64 bits, keeps the last of two members of one name and, with the feature that keeps numbers whole,
//! takes an object with a certain member for a number. Hashes over JSON of others can afford none of this. What both read is the same
//! (`fuzz/src/properties/records.rs`).

use std::borrow::Cow;

/// Values in values that are read; Python's reader, which wrote most of what is read here, stops a little below it.
pub const MAX_DEPTH: usize = 1000;
/// Bytes of a text that is read.
pub const MAX_BYTES: usize = 32 << 20;
/// Bytes that the values of a text may take in memory, its strings without escapes not counted.
const MAX_MEMORY: usize = 64 << 20;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// As it is written; Python's `NaN`, `Infinity` and `-Infinity` too.
    Number(Cow<'a, str>),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Json<'a>>),
    /// Names and values in the order of the text; a name may stand there twice.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Why a text is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (line {line}, column {column})")]
pub struct JsonError {
    /// What is wrong.
    pub what: &'static str,
    /// Where, from 1.
    pub line: usize,
    /// The byte in that line, from 1.
    pub column: usize,
}

/// Reads a text that holds one value.
///
/// # Errors
/// If it is no JSON (RFC 8259, or a bare `NaN`, `Infinity`, `-Infinity`), not UTF-8, holds half of a surrogate pair, or is too long, deep or large.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, JsonError> {
    if bytes.len() > MAX_BYTES {
        return Err(JsonError { what: "it is longer than the 32 MiB that are read", line: 1, column: 1 });
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => return Err(JsonError::at(bytes, e.valid_up_to(), "it is not UTF-8")),
    };
    let mut reader = Reader { text, at: 0, depth: 0, memory: 0 };
    let value = reader.value().and_then(|value| {
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err("something stands behind the value") }
    });
    value.map_err(|what| JsonError::at(bytes, reader.at, what))
}

impl JsonError {
    fn at(bytes: &[u8], at: usize, what: &'static str) -> Self {
        let before = &bytes[..at];
        let line = before.split(|b| *b == b'\n').count();
        let column = at - before.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1) + 1;
        Self { what, line, column }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    memory: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn charge(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.memory += bytes;
        if self.memory > MAX_MEMORY {
            Err("it holds more values than fit into the memory that is granted")
        } else {
            Ok(())
        }
    }

    fn value(&mut self) -> Result<Json<'a>, &'static str> {
        self.space();
        let value = match self.peek().ok_or("it ends where a value is due")? {
            b'n' if self.takes("null") => Json::Null,
            b't' if self.takes("true") => Json::Bool(true),
            b'f' if self.takes("false") => Json::Bool(false),
            b'N' if self.takes("NaN") => Json::Number("NaN".into()),
            b'I' if self.takes("Infinity") => Json::Number("Infinity".into()),
            b'-' if self.takes("-Infinity") => Json::Number("-Infinity".into()),
            b'-' | b'0'..=b'9' => self.number()?,
            b'"' => Json::Text(self.text()?),
            b'[' => self.nested(Self::list)?,
            b'{' => self.nested(Self::object)?,
            _ => return Err("no value begins so"),
        };
        Ok(value)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json<'a>, &'static str>) -> Result<Json<'a>, &'static str> {
        if self.depth == MAX_DEPTH {
            return Err("it is nested more than 1000 deep");
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// True if another element follows, false behind the last.
    fn more(&mut self, first: bool, close: u8) -> Result<bool, &'static str> {
        self.space();
        match self.peek() {
            Some(b) if b == close => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err("a comma or the end of the list or object is due"),
            None => Err("it ends within a list or object"),
        }
    }

    fn list(&mut self) -> Result<Json<'a>, &'static str> {
        let mut list = Vec::new();
        while self.more(list.is_empty(), b']')? {
            self.charge(size_of::<Json>())?;
            list.push(self.value()?);
        }
        Ok(Json::List(list))
    }

    fn object(&mut self) -> Result<Json<'a>, &'static str> {
        let mut members = Vec::new();
        while self.more(members.is_empty(), b'}')? {
            self.charge(size_of::<(Cow<str>, Json)>())?;
            self.space();
            if self.peek() != Some(b'"') {
                return Err("a name in quotes is due");
            }
            let name = self.text()?;
            self.space();
            if !self.takes(":") {
                return Err("a colon is due");
            }
            members.push((name, self.value()?));
        }
        Ok(Json::Object(members))
    }

    fn number(&mut self) -> Result<Json<'a>, &'static str> {
        let from = self.at;
        self.takes("-");
        if !self.takes("0") {
            self.digits()?;
        }
        if self.takes(".") {
            self.digits()?;
        }
        if self.takes("e") || self.takes("E") {
            let _signed = self.takes("+") || self.takes("-");
            self.digits()?;
        }
        Ok(Json::Number(self.text[from..self.at].into()))
    }

    fn digits(&mut self) -> Result<(), &'static str> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err("a digit is due") } else { Ok(()) }
    }

    /// A string, from its first quote on.
    fn text(&mut self) -> Result<Cow<'a, str>, &'static str> {
        self.at += 1;
        let mut unescaped: Option<String> = None;
        loop {
            let from = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..0x20)) {
                self.at += 1;
            }
            let plain = &self.text[from..self.at];
            if let Some(text) = &mut unescaped {
                text.push_str(plain);
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.charge(unescaped.as_ref().map_or(0, String::len))?;
                    return Ok(unescaped.map_or(Cow::Borrowed(plain), Cow::Owned));
                }
                Some(b'\\') => {
                    let c = self.escape()?;
                    unescaped.get_or_insert_with(|| plain.to_owned()).push(c);
                }
                Some(_) => return Err("a control character stands in a string"),
                None => return Err("it ends within a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        self.at += 1;
        let letter = self.peek().ok_or("it ends within a string")?;
        let c = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err("no escape is written so"),
        };
        self.at += 1;
        Ok(c)
    }

    /// `uXXXX`, or two of them for a surrogate pair.
    fn unicode(&mut self) -> Result<char, &'static str> {
        const HALF: &str = "half of a surrogate pair is no character";
        self.at += 1;
        let first = self.four()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(HALF);
        }
        if first >= 0xdc00 || !self.takes("\\u") {
            return Err(HALF);
        }
        let second = self.four()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(HALF);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(HALF)
    }

    fn four(&mut self) -> Result<u32, &'static str> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok()).ok_or("four hexadecimal digits are due")?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| "four hexadecimal digits are due")
    }
}

impl<'a> Json<'a> {
    /// The members, if it is an object.
    #[must_use]
    pub fn members(&self) -> Option<&[(Cow<'a, str>, Json<'a>)]> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// The elements, if it is a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Json<'a>]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The member of a name, if it is an object that has it: the last of several, as Python has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.members()?.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Sets a member, where it stands or at the end.
    pub fn set(&mut self, name: &'a str, value: Json<'a>) {
        let Self::Object(members) = self else { return };
        match members.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => members.push((name.into(), value)),
        }
    }

    /// The name of a member that stands in this object twice.
    #[must_use]
    pub fn doubled(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.members()?.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }

    /// As Python writes it with an indent of 2: ASCII, in the order of the members, numbers as they were written; no line end.
    #[must_use]
    pub fn indented(&self) -> String {
        let mut out = String::new();
        self.indent(0, &mut out);
        out
    }

    fn indent(&self, depth: usize, out: &mut String) {
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        };
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => ascii(text, out),
            Self::List(list) if list.is_empty() => out.push_str("[]"),
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::List(list) => {
                out.push('[');
                for (n, value) in list.iter().enumerate() {
                    out.push_str(if n == 0 { "" } else { "," });
                    line(out, depth + 1);
                    value.indent(depth + 1, out);
                }
                line(out, depth);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (n, (name, value)) in members.iter().enumerate() {
                    out.push_str(if n == 0 { "" } else { "," });
                    line(out, depth + 1);
                    ascii(name, out);
                    out.push_str(": ");
                    value.indent(depth + 1, out);
                }
                line(out, depth);
                out.push('}');
            }
        }
    }
}

/// A string in quotes, whatever is not ASCII escaped.
fn ascii(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let text = br#" {"big": 123456789012345678901234567890, "z": 1.50, "a": [-0, 1E400, NaN, -Infinity], "z": "\ud83d\ude00\u00e9\/"} "#;
        let value = parse(text).unwrap();
        let number = |text: &'static str| Json::Number(text.into());
        assert_eq!(value.get("big"), Some(&number("123456789012345678901234567890")));
        assert_eq!(value.get("z"), Some(&Json::Text("😀é/".into())), "the last of two");
        assert_eq!(value.doubled(), Some("z"));
        let list = ["-0", "1E400", "NaN", "-Infinity"].map(number).to_vec();
        assert_eq!(value.get("a"), Some(&Json::List(list)));
    }

    #[test]
    fn what_is_no_json() {
        for (text, what) in [
            (&b""[..], "ends"),
            (b"[1,]", "begins"),
            (b"[1 2]", "comma"),
            (b"{\"a\" 1}", "colon"),
            (b"{a: 1}", "quotes"),
            (b"{\"a\": 1,}", "quotes"),
            (b"01", "behind"),
            (b"1.", "digit"),
            (b"-", "digit"),
            (b"1e+", "digit"),
            (b"+1", "begins"),
            (b"nul", "begins"),
            (b"'a'", "begins"),
            (b"\"a", "ends"),
            (b"\"\\x\"", "escape"),
            (b"\"\\u12g4\"", "hexadecimal"),
            (b"\"\\u+123\"", "hexadecimal"),
            (b"\"\\ud800\"", "surrogate"),
            (b"\"\\udc00\\ud800\"", "surrogate"),
            (b"\"\\ud800\\u0041\"", "surrogate"),
            (b"\"\t\"", "control"),
            (b"\"\xff\"", "UTF-8"),
            (b"\xef\xbb\xbf1", "begins"),
            (b"1 1", "behind"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.what.contains(what), "{}: {error}", String::from_utf8_lossy(text));
        }
        assert_eq!(parse(b"{\n \"a\": x}").unwrap_err().to_string(), "no value begins so (line 2, column 7)");
    }

    /// On a stack as any thread has one, in a build without optimisation too.
    #[test]
    fn depth_and_memory_are_bounded() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        let deep = move || (parse(&nested(MAX_DEPTH)).is_ok(), parse(&nested(1_000_000)).unwrap_err().what);
        let ran = std::thread::Builder::new().stack_size(2 << 20).spawn(deep).unwrap().join().unwrap();
        assert_eq!(ran, (true, "it is nested more than 1000 deep"));
        let many = [&b"["[..], &b"1,".repeat(8 << 20), b"1]"].concat();
        assert!(parse(&many).unwrap_err().what.contains("memory"));
        assert!(parse(&vec![b' '; MAX_BYTES + 1]).unwrap_err().what.contains("longer"));
    }

    #[test]
    fn as_python_writes() {
        let value = parse(r#"{"b":[1,{}, []],"a":{"é\u0000\u007f😀":"\n\"\\"},"n":1.50}"#.as_bytes()).unwrap();
        let wanted = "{\n  \"b\": [\n    1,\n    {},\n    []\n  ],\n  \"a\": {\n    \"\\u00e9\\u0000\\u007f\\ud83d\\ude00\": \
                      \"\\n\\\"\\\\\"\n  },\n  \"n\": 1.50\n}";
        assert_eq!(value.indented(), wanted);
        assert_eq!(parse(wanted.as_bytes()).unwrap(), value);
    }
}
