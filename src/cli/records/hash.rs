//! `larder records hash`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::records::RecordParser;

use super::super::Outcome;
use super::super::error::CliError;
use super::super::output::Output;
use super::RecordsReportJson;
use super::input::LinesArgs;

/// Compute the hash of the content (`content_sha256`) of each record, one a line, whatever it says itself
///
/// For each line a line: the hash, or `error: ` and the reason. `exchange_type`, `source_system` and `entity_type` must be there, since
/// they are hashed; the other fields need not.
#[derive(Debug, Args)]
pub(super) struct HashArgs {
    #[command(flatten)]
    lines: LinesArgs,
}

/// The hash of a line.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct HashJson {
    /// Its number, from 1.
    line: u64,
    /// 64 lower-case hexadecimal digits; nothing if it has none.
    content_sha256: Option<String>,
    /// Why not.
    error: Option<String>,
}

pub(super) fn run(args: &HashArgs, out: &Output) -> Result<Outcome, CliError> {
    let mut parser = RecordParser::new(args.lines.limits());
    let mut answer = |line: &[u8]| parser.hash(line).map(|hash| hash.to_string()).map_err(|e| e.to_string());
    args.lines.answer(out, &mut answer, |line, answered| {
        let (content_sha256, error) = answered.map_or_else(|why| (None, Some(why)), |hash| (Some(hash), None));
        RecordsReportJson::Hash(HashJson { line, content_sha256, error })
    })
}
