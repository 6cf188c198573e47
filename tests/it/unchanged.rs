//! `--skip-if-unchanged` makes no snapshot where one would say nothing new, and only there; `--dry-run` makes none at all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder::model::Role;

use crate::clocked::client_with_role;
use crate::sandbox::{Ran, Sandbox};

fn source(sandbox: &Sandbox) -> PathBuf {
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("file"), "one").unwrap();
    fs::write(source.join("sub/other"), "two").unwrap();
    fs::hard_link(source.join("file"), source.join("sub/again")).unwrap();
    source
}

fn snapshot(sandbox: &Sandbox, source: &Path, extra: &[&str]) -> serde_json::Value {
    let arguments = ["snapshot", "--json", source.to_str().unwrap()];
    let ran = sandbox.larder(arguments.iter().chain(extra));
    assert!(ran.status == 0 || ran.status == 3, "{}", ran.stderr);
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn ids(sandbox: &Sandbox) -> Vec<String> {
    sandbox.larder(["list", "--json"]).ids()
}

#[test]
fn nothing_is_made_of_what_stands_already() {
    let sandbox = Sandbox::with_store();
    let source = source(&sandbox);
    let first = snapshot(&sandbox, &source, &["--skip-if-unchanged"]);
    assert_eq!(first["skipped"], false);
    for extra in [&["--skip-if-unchanged"][..], &["--skip-if-unchanged", "--force-read"]] {
        let second = snapshot(&sandbox, &source, extra);
        assert_eq!((&second["skipped"], &second["id"]), (&true.into(), &first["id"]), "{extra:?}");
    }
    let ran = sandbox.larder(["snapshot", source.to_str().unwrap(), "--skip-if-unchanged"]).ended(0);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("nothing has changed since"), "{ran:?}");
    assert_eq!(ids(&sandbox).len(), 1);
    // Another dataset has none yet, and without the option there is always one.
    assert_eq!(snapshot(&sandbox, &source, &["--skip-if-unchanged", "-d", "other"])["skipped"], false);
    assert_eq!(snapshot(&sandbox, &source, &[])["skipped"], false);
    assert_eq!(ids(&sandbox).len(), 3);
}

#[test]
fn every_sort_of_change_makes_a_snapshot() {
    let sandbox = Sandbox::with_store();
    let source = source(&sandbox);
    snapshot(&sandbox, &source, &[]);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let changes: [(&str, &dyn Fn()); 6] = [
        ("content", &|| fs::write(source.join("file"), "ONE").unwrap()),
        ("a new file", &|| fs::write(source.join("new"), "").unwrap()),
        ("a file less", &|| fs::remove_file(source.join("new")).unwrap()),
        ("a mode", &|| mode(&source.join("sub/other"), 0o600)),
        ("the root's mode", &|| mode(&source, 0o700)),
        ("a link less", &|| {
            fs::remove_file(source.join("sub/again")).unwrap();
            fs::write(source.join("sub/again"), "ONE").unwrap();
        }),
    ];
    for (what, change) in changes {
        change();
        assert_eq!(snapshot(&sandbox, &source, &["--skip-if-unchanged"])["skipped"], false, "{what}");
        assert_eq!(snapshot(&sandbox, &source, &["--skip-if-unchanged"])["skipped"], true, "after {what}");
    }
}

/// The CLI without the power to read what it may not.
fn powerless(sandbox: &Sandbox) -> Command {
    let client = sandbox.client();
    if !rustix::process::getuid().is_root() {
        return client.larder(&sandbox.store());
    }
    let mut command = client.command("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search", env!("CARGO_BIN_EXE_larder"), "--store"]);
    command.arg(sandbox.store());
    command
}

#[test]
fn what_lacks_something_is_never_taken_for_unchanged() {
    let sandbox = Sandbox::with_store();
    let source = source(&sandbox);
    let closed = source.join("closed");
    fs::write(&closed, "secret").unwrap();
    let mode = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    mode(0);
    let capture = |status| {
        let mut command = powerless(&sandbox);
        command.args(["snapshot", "--json", source.to_str().unwrap(), "--skip-if-unchanged"]);
        let ran = Ran::of(&mut command).ended(status);
        serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap()["skipped"].as_bool().unwrap()
    };
    assert_eq!((capture(3), capture(3)), (false, false), "the file is missing in both");
    let folder = fs::metadata(&source).unwrap();
    fs::remove_file(&closed).unwrap();
    fs::File::open(&source).unwrap().set_modified(folder.modified().unwrap()).unwrap();
    assert!(!capture(0), "the tree is the same, but now nothing is missing in it");
    assert!(capture(0));
}

#[test]
fn a_stream_is_unchanged_if_its_content_is() {
    let sandbox = Sandbox::with_store();
    let capture = |content: &str, name: &str| {
        let mut command = sandbox.client().larder(&sandbox.store());
        command.args(["snapshot", "--json", "--skip-if-unchanged", "--stdin-from-command", "--stdin", name, "--"]);
        command.args(["printf", content]).stdin(Stdio::null());
        Ran::of(&mut command).json()["skipped"].as_bool().unwrap()
    };
    let long = "0123456789".repeat(10_000);
    for (content, name, skipped) in [
        ("a", "dump", false),
        ("a", "dump", true),
        ("b", "dump", false),
        ("b", "other", false),
        (&long, "other", false),
        (&long, "other", true),
        ("", "other", false),
        ("", "other", true),
    ] {
        assert_eq!(capture(content, name), skipped, "{} bytes as {name}", content.len());
    }
    assert_eq!(ids(&sandbox).len(), 5);
}

/// Every file of a store with its bytes, but for those that RocksDB makes anew at each open.
fn rows(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "sst") || path.ends_with("tip") {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_skip_adds_no_row_and_a_dry_run_touches_nothing() {
    let sandbox = Sandbox::with_store();
    let source = source(&sandbox);
    snapshot(&sandbox, &source, &[]);
    let before = rows(&sandbox.store());
    assert_eq!(snapshot(&sandbox, &source, &["--skip-if-unchanged"])["skipped"], true);
    assert_eq!(rows(&sandbox.store()).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(rows(&sandbox.store()) == before);
    fs::write(source.join("file"), "changed").unwrap();
    let current = fs::read(sandbox.store().join("db/CURRENT")).unwrap();
    let found = snapshot(&sandbox, &source, &["--dry-run"]);
    assert_eq!((&found["dry_run"], &found["files"]), (&true.into(), &3.into()), "{found}");
    assert!(fs::read(sandbox.store().join("db/CURRENT")).unwrap() == current && rows(&sandbox.store()) == before);
}

#[test]
fn a_dry_run_tells_what_would_be_read() {
    let sandbox = Sandbox::with_store();
    let source = source(&sandbox);
    let told = |field: &str| snapshot(&sandbox, &source, &["--dry-run"])[field].as_u64().unwrap();
    assert_eq!((told("files"), told("bytes")), (3, 9));
    assert_eq!((told("files_to_read"), told("bytes_to_read")), (2, 6), "two names of one file are read once");
    std::thread::sleep(std::time::Duration::from_millis(150));
    snapshot(&sandbox, &source, &[]);
    assert_eq!((told("files_to_read"), told("bytes_to_read")), (0, 0));
    fs::write(source.join("sub/other"), "longer").unwrap();
    assert_eq!((told("files_to_read"), told("bytes_to_read")), (1, 6));
    sandbox.larder(["snapshot", "--dry-run", "--stdin", "x"]).refused(2, "cannot be used with");
}

#[test]
fn a_dry_run_tells_which_files_may_not_be_read() {
    let sandbox = Sandbox::with_store();
    let source = source(&sandbox);
    fs::set_permissions(source.join("sub/other"), fs::Permissions::from_mode(0o0)).unwrap();
    let mut command = powerless(&sandbox);
    let ran = Ran::of(command.args(["snapshot", "-n", source.to_str().unwrap()])).ended(3);
    assert!(ran.stderr.contains("cannot read") && ran.stderr.contains("/other: Permission denied"), "{}", ran.stderr);
}

#[test]
fn what_larder_itself_keeps_is_no_change_of_a_home() {
    let sandbox = Sandbox::with_store();
    let home = sandbox.client().home().to_owned();
    fs::write(home.join("file"), "mine").unwrap();
    let capture = || snapshot(&sandbox, &home, &["--skip-if-unchanged"])["skipped"].as_bool().unwrap();
    assert_eq!((capture(), capture()), (false, true));
    let listed = String::from_utf8(sandbox.larder(["ls", "-R", "latest"]).ended(0).stdout).unwrap();
    assert!(listed.contains("file") && listed.contains("identity.txt"), "{listed}");
    assert!(!listed.contains("pins") && !listed.contains(".cache/larder"), "{listed}");
    let tag = fs::read(home.join(".cache/larder/CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55"));
}

/// Else a holder of another key could capture the same, let the owner rely on that, and have it given up as his own to give.
#[test]
fn nobody_relies_on_a_snapshot_of_another_key() {
    let sandbox = Sandbox::with_store();
    let source = source(&sandbox);
    let first = snapshot(&sandbox, &source, &["-d", "w"]);
    let writer = client_with_role(&sandbox, "writer", Role::Writer);
    let catalog = client_with_role(&sandbox, "catalog", Role::Catalog);
    fs::write(source.join("file"), "changed").unwrap();
    let words = ["snapshot", source.to_str().unwrap(), "-d", "w"];
    writer.run(&sandbox.store(), words).done();
    catalog.run(&sandbox.store(), words).done();
    let own = snapshot(&sandbox, &source, &["-d", "w", "--skip-if-unchanged"]);
    assert_eq!(own["skipped"], false, "{own}");
    assert_ne!(own["id"], first["id"]);
    writer.run(&sandbox.store(), words).done();
    let again = snapshot(&sandbox, &source, &["-d", "w", "--skip-if-unchanged"]);
    assert_eq!((&again["skipped"], &again["id"]), (&true.into(), &own["id"]), "its own stands");
}
