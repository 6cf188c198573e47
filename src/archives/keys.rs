//! What opens sealed archives.

use crate::codec::{Identity, Passphrase, Password};

use super::ArchiveError;

/// Keys. Each sort is asked for once, and only when an archive is met that it may open.
pub trait Keys {
    /// For age files to recipients.
    ///
    /// # Errors
    /// If one that was named cannot be had.
    fn identities(&self) -> Result<Vec<Identity>, ArchiveError>;

    /// For age files under a passphrase; nothing if nobody can be asked.
    ///
    /// # Errors
    /// If what should give it fails.
    fn passphrase(&self) -> Result<Option<Passphrase>, ArchiveError>;

    /// For what may be an older archive (`.zip.enc`), which nothing marks as one; nothing if nobody gave it or can be asked.
    ///
    /// # Errors
    /// If what should give it fails.
    fn password(&self) -> Result<Option<Password>, ArchiveError>;
}

/// No keys.
#[derive(Debug, Clone, Copy)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn identities(&self) -> Result<Vec<Identity>, ArchiveError> {
        Ok(Vec::new())
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, ArchiveError> {
        Ok(None)
    }

    fn password(&self) -> Result<Option<Password>, ArchiveError> {
        Ok(None)
    }
}
