//! `larder list`

use clap::Args;
use serde_json::json;

use crate::model::DatasetName;
use crate::snapshots::{Listed, list};

use super::context;
use super::error::CliError;
use super::output::{Output, SnapshotJson, escaped, human_bytes, rfc3339, short_id, short_time};
use super::{Global, Outcome};

/// List snapshots, oldest arrival first
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  larder list\n  larder list --dataset home -n 10")]
pub(super) struct ListArgs {
    /// Only those of this dataset
    #[arg(long, short = 'd', value_name = "NAME")]
    dataset: Option<DatasetName>,
    /// Only the newest ones, that many
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
}

pub(super) fn run(args: &ListArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_named(global)?;
    let rows = list(&store, args.dataset.as_ref(), args.limit)?;
    if out.json() {
        out.print_json(&rows.iter().map(as_json).collect::<Vec<_>>())?;
    } else {
        let width = rows.iter().map(|r| name(r).chars().count()).max().unwrap_or(0).max(7);
        if !rows.is_empty() {
            out.line(&format!(
                "{:16}  {:19}  {:width$}  {:>10}  {:>10}  {}",
                "ID", "ARRIVED (UTC)", "DATASET", "FILES", "SIZE", "ADDED"
            ))?;
        }
        for row in &rows {
            out.line(&as_text(row, width))?;
        }
    }
    if let Some(error) = rows.into_iter().find_map(|r| r.manifest.err()) {
        return Err(error.into());
    }
    // A log that cannot be read to its end may hide snapshots: what there is has been shown.
    if let Some(error) = store.log()?.into_iter().find_map(|r| r.entry.err()) {
        return Err(error.into());
    }
    Ok(Outcome::Done)
}

fn name(row: &Listed) -> String {
    row.dataset.as_ref().map_or_else(|| format!("({})", row.row.dataset), |d| escaped(d.as_str()))
}

fn as_text(row: &Listed, width: usize) -> String {
    let front = format!("{}  {}  {:width$}", short_id(row.row.id), short_time(row.row.arrival), name(row));
    match &row.manifest {
        Ok(m) => {
            let s = &m.statistics;
            let note = m.reason.as_ref().map_or_else(String::new, |r| format!("  {}", escaped(r)));
            format!("{front}  {:>10}  {:>10}  {}{note}", s.files, human_bytes(s.bytes), human_bytes(s.stored_bytes))
        }
        Err(e) => format!("{front}  {}", escaped(&e.to_string())),
    }
}

fn as_json(row: &Listed) -> serde_json::Value {
    match &row.manifest {
        Ok(m) => json!(SnapshotJson::new(row.row.id, m)),
        Err(e) => json!({
            "id": row.row.id.to_string(),
            "sequence": row.row.sequence,
            "arrival": rfc3339(row.row.arrival),
            "dataset": row.dataset.as_ref().map(ToString::to_string),
            "damaged": e.to_string(),
        }),
    }
}
