//! `larder key`: who may do what with a store.

mod add;
mod change;
mod export;
mod list;
mod name;
mod remove;
mod reseal;
mod rotate;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{KeyInfo, Progress, Role};
use crate::store::{KeyAdmin, Store, Waiting};

use super::context;
use super::error::CliError;
use super::output::{Output, rfc3339};
use super::progress::Bar;
use super::{Global, Outcome};

/// Show, add and remove the keys of a store; give it new identities
///
/// A key is a small age file in the store, wrapped to somebody's recipient or to a passphrase. It holds what its role needs:
/// a writer captures and can read nothing, not even what it wrote; a catalog key lists, compares, verifies and gives up
/// snapshots, and cannot read content; an owner may do all, keys included. Changing keys writes no data anew, `reseal` does.
///
/// Whoever holds a writer or catalog key can find out whether the store has a content that they have themselves.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  larder key list
  larder key add --role writer --label web1 -r age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  larder key add --passphrase --label 'paper in the safe'
  larder key remove web1
  larder key rotate --reseal
  larder key export -o key.txt")]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    List(list::ListArgs),
    Add(add::AddArgs),
    Remove(remove::RemoveArgs),
    Rotate(rotate::RotateArgs),
    Reseal(reseal::ResealArgs),
    Export(export::ExportArgs),
}

/// What `larder key` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum KeyReportJson {
    /// `list`
    List(list::KeyListJson),
    /// `add`, `remove` and `rotate`
    Change(change::KeyChangeJson),
    /// `reseal`
    Reseal(reseal::ResealJson),
    /// `export -o FILE`
    Export(export::KeyExportJson),
}

/// A key.
#[derive(Debug, Serialize, JsonSchema)]
struct KeyJson {
    /// 16 hexadecimal digits; its object is `keys/NAME.age`.
    name: String,
    /// `writer`, `catalog` or `owner`; nothing if no owner added this key.
    role: Option<String>,
    /// `x25519`, `ssh-ed25519`, `ssh-rsa`, `passphrase`, the name of a plugin, or `unknown`.
    kind: Option<String>,
    /// Whom its object is wrapped to; nothing for a passphrase, or if that was not kept.
    recipient: Option<String>,
    label: Option<String>,
    /// When it was added; RFC 3339, UTC.
    added: Option<String>,
}

impl KeyJson {
    fn new(info: &KeyInfo) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            name: info.name.to_string(),
            role: Some(info.role.to_string()),
            kind: Some(info.kind().to_owned()),
            recipient: text(&info.recipient).filter(|r| r != KeyInfo::PASSPHRASE),
            label: text(&info.label),
            added: Some(rfc3339(info.added)),
        }
    }
}

/// What commands that change keys take besides.
#[derive(Debug, Args)]
struct Locking {
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// Sealing anew, behind a change of keys.
#[derive(Debug, Args)]
struct Resealing {
    /// Then seal anew what is under the old identities, as `larder key reseal` does
    #[arg(long)]
    reseal: bool,
}

impl Resealing {
    /// If it is wanted, whether to wait for other writers.
    fn waiting(&self, locking: &Locking) -> Option<Waiting> {
        self.reseal.then(|| locking.waiting())
    }
}

impl Locking {
    fn waiting(&self) -> Waiting {
        if self.no_wait { Waiting::NoWait } else { Waiting::Wait }
    }

    /// Opens the store that the user named and takes its lock, for an owner who goes by the list of keys.
    fn admin(&self, global: &Global, out: &Output) -> Result<(Store, KeyAdmin), CliError> {
        let (store, admin) = self.admin_in_doubt(global, out)?;
        admin.check_sure()?;
        Ok((store, admin))
    }

    /// The same for an owner who says which keys there are.
    fn admin_in_doubt(&self, global: &Global, out: &Output) -> Result<(Store, KeyAdmin), CliError> {
        let store = open(global)?;
        let admin = self.lock(&store, out)?;
        Ok((store, admin))
    }

    /// Takes the lock of the store.
    fn lock(&self, store: &Store, out: &Output) -> Result<KeyAdmin, CliError> {
        let bar = Bar::start(out, "key");
        let admin = store.key_admin(self.waiting(), &|| !bar.cancelled());
        bar.finish();
        Ok(admin?)
    }
}

/// Opens the store that the user named, for an owner.
fn open(global: &Global) -> Result<Store, CliError> {
    context::open_for(Role::Owner, "changing the store's keys", global)
}

/// A key in a few words, for people.
fn described(info: &KeyInfo) -> String {
    let label = if info.label.is_empty() { String::new() } else { format!(" ({})", info.label) };
    let whom = match info.recipient.as_str() {
        "" => String::new(),
        KeyInfo::PASSPHRASE => ", opened by a passphrase".to_owned(),
        recipient => format!(", wrapped to {recipient}"),
    };
    super::output::escaped(&format!("the {} key {}{label}{whom}", info.role, info.name))
}

pub(super) fn run(args: &KeyArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    match &args.command {
        KeyCommand::List(_) => list::run(global, out),
        KeyCommand::Add(args) => add::run(args, global, out),
        KeyCommand::Remove(args) => remove::run(args, global, out),
        KeyCommand::Rotate(args) => rotate::run(args, global, out),
        KeyCommand::Reseal(args) => reseal::run(args, global, out),
        KeyCommand::Export(args) => export::run(args, global, out),
    }
}
