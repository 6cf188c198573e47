//! What `--progress json` writes to standard error: one JSON object a line.

use std::sync::OnceLock;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::stderr;

static BEGUN: OnceLock<Instant> = OnceLock::new();

/// Seconds since the program began, or since this was first called.
pub(super) fn elapsed() -> f64 {
    let seconds = BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64();
    (seconds * 1000.0).round() / 1000.0
}

/// A line on standard error under `--progress json`. The last one is always a `done`, unless a signal ends the program at once.
/// Only arguments that cannot be understood are complained of in plain text, as nobody knows then what is wanted.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event {
    /// How far the work is; about four times a second, and once at its end.
    Progress {
        /// Which command is at work.
        command: String,
        /// Files, folders and other items done.
        items: u64,
        /// Bytes of content done.
        bytes: u64,
        /// Items there will be, if that is known; it may be corrected on the way.
        total_items: Option<u64>,
        /// Bytes there will be, if that is known; it may be corrected on the way.
        total_bytes: Option<u64>,
        /// Seconds since the program began.
        elapsed: f64,
    },
    /// Something worth telling that does not stop the work.
    Notice {
        /// Which command is at work.
        command: String,
        /// What sort of notice it is.
        sort: NoticeSort,
        /// The item that it is about, where there is one; bytes that are not UTF-8 are replaced.
        path: Option<String>,
        /// What a person would be told.
        text: String,
    },
    /// A line of the log that -v asks for.
    Log {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: String,
        /// Which part of the program says it.
        module: String,
        /// What it says.
        text: String,
        /// Seconds since the program began.
        elapsed: f64,
    },
    /// The command failed.
    Error {
        /// Why.
        error: ErrorJson,
    },
    /// The command has ended.
    Done {
        /// Which command it was.
        command: String,
        /// The exit status.
        exit_status: u8,
        /// Seconds since the program began.
        elapsed: f64,
    },
}

/// Sorts of notices.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoticeSort {
    /// An item could not be read and is left out.
    Unreadable,
    /// A property of an item could not be carried.
    NotCarried,
    /// A file changed while it was read.
    Changed,
    /// An item was left out on purpose.
    Skipped,
    /// Anything else.
    Remark,
}

/// A failure.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ErrorJson {
    /// The sort of failure: `failed`, `usage`, `partial`, `not_found`, `locked`, `wrong_key`, `damage`, `newer` or `interrupted`.
    pub(super) kind: String,
    /// What went wrong, and where.
    pub(super) message: String,
    /// What to do next, where there is something to say.
    pub(super) hint: Option<String>,
    /// The exit status.
    pub(super) exit_status: u8,
}

/// What stands on standard output when a command fails under --json.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FailureJson {
    /// The failure.
    pub(super) error: ErrorJson,
}

/// Writes an event.
pub(super) fn emit(event: &Event) {
    if let Ok(text) = serde_json::to_string(event) {
        stderr::line(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_its_type_beside_its_members() {
        let done = Event::Done { command: "list".to_owned(), exit_status: 0, elapsed: 0.5 };
        let text = serde_json::to_string(&done).unwrap();
        assert_eq!(text, r#"{"type":"done","command":"list","exit_status":0,"elapsed":0.5}"#);
        let error = ErrorJson { kind: "usage".to_owned(), message: "no".to_owned(), hint: None, exit_status: 2 };
        let text = serde_json::to_string(&Event::Error { error }).unwrap();
        assert!(text.starts_with(r#"{"type":"error","error":{"kind":"usage""#), "{text}");
    }
}
