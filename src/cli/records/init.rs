//! `larder records init`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{DatasetName, Kind, Quiet, Role};
use crate::ops::records::{ImportOptions, Nothing, import_records};
use crate::records::tape::Limits;
use crate::records::{ConflictStrategy, DatasetManifest, Pattern};
use crate::store::Waiting;

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, short_id};
use super::super::store_args::who;
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::import::strategy;

/// Make a record dataset, and say what holds for it
///
/// What is said is kept in the dataset's manifest.json, in the form of the packs, and obeyed by every command.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Its name
    #[arg(value_name = "DATASET")]
    dataset: DatasetName,
    /// The system that its records come from
    #[arg(long, value_name = "NAME")]
    source: String,
    /// What its records are about
    #[arg(long, value_name = "NAME")]
    entity: String,
    /// How they were exchanged: http, mediawiki, openalex, llm, file, generic or anything else
    #[arg(long = "type", value_name = "TYPE", default_value = "http")]
    kind: String,
    /// What it is
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Whose it is
    #[arg(long, value_name = "NAME", default_value = "")]
    owner: String,
    /// How conflicts are resolved: `prefer_newest`, `prefer_incoming`, `prefer_existing`, or fail
    #[arg(long, value_name = "HOW", value_parser = strategy, default_value = "prefer_newest")]
    conflict: ConflictStrategy,
    /// Redact what comes in: headers, query parameters, tokens and passwords
    #[arg(long)]
    redact: bool,
    /// A header that is redacted beside those that always are (can be repeated)
    #[arg(long, value_name = "HEADER", requires = "redact")]
    redact_header: Vec<String>,
    /// A pattern that is redacted (can be repeated)
    #[arg(long, value_name = "[NAME=]REGEX", requires = "redact")]
    redact_pattern: Vec<String>,
    /// What retention counts its snapshots as
    #[arg(long, value_name = "CLASS")]
    retention_class: Option<String>,
    /// Records in a file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunk_size: Option<u32>,
}

/// What `larder records init` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct InitJson {
    /// The dataset.
    dataset: String,
    /// Its first snapshot.
    snapshot: String,
}

pub(super) fn run(args: &InitArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "making a record dataset", global)?;
    if super::newest(&store, &args.dataset)?.is_some() {
        return Err(crate::ops::records::RecordsError::Exists(args.dataset.to_string()).into());
    }
    let mut manifest = DatasetManifest::new(args.dataset.as_str(), &args.kind, &args.source, &args.entity);
    manifest.description.clone_from(&args.description);
    manifest.owner.clone_from(&args.owner);
    manifest.sync_policy.conflict_strategy = args.conflict;
    manifest.redaction_policy.enabled = args.redact;
    if !args.redact_header.is_empty() {
        manifest.redaction_policy.headers_to_redact.clone_from(&args.redact_header);
    }
    manifest.redaction_policy.patterns = args.redact_pattern.iter().map(|text| pattern(text)).collect();
    // A pattern that is none is told now, not when the first records come.
    crate::records::Redactor::new(&manifest.redaction_policy, [0; 32])
        .map_err(|e| CliError::new(Kind::Usage, e.to_string()))?;
    manifest.retention_class.clone_from(&args.retention_class);
    manifest.chunk_size = args.chunk_size;
    let options = ImportOptions {
        dataset: args.dataset.clone(),
        new: Some(manifest),
        strategy: None,
        losing: std::collections::HashSet::new(),
        again: std::collections::HashSet::new(),
        empty: true,
        strict: false,
        limits: Limits::default(),
        redact: None,
        waiting: Waiting::Wait,
        who: who(),
        reason: None,
        sources: Vec::new(),
    };
    let report = import_records(&store, &mut Nothing, options, &Quiet, &context::now)?;
    let Some((id, _)) = report.snapshot else {
        return Err(crate::ops::records::RecordsError::Exists(args.dataset.to_string()).into());
    };
    if out.json() {
        let (dataset, snapshot) = (args.dataset.to_string(), id.to_string());
        out.print_json(&RecordsReportJson::Init(InitJson { dataset, snapshot }))?;
    } else {
        out.line(&id.to_string())?;
        out.remark(&format!("{} of {}, without records yet", short_id(id), args.dataset));
    }
    Ok(Outcome::Done)
}

/// A name in front of the pattern is letters, digits, `_` and `-` before the first `=`.
fn pattern(text: &str) -> Pattern {
    let named = text.split_once('=').filter(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    });
    match named {
        Some((name, pattern)) => Pattern { name: Some(name.to_owned()), pattern: pattern.to_owned() },
        None => Pattern { name: None, pattern: text.to_owned() },
    }
}
