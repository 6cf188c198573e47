//! `larder show`

use clap::Args;

use crate::model::{Immutable, Manifest, Reference, Role};
use crate::snapshots::{Counted, Holds, SnapshotName, Witnesses, resolve_row};

use super::context;
use super::error::CliError;
use super::hold_json;
use super::output::{Output, escaped, human_bytes, rfc3339};
use super::snapshot_json::SnapshotJson;
use super::writers::Writers;
use super::{Global, Outcome};

/// Show everything that is known of a snapshot
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder show                                          the newest of all
  larder show home~1 --json | jq .new_bytes")]
pub(super) struct ShowArgs {
    /// Which one: an id or its first digits, `latest`, DATASET; any of them with ~1 for the one before; DATASET@TIME, the
    /// newest that had arrived by then: a day, a minute, RFC 3339, or an age (DATASET@36h: as of 36 hours ago; latest@36h: the newest of all)
    #[arg(value_name = "SNAP", default_value = "latest")]
    snapshot: String,
}

pub(super) fn run(args: &ShowArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let name: SnapshotName = args.snapshot.parse()?;
    let store = context::open_for(Role::Catalog, "showing a snapshot", global)?;
    let now = context::now();
    let row = resolve_row(&store, &name, now)?;
    let id = row.id;
    let manifest = store.manifest(&id)?;
    let mut holds = Holds::since(&store, manifest.sequence)?;
    let counted = Witnesses::read(&store, Some(now), row.sequence)?.counted(row.sequence, row.arrival);
    let by = Writers::read(&store).label(&row, holds.is_proved(&row));
    if out.json() {
        out.print_json(&SnapshotJson::new(id, &manifest, holds.on(&id)).witnessed(&row, by, counted.time))?;
        return whole(&mut holds);
    }
    let held = holds.on(&id).map(|hold| ("hold", hold_json::text(hold)));
    let immutable = match holds.immutable(&id, manifest.evidence.immutable) {
        Immutable::Yes => Some("yes"),
        Immutable::Asked => {
            Some("asked for by a writer key, and kept until somebody decides (`larder hold --immutable`)")
        }
        Immutable::No => manifest.evidence.immutable.then_some("asked for by a writer key, and denied"),
    };
    let immutable = immutable.map(|text| ("immutable", text.to_owned()));
    let by = by.map(|by| ("written by", by));
    for (key, value) in rows(&id.to_string(), &manifest, counted).into_iter().chain(by).chain(immutable).chain(held) {
        out.line(&format!("{key:14} {}", escaped(&value)))?;
    }
    whole(&mut holds)
}

/// What is lost of the log may be a hold of the snapshot, which has been shown as it is known.
fn whole(holds: &mut Holds) -> Result<Outcome, CliError> {
    holds.damage().map_or(Ok(Outcome::Done), |damage| Err(damage.into()))
}

fn rows(id: &str, m: &Manifest, counted: Counted) -> Vec<(&'static str, String)> {
    let s = &m.statistics;
    let e = &m.evidence;
    let mut rows = vec![
        ("id", id.to_owned()),
        ("dataset", m.dataset.to_string()),
        ("arrival", arrival(m, counted)),
        ("sequence", m.sequence.to_string()),
        ("kind", m.kind.to_string()),
        ("begun", format!("{} on {} by {}", rfc3339(m.client_time), m.host, m.user)),
        ("program", m.program.clone()),
        ("files", s.files.to_string()),
        ("folders", s.folders.to_string()),
        ("others", s.others.to_string()),
        ("size", format!("{} ({} bytes)", human_bytes(s.bytes), s.bytes)),
        ("new", format!("{}, stored in {}", human_bytes(s.new_bytes), human_bytes(s.stored_bytes))),
        ("unreadable", s.unreadable.to_string()),
        ("changed", s.changed.to_string()),
        ("tree", m.root.folder().map_or_else(String::new, |t| t.page.to_string())),
    ];
    rows.extend(m.sources.iter().map(|p| ("source", String::from_utf8_lossy(p).into_owned())));
    let optional = [
        ("parent", m.parent.map(|p| p.to_string())),
        ("git revision", m.git_revision.clone()),
        ("reason", m.reason.clone()),
        ("scope", e.scope.clone()),
        ("scope ref", e.scope_ref.clone()),
        ("initiator", e.initiator.clone()),
        ("trigger", e.trigger_source.clone()),
        ("analyzer", e.analyzer_version.clone()),
        ("rules", e.rule_version.clone()),
        ("source ref", e.source_ref.clone()),
        ("retention", e.retention_class.clone()),
        ("metrics", e.metrics.clone()),
        ("payload", e.payload.clone()),
        ("origin", m.origin().map(str::to_owned)),
    ];
    rows.extend(optional.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))));
    rows.extend(m.labels.iter().map(|(k, v)| ("label", format!("{k}={v}"))));
    rows.extend(m.references.iter().map(|r| ("reference", reference(r))));
    rows
}

/// What it claims is told as such where witnesses do not bear it out.
fn arrival(m: &Manifest, counted: Counted) -> String {
    if counted.moved {
        format!("{} (it claims {}, which nothing bears out)", rfc3339(counted.time), rfc3339(m.arrival))
    } else {
        rfc3339(m.arrival)
    }
}

fn reference(r: &Reference) -> String {
    let checked = match (&r.hash, r.verified) {
        (None, _) => String::new(),
        (Some(hash), Some(true)) => format!(" ({hash}, compared at capture)"),
        (Some(hash), _) => format!(" ({hash}, not compared)"),
    };
    format!("{}={}{checked}", r.key, r.uri)
}
