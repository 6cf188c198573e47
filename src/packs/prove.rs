//! Reading a pack that was just written, from one end to the other, as whoever gets it will.

use std::path::Path;

use crate::archives::{ArchiveError, Content, Input, Keys, Limits, Member, open};
use crate::codec::{Identity, Passphrase, Password};
use crate::model::Progress;

use super::PackError;
use super::audit::{AuditError, Visitor, audit};
use super::drain::{Stopped, drain};
use super::manifest::{Head, Tail};
use super::seal::Seal;

/// Reads a pack: each content to its end, its checksums, its inventory. Of one that is sealed to somebody else it can tell nothing: false.
///
/// # Errors
/// If it is not what a pack should be. `scratch`: where what is too much for memory goes, sealed.
pub fn prove(input: Input, seal: Option<&Seal>, scratch: &Path, progress: &dyn Progress) -> Result<bool, PackError> {
    if matches!(seal, Some(Seal::Age(_))) {
        return Ok(false);
    }
    // What we have written ourselves needs no bounds.
    let all = Limits { ratio: u64::MAX, members: u64::MAX, depth: u32::MAX, ..Limits::default() };
    let archive = open(input, &Known(seal), &all, progress).map_err(PackError::from)?;
    audit(archive.opened, &all, scratch, &mut Reader { progress })?;
    Ok(true)
}

/// The key that it was sealed with.
struct Known<'a>(Option<&'a Seal>);

impl Keys for Known<'_> {
    fn identities(&self) -> Result<Vec<Identity>, ArchiveError> {
        Ok(Vec::new())
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, ArchiveError> {
        Ok(match self.0 {
            Some(Seal::Passphrase(passphrase)) => Some(passphrase.clone()),
            _ => None,
        })
    }

    fn password(&self) -> Result<Option<Password>, ArchiveError> {
        Ok(match self.0 {
            Some(Seal::Password(password)) => Some(password.clone()),
            _ => None,
        })
    }
}

/// Reads all that it is shown.
struct Reader<'a> {
    progress: &'a dyn Progress,
}

impl Visitor<PackError> for Reader<'_> {
    fn begin(&mut self, _: &Head) -> Result<(), PackError> {
        Ok(())
    }

    fn member(&mut self, _: &Member, _: bool, content: &mut dyn Content) -> Result<(), PackError> {
        drain(content, |_| !self.progress.cancelled()).map_err(|stopped| match stopped {
            Stopped::Cancelled => PackError::Interrupted,
            Stopped::Read(error) => error.into(),
        })
    }

    fn end(&mut self, _: &Tail) -> Result<(), PackError> {
        Ok(())
    }

    fn deviation(&mut self, error: AuditError) -> Result<(), PackError> {
        Err(error.into())
    }
}
