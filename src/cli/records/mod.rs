//! `larder records`: exchange records, one JSON a line.

mod canon;
mod count;
mod diff;
mod export;
mod find;
mod get;
mod given;
mod hash;
mod import;
mod init;
mod input;
mod log;
mod policy;
mod validate;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::ops::records::Dataset;
use crate::snapshots::{SnapshotName, resolve};
use crate::store::Store;

use super::context;
use super::error::CliError;
use super::output::Output;
use super::{Global, Outcome};

/// Keep exchange records: import, find, compare and export them
///
/// A record is a line of JSON: the envelope around something that was asked of another system and what came of it, with the hash
/// of its content. Records of one kind make a dataset. Each import is a snapshot of it, which is a pack of the system that the form comes from: mounted or
/// restored, its readers take it.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  larder records init pages --source wiki --entity page --owner ann --redact
  larder records policy pages --conflict prefer_incoming --redact-pattern email
  larder records import pages.ndjson --dataset pages
  larder records get 'Ada Lovelace'
  larder records log 'Ada Lovelace' --dataset pages
  larder records find pages --since 2024-01-01 --path '$.response.title'
  larder records diff pages~1 pages
  larder records validate pages.ndjson
  larder records hash - < pages.ndjson
  echo '{\"b\": 1.50, \"a\": \"e\\u0301\"}' | larder records canon -")]
pub(super) struct RecordsArgs {
    #[command(subcommand)]
    command: RecordsCommand,
}

#[derive(Debug, Subcommand)]
enum RecordsCommand {
    Init(init::InitArgs),
    Policy(policy::PolicyArgs),
    Import(import::ImportArgs),
    Get(get::GetArgs),
    Log(log::LogArgs),
    Find(find::FindArgs),
    Diff(diff::DiffArgs),
    Export(export::ExportArgs),
    Count(count::CountArgs),
    Canon(canon::CanonArgs),
    Hash(hash::HashArgs),
    Validate(validate::ValidateArgs),
}

/// What `larder records` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RecordsReportJson {
    /// `init`
    Init(init::InitJson),
    /// `policy`
    Policy(policy::RecordPolicyJson),
    /// `import`
    Import(import::ImportReportJson),
    /// `log`
    Log(log::LogJson),
    /// `find`, a value for each record.
    Found(find::FoundJson),
    /// `diff`
    Diff(diff::DiffJson),
    /// `export` into a file; of a pack it is what `larder export` prints.
    Export(export::ExportedJson),
    /// `count`
    Count(count::CountJson),
    /// `canon`, a value for each line.
    Canon(canon::CanonJson),
    /// `hash`, a value for each line.
    Hash(hash::HashJson),
    /// `validate`
    Validate(validate::ValidateJson),
}

pub(super) fn run(args: &RecordsArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    match &args.command {
        RecordsCommand::Init(args) => init::run(args, global, out),
        RecordsCommand::Policy(args) => policy::run(args, global, out),
        RecordsCommand::Import(args) => import::run(args, global, out),
        RecordsCommand::Get(args) => get::run(args, global, out),
        RecordsCommand::Log(args) => log::run(args, global, out),
        RecordsCommand::Find(args) => find::run(args, global, out),
        RecordsCommand::Diff(args) => diff::run(args, global, out),
        RecordsCommand::Export(args) => export::run(args, global, out),
        RecordsCommand::Count(args) => count::run(args, global, out),
        RecordsCommand::Canon(args) => canon::run(args, out),
        RecordsCommand::Hash(args) => hash::run(args, out),
        RecordsCommand::Validate(args) => validate::run(args, global, out),
    }
}

/// The record dataset in a snapshot that is named as everywhere.
fn dataset(store: &Store, name: &SnapshotName, shown: &str) -> Result<Dataset, CliError> {
    let manifest = store.manifest(&resolve(store, name, context::now())?)?;
    let pages = context::pages(store);
    let found = Dataset::of(&pages, &manifest)?;
    Ok(found.ok_or_else(|| Dataset::missing(&pages, &manifest, shown))?)
}

pub(super) use import::{PackImport, import_pack, is_pack_folder, look_for_pack};
