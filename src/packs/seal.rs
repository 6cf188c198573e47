//! What is around a pack that not everybody shall read.

use std::io::{self, Write};

use crate::codec::{Passphrase, Password, PasswordWriter, Recipient, SealWriter};

/// A seal. With one a pack is other bytes each time: its keys are fresh.
pub enum Seal {
    /// One standard age file, for these recipients.
    Age(Vec<Recipient>),
    /// The same, with a passphrase.
    Passphrase(Passphrase),
    /// The form of older archives (`.zip.enc`).
    Password(Password),
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Age(_) => "Age",
            Self::Passphrase(_) => "Passphrase",
            Self::Password(_) => "Password",
        })
    }
}

/// What is sealed on its way out.
pub trait Sealing: Write {
    /// Ends it. Dropped before, it is no whole file, and whoever opens it is told.
    ///
    /// # Errors
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

impl Seal {
    /// Seals what goes to `out`. What comes in front of the content is written at once.
    ///
    /// # Errors
    /// If the recipients cannot be together, or nothing can be written.
    pub fn writer<'a>(&self, out: Box<dyn Write + 'a>) -> io::Result<Box<dyn Sealing + 'a>> {
        let age = |out, recipients: &[Recipient]| SealWriter::new(out, recipients).map_err(io::Error::other);
        match self {
            Self::Age(recipients) => Ok(Box::new(age(out, recipients)?)),
            Self::Passphrase(phrase) => Ok(Box::new(age(out, &[Recipient::passphrase(phrase.clone(), None)])?)),
            Self::Password(password) => Ok(Box::new(PasswordWriter::new(out, password)?)),
        }
    }
}

impl<W: Write> Sealing for SealWriter<W> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Self::finish(*self)?.flush()
    }
}

impl<W: Write> Sealing for PasswordWriter<W> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Self::finish(*self)?.flush()
    }
}
