//! `larder key add`

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum, ValueHint};

use crate::codec::{Passphrase, Prompt, Recipient, parse_recipient};
use crate::model::{KeyInfo, KeyName, Kind, Role, same_recipient};
use crate::store::{KeyAdmin, NewKey, StoreError};

use super::super::context::{self, Terminal};
use super::super::error::CliError;
use super::super::init::{cut_recipient, new_passphrase, recipients_in, typed_twice};
use super::super::output::Output;
use super::super::{Global, Outcome, secrecy};
use super::{Locking, change, described};

/// Add a key: somebody or something that opens the store
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder key add -r age1… --role writer --label web1
  larder key add -R team.txt --role catalog
  larder key add --passphrase
  larder key add --passphrase --new-passphrase-command 'pass larder/new'")]
pub(super) struct AddArgs {
    /// Wrap it to an age or SSH recipient (can be repeated: a key for each)
    #[arg(long, short = 'r', value_name = "RECIPIENT")]
    recipient: Vec<String>,
    /// Wrap one to each of the recipients in a file, a line each (can be repeated)
    #[arg(long, short = 'R', value_name = "FILE", value_hint = ValueHint::FilePath)]
    recipients_file: Vec<PathBuf>,
    /// Wrap it to a new passphrase, asked for on the terminal; without one, LARDER_PASSPHRASE_COMMAND prints it
    #[arg(long, short = 'p')]
    passphrase: bool,
    /// What prints the new passphrase, while LARDER_PASSPHRASE_COMMAND prints the one that opens the store
    #[arg(long, value_name = "COMMAND", requires = "passphrase", value_hint = ValueHint::CommandString)]
    new_passphrase_command: Option<std::ffi::OsString>,
    /// What its holder may do: writer, catalog or owner
    #[arg(long, value_name = "ROLE", value_enum, default_value_t = RoleWord::Owner, hide_possible_values = true)]
    role: RoleWord,
    /// What people call it
    #[arg(long, short = 'l', value_name = "TEXT", value_parser = label)]
    label: Option<String>,
    #[command(flatten)]
    locking: Locking,
}

/// A role as it is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleWord {
    Writer,
    Catalog,
    Owner,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Writer => Self::Writer,
            RoleWord::Catalog => Self::Catalog,
            RoleWord::Owner => Self::Owner,
        }
    }
}

fn label(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > KeyInfo::MAX_LABEL || text.chars().any(char::is_control) {
        return Err(format!("a label has 1 to {} bytes and no control characters", KeyInfo::MAX_LABEL));
    }
    if text.to_ascii_lowercase().parse::<KeyName>().is_ok() {
        return Err("16 hexadecimal digits are a key's name, and no label".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(args: &AddArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    secrecy::guard_memory();
    let path = context::store_path(global)?;
    let terminal = Terminal::new(global, Some(&path));
    let prompt: Arc<dyn Prompt> = Arc::new(terminal.clone());
    let mut texts = args.recipient.clone();
    for file in &args.recipients_file {
        texts.extend(recipients_in(file)?);
    }
    if texts.is_empty() && !args.passphrase {
        return Err(CliError::new(Kind::Usage, "for whom the key is to be was not named")
            .hint("name a recipient with -r, a file of them with -R, or ask for a passphrase with --passphrase"));
    }
    let several = texts.len() + usize::from(args.passphrase) > 1;
    if let Some(label) = args.label.as_ref().filter(|_| several) {
        return Err(CliError::new(
            Kind::Usage,
            format!("several keys cannot have the label {label:?}; nothing was changed"),
        )
        .hint("a label names one key: add each with a label of its own, or leave it out"));
    }
    let mut recipients = Vec::new();
    for text in &texts {
        recipients.push(parse_recipient(text, prompt.clone()).map_err(|e| {
            let error = CliError::from(StoreError::from(e));
            match cut_recipient(&["-r".into(), text.into()]) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?);
    }
    // Before anybody is asked: who may not do this is told so, and nobody waits for somebody who types.
    let store = super::open(global)?;
    let passphrase = if args.passphrase { Some(passphrase(args, &terminal)?) } else { None };
    let mut admin = args.locking.lock(&store, out)?;
    let apart = admin.set_others_apart();
    admin.check_sure()?;
    if let Some(passphrase) = passphrase {
        check_new(&passphrase, &admin)?;
        recipients.push(Recipient::passphrase(passphrase, None));
    }
    let mut known: Vec<String> = admin.keys().iter().map(|key| key.recipient.clone()).collect();
    for recipient in &recipients {
        let text = recipient.to_string();
        if known.iter().any(|other| same_recipient(other, &text)) {
            return Err(CliError::new(Kind::Usage, format!("{recipient} has a key already; nothing was changed"))
                .hint("a recipient has one key: remove the old one first if its role is to be another"));
        }
        known.push(text);
    }
    if let Some(same) = args.label.as_ref().and_then(|label| admin.keys().iter().find(|key| key.label == *label)) {
        return Err(CliError::new(
            Kind::Usage,
            format!("{} has that label already; nothing was changed", described(same)),
        )
        .hint("a label names one key: choose another, or remove that key first"));
    }
    let (role, label) = (args.role.into(), args.label.clone().unwrap_or_default());
    let new = recipients.into_iter().map(|recipient| NewKey { recipient, role, label: label.clone() }).collect();
    let changed = admin.add(new, context::now())?;
    for key in &apart {
        out.remark(&format!(
            "{} counts as one that no owner added: add a key for its holder, or remove it",
            described(key)
        ));
    }
    change::tell(&store, &changed, None, None, out)
}

/// The new passphrase. The command that prints what opens the store is asked for it only where there is nobody else to ask.
fn passphrase(args: &AddArgs, terminal: &Terminal) -> Result<Passphrase, CliError> {
    match &args.new_passphrase_command {
        Some(command) => Ok(context::passphrase_from(command)?),
        None if terminal.is_there() => typed_twice(terminal),
        None => new_passphrase(terminal),
    }
}

/// Refuses a passphrase that is not new: whoever wants another one would have the old one twice.
fn check_new(passphrase: &Passphrase, admin: &KeyAdmin) -> Result<(), CliError> {
    for key in admin.keys().iter().filter(|key| key.recipient == KeyInfo::PASSPHRASE) {
        if admin.opens(key.name, passphrase).unwrap_or(false) {
            let message = format!("the passphrase opens {} already; nothing was changed", super::described(key));
            return Err(CliError::new(Kind::Usage, message)
                .hint("type a new one on a terminal, or name what prints it with --new-passphrase-command"));
        }
    }
    Ok(())
}
