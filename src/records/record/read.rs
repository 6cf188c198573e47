//! A line read as a record.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::canonical::Exchange;
use super::super::observed::ObservedAt;
use super::super::python;
use super::super::tape::{JsonError, Limits, Sort, Tape, Value};
use super::{JsonText, NotAHash, Record, RecordHash, Verified};

/// Why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not read at all.
    #[error("it is no JSON: {}", .0.on_one_line())]
    NotJson(JsonError),
    /// Not even that.
    #[error("it is no object")]
    NotAnObject,
    /// A field is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is something else.
    #[error("{field} is {found}, where {wanted} is due")]
    Type {
        /// Which.
        field: &'static str,
        /// What it is.
        found: Cow<'static, str>,
        /// What it should be.
        wanted: &'static str,
    },
    /// The hash is not that of the content.
    #[error("content_sha256 is {stated}, but the content has the hash {computed}")]
    Hash {
        /// As the line has it.
        stated: RecordHash,
        /// As it should be.
        computed: RecordHash,
    },
}

/// The fields that are known.
const FIELDS: [&str; 15] = [
    "exchange_id",
    "exchange_type",
    "source_system",
    "entity_type",
    "natural_key",
    "request",
    "response",
    "observed_at_utc",
    "provenance",
    "content_sha256",
    "schema_version",
    "tags",
    "redactions_applied",
    "response_ref",
    "original_commitment",
];

/// Those that are hashed, in the order of the form.
const HASHED: [&str; 6] = ["entity_type", "exchange_type", "natural_key", "request", "response", "source_system"];

/// Reads lines, one after the other; keeps its memory between them.
///
/// ```
/// use larder::records::RecordParser;
///
/// let mut parser = RecordParser::default();
/// let lines = b"{\"exchange_type\": \"llm\", \"source_system\": \"s\", \"entity_type\": \"e\"}\n{\"exchange_type\": 7}\n";
/// let read: Vec<_> = lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|line| parser.read(line)).collect();
/// assert_eq!(read[0].as_ref().unwrap().exchange_type, "llm");
/// assert_eq!(read[1].as_ref().unwrap_err().to_string(), "exchange_type is a number, where text is due");
/// ```
#[derive(Debug, Default)]
pub struct RecordParser {
    limits: Limits,
    tape: Tape,
    form: Exchange,
}

/// The fields of a line.
struct Found<'t, 'n> {
    known: [Option<Value<'t, 'n>>; FIELDS.len()],
    others: Vec<(Cow<'t, str>, Value<'t, 'n>)>,
}

impl RecordParser {
    /// A reader with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A reader of lines that were read before: without limits, since what was let in by a larger one must come out again.
    #[must_use]
    pub fn of_stored() -> Self {
        Self::new(Limits::NONE)
    }

    /// Reads a line; white space around it does not matter.
    ///
    /// # Errors
    /// If it is no record, or its hash is not that of its content, though nothing says that it was redacted.
    pub fn read(&mut self, line: &[u8]) -> Result<Record, RecordError> {
        let found = Found::read(&mut self.tape, line, &self.limits)?;
        let computed = found.hash(&mut self.form)?;
        let mut record = found.record(computed)?;
        record.verified = match found.stated()? {
            None => Verified::New,
            Some(stated) if stated == computed => Verified::Same,
            // Larder's own redactions have a hash that is right.
            Some(stated) if record.redactions_applied.as_str() != "[]" && record.original_commitment.is_none() => {
                record.original_commitment = Some(format!("sha256:{stated}"));
                Verified::RedactedBefore(stated)
            }
            Some(stated) => return Err(RecordError::Hash { stated, computed }),
        };
        Ok(record)
    }

    /// The hash of a line's content, whatever it says of itself. Only the three fields without which there is no content must be there.
    ///
    /// # Errors
    /// If it is no object, or one of the six fields that are hashed is not what it should be.
    pub fn hash(&mut self, line: &[u8]) -> Result<RecordHash, RecordError> {
        Found::read(&mut self.tape, line, &self.limits)?.hash(&mut self.form)
    }
}

impl<'t, 'n> Found<'t, 'n> {
    fn read(tape: &'n mut Tape, line: &'t [u8], limits: &Limits) -> Result<Self, RecordError> {
        let root = tape.read(stripped(line), limits).map_err(RecordError::NotJson)?;
        if root.sort() != Sort::Object {
            return Err(RecordError::NotAnObject);
        }
        let mut found = Self { known: [None; FIELDS.len()], others: Vec::new() };
        let mut places: HashMap<Cow<str>, usize> = HashMap::new();
        for (name, value) in root.members() {
            let name = name.text().unwrap_or_default();
            if let Some(at) = FIELDS.iter().position(|known| *known == name) {
                found.known[at] = Some(value);
            } else if let Some(at) = places.get(&name).copied() {
                found.others[at] = (name, value);
            } else {
                places.insert(name.clone(), found.others.len());
                found.others.push((name, value));
            }
        }
        Ok(found)
    }

    /// A field, if it is there and not null.
    fn get(&self, field: &'static str) -> Option<Value<'t, 'n>> {
        let at = FIELDS.iter().position(|known| *known == field)?;
        self.known[at].filter(|value| value.sort() != Sort::Null)
    }

    fn of_sort(
        &self,
        field: &'static str,
        sorts: &[Sort],
        wanted: &'static str,
    ) -> Result<Option<Value<'t, 'n>>, RecordError> {
        match self.get(field) {
            Some(value) if !sorts.contains(&value.sort()) => {
                Err(RecordError::Type { field, found: in_words(value), wanted })
            }
            other => Ok(other),
        }
    }

    fn text(&self, field: &'static str) -> Result<Option<Cow<'t, str>>, RecordError> {
        Ok(self.of_sort(field, &[Sort::Text], "text")?.and_then(|value| value.text()))
    }

    fn required(&self, field: &'static str) -> Result<Cow<'t, str>, RecordError> {
        self.text(field)?.ok_or(RecordError::Missing(field))
    }

    fn object(&self, field: &'static str) -> Result<Option<Value<'t, 'n>>, RecordError> {
        self.of_sort(field, &[Sort::Object], "an object")
    }

    fn json(&self, field: &'static str, sorts: &[Sort], wanted: &'static str) -> Result<Option<JsonText>, RecordError> {
        Ok(self.of_sort(field, sorts, wanted)?.map(styled))
    }

    fn stated(&self) -> Result<Option<RecordHash>, RecordError> {
        let field = "content_sha256";
        let Some(text) = self.text(field)? else { return Ok(None) };
        let wanted = "a hash of 64 lower-case hexadecimal digits";
        text.parse().map(Some).map_err(|NotAHash| RecordError::Type { field, found: shown(&text), wanted })
    }

    fn hash(&self, form: &mut Exchange) -> Result<RecordHash, RecordError> {
        for field in ["exchange_type", "source_system", "entity_type"] {
            self.required(field)?;
        }
        self.text("natural_key")?;
        self.object("request")?;
        form.clear();
        for (n, field) in HASHED.into_iter().enumerate() {
            form.push_raw(if n == 0 { "{\"" } else { ",\"" });
            form.push_raw(field);
            form.push_raw("\":");
            match self.get(field) {
                Some(value) => form.push(value),
                None => form.push_raw("null"),
            }
        }
        form.push_raw("}");
        Ok(RecordHash::of(form.written()))
    }

    fn record(&self, content_sha256: RecordHash) -> Result<Record, RecordError> {
        let provenance = self.object("provenance")?;
        for (name, value) in provenance.iter().flat_map(Value::members) {
            let field = match &*name.text().unwrap_or_default() {
                "runner_name" => "provenance.runner_name",
                "host" => "provenance.host",
                "git_sha" => "provenance.git_sha",
                "connector_version" => "provenance.connector_version",
                _ => continue,
            };
            if !matches!(value.sort(), Sort::Text | Sort::Null) {
                return Err(RecordError::Type { field, found: in_words(value), wanted: "text or null" });
            }
        }
        let list = |field| self.json(field, &[Sort::List], "a list");
        let empty = || JsonText::new("[]".to_owned());
        let owned = |text: Option<Cow<str>>| text.map(Cow::into_owned);
        let version = self.of_sort("schema_version", &[Sort::Whole], "a whole number")?;
        Ok(Record {
            exchange_id: self.text("exchange_id")?.unwrap_or_default().into_owned(),
            exchange_type: self.required("exchange_type")?.into_owned(),
            source_system: self.required("source_system")?.into_owned(),
            entity_type: self.required("entity_type")?.into_owned(),
            natural_key: owned(self.text("natural_key")?),
            request: self.object("request")?.map(styled).unwrap_or_default(),
            response: self.get("response").map(styled).unwrap_or_default(),
            observed_at: self.observed_at()?,
            provenance: provenance.map(styled).unwrap_or_default(),
            content_sha256,
            schema_version: version.map_or("1", |value| value.raw()).to_owned(),
            tags: list("tags")?.unwrap_or_else(empty),
            redactions_applied: list("redactions_applied")?.unwrap_or_else(empty),
            response_ref: owned(self.text("response_ref")?),
            original_commitment: owned(self.text("original_commitment")?),
            others: self.others.iter().map(|(name, value)| (name.clone().into_owned(), styled(*value))).collect(),
            verified: Verified::New,
        })
    }

    fn observed_at(&self) -> Result<Option<ObservedAt>, RecordError> {
        let field = "observed_at_utc";
        let Some(text) = self.text(field)? else { return Ok(None) };
        let wanted = "a time as ISO 8601 has it, like 2024-01-15T10:30:00+00:00,";
        ObservedAt::parse(&text).map(Some).ok_or_else(|| RecordError::Type { field, found: shown(&text), wanted })
    }
}

fn styled(value: Value<'_, '_>) -> JsonText {
    let mut out = String::with_capacity(value.raw().len() + value.raw().len() / 8);
    python::push(value, &mut out);
    JsonText::new(out)
}

/// What is between the white space that Python strips of a line, of ASCII.
fn stripped(line: &[u8]) -> &[u8] {
    let space = |b: &u8| matches!(b, b'\t'..=b'\r' | 0x1c..=0x20);
    let from = line.iter().position(|b| !space(b)).unwrap_or(line.len());
    let to = line.iter().rposition(|b| !space(b)).map_or(from, |at| at + 1);
    &line[from..to]
}

fn in_words(value: Value<'_, '_>) -> Cow<'static, str> {
    match value.sort() {
        Sort::Null => "null",
        Sort::True | Sort::False => "true or false",
        Sort::Whole | Sort::Fraction | Sort::NotFinite => "a number",
        Sort::Text => "text",
        Sort::List => "a list",
        Sort::Object => "an object",
    }
    .into()
}

/// A text in a message, cut.
fn shown(text: &str) -> Cow<'static, str> {
    let cut: String = text.chars().take(80).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" }).into()
}
