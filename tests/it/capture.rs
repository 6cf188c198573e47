//! What capture and restore do with things in their way.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::sandbox::{Ran, Sandbox};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fifo(path: &Path) {
    Ran::of(Command::new("mkfifo").arg(path)).done();
}

/// Makes files whose times of change are old enough for the capture cache.
fn settle() {
    std::thread::sleep(Duration::from_millis(150));
}

#[test]
fn a_restore_into_the_store_is_refused() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("header"), "evil").unwrap();
    sandbox.larder(["snapshot", text(&source)]).done();
    symlink(sandbox.store(), sandbox.path("detour")).unwrap();
    for target in ["store", "store/db", "store/new", "detour", "detour/new"] {
        let target = sandbox.path(target);
        sandbox.larder(["restore", "source", text(&target), "--overwrite", "always"]).refused(2, "in the store");
    }
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_and_not_waited_for() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    sandbox.larder(["snapshot", text(&source)]).done();
    let caches = sandbox.client().cache().join("larder");
    let folder = fs::read_dir(caches).unwrap().map(|item| item.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let cache = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&cache).unwrap();
    fifo(&cache);
    sandbox.larder(["snapshot", text(&source)]).done();
    let header = sandbox.store().join("header");
    fs::remove_file(&header).unwrap();
    fifo(&header);
    sandbox.larder(["list"]).refused(13, "not a regular file");
}

#[test]
fn what_changed_is_seen_whatever_size_and_mtime_say() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let file = source.join("file");
    fs::write(&file, "first").unwrap();
    let old = SystemTime::now() - Duration::from_secs(10_000);
    let set_back = || fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    set_back();
    settle();
    sandbox.larder(["snapshot", text(&source)]).done();
    fs::write(&file, "other").unwrap();
    set_back();
    sandbox.larder(["snapshot", text(&source)]).done();
    let cat = |what: &str| String::from_utf8(sandbox.larder(["cat", what]).ended(0).stdout).unwrap();
    assert_eq!((cat("source~1:file").as_str(), cat("source:file").as_str()), ("first", "other"));
}

#[test]
fn unchanged_files_are_not_read_again_even_beside_a_young_folder() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    for folder in ["a", "b"] {
        fs::create_dir_all(source.join(folder)).unwrap();
        fs::write(source.join(folder).join("file"), folder).unwrap();
    }
    settle();
    sandbox.larder(["snapshot", text(&source)]).done();
    // On a busy machine the folder may have come of age before the capture looks at it: so a few times.
    for turn in 0..4 {
        fs::write(source.join("a/new"), format!("{turn} makes the folder young")).unwrap();
        sandbox.larder(["snapshot", text(&source)]).done();
        settle();
        let opened = opened_by_a_capture(&sandbox, &source);
        let read = |name: &str| {
            opened.lines().filter(|l| l.contains(&format!("\"{name}\"")) && l.contains("O_NOATIME")).count()
        };
        assert_eq!(read("file"), 0, "{opened}");
        assert!(read("new") <= 1, "{opened}");
    }
}

/// What a capture opens: with the content gone from the disk only the cache could know it.
fn opened_by_a_capture(sandbox: &Sandbox, source: &Path) -> String {
    let trace = sandbox.path("trace");
    let mut command = sandbox.client().command("strace");
    command.args(["-f", "-qq", "-e", "trace=openat", "-o"]).arg(&trace).arg(env!("CARGO_BIN_EXE_larder"));
    command.arg("--store").arg(sandbox.store()).args(["snapshot", text(source), "--quiet"]);
    let _ran = Ran::of(&mut command).ended(0);
    fs::read_to_string(trace).unwrap()
}

#[test]
fn standard_input_becomes_a_file_and_long_content_comes_back() {
    let sandbox = Sandbox::with_store();
    let content = crate::sandbox::noise(7, 5_000_000);
    let file = sandbox.path("content");
    fs::write(&file, &content).unwrap();
    let mut command = sandbox.client().larder(&sandbox.store());
    command.args(["snapshot", "--stdin", "dump.sql", "--dataset", "db"]).stdin(fs::File::open(&file).unwrap());
    let _ran = Ran::of(&mut command).ended(0);
    assert!(sandbox.larder(["cat", "db:dump.sql"]).ended(0).stdout == content);
}

#[test]
fn several_paths_stand_at_their_absolute_paths_and_patterns_leave_out() {
    let sandbox = Sandbox::with_store();
    for name in ["one/keep", "one/drop.o", "two/keep", "two/build/x"] {
        let path = sandbox.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let (one, two) = (sandbox.path("one"), sandbox.path("two"));
    sandbox.larder(["snapshot", text(&one), text(&two), "--exclude", "*.o", "--exclude", "build/"]).done();
    let listed = String::from_utf8(sandbox.larder(["ls", "-R", "default"]).ended(0).stdout).unwrap();
    let absolute = |name: &str| text(&sandbox.path(name)).trim_start_matches('/').to_owned();
    for (name, there) in [("one/keep", true), ("one/drop.o", false), ("two/keep", true), ("two/build", false)] {
        assert_eq!(listed.lines().any(|l| l == absolute(name)), there, "{name} in {listed}");
    }
}

#[test]
fn a_path_that_is_not_there_is_told_plainly() {
    let sandbox = Sandbox::with_store();
    fs::create_dir(sandbox.path("there")).unwrap();
    fs::write(sandbox.path("file"), "").unwrap();
    let (there, none) = (sandbox.path("there"), sandbox.path("none"));
    let ran = sandbox.larder(["snapshot", text(&none)]).ended(10);
    let told = format!("cannot capture {}: there is no such file or folder", none.display());
    assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    sandbox.larder(["snapshot", text(&sandbox.path("file/below"))]).refused(10, "file/below");
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), [""; 0]);
    // One of several keeps no other from being captured.
    let ran = sandbox.larder(["snapshot", text(&there), text(&none)]).ended(3);
    assert!(ran.stderr.contains(&format!("cannot read {}", none.display())), "{}", ran.stderr);
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 1);
}

/// What goes away between the listing of its folder and its reading was never there; what is there and cannot be opened is
/// missing. strace has opening a name, and asking whether it is there, fail.
#[test]
fn files_that_go_away_meanwhile_are_no_failure() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("a-folder/sub")).unwrap();
    fs::write(source.join("a-long-file"), vec![1; 2_000_000]).unwrap();
    for name in ["a-short-file", "kept", "a-folder/below"] {
        fs::write(source.join(name), name).unwrap();
    }
    for name in ["a-long-file", "a-short-file", "a-folder"] {
        for (calls, status, told, unreadable) in
            [("openat,faccessat2", 0, "it went away meanwhile", 0), ("openat", 3, "No such file", 1)]
        {
            let mut command = sandbox.client().command("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-P", name, "-e", &format!("inject={calls}:error=ENOENT")]);
            command.arg(env!("CARGO_BIN_EXE_larder")).arg("--store").arg(sandbox.store());
            command.args(["snapshot", text(&source), "-d", name]);
            let ran = Ran::of(&mut command).ended(status);
            assert!(ran.stderr.contains(&format!("{name}: {told}")), "{calls}: {}", ran.stderr);
            let listed = String::from_utf8(sandbox.larder(["ls", name]).ended(0).stdout).unwrap();
            assert!(!listed.lines().any(|l| l == name) && listed.lines().any(|l| l == "kept"), "{name}: {listed}");
            let shown = sandbox.larder(["show", "--json", name]).json();
            assert_eq!((&shown["unreadable"], &shown["changed"]), (&unreadable.into(), &0.into()), "{calls}: {shown}");
        }
    }
}

#[test]
fn a_symlink_among_several_paths_is_told_and_followed_if_a_slash_says_so() {
    let sandbox = Sandbox::with_open_store();
    let (real, link, file) = (sandbox.path("real"), sandbox.path("link"), sandbox.path("file"));
    fs::create_dir(&real).unwrap();
    fs::write(real.join("inside"), "data").unwrap();
    fs::write(&file, "x").unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    let capture = |named: &str| {
        let ran = sandbox.larder(["snapshot", "-d", "d", named, file.to_str().unwrap()]).ended(0);
        let listed = sandbox.larder(["ls", "-R", "d"]).ended(0);
        (ran.stderr, String::from_utf8(listed.stdout).unwrap())
    };
    let (told, listed) = capture(link.to_str().unwrap());
    assert!(told.contains("link is a symlink") && !listed.contains("inside"), "{told} {listed}");
    let (told, listed) = capture(&format!("{}/", link.display()));
    assert!(!told.contains("is a symlink") && listed.contains("real/inside"), "{told} {listed}");
    // Alone it is followed, and the series is called as the user calls it.
    sandbox.larder(["snapshot", link.to_str().unwrap()]).done();
    let listed = sandbox.larder(["ls", "-R", "link"]).ended(0);
    assert_eq!(String::from_utf8(listed.stdout).unwrap().trim(), "inside");
}
