//! Records: their lines, the canonical form that is hashed, what is taken out of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use unicode_normalization::UnicodeNormalization;

use crate::records::canonical::Exchange;
use crate::records::json::{Json, parse};
use crate::records::tape::{Limits, Sort, Tape, Value};
use crate::records::{Pattern, RecordParser, RedactionPolicy, Redactor, Verified};

/// A line that is read as a record is written so that it is read as the same.
pub(super) fn record_line(bytes: &[u8]) -> bool {
    let mut parser = RecordParser::default();
    let hash = parser.hash(bytes);
    let Ok(record) = parser.read(bytes) else { return false };
    assert_eq!(hash, Ok(record.content_sha256), "it has two hashes");
    let line = record.line();
    assert!(!line.contains('\n'), "it is no line");
    let again = parser.read(line.as_bytes()).expect("what is written is read");
    assert_eq!(again.verified(), Verified::Same);
    assert_eq!((again.content_sha256, again.line()), (record.content_sha256, line), "it is read as another");
    true
}

/// The form is what a simple way to make it gives, and has no other form.
pub(super) fn exchange_form(bytes: &[u8]) -> bool {
    let (mut tape, mut forms) = (Tape::default(), Exchange::default());
    let Ok(value) = tape.read(bytes, &Limits::default()) else { return false };
    let form = forms.form(value).to_owned();
    let tree = parse(bytes).expect("what a tape takes a tree takes");
    let mut simple = String::new();
    simply(&tree, &mut simple);
    assert_eq!(form, simple, "a simple way gives another");
    // A bare word is read as what is written in quotes.
    let read = tape.read(form.as_bytes(), &Limits::default()).expect("a form is read");
    let bare = holds_bare(read);
    let again = forms.form(read).to_owned();
    assert!(bare || again == form, "the form has another");
    let read = tape.read(again.as_bytes(), &Limits::default()).expect("its form is read");
    assert!(!holds_bare(read) && forms.form(read) == again, "there is no end of forms");
    true
}

fn holds_bare(value: Value<'_, '_>) -> bool {
    match value.sort() {
        Sort::NotFinite => true,
        Sort::List => value.items().any(holds_bare),
        Sort::Object => value.members().any(|(_, value)| holds_bare(value)),
        _ => false,
    }
}

/// As Python does it: a dictionary of the text, one of names in NFC, then sorted.
fn simply(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(text) => number(text, out),
        Json::Text(text) => simple_text(text, out),
        Json::List(list) => {
            out.push('[');
            for (n, value) in list.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                simply(value, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut dictionary: Vec<(&Cow<str>, &Json)> = Vec::new();
            for (name, value) in members {
                match dictionary.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = value,
                    None => dictionary.push((name, value)),
                }
            }
            let normal: BTreeMap<String, &Json> =
                dictionary.into_iter().map(|(name, value)| (name.nfc().collect(), value)).collect();
            out.push('{');
            for (n, (name, value)) in normal.into_iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                simple_text(&name, out);
                out.push(':');
                simply(value, out);
            }
            out.push('}');
        }
    }
}

fn simple_text(text: &str, out: &mut String) {
    let text: String = text.nfc().collect();
    // The short escapes of both are the same, and so is what they leave alone.
    out.push_str(&serde_json::to_string(&text).expect("a text is JSON"));
}

/// Through the doubles, always.
fn number(text: &str, out: &mut String) {
    if !text.contains(['.', 'e', 'E', 'N', 'I']) {
        out.push_str(if text == "-0" { "0" } else { text });
        return;
    }
    let x: f64 = text.parse().expect("a number is one");
    if !x.is_finite() {
        let sign = if x < 0.0 { "-" } else { "" };
        out.push_str(&if x.is_nan() { "\"NaN\"".to_owned() } else { format!("\"{sign}Infinity\"") });
        return;
    }
    let rounded: f64 = format!("{x:.14e}").parse().expect("it is written as a number");
    if rounded == 0.0 {
        out.push_str("0.0");
    } else if !rounded.is_finite() {
        out.push_str(if x < 0.0 { "-Infinity" } else { "Infinity" });
    } else if (1e-4..1e16).contains(&rounded.abs()) {
        let text = format!("{rounded}");
        out.push_str(&text);
        out.push_str(if text.contains('.') { "" } else { ".0" });
    } else {
        let text = format!("{rounded:e}");
        let (mantissa, exponent) = text.split_once('e').expect("it has an exponent");
        let exponent: i32 = exponent.parse().expect("it is a number");
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("{mantissa}e{sign}{:02}", exponent.abs()));
    }
}

/// What is left of a record verifies, and nothing is left to take out. The bytes are a response as JSON, or a text.
pub(super) fn redaction(bytes: &[u8]) -> bool {
    static REDACTOR: OnceLock<Redactor> = OnceLock::new();
    let redactor = REDACTOR.get_or_init(|| {
        let mut policy = RedactionPolicy::default();
        let patterns = ["email", "ipv4", "credit_card", "iban", "us_ssn", r"\bx.?y\b", "^a|b$", "c*"];
        policy.patterns = patterns.map(|pattern| Pattern { name: None, pattern: pattern.to_owned() }).to_vec();
        Redactor::new(&policy, [0; 32]).expect("the policy is right")
    });
    let mut tape = Tape::default();
    let text = String::from_utf8_lossy(bytes);
    let response = match tape.read(bytes, &Limits { depth: 900, ..Limits::default() }) {
        Ok(value) => value.raw().to_owned(),
        Err(_) => serde_json::to_string(&text).expect("a text is JSON"),
    };
    let line = format!(
        r#"{{"exchange_type": "", "source_system": "", "entity_type": "", "response": {response}, "x": {response}}}"#
    );
    let mut parser = RecordParser::default();
    let record = parser.read(line.as_bytes()).expect("it is a record");
    let redacted = redactor.apply(&record, &mut parser).expect("no pattern takes long");
    let Some(redacted) = redacted else { return false };
    assert!(redacted.record != record && redacted.count > 0, "nothing was replaced");
    let again = redactor.apply(&redacted.record, &mut parser).expect("no pattern takes long");
    assert_eq!(again, None, "something was left");
    let read = parser.read(redacted.record.line().as_bytes()).expect("what is left is a record");
    assert_eq!(read.verified(), Verified::Same);
    true
}
