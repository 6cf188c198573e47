//! `larder schema`: what each command prints under --json, as JSON Schema of the very types that are printed.

use clap::Args;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::model::Kind;
use crate::packs::manifest::PackManifest;

use super::error::CliError;
use super::events::{Event, FailureJson};
use super::output::Output;
use super::snapshot_json::SnapshotJson;
use super::{
    Outcome, changes, diff, export, find, gc, heal, history, hold, import, init, key, list, ls, mount, policy, records,
    repair, show_config, snapshot_json, stats, sync, unpack, verdicts, verify_pack, why,
};

/// Print the JSON Schema of what a command prints under --json
///
/// Draft 2020-12. Without a name the names are listed. What a command prints is one JSON value, on one line; of `ls`, `diff`, `find`,
/// `history`, `restore`, `forget`, `hold`, `release`, `policy`, `records canon`, `records hash` and `snapshot --dry-run` it is one value for each line. A failure prints a value of the schema `error` (in a
/// listing, on the last line) and the exit status tells its sort. `pack` is the manifest.json of a pack. `progress` is what --progress json writes to standard error, a value
/// a line. Members may be added by later versions; none is taken away or changes its meaning.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder schema                                        the names
  larder schema snapshot > snapshot.schema.json")]
pub(super) struct SchemaArgs {
    /// A command, `error`, `progress`, or `pack` for the manifest.json of a pack
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// A name and how its schema is made.
type Named = (&'static str, fn() -> Schema);

/// All schemas. A command whose output is not here prints no JSON.
pub(super) const SCHEMAS: &[Named] = &[
    ("init", schema_of::<init::InitJson>),
    ("snapshot", schema_of::<snapshot_json::SnapshotReportJson>),
    ("list", schema_of::<Vec<list::ListedJson>>),
    ("show", schema_of::<SnapshotJson>),
    ("ls", schema_of::<ls::EntryJson>),
    ("diff", schema_of::<diff::DiffJson>),
    ("find", schema_of::<find::FoundJson>),
    ("history", schema_of::<history::VersionJson>),
    ("stats", schema_of::<stats::StatsJson>),
    ("why-big", schema_of::<why::WhyJson>),
    ("why-new", schema_of::<why::WhyJson>),
    ("restore", schema_of::<changes::RestoreReportJson>),
    ("export", schema_of::<export::ExportJson>),
    ("import", schema_of::<import::ImportJson>),
    ("unpack", schema_of::<unpack::UnpackJson>),
    ("mount", schema_of::<mount::MountReportJson>),
    ("unmount", schema_of::<mount::UnmountJson>),
    ("forget", schema_of::<verdicts::VerdictsJson>),
    ("hold", schema_of::<hold::HeldJson>),
    ("release", schema_of::<hold::HeldJson>),
    ("policy", schema_of::<policy::PolicyReportJson>),
    ("gc", schema_of::<gc::GcJson>),
    ("verify", schema_of::<verify_pack::VerifyReportJson>),
    ("repair", schema_of::<repair::RepairJson>),
    ("heal", schema_of::<heal::HealJson>),
    ("key", schema_of::<key::KeyReportJson>),
    ("records", schema_of::<records::RecordsReportJson>),
    ("sync", schema_of::<sync::SyncJson>),
    ("config", schema_of::<show_config::ConfigJson>),
    ("pack", schema_of::<PackManifest>),
    ("schema", schema_of::<Vec<String>>),
    ("error", schema_of::<FailureJson>),
    ("progress", schema_of::<Event>),
];

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

pub(super) fn run(args: &SchemaArgs, out: &Output) -> Result<Outcome, CliError> {
    match &args.name {
        Some(name) => print(name, out)?,
        None if out.json() => out.print_json(&SCHEMAS.iter().map(|(name, _)| *name).collect::<Vec<_>>())?,
        None => SCHEMAS.iter().try_for_each(|(name, _)| out.line(name))?,
    }
    Ok(Outcome::Done)
}

fn print(name: &str, out: &Output) -> Result<(), CliError> {
    let (_, make) = SCHEMAS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
        CliError::new(Kind::Usage, format!("there is no schema {name:?}")).hint("`larder schema` lists the names")
    })?;
    let text = serde_json::to_string_pretty(&make())
        .map_err(|e| CliError::new(Kind::Failed, format!("cannot write the schema: {e}")))?;
    out.line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands that print no JSON, or whose JSON is not described.
    const WITHOUT: [&str; 3] = ["cat", "completions", "man"];

    #[test]
    fn every_command_has_a_schema_or_prints_no_json() {
        let command = super::super::definition();
        for name in command.get_subcommands().map(clap::Command::get_name) {
            let described = SCHEMAS.iter().any(|(known, _)| *known == name);
            assert_ne!(described, WITHOUT.contains(&name), "{name}");
        }
    }
}
