//! age files of any length, as streams: the third door to age, beside `wrap` and `identity`.

use std::io::{self, Read, Write};

use age::armor::ArmoredReader;
use age::stream::{StreamReader, StreamWriter};

use super::identity::{Identity, fitting};
use super::wrap::{Recipient, WrapError, failed};

/// Bytes of an age file before its content: of thousands of recipients.
const HEAD_MAX: u64 = 1 << 20;

/// A stream as one binary age file for several recipients.
///
/// Dropped before [`Self::finish`], the file has no end, and whoever opens it is told.
pub struct SealWriter<W: Write>(StreamWriter<W>);

impl<W: Write> std::fmt::Debug for SealWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealWriter")
    }
}

impl<W: Write> SealWriter<W> {
    /// A file that goes to `out`; its head is written at once.
    ///
    /// # Errors
    /// If there is no recipient, they cannot be together (a passphrase stands alone), or the head cannot be written.
    pub fn new(out: W, recipients: &[Recipient]) -> Result<Self, WrapError> {
        let age = |e: &dyn std::fmt::Display| WrapError::Age(e.to_string());
        let encryptor =
            age::Encryptor::with_recipients(recipients.iter().map(Recipient::inner)).map_err(|e| age(&e))?;
        encryptor.wrap_output(out).map(Self).map_err(|e| age(&e))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What an age file begins with, binary or armoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeForm {
    /// Bytes.
    Binary,
    /// Text.
    Armoured,
}

/// What form of an age file begins so; nothing if it is none.
#[must_use]
pub fn age_form(start: &[u8]) -> Option<AgeForm> {
    if start.starts_with(b"age-encryption.org/v1\n") {
        Some(AgeForm::Binary)
    } else if start.trim_ascii_start().starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        Some(AgeForm::Armoured)
    } else {
        None
    }
}

/// An age file whose head was read.
pub struct Sealed<R: Read> {
    head: Vec<u8>,
    decryptor: age::Decryptor<Head<R>>,
}

impl<R: Read> std::fmt::Debug for Sealed<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed")
    }
}

/// The content of an age file. Its end is proved: a file that was cut, or that something follows, gives an error.
pub struct SealReader<R: Read>(StreamReader<Head<R>>);

impl<R: Read> std::fmt::Debug for SealReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealReader")
    }
}

impl<R: Read> Sealed<R> {
    /// Reads the head of a binary age file.
    ///
    /// # Errors
    /// If it is none that age knows.
    pub fn new(mut from: R) -> Result<Self, WrapError> {
        let age = |e: io::Error| WrapError::Age(e.to_string());
        let (mut head, mut byte) = (Vec::new(), [0]);
        // The line of the MAC is the head's last.
        while !(head.ends_with(b"\n") && last_line(&head).starts_with(b"--- ")) {
            if head.len() as u64 >= HEAD_MAX || from.read(&mut byte).map_err(age)? == 0 {
                return Err(WrapError::Age("the head of the age file does not end".to_owned()));
            }
            head.push(byte[0]);
        }
        let whole = io::Cursor::new(head.clone()).chain(from);
        let decryptor = age::Decryptor::new(whole).map_err(|e| WrapError::Age(e.to_string()))?;
        Ok(Self { head, decryptor })
    }

    /// True if a passphrase opens it.
    #[must_use]
    pub fn is_for_passphrase(&self) -> bool {
        self.decryptor.is_scrypt()
    }

    /// Opens it with the first identity that fits.
    ///
    /// # Errors
    /// [`WrapError::NoMatch`] if none does, [`WrapError::Locked`] if one might that is under a passphrase which cannot be had.
    pub fn open(self, identities: &[Identity]) -> Result<SealReader<R>, WrapError> {
        let fitting = fitting(&self.head, identities)?;
        self.decryptor.decrypt(fitting.into_iter()).map(SealReader).map_err(failed)
    }
}

type Head<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

fn last_line(head: &[u8]) -> &[u8] {
    let line = head.strip_suffix(b"\n").unwrap_or(head);
    line.iter().rposition(|b| *b == b'\n').map_or(line, |at| &line[at + 1..])
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// The bytes of an armoured age file.
pub fn unarmoured_stream<R: Read + Send + 'static>(from: R) -> impl Read + Send + 'static {
    ArmoredReader::new(from)
}
