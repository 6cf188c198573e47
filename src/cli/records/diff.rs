//! `larder records diff`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Role;
use crate::ops::records::{Changed, RecordDiff};

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, escaped};
use super::super::{Global, Outcome};
use super::RecordsReportJson;

/// Compare two snapshots of a dataset, key by key
///
/// Of a record that has changed, the places in request and response are told where the two differ. Parts of the tree that both have are not read.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The one
    #[arg(value_name = "SNAP")]
    old: String,
    /// The other
    #[arg(value_name = "SNAP")]
    new: String,
}

/// What `larder records diff` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct DiffJson {
    /// Keys that were not there.
    added: Vec<KeyJson>,
    /// Keys under which something else stands.
    changed: Vec<KeyJson>,
    /// Keys that are not there any more.
    removed: Vec<KeyJson>,
}

/// A key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::cli) struct KeyJson {
    /// Its source.
    source_system: String,
    /// Its entity.
    entity_type: String,
    /// The key; nothing of a record without one.
    natural_key: Option<String>,
    /// The hash of what stood there.
    before: Option<String>,
    /// The hash of what stands there.
    after: Option<String>,
    /// Where the two differ.
    changes: Vec<ChangeJson>,
}

/// A place where two records differ.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::cli) struct ChangeJson {
    /// As a JSON pointer.
    path: String,
    /// What was there, as JSON; nothing if there was none.
    before: Option<String>,
    /// What is there.
    after: Option<String>,
}

impl From<Changed> for KeyJson {
    fn from(changed: Changed) -> Self {
        Self {
            source_system: changed.source,
            entity_type: changed.entity,
            natural_key: changed.key,
            before: changed.before.map(|hash| hash.to_string()),
            after: changed.after.map(|hash| hash.to_string()),
            changes: changed
                .changes
                .into_iter()
                .map(|change| ChangeJson { path: change.path, before: change.before, after: change.after })
                .collect(),
        }
    }
}

pub(super) fn run(args: &DiffArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "reading records", global)?;
    let old = super::dataset(&store, &args.old.parse()?, &args.old)?;
    let new = super::dataset(&store, &args.new.parse()?, &args.new)?;
    let mut diff = RecordDiff::new(old, new)?;
    let mut all = DiffJson { added: Vec::new(), changed: Vec::new(), removed: Vec::new() };
    while let Some(changed) = diff.next()? {
        let (sign, list) = match (&changed.before, &changed.after) {
            (None, _) => ('+', &mut all.added),
            (_, None) => ('-', &mut all.removed),
            _ => ('~', &mut all.changed),
        };
        if out.json() {
            list.push(changed.into());
            continue;
        }
        let key = changed.key.as_deref().unwrap_or("-");
        out.line(&escaped(&format!("{sign} {}/{}  {key}", changed.source, changed.entity)))?;
        for change in &changed.changes {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            let line = format!("    {}: {} → {}", change.path, shown(&change.before), shown(&change.after));
            out.line(&escaped(&line))?;
        }
    }
    if out.json() {
        out.print_json(&RecordsReportJson::Diff(all))?;
    }
    Ok(Outcome::Done)
}
