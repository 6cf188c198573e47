//! The table that mirrors records: its columns, and the rows that stand in it.

use std::borrow::Cow;

use crate::codec::{line_members, member_text};
use crate::records::{ObservedAt, Record, RecordHash, SqlTarget};

use super::error::SqlError;

/// Bytes that a name may have; PostgreSQL would cut a longer one without a word.
const NAME_MAX: usize = 63;
/// The same of a table that is made: the names of its indexes are longer.
const MADE_MAX: usize = 44;

/// Why a row that nobody has refused does not stand there.
pub(super) const PASSED_OVER: &str = "it was passed over, as a trigger may do";

/// What a table and its columns are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// The schema. SQLite has none: there the table's name counts alone.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The column of hashes.
    pub hash: String,
    /// The column of natural keys.
    pub key: String,
}

impl TableNames {
    /// As a dataset's policy has them.
    ///
    /// # Errors
    /// If a database could not have such a name.
    pub fn of(target: &SqlTarget) -> Result<Self, SqlError> {
        let key = target.natural_key_column.clone().unwrap_or_else(|| "natural_key".to_owned());
        let names =
            Self { schema: target.schema.clone(), table: target.table.clone(), hash: target.hash_column.clone(), key };
        for name in [&names.schema, &names.table, &names.hash, &names.key] {
            if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
                return Err(SqlError::Refused(format!(
                    "the dataset's sql_target names {name:?}: a name has 1 to {NAME_MAX} bytes, none of them NUL"
                )));
            }
        }
        let columns = names.columns();
        if (1..columns.len()).any(|at| columns[..at].iter().any(|other| other.eq_ignore_ascii_case(columns[at]))) {
            return Err(SqlError::Refused("the dataset's sql_target gives one name to two columns".to_owned()));
        }
        Ok(names)
    }

    /// As they can be made: with room for the names of indexes.
    pub(super) fn can_be_made(&self) -> Result<(), SqlError> {
        if self.table.len() > MADE_MAX {
            let why = format!("a table that is made has a name of at most {MADE_MAX} bytes");
            return Err(SqlError::Refused(format!("{}: {why}", self.table)));
        }
        Ok(())
    }

    /// The columns that a row fills, in their order.
    #[must_use]
    pub fn columns(&self) -> [&str; 9] {
        [
            "exchange_id",
            "exchange_type",
            "source_system",
            "entity_type",
            &self.key,
            "observed_at_utc",
            &self.hash,
            "payload_json",
            "schema_version",
        ]
    }

    /// For messages.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

/// Where in [`TableNames::columns`] the id is.
pub(super) const ID: usize = 0;
/// The same of the hash.
pub(super) const HASH: usize = 6;
/// The same of the payload.
pub(super) const PAYLOAD: usize = 7;

/// A record as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As the record has it; where the column takes UUIDs alone, or has it already, [`Row::id_of_content`] stands there.
    pub exchange_id: String,
    /// As the record has it.
    pub exchange_type: String,
    /// As the record has it.
    pub source: String,
    /// As the record has it.
    pub entity: String,
    /// As the record has it: an empty one too.
    pub key: Option<String>,
    /// In UTC, as ISO 8601; a time without an offset counts as UTC.
    pub observed: Option<String>,
    /// Of the content.
    pub hash: RecordHash,
    /// The record's line.
    pub payload: String,
    /// What does not fit into 32 bits is their largest or smallest.
    pub version: i32,
}

impl Row {
    /// Of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            exchange_id: record.exchange_id.clone(),
            exchange_type: record.exchange_type.clone(),
            source: record.source_system.clone(),
            entity: record.entity_type.clone(),
            key: record.natural_key.clone(),
            observed: record.observed_at.as_ref().and_then(in_utc),
            hash: record.content_sha256,
            payload: record.line(),
            version: version_in(&record.schema_version),
        }
    }

    /// Of a record's line as datasets keep it; nothing if it is not written so.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let names = [
            "exchange_id",
            "exchange_type",
            "source_system",
            "entity_type",
            "natural_key",
            "observed_at_utc",
            "content_sha256",
            "schema_version",
        ];
        let [id, kind, source, entity, key, observed, hash, version] = line_members(line, names)?;
        let text = |value: Option<&[u8]>| value.and_then(member_text);
        let observed = text(observed).map(|observed| ObservedAt::parse(&observed).ok_or(()));
        let version = std::str::from_utf8(version?).ok()?;
        Some(Self {
            exchange_id: text(id)?,
            exchange_type: text(kind)?,
            source: text(source)?,
            entity: text(entity)?,
            key: text(key),
            observed: observed.transpose().ok()?.as_ref().and_then(in_utc),
            hash: text(hash)?.parse().ok()?,
            payload: std::str::from_utf8(line).ok()?.to_owned(),
            version: version_in(version),
        })
    }

    /// An id that no other content has: for a row whose own one is no UUID, or is another row's.
    #[must_use]
    pub fn id_of_content(&self) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.hash.as_bytes()[..16]);
        // Version 8 of RFC 9562: made in a way of its own.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// It as texts, in the order of [`TableNames::columns`]; `of_content`: with the id of its content, whatever its own one is; `uuids`: the column of ids takes UUIDs alone.
    pub(super) fn fields(&self, of_content: bool, uuids: bool) -> [Option<Cow<'_, str>>; 9] {
        let by_content = of_content || uuids && !is_uuid(&self.exchange_id);
        [
            Some(if by_content { self.id_of_content().into() } else { Cow::from(&self.exchange_id) }),
            Some(Cow::from(&self.exchange_type)),
            Some(Cow::from(&self.source)),
            Some(Cow::from(&self.entity)),
            self.key.as_ref().map(Cow::from),
            self.observed.as_ref().map(Cow::from),
            Some(self.hash.to_string().into()),
            Some(Cow::from(&self.payload)),
            Some(self.version.to_string().into()),
        ]
    }

    /// The bytes that it holds, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        512 + self.payload.len() + self.key.as_ref().map_or(0, String::len)
    }
}

/// Of a time without an offset its own.
fn in_utc(observed: &ObservedAt) -> Option<String> {
    let (seconds, micros) = observed.instant();
    Some(ObservedAt::utc(seconds, micros)?.as_str().to_owned())
}

fn version_in(text: &str) -> i32 {
    let outside = if text.starts_with('-') { i32::MIN } else { i32::MAX };
    text.parse().unwrap_or(outside)
}

/// True of a UUID as it is usually written.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// A row that is to be written.
#[derive(Debug, Clone)]
pub struct Change {
    /// What is to stand there.
    pub row: Row,
    /// The hash of the row whose place it takes; nothing if it is a further row.
    pub replaces: Option<RecordHash>,
}

/// What became of a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It stands there.
    Done,
    /// The content stood there already; somebody else has written it meanwhile.
    There,
    /// The row whose place it was to take is gone or has another content now.
    Gone,
    /// The table does not take it, and says why.
    Refused(String),
}

/// What a scan tells of a row.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// What stands in the column of hashes.
    pub hash: &'a str,
    /// What stands in that of keys.
    pub key: Option<&'a str>,
}

/// Rows that belong together: of one source and entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The source.
    pub source: String,
    /// The entity.
    pub entity: String,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// What stands in the column of hashes.
    pub hash: String,
    /// The record.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(table: &str, key: Option<&str>) -> SqlTarget {
        let mut target = SqlTarget::default();
        (target.table, target.natural_key_column) = (table.to_owned(), key.map(str::to_owned));
        target
    }

    #[test]
    fn names_that_no_database_has() {
        assert_eq!(TableNames::of(&target("T", None)).unwrap().shown(), "lake.T");
        for (table, key) in [("", None), ("a\0b", None), (&"x".repeat(64)[..], None), ("T", Some("Payload_JSON"))] {
            assert!(TableNames::of(&target(table, key)).is_err(), "{table:?}");
        }
        assert!(TableNames::of(&target(&"x".repeat(63), None)).unwrap().can_be_made().is_err());
    }

    #[test]
    fn rows_of_records() {
        let line = r#"{"exchange_type": "http", "source_system": "s", "entity_type": "e", "natural_key": "", "observed_at_utc": "2024-02-03T03:15:00.5+05:30", "schema_version": 99999999999}"#;
        let row = Row::of(&Record::parse(line.as_bytes()).unwrap());
        assert_eq!(row.observed.as_deref(), Some("2024-02-02T21:45:00.500000+00:00"));
        assert_eq!((row.key.as_deref(), row.version), (Some(""), i32::MAX));
        assert!(is_uuid(&row.id_of_content()) && !is_uuid("x") && !is_uuid(&"a".repeat(36)));
        let stored = Record::parse(line.as_bytes()).unwrap();
        assert_eq!(Row::of_line(stored.line().as_bytes()).as_ref(), Some(&row));
        assert_eq!(Row::of_line(line.as_bytes()), None, "that is not as lines are written");
        let naive = line.replace("+05:30", "");
        let row = Row::of(&Record::parse(naive.as_bytes()).unwrap());
        assert_eq!(row.observed.as_deref(), Some("2024-02-03T03:15:00.500000+00:00"));
    }
}
