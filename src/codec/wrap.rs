//! Section 7: the door to age, with `codec/identity.rs`. Wraps keys to recipients; the store's own identities.

use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Something with keys went wrong.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The text is no recipient that age knows.
    #[error("{0:?} is not an age recipient (age1…, ssh-ed25519 …, ssh-rsa …, or that of a plugin)")]
    NotARecipient(String),
    /// The file holds no identity that age knows.
    #[error("{file} holds no age identity: {why}")]
    NotAnIdentity {
        /// Which file.
        file: String,
        /// Why.
        why: String,
    },
    /// Something public was given as an identity: the recipient itself, or a file that holds it.
    #[error("{0} is a public key, which opens nothing")]
    PublicKey(String),
    /// An identity is under a passphrase that is not to be had, or is another one.
    #[error("the identity {file} is under a passphrase, {}", if *.given { "and the one that was given does not open it" } else { "and there is no terminal to ask for it on" })]
    Locked {
        /// Which file.
        file: String,
        /// A passphrase was given.
        given: bool,
    },
    /// A plugin that would open something has failed.
    #[error("the age plugin failed: {0}")]
    Plugin(String),
    /// A plugin that a recipient or an identity needs is not there.
    #[error("the age plugin {0} is not on the PATH")]
    NoPlugin(String),
    /// No identity fits.
    #[error("no identity opens it")]
    NoMatch,
    /// age failed otherwise.
    #[error("age: {0}")]
    Age(String),
}

/// A passphrase, wiped when dropped.
pub type Passphrase = SecretString;

/// How to ask the user for something. Given to age for plugins and encrypted SSH keys.
pub trait Prompt: Send + Sync + 'static {
    /// Shows a message.
    fn message(&self, text: &str);
    /// Asks for a passphrase without echo; nothing if nobody can be asked.
    fn passphrase(&self, what: &str) -> Option<Passphrase>;
}

#[derive(Clone)]
pub(super) struct Asking(pub(super) Arc<dyn Prompt>);

impl age::Callbacks for Asking {
    fn display_message(&self, message: &str) {
        self.0.message(message);
    }
    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }
    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }
    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.0.passphrase(description)
    }
}

/// Whom something is wrapped to.
pub struct Recipient {
    text: String,
    inner: Box<dyn age::Recipient + Send + Sync>,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipient({})", self.text)
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Recipient {
    /// What a passphrase is called.
    pub(super) const PASSPHRASE: &str = "passphrase";

    /// A passphrase as a recipient. `work` is scrypt's log2 of N; by default what takes about a second here.
    #[must_use]
    pub fn passphrase(passphrase: Passphrase, work: Option<u8>) -> Self {
        let mut inner = age::scrypt::Recipient::new(passphrase);
        if let Some(work) = work {
            inner.set_work_factor(work);
        }
        Self { text: Self::PASSPHRASE.to_owned(), inner: Box::new(inner) }
    }

    pub(super) fn inner(&self) -> &dyn age::Recipient {
        self.inner.as_ref()
    }
}

/// Parses a recipient: age X25519, SSH, of hardware (also post-quantum) that age itself wraps to, or of a plugin.
///
/// # Errors
/// If it is none, or its plugin is not installed.
pub fn parse_recipient(text: &str, prompt: Arc<dyn Prompt>) -> Result<Recipient, WrapError> {
    let text = text.trim();
    let made = |inner: Box<dyn age::Recipient + Send + Sync>| Ok(Recipient { text: text.to_owned(), inner });
    if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
        return made(Box::new(recipient));
    }
    if let Ok(recipient) = text.parse::<age::ssh::Recipient>() {
        return made(Box::new(recipient));
    }
    if let Ok(recipient) = text.parse::<age::tag::Recipient>() {
        return made(Box::new(recipient));
    }
    if let Ok(recipient) = text.parse::<age::tagpq::Recipient>() {
        return made(Box::new(recipient));
    }
    if let Ok(recipient) = text.parse::<age::plugin::Recipient>() {
        let plugin = recipient.plugin().to_owned();
        // Of these two no plugin is needed: it is malformed.
        if ["tag", "tagpq"].contains(&plugin.as_str()) {
            return Err(WrapError::NotARecipient(text.to_owned()));
        }
        let inner =
            age::plugin::RecipientPluginV1::new(&plugin, &[recipient], &[], Asking(prompt)).map_err(|e| match e {
                age::plugin::ResolveError::MissingPlugin { binary_name } => WrapError::NoPlugin(binary_name),
                other => WrapError::Age(plain(&other.to_string())),
            })?;
        return made(Box::new(inner));
    }
    // A secret is not repeated on a terminal or in a log.
    let upper = text.to_ascii_uppercase();
    let secret = ["AGE-SECRET-KEY-", "AGE-PLUGIN-"].into_iter().find(|front| upper.starts_with(front));
    Err(WrapError::NotARecipient(secret.map_or_else(|| text.to_owned(), |front| format!("{front}…"))))
}

/// True if this is an age file, armoured or not.
pub(super) fn is_age_file(bytes: &[u8]) -> bool {
    bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
}

/// The bytes of an age file, of one that is armoured too.
pub(super) fn readable(wrapped: &[u8]) -> ArmoredReader<BufReader<&[u8]>> {
    ArmoredReader::new(wrapped)
}

/// An age file in its binary form, whatever form it has. What is no age file stays as it is.
#[must_use]
pub fn unarmoured(wrapped: Vec<u8>) -> Vec<u8> {
    let mut binary = Vec::with_capacity(wrapped.len());
    match readable(&wrapped).read_to_end(&mut binary) {
        Ok(_) if wrapped.starts_with(b"-----BEGIN") => binary,
        _ => wrapped,
    }
}

/// An age file as text that can be printed and sent, which `age -d` reads as it is.
///
/// # Errors
/// If age refuses.
pub fn armoured(wrapped: &[u8]) -> Result<Vec<u8>, WrapError> {
    let age = |e: std::io::Error| WrapError::Age(e.to_string());
    let mut writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(age)?;
    writer.write_all(wrapped).map_err(age)?;
    writer.finish().map_err(age)
}

/// The passphrase's text, for comparing two.
#[must_use]
pub fn same_passphrase(a: &Passphrase, b: &Passphrase) -> bool {
    a.expose_secret() == b.expose_secret()
}

/// True if there is nothing in it.
#[must_use]
pub fn is_empty_passphrase(passphrase: &Passphrase) -> bool {
    passphrase.expose_secret().is_empty()
}

/// Wraps bytes to one recipient, as a binary age file.
///
/// # Errors
/// If age refuses.
pub fn wrap(plain: &[u8], recipient: &Recipient) -> Result<Vec<u8>, WrapError> {
    encrypt(plain, recipient.inner.as_ref())
}

fn encrypt(plain: &[u8], recipient: &dyn age::Recipient) -> Result<Vec<u8>, WrapError> {
    let age = |e: &dyn std::fmt::Display| WrapError::Age(e.to_string());
    let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient)).map_err(|e| age(&e))?;
    let mut out = Vec::new();
    let mut writer = encryptor.wrap_output(&mut out).map_err(|e| age(&e))?;
    writer.write_all(plain).and_then(|()| writer.finish().map(drop)).map_err(|e| age(&e))?;
    Ok(out)
}

/// Wraps bytes to one of the store's own recipients.
///
/// # Errors
/// If the text is not an X25519 recipient.
pub fn wrap_to_store(plain: &[u8], recipient: &str) -> Result<Vec<u8>, WrapError> {
    let parsed: age::x25519::Recipient =
        recipient.parse().map_err(|_| WrapError::NotARecipient(recipient.to_owned()))?;
    encrypt(plain, &parsed)
}

/// True if an age file was wrapped to a passphrase.
#[must_use]
pub fn is_passphrase_file(wrapped: &[u8]) -> bool {
    age::Decryptor::new(readable(wrapped)).is_ok_and(|d| d.is_scrypt())
}

pub(super) fn decrypt<'a>(
    wrapped: &[u8],
    identities: impl Iterator<Item = &'a dyn age::Identity>,
) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let decryptor = age::Decryptor::new(readable(wrapped)).map_err(|e| WrapError::Age(e.to_string()))?;
    let mut reader = decryptor.decrypt(identities).map_err(failed)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(4096));
    reader.read_to_end(&mut plain).map_err(|e| WrapError::Age(e.to_string()))?;
    Ok(plain)
}

/// Why an age file does not open.
pub(super) fn failed(error: age::DecryptError) -> WrapError {
    match error {
        age::DecryptError::NoMatchingKeys
        | age::DecryptError::DecryptionFailed
        | age::DecryptError::KeyDecryptionFailed => WrapError::NoMatch,
        age::DecryptError::Plugin(list) => {
            WrapError::Plugin(plain(&list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
        }
        age::DecryptError::PluginResolve(age::plugin::ResolveError::MissingPlugin { binary_name }) => {
            WrapError::NoPlugin(binary_name)
        }
        // Its own words for this count with the number, which is anybody's, and end the process if it is far too great.
        age::DecryptError::ExcessiveWork { required, target } => WrapError::Age(format!(
            "its passphrase takes far too long to try: its work factor is {required}, of which a second's worth here is {target}"
        )),
        other => WrapError::Age(plain(&other.to_string())),
    }
}

/// Words of age without the marks that it puts around names for languages of another direction, and on one line.
fn plain(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| line.replace(['\u{2068}', '\u{2069}'], "")).collect();
    lines.join(" ")
}

/// One of the store's own identities.
pub struct StoreIdentity(age::x25519::Identity);

impl std::fmt::Debug for StoreIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreIdentity(secret)")
    }
}

impl StoreIdentity {
    /// Parses its text.
    ///
    /// # Errors
    /// If it is no X25519 identity.
    pub fn parse(text: &str) -> Result<Self, WrapError> {
        let why = || WrapError::Age("a store identity is malformed".to_owned());
        text.parse().map(Self).map_err(|_| why())
    }

    /// The recipient that it opens for.
    #[must_use]
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    /// Unwraps what was wrapped to it.
    ///
    /// # Errors
    /// If it was not.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        decrypt(wrapped, std::iter::once(&self.0 as &dyn age::Identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One flipped bit makes 59 of 19: whoever counts with it must not come to grief.
    #[test]
    fn a_work_factor_that_nobody_can_do_is_an_error_and_not_the_end() {
        for factor in [40, 51, 59, 63] {
            let stanza = format!("-> scrypt {} {factor}\n{}\n", "A".repeat(22), "A".repeat(43));
            let wrapped =
                [format!("age-encryption.org/v1\n{stanza}--- {}\n", "A".repeat(43)).as_bytes(), &[0; 40]].concat();
            let identity = age::scrypt::Identity::new("a passphrase".to_owned().into());
            let opened = decrypt(&wrapped, std::iter::once(&identity as &dyn age::Identity));
            assert!(matches!(&opened, Err(WrapError::Age(why)) if why.contains(&factor.to_string())), "{factor}");
        }
    }

    #[test]
    fn words_of_age_are_told_without_marks_and_on_one_line() {
        assert_eq!(
            plain("Could not find '\u{2068}age-plugin-frob\u{2069}'.\nHave you?"),
            "Could not find 'age-plugin-frob'. Have you?"
        );
    }
}
