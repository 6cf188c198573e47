//! Restores into folders that are not empty: patterns, deletion, rehearsal, safety, and going on after a kill.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::sandbox::{Model, Ran, Sandbox, compare, copy_tree, model, noise, pick, seed};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(path: PathBuf, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A small tree in which patterns, hard links and sorts of items all occur.
fn fill(root: &Path) {
    for name in ["a/one.c", "a/one.h", "a/deep/two.c", "b/cache/x", "b/three.c", "top.c", "top.txt"] {
        write(root.join(name), name);
    }
    fs::hard_link(root.join("a/one.h"), root.join("b/linked.c")).unwrap();
    fs::hard_link(root.join("a/one.h"), root.join("z-linked.c")).unwrap();
    symlink("top.c", root.join("link")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    write(root.join("thing"), "a file here");
    write(root.join("folder/in"), "a folder here");
}

struct Captured {
    sandbox: Sandbox,
    source: PathBuf,
}

fn captured() -> Captured {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fill(&source);
    sandbox.snapshot(&source, "tree").done();
    Captured { sandbox, source }
}

/// All paths below a folder.
fn paths(root: &Path) -> Vec<String> {
    model(root).keys().filter(|path| !path.is_empty()).map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

#[test]
fn patterns_say_what_comes_back() {
    let c = captured();
    for (at, (arguments, wanted)) in [
        (&["--include", "*.c", "--exclude", "deep"][..], "a a/one.c b b/linked.c b/three.c top.c z-linked.c"),
        (&["--include", "/a/"], "a a/deep a/deep/two.c a/one.c a/one.h"),
        (&["--include", "/b/three.c"], "b b/three.c"),
        (&["--include", "/nothing"], ""),
        (&["--exclude", "*.c", "--exclude", "/a"], "b b/cache b/cache/x empty folder folder/in link thing top.txt"),
    ]
    .into_iter()
    .enumerate()
    {
        let dest = c.sandbox.path(format!("dest{at}"));
        let ran = c.sandbox.larder([&["restore", "tree", text(&dest), "--verify"], arguments].concat());
        // That nothing fits is an outcome of its own.
        let _ran = ran.ended(if wanted.is_empty() { 3 } else { 0 });
        assert_eq!(paths(&dest).join(" "), wanted, "{arguments:?}");
    }
    // The first name of the three is left aside: the content came with the next, and the one after is linked to it.
    let (first, next) = (c.sandbox.path("dest0/b/linked.c"), c.sandbox.path("dest0/z-linked.c"));
    assert_eq!(fs::read_to_string(&first).unwrap(), "a/one.h");
    assert_eq!(fs::metadata(&first).unwrap().ino(), fs::metadata(&next).unwrap().ino());
    // A folder that comes along has its own time.
    let time = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(time(c.sandbox.path("dest0/b")), time(c.source.join("b")));
    c.sandbox.larder(["restore", "tree", "x", "--include", "a{b"]).refused(2, "a{b");
}

/// Targets that differ from the snapshot in every way that matters.
fn targets(c: &Captured) -> BTreeMap<&'static str, PathBuf> {
    let mut made = BTreeMap::new();
    let mut target = |name: &'static str, change: &dyn Fn(&Path)| {
        let path = c.sandbox.path("targets").join(name);
        copy_tree(&c.source, &path);
        change(&path);
        made.insert(name, path);
    };
    target("equal", &|_| {});
    target("changed", &|t| {
        write(t.join("a/one.c"), "another");
        write(t.join("top.c"), "TOP.C");
        fs::remove_file(t.join("b/three.c")).unwrap();
        fs::remove_dir_all(t.join("folder")).unwrap();
        fs::File::open(t.join("top.txt")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    });
    target("more", &|t| {
        write(t.join("extra/deep/file.c"), "extra");
        write(t.join("a/deep/extra.c"), "extra");
        write(t.join("empty/extra.o"), "extra");
        symlink("/etc", t.join("a/out")).unwrap();
        write(t.join("b/cache/extra"), "extra");
    });
    target("kinds", &|t| {
        fs::remove_file(t.join("thing")).unwrap();
        write(t.join("thing/inside.c"), "a folder where a file was");
        fs::remove_dir_all(t.join("folder")).unwrap();
        write(t.join("folder"), "a file where a folder was");
        fs::remove_file(t.join("link")).unwrap();
        fs::create_dir(t.join("link")).unwrap();
    });
    target("links", &|t| {
        fs::remove_file(t.join("b/linked.c")).unwrap();
        write(t.join("b/linked.c"), "on its own");
        write(t.join("a/one.h"), "changes all its names");
    });
    target("metadata", &|t| {
        let chmod = |name: &str, mode| fs::set_permissions(t.join(name), PermissionsExt::from_mode(mode)).unwrap();
        chmod("top.c", 0o600);
        chmod("a/one.h", 0o600);
        chmod("a", 0o1700);
        chmod("empty", 0o700);
        let value = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(t.join("top.txt"), "user.mine", b"mine", value).unwrap();
        rustix::fs::chown(t.join("b/three.c"), Some(rustix::fs::Uid::from_raw(1234)), None).unwrap();
    });
    let bare = c.sandbox.path("targets/bare");
    fs::create_dir(&bare).unwrap();
    made.insert("bare", bare);
    made.insert("missing", c.sandbox.path("targets/missing"));
    made
}

#[test]
fn a_rehearsal_tells_what_the_restore_does_and_changes_nothing() {
    let c = captured();
    let targets = targets(&c);
    let options: [&[&str]; 7] = [
        &[],
        &["--overwrite", "if-changed"],
        &["--overwrite", "always"],
        &["--delete"],
        &["--delete", "--overwrite", "never"],
        &["--delete", "--exclude", "cache", "--exclude", "*.h"],
        &["--delete", "--include", "*.c"],
    ];
    for (name, target) in &targets {
        for (at, options) in options.iter().enumerate() {
            let case = format!("{name} {options:?}");
            let there = |to: &str| {
                let dest = c.sandbox.path(format!("{to}-{name}-{at}"));
                if target.exists() {
                    copy_tree(target, &dest);
                }
                dest
            };
            let dest = there("dest");
            let run = |more: &[&str]| c.sandbox.larder([&["restore", "tree", text(&dest)], *options, more].concat());
            let before = target.exists().then(|| model(&dest));
            let lines = run(&["--dry-run", "--changes=all"]);
            let foreseen = run(&["--dry-run", "--json"]);
            assert_eq!(before, dest.exists().then(|| model(&dest)), "{case}: a rehearsal changed something");
            let done = run(&["--json"]);
            assert_eq!((foreseen.status, lines.status), (done.status, done.status), "{case}");
            let counts = |ran: &Ran| {
                let last = ran.stdout.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap();
                let mut value: serde_json::Value = serde_json::from_slice(last).unwrap();
                value["dry_run"].take();
                value
            };
            assert_eq!(counts(&foreseen), counts(&done), "{case}");
            // The lines are the same too, in another copy.
            let twin = there("twin");
            let arguments = [&["restore", "tree", text(&twin), "--changes=all"], *options].concat();
            let told = c.sandbox.larder(arguments);
            assert_eq!(String::from_utf8_lossy(&lines.stdout), String::from_utf8_lossy(&told.stdout), "{case}");
            if options == &["--delete"] {
                compare(&model(&c.source), &model(&dest)).unwrap_or_else(|why| panic!("{case}: {why}"));
            }
        }
    }
}

#[test]
fn deletion_stays_inside_and_leaves_aside_what_patterns_leave_aside() {
    let c = captured();
    let (dest, outside) = (c.sandbox.path("dest"), c.sandbox.path("outside"));
    copy_tree(&c.source, &dest);
    write(outside.join("precious"), "precious");
    symlink(&outside, dest.join("a/detour")).unwrap();
    write(dest.join("old/kept.o"), "left aside");
    write(dest.join("old/gone"), "not");
    write(dest.join("b/cache/mine"), "left aside");
    // Another file system, and a folder of the same one, mounted inside.
    let mount = |arguments: &[&str], at: &Path| {
        fs::create_dir_all(at).unwrap();
        Ran::of(Command::new("mount").args(arguments).arg(at)).done();
    };
    let (bound, other) = (dest.join("old/bound"), dest.join("other"));
    mount(&["--bind", text(&outside)], &bound);
    mount(&["-t", "tmpfs", "none"], &other);
    write(other.join("far"), "far");
    let ran = c.sandbox.larder(["restore", "tree", text(&dest), "--delete", "--exclude", "*.o", "--exclude", "cache"]);
    let left = paths(&dest);
    for point in [&bound, &other] {
        Ran::of(Command::new("umount").arg(point)).done();
    }
    ran.done();
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious");
    for there in ["old/kept.o", "b/cache/mine", "old/bound/precious", "other/far"] {
        assert!(left.iter().any(|path| path == there), "{there} is gone: {left:?}");
    }
    for gone in ["old/gone", "a/detour"] {
        assert!(!left.iter().any(|path| path == gone), "{gone} is there");
    }
}

#[test]
fn nothing_is_removed_from_the_root_or_around_the_store_and_keys_stay() {
    let c = captured();
    let holder = c.sandbox.path("");
    for target in [Path::new("/"), &holder] {
        c.sandbox.larder(["restore", "tree", text(target), "--delete", "--dry-run"]).refused(2, "nothing is removed");
    }
    let sandbox = Sandbox::with_store();
    sandbox.snapshot(&c.source, "tree").done();
    let home = sandbox.client().home().to_owned();
    write(home.join("stale"), "stale");
    sandbox.larder(["restore", "tree", text(&home), "--delete"]).done();
    assert!(!home.join("stale").exists() && home.join("top.c").exists());
    sandbox.larder(["verify"]).done();
}

#[test]
fn damage_in_the_store_never_leads_to_a_removal() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    for folder in 0..40 {
        for file in 0..40 {
            write(source.join(format!("{folder:02}/{file:02}")), &format!("{folder} {file}"));
        }
    }
    sandbox.snapshot(&source, "tree").done();
    let expected: Vec<_> = paths(&source);
    let seed = seed();
    let mut files: Vec<_> = fs::read_dir(sandbox.store().join("db")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "sst"));
    files.sort();
    let (mut damaged, mut at) = (0, 0);
    while damaged < 3 && at < 40 {
        let file = &files[pick(seed, 2 * at, files.len() as u64) as usize];
        let whole = fs::read(file).unwrap();
        let mut broken = whole.clone();
        broken[pick(seed, 2 * at + 1, whole.len() as u64) as usize] ^= 0x10;
        let dest = sandbox.path(format!("dest{at}"));
        copy_tree(&source, &dest);
        write(dest.join("07/extra"), "extra");
        fs::write(file, broken).unwrap();
        let ran = sandbox.larder(["restore", "tree", text(&dest), "--delete"]);
        fs::write(file, whole).unwrap();
        assert!(matches!(ran.status, 0 | 13), "{}", ran.stderr);
        damaged += usize::from(ran.status == 13);
        let left = paths(&dest);
        let lost: Vec<_> = expected.iter().filter(|path| !left.contains(path)).collect();
        assert!(lost.is_empty(), "removed though it is in the snapshot: {lost:?}");
        at += 1;
    }
    assert!(damaged > 0, "no damage was met in {at} tries");
}

#[test]
fn a_safety_snapshot_leads_back() {
    let c = captured();
    let dest = c.sandbox.path("work");
    write(dest.join("mine"), "mine");
    write(dest.join("top.c"), "mine too");
    let before = model(&dest);
    let ran = c.sandbox.larder(["restore", "tree", text(&dest), "--delete", "--safety", "--json"]).json();
    compare(&model(&c.source), &model(&dest)).unwrap();
    let id = ran["safety"].as_str().unwrap().to_owned();
    let shown = c.sandbox.larder(["show", &id, "--json"]).json();
    assert_eq!((shown["kind"].as_str(), shown["dataset"].as_str()), (Some("safety"), Some("work.safety")));
    assert!(shown["reason"].as_str().unwrap().contains("tree"));
    assert_ne!(c.sandbox.larder(["show", "latest", "--json"]).json()["id"], id.as_str(), "latest is none of those");
    c.sandbox.larder(["restore", &id, text(&dest), "--delete"]).done();
    compare(&before, &model(&dest)).unwrap();
    // Where nothing is, nothing can be lost.
    let fresh = c.sandbox.larder(["restore", "tree", text(&c.sandbox.path("fresh")), "--safety", "--json"]).json();
    assert!(fresh["safety"].is_null());
}

#[test]
fn without_a_whole_safety_snapshot_the_restore_does_not_begin() {
    let c = captured();
    let dest = c.sandbox.path("work");
    write(dest.join("mine"), "mine");
    write(dest.join("secret"), "");
    // A file that not even root can read.
    Ran::of(Command::new("mount").args(["--bind", "/proc/1/mem"]).arg(dest.join("secret"))).done();
    let run = |safety: &str| c.sandbox.larder(["restore", "tree", text(&dest), "--delete", safety]);
    let (whole, left) = (run("--safety"), dest.join("mine").exists() && !dest.join("top.c").exists());
    let partial = run("--safety=partial");
    Ran::of(Command::new("umount").arg(dest.join("secret"))).done();
    whole.refused(3, "nothing was restored");
    assert!(left, "something was changed");
    partial.done();
    assert!(dest.join("top.c").exists() && dest.join("secret").exists());
}

#[test]
fn what_stands_in_the_way_is_told() {
    let c = captured();
    let dest = c.sandbox.path("dest");
    write(dest.join("thing/inside"), "a folder where a file goes");
    let run = |more: &[&str]| c.sandbox.larder([&["restore", "tree", text(&dest)], more].concat());
    let never = run(&[]).ended(3);
    assert!(never.stderr.contains("thing: a folder stands in its place"), "{}", never.stderr);
    let changed = run(&["--overwrite", "if-changed"]).ended(3);
    assert!(changed.stderr.contains("thing: a folder stands in its place (--delete removes it)"), "{}", changed.stderr);
    run(&["--delete", "--exclude", "inside"]).refused(3, "a folder with things that are not removed");
    run(&["--delete"]).done();
    assert_eq!(fs::read_to_string(dest.join("thing")).unwrap(), "a file here");
    let one = c.sandbox.larder(["restore", "tree:top.c", text(&c.sandbox.path("one"))]).ended(0);
    assert!(one.stderr.contains("restored 1 file,"), "{}", one.stderr);
    assert_eq!(
        fs::metadata(c.sandbox.path("one")).unwrap().mode() & 0o1000,
        0,
        "a folder around a file is no one's mark"
    );
    let file = c.sandbox.path("source/top.c");
    c.sandbox.larder(["restore", "tree", text(&file)]).refused(1, "not a folder");
    c.sandbox.larder(["restore", "tree", text(&file), "--dry-run"]).refused(1, "not a folder");
}

/// What is there of a tree so far, and how many files: each under its name is whole, folders and what is half-written aside.
fn whole_files(expected: &Model, dest: &Path) -> u64 {
    let mut count = 0;
    for (path, words) in model(dest) {
        let name = String::from_utf8_lossy(&path).into_owned();
        if words.starts_with("100000") && !name.contains(".larder-part-") {
            assert_eq!(Some(&words), expected.get(&path), "{name} is there and not whole");
            count += 1;
        }
    }
    count
}

/// How many files two levels below have a name of the snapshot, while they are being restored.
fn named_files(dest: &Path) -> usize {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let hidden = |path: &PathBuf| text(path).contains("/.larder-part-");
    list(dest).iter().flat_map(|folder| list(folder)).filter(|path| !hidden(path)).count()
}

#[test]
fn a_restore_that_is_killed_is_finished_by_the_same_command() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    for at in 0..1500u64 {
        let path = source.join(format!("{:02}/{at:04}", at % 30));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise(at, 1000 + (at as usize % 7) * 9000)).unwrap();
    }
    fs::write(source.join("15/long"), noise(9999, 20_000_000)).unwrap();
    sandbox.snapshot(&source, "tree").done();
    let expected = model(&source);
    for (at, part) in [1, 20, 50, 80].into_iter().enumerate() {
        let dest = sandbox.path(format!("dest{at}"));
        let mut command = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
        command.arg("--store").arg(sandbox.store()).args(["restore", "tree", text(&dest)]);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while named_files(&dest) < 1501 * part / 100 && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let first = whole_files(&expected, &dest);
        let again = sandbox.larder(["restore", "tree", text(&dest), "--json"]).json();
        compare(&expected, &model(&dest)).unwrap_or_else(|why| panic!("killed at {part} %: {why}"));
        let written = again["files"].as_u64().unwrap();
        println!("killed at {part} %: {first} files were there, {written} written by the second run");
        assert_eq!(first + written, 1501, "what was there is not written again");
    }
}

fn bind(from: &Path, at: &Path) {
    Ran::of(Command::new("mount").arg("--bind").args([from, at])).done();
}

fn unmount(at: &Path) {
    Ran::of(Command::new("umount").arg(at)).done();
}

#[test]
fn where_something_is_mounted_nothing_is_removed_to_make_room() {
    let c = captured();
    let (dest, outside) = (c.sandbox.path("dest"), c.sandbox.path("outside"));
    write(outside.join("one.c/precious"), "a folder where a file goes");
    write(outside.join("deep"), "a file where a folder goes");
    fs::create_dir_all(dest.join("a")).unwrap();
    bind(&outside, &dest.join("a"));
    let run = |more: &str| c.sandbox.larder(["restore", "tree", text(&dest), "--delete", more]);
    let (dry, done) = (run("--dry-run"), run("--json"));
    unmount(&dest.join("a"));
    assert_eq!(fs::read_to_string(outside.join("one.c/precious")).unwrap(), "a folder where a file goes");
    assert_eq!(fs::read_to_string(outside.join("deep")).unwrap(), "a file where a folder goes");
    for ran in [dry.ended(3), done.ended(3)] {
        for name in ["one.c", "deep"] {
            assert!(ran.stderr.contains(&format!("a/{name}: ")), "{}", ran.stderr);
        }
        assert!(ran.stderr.contains("nothing is removed where something is mounted"), "{}", ran.stderr);
    }
}

#[test]
fn what_patterns_leave_aside_makes_no_room_for_a_folder() {
    let c = captured();
    let dest = c.sandbox.path("dest");
    write(dest.join("a"), "mine");
    let run = |more: &[&str]| c.sandbox.larder([&["restore", "tree", text(&dest), "--delete"], more].concat());
    run(&["--exclude", "a", "--exclude", "!a/"])
        .refused(3, "a: something that patterns leave aside stands in its place");
    assert_eq!(fs::read_to_string(dest.join("a")).unwrap(), "mine");
    run(&[]).done();
    assert!(dest.join("a/one.c").exists());
}

#[test]
fn keys_and_store_are_not_replaced() {
    for symlinked in [false, true] {
        let sandbox = Sandbox::with_store();
        let (home, key) = (sandbox.client().home().to_owned(), sandbox.client().identity());
        let secret = fs::read_to_string(&key).unwrap();
        let source = sandbox.path("source");
        write(source.join("home/.config/larder/identity.txt"), "not the key");
        write(source.join("home/linked/identity.txt"), "not the key");
        write(source.join("store/header"), "not the header");
        write(source.join("store/db/CURRENT"), "not the database");
        write(source.join("new"), "new");
        if symlinked {
            fs::create_dir(home.join("linked")).unwrap();
            fs::rename(&key, home.join("linked/identity.txt")).unwrap();
            symlink(home.join("linked/identity.txt"), &key).unwrap();
        }
        sandbox.snapshot(&source, "tree").done();
        let dest = sandbox.path("");
        for overwrite in ["if-changed", "always"] {
            let ran = sandbox.larder(["restore", "tree", text(&dest), "--overwrite", overwrite]).ended(3);
            for name in ["home/.config/larder/identity.txt", "store"] {
                assert!(ran.stderr.contains(&format!("{name}: the store, a key")), "{}", ran.stderr);
            }
            assert_eq!(fs::read_to_string(&key).unwrap(), secret);
            assert_eq!(fs::symlink_metadata(&key).unwrap().is_symlink(), symlinked);
            assert_eq!(fs::read_to_string(dest.join("new")).unwrap(), "new");
        }
        // A file where the folder of the store is, and one where the way to the key leads over a symlink.
        let parent = home.join(".config");
        fs::rename(&parent, sandbox.path("config")).unwrap();
        symlink(sandbox.path("config"), &parent).unwrap();
        let other = sandbox.path("other");
        write(other.join("store"), "a file");
        write(other.join("home/.config/x"), "a folder");
        sandbox.snapshot(&other, "other").done();
        let ran = sandbox.larder(["restore", "other", text(&dest), "--overwrite", "always"]).ended(3);
        for name in ["home/.config", "store"] {
            assert!(ran.stderr.contains(&format!("{name}: the store, a key")), "{}", ran.stderr);
        }
        sandbox.larder(["verify"]).done();
    }
}

#[test]
fn a_store_is_known_under_another_path() {
    let c = captured();
    let at = c.sandbox.path("mounted");
    fs::create_dir(&at).unwrap();
    for folder in ["", "db"] {
        bind(&c.sandbox.store().join(folder), &at);
        let here = c.sandbox.larder(["restore", "tree", text(&at)]);
        let below = c.sandbox.larder(["restore", "tree", text(&at.join("new/deep"))]);
        unmount(&at);
        here.refused(2, "is in the store");
        below.refused(2, "is in the store");
    }
    c.sandbox.larder(["verify"]).done();
}

/// The name of something half-written that will have this name.
fn half_written(name: &str) -> String {
    format!(".larder-part-{}-0123456789abcdef", &blake3::hash(name.as_bytes()).to_hex()[..32])
}

#[test]
fn what_a_kill_left_is_cleared_away_unless_somebody_is_at_it() {
    let c = captured();
    let dest = c.sandbox.path("dest");
    c.sandbox.larder(["restore", "tree", text(&dest)]).done();
    let leftover = dest.join("a").join(half_written("one.c"));
    let stranger = dest.join("a").join(half_written("no name of the snapshot"));
    let held = fs::File::open(dest.join("a")).unwrap();
    for more in [&[][..], &["--delete", "--exclude", ".larder-part-*"]] {
        let run = || c.sandbox.larder([&["restore", "tree", text(&dest)], more].concat());
        write(leftover.clone(), "half");
        write(stranger.clone(), "the user's own");
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockShared).unwrap();
        run().done();
        assert!(leftover.exists(), "another restore was writing it");
        rustix::fs::flock(&held, rustix::fs::FlockOperation::Unlock).unwrap();
        run().done();
        assert!(!leftover.exists() && stranger.exists());
    }
    c.sandbox.larder(["restore", "tree", text(&dest), "--delete"]).done();
    assert!(!stranger.exists(), "an extra like any other");
}

#[test]
fn the_users_own_entries_may_be_called_as_half_written_ones_are() {
    let sandbox = Sandbox::with_open_store();
    let (source, dest) = (sandbox.path("source"), sandbox.path("dest"));
    write(source.join("file"), "file");
    for name in [".larder-part-notes", &half_written("file")] {
        write(source.join(name), name);
    }
    sandbox.snapshot(&source, "tree").done();
    write(dest.join(".larder-part-mine"), "mine");
    for _ in 0..2 {
        sandbox.larder(["restore", "tree", text(&dest)]).done();
        assert_eq!(paths(&dest).len(), 4, "{:?}", paths(&dest));
    }
    let safety = sandbox.larder(["restore", "tree", text(&dest), "--delete", "--safety", "--json"]).json();
    assert!(!dest.join(".larder-part-mine").exists());
    compare(&model(&source), &model(&dest)).unwrap();
    let id = safety["safety"].as_str().unwrap();
    sandbox.larder(["restore", id, text(&dest)]).done();
    assert_eq!(fs::read_to_string(dest.join(".larder-part-mine")).unwrap(), "mine");
}

#[test]
fn the_way_back_is_told_as_a_shell_takes_it() {
    let c = captured();
    let run = |name: &str| {
        let dest = c.sandbox.path(name);
        write(dest.join("mine"), "mine");
        c.sandbox.larder(["restore", "tree", text(&dest), "--safety", "--overwrite", "always"]).ended(0).stderr
    };
    let told = run("it's $HOME");
    let way = format!(r"'{}/it'\''s $HOME' --delete`", text(&c.sandbox.path("").canonicalize().unwrap()));
    assert!(told.contains(&way), "{way} is not in {told}");
    let told = run("line\nbreak");
    assert!(told.contains("safety snapshot") && !told.contains("leads back"), "{told}");
}

#[test]
fn a_change_of_metadata_alone_is_told() {
    let c = captured();
    let dest = c.sandbox.path("dest");
    copy_tree(&c.source, &dest);
    for (name, mode) in [("top.c", 0o600), ("a", 0o1700)] {
        fs::set_permissions(dest.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    let run = |more: &[&str]| c.sandbox.larder([&["restore", "tree", text(&dest)], more].concat());
    let kept = run(&["--changes"]).ended(3);
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "! a/\n! top.c\n");
    assert!(kept.stderr.contains("top.c: it has other permissions or another owner"), "{}", kept.stderr);
    let mode = |name: &str| fs::metadata(dest.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("a"), mode("top.c")), (0o1700, 0o600), "a folder of the user's is taken for an unfinished one");
    let put = run(&["--changes", "--overwrite", "if-changed"]).ended(0);
    assert_eq!(String::from_utf8_lossy(&put.stdout), ". a/\n. top.c\n");
    assert!(put.stderr.contains("2 had only their metadata put right"), "{}", put.stderr);
    compare(&model(&c.source), &model(&dest)).unwrap();
    let again = run(&["--json", "--overwrite", "if-changed"]).json();
    assert_eq!((again["adjusted"].as_u64(), again["folders"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn an_empty_folder_that_is_there_is_not_made() {
    let c = captured();
    let dest = c.sandbox.path("dest");
    fs::create_dir(&dest).unwrap();
    let ran = c.sandbox.larder(["restore", "tree:empty", text(&dest), "--changes"]).ended(0);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), ". ./\n");
    let fresh = c.sandbox.larder(["restore", "tree:empty", text(&c.sandbox.path("new")), "--changes"]).ended(0);
    assert_eq!(String::from_utf8_lossy(&fresh.stdout), "+ ./\n");
    compare(&model(&c.source.join("empty")), &model(&dest)).unwrap();
}
