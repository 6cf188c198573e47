//! Things outside the store that a snapshot speaks of: `KEY=URI#sha256=HEX`. What can be checked is.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::codec::Sha256;
use crate::model::{Failure, Kind, Progress, Reference};

/// What is wrong with a reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The text is none.
    #[error("{text:?} is not KEY=URI or KEY=URI#sha256=HEX: {why}")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file cannot be read, so its hash cannot be compared.
    #[error("the reference {key} cannot be checked: {}: {why}", path.display())]
    Unreadable {
        /// Which reference.
        key: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file has another hash.
    #[error("the reference {key} does not hold: {} has the SHA-256 {found}", path.display())]
    Differs {
        /// Which reference.
        key: String,
        /// Its file.
        path: PathBuf,
        /// The hash that it has.
        found: String,
    },
    /// The user stopped it.
    #[error("interrupted; no snapshot was made")]
    Interrupted,
}

impl Failure for ReferenceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Malformed { .. } => Kind::Usage,
            Self::Unreadable { .. } | Self::Differs { .. } => Kind::Failed,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

/// Reads a reference. A plain path is made absolute; a hash of a plain path or of a `file:` URI is checked now, so that
/// `verified` says that it held. Of any other URI nothing is fetched.
///
/// # Errors
/// If the text is malformed, or a file has another hash or cannot be read to compare.
pub fn read_reference(text: &str, progress: &dyn Progress) -> Result<Reference, ReferenceError> {
    let malformed = |why| ReferenceError::Malformed { text: text.to_owned(), why };
    let (key, rest) = text.split_once('=').ok_or_else(|| malformed("it has no ="))?;
    let (uri, hash) = match rest.rsplit_once("#sha256=") {
        Some((uri, hex)) => (uri, Some(hex.to_ascii_lowercase())),
        None if has_other_hash(rest) => {
            return Err(malformed("the hash that is known is sha256, written in small letters"));
        }
        None => (rest, None),
    };
    if key.is_empty() || uri.is_empty() {
        return Err(malformed("the key or the URI is empty"));
    }
    if hash.as_ref().is_some_and(|h| h.len() != 64 || !h.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(malformed("a SHA-256 has 64 hexadecimal digits"));
    }
    let (uri, path) = if has_scheme(uri) {
        (uri.to_owned(), file_of(uri).map_err(malformed)?)
    } else {
        let path = std::path::absolute(uri).map_err(|_| malformed("the path cannot be made absolute"))?;
        (path.display().to_string(), Some(path))
    };
    let verified = match (&hash, path) {
        (Some(hash), Some(path)) => {
            check(key, &path, hash, progress)?;
            Some(true)
        }
        _ => None,
    };
    Ok(Reference { key: key.to_owned(), uri, hash: hash.map(|hex| format!("sha256={hex}")), verified })
}

/// True if the fragment looks like a hash, of a sort that is not known or mistyped: `#sha257=…`, `#md5=…`, `#x=` and many digits.
/// What pages use, as `#page=2`, does not.
fn has_other_hash(rest: &str) -> bool {
    let Some((word, digits)) = rest.rsplit_once('#').and_then(|(_, fragment)| fragment.split_once('=')) else {
        return false;
    };
    let word = word.to_ascii_lowercase();
    let named = ["sha", "md5", "blake", "crc"].iter().any(|front| word.starts_with(front));
    let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) && hex && (named || digits.len() >= 32)
}

/// True for `scheme:…`, as RFC 3986 has it.
fn has_scheme(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// The path of a `file:` URI (RFC 8089); nothing if it is another URI.
fn file_of(uri: &str) -> Result<Option<PathBuf>, &'static str> {
    let Some((_, rest)) = uri.split_once(':').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("file")) else {
        return Ok(None);
    };
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err("a file: URI has an absolute path and no host but localhost");
    }
    let bytes = percent_decoded(path).ok_or("a % of the URI is not followed by two hexadecimal digits")?;
    Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(bytes))))
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.as_bytes().split(|b| *b == b'%');
    let mut bytes = parts.next()?.to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).filter(|(d, _)| d.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        bytes.extend_from_slice(rest);
    }
    Some(bytes)
}

/// Opens a file to be hashed. Of a pipe or device there is no telling whether it ever ends.
fn open_regular(path: &Path) -> std::io::Result<File> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// Whether something outside the store is as a snapshot says, now: a file that is there and has the hash, if one is given. Nothing if that
/// cannot be told here, as of a page on the web. With a no comes why.
///
/// # Errors
/// [`ReferenceError::Interrupted`] alone.
pub fn look_at(
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<(Option<bool>, Option<String>), ReferenceError> {
    let path = if has_scheme(&reference.uri) {
        match file_of(&reference.uri) {
            Ok(Some(path)) => path,
            // On another host, or none that is a file at all.
            Ok(None) | Err(_) => return Ok((None, None)),
        }
    } else {
        PathBuf::from(&reference.uri)
    };
    let hash = reference.hash.as_ref().map(|hash| hash.strip_prefix("sha256="));
    let checked = match hash {
        Some(Some(hex)) => check(&reference.key, &path, hex, progress),
        // A hash of another sort says nothing to us.
        Some(None) => return Ok((None, None)),
        None => path.metadata().map(|_| ()).map_err(|e| ReferenceError::Unreadable {
            key: reference.key.clone(),
            path,
            why: e.to_string(),
        }),
    };
    match checked {
        Ok(()) => Ok((Some(true), None)),
        Err(ReferenceError::Unreadable { path, why, .. }) => {
            Ok((Some(false), Some(format!("{}: {why}", path.display()))))
        }
        Err(ReferenceError::Differs { path, found, .. }) => {
            Ok((Some(false), Some(format!("{} has the SHA-256 {found}", path.display()))))
        }
        Err(e) => Err(e),
    }
}

/// Compares a file's hash.
fn check(key: &str, path: &Path, expected: &str, progress: &dyn Progress) -> Result<(), ReferenceError> {
    let unreadable = |e: std::io::Error| ReferenceError::Unreadable {
        key: key.to_owned(),
        path: path.to_owned(),
        why: e.to_string(),
    };
    let mut file = open_regular(path).map_err(unreadable)?;
    let mut hash = Sha256::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        if progress.cancelled() {
            return Err(ReferenceError::Interrupted);
        }
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hash.update(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    let found = hash.hex();
    if found == expected {
        return Ok(());
    }
    Err(ReferenceError::Differs { key: key.to_owned(), path: path.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Quiet;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_is_read_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file");
        std::fs::write(&file, "abc").unwrap();
        let plain = file.to_str().unwrap().to_owned();
        let encoded = plain.replace(' ', "%20");
        let cases = [
            (format!("k={plain}"), plain.clone(), None),
            (format!("k={plain}#sha256={ABC}"), plain.clone(), Some(true)),
            (format!("k=file://{encoded}#sha256={}", ABC.to_uppercase()), format!("file://{encoded}"), Some(true)),
            (format!("k=file://localhost{encoded}#sha256={ABC}"), format!("file://localhost{encoded}"), Some(true)),
            ("k=https://x/y#page=2".to_owned(), "https://x/y#page=2".to_owned(), None),
            (format!("k=https://x/y?a=b#sha256={ABC}"), "https://x/y?a=b".to_owned(), None),
            ("k=https://x/y#part".to_owned(), "https://x/y#part".to_owned(), None),
            ("k=urn:x".to_owned(), "urn:x".to_owned(), None),
        ];
        for (text, uri, verified) in cases {
            let found = read_reference(&text, &Quiet).unwrap();
            assert_eq!((found.uri, found.verified), (uri, verified), "{text}");
            assert_eq!(found.hash, text.contains("#sha256=").then(|| format!("sha256={ABC}")), "{text}");
        }
    }

    #[test]
    fn what_is_there_now() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file");
        std::fs::write(&file, "abc").unwrap();
        let (plain, uri) = (file.display().to_string(), format!("file://{}", file.display()).replace(' ', "%20"));
        let other = ABC.replace('b', "c");
        for (uri, hash, held) in [
            (plain.as_str(), None, Some(true)),
            (&plain, Some(ABC), Some(true)),
            (&uri, Some(ABC), Some(true)),
            (&plain, Some(other.as_str()), Some(false)),
            ("/none/such", None, Some(false)),
            ("/none/such", Some(ABC), Some(false)),
            ("file://elsewhere/x", Some(ABC), None),
            ("https://x/y", None, None),
        ] {
            let hash = hash.map(|hex| format!("sha256={hex}"));
            let reference = Reference { key: "k".to_owned(), uri: uri.to_owned(), hash, verified: None };
            let (found, why) = look_at(&reference, &Quiet).unwrap();
            assert_eq!((found, why.is_some()), (held, held == Some(false)), "{uri}");
        }
    }

    #[test]
    fn what_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "abd").unwrap();
        let cases = [
            ("nothing".to_owned(), Kind::Usage),
            ("=x".to_owned(), Kind::Usage),
            ("k=".to_owned(), Kind::Usage),
            ("k=/x#sha256=abc".to_owned(), Kind::Usage),
            (format!("k=/x#sha257={ABC}"), Kind::Usage),
            (format!("k=https://x/y#SHA256={ABC}"), Kind::Usage),
            ("k=https://x/y#md5=abc".to_owned(), Kind::Usage),
            (format!("k=https://x/y#hash={ABC}"), Kind::Usage),
            (format!("k=/dev/zero#sha256={ABC}"), Kind::Failed),
            (format!("k=file://otherhost/x#sha256={ABC}"), Kind::Usage),
            (format!("k=file:///%zz#sha256={ABC}"), Kind::Usage),
            (format!("k={}#sha256={ABC}", file.display()), Kind::Failed),
            (format!("k={}.none#sha256={ABC}", file.display()), Kind::Failed),
        ];
        for (text, kind) in cases {
            assert_eq!(read_reference(&text, &Quiet).unwrap_err().kind(), kind, "{text}");
        }
    }
}
