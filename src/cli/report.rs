//! Telling the user that something failed.

use std::process::ExitCode;

use serde_json::json;

use crate::model::Kind;

use super::error::{CliError, exit_status};
use super::output::Output;

/// Tells the user and gives the exit status.
pub(super) fn failure(error: &CliError, out: &Output) -> ExitCode {
    let (status, word) = exit_status(error.kind);
    if let Some(status) = error.silent {
        return ExitCode::from(status);
    }
    if out.json() {
        let error =
            json!({"error": {"kind": word, "message": error.message, "hint": error.hint, "exit_status": status}});
        let _ = out.print_json(&error);
    } else {
        out.tell(&format!("larder: {}", error.message));
        if let Some(hint) = &error.hint {
            out.tell(&format!("  hint: {hint}"));
        }
    }
    ExitCode::from(status)
}

/// Tells what is wrong with the arguments, or prints the help that was asked for.
pub(super) fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let message = error.render().to_string();
        let message = message.trim().trim_start_matches("error: ");
        return failure(&CliError::new(Kind::Usage, message), &Output::new(true, false));
    }
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
