//! What is around a pack that not everybody shall read.

use std::io::{self, Write};

use crate::codec::{Password, PasswordWriter, Recipient, SealWriter};

/// A seal. With one a pack is other bytes each time: its keys are fresh.
#[derive(Debug)]
pub enum Seal {
    /// One standard age file, for these recipients.
    Age(Vec<Recipient>),
    /// The form of older archives (`.zip.enc`).
    Password(Password),
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
        match self {
            Self::Age(recipients) => Ok(Box::new(SealWriter::new(out, recipients).map_err(io::Error::other)?)),
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
