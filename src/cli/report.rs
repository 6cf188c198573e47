//! Telling the user that something failed, and that the command has ended.

use crate::model::Kind;

use super::error::{CliError, exit_status};
use super::events::{self, ErrorJson, Event, FailureJson};
use super::output::{Output, ProgressMode, escaped};
use super::stderr;

/// Tells the user, and gives the exit status.
pub(super) fn failure(error: &CliError, out: &Output) -> u8 {
    if let Some(status) = error.silent {
        return status;
    }
    let as_json = as_json(error);
    let status = as_json.exit_status;
    let told = out.json() && out.print_json(&FailureJson { error: as_json }).is_ok();
    if out.progress() == ProgressMode::Json {
        events::emit(&Event::Error { error: self::as_json(error) });
    } else if !told {
        words(error, out);
    }
    status
}

/// Ends the stream of events, if there is one.
pub(super) fn ended(status: u8, out: &Output) {
    if out.progress() == ProgressMode::Json {
        let command = out.command().to_owned();
        events::emit(&Event::Done { command, exit_status: status, elapsed: events::elapsed() });
    }
}

/// An error as JSON has it.
pub(super) fn as_json(error: &CliError) -> ErrorJson {
    let (exit_status, word) = exit_status(error.kind);
    ErrorJson { kind: word.to_owned(), message: error.message.clone(), hint: error.hint.clone(), exit_status }
}

fn words(error: &CliError, out: &Output) {
    let painted = |text: &str, code: &str| {
        if out.color() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    stderr::line(&format!("{} {}", painted("larder:", "1;31"), escaped(&error.message)));
    if let Some(hint) = &error.hint {
        stderr::line(&format!("  {} {}", painted("hint:", "1;36"), escaped(hint)));
    }
}

/// Tells what is wrong with the arguments, or prints the help that was asked for.
pub(super) fn usage(error: &clap::Error, json: bool, hint: Option<String>) -> u8 {
    if json && error.use_stderr() {
        let message = error.render().to_string();
        let message = message.trim().trim_start_matches("error: ");
        let told = CliError { hint, ..CliError::new(Kind::Usage, message) };
        return failure(&told, &Output::new(true, false));
    }
    let _ = error.print();
    if let Some(hint) = hint.filter(|_| error.use_stderr()) {
        stderr::line(&format!("  hint: {hint}"));
    }
    if error.use_stderr() { 2 } else { 0 }
}
