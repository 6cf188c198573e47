//! `larder key remove`

use clap::Args;

use crate::model::Kind;
use crate::store::Store;

use super::super::context;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::{Global, Outcome};
use super::{Locking, Resealing, change, name};

/// Remove keys, and give the store new identities for what comes
///
/// What a removed key could read, its holder can still read in a copy of the store that was made before all is sealed anew; what comes
/// is sealed to new identities, and the objects of all other keys are wrapped anew. A key that is opened by a passphrase needs that
/// for it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder key remove web1
  larder key remove ann --reseal                       and seal anew what is there (may take long)
  larder key remove 3f9c --no-rotate")]
pub(super) struct RemoveArgs {
    /// Which: its name, four or more of its first digits, or its label (several can be named)
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Keep the store's identities: the holder may also read what comes
    #[arg(long, conflicts_with = "reseal")]
    no_rotate: bool,
    /// Remove even the key that is in use
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    locking: Locking,
    #[command(flatten)]
    resealing: Resealing,
}

/// The key in use is among those that are to be removed.
pub(super) fn in_use(store: &Store) -> CliError {
    let mine = store.keyring().name();
    let message = format!("the key {mine} is the one in use: without it you could not open the store so again");
    CliError::new(Kind::Usage, format!("{message}; nothing was changed"))
}

pub(super) fn run(args: &RemoveArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (store, admin) = args.locking.admin(global, out)?;
    let strays = admin.strays()?;
    let mut names = Vec::new();
    for text in &args.names {
        let found = name::find(text, admin.keys(), &strays)?;
        if !names.contains(&found) {
            names.push(found);
        }
    }
    if names.contains(&store.keyring().name()) && !args.force {
        return Err(in_use(&store).hint("use another owner's key for it; or --force, if you have one"));
    }
    // What no owner added was never given the store's identities by one.
    let rotate = !args.no_rotate && names.iter().any(|name| admin.keys().iter().any(|key| key.name == *name));
    if !rotate {
        let changed = admin.remove(&names, context::now())?;
        return change::tell(&store, &changed, None, None, out);
    }
    admin.can_remove(&names)?;
    let recipients = change::recipients(&admin, &names, store.dir(), global)?;
    let sealed = admin.sealed()?;
    let changed = admin.rotate(&names, &recipients, context::now())?;
    change::tell(&store, &changed, Some(sealed), args.resealing.waiting(&args.locking), out)
}
