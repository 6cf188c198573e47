//! Archives as tar writes them when it is asked to: absolute names, members appended to what was there. What `--allow` lets in is what tar makes of it. And parts
//! of an archive.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::by_hand::{names, storeless, tar, text};
use crate::sandbox::{Ran, Sandbox, compare, model, noise};

fn gnu(words: &[&str]) {
    Ran::of(Command::new("tar").args(words)).done();
}

/// What GNU tar makes of an archive, and what Larder does with an option: the same, unpacked and imported.
fn same_as_tar(sandbox: &Sandbox, pack: &Path, allow: &str, inside: &str) {
    let [theirs, ours, restored] = ["theirs", "ours", "restored"].map(|name| sandbox.path(name));
    fs::create_dir(&theirs).unwrap();
    let _told = Ran::of(Command::new("tar").arg("-xpf").arg(pack).arg("-C").arg(&theirs)).ended(0);
    storeless(sandbox, &["unpack", text(pack), text(&ours), "--allow", allow]).done();
    // Folders that no member tells of have no time of their own.
    let told = |root: &Path| {
        let mut all = model(&root.join(inside));
        all.remove(&b""[..]);
        all
    };
    compare(&told(&theirs), &told(&ours)).unwrap();
    sandbox.larder(["import", text(pack), "-d", "same", "--allow", allow]).done();
    sandbox.larder(["restore", "same", text(&restored)]).done();
    compare(&told(&theirs), &told(&restored)).unwrap();
    storeless(sandbox, &["verify", text(pack), "--allow", allow]).done();
    for path in [&theirs, &ours, &restored] {
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn absolute_names_lose_their_slash_as_with_tar() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("folder/file"), "content").unwrap();
    fs::hard_link(source.join("folder/file"), source.join("second")).unwrap();
    let pack = sandbox.path("p.tar");
    gnu(&["-cPf", text(&pack), text(&source)]);
    let [out, place] = ["place/out", "place"].map(|name| sandbox.path(name));
    fs::create_dir(&place).unwrap();
    for ran in [
        storeless(&sandbox, &["unpack", text(&pack), text(&out)]),
        sandbox.larder(["import", text(&pack)]),
        sandbox.larder(["import", "-n", text(&pack), "--allow", "duplicates"]),
    ] {
        ran.refused(2, "--allow absolute");
    }
    assert_eq!(names(&place), [""; 0]);
    same_as_tar(&sandbox, &pack, "absolute", text(&source).trim_start_matches('/'));
    // It leads nowhere else for that.
    let up = tar(&sandbox, "up.tar", "add('/../evil', data=b'1')");
    storeless(&sandbox, &["unpack", text(&up), text(&out), "--allow", "absolute"]).refused(2, "`..`");
    let zip = sandbox.path("z.zip");
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\ni = zipfile.ZipInfo('x')\ni.filename = '/a/b'\nz.writestr(i, 'x')\nz.close()";
    Ran::of(Command::new("python3").args(["-c", script]).arg(&zip)).done();
    storeless(&sandbox, &["unpack", text(&zip), text(&out)]).refused(2, "--allow absolute");
    storeless(&sandbox, &["unpack", text(&zip), text(&out), "--allow", "absolute"]).done();
    assert_eq!(fs::read(out.join("a/b")).unwrap(), b"x");
}

#[test]
fn of_members_that_were_appended_the_last_counts_as_with_tar() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("d")).unwrap();
    fs::write(source.join("d/changed"), noise(1, 700_000)).unwrap();
    fs::write(source.join("d/same"), "same").unwrap();
    fs::write(source.join("kind"), "a file").unwrap();
    let pack = sandbox.path("p.tar");
    gnu(&["-cf", text(&pack), "-C", text(&source), "."]);
    fs::write(source.join("d/changed"), "short now").unwrap();
    fs::remove_file(source.join("kind")).unwrap();
    std::os::unix::fs::symlink("d/same", source.join("kind")).unwrap();
    gnu(&["-rf", text(&pack), "-C", text(&source), "."]);
    fs::write(source.join("d/changed"), noise(2, 300_000)).unwrap();
    gnu(&["-rf", text(&pack), "-C", text(&source), "./d/changed"]);
    let out = sandbox.path("out");
    storeless(&sandbox, &["unpack", text(&pack), text(&out)]).refused(2, "--allow duplicates");
    sandbox.larder(["import", text(&pack)]).refused(2, "--allow duplicates");
    assert!(!out.exists());
    same_as_tar(&sandbox, &pack, "duplicates", "");
    let told = storeless(&sandbox, &["unpack", text(&pack), text(&out), "--allow=duplicates", "--json"]).json();
    assert_eq!((&told["files"], &told["others"], &told["bytes"]), (&2.into(), &1.into(), &300_004.into()));
    assert!(fs::read(out.join("d/changed")).unwrap() == noise(2, 300_000) && out.join("kind").is_symlink());
}

#[test]
fn what_takes_a_place_lets_nothing_out() {
    let sandbox = Sandbox::with_open_store();
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("mine"), "mine").unwrap();
    let (out, to) = (sandbox.path("out"), text(&outside).to_owned());
    for members in [
        // A folder gives its place to nothing, and through what took a place nothing goes.
        format!("add('d', tarfile.DIRTYPE); add('d', tarfile.SYMTYPE, link='{to}'); add('d/mine', data=b'x')"),
        format!("add('d', data=b'1'); add('d', tarfile.SYMTYPE, link='{to}'); add('d/mine', data=b'x')"),
        "add('d', data=b'1'); add('d', tarfile.DIRTYPE); add('d/x', data=b'x')".to_owned(),
        "add('a', data=b'1'); add('a', tarfile.LNKTYPE, link='a')".to_owned(),
    ] {
        let pack = tar(&sandbox, "t.tar", &members);
        let allow = ["--allow", "duplicates,links"];
        storeless(&sandbox, &[&["unpack", text(&pack), text(&out)][..], &allow].concat()).refused(2, "d");
        sandbox.larder(["import", text(&pack), "--allow", "duplicates"]).refused(2, "");
        assert!(!out.exists());
    }
    // Written is to what the symlink stood for, never through it.
    let pack =
        tar(&sandbox, "t.tar", &format!("add('l', tarfile.SYMTYPE, link='{to}/mine'); add('l', data=b'theirs')"));
    storeless(&sandbox, &["unpack", text(&pack), text(&out), "--allow", "duplicates,links"]).done();
    assert_eq!(fs::read(outside.join("mine")).unwrap(), b"mine");
    assert_eq!(fs::read(out.join("l")).unwrap(), b"theirs");
    // Which further names belong to the earlier of two is known where they are made one after the other.
    let links = "add('a', data=b'old'); add('b', tarfile.LNKTYPE, link='a'); add('a', data=b'new')";
    let pack = tar(&sandbox, "links.tar", links);
    fs::remove_dir_all(&out).unwrap();
    storeless(&sandbox, &["unpack", text(&pack), text(&out), "--allow", "duplicates"]).done();
    assert_eq!([fs::read(out.join("a")).unwrap(), fs::read(out.join("b")).unwrap()], [b"new", b"old"]);
    sandbox.larder(["import", text(&pack), "--allow", "duplicates"]).refused(2, "capture the folder");
    // A link that comes behind both is one of the last.
    let pack =
        tar(&sandbox, "last.tar", "add('a', data=b'old'); add('a', data=b'new'); add('b', tarfile.LNKTYPE, link='a')");
    same_as_tar(&sandbox, &pack, "duplicates", "");
}

/// What was appended to a pack of Larder's is no part of it, whatever is let in.
#[test]
fn a_pack_that_was_appended_to_is_damaged() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    sandbox.snapshot(&source, "tree").done();
    let (whole, pack, out) = (sandbox.path("whole.tar"), sandbox.path("p.tar"), sandbox.path("out"));
    sandbox.larder(["export", "tree", "-o", text(&whole)]).done();
    let extracted = sandbox.path("extracted");
    fs::create_dir(&extracted).unwrap();
    gnu(&["-xf", text(&whole), "-C", text(&extracted)]);
    let folder = names(&extracted).remove(0);
    fs::write(extracted.join(&folder).join("content/file"), "another").unwrap();
    fs::write(extracted.join("beside"), "").unwrap();
    for appended in [format!("{folder}/content/file"), format!("{folder}/manifest.json"), "beside".to_owned()] {
        fs::copy(&whole, &pack).unwrap();
        gnu(&["-rf", text(&pack), "-C", text(&extracted), &appended]);
        for allow in [&[][..], &["--allow", "duplicates"]] {
            storeless(&sandbox, &[&["unpack", text(&pack), text(&out)], allow].concat()).refused(13, &appended);
            sandbox.larder([&["import", text(&pack), "-d", "bad"], allow].concat()).refused(13, &appended);
            let ran = storeless(&sandbox, &[&["verify", text(&pack)], allow].concat()).ended(13);
            assert!(String::from_utf8_lossy(&ran.stdout).contains(&appended), "{ran:?}");
            assert!(!out.exists());
        }
    }
}

#[test]
fn parts_of_a_pack_come_out_with_the_folders_above() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("a/b/c")).unwrap();
    fs::create_dir_all(source.join("other")).unwrap();
    fs::write(source.join("a/b/c/file"), noise(1, 300_000)).unwrap();
    fs::write(source.join("a/b/beside"), "x").unwrap();
    fs::write(source.join("a/bc"), "x").unwrap();
    fs::write(source.join("other/first"), "linked").unwrap();
    fs::hard_link(source.join("other/first"), source.join("other/second")).unwrap();
    Ran::of(Command::new("chmod").args(["711"]).arg(source.join("a"))).done();
    sandbox.snapshot(&source, "tree").done();
    let out = sandbox.path("out");
    for name in ["t.tar", "t.tar.zst", "t.zip", "bare.tar"] {
        let pack = sandbox.path(name);
        let bare: &[&str] = if name.starts_with("bare") { &["--bare"] } else { &[] };
        sandbox.larder([&["export", "tree", "-o", text(&pack), "--accept-loss"], bare].concat()).done();
        let unpack = |paths: &[&str]| storeless(&sandbox, &[&["unpack", text(&pack), text(&out)], paths].concat());
        unpack(&["a/b/c", "./other/first/"]).done();
        let found: Vec<_> = model(&out).into_keys().collect();
        let wanted =
            ["", "a", "a/b", "a/b/c", "a/b/c/file", "other", "other/first"].map(|path| path.as_bytes().to_vec());
        assert!(found.iter().filter(|path| !path.is_empty()).eq(wanted[1..].iter()), "{name}: {found:?}");
        assert!(fs::read(out.join("a/b/c/file")).unwrap() == noise(1, 300_000));
        assert_eq!(model(&out)[&b"a"[..]], model(&source)[&b"a"[..]], "{name}");
        fs::remove_dir_all(&out).unwrap();
        unpack(&["a/b/d"]).refused(10, "no a/b/d");
        unpack(&["a", "none"]).refused(10, "no none");
        unpack(&["../a"]).refused(2, "no path");
        unpack(&["other/second"]).refused(2, "name other/first too");
        assert!(!out.exists());
        unpack(&["other"]).done();
        assert_eq!(names(&out.join("other")), ["first", "second"]);
        fs::remove_dir_all(&out).unwrap();
    }
    // What was not asked for is proved all the same.
    let pack = sandbox.path("t.tar");
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.windows(6).rposition(|w| w == b"linked").unwrap();
    bytes[at] ^= 1;
    fs::write(&pack, bytes).unwrap();
    storeless(&sandbox, &["unpack", text(&pack), text(&out), "a"]).refused(13, "other/first");
    assert!(!out.exists());
}
