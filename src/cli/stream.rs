//! Streams to be captured: standard input, or what a command prints.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a read waits before it asks whether the user wants the work stopped.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A descriptor that is read from until the user wants the work stopped, even if nothing comes.
#[derive(Debug)]
struct Interruptible {
    file: File,
    stop: Arc<AtomicBool>,
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped"));
            }
            if poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&WAIT))? > 0 {
                return self.file.read(buffer);
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
    running: Option<Running>,
    ended: bool,
}

#[derive(Debug)]
struct Running {
    output: Interruptible,
    child: Child,
}

impl CommandOutput {
    /// Of these words the first is the program.
    pub(super) fn new(words: Vec<OsString>, stop: Arc<AtomicBool>) -> Self {
        Self { words, stop, running: None, ended: false }
    }

    fn name(&self) -> String {
        self.words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn start(&self) -> io::Result<Running> {
        let (program, arguments) = self.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let cannot = |e: io::Error| io::Error::new(e.kind(), format!("the command {} cannot be run: {e}", self.name()));
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let file = File::from(OwnedFd::from(output));
        Ok(Running { output: Interruptible { file, stop: self.stop.clone() }, child })
    }

    /// Waits for the command and tells if it failed.
    fn end(&mut self) -> io::Result<()> {
        let Some(Running { output, mut child }) = self.running.take() else { return Ok(()) };
        drop(output);
        let status = child.wait()?;
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
        let got = self.running.as_mut().map_or(Ok(0), |r| r.output.read(buffer))?;
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
        if let Some(Running { output, mut child }) = self.running.take() {
            drop(output);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
