//! Whether a row holds what it says: its payload is a record, has the hash that its column says, and is of the key that its columns say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::records::tape::Limits;
use crate::records::{Record, RecordHash, RecordParser, Redactor, Verified};
use crate::sql::{Database, Payload};

use super::super::dataset::Dataset;
use super::super::error::RecordsError;
use super::super::stage::{Instant, instant_of, too_long};
use super::decide::Form;
use super::sides::form_of;

/// Bytes of payloads that are asked for at once, about.
const ASKED_BYTES: usize = 4 << 20;
/// Rows that are asked for at once; the first time, when nothing is known of their sizes, few.
const ASKED_ROWS: std::ops::RangeInclusive<usize> = 16..=1024;

/// What is said of a row whose payload is another record's.
const OF_ANOTHER: &str = "its payload is of another source, entity or key than its columns say";
/// Bytes of a payload whose line may be longer than lines can be.
const LONG: usize = 1 << 20;

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

impl Verdict {
    fn is_of_another(&self) -> bool {
        matches!(self, Self::Bad(why) if why == OF_ANOTHER)
    }
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

/// Verdicts of rows, by their hashes and what their columns say of source, entity and key.
pub(super) type Verdicts = HashMap<(RecordHash, Form), Verdict>;

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
    ) -> Result<Verdicts, RecordsError> {
        let mut verdicts = HashMap::with_capacity(asked.len());
        let mut parser = RecordParser::new(self.limits);
        let mut rest = asked;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.portions.rows().min(rest.len()));
            rest = later;
            let mut forms: HashMap<String, (RecordHash, Vec<Form>)> = HashMap::with_capacity(now.len());
            for (hash, form) in now {
                forms.entry(hash.to_string()).or_insert_with(|| (*hash, Vec::new())).1.push(*form);
            }
            let hashes: Vec<_> = forms.values().map(|(hash, _)| *hash).collect();
            let payloads = database.payloads(&hashes)?;
            self.portions.saw(&payloads);
            // Of several rows with one hash each must hold it, and what one of them says of its key is said for all.
            for payload in payloads {
                let Some((hash, forms)) = forms.get(&payload.hash) else { continue };
                let (verdict, of) = self.one(&mut parser, hash, &payload.text)?;
                for form in forms {
                    let verdict = match of {
                        Some(of) if of != *form => Verdict::Bad(OF_ANOTHER.to_owned()),
                        _ => verdict.clone(),
                    };
                    match verdicts.entry((*hash, *form)) {
                        Entry::Vacant(entry) => drop(entry.insert(verdict)),
                        Entry::Occupied(mut entry) if of.is_none() || entry.get().is_of_another() => {
                            entry.insert(verdict);
                        }
                        Entry::Occupied(_) => {}
                    }
                }
            }
            for asked in now {
                verdicts.entry(*asked).or_insert_with(|| Verdict::Bad("it was changed meanwhile".to_owned()));
            }
        }
        Ok(verdicts)
    }

    /// What a payload is worth, and, if it has the hash that its row says, its own source, entity and key.
    fn one(
        &self,
        parser: &mut RecordParser,
        hash: &RecordHash,
        text: &str,
    ) -> Result<(Verdict, Option<Form>), RecordsError> {
        let bad = |why: String| Ok((Verdict::Bad(why), None));
        let text = line_of(text);
        let record = match parser.read(text.trim().as_bytes()) {
            Ok(record) => record,
            Err(e) => return bad(format!("its payload is no record: {e}")),
        };
        if let Some(why) = contradiction(&record, hash) {
            return bad(why);
        }
        let form = form_of([&record.source_system, &record.entity_type], record.natural_key.as_deref());
        let instant = instant_of(&record);
        let redacted = match &self.redactor {
            Some(redactor) => match redactor.apply(&record, parser) {
                Ok(redacted) => redacted,
                Err(e) => return bad(format!("it cannot be redacted: {e}")),
            },
            None => None,
        };
        let kept = redacted.as_ref().map_or(&record, |redacted| &redacted.record);
        // A line has its payload's length, about.
        if text.len() > LONG
            && let Some(why) = too_long(&kept.line())
        {
            return bad(why);
        }
        let means = kept.content_sha256;
        let known = redacted.is_some() && self.dataset.place_of(&means)?.is_some();
        Ok((Verdict::Good { means, instant, known }, Some(form)))
    }
}

/// What a payload says against its row's hash.
fn contradiction(record: &Record, hash: &RecordHash) -> Option<String> {
    let computed = record.content_sha256;
    if let Verified::RedactedBefore(_) = record.verified() {
        return Some(format!("another system has redacted its payload, which has the hash {computed} now"));
    }
    (computed != *hash).then(|| format!("its payload has the hash {computed}"))
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
