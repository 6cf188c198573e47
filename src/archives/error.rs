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
    /// A member that is not let in.
    #[error("{member}: {why}")]
    Refused {
        /// Its name, made printable.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// It goes beyond a limit.
    #[error("{0}")]
    Limit(String),
    /// No key opens it.
    #[error("{0}")]
    Key(String),
    /// The user stopped it.
    #[error("stopped")]
    Interrupted,
}

impl ArchiveError {
    /// A member that is not let in.
    pub(super) fn refused(member: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { member: printable(member), why: why.into() }
    }

    /// A member whose name some systems take for another's.
    pub(crate) fn alike(member: &[u8]) -> Self {
        let why = "but for letter case or accents it has the name of an earlier member, and some systems take them for one \
                   (--alike tell lets it in)";
        Self::refused(member, why)
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
            Self::Unknown(_) => Kind::Usage,
            Self::Damaged(_) | Self::Refused { .. } | Self::Limit(_) => Kind::Damage,
            Self::Key(_) => Kind::WrongKey,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

/// What is wrong with a member: in words, or more than that.
pub(super) enum Wrong {
    Member(&'static str),
    Archive(ArchiveError),
}

impl Wrong {
    /// As the error of the member with this name.
    pub(super) fn named(self, raw: &[u8]) -> ArchiveError {
        match self {
            Self::Member(why) => ArchiveError::refused(raw, why),
            Self::Archive(error) => error,
        }
    }
}

impl From<&'static str> for Wrong {
    fn from(why: &'static str) -> Self {
        Self::Member(why)
    }
}

impl From<ArchiveError> for Wrong {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// A name as it can be shown: what is not text, moves a cursor or turns the direction of writing is replaced.
#[must_use]
pub fn printable(name: &[u8]) -> String {
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
    }
}
