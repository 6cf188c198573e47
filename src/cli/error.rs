//! From a failure's sort to an exit status and a message. The one table of exit statuses.

use std::process::ExitCode;

use serde_json::json;

use crate::model::{Failure, Kind};

use super::output::Output;

/// Done, but some items could not be read or carried.
pub(super) const PARTIAL: u8 = 3;

/// An error on its way to the user.
#[derive(Debug)]
pub(super) struct CliError {
    kind: Kind,
    message: String,
    hint: Option<String>,
    quiet: bool,
}

fn exit_status(kind: Kind) -> (u8, &'static str) {
    match kind {
        Kind::Failed => (1, "failed"),
        Kind::Usage => (2, "usage"),
        Kind::Partial => (PARTIAL, "partial"),
        Kind::NotFound => (10, "not_found"),
        Kind::Locked => (11, "locked"),
        Kind::WrongKey => (12, "wrong_key"),
        Kind::Damage => (13, "damage"),
        Kind::Newer => (14, "newer"),
        Kind::Interrupted => (130, "interrupted"),
    }
}

impl<E: Failure> From<E> for CliError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(e) = cause {
            let text = e.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = e.source();
        }
        Self { kind: error.kind(), message, hint: error.hint(), quiet: false }
    }
}

impl CliError {
    /// An error of the command line's own.
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, quiet: false }
    }

    /// With what to do next.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failure to print. If the reader of a pipe went away there is nobody to tell.
    pub(super) fn output(error: &std::io::Error) -> Self {
        let quiet = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { quiet, ..Self::new(Kind::Failed, format!("cannot write to standard output: {error}")) }
    }

    /// Tells the user and gives the exit status.
    pub(super) fn report(&self, out: &Output) -> ExitCode {
        let (status, word) = exit_status(self.kind);
        if self.quiet {
            return ExitCode::SUCCESS;
        }
        if out.json() {
            let error =
                json!({"error": {"kind": word, "message": self.message, "hint": self.hint, "exit_status": status}});
            let _ = out.print_json(&error);
        } else {
            out.tell(&format!("larder: {}", self.message));
            if let Some(hint) = &self.hint {
                out.tell(&format!("  hint: {hint}"));
            }
        }
        ExitCode::from(status)
    }
}

/// Reports arguments that make no sense, or prints the help that was asked for.
pub(super) fn report_usage(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let message = error.render().to_string();
        let message = message.trim().trim_start_matches("error: ");
        return CliError::new(Kind::Usage, message).report(&Output::new(true, false));
    }
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
