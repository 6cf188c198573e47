//! Secrets taken out of records before they are stored.
//!
//! What counts as secret, whatever the policy:
//!
//! * the value of a header that holds one (`Authorization`, `Cookie` …, and those of the policy), at any depth of request and response: as a
//!   member, however the words of its name are parted, as a pair, as `{"name": …, "value": …}`, in a list of names and values in turn, in a line of a text;
//! * the value of a member whose name ends like `password`, `secret`, `api_key`, `access_token` …, and what stands in one called `pass`, `auth`,
//!   `jwt`, `session_id`, `csrf`, `credentials` or `token`, unless it tells how something is set or, of a token, is a word;
//! * in any text: the user's part of a URL, parameters of a query or form, percent-encoded ones too, JWTs and JWEs, keys of clouds, bearer tokens, private keys, what is
//!   assigned to something that is called like a secret, stands in an element of that name, or in quotes behind it, what curl is given to say who one is.
//!
//! Patterns of the policy come on top, but for ids and the names of source, entity and type: names of patterns that are known (`email`, `ipv4`, `credit_card`, `iban`, `us_ssn`) or regular
//! expressions, letter case not counting. They are compiled to automata: no pattern can take more than linear time for a search, none is
//! compiled to more than 256 KiB, and one that has worked on a record for longer than its limit makes the record an error. Such a record is
//! not to be stored.
//!
//! A text that is JSON itself, or has some a line, is gone through as such. Patterns of the policy look at numbers too. Each secret becomes `[REDACTED]`. Doing it twice changes nothing more. Names of members are searched too, since tokens are used as keys;
//! where two would become equal they are numbered.

mod known;
mod names;
mod patterns;
mod walk;

use std::collections::HashSet;
use std::time::Duration;

use super::dataset_manifest::RedactionPolicy;
use super::json::{Json, parse};
use super::record::{JsonText, Record, RecordError, RecordParser};
use super::tape::{JsonError, Limits, Tape};
use crate::codec::commit_to_record;
pub use known::{known_patterns, misspelt_pattern};
use names::Names;
use patterns::{Clock, Patterns};
use walk::{Found, Walk};

/// What stands where a secret was.
pub const MARK: &str = "[REDACTED]";

/// How many places are told of a record, at most.
const TOLD: usize = 100;

/// Why a policy cannot be obeyed, or a record cannot be redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// A pattern of the policy is none.
    #[error("the pattern {pattern:?} is no pattern that can be used: {why}")]
    Pattern {
        /// As the policy has it.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A pattern took too long.
    #[error("the pattern {pattern} took longer than {limit:?}")]
    TooSlow {
        /// Its name.
        pattern: String,
        /// What it may take.
        limit: Duration,
    },
    /// What is left is no record: with marks in it, it is larger than may be.
    #[error("redacted, {0}")]
    Unreadable(#[from] RecordError),
    /// A part of it cannot be read.
    #[error("a part of it is not read: {0}")]
    Part(#[from] JsonError),
}

/// A place where something was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As a JSON pointer (RFC 6901) into the record.
    pub path: String,
    /// What found it: `header`, `member`, or the name of a pattern. Where several found something there are as many places.
    pub rule: String,
}

/// A record without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// It. Its hash is that of what is left.
    pub record: Record,
    /// Where something was replaced, the first hundred places.
    pub places: Vec<Place>,
    /// How many there are.
    pub count: u64,
}

/// Takes secrets out of records, by a policy.
///
/// ```
/// use larder::records::{Pattern, Record, RecordParser, RedactionPolicy, Redactor};
///
/// let mut policy = RedactionPolicy::default();
/// policy.patterns.push(Pattern { name: Some("ticket".into()), pattern: "TCK-[0-9]+".into() });
/// let redactor = Redactor::new(&policy, [7; 32])?;
/// let line = r#"{"exchange_type": "http", "source_system": "s", "entity_type": "e",
///     "request": {"url": "https://me:pw@x/?api_key=abc&q=1", "headers": {"Authorization": "Basic abc"}},
///     "response": "see TCK-17"}"#;
/// let mut parser = RecordParser::default();
/// let record = parser.read(line.as_bytes())?;
/// let redacted = redactor.apply(&record, &mut parser)?.expect("there are secrets");
/// assert_eq!(
///     redacted.record.request.as_str(),
///     r#"{"url": "https://[REDACTED]@x/?api_key=[REDACTED]&q=1", "headers": {"Authorization": "[REDACTED]"}}"#
/// );
/// assert_eq!(redacted.record.response.as_str(), r#""see [REDACTED]""#);
/// assert_eq!(
///     redacted.record.redactions_applied.as_str(),
///     r#"["pattern:ticket", "request_headers", "request_secrets", "response_secrets"]"#
/// );
/// // It has a hash of its own, and is tied to what it was by whoever has the key.
/// assert_ne!(redacted.record.content_sha256, record.content_sha256);
/// assert_eq!(redacted.record.original_commitment, Some(redactor.commitment(record.content_sha256)));
/// assert_eq!(redactor.apply(&redacted.record, &mut parser)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Redactor {
    names: Names,
    patterns: Patterns,
    limit: Duration,
    key: SecretKey,
}

/// The key of commitments; not shown.
struct SecretKey([u8; 32]);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

/// What was found in a record, by where: names for `redactions_applied`.
#[derive(Debug, Default)]
struct Applied {
    names: Vec<String>,
    places: Vec<Place>,
    count: u64,
}

impl Redactor {
    /// How long a pattern may work on a record.
    pub const LIMIT: Duration = Duration::from_secs(2);

    /// One for a policy, enabled or not: that is for the caller to obey. `key` makes the commitments to what records were.
    ///
    /// # Errors
    /// If a pattern of the policy is none, or larger than is allowed.
    pub fn new(policy: &RedactionPolicy, key: [u8; 32]) -> Result<Self, RedactError> {
        let names = Names::new(&policy.headers_to_redact);
        let patterns = Patterns::new(&policy.patterns, &names)?;
        Ok(Self { names, patterns, limit: Self::LIMIT, key: SecretKey(key) })
    }

    /// The same, with another limit for the time that a pattern may work on a record.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// What ties a redacted record to one whose content had this hash. Whoever lacks the key cannot tell from it, by trying, what was replaced.
    #[must_use]
    pub fn commitment(&self, original: super::RecordHash) -> String {
        let commitment = super::RecordHash::from_bytes(commit_to_record(&self.key.0, original.as_bytes()));
        format!("blake3:{commitment}")
    }

    /// The record without its secrets; nothing if it has none.
    ///
    /// # Errors
    /// If a pattern took too long. The record is not to be stored then.
    pub fn apply(&self, record: &Record, parser: &mut RecordParser) -> Result<Option<Redacted>, RedactError> {
        if self.is_clean(record) {
            return Ok(None);
        }
        let mut applied = Applied::default();
        let mut clock = Clock::new(self.patterns.rules().len(), self.limit);
        let mut left = record.clone();
        for (name, part) in [("request", &mut left.request), ("response", &mut left.response)] {
            self.json(name, &format!("/{name}"), part, &mut clock, &mut applied)?;
        }
        let texts = [
            ("natural_key", "natural_key", left.natural_key.as_mut(), false),
            ("response_ref", "metadata", left.response_ref.as_mut(), false),
            ("exchange_id", "metadata", Some(&mut left.exchange_id), true),
            ("exchange_type", "metadata", Some(&mut left.exchange_type), true),
            ("source_system", "metadata", Some(&mut left.source_system), true),
            ("entity_type", "metadata", Some(&mut left.entity_type), true),
        ];
        for (field, part, text, is_name) in texts {
            let Some(text) = text else { continue };
            let patterns = &self.patterns;
            let found = if is_name { patterns.scrub_name(text, &mut clock) } else { patterns.scrub(text, &mut clock) };
            let Some((scrubbed, rules)) = found? else { continue };
            let found: Vec<_> = rules.into_iter().map(|rule| Found::pattern(String::new(), rule)).collect();
            applied.add(part, &format!("/{field}"), &found, &self.patterns);
            *text = scrubbed;
        }
        for (name, part) in [("provenance", &mut left.provenance), ("tags", &mut left.tags)] {
            self.json("metadata", &format!("/{name}"), part, &mut clock, &mut applied)?;
        }
        self.others(&mut left, &mut clock, &mut applied)?;
        self.labels(&mut left.redactions_applied, &mut clock, &mut applied)?;
        // What is none is a text like any other.
        let other = left.original_commitment.as_deref().filter(|text| !is_commitment(text));
        if let Some((_, rules)) = other.map_or(Ok(None), |text| self.patterns.scrub(text, &mut clock))? {
            let found: Vec<_> = rules.into_iter().map(|rule| Found::pattern(String::new(), rule)).collect();
            applied.add("metadata", "/original_commitment", &found, &self.patterns);
        }
        if applied.count == 0 {
            return Ok(None);
        }
        left.redactions_applied = united(&left.redactions_applied, applied.names);
        if !left.original_commitment.as_deref().is_some_and(is_commitment) {
            left.original_commitment = Some(self.commitment(record.content_sha256));
        }
        let record = parser.read(left.without_hash().as_bytes())?;
        Ok(Some(Redacted { record, places: applied.places, count: applied.count }))
    }

    /// False of the line of a record, as records are written, that [`Redactor::apply`] would leave as it is: told by a look from afar.
    #[must_use]
    pub fn may_find(&self, line: &[u8]) -> bool {
        self.patterns.has_own() || !std::str::from_utf8(line).is_ok_and(|line| !self.patterns.may_hold(line))
    }

    /// True if a look from afar tells that nothing is to be replaced.
    fn is_clean(&self, record: &Record) -> bool {
        let Record { request, response, provenance, tags, redactions_applied, .. } = record;
        let parts = [request, response, provenance, tags, redactions_applied].map(JsonText::as_str).into_iter();
        if record.original_commitment.as_deref().is_some_and(|text| !is_commitment(text)) {
            return false;
        }
        let names = [&record.exchange_id, &record.exchange_type, &record.source_system, &record.entity_type];
        let texts = [&record.natural_key, &record.response_ref].into_iter().flatten().chain(names);
        let mut all = parts.chain(texts.map(String::as_str));
        !self.patterns.has_own() && record.others.is_empty() && !all.any(|text| self.patterns.may_hold(text))
    }

    /// Replaces what is secret in a part of a record.
    fn json(
        &self,
        part: &str,
        path: &str,
        json: &mut JsonText,
        clock: &mut Clock,
        applied: &mut Applied,
    ) -> Result<(), RedactError> {
        if !self.patterns.has_own() && !self.patterns.may_hold(json.as_str()) {
            return Ok(());
        }
        let mut tape = Tape::default();
        let root = tape.read(json.as_str().as_bytes(), &Limits::NONE)?;
        let mut walk = Walk::new(&self.names, &self.patterns, clock);
        if let Some(text) = walk.run(None, root)? {
            applied.add(part, path, &walk.found, &self.patterns);
            *json = JsonText::new(text);
        }
        Ok(())
    }

    /// What is said of redactions: what this one says of itself stays.
    fn labels(&self, list: &mut JsonText, clock: &mut Clock, applied: &mut Applied) -> Result<(), RedactError> {
        if list.as_str() == "[]" || !self.patterns.has_own() && !self.patterns.may_hold(list.as_str()) {
            return Ok(());
        }
        let mut tape = Tape::default();
        let root = tape.read(list.as_str().as_bytes(), &Limits::NONE)?;
        let (mut items, mut found) = (Vec::new(), false);
        for item in root.items() {
            let is_own = item.text().is_some_and(|text| {
                text.ends_with("_headers")
                    || text.ends_with("_secrets")
                    || text.strip_prefix("pattern:").is_some_and(|name| self.patterns.is_own(name))
            });
            let mut part = JsonText::new(item.raw().to_owned());
            if !is_own {
                let before = applied.count;
                self.json("metadata", "/redactions_applied", &mut part, clock, applied)?;
                found |= applied.count > before;
            }
            items.push(part.as_str().to_owned());
        }
        if found {
            *list = JsonText::new(format!("[{}]", items.join(", ")));
        }
        Ok(())
    }

    /// Fields that are not known: their names, and what is in them.
    fn others(&self, record: &mut Record, clock: &mut Clock, applied: &mut Applied) -> Result<(), RedactError> {
        let mut names: HashSet<_> = record.others.iter().map(|(name, _)| name.clone()).collect();
        for (name, value) in &mut record.others {
            if let Some((scrubbed, rules)) = self.patterns.scrub(name, clock)? {
                let found: Vec<_> = rules.into_iter().map(|rule| Found::pattern(String::new(), rule)).collect();
                applied.add("metadata", "", &found, &self.patterns);
                *name = walk::apart(scrubbed, &mut names);
            }
            let mut tape = Tape::default();
            let root = tape.read(value.as_str().as_bytes(), &Limits::NONE)?;
            let mut walk = Walk::new(&self.names, &self.patterns, clock);
            if let Some(text) = walk.run(Some(name), root)? {
                applied.add("metadata", "", &walk.found, &self.patterns);
                *value = JsonText::new(text);
            }
        }
        Ok(())
    }
}

impl Applied {
    fn add(&mut self, part: &str, path: &str, found: &[Found], patterns: &Patterns) {
        for Found { path: below, sort } in found {
            let (rule, suffix) = match sort {
                walk::By::Header => ("header", "headers"),
                walk::By::Member => ("member", "secrets"),
                walk::By::Pattern(at) => {
                    let rule = &patterns.rules()[*at];
                    if rule.asked_for {
                        self.names.push(format!("pattern:{}", rule.name));
                    }
                    (&*rule.name, "secrets")
                }
            };
            let suffix = if part == "metadata" { "secrets" } else { suffix };
            self.names.push(format!("{part}_{suffix}"));
            self.count += 1;
            if self.places.len() < TOLD {
                self.places.push(Place { path: format!("{path}{below}"), rule: rule.to_owned() });
            }
        }
        self.names.sort_unstable();
        self.names.dedup();
    }
}

/// True of what ties a record to what it was before.
fn is_commitment(text: &str) -> bool {
    let hash = text.strip_prefix("blake3:").or_else(|| text.strip_prefix("sha256:"));
    hash.is_some_and(|hash| hash.parse::<super::RecordHash>().is_ok())
}

/// The list with what it lacks behind it.
fn united(list: &JsonText, names: Vec<String>) -> JsonText {
    let there = parse(list.as_str().as_bytes()).unwrap_or(Json::Null);
    let there: Vec<&str> = there.list().unwrap_or_default().iter().filter_map(Json::text).collect();
    let new = names.iter().filter(|name| !there.contains(&name.as_str()));
    let new: Vec<_> = new.map(|name| walk::in_quotes(name)).collect();
    let inner = list.as_str().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
    let comma = if inner.is_empty() || new.is_empty() { "" } else { ", " };
    JsonText::new(format!("[{inner}{comma}{}]", new.join(", ")))
}

#[cfg(test)]
mod forms;
#[cfg(test)]
mod tests;
