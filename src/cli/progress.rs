//! Progress on a terminal, remarks, and Ctrl-C.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::model::{Notice, Progress};

use super::output::{Output, escaped};

/// Remarks of one sort that are told in full.
const TOLD_MAX: u64 = 50;

/// Shows progress and counts what was noticed.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    out: Output,
    items: AtomicU64,
    expected: Mutex<(u64, u64)>,
    told: AtomicU64,
    cancelled: Arc<AtomicBool>,
    /// Items that could not be read or carried.
    pub(super) lost: AtomicU64,
}

impl Bar {
    /// Begins; from here on Ctrl-C and SIGTERM ask the work to stop, and a second one stops it at once.
    pub(super) fn start(out: &Output, what: &'static str) -> Self {
        let target =
            if out.shows_progress() { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = "{prefix} {elapsed} · {msg} · {decimal_bytes} · {decimal_bytes_per_sec}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        let cancelled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, cancelled.clone());
            let _ = signal_hook::flag::register(signal, cancelled.clone());
        }
        Self {
            bar,
            out: *out,
            items: AtomicU64::new(0),
            expected: Mutex::default(),
            told: AtomicU64::new(0),
            cancelled,
            lost: AtomicU64::new(0),
        }
    }

    /// Ends; the bar goes.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        let told = self.told.load(Ordering::Relaxed);
        if told > TOLD_MAX {
            self.out.remark(&format!("larder: … and {} more remarks", told - TOLD_MAX));
        }
    }

    /// Does something that prints, with the bar out of the way.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    fn tell(&self, text: &str) {
        if self.told.fetch_add(1, Ordering::Relaxed) < TOLD_MAX {
            self.bar.suspend(|| self.out.remark(&format!("larder: {}", escaped(text))));
        }
    }
}

impl Progress for Bar {
    fn expect(&self, items: u64, bytes: u64) {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = (items, bytes);
        if bytes > 0 {
            self.bar.set_length(bytes);
            let style = "{prefix} {elapsed} {wide_bar} {decimal_bytes}/{decimal_total_bytes} · {msg} · {decimal_bytes_per_sec} · {eta} left";
            self.bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
    }

    fn wants_totals(&self) -> bool {
        self.out.shows_progress() && self.expected.lock().unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    fn advance(&self, items: u64, bytes: u64) {
        let done = self.items.fetch_add(items, Ordering::Relaxed) + items;
        self.bar.inc(bytes);
        if done % 64 < items || items == 0 {
            let (expected, _) = *self.expected.lock().unwrap_or_else(PoisonError::into_inner);
            self.bar.set_message(if expected > 0 {
                format!("{done}/{expected} items")
            } else {
                format!("{done} items")
            });
        }
    }

    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Unreadable { path, why } => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.tell(&format!("cannot read {path}: {why}"));
            }
            Notice::NotCarried { path, what } => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.tell(&format!("{path}: {what}"));
            }
            Notice::Changed { path } => self.tell(&format!("{path} changed while it was read")),
            Notice::Skipped { path, why } => self.tell(&format!("left out {path}: {why}")),
            Notice::Remark(text) => self.tell(&text),
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}
