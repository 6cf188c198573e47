//! File systems that show the kernel's state, and Larder's own mounts: of those below a source the mount point alone is captured.

use std::fs;
use std::path::{Path, PathBuf};

use crate::mounting::{Mount, Mounted};
use crate::sandbox::{Ran, Sandbox};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The paths of a dataset's newest snapshot, one after the other.
fn listed(sandbox: &Sandbox, dataset: &str) -> String {
    let text = String::from_utf8(sandbox.larder(["ls", "-R", dataset]).ended(0).stdout).unwrap();
    text.lines().collect::<Vec<_>>().join(" ")
}

/// A source in which a proc, a tmpfs and a file of nsfs are mounted.
fn source(sandbox: &Sandbox) -> (PathBuf, [Mount; 3]) {
    let source = sandbox.path("source");
    for folder in ["proc", "tmp"] {
        fs::create_dir_all(source.join(folder)).unwrap();
    }
    fs::write(source.join("net"), "").unwrap();
    fs::write(source.join("plain"), "plain").unwrap();
    let mounts = [
        Mount::new(&["-t", "proc", "none"], source.join("proc")),
        Mount::new(&["-t", "tmpfs", "none"], source.join("tmp")),
        Mount::new(&["--bind", "/proc/self/ns/net"], source.join("net")),
    ];
    fs::write(source.join("tmp/kept"), "kept").unwrap();
    (source, mounts)
}

#[test]
fn of_what_shows_the_kernels_state_the_mount_point_alone_is_captured() {
    let sandbox = Sandbox::with_store();
    let (source, _mounts) = source(&sandbox);
    let foretold = sandbox.larder(["snapshot", "--dry-run", "--json", text(&source)]).lines();
    let ran = sandbox.larder(["snapshot", "--json", text(&source)]).ended(0);
    assert_eq!(listed(&sandbox, "source"), "plain proc tmp tmp/kept");
    for (path, name) in [("proc", "proc"), ("net", "nsfs")] {
        let told = format!("{}: it is ", text(&source.join(path)));
        assert_eq!(ran.stderr.matches(&told).count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("{name} file system")), "{}", ran.stderr);
    }
    let captured: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    for field in ["files", "folders", "others", "bytes", "left_out"] {
        assert_eq!(foretold.last().unwrap()[field], captured[field], "{field}: {foretold:?}");
    }
    // A comparison leaves out the same.
    assert_eq!(sandbox.larder(["diff", "source", text(&source), "--json"]).lines().len(), 1);
    // Once more, with a cache that has seen it.
    let again = sandbox.larder(["snapshot", "--json", "--skip-if-unchanged", text(&source)]).json();
    assert_eq!(again["skipped"], true, "{again}");
}

#[test]
fn what_is_named_is_captured_whatever_it_is_in() {
    let sandbox = Sandbox::with_store();
    let (source, _mounts) = source(&sandbox);
    let inside = source.join("proc/sys/kernel/random");
    let _ran = sandbox.larder(["snapshot", "-d", "folder", text(&inside)]);
    assert!(listed(&sandbox, "folder").contains("boot_id"));
    let files = [source.join("proc/version"), source.join("plain"), inside];
    sandbox.larder(["snapshot", "-d", "files"].into_iter().chain(files.iter().map(|p| text(p)))).done();
    let found = listed(&sandbox, "files");
    for word in ["proc/version", "source/plain", "random/boot_id"] {
        assert!(found.contains(word), "{word}: {found}");
    }
}

#[test]
fn a_mount_of_larders_is_captured_as_an_empty_folder_and_a_dead_one_not_at_all() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("plain"), "plain").unwrap();
    sandbox.snapshot(&source, "s").done();
    let mut mounted = Mounted::new(&sandbox, "source/mnt", &[]);
    let ran = sandbox.snapshot(&source, "s").ended(0);
    assert_eq!(listed(&sandbox, "s"), "mnt plain");
    assert!(ran.stderr.contains("it is a larder file system"), "{}", ran.stderr);
    // Named, it is a source like another.
    sandbox.snapshot(&mounted.point.join("datasets/s/latest"), "inner").done();
    assert!(listed(&sandbox, "inner").contains("plain"));
    mounted.kill();
    let ran = sandbox.snapshot(&source, "s").ended(0);
    assert_eq!(listed(&sandbox, "s"), "plain");
    assert!(ran.stderr.contains("it is a mount of a Larder store"), "{}", ran.stderr);
    sandbox.larder(["unmount", text(&mounted.point)]).done();
}

#[test]
fn folders_of_one_file_system_are_not_asked_which_it_is() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    for number in 0..100 {
        fs::create_dir_all(source.join(format!("d{number}"))).unwrap();
    }
    let calls = |folder: &Path| {
        let trace = sandbox.path("trace");
        let mut command = sandbox.client().command("strace");
        command.args(["-f", "-qq", "-e", "trace=statfs,fstatfs", "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_larder")).arg("--store").arg(sandbox.store());
        let _ran = Ran::of(command.args(["snapshot", "--dry-run", text(folder)])).ended(0);
        // A call that another thread cut in two has two lines.
        fs::read_to_string(trace).unwrap().lines().filter(|line| !line.contains("resumed>")).count()
    };
    assert_eq!(calls(&source), calls(&source.join("d0")));
    let _mount = Mount::new(&["-t", "proc", "none"], source.join("d1"));
    assert_eq!(calls(&source), calls(&source.join("d0")) + 1);
}
