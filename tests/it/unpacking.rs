//! Unpacking without a store: what a restore would give, or nothing at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::by_hand::{awkward, names, same_by_rsync, storeless as larder, tar, text};
use crate::mounting::Mount;
use crate::sandbox::{Ran, Sandbox, compare, model, noise};

#[test]
fn a_tar_of_the_awkward_tree_is_that_tree_again() {
    let sandbox = Sandbox::with_store();
    let source = awkward(&sandbox);
    sandbox.snapshot(&source, "awkward").done();
    let (pack, out) = (sandbox.path("t.tar"), sandbox.path("made/on the way/out"));
    let _ran = sandbox.larder(["export", "--bare", "awkward", "-o", text(&pack), "--accept-loss"]).ended(0);
    larder(&sandbox, &["unpack", text(&pack), text(&out)]).refused(2, "--allow");
    assert!(!out.exists() && names(out.parent().unwrap()).is_empty());
    larder(&sandbox, &["unpack", text(&pack), text(&out), "--allow", "links,devices"]).done();
    same_by_rsync(&sandbox, &source, &out);
    let compared = Ran::of(
        Command::new("tar")
            .args(["--compare", "--acls", "--xattrs", "--exclude=./deep", "-f"])
            .arg(&pack)
            .arg("-C")
            .arg(&out),
    );
    assert_eq!((compared.status, compared.stderr.as_str()), (0, ""), "{}", String::from_utf8_lossy(&compared.stdout));
    assert_eq!(names(out.parent().unwrap()), ["out"]);
}

#[test]
fn members_may_come_in_any_order() {
    let sandbox = Sandbox::new();
    let pack = tar(
        &sandbox,
        "chaos.tar",
        "
add('locked/deeper/file', data=b'in', mtime=1500000000)
add('locked', tarfile.DIRTYPE, mode=0o500, mtime=1600000000)
add('a/first', data=b'first' * 1000, mode=0o600)
add('locked/later', data=b'later')
add('b/name', tarfile.LNKTYPE, link='a/first')
add('a', tarfile.DIRTYPE, mode=0o700, mtime=1600000000)
add('locked/deeper', tarfile.DIRTYPE, mode=0, mtime=1600000001)
add('link', tarfile.SYMTYPE, link='a/first')
",
    );
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    larder(&sandbox, &["unpack", text(&pack), text(&out)]).done();
    let found = model(&out);
    let has = |path: &str, words: &str| {
        assert!(found[path.as_bytes()].contains(words), "{path}: {}", found[path.as_bytes()]);
    };
    has("a", "40000 700 1600000000");
    has("locked", "40000 500 1600000000");
    has("locked/deeper", "40000 0 1600000001");
    has("b/name", "100000 600 1700000000");
    has("b/name", "linked to \"a/first\"");
    has("link", "-> \"a/first\"");
    assert_eq!(names(&sandbox.path("")), ["chaos.tar", "home", "out"]);
}

#[test]
fn nothing_is_written_outside_and_what_is_refused_leaves_nothing() {
    let sandbox = Sandbox::new();
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    let to_outside = format!("'{}'", text(&outside));
    for (name, members, word) in [
        ("up.tar", "add('ok'); add('../evil', data=b'1')".to_owned(), "evil"),
        ("inner.tar", "add('a/../../evil', data=b'1')".to_owned(), "evil"),
        ("absolute.tar", format!("add({to_outside} + '/evil', data=b'1')"), "evil"),
        ("link.tar", format!("add('l', tarfile.SYMTYPE, link={to_outside}); add('l/evil', data=b'1')"), "l"),
        ("relative.tar", "add('l', tarfile.SYMTYPE, link='../outside'); add('l/evil', data=b'1')".to_owned(), "l"),
        (
            "inside.tar",
            "add('d', tarfile.DIRTYPE); add('l', tarfile.SYMTYPE, link='d'); add('l/x', data=b'1')".to_owned(),
            "l",
        ),
        ("hard.tar", format!("add('h', tarfile.LNKTYPE, link={to_outside} + '/x')"), "h"),
        ("over.tar", "add('l', tarfile.SYMTYPE, link='x'); add('l', data=b'1')".to_owned(), "l"),
        ("device.tar", "add('dev', tarfile.CHRTYPE, devmajor=1, devminor=3)".to_owned(), "--allow"),
        ("twice.tar", "add('a', data=b'1'); add('a', data=b'2')".to_owned(), "a"),
        ("through.tar", "add('a', data=b'1'); add('a/b', data=b'2')".to_owned(), "a"),
    ] {
        let pack = tar(&sandbox, name, &members);
        let out = sandbox.path("out");
        larder(&sandbox, &["unpack", text(&pack), text(&out)]).refused(2, word);
        assert!(!out.exists(), "{name}");
        fs::remove_file(&pack).unwrap();
        assert_eq!(names(&sandbox.path("")), ["home", "outside"], "{name}");
    }
    // With links let in, a member that goes through one is refused all the same.
    let members = format!("add('l', tarfile.SYMTYPE, link={to_outside}); add('l/evil', data=b'1')");
    let pack = tar(&sandbox, "let-in.tar", &members);
    larder(&sandbox, &["unpack", text(&pack), text(&sandbox.path("out")), "--allow=links"]).refused(2, "l");
    assert_eq!(names(&outside), [""; 0]);
    let device = tar(&sandbox, "device.tar", "add('dev', tarfile.CHRTYPE, devmajor=1, devminor=3)");
    let out = sandbox.path("out");
    larder(&sandbox, &["unpack", text(&device), text(&out), "--allow=devices"]).done();
    assert_eq!(fs::symlink_metadata(out.join("dev")).unwrap().rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn what_is_there_stays() {
    let sandbox = Sandbox::new();
    let pack = tar(&sandbox, "t.tar", "add('a', data=b'1')");
    let (full, file) = (sandbox.path("full"), sandbox.path("file"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "mine").unwrap();
    fs::write(&file, "mine").unwrap();
    larder(&sandbox, &["unpack", text(&pack), text(&full)]).refused(2, "not empty");
    larder(&sandbox, &["unpack", text(&pack), text(&file)]).refused(1, "not a folder");
    larder(&sandbox, &["unpack", text(&pack), "/"]).refused(2, "not empty");
    assert_eq!((names(&full), fs::read(&file).unwrap()), (vec!["mine".to_owned()], b"mine".to_vec()));
    larder(&sandbox, &["unpack", "none.tar", text(&sandbox.path("x"))]).refused(10, "none.tar");
}

#[test]
fn others_than_root_get_their_own_and_are_told() {
    let sandbox = Sandbox::new();
    let pack = tar(
        &sandbox,
        "t.tar",
        "
add('theirs', data=b'1', mode=0o4755, uid=12345, gid=12345)
add('d', tarfile.DIRTYPE, mode=0o000, uid=12345)
add('d/in', data=b'2')
",
    );
    let place = sandbox.path("place");
    fs::create_dir(&place).unwrap();
    for path in [sandbox.path(""), place.clone(), pack.clone(), sandbox.client().home().to_owned()] {
        Ran::of(Command::new("chmod").arg("a+rwx").arg(path)).done();
    }
    let mut command = sandbox.client().command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", env!("CARGO_BIN_EXE_larder"), "unpack"]);
    let ran = Ran::of(command.arg(&pack).arg(place.join("out"))).ended(0);
    assert!(ran.stderr.contains("only root"), "{}", ran.stderr);
    let meta = fs::metadata(place.join("out/theirs")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (65534, 0o755));
    assert_eq!(fs::metadata(place.join("out/d")).unwrap().mode() & 0o7777, 0);
}

#[test]
fn a_kill_leaves_no_half_tree_and_the_next_one_clears_up() {
    let sandbox = Sandbox::new();
    let pack = tar(
        &sandbox,
        "t.tar",
        "
import random
for n in range(3000): add('d%d/f%d' % (n % 50, n), data=random.randbytes(20000))
",
    );
    let out = sandbox.path("place/out");
    let place = sandbox.path("place");
    let mut killed = 0;
    for after in [30, 80, 150] {
        let mut command = sandbox.client().alone();
        let mut child = command.args(["unpack", text(&pack), text(&out)]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        let _ = child.kill();
        if child.wait().unwrap().success() {
            fs::remove_dir_all(&out).unwrap();
        } else {
            assert!(!out.exists(), "killed after {after} ms");
            killed += u32::from(place.exists() && !names(&place).is_empty());
        }
    }
    assert!(killed > 0, "no run was cut short in its middle");
    larder(&sandbox, &["unpack", text(&pack), text(&out)]).done();
    assert_eq!(names(&place), ["out"]);
    assert_eq!(names(&out).len(), 50);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path("disk");
    fs::create_dir(&disk).unwrap();
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=8m", "tmpfs"], disk.clone());
    let pack = tar(&sandbox, "t.tar", "for n in range(20): add('f%d' % n, data=bytes([n + 1]) * 1000000)");
    // What is free is looked at first, and some of it is left for others; whoever names a bound meets the disk's own.
    larder(&sandbox, &["unpack", text(&pack), text(&disk.join("out"))]).refused(1, "more than the disk has space for");
    assert_eq!(names(&disk), [""; 0]);
    larder(&sandbox, &["unpack", text(&pack), text(&disk.join("out")), "--max-total=1G"]).refused(1, "no space left");
    assert_eq!(names(&disk), [""; 0]);
    // Holes take no room.
    let sparse = sandbox.path("sparse");
    fs::File::create(&sparse).unwrap().set_len(1 << 30).unwrap();
    let holes = sandbox.path("holes.tar");
    Ran::of(Command::new("tar").args(["-S", "-cf"]).arg(&holes).arg("-C").arg(sandbox.path("")).arg("sparse")).done();
    larder(&sandbox, &["unpack", text(&holes), text(&disk.join("out"))]).done();
    assert_eq!(fs::metadata(disk.join("out/sparse")).unwrap().len(), 1 << 30);
}

#[test]
fn holes_stay_holes_and_zips_are_unpacked_too() {
    let sandbox = Sandbox::new();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 20 << 20).unwrap();
    fs::write(source.join("plain"), noise(1, 2_000_000)).unwrap();
    let (pack, zip) = (sandbox.path("t.tar.gz"), sandbox.path("t.zip"));
    Ran::of(Command::new("tar").args(["-S", "-czf"]).arg(&pack).arg("-C").arg(&source).arg(".")).done();
    let out = sandbox.path("out");
    larder(&sandbox, &["unpack", text(&pack), text(&out)]).done();
    let (expected, mut found) = (model(&source), model(&out));
    // Tar does not tell fractions of seconds unless asked.
    for (path, words) in &mut found {
        let theirs = &expected[path];
        let cut = |text: &str| {
            text.split(' ').enumerate().filter(|(n, _)| *n != 2).map(|(_, w)| w.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(cut(theirs), cut(words));
        words.clone_from(theirs);
    }
    compare(&expected, &found).unwrap();
    Ran::of(Command::new("python3").args(["-c", "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1], 'w'); z.write(sys.argv[2], 'a/plain'); z.close()"]).arg(&zip).arg(source.join("plain"))).done();
    let told = larder(&sandbox, &["unpack", text(&zip), text(&sandbox.path("z")), "--json"]).json();
    assert_eq!((&told["files"], &told["folders"]), (&1.into(), &1.into()));
    assert!(fs::read(sandbox.path("z/a/plain")).unwrap() == fs::read(source.join("plain")).unwrap());
}

/// Whoever packs a pack again, in whatever order, must not get its files unproved.
#[test]
fn a_pack_that_was_packed_again_is_not_taken_for_somebody_elses() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    sandbox.snapshot(&source, "d").done();
    let (pack, by_hand) = (sandbox.path("p.tar"), sandbox.path("by hand"));
    sandbox.larder(["export", "d", "-o", text(&pack)]).done();
    fs::create_dir(&by_hand).unwrap();
    Ran::of(Command::new("tar").arg("-xf").arg(&pack).arg("-C").arg(&by_hand)).done();
    let name = names(&by_hand).remove(0);
    let inside = by_hand.join(&name);
    // Its own order, folders or not, the name of the folder or not.
    let orders: [(&Path, &[&str]); 3] = [
        (
            &by_hand,
            &[&format!("{name}/content"), &format!("{name}/checksums.sha256"), &format!("{name}/manifest.json")],
        ),
        (&by_hand, &["--no-recursion", &name, &format!("{name}/README.txt"), &format!("{name}/manifest.json")]),
        (&inside, &["content", "manifest.json"]),
    ];
    for (from, members) in orders {
        let again = sandbox.path("again.tar");
        Ran::of(Command::new("tar").arg("-cf").arg(&again).arg("-C").arg(from).args(members)).done();
        larder(&sandbox, &["unpack", text(&again), text(&sandbox.path("out"))]).refused(13, "name the folder");
        assert!(!sandbox.path("out").exists());
        sandbox.larder(["import", text(&again)]).refused(13, "name the folder");
    }
    // As it says, the folder is proved.
    let out = sandbox.path("out");
    larder(&sandbox, &["unpack", text(&inside), text(&out)]).done();
    assert_eq!(fs::read(out.join("file")).unwrap(), b"content");
    fs::write(inside.join("content/file"), "another").unwrap();
    larder(&sandbox, &["unpack", text(&inside), text(&sandbox.path("out 2"))]).refused(13, "content/file");
}

#[test]
fn all_is_on_the_disk_before_the_folder_has_its_name() {
    let sandbox = Sandbox::new();
    let pack = tar(&sandbox, "t.tar", "add('a/b', data=b'1' * 100000)");
    let [log, out] = ["log", "out"].map(|name| sandbox.path(name));
    let mut command = sandbox.client().command("strace");
    command.args(["-f", "-o", text(&log), "-e", "trace=write,pwrite64,syncfs,fsync,rename,renameat2"]);
    Ran::of(command.args([env!("CARGO_BIN_EXE_larder"), "unpack", text(&pack), text(&out)])).done();
    let lines: Vec<_> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    let last = |call: &str| lines.iter().rposition(|line| line.contains(call)).unwrap_or_else(|| panic!("no {call}"));
    let named = lines.iter().position(|line| line.contains("rename") && line.contains("/out\"")).unwrap();
    assert!(last("pwrite64(") < last("syncfs(") && last("syncfs(") < named && named < last("fsync("), "{lines:?}");
}
