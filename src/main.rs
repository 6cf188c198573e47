//! The `larder` program: parse, run, exit.

use std::io::Write;

fn main() {
    let status = larder::cli::run(std::env::args_os());
    let _ = std::io::stdout().flush();
    // At once: a thread that still reads, for a mount that is in use, must not meet what exit handlers have destroyed.
    signal_hook::low_level::exit(status.into())
}
