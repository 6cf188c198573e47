//! What -v tells: where the time goes and what was decided. Only Larder's own lines; names are escaped.

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::events::{self, Event};
use super::output::escaped;
use super::stderr;

/// Writes the log to standard error.
struct Logger {
    json: bool,
}

/// Begins to log: -v tells decisions and what was written, -vv each step too.
pub(super) fn start(verbose: u8, json: bool) {
    let level = match verbose {
        0 => return,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    // A second logger in one process is refused; the first goes on.
    if log::set_boxed_logger(Box::new(Logger { json })).is_ok() {
        log::set_max_level(level);
    }
}

/// The module without the crate's name; nothing for what another crate says.
fn module<'a>(metadata: &Metadata<'a>) -> Option<&'a str> {
    let own = metadata.target().strip_prefix("larder")?;
    if own.is_empty() { Some("larder") } else { own.strip_prefix("::") }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level() && module(metadata).is_some()
    }

    fn log(&self, record: &Record) {
        let Some(module) = module(record.metadata()).filter(|_| self.enabled(record.metadata())) else { return };
        let text = record.args().to_string();
        if self.json {
            let level = record.level().as_str().to_lowercase();
            events::emit(&Event::Log { level, module: module.to_owned(), text, elapsed: events::elapsed() });
            return;
        }
        let mark = if record.level() <= Level::Warn { format!("{}: ", record.level()) } else { String::new() };
        stderr::line(&format!("[{:9.3}s {module}] {mark}{}", events::elapsed(), escaped(&text)));
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_lines() {
        let of = |target: &'static str| module(&Metadata::builder().target(target).build()).map(str::to_owned);
        assert_eq!(of("larder::store::write").as_deref(), Some("store::write"));
        assert_eq!(of("larder").as_deref(), Some("larder"));
        assert_eq!(of("larderous::x"), None);
        assert_eq!(of("age::primitives"), None);
    }
}
