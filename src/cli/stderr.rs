//! The one way to standard error: whole lines, beside a progress bar and not through it.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, WeakProgressBar};

static BAR: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// From here on lines are written beside this bar, as long as it lives.
pub(super) fn beside(bar: &ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
}

/// Writes a line. That nobody may be there to read it is no failure.
pub(super) fn line(text: &str) {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    let write = || {
        // One write for the whole line: lines of several threads do not mix.
        let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    };
    match bar {
        Some(bar) if !bar.is_finished() => bar.suspend(write),
        _ => write(),
    }
}
