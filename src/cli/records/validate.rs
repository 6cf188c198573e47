//! `larder records validate`

use std::path::PathBuf;

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Progress};
use crate::records::tape::Limits;
use crate::records::{RecordParser, Verified};

use super::super::error::CliError;
use super::super::output::{Output, counted};
use super::super::pack_keys::PasswordArgs;
use super::super::progress::Bar;
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::given;

/// Check records: their fields, and their hashes against their content
///
/// Of lines of JSON, one JSON document, a list, a folder of such files, or a pack, compressed or not, as an import takes them. What is wrong is told with the number of the line. What the
/// importer of a record adds need not be there; --stored wants it. Exit status 3 if something is wrong.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// A file, a folder or a pack; `-` is standard input
    #[arg(value_name = "FILE|DIR|PACK|-", value_hint = ValueHint::AnyPath)]
    from: PathBuf,
    /// Want what each record has that was stored: `exchange_id` and `content_sha256`
    #[arg(long)]
    stored: bool,
    /// Lists and objects that may stand in each other; what is nested deeper is an error
    #[arg(long, value_name = "N", default_value_t = Limits::default().depth)]
    max_depth: usize,
    #[command(flatten)]
    ratio: given::RatioArgs,
    #[command(flatten)]
    password: PasswordArgs,
}

/// What is wrong with records.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct ValidateJson {
    /// Records and what should be some.
    records: u64,
    /// How many of them are as they should be.
    valid: u64,
    /// How many are not.
    invalid: u64,
    /// These, in their order, the first thousand.
    faults: Vec<FaultJson>,
    /// Files of a folder that hold no records; not there if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

/// A line that is no record as it should be.
#[derive(Debug, Serialize, JsonSchema)]
struct FaultJson {
    /// The file it is in; left out if there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The number of its line, from 1.
    line: u64,
    /// What is wrong.
    reason: String,
}

/// Faults that are in the JSON; the text has all.
const LISTED: usize = 1000;
const STOPPED: &str = "interrupted; what was wrong so far was told";

pub(super) fn run(args: &ValidateArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let bar = Bar::start(out, "validate");
    check_all(args, global, &bar, out).map_err(|e| given::or_interrupted(e, &bar, STOPPED))
}

fn check_all(args: &ValidateArgs, global: &Global, bar: &Bar, out: &Output) -> Result<Outcome, CliError> {
    let mut given = given::open(&args.from, &|| Ok(Box::new(args.password.keys(global))), &args.ratio, bar)?;
    given.remark(out);
    let left_out = Some(given.left_out.count).filter(|count| *count > 0);
    let limits = Limits { depth: args.max_depth, ..Limits::default() };
    let mut parser = RecordParser::new(limits);
    let mut found = ValidateJson { records: 0, valid: 0, invalid: 0, faults: Vec::new(), left_out };
    while let Some(raw) = given.source.next()? {
        if bar.cancelled() {
            return Err(CliError::new(Kind::Interrupted, STOPPED));
        }
        bar.advance(1, raw.text.as_ref().map_or(0, Vec::len) as u64);
        found.records += 1;
        let too_long = || super::input::too_long(&limits);
        let known = raw.fault.clone().map_or(Ok(()), Err);
        let text = raw.text.as_deref().ok_or_else(too_long);
        let checked = known.and(text).and_then(|text| check(text, args.stored, &mut parser));
        let Err(reason) = checked else {
            found.valid += 1;
            continue;
        };
        found.invalid += 1;
        let file = Some(raw.file.to_string()).filter(|file| !file.is_empty());
        if !out.json() {
            let place = file.map_or_else(|| format!("line {}", raw.line), |file| format!("{file}:{}", raw.line));
            out.line(&super::super::output::escaped(&format!("{place}: {reason}")))?;
        } else if found.faults.len() < LISTED {
            found.faults.push(FaultJson { file, line: raw.line, reason });
        }
    }
    bar.finish();
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
fn check(line: &[u8], stored: bool, parser: &mut RecordParser) -> Result<(), String> {
    let record = parser.read(line).map_err(|e| e.to_string())?;
    match record.verified() {
        _ if stored && record.exchange_id.is_empty() => Err("exchange_id is missing".to_owned()),
        Verified::New if stored => Err("content_sha256 is missing".to_owned()),
        Verified::Same | Verified::New => Ok(()),
        Verified::RedactedBefore(stated) => Err(format!(
            "content_sha256 is {stated}, but the content has the hash {}: it was redacted by a system that keeps the hash of what was \
             there before",
            record.content_sha256
        )),
    }
}
