//! `larder init`

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::codec::{
    Passphrase, Prompt, Recipient, WrapError, generate_identity, is_empty_passphrase, parse_recipient, same_passphrase,
};
use crate::model::Kind;
use crate::store::{NewStore, StoreError, create, remember_place};

use super::context::{self, Terminal};
use super::error::CliError;
use super::output::Output;
use super::{Global, Outcome, files, folders, secrecy};

/// Make a store
///
/// By default it is encrypted to the age identity larder/identity.txt in the configuration folder, which is made if it
/// is not there: back it up, nobody can read the store without it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder init ~/larder                                 encrypted to your own identity
  larder init /srv/store --recipient age1… --passphrase
  larder init /srv/store --recipient 'ssh-ed25519 AAAA…'   (in quotes: it has a space in it)")]
pub(super) struct InitArgs {
    /// Where, instead of --store
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath)]
    path: Option<PathBuf>,
    /// Encrypt to an age or SSH recipient instead (can be repeated)
    #[arg(long, short = 'r', value_name = "RECIPIENT", conflicts_with = "unencrypted")]
    recipient: Vec<String>,
    /// Encrypt to the recipients in a file, a line each (can be repeated)
    #[arg(long, short = 'R', value_name = "FILE", conflicts_with = "unencrypted", value_hint = ValueHint::FilePath)]
    recipients_file: Vec<PathBuf>,
    /// Encrypt to a passphrase, alone or besides recipients
    #[arg(long, short = 'p', conflicts_with = "unencrypted")]
    passphrase: bool,
    /// Do not encrypt
    #[arg(long)]
    unencrypted: bool,
}

/// The store that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct InitJson {
    /// The store's id: 32 hexadecimal digits.
    store: String,
    /// Its folder; bytes that are not UTF-8 are replaced.
    path: String,
    encrypted: bool,
    /// Whom the store's keys are wrapped to; `passphrase` for a passphrase.
    recipients: Vec<String>,
    /// The default identity, if the store is encrypted to it.
    identity: Option<IdentityJson>,
}

/// An identity file.
#[derive(Debug, Serialize, JsonSchema)]
struct IdentityJson {
    file: String,
    /// True if it was made just now: then it must be backed up.
    made: bool,
}

/// The default identity, and whether it was just made.
struct DefaultIdentity {
    recipient: String,
    file: PathBuf,
    fresh: bool,
}

pub(super) fn run(args: InitArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    secrecy::guard_memory();
    let config = &global.settings.config;
    let path = args.path.as_ref().map_or_else(|| context::store_path(global), |named| Ok(config.store_path(named)))?;
    let terminal = Terminal::new(global, Some(&path));
    let prompt: Arc<dyn Prompt> = Arc::new(terminal.clone());
    let mut texts = args.recipient.clone();
    for file in &args.recipients_file {
        texts.extend(recipients_in(file)?);
    }
    let hinted = |e: WrapError| {
        let error = CliError::from(StoreError::from(e));
        let cut = texts.iter().find_map(|t| cut_recipient(&["-r".into(), t.into()]));
        if let Some(hint) = cut { error.hint(hint) } else { error }
    };
    let parsed = texts.iter().map(|t| parse_recipient(t, prompt.clone())).collect::<Result<Vec<_>, _>>();
    let mut recipients = parsed.map_err(hinted)?;
    if args.passphrase {
        recipients.push(Recipient::passphrase(new_passphrase(&terminal)?, None));
    }
    let default = if recipients.is_empty() && !args.unencrypted { Some(default_identity()?) } else { None };
    if let Some(default) = &default {
        recipients.push(parse_recipient(&default.recipient, prompt.clone()).map_err(StoreError::from)?);
    }
    let names: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    let id = create(&path, &NewStore { recipients, now: context::now() })?;
    remember_place(&folders::client_dirs(), id, &path)?;
    if out.json() {
        let identity = default.map(|d| IdentityJson { file: d.file.display().to_string(), made: d.fresh });
        let (store, path, encrypted) = (id.to_string(), path.display().to_string(), !args.unencrypted);
        out.print_json(&InitJson { store, path, encrypted, recipients: names, identity })?;
        return Ok(Outcome::Done);
    }
    out.remark(&format!("made the store {} ({id})", path.display()));
    match default {
        Some(d) if d.fresh => {
            out.remark(&format!("made the identity {}", d.file.display()));
            out.remark(&format!("  recipient: {}", d.recipient));
            out.remark("  Back this file up. Without it nobody can read the store, not even you.");
        }
        Some(d) => out.remark(&format!("encrypted to your identity {} ({})", d.file.display(), d.recipient)),
        None if args.unencrypted => {
            out.remark("it is not encrypted: whoever can read its files can read everything in it");
        }
        None => names.iter().for_each(|n| out.remark(&format!("encrypted to {n}"))),
    }
    Ok(Outcome::Done)
}

/// What to do about an SSH recipient that the shell has cut at its spaces, if there is one among the arguments.
pub(super) fn cut_recipient(args: &[OsString]) -> Option<String> {
    let words: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
    let cut = words.windows(2).find_map(|pair| {
        let [before, word] = pair else { return None };
        let word =
            if matches!(before.as_ref(), "-r" | "--recipient") { word } else { word.strip_prefix("--recipient=")? };
        ["ssh-ed25519", "ssh-rsa"].into_iter().find(|kind| *kind == word)
    })?;
    Some(format!("an SSH recipient has spaces in it, so put it in quotes: --recipient '{cut} AAAA…'"))
}

/// The recipients in a file, a line each.
pub(super) fn recipients_in(file: &Path) -> Result<Vec<String>, CliError> {
    let text = files::read_text(file)
        .map_err(|e| CliError::new(Kind::Usage, format!("cannot read the recipients file {}: {e}", file.display())))?;
    let found: Vec<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect();
    if found.is_empty() {
        return Err(CliError::new(Kind::Usage, format!("there is no recipient in {}", file.display())));
    }
    Ok(found)
}

/// What the user's command prints as the new passphrase; asked for on the terminal if there is none.
pub(super) fn new_passphrase(prompt: &Terminal) -> Result<Passphrase, CliError> {
    prompt.commanded().map_or_else(|| typed_twice(prompt), |passphrase| Ok(passphrase?))
}

/// Asks for a new passphrase on the terminal, twice.
pub(super) fn typed_twice(prompt: &Terminal) -> Result<Passphrase, CliError> {
    let ask = |what| {
        let typed = prompt.ask(what).ok_or_else(|| {
            CliError::new(Kind::Usage, "there is no terminal to ask for the passphrase on")
                .hint("LARDER_PASSPHRASE_COMMAND, or passphrase-command in larder.toml, names a command that prints it")
        })?;
        Ok::<_, CliError>(Passphrase::from(typed.as_str().to_owned()))
    };
    let (first, second) = (ask("New passphrase")?, ask("Once more")?);
    if !same_passphrase(&first, &second) {
        return Err(CliError::new(Kind::Usage, "the two passphrases differ; nothing was made"));
    }
    if is_empty_passphrase(&first) {
        return Err(CliError::new(Kind::Usage, "the passphrase is empty; nothing was made"));
    }
    Ok(first)
}

/// Reads the recipient of the default identity; makes the identity the first time.
fn default_identity() -> Result<DefaultIdentity, CliError> {
    let file = folders::default_identity();
    let fail =
        |e: std::io::Error| CliError::new(Kind::Failed, format!("cannot make the identity {}: {e}", file.display()));
    if file.exists() {
        let fail = |e| CliError::new(Kind::Usage, format!("cannot read the identity {}: {e}", file.display()));
        let text = zeroize::Zeroizing::new(files::read_text(&file).map_err(fail)?);
        let recipient = crate::codec::recipient_of(&text).ok_or_else(|| {
            CliError::new(
                Kind::Usage,
                format!("{} holds no age identity that a recipient can be told of", file.display()),
            )
            .hint("name the recipient with --recipient")
        })?;
        return Ok(DefaultIdentity { recipient, file, fresh: false });
    }
    let (secret, recipient) = generate_identity();
    let dir = file.parent().map(PathBuf::from).unwrap_or_default();
    std::fs::create_dir_all(&dir).map_err(fail)?;
    let text =
        zeroize::Zeroizing::new(format!("# made by larder init\n# public key: {recipient}\n{}\n", secret.as_str()));
    let beside = dir.join(format!(".identity.{}.new", std::process::id()));
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(fail)?;
    // A hard link does not replace: an identity that another process made meanwhile stays.
    let made = out
        .write_all(text.as_bytes())
        .and_then(|()| out.sync_all())
        .and_then(|()| std::fs::hard_link(&beside, &file))
        .and_then(|()| std::fs::File::open(&dir)?.sync_all());
    let _ = std::fs::remove_file(&beside);
    match made {
        Ok(()) => Ok(DefaultIdentity { recipient, file, fresh: true }),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => default_identity(),
        Err(e) => Err(fail(e)),
    }
}
