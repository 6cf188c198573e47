//! What a snapshot says about itself: purpose, labels, evidence fields, references.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};

use crate::model::{Evidence, Kind, Progress, Reference, SnapshotKind};
use crate::ops::reference::read_reference;

use super::error::CliError;
use super::files;

/// Bytes that a JSON file for the manifest may have: every list of snapshots reads it again.
const MAX_JSON: u64 = 4 << 20;

/// Evidence fields
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "What the snapshot says about itself")]
pub(super) struct EvidenceArgs {
    /// What it is made for [default: manual; of an import: import]
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    pub(super) kind: Option<SnapshotKind>,
    /// What it is about (a project, a group, …)
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) scope: Option<String>,
    /// Which one of those
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) scope_ref: Option<String>,
    /// Who asked for it
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) initiator: Option<String>,
    /// What set it off (a scheduler, a release gate, …)
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) trigger_source: Option<String>,
    /// Version of the analyser whose results it holds
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) analyzer_version: Option<String>,
    /// Version of the analyser's rules
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) rule_version: Option<String>,
    /// Where the subject came from (a commit, a build, …)
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) source_ref: Option<String>,
    /// Keep it for good: nothing forgets it or lifts that
    #[arg(long)]
    pub(super) immutable: bool,
    /// Which retention policy applies (`larder policy set --class`)
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) retention_class: Option<String>,
    /// Figures: a file with a JSON object of at most 4 MiB; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) metrics: Option<PathBuf>,
    /// Anything else: a file with any JSON value of at most 4 MiB; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) payload: Option<PathBuf>,
    /// Something outside the store that it speaks of (can be repeated). With a hash, a plain path or `file:` URI is
    /// checked now, and a file with another hash is refused
    #[arg(long, value_name = "KEY=URI[#sha256=HEX]")]
    pub(super) reference: Vec<String>,
}

/// The purposes, as clap offers them.
pub(super) fn kinds() -> impl TypedValueParser<Value = SnapshotKind> {
    PossibleValuesParser::new(SnapshotKind::names()).try_map(|text| text.parse::<SnapshotKind>())
}

impl EvidenceArgs {
    /// True if one of the files is standard input.
    pub(super) fn takes_stdin(&self) -> bool {
        [&self.metrics, &self.payload].into_iter().flatten().any(|p| p == Path::new("-"))
    }

    /// Reads the files and checks the references.
    pub(super) fn read(self, progress: &dyn Progress) -> Result<(SnapshotKind, Evidence, Vec<Reference>), CliError> {
        let usage = |text: &str| Err(CliError::new(Kind::Usage, text));
        let stdin = Some(Path::new("-"));
        if self.metrics.as_deref() == stdin && self.payload.as_deref() == stdin {
            return usage("standard input can be --metrics or --payload, not both");
        }
        let metrics = self.metrics.map(|file| read_json(&file, "--metrics")).transpose()?;
        if metrics.as_ref().is_some_and(|text| !text.starts_with('{')) {
            return usage("--metrics is not a JSON object");
        }
        let payload = self.payload.map(|file| read_json(&file, "--payload")).transpose()?;
        let mut references: Vec<Reference> = Vec::new();
        for text in &self.reference {
            let reference = read_reference(text, progress)?;
            if references.iter().any(|r| r.key == reference.key) {
                return usage(&format!("the reference {:?} is given twice", reference.key));
            }
            references.push(reference);
        }
        let evidence = Evidence {
            scope: self.scope,
            scope_ref: self.scope_ref,
            initiator: self.initiator,
            trigger_source: self.trigger_source,
            analyzer_version: self.analyzer_version,
            rule_version: self.rule_version,
            source_ref: self.source_ref,
            immutable: self.immutable,
            retention_class: self.retention_class,
            metrics,
            payload,
        };
        Ok((self.kind.unwrap_or(SnapshotKind::Manual), evidence, references))
    }
}

/// A file's JSON as it is written, without white space around it.
fn read_json(file: &Path, option: &str) -> Result<String, CliError> {
    let fail = |kind, why: String| CliError::new(kind, format!("{option} {}: {why}", file.display()));
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_JSON + 1).read_to_string(&mut text)
    } else {
        files::open(file).and_then(|f| f.take(MAX_JSON + 1).read_to_string(&mut text))
    };
    read.map_err(|e| fail(Kind::Failed, e.to_string()))?;
    if text.len() as u64 > MAX_JSON {
        return Err(fail(Kind::Usage, format!("it is longer than {} MiB", MAX_JSON >> 20)));
    }
    // As a value, not only as syntax: a number that nobody could read back would be refused here.
    serde_json::from_str::<serde_json::Value>(&text).map_err(|e| fail(Kind::Usage, format!("it is not JSON: {e}")))?;
    Ok(text.trim().to_owned())
}

/// Reads labels; gives them sorted by key.
pub(super) fn read_labels(texts: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let usage = |text: String| CliError::new(Kind::Usage, text);
    let mut labels = Vec::new();
    for label in texts {
        let (key, value) = label
            .split_once('=')
            .filter(|(k, _)| !k.is_empty())
            .ok_or_else(|| usage(format!("{label:?} is not KEY=VALUE")))?;
        labels.push((key.to_owned(), value.to_owned()));
    }
    labels.sort();
    if let Some(twice) = labels.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(usage(format!("the label {:?} is given twice", twice[0].0)));
    }
    Ok(labels)
}
