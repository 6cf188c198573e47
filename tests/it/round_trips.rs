//! Packs there and back: every form of a snapshot is that snapshot again, and none that was tampered with is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::by_hand::{awkward, same_by_rsync, storeless, text};
use crate::sandbox::{Ran, Sandbox, noise};

/// The awkward tree of the other tests, captured.
fn captured() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_store();
    let source = awkward(&sandbox);
    let words = ["--metrics", "figures.json", "--reason", "for the vault", "-l", "case=12", "--scope", "project"];
    let figures = sandbox.client().home().join("figures.json");
    fs::write(figures, r#"{"a": 1.50}"#).unwrap();
    sandbox.larder([&["snapshot", text(&source), "--dataset", "tree"], &words[..]].concat()).done();
    (sandbox, source)
}

fn show(sandbox: &Sandbox, name: &str) -> serde_json::Value {
    sandbox.larder(["show", name, "--json"]).json()
}

/// A small snapshot in a pack.
fn packed(name: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("folder/one"), noise(1, 3000)).unwrap();
    fs::write(source.join("two"), "two").unwrap();
    fs::hard_link(source.join("two"), source.join("zwei")).unwrap();
    sandbox.snapshot(&source, "d").done();
    let pack = sandbox.path(name);
    let _ran = sandbox.larder(["export", "d", "-o", text(&pack), "--accept-loss"]).ended(0);
    (sandbox, pack)
}

#[test]
fn every_form_of_the_awkward_tree_is_that_snapshot_again() {
    let (sandbox, source) = captured();
    let other = Sandbox::with_store();
    let original = show(&sandbox, "tree");
    let forms = ["t.tar", "t.tar.zst", "t.tar.gz", "t.zip", "folder", "t.tar.xz", "t.tar.bz2"];
    for name in forms {
        let pack = sandbox.path(name);
        let program = [(".xz", "xz"), (".bz2", "bzip2")].into_iter().find(|(end, _)| name.ends_with(end));
        if let Some((_, program)) = program {
            // Whoever has these compresses a tar of Larder's with them.
            let packed = Ran::of(Command::new(program).args(["-1", "-c"]).arg(sandbox.path("t.tar"))).ended(0).stdout;
            fs::write(&pack, packed).unwrap();
        } else {
            let more: &[&str] = if name == "folder" { &["--format=dir"] } else { &[] };
            sandbox.larder([&["export", "tree", "-o", text(&pack), "--accept-loss"], more].concat()).done();
        }
        let told = storeless(&sandbox, &["verify", text(&pack), "--json"]).json();
        assert_eq!((&told["damaged"], &told["bare"]), (&false.into(), &false.into()), "{name}: {told}");
        assert_eq!(told["drifts"], serde_json::json!([]), "{name}");
        sandbox.larder(["import", text(&pack), "-d", "again"]).done();
        let again = show(&sandbox, "again");
        for same in ["tree", "files", "folders", "others", "bytes", "sources", "metrics", "reason", "scope"] {
            assert_eq!(again[same], original[same], "{name}: {same}");
        }
        assert_eq!((&again["kind"], &again["labels"]["case"]), (&"import".into(), &"12".into()));
        assert_eq!((&again["labels"]["replay"], &again["labels"]["original-id"]), (&"true".into(), &original["id"]));
        let origin = &again["origin"]["snapshot"];
        assert_eq!(
            (&origin["id"], &origin["dataset"], &origin["host"]),
            (&original["id"], &"tree".into(), &original["host"])
        );
        assert_eq!(again["new_bytes"], 0, "{name}");
        other.larder(["import", text(&pack)]).done();
        let differences = other.larder(["diff", "tree", text(&source)]).ended(0).stdout;
        assert_eq!(String::from_utf8_lossy(&differences), "", "{name}");
        let out = sandbox.path("out");
        let mut unpack = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
        Ran::of(unpack.args(["unpack", text(&pack), text(&out), "--allow", "links,devices"])).done();
        same_by_rsync(&sandbox, &source, &out);
        fs::remove_dir_all(&out).unwrap();
    }
    let trees: Vec<_> = (0..forms.len()).map(|n| show(&other, &format!("tree~{n}"))["tree"].clone()).collect();
    assert!(trees.iter().all(|tree| *tree == trees[0]));
    other.larder(["verify", "--read-data"]).done();
}

#[test]
fn what_was_tampered_with_is_not_imported_and_not_unpacked() {
    let (sandbox, pack) = packed("t.tar");
    let out = sandbox.path("out");
    for (what, change, word) in [
        ("a byte of a content", "if n.endswith('/one'): d = d[:-1] + bytes([d[-1] ^ 1])", "content/folder/one"),
        ("a mode", "if n.endswith('/one'): m.mode = 0o777", "content/folder/one"),
        ("a member left out", "if n.endswith('/one'): continue", "content/folder/one"),
        ("a member too many", "if n.endswith('/one'): put(tarfile.TarInfo(n + '-more'), b'')", "content/folder/one"),
        ("checksums emptied", "if n.endswith('sha256'): d = b''", "checksums.sha256"),
        ("checksums left out", "if n.endswith('sha256'): continue", "checksums.sha256"),
        ("a checksum changed", "if n.endswith('sha256'): d = d.replace(b'0', b'1')", "checksums.sha256"),
        ("a checksum of something outside", "if n.endswith('sha256'): d += b'0' * 64 + b'  ../outside\\n'", "outside"),
        (
            "another manifest",
            "if n.endswith('manifest.json'): d = d.replace(b'\"dataset\":', b'\"dataset\" :')",
            "manifest.json",
        ),
        (
            "a dataset that cannot be",
            "if n.endswith('manifest.json'): d = d.replace(b'\"d\"', b'\"/\"')",
            "manifest.json",
        ),
        (
            "a symlink beside the content",
            "if n.endswith('README.txt'): l = tarfile.TarInfo(n + '-l'); l.type, l.linkname = tarfile.SYMTYPE, 'x'; put(l, b'')",
            "README.txt-l",
        ),
        ("the README changed", "if n.endswith('README.txt'): d += b'!'", "README.txt"),
        (
            "a hard link to something else",
            "if n.endswith('/zwei'): m.linkname = m.linkname.replace('two', 'folder/one')",
            "zwei",
        ),
    ] {
        let changed = sandbox.path("changed.tar");
        let script = format!(
            "
import sys, tarfile, io
s, t = tarfile.open(sys.argv[1]), tarfile.open(sys.argv[2], 'w', format=tarfile.PAX_FORMAT)
def put(m, d):
    m.size = len(d) if m.isreg() else 0
    t.addfile(m, io.BytesIO(d))
for m in s:
    n, d = m.name, s.extractfile(m).read() if m.isreg() else b''
    {change}
    put(m, d)
t.close()
"
        );
        Ran::of(Command::new("python3").args(["-c", &script]).arg(&pack).arg(&changed)).done();
        let ran = sandbox.larder(["import", text(&changed), "-d", "other"]);
        assert!(ran.status == 13 && ran.stderr.contains(word), "{what}: {} {}", ran.status, ran.stderr);
        if !what.starts_with("a dataset") {
            let ran = sandbox.larder(["unpack", text(&changed), text(&out)]);
            assert!(ran.status == 13 && ran.stderr.contains(word), "{what}: {} {}", ran.status, ran.stderr);
            assert!(!out.exists(), "{what}");
        }
    }
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 1);
    // A later version of the manifest is told as such.
    let script = "
import sys
d = open(sys.argv[1], 'rb').read()
assert d.count(b'\"schema_version\":1') + d.count(b'\"schema_version\": 1') == 1
open(sys.argv[2], 'wb').write(d.replace(b'\"schema_version\":1', b'\"schema_version\":2').replace(b'\"schema_version\": 1', b'\"schema_version\": 2'))
";
    let newer = sandbox.path("newer.tar");
    Ran::of(Command::new("python3").args(["-c", script]).arg(&pack).arg(&newer)).done();
    sandbox.larder(["import", text(&newer)]).refused(14, "schema_version");
    sandbox.larder(["import", text(&pack), "-d", "whole"]).done();
}

#[test]
fn several_snapshots_in_one_pack_come_together_or_not_at_all() {
    let (sandbox, _) = packed("t.tar");
    fs::write(sandbox.path("source/new"), "new").unwrap();
    sandbox.snapshot(&sandbox.path("source"), "d").done();
    sandbox.snapshot(&sandbox.path("source/folder"), "e").done();
    let pack = sandbox.path("three.tar.zst");
    let _ran = sandbox.larder(["export", "d~1", "d", "e", "-o", text(&pack)]).ended(0);
    let other = Sandbox::with_store();
    let told = other.larder(["import", text(&pack), "--json"]).json();
    assert_eq!(told["snapshots"].as_array().unwrap().len(), 3);
    let ids = other.larder(["list", "--json"]).ids();
    assert_eq!(ids.len(), 3);
    assert_eq!(show(&other, "d")["parent"], show(&other, "d~1")["id"]);
    assert!(show(&other, "d~1")["labels"]["original-id"] == show(&sandbox, "d~1")["id"]);
    other.larder(["verify", "--read-data"]).done();
    let out = sandbox.path("out");
    sandbox.larder(["unpack", text(&pack), text(&out)]).done();
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
    // The third one is cut: none is imported.
    let bytes = Ran::of(Command::new("zstd").args(["-dc"]).arg(&pack)).ended(0).stdout;
    let at = bytes.windows(17).rposition(|w| w == b"/checksums.sha256").unwrap();
    fs::write(sandbox.path("cut.tar"), [&bytes[..at - at % 512], &[0; 1024]].concat()).unwrap();
    other.larder(["import", text(&sandbox.path("cut.tar"))]).refused(13, "checksums.sha256");
    assert_eq!(other.larder(["list", "--json"]).ids(), ids);
}

#[test]
fn parts_and_what_the_original_was_granted() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), "file").unwrap();
    fs::write(source.join("a/other"), "other").unwrap();
    let words = ["--dataset", "d", "--immutable", "--retention-class", "release"];
    sandbox.larder([&["snapshot", text(&source)], &words[..]].concat()).done();
    let pack = sandbox.path("parts.zip");
    let _ran = sandbox.larder(["export", "d:a/b", "-o", text(&pack), "--accept-loss"]).ended(0);
    let other = Sandbox::with_store();
    other.larder(["import", text(&pack), "--label", "case=7", "--reason", "mine"]).done();
    let shown = show(&other, "d");
    assert_eq!((&shown["immutable"], &shown["retention_class"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!((&shown["labels"]["case"], &shown["reason"], &shown["files"]), (&"7".into(), &"mine".into(), &1.into()));
    assert_eq!(shown["origin"]["paths"][0], "a/b");
    assert_eq!(other.larder(["cat", "d:a/b/file"]).ended(0).stdout, b"file");
    other.larder(["import", text(&pack), "--keep-retention"]).done();
    let shown = show(&other, "d");
    assert_eq!((&shown["immutable"], &shown["retention_class"]), (&true.into(), &"release".into()));
    let out = sandbox.path("out");
    sandbox.larder(["unpack", text(&pack), text(&out)]).done();
    assert_eq!(fs::read(out.join("a/b/file")).unwrap(), b"file");
}

#[test]
fn an_import_of_an_import_remembers_both() {
    let (sandbox, pack) = packed("t.tar");
    let (second, third) = (Sandbox::with_store(), Sandbox::with_store());
    second.larder(["import", text(&pack)]).done();
    let again = sandbox.path("again.tar.gz");
    second.larder(["export", "d", "-o", text(&again)]).done();
    third.larder(["import", text(&again)]).done();
    let shown = show(&third, "d");
    assert_eq!(shown["origin"]["snapshot"]["id"], show(&second, "d")["id"]);
    let first: serde_json::Value =
        serde_json::from_str(shown["origin"]["snapshot"]["origin"].as_str().unwrap()).unwrap();
    assert_eq!(first["snapshot"]["id"], show(&sandbox, "d")["id"]);
}

#[test]
fn replays_leave_a_series_alone_in_which_captures_go_on() {
    let (sandbox, _) = packed("whole.tar");
    let pack = sandbox.path("part.tar");
    sandbox.larder(["export", "d:folder", "-o", text(&pack)]).done();
    let told = storeless(&sandbox, &["verify", text(&pack), "--json"]).json();
    assert_eq!(told["snapshots"][0]["paths"], serde_json::json!(["folder"]));
    let captured = show(&sandbox, "d")["id"].clone();
    let foretold = sandbox.larder(["import", "-n", text(&pack)]).ended(0);
    let foretold = String::from_utf8_lossy(&foretold.stdout).into_owned();
    assert!(foretold.starts_with("d.import: ") && foretold.contains("parts of the snapshot"), "{foretold}");
    for _ in 0..2 {
        let told = sandbox.larder(["import", text(&pack), "--json"]).json();
        let one = &told["snapshots"][0];
        assert_eq!((&one["dataset"], &one["paths"][0]), (&"d.import".into(), &"folder".into()));
    }
    assert_eq!(show(&sandbox, "d")["id"], captured);
    // Whoever names the series has it; where there is none that is captured it is the pack's, each time.
    let told = sandbox.larder(["import", text(&pack), "--dataset", "d", "--json"]).json();
    assert_eq!(told["snapshots"][0]["dataset"], "d");
    let other = Sandbox::with_store();
    for _ in 0..2 {
        let told = other.larder(["import", text(&pack), "--json"]).json();
        assert_eq!(told["snapshots"][0]["dataset"], "d");
    }
}
