//! Archives with several things wrong: each is named by `verify`, of its sort; whoever takes archives tells the first and takes nothing.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder::archives::{Limits, Opened};
use larder::model::Quiet;
use larder::packs::layouts::Wanted;
use larder::packs::verify::check;

use crate::by_hand::{names, python, storeless, tar, text};
use crate::sandbox::{Ran, Sandbox, noise};

/// What Python scripts begin with: `z` is the zip at the first argument, read; `hurt(end)` changes a byte in the middle of what is stored of the member whose name ends so.
const ZIP: &str = "
import struct, sys, zipfile
path = sys.argv[1]
z = zipfile.ZipFile(path)
data = bytearray(open(path, 'rb').read())
def info(end): return next(i for i in z.infolist() if i.filename.endswith(end))
def hurt(end):
    i = info(end)
    name, extra = struct.unpack('<HH', data[i.header_offset + 26:i.header_offset + 30])
    data[i.header_offset + 30 + name + extra + i.compress_size // 2] ^= 0x55
";

fn hurt(zip: &Path, statements: &str) {
    python(&format!("{ZIP}\n{statements}\nopen(path, 'wb').write(data)\n"), &[zip]);
}

/// Makes a zip with Python's zipfile, of which `z` is one.
fn zip(sandbox: &Sandbox, name: &str, statements: &str) -> PathBuf {
    let path = sandbox.path(name);
    let front = "import sys, warnings, zipfile\nwarnings.simplefilter('ignore')\nz = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)";
    python(&format!("{front}\n{statements}\nz.close()\n"), &[&path]);
    path
}

/// What `verify` finds: member, sort and reason of each.
fn found(ran: &Ran) -> Vec<(String, String, String)> {
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let word = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap_or("-").to_owned();
    let list = report["findings"].as_array().unwrap();
    list.iter().map(|f| (word(f, "member"), word(f, "sort"), word(f, "why"))).collect()
}

fn verified(sandbox: &Sandbox, pack: &Path, status: i32) -> (Vec<(String, String, String)>, serde_json::Value) {
    let ran = storeless(sandbox, &["verify", "--json", text(pack)]).ended(status);
    (found(&ran), serde_json::from_slice(&ran.stdout).unwrap())
}

/// Neither way in takes it, and what is told names what is wrong first.
fn taken_by_nobody(sandbox: &Sandbox, pack: &Path, status: i32, word: &str) {
    let place = sandbox.path("place");
    fs::create_dir_all(&place).unwrap();
    storeless(sandbox, &["unpack", text(pack), text(&place.join("out"))]).refused(status, word);
    assert_eq!(names(&place), [""; 0]);
    let before = sandbox.larder(["list", "--json"]).ids();
    sandbox.larder(["import", text(pack), "-d", "bad"]).refused(status, word);
    sandbox.larder(["import", "-n", text(pack), "-d", "bad"]).refused(status, word);
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), before);
}

#[test]
fn every_damaged_member_of_a_pack_is_named() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    for (name, seed) in [("a", 1), ("b", 2), ("folder/c", 3), ("folder/d", 4), ("z", 5)] {
        fs::write(source.join(name), [&noise(seed, 50_000)[..], &vec![u8::try_from(seed).unwrap(); 50_000]].concat())
            .unwrap();
    }
    sandbox.snapshot(&source, "tree").done();
    let whole = sandbox.path("whole.zip");
    sandbox.larder(["export", "tree", "-o", text(&whole), "--accept-loss"]).done();
    let pack = sandbox.path("t.zip");
    for (statements, named) in [
        ("hurt('/a'); hurt('/c'); hurt('/z')", &["/content/a", "/content/folder/c", "/content/z"][..]),
        ("hurt('README.txt'); hurt('/d')", &["/README.txt", "/content/folder/d"]),
        ("hurt('checksums.sha256'); hurt('/b')", &["/content/b", "/checksums.sha256"]),
        // In front of a content another name, and another method.
        (
            "i = info('/b').header_offset; data[i + 8] ^= 1; i = info('/d').header_offset; data[i + 31] ^= 1",
            &["/content/b", "/content/folder/d"],
        ),
        // What only `unzip` would give.
        (
            "d = data.index(b'/content/b', z.start_dir); d = data.rindex(b'PK\\x01\\x02', 0, d); data[d + 40] ^= 1",
            &["/content/b"],
        ),
        // Without a manifest nothing can be held against it, but for the sums of the zip.
        ("hurt('manifest.json'); hurt('/c')", &["/manifest.json", "/content/folder/c"]),
    ] {
        fs::copy(&whole, &pack).unwrap();
        hurt(&pack, statements);
        let (found, report) = verified(&sandbox, &pack, 13);
        let ends: Vec<_> = found.iter().map(|(member, ..)| member.split_once('/').unwrap().1).collect();
        assert_eq!(ends, named.iter().map(|name| &name[1..]).collect::<Vec<_>>(), "{statements}: {found:?}");
        assert!(found.iter().all(|(_, sort, _)| sort == "damaged"), "{statements}: {found:?}");
        assert_eq!((&report["damaged"], &report["cut_short"]), (&true.into(), &false.into()), "{statements}");
        taken_by_nobody(&sandbox, &pack, 13, named[0]);
    }
    // What is not damaged was compared all the same.
    fs::copy(&whole, &pack).unwrap();
    hurt(&pack, "hurt('/a'); i = info('checksums.sha256'); hurt('/d')");
    let (_, report) = verified(&sandbox, &pack, 13);
    assert_eq!((&report["snapshots"][0]["items"], &report["snapshots"][0]["whole"]), (&7.into(), &false.into()));
}

#[test]
fn every_member_of_a_zip_that_is_wrong_is_named_with_its_sort() {
    let sandbox = Sandbox::with_open_store();
    let members = "
for n in range(6): z.writestr('f%d' % n, ('line %d\\n' % n) * 1000)
z.writestr('../up', 'x')
z.writestr('/etc/absolute', 'x')
z.writestr('f0', 'again')
z.writestr('strong', 'x', compress_type=zipfile.ZIP_LZMA)
z.writestr('last', 'x' * 1000)
";
    let pack = zip(&sandbox, "t.zip", members);
    let refused = [("../up", "refused", "`..`"), ("/etc/absolute", "refused", "--allow absolute")];
    let rest = [("f0", "refused", "--allow duplicates"), ("strong", "unsupported", "LZMA")];
    let expected: Vec<_> = refused.into_iter().chain(rest).collect();
    let check = |expected: &[(&str, &str, &str)], status| {
        let (found, report) = verified(&sandbox, &pack, status);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((member, sort, why), wanted) in found.iter().zip(expected) {
            assert!(member == wanted.0 && sort == wanted.1 && why.contains(wanted.2), "{found:?}");
        }
        assert_eq!((&report["damaged"], &report["cut_short"]), (&(status == 13).into(), &false.into()));
    };
    check(&expected, 2);
    taken_by_nobody(&sandbox, &pack, 2, "../up");
    // In words, each is called what it is.
    let told = storeless(&sandbox, &["verify", text(&pack)]).ended(2);
    let lines = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(lines.contains("refused: ../up") && lines.contains("unsupported: strong"), "{lines}");
    assert!(told.stderr.contains("not taken: 4 things"), "{}", told.stderr);
    // With damage among them it is damage.
    hurt(&pack, "hurt('f1'); hurt('last')");
    let damaged = [&[("f1", "damaged", "")], &expected[..], &[("last", "damaged", "")]].concat();
    check(&damaged, 13);
    taken_by_nobody(&sandbox, &pack, 13, "f1");
}

#[test]
fn every_member_of_a_tar_that_is_not_let_in_is_named() {
    let sandbox = Sandbox::with_open_store();
    let members = "
add('good', data=b'1' * 1000)
add('../up', data=b'2' * 1000)
add('/absolute', data=b'3' * 1000)
add('good', data=b'4' * 1000)
add('odd', kind=b'Q', data=b'5' * 1000)
add('l', tarfile.SYMTYPE, link='good')
add('l/below', data=b'6' * 1000)
add('h', tarfile.LNKTYPE, link='nowhere')
add('last', data=b'7' * 1000)
";
    let pack = tar(&sandbox, "t.tar", members);
    let (found, report) = verified(&sandbox, &pack, 2);
    let named: Vec<_> = found.iter().map(|(member, sort, _)| (&**member, &**sort)).collect();
    let wanted = ["../up", "/absolute", "good", "odd", "l/below", "h"];
    let wanted = wanted.map(|name| (name, if name == "odd" { "unsupported" } else { "refused" }));
    assert_eq!(named, wanted, "{found:?}");
    assert_eq!((&report["members"], &report["cut_short"]), (&3.into(), &false.into()));
    taken_by_nobody(&sandbox, &pack, 2, "../up");
    // Behind a header with a wrong sum nobody knows where the next one is.
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.windows(4).position(|w| w == b"last").unwrap();
    bytes[at] = b'L';
    fs::write(&pack, bytes).unwrap();
    let (found, report) = verified(&sandbox, &pack, 13);
    assert_eq!((found.len(), &report["cut_short"]), (7, &true.into()), "{found:?}");
}

/// Each refusal has the exit status of its sort, and what is told says what to do about it.
#[test]
fn what_is_not_taken_is_no_damage_and_says_what_helps() {
    let sandbox = Sandbox::with_open_store();
    let many = tar(&sandbox, "many.tar", "for n in range(20): add('a/b/c/d/f%d' % n, data=b'x' * 100)");
    let device = tar(&sandbox, "device.tar", "add('zero', tarfile.CHRTYPE, devmajor=1, devminor=5)");
    let link = tar(&sandbox, "link.tar", "add('l', tarfile.SYMTYPE, link='/etc')");
    let locked = zip(&sandbox, "locked.zip", "z.writestr('secret', 'x' * 100)");
    hurt(&locked, "i = info('secret'); data[i.header_offset + 6] |= 1; data[z.start_dir + 8] |= 1");
    let nested = sandbox.path("nested.gz");
    Ran::of(Command::new("sh").args(["-c", "gzip -c \"$0\" | gzip -c > \"$1\""]).arg(&many).arg(&nested)).done();
    let out = sandbox.path("out");
    let unpack =
        |pack: &Path, more: &[&str]| storeless(&sandbox, &[&["unpack", text(pack), text(&out)][..], more].concat());
    for (pack, more, word) in [
        (&many, &["--max-members=10"][..], "--max-members"),
        (&many, &["--max-total=1K"], "--max-total"),
        (&many, &["--max-depth=3"], "--max-depth"),
        (&nested, &["--max-nesting=1"], "--max-nesting"),
        (&device, &[], "--allow devices"),
        (&link, &[], "--allow links"),
        (&locked, &[], "encrypted with zip's own means"),
    ] {
        unpack(pack, more).refused(2, word);
        if more.is_empty() {
            continue;
        }
        for verb in ["verify", "import"] {
            let ran = sandbox.larder([&[verb, text(pack)][..], more].concat()).ended(2);
            let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &ran.stderr;
            assert!(told.contains(word), "{verb} {word}: {told}");
        }
    }
    let empty = tar(&sandbox, "empty.tar", "pass");
    unpack(&empty, &[]).refused(2, "nothing in the archive");
    sandbox.larder(["import", text(&empty)]).refused(2, "nothing in the archive");
    storeless(&sandbox, &["verify", text(&empty)]).done();
    // Where no member can begin is no matter of overlapping.
    let beyond = zip(&sandbox, "beyond.zip", "z.writestr('a', 'x' * 100)");
    hurt(&beyond, "data[z.start_dir + 42:z.start_dir + 46] = struct.pack('<I', 0xfffffff0)");
    unpack(&beyond, &[]).refused(13, "a: it is said to stand behind the end");
    assert!(!out.exists());
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), [""; 0]);
    // What is sound and needs more memory than is given is no damage.
    let wide = sandbox.path("wide.tar.zst");
    fs::write(&wide, [&[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 4 << 3 | 1, 0, 0][..], b"text"].concat()).unwrap();
    unpack(&wide, &[]).refused(2, "zstd -d --long=31");
    let ran = storeless(&sandbox, &["verify", text(&wide)]).ended(2);
    assert!(ran.stderr.contains("--long=31") && !ran.stderr.contains("damaged"), "{}", ran.stderr);
    // A key that cannot be had is no wrong key.
    let enc = sandbox.path("none.zip.enc");
    fs::write(&enc, noise(3, 5000)).unwrap();
    let ran = storeless(&sandbox, &["verify", text(&enc)]).ended(2);
    for word in ["SNAPSHOT_ENCRYPTION_KEY", "--key-file", "asked for"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    storeless(&sandbox, &["verify", text(&enc), "--key-file", "/nonexistent"]).refused(2, "cannot read the key file");
    fs::write(sandbox.path("word"), "secret").unwrap();
    storeless(&sandbox, &["verify", text(&enc), "--key-file", text(&sandbox.path("word"))]).refused(12, "--key-file");
    fs::write(&enc, "A text that is none, and is not sealed.\n".repeat(50)).unwrap();
    let ran = storeless(&sandbox, &["verify", text(&enc)]).ended(2);
    assert!(!ran.stderr.contains("--key-file"), "{}", ran.stderr);
    let (_, public) = larder::codec::generate_identity();
    let sealed = sandbox.path("s.age");
    Ran::of(Command::new("age").args(["-r", &public, "-o"]).arg(&sealed).arg(&many)).done();
    storeless(&sandbox, &["verify", text(&sealed)]).refused(12, "-i FILE");
    storeless(&sandbox, &["-i", "/nonexistent", "verify", text(&sealed)]).refused(2, "/nonexistent");
}

#[test]
fn several_packs_in_one_call() {
    let sandbox = Sandbox::new();
    let good = tar(&sandbox, "good.tar", "add('a', data=b'1')");
    let refused = tar(&sandbox, "refused.tar", "add('../a', data=b'1')");
    let cut = sandbox.path("cut.tar");
    fs::write(&cut, &fs::read(&good).unwrap()[..700]).unwrap();
    let none = sandbox.path("none.tar");
    let [good, refused, cut, none] = [&good, &refused, &cut, &none].map(|path| text(path));
    storeless(&sandbox, &["verify", good, good]).done();
    let ran = storeless(&sandbox, &["verify", good, refused, none]).ended(10);
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(told.contains(good) && told.contains("no damage: 1 member"), "{told}");
    assert!(told.contains("refused: ../a"), "{told}");
    assert!(ran.stderr.contains("2 of 3 packs"), "{}", ran.stderr);
    storeless(&sandbox, &["verify", good, refused]).refused(2, "1 of 2 packs");
    let ran = storeless(&sandbox, &["verify", "--json", refused, cut, none, good]).ended(13);
    let lines: Vec<serde_json::Value> =
        String::from_utf8_lossy(&ran.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let packs: Vec<_> = lines.iter().map(|line| line["pack"].as_str().unwrap()).collect();
    assert_eq!(packs, [refused, cut, none, good]);
    assert_eq!((&lines[1]["damaged"], &lines[2]["error"]["kind"]), (&true.into(), &"not_found".into()));
    storeless(&sandbox, &["verify", "-", "-"]).refused(2, "standard input");
}

/// What the library finds wrong with the bytes of a tar.
fn faults(bytes: Vec<u8>) -> u64 {
    let opened = Opened::Tar(Box::new(Cursor::new(bytes)));
    let checked = check(opened, &Limits::default(), Wanted::Any, Path::new("/nonexistent"), &Quiet);
    checked.map_or(1, |checked| checked.count)
}

#[test]
fn no_changed_byte_of_a_tar_is_passed_over() {
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pack/seed-tar")).unwrap();
    assert_eq!(faults(whole.clone()), 0);
    for at in (0..whole.len()).step_by(3) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(faults(changed) > 0, "changed at {at}");
    }
}

/// Where the header of a member is, if it is a tar's.
fn header_of(bytes: &[u8], name: &str) -> usize {
    let mark = [name.as_bytes(), b"\0"].concat();
    bytes.windows(mark.len()).position(|window| window == mark).unwrap() / 512 * 512
}

/// Gives the header at a place the sum that it has.
fn resum(bytes: &mut [u8], at: usize) {
    let header = &mut bytes[at..at + 512];
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
}

/// A header of no content, of a sort that readers pass over.
fn passed_over(kind: u8) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(b"evil");
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(b"00000000000\0");
    header[136..148].copy_from_slice(b"00000000001\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    resum(&mut header, 0);
    header
}

/// Ends a tar as it should end.
fn end_anew(bytes: &mut Vec<u8>) {
    let end = bytes.iter().rposition(|b| *b != 0).unwrap().next_multiple_of(512);
    bytes.truncate(end);
    bytes.resize((end + 1024).next_multiple_of(10_240), 0);
}

/// A tar with every sort of header and record.
fn with_all_headers() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("né"), "text").unwrap();
    fs::write(source.join("plain"), "text").unwrap();
    Ran::of(Command::new("setfacl").args(["-m", "u:1:rw"]).arg(source.join("plain"))).done();
    Ran::of(Command::new("chmod").arg("0664").arg(source.join("plain"))).done();
    fs::hard_link(source.join("plain"), source.join("second")).unwrap();
    std::os::unix::fs::symlink("plain", source.join("link")).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[1; 100], 500_000).unwrap();
    sparse.set_len(1 << 20).unwrap();
    crate::by_hand::at_whole_seconds(&source);
    sandbox.snapshot(&source, "tree").done();
    let pack = sandbox.path("t.tar");
    sandbox.larder(["export", "tree", "-o", text(&pack)]).done();
    let parts = sandbox.path("parts.tar");
    sandbox.larder(["export", "tree:second", "tree:sparse", "-o", text(&parts)]).done();
    storeless(&sandbox, &["verify", text(&pack), text(&parts)]).done();
    (sandbox, pack)
}

/// What is done to a tar.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// In headers, records and maps of holes each byte counts, though sums are right and all that is understood of them is the same.
#[test]
fn headers_of_a_tar_are_those_of_its_form() {
    let (sandbox, pack) = with_all_headers();
    let whole = fs::read(&pack).unwrap();
    let place = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|w| w == mark).unwrap();
    let put = |bytes: &mut Vec<u8>, name: &str, field: usize, value: &[u8]| {
        let at = header_of(bytes, name);
        bytes[at + field..at + field + value.len()].copy_from_slice(value);
        resum(bytes, at);
    };
    let changes: [(Change<'_>, &str); 21] = [
        (
            &|b| {
                let at = place(b, b"\n1048576\n0\n");
                b[at + 1] ^= 1;
            },
            "content/sparse",
        ),
        (
            &|b| {
                let at = place(b, b"user:1:rw-") + 9;
                b[at] ^= 1;
            },
            "content/plain",
        ),
        (
            &|b| {
                let at = place(b, b" path=");
                b[at + 1] ^= 1;
            },
            "content/né",
        ),
        (&|b| put(b, "/content/plain", 500, b"EVILEVIL1234"), "content/plain"),
        (&|b| put(b, "/content/plain", 157, b"../../etc/passwd"), "content/plain"),
        (&|b| put(b, "/content/plain", 96, b"evil"), "content/plain"),
        (&|b| put(b, "/content/plain", 290, b"evil"), "content/plain"),
        (&|b| put(b, "/content/plain", 156, b"7"), "content/plain"),
        (&|b| put(b, "/content/plain", 156, b"\0"), "content/plain"),
        (&|b| put(b, "/content/plain", 263, b"77"), "content/plain"),
        (&|b| put(b, "/content/plain", 100, b"0100664\0"), "content/plain"),
        (
            &|b| {
                let at = header_of(b, "/content/plain");
                b[at + 148] = b' ';
            },
            "content/plain",
        ),
        (&|b| put(b, "/content/second", 500, b"evil"), "content/second"),
        (&|b| put(b, "/content/link", 500, b"evil"), "content/link"),
        (&|b| put(b, "/README.txt", 500, b"evil"), "README.txt"),
        (&|b| put(b, "/manifest.json", 500, b"evil"), "manifest.json"),
        (&|b| put(b, "/checksums.sha256", 500, b"evil"), "checksums.sha256"),
        (
            &|b| {
                b[505] = 1;
                resum(b, 0);
            },
            "tree-",
        ),
        (
            &|b| {
                let at = place(b, b"././@PaxHeader");
                b[at] = b'/';
                resum(b, at);
            },
            "content/",
        ),
        (
            &|b| {
                let at = header_of(b, "/README.txt");
                b.splice(at..at, passed_over(b'V'));
                end_anew(b);
            },
            "README.txt",
        ),
        (
            &|b| {
                let end = b.iter().rposition(|b| *b != 0).unwrap().next_multiple_of(512);
                b.splice(end..end, passed_over(b'I'));
                end_anew(b);
            },
            "",
        ),
    ];
    for (at, (change, member)) in changes.into_iter().enumerate() {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let opened = Opened::Tar(Box::new(Cursor::new(bytes.clone())));
        let checked = check(opened, &Limits::default(), Wanted::Any, Path::new("/nonexistent"), &Quiet).unwrap();
        let found = &checked.findings;
        assert!(found.len() == 1 && found[0].member.contains(member), "{at}: {found:?}");
        assert!(found[0].why.contains("written otherwise") || found[0].why.contains("of no member"), "{at}: {found:?}");
        if at % 5 == 0 {
            let changed = sandbox.path("changed.tar");
            fs::write(&changed, bytes).unwrap();
            verified(&sandbox, &changed, 13);
            sandbox.larder(["import", "-n", text(&changed), "-d", "again"]).done();
        }
    }
}

/// What a zip's fields cannot hold is written as the first or last time that it knows.
#[test]
fn times_beyond_those_of_a_zip_are_written_as_its_form_has_them() {
    let sandbox = Sandbox::with_open_store();
    let tar = sandbox.path("old.tar");
    let script = "
import sys, tarfile
with tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT) as tar:
    for name, seconds in (('a', -5000000001), ('b', 315532800), ('c', 5000000001)):
        member = tarfile.TarInfo(name)
        member.mtime = seconds
        tar.addfile(member)
";
    python(script, &[&tar]);
    sandbox.larder(["import", text(&tar), "-d", "old"]).done();
    for (name, compression) in [("d.zip", "deflate"), ("s.zip", "stored")] {
        let pack = sandbox.path(name);
        sandbox.larder(["export", "old", "-o", text(&pack), "--accept-loss", "--compression", compression]).done();
        sandbox.larder(["verify", text(&pack)]).done();
    }
}

/// Where nothing that anybody takes depends on it, a pack is held against its form by `verify`, and taken all the same.
#[test]
fn what_is_not_written_as_its_form_has_it_is_found() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("folder/a"), "text ".repeat(1000)).unwrap();
    fs::write(source.join("long"), noise(1, 5 << 20)).unwrap();
    fs::write(source.join("nié"), "").unwrap();
    let old = fs::File::create(source.join("old")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH - std::time::Duration::from_secs(5_000_000_001)).unwrap();
    std::os::unix::fs::symlink("long", source.join("link")).unwrap();
    sandbox.snapshot(&source, "tree").done();
    let [tar, zip, stored] = ["t.tar", "t.zip", "s.zip"].map(|name| sandbox.path(name));
    sandbox.larder(["export", "tree", "-o", text(&tar)]).done();
    sandbox.larder(["export", "tree", "-o", text(&zip), "--accept-loss"]).done();
    sandbox.larder(["export", "tree", "-o", text(&stored), "--accept-loss", "--compression", "stored"]).done();
    for pack in [&tar, &zip, &stored] {
        storeless(&sandbox, &["verify", text(pack)]).done();
    }
    let changed = sandbox.path("changed");
    let check = |bytes: &[u8], member: &str, why: &str| {
        fs::write(&changed, bytes).unwrap();
        let (found, _) = verified(&sandbox, &changed, 13);
        assert!(found.len() == 1 && found[0].0.ends_with(member) && found[0].2.contains(why), "{why}: {found:?}");
        let out = sandbox.path("out");
        storeless(&sandbox, &["unpack", text(&changed), text(&out)]).done();
        fs::remove_dir_all(out).unwrap();
    };
    // The zeros at the end of a tar: all of them but for those that mark it; more of them fill a tape.
    let whole = fs::read(&tar).unwrap();
    let end = whole.iter().rposition(|b| *b != 0).unwrap().next_multiple_of(512);
    check(&whole[..end + 1024], "", "cut short within the zeros");
    check(&whole[..whole.len() - 512], "", "cut short within the zeros");
    fs::write(&changed, [&whole[..], &[0; 512]].concat()).unwrap();
    storeless(&sandbox, &["verify", text(&changed)]).done();
    // Half of the mark is a tar that was cut, whoever made it.
    fs::write(&changed, &whole[..end + 512]).unwrap();
    let (found, _) = verified(&sandbox, &changed, 13);
    assert!(found[0].2.contains("one empty block"), "{found:?}");
    let bare = sandbox.path("bare.tar");
    sandbox.larder(["export", "tree", "--bare", "-o", text(&bare)]).done();
    let whole = fs::read(&bare).unwrap();
    let end = whole.iter().rposition(|b| *b != 0).unwrap().next_multiple_of(512);
    for (len, told) in [(end + 1024, false), (end + 512, true)] {
        fs::write(&changed, &whole[..len]).unwrap();
        let ran = storeless(&sandbox, &["verify", text(&changed)]).ended(0);
        assert_eq!(ran.stderr.contains("one empty block"), told, "{}", ran.stderr);
    }
    // Headers of a zip: the version that is needed, a time of DOS, a mark of text, a comment, an order, a gap.
    for (statements, member, why) in [
        ("data[info('/a').header_offset + 4] ^= 1", "folder/a", "written otherwise"),
        ("data[info('/a').header_offset + 10] ^= 1", "folder/a", "written otherwise"),
        ("d = data.index(b'PK\\x01\\x02', z.start_dir + 1); data[d + 36] ^= 1", "manifest.json", "written otherwise"),
        ("d = data.index(b'PK\\x01\\x02', z.start_dir); data[d + 5] ^= 1", "", "written otherwise"),
        ("data[-2:] = b'\\x02\\0hi'", "", "records at the end"),
        (
            "d = data.rindex(b'PK\\x01\\x02', 0, data.index(b'/README.txt', z.start_dir)); data[d + 40] ^= 1",
            "README.txt",
            "mode",
        ),
    ] {
        fs::copy(&zip, &changed).unwrap();
        hurt(&changed, statements);
        check(&fs::read(&changed).unwrap(), member, why);
    }
}

#[test]
fn no_changed_byte_of_a_zip_is_passed_over() {
    let faults = |bytes: Vec<u8>| {
        let opened = Opened::Zip(Box::new(Cursor::new(bytes)));
        let checked = check(opened, &Limits::default(), Wanted::Any, Path::new("/nonexistent"), &Quiet);
        checked.map_or(1, |checked| checked.count)
    };
    // As it is stored each bit has a meaning; of what is compressed some fill up bytes.
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pack/seed-stored")).unwrap();
    assert_eq!(faults(whole.clone()), 0);
    for at in (0..whole.len()).step_by(3) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(faults(changed) > 0, "changed at {at}");
    }
}
