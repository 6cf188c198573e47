//! Streams to be captured: standard input, or what a command prints.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::output::Output;

/// How long a read waits before it asks whether the user wants the work stopped.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How long a command that is stopped has to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How long a command may have ended with its output still open before that is told.
const LINGERING: Duration = Duration::from_secs(5);

/// A descriptor that is read from until the user wants the work stopped, even if nothing comes.
#[derive(Debug)]
struct Interruptible {
    file: File,
    stop: Arc<AtomicBool>,
}

impl Interruptible {
    /// Reads what is there within [`WAIT`]; nothing if there was none.
    fn read_soon(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        if poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&WAIT))? > 0 {
            return self.file.read(buffer).map(Some);
        }
        Ok(None)
    }
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(got) = self.read_soon(buffer)? {
                return Ok(got);
            }
        }
    }
}

/// Standard input.
#[derive(Debug)]
pub(super) struct StandardInput(Interruptible);

impl StandardInput {
    pub(super) fn new(stop: Arc<AtomicBool>) -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self(Interruptible { file, stop }))
    }
}

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("standard input cannot be read: {e}"));
        self.0.read(buffer).map_err(named)
    }
}

/// What a command prints. It is started when it is first read from, so that it need not wait for the store; the stream ends
/// well only if the command did, so that half a dump never becomes a snapshot.
#[derive(Debug)]
pub(super) struct CommandOutput {
    words: Vec<OsString>,
    stop: Arc<AtomicBool>,
    out: Output,
    running: Option<Running>,
    ended: bool,
}

#[derive(Debug)]
struct Running {
    output: Interruptible,
    child: Child,
    /// The group that the command leads, if it has one of its own. Until it is waited for, the number is nobody else's.
    group: Option<Pid>,
    /// Since when the command has ended while something still holds its output.
    lingers: Option<Instant>,
    told: bool,
}

impl Running {
    /// How the command ended, if it has: true if well. It is not yet waited for.
    fn ended(&self) -> Option<bool> {
        let pid = Pid::from_child(&self.child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // Where it cannot be asked for, waiting for it tells why.
        waitid(WaitId::Pid(pid), options).map_or(Some(false), |found| found.map(|s| s.exit_status() == Some(0)))
    }

    /// True if nobody can write any more.
    fn hung_up(&self) -> bool {
        let mut output = [PollFd::new(&self.output.file, PollFlags::empty())];
        poll(&mut output, Some(&Timespec::default())).is_ok() && output[0].revents().contains(PollFlags::HUP)
    }

    /// Stops the command and what it started: first in kindness.
    fn stop(mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::TERM);
            let begun = Instant::now();
            while begun.elapsed() < GRACE && !(self.ended().is_some() && self.hung_up()) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl CommandOutput {
    /// Of these words the first is the program.
    pub(super) fn new(words: Vec<OsString>, stop: Arc<AtomicBool>, out: Output) -> Self {
        Self { words, stop, out, running: None, ended: false }
    }

    fn name(&self) -> String {
        self.words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn start(&self) -> io::Result<Running> {
        let (program, arguments) = self.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let cannot = |e: io::Error| io::Error::new(e.kind(), format!("the command {} cannot be run: {e}", self.name()));
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped());
        // On a terminal the command stays in the foreground: it may ask for a password, and Ctrl-C reaches all that it started.
        let own_group = !io::stdin().is_terminal();
        if own_group {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(cannot)?;
        let group = own_group.then(|| Pid::from_child(&child));
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let file = File::from(OwnedFd::from(output));
        Ok(Running {
            output: Interruptible { file, stop: self.stop.clone() },
            child,
            group,
            lingers: None,
            told: false,
        })
    }

    /// Nothing came for a while: false if the command has failed, so that what may still come does not matter. If it has ended well
    /// and something holds its output, the user is told once what is waited for.
    fn lingers_well(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Some(well) = running.ended() else { return true };
        if let (false, Some(group)) = (well, running.group) {
            let _ = kill_process_group(group, Signal::TERM);
        }
        let since = *running.lingers.get_or_insert_with(Instant::now);
        if well && !running.told && since.elapsed() >= LINGERING {
            running.told = true;
            let text = "the command has ended, but something it started still holds its output; it is read on";
            self.out.remark(&format!("larder: {text}"));
        }
        well
    }

    /// Waits for the command and tells if it failed.
    fn end(&mut self) -> io::Result<()> {
        // It may have closed its output and work on.
        while self.running.as_ref().is_some_and(|running| running.ended().is_none()) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let status = running.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("the command {} failed: {status}", self.name())))
    }
}

impl Read for CommandOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        if self.running.is_none() {
            self.running = Some(self.start()?);
        }
        let got = loop {
            let Some(running) = &mut self.running else { break 0 };
            if let Some(got) = running.output.read_soon(buffer)? {
                break got;
            }
            if !self.lingers_well() {
                break 0;
            }
        };
        if got == 0 {
            self.ended = true;
            self.end()?;
        }
        Ok(got)
    }
}

impl Drop for CommandOutput {
    /// Nobody reads on: the capture has failed or was stopped.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}
