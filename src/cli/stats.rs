//! `larder stats`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{DatasetName, Kind, Role, Statistics};
use crate::ops::stats::{DatasetStats, Stats};
use crate::snapshots::{Counted, List, Listed, Wanted};
use crate::store::SnapshotRow;

use super::arrival::claim;
use super::context;
use super::error::CliError;
use super::output::{Output, escaped, human_bytes, rfc3339, short_id, short_time};
use super::{Global, Outcome};

/// Show what a store, its datasets and their snapshots take
///
/// FILES and SIZE are those of the newest snapshot. LOGICAL is the sum of all snapshots' files; UNIQUE what was not in the store when it came,
/// names and structure counted too; STORED what that takes, compressed and sealed; RATIO is logical to stored. Times are when snapshots
/// arrived by clocks that are trusted, as `larder list` has it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  larder stats\n  larder stats work          # what each snapshot of it added")]
pub(super) struct StatsArgs {
    /// Only this dataset, with what each of its snapshots added
    #[arg(value_name = "DATASET")]
    dataset: Option<DatasetName>,
}

/// Sums over a dataset.
#[derive(Debug, Serialize, JsonSchema)]
struct DatasetJson {
    /// Its name; its key in brackets where that cannot be read.
    dataset: String,
    snapshots: u64,
    /// When its first snapshot arrived, by what catalog and owner keys vouch for.
    first: String,
    /// When its newest one arrived, in the same way.
    last: String,
    /// Files of the newest snapshot.
    files: u64,
    /// Bytes of those files.
    bytes: u64,
    /// Bytes of the files of all snapshots, each snapshot counted whole.
    logical_bytes: u64,
    /// Bytes that were not in the store when they came, whichever dataset had them.
    unique_bytes: u64,
    /// What those take, compressed and sealed.
    stored_bytes: u64,
    /// Logical bytes for each stored one; nothing if none was stored.
    ratio: Option<f64>,
    /// Snapshots whose manifest cannot be read.
    damaged: u64,
}

/// What a snapshot added.
#[derive(Debug, Serialize, JsonSchema)]
struct AddedJson {
    id: String,
    /// When the store acknowledged it, by the clock of the machine that captured.
    arrival: String,
    /// When it arrived by what catalog and owner keys vouch for.
    counted_as: String,
    files: u64,
    bytes: u64,
    unique_bytes: u64,
    stored_bytes: u64,
}

/// What the store's database takes on disk.
#[derive(Debug, Serialize, JsonSchema)]
struct DiskJson {
    /// Blocks of content.
    data_bytes: u64,
    /// Blocks of names, metadata and structure.
    tree_bytes: u64,
    /// Indexes, manifests, the log and the rest.
    index_bytes: u64,
}

/// What `larder stats --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatsJson {
    datasets: Vec<DatasetJson>,
    /// With DATASET: its snapshots, oldest arrival first.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshots: Option<Vec<AddedJson>>,
    /// The whole store.
    disk: DiskJson,
}

pub(super) fn run(args: &StatsArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Catalog, "counting what snapshots hold", global)?;
    let datasets = args.dataset.iter().cloned().collect();
    let list = List::find(&store, Wanted { datasets, ..Wanted::default() }, context::now())?;
    let (mut stats, mut snapshots, mut damage) = (Stats::default(), Vec::new(), None);
    list.each(false, |snapshot| {
        stats.add(&snapshot);
        if args.dataset.is_some() {
            snapshots.extend(Added::of(&snapshot));
        }
        damage = damage.take().or(snapshot.manifest.err());
        Ok::<_, CliError>(())
    })?;
    let datasets = stats.by_name();
    if let (Some(dataset), []) = (&args.dataset, datasets.as_slice()) {
        return Err(CliError::new(Kind::NotFound, format!("there is no dataset {dataset}"))
            .hint("`larder stats` shows which there are"));
    }
    let (data, tree, index) = store.disk_bytes()?;
    if out.json() {
        out.print_json(&StatsJson {
            datasets: datasets.iter().map(as_json).collect(),
            snapshots: args.dataset.as_ref().map(|_| snapshots.iter().map(Added::as_json).collect()),
            disk: DiskJson { data_bytes: data, tree_bytes: tree, index_bytes: index },
        })?;
    } else {
        table(&datasets, out)?;
        if args.dataset.is_some() {
            added_table(&snapshots, out)?;
        }
        out.line(&format!(
            "\nstore on disk: {} ({} content, {} structure, {} index)",
            human_bytes(data + tree + index),
            human_bytes(data),
            human_bytes(tree),
            human_bytes(index)
        ))?;
    }
    match damage.or(list.damage) {
        Some(e) => Err(e.into()),
        None => Ok(Outcome::Done),
    }
}

fn table(datasets: &[DatasetStats], out: &Output) -> Result<(), CliError> {
    let width = datasets.iter().map(|d| d.dataset.chars().count()).max().unwrap_or(0).max(7);
    out.line(&format!(
        "{:width$}  {:>9}  {:>19}  {:>9}  {:>10}  {:>10}  {:>10}  {:>10}  {:>7}",
        "DATASET", "SNAPSHOTS", "NEWEST (UTC)", "FILES", "SIZE", "LOGICAL", "UNIQUE", "STORED", "RATIO"
    ))?;
    let row = |d: &DatasetStats, name: &str, newest: &str| {
        out.line(&format!(
            "{name:width$}  {:>9}  {newest:>19}  {:>9}  {:>10}  {:>10}  {:>10}  {:>10}  {:>7}",
            d.snapshots,
            d.files,
            human_bytes(d.bytes),
            human_bytes(d.logical),
            human_bytes(d.unique),
            human_bytes(d.stored),
            d.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}"))
        ))
    };
    for d in datasets {
        row(d, &escaped(&d.dataset), &short_time(d.last))?;
    }
    if let [first, _, ..] = datasets {
        let sum = |of: fn(&DatasetStats) -> u64| datasets.iter().map(of).fold(0, u64::saturating_add);
        let all = DatasetStats {
            snapshots: sum(|d| d.snapshots),
            files: sum(|d| d.files),
            bytes: sum(|d| d.bytes),
            logical: sum(|d| d.logical),
            unique: sum(|d| d.unique),
            stored: sum(|d| d.stored),
            ..first.clone()
        };
        row(&all, "(all)", "")?;
    }
    Ok(())
}

/// A snapshot whose manifest can be read, and its figures.
struct Added {
    row: SnapshotRow,
    counted: Counted,
    statistics: Statistics,
}

impl Added {
    fn of(snapshot: &Listed) -> Option<Self> {
        let statistics = snapshot.manifest.as_ref().ok()?.statistics;
        Some(Self { row: snapshot.row.clone(), counted: snapshot.counted, statistics })
    }

    fn as_json(&self) -> AddedJson {
        let s = &self.statistics;
        AddedJson {
            id: self.row.id.to_string(),
            arrival: rfc3339(self.row.arrival),
            counted_as: rfc3339(self.counted.time),
            files: s.files,
            bytes: s.bytes,
            unique_bytes: s.new_bytes,
            stored_bytes: s.stored_bytes,
        }
    }
}

fn added_table(snapshots: &[Added], out: &Output) -> Result<(), CliError> {
    out.line(&format!(
        "\n{:16}  {:19}  {:>9}  {:>10}  {:>10}  {:>10}",
        "ID", "ARRIVED (UTC)", "FILES", "SIZE", "UNIQUE", "STORED"
    ))?;
    for Added { row, counted, statistics: s } in snapshots {
        let claim = claim(*counted, row).map_or_else(String::new, |claim| format!("  {claim}"));
        out.line(&format!(
            "{}  {}  {:>9}  {:>10}  {:>10}  {:>10}{claim}",
            short_id(row.id),
            short_time(counted.time),
            s.files,
            human_bytes(s.bytes),
            human_bytes(s.new_bytes),
            human_bytes(s.stored_bytes)
        ))?;
    }
    Ok(())
}

fn as_json(d: &DatasetStats) -> DatasetJson {
    DatasetJson {
        dataset: d.dataset.clone(),
        snapshots: d.snapshots,
        first: rfc3339(d.first),
        last: rfc3339(d.last),
        files: d.files,
        bytes: d.bytes,
        logical_bytes: d.logical,
        unique_bytes: d.unique,
        stored_bytes: d.stored,
        ratio: d.ratio(),
        damaged: d.damaged,
    }
}
