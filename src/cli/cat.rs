//! `larder cat`

use std::ffi::OsString;

use clap::Args;

use crate::model::{Kind, Role};
use crate::ops::read;

use super::context;
use super::error::CliError;
use super::output::{Output, stdout_unbuffered};
use super::place::Place;
use super::progress::Bar;
use super::{Global, Outcome};

/// Write a file of a snapshot to standard output
///
/// The bytes are the file's own, whatever they are: --json is refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder cat latest:etc/fstab
  larder cat home@2024-01-15:photos.tar | tar -tf -")]
pub(super) struct CatArgs {
    /// Which
    #[arg(value_name = "SNAP:PATH")]
    what: OsString,
}

pub(super) fn run(args: &CatArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if out.json() {
        return Err(CliError::new(Kind::Usage, "cat gives the bytes of a file, which are no JSON")
            .hint("leave --json out; `larder ls --json` tells about the file"));
    }
    let place = Place::parse(&args.what)?;
    let store = context::open_for(Role::Owner, "reading content", global)?;
    let found = place.find(&store)?;
    if found.entry.file().is_none() {
        let what = args.what.display();
        return Err(CliError::new(Kind::Usage, format!("{what} is not a file"))
            .hint("`larder ls` shows what it is; of a whole snapshot name a path in it: SNAP:PATH"));
    }
    let bar = Bar::start(&out.without_progress(), "cat");
    let path = String::from_utf8_lossy(&found.path).into_owned();
    match read::cat(&found.pages, &found.entry, &path, &mut stdout_unbuffered()?, &bar) {
        Err(read::ReadError::Write(e)) => Err(CliError::output(&e)),
        other => {
            other?;
            store.note_reads(context::now());
            Ok(Outcome::Done)
        }
    }
}
