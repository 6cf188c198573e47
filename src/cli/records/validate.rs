//! `larder records validate`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::records::{RecordParser, Verified};

use super::super::Outcome;
use super::super::error::CliError;
use super::super::output::{Output, counted};
use super::RecordsReportJson;
use super::input::{LinesArgs, too_long};

/// Check records, one a line: their fields, and their hashes against their content
///
/// What is wrong is told with the number of the line; blank lines are passed over. Exit status 3 if something is.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    lines: LinesArgs,
}

/// What is wrong with records.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct ValidateJson {
    /// Lines that are not blank.
    records: u64,
    /// How many of them are as they should be.
    valid: u64,
    /// How many are not.
    invalid: u64,
    /// These, in their order, the first thousand.
    faults: Vec<FaultJson>,
}

/// A line that is no record as it should be.
#[derive(Debug, Serialize, JsonSchema)]
struct FaultJson {
    /// Its number, from 1.
    line: u64,
    /// What is wrong.
    reason: String,
}

/// Faults that are in the JSON; the text has all.
const LISTED: usize = 1000;

pub(super) fn run(args: &ValidateArgs, out: &Output) -> Result<Outcome, CliError> {
    let mut lines = args.lines.open()?;
    let mut parser = RecordParser::new(args.lines.limits());
    let mut found = ValidateJson { records: 0, valid: 0, invalid: 0, faults: Vec::new() };
    while let Some(line) = lines.next().map_err(|e| args.lines.failed(&e))? {
        if line.bytes.is_some_and(|bytes| bytes.iter().all(u8::is_ascii_whitespace)) {
            continue;
        }
        found.records += 1;
        let checked =
            line.bytes.ok_or_else(|| too_long(&args.lines.limits())).and_then(|line| check(line, &mut parser));
        let Err(reason) = checked else {
            found.valid += 1;
            continue;
        };
        found.invalid += 1;
        let number = line.number;
        if !out.json() {
            out.line(&super::super::output::escaped(&format!("line {number}: {reason}")))?;
        } else if found.faults.len() < LISTED {
            found.faults.push(FaultJson { line: number, reason });
        }
    }
    let outcome = if found.invalid == 0 { Outcome::Done } else { Outcome::Partial };
    if out.json() {
        out.print_json(&RecordsReportJson::Validate(found))?;
    } else {
        out.line(&format!(
            "{}: {} valid, {} invalid",
            counted(found.records, "record", "records"),
            found.valid,
            found.invalid
        ))?;
    }
    Ok(outcome)
}

/// What is wrong with a line, beside what hinders reading it.
fn check(line: &[u8], parser: &mut RecordParser) -> Result<(), String> {
    let record = parser.read(line).map_err(|e| e.to_string())?;
    match record.verified() {
        _ if record.exchange_id.is_empty() => Err("exchange_id is missing".to_owned()),
        Verified::Same => Ok(()),
        Verified::New => Err("content_sha256 is missing".to_owned()),
        Verified::RedactedBefore(stated) => Err(format!(
            "content_sha256 is {stated}, but the content has the hash {}: it was redacted by a system that keeps the hash of what was \
             there before",
            record.content_sha256
        )),
    }
}
