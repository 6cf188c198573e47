//! Going on in the background: the same command is started once more, says when it is ready, and leaves the terminal.
//!
//! Started anew, not forked: threads and locks do not survive a fork. It asks for passphrases and tells of failures on the
//! terminal like any command, until it is ready.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::OFlags;

use crate::model::Kind;

use super::error::CliError;
use super::output::Output;
use super::{folders, fstab};

/// Set for the process that goes on in the background.
const MARK: &str = "LARDER_IN_BACKGROUND";

/// True in the process that shall go on in the background.
pub(super) fn is_child() -> bool {
    std::env::var_os(MARK).is_some_and(|pid| pid.as_bytes() == parent().as_bytes())
}

/// The process that started this one: a mark that was inherited from further up means nothing.
fn parent() -> String {
    rustix::process::getppid().map_or_else(String::new, |pid| pid.as_raw_nonzero().to_string())
}

/// Starts this command again; gives the line that it prints when it is ready.
///
/// # Errors
/// If it ends before; it has said why.
pub(super) fn start(out: &Output) -> Result<String, CliError> {
    let failed = |e| CliError::new(Kind::Failed, format!("cannot start the mount in the background: {e}"));
    let program = std::env::current_exe().map_err(failed)?;
    let arguments = fstab::arguments(std::env::args_os().collect());
    let mut command = Command::new(program);
    command.args(arguments.iter().skip(1)).env(MARK, std::process::id().to_string()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line).map_err(failed)?;
        // To its end, which is when the other has let go of this terminal: see `Log::detach`.
        std::io::copy(&mut stdout, &mut std::io::sink()).map_err(failed)?;
    }
    let is_error = line.starts_with("{\"error\"");
    if line.ends_with('\n') && !is_error {
        return Ok(line);
    }
    let status = child.wait().map_err(failed)?;
    if is_error {
        out.raw(line.as_bytes())?;
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1);
    Err(CliError { silent: Some(code), ..CliError::new(Kind::Failed, "the mount did not come up") })
}

/// Where a process in the background tells what it has to tell.
pub(super) struct Log {
    file: File,
    path: Option<PathBuf>,
}

impl Log {
    /// The file that was named, or one for the mount point in the state folder. Lines are added to what is there.
    pub(super) fn open(named: Option<PathBuf>, mountpoint: &Path) -> Result<Self, CliError> {
        // A pipe that nobody reads is an error at once.
        let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let open =
            |path: &Path| OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(nonblock).open(path);
        if let Some(named) = named {
            let path = std::path::absolute(&named).unwrap_or(named);
            let file = open(&path)
                .map_err(|e| CliError::new(Kind::Failed, format!("cannot write the log {}: {e}", path.display())))?;
            return Ok(Self { file, path: Some(path) });
        }
        let folder = folders::client_dirs().state.join("mounts");
        let path = folder.join(file_name(mountpoint));
        if std::fs::create_dir_all(&folder).is_ok()
            && let Ok(file) = open(&path)
        {
            return Ok(Self { file, path: Some(path) });
        }
        // Nowhere to write: a mount is worth more than its log.
        let file = OpenOptions::new().write(true).open("/dev/null").map_err(|e| CliError::output(&e))?;
        Ok(Self { file, path: None })
    }

    /// Where it is, if anywhere.
    pub(super) fn path(&self) -> Option<String> {
        self.path.as_ref().map(|path| path.display().to_string())
    }

    /// Leaves the terminal, whose end would else end this process: before whoever waits is told that all is ready.
    pub(super) fn leave_terminal(&self) {
        let _ = rustix::process::setsid();
        // No other mount shall be busy for our sake.
        let _ = std::env::set_current_dir("/");
    }

    /// Takes away a log that says nothing, of what never came up.
    pub(super) fn remove_if_empty(&self) {
        if let Some(path) =
            self.path.as_ref().filter(|_| self.file.metadata().is_ok_and(|m| m.is_file() && m.len() == 0))
        {
            let _ = std::fs::remove_file(path);
        }
    }

    /// What is told from here on goes to the log.
    pub(super) fn detach(&self) {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let nothing = null.as_ref().unwrap_or(&self.file);
        let _ = rustix::stdio::dup2_stderr(&self.file);
        let _ = rustix::stdio::dup2_stdin(nothing);
        // Last, since whoever waits goes on when this closes.
        let _ = rustix::stdio::dup2_stdout(nothing);
    }
}

/// The mount point's path as a file name.
fn file_name(mountpoint: &Path) -> PathBuf {
    let path = std::path::absolute(mountpoint).unwrap_or_else(|_| mountpoint.to_owned());
    let text = path.to_string_lossy();
    let name = text.trim_matches('/').replace('-', "--").replace('/', "-").replace(|c: char| c.is_control(), "_");
    let cut: String = name.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
    PathBuf::from(format!("{}.log", if cut.is_empty() { "root" } else { &cut }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_named_for_its_mount_point() {
        for (point, name) in
            [("/mnt", "mnt.log"), ("/srv/a b/c", "srv-a b-c.log"), ("/srv/a-b", "srv-a--b.log"), ("/", "root.log")]
        {
            assert_eq!(file_name(Path::new(point)), PathBuf::from(name));
        }
        assert!(file_name(Path::new(&"/long".repeat(100))).as_os_str().len() <= 64);
    }
}
