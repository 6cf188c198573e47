//! A mount in trouble: readers and the process that serves it killed, damage beneath it, snapshots made meanwhile.
//!
//! Needs /dev/fuse and root: fails where they are missing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::mounting::Mounted;
use crate::sandbox::{Ran, Sandbox, copy_tree, noise, pick, seed};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A tree of long and short files, captured as the dataset `d`.
fn captured(sandbox: &Sandbox, folders: u64, files: u64, len: usize, long: usize) -> PathBuf {
    assert!(rustix::process::geteuid().is_root(), "these tests run as root");
    let source = sandbox.path("source");
    for folder in 0..folders {
        let folder_path = source.join(format!("folder{folder:02}"));
        fs::create_dir_all(&folder_path).unwrap();
        for file in 0..files {
            fs::write(folder_path.join(format!("file{file:02}")), noise(folder * files + file, len)).unwrap();
        }
    }
    fs::write(source.join("long"), noise(7, long)).unwrap();
    sandbox.snapshot(&source, "d").done();
    source
}

/// Waits for a process that must end soon.
#[track_caller]
fn ends(child: &mut Child, within: Duration) -> ExitStatus {
    ended(child, within).unwrap_or_else(|| panic!("process {} hangs", child.id()))
}

/// How a process ended, if it did so in time.
fn ended(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < within {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// How many descriptors and threads a process has.
fn holds(pid: u32) -> [usize; 2] {
    ["fd", "task"].map(|what| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count())
}

#[test]
fn killed_readers_end_at_once_and_leave_nothing_behind() {
    let sandbox = Sandbox::with_store();
    let source = captured(&sandbox, 10, 40, 5_000, 16 << 20);
    let seed = seed();
    let mounted = Mounted::new(&sandbox, "mnt", &["--snapshot", "d"]);
    let tree = text(&mounted.point);
    let readers = [
        format!("exec cat {tree}/long {tree}/folder*/*"),
        format!("exec dd if={tree}/long bs=1M iflag=direct status=none"),
        format!("exec tar -cf - -C {tree} ."),
        format!("exec find {tree} -type f -exec md5sum {{}} +"),
        format!("exec rsync -a --whole-file {tree}/ {}/", text(&sandbox.path("copied"))),
    ];
    let mut before = None;
    for turn in 0..20 {
        let reader = &readers[turn as usize % readers.len()];
        // Mostly what was not read yet, so that there is something to wait for.
        let _ = fs::write("/proc/sys/vm/drop_caches", "3");
        let mut command = sandbox.client().command("sh");
        let mut child = command.args(["-c", reader]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1 + pick(seed, turn, 60)));
        child.kill().unwrap();
        let begun = Instant::now();
        let _ = ends(&mut child, Duration::from_secs(5));
        assert!(begun.elapsed() < Duration::from_secs(2), "{reader}: ended after {:?}", begun.elapsed());
        // Files are opened and threads begun as reads want them.
        if turn == 9 {
            for whole in [&readers[0], &readers[3]] {
                let ran = Ran::of(sandbox.client().command("sh").args(["-c", whole])).ended(0);
                assert!(!ran.stdout.is_empty());
            }
            before = Some(holds(mounted.pid()));
        }
    }
    let [descriptors, threads] = holds(mounted.pid());
    let [descriptors_before, threads_before] = before.unwrap();
    assert!(
        descriptors <= descriptors_before + 2 && threads <= threads_before + 2,
        "{descriptors} {threads}: {before:?}"
    );
    assert!(fs::read(mounted.point.join("long")).unwrap() == fs::read(source.join("long")).unwrap());
    // Not lazily: nobody holds anything in it. The children of what was killed may need a moment.
    let begun = Instant::now();
    while Ran::of(Command::new("umount").arg(&mounted.point)).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it stays busy");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(mounted.told().lines().filter(|line| !line.contains("mounted at")).count(), 0, "{}", mounted.told());
    mounted.gone();
}

/// How the process that serves a mount comes to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Killed,
    /// By a signal: a busy mount is served some seconds longer.
    Asked,
}

/// A sync from a mount to a full copy, every file copied anew, slowly, and the mount's end in the midst of it.
fn ended_in_a_sync(sandbox: &Sandbox, source: &Path, delete: &str, end: End) {
    let target = sandbox.path(format!("target{delete}{end:?}"));
    copy_tree(source, &target);
    // What rsync was writing when it ended has a name that begins with a dot.
    let listed = |folder: &Path| -> BTreeSet<String> {
        let mut find = Command::new("find");
        let all = Ran::of(find.args([".", "!", "-name", ".?*", "-printf", "%P\\n"]).current_dir(folder)).ended(0);
        String::from_utf8(all.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let before = fs::metadata(target.join("folder00/file00")).unwrap().ino();
    let mut mounted = Mounted::new(sandbox, "mnt", &[]);
    let tree = mounted.point.join("datasets/d/latest");
    let mut sync = sandbox.client().command("rsync");
    sync.args(["-a", "-I", delete, "--bwlimit=3000"])
        .arg(format!("{}/", text(&tree)))
        .arg(format!("{}/", text(&target)));
    let mut sync = sync.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while fs::metadata(target.join("folder00/file00")).unwrap().ino() == before {
        assert!(begun.elapsed() < Duration::from_secs(10), "rsync has copied nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    match end {
        End::Killed => mounted.kill(),
        End::Asked => Ran::of(Command::new("kill").args(["-TERM", &mounted.pid().to_string()])).done(),
    }
    let status = ends(&mut sync, Duration::from_secs(30));
    assert_eq!(status.success(), end == End::Asked, "{delete} {end:?}: rsync ended with {status}");
    assert_eq!(listed(&target), listed(source), "{delete} {end:?}");
    for name in ["folder00/file00", "folder09/file39"] {
        assert_eq!(fs::read(target.join(name)).unwrap(), fs::read(source.join(name)).unwrap());
    }
    if end == End::Killed {
        dead(sandbox, &mounted, source, &target, delete);
    } else {
        mounted.gone();
    }
}

/// The names in a folder.
fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// A mount without a server: errors, or what the kernel still has, never an empty folder; and it can be cleared.
fn dead(sandbox: &Sandbox, mounted: &Mounted<'_>, source: &Path, target: &Path, delete: &str) {
    let point = &mounted.point;
    let never_listed = point.join("snapshots");
    let tree = point.join("datasets/d/latest");
    for (path, was) in [(&tree, source), (&tree.join("folder09"), &source.join("folder09")), (&never_listed, source)] {
        match names(path) {
            Ok(found) => {
                assert!(found == names(was).unwrap() && *path != never_listed, "{}: {found:?}", path.display());
            }
            Err(e) => assert_eq!(Errno::from_io_error(&e), Some(Errno::NOTCONN), "{}: {e}", path.display()),
        }
    }
    let again = |from: &Path| {
        let mut sync = sandbox.client().command("rsync");
        Ran::of(sync.args(["-a", delete]).arg(format!("{}/", text(from))).arg(format!("{}/", text(target))))
    };
    // Of the tree the kernel may still have all that rsync asks for.
    assert_ne!(again(point).status, 0);
    let _ = again(&tree);
    assert!(target.join("folder09/file39").exists() && target.join("long").exists(), "deleted from a dead mount");
    sandbox.larder(["unmount", text(point)]).done();
    assert_eq!(fs::read_dir(point).unwrap().count(), 0);
    // The next one serves all of it.
    let next = Mounted::new(sandbox, "mnt", &["--snapshot", "d"]);
    let _ = again(&next.point).ended(0);
    assert_eq!(fs::read(target.join("long")).unwrap(), fs::read(source.join("long")).unwrap());
    next.end();
}

#[test]
fn a_sync_with_deletion_deletes_nothing_when_the_mount_ends() {
    let sandbox = Sandbox::with_store();
    let source = captured(&sandbox, 10, 40, 1_250, 1 << 20);
    for (delete, end) in [("--delete", End::Killed), ("--delete-after", End::Killed), ("--delete", End::Asked)] {
        ended_in_a_sync(&sandbox, &source, delete, end);
    }
}

/// As after a kill that cannot end a server because one of its threads waits for the kernel: it is there and answers nothing.
#[test]
fn a_mount_whose_server_does_not_answer_is_cleared_and_frees_who_waits_for_it() {
    let sandbox = Sandbox::with_store();
    let _ = captured(&sandbox, 1, 1, 100, 1 << 20);
    let mounted = Mounted::new(&sandbox, "mnt", &["--snapshot", "d"]);
    let signal = |name: &str| Ran::of(Command::new("kill").args([name, &mounted.pid().to_string()])).done();
    // Each is in the mount before, and reads when it is told to.
    let begin = |_| {
        let mut command = sandbox.client().command("sh");
        command.args(["-c", "read line; exec cat long"]).current_dir(&mounted.point).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut readers: Vec<_> = (0..3).map(begin).collect();
    signal("-STOP");
    readers.iter_mut().for_each(|reader| drop(reader.stdin.take()));
    sandbox.larder(["unmount", text(&mounted.point)]).done();
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 0);
    let ended: Vec<_> = readers.iter_mut().map(|reader| ended(reader, Duration::from_secs(10))).collect();
    signal("-CONT");
    assert!(ended.iter().all(|ended| ended.is_some_and(|status| !status.success())), "{ended:?}");
    mounted.gone();
}

/// Tries until it holds; a new snapshot shows within about a second.
#[track_caller]
fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(3), "after 3 s still not: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_mount_that_was_listed_shows_a_new_snapshot_within_seconds() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let capture = |content: &str, dataset: &str| {
        fs::write(source.join("file"), content).unwrap();
        sandbox.snapshot(&source, dataset).done();
        let mut id = sandbox.larder(["list", "--json", "--dataset", dataset]).ids().pop().unwrap();
        id.truncate(16);
        id
    };
    let first = capture("one", "d");
    let mounted = Mounted::new(&sandbox, "mnt", &[]);
    let at = |path: &str| mounted.point.join(path);
    let names = |path: &str| -> BTreeSet<String> {
        fs::read_dir(at(path)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    // All that the kernel could keep: listings, names that are there, names that are not, a link's target, an open folder.
    let mut open = rustix::fs::Dir::new(File::open(at("snapshots")).unwrap()).unwrap();
    let mut reread = || {
        open.rewind();
        open.by_ref()
            .map(|e| e.unwrap().file_name().to_str().unwrap().to_owned())
            .filter(|n| !n.starts_with('.'))
            .count()
    };
    assert_eq!((names("snapshots").len(), names("datasets/d").len(), reread()), (1, 2, 1));
    for _ in 0..3 {
        assert_eq!(fs::read_link(at("datasets/d/latest")).unwrap(), Path::new("../../snapshots").join(&first));
        assert!(fs::metadata(at("datasets/e")).is_err());
    }
    let before = fs::metadata(at("snapshots")).unwrap();
    let second = capture("two", "d");
    // First in an open folder: nobody asks for anything by which the kernel could notice.
    soon("listed in a folder that is open", || reread() == 2);
    soon("found by its id", || fs::read(at(&format!("snapshots/{second}/file"))).is_ok_and(|read| read == b"two"));
    soon("listed", || names("snapshots").contains(&second) && names("snapshots").len() == 2);
    soon("listed in its dataset", || names("datasets/d").len() == 3);
    soon("latest leads to it", || fs::read_link(at("datasets/d/latest")).unwrap().ends_with(&second));
    assert_eq!(fs::read(at("datasets/d/latest/file")).unwrap(), b"two");
    assert_eq!(fs::read(at(&format!("snapshots/{first}/file"))).unwrap(), b"one");
    // For those who look at times and links whether a folder has changed.
    soon("the folder has changed", || {
        let now = fs::metadata(at("snapshots")).unwrap();
        now.nlink() == 4 && (now.mtime(), now.mtime_nsec()) > (before.mtime(), before.mtime_nsec())
    });
    // First by its name, which was looked up in vain; then by the listing.
    let third = capture("three", "e");
    soon("a new dataset", || fs::read(at("datasets/e/latest/file")).is_ok_and(|read| read == b"three"));
    soon("a new dataset, listed", || names("datasets").contains("e") && names("snapshots").contains(&third));
    drop(open);
    mounted.end();
}

/// The files of the database, longest first.
fn sorted_files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = fs::read_dir(sandbox.store().join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "sst")).collect();
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    files
}

fn flip(file: &Path, at: u64) {
    let open = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).unwrap();
    open.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn is_eio(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::IO)
}

#[test]
fn damage_is_an_error_where_it_is_and_nowhere_else() {
    const PAGE: usize = 4096;
    let sandbox = Sandbox::with_store();
    let source = captured(&sandbox, 2, 20, 5_000, 16 << 20);
    let id = sandbox.larder(["list", "--json"]).ids().remove(0);
    let longest = &sorted_files(&sandbox)[0];
    flip(longest, fs::metadata(longest).unwrap().len() / 2);
    let mounted = Mounted::new(&sandbox, "mnt", &[]);
    let tree = mounted.point.join("datasets/d/latest");
    let (expected, file) = (fs::read(source.join("long")).unwrap(), File::open(tree.join("long")).unwrap());
    assert!(fs::read(tree.join("long")).is_err_and(|e| is_eio(&e)), "read through");
    // Twice: what is lost stays lost, and what is not stays readable beside it.
    let mut lost = Vec::new();
    for _ in 0..2 {
        lost.clear();
        for (at, page) in (0u64..).step_by(PAGE).zip(expected.chunks(PAGE)) {
            let mut bytes = vec![0; page.len()];
            match file.read_exact_at(&mut bytes, at) {
                Ok(()) => assert!(bytes == page, "wrong bytes at {at}"),
                Err(e) => {
                    assert!(is_eio(&e), "at {at}: {e}");
                    lost.push(at);
                }
            }
        }
        assert!(!lost.is_empty());
        let span = lost[lost.len() - 1] - lost[0] + PAGE as u64;
        // A block, of some 1 MiB; pages at its borders hold bytes of its neighbours.
        assert_eq!(span, (lost.len() * PAGE) as u64, "not in one piece");
        assert!(span <= 3 << 20, "{span} bytes are lost");
    }
    for folder in 0..2 {
        for name in (0..20).map(|file| format!("folder{folder:02}/file{file:02}")) {
            assert!(fs::read(tree.join(&name)).unwrap() == fs::read(source.join(&name)).unwrap(), "{name}");
        }
    }
    let told = mounted.told();
    let damage: Vec<_> = told.lines().filter(|line| line.contains("damaged")).collect();
    assert!(!damage.is_empty() && damage.len() < 20, "each object once: {told}");
    for line in damage {
        for word in [&format!("snapshot {}", &id[..16]), ": long: ", "chunk "] {
            assert!(line.contains(word), "no {word:?} in {line}");
        }
    }
    drop(file);
    mounted.end();
}

/// Goes through a mounted tree: all that can be read is what was captured, all else is EIO. Counts the errors.
fn right_or_eio(source: &Path, tree: &Path) -> u32 {
    let mut errors = 0;
    let mut failed = |what: &Path, error: io::Error| {
        assert!(is_eio(&error), "{}: {error}", what.display());
        errors += 1;
    };
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let expected = names(&source.join(&folder)).unwrap();
        match names(&tree.join(&folder)) {
            Ok(found) => assert_eq!(found, expected, "{}", folder.display()),
            Err(e) => failed(&folder, e),
        }
        for name in expected {
            let path = folder.join(name);
            let meta = fs::symlink_metadata(source.join(&path)).unwrap();
            match fs::symlink_metadata(tree.join(&path)) {
                Ok(found) => {
                    let told = |meta: &fs::Metadata| (meta.mode(), meta.mtime(), meta.mtime_nsec(), meta.uid());
                    assert_eq!(told(&found), told(&meta), "{}", path.display());
                }
                Err(e) => failed(&path, e),
            }
            if meta.is_dir() {
                folders.push(path);
            } else {
                match fs::read(tree.join(&path)) {
                    Ok(found) => assert!(found == fs::read(source.join(&path)).unwrap(), "{}", path.display()),
                    Err(e) => failed(&path, e),
                }
            }
        }
    }
    errors
}

#[test]
fn damage_to_any_file_of_the_database_is_an_error_or_nothing_for_a_mount() {
    let sandbox = Sandbox::with_open_store();
    let source = captured(&sandbox, 4, 40, 700, 3 << 20);
    let seed = seed();
    let (mut refused, mut erred, mut unharmed) = (0, 0, 0);
    for (turn, file) in (0..).zip(sorted_files(&sandbox)) {
        let whole = fs::read(&file).unwrap();
        for at in [pick(seed, turn, whole.len() as u64), 40] {
            flip(&file, at);
            let what = format!("byte {at} of {}", file.display());
            match Mounted::attempt(&sandbox, "mnt", &["--snapshot", "d"]) {
                Ok(mounted) => {
                    let errors = right_or_eio(&source, &mounted.point);
                    let told = mounted.told();
                    assert!(errors == 0 || told.contains("damaged"), "{what}: {errors} errors and not a word: {told}");
                    if errors == 0 {
                        unharmed += 1;
                    } else {
                        erred += 1;
                    }
                    mounted.end();
                }
                Err(why) => {
                    assert!(why.contains("damaged"), "{what}: {why}");
                    refused += 1;
                }
            }
            fs::write(&file, &whole).unwrap();
        }
    }
    println!("{refused} mounts refused, {erred} with errors, {unharmed} without");
    assert!(erred >= 2, "{erred} mounts met damage, {refused} were refused, {unharmed} met none");
    assert!(!matches!(fs::metadata(sandbox.path("mnt")), Err(e) if e.kind() == ErrorKind::NotConnected));
}

#[test]
fn damage_hides_no_snapshot_and_no_dataset_from_a_listing() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..4 {
        fs::write(source.join("file"), noise(turn, 5_000)).unwrap();
        sandbox.snapshot(&source, ["d", "e"][turn as usize % 2]).done();
    }
    let folders = ["snapshots", "datasets", "datasets/d", "datasets/e"];
    let whole = Mounted::new(&sandbox, "mnt", &[]);
    let expected = folders.map(|folder| names(&whole.point.join(folder)).unwrap());
    whole.end();
    let mut harmed = 0;
    for file in sorted_files(&sandbox) {
        let bytes = fs::read(&file).unwrap();
        flip(&file, 40);
        if let Ok(mounted) = Mounted::attempt(&sandbox, "mnt", &[]) {
            let mut errors = 0;
            for (folder, expected) in folders.iter().zip(&expected) {
                let at = mounted.point.join(folder);
                // All of it or an error: `rsync --delete` takes what a listing lacks for deleted.
                match names(&at) {
                    Ok(found) => assert_eq!(&found, expected, "{folder}, with damage in {}", file.display()),
                    Err(e) => assert!(is_eio(&e), "{folder}: {e}, with damage in {}", file.display()),
                }
                for name in expected {
                    match fs::symlink_metadata(at.join(name)) {
                        Ok(_) => {}
                        Err(e) if is_eio(&e) => errors += 1,
                        Err(e) => panic!("{folder}/{}: {e}, with damage in {}", name.display(), file.display()),
                    }
                }
            }
            assert!(errors == 0 || mounted.told().contains("damaged"), "not a word: {}", mounted.told());
            harmed += u32::from(errors > 0);
            mounted.end();
        }
        fs::write(&file, bytes).unwrap();
    }
    assert!(harmed > 0, "no damage met a name");
}
