//! The one way to standard error: whole lines, beside a progress bar and not through it.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, WeakProgressBar};

static BAR: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

thread_local! {
    /// This thread has put the bar aside already: to do it again would wait for itself.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// From here on lines are written beside this bar, as long as it lives.
pub(super) fn beside(bar: &ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
}

/// Does something that prints, with the bar out of the way.
pub(super) fn aside<T>(print: impl FnOnce() -> T) -> T {
    // While the bar is aside even a question to it would wait for itself.
    if ASIDE.get() {
        return print();
    }
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    match bar.filter(|bar| !bar.is_finished()) {
        Some(bar) => {
            ASIDE.set(true);
            let printed = bar.suspend(print);
            ASIDE.set(false);
            printed
        }
        None => print(),
    }
}

/// Writes a line. That nobody may be there to read it is no failure.
pub(super) fn line(text: &str) {
    aside(|| {
        // One write for the whole line: lines of several threads do not mix.
        let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prints_beside_the_bar_may_do_so_again() {
        let bar = ProgressBar::hidden();
        beside(&bar);
        assert_eq!(aside(|| aside(|| 7)), 7);
        assert!(!ASIDE.get());
    }
}
