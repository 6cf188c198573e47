//! Progress as a bar or as JSON, remarks, and Ctrl-C.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::model::{Notice, Progress};

use super::events::{self, Event, NoticeSort};
use super::output::{Output, ProgressMode, escaped, human_bytes};
use super::stderr;

/// Remarks that are told in full; a program that reads them as JSON is told all.
const TOLD_MAX: u64 = 50;
/// Time between two lines of JSON.
const INTERVAL: Duration = Duration::from_millis(250);

/// Shows progress and counts what was noticed.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    out: Output,
    counts: Arc<Counts>,
    told: AtomicU64,
    cancelled: Arc<AtomicBool>,
    ticker: Mutex<Option<Ticker>>,
    /// Items that could not be read or carried.
    pub(super) lost: AtomicU64,
}

/// How far the work is.
#[derive(Debug, Default)]
struct Counts {
    items: AtomicU64,
    bytes: AtomicU64,
    /// Zero as long as they are not known.
    expected: Mutex<(u64, u64)>,
}

impl Counts {
    fn expected(&self) -> (u64, u64) {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, command: &str) -> Event {
        let known = |total: u64| (total > 0).then_some(total);
        let (items, bytes) = self.expected();
        Event::Progress {
            command: command.to_owned(),
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            total_items: known(items),
            total_bytes: known(bytes),
            elapsed: events::elapsed(),
        }
    }
}

/// A thread that writes how far the work is, until its channel is dropped.
#[derive(Debug)]
struct Ticker {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Ticker {
    fn start(counts: Arc<Counts>, command: &'static str) -> Option<Self> {
        let (stop, stopped): (_, Receiver<()>) = channel();
        let tick = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                events::emit(&counts.event(command));
            }
        };
        // Without the thread there is less to see; the work goes on.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(tick).ok()?;
        Some(Self { stop, thread })
    }

    fn finish(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

impl Bar {
    /// Begins; from here on Ctrl-C, SIGTERM and the end of the terminal ask the work to stop, and a second one stops it at once.
    pub(super) fn start(out: &Output, what: &'static str) -> Self {
        let counts = Arc::new(Counts::default());
        let ticker = match out.progress() {
            ProgressMode::Json => Ticker::start(counts.clone(), what),
            _ => None,
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, cancelled.clone());
            let _ = signal_hook::flag::register(signal, cancelled.clone());
        }
        Self {
            bar: new_bar(out, what),
            out: *out,
            counts,
            told: AtomicU64::new(0),
            cancelled,
            ticker: Mutex::new(ticker),
            lost: AtomicU64::new(0),
        }
    }

    /// Ends; the bar goes, and JSON has its last numbers. Dropping does the same.
    pub(super) fn finish(&self) {
        if let Some(ticker) = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ticker.finish();
            events::emit(&self.counts.event(self.out.command()));
        }
        if self.bar.is_finished() {
            return;
        }
        self.bar.finish_and_clear();
        let told = self.told.load(Ordering::Relaxed);
        if told > TOLD_MAX && !self.writes_json() {
            self.out.remark(&format!("larder: … and {} more remarks", told - TOLD_MAX));
        }
    }

    /// Set once the user wants the work stopped.
    pub(super) fn stop(&self) -> Arc<AtomicBool> {
        self.cancelled.clone()
    }

    /// Does something that prints, with the bar out of the way.
    pub(super) fn aside<T>(print: impl FnOnce() -> T) -> T {
        stderr::aside(print)
    }

    fn writes_json(&self) -> bool {
        self.out.progress() == ProgressMode::Json
    }

    fn tell(&self, sort: NoticeSort, path: Option<&str>, text: &str) {
        if self.writes_json() {
            self.out.notice(sort, path, text);
        } else if self.told.fetch_add(1, Ordering::Relaxed) < TOLD_MAX {
            self.out.remark(&format!("larder: {}", escaped(text)));
        }
    }

    fn show_items(&self, done: u64) {
        let (expected, bytes_expected) = self.counts.expected();
        let bytes = self.counts.bytes.load(Ordering::Relaxed);
        let mut text = match (done, expected) {
            (0, 0) => String::new(),
            (done, 0) => format!(" · {done} items"),
            (done, expected) => format!(" · {done}/{expected} items"),
        };
        // A bar shows them itself.
        if bytes > 0 && bytes_expected == 0 {
            text.push_str(&format!(" · {}", human_bytes(bytes)));
        }
        self.bar.set_message(text);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

/// True if this process was started so that a signal does nothing: `nohup` means it.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|set| set >> (signal - 1) & 1 == 1)
}

fn new_bar(out: &Output, what: &'static str) -> ProgressBar {
    let shown = out.progress() == ProgressMode::Bar;
    let target = if shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(style("{prefix} {elapsed}{msg}"));
    bar.set_prefix(what);
    if shown {
        stderr::beside(&bar);
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Bar {
    fn expect(&self, items: u64, bytes: u64) {
        *self.counts.expected.lock().unwrap_or_else(PoisonError::into_inner) = (items, bytes);
        if bytes > 0 {
            self.bar.set_length(bytes);
            let bar = if self.out.color() { "{wide_bar:.cyan/blue}" } else { "{wide_bar}" };
            self.bar.set_style(style(&format!(
                "{{prefix}} {{elapsed}} {bar} {{binary_bytes}}/{{binary_total_bytes}}{{msg}} · {{binary_bytes_per_sec}} · {{eta}} left"
            )));
        }
    }

    fn wants_totals(&self) -> bool {
        self.out.progress() != ProgressMode::None && self.counts.expected().0 == 0
    }

    fn advance(&self, items: u64, bytes: u64) {
        let done = self.counts.items.fetch_add(items, Ordering::Relaxed) + items;
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
        if done % 64 < items || items == 0 {
            self.show_items(done);
        }
    }

    fn notice(&self, notice: Notice) {
        let (sort, path, text) = words(notice);
        if matches!(sort, NoticeSort::Unreadable | NoticeSort::NotCarried) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(sort, path.as_deref(), &text);
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// What a notice is about, and what a person is told.
fn words(notice: Notice) -> (NoticeSort, Option<String>, String) {
    let (sort, path, text) = match notice {
        Notice::Unreadable { path, why } => {
            (NoticeSort::Unreadable, path.clone(), format!("cannot read {path}: {why}"))
        }
        Notice::NotCarried { path, what } => (NoticeSort::NotCarried, path.clone(), format!("{path}: {what}")),
        Notice::Changed { path } => (NoticeSort::Changed, path.clone(), format!("{path} changed while it was read")),
        Notice::Skipped { path, why } => (NoticeSort::Skipped, path.clone(), format!("left out {path}: {why}")),
        Notice::Remark(text) => return (NoticeSort::Remark, None, text),
    };
    (sort, Some(path), text)
}
