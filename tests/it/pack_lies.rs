//! Packs whose checksums hold and whose parts contradict each other: none is believed. And packs that lie there extracted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::by_hand::{at_whole_seconds, changed, names, storeless, text};
use crate::sandbox::{Ran, Sandbox, noise};

/// A snapshot of a small tree without what Python writes otherwise, and a pack of it.
fn packed(name: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder/inner")).unwrap();
    fs::write(source.join("folder/text"), "text ".repeat(1000)).unwrap();
    fs::write(source.join("large"), noise(1, 100_000)).unwrap();
    fs::hard_link(source.join("large"), source.join("second")).unwrap();
    symlink("folder/text", source.join("link")).unwrap();
    at_whole_seconds(&source);
    sandbox.snapshot(&source, "tree").done();
    let pack = sandbox.path(name);
    sandbox.larder(["export", "tree", "-o", text(&pack), "--accept-loss"]).done();
    (sandbox, pack)
}

fn findings(ran: &Ran) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let list = report["findings"].as_array().unwrap();
    list.iter().map(|f| format!("{}: {}", f["member"].as_str().unwrap_or("-"), f["why"].as_str().unwrap())).collect()
}

/// Nothing is wrong with a pack but how its headers are written, and whoever takes packs takes it.
fn as_it_was(sandbox: &Sandbox, pack: &Path) {
    let found = findings(&storeless(sandbox, &["verify", "--json", text(pack)]).ended(13));
    assert!(found.iter().all(|f| f.ends_with("are written otherwise than tar-v1 has them")), "{found:?}");
    sandbox.larder(["import", "-n", text(pack), "-d", "again"]).done();
    let out = sandbox.path("as-it-was");
    storeless(sandbox, &["unpack", text(pack), text(&out)]).done();
    fs::remove_dir_all(out).unwrap();
}

/// What is done to a pack, where it must be found, and what must be said of it.
const LIES: [(&str, &str, &str); 32] = [
    // What the folder holds.
    ("members.insert(of('/content'), new('beside.txt', b'x'))", "beside.txt", "does not belong there"),
    ("members.insert(of('/checksums.sha256'), new('beside.txt', b'x'))", "beside.txt", "does not belong there"),
    ("members.insert(of('/content'), new('more', type=tarfile.DIRTYPE))", "/more", "does not belong there"),
    ("members.insert(of('/content'), new('l', type=tarfile.SYMTYPE, linkname='x'))", "/l", "does not belong there"),
    ("del members[of('/README.txt')]", "README.txt", "it is not there"),
    (
        "i = of('/README.txt'); members[i] = new('README.txt', type=tarfile.SYMTYPE, linkname='x')",
        "README.txt",
        "it is no file",
    ),
    ("i = of('/README.txt'); members.insert(i + 1, members.pop(i))", "README.txt", "it stands behind the content"),
    // What the manifest says of the archive and of itself.
    ("m = manifest(); m['form'] = 'zip-v1'; store(m)", "manifest.json", "its form is zip-v1, and it stands in a tar"),
    ("m = manifest(); m['form'] = 'dir-v1'; store(m)", "manifest.json", "its form is dir-v1, and it stands in a tar"),
    (
        "m = manifest(); i = m['snapshot']['id']; m['snapshot']['id'] = i[::-1]; store(m)",
        "manifest.json",
        "that of its snapshot would be",
    ),
    ("m = manifest(); m['snapshot']['id'] += '0'; store(m)", "manifest.json", "the id of its snapshot is none"),
    (
        "m = manifest(); m['snapshot']['dataset'] = 'another'; store(m)",
        "manifest.json",
        "that of its snapshot would be another-",
    ),
    ("m = manifest(); m['snapshot']['arrival'] = '5'; store(m)", "manifest.json", "1970-01-01T00-00-05Z"),
    ("m = manifest(); m['snapshot']['tree'] = ''; store(m)", "manifest.json", "the tree of its snapshot is no id"),
    ("m = manifest(); m['snapshot']['parent'] = 'x'; store(m)", "manifest.json", "the parent of its snapshot is no id"),
    ("m = manifest(); m['snapshot']['kind'] = 'odd'; store(m)", "manifest.json", "no such kind"),
    ("m = manifest(); m['snapshot']['metrics'] = '{'; store(m)", "manifest.json", "the metrics of its snapshot"),
    ("m = manifest(); m['snapshot']['labels'][''] = 'x'; store(m)", "manifest.json", "has no key"),
    // Its sums.
    (
        "m = manifest(); m['snapshot']['files'] += 1; store(m)",
        "manifest.json",
        "its snapshot has 4 files, and its inventory 3",
    ),
    (
        "m = manifest(); m['snapshot']['folders'] -= 1; store(m)",
        "manifest.json",
        "its snapshot has 1 folders, and its inventory 2",
    ),
    ("m = manifest(); m['snapshot']['others'] += 1; store(m)", "manifest.json", "2 others, and its inventory 1"),
    ("m = manifest(); m['snapshot']['bytes'] += 1; store(m)", "manifest.json", "bytes, and its inventory"),
    ("m = manifest(); m['totals']['bytes'] += 1; store(m)", "manifest.json", "its totals"),
    (
        "m = manifest(); m['losses'] = [{'sort': 'special', 'what': '', 'items': 1, 'examples': []}]; store(m)",
        "manifest.json",
        "its losses count 1",
    ),
    // Its inventory.
    (
        "m = manifest(); m['paths'] = ['folder']; p = m.pop('inventory'); m['inventory'] = p; store(m)",
        "",
        "the folder that it is in",
    ),
    (
        "m = manifest(); m['paths'] = ['a', 'a/b']; p = m.pop('inventory'); m['inventory'] = p; store(m)",
        "manifest.json",
        "its paths",
    ),
    ("m = manifest(); m['inventory'].insert(2, m['inventory'][1]); store(m)", "folder", "twice"),
    (
        "m = manifest(); item(m, 'second')['size'] = 5; store(m)",
        "second",
        "that of the name that it is a further name of",
    ),
    (
        "m = manifest(); item(m, 'second')['blake3'] = '0' * 64; store(m)",
        "second",
        "that of the name that it is a further name of",
    ),
    ("m = manifest(); del item(m, 'folder/text')['blake3']; store(m)", "folder/text", "its BLAKE3"),
    ("m = manifest(); item(m, 'link')['size'] = 5; store(m)", "link", "a content, which no such thing has"),
    ("m = manifest(); item(m, 'large')['member'] = 'content/other'; store(m)", "large", "the name of its member"),
];

#[test]
fn what_contradicts_itself_is_not_believed_though_its_checksums_hold() {
    let (sandbox, pack) = packed("t.tar");
    // Python gives back what it was given, under headers of its own.
    as_it_was(&sandbox, &changed(&sandbox, &pack, "resum()"));
    for (change, member, why) in LIES {
        let lie = changed(&sandbox, &pack, &format!("{change}\nresum()"));
        let ran = storeless(&sandbox, &["verify", "--json", text(&lie)]).ended(13);
        let found = findings(&ran);
        assert!(found.iter().any(|f| f.contains(member) && f.contains(why)), "{change}: {found:?}");
        // What is listed is no second finding.
        assert!(found.iter().all(|f| !f.contains("SHA-256") && !f.contains("has a line")), "{change}: {found:?}");
        let out = sandbox.path("out");
        storeless(&sandbox, &["unpack", text(&lie), text(&out)]).refused(13, "");
        assert!(!out.exists(), "{change}");
        sandbox.larder(["import", text(&lie), "-d", "lie"]).refused(13, "");
    }
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 1);
    // What stands behind its end, and an end that is missing.
    let whole = fs::read(&pack).unwrap();
    let end = whole.iter().rposition(|b| *b != 0).unwrap().next_multiple_of(512);
    let doubled = [&whole[..], &whole].concat();
    for (bytes, why) in [(&doubled[..], "something stands behind the end"), (&whole[..end], "no end mark")] {
        let lie = sandbox.path("end.tar");
        fs::write(&lie, bytes).unwrap();
        let found = findings(&storeless(&sandbox, &["verify", "--json", text(&lie)]).ended(13));
        assert!(found.iter().any(|f| f.contains(why)), "{found:?}");
        storeless(&sandbox, &["unpack", text(&lie), text(&sandbox.path("out"))]).refused(13, why);
        sandbox.larder(["import", text(&lie), "-d", "lie"]).refused(13, why);
    }
    // Rules that a later version may have.
    let newer = changed(&sandbox, &pack, "m = manifest(); m['form'] = 'tar-v2'; store(m)\nresum()");
    storeless(&sandbox, &["verify", text(&newer)]).refused(14, "tar-v2");
    sandbox.larder(["import", text(&newer)]).refused(14, "tar-v2");
}

#[test]
fn parts_are_the_paths_that_the_manifest_names() {
    let (sandbox, _) = packed("t.tar");
    let pack = sandbox.path("parts.tar");
    sandbox.larder(["export", "tree:folder/inner", "tree:large", "tree:link", "-o", text(&pack)]).done();
    as_it_was(&sandbox, &changed(&sandbox, &pack, "resum()"));
    for (change, why) in [
        ("m['paths'].remove('link')", "the folder that it is in"),
        ("m['paths'].append('other')", "other should be in its inventory"),
        ("m['paths'].reverse()", "its paths are none, or out of order"),
        ("m['paths'] = []", "its paths are none"),
        ("m['paths'][0] = 'folder/../folder/inner'", "its paths are none"),
        ("m['snapshot']['files'] = 0", "its snapshot has 0 files, and its inventory 1"),
    ] {
        let lie = changed(&sandbox, &pack, &format!("m = manifest(); {change}; store(m)\nresum()"));
        let found = findings(&storeless(&sandbox, &["verify", "--json", text(&lie)]).ended(13));
        assert!(found.iter().any(|f| f.contains(why)), "{change}: {found:?}");
        sandbox.larder(["import", text(&lie), "-d", "lie"]).refused(13, "");
    }
}

/// Extracts with GNU tar; gives the pack's folder.
fn extracted(sandbox: &Sandbox, pack: &Path, to: &str, who: &[&str]) -> PathBuf {
    let place = sandbox.path(to);
    fs::create_dir(&place).unwrap();
    for path in [sandbox.path(""), sandbox.client().home().to_owned(), place.clone(), pack.to_owned()] {
        Ran::of(Command::new("chmod").arg("a+rwx").arg(path)).done();
    }
    let mut tar = sandbox.client().command(who.first().copied().unwrap_or("env"));
    let _no_devices = Ran::of(tar.args(who.iter().skip(1)).args(["tar", "-xpf"]).arg(pack).arg("-C").arg(&place));
    place.join(names(&place).remove(0))
}

const NOBODY: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

#[test]
fn a_pack_that_was_extracted_by_anybody_is_proved_by_its_contents() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("folder/text"), "text").unwrap();
    fs::write(source.join("mine"), "mine").unwrap();
    rustix::fs::setxattr(source.join("mine"), "user.mark", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    Ran::of(Command::new("chown").arg("1234:5678").arg(source.join("mine"))).done();
    Ran::of(Command::new("mknod").arg(source.join("zero")).args(["c", "1", "5"])).done();
    sandbox.snapshot(&source, "tree").done();
    let pack = sandbox.path("t.tar");
    sandbox.larder(["export", "tree", "-o", text(&pack)]).done();
    let folder = extracted(&sandbox, &pack, "theirs", &NOBODY);
    let ran = storeless(&sandbox, &["verify", text(&folder)]).ended(0);
    for word in ["its owner", "its group", "its attributes", "that it is there", "content/mine", "content/zero"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    let report = storeless(&sandbox, &["verify", "--json", text(&folder)]).json();
    let drifts = report["drifts"].as_array().unwrap();
    let items =
        |what: &str| drifts.iter().find(|drift| drift["what"] == what).map(|drift| drift["items"].as_u64().unwrap());
    assert_eq!(
        (items("its owner"), items("its attributes"), items("that it is there")),
        (Some(4), Some(1), Some(1)),
        "{drifts:?}"
    );
    // What the manifest says comes out, all the same.
    sandbox.larder(["import", text(&folder), "-d", "again"]).done();
    let tree = |name: &str| sandbox.larder(["show", name, "--json"]).json()["tree"].clone();
    assert_eq!(tree("again"), tree("tree"));
    fs::write(folder.join("content/folder/text"), "TEXT").unwrap();
    storeless(&sandbox, &["verify", text(&folder)]).refused(13, "damage");
    sandbox.larder(["import", text(&folder), "-d", "lie"]).refused(13, "content/folder/text");
    // In an archive nobody has an excuse.
    let changed = changed(&sandbox, &pack, "members[of('/mine')][0].uid = 0");
    let found = findings(&storeless(&sandbox, &["verify", "--json", text(&changed)]).ended(13));
    assert!(found.iter().any(|f| f.contains("content/mine") && f.contains("its owner")), "{found:?}");
}

#[test]
fn a_folder_holds_what_the_folder_of_a_pack_holds() {
    let (sandbox, pack) = packed("t.tar");
    let folder = extracted(&sandbox, &pack, "out", &[]);
    storeless(&sandbox, &["verify", text(&folder)]).done();
    let sums = folder.join("checksums.sha256");
    let (whole, readme) = (fs::read_to_string(&sums).unwrap(), folder.join("README.txt"));
    // A file more, listed as it should be.
    fs::write(folder.join("beside.txt"), "").unwrap();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    fs::write(&sums, format!("{whole}{empty}  beside.txt\n")).unwrap();
    storeless(&sandbox, &["verify", text(&folder)]).refused(13, "damage");
    sandbox.larder(["import", text(&folder), "-d", "lie"]).refused(13, "beside.txt");
    fs::remove_file(folder.join("beside.txt")).unwrap();
    // The README less, and not listed.
    let less: String =
        whole.lines().filter(|line| !line.ends_with("README.txt")).map(|line| format!("{line}\n")).collect();
    fs::write(&sums, less).unwrap();
    let text_of_readme = fs::read(&readme).unwrap();
    fs::remove_file(&readme).unwrap();
    sandbox.larder(["import", text(&folder), "-d", "lie"]).refused(13, "README.txt");
    fs::write(&readme, text_of_readme).unwrap();
    fs::remove_file(&sums).unwrap();
    sandbox.larder(["import", text(&folder), "-d", "lie"]).refused(13, "checksums.sha256");
    fs::write(&sums, whole).unwrap();
    sandbox.larder(["import", text(&folder), "-d", "again"]).done();
}

#[test]
fn who_may_not_give_files_away_is_told_what_a_folder_lacks() {
    let sandbox = Sandbox::new();
    let (store, home) = (sandbox.store(), sandbox.client().home().to_owned());
    sandbox.larder(["init", "--unencrypted"]).done();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("theirs"), "x").unwrap();
    Ran::of(Command::new("chown").arg("1234:5678").arg(source.join("theirs"))).done();
    sandbox.snapshot(&source, "tree").done();
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    Ran::of(Command::new("chmod").args(["-R", "a+rwX"]).args([&store, &home, &out, &sandbox.path("")])).done();
    let export = |to: &str, more: &[&str]| {
        let mut command = sandbox.client().command(NOBODY[0]);
        command.args(&NOBODY[1..]).arg(env!("CARGO_BIN_EXE_larder")).arg("--store").arg(&store);
        Ran::of(command.args(["export", "tree", "--format=dir", "-o", text(&out.join(to))]).args(more))
    };
    let ran = export("told", &[]).ended(3);
    assert!(ran.stderr.contains("owners"), "{}", ran.stderr);
    let told = export("json", &["--json", "--accept-loss"]).json();
    let losses = told["losses"].as_array().unwrap();
    assert!(losses.iter().any(|loss| loss["sort"] == "owners"), "{told}");
    let pack = out.join("told").join(names(&out.join("told")).remove(0));
    storeless(&sandbox, &["verify", text(&pack)]).done();
}
