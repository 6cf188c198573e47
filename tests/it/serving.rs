//! How a mount serves: in the background, within a deadline, what it is asked once alone; what it tells about itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A mount in the background that goes with the test.
struct Served<'a> {
    sandbox: &'a Sandbox,
    point: PathBuf,
    ready: Value,
}

impl<'a> Served<'a> {
    fn new(sandbox: &'a Sandbox, arguments: &[&str]) -> Self {
        let point = sandbox.path("mnt");
        fs::create_dir_all(&point).unwrap();
        let ran = sandbox.larder(["mount", "--background", "--json", text(&point)].iter().chain(arguments)).ended(0);
        Self { sandbox, point, ready: serde_json::from_slice(&ran.stdout).unwrap() }
    }

    fn pid(&self) -> String {
        self.ready["pid"].to_string()
    }

    fn stats(&self) -> Value {
        let ran = self.sandbox.larder(["mount", "--stats", "--json", text(&self.point)]).ended(0);
        serde_json::from_slice(&ran.stdout).unwrap()
    }

    /// Requests so far; what asking and `find`'s own look at the file system cost is left out.
    fn requests(&self) -> u64 {
        let stats = self.stats();
        let of = |name: &str| stats["requests"][name].as_u64().unwrap_or(0);
        stats["total"].as_u64().unwrap() - of("getxattr") - of("statfs")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.ready["log"].as_str().unwrap()).unwrap()
    }

    fn is_served(&self) -> bool {
        Path::new("/proc").join(self.pid()).exists()
    }

    /// Bytes of the file of leases that its process has locked.
    fn leases(&self) -> Vec<u64> {
        let inode = fs::metadata(self.sandbox.store().join("leases/snapshots")).unwrap().ino();
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let of_ours = locks.lines().filter(|line| line.contains(&format!(":{inode} ")));
        let ranges =
            of_ours.map(|line| line.rsplit(' ').take(2).map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>());
        let mut all: Vec<_> = ranges.flat_map(|range| range[1]..=range[0]).collect();
        all.sort_unstable();
        all
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).stderr(Stdio::null()).status();
        wait_for("the end of the process", || !self.is_served());
    }
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(15), "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder of folders of files, one of them of several chunks.
fn tree(sandbox: &Sandbox) -> PathBuf {
    let source = sandbox.path("source");
    for folder in 0..10 {
        fs::create_dir_all(source.join(format!("d{folder}/below"))).unwrap();
        for file in 0..20 {
            fs::write(source.join(format!("d{folder}/f{file}")), format!("{folder} {file}").repeat(500)).unwrap();
        }
        symlink("../f3", source.join(format!("d{folder}/below/link"))).unwrap();
    }
    fs::write(source.join("big"), crate::sandbox::noise(5, 6_000_000)).unwrap();
    source
}

fn shell(command: &str) {
    Ran::of(Command::new("sh").args(["-c", command])).done();
}

#[test]
fn what_the_kernel_was_told_it_does_not_ask_again() {
    let sandbox = Sandbox::with_store();
    let source = tree(&sandbox);
    sandbox.snapshot(&source, "s").done();
    let served = Served::new(&sandbox, &["--snapshot", "s"]);
    let (point, copy) = (text(&served.point), text(&source));
    for command in [
        format!("find {point} -ls > /dev/null"),
        format!("tar cf - -C {point} . | cat > /dev/null"),
        format!("cat {point}/big {point}/d*/f* > /dev/null"),
        format!("rsync -a -n -i --delete {point}/ {copy}/"),
        format!("ls -lR {point} > /dev/null"),
        format!("stat {point}/absent 2>&1 | grep -q 'No such'"),
    ] {
        let before = served.requests();
        shell(&command);
        let first = served.requests();
        shell(&command);
        assert_eq!(served.requests(), first, "{command}: {before} requests before it, {}", served.stats());
    }
    let stats = served.stats();
    // A small file is one request, whoever reads it, or none if it was pushed.
    let [read, pushed] = [&stats["requests"]["read"], &stats["pushed"]].map(|count| count.as_u64().unwrap());
    assert!((200..330).contains(&(read + pushed)) && read < 150, "{stats}");
    assert_eq!(stats["requests"].get("getattr").and_then(Value::as_u64).unwrap_or(0) / 10, 0, "{stats}");
    assert!(stats["cached"].as_u64().unwrap() <= stats["cache_size"].as_u64().unwrap(), "{stats}");
}

#[test]
fn small_files_are_pushed_to_who_walks_and_to_nobody_else() {
    let sandbox = Sandbox::with_store();
    let source = tree(&sandbox);
    sandbox.snapshot(&source, "s").done();
    let served = Served::new(&sandbox, &["--snapshot", "s"]);
    let (point, copy) = (text(&served.point), text(&source));
    let pushed = || served.stats()["pushed"].as_u64().unwrap();
    // Lists, and reads here and there.
    shell(&format!(
        "find {point} -ls > /dev/null; cat {point}/d7/f1 {point}/d2/f5 {point}/d9/f0 {point}/d4/f8 > /dev/null"
    ));
    assert_eq!(pushed(), 0, "{}", served.stats());
    shell(&format!("test $(tar -cf - -C {point} . | wc -c) = $(tar -cf - -C {copy} . | wc -c)"));
    let reads = served.stats()["requests"]["read"].as_u64().unwrap();
    assert!(pushed() > 100 && reads < 100, "{}", served.stats());
    shell(&format!("diff -r {point} {copy}"));
    assert_eq!(served.stats()["requests"]["read"], reads, "what was pushed is asked for no more");
    // What the kernel gave up it is pushed again, and what is wrong with that shows to nobody.
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    shell(&format!("diff -r {point} {copy}"));
}

#[test]
fn in_the_background_it_says_when_it_can_be_used_and_why_not() {
    let sandbox = Sandbox::with_store();
    sandbox.snapshot(&tree(&sandbox), "s").done();
    let served = Served::new(&sandbox, &[]);
    assert_eq!(fs::read_link(served.point.join("datasets/s/latest/d1/below/link")).unwrap(), Path::new("../f3"));
    let stat = fs::read_to_string(format!("/proc/{}/stat", served.pid())).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session, served.pid(), "it has left the terminal");
    for (number, leads_to) in [(0, "/dev/null"), (1, "/dev/null"), (2, served.ready["log"].as_str().unwrap())] {
        let led = fs::read_link(format!("/proc/{}/fd/{number}", served.pid())).unwrap();
        assert_eq!(led, Path::new(leads_to), "descriptor {number}");
    }
    shell(&format!("kill -USR1 {}", served.pid()));
    wait_for("the log line", || served.log().contains("requests in"));
    assert!(served.log().starts_with("20"), "a line begins with its time: {}", served.log());
    sandbox.larder(["unmount", text(&served.point)]).done();
    wait_for("the end", || !served.is_served());
    let ran = sandbox.larder(["mount", "--background", "/nowhere"]).ended(2);
    assert!(ran.stderr.contains("/nowhere cannot be a mount point") && ran.stdout.is_empty(), "{}", ran.stderr);
    let ran = sandbox.larder(["mount", "--background", "--json", "--snapshot", "none", text(&served.point)]).ended(10);
    assert_eq!(serde_json::from_slice::<Value>(&ran.stdout).unwrap()["error"]["kind"], "not_found");
    let ran = sandbox.larder(["mount", "--stats", text(&served.point)]).ended(10);
    assert!(ran.stderr.contains("nothing of Larder's is mounted"), "{}", ran.stderr);
    let ran = sandbox.larder(["mount", "--background", "--log", "/nowhere/log", text(&served.point)]).ended(1);
    assert!(ran.stderr.contains("cannot write the log /nowhere/log"), "{}", ran.stderr);
}

/// Delays each read of the mount's process, as a disk would that does not answer.
struct Stall(Child);

impl Stall {
    fn new(served: &Served) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pread64,preadv", "-e"]);
        command.arg("inject=pread64,preadv:delay_enter=60s").args(["-p", &served.pid()]);
        let stall = Self(command.spawn().unwrap());
        wait_for("strace", || {
            let status = fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
            !status.contains("TracerPid:\t0")
        });
        // Each of its threads is taken in turn.
        std::thread::sleep(Duration::from_millis(300));
        stall
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_waits_too_long_gets_an_error_and_who_is_killed_ends() {
    let sandbox = Sandbox::with_store();
    let source = tree(&sandbox);
    sandbox.snapshot(&source, "s").done();
    let served = Served::new(&sandbox, &["--snapshot", "s", "--deadline", "2"]);
    let stall = Stall::new(&served);
    let begun = Instant::now();
    // More at once than there are threads that take requests.
    let readers: Vec<_> = (0..30)
        .map(|n| {
            let file = served.point.join(format!("d{}/f{}", n % 10, n / 10));
            Command::new("cat").arg(file).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut killed = Command::new("cat").arg(served.point.join("big")).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    killed.kill().unwrap();
    killed.wait().unwrap();
    for reader in readers {
        let ended = reader.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("Input/output error"), "{said}");
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(served.log().contains("the store does not answer"), "{}", served.log());
    drop(stall);
    for name in ["d3/f7", "big"] {
        assert!(fs::read(served.point.join(name)).unwrap() == fs::read(source.join(name)).unwrap(), "{name}");
    }
    assert!(served.stats()["expired"].as_u64().unwrap() >= 30, "{}", served.stats());
}

#[test]
fn at_a_time_every_dataset_is_as_it_was() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let mut ids = Vec::new();
    let mut take = |dataset: &str, content: &str| {
        fs::write(source.join("file"), content).unwrap();
        let ran = sandbox.larder(["snapshot", text(&source), "--dataset", dataset, "--json"]).ended(0);
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
        ids.push(report["id"].as_str().unwrap()[..16].to_owned());
        report["arrival"].as_str().unwrap()[..19].to_owned()
    };
    let first = take("a", "1");
    std::thread::sleep(Duration::from_millis(1_100));
    take("b", "2");
    let second = take("a", "3");
    let served = Served::new(&sandbox, &[]);
    let at = |name: &str| served.point.join("at").join(name);
    assert_eq!(fs::read_dir(served.point.join("at")).unwrap().count(), 0);
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let with_dashes = first.replace(':', "-");
    for name in [format!("{first}Z"), format!("{with_dashes}Z"), first.clone()] {
        assert_eq!(names(&at(&name)), ["a"], "{name}");
        assert_eq!(fs::read_to_string(at(&name).join("a/file")).unwrap(), "1");
    }
    let now = format!("{second}Z");
    assert_eq!(names(&at(&now)), ["a", "b"]);
    assert_eq!(fs::read_link(at(&now).join("a")).unwrap(), Path::new("../../snapshots").join(&ids[2]));
    assert_eq!(names(&at("2001-01-01")), [""; 0]);
    for nonsense in ["yesterday", "latest", ".git", "2024-13-01"] {
        assert!(!at(nonsense).exists(), "{nonsense}");
    }
    // A time that is still to come changes as snapshots arrive.
    assert_eq!(fs::read_to_string(at("2200-01-01/a/file")).unwrap(), "3");
    fs::write(source.join("file"), "4").unwrap();
    sandbox.snapshot(&source, "a").done();
    wait_for("the new snapshot", || fs::read_to_string(at("2200-01-01/a/file")).unwrap() == "4");
    assert_eq!(names(&served.point.join("datasets/a")).len(), 4);
}

#[test]
fn what_is_looked_up_is_leased_and_what_is_listed_is_not() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for content in ["1", "2", "3"] {
        fs::write(source.join("file"), content).unwrap();
        sandbox.snapshot(&source, "s").done();
    }
    let served = Served::new(&sandbox, &[]);
    assert_eq!(fs::read_dir(served.point.join("snapshots")).unwrap().count(), 3);
    assert!(!sandbox.store().join("leases/snapshots").exists() || served.leases().is_empty());
    assert_eq!(fs::read_to_string(served.point.join("datasets/s/latest/file")).unwrap(), "3");
    assert_eq!((served.leases(), served.stats()["held"].as_u64()), (vec![3], Some(1)));
    shell(&format!("ls -l {}/snapshots/ > /dev/null", text(&served.point)));
    assert_eq!(served.leases(), [1, 2, 3]);
    drop(served);
    let served = Served::new(&sandbox, &["--snapshot", "s~1"]);
    assert_eq!(served.leases(), [2]);
}

#[test]
fn mount_and_fstab_find_a_helper() {
    let sandbox = Sandbox::with_store();
    sandbox.snapshot(&tree(&sandbox), "s").done();
    let (helper, point) = (sandbox.path("mount.fuse.larder"), sandbox.path("mnt"));
    symlink(env!("CARGO_BIN_EXE_larder"), &helper).unwrap();
    fs::create_dir(&point).unwrap();
    let source = format!("{}#s", text(&sandbox.store()));
    let identity = format!("rw,noauto,_netdev,identity={},uid=4711,gid=42", text(&sandbox.client().identity()));
    let ran = Ran::of(sandbox.client().command(&helper).args([
        &source,
        text(&point),
        "-n",
        "-o",
        &identity,
        "-t",
        "fuse.larder",
    ]));
    assert_eq!((ran.ended(0).stdout.as_slice(), fs::read_dir(&point).unwrap().count()), (&b""[..], 11));
    let file = fs::metadata(point.join("d1/f1")).unwrap();
    assert_eq!((file.uid(), file.gid()), (4711, 42));
    sandbox.larder(["unmount", text(&point)]).done();
    let bad = Ran::of(sandbox.client().command(&helper).args([&source, text(&point), "-o", "rw,umask=0"]));
    assert!(bad.ended(2).stderr.contains("\"umask=0\""));
}

#[test]
fn a_mount_outlives_the_terminal_that_it_was_made_on() {
    let sandbox = Sandbox::with_store();
    let point = sandbox.path("mnt");
    fs::create_dir(&point).unwrap();
    for _ in 0..6 {
        let command =
            format!("exec {} -s {} mount -b {}", env!("CARGO_BIN_EXE_larder"), text(&sandbox.store()), text(&point));
        let mut on_terminal = sandbox.client().command("script");
        Ran::of(on_terminal.args(["-qec", &command, "/dev/null"])).done();
        std::thread::sleep(Duration::from_millis(200));
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let row = table.lines().find(|row| row.split(' ').nth(1) == Some(text(&point)));
        assert_eq!(row.unwrap_or("nothing is mounted").split(' ').nth(2), Some("fuse.larder"));
        sandbox.larder(["unmount", text(&point)]).done();
    }
}

#[test]
fn a_mount_is_taken_away_though_its_process_does_not_answer() {
    let sandbox = Sandbox::with_store();
    let served = Served::new(&sandbox, &[]);
    // What the kernel was told of the root it keeps for a second.
    std::thread::sleep(Duration::from_millis(1_200));
    shell(&format!("kill -STOP {}", served.pid()));
    let ran = Ran::of(sandbox.client().larder(&sandbox.store()).args(["unmount", text(&served.point)]));
    shell(&format!("kill -CONT {}", served.pid()));
    let _ran = ran.ended(0);
    wait_for("the end", || !served.is_served());
}

#[test]
fn a_log_goes_where_it_does_no_harm() {
    let sandbox = Sandbox::with_store();
    let point = sandbox.path("mnt");
    fs::create_dir(&point).unwrap();
    let pipe = sandbox.path("pipe");
    shell(&format!("mkfifo {}", text(&pipe)));
    let try_log = |log: &Path| sandbox.larder(["mount", "-b", "--log", text(log), text(&point)]);
    for log in
        [sandbox.store().join("tip"), sandbox.store().join("db/log"), sandbox.client().identity(), point.join("log")]
    {
        let before = fs::read(&log).ok();
        let ran = try_log(&log).ended(2);
        assert!(ran.stderr.contains("the log"), "{}", ran.stderr);
        assert_eq!(fs::read(&log).ok(), before);
    }
    assert!(try_log(&pipe).ended(1).stderr.contains("cannot write the log"));
}
