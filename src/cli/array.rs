//! JSON arrays of any length, written element by element.

use serde::Serialize;

use super::error::CliError;
use super::output::Output;

/// An array on standard output, one element a line. Without `--json` nothing is written.
#[derive(Debug)]
pub(super) struct JsonArray<'a> {
    out: &'a Output,
    first: bool,
}

impl<'a> JsonArray<'a> {
    /// Opens it, behind what may stand before it.
    pub(super) fn open(out: &'a Output, before: &str) -> Result<Self, CliError> {
        if out.json() {
            out.raw(before.as_bytes())?;
            out.raw(b"[")?;
        }
        Ok(Self { out, first: true })
    }

    /// Writes an element.
    pub(super) fn push(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let bytes = serde_json::to_vec(value).map_err(|e| CliError::output(&std::io::Error::other(e)))?;
        self.out.raw(if std::mem::take(&mut self.first) { b"\n" } else { b",\n" })?;
        self.out.raw(&bytes)
    }

    /// Closes it, with what may stand behind it.
    pub(super) fn close(self, behind: &str) -> Result<(), CliError> {
        if self.out.json() {
            self.out.raw(if self.first { b"]" } else { b"\n]" })?;
            self.out.raw(behind.as_bytes())?;
            self.out.raw(b"\n")?;
        }
        Ok(())
    }
}
