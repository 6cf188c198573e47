//! The canonical form over which records are hashed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::super::quoted::quoted;
use super::super::tape::{Sort, Value};
use super::float;

/// Writes the canonical form of records; keeps its memory between values. No value is without one: what could have none, half of a
/// surrogate pair, is not read ([`super::super::tape`]).
///
/// * Strings and names are brought into NFC, names sorted by code points; `,` and `:` stand between, no white space.
/// * Of names that are equal then, one stays. Python reads an object into a dictionary first, which keeps the place of the first of
///   several members of one name and the value of the last; of different names that NFC makes equal, the last place wins.
/// * Whole numbers are their digits, of any length (`-0` is `0`). Python 3.11 does not read a number of more than 4,300 digits, so the
///   other system has no hash for it; here it has the one that follows from the rule.
/// * A number with a fraction or an exponent is rounded to 15 significant digits and printed as Python does, always with a point or an exponent.
/// * NFC is that of a newer Unicode than Python 3.11's, 14. They differ for characters alone that were assigned later.
/// * `NaN`, `Infinity`, `-Infinity` and what is beyond all doubles are the strings of these names; a double that only rounding takes
///   beyond all doubles is the bare word.
///
/// ```
/// use larder::records::canonical::Exchange;
/// use larder::records::tape::{Limits, Tape};
///
/// let mut tape = Tape::default();
/// let value = tape.read(br#"{"b": [1, 1.0, 1E3], "a": "e\u0301"}"#, &Limits::default())?;
/// assert_eq!(Exchange::default().form(value), r#"{"a":"é","b":[1,1.0,1000.0]}"#);
/// # Ok::<(), larder::records::json::JsonError>(())
/// ```
#[derive(Debug, Default)]
pub struct Exchange {
    out: String,
    members: Vec<Member>,
    names: String,
    open: Vec<Open>,
}

/// A member of an object that is being written.
#[derive(Debug, Clone)]
struct Member {
    name: Name,
    /// Where its name stands on the tape.
    at: u32,
    value: u32,
}

/// A name in NFC.
#[derive(Debug, Clone)]
enum Name {
    /// So it stands in the text.
    Plain(u32),
    /// Part of [`Exchange::names`].
    Made(Range<usize>),
}

/// What is being written.
#[derive(Debug)]
enum Open {
    List {
        first: u32,
        next: u32,
        end: u32,
    },
    /// Members from `next` on; when it ends, members and names are cut to where they were.
    Object {
        next: usize,
        members: usize,
        names: usize,
    },
}

impl Exchange {
    /// The canonical form of a value.
    pub fn form(&mut self, value: Value<'_, '_>) -> &str {
        self.out.clear();
        self.push(value);
        &self.out
    }

    /// Forgets what was written.
    pub(in super::super) fn clear(&mut self) {
        self.out.clear();
    }

    /// Appends as it is.
    pub(in super::super) fn push_raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// What was written since.
    pub(in super::super) fn written(&self) -> &str {
        &self.out
    }

    /// Appends the form of a value.
    pub(in super::super) fn push(&mut self, root: Value<'_, '_>) {
        self.begin(root);
        while let Some(top) = self.open.last_mut() {
            let next = match top {
                Open::List { first, next, end } => {
                    let at = *next;
                    if at >= *end {
                        self.out.push(']');
                        self.open.pop();
                        continue;
                    }
                    if at > *first {
                        self.out.push(',');
                    }
                    *next = root.at(at).end();
                    at
                }
                Open::Object { next, members, names } => {
                    let Some(member) = self.members.get(*next) else {
                        self.members.truncate(*members);
                        self.names.truncate(*names);
                        self.out.push('}');
                        self.open.pop();
                        continue;
                    };
                    if *next > *members {
                        self.out.push(',');
                    }
                    *next += 1;
                    match &member.name {
                        Name::Plain(at) => self.out.push_str(root.at(*at).raw()),
                        Name::Made(range) => push_quoted(&self.names[range.clone()], &mut self.out),
                    }
                    self.out.push(':');
                    member.value
                }
            };
            self.begin(root.at(next));
        }
    }

    /// Appends a value, or the begin of a list or object.
    fn begin(&mut self, value: Value<'_, '_>) {
        match value.sort() {
            Sort::Null | Sort::True | Sort::False => self.out.push_str(value.raw()),
            Sort::Whole => self.out.push_str(if value.raw() == "-0" { "0" } else { value.raw() }),
            Sort::Fraction | Sort::NotFinite => float::push(value.raw(), &mut self.out),
            Sort::Text => self.text(value),
            Sort::List => {
                self.out.push('[');
                let first = value.place() + 1;
                self.open.push(Open::List { first, next: first, end: value.end() });
            }
            Sort::Object => {
                self.out.push('{');
                let (members, names) = (self.members.len(), self.names.len());
                self.collect(value, members);
                self.open.push(Open::Object { next: members, members, names });
            }
        }
    }

    fn text(&mut self, value: Value<'_, '_>) {
        if value.is_plain() {
            self.out.push_str(value.raw());
            return;
        }
        let text = value.text().unwrap_or_default();
        match normal(&text) {
            // Nothing is escaped, nothing need be.
            None if !value.is_escaped() => self.out.push_str(value.raw()),
            None => push_quoted(&text, &mut self.out),
            Some(text) => push_quoted(&text, &mut self.out),
        }
    }

    /// The members of an object, in order, behind those that are there.
    fn collect(&mut self, object: Value<'_, '_>, from: usize) {
        let mut ascend = true;
        for (name, value) in object.members() {
            let made = if name.is_plain() {
                Name::Plain(name.place())
            } else {
                let text = name.text().unwrap_or_default();
                let start = self.names.len();
                self.names.push_str(&normal(&text).map_or(text, Cow::Owned));
                Name::Made(start..self.names.len())
            };
            let member = Member { name: made, at: name.place(), value: value.place() };
            if ascend && self.members.len() > from {
                let last = &self.members[self.members.len() - 1];
                ascend = self.name_of(object, last) < self.name_of(object, &member);
            }
            self.members.push(member);
        }
        if ascend {
            return;
        }
        let mut members = self.members.split_off(from);
        members.sort_by(|a, b| self.name_of(object, a).cmp(self.name_of(object, b)));
        let groups = members.chunk_by(|a, b| self.name_of(object, a) == self.name_of(object, b));
        let kept: Vec<_> =
            groups.map(|group| if group.len() == 1 { &group[0] } else { survivor(object, group) }).collect();
        self.members.extend(kept.into_iter().cloned());
    }

    fn name_of<'a>(&'a self, root: Value<'a, '_>, member: &'a Member) -> &'a str {
        match &member.name {
            Name::Plain(at) => {
                let raw = root.at(*at).raw();
                &raw[1..raw.len() - 1]
            }
            Name::Made(range) => &self.names[range.clone()],
        }
    }
}

/// Of members whose names are equal in NFC, in the order of the text, the one that stays.
fn survivor<'a>(root: Value<'_, '_>, group: &'a [Member]) -> &'a Member {
    let mut places: HashMap<Cow<str>, (usize, usize)> = HashMap::new();
    for (at, member) in group.iter().enumerate() {
        let name = root.at(member.at).text().unwrap_or_default();
        places.entry(name).and_modify(|(_, last)| *last = at).or_insert((at, at));
    }
    let (_, last) = places.into_values().max().unwrap_or_default();
    &group[last]
}

/// A text in NFC, if it is in another form.
fn normal(text: &str) -> Option<String> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return None;
    }
    Some(text.nfc().collect())
}

/// The text in NFC and in NFD, where these are others: keys that are hashed alike.
pub fn twins(text: &str) -> impl Iterator<Item = String> {
    let forms: [String; 2] = [text.nfc().collect(), text.nfd().collect()];
    let text = text.to_owned();
    forms.into_iter().filter(move |form| *form != text)
}

/// A text in NFC, as hashes see it.
#[must_use]
pub fn nfc(text: &str) -> Cow<'_, str> {
    normal(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn push_quoted(text: &str, out: &mut String) {
    quoted(text, &mut |piece| out.push_str(piece));
}

#[cfg(test)]
mod tests {
    use super::super::super::tape::{Limits, Tape};
    use super::*;
    use crate::codec::Sha256;

    const VECTORS: &str = include_str!("../../../tests/data/records/canonical_vectors.jsonl");

    fn form(text: &str) -> String {
        let mut tape = Tape::default();
        let value = tape.read(text.as_bytes(), &Limits::default()).unwrap();
        Exchange::default().form(value).to_owned()
    }

    /// What the other system computed, through one tape and one writer, so that nothing of a value is left for the next.
    #[test]
    fn vectors_bit_for_bit() {
        let (mut tape, mut forms) = (Tape::default(), Exchange::default());
        let (mut count, mut errors) = (0, 0);
        for line in VECTORS.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let read = tape.read(vector["input_json"].as_str().unwrap().as_bytes(), &Limits::default());
            if let Some(wanted) = vector["canonical"].as_str() {
                let found = forms.form(read.unwrap());
                assert_eq!(found, wanted, "{line}");
                let mut hash = Sha256::default();
                hash.update(found.as_bytes());
                assert_eq!(hash.hex(), vector["sha256"].as_str().unwrap());
            } else {
                assert!(read.unwrap_err().what.contains("surrogate"), "{line}");
                errors += 1;
            }
            count += 1;
        }
        assert_eq!((count, errors), (96, 2));
    }

    #[test]
    fn whole_numbers_of_any_length() {
        for digits in [1, 20, 4300, 4301, 100_000] {
            for text in ["7".repeat(digits), format!("-{}", "7".repeat(digits))] {
                assert_eq!(form(&text), text);
            }
        }
        assert_eq!(form("[-0,0,-1]"), "[0,0,-1]");
    }

    /// As a dictionary of Python is left with, filled from the text and then again with names in NFC.
    #[test]
    fn names_that_become_equal() {
        for (text, wanted) in [
            (r#"{"a":1,"a":2,"b":3,"a":4}"#, r#"{"a":4,"b":3}"#),
            (r#"{"\u00e9":1,"e\u0301":2}"#, r#"{"é":2}"#),
            (r#"{"e\u0301":2,"\u00e9":1}"#, r#"{"é":1}"#),
            // The first of é stands before: that it comes again moves it nowhere.
            (r#"{"\u00e9":1,"e\u0301":2,"\u00e9":3}"#, r#"{"é":2}"#),
            (r#"{"\u00e9":1,"e\u0301":2,"e\u0301":3,"\u00e9":4}"#, r#"{"é":3}"#),
            (r#"{"K":1,"\u212a":2}"#, r#"{"K":2}"#),
            (r#"{"\u212a":1,"K":2,"k":0}"#, r#"{"K":2,"k":0}"#),
            (r#"{"x":{"e\u0301":{"é":[{"e\u0301":1}]}},"a":{}}"#, r#"{"a":{},"x":{"é":{"é":[{"é":1}]}}}"#),
        ] {
            assert_eq!(form(text), wanted, "{text}");
        }
    }

    #[test]
    fn order_is_that_of_code_points() {
        assert_eq!(
            form(r#"{"\ud83d\ude00":1,"\uffff":2,"\ue000":3,"é":4,"z":5,"":6}"#),
            "{\"\":6,\"z\":5,\"é\":4,\"\u{e000}\":3,\"\u{ffff}\":2,\"😀\":1}"
        );
        // Sorted behind NFC, not before: U+2126 becomes U+03A9.
        assert_eq!(form(r#"{"\u03aa":1,"\u2126":2}"#), "{\"Ω\":2,\"Ϊ\":1}");
    }

    #[test]
    fn strings() {
        for (text, wanted) in [
            (r#""\u0041\/\"\\\b\f\n\r\t\u0000\u001F\u007f""#, "\"A/\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\""),
            ("\"\u{2028}\u{feff}\u{ffff}\u{10ffff}\"", "\"\u{2028}\u{feff}\u{ffff}\u{10ffff}\""),
            (r#""\u0065\u0301\n""#, "\"é\\n\""),
            ("\"e\u{301}\"", "\"é\""),
            ("\"\u{1100}\u{1161}\u{11a8}\"", "\"\u{ac01}\""),
        ] {
            assert_eq!(form(text), wanted, "{text}");
        }
    }

    /// However deep: no stack grows, in whatever thread.
    #[test]
    fn depth() {
        let deep = |depth: usize| format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        let text = deep(400_000);
        let canonical = move || {
            let mut tape = Tape::default();
            let limits = Limits { depth: usize::MAX, ..Limits::default() };
            Exchange::default().form(tape.read(text.as_bytes(), &limits).unwrap()) == text
        };
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(canonical).unwrap();
        assert!(thread.join().unwrap());
    }

    /// Of very many spellings of one name each is looked at once.
    #[test]
    fn many_spellings() {
        let spelled = |n: u32| (0..17).map(|bit| if n >> bit & 1 == 0 { "é" } else { "e\u{301}" }).collect::<String>();
        let members: Vec<_> = (0..1 << 17).map(|n| format!("\"{}\":{n}", spelled(n))).collect();
        assert_eq!(
            form(&format!("{{{}}}", members.join(","))),
            format!("{{\"{}\":{}}}", "é".repeat(17), (1 << 17) - 1)
        );
    }
}
