//! Section 7: what opens key objects: age identities, SSH keys, plugins, passphrases.

use std::sync::{Arc, OnceLock};

use age::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::wrap::{Asking, Passphrase, Prompt, Recipient, WrapError, decrypt, is_age_file, readable};

/// The most work that an age file may ask of scrypt (log2 of N): about 20 seconds.
const MAX_WORK: u8 = 22;

/// Something that opens what was wrapped.
pub struct Identity {
    sort: Sort,
    /// Whom that is wrapped to which it opens, where it tells.
    recipient: Option<String>,
}

enum Sort {
    Ready(Box<dyn age::Identity + Send + Sync>),
    Locked(Box<LockedKey>),
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(secret)")
    }
}

impl Identity {
    /// A passphrase as an identity.
    #[must_use]
    pub fn passphrase(passphrase: Passphrase) -> Self {
        let recipient = Some(Recipient::PASSPHRASE.to_owned());
        Self { sort: Sort::Ready(Box::new(scrypt(passphrase))), recipient }
    }

    /// Whom that is wrapped to which it opens, as text; nothing for a plugin's, which does not tell.
    #[must_use]
    pub fn recipient(&self) -> Option<&str> {
        self.recipient.as_deref()
    }

    /// What opens a file; nothing if that is of no sort that this one can open.
    fn for_file(&self, wrapped: &[u8]) -> Result<Option<&dyn age::Identity>, WrapError> {
        match &self.sort {
            Sort::Ready(identity) => Ok(Some(identity.as_ref())),
            Sort::Locked(key) if is_for_ssh(wrapped) => key.open().map(Some),
            Sort::Locked(_) => Ok(None),
        }
    }
}

fn scrypt(passphrase: Passphrase) -> age::scrypt::Identity {
    let mut identity = age::scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MAX_WORK);
    identity
}

/// An SSH key under a passphrase. age would ask for that again and again; here it is asked for once, and only if some key object is
/// for an SSH key.
struct LockedKey {
    key: age::ssh::EncryptedKey,
    file: String,
    prompt: Arc<dyn Prompt>,
    /// With false: no passphrase was to be had; with true: another one.
    opened: OnceLock<Result<age::ssh::Identity, bool>>,
}

impl LockedKey {
    fn open(&self) -> Result<&dyn age::Identity, WrapError> {
        let open = || {
            let passphrase =
                self.prompt.passphrase(&format!("Passphrase of the SSH key {}", self.file)).ok_or(false)?;
            self.key.decrypt(passphrase).map(age::ssh::Identity::from).map_err(|_| true)
        };
        match self.opened.get_or_init(open) {
            Ok(identity) => Ok(identity),
            Err(given) => Err(WrapError::Locked { file: self.file.clone(), given: *given }),
        }
    }
}

/// True if an age file has a stanza for an SSH key.
fn is_for_ssh(wrapped: &[u8]) -> bool {
    wrapped
        .split(|b| *b == b'\n')
        .take_while(|line| !line.starts_with(b"--- "))
        .any(|line| line.starts_with(b"-> ssh-"))
}

/// Parses the identities of a file: age identities and plugins a line each, the same encrypted with a passphrase (`age -p`),
/// which is asked for, or one SSH private key.
///
/// # Errors
/// If there are none.
pub fn parse_identities(bytes: &[u8], file: &str, prompt: Arc<dyn Prompt>) -> Result<Vec<Identity>, WrapError> {
    let not = |why: String| WrapError::NotAnIdentity { file: file.to_owned(), why };
    if bytes.starts_with(b"-----BEGIN") && !bytes.starts_with(b"-----BEGIN AGE") {
        let key = age::ssh::Identity::from_buffer(bytes, None).map_err(|e| not(e.to_string()))?;
        let recipient = age::ssh::Recipient::try_from(key.clone()).ok().map(|recipient| recipient.to_string());
        let sort = match key {
            age::ssh::Identity::Unencrypted(_) => Sort::Ready(Box::new(key)),
            age::ssh::Identity::Encrypted(key) => {
                Sort::Locked(Box::new(LockedKey { key, file: file.to_owned(), prompt, opened: OnceLock::new() }))
            }
            age::ssh::Identity::Unsupported(_) => {
                return Err(not("an SSH key of a kind that age does not support".to_owned()));
            }
        };
        return Ok(vec![Identity { sort, recipient }]);
    }
    if is_public(bytes) {
        return Err(WrapError::PublicKey(file.to_owned()));
    }
    if !is_age_file(bytes) {
        return parse_lines(bytes, file, prompt);
    }
    let sealed = age::Decryptor::new(readable(bytes)).map_err(|e| not(e.to_string()))?;
    if !sealed.is_scrypt() {
        return Err(not("it is encrypted, and not with a passphrase".to_owned()));
    }
    let locked = |given| WrapError::Locked { file: file.to_owned(), given };
    let passphrase = prompt.passphrase(&format!("Passphrase of the identity {file}")).ok_or_else(|| locked(false))?;
    let identity = scrypt(passphrase);
    let plain = decrypt(bytes, std::iter::once(&identity as &dyn age::Identity)).map_err(|e| match e {
        WrapError::NoMatch => locked(true),
        other => not(other.to_string()),
    })?;
    parse_lines(&plain, file, prompt)
}

fn parse_lines(bytes: &[u8], file: &str, prompt: Arc<dyn Prompt>) -> Result<Vec<Identity>, WrapError> {
    let not = |why: String| WrapError::NotAnIdentity { file: file.to_owned(), why };
    let parsed = age::IdentityFile::from_buffer(bytes).map_err(|e| not(e.to_string()))?;
    let list = parsed.with_callbacks(Asking(prompt)).into_identities().map_err(|e| not(e.to_string()))?;
    if list.is_empty() {
        return Err(not("it is empty".to_owned()));
    }
    let lines = std::str::from_utf8(bytes).unwrap_or_default().lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let recipients: Vec<_> = lines.map(recipient_of).collect();
    let is_of_each = recipients.len() == list.len();
    let recipients = recipients.into_iter().filter(|_| is_of_each).chain(std::iter::repeat(None));
    let made = list.into_iter().zip(recipients);
    Ok(made.map(|(identity, recipient)| Identity { sort: Sort::Ready(identity), recipient }).collect())
}

/// True if a file begins with a recipient where an identity should be.
fn is_public(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        line.parse::<age::x25519::Recipient>().is_ok()
            || line.parse::<age::ssh::Recipient>().is_ok()
            || line.parse::<age::plugin::Recipient>().is_ok()
    })
}

/// The recipient of the first X25519 identity in a file.
#[must_use]
pub fn recipient_of(text: &str) -> Option<String> {
    text.lines().find_map(|l| l.trim().parse::<age::x25519::Identity>().ok()).map(|i| i.to_public().to_string())
}

/// A new age identity as text, and its recipient.
#[must_use]
pub fn generate_identity() -> (Zeroizing<String>, String) {
    let identity = age::x25519::Identity::generate();
    (Zeroizing::new(identity.to_string().expose_secret().to_owned()), identity.to_public().to_string())
}

/// Unwraps an age file with the first identity that fits.
///
/// # Errors
/// [`WrapError::NoMatch`] if none does, [`WrapError::Locked`] if one might that is under a passphrase which cannot be had.
pub fn unwrap(wrapped: &[u8], identities: &[Identity]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    decrypt(wrapped, fitting(wrapped, identities)?.into_iter())
}

/// Those that may open a file, of which at least the head is given.
pub(super) fn fitting<'a>(head: &[u8], identities: &'a [Identity]) -> Result<Vec<&'a dyn age::Identity>, WrapError> {
    let fitting: Vec<_> = identities.iter().map(|i| i.for_file(head)).collect::<Result<_, _>>()?;
    Ok(fitting.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::super::wrap::{Recipient, StoreIdentity, is_passphrase_file, parse_recipient, wrap, wrap_to_store};
    use super::*;

    struct Nobody;
    impl Prompt for Nobody {
        fn message(&self, _: &str) {}
        fn passphrase(&self, _: &str) -> Option<Passphrase> {
            None
        }
    }

    #[test]
    fn wrap_and_unwrap() {
        let (secret, public) = generate_identity();
        let prompt: Arc<dyn Prompt> = Arc::new(Nobody);
        let recipient = parse_recipient(&public, prompt.clone()).unwrap();
        let wrapped = wrap(b"key", &recipient).unwrap();
        let mine =
            parse_identities(format!("# comment\n{}\n", secret.as_str()).as_bytes(), "f", prompt.clone()).unwrap();
        assert_eq!(unwrap(&wrapped, &mine).unwrap().as_slice(), b"key");
        let other = parse_identities(generate_identity().0.as_bytes(), "f", prompt.clone()).unwrap();
        assert!(matches!(unwrap(&wrapped, &other), Err(WrapError::NoMatch)));
        assert!(parse_recipient("age1nonsense", prompt.clone()).is_err());
        let public_file = parse_identities(format!("# mine\n{public}\n").as_bytes(), "f", prompt.clone());
        assert!(matches!(public_file, Err(WrapError::PublicKey(_))));
        assert!(parse_identities(b"nonsense\n", "f", prompt.clone()).is_err());
        assert!(parse_identities(b"", "f", prompt).is_err());
        let store = StoreIdentity::parse(&secret).unwrap();
        assert_eq!(store.unwrap(&wrap_to_store(b"k2", &public).unwrap()).unwrap().as_slice(), b"k2");
    }

    #[test]
    fn passphrases() {
        let pass = || Passphrase::from("correct horse".to_owned());
        let wrapped = wrap(b"key", &Recipient::passphrase(pass(), Some(10))).unwrap();
        assert!(is_passphrase_file(&wrapped));
        assert_eq!(unwrap(&wrapped, &[Identity::passphrase(pass())]).unwrap().as_slice(), b"key");
        let wrong = Identity::passphrase(Passphrase::from("wrong".to_owned()));
        assert!(matches!(unwrap(&wrapped, &[wrong]), Err(WrapError::NoMatch)));
    }
}
