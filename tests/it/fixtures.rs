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

/// Keys of all roles, sealed anew and rotated, with holds, a policy, and snapshots that were given up and collected.
#[test]
fn a_frozen_store_with_keys_and_retention_is_what_it_was() {
    let sandbox = Sandbox::new();
    let store = unpack(&sandbox, "v1-trusted");
    let run_as = |identity: &str, args: &[&str]| {
        let mut command = sandbox.another_client(identity).larder(&store);
        Ran::of(command.arg("--identity").arg(data(identity)).args(args))
    };
    let run = |args: &[&str]| run_as("v1-identity.txt", args);
    let mut reader = script("reader.py");
    Ran::of(reader.arg(&store).arg("--identity").arg(data("v1-identity.txt")).arg("check")).done();
    run(&["verify", "--read-data"]).done();
    run(&["repair", "--plan"]).done();
    let ids = run(&["list", "--json"]).ids();
    let expected = ["first", "first", "second", "second", "second"];
    assert_eq!(ids.len(), expected.len());
    for (id, expected) in ids.iter().zip(expected) {
        let dest = sandbox.path(id);
        run(&["restore", id, dest.to_str().unwrap()]).done();
        gives_back(id, &format!("v1.{expected}.expected"), &dest);
    }
    let told = run(&["show", "tree~2", "--json"]).json().to_string();
    assert!(told.contains("kept as evidence"), "{told}");
    let told = run(&["policy", "show", "--json"]).json().to_string();
    assert!(told.contains("\"tree\"") && told.contains("10"), "{told}");
    let told = run(&["key", "list", "--json"]).json();
    assert_eq!((told["keys"].as_array().unwrap().len(), &told["proved"]), (3, &true.into()), "{told}");
    assert!(told["epochs_under_older_identities"].as_u64() > Some(0), "the last rotation sealed nothing anew: {told}");
    run_as("v1-catalog.txt", &["list"]).done();
    run_as("v1-catalog.txt", &["cat", "tree:large-text"]).refused(12, "owner key");
    let more = sandbox.path("more");
    fs::create_dir(&more).unwrap();
    run_as("v1-writer.txt", &["list"]).refused(12, "writer key");
    run_as("v1-writer.txt", &["snapshot", more.to_str().unwrap()]).done();
    run(&["key", "reseal"]).done();
    run(&["gc"]).done();
    run(&["verify", "--read-data"]).done();
    assert_eq!(run(&["list", "--json"]).ids().len(), 6);
    // Its writer key has nothing to sign with before the next rotation.
    let claimed = || run(&["forget", "--keep-last", "9", "-n", "--json"]).lines().pop().unwrap()["claimed"].as_u64();
    let before = claimed();
    assert!(before > Some(0), "{before:?}");
    run(&["key", "rotate"]).done();
    run_as("v1-writer.txt", &["snapshot", more.to_str().unwrap()]).done();
    assert_eq!((claimed(), run(&["list", "--json"]).ids().len()), (before, 7));
}

/// Entries that a writer signed, one that is void, key objects that an owner vouches for, and records.
#[test]
fn a_frozen_store_with_signatures_and_a_void_entry_is_what_it_was() {
    let sandbox = Sandbox::new();
    let store = unpack(&sandbox, "v1-signed");
    let run_as = |identity: &str, args: &[&str]| {
        let mut command = sandbox.another_client(identity).larder(&store);
        Ran::of(command.arg("--identity").arg(data(identity)).args(args))
    };
    let run = |args: &[&str]| run_as("v1-identity.txt", args);
    let mut reader = script("reader.py");
    let checked = reader.arg(&store).arg("--identity").arg(data("v1-identity.txt")).arg("check");
    assert_eq!(Ran::of(checked).json()["findings"], 0);
    assert_eq!(run(&["verify", "--read-data", "--json"]).json()["void_entries"], serde_json::json!([5]));
    run(&["repair", "--plan"]).done();
    let listed = run(&["list", "--json"]).json();
    let of = |field: &str| listed.as_array().unwrap().iter().map(|row| row[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("dataset"), ["by-writer", "tree", "pages", "by-writer", "tree"]);
    let key = listed[1]["written_by"].clone();
    assert_eq!(of("written_by"), ["the writer".into(), key.clone(), key.clone(), "the writer".into(), key]);
    for (at, expected) in [(0, "first"), (1, "first"), (3, "second"), (4, "second")] {
        let (id, dest) = (of("id")[at].as_str().unwrap().to_owned(), sandbox.path(at.to_string()));
        run(&["restore", &id, dest.to_str().unwrap()]).done();
        gives_back(&id, &format!("v1.{expected}.expected"), &dest);
    }
    let keys = run(&["key", "list", "--json"]).json();
    assert_eq!((keys["keys"].as_array().unwrap().len(), &keys["proved"]), (3, &true.into()), "{keys}");
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["swapped"] == false), "{keys}");
    let record = run(&["records", "get", "k2", "-d", "pages"]).json();
    assert_eq!(record["response"]["n"], 2, "{record}");
    // The hold that the void entry set is gone; what an owner made immutable stays.
    let old = of("id")[0].as_str().unwrap().to_owned();
    run(&["forget", &old]).refused(2, "immutable");
    run(&["forget", of("id")[1].as_str().unwrap()]).done();
    run(&["gc"]).done();
    run(&["verify", "--read-data"]).done();
    // All of its keys can go on.
    let more = sandbox.path("more");
    fs::create_dir(&more).unwrap();
    run_as("v1-writer.txt", &["snapshot", more.to_str().unwrap()]).done();
    run_as("v1-catalog.txt", &["list"]).done();
    assert_eq!(run(&["show", "more", "--json"]).json()["written_by"], "the writer");
}

#[test]
fn the_reader_made_from_the_format_page_agrees_with_its_test_vectors() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("store-format.md");
    let mut command = script("reader.py");
    Ran::of(command.arg(page).arg("vectors")).done();
}
