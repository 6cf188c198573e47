//! Keys of packs: what seals them, and what opens them. No secret is an argument.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use zeroize::Zeroizing;

use crate::archives::{ArchiveError, Keys};
use crate::codec::{Identity, Passphrase, Password, Prompt, parse_recipient};
use crate::model::{Failure, Kind};
use crate::packs::Seal;
use crate::records::EncryptionPolicy;
use crate::store::{StoreError, Unlock};

use super::context::{self, Terminal};
use super::error::CliError;
use super::init::{cut_recipient, new_passphrase, recipients_in};
use super::{Global, files, secrecy};

/// The variable with the password of older archives, as they name it.
const PASSWORD_VARIABLE: &str = "SNAPSHOT_ENCRYPTION_KEY";

/// Where the password of an older archive comes from.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PasswordArgs {
    /// A file with the password of a zip.enc, blanks around it left out, instead of `SNAPSHOT_ENCRYPTION_KEY` or a question
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<PathBuf>,
    #[arg(skip)]
    policy: Source,
}

/// Where it is if nobody names a file: what the policy of a dataset says.
#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    Usual,
    Variable(String),
    File(PathBuf),
    Question,
}

impl PasswordArgs {
    /// The file that was named.
    pub(super) fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }

    /// By the policy of a dataset, where nobody says otherwise.
    pub(super) fn by_policy(&self, policy: &EncryptionPolicy) -> Result<Self, CliError> {
        let source = match (&*policy.key_source, &policy.key_file_path) {
            ("env", _) => Source::Variable(policy.key_env_var.clone()),
            ("file", Some(path)) => Source::File(path.into()),
            ("prompt", _) => Source::Question,
            (other, _) => {
                let message = format!(
                    "the dataset's policy does not say where the password of its packs is: key_source is {other}"
                );
                return Err(CliError::new(Kind::Usage, message).hint("name a file with --key-file"));
            }
        };
        Ok(Self { policy: source, ..self.clone() })
    }

    /// What the file or else the variable says; nothing if there is neither.
    fn given(&self) -> Result<Option<Password>, CliError> {
        let by_policy = if let Source::File(path) = &self.policy { Some(path) } else { None };
        let Some(file) = self.key_file.as_ref().or(by_policy) else {
            let variable = match &self.policy {
                Source::Question => return Ok(None),
                Source::Variable(name) => name,
                Source::Usual | Source::File(_) => PASSWORD_VARIABLE,
            };
            let bytes = std::env::var_os(variable).map(std::os::unix::ffi::OsStringExt::into_vec);
            return Ok(bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| Password::new(Zeroizing::new(bytes))));
        };
        let bytes =
            Zeroizing::new(files::read(file).map_err(|e| {
                CliError::new(Kind::Usage, format!("cannot read the key file {}: {e}", file.display()))
            })?);
        // The blanks that Python strips.
        let is_blank = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
        let start = bytes.iter().take_while(|b| is_blank(b)).count();
        let end = bytes.len() - bytes[start..].iter().rev().take_while(|b| is_blank(b)).count();
        let password = Password::new(Zeroizing::new(bytes[start..end.max(start)].to_vec()));
        if password.is_empty() {
            return Err(CliError::new(Kind::Usage, format!("the key file {} is empty", file.display())));
        }
        Ok(Some(password))
    }

    /// What opens packs, asked for when one is met that it may open.
    pub(super) fn keys(&self, global: &Global) -> PackKeys {
        secrecy::guard_memory();
        PackKeys { args: self.clone(), asks: true, global: global.clone(), password: OnceCell::new() }
    }
}

/// What seals a pack.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sealing")]
pub(super) struct SealArgs {
    /// Seal it as an age file to an age or SSH recipient (can be repeated)
    #[arg(long, short = 'r', value_name = "RECIPIENT", conflicts_with = "passphrase")]
    recipient: Vec<String>,
    /// Seal it to the recipients in a file, a line each (can be repeated)
    #[arg(long, short = 'R', value_name = "FILE", conflicts_with = "passphrase", value_hint = ValueHint::FilePath)]
    recipients_file: Vec<PathBuf>,
    /// Seal it as an age file with a passphrase
    #[arg(long, short = 'p')]
    passphrase: bool,
    #[command(flatten)]
    password: PasswordArgs,
}

impl SealArgs {
    /// The seal that was asked for. `zip_enc`: the format is the older one, which is sealed with a password whatever else is said; `policy`: of the dataset
    /// of records that is packed.
    pub(super) fn seal(
        &self,
        zip_enc: bool,
        policy: Option<&EncryptionPolicy>,
        global: &Global,
    ) -> Result<Option<Seal>, CliError> {
        let asked = !self.recipient.is_empty() || !self.recipients_file.is_empty() || self.passphrase;
        if zip_enc {
            if asked {
                return Err(CliError::new(Kind::Usage, "a zip.enc is sealed with a password, not to recipients")
                    .hint("for age, leave out --format zip.enc"));
            }
            let password = match policy.filter(|_| self.password.key_file.is_none()) {
                Some(policy) => &self.password.by_policy(policy)?,
                None => &self.password,
            };
            return new_password(password, global).map(|password| Some(Seal::Password(password)));
        }
        if self.password.key_file.is_some() {
            return Err(CliError::new(Kind::Usage, "a key file seals a zip.enc alone")
                .hint("ask for --format zip.enc, or name recipients with -r or -R"));
        }
        if !asked {
            return Ok(None);
        }
        secrecy::guard_memory();
        let terminal = Terminal::new(global, None);
        if self.passphrase {
            return new_passphrase(&terminal).map(|passphrase| Some(Seal::Passphrase(passphrase)));
        }
        let prompt: Arc<dyn Prompt> = Arc::new(terminal);
        let mut texts = self.recipient.clone();
        for file in &self.recipients_file {
            texts.extend(recipients_in(file)?);
        }
        let parsed = texts.iter().map(|text| {
            parse_recipient(text, prompt.clone()).map_err(|e| {
                let error = CliError::from(StoreError::from(e));
                match cut_recipient(&["-r".into(), text.into()]) {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            })
        });
        Ok(Some(Seal::Age(parsed.collect::<Result<_, _>>()?)))
    }
}

fn new_password(from: &PasswordArgs, global: &Global) -> Result<Password, CliError> {
    secrecy::guard_memory();
    if let Some(password) = from.given()? {
        return Ok(password);
    }
    let terminal = Terminal::new(global, None);
    let nobody = || {
        let message = "the password of a zip.enc was not given, and there is no terminal to ask for it on";
        let hint = match &from.policy {
            Source::Variable(name) => format!("set {name}, or name a file with --key-file"),
            _ => "set SNAPSHOT_ENCRYPTION_KEY, or name a file with --key-file".to_owned(),
        };
        CliError::new(Kind::Usage, message).hint(hint)
    };
    let first = terminal.ask("New password of the zip.enc").ok_or_else(nobody)?;
    let second = terminal.ask("Once more").ok_or_else(nobody)?;
    if first != second {
        return Err(CliError::new(Kind::Usage, "the two passwords differ; nothing was written"));
    }
    if first.is_empty() {
        return Err(CliError::new(Kind::Usage, "the password is empty; nothing was written"));
    }
    Ok(Password::new(Zeroizing::new(first.as_bytes().to_vec())))
}

/// What opens packs: identities as for stores, a passphrase, the password of older archives.
pub(super) struct PackKeys {
    args: PasswordArgs,
    /// Whether the user may be asked.
    asks: bool,
    global: Global,
    /// Asked for once.
    password: OnceCell<Option<Password>>,
}

impl PackKeys {
    /// What opens packs without any question: for who looks into files that may be none.
    pub(super) fn unasked(global: &Global) -> Self {
        Self { asks: false, ..PasswordArgs::default().keys(global) }
    }
}

impl std::fmt::Debug for PackKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackKeys(secret)")
    }
}

impl Keys for PackKeys {
    fn identities(&self) -> Result<Vec<Identity>, ArchiveError> {
        let keys = context::pack_identities(&self.global);
        let (named, unnamed) = (keys.identities(), keys.unnamed_identities());
        let all = named.and_then(|named| Ok(named.into_iter().chain(unnamed?).collect()));
        all.map_err(|e| unusable(&e))
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, ArchiveError> {
        let terminal = Terminal::new(&self.global, None);
        match terminal.commanded() {
            _ if !self.asks => Ok(None),
            Some(passphrase) => passphrase.map(Some).map_err(|e| unusable(&e)),
            None => Ok(terminal.passphrase("Passphrase of the pack")),
        }
    }

    fn password(&self) -> Result<Option<Password>, ArchiveError> {
        if let Some(known) = self.password.get() {
            return Ok(known.clone());
        }
        let given = self.args.given().map_err(|e| ArchiveError::KeyFile(e.message))?;
        let password = given.or_else(|| {
            let ask = || Terminal::new(&self.global, None).ask("If it is a zip.enc, its password");
            let asked = self.asks.then(ask).flatten();
            asked.filter(|text| !text.is_empty()).map(|text| Password::new(Zeroizing::new(text.as_bytes().to_vec())))
        });
        Ok(self.password.get_or_init(|| password).clone())
    }
}

/// What was named as a key, and is none that can be had.
fn unusable(error: &StoreError) -> ArchiveError {
    match error.kind() {
        Kind::WrongKey => ArchiveError::Key { why: error.to_string(), hint: None },
        _ => ArchiveError::KeyFile(error.to_string()),
    }
}
