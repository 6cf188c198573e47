//! The CLI with `shim.c` preloaded: it counts the operations that change files of the store, and ends or fails the n-th.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::sandbox::{Client, Ran};

/// The compiled shim; made once.
pub(crate) fn shim() -> &'static Path {
    static SHIM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/crash/shim.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&path)
            .args([source, "-ldl", "-lpthread"])
            .status();
        assert!(made.is_ok_and(|s| s.success()), "the shim does not compile: a C compiler `cc` is needed");
        (dir, path)
    });
    path
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Kill,
    KillInHalf,
    PowerCut,
    Fails { errno: i32, once: bool },
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

pub(crate) const FAILS_ONCE: Trouble = Trouble::Fails { errno: EIO, once: true };

pub(crate) const TROUBLES: [Trouble; 7] = [
    Trouble::Kill,
    Trouble::KillInHalf,
    Trouble::PowerCut,
    Trouble::Fails { errno: EIO, once: false },
    FAILS_ONCE,
    Trouble::Fails { errno: ENOSPC, once: false },
    Trouble::Fails { errno: ENOSPC, once: true },
];

impl Trouble {
    pub(crate) fn mode(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillInHalf => "half",
            Self::PowerCut => "cut",
            Self::Fails { once: false, .. } => "fail",
            Self::Fails { once: true, .. } => "fail-once",
        }
    }

    pub(crate) fn errno(self) -> i32 {
        if let Self::Fails { errno, .. } = self { errno } else { 0 }
    }
}

/// What the shim is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shimmed<'a> {
    /// See shim.c.
    pub(crate) mode: &'a str,
    pub(crate) errno: i32,
    /// The operation at which trouble begins.
    pub(crate) at: u64,
    /// Where it keeps what a power cut leaves; its log is beside it.
    pub(crate) image: &'a Path,
    /// Where a second is given the clock stands still at it, randomness is the same each time and addresses are, so that the same
    /// trouble on the same store leaves the same bytes.
    pub(crate) now: Option<u64>,
}

/// Runs the CLI with the shim; gives the operations too.
pub(crate) fn run_shimmed(client: &Client, store: &Path, args: &[&str], told: Shimmed<'_>) -> (Ran, Vec<String>) {
    let Shimmed { mode, errno, at, image, now } = told;
    let log = image.with_extension("log");
    for part in ["S", "D", "U"] {
        fs::create_dir_all(image.join(part)).unwrap();
    }
    let mut command = client.larder(store);
    if let Some(now) = now {
        command = at_the_same_addresses(&command);
        command.env("SHIM_NOW", now.to_string());
    }
    command.args(args);
    command.env("LD_PRELOAD", shim()).env("SHIM_ROOT", store).env("SHIM_MODE", mode).env("SHIM_LOG", &log);
    command.env("SHIM_AT", at.to_string()).env("SHIM_ERRNO", errno.to_string()).env("SHIM_IMAGE", image);
    let ran = Ran::of(&mut command);
    let lines = fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
    (ran, lines)
}

fn at_the_same_addresses(command: &Command) -> Command {
    let mut same = Command::new("setarch");
    same.arg("-R").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => same.env(name, value),
            None => same.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        same.current_dir(folder);
    }
    same
}
