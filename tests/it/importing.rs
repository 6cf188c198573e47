//! Imports: what a snapshot was, or an archive of somebody else's holds, becomes a snapshot, whole or not at all.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::keys::member;
use crate::mounting::Mount;
use crate::sandbox::{Ran, Sandbox, compare, model, noise};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a Python script with arguments.
fn python(script: &str, arguments: &[&Path]) {
    Ran::of(Command::new("python3").args(["-c", script]).args(arguments)).done();
}

/// What Python scripts begin with: `t` is a tar at the first argument, `add` puts a member in.
const TAR: &str = "
import sys, tarfile, io
t = tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT)
def add(name, kind=tarfile.REGTYPE, data=b'', link='', mode=0o644, mtime=1700000000, **more):
    i = tarfile.TarInfo(name)
    i.type, i.size, i.linkname, i.mode, i.mtime = kind, len(data), link, mode, mtime
    for key, value in more.items(): setattr(i, key, value)
    t.addfile(i, io.BytesIO(data))
";

fn tar(sandbox: &Sandbox, name: &str, members: &str) -> std::path::PathBuf {
    let path = sandbox.path(name);
    python(&format!("{TAR}\n{members}\nt.close()\n"), &[&path]);
    path
}

/// The awkward tree of the other tests, in a folder of the sandbox.
fn awkward(sandbox: &Sandbox) -> std::path::PathBuf {
    assert!(rustix::process::geteuid().is_root(), "owners and devices: this test runs as root");
    let source = sandbox.path("awkward");
    let mut script = sandbox.client().command("python3");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/awkward.py")).arg(&source).arg("--quick");
    Ran::of(&mut script).done();
    source
}

fn same_by_rsync(sandbox: &Sandbox, a: &Path, b: &Path) {
    for (from, to) in [(a, b), (b, a)] {
        let mut rsync = sandbox.client().command("rsync");
        rsync.args(["-aHAXSnc", "--modify-window=-1", "-i", "--delete", "--exclude=/deep"]);
        rsync.arg(format!("{}/", text(from))).arg(format!("{}/", text(to)));
        assert_eq!(String::from_utf8_lossy(&Ran::of(&mut rsync).ended(0).stdout), "");
    }
}

#[test]
fn a_tar_of_the_awkward_tree_is_that_tree_again() {
    let sandbox = Sandbox::with_store();
    let source = awkward(&sandbox);
    sandbox.snapshot(&source, "awkward").done();
    let (pack, out) = (sandbox.path("t.tar.zst"), sandbox.path("out"));
    let _ran = sandbox.larder(["export", "--bare", "awkward", "-o", text(&pack), "--accept-loss"]).ended(0);
    sandbox.larder(["import", text(&pack)]).done();
    let shown = sandbox.larder(["show", "t", "--json"]).json();
    assert_eq!(shown["kind"], "import");
    assert_eq!(shown["origin"]["archive"], "t.tar.zst");
    sandbox.larder(["restore", "t", text(&out)]).done();
    same_by_rsync(&sandbox, &source, &out);
    // A second import finds that nothing has changed.
    let told = sandbox.larder(["import", text(&pack), "--skip-if-unchanged", "--json"]).json();
    assert_eq!((&told["snapshots"][0]["skipped"], &told["snapshots"][0]["dataset"]), (&true.into(), &"t".into()));
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn members_may_come_in_any_order() {
    let sandbox = Sandbox::with_store();
    let pack = tar(
        &sandbox,
        "chaos.tar",
        "
add('z/last', data=b'z' * 100)
add('b/first', data=b'first' * 1000, mode=0o600)
add('a/name', tarfile.LNKTYPE, link='b/first')
add('b/name2', tarfile.LNKTYPE, link='a/name')
add('m/n/o/p', data=b'deep', mtime=1500000000)
add('a', tarfile.DIRTYPE, mode=0o700, mtime=1600000000)
add('m/n', tarfile.DIRTYPE, mode=0o750, mtime=1600000001)
add('link', tarfile.SYMTYPE, link='b/first')
add('a-b', data=b'between a and a/name for some')
add('pipe', tarfile.FIFOTYPE)
add('long', data=bytes(range(256)) * 40000)
",
    );
    sandbox.larder(["import", text(&pack)]).done();
    let out = sandbox.path("out");
    sandbox.larder(["restore", "chaos", text(&out)]).done();
    let found = model(&out);
    let paths: Vec<_> = found.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(
        paths,
        [
            "", "a", "a-b", "a/name", "b", "b/first", "b/name2", "link", "long", "m", "m/n", "m/n/o", "m/n/o/p",
            "pipe", "z", "z/last"
        ]
    );
    let has = |path: &str, words: &str| {
        assert!(found[path.as_bytes()].contains(words), "{path}: {}", found[path.as_bytes()]);
    };
    has("a", "40000 700 1600000000");
    // A folder that nothing is told of has the newest time in it.
    has("m/n", "40000 750 1600000001");
    has("m/n/o", "40000 755 1500000000");
    has("b/name2", "linked to \"a/name\"");
    has("a/name", "100000 600");
    let shown = sandbox.larder(["show", "chaos", "--json"]).json();
    assert_eq!((&shown["files"], &shown["folders"], &shown["others"]), (&7.into(), &6.into(), &2.into()));
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn an_order_that_memory_cannot_hold_is_sorted_all_the_same() {
    let sandbox = Sandbox::with_open_store();
    // Back to front, so many that they do not fit into the memory of one run.
    let pack = tar(
        &sandbox,
        "many.tar",
        "
for n in range(90000, 0, -1):
    add('%03d/%05d-%s' % (n % 300, n, 'x' * 100), data=b'%d' % (n % 50))
",
    );
    let mut command = sandbox.client().command("/usr/bin/time");
    command.args(["-f", "%M", env!("CARGO_BIN_EXE_larder"), "--store"]).arg(sandbox.store());
    let ran = Ran::of(command.args(["import", "-q", text(&pack)])).ended(0);
    let peak: u64 = ran.stderr.trim().lines().last().unwrap().parse().unwrap();
    assert!(peak < 300 << 10, "{peak} KiB");
    let shown = sandbox.larder(["show", "many", "--json"]).json();
    assert_eq!((&shown["files"], &shown["folders"]), (&90_000.into(), &300.into()));
    let listed = sandbox.larder(["ls", "many:007"]).ended(0).stdout;
    assert_eq!(listed.split(|b| *b == b'\n').count() - 1, 300);
    assert_eq!(fs::read_dir(sandbox.store().join("tmp")).unwrap().count(), 0);
    sandbox.larder(["verify"]).done();
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_imported() {
    let sandbox = Sandbox::with_store();
    for (name, members, word) in [
        ("twice.tar", "add('a/b', data=b'1'); add('c'); add('a/b', data=b'2')", "a/b"),
        ("through.tar", "add('a', data=b'1'); add('a/b', data=b'2')", "a/b"),
        ("nothing.tar", "add('ok'); add('b', tarfile.LNKTYPE, link='nowhere')", "nowhere"),
        ("folder.tar", "add('d', tarfile.DIRTYPE); add('b', tarfile.LNKTYPE, link='d')", "b"),
        ("up.tar", "add('ok'); add('../evil', data=b'1')", "evil"),
        ("absolute.tar", "add('ok'); add('/evil', data=b'1')", "evil"),
        ("long.tar", "add('n' * 256, data=b'1')", "nnn"),
    ] {
        let pack = tar(&sandbox, name, members);
        sandbox.larder(["import", text(&pack)]).refused(13, word);
    }
    let whole = tar(&sandbox, "whole.tar", "add('a', data=bytes(3000000)); add('b')");
    let bytes = fs::read(&whole).unwrap();
    fs::write(sandbox.path("cut.tar"), &bytes[..2_000_000]).unwrap();
    sandbox.larder(["import", text(&sandbox.path("cut.tar"))]).refused(13, "a");
    fs::write(sandbox.path("text"), "no archive\n".repeat(100)).unwrap();
    sandbox.larder(["import", text(&sandbox.path("text"))]).refused(2, "archive");
    sandbox.larder(["import", text(&sandbox.path("none"))]).refused(10, "none");
    let list: Vec<String> = sandbox.larder(["list", "--json"]).ids();
    assert_eq!(list, [""; 0]);
    sandbox.larder(["verify"]).done();
}

#[test]
fn a_zip_and_what_comes_through_a_pipe_are_imported_too() {
    let sandbox = Sandbox::with_store();
    let zip = sandbox.path("photos.zip");
    python(
        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)\n\
         z.writestr('holiday/one.txt', 'one' * 1000)\nz.writestr('holiday/two.txt', 'two')\nz.close()\n",
        &[&zip],
    );
    sandbox.larder(["import", text(&zip)]).done();
    let from = |script: &str, arguments: &[&str]| {
        let store = sandbox.store();
        let mut command = sandbox.client().command("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_larder"), text(&store), text(&zip)]).args(arguments);
        Ran::of(&mut command)
    };
    from("cat \"$3\" | \"$1\" -s \"$2\" import - -d piped", &[]).done();
    from("\"$1\" -s \"$2\" import - -d redirected < \"$3\"", &[]).done();
    for dataset in ["photos", "piped", "redirected"] {
        let cat = sandbox.larder(["cat", &format!("{dataset}:holiday/one.txt")]).ended(0);
        assert!(cat.stdout == "one".repeat(1000).as_bytes(), "{dataset}");
    }
    let trees: Vec<_> = ["photos", "piped", "redirected"]
        .map(|name| sandbox.larder(["show", name, "--json"]).json()["tree"].clone())
        .to_vec();
    assert!(trees[0] == trees[1] && trees[1] == trees[2]);
    let foretold = sandbox.larder(["import", text(&zip), "--dry-run", "--json"]).json();
    assert_eq!((&foretold["dry_run"], &foretold["snapshots"][0]["dataset"]), (&true.into(), &"photos".into()));
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 3);
}

#[test]
fn a_writer_key_imports() {
    let sandbox = Sandbox::with_store();
    let writer = member(&sandbox, "writer");
    let pack = tar(&sandbox, "w.tar", "add('a/b', data=b'hello')");
    writer.run(&sandbox.store(), ["import", text(&pack), "--label", "k=v", "--reason", "why"]).done();
    let shown = sandbox.larder(["show", "w", "--json"]).json();
    assert_eq!((&shown["labels"]["k"], &shown["reason"], &shown["files"]), (&"v".into(), &"why".into(), &1.into()));
}

#[test]
fn a_kill_or_an_interruption_leaves_the_store_as_it_was() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for n in 0..60 {
        fs::write(source.join(format!("file {n}")), noise(n, 500_000)).unwrap();
    }
    sandbox.snapshot(&source, "d").done();
    let pack = sandbox.path("t.tar");
    sandbox.larder(["export", "--bare", "d", "-o", text(&pack)]).done();
    let other = Sandbox::with_store();
    for (signal, after) in [("KILL", 20), ("KILL", 150), ("KILL", 400), ("INT", 100)] {
        let mut command = other.client().alone();
        command.arg("--store").arg(other.store()).args(["import", "-d", "d", text(&pack)]);
        let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        Ran::of(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string())).done();
        let ended = child.wait().unwrap();
        if !ended.success() {
            assert_eq!(other.larder(["list", "--json"]).ids(), [""; 0], "{signal} after {after} ms");
        }
        other.larder(["verify", "--read-data"]).done();
        if ended.success() {
            other.larder(["forget", "d"]).done();
        }
    }
    other.larder(["import", "-d", "d", text(&pack)]).done();
    let tree = |sandbox: &Sandbox| sandbox.larder(["stats", "d", "--json"]).json();
    let _ = (tree(&sandbox), tree(&other));
    let out = other.path("out");
    other.larder(["restore", "d", text(&out)]).done();
    compare(&model(&source), &model(&out)).unwrap();
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path("disk");
    fs::create_dir(&disk).unwrap();
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=60m", "tmpfs"], disk.clone());
    let run = |words: &[&str]| sandbox.client().run(&disk.join("store"), words);
    run(&["init"]).done();
    let pack = tar(
        &sandbox,
        "large.tar",
        "
import os
for n in range(100): add('f%d' % n, data=os.urandom(1000000))
",
    );
    let ran = run(&["import", text(&pack)]).ended(1);
    assert!(ran.stderr.to_lowercase().contains("space"), "{}", ran.stderr);
    assert_eq!(run(&["list", "--json"]).ids(), [""; 0]);
    run(&["verify"]).done();
    run(&["gc"]).done();
    let small = tar(&sandbox, "small.tar", "add('a', data=b'fits')");
    run(&["import", text(&small)]).done();
}

/// A sparse file costs nothing to send, and hours to sum up.
#[test]
fn an_import_of_a_hole_without_end_can_be_stopped() {
    let sandbox = Sandbox::with_store();
    let (file, pack) = (sandbox.path("hole"), sandbox.path("t.tar"));
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    Ran::of(Command::new("tar").args(["-S", "-cf"]).arg(&pack).arg("-C").arg(sandbox.path("")).arg("hole")).done();
    let mut command = sandbox.client().larder(&sandbox.store());
    let mut child = command.args(["import", text(&pack), "-q"]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let begun = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(40), "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), [""; 0]);
}
