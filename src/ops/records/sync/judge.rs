//! Whether a row holds what it says: its payload is a record, has the hash that its column says, and is of the key that its columns say.

use std::collections::HashMap;

use crate::records::tape::Limits;
use crate::records::{Record, RecordHash, RecordParser, Redactor, Verified};
use crate::sql::{Database, Payload};

use super::super::dataset::Dataset;
use super::super::error::RecordsError;
use super::super::stage::{Instant, instant_of};
use super::decide::Form;
use super::sides::form_of;

/// Bytes of payloads that are asked for at once, about.
const ASKED_BYTES: usize = 4 << 20;
/// Rows that are asked for at once; the first time, when nothing is known of their sizes, few.
const ASKED_ROWS: std::ops::RangeInclusive<usize> = 16..=1024;

/// What a row is worth.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It is a record.
    Good {
        /// The hash that it has in the dataset.
        means: RecordHash,
        /// When it was observed.
        instant: Instant,
        /// It becomes another by redaction, which the dataset has.
        known: bool,
    },
    /// It is not, and why.
    Bad(String),
}

/// Asks for payloads in portions, by what is known of their sizes.
#[derive(Debug)]
pub(super) struct Portions {
    rows: usize,
}

impl Default for Portions {
    fn default() -> Self {
        Self { rows: *ASKED_ROWS.start() }
    }
}

impl Portions {
    /// How many rows are asked for next.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What came for that.
    pub(super) fn saw(&mut self, payloads: &[Payload]) {
        let largest = payloads.iter().map(|payload| payload.text.len()).max().unwrap_or(0);
        self.rows = (ASKED_BYTES / largest.max(1)).clamp(1, *ASKED_ROWS.end()).min(self.rows * 4);
    }
}

pub(super) struct Judge<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) redactor: Option<Redactor>,
    pub(super) limits: Limits,
    pub(super) portions: Portions,
}

impl Judge<'_> {
    pub(super) fn judge(
        &mut self,
        asked: &[(RecordHash, Form)],
        database: &mut dyn Database,
    ) -> Result<HashMap<RecordHash, Verdict>, RecordsError> {
        let mut verdicts = HashMap::with_capacity(asked.len());
        let mut parser = RecordParser::new(self.limits);
        let mut rest = asked;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.portions.rows().min(rest.len()));
            rest = later;
            let hashes: Vec<_> = now.iter().map(|(hash, _)| *hash).collect();
            let forms: HashMap<String, (RecordHash, Form)> =
                now.iter().map(|(hash, form)| (hash.to_string(), (*hash, *form))).collect();
            let payloads = database.payloads(&hashes)?;
            self.portions.saw(&payloads);
            for payload in payloads {
                let Some((hash, form)) = forms.get(&payload.hash) else { continue };
                let verdict = self.one(&mut parser, hash, form, &payload.text)?;
                let before = verdicts.entry(*hash).or_insert_with(|| verdict.clone());
                // Of several rows with one hash each must hold it.
                if matches!(verdict, Verdict::Bad(_)) {
                    *before = verdict;
                }
            }
            for hash in hashes {
                verdicts.entry(hash).or_insert_with(|| Verdict::Bad("it was changed meanwhile".to_owned()));
            }
        }
        Ok(verdicts)
    }

    fn one(
        &self,
        parser: &mut RecordParser,
        hash: &RecordHash,
        form: &Form,
        text: &str,
    ) -> Result<Verdict, RecordsError> {
        let text = line_of(text);
        let record = match parser.read(text.trim().as_bytes()) {
            Ok(record) => record,
            Err(e) => return Ok(Verdict::Bad(format!("its payload is no record: {e}"))),
        };
        if let Some(why) = contradiction(&record, hash, form) {
            return Ok(Verdict::Bad(why));
        }
        let instant = instant_of(&record);
        let redacted = match &self.redactor {
            Some(redactor) => match redactor.apply(&record, parser) {
                Ok(redacted) => redacted,
                Err(e) => return Ok(Verdict::Bad(format!("it cannot be redacted: {e}"))),
            },
            None => None,
        };
        let Some(redacted) = redacted else { return Ok(Verdict::Good { means: *hash, instant, known: false }) };
        let means = redacted.record.content_sha256;
        let known = self.dataset.place_of(&means)?.is_some();
        Ok(Verdict::Good { means, instant, known })
    }
}

/// What a payload says against its row.
fn contradiction(record: &Record, hash: &RecordHash, form: &Form) -> Option<String> {
    let computed = record.content_sha256;
    if let Verified::RedactedBefore(_) = record.verified() {
        return Some(format!("another system has redacted its payload, which has the hash {computed} now"));
    }
    if computed != *hash {
        return Some(format!("its payload has the hash {computed}"));
    }
    let of = form_of([&record.source_system, &record.entity_type], record.natural_key.as_deref());
    (of != *form).then(|| "its payload is of another source, entity or key than its columns say".to_owned())
}

/// The line in a payload: what jsonb would not keep stands there as one string.
pub(super) fn line_of(text: &str) -> std::borrow::Cow<'_, str> {
    if text.starts_with('"')
        && let Ok(line) = serde_json::from_str::<String>(text)
    {
        return line.into();
    }
    text.into()
}
