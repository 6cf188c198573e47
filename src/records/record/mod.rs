//! A record: the envelope around what was exchanged, once.
//!
//! A record is a line of JSON. Its fields, in the order in which they are written:
//!
//! | field | type | missing or null means |
//! |---|---|---|
//! | `exchange_id` | text | the importer gives one |
//! | `exchange_type`, `source_system`, `entity_type` | text | an error |
//! | `natural_key` | text | no key; nor is an empty one |
//! | `request` | object | nothing was asked |
//! | `response` | anything | nothing came |
//! | `observed_at_utc` | a time ([`ObservedAt`]) | it is not known |
//! | `provenance` | object; of it `runner_name`, `host`, `git_sha`, `connector_version` text or null | it is not known |
//! | `content_sha256` | 64 lower-case hexadecimal digits | it is computed |
//! | `schema_version` | whole number | 1 |
//! | `tags`, `redactions_applied` | list | empty |
//! | `response_ref` | text | none |
//! | `original_commitment` | text | nothing was redacted. A field of Larder's, written only where it is there |
//!
//! Any other field is kept behind them. Of several fields of one name the last counts, as for Python.

mod hash;
mod read;

pub use hash::{NotAHash, RecordHash};
pub use read::{RecordError, RecordParser};

use super::observed::ObservedAt;
use super::python;
use super::quoted::quoted;
use super::tape::{JsonError, Limits, Tape};

/// A JSON value as text, in the style of Python ([`super::python`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonText(String);

impl JsonText {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// Reads a text that holds one value. Numbers stay as they are written, names in their order.
    ///
    /// # Errors
    /// If it is no JSON, or beyond the usual limits.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let mut tape = Tape::default();
        let root = tape.read(text.as_bytes(), &Limits::default())?;
        let mut out = String::with_capacity(text.len());
        python::push(root, &mut out);
        Ok(Self(out))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True of `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }
}

impl Default for JsonText {
    fn default() -> Self {
        Self("null".to_owned())
    }
}

/// How a line ends that says nothing behind its hash.
pub(crate) const USUAL_END: &str =
    ", \"schema_version\": 1, \"tags\": [], \"redactions_applied\": [], \"response_ref\": null}";

/// What the hash in a line was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// It is the hash of the content.
    Same,
    /// There was none.
    New,
    /// It is another, and the other system has redacted the record: that one keeps the hash of what was there before, which nobody can
    /// compute again.
    RedactedBefore(RecordHash),
}

/// A record.
///
/// ```
/// use larder::records::{Record, Verified};
///
/// let line = r#"{"exchange_type": "http", "source_system": "wiki", "entity_type": "page",
///     "natural_key": "Ada", "response": {"title": "Ada", "views": 12345678901234567890}}"#;
/// let record = Record::parse(line.as_bytes())?;
/// assert_eq!(record.verified(), Verified::New);
/// assert_eq!(record.content_sha256.to_string().len(), 64);
/// assert_eq!(record.response.as_str(), r#"{"title": "Ada", "views": 12345678901234567890}"#);
///
/// // Written and read again it is the same, and now its hash is compared.
/// let again = Record::parse(record.line().as_bytes())?;
/// assert_eq!(again.verified(), Verified::Same);
/// assert_eq!(again.line(), record.line());
/// let changed = record.line().replace("Ada", "Eve");
/// assert!(Record::parse(changed.as_bytes()).unwrap_err().to_string().starts_with("content_sha256 is"));
/// # Ok::<(), larder::records::RecordError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Names this observation; empty if the line named none.
    pub exchange_id: String,
    /// `http`, `mediawiki`, `openalex`, `llm`, `file`, `generic` or any other text.
    pub exchange_type: String,
    /// Where it comes from.
    pub source_system: String,
    /// What it is about.
    pub entity_type: String,
    /// Names the thing within the source; see [`Record::key`].
    pub natural_key: Option<String>,
    /// What was asked: an object or null.
    pub request: JsonText,
    /// What came.
    pub response: JsonText,
    /// When.
    pub observed_at: Option<ObservedAt>,
    /// By whom: an object or null.
    pub provenance: JsonText,
    /// The hash of the six fields `exchange_type`, `source_system`, `entity_type`, `natural_key`, `request` and `response`, computed.
    pub content_sha256: RecordHash,
    /// A whole number.
    pub schema_version: String,
    /// A list.
    pub tags: JsonText,
    /// A list: what was replaced in it.
    pub redactions_applied: JsonText,
    /// Where a body is kept that is not in the record.
    pub response_ref: Option<String>,
    /// What ties a redacted record to the one before: `blake3:` and a keyed hash over its `content_sha256`, or `sha256:` and that hash
    /// itself, where another system has redacted it and kept it.
    pub original_commitment: Option<String>,
    /// Fields that are not known, in their order.
    pub others: Vec<(String, JsonText)>,
    verified: Verified,
}

impl Record {
    /// Reads a line. Whoever reads many keeps a [`RecordParser`].
    ///
    /// # Errors
    /// If it is no record, or its hash is not that of its content.
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        RecordParser::default().read(line)
    }

    /// Makes a record of what was exchanged; the other fields are those of a line that lacks them, and can be set.
    ///
    /// ```
    /// use larder::records::{JsonText, ObservedAt, Record};
    ///
    /// let request = JsonText::parse(r#"{"url": "https://wiki/Ada"}"#)?;
    /// let response = JsonText::parse(r#"{"title": "Ada"}"#)?;
    /// let mut record = Record::create("http", "wiki", "page", Some("Ada"), request, response)?;
    /// record.observed_at = ObservedAt::utc(1_705_314_600, 0);
    /// assert!(record.line().contains(r#""observed_at_utc": "2024-01-15T10:30:00+00:00""#));
    /// // What is hashed may be changed too: then the hash is computed anew.
    /// let before = record.content_sha256;
    /// record.natural_key = None;
    /// assert_ne!(record.hashed()?.content_sha256, before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the request is neither an object nor null, or all of it is beyond the usual limits.
    pub fn create(
        exchange_type: &str,
        source_system: &str,
        entity_type: &str,
        natural_key: Option<&str>,
        request: JsonText,
        response: JsonText,
    ) -> Result<Self, RecordError> {
        let mut line = String::with_capacity(256 + request.0.len() + response.0.len());
        let fields = [("exchange_type", exchange_type), ("source_system", source_system), ("entity_type", entity_type)];
        for (name, text) in fields.into_iter().chain(natural_key.map(|key| ("natural_key", key))) {
            line.push_str(if line.is_empty() { "{\"" } else { ", \"" });
            line.push_str(name);
            line.push_str("\": ");
            push_quoted(text, &mut line);
        }
        line.push_str(&format!(", \"request\": {}, \"response\": {}}}", request.0, response.0));
        Self::parse(line.as_bytes())
    }

    /// The record with the hash that its content has now.
    ///
    /// # Errors
    /// If a field was made what it must not be, or all of it is beyond the usual limits.
    pub fn hashed(&self) -> Result<Self, RecordError> {
        Self::parse(self.without_hash().as_bytes())
    }

    /// The key, if it has one: an empty one is none.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.natural_key.as_deref().filter(|key| !key.is_empty())
    }

    /// What the hash in the line was worth.
    #[must_use]
    pub fn verified(&self) -> Verified {
        self.verified
    }

    /// The line, without its end, as the other system writes it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::new();
        self.write_line(&mut line);
        line
    }

    /// Appends the line, without its end.
    pub fn write_line(&self, out: &mut String) {
        out.reserve(640 + self.request.0.len() + self.response.0.len());
        self.write(true, out);
    }

    /// What tells this observation of the content from others, without its end: a line of `sightings.ndjson`.
    #[must_use]
    pub fn sighting(&self) -> String {
        let mut out = String::with_capacity(320 + self.provenance.0.len());
        out.push_str("{\"content_sha256\": ");
        push_quoted(&self.content_sha256.to_string(), &mut out);
        out.push_str(", \"exchange_id\": ");
        push_quoted(&self.exchange_id, &mut out);
        for (name, value) in [
            (", \"observed_at_utc\": ", self.observed_at.as_ref().map(ObservedAt::as_str)),
            (", \"natural_key\": ", self.natural_key.as_deref()),
        ] {
            push_text_or_null(name, value, &mut out);
        }
        out.push_str(", \"provenance\": ");
        out.push_str(&self.provenance.0);
        let end = out.len();
        self.write_behind_hash(&mut out);
        if &out[end..] == USUAL_END {
            out.truncate(end);
            out.push('}');
        }
        out
    }

    /// The line without a hash: what is read of it gets one.
    pub(super) fn without_hash(&self) -> String {
        let mut line = String::new();
        self.write(false, &mut line);
        line
    }

    fn write(&self, hashed: bool, out: &mut String) {
        let text = |name: &str, text: &str, out: &mut String| {
            out.push_str(name);
            push_quoted(text, out);
        };
        let json = |name: &str, json: &JsonText, out: &mut String| {
            out.push_str(name);
            out.push_str(&json.0);
        };
        text("{\"exchange_id\": ", &self.exchange_id, out);
        text(", \"exchange_type\": ", &self.exchange_type, out);
        text(", \"source_system\": ", &self.source_system, out);
        text(", \"entity_type\": ", &self.entity_type, out);
        push_text_or_null(", \"natural_key\": ", self.natural_key.as_deref(), out);
        json(", \"request\": ", &self.request, out);
        json(", \"response\": ", &self.response, out);
        push_text_or_null(", \"observed_at_utc\": ", self.observed_at.as_ref().map(ObservedAt::as_str), out);
        json(", \"provenance\": ", &self.provenance, out);
        if hashed {
            text(", \"content_sha256\": ", &self.content_sha256.to_string(), out);
        }
        self.write_behind_hash(out);
    }

    /// Appends what stands behind the hash.
    fn write_behind_hash(&self, out: &mut String) {
        let json = |name: &str, json: &JsonText, out: &mut String| {
            out.push_str(name);
            out.push_str(&json.0);
        };
        out.push_str(", \"schema_version\": ");
        out.push_str(&self.schema_version);
        json(", \"tags\": ", &self.tags, out);
        json(", \"redactions_applied\": ", &self.redactions_applied, out);
        push_text_or_null(", \"response_ref\": ", self.response_ref.as_deref(), out);
        if let Some(commitment) = &self.original_commitment {
            push_text_or_null(", \"original_commitment\": ", Some(commitment), out);
        }
        for (name, value) in &self.others {
            out.push_str(", ");
            push_quoted(name, out);
            json(": ", value, out);
        }
        out.push('}');
    }
}

fn push_text_or_null(name: &str, text: Option<&str>, out: &mut String) {
    out.push_str(name);
    match text {
        Some(text) => push_quoted(text, out),
        None => out.push_str("null"),
    }
}

fn push_quoted(text: &str, out: &mut String) {
    quoted(text, &mut |piece| out.push_str(piece));
}

#[cfg(test)]
mod tests;
