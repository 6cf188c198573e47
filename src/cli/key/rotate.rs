//! `larder key rotate`

use clap::Args;

use crate::model::Kind;

use super::super::context;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::{Global, Outcome};
use super::remove::in_use;
use super::{Locking, Resealing, change, name};

/// Give the store new identities for what comes
///
/// Every key object is wrapped anew. What is stored stays sealed under the old identities, which the keys keep, until it is sealed
/// anew; it is told how much that is. Where entries of the arrival log were given up that may have removed keys, --keep says which stay. Clients that know the store accept the change: only an owner can make it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder key rotate
  larder key rotate --reseal                           and seal anew what is there (may take long)
  larder key rotate --keep ann --keep web1             and remove all other keys")]
pub(super) struct RotateArgs {
    /// The keys that stay, yours among them, each by its name, four or more of its first digits, or its label; all others are removed (can be repeated)
    #[arg(long, value_name = "NAME", num_args = 1..)]
    keep: Vec<String>,
    #[command(flatten)]
    locking: Locking,
    #[command(flatten)]
    resealing: Resealing,
}

pub(super) fn run(args: &RotateArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (store, admin, removed) = if args.keep.is_empty() {
        let (store, admin) = args.locking.admin(global, out)?;
        (store, admin, Vec::new())
    } else {
        let (store, mut admin) = args.locking.admin_in_doubt(global, out)?;
        let strays = admin.strays()?;
        let mut kept = Vec::new();
        for text in &args.keep {
            let found = name::find(text, admin.keys(), &strays)?;
            if strays.contains(&found) {
                let message = format!("whom the key {found} is wrapped to is not known, since no list of keys has it");
                return Err(CliError::new(Kind::Usage, format!("{message}; nothing was changed"))
                    .hint("leave it out, which removes it; then `larder key add` gives its holder another"));
            }
            kept.push(found);
        }
        let removed = admin.keep(&kept)?;
        (store, admin, removed)
    };
    if removed.contains(&store.keyring().name()) {
        return Err(in_use(&store).hint("name it with --keep too"));
    }
    admin.can_remove(&removed)?;
    let recipients = change::recipients(&admin, &removed, store.dir(), global)?;
    let sealed = admin.sealed()?;
    let changed = admin.rotate(&removed, &recipients, context::now())?;
    for name in removed.iter().filter(|name| !changed.removed.iter().any(|key| key.name == **name)) {
        out.remark(&format!("removed the key {name}, which no list of keys has"));
    }
    change::tell(&store, &changed, Some(sealed), args.resealing.waiting(&args.locking), out)
}
