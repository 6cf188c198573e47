//! `larder records policy`, and what `init` has in common with it.

use std::sync::LazyLock;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{DatasetName, Manifest, Quiet, Role};
use crate::ops::records::{Dataset, Direction, ImportOptions, RecordsError, change_dataset, newest_of};
use crate::records::tape::Limits;
use crate::records::{
    ConflictStrategy, DatasetManifest, Pattern, RecordParser, RedactionPolicy, Redactor, known_patterns,
    misspelt_pattern,
};
use crate::sql::TableNames;
use crate::store::{Store, Waiting};

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, escaped, short_id};
use super::super::store_args::who;
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::import::strategy;

/// What can be said of a dataset.
#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct PoliciesArgs {
    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whose it is
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// How conflicts are resolved [of a new one: `prefer_newest`]
    #[arg(long, value_name = "HOW", value_parser = strategy())]
    conflict: Option<ConflictStrategy>,
    /// Redact what comes in: headers, query parameters, tokens and passwords
    #[arg(long)]
    redact: bool,
    /// A header that is redacted beside those that always are; implies --redact (can be repeated)
    #[arg(long, value_name = "HEADER")]
    redact_header: Vec<String>,
    /// A pattern that is redacted: email, ipv4, `credit_card`, iban, `us_ssn`, or a regular expression; implies --redact (can be repeated)
    #[arg(long, value_name = "[NAME=]PATTERN")]
    redact_pattern: Vec<String>,
    /// What retention counts its snapshots as; empty: as those that name no class
    #[arg(long, value_name = "CLASS")]
    retention_class: Option<String>,
    /// Records in a file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunk_size: Option<u32>,
    /// Which way `larder sync` goes unless told otherwise: import is into the table [of a new one: both]
    #[arg(long, value_name = "WHICH", value_parser = super::super::sync::direction())]
    direction: Option<Direction>,
    /// The table that `larder sync` mirrors it in [of a new one: lake.RawExchangeRecord]
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    sql_table: Option<String>,
    /// That table's column of natural keys; empty: `natural_key`
    #[arg(long, value_name = "COLUMN")]
    sql_key_column: Option<String>,
    /// That table's column of hashes [of a new one: `content_sha256`]
    #[arg(long, value_name = "COLUMN")]
    sql_hash_column: Option<String>,
}

impl PoliciesArgs {
    /// Says so in a manifest.
    pub(super) fn apply(&self, manifest: &mut DatasetManifest) -> Result<(), RecordsError> {
        let set = |to: &mut String, from: &Option<String>| from.iter().for_each(|text| to.clone_from(text));
        let set_or_none = |to: &mut Option<String>, from: &Option<String>| {
            from.iter().for_each(|text| *to = Some(text.clone()).filter(|text| !text.is_empty()));
        };
        set(&mut manifest.description, &self.description);
        set(&mut manifest.owner, &self.owner);
        set_or_none(&mut manifest.retention_class, &self.retention_class);
        manifest.chunk_size = self.chunk_size.or(manifest.chunk_size);
        if let Some(strategy) = self.conflict {
            manifest.sync_policy.conflict_strategy = strategy;
        }
        if let Some(direction) = self.direction {
            direction.written().clone_into(&mut manifest.sync_policy.direction_default);
        }
        let target = &mut manifest.sql_target;
        if let Some(table) = &self.sql_table {
            match table.split_once('.') {
                Some((schema, table)) => (target.schema, target.table) = (schema.to_owned(), table.to_owned()),
                None => target.table.clone_from(table),
            }
        }
        set_or_none(&mut target.natural_key_column, &self.sql_key_column);
        set(&mut target.hash_column, &self.sql_hash_column);
        TableNames::of(target)?;
        self.redaction(&mut manifest.redaction_policy)
    }

    fn redaction(&self, policy: &mut RedactionPolicy) -> Result<(), RecordsError> {
        policy.enabled |= self.redact || !self.redact_header.is_empty() || !self.redact_pattern.is_empty();
        for header in &self.redact_header {
            if header.trim().is_empty() {
                return Err(RecordsError::Refused("an empty name of a header redacts nothing".to_owned()));
            }
            if !policy.headers_to_redact.iter().any(|known| known.eq_ignore_ascii_case(header)) {
                policy.headers_to_redact.push(header.clone());
            }
        }
        for text in &self.redact_pattern {
            let new = pattern(text)?;
            if policy.patterns.contains(&new) {
                continue;
            }
            policy.patterns.retain(|old| old.name.is_none() || old.name != new.name);
            policy.patterns.push(new);
        }
        // A pattern that is none is told now, not when the first records come.
        Redactor::new(policy, [0; 32]).map(|_| ()).map_err(|e| RecordsError::Refused(e.to_string()))
    }

    /// Tells of what may not be what was meant.
    pub(super) fn remark(&self, out: &Output) {
        for pattern in self.redact_pattern.iter().filter_map(|text| pattern(text).ok()).map(|new| new.pattern) {
            let is_word = pattern.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if is_word && !known_patterns().any(|known| known == pattern) {
                out.remark(&format!(
                    "{pattern} is a regular expression: it finds this word (known by name are {})",
                    known()
                ));
            }
        }
    }
}

fn known() -> String {
    known_patterns().collect::<Vec<_>>().join(", ")
}

/// A name in front of the pattern is letters, digits, `_` and `-` before the first `=`.
fn pattern(text: &str) -> Result<Pattern, RecordsError> {
    let named = text.split_once('=').filter(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    });
    let found = match named {
        Some((name, pattern)) => Pattern { name: Some(name.to_owned()), pattern: pattern.to_owned() },
        None => Pattern { name: None, pattern: text.to_owned() },
    };
    if found.pattern.is_empty() {
        return Err(RecordsError::Refused(format!(
            "the pattern {text:?} is empty, and redacts nothing; is a variable of the shell not set?"
        )));
    }
    match misspelt_pattern(&found.pattern) {
        None => Ok(found),
        Some(meant) => Err(RecordsError::Refused(format!(
            "there is no pattern {}; is {meant} meant? Known by name are {}; a regular expression that finds this word is (?:{})",
            found.pattern,
            known(),
            found.pattern
        ))),
    }
}

/// Show what holds for a record dataset, or change it
///
/// Without options it is shown. What is changed is kept in a snapshot of its own, in the dataset's manifest.json, and holds from then on: records that are stored stay as they
/// are, redacted or not. Rules of retention are set by `larder policy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder records policy pages
  larder records policy pages --redact-pattern email --redact-header X-Internal
  larder records policy pages --conflict prefer_incoming --direction import --sql-table lake.pages
  larder records policy pages --no-redact")]
pub(super) struct PolicyArgs {
    /// Which dataset
    #[arg(value_name = "DATASET")]
    dataset: DatasetName,
    #[command(flatten)]
    policies: PoliciesArgs,
    /// Redact nothing; headers and patterns stay in the policy
    #[arg(long, conflicts_with_all = ["redact", "redact_header", "redact_pattern"])]
    no_redact: bool,
    /// A header that is no longer redacted; not one that always is (can be repeated)
    #[arg(long, value_name = "HEADER")]
    drop_header: Vec<String>,
    /// A pattern that is no longer redacted, as it is shown or by its name (can be repeated)
    #[arg(long, value_name = "PATTERN")]
    drop_pattern: Vec<String>,
    /// Why, for the snapshot
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// What `larder records policy` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct RecordPolicyJson {
    /// The dataset.
    dataset: String,
    /// The snapshot that was made; nothing if nothing was changed.
    snapshot: Option<String>,
    /// What holds now, as it stands in manifest.json.
    manifest: serde_json::Value,
}

pub(super) fn run(args: &PolicyArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "reading records", global)?;
    let mut options = ImportOptions::new(args.dataset.clone());
    options.waiting = if args.no_wait { Waiting::NoWait } else { Waiting::Wait };
    options.who = who();
    options.reason.clone_from(&args.reason);
    let newest = newest_of(&store, &args.dataset)?.ok_or_else(|| RecordsError::NoDataset(args.dataset.to_string()))?;
    let before = of(&store, &newest, args)?;
    let mut after = before.clone();
    args.apply(&mut after)?;
    if after == before {
        show(&before, None, args, out)?;
        if args.no_redact || args.policies != PoliciesArgs::default() {
            out.remark("that holds already; no snapshot was made");
        }
        return Ok(Outcome::Done);
    }
    // Under the lock it is changed as it is then.
    let report = change_dataset(&store, options, &mut |manifest| args.apply(manifest), &Quiet, &context::now)?;
    let snapshot = report.snapshot.as_ref();
    if let Some((_, manifest)) = snapshot {
        after = of(&store, manifest, args)?;
    }
    show(&after, snapshot.map(|(id, _)| id.to_string()), args, out)?;
    args.policies.remark(out);
    if let Some((id, _)) = snapshot {
        out.remark(&format!("{} of {}", short_id(*id), args.dataset));
    }
    if after.redaction_policy != before.redaction_policy {
        out.remark("records that are stored stay as they are; this holds for those that come");
    }
    Ok(Outcome::Done)
}

/// What a snapshot says of the dataset.
fn of(store: &Store, snapshot: &Manifest, args: &PolicyArgs) -> Result<DatasetManifest, CliError> {
    let pages = context::pages(store);
    let dataset = Dataset::of(&pages, snapshot)?;
    let dataset = dataset.ok_or_else(|| Dataset::missing(&pages, snapshot, args.dataset.as_str()))?;
    Ok(dataset.manifest()?)
}

impl PolicyArgs {
    fn apply(&self, manifest: &mut DatasetManifest) -> Result<(), RecordsError> {
        self.policies.apply(manifest)?;
        let policy = &mut manifest.redaction_policy;
        policy.enabled &= !self.no_redact;
        for name in &self.drop_header {
            if is_always_redacted(name) {
                return Err(RecordsError::Refused(format!(
                    "the header {name} is redacted whatever a policy says, as long as anything is (--no-redact)"
                )));
            }
            let before = policy.headers_to_redact.len();
            policy.headers_to_redact.retain(|header| !header.eq_ignore_ascii_case(name));
            if policy.headers_to_redact.len() == before {
                return Err(RecordsError::Refused(format!("the policy has no header {name}")));
            }
        }
        for name in &self.drop_pattern {
            let before = policy.patterns.len();
            policy
                .patterns
                .retain(|old| old.name.as_deref() != Some(name) && old.pattern != *name && shown(old) != *name);
            if policy.patterns.len() == before {
                return Err(RecordsError::Refused(format!("the policy has no pattern {name}")));
            }
        }
        Ok(())
    }
}

/// True of a header that a policy need not name.
fn is_always_redacted(name: &str) -> bool {
    // It takes some tenths of a second to make.
    static ALWAYS: LazyLock<Option<Redactor>> = LazyLock::new(|| {
        let mut policy = RedactionPolicy::default();
        policy.headers_to_redact.clear();
        Redactor::new(&policy, [0; 32]).ok()
    });
    let headers = serde_json::json!({ "headers": { name: "a1B2c3D4e5F6g7H8" } });
    let record =
        serde_json::json!({ "exchange_type": "-", "source_system": "-", "entity_type": "-", "request": headers });
    let mut parser = RecordParser::new(Limits::default());
    let tried = ALWAYS.as_ref().zip(parser.read(record.to_string().as_bytes()).ok());
    tried.is_some_and(|(redactor, record)| redactor.apply(&record, &mut parser).is_ok_and(|found| found.is_some()))
}

/// The headers of a policy as they hold: those that always are redacted, and which more.
fn headers(policy: &RedactionPolicy) -> String {
    let more = policy.headers_to_redact.iter().filter(|name| !is_always_redacted(name));
    std::iter::once("those that always are").chain(more.map(String::as_str)).collect::<Vec<_>>().join(", ")
}

fn shown(pattern: &Pattern) -> String {
    pattern.name.as_ref().map_or_else(|| pattern.pattern.clone(), |name| format!("{name}={}", pattern.pattern))
}

fn show(manifest: &DatasetManifest, snapshot: Option<String>, args: &PolicyArgs, out: &Output) -> Result<(), CliError> {
    if out.json() {
        let dataset = args.dataset.to_string();
        let manifest = serde_json::from_str(&manifest.to_text()).unwrap_or_default();
        return out.print_json(&RecordsReportJson::Policy(RecordPolicyJson { dataset, snapshot, manifest }));
    }
    let redaction = &manifest.redaction_policy;
    let sealing = &manifest.encryption_policy;
    let source = match &*sealing.key_source {
        "env" => format!("password in {}", sealing.key_env_var),
        "file" => format!("password in the file {}", sealing.key_file_path.as_deref().unwrap_or("that is named")),
        other => format!("password from {other}"),
    };
    let patterns: Vec<_> = redaction.patterns.iter().map(shown).collect();
    let target = &manifest.sql_target;
    let direction = Direction::named(&manifest.sync_policy.direction_default).map_or("both", Direction::name);
    let key = target.natural_key_column.as_deref().unwrap_or("natural_key");
    let none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    for (name, value) in [
        ("source", none(&manifest.source_system)),
        ("entity", none(&manifest.entity_type)),
        ("type", manifest.exchange_type.clone()),
        ("description", none(&manifest.description)),
        ("owner", none(&manifest.owner)),
        ("conflict", manifest.sync_policy.conflict_strategy.name().to_owned()),
        ("redaction", if redaction.enabled { "on" } else { "off" }.to_owned()),
        ("  headers", headers(redaction)),
        ("  patterns", none(&patterns.join(", "))),
        ("retention class", none(manifest.retention_class.as_deref().unwrap_or_default())),
        ("records in a file", manifest.chunk_size.unwrap_or(1000).to_string()),
        ("sync direction", direction.to_owned()),
        ("sync table", format!("{}.{} ({key}, {})", target.schema, target.table, target.hash_column)),
        ("packs", if sealing.enabled { format!("sealed, {source}") } else { "not sealed".to_owned() }),
    ] {
        out.line(&escaped(&format!("{name:18} {value}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_need_no_policy() {
        for (name, wanted) in [
            ("authorization", true),
            ("Authorization", true),
            ("Set-Cookie", true),
            ("x-api-key", true),
            ("X-Mine", false),
            ("accept", false),
            ("", false),
        ] {
            assert_eq!(is_always_redacted(name), wanted, "{name}");
        }
    }
}
