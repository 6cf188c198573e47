//! The `larder` program: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    larder::cli::run(std::env::args_os())
}
