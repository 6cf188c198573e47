//! Where a mount is made, and where it is refused.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{Ran, Sandbox};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Something mounted that goes with the test.
pub(crate) struct Mount(PathBuf);

impl Mount {
    pub(crate) fn new(arguments: &[&str], at: PathBuf) -> Self {
        Ran::of(Command::new("mount").args(arguments).arg(&at)).done();
        Self(at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A mount of Larder's that ends with the test, whatever happens.
pub(crate) struct Mounted<'a> {
    process: Child,
    pub(crate) point: PathBuf,
    log: PathBuf,
    sandbox: &'a Sandbox,
}

impl<'a> Mounted<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox, name: &str, arguments: &[&str]) -> Self {
        Self::attempt(sandbox, name, arguments).unwrap_or_else(|why| panic!("the mount did not come up: {why}"))
    }

    /// The same where the mount may be refused: then what was said.
    pub(crate) fn attempt(sandbox: &'a Sandbox, name: &str, arguments: &[&str]) -> Result<Self, String> {
        assert!(Path::new("/dev/fuse").exists(), "mount tests need /dev/fuse");
        let (point, log) = (sandbox.path(name), sandbox.path(format!("{}.log", name.replace('/', "-"))));
        fs::create_dir_all(&point).unwrap();
        let mut command = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
        command.arg("--store").arg(sandbox.store()).arg("mount").args(arguments).arg(&point);
        let process = command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut mounted = Self { process, point, log, sandbox };
        let begun = Instant::now();
        while !fs::read_to_string("/proc/self/mounts").unwrap().contains(&text(&mounted.point).replace(' ', "\\040")) {
            if begun.elapsed() > Duration::from_secs(20) || mounted.process.try_wait().unwrap().is_some() {
                return Err(mounted.told());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(mounted)
    }

    /// What the process that serves it has said so far.
    pub(crate) fn told(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The process that serves it.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the process after the mount was taken away from outside. It goes on as long as a file in it is open.
    pub(crate) fn gone(mut self) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "the mount is gone, its process is not");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "{status}: {}", self.told());
    }

    /// Ends the process that serves it, as a crash would: the mount stays, dead.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        let begun = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            // A thread that was pushing a page, which the kernel keeps for a read that nobody answers any more, ends with the connection.
            if begun.elapsed() > Duration::from_secs(5) {
                let _busy = Command::new("umount").arg("-f").arg(&self.point).stderr(Stdio::null()).status();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn end(self) {
        self.sandbox.larder(["unmount", text(&self.point)]).done();
        self.gone();
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // It may be gone, or dead; then this fails, or clears it.
        let _ = Command::new("umount").arg("-l").arg(&self.point).stderr(Stdio::null()).status();
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// How many mounts are at a path.
fn mounts_at(path: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().filter(|line| line.split(' ').nth(1) == Some(text(path))).count()
}

/// A try that should be refused; is it not, it is ended after a while.
fn mount(sandbox: &Sandbox, at: &Path) -> Ran {
    let mut command = sandbox.client().command("timeout");
    command.args(["5", env!("CARGO_BIN_EXE_larder"), "--store", text(&sandbox.store()), "mount", text(at)]);
    Ran::of(&mut command)
}

#[test]
fn nothing_is_mounted_over_a_mount_of_larders() {
    let sandbox = Sandbox::with_store();
    let mounted = Mounted::new(&sandbox, "mnt", &[]);
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(&mounted.point, &link).unwrap();
    for at in [&mounted.point, &link] {
        let ran = mount(&sandbox, at).ended(2);
        for word in
            [&format!("{} has a mount of larder:", text(&mounted.point)), "nothing was mounted", "larder unmount"]
        {
            assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        }
    }
    assert_eq!(mounts_at(&mounted.point), 1);
    assert!(mounted.point.join("snapshots").is_dir());
    mounted.end();
}

#[test]
fn a_dead_mount_is_told_with_the_command_that_clears_it() {
    let sandbox = Sandbox::with_store();
    let mut mounted = Mounted::new(&sandbox, "mnt dead", &[]);
    mounted.kill();
    let clears = format!("larder unmount '{}'", text(&mounted.point));
    for at in [mounted.point.clone(), mounted.point.join("below")] {
        let ran = mount(&sandbox, &at).ended(2);
        assert!(ran.stderr.contains("is dead") && ran.stderr.contains(&clears), "{}", ran.stderr);
    }
    Ran::of(sandbox.client().command("sh").args(["-c", &format!("{} {}", env!("CARGO_BIN_EXE_larder"), &clears[7..])]))
        .done();
    assert_eq!(mounts_at(&mounted.point), 0);
    fs::read_dir(&mounted.point).unwrap();
}

#[test]
fn what_a_mount_hides_is_told() {
    let sandbox = Sandbox::with_store();
    let (empty, full) = (sandbox.path("empty"), sandbox.path("full"));
    fs::create_dir_all(full.join("something")).unwrap();
    fs::create_dir(&empty).unwrap();
    let _tmpfs = Mount::new(&["-t", "tmpfs", "none"], empty.clone());
    for (at, told) in [(&empty, false), (&full, true)] {
        let mut command = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
        command.args(["--store", text(&sandbox.store()), "mount", text(at)]).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let before: Vec<_> = lines.by_ref().take_while(|line| !line.contains("mounted at")).collect();
        sandbox.larder(["unmount", text(at)]).done();
        assert!(process.wait().unwrap().success());
        assert_eq!(before.iter().any(|line| line.contains("is hidden as long as")), told, "{before:?}");
    }
}
