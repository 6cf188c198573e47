//! What other systems keep: JSON, and the archives that are made of it.

use crate::packs::layouts::{Observer, Wanted};
use crate::records::canonical::jcs;
use crate::records::json::{Json, parse};

/// JSON: read as `serde_json` reads it where that can, and written so that it is read again.
pub(super) fn json(bytes: &[u8]) -> bool {
    let known = serde_json::from_slice::<serde_json::Value>(bytes);
    let Ok(value) = parse(bytes) else {
        assert!(known.is_err(), "what is JSON is not read");
        return false;
    };
    match &known {
        Ok(known) => assert!(same(&value, known), "it is read as another value"),
        Err(_) => assert!(beyond(&value, 1), "what is no JSON is read"),
    }
    let text = value.indented();
    assert!(text.is_ascii() && parse(text.as_bytes()).as_ref() == Ok(&value), "it is written in another form");
    let canonical = |value: &Json| {
        let mut out = String::new();
        jcs(value, &mut |piece| out.push_str(piece)).ok().map(|()| out)
    };
    if let Some(first) = canonical(&value) {
        let again = parse(first.as_bytes()).expect("a canonical form is JSON");
        // A whole number that a double holds for certain may become one that is too large to be sure of.
        assert!(canonical(&again).is_none_or(|second| second == first), "the canonical form has another");
    }
    true
}

/// True if they are one value, as far as the other can tell: numbers become doubles, of two members of one name the last stays.
fn same(value: &Json, known: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (value, known) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(a), Value::Bool(b)) => a == b,
        (Json::Text(a), Value::String(b)) => *a == **b,
        (Json::Number(text), Value::Number(number)) => {
            let (a, b) = (text.parse::<f64>(), number.as_f64());
            a.ok().zip(b).is_some_and(|(a, b)| (a - b).abs() <= a.abs() * 1e-15)
        }
        (Json::List(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(members), Value::Object(known)) => {
            known.iter().all(|(name, known)| value.get(name).is_some_and(|value| same(value, known)))
                && members.iter().all(|(name, _)| known.contains_key(&**name))
        }
        _ => false,
    }
}

/// True if something in a value is more than the other reads: a number that no double is, a deep nesting.
fn beyond(value: &Json, depth: usize) -> bool {
    depth > 127
        || match value {
            Json::Number(text) => {
                // It takes some of the very largest doubles for infinite: it rounds in steps.
                let is_sure = |number: f64| number.abs() < 1.797e308;
                !text.parse().is_ok_and(is_sure) || text.ends_with(|c: char| !c.is_ascii_digit())
            }
            Json::List(list) => list.iter().any(|value| beyond(value, depth + 1)),
            Json::Object(members) => members.iter().any(|(_, value)| beyond(value, depth + 1)),
            _ => false,
        }
}

/// Members of an archive: for each a byte for its sort, one for the length of its path, two for that of its content.
pub(super) fn layout(mut bytes: &[u8]) -> bool {
    let mut observer = Observer::new(Wanted::Any);
    let mut taken = std::collections::BTreeSet::new();
    while let Some(([sort, path, low, high], rest)) = bytes.split_first_chunk() {
        let (path, rest) = rest.split_at(usize::from(*path).min(rest.len()));
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (content, rest) = rest.split_at(len);
        bytes = rest;
        let checked = path.split(|b| *b == b'/').all(|name| !matches!(name, b"" | b"." | b".."));
        if !checked || !taken.insert(path) {
            continue;
        }
        match sort % 4 {
            0 => observer.folder(path),
            1 => observer.other(path, "a symlink"),
            _ => {
                observer.file(path, content.len() as u64);
                observer.data(content);
                observer.end_file();
            }
        }
    }
    let Ok(Some(seen)) = observer.finish() else { return false };
    assert!(seen.root.is_empty() || taken.iter().any(|path| path.starts_with(&seen.root)));
    let texts = [&seen.provenance.evidence.metrics, &seen.provenance.evidence.payload];
    for text in texts.into_iter().flatten() {
        serde_json::from_str::<serde_json::Value>(text).expect("what is kept of it is JSON");
    }
    let labels = &seen.provenance.labels;
    assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0), "labels ascend");
    true
}

/// Results in Parquet, as a part of an archive that is otherwise well.
pub(super) fn parquet(bytes: &[u8]) -> bool {
    let mut observer = Observer::new(Wanted::Any);
    let metadata = br#"{"investigation_id": "i", "status": "s", "evidence_count": 1, "files": ["evidence/002-q.json", "evidence/002-results.parquet"]}"#;
    let item = br#"{"seq": 2, "kind": "query_result", "sample_rows": [{"a": 1}]}"#;
    let files =
        [("evidence/002-q.json", &item[..]), ("evidence/002-results.parquet", bytes), ("metadata.json", metadata)];
    for (path, content) in files {
        observer.file(path.as_bytes(), content.len() as u64);
        observer.data(content);
        observer.end_file();
    }
    let seen = observer.finish().expect("its metadata are well").expect("it is an investigation archive");
    !seen.faults.iter().any(|fault| fault.what.starts_with("it is no Parquet"))
}
