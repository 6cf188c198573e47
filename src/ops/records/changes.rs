//! What differs between two snapshots of a dataset, key by key, and between two records, member by member.

use crate::model::{Bits, Entry};
use crate::records::json::{Json, parse};
use crate::records::{Record, RecordHash, RecordParser};
use crate::store::StoreError;
use crate::tree::TreeDiff;

use super::dataset::{Dataset, checked};
use super::error::RecordsError;
use super::key::{BY_KEY, KeyPath};

/// A key under which something else stands.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Its source.
    pub source: String,
    /// Its entity.
    pub entity: String,
    /// The key; nothing of a record without one.
    pub key: Option<String>,
    /// What stood there.
    pub before: Option<RecordHash>,
    /// What stands there.
    pub after: Option<RecordHash>,
    /// Where the contents of the two differ.
    pub changes: Vec<JsonChange>,
}

/// A place where two records differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonChange {
    /// As a JSON pointer (RFC 6901).
    pub path: String,
    /// What was there, as JSON.
    pub before: Option<String>,
    /// What is there.
    pub after: Option<String>,
}

/// A stream of keys under which something else stands, in the order of their paths.
#[derive(Debug)]
pub struct RecordDiff {
    old: Dataset,
    new: Dataset,
    diff: Option<TreeDiff>,
    parser: RecordParser,
}

impl RecordDiff {
    /// Between two snapshots.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(old: Dataset, new: Dataset) -> Result<Self, RecordsError> {
        let folder = |dataset: &Dataset| -> Result<Option<Entry>, StoreError> {
            let found = dataset.pages().resolve(dataset.root(), BY_KEY.as_bytes())?;
            // A view would be passed over.
            Ok(found.map(|found| Entry { bits: Bits::default(), ..found.entry }))
        };
        let (before, after) = (folder(&old)?, folder(&new)?);
        let empty =
            |other: &Entry| Entry { body: crate::model::Body::Symlink(Box::from(&b"none"[..])), ..other.clone() };
        let diff = match (&before, &after) {
            (None, None) => None,
            (Some(before), Some(after)) => Some(new.pages().diff(BY_KEY.as_bytes(), before, after)?),
            (Some(before), None) => Some(new.pages().diff(BY_KEY.as_bytes(), before, &empty(before))?),
            (None, Some(after)) => Some(new.pages().diff(BY_KEY.as_bytes(), &empty(after), after)?),
        };
        Ok(Self { old, new, diff, parser: RecordParser::of_stored() })
    }

    /// The next one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn next(&mut self) -> Result<Option<Changed>, RecordsError> {
        loop {
            let Some(diff) = &mut self.diff else { return Ok(None) };
            let Some(found) = diff.next()? else { return Ok(None) };
            let is_file = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.file().is_some());
            let (had, has) = (is_file(&found.old), is_file(&found.new));
            if !had && !has {
                continue;
            }
            let path: Vec<u8> = found.path.iter().map(|b| if *b == b'/' { 0 } else { *b }).collect();
            let path = KeyPath::from_bytes(path.get(BY_KEY.len() + 1..).unwrap_or_default());
            let before = if had { self.read(false, &path)? } else { None };
            let after = if has { self.read(true, &path)? } else { None };
            let hash = |record: &Option<Record>| record.as_ref().map(|record| record.content_sha256);
            if hash(&before) == hash(&after) {
                continue;
            }
            let Some(named) = after.as_ref().or(before.as_ref()) else { continue };
            let changes = match (&before, &after) {
                (Some(before), Some(after)) => content_changes(before, after),
                _ => Vec::new(),
            };
            return Ok(Some(Changed {
                source: named.source_system.clone(),
                entity: named.entity_type.clone(),
                key: named.natural_key.clone(),
                before: hash(&before),
                after: hash(&after),
                changes,
            }));
        }
    }

    fn read(&mut self, new: bool, path: &KeyPath) -> Result<Option<Record>, RecordsError> {
        let dataset = if new { &self.new } else { &self.old };
        let line = dataset.current_at(path)?;
        line.map(|line| checked(&mut self.parser, &line)).transpose()
    }
}

/// Where the contents of two records of one key differ.
fn content_changes(before: &Record, after: &Record) -> Vec<JsonChange> {
    let mut changes = Vec::new();
    if before.exchange_type != after.exchange_type {
        let text = |record: &Record| Some(text_of(&Json::Text(record.exchange_type.as_str().into())));
        changes.push(JsonChange { path: "/exchange_type".to_owned(), before: text(before), after: text(after) });
    }
    for (name, before, after) in
        [("/request", &before.request, &after.request), ("/response", &before.response, &after.response)]
    {
        // What is too deep or large for a tree is compared as it is written.
        let whole = |text: &str| Json::Number(text.to_owned().into());
        let read = |text: &str| parse(text.as_bytes()).map_or_else(|_| whole(text), |json| text_free(&json));
        let (before, after) = (read(before.as_str()), read(after.as_str()));
        compare(&before, &after, name.to_owned(), &mut changes);
    }
    changes
}

/// The same value with a life of its own.
fn text_free(json: &Json) -> Json<'static> {
    match json {
        Json::Null => Json::Null,
        Json::Bool(value) => Json::Bool(*value),
        Json::Number(text) => Json::Number(text.clone().into_owned().into()),
        Json::Text(text) => Json::Text(text.clone().into_owned().into()),
        Json::List(list) => Json::List(list.iter().map(text_free).collect()),
        Json::Object(members) => Json::Object(
            members.iter().map(|(name, value)| (name.clone().into_owned().into(), text_free(value))).collect(),
        ),
    }
}

/// Adds the places where two values differ. Lists are compared position by position.
fn compare(before: &Json, after: &Json, path: String, changes: &mut Vec<JsonChange>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Json::Object(old), Json::Object(new)) => {
            for (name, value) in old {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                match after.get(name) {
                    Some(after) => compare(value, after, path, changes),
                    None => changes.push(JsonChange { path, before: Some(text_of(value)), after: None }),
                }
            }
            for (name, value) in new.iter().filter(|(name, _)| before.get(name).is_none()) {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                changes.push(JsonChange { path, before: None, after: Some(text_of(value)) });
            }
        }
        (Json::List(old), Json::List(new)) => {
            for at in 0..old.len().max(new.len()) {
                let path = format!("{path}/{at}");
                match (old.get(at), new.get(at)) {
                    (Some(old), Some(new)) => compare(old, new, path, changes),
                    (old, new) => {
                        changes.push(JsonChange { path, before: old.map(text_of), after: new.map(text_of) });
                    }
                }
            }
        }
        _ => changes.push(JsonChange { path, before: Some(text_of(before)), after: Some(text_of(after)) }),
    }
}

/// A value as JSON, its numbers as they were written.
fn text_of(json: &Json) -> String {
    let mut out = String::new();
    write(json, &mut out);
    out
}

fn write(json: &Json, out: &mut String) {
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(text) => out.push_str(text),
        Json::Text(text) => out.push_str(&serde_json::Value::from(text.as_ref()).to_string()),
        Json::List(list) => {
            out.push('[');
            for (n, value) in list.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                write(value, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (n, (name, value)) in members.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                out.push_str(&serde_json::Value::from(name.as_ref()).to_string());
                out.push_str(": ");
                write(value, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_values() {
        let (a, b) = (
            parse(br#"{"same": 1, "gone": [1], "n": {"x": 1.0, "l": [1, 2, 3]}, "a/b": "o"}"#).unwrap(),
            parse(br#"{"same": 1, "n": {"x": 1, "l": [1, 5]}, "a/b": "\u00e9\n", "new": null}"#).unwrap(),
        );
        let mut changes = Vec::new();
        compare(&a, &b, String::new(), &mut changes);
        let shown: Vec<_> = changes.iter().map(|c| (&c.path[..], c.before.as_deref(), c.after.as_deref())).collect();
        assert_eq!(
            shown,
            [
                ("/gone", Some("[1]"), None),
                ("/n/x", Some("1.0"), Some("1")),
                ("/n/l/1", Some("2"), Some("5")),
                ("/n/l/2", Some("3"), None),
                ("/a~1b", Some("\"o\""), Some("\"é\\n\"")),
                ("/new", None, Some("null")),
            ]
        );
    }
}
