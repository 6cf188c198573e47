//! `larder restore`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::model::{Kind, Progress};
use crate::ops::restore::{Overwrite, RestoreOptions, restore};

use super::context;
use super::error::CliError;
use super::output::{Output, human_bytes};
use super::place::Place;
use super::progress::Bar;
use super::{Global, Outcome};

/// Write a snapshot, or a part of it, into a folder
///
/// Of a folder its contents go into DEST, anything else goes there under its name. DEST is made if it is missing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  larder restore latest:src /tmp/src\n  larder restore home~1 ~/back --overwrite if-changed --verify"
)]
pub(super) struct RestoreArgs {
    /// What
    #[arg(value_name = "SNAP[:PATH]")]
    what: OsString,
    /// Where
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// What happens to files that exist
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Never)]
    overwrite: When,
    /// Read back what was written and compare
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    /// They stay
    Never,
    /// Those that differ in size or time are replaced, unless their content is the same
    IfChanged,
    /// They are replaced
    Always,
}

pub(super) fn run(args: &RestoreArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let place = Place::parse(&args.what)?;
    let store = context::open_named(global)?;
    let found = place.find(&store)?;
    let bar = Bar::start(out, "restore");
    let (items, bytes) = found.extent();
    bar.expect(items, bytes);
    let overwrite = match args.overwrite {
        When::Never => Overwrite::Never,
        When::IfChanged => Overwrite::IfChanged,
        When::Always => Overwrite::Always,
    };
    let options = RestoreOptions { overwrite, verify: args.verify };
    let done = restore(&found.pages, &found.entry, &args.dest, &options, &bar);
    bar.finish();
    let done = done?;
    if out.json() {
        out.print_json(&json!({
            "snapshot": found.id.to_string(), "dest": args.dest, "files": done.files, "folders": done.folders,
            "others": done.others, "bytes": done.bytes, "unchanged": done.unchanged, "kept": done.kept,
            "skipped": done.skipped, "failed": done.failed, "damaged": done.damaged, "partly": done.partly,
            "mismatched": done.mismatched, "owners_lost": done.owners_lost,
        }))?;
    } else {
        let mut text = format!(
            "restored {} files, {} folders, {} into {}",
            done.files,
            done.folders,
            human_bytes(done.bytes),
            args.dest.display()
        );
        let extra = [
            (done.unchanged, "were there already"),
            (done.kept, "were not overwritten (--overwrite if-changed)"),
            (done.skipped, "were left out"),
            (done.partly, "came back without some property"),
            (done.failed, "could not be written"),
            (done.damaged, "are damaged in the store"),
            (done.mismatched, "read back otherwise than they were written"),
        ];
        for (count, what) in extra.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("; {count} {what}"));
        }
        out.remark(&text);
    }
    match done.kind() {
        None => Ok(Outcome::Done),
        Some(Kind::Partial) => Ok(Outcome::Partial),
        Some(Kind::Damage) => {
            Err(CliError::new(Kind::Damage, "not everything could be restored: the store is damaged")
                .hint("larder verify --read-data tells everything that is affected")
                .told(out.json()))
        }
        Some(kind) => Err(CliError::new(kind, "what was written does not read back the same").told(out.json())),
    }
}
