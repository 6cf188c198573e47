//! Whole packs: what stock tools make of them, that their bytes follow from the snapshot alone, and what is known of them later.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mounting::Mount;
use crate::sandbox::{Ran, Sandbox, has_begun, noise};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An awkward tree without paths that are too long for tools, captured once for all tests of this module.
struct Captured {
    sandbox: Sandbox,
    source: PathBuf,
}

fn captured() -> &'static Captured {
    static CAPTURED: OnceLock<Captured> = OnceLock::new();
    CAPTURED.get_or_init(|| {
        assert!(rustix::process::geteuid().is_root(), "owners and devices: this test runs as root");
        let sandbox = Sandbox::with_store();
        let source = sandbox.path("awkward");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/awkward.py");
        Ran::of(Command::new("python3").arg(script).arg(&source).arg("--quick")).done();
        fs::remove_dir_all(source.join("deep")).unwrap();
        fs::remove_file(source.join("holes/large")).unwrap();
        sandbox.snapshot(&source, "awkward").done();
        Captured { sandbox, source }
    })
}

impl Captured {
    /// A pack; gives its file, and the name of the folder in it.
    fn pack(&self, name: &str, more: &[&str]) -> (PathBuf, String) {
        let file = self.sandbox.path(name);
        let ran =
            self.sandbox.larder([&["export", "awkward", "-o", text(&file), "--json", "--accept-loss"], more].concat());
        let told = ran.json();
        let is_file = told["format"] != "dir";
        assert_eq!((&told["validated"], &told["recorded"]), (&json!(true), &json!(is_file)), "{told}");
        (file, told["snapshots"][0]["name"].as_str().unwrap().to_owned())
    }

    /// `content/` is the captured tree in every respect.
    fn is_source(&self, pack: &Path) {
        let mut rsync = Command::new("rsync");
        rsync.args(["-aHAXSnc", "--modify-window=-1", "--delete", "-i"]);
        rsync.arg(format!("{}/", text(&self.source))).arg(format!("{}/", text(&pack.join("content"))));
        let ran = Ran::of(&mut rsync).ended(0);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "");
    }
}

/// `sha256sum -c` accepts the folder, and lists every file in it but its own.
fn checksums_hold(pack: &Path) {
    let lines = accepted_lines(pack);
    let files = Ran::of(Command::new("find").arg(pack).args(["-type", "f", "-printf", "x"])).ended(0).stdout.len();
    assert_eq!(lines, files - 1);
}

/// How many files `sha256sum -c` has found as they should be.
fn accepted_lines(pack: &Path) -> usize {
    let mut check = Command::new("sha256sum");
    let ran = Ran::of(check.args(["-c", "--strict", "checksums.sha256"]).current_dir(pack)).ended(0);
    // Names with line feeds are told on one line.
    ran.stdout.split(|b| *b == b'\n').count() - 1
}

fn unpacked(sandbox: &Sandbox, name: &str) -> PathBuf {
    let dest = sandbox.path(name);
    fs::create_dir(&dest).unwrap();
    dest
}

#[test]
fn a_tar_gives_everything_to_gnu_tar_and_its_members_to_others() {
    let c = captured();
    for (file, program) in [("p.tar", None), ("p.tar.zst", Some("zstd")), ("p.tar.gz", Some("gzip"))] {
        let (file, name) = c.pack(file, &[]);
        let plain = match program {
            None => file.clone(),
            Some(program) => {
                let plain = c.sandbox.path(format!("{program}.tar"));
                let ran = Ran::of(Command::new(program).arg("-dc").arg(&file)).ended(0);
                fs::write(&plain, ran.stdout).unwrap();
                plain
            }
        };
        if program.is_some() {
            assert!(fs::read(&plain).unwrap() == fs::read(c.sandbox.path("p.tar")).unwrap(), "the same tar is inside");
            continue;
        }
        let dest = unpacked(&c.sandbox, "gnu");
        let all = ["--acls", "--xattrs", "--xattrs-include=*", "-pf"];
        Ran::of(Command::new("tar").arg("-x").args(all).arg(&plain).arg("-C").arg(&dest)).done();
        c.is_source(&dest.join(&name));
        checksums_hold(&dest.join(&name));
        let mut compare = Command::new("tar");
        let ran =
            Ran::of(compare.args(["--compare", "--acls", "--xattrs", "-f"]).arg(&plain).arg("-C").arg(&dest)).ended(0);
        assert_eq!(ran.stderr, "");
        let first = [
            format!("{name}/"),
            format!("{name}/manifest.json"),
            format!("{name}/README.txt"),
            format!("{name}/content/"),
        ];
        let names = |program: &str, arguments: &[&str]| {
            // bsdtar complains of names that are no text.
            let ran = Ran::of(c.sandbox.client().command(program).args(arguments).arg(&plain));
            assert!(ran.status == 0 || program == "bsdtar", "{}", ran.stderr);
            String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for (program, arguments) in [("tar", &["-tf"][..]), ("bsdtar", &["-tf"]), ("busybox", &["tar", "-tf"])] {
            let names = names(program, arguments);
            assert_eq!(names[..4], first, "{program}");
            assert_eq!(names.last().unwrap(), &format!("{name}/checksums.sha256"), "{program}");
        }
        let dest = unpacked(&c.sandbox, "bsd");
        let _odd_names = Ran::of(Command::new("bsdtar").arg("-xpf").arg(&plain).arg("-C").arg(&dest));
        checksums_hold(&dest.join(&name));
        let script = "import sys, tarfile\nt = tarfile.open(sys.argv[1])\nm = t.getmembers()\nassert len(m) > 400\n\
                      assert all(x.uid == 0 for x in m[:3]) and m[1].name.endswith('/manifest.json')\n";
        Ran::of(Command::new("python3").args(["-c", script]).arg(&plain)).done();
    }
}

#[test]
fn a_zip_gives_its_files_to_zip_programs() {
    let c = captured();
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nz.extractall(sys.argv[2])\n\
                  assert {i.compress_type for i in z.infolist()} == {0, int(sys.argv[3])}\n";
    for (file, more, method) in [("p.zip", &[][..], 8), ("s.zip", &["--compression=stored"], 0)] {
        let (file, name) = c.pack(file, more);
        Ran::of(Command::new("unzip").arg("-tq").arg(&file)).done();
        Ran::of(Command::new("7z").arg("t").arg(&file)).done();
        let dest = unpacked(&c.sandbox, &format!("python{method}"));
        Ran::of(Command::new("python3").args(["-c", script]).args([&file, &dest]).arg(method.to_string())).done();
        // Python makes files of symlinks.
        assert!(accepted_lines(&dest.join(&name)) > 300);
        let dest = unpacked(&c.sandbox, &format!("unzip{method}"));
        Ran::of(c.sandbox.client().command("unzip").arg("-q").arg(&file).arg("-d").arg(&dest)).done();
        checksums_hold(&dest.join(&name));
        let streamed = fs::File::open(&file).unwrap();
        Ran::of(Command::new("bsdtar").args(["-tf", "-"]).stdin(streamed)).done();
    }
    let (file, _) = c.pack("z.zip", &["--compression=zstd"]);
    // What reads zstd in zips is not in Debian yet; that Larder's own reader does, `validated` has told.
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert {i.compress_type for i in z.infolist()} == {0, 93}\n";
    Ran::of(Command::new("python3").args(["-c", script]).arg(&file)).done();
}

#[test]
fn a_folder_is_the_captured_tree_beside_its_manifest() {
    let c = captured();
    let (dest, name) = c.pack("folder", &["--format=dir"]);
    c.is_source(&dest.join(&name));
    checksums_hold(&dest.join(&name));
    let before = fs::metadata(dest.join(&name)).unwrap().modified().unwrap();
    assert_eq!(before, fs::metadata(dest.join(&name).join("manifest.json")).unwrap().modified().unwrap());
    c.sandbox.larder(["export", "awkward", "--format=dir", "-o", text(&dest)]).refused(2, "no empty folder");
    let empty = unpacked(&c.sandbox, "empty");
    c.sandbox.larder(["export", "--bare", "awkward", "--format=dir", "-o", text(&empty)]).done();
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXSnc", "--modify-window=-1", "--delete", "-i"]);
    let ran = Ran::of(rsync.arg(format!("{}/", text(&c.source))).arg(format!("{}/", text(&empty)))).ended(0);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "");
}

#[test]
fn the_manifest_says_what_is_there() {
    let c = captured();
    let (dest, name) = c.pack("said", &["--format=dir"]);
    let pack = dest.join(&name);
    let manifest: Value = serde_json::from_slice(&fs::read(pack.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(
        (&manifest["schema_version"], &manifest["form"], &manifest["name"]),
        (&json!(1), &json!("dir-v1"), &json!(name))
    );
    let shown = c.sandbox.larder(["show", "awkward", "--json"]).json();
    for field in ["id", "dataset", "sequence", "kind", "tree", "files", "folders", "others", "bytes", "host", "program"]
    {
        assert_eq!(manifest["snapshot"][field], shown[field], "{field}");
    }
    assert_eq!(manifest["paths"], Value::Null);
    let items = manifest["inventory"].as_array().unwrap();
    assert_eq!(manifest["totals"]["items"], items.len());
    assert_eq!((&items[0]["path"], &items[0]["kind"]), (&json!(""), &json!("folder")));
    let bytes = |text: &Value| match text {
        Value::String(text) => text.clone().into_bytes(),
        hex => {
            let digits = hex["hex"].as_str().unwrap();
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
        }
    };
    let (mut hex, mut linked, mut sparse) = (0, 0, 0);
    for item in items {
        hex += usize::from(item["path"].is_object());
        linked += usize::from(item["link"].is_string() && item["link"] != item["path"]);
        sparse += usize::from(item["holes"].is_array());
        if item["kind"] == "file" {
            let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&bytes(&item["path"])).to_owned();
            let content = fs::read(c.source.join(path)).unwrap();
            assert_eq!(item["size"], content.len(), "{item}");
            assert_eq!(item["blake3"], blake3::hash(&content).to_string(), "{item}");
        }
    }
    assert!(hex > 0 && linked > 0 && sparse > 5, "{hex} {linked} {sparse}");
    let lines = fs::read_to_string(pack.join("manifest.json")).unwrap();
    assert_eq!(lines.lines().filter(|line| line.starts_with("{\"path\"")).count(), items.len(), "a line for each item");
}

/// SHA-256 of what is made of the frozen store v1-plain's newest snapshot: tar-v1, zip-v1 (stored), and of dir-v1 its checksums. They never change.
const FROZEN: [&str; 3] = [
    "198e9383406fee94b25838a320447e1810e7c0e5f0769ce1dc7d9a51e3d4424f",
    "7f2a41d296e8eaa356cdf4f34a7eb68d9909bf13137dc5dcb61facfc36c786fa",
    "bb2638e8b7f84a5fd9553d8e89394187628de01f0efbf8a7982a74de48e4c0e8",
];

#[test]
fn packs_of_a_frozen_store_are_the_same_bytes_in_every_version() {
    let frozen = Sandbox::new();
    let tar = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1-plain.tar");
    Ran::of(Command::new("tar").arg("-C").arg(frozen.path("")).arg("-xf").arg(tar)).done();
    let store = frozen.path("v1-plain");
    let sum = |words: &[&str]| {
        let words = [&["export", "latest", "--accept-loss", "--json", "-o"], words].concat();
        frozen.client().run(&store, words).json()
    };
    let [tar, zip, dir] = ["f.tar", "f.zip", "f"].map(|name| frozen.path(name));
    let tar = sum(&[text(&tar)])["sha256"].as_str().unwrap().to_owned();
    let zip = sum(&[text(&zip), "--compression", "stored"])["sha256"].as_str().unwrap().to_owned();
    let name = sum(&[text(&dir), "--format", "dir"])["snapshots"][0]["name"].as_str().unwrap().to_owned();
    let ran = Ran::of(Command::new("sha256sum").arg(dir.join(name).join("checksums.sha256"))).ended(0);
    let dir = String::from_utf8(ran.stdout).unwrap()[..64].to_owned();
    assert_eq!([tar, zip, dir], FROZEN);
}

#[test]
fn bytes_follow_from_the_snapshot_whatever_the_machine_and_the_store_went_through() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("many")).unwrap();
    for at in 0..300 {
        fs::write(source.join(format!("many/{at}")), noise(at, 3000 + 100 * at as usize)).unwrap();
    }
    // Longer than a part, and compressible; and much shorter than its many pieces.
    fs::write(source.join("long"), "some words in a line\n".repeat(600_000)).unwrap();
    let holes = fs::File::create(source.join("holes")).unwrap();
    holes.set_len(3 << 20).unwrap();
    for at in 0..20 {
        std::os::unix::fs::FileExt::write_all_at(&holes, &noise(at, 4096), at * 65_536).unwrap();
    }
    drop(holes);
    fs::hard_link(source.join("long"), source.join("too")).unwrap();
    sandbox.snapshot(&source, "d").done();
    let id = sandbox.larder(["list", "--json"]).ids().remove(0);
    let formats = [
        &["tar"][..],
        &["tar.zst"],
        &["tar.gz"],
        &["zip"],
        &["zip", "--compression=stored"],
        &["zip", "--compression=zstd"],
    ];
    let packs = |front: &[&str]| {
        formats.map(|format| {
            let mut command = sandbox.client().command(front.first().unwrap_or(&"env"));
            command
                .args(front.get(1..).unwrap_or_default())
                .arg(env!("CARGO_BIN_EXE_larder"))
                .arg("--store")
                .arg(sandbox.store());
            command.args(["export", &id, "-o", "-", "--accept-loss", "--format"]).args(format);
            Ran::of(&mut command).ended(0).stdout
        })
    };
    let before = packs(&[]);
    assert!(before == packs(&["taskset", "-c", "0"]), "on one processor");
    fs::write(source.join("many/0"), "other words").unwrap();
    sandbox.snapshot(&source, "d").done();
    sandbox.larder(["key", "rotate"]).done();
    sandbox.larder(["gc"]).done();
    assert!(before == packs(&[]), "another snapshot, other keys, other blocks");
}

#[test]
fn a_pack_that_gets_too_large_is_refused_and_leaves_nothing() {
    let sandbox = Sandbox::with_open_store();
    let (source, out) = (sandbox.path("source"), sandbox.path("out"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(source.join("file"), noise(1, 3_000_000)).unwrap();
    sandbox.snapshot(&source, "tree").done();
    for format in ["tar", "tar.zst", "tar.gz", "zip", "dir"] {
        let file = out.join("pack");
        let export = |max: &str| {
            sandbox.larder([
                "export",
                "tree",
                "--accept-loss",
                "--format",
                format,
                "--max-size",
                max,
                "-o",
                text(&file),
            ])
        };
        let ran = export("1M").ended(1);
        assert!(
            ran.stderr.contains("1.0 MiB (1048576 bytes)") && ran.stderr.contains("at least"),
            "{format}: {}",
            ran.stderr
        );
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{format}");
        export("4M").done();
        let size = if format == "dir" { 0 } else { fs::metadata(&file).unwrap().len() };
        if size > 0 {
            fs::write(&file, "before").unwrap();
            export(&(size - 1).to_string()).refused(1, "max-size");
            assert_eq!(fs::read(&file).unwrap(), b"before", "{format}");
            export(&size.to_string()).done();
            fs::remove_file(&file).unwrap();
        } else {
            fs::remove_dir_all(&file).unwrap();
        }
    }
    let ran = sandbox.larder(["export", "tree", "--max-size", "100K", "-o", "-"]).ended(1);
    assert!(ran.stdout.len() <= 102_400);
}

#[test]
fn a_pack_on_the_shelf_is_known_and_damage_to_it_too() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), noise(1, 300_000)).unwrap();
    sandbox.snapshot(&source, "tree").done();
    let id = sandbox.larder(["list", "--json"]).ids().remove(0);
    let (file, moved) = (sandbox.path("p.tar.zst"), sandbox.path("moved"));
    let check = |file: &Path, more: &[&str]| sandbox.larder([&["export", "--check", text(file)], more].concat());
    let told = sandbox.larder(["export", "tree", "-o", text(&file), "--json"]).json();
    let ran = Ran::of(Command::new("sha256sum").arg(&file)).ended(0);
    assert!(String::from_utf8_lossy(&ran.stdout).starts_with(told["sha256"].as_str().unwrap()));
    let told = check(&file, &["--json"]).json();
    assert_eq!((&told["intact"], &told["snapshots"], &told["present"]), (&json!(true), &json!([id]), &json!([true])));
    fs::copy(&file, &moved).unwrap();
    let ran = check(&moved, &[]).ended(0);
    assert!(String::from_utf8_lossy(&ran.stdout).contains(&id[..16]));
    // What rotation, repair and gc change is not what packs are known by.
    sandbox.larder(["key", "rotate"]).done();
    sandbox.larder(["repair"]).done();
    check(&file, &[]).done();
    // The same bytes under another name: both names are known from then on, also of what is damaged.
    let (second, third) = (sandbox.path("second.tar.zst"), sandbox.path("third.tar.zst"));
    for other in [&second, &third, &second] {
        sandbox.larder(["export", "tree", "-o", text(other)]).done();
    }
    for other in [&file, &second, &third] {
        check(other, &[]).done();
        let bytes = fs::read(other).unwrap();
        fs::write(other, &bytes[1..]).unwrap();
        check(other, &[]).refused(13, "not what was written");
        fs::write(other, &bytes).unwrap();
    }
    let piped = |file: &Path| {
        let mut command = sandbox.client().larder(&sandbox.store());
        Ran::of(command.args(["export", "--check", "-"]).stdin(fs::File::open(file).unwrap()))
    };
    assert!(String::from_utf8_lossy(&piped(&third).ended(0).stdout).contains("is as it was written"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    check(&file, &[]).refused(13, "not what was written");
    assert_eq!(serde_json::from_slice::<Value>(&check(&file, &["--json"]).ended(13).stdout).unwrap()["intact"], false);
    fs::write(&moved, &bytes).unwrap();
    check(&moved, &[]).refused(10, "knows no pack");
    piped(&moved).refused(10, "knows no pack");
    check(&sandbox.path("none"), &[]).refused(10, "none");
    check(&source, &[]).refused(2, "larder verify");
    // Written to a pipe it had no name.
    let piped = sandbox.larder(["pack", "--bare", "tree", "-o", "-"]).ended(0).stdout;
    fs::write(&moved, piped).unwrap();
    check(&moved, &[]).done();
    sandbox.larder(["forget", "tree", "--reason", "r"]).done();
    sandbox.larder(["gc"]).done();
    let ran = check(&moved, &[]).ended(0);
    assert!(String::from_utf8_lossy(&ran.stdout).contains("no more"));
}

#[test]
fn what_a_snapshot_refers_to_is_listed_looked_at_and_never_packed() {
    let sandbox = Sandbox::with_store();
    let (source, outside) = (sandbox.path("source"), sandbox.path("outside"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "x").unwrap();
    fs::write(&outside, "abc").unwrap();
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let [held, plain, gone] = [
        format!("held={}#sha256={hash}", text(&outside)),
        format!("plain=file://{}", text(&outside)),
        "gone=/none/such".to_owned(),
    ];
    let far = "far=https://example.org/x";
    let words = [
        "snapshot",
        text(&source),
        "-d",
        "tree",
        "--reference",
        &held,
        "--reference",
        &plain,
        "--reference",
        &gone,
        "--reference",
        far,
    ];
    sandbox.larder(words).done();
    let pack = sandbox.path("p");
    let export =
        |more: &[&str]| sandbox.larder([&["export", "tree", "--format=dir", "-o", text(&pack)], more].concat());
    let verified = |told: &Value| {
        let list = told["references"].as_array().unwrap().iter();
        list.map(|r| (r["key"].as_str().unwrap().to_owned(), r["verified"].clone())).collect::<Vec<_>>()
    };
    let told = export(&["--json"]).json();
    let wanted = |held: bool, plain: bool| {
        [("held", json!(held)), ("plain", json!(plain)), ("gone", json!(false)), ("far", Value::Null)]
            .map(|(key, value)| (key.to_owned(), value))
    };
    assert_eq!(verified(&told), wanted(true, true));
    let name = told["snapshots"][0]["name"].as_str().unwrap().to_owned();
    let manifest = fs::read(pack.join(&name).join("manifest.json")).unwrap();
    let listed: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(listed["snapshot"]["references"].as_array().unwrap().len(), 4);
    assert_eq!(fs::read_dir(pack.join(&name).join("content")).unwrap().count(), 1);
    fs::write(&outside, "abd").unwrap();
    fs::remove_dir_all(&pack).unwrap();
    let ran = export(&[]).ended(0);
    assert!(ran.stderr.contains("reference held") && ran.stderr.contains("reference gone"), "{}", ran.stderr);
    assert!(
        fs::read(pack.join(&name).join("manifest.json")).unwrap() == manifest,
        "what is so today is not in the pack"
    );
}

#[test]
fn snapshots_and_parts_of_them_each_stand_by_themselves() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    for folder in ["a", "b/in", "c"] {
        fs::create_dir_all(source.join(folder)).unwrap();
    }
    fs::write(source.join("a/first"), "several names").unwrap();
    fs::hard_link(source.join("a/first"), source.join("b/second")).unwrap();
    fs::hard_link(source.join("a/first"), source.join("b/in/third")).unwrap();
    symlink("../a", source.join("c/link")).unwrap();
    fs::write(source.join("c!"), "sorts between c and what is in it").unwrap();
    sandbox.snapshot(&source, "one").done();
    fs::write(source.join("a/first"), "other words").unwrap();
    sandbox.snapshot(&source, "two").done();
    for (at, format) in ["tar", "zip", "dir"].into_iter().enumerate() {
        let (file, dest) = (sandbox.path(format!("p.{format}")), unpacked(&sandbox, &format!("out{at}")));
        let what = ["two", "one:c", "one:b", "one:b/in", "one:c!"];
        let told = sandbox
            .larder([&["export", "--accept-loss", "--json", "--format", format, "-o", text(&file)][..], &what].concat())
            .json();
        let names: Vec<_> = told["snapshots"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert!(names.len() == 2 && names[0].starts_with("two-") && names[1].starts_with("one-"), "{names:?}");
        assert_eq!((&told["snapshots"][0]["whole"], &told["snapshots"][1]["whole"]), (&json!(true), &json!(false)));
        let dest = match format {
            "tar" => {
                Ran::of(Command::new("tar").arg("-xpf").arg(&file).arg("-C").arg(&dest)).done();
                dest
            }
            "zip" => {
                Ran::of(Command::new("unzip").arg("-q").arg(&file).arg("-d").arg(&dest)).done();
                dest
            }
            _ => file,
        };
        let mut there: Vec<_> =
            fs::read_dir(&dest).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        assert_eq!(there, [names[1], names[0]]);
        names.iter().for_each(|name| checksums_hold(&dest.join(name)));
        let part = dest.join(names[1]);
        let manifest: Value = serde_json::from_slice(&fs::read(part.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["paths"], json!(["b", "c", "c!"]));
        let paths: Vec<_> =
            manifest["inventory"].as_array().unwrap().iter().map(|i| i["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["b", "b/in", "b/in/third", "b/second", "c", "c/link", "c!"]);
        assert_eq!(manifest["inventory"][3]["link"], "b/in/third");
        let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(part.join(path)).unwrap());
        assert_eq!(fs::read_to_string(part.join("content/b/in/third")).unwrap(), "several names");
        assert_eq!(inode("content/b/in/third") == inode("content/b/second"), format != "zip");
        assert!(!part.join("content/a").exists());
    }
    sandbox.larder(["export", "--bare", "one", "two", "-o", "-"]).refused(2, "one snapshot");
}

#[test]
fn whoever_is_killed_leaves_nothing_that_matters() {
    let sandbox = Sandbox::with_open_store();
    let (source, out) = (sandbox.path("source"), sandbox.path("out"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&out).unwrap();
    for at in 0..200 {
        fs::write(source.join(at.to_string()), noise(at, 400_000)).unwrap();
    }
    sandbox.snapshot(&source, "tree").done();
    for format in ["tar", "zip", "dir"] {
        let output = out.join("pack");
        let mut command = sandbox.client().alone();
        command.arg("--store").arg(sandbox.store()).args(["export", "tree", "--accept-loss", "--format", format, "-o"]);
        let mut child = command.arg(&output).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !has_begun(child.id(), &out) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(10));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!output.exists(), "{format}: it may have been too quick for this test");
        let left: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        // A folder needs a name from the start; the next export to the same place clears it away.
        assert!(left.iter().all(|name| format == "dir" && name.starts_with(".pack.")), "{format}: {left:?}");
        sandbox.larder(["export", "tree", "--accept-loss", "--format", format, "-o", text(&output)]).done();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "{format}");
        if output.is_dir() { fs::remove_dir_all(&output).unwrap() } else { fs::remove_file(&output).unwrap() }
    }
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let sandbox = Sandbox::with_open_store();
    let (source, disk) = (sandbox.path("source"), sandbox.path("disk"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&disk).unwrap();
    fs::write(source.join("file"), noise(1, 5_000_000)).unwrap();
    sandbox.snapshot(&source, "tree").done();
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=4M", "tmpfs"], disk.clone());
    fs::write(disk.join("pack"), "before").unwrap();
    for format in ["tar", "tar.zst", "zip"] {
        let words =
            ["export", "tree", "--accept-loss", "--format", format, "-o", text(&disk.join("pack"))].map(str::to_owned);
        sandbox.larder(words).refused(1, "no space left");
        assert_eq!(fs::read(disk.join("pack")).unwrap(), b"before");
        assert_eq!(fs::read_dir(&disk).unwrap().count(), 1, "{format}");
    }
    sandbox.larder(["export", "tree", "--format", "dir", "-o", text(&disk.join("folder"))]).refused(1, "no space left");
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 1);
}
