//! Which snapshots are meant: options that `list`, `find` and `history` share.

use clap::Args;

use crate::model::{DatasetName, Kind, SnapshotKind, Timestamp};
use crate::snapshots::{Wanted, When};

use super::error::CliError;
use super::evidence::kinds;

/// Which snapshots
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which snapshots")]
pub(super) struct FilterArgs {
    /// Only those of this dataset (can be repeated)
    #[arg(long, short = 'd', value_name = "NAME")]
    dataset: Vec<DatasetName>,
    /// Only those with this label, of this value if one is given (can be repeated)
    #[arg(long, short = 'l', value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Only those made for this (can be repeated)
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    kind: Vec<SnapshotKind>,
    /// Only those with this scope
    #[arg(long, value_name = "TEXT")]
    scope: Option<String>,
    /// Only those with this reference of a scope
    #[arg(long, value_name = "TEXT")]
    scope_ref: Option<String>,
    /// Only those that arrived then or later
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that arrived then or before
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterArgs {
    /// What is asked for; ages count from `now`.
    pub(super) fn wanted(&self, now: Timestamp) -> Result<Wanted, CliError> {
        let when = |text: &Option<String>| {
            let parsed = text.as_ref().map(|text| When::parse_or_age(text, now));
            parsed.transpose().map_err(|e| CliError::new(Kind::Usage, e))
        };
        Ok(Wanted {
            datasets: self.dataset.clone(),
            labels: labels(&self.label),
            kinds: self.kind.clone(),
            scope: self.scope.clone(),
            scope_ref: self.scope_ref.clone(),
            since: when(&self.since)?.map(|w| w.first),
            until: when(&self.until)?.map(|w| w.last),
            ..Wanted::default()
        })
    }
}

/// Labels that are asked for: key, and value if one is said.
pub(super) fn labels(texts: &[String]) -> Vec<(String, Option<String>)> {
    let one = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.clone(), None),
    };
    texts.iter().map(one).collect()
}
