//! `larder verify PACK`: a pack that is whole, one that is not, and archives that say nothing of themselves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::by_hand::{changed, storeless, text};
use crate::sandbox::{Ran, Sandbox, noise};

/// A store with a snapshot of a tree with everything that its manifest has words for.
fn captured(has_holes: bool) -> Sandbox {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder/empty")).unwrap();
    fs::write(source.join("folder/text"), "text ".repeat(10_000)).unwrap();
    fs::write(source.join("large"), noise(1, 3_000_000)).unwrap();
    fs::write(source.join("odd\nname\\"), "odd").unwrap();
    fs::hard_link(source.join("large"), source.join("second")).unwrap();
    symlink("folder/text", source.join("link")).unwrap();
    if has_holes {
        fs::File::create(source.join("sparse")).unwrap().set_len(1 << 20).unwrap();
    }
    sandbox.snapshot(&source, "tree").done();
    sandbox
}

fn packed(sandbox: &Sandbox, name: &str) -> PathBuf {
    let pack = sandbox.path(name);
    sandbox.larder(["export", "tree", "-o", text(&pack), "--accept-loss"]).done();
    pack
}

/// Verifies without any store.
fn verified(sandbox: &Sandbox, pack: &str) -> Ran {
    let mut command = sandbox.client().larder(Path::new("/nonexistent"));
    command.args(["verify", "--json", pack]);
    Ran::of(&mut command)
}

fn findings(report: &serde_json::Value) -> Vec<String> {
    let list = report["findings"].as_array().unwrap();
    list.iter().map(|f| format!("{}: {}", f["member"].as_str().unwrap_or("-"), f["why"].as_str().unwrap())).collect()
}

#[test]
fn whole_packs_of_every_format() {
    let sandbox = captured(true);
    for name in ["t.tar", "t.tar.zst", "t.tar.gz", "t.zip"] {
        let pack = packed(&sandbox, name);
        let report = verified(&sandbox, text(&pack)).json();
        assert_eq!(report["damaged"], false, "{name}: {report}");
        assert_eq!(report["snapshots"][0]["whole"], true, "{name}: {report}");
        assert_eq!(report["snapshots"][0]["dataset"], "tree", "{name}");
        assert_eq!(findings(&report), [""; 0], "{name}");
        let mut piped = sandbox.client().larder(Path::new("/nonexistent"));
        piped.args(["verify", "-"]).stdin(Stdio::from(fs::File::open(&pack).unwrap()));
        let told = String::from_utf8_lossy(&Ran::of(&mut piped).ended(0).stdout).into_owned();
        assert!(told.contains("no damage") && told.contains("whole: tree-"), "{name}: {told}");
        let cat =
            format!("cat {} | {} --store /nonexistent verify - --json", text(&pack), env!("CARGO_BIN_EXE_larder"));
        Ran::of(sandbox.client().command("sh").args(["-c", &cat])).done();
    }
    let folder = sandbox.path("as-folder");
    sandbox.larder(["export", "tree", "--format", "dir", "-o", text(&folder)]).done();
    let pack = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    for at in [&folder, &pack] {
        let report = verified(&sandbox, text(at)).json();
        assert_eq!((&report["damaged"], &report["snapshots"][0]["whole"]), (&false.into(), &true.into()), "{report}");
    }
    fs::write(pack.join("content/folder/text"), "changed").unwrap();
    let report: serde_json::Value = serde_json::from_slice(&verified(&sandbox, text(&pack)).ended(13).stdout).unwrap();
    assert!(findings(&report).iter().any(|f| f.contains("content/folder/text")), "{report}");
}

#[test]
fn whatever_is_not_as_the_pack_says_is_named() {
    // Python writes holes otherwise.
    let sandbox = captured(false);
    let pack = packed(&sandbox, "t.tar");
    for (change, member, why) in [
        ("put(of('folder/text'), b'x' * 50000)", "content/folder/text", "BLAKE3"),
        ("put(of('folder/text'), b'short')", "content/folder/text", ""),
        ("del members[of('folder/text')]", "folder/text", ""),
        (
            "m = tarfile.TarInfo(members[0][0].name + '/content/zz'); members.insert(of('checksums.sha256'), (m, b''))",
            "content/zz",
            "",
        ),
        ("members[of('folder/text')][0].mode = 0o777", "content/folder/text", "mode"),
        ("members[of('link')][0].linkname = '/etc'", "content/link", "target"),
        ("put(of('checksums.sha256'), b'')", "checksums.sha256", ""),
        ("i = of('checksums.sha256'); put(i, members[i][1].split(b'\\n', 1)[1])", "manifest.json", ""),
        ("i = of('checksums.sha256'); put(i, members[i][1] + b'0' * 64 + b'  ../../etc/passwd\\n')", "etc/passwd", ""),
        ("i = of('manifest.json'); put(i, members[i][1].replace(b'\"0644\"', b'\"0600\"', 1))", "manifest.json", ""),
        ("put(of('README.txt'), b'changed')", "README.txt", ""),
        ("del members[of('checksums.sha256')]", "", "cut short"),
    ] {
        let changed = changed(&sandbox, &pack, change);
        let ran = verified(&sandbox, text(&changed)).ended(13);
        let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        let found = findings(&report);
        assert!(found.iter().any(|f| f.contains(member) && f.contains(why)), "{change}: {found:?}");
        assert_eq!(report["damaged"], true);
    }
    // Of one that went through another program the headers are that one's, and nothing else.
    let same = changed(&sandbox, &pack, "pass");
    let report: serde_json::Value = serde_json::from_slice(&verified(&sandbox, text(&same)).ended(13).stdout).unwrap();
    let known = |f: &String| ["attribute", "time", "written otherwise than tar-v1"].iter().any(|why| f.contains(why));
    assert!(findings(&report).iter().all(known), "{report}");
}

#[test]
fn cut_and_flipped_packs_are_damaged() {
    let sandbox = captured(true);
    for name in ["t.tar", "t.tar.zst", "t.zip"] {
        let whole = fs::read(packed(&sandbox, name)).unwrap();
        let bad = sandbox.path("bad");
        for len in [whole.len() / 3, whole.len() / 2] {
            fs::write(&bad, &whole[..len]).unwrap();
            assert_eq!(verified(&sandbox, text(&bad)).status, 13, "{name} cut to {len}");
        }
        for at in [1, 2, 3].map(|n| whole.len() / 8 * n) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&bad, &flipped).unwrap();
            assert_eq!(verified(&sandbox, text(&bad)).status, 13, "{name} flipped at {at}");
        }
    }
}

#[test]
fn other_archives_are_read_and_hostile_ones_refused() {
    let sandbox = Sandbox::new();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "hello").unwrap();
    let tar = sandbox.path("foreign.tar.xz");
    Ran::of(Command::new("tar").arg("-cJf").arg(&tar).arg("-C").arg(&source).arg(".")).done();
    let report = verified(&sandbox, text(&tar)).json();
    assert_eq!((&report["bare"], &report["damaged"], &report["members"]), (&true.into(), &false.into(), &2.into()));
    assert_eq!(report["around"][0], "xz");
    let zip = sandbox.path("hostile.zip");
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\nz.writestr('good', 'x')\nz.writestr('../bad', 'x')\nz.close()";
    Ran::of(Command::new("python3").args(["-c", script]).arg(&zip)).done();
    let ran = verified(&sandbox, text(&zip)).ended(2);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(findings(&report), ["../bad: its path leads upwards with `..`"]);
    assert_eq!((&report["cut_short"], &report["members"]), (&false.into(), &1.into()));
    let bomb = sandbox.path("bomb.gz");
    let script = "import sys, gzip, io, tarfile\nt = tarfile.open(sys.argv[1], 'w:gz')\nm = tarfile.TarInfo('zeros')\nm.size = 200 << 20\n\
        class Z(io.RawIOBase):\n    def read(self, n): return bytes(n)\nt.addfile(m, Z())\nt.close()";
    Ran::of(Command::new("python3").args(["-c", script]).arg(&bomb)).done();
    let ran = verified(&sandbox, text(&bomb)).ended(2);
    assert!(String::from_utf8_lossy(&ran.stdout).contains("--max-ratio"));
    sandbox.larder(["verify", text(&bomb), "--max-ratio", "100000"]).done();
    sandbox.larder(["verify", text(&bomb), "--max-ratio", "100000", "--max-total", "1M"]).refused(2, "");
    sandbox.larder(["verify", text(&bomb), "--read-data"]).refused(2, "--read-data");
    fs::write(&bomb, "no archive").unwrap();
    sandbox.larder(["verify", text(&bomb)]).refused(2, "no archive");
    sandbox.larder(["init", "--unencrypted"]).done();
    sandbox.larder(["verify", text(&sandbox.store())]).refused(2, "--store");
    sandbox.larder(["verify", "/nonexistent.tar"]).refused(10, "cannot read");
}

#[test]
fn a_folder_without_a_pack_is_not_said_to_be_whole() {
    let sandbox = Sandbox::new();
    let vault = sandbox.path("vault");
    fs::create_dir(&vault).unwrap();
    let told = storeless(&sandbox, &["verify", text(&vault)]).ended(10);
    assert!(told.stderr.contains("no pack"), "{}", told.stderr);
    fs::write(vault.join("something.tar"), "no tar").unwrap();
    let told = storeless(&sandbox, &["verify", text(&vault), "--json"]).ended(10);
    assert!(String::from_utf8_lossy(&told.stdout).contains("\"not_found\""), "{told:?}");
}

#[test]
fn what_a_pack_declares_is_no_bomb() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("zeros"), vec![0; 100 << 20]).unwrap();
    fs::File::create(source.join("disk.img")).unwrap().set_len(200 << 20).unwrap();
    sandbox.snapshot(&source, "d").done();
    for name in ["t.tar.zst", "t.tar.gz", "t.zip"] {
        let pack = sandbox.path(name);
        sandbox.larder(["export", "d", "-o", text(&pack), "--accept-loss"]).done();
        let told = storeless(&sandbox, &["verify", text(&pack), "--json"]).json();
        assert_eq!(told["damaged"], false, "{name}");
        assert!(told["bytes"].as_u64() > Some(300 << 20), "{name}: {told}");
        let out = sandbox.path("out");
        storeless(&sandbox, &["unpack", text(&pack), text(&out)]).done();
        assert_eq!(fs::metadata(out.join("zeros")).unwrap().len(), 100 << 20);
        fs::remove_dir_all(&out).unwrap();
        sandbox.larder(["import", text(&pack)]).done();
        // The same from somebody who has declared nothing.
        let bare = sandbox.path(format!("bare-{name}"));
        sandbox.larder(["export", "d", "--bare", "-o", text(&bare), "--accept-loss"]).done();
        let told = storeless(&sandbox, &["verify", text(&bare)]).ended(2);
        let told = String::from_utf8_lossy(&told.stdout).into_owned() + &told.stderr;
        assert!(told.contains("--max-ratio") && told.contains("was not looked at"), "{name}: {told}");
    }
}
