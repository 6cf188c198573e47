//! What can be wrong with an archive.

use std::io;

use crate::model::{Failure, Kind};

/// What can be wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read: the system says why.
    #[error("{0}")]
    Read(#[source] io::Error),
    /// It is none that Larder knows.
    #[error("this is no archive that Larder knows: {0}")]
    Unknown(String),
    /// It does not hold together: it ends early, or its fields contradict each other.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// A member that cannot be read or is not let in. Those behind it can be read all the same.
    #[error("{member}: {why}")]
    Member {
        /// Its name, made printable.
        member: String,
        /// What is wrong with it.
        why: String,
        /// Of what sort that is.
        fault: Fault,
    },
    /// It goes beyond a limit.
    #[error("{0}")]
    Limit(String),
    /// Nothing marks it as an archive. It may be one that is sealed with a password, and there is none.
    #[error("this is no archive that Larder knows: {0}")]
    Opaque(String),
    /// No key opens it.
    #[error("{why}")]
    Key {
        /// Why not.
        why: String,
        /// How to name another one.
        hint: Option<&'static str>,
    },
    /// What was named to open it cannot be used.
    #[error("{0}")]
    KeyFile(String),
    /// The user stopped it.
    #[error("stopped")]
    Interrupted,
}

/// What is wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What is stored of it is not what the archive says of it, or makes no sense.
    Damaged,
    /// It is well formed and not let in.
    Refused,
    /// Its name is another's but for letter case or accents, and such were not to be let in, whoever made the archive.
    Alike,
    /// It is in a form that Larder does not read.
    Unsupported,
}

impl ArchiveError {
    /// A member that is damaged.
    pub(super) fn spoiled(member: &[u8], why: impl Into<String>) -> Self {
        Self::Member { member: printable(member), why: why.into(), fault: Fault::Damaged }
    }

    /// A member that is not let in.
    pub(super) fn refused(member: &[u8], why: impl Into<String>) -> Self {
        Self::Member { member: printable(member), why: why.into(), fault: Fault::Refused }
    }

    /// A member in a form that is not read.
    pub(super) fn unsupported(member: &[u8], why: impl Into<String>) -> Self {
        Self::Member { member: printable(member), why: why.into(), fault: Fault::Unsupported }
    }

    /// No key opens it.
    pub(super) fn key(why: impl Into<String>) -> Self {
        Self::Key { why: why.into(), hint: None }
    }

    /// True if it is one member's fault: those behind it can be read.
    #[must_use]
    pub fn is_of_member(&self) -> bool {
        matches!(self, Self::Member { .. })
    }

    /// The same where it is not known where the next member begins.
    pub(super) fn last(self) -> Self {
        match self {
            Self::Member { member, why, .. } => Self::Damaged(format!("{member}: {why}")),
            other => other,
        }
    }

    /// The same, for whoever asks again.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Read(e) => Self::Read(io::Error::new(e.kind(), e.to_string())),
            Self::Unknown(why) => Self::Unknown(why.clone()),
            Self::Damaged(why) => Self::Damaged(why.clone()),
            Self::Member { member, why, fault } => {
                Self::Member { member: member.clone(), why: why.clone(), fault: *fault }
            }
            Self::Limit(why) => Self::Limit(why.clone()),
            Self::Opaque(why) => Self::Opaque(why.clone()),
            Self::Key { why, hint } => Self::Key { why: why.clone(), hint: *hint },
            Self::KeyFile(why) => Self::KeyFile(why.clone()),
            Self::Interrupted => Self::Interrupted,
        }
    }

    /// A member whose name some systems take for another's.
    pub(crate) fn alike(member: &[u8]) -> Self {
        let why = "but for letter case or accents it has the name of an earlier member, and some systems take them for one \
                   (--alike tell lets it in)";
        Self::Member { member: printable(member), why: why.to_owned(), fault: Fault::Alike }
    }

    /// Something that ends early or contradicts itself.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

/// What a stream gives as its error holds what is wrong with the archive, if it is that.
impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Read)
    }
}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Read(error) => error,
            other => Self::other(other),
        }
    }
}

impl Failure for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(_) => Kind::Failed,
            Self::Damaged(_) | Self::Member { fault: Fault::Damaged, .. } => Kind::Damage,
            // Whoever asks otherwise, or for less, may get it.
            Self::Unknown(_) | Self::Opaque(_) | Self::Limit(_) | Self::Member { .. } | Self::KeyFile(_) => Kind::Usage,
            Self::Key { .. } => Kind::WrongKey,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Opaque(_) => Some(PASSWORD_HINT.to_owned()),
            Self::Key { hint, .. } => hint.map(str::to_owned),
            _ => None,
        }
    }
}

/// Who has a password, and has not said so.
const PASSWORD_HINT: &str = "if it is a zip.enc, its password can be in SNAPSHOT_ENCRYPTION_KEY or in a file (--key-file); \
                             on a terminal it is asked for";

/// What is wrong with a member: in words, or more than that.
pub(super) enum Wrong {
    Member(Fault, &'static str),
    Archive(ArchiveError),
}

impl Wrong {
    /// As the error of the member with this name.
    pub(super) fn named(self, raw: &[u8]) -> ArchiveError {
        match self {
            Self::Member(fault, why) => ArchiveError::Member { member: printable(raw), why: why.to_owned(), fault },
            Self::Archive(error) => error,
        }
    }
}

/// What is said in words alone contradicts itself.
impl From<&'static str> for Wrong {
    fn from(why: &'static str) -> Self {
        Self::Member(Fault::Damaged, why)
    }
}

impl From<ArchiveError> for Wrong {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// Bytes of a name that are shown: no path that Linux opens is longer.
const SHOWN: usize = 4096;

/// A name as it can be shown: what is not text, moves a cursor or turns the direction of writing is replaced; of one that is too long, the beginning.
#[must_use]
pub fn printable(name: &[u8]) -> String {
    if name.len() > SHOWN {
        return format!("{}… ({} bytes)", printable(&name[..SHOWN]), name.len());
    }
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut text = String::with_capacity(name.len());
    for c in String::from_utf8_lossy(name).chars() {
        if c.is_control() || turns(c) { text.extend(c.escape_default()) } else { text.push(c) }
    }
    if text.is_empty() { "the root".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_goes_through_streams_and_comes_out_the_same() {
        let through = |error: ArchiveError| ArchiveError::from(io::Error::from(error));
        assert!(matches!(through(ArchiveError::Limit("much".to_owned())), ArchiveError::Limit(text) if text == "much"));
        let read = through(ArchiveError::Read(io::ErrorKind::NotFound.into()));
        assert!(matches!(read, ArchiveError::Read(e) if e.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn names_that_can_be_shown() {
        assert_eq!(printable(b"a\n\xff\x1b[2J\xe2\x80\xae"), "a\\n\u{fffd}\\u{1b}[2J\\u{202e}");
        assert_eq!(printable(b""), "the root");
        let long = printable(&vec![b'x'; 60_000]);
        assert!(long.len() < 5000 && long.ends_with("xx… (60000 bytes)"), "{long}");
    }
}
