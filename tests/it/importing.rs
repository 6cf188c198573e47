//! Imports: what a snapshot was, or an archive of somebody else's holds, becomes a snapshot, whole or not at all.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::by_hand::{awkward, python, same_by_rsync, storeless, tar, text};
use crate::keys::member;
use crate::mounting::Mount;
use crate::sandbox::{Ran, Sandbox, compare, model, noise};

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
        sandbox.larder(["import", text(&pack)]).refused(2, word);
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
        // It may have come when all was done but saying so.
        let ids = other.larder(["list", "--json"]).ids();
        assert!(ids.len() <= 1 && (ids.len() == 1 || !ended.success()), "{signal} after {after} ms: {ids:?}");
        other.larder(["verify", "--read-data"]).done();
        if let [id] = &ids[..] {
            let out = other.path("out");
            other.larder(["restore", id, text(&out)]).done();
            compare(&model(&source), &model(&out)).unwrap();
            fs::remove_dir_all(out).unwrap();
            other.larder(["forget", id]).done();
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

/// As GNU tar takes them: parts of a name that lead nowhere are left out, and of a folder that is told of again the last word counts.
#[test]
fn names_as_somebody_typed_them_and_folders_told_of_twice() {
    let sandbox = Sandbox::with_store();
    let pack = tar(
        &sandbox,
        "typed.tar",
        "
add('./', tarfile.DIRTYPE, mode=0o700, mtime=1600000000)
add('a/./', tarfile.DIRTYPE, mode=0o700, mtime=1600000000)
add('a/./b', data=b'1')
add('c', tarfile.DIRTYPE)
add('c//d', data=b'2')
add('.//c/./e', tarfile.LNKTYPE, link='c/./d')
add('a', tarfile.DIRTYPE, mode=0o750, mtime=1650000000, uid=12, gid=34)
add('c/.', tarfile.DIRTYPE, mode=0o711, mtime=1660000000)
add('.', tarfile.DIRTYPE, mode=0o755, mtime=1670000000)
",
    );
    let [gnu, restored, unpacked] = ["gnu", "restored", "unpacked"].map(|name| sandbox.path(name));
    fs::create_dir(&gnu).unwrap();
    Ran::of(Command::new("tar").arg("-xpf").arg(&pack).arg("-C").arg(&gnu)).done();
    sandbox.larder(["import", text(&pack)]).done();
    sandbox.larder(["restore", "typed", text(&restored)]).done();
    storeless(&sandbox, &["unpack", text(&pack), text(&unpacked)]).done();
    compare(&model(&gnu), &model(&restored)).unwrap();
    compare(&model(&gnu), &model(&unpacked)).unwrap();
    storeless(&sandbox, &["verify", text(&pack)]).done();
    let shown = sandbox.larder(["show", "typed", "--json"]).json();
    assert_eq!((&shown["files"], &shown["folders"]), (&3.into(), &2.into()));
}

#[test]
fn names_that_are_one_name_elsewhere_are_refused_unless_somebody_wants_them() {
    let sandbox = Sandbox::with_store();
    let members = "add('net/xt_MARK.h', data=b'1'); add('net/ok', data=b'2'); add('net/xt_mark.h', data=b'3')";
    let pack = tar(&sandbox, "kernel.tar", members);
    let folders = tar(&sandbox, "folders.tar", "add('caf\\u00e9/a', data=b'1'); add('cafe\\u0301/b', data=b'2')");
    let out = sandbox.path("out");
    for (pack, name) in [(&pack, "net/xt_mark.h"), (&folders, "cafe\u{301}")] {
        for alike in [&[][..], &["--alike=refuse"]] {
            sandbox.larder([&["import", text(pack)], alike].concat()).refused(2, name);
            sandbox.larder([&["import", "-n", text(pack)], alike].concat()).refused(2, "--alike tell");
            storeless(&sandbox, &[&["unpack", text(pack), text(&out)], alike].concat()).refused(2, name);
            assert!(!out.exists());
        }
        storeless(&sandbox, &["verify", text(pack)]).done();
        storeless(&sandbox, &["verify", text(pack), "--alike", "refuse"]).refused(2, "");
    }
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), [""; 0]);
    let ran = sandbox.larder(["import", text(&pack), "--alike", "tell"]).ended(0);
    assert!(ran.stderr.contains("1 name is like another") && ran.stderr.contains("net/xt_mark.h"), "{}", ran.stderr);
    let told = storeless(&sandbox, &["unpack", text(&pack), text(&out), "--alike=tell", "--json"]).json();
    assert_eq!((&told["alike"], &told["files"]), (&1.into(), &3.into()));
    // A pack of Larder's lists both; a user may refuse it all the same.
    let own = sandbox.path("own.tar");
    sandbox.larder(["export", "kernel", "-o", text(&own)]).done();
    let told = sandbox.larder(["import", text(&own), "-d", "again", "--json"]).json();
    assert_eq!((&told["alike"], &told["lost"]), (&1.into(), &0.into()));
    sandbox.larder(["import", text(&own), "--alike=refuse"]).refused(2, "net/xt_mark.h");
}

/// What makes no sense is not taken, and whoever takes the rest is told.
#[test]
fn an_acl_that_makes_no_sense_is_a_loss() {
    let sandbox = Sandbox::with_store();
    let members = "
add('ok', data=b'1')
add('odd', data=b'2', pax_headers={'SCHILY.acl.access': 'user::rw-,nonsense'})
add('nfs', data=b'3', pax_headers={'SCHILY.acl.ace': 'owner@:rw:allow'})
";
    let pack = tar(&sandbox, "acl.tar", members);
    let out = sandbox.path("out");
    for ran in [
        sandbox.larder(["import", text(&pack)]),
        sandbox.larder(["import", "-n", text(&pack)]),
        storeless(&sandbox, &["unpack", text(&pack), text(&out)]),
        storeless(&sandbox, &["verify", text(&pack)]),
    ] {
        let ran = ran.ended(3);
        assert!(ran.stderr.contains("odd: its ACL is left out") && ran.stderr.contains("NFSv4"), "{}", ran.stderr);
    }
    assert_eq!(fs::read(out.join("odd")).unwrap(), b"2");
    let report = storeless(&sandbox, &["verify", text(&pack), "--json"]).ended(3);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&report["lost"], &report["damaged"]), (&2.into(), &false.into()));
    assert_eq!(sandbox.larder(["ls", "acl"]).ended(0).stdout.split(|b| *b == b'\n').count() - 1, 3);
}
