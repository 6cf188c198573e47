//! `larder records count`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Role;
use crate::snapshots::SnapshotName;

use super::super::context;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::{Global, Outcome};
use super::RecordsReportJson;

/// Tell how many records a dataset has
#[derive(Debug, Args)]
pub(super) struct CountArgs {
    /// The dataset, or one of its snapshots
    #[arg(value_name = "DATASET")]
    dataset: String,
}

/// What `larder records count` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct CountJson {
    /// The dataset.
    dataset: String,
    /// Distinct contents.
    records: u64,
    /// Distinct keys.
    keys: u64,
    /// Further observations of contents that were known.
    sightings: u64,
}

pub(super) fn run(args: &CountArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Catalog, "counting records", global)?;
    let name: SnapshotName = args.dataset.parse()?;
    let counts = super::dataset(&store, &name, &args.dataset)?.counts();
    if out.json() {
        out.print_json(&RecordsReportJson::Count(CountJson {
            dataset: args.dataset.clone(),
            records: counts.records,
            keys: counts.keys,
            sightings: counts.sightings,
        }))?;
    } else {
        for (name, count) in [("records", counts.records), ("keys", counts.keys), ("sightings", counts.sightings)] {
            out.line(&format!("{name:10} {count}"))?;
        }
    }
    Ok(Outcome::Done)
}
