//! Packs: what is in them, what is told of what is not, and that there is never half of one.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::by_hand::{at_whole_seconds, python, text};
use crate::sandbox::{Ran, Sandbox, has_begun, noise};

fn captured(fill: impl FnOnce(&Path)) -> Sandbox {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fill(&source);
    sandbox.snapshot(&source, "tree").done();
    sandbox
}

#[test]
fn a_compressed_tar_is_the_tar() {
    let sandbox = captured(|root| {
        fs::write(root.join("a"), noise(1, 9_000_000)).unwrap();
        fs::write(root.join("b"), "line\n".repeat(2_000_000)).unwrap();
    });
    let [plain, packed, again, hard] = ["t.tar", "t.tar.zst", "u.tzst", "v"].map(|name| sandbox.path(name));
    for (output, more) in
        [(&plain, &[][..]), (&packed, &[]), (&again, &[]), (&hard, &["--format=tar.zst", "--level=9"])]
    {
        sandbox.larder([&["export", "--bare", "tree", "-o", text(output)], more].concat()).done();
    }
    let read = |path: &Path| fs::read(path).unwrap();
    assert!(zstd::stream::decode_all(&read(&packed)[..]).unwrap() == read(&plain));
    assert!(zstd::stream::decode_all(&read(&hard)[..]).unwrap() == read(&plain));
    assert!(read(&packed) == read(&again), "the same snapshot gives the same bytes");
    let piped = sandbox.larder(["export", "--bare", "tree", "-o", "-", "--format", "tar.zst"]).ended(0);
    assert!(piped.stdout == read(&packed));
    sandbox.larder(["export", "--bare", "tree", "-o", "x.tar.xz"]).refused(2, "--format");
    sandbox.larder(["export", "--bare", "tree", "-o", "x.tar", "--level", "3"]).refused(2, "level");
    sandbox.larder(["export", "--bare", "tree", "-o", "x.zip", "--level", "10"]).refused(2, "1 to 9");
}

#[test]
fn a_zip_gives_files_folders_links_modes_and_times() {
    let sandbox = captured(|root| {
        fs::create_dir_all(root.join("folder/empty")).unwrap();
        fs::write(root.join("folder/text"), "text ".repeat(100_000)).unwrap();
        fs::write(root.join("folder/tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("folder/tool"), PermissionsExt::from_mode(0o4755)).unwrap();
        fs::write(root.join("long"), noise(2, 20_000_000)).unwrap();
        fs::write(root.join("nothing"), "").unwrap();
        symlink("folder/text", root.join("link")).unwrap();
        fs::write(root.join("ünï"), "name").unwrap();
        at_whole_seconds(root);
    });
    let (zip, out) = (sandbox.path("t.zip"), sandbox.path("unzipped"));
    // Only owners are lost.
    let ran = sandbox.larder(["export", "--bare", "tree", "-o", text(&zip)]).ended(3);
    assert!(ran.stderr.contains("owners") && !ran.stderr.contains("times"), "{}", ran.stderr);
    let piped =
        sandbox.larder(["export", "--bare", "tree", "-o", "-", "--format", "zip", "--accept-loss=owners"]).ended(0);
    assert!(piped.stdout == fs::read(&zip).unwrap(), "the same snapshot gives the same bytes, file or pipe");
    Ran::of(Command::new("unzip").arg("-tq").arg(&zip)).done();
    Ran::of(Command::new("unzip").env("TZ", "Asia/Tokyo").arg("-q").arg(&zip).arg("-d").arg(&out)).done();
    let mut rsync = Command::new("rsync");
    rsync.args(["-rlptci", "--omit-dir-times", "--delete", "-n"]);
    rsync.arg(format!("{}/", text(&sandbox.path("source")))).arg(format!("{}/", text(&out)));
    let differences = String::from_utf8(Ran::of(&mut rsync).ended(0).stdout).unwrap();
    // unzip does not give set-id bits back unless asked, nor times to symlinks.
    let told: Vec<_> = differences.lines().filter(|l| !l.contains("link -> ") && !l.ends_with("/tool")).collect();
    assert!(told.iter().all(|l| l.ends_with(" ./")), "{differences}");
    python(
        "import sys, zipfile, stat\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
         i = {x.filename: x for x in z.infolist()}\n\
         assert list(i) == ['folder/', 'folder/empty/', 'folder/text', 'folder/tool', 'link', 'long', 'nothing', 'ünï'], list(i)\n\
         assert i['folder/tool'].external_attr >> 16 == stat.S_IFREG | 0o4755\n\
         assert i['folder/'].external_attr >> 16 == stat.S_IFDIR | 0o755\n\
         assert i['link'].external_attr >> 16 == stat.S_IFLNK | 0o777 and z.read('link') == b'folder/text'\n\
         assert i['folder/text'].date_time == (2023, 11, 14, 22, 13, 20), i['folder/text'].date_time\n\
         assert i['folder/text'].extra == bytes.fromhex('5554 0500 01 01f15365'), i['folder/text'].extra.hex()\n\
         assert i['ünï'].flag_bits & 0x800\n",
        &[&zip],
    );
}

#[test]
fn what_a_zip_cannot_carry_is_told_by_sort() {
    let sandbox = captured(|root| {
        fs::write(root.join("several"), "names").unwrap();
        fs::hard_link(root.join("several"), root.join("too")).unwrap();
        fs::File::create(root.join("sparse")).unwrap().set_len(1 << 20).unwrap();
        fs::write(root.join("tagged"), "tagged").unwrap();
        rustix::fs::setxattr(root.join("tagged"), "user.tag", b"x", rustix::fs::XattrFlags::empty()).unwrap();
        Ran::of(Command::new("mkfifo").arg(root.join("pipe"))).done();
        for name in [&b"caf\xe9"[..], b"C:", b"..\\..\\evil"] {
            fs::write(root.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
        }
        let late = UNIX_EPOCH + Duration::from_secs(1 << 32) - Duration::from_secs(10);
        at_whole_seconds(root);
        fs::File::open(root.join("tagged")).unwrap().set_modified(late).unwrap();
    });
    let zip = sandbox.path("t.zip");
    let export =
        |more: &[&str]| sandbox.larder([&["export", "--bare", "tree", "-o", text(&zip), "--json"], more].concat());
    let ran = export(&[]).ended(3);
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let losses: Vec<_> = told["losses"].as_array().unwrap().iter().map(|l| (l["sort"].as_str().unwrap(), l)).collect();
    let counts: Vec<_> = losses.iter().map(|(sort, l)| (*sort, l["items"].as_u64().unwrap())).collect();
    let wanted =
        [("owners", 7), ("times", 1), ("attributes", 1), ("holes", 1), ("hard-links", 1), ("special", 1), ("names", 3)];
    assert_eq!(counts, wanted);
    assert_eq!(losses[5].1["examples"][0], "pipe");
    let _ = export(&["--accept-loss=owners,times,attributes,holes,hard-links,special"]).ended(3);
    let _ = export(&["--accept-loss=owners,times,attributes,holes,hard-links,special,names"]).ended(0);
    let _ = export(&["--accept-loss"]).ended(0);
    python(
        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n\
         n = ['..\\ufffd5C..\\ufffd5Cevil', 'C\\ufffd3A', 'caf\\ufffdE9', 'several', 'sparse', 'tagged', 'too']\n\
         assert z.namelist() == n, z.namelist()\nassert z.read(n[0]) == b'..\\\\..\\\\evil'\n\
         assert z.read('sparse') == bytes(1 << 20) and z.read('too') == b'names'\n",
        &[&zip],
    );
    // Two parts, one in the other: a name is in a zip once.
    let ran = sandbox.larder(["export", "--bare", "tree", "tree:too", "-o", text(&zip), "--accept-loss"]);
    ran.done();
    // A tar carries all of it.
    sandbox.larder(["export", "--bare", "tree", "-o", text(&sandbox.path("t.tar"))]).done();
}

#[test]
fn names_that_mislead_terminals_or_windows_are_escaped_and_stay_apart() {
    let names = ["con", "NUL.txt", "a\u{1b}[2J", "new\nline", "x\u{202e}y", "end.", "end ", "end", "Plain", "plain"];
    let sandbox = captured(|root| names.iter().for_each(|name| fs::write(root.join(name), name).unwrap()));
    let zip = sandbox.path("t.zip");
    let ran = sandbox.larder(["export", "--bare", "tree", "-o", text(&zip), "--accept-loss", "--json"]).json();
    let losses = ran["losses"].as_array().unwrap();
    assert!(losses.iter().any(|l| l["sort"] == "names" && l["items"] == 7), "{losses:?}");
    python(
        "import sys, zipfile, re\nz = zipfile.ZipFile(sys.argv[1])\nn = z.namelist()\nassert len(set(n)) == 10, n\n\
         bad = [x for x in n if not x.isprintable() and '\\ufffd' not in x or x[-1] in '. ']\nassert not bad, bad\n\
         plain = lambda x: re.sub('\\ufffd(..)', lambda m: chr(int(m[1], 16)), x).encode('latin-1').decode()\n\
         assert all(z.read(x).decode() == plain(x) for x in n), n\n\
         assert '\\ufffd63on' in n and '\\ufffd4EUL.txt' in n, n\n",
        &[&zip],
    );
}

#[test]
fn names_that_are_one_name_elsewhere_are_told_of_each_folder() {
    let names = [
        "Makefile",
        "makefile",
        "MAKEFILE",
        "other",
        "Sub/x",
        "sub/X",
        "sub/x",
        "caf\u{e9}",
        "cafe\u{301}",
        "deep/Makefile",
    ];
    let sandbox = captured(|root| {
        for name in names {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        // Left out of a zip, so in nobody's way.
        Ran::of(Command::new("mkfifo").arg(root.join("OTHER"))).done();
        // A further name of a file is a name like any.
        fs::hard_link(root.join("other"), root.join("deep/MAKEFILE")).unwrap();
        at_whole_seconds(root);
    });
    let zip = sandbox.path("t.zip");
    let export = |more: &[&str]| {
        sandbox.larder(
            [&["export", "--bare", "tree", "-o", text(&zip), "--accept-loss=owners,special,hard-links"], more].concat(),
        )
    };
    let ran = export(&["--json"]).ended(3);
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let case = told["losses"].as_array().unwrap().iter().find(|loss| loss["sort"] == "case").unwrap();
    assert_eq!(case["items"], 6, "{case}");
    assert_eq!(
        case["examples"],
        serde_json::json!(["Makefile", "caf\u{e9}", "deep/Makefile", "makefile", "sub"]),
        "the later one of each pair, a folder for all that is in it"
    );
    export(&["--accept-loss=case"]).done();
    let ran = export(&[]).ended(3);
    assert!(ran.stderr.contains("one name to Windows and macOS"), "{}", ran.stderr);
    sandbox.larder(["export", "--bare", "tree", "-o", text(&sandbox.path("t.tar"))]).done();
}

#[test]
fn a_zip_may_have_more_members_and_longer_ones_than_32_bits_count() {
    let sandbox = captured(|root| {
        fs::File::create(root.join("sparse")).unwrap().set_len(5 << 30).unwrap();
        fs::create_dir(root.join("many")).unwrap();
        for at in 0..66_000 {
            fs::File::create(root.join(format!("many/{at:05}"))).unwrap();
        }
    });
    let zip = sandbox.path("t.zip");
    sandbox.larder(["export", "--bare", "tree", "-o", text(&zip), "--accept-loss", "--no-validate"]).done();
    python(
        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\ni = z.infolist()\nassert len(i) == 66002\n\
         s = z.getinfo('sparse')\nassert s.file_size == 5 << 30\nassert z.read('many/65999') == b''\n\
         f = z.open('sparse')\nassert f.read(1 << 20) == bytes(1 << 20)\n",
        &[&zip],
    );
}

#[test]
fn there_is_never_half_a_pack() {
    let sandbox = captured(|root| {
        for at in 0..400 {
            fs::write(root.join(format!("{at}")), noise(at, 200_000)).unwrap();
        }
    });
    let here = |sandbox: &Sandbox| {
        let list = fs::read_dir(sandbox.path("out")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        list.collect::<Vec<_>>()
    };
    fs::create_dir(sandbox.path("out")).unwrap();
    for name in ["t.zip", "t.tar.zst", "t.tar"] {
        let output = sandbox.path("out").join(name);
        let mut command = sandbox.client().alone();
        command
            .arg("--store")
            .arg(sandbox.store())
            .args(["export", "--bare", "tree", "--level", "9", "-o"])
            .arg(&output);
        if name == "t.tar" {
            command = sandbox.client().alone();
            command.arg("--store").arg(sandbox.store()).args(["export", "--bare", "tree", "-o"]).arg(&output);
        }
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !has_begun(child.id(), &sandbox.path("out")) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ran::of(Command::new("kill").arg("-INT").arg(child.id().to_string())).done();
        let status = child.wait().unwrap();
        // The signal may come a moment too late; then the pack is whole.
        match status.code() {
            Some(130) => assert!(here(&sandbox).is_empty(), "{name}: {:?}", here(&sandbox)),
            code => {
                assert!(matches!(code, Some(0 | 3)), "{name}: {status:?}");
                assert_eq!(here(&sandbox), [name]);
                fs::remove_file(&output).unwrap();
            }
        }
    }
}

#[test]
fn a_pipe_that_nobody_reads_from_is_waited_for_until_ctrl_c() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("tree");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    sandbox.snapshot(&source, "tree").done();
    let pipe = sandbox.path("pipe");
    Ran::of(Command::new("mkfifo").arg(&pipe)).done();
    let export = || {
        let mut command = sandbox.client().alone();
        command.arg("--store").arg(sandbox.store()).args(["export", "--bare", "tree", "--format", "tar", "-o"]);
        command.arg(&pipe).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut read = export();
    let bytes = fs::read(&pipe).unwrap();
    assert!(read.wait().unwrap().success() && bytes.windows(7).any(|w| w == b"content"));
    let mut waiting = export();
    std::thread::sleep(Duration::from_millis(500));
    Ran::of(Command::new("kill").arg("-INT").arg(waiting.id().to_string())).done();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
}

#[test]
fn a_pack_of_what_is_damaged_is_no_pack() {
    let sandbox = captured(|root| fs::write(root.join("file"), noise(3, 3_000_000)).unwrap());
    let db = sandbox.store().join("db");
    let mut files: Vec<_> = fs::read_dir(db).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "sst"));
    files.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let longest = files.pop().unwrap();
    let mut bytes = fs::read(&longest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&longest, bytes).unwrap();
    for format in ["tar", "tar.zst", "zip"] {
        let path = sandbox.path("pack");
        sandbox.larder(["export", "--bare", "tree", "--format", format, "-o", text(&path)]).refused(13, "file");
        assert!(!path.exists());
        let piped = sandbox.larder(["export", "--bare", "tree", "--format", format, "-o", "-"]).ended(13);
        fs::write(&path, &piped.stdout).unwrap();
        let whole = match format {
            "tar" => Command::new("tar").arg("-tf").arg(&path).output().unwrap().status.success(),
            "zip" => Command::new("unzip").arg("-tq").arg(&path).output().unwrap().status.success(),
            _ => zstd::stream::decode_all(&piped.stdout[..]).is_ok(),
        };
        assert!(!whole, "half a {format} passes for a whole one");
        fs::remove_file(&path).unwrap();
    }
}

/// What makes the exit status another than 0 is told with -q too, what was accepted is not; and each is told for what it is.
#[test]
fn losses_are_told_for_what_they_are() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    fs::hard_link(source.join("file"), source.join("link")).unwrap();
    sandbox.snapshot(&source, "tree").done();
    let file = sandbox.path("p.zip");
    let export = |more: &[&str]| {
        let words = [&["export", "tree", "-o", file.to_str().unwrap()], more].concat();
        let ran = sandbox.larder(words);
        (ran.status, ran.stderr.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (status, told) = export(&["-q"]);
    assert!(status == 3 && told.iter().any(|line| line.starts_with("larder: hard-links: ")), "{told:?}");
    let (status, told) = export(&["-q", "--accept-loss=hard-links"]);
    assert!(status == 3 && !told.is_empty() && told.iter().all(|line| !line.contains("hard-links")), "{told:?}");
    assert_eq!(export(&["-q", "--accept-loss"]), (0, Vec::new()));
    let (status, told) = export(&["--accept-loss=hard-links"]);
    assert!(status == 3 && told.iter().any(|line| line.starts_with("larder: hard-links, accepted: ")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("larder: owners: ")), "{told:?}");
}

#[test]
fn names_that_say_another_thing_than_the_bytes() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    sandbox.snapshot(&source, "tree").done();
    let recipient = larder::codec::generate_identity().1;
    let export = |name: &str, more: &[&str]| {
        let file = sandbox.path(name);
        sandbox.larder([&["export", "tree", "-o", file.to_str().unwrap()], more].concat())
    };
    for name in ["x.tar.zstd", "x.zstd", "x.tar.foo", "x.cpio"] {
        export(name, &[]).refused(2, "names a format that there is not");
        assert!(!sandbox.path(name).exists());
    }
    assert!(
        export("foo.xyz", &[])
            .ended(0)
            .stderr
            .contains("foo.xyz: its name says no format that is known: a tar was written")
    );
    assert!(export("plain.tar", &["-r", &recipient]).ended(0).stderr.contains("plain.tar: it is sealed by age"));
    for (name, more) in [
        ("foo", &[][..]),
        ("x.tar", &[]),
        ("foo.xyz", &["--format", "tar"]),
        ("x.tar.age", &["-r", &recipient]),
        ("a.b/", &[]),
    ] {
        let more = if name.ends_with('/') { &["--format", "dir"] } else { more };
        let ran = export(name, more).ended(0);
        assert!(!ran.stderr.contains("its name"), "{name}: {}", ran.stderr);
    }
}
