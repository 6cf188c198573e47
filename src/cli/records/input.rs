//! Lines of a file or of standard input, and answers to them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::model::Kind;
use crate::records::Lines;
use crate::records::tape::Limits;

use super::super::Outcome;
use super::super::error::CliError;
use super::super::output::{Output, counted, stdout_unbuffered};

/// What commands that read lines take.
#[derive(Debug, Args)]
pub(super) struct LinesArgs {
    /// The file, or - for standard input
    #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Lists and objects that may stand in each other; what is nested deeper is an error
    #[arg(long, value_name = "N", default_value_t = Limits::default().depth)]
    max_depth: usize,
}

impl LinesArgs {
    /// What is read of a line.
    pub(super) fn limits(&self) -> Limits {
        Limits { depth: self.max_depth, ..Limits::default() }
    }

    /// The lines.
    pub(super) fn open(&self) -> Result<Lines<Box<dyn BufRead>>, CliError> {
        let from: Box<dyn BufRead> = if self.file == Path::new("-") {
            Box::new(BufReader::with_capacity(1 << 18, io::stdin()))
        } else {
            let file = File::open(&self.file).map_err(|e| self.failed(&e))?;
            if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                let text = format!("{} is a folder, where a file of lines is due", self.file.display());
                return Err(CliError::new(Kind::Usage, text));
            }
            Box::new(BufReader::with_capacity(1 << 18, Box::new(file) as Box<dyn Read>))
        };
        Ok(Lines::new(from, self.limits().bytes))
    }

    /// That the lines cannot be read.
    pub(super) fn failed(&self, error: &io::Error) -> CliError {
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        CliError::new(kind, format!("{} cannot be read: {error}", self.file.display()))
    }

    /// Answers each line by a line: what `answer` makes of it, or `error: ` and why it makes nothing. With JSON, what `as_json` makes of
    /// either.
    pub(super) fn answer<J: serde::Serialize>(
        &self,
        out: &Output,
        answer: &mut dyn FnMut(&[u8]) -> Result<String, String>,
        as_json: fn(u64, Result<String, String>) -> J,
    ) -> Result<Outcome, CliError> {
        let mut lines = self.open()?;
        let mut to = BufWriter::with_capacity(1 << 16, stdout_unbuffered()?);
        let (mut all, mut bad) = (0, 0);
        while let Some(line) = lines.next().map_err(|e| self.failed(&e))? {
            let answered = line.bytes.ok_or_else(|| too_long(&self.limits())).and_then(&mut *answer);
            all += 1;
            bad += u64::from(answered.is_err());
            let text = if out.json() {
                serde_json::to_string(&as_json(line.number, answered))
                    .map_err(|e| CliError::output(&io::Error::other(e)))?
            } else {
                answered.unwrap_or_else(|why| format!("error: {why}"))
            };
            let written = to.write_all(&out.name(text.as_bytes())).and_then(|()| to.write_all(b"\n"));
            written.map_err(|e| CliError::output(&e))?;
        }
        to.flush().map_err(|e| CliError::output(&e))?;
        if bad == 0 {
            return Ok(Outcome::Done);
        }
        out.remark(&format!("larder: {bad} of {} could not be answered", counted(all, "line", "lines")));
        Ok(Outcome::Partial)
    }
}

/// Why a line is not read.
pub(super) fn too_long(limits: &Limits) -> String {
    format!("it is longer than the {} MiB that are read", limits.bytes >> 20)
}
