//! JSON as it stands in a text: numbers as they are written, members in their order, doubled ones too.
//!
//! `serde_json` reads a number into 64 bits, keeps the last of two members of one name and, with the feature that keeps numbers whole,
//! takes an object with a certain member for a number. Hashes over JSON of others can afford none of this. What both read is the same
//! (`fuzz/src/properties/records.rs`).

use std::borrow::Cow;

use super::quoted::quoted;
pub use super::tape::JsonError;
use super::tape::{Limits, Sort, Tape, Value};

/// Values in values that are read; Python's reader, which wrote most of what is read here, stops a little below it.
pub const MAX_DEPTH: usize = 1000;
/// Bytes of a text that is read.
pub const MAX_BYTES: usize = 32 << 20;
/// Bytes that the values of a text may take in memory, its strings without escapes not counted.
const MAX_MEMORY: usize = 64 << 20;
const TOO_MANY: &str = "it holds more values than fit into the memory that is granted";

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

/// Reads a text that holds one value.
///
/// # Errors
/// If it is no JSON (RFC 8259, or a bare `NaN`, `Infinity`, `-Infinity`), not UTF-8, holds half of a surrogate pair, or is too long, deep or large.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, JsonError> {
    let mut tape = Tape::default();
    let root =
        tape.read(bytes, &Limits { depth: MAX_DEPTH, bytes: MAX_BYTES, values: MAX_MEMORY / size_of::<Json>() })?;
    let mut granted = MAX_MEMORY;
    tree(root, &mut granted).ok_or(JsonError { what: TOO_MANY.into(), line: 1, column: 1 })
}

/// The tree of a value, as long as the memory that is granted holds it.
fn tree<'t>(value: Value<'t, '_>, granted: &mut usize) -> Option<Json<'t>> {
    Some(match value.sort() {
        Sort::Null => Json::Null,
        Sort::True => Json::Bool(true),
        Sort::False => Json::Bool(false),
        Sort::Whole | Sort::Fraction | Sort::NotFinite => Json::Number(value.raw().into()),
        Sort::Text => {
            let text = value.text()?;
            *granted = granted.checked_sub(if value.is_escaped() { text.len() } else { 0 })?;
            Json::Text(text)
        }
        Sort::List => {
            let mut list = Vec::new();
            for item in value.items() {
                *granted = granted.checked_sub(size_of::<Json>())?;
                list.push(tree(item, granted)?);
            }
            Json::List(list)
        }
        Sort::Object => {
            let mut members = Vec::new();
            for (name, value) in value.members() {
                *granted = granted.checked_sub(size_of::<(Cow<str>, Json)>())?;
                members.push((name.text()?, tree(value, granted)?));
            }
            Json::Object(members)
        }
    })
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
        self.indent(0, ascii, &mut out);
        out
    }

    /// The same, what is not ASCII as it is.
    #[must_use]
    pub fn indented_unescaped(&self) -> String {
        let mut out = String::new();
        self.indent(0, |text, out| quoted(text, &mut |piece| out.push_str(piece)), &mut out);
        out
    }

    fn indent(&self, depth: usize, text_of: fn(&str, &mut String), out: &mut String) {
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        };
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => text_of(text, out),
            Self::List(list) if list.is_empty() => out.push_str("[]"),
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::List(list) => {
                out.push('[');
                for (n, value) in list.iter().enumerate() {
                    out.push_str(if n == 0 { "" } else { "," });
                    line(out, depth + 1);
                    value.indent(depth + 1, text_of, out);
                }
                line(out, depth);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (n, (name, value)) in members.iter().enumerate() {
                    out.push_str(if n == 0 { "" } else { "," });
                    line(out, depth + 1);
                    text_of(name, out);
                    out.push_str(": ");
                    value.indent(depth + 1, text_of, out);
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
        assert_eq!(ran, (true, "it is nested more than 1000 deep".into()));
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
