//! What goes in comes out: a tree with every awkward thing, restored, mounted, exported and read by the independent reader.
//!
//! `tests/awkward.py` makes the tree, `tests/describe.py` says what a tree is, exact to the nanosecond and the hole. These
//! tests run as root, for owners and devices, and with /dev/fuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::mounting::Mounted;
use crate::sandbox::{Ran, Sandbox};

fn python(script: &str) -> Command {
    let mut command = Command::new(std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into()));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script));
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One captured awkward tree for all tests of this module.
struct Captured {
    sandbox: Sandbox,
    source: PathBuf,
    expected: String,
}

fn captured() -> &'static Captured {
    static CAPTURED: OnceLock<Captured> = OnceLock::new();
    CAPTURED.get_or_init(|| {
        assert!(rustix::process::geteuid().is_root(), "owners and devices: this test runs as root");
        let sandbox = Sandbox::with_store();
        let source = sandbox.path("awkward");
        Ran::of(python("awkward.py").arg(&source)).done();
        let expected = describe(&source);
        assert!(expected.lines().count() > 20_000);
        sandbox.larder(["snapshot", text(&source), "--dataset", "awkward"]).done();
        Captured { sandbox, source, expected }
    })
}

fn describe(folder: &Path) -> String {
    String::from_utf8(Ran::of(python("describe.py").arg("--holes").arg(folder)).ended(0).stdout).unwrap()
}

#[track_caller]
fn same(expected: &str, found: &str) {
    for (a, b) in expected.lines().zip(found.lines()) {
        assert_eq!(a, b);
    }
    assert_eq!(expected.lines().count(), found.lines().count());
}

/// rsync refuses paths beyond 4,096 bytes, on the source too: there `describe.py` alone compares.
#[track_caller]
fn rsync_sees_no_difference(source: &Path, other: &Path) {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXSnc", "--modify-window=-1", "--delete", "-i", "--exclude=/deep"]);
    rsync.arg(format!("{}/", text(source))).arg(format!("{}/", text(other)));
    let ran = Ran::of(&mut rsync).ended(0);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "");
}

#[test]
fn a_restored_tree_is_the_captured_one() {
    let c = captured();
    let dest = c.sandbox.path("restored");
    c.sandbox.larder(["restore", "--verify", "awkward", text(&dest)]).done();
    same(&c.expected, &describe(&dest));
    rsync_sees_no_difference(&c.source, &dest);
}

#[test]
fn an_exported_tar_gives_the_captured_tree_to_gnu_tar() {
    let c = captured();
    let (tar, twin, dest) = (c.sandbox.path("a.tar"), c.sandbox.path("b.tar"), c.sandbox.path("untarred"));
    c.sandbox.larder(["export", "--bare", "awkward", "-o", text(&tar)]).done();
    c.sandbox.larder(["export", "--bare", "awkward", "-o", text(&twin)]).done();
    assert!(fs::read(&tar).unwrap() == fs::read(&twin).unwrap(), "the same snapshot gives the same bytes");
    fs::create_dir(&dest).unwrap();
    let mut gnu = Command::new("tar");
    gnu.args(["--acls", "--xattrs", "--xattrs-include=*", "--exclude=./deep", "-xpf"]).arg(&tar).arg("-C").arg(&dest);
    let _gnu = Ran::of(&mut gnu).ended(0);
    let shallow = |text: &str| text.lines().filter(|l| !l.starts_with("b'deep")).collect::<Vec<_>>().join("\n");
    same(&shallow(&c.expected), &shallow(&describe(&dest)));
    rsync_sees_no_difference(&c.source, &dest);
    // GNU tar cannot make paths beyond 4,096 bytes; that they are in the tar whole, Python tells.
    let script = "import sys, tarfile\nt = tarfile.open(sys.argv[1])\nm = {m.name: m for m in t}\n\
                  d = [n for n in m if n.endswith('/bottom')]\nassert len(d) == 1 and len(d[0]) > 8000\n\
                  assert t.extractfile(m[d[0]]).read() == b'more than 8,000 bytes of path'\n\
                  assert m[d[0] + '-too'].linkname == d[0]\n";
    Ran::of(Command::new("python3").args(["-c", script]).arg(&tar)).done();
}

#[test]
fn an_exported_zip_has_every_file_folder_and_symlink() {
    let c = captured();
    let zip = c.sandbox.path("a.zip");
    let ran = c.sandbox.larder(["export", "--bare", "awkward", "-o", text(&zip)]).ended(3);
    for sort in ["owners", "times", "attributes", "holes", "hard-links", "special", "names"] {
        assert!(ran.stderr.contains(&format!("larder: {sort}: ")), "{sort} is not told: {}", ran.stderr);
    }
    let _accepted = c.sandbox.larder(["export", "--bare", "awkward", "-o", text(&zip), "--accept-loss"]).ended(0);
    Ran::of(python("unzipped.py").arg(&zip).arg(&c.source)).done();
}

#[test]
fn the_independent_reader_extracts_the_captured_tree() {
    let c = captured();
    let dest = c.sandbox.path("read");
    let id = c.sandbox.larder(["list", "--json", "--dataset", "awkward"]).ids().remove(0);
    let mut reader = python("reader.py");
    reader.arg(c.sandbox.store()).arg("--identity").arg(c.sandbox.client().identity());
    Ran::of(reader.args(["extract", &id, text(&dest)])).done();
    same(&c.expected, &describe(&dest));
}

#[test]
fn a_mounted_snapshot_is_the_captured_tree() {
    let c = captured();
    let mounted = Mounted::new(&c.sandbox, "mounted", &["--snapshot", "awkward"]);
    same(&c.expected, &describe(&mounted.point));
    rsync_sees_no_difference(&c.source, &mounted.point);
    mounted.end();
}

#[test]
fn a_mounted_store_shows_new_snapshots() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "one").unwrap();
    sandbox.larder(["snapshot", text(&source)]).done();
    let mounted = Mounted::new(&sandbox, "whole", &[]);
    let latest = mounted.point.join("datasets/source/latest/file");
    assert_eq!(fs::read_to_string(&latest).unwrap(), "one");
    assert_eq!(fs::read_dir(mounted.point.join("snapshots")).unwrap().count(), 1);
    fs::write(source.join("file"), "two, longer").unwrap();
    sandbox.larder(["snapshot", text(&source)]).done();
    let begun = Instant::now();
    while fs::read_to_string(&latest).unwrap() != "two, longer"
        || fs::read_dir(mounted.point.join("snapshots")).unwrap().count() != 2
    {
        assert!(begun.elapsed() < Duration::from_secs(10), "the new snapshot does not show");
        std::thread::sleep(Duration::from_millis(100));
    }
    mounted.end();
}
