//! `larder records canon`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::records::canonical::Exchange;
use crate::records::tape::Tape;

use super::super::Outcome;
use super::super::error::CliError;
use super::super::output::Output;
use super::RecordsReportJson;
use super::input::LinesArgs;

/// Write each JSON value, one a line, in the canonical form over which records are hashed
///
/// For each line a line: the form, or `error: ` and the reason. Names are sorted by code points, strings are in NFC, whole numbers
/// stay as they are (but `-0` is `0`), other numbers have 15 significant digits.
#[derive(Debug, Args)]
pub(super) struct CanonArgs {
    #[command(flatten)]
    lines: LinesArgs,
}

/// The canonical form of a line.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct CanonJson {
    /// Its number, from 1.
    line: u64,
    /// The form; nothing if it has none.
    canonical: Option<String>,
    /// Why not.
    error: Option<String>,
}

pub(super) fn run(args: &CanonArgs, out: &Output) -> Result<Outcome, CliError> {
    let (mut tape, mut form) = (Tape::default(), Exchange::default());
    let limits = args.lines.limits();
    let mut answer = |line: &[u8]| {
        let value = tape.read(line, &limits).map_err(|e| e.on_one_line())?;
        Ok(form.form(value).to_owned())
    };
    args.lines.answer(out, &mut answer, |line, answered| {
        let (canonical, error) = answered.map_or_else(|why| (None, Some(why)), |form| (Some(form), None));
        RecordsReportJson::Canon(CanonJson { line, canonical, error })
    })
}
