//! `larder list`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Immutable, Manifest, Role, SnapshotKind, Timestamp};
use crate::snapshots::{Holds, List, Listed, Wanted};

use super::arrival::claim;
use super::context;
use super::error::CliError;
use super::filter::FilterArgs;
use super::output::{Output, escaped, human_bytes, rfc3339, short_id, short_time};
use super::snapshot_json::SnapshotJson;
use super::writers::Writers;
use super::{Global, Outcome};

/// List snapshots, oldest arrival first
///
/// Of several options all must hold; of one that is repeated, one is enough, but of --label all. TIME is a day (2024-01-15), a
/// minute (2024-01-15T10:30), a second or RFC 3339, UTC unless an offset is given; or an age: 90s, 30min, 36h, 7d, 2w. --since
/// counts from its first moment, --until to its last.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder list -n 5
  larder list -d home --since 7d
  larder list --kind scheduled --label host=web1 --until 2024-12-31")]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only the newest of them, that many
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
    /// Newest first
    #[arg(long, short = 'r')]
    reverse: bool,
}

/// A snapshot in the list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ListedJson {
    /// What is known of it.
    Snapshot(Box<SnapshotJson>),
    /// What is left if its manifest cannot be read.
    Damaged(DamagedJson),
}

/// A snapshot whose manifest cannot be read.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DamagedJson {
    id: String,
    /// Which entry of the arrival log it is.
    sequence: u64,
    /// When the store acknowledged it; RFC 3339, UTC.
    arrival: String,
    /// Nothing if the name cannot be read either.
    dataset: Option<String>,
    /// What is wrong.
    damaged: String,
}

pub(super) fn run(args: &ListArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let now = context::now();
    let wanted = Wanted { newest: args.limit, ..args.filter.wanted(now)? };
    let store = context::open_for(Role::Catalog, "listing snapshots", global)?;
    let list = List::find(&store, wanted, now)?;
    let mut damage = None;
    let holds = list.holds()?;
    let writers = Writers::read(&store);
    let many = list.are_of_several(&holds);
    let mut printer = Printer { out, width: width(&list), begun: false, holds: &holds, now, writers, many };
    list.each(args.reverse, |listed| {
        printer.print(&listed)?;
        if let Err(e) = listed.manifest {
            damage.get_or_insert(e);
        }
        Ok::<_, CliError>(())
    })?;
    printer.end()?;
    if !printer.begun && list.damage.is_none() {
        out.remark("no snapshot fits");
    }
    // A log that cannot be read to its end may hide snapshots: what there is has been shown.
    match damage.or(list.damage) {
        Some(error) => Err(error.into()),
        None => Ok(Outcome::Done),
    }
}

/// Prints one snapshot after the other.
struct Printer<'a> {
    out: &'a Output,
    width: usize,
    begun: bool,
    holds: &'a Holds,
    now: Timestamp,
    writers: Writers,
    /// Snapshots of several keys are listed, or of one that they only claim.
    many: bool,
}

impl Printer<'_> {
    fn print(&mut self, listed: &Listed) -> Result<(), CliError> {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.out.json() {
            self.out.raw(if first { b"[" } else { b"," })?;
            let text = serde_json::to_string(&self.as_json(listed)).map_err(|e| CliError::output(&e.into()))?;
            return self.out.raw(text.as_bytes());
        }
        let width = self.width;
        if first {
            self.out.line(&format!(
                "{:16}  {:19}  {:width$}  {:>10}  {:>10}  {:10}  {}",
                "ID", "ARRIVED (UTC)", "DATASET", "FILES", "SIZE", "ADDED", "NOTES"
            ))?;
        }
        let marks: Vec<_> = self.whose(listed).into_iter().chain(self.kept(listed)).collect();
        self.out.line(&as_text(listed, width, &marks))
    }

    /// Who wrote it, where that could be several.
    fn whose(&self, listed: &Listed) -> Option<String> {
        let by = self.by(listed).filter(|_| self.many)?;
        Some(escaped(&format!("by {by}")))
    }

    fn by(&self, listed: &Listed) -> Option<String> {
        self.writers.label(&listed.row, self.holds.is_proved(&listed.row))
    }

    fn as_json(&self, listed: &Listed) -> ListedJson {
        let row = &listed.row;
        match &listed.manifest {
            Ok(m) => {
                let snapshot = SnapshotJson::new(row.id, m, self.holds.on(&row.id));
                ListedJson::Snapshot(Box::new(snapshot.witnessed(row, self.by(listed), listed.counted.time)))
            }
            Err(e) => ListedJson::Damaged(DamagedJson {
                id: row.id.to_string(),
                sequence: row.sequence,
                arrival: rfc3339(row.arrival),
                dataset: listed.dataset.as_ref().map(ToString::to_string),
                damaged: e.to_string(),
            }),
        }
    }

    /// What keeps it, in words.
    fn kept(&self, listed: &Listed) -> Vec<String> {
        let (id, asks) = (&listed.row.id, listed.manifest.as_ref().is_ok_and(|m| m.evidence.immutable));
        let held = self.holds.in_force(id, self.now).map(|_| "held");
        let immutable = match self.holds.immutable(id, asks) {
            Immutable::Yes => Some("immutable"),
            Immutable::Asked => Some("asks to be immutable"),
            Immutable::No => None,
        };
        held.into_iter().chain(immutable).map(str::to_owned).collect()
    }

    fn end(&self) -> Result<(), CliError> {
        match (self.out.json(), self.begun) {
            (false, _) => Ok(()),
            (true, true) => self.out.line("]"),
            (true, false) => self.out.line("[]"),
        }
    }
}

/// The widest name of a dataset, so that rows can be printed before all are known.
fn width(list: &List) -> usize {
    list.dataset_labels().map(|label| escaped(&label).chars().count()).max().unwrap_or(0).max(7)
}

fn as_text(listed: &Listed, width: usize, marks: &[String]) -> String {
    let row = &listed.row;
    let name = escaped(&listed.dataset_label());
    let front = format!("{}  {}  {name:width$}", short_id(row.id), short_time(listed.counted.time));
    let marks: Vec<_> = claim(listed.counted, row).into_iter().chain(marks.iter().cloned()).collect();
    match &listed.manifest {
        Ok(m) => {
            let s = &m.statistics;
            let (size, added) = (human_bytes(s.bytes), human_bytes(s.stored_bytes));
            format!("{front}  {:>10}  {size:>10}  {added:10}  {}", s.files, note(m, &marks)).trim_end().to_owned()
        }
        Err(e) => format!("{front}  {}", escaped(&e.to_string())),
    }
}

/// What sets a snapshot apart from others: what it lacks, a time that it only claims, who wrote it, what keeps it, its kind unless it is the usual one, labels, the reason.
fn note(m: &Manifest, marks: &[String]) -> String {
    let marks = marks.iter().cloned();
    let lacks = (m.statistics.unreadable > 0).then(|| format!("lacks {} unreadable", m.statistics.unreadable));
    let kind = (m.kind != SnapshotKind::Manual).then(|| m.kind.to_string());
    let labels = m.labels.iter().map(|(key, value)| escaped(&format!("{key}={value}")));
    let reason = m.reason.as_deref().map(escaped);
    lacks.into_iter().chain(marks).chain(kind).chain(labels).chain(reason).collect::<Vec<_>>().join("  ")
}
