//! A mounted snapshot is the captured tree to every tool that can tell: rsync, tar, diff, cp, find, getfacl, and to system calls.
//!
//! As root, for owners and devices, and with /dev/fuse: these tests fail where something is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::mounting::Mounted;
use crate::sandbox::{Ran, Sandbox, pick, seed};

/// Where a mount of the whole store shows the tree.
const LATEST: &str = "datasets/awkward/latest";
/// Its folder of paths too long for most tools.
const DEEP: &str = "deep";

/// An awkward tree, captured.
struct Captured {
    sandbox: Sandbox,
    source: PathBuf,
}

impl Captured {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "owners and devices: this test runs as root");
        let sandbox = Sandbox::with_store();
        let source = sandbox.path("awkward");
        let mut script = sandbox.client().command("python3");
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/awkward.py")).arg(&source).arg("--quick");
        Ran::of(&mut script).done();
        sandbox.snapshot(&source, "awkward").done();
        Self { sandbox, source }
    }

    /// The one that tests at work share; the last one of them takes it away.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Captured>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Self::new());
            *shared = Arc::downgrade(&made);
            made
        })
    }

    /// The whole store mounted, and the tree in it.
    fn mount(&self, name: &str) -> (Mounted<'_>, PathBuf) {
        let mounted = Mounted::new(&self.sandbox, name, &[]);
        let tree = mounted.point.join(LATEST).canonicalize().unwrap();
        (mounted, tree)
    }

    /// What a program prints to stdout in a folder, ended with 0 and not a word to stderr.
    #[track_caller]
    fn prints(&self, folder: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.sandbox.client().command(program);
        let ran = Ran::of(command.current_dir(folder).args(arguments)).ended(0);
        assert_eq!(ran.stderr, "", "{program}");
        ran.stdout
    }

    /// A script of tests/ that ends with 0; what it printed.
    #[track_caller]
    fn python(&self, script: &str, arguments: &[&Path]) -> String {
        let mut command = self.sandbox.client().command("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script)).args(arguments);
        String::from_utf8(Ran::of(&mut command).ended(0).stdout).unwrap()
    }
}

/// Something in a tree.
struct Item {
    /// Below the tree's root; that one's is empty.
    path: PathBuf,
    meta: fs::Metadata,
    /// Its inode number as the listing of its folder tells it.
    listed: Option<u64>,
}

/// All of a tree but `deep`, sorted by path.
fn walk(root: &Path) -> Vec<Item> {
    let mut found = vec![Item { path: PathBuf::new(), meta: fs::metadata(root).unwrap(), listed: None }];
    let mut at = 0;
    while at < found.len() {
        let folder = found[at].path.clone();
        if found[at].meta.is_dir() {
            for entry in fs::read_dir(root.join(&folder)).unwrap().map(Result::unwrap) {
                let path = folder.join(entry.file_name());
                if path != Path::new(DEEP) {
                    found.push(Item { path, meta: entry.metadata().unwrap(), listed: Some(entry.ino()) });
                }
            }
        }
        at += 1;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The first few lines in which two texts differ.
#[track_caller]
fn same_lines(expected: &[u8], found: &[u8], separator: u8) {
    let lines = |text: &[u8]| -> BTreeSet<Vec<u8>> { text.split(|b| *b == separator).map(<[u8]>::to_vec).collect() };
    let (a, b) = (lines(expected), lines(found));
    assert!(a.len() > 50, "only {} lines", a.len());
    let show = |lines: Vec<&Vec<u8>>| -> Vec<String> {
        lines.iter().take(5).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    let (only_a, only_b) = (a.difference(&b).collect::<Vec<_>>(), b.difference(&a).collect::<Vec<_>>());
    assert!(only_a.is_empty() && only_b.is_empty(), "source: {:#?}\nmount: {:#?}", show(only_a), show(only_b));
}

#[test]
fn rsync_finds_nothing_to_do_in_either_direction() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("rsync");
    // rsync refuses paths beyond 4,096 bytes, on any file system.
    let flags = ["-aHAXSnc", "--modify-window=-1", "-i", "--delete", "--exclude=/deep"];
    for (from, to) in [(&c.source, &tree), (&tree, &c.source)] {
        let (from, to) = (format!("{}/", from.display()), format!("{}/", to.display()));
        let told = c.prints(Path::new("/"), "rsync", &[&flags[..], &[&from, &to]].concat());
        assert_eq!(String::from_utf8_lossy(&told), "", "{from} to {to}");
    }
    mounted.end();
}

#[test]
fn tar_makes_the_same_archive_of_the_mount_and_compares_clean() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("tar");
    // Nothing of a run in it: no times of reading, no process numbers. rsync sees to the other attributes; their order is free.
    let pack = [
        "--sort=name",
        "--format=posix",
        "--pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f",
        "--sparse",
        "--sparse-version=0.0",
        "--acls",
        "--exclude=./deep",
        "-cf",
    ];
    let (of_source, of_mount) = (c.sandbox.path("source.tar"), c.sandbox.path("mount.tar"));
    for (archive, folder) in [(&of_source, &c.source), (&of_mount, &tree)] {
        let _ = c.prints(folder, "tar", &[&pack[..], &[archive.to_str().unwrap(), "."]].concat());
    }
    let both = [&of_source, &of_mount].map(|archive| fs::read(archive).unwrap());
    assert!(both[0].len() > 20 << 20, "{} bytes", both[0].len());
    assert!(both[0] == both[1], "cmp {} {}", of_source.display(), of_mount.display());
    let xattrs = ["--acls", "--xattrs", "--xattrs-include=*", "--sparse", "--exclude=./deep"];
    let full = c.sandbox.path("full.tar");
    let full = full.to_str().unwrap();
    let _ = c.prints(&c.source, "tar", &[&xattrs[..], &["--format=posix", "-cf", full, "."]].concat());
    let differences = c.prints(&tree, "tar", &[&xattrs[..], &["--compare", "-f", full]].concat());
    assert_eq!(String::from_utf8_lossy(&differences), "");
    mounted.end();
}

#[test]
fn diff_finds_no_difference() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("diff");
    // Two pipes always differ for diff, and two devices that were not changed in the same second.
    let flags = ["-r", "--no-dereference", "-x", "*fifo*", "-x", "null", "-x", DEEP];
    let both = [c.source.to_str().unwrap(), tree.to_str().unwrap()];
    let differences = c.prints(Path::new("/"), "diff", &[&flags[..], &both].concat());
    assert_eq!(String::from_utf8_lossy(&differences), "");
    mounted.end();
}

#[test]
fn what_cp_copies_from_a_mount_is_the_captured_tree() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("cp");
    let copy = c.sandbox.path("copy");
    fs::create_dir(&copy).unwrap();
    let copy_all = ["-mindepth", "1", "-maxdepth", "1", "!", "-name", DEEP, "-exec", "cp", "-a", "-t"];
    let told = c.prints(&tree, "find", &[&["."][..], &copy_all, &[copy.to_str().unwrap(), "{}", "+"]].concat());
    assert_eq!(String::from_utf8_lossy(&told), "");
    // Its own folder's time is not what cp was to copy.
    let shallow = |folder: &Path| -> Vec<u8> {
        let text = c.python("describe.py", &["--holes".as_ref(), folder]);
        text.lines()
            .filter(|l| !l.starts_with("b'deep") && !l.starts_with("b'' "))
            .collect::<Vec<_>>()
            .join("\n")
            .into()
    };
    same_lines(&shallow(&c.source), &shallow(&copy), b'\n');
    mounted.end();
}

#[test]
fn find_prints_the_same() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("find");
    // The size of a folder is the file system's own matter.
    let folders = r"%p %y %m %n %U %G %T@\0";
    let rest = r"%p %y %m %n %U %G %s %T@ %l\0";
    let print =
        |folder: &Path| c.prints(folder, "find", &[".", "-type", "d", "-printf", folders, "-o", "-printf", rest]);
    same_lines(&print(&c.source), &print(&tree), 0);
    // ls asks in its own order, and for ACLs, which it shows as a `+`.
    let list = |folder: &Path| {
        c.prints(
            folder,
            "sh",
            &["-c", "find . -maxdepth 1 ! -type d -print0 | sort -z | xargs -0 ls -lnd --time-style=full-iso --"],
        )
    };
    let (listed, expected) = (list(&tree), list(&c.source));
    assert_eq!(String::from_utf8_lossy(&listed), String::from_utf8_lossy(&expected));
    assert!(String::from_utf8_lossy(&listed).contains("-rw-r-----+"), "no ACL is shown");
    mounted.end();
}

/// What `lseek` answers to a question for data or a hole.
fn sought(file: &File, from: SeekFrom) -> Result<u64, Errno> {
    rustix::fs::seek(file, from)
}

#[test]
fn holes_and_blocks_are_told_as_they_are() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("holes");
    let (seed, mut sparse) = (seed(), 0);
    for item in walk(&c.source).iter().filter(|item| item.meta.is_file()) {
        let (size, what) = (item.meta.len(), item.path.display());
        let there = tree.join(&item.path);
        let [a, b] = [&c.source.join(&item.path), &there].map(|path| File::open(path).unwrap());
        // Each border as it is met from before, and what is just beside it.
        let (mut borders, mut at, mut data) = (vec![0, size], 0, 0);
        while let Ok(start) = sought(&a, SeekFrom::Data(at)) {
            at = sought(&a, SeekFrom::Hole(start)).unwrap();
            data += at - start;
            borders.extend([start, at]);
        }
        // Of thousands some.
        let some = borders.len() / 200 + 1;
        let near = borders
            .iter()
            .step_by(some)
            .flat_map(|at| [at.saturating_sub(1), *at, at + 1])
            .chain([size + 4096, 1 << 60]);
        for at in near.chain((0..20).map(|turn| pick(seed, turn, size + 2))) {
            assert_eq!(sought(&b, SeekFrom::Data(at)), sought(&a, SeekFrom::Data(at)), "{what}: data from {at}");
            assert_eq!(sought(&b, SeekFrom::Hole(at)), sought(&a, SeekFrom::Hole(at)), "{what}: a hole from {at}");
        }
        let taken = fs::metadata(&there).unwrap().blocks() * 512;
        assert!((data..data + 512).contains(&taken), "{what}: {data} bytes of data take {taken}");
        // By this tar and cp tell that it is worth asking for holes.
        assert_eq!(taken < size, data < size, "{what}: {taken} of {size}");
        sparse += u32::from(data < size);
    }
    assert!(sparse >= 7, "{sparse} sparse files");
    mounted.end();
}

/// The number of each path.
fn numbers(tree: &Path) -> BTreeMap<PathBuf, u64> {
    walk(tree).into_iter().map(|item| (item.path, item.meta.ino())).collect()
}

#[test]
fn names_of_one_file_share_a_number_and_no_others_do() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("names");
    let groups = |root: &Path| {
        let mut by_number: BTreeMap<u64, Vec<(PathBuf, u64)>> = BTreeMap::new();
        for item in walk(root) {
            // A folder's links are told by `find` above.
            let links = if item.meta.is_dir() { 0 } else { item.meta.nlink() };
            by_number.entry(item.meta.ino()).or_default().push((item.path, links));
        }
        by_number.into_values().collect::<BTreeSet<_>>()
    };
    let found = groups(&tree);
    assert!(found.iter().filter(|group| group.len() > 1).count() >= 4);
    assert_eq!(found, groups(&c.source));
    for item in walk(&tree) {
        assert!(
            item.listed.is_none_or(|listed| listed == item.meta.ino()),
            "{}: listed as another",
            item.path.display()
        );
    }
    mounted.end();
}

#[test]
fn numbers_are_the_same_in_every_mount() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("numbers");
    let mut first = numbers(&tree);
    mounted.end();
    let (mounted, tree) = c.mount("numbers");
    // By name, not by listing, and the last name of a file first: its number is that of the group, whoever asks.
    for (path, number) in first.iter().rev() {
        assert_eq!(fs::symlink_metadata(tree.join(path)).unwrap().ino(), *number, "{}", path.display());
    }
    assert_eq!(numbers(&tree), first);
    mounted.end();
    let mounted = Mounted::new(&c.sandbox, "alone", &["--snapshot", "awkward"]);
    let mut alone = numbers(&mounted.point);
    assert_eq!(alone.remove(Path::new("")), Some(1));
    first.remove(Path::new("")).unwrap();
    assert_eq!(alone, first);
    // The way up is numbered alike.
    for folder in ["many", "links"] {
        let up = fs::metadata(mounted.point.join(folder).join("..")).unwrap();
        assert_eq!(up.ino(), 1);
    }
    mounted.end();
}

#[test]
fn file_handles_outlive_a_mount() {
    let c = Captured::shared();
    let handles = c.sandbox.path("handles");
    for arguments in [&[][..], &["--snapshot", "awkward"]] {
        let mounted = Mounted::new(&c.sandbox, "handled", arguments);
        let tree = if arguments.is_empty() {
            mounted.point.join(LATEST).canonicalize().unwrap()
        } else {
            mounted.point.clone()
        };
        let taken = c.python("handles.py", &["take".as_ref(), &handles, &mounted.point, &tree]);
        mounted.end();
        let mounted = Mounted::new(&c.sandbox, "handled", arguments);
        let opened = c.python("handles.py", &["open".as_ref(), &handles, &mounted.point]);
        assert!(taken.lines().count() > 100, "{taken}");
        assert_eq!(opened, taken);
        mounted.end();
    }
}

#[test]
fn getfacl_prints_the_same() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("getfacl");
    let script = "find . -path ./deep -prune -o -path './many/*' -prune -o ! -type l -print0 | sort -z | xargs -0 getfacl -n -P --";
    let list = |folder: &Path| c.prints(folder, "sh", &["-c", script]);
    let (expected, found) = (list(&c.source), list(&tree));
    for word in ["user:1234:r--", "default:group:4321:rwx", "flags: ss-"] {
        assert!(String::from_utf8_lossy(&expected).contains(word), "{word}");
    }
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
    mounted.end();
}

/// A tree whose ACLs let some in and others not.
fn guarded(sandbox: &Sandbox) -> PathBuf {
    let tree = sandbox.path("guarded");
    let inner = ["open", "named", "masked", "group", "denied", "folder/inside", "listed/inside"];
    for (name, mode) in [("folder", 0o700), ("listed", 0o700)] {
        fs::create_dir_all(tree.join(name)).unwrap();
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, mode) in inner.iter().zip([0o644, 0o600, 0o600, 0o600, 0o644, 0o644, 0o644]) {
        fs::write(tree.join(name), format!("the content of {name}\n")).unwrap();
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let acls = [
        ("named", "u:1234:r"),
        ("masked", "u:1234:rw,m::-"),
        ("group", "g:4321:r"),
        ("denied", "u:1234:-"),
        ("folder", "u:1234:x"),
        ("listed", "u:1234:r,d:u:1234:rwx"),
    ];
    for (name, acl) in acls {
        Ran::of(sandbox.client().command("setfacl").args(["-m", acl]).arg(tree.join(name))).done();
    }
    tree
}

#[test]
fn the_kernel_holds_users_to_acls() {
    assert!(rustix::process::geteuid().is_root(), "to become other users this test runs as root");
    let sandbox = Sandbox::with_store();
    // Others must get to the mount.
    fs::set_permissions(sandbox.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let source = guarded(&sandbox);
    sandbox.snapshot(&source, "guarded").done();
    let mounted = Mounted::new(&sandbox, "mnt", &["--snapshot", "guarded", "-o", "allow_other"]);
    let can = |root: &Path, (uid, gid): (&str, &str), program: &str, name: &str| {
        let mut command = sandbox.client().command("setpriv");
        command.args(["--reuid", uid, "--regid", gid, "--clear-groups", "--", program, name]).current_dir(root);
        let ran = Ran::of(&mut command);
        assert!(ran.status == 0 || ran.stderr.contains("Permission denied"), "{program} {name}: {}", ran.stderr);
        (ran.status, ran.stdout, ran.stderr)
    };
    let (named, other, member) = (("1234", "1234"), ("5678", "5678"), ("5678", "4321"));
    for who in [named, other, member] {
        for (program, name) in ["open", "named", "masked", "group", "denied", "folder/inside", "listed/inside"]
            .map(|name| ("cat", name))
            .into_iter()
            .chain([("ls", "folder"), ("ls", "listed"), ("ls", ".")])
        {
            let (expected, found) = (can(&source, who, program, name), can(&mounted.point, who, program, name));
            assert_eq!(found, expected, "{who:?}: {program} {name}");
        }
    }
    let at = &mounted.point;
    let reads = |who, name| can(at, who, "cat", name).0 == 0;
    assert!(reads(named, "named") && !reads(other, "named") && !reads(member, "named"));
    assert!(reads(member, "group") && !reads(other, "group") && !reads(named, "group"));
    assert!(!reads(named, "masked") && !reads(named, "denied") && reads(other, "denied"));
    assert!(reads(named, "folder/inside") && !reads(other, "folder/inside") && !reads(named, "listed/inside"));
    mounted.end();
    // Without the option none but who mounted gets in.
    let mounted = Mounted::new(&sandbox, "mnt", &["--snapshot", "guarded"]);
    let mut command = sandbox.client().command("setpriv");
    command.args(["--reuid=1234", "--regid=1234", "--clear-groups", "cat"]).arg(mounted.point.join("open"));
    Ran::of(&mut command).refused(1, "Permission denied");
    mounted.end();
}

#[test]
fn nothing_can_be_changed() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("unchanged");
    let before = numbers(&tree).len();
    // As pjdfstest's tests of EROFS have it: each call that changes something, by root, who may everything else.
    let tries = [
        "echo x >> text",
        ": > text",
        "echo x > new",
        "mkdir new",
        "rmdir empty-folder",
        "rm -f text",
        "mv text moved",
        "ln text new",
        "ln -s x new",
        "mkfifo new",
        "mknod new c 1 3",
        "chmod 600 text",
        "chown 5 text",
        "chown -h 5 outside",
        "touch text",
        "touch -h outside",
        "touch new",
        "truncate -s 1 text",
        "setfattr -n user.x -v y text",
        "setfattr -x user.colour xattr",
        "setfacl -m u:5:r text",
        "setfacl -b acl",
        "fallocate -l 9 one",
        "fallocate -p -l 1 one",
        "mv many many2",
        "cp --reflink=auto one text",
    ];
    for try_ in tries {
        let mut command = c.sandbox.client().command("sh");
        let ran = Ran::of(command.current_dir(&tree).args(["-c", try_]));
        assert!(ran.status != 0, "{try_} went well");
        assert!(ran.stderr.contains("Read-only file system"), "{try_}: {}", ran.stderr);
    }
    assert_eq!(numbers(&tree).len(), before);
    let opened = fs::OpenOptions::new().write(true).open(tree.join("text")).unwrap_err();
    assert_eq!(opened.kind(), io::ErrorKind::ReadOnlyFilesystem);
    mounted.end();
}

#[test]
fn random_reads_of_many_processes_give_the_source() {
    let c = Captured::new();
    fs::write(c.source.join("long"), crate::sandbox::noise(3, 24 << 20)).unwrap();
    c.sandbox.snapshot(&c.source, "awkward").done();
    let (mounted, tree) = c.mount("random");
    let seed = OsString::from(seed().to_string());
    let told = c.python("random_reads.py", &[&c.source, &tree, seed.as_ref()]);
    print!("{told}");
    mounted.end();
}

#[test]
fn the_time_of_birth_is_an_attribute_that_is_not_listed() {
    let c = Captured::shared();
    let (mounted, tree) = c.mount("births");
    // With other attributes and without, with ACLs, under each name of one file; a folder too, and the root.
    let names =
        [".", "text", "empty", "holes/all", "closed/inside", "links", "link-a", "zz-link-c", "xattr", "acl", "many"];
    let births = c.prints(&c.source, "stat", &[&["-c", "%.9W", "--"][..], &names].concat());
    for (name, birth) in names.iter().zip(String::from_utf8(births).unwrap().lines()) {
        assert!(!birth.starts_with(['0', '-']), "this file system knows no time of birth: {birth}");
        let asked = ["--only-values", "-n", "user.larder.btime", "--", name];
        assert_eq!(String::from_utf8(c.prints(&tree, "getfattr", &asked)).unwrap(), birth, "{name}");
        // Else whoever copies from a mount would make it an attribute.
        let listed = c.prints(&tree, "getfattr", &["-d", "-m", "-", "--", name]);
        assert!(!String::from_utf8_lossy(&listed).contains("btime"), "{name}: it is listed");
    }
    mounted.end();
}
