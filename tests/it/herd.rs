//! Processes beside each other, and who kills and stops them at random.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::pick;

/// A process that takes longer hangs: nothing here takes more than a second or two on a quiet machine.
const LIMIT: Duration = Duration::from_mins(3);

/// All of them.
#[derive(Default)]
pub(crate) struct Herd {
    members: Mutex<Vec<Arc<Member>>>,
    /// Processes begun, those killed by the chaos, those stopped for a while.
    pub(crate) begun: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) stops: AtomicU64,
}

/// One of them.
pub(crate) struct Member {
    child: Mutex<Child>,
    killed: AtomicBool,
}

/// How one ended.
pub(crate) struct Ended {
    /// Exit status; nothing if it was killed.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Member {
    /// Sends a signal, unless the process has ended. It is not waited for meanwhile: the number is still its own.
    fn signal(&self, signal: Signal) -> bool {
        let mut child = self.child.lock().unwrap();
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        if signal == Signal::KILL {
            self.killed.store(true, Ordering::SeqCst);
        }
        kill_process(Pid::from_child(&child), signal).is_ok()
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(crate) fn was_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits for its end; nothing if it hangs.
    pub(crate) fn wait(&self) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(4));
        }
        None
    }

    /// Where its threads are, for who looks for the reason why it hangs.
    pub(crate) fn stacks(&self) -> String {
        let id = self.child.lock().unwrap().id();
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        let read = |task: std::fs::DirEntry| {
            let part = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            format!("{} {}: {}", part("comm").trim(), part("wchan"), part("stack").replace('\n', " < "))
        };
        tasks.map(read).collect::<Vec<_>>().join("; ")
    }
}

impl Ended {
    /// All of it in words.
    pub(crate) fn told(&self) -> String {
        format!("exit {:?}: {}{}", self.status, self.stderr, String::from_utf8_lossy(&self.stdout))
    }
}

impl Herd {
    /// Begins one.
    pub(crate) fn begin(&self, command: &mut Command) -> Arc<Member> {
        let child = Mutex::new(command.spawn().unwrap());
        let member = Arc::new(Member { child, killed: AtomicBool::new(false) });
        let mut members = self.members.lock().unwrap();
        members.retain(|member| member.ended().is_none());
        members.push(member.clone());
        self.begun.fetch_add(1, Ordering::Relaxed);
        member
    }

    /// Runs one to its end.
    ///
    /// # Errors
    /// If it hangs, or panics: what it is.
    pub(crate) fn run(&self, command: &mut Command) -> Result<Ended, String> {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let member = self.begin(command);
        let status = member.wait().ok_or_else(|| format!("{what} hangs: {}", member.stacks()))?;
        let stderr = String::from_utf8_lossy(&all(&mut err)).into_owned();
        if stderr.contains("panicked at") || status.signal().is_some_and(|signal| signal != 9) {
            return Err(format!("{what}: {status}: {stderr}"));
        }
        Ok(Ended { status: status.code(), stdout: all(&mut out), stderr })
    }

    /// True if one that was begun with this argument has not ended.
    pub(crate) fn has(&self, argument: &Path) -> bool {
        let is_it = |member: &Arc<Member>| {
            let id = member.child.lock().unwrap().id();
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            member.ended().is_none()
                && line.split(|byte| *byte == 0).any(|word| word == argument.as_os_str().as_bytes())
        };
        self.members.lock().unwrap().iter().any(is_it)
    }

    /// Kills some and stops some for a while, until it is over.
    pub(crate) fn chaos(&self, seed: u64, goes_on: impl Fn() -> bool) {
        for turn in 0u64.. {
            let dice = |what, end| pick(seed, turn * 8 + what, end);
            std::thread::sleep(Duration::from_millis(50 + dice(0, 350)));
            if !goes_on() {
                return;
            }
            let members = self.members.lock().unwrap().clone();
            let Some(member) = members.get(dice(1, members.len() as u64) as usize) else { continue };
            if dice(2, 10) < 7 {
                self.kills.fetch_add(u64::from(member.signal(Signal::KILL)), Ordering::Relaxed);
            } else if member.signal(Signal::STOP) {
                self.stops.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(dice(3, 400)));
                member.signal(Signal::CONT);
            }
        }
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        for member in self.members.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner) {
            member.kill();
        }
    }
}

fn all(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}
