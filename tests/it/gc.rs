//! Giving snapshots up and giving their room back, through the command line, beside mounts and readers.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use larder::model::{Failure, Kind};
use larder::snapshots::resolve;
use nix::libc;
use serde_json::Value;

use crate::clocked::{now, opened};
use crate::keys::named_member;
use crate::mounting::{Mount, Mounted};
use crate::sandbox::{Ran, Sandbox, compare, model, noise};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn bytes_of(folder: &Path) -> u64 {
    let du = Ran::of(Command::new("du").arg("-sB1").arg(folder)).ended(0);
    String::from_utf8(du.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

fn gc(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let ran = sandbox.larder(["gc", "--json"].iter().chain(arguments)).ended(0);
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// The ids of the snapshots, oldest first.
fn ids(sandbox: &Sandbox) -> Vec<String> {
    sandbox.larder(["list", "--json"]).ids()
}

#[test]
fn what_is_forgotten_is_told_and_then_gone_and_its_room_is_back() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..3 {
        fs::write(source.join("big"), noise(turn, 8_000_000)).unwrap();
        fs::write(source.join(format!("small {turn}")), noise(100 + turn, 1000)).unwrap();
        sandbox.snapshot(&source, "d").done();
    }
    // What has just changed is read again, lest it change once more unseen.
    std::thread::sleep(std::time::Duration::from_millis(300));
    sandbox.snapshot(&source, "d").done();
    let (all, before) = (ids(&sandbox), bytes_of(&sandbox.store()));
    sandbox.larder(["forget", &all[0], &all[1]]).done();
    assert_eq!(ids(&sandbox), all[2..]);
    let told = gc(&sandbox, &["--dry-run"]);
    assert_eq!(told["removed"].as_array().unwrap().len(), 2, "{told}");
    assert!(told["dead"]["bytes"].as_u64().unwrap() > 15_900_000 && told["done"].is_null(), "{told}");
    assert!(bytes_of(&sandbox.store()) >= before);
    let done = gc(&sandbox, &[]);
    assert_eq!(done["dead"], told["dead"]);
    let after = bytes_of(&sandbox.store());
    assert!(after + 15_900_000 < before, "{before} bytes before, {after} after: {done}");
    sandbox.larder(["verify", "--read-data"]).done();
    sandbox.larder(["restore", "d", text(&sandbox.path("back"))]).done();
    compare(&model(&source), &model(&sandbox.path("back"))).unwrap();
    // Files that did not change are not read again, though gc was here.
    let again = sandbox.larder(["-v", "snapshot", "--dataset", "d", text(&source)]).ended(0);
    assert!(again.stderr.contains("4 files unchanged since the last capture"), "{}", again.stderr);
    assert_eq!(gc(&sandbox, &[])["dead"]["blocks"], 0);
}

#[test]
fn a_mount_keeps_what_was_forgotten_for_as_long_as_it_is_used() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..2 {
        fs::write(source.join("file"), noise(turn, 3_000_000)).unwrap();
        sandbox.snapshot(&source, "d").done();
    }
    let all = ids(&sandbox);
    let mounted = Mounted::new(&sandbox, "mnt", &[]);
    let tree = mounted.point.join("snapshots").join(&all[0][..16]);
    let held = fs::File::open(tree.join("file")).unwrap();
    sandbox.larder(["forget", &all[0]]).done();
    let kept = gc(&sandbox, &[]);
    assert_eq!((kept["leased"].as_array().unwrap().len(), kept["done"]["freed"].as_u64()), (1, Some(0)), "{kept}");
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");
    let mut bytes = vec![0; 3_000_000];
    held.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == noise(0, 3_000_000));
    drop(held);
    drop(mounted);
    assert_eq!(gc(&sandbox, &[])["removed"][0], *all[0]);
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn gc_that_does_not_wait_changes_nothing_while_another_writes() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..2 {
        fs::write(source.join("file"), noise(turn, 300_000)).unwrap();
        sandbox.snapshot(&source, "d").done();
    }
    let all = ids(&sandbox);
    sandbox.larder(["forget", &all[0]]).done();
    let told = gc(&sandbox, &["--dry-run"]);
    let lock = fs::File::open(sandbox.store().join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let before = model(&sandbox.store());
    sandbox.larder(["gc", "--no-wait"]).refused(11, "another process");
    compare(&before, &model(&sandbox.store())).unwrap();
    drop(lock);
    assert_eq!(gc(&sandbox, &["--dry-run"]), told);
    let done = gc(&sandbox, &["--no-wait"]);
    assert_eq!((&done["removed"][0], &done["done"]["cut_short"]), (&all[0].clone().into(), &false.into()));
    assert_eq!(done["done"]["blocks"], told["dead"]["blocks"], "as many as there were: {done}");
}

/// Whoever comes while gc removes a snapshot, or has looked at the store before, is told that there is none: that is no damage.
#[test]
fn what_is_removed_meanwhile_is_not_found() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..3 {
        fs::write(source.join("file"), noise(turn, 200_000)).unwrap();
        sandbox.snapshot(&source, "d").done();
    }
    let all = ids(&sandbox);
    sandbox.larder(["forget", &all[0], "-n"]).done();
    // As gc does from before it removes the manifest until after that.
    let leases = fs::File::options().read(true).write(true).open(sandbox.store().join("leases/snapshots")).unwrap();
    let lock = |kind: i32| {
        let byte = libc::flock { l_type: kind as i16, l_whence: 0, l_start: 1, l_len: 1, l_pid: 0 };
        nix::fcntl::fcntl(&leases, nix::fcntl::FcntlArg::F_OFD_SETLK(&byte)).unwrap();
    };
    lock(libc::F_WRLCK);
    let dest = sandbox.path("dest");
    let file = format!("{}:file", all[0]);
    for words in [&["cat", &file][..], &["restore", &all[0], text(&dest)], &["ls", &all[0]], &["show", &all[0]]] {
        sandbox.larder(words).refused(10, "gc removes it now");
    }
    sandbox.larder(["cat", &format!("{}:file", all[1])]).done();
    lock(libc::F_UNLCK);
    let store = opened(&sandbox, sandbox.client());
    let find = |id: &String| resolve(&store, &id.parse().unwrap(), now());
    sandbox.larder(["forget", &all[0]]).done();
    assert_eq!(gc(&sandbox, &[])["removed"][0], *all[0]);
    let error = find(&all[0]).unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("given up"), "{error}");
    assert_eq!(find(&all[1]).unwrap().to_string(), all[1]);
    sandbox.larder(["cat", &file]).refused(10, "no snapshot");
}

#[test]
fn on_a_full_disk_room_can_be_made() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path("disk");
    fs::create_dir(&disk).unwrap();
    Ran::of(Command::new("mount").args(["-t", "tmpfs", "-o", "size=150m", "tmpfs", text(&disk)])).done();
    let store = disk.join("store");
    let run = |arguments: &[&str]| sandbox.client().run(&store, arguments.to_vec());
    run(&["init"]).done();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let mut status = 0;
    for turn in 0..20 {
        fs::write(source.join("file"), noise(turn, 9_000_000)).unwrap();
        status = run(&["snapshot", text(&source), "--dataset", "d"]).status;
        if status != 0 {
            break;
        }
    }
    assert_eq!(status, 1, "the disk did not become full");
    let left = |name: &str| fs::write(disk.join(name), vec![1; 1 << 16]).is_ok();
    // To the last byte.
    let mut filled = 0;
    while left(&format!("fill{filled}")) {
        filled += 1;
    }
    let all = run(&["list", "--json"]).ids();
    run(&[&["forget"], &all[..5].iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()).done();
    run(&["gc"]).done();
    run(&["verify", "--read-data"]).done();
    run(&["snapshot", text(&source), "--dataset", "d"]).done();
    assert_eq!(run(&["list", "--json"]).ids().len(), all.len() - 4);
    Ran::of(Command::new("umount").arg("-l").arg(&disk)).done();
}

/// Writers do not rely on each other's runs, so each stores what the other has. Of both copies little is needed then.
#[test]
fn what_two_keys_stored_each_for_itself_is_moved_once_and_kept() {
    let sandbox = Sandbox::with_store();
    let store = sandbox.store();
    let writers = [named_member(&sandbox, "writer", "one"), named_member(&sandbox, "writer", "two")];
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    (0..200).for_each(|n| fs::write(tree.join(format!("f{n:03}")), noise(n, 20_000)).unwrap());
    for (writer, dataset) in writers.iter().zip(["one", "two"]) {
        writer.run(&store, ["snapshot", tree.to_str().unwrap(), "-d", dataset]).done();
    }
    (0..200).filter(|n| n % 5 != 0).for_each(|n| fs::remove_file(tree.join(format!("f{n:03}"))).unwrap());
    writers[0].run(&store, ["snapshot", tree.to_str().unwrap(), "-d", "kept"]).done();
    sandbox.larder(["forget", "one", "two"]).done();
    let done = gc(&sandbox, &[]);
    let number = |at: &str| done.pointer(at).unwrap().as_u64().unwrap();
    assert!(number("/sparse/blocks") >= 6 && number("/done/repacked_blocks") >= 6, "{done}");
    assert!((39 * 20_000..60 * 20_000).contains(&number("/done/repacked_bytes")), "each once: {done}");
    sandbox.larder(["verify", "--read-data"]).done();
    let dest = sandbox.path("dest");
    sandbox.larder(["restore", "kept", dest.to_str().unwrap()]).done();
    compare(&model(&tree), &model(&dest)).unwrap();
}

/// Of two thirds that are still needed little room would come back; what is moved out of needs room first, and there is none.
#[test]
fn on_a_full_disk_dead_blocks_for_which_there_is_no_room_stay() {
    let sandbox = Sandbox::new();
    let (disk, source) = (sandbox.path("disk"), sandbox.path("source"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&source).unwrap();
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=260m", "tmpfs"], disk.clone());
    let store = disk.join("store");
    let run = |words: &[&str]| sandbox.client().run(&store, words);
    run(&["init"]).done();
    (0..120).for_each(|n| fs::write(source.join(format!("f{n:03}")), noise(n, 1_000_000)).unwrap());
    run(&["snapshot", text(&source), "--dataset", "all"]).done();
    (0..120).filter(|n| n % 3 == 0).for_each(|n| fs::remove_file(source.join(format!("f{n:03}"))).unwrap());
    run(&["snapshot", text(&source), "--dataset", "most"]).done();
    let fill = |n: u64| disk.join(format!("fill{n}"));
    let filled = (0..1000).find(|n| fs::write(fill(*n), vec![1; 1 << 20]).is_err()).unwrap();
    run(&["forget", "all"]).done();
    let told = run(&["gc"]).ended(0);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("stay, since the disk is nearly full: run gc again when"), "{told}");
    run(&["verify", "--read-data"]).done();
    (0..80.min(filled)).for_each(|n| fs::remove_file(fill(n)).unwrap());
    let freed = run(&["gc", "--json"]).json()["done"]["freed"].as_u64().unwrap();
    assert!(freed > 35_000_000, "{freed}");
    run(&["verify", "--read-data"]).done();
    let dest = sandbox.path("dest");
    run(&["restore", "most", text(&dest)]).done();
    compare(&model(&source), &model(&dest)).unwrap();
}
