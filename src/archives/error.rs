//! What can be wrong with an archive.

use std::io;

use crate::model::{Failure, Kind};

/// What can be wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read: the system says why.
    #[error("{0}")]
    Read(#[from] io::Error),
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
}

impl Failure for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(_) => Kind::Failed,
            Self::Unknown(_) => Kind::Usage,
            Self::Damaged(_) | Self::Refused { .. } | Self::Limit(_) => Kind::Damage,
            Self::Key(_) => Kind::WrongKey,
        }
    }
}
