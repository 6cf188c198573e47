//! `larder cat`

use std::ffi::OsString;

use clap::Args;

use crate::ops::read;

use super::context;
use super::error::CliError;
use super::output::{Output, stdout_unbuffered};
use super::place::Place;
use super::progress::Bar;
use super::{Global, Outcome};

/// Write a file of a snapshot to standard output
#[derive(Debug, Args)]
pub(super) struct CatArgs {
    /// Which
    #[arg(value_name = "SNAP:PATH")]
    what: OsString,
}

pub(super) fn run(args: &CatArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let place = Place::parse(&args.what)?;
    let store = context::open_named(global)?;
    let found = place.find(&store)?;
    let bar = Bar::start(&out.without_progress(), "cat");
    let path = String::from_utf8_lossy(&found.path).into_owned();
    match read::cat(&found.pages, &found.entry, &path, &mut stdout_unbuffered()?, &bar) {
        Err(read::ReadError::Write(e)) => Err(CliError::output(&e)),
        other => Ok(other.map(|()| Outcome::Done)?),
    }
}
