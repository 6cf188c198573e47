//! Stores made by each format version, frozen: every later version opens them and gives back what was captured.
//!
//! They are made by `scripts/make-fixture`; `tests/describe.py` says what a tree is; `tests/reader.py` reads them too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Ran, Sandbox};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A program of this folder.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into()));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name));
    command
}

/// Unpacks a frozen store; gives its folder.
fn unpack(sandbox: &Sandbox, name: &str) -> PathBuf {
    let tar = data(&format!("{name}.tar"));
    Ran::of(Command::new("tar").arg("-C").arg(sandbox.path("")).arg("-xf").arg(tar)).done();
    sandbox.path(name)
}

#[track_caller]
fn gives_back(what: &str, expected: &str, folder: &Path) {
    assert!(rustix::process::geteuid().is_root(), "the fixtures have owners: this test runs as root");
    let expected = fs::read_to_string(data(expected)).unwrap();
    let found = String::from_utf8(Ran::of(script("describe.py").arg(folder)).ended(0).stdout).unwrap();
    for (a, b) in expected.lines().zip(found.lines()) {
        assert_eq!(a, b, "{what}");
    }
    assert_eq!(expected.lines().count(), found.lines().count(), "{what}");
}

const STORES: [&str; 2] = ["v1-plain", "v1-encrypted"];

#[test]
fn larder_opens_verifies_and_restores_frozen_stores() {
    for name in STORES {
        let sandbox = Sandbox::new();
        let store = unpack(&sandbox, name);
        let run = |args: &[&str]| {
            let mut command = sandbox.client().larder(&store);
            Ran::of(command.arg("--identity").arg(data("v1-identity.txt")).args(args))
        };
        let ids = run(&["list", "--json"]).ids();
        assert_eq!(ids.len(), 2, "{name}");
        run(&["verify", "--read-data"]).done();
        for (id, expected) in ids.iter().zip(["v1.first.expected", "v1.second.expected"]) {
            let dest = sandbox.path(id);
            run(&["restore", id, dest.to_str().unwrap()]).done();
            gives_back(name, expected, &dest);
        }
        let more = sandbox.path("more");
        fs::create_dir(&more).unwrap();
        run(&["snapshot", more.to_str().unwrap()]).done();
        assert_eq!(run(&["list", "--json"]).ids().len(), 3, "{name} can be added to");
    }
}

#[test]
fn the_reader_made_from_the_format_page_reads_frozen_stores() {
    for name in STORES {
        let sandbox = Sandbox::new();
        let store = unpack(&sandbox, name);
        let run = |args: &[&str]| {
            let mut command = script("reader.py");
            Ran::of(command.arg(&store).arg("--identity").arg(data("v1-identity.txt")).args(args))
        };
        run(&["check"]).done();
        let dest = sandbox.path("dest");
        run(&["extract", "latest", dest.to_str().unwrap()]).done();
        gives_back(name, "v1.second.expected", &dest);
    }
}

#[test]
fn the_reader_made_from_the_format_page_agrees_with_its_test_vectors() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("store-format.md");
    let mut command = script("reader.py");
    Ran::of(command.arg(page).arg("vectors")).done();
}
