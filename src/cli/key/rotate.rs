//! `larder key rotate`

use clap::Args;

use super::super::context;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::{Global, Outcome};
use super::{Locking, Resealing, change};

/// Give the store new identities for what comes
///
/// Every key object is wrapped anew. What is stored stays sealed under the old identities, which the keys keep, until it is sealed
/// anew; it is told how much that is. Clients that know the store accept the change: only an owner can make it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder key rotate
  larder key rotate --reseal                           and seal anew what is there (may take long)")]
pub(super) struct RotateArgs {
    #[command(flatten)]
    locking: Locking,
    #[command(flatten)]
    resealing: Resealing,
}

pub(super) fn run(args: &RotateArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (store, admin) = args.locking.admin(global, out)?;
    let recipients = change::recipients(&admin, &[], store.dir(), global)?;
    let sealed = admin.sealed()?;
    let changed = admin.rotate(&[], &recipients, context::now())?;
    change::tell(&store, &changed, Some(sealed), args.resealing.waiting(&args.locking), out)
}
