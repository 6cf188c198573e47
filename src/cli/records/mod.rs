//! `larder records`: exchange records, one JSON a line.

mod canon;
mod hash;
mod input;
mod validate;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::CliError;
use super::output::Output;
use super::{Global, Outcome};

/// Look at exchange records: canonical forms, hashes, what is wrong with them
///
/// A record is a line of JSON: the envelope around something that was asked of another system and what came of it, with the hash
/// of its content.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  larder records validate pages.ndjson
  larder records hash - < pages.ndjson
  echo '{\"b\": 1.50, \"a\": \"e\\u0301\"}' | larder records canon -")]
pub(super) struct RecordsArgs {
    #[command(subcommand)]
    command: RecordsCommand,
}

#[derive(Debug, Subcommand)]
enum RecordsCommand {
    Canon(canon::CanonArgs),
    Hash(hash::HashArgs),
    Validate(validate::ValidateArgs),
}

/// What `larder records` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RecordsReportJson {
    /// `canon`, a value for each line.
    Canon(canon::CanonJson),
    /// `hash`, a value for each line.
    Hash(hash::HashJson),
    /// `validate`
    Validate(validate::ValidateJson),
}

pub(super) fn run(args: &RecordsArgs, _global: &Global, out: &Output) -> Result<Outcome, CliError> {
    match &args.command {
        RecordsCommand::Canon(args) => canon::run(args, out),
        RecordsCommand::Hash(args) => hash::run(args, out),
        RecordsCommand::Validate(args) => validate::run(args, out),
    }
}
