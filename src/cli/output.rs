//! Printing: data to standard output, all else to standard error. Names are escaped on terminals, where they could do harm.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Manifest, SnapshotId, Timestamp};

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

/// A snapshot: the one shape that `snapshot`, `list` and `show` share.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SnapshotJson {
    /// 64 hexadecimal digits.
    id: String,
    /// Which entry of the arrival log it is.
    sequence: u64,
    dataset: String,
    /// When the store acknowledged it; RFC 3339, UTC.
    arrival: String,
    /// manual, scheduled, import, safety, pre or post.
    kind: &'static str,
    /// The id of the snapshot before it in its dataset.
    parent: Option<String>,
    /// The id of the root's first page: equal trees have equal ones.
    tree: String,
    files: u64,
    /// The root not counted.
    folders: u64,
    /// Symlinks, devices, pipes.
    others: u64,
    /// Sum of the sizes of all files.
    bytes: u64,
    /// Bytes that the store did not have before, before compression.
    new_bytes: u64,
    /// What these take in the store.
    stored_bytes: u64,
    /// Items left out because they could not be read.
    unreadable: u64,
    /// Files that changed while they were read.
    changed: u64,
    /// When the capture began, by the clock of the machine that captured; RFC 3339, UTC.
    client_time: String,
    /// The machine that captured.
    host: String,
    /// The user who captured.
    user: String,
    /// The program that captured, with its version.
    program: String,
    /// The paths that were captured; none of a stream. Bytes that are not UTF-8 are replaced.
    sources: Vec<String>,
    /// The commit that was checked out in the source, where it is a git work tree.
    git_revision: Option<String>,
    reason: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
    /// Things outside the store that the snapshot speaks of.
    references: Vec<ReferenceJson>,
    /// What it is about.
    scope: Option<String>,
    /// Which one of those.
    scope_ref: Option<String>,
    /// Who asked for it.
    initiator: Option<String>,
    /// What set it off.
    trigger_source: Option<String>,
    analyzer_version: Option<String>,
    rule_version: Option<String>,
    /// Where the subject came from.
    source_ref: Option<String>,
    /// It was asked at capture that it be kept for good.
    immutable: bool,
    /// Which retention policy applies.
    retention_class: Option<String>,
    /// Figures.
    metrics: Option<serde_json::Value>,
    /// Anything else.
    payload: Option<serde_json::Value>,
}

/// Something outside the store that a snapshot speaks of.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReferenceJson {
    /// Its name within the snapshot.
    key: String,
    uri: String,
    /// As `sha256=` and hexadecimal digits.
    hash: Option<String>,
    /// True if the hash was compared at capture, and held.
    verified: Option<bool>,
}

impl SnapshotJson {
    pub(super) fn new(id: SnapshotId, m: &Manifest) -> Self {
        let json = |text: &Option<String>| {
            text.as_ref().map(|t| serde_json::from_str(t).unwrap_or_else(|_| serde_json::Value::String(t.clone())))
        };
        let s = &m.statistics;
        Self {
            id: id.to_string(),
            sequence: m.sequence,
            dataset: m.dataset.to_string(),
            arrival: rfc3339(m.arrival),
            kind: m.kind.as_str(),
            parent: m.parent.map(|p| p.to_string()),
            tree: m.root.folder().map_or_else(String::new, |t| t.page.to_string()),
            files: s.files,
            folders: s.folders,
            others: s.others,
            bytes: s.bytes,
            new_bytes: s.new_bytes,
            stored_bytes: s.stored_bytes,
            unreadable: s.unreadable,
            changed: s.changed,
            client_time: rfc3339(m.client_time),
            host: m.host.clone(),
            user: m.user.clone(),
            program: m.program.clone(),
            sources: m.sources.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect(),
            git_revision: m.git_revision.clone(),
            reason: m.reason.clone(),
            labels: m.labels.iter().cloned().collect(),
            references: m
                .references
                .iter()
                .map(|r| ReferenceJson {
                    key: r.key.clone(),
                    uri: r.uri.clone(),
                    hash: r.hash.clone(),
                    verified: r.verified,
                })
                .collect(),
            scope: m.evidence.scope.clone(),
            scope_ref: m.evidence.scope_ref.clone(),
            initiator: m.evidence.initiator.clone(),
            trigger_source: m.evidence.trigger_source.clone(),
            analyzer_version: m.evidence.analyzer_version.clone(),
            rule_version: m.evidence.rule_version.clone(),
            source_ref: m.evidence.source_ref.clone(),
            immutable: m.evidence.immutable,
            retention_class: m.evidence.retention_class.clone(),
            metrics: json(&m.evidence.metrics),
            payload: json(&m.evidence.payload),
        }
    }
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
