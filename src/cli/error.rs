//! From a failure's sort to an exit status and a message. The one table of exit statuses; `report` tells them.

use crate::model::{Failure, Kind};

/// Done, but some items could not be read or carried.
pub(super) const PARTIAL: u8 = 3;

/// An error on its way to the user.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Nothing more is to be printed: nobody is there, or the report on standard output has said it.
    pub(super) silent: Option<u8>,
}

/// The exit status of a sort of failure, and its name in JSON.
pub(super) fn exit_status(kind: Kind) -> (u8, &'static str) {
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

/// What each exit status means: for help and manual.
pub(super) const MEANINGS: [(u8, &str); 10] = [
    (0, "done; also if whoever read standard output went away"),
    (1, "failed: input or output, the operating system"),
    (
        2,
        "the arguments or the configuration make no sense, or are refused; an archive is none that Larder reads or takes",
    ),
    (PARTIAL, "done, but some items could not be read, carried or forgotten"),
    (10, "there is no such store, snapshot or path"),
    (11, "another larder is writing to the store (--no-wait)"),
    (12, "no key at hand opens the store or may do this, or its keys are not those seen before"),
    (13, "damage was found, or the store was set back"),
    (14, "made by a newer version of Larder"),
    (130, "interrupted; a second Ctrl-C ends at once"),
];

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
        Self { kind: error.kind(), message, hint: error.hint(), silent: None }
    }
}

impl CliError {
    /// An error of the command line's own.
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, silent: None }
    }

    /// With what to do next.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With JSON, the report that was printed already says it: only the exit status is left to give.
    pub(super) fn told(mut self, json: bool) -> Self {
        if json {
            self.silent = Some(exit_status(self.kind).0);
        }
        self
    }

    /// A failure to print. If the reader of a pipe went away there is nobody to tell.
    pub(super) fn output(error: &std::io::Error) -> Self {
        let silent = (error.kind() == std::io::ErrorKind::BrokenPipe).then_some(0);
        Self { silent, ..Self::new(Kind::Failed, format!("cannot write to standard output: {error}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_meaning() {
        let kinds = [
            Kind::Failed,
            Kind::Usage,
            Kind::Partial,
            Kind::NotFound,
            Kind::Locked,
            Kind::WrongKey,
            Kind::Damage,
            Kind::Newer,
            Kind::Interrupted,
        ];
        let mut statuses: Vec<u8> = kinds.iter().map(|k| exit_status(*k).0).collect();
        statuses.insert(0, 0);
        assert_eq!(MEANINGS.map(|(status, _)| status).to_vec(), statuses);
    }
}
