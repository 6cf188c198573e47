//! Printing: data to standard output, all else to standard error. Names are escaped on terminals, where they could do harm.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::model::{SnapshotId, Timestamp};

use super::error::CliError;
use super::events::{self, Event, NoticeSort};
use super::stderr;

/// When progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    /// A bar if standard error is a terminal and --json is not given
    #[default]
    Auto,
    /// Nothing
    None,
    /// A bar on a terminal, with --json too
    Bar,
    /// JSON on standard error, an object a line
    Json,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorMode {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
    terminal: bool,
    progress: ProgressMode,
    color: bool,
    command: &'static str,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self { json, quiet, terminal, progress: ProgressMode::None, color: false, command: "larder" }
    }

    /// The same, for this command and with progress and colours as they were chosen.
    pub(super) fn of(self, command: &'static str, progress: ProgressMode, color: ColorMode) -> Self {
        let terminal = io::stderr().is_terminal();
        let progress = match progress {
            _ if self.quiet => ProgressMode::None,
            ProgressMode::Auto if terminal && !self.json => ProgressMode::Bar,
            ProgressMode::Auto => ProgressMode::None,
            chosen => chosen,
        };
        let color = match color {
            ColorMode::Always => true,
            ColorMode::Never => false,
            ColorMode::Auto => terminal && std::env::var_os("TERM").is_none_or(|t| t != "dumb"),
        };
        Self { progress, color, command, ..self }
    }

    /// True if JSON is wanted.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// True if remarks are not wanted.
    pub(super) fn quiet(&self) -> bool {
        self.quiet
    }

    /// True if standard error has colours.
    pub(super) fn color(&self) -> bool {
        self.color
    }

    /// The command that prints.
    pub(super) fn command(&self) -> &'static str {
        self.command
    }

    /// The same, without progress.
    pub(super) fn without_progress(self) -> Self {
        Self { quiet: true, progress: ProgressMode::None, ..self }
    }

    /// How progress is shown: never [`ProgressMode::Auto`].
    pub(super) fn progress(&self) -> ProgressMode {
        self.progress
    }

    /// Prints a line of data.
    pub(super) fn line(&self, text: &str) -> Result<(), CliError> {
        // In one piece: a progress bar could come in between.
        self.raw(&[text.as_bytes(), b"\n"].concat())
    }

    /// Prints bytes of data as they are.
    pub(super) fn raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        let write = || io::stdout().lock().write_all(bytes).map_err(|e| CliError::output(&e));
        if self.terminal { stderr::aside(write) } else { write() }
    }

    /// Prints a value as one line of JSON.
    pub(super) fn print_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(|e| CliError::output(&io::Error::other(e)))?;
        self.line(&text)
    }

    /// Tells something that is no data.
    pub(super) fn remark(&self, text: &str) {
        if !self.quiet {
            self.tell(text);
        }
    }

    /// Tells something that must be heard, quiet or not.
    pub(super) fn tell(&self, text: &str) {
        if self.progress == ProgressMode::Json {
            self.notice(NoticeSort::Remark, None, text.strip_prefix("larder: ").unwrap_or(text));
        } else {
            stderr::line(&escaped(text));
        }
    }

    /// Tells a notice as an event.
    pub(super) fn notice(&self, sort: NoticeSort, path: Option<&str>, text: &str) {
        let (command, path) = (self.command.to_owned(), path.map(str::to_owned));
        events::emit(&Event::Notice { command, sort, path, text: text.to_owned() });
    }

    /// A name as standard output should have it: raw in a pipe, escaped on a terminal.
    pub(super) fn name(&self, bytes: &[u8]) -> Vec<u8> {
        if self.terminal { escaped(&String::from_utf8_lossy(bytes)).into_bytes() } else { bytes.to_vec() }
    }
}

/// Standard output without the line buffer that would look for line ends in data.
pub(super) fn stdout_unbuffered() -> Result<std::fs::File, CliError> {
    use std::os::fd::AsFd;
    let fd = io::stdout().as_fd().try_clone_to_owned().map_err(|e| CliError::output(&e))?;
    Ok(std::fs::File::from(fd))
}

/// Text on one line, without characters that could move a terminal's cursor or change what is seen.
pub(super) fn escaped(text: &str) -> String {
    let harmful = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().flat_map(|c| if harmful(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A time as RFC 3339 in UTC; beyond what that can say, as seconds.
pub(super) fn rfc3339(time: Timestamp) -> String {
    let nanos = i32::try_from(time.nanos).unwrap_or(0);
    jiff::Timestamp::new(time.seconds, nanos).map_or_else(|_| format!("@{}", time.seconds), |t| t.to_string())
}

/// A time for people: to the second, UTC.
pub(super) fn short_time(time: Timestamp) -> String {
    let whole = jiff::Timestamp::from_second(time.seconds);
    whole.map_or_else(|_| format!("@{}", time.seconds), |t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Bytes for people.
pub(super) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number of things, in the singular or the plural.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The first digits of a snapshot's id, enough for people.
pub(super) fn short_id(id: SnapshotId) -> String {
    id.to_string()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_characters_are_shown() {
        assert_eq!(escaped("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(escaped("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(escaped("ünï\tcode"), "ünï\tcode");
    }

    #[test]
    fn one_and_many() {
        let files = |count| counted(count, "file", "files");
        assert_eq!([files(0), files(1), files(2)], ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(human_bytes(0), "0 B");
        assert_eq!(human_bytes(1536), "1.5 KiB");
        assert_eq!(human_bytes(u64::MAX), "16.0 EiB");
    }
}
