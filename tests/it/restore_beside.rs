//! Restores beside other restores, by others than root, and over what an earlier one left when it was killed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::XattrFlags;

use crate::sandbox::{Ran, Sandbox, compare, copy_tree, model, noise};

/// What a folder has until it is finished.
const MARK: &str = "user.larder.unfinished";
const UNFINISHED: u32 = 0o1700;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(path: PathBuf, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn mark(folder: &Path) {
    rustix::fs::setxattr(folder, MARK, b"1", XattrFlags::empty()).unwrap();
}

fn is_marked(folder: &Path) -> bool {
    rustix::fs::getxattr(folder, MARK, &mut [0; 8][..]).is_ok()
}

/// Folders with short files, a long one, hard links, and one folder that its owner may not write to.
fn fill(root: &Path) {
    for at in 0..400u64 {
        write(root.join(format!("{:02}/{at:03}", at % 20)), &noise(at, 500 + (at as usize % 5) * 7000));
    }
    fs::hard_link(root.join("03/003"), root.join("11/linked")).unwrap();
    fs::hard_link(root.join("03/003"), root.join("19/linked")).unwrap();
    write(root.join("07/long"), &noise(1000, 12_000_000));
    chmod(&root.join("05"), 0o500);
}

fn captured(fill: impl Fn(&Path)) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fill(&source);
    sandbox.snapshot(&source, "tree").done();
    (sandbox, source)
}

fn start(sandbox: &Sandbox, dest: &Path) -> Child {
    let mut command = sandbox.client().larder(&sandbox.store());
    command.args(["restore", "tree", text(dest)]).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

#[test]
fn two_restores_into_one_folder_both_succeed() {
    let (sandbox, source) = captured(fill);
    for round in 0..4 {
        let dest = sandbox.path(format!("dest{round}"));
        let both = [start(&sandbox, &dest), start(&sandbox, &dest)];
        both.into_iter().for_each(finish);
        compare(&model(&source), &model(&dest)).unwrap_or_else(|why| panic!("round {round}: {why}"));
    }
}

#[test]
fn a_restore_into_a_folder_that_another_restores_leaves_both_whole() {
    let (sandbox, source) = captured(fill);
    let dest = sandbox.path("dest");
    let inner = dest.join("07/inner");
    let both = [start(&sandbox, &dest), start(&sandbox, &inner)];
    both.into_iter().for_each(finish);
    compare(&model(&source), &model(&inner)).unwrap();
    fs::remove_dir_all(&inner).unwrap();
    let found = model(&dest);
    for (path, words) in model(&source).iter().filter(|(path, _)| *path != b"07" && !path.is_empty()) {
        assert_eq!(found.get(path), Some(words), "{}", String::from_utf8_lossy(path));
    }
    assert_eq!(found.len(), model(&source).len());
}

#[test]
fn who_is_not_root_gets_contents_and_is_told_that_owners_are_lost() {
    let (sandbox, source) = captured(|root| {
        fill(root);
        write(root.join("program"), b"runs as its owner");
        chmod(&root.join("program"), 0o4755);
    });
    // The program stands where only its builder may go, and the store is its user's.
    let program = sandbox.path("larder");
    fs::copy(env!("CARGO_BIN_EXE_larder"), &program).unwrap();
    chmod(&sandbox.path(""), 0o755);
    let dest = sandbox.path("home/dest");
    for folder in ["home", "store"] {
        Ran::of(Command::new("chown").args(["-R", "65534:65534"]).arg(sandbox.path(folder))).done();
    }
    let run = || {
        let mut command = sandbox.client().command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).arg("--store");
        Ran::of(command.arg(sandbox.store()).args(["restore", "tree", text(&dest)]))
    };
    let first = run().ended(0);
    assert!(first.stderr.contains("only root may do that"), "{}", first.stderr);
    let again = run().ended(0);
    assert!(again.stderr.contains("restored 0 files"), "{}", again.stderr);
    assert_eq!((mode(&dest.join("program")), mode(&dest.join("05"))), (0o755, 0o500));
    for (path, words) in model(&source) {
        let path = String::from_utf8(path).unwrap();
        let (there, source) = (dest.join(&path), source.join(&path));
        assert_eq!(fs::metadata(&there).unwrap().uid(), 65534, "{path}");
        assert_eq!(
            fs::metadata(&there).unwrap().modified().unwrap(),
            fs::metadata(&source).unwrap().modified().unwrap()
        );
        assert!(!words.starts_with("100000") || fs::read(&there).unwrap() == fs::read(&source).unwrap(), "{path}");
        assert!(!is_marked(&there), "{path}");
    }
}

fn tree(root: &Path) {
    write(root.join("a/one"), b"one");
    write(root.join("b/two"), b"two");
}

#[test]
fn whatever_the_instant_of_a_kill_folders_are_finished() {
    let (sandbox, source) = captured(tree);
    let cases: [(&str, fn(&Path)); 4] = [
        ("made and not marked", |dest| {
            fs::create_dir_all(dest.join("a")).unwrap();
            chmod(&dest.join("a"), UNFINISHED);
        }),
        ("marked and empty", |dest| {
            fs::create_dir_all(dest.join("a")).unwrap();
            mark(&dest.join("a"));
            chmod(&dest.join("a"), UNFINISHED);
        }),
        ("target marked and empty", |dest| {
            fs::create_dir_all(dest).unwrap();
            mark(dest);
            chmod(dest, UNFINISHED);
        }),
        ("finished but for the mark", |dest| {
            copy_tree(&dest.with_file_name("source"), dest);
            mark(&dest.join("a"));
        }),
    ];
    for (at, (case, left)) in cases.into_iter().enumerate() {
        let dest = sandbox.path(format!("dest{at}"));
        left(&dest);
        sandbox.larder(["restore", "tree", text(&dest)]).done();
        sandbox.larder(["restore", "tree", text(&dest)]).done();
        let mut expected = model(&source);
        let mut found = model(&dest);
        // A target that is the user's own, with something in it, keeps its time.
        if at < 2 {
            expected.remove(&b""[..]);
            found.remove(&b""[..]);
        }
        compare(&expected, &found).unwrap_or_else(|why| panic!("{case}: {why}"));
    }
}

#[test]
fn a_folder_that_is_captured_unfinished_comes_back_so() {
    let (sandbox, source) = captured(|root| {
        tree(root);
        mark(&root.join("a"));
        chmod(&root.join("a"), UNFINISHED);
        mark(&root.join("b"));
    });
    let dest = sandbox.path("dest");
    for more in [&[][..], &[], &["--overwrite", "if-changed"], &["--overwrite", "if-changed"]] {
        sandbox.larder([&["restore", "tree", text(&dest)], more].concat()).done();
        compare(&model(&source), &model(&dest)).unwrap_or_else(|why| panic!("{more:?}: {why}"));
    }
    // Over it a restore of what is whole finishes it.
    let whole = sandbox.path("whole");
    tree(&whole);
    sandbox.snapshot(&whole, "whole").done();
    sandbox.larder(["restore", "whole", text(&dest), "--overwrite", "if-changed"]).done();
    assert!(!is_marked(&dest.join("a")) && !is_marked(&dest.join("b")));
    assert_eq!(mode(&dest.join("a")), mode(&whole.join("a")));
}

#[test]
fn without_attributes_the_mode_tells_that_a_folder_is_unfinished() {
    let (sandbox, source) = captured(tree);
    let dest = sandbox.path("mounted");
    fs::create_dir(&dest).unwrap();
    Ran::of(Command::new("mount").args(["-t", "ramfs", "none"]).arg(&dest)).done();
    let target = dest.join("dest");
    write(target.join("a/more"), b"the user's own");
    chmod(&target.join("a"), UNFINISHED);
    chmod(&target, UNFINISHED);
    let refused = rustix::fs::setxattr(&target, MARK, b"1", XattrFlags::empty());
    let ran = sandbox.larder(["restore", "tree", text(&target)]);
    let modes = [mode(&target), mode(&target.join("a"))];
    let content = fs::read(target.join("a/one"));
    Ran::of(Command::new("umount").arg(&dest)).done();
    ran.done();
    assert_eq!(refused, Err(rustix::io::Errno::OPNOTSUPP), "this file system has attributes and proves nothing");
    assert_eq!(modes, [mode(&source), mode(&source.join("a"))]);
    assert_eq!(content.unwrap(), b"one");
}
