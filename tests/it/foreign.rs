//! Archives as other programs make them: each is read as what was put into it, as far as its format carries that.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use larder::archives::{ArchiveError, Limits, Member, MemberKind, Opened, Part, Tally, read};
use larder::codec::digest;

/// What a format, or the program that writes it, carries beyond kind, content and time in seconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Carries {
    owners: bool,
    nanos: bool,
    xattrs: bool,
    acls: bool,
    holes: bool,
    hard_links: bool,
}

const OLD: Carries = Carries { owners: true, nanos: false, xattrs: false, acls: false, holes: false, hard_links: true };
const HOLES: Carries = Carries { holes: true, ..OLD };
const NANOS: Carries = Carries { nanos: true, ..OLD };
const NANOS_AND_HOLES: Carries = Carries { nanos: true, ..HOLES };
const ALL: Carries = Carries { xattrs: true, acls: true, ..NANOS_AND_HOLES };
const ZIP: Carries = Carries { hard_links: false, ..OLD };
const NO_OWNERS: Carries = Carries { owners: false, ..ZIP };

/// Names, contents and times that every format carries.
fn plain(root: &Path) {
    fs::create_dir_all(root.join("folder/empty")).unwrap();
    fs::write(root.join("file"), "text\n".repeat(1000)).unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    fs::write(root.join("folder/tool"), "#!/bin/sh\n").unwrap();
    fs::write(root.join("large"), (0..1_500_000_u32).map(|n| (n ^ n >> 7) as u8).collect::<Vec<_>>()).unwrap();
    fs::set_permissions(root.join("folder/tool"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("file"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("folder/tool", root.join("link")).unwrap();
    fs::hard_link(root.join("file"), root.join("hard")).unwrap();
    at(root, "2020-09-13T12:26:40Z");
}

/// Names of any length.
fn long(root: &Path) {
    let name = |letter: &str| letter.repeat(90);
    fs::create_dir_all(root.join(name("d")).join(name("e")).join(name("f"))).unwrap();
    fs::write(root.join(name("d")).join(name("e")).join(name("f")).join(name("g")), "deep").unwrap();
    fs::write(root.join("n".repeat(200)), "long").unwrap();
    symlink("t".repeat(150), root.join("far")).unwrap();
    at(root, "2020-09-13T12:26:40Z");
}

/// What is awkward and still a file, folder, link, pipe or device.
fn awkward(root: &Path) {
    long(root);
    fs::write(root.join(OsStr::from_bytes(b"caf\xe9\n")), "bytes").unwrap();
    fs::write(root.join("ünï"), "letters").unwrap();
    fs::write(root.join("setuid"), "x").unwrap();
    fs::set_permissions(root.join("setuid"), PermissionsExt::from_mode(0o4711)).unwrap();
    run(Command::new("mkfifo").arg(root.join("pipe")));
    run(Command::new("mknod").arg(root.join("device")).args(["c", "1", "3"]));
    at(root, "2020-09-13T12:26:40.123456789Z");
    run(Command::new("touch").args(["-d", "1969-12-31T23:59:55Z"]).arg(root.join("setuid")));
    std::os::unix::fs::chown(root.join("ünï"), Some(4_000_000_000), Some(3_000_000)).unwrap();
}

fn with_attributes(root: &Path) {
    fs::create_dir(root.join("shared")).unwrap();
    fs::write(root.join("noted"), "x").unwrap();
    for (name, value) in [("user.note", &b"\x00\xff=\n"[..]), ("user.a=b%", b"1"), ("user.nothing", b"")] {
        rustix::fs::setxattr(root.join("noted"), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }
    run(Command::new("setfacl").args(["-m", "u:5:r,u:daemon:rw,g:77:-"]).arg(root.join("noted")));
    run(Command::new("setfacl").args(["-m", "d:u:5:rwx"]).arg(root.join("shared")));
    at(root, "2020-09-13T12:26:40Z");
}

const SPARSE: u64 = 40 * 65_536 + 100_000;

fn sparse(root: &Path) {
    let file = File::create(root.join("sparse")).unwrap();
    for at in 0..40 {
        file.write_all_at(&[at as u8 + 1; 4096], at * 65_536 + 8192).unwrap();
    }
    file.set_len(SPARSE).unwrap();
    File::create(root.join("hole")).unwrap().set_len(1 << 20).unwrap();
    at(root, "2020-09-13T12:26:40Z");
}

fn at(root: &Path, time: &str) {
    run(Command::new("find").arg(root).args(["-exec", "touch", "-hd", time, "{}", "+"]));
}

fn run(command: &mut Command) -> Vec<u8> {
    let output =
        command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// A line on each thing below a folder but itself.
fn on_disk(root: &Path, carries: Carries) -> BTreeMap<String, String> {
    let (mut lines, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let (kind, what) = if meta.is_dir() {
                folders.push(path.clone());
                ("folder", String::new())
            } else if meta.is_symlink() {
                ("symlink", shown(fs::read_link(&path).unwrap().as_os_str().as_bytes()))
            } else if meta.is_file() {
                ("file", digest(&fs::read(&path).unwrap()).to_string())
            } else if meta.file_type().is_fifo() {
                ("fifo", String::new())
            } else {
                ("char", format!("{}:{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())))
            };
            let time = (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap());
            let mut xattrs = Vec::new();
            let mut names = vec![0; 4096];
            let len = rustix::fs::llistxattr(&path, &mut names[..]).unwrap_or(0);
            for name in names[..len].split(|b| *b == 0).filter(|name| !name.is_empty()) {
                let mut value = vec![0; 4096];
                let len = rustix::fs::lgetxattr(&path, OsStr::from_bytes(name), &mut value[..]).unwrap();
                xattrs.push((name.to_vec(), value[..len].to_vec()));
            }
            xattrs.sort();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let mode = if meta.is_symlink() { 0o777 } else { meta.mode() & 0o7777 };
            lines.insert(shown(&name), line(carries, kind, mode, Some((meta.uid(), meta.gid())), time, &xattrs, &what));
        }
    }
    lines
}

fn line(
    carries: Carries,
    kind: &str,
    mode: u32,
    owner: Option<(u32, u32)>,
    time: (i64, u32),
    xattrs: &[(Vec<u8>, Vec<u8>)],
    what: &str,
) -> String {
    let mut line = format!("{kind} {mode:04o} {}", time.0);
    if carries.nanos {
        line += &format!(".{:09}", time.1);
    }
    if carries.owners {
        line += &format!(" {owner:?}");
    }
    for (name, value) in xattrs {
        if if name.starts_with(b"system.posix_acl") { carries.acls } else { carries.xattrs } {
            line += &format!(" {}={}", shown(name), hex(value));
        }
    }
    format!("{line} {what}")
}

/// A member, its content's digest and the bytes of its holes.
type Found = (Member, String, u64);

fn members(opened: Opened) -> Result<(Vec<Found>, Tally), ArchiveError> {
    let mut found = Vec::new();
    let tally = read(opened, &Limits::default(), &mut |member, content| {
        let (mut bytes, mut holes) = (Vec::new(), 0);
        loop {
            match content.next(&mut bytes)? {
                Part::Data => {}
                Part::Hole(len) => {
                    holes += len;
                    bytes.resize(bytes.len() + len as usize, 0);
                }
                Part::End => break,
            }
        }
        found.push((member, digest(&bytes).to_string(), holes));
        Ok::<(), ArchiveError>(())
    })?;
    Ok((found, tally))
}

fn open(path: &Path) -> Opened {
    let file = File::open(path).unwrap();
    let mut start = [0; 2];
    let is_zip = file.read_at(&mut start, 0).unwrap() == 2 && start == *b"PK";
    if is_zip { Opened::Zip(Box::new(file)) } else { Opened::Tar(Box::new(file)) }
}

/// A line on each member but the root; of further names that of the first.
fn in_archive(found: &[Found], carries: Carries) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for (member, content, _) in found.iter().filter(|(member, ..)| !member.path.is_empty()) {
        let (kind, what) = match &member.kind {
            MemberKind::Folder => ("folder", String::new()),
            MemberKind::File { .. } => ("file", content.clone()),
            MemberKind::Symlink(target) => ("symlink", shown(target)),
            MemberKind::Fifo => ("fifo", String::new()),
            MemberKind::CharDevice(major, minor) => ("char", format!("{major}:{minor}")),
            MemberKind::HardLink(first) => {
                let line = lines.get(&shown(first)).cloned().unwrap_or_else(|| panic!("no {}", shown(first)));
                assert!(lines.insert(shown(&member.path), line).is_none());
                continue;
            }
            kind => panic!("{kind:?}"),
        };
        let time = member.mtime.map_or((0, 0), |t| (t.seconds, t.nanos));
        let xattrs: Vec<_> = member.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let line = line(carries, kind, member.mode.into(), member.uid.zip(member.gid), time, &xattrs, &what);
        assert!(lines.insert(shown(&member.path), line).is_none());
    }
    lines
}

/// Holds an archive against what it was made of.
fn compare(what: &str, root: &Path, archive: &Path, carries: Carries) {
    let (found, tally) = members(open(archive)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let (wanted, got) = (on_disk(root, carries), in_archive(&found, carries));
    for (name, line) in &wanted {
        assert_eq!(got.get(name), Some(line), "{what}: {name}");
    }
    assert_eq!(got.keys().find(|name| !wanted.contains_key(*name)), None, "{what}");
    assert_eq!((tally.remarks.strange, tally.remarks.losses), (Vec::new(), 0), "{what}");
    let links = found.iter().filter(|(member, ..)| matches!(member.kind, MemberKind::HardLink(_))).count();
    let hard = root.join("hard").exists() && carries.hard_links;
    assert_eq!(links, usize::from(hard), "{what}: hard links");
    if carries.holes && root.join("sparse").exists() {
        let holes: u64 = found.iter().map(|(.., holes)| holes).sum();
        assert_eq!(holes, SPARSE - 40 * 4096 + (1 << 20), "{what}: holes");
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn of(fill: &[fn(&Path)]) -> Self {
        let folder = Self(tempfile::Builder::new().prefix("larder-it-").tempdir().unwrap());
        fs::create_dir(folder.root()).unwrap();
        fill.iter().for_each(|fill| fill(&folder.root()));
        folder
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    /// Makes an archive with a program, and compares it with the folder.
    fn packed_by(&self, program: &str, arguments: &[&str], carries: Carries) {
        let _ = fs::remove_file(self.out());
        let out = self.out();
        let named =
            arguments.iter().map(|argument| if *argument == "OUT" { out.as_os_str() } else { argument.as_ref() });
        run(Command::new(program).args(named).current_dir(self.root()));
        compare(&format!("{program} {arguments:?}"), &self.root(), &out, carries);
    }
}

#[test]
fn gnu_tar() {
    let [plain, long, all] =
        [Folder::of(&[plain]), Folder::of(&[plain, awkward]), Folder::of(&[plain, awkward, with_attributes, sparse])];
    for (folder, format, more, carries) in [
        (&plain, "v7", &[][..], OLD),
        (&plain, "ustar", &[], OLD),
        (&long, "oldgnu", &[], OLD),
        (&all, "gnu", &["--sparse"], HOLES),
        (&all, "oldgnu", &["--sparse"], HOLES),
        (&long, "pax", &[], NANOS),
        (&all, "pax", &["--sparse", "--sparse-version=0.0"], NANOS_AND_HOLES),
        (&all, "pax", &["--sparse", "--sparse-version=0.1"], NANOS_AND_HOLES),
        (&all, "pax", &["--sparse", "--acls", "--xattrs", "--xattrs-include=*"], ALL),
        (
            &all,
            "pax",
            &["--sort=name", "--pax-option=globexthdr.name=x,comment=global", "--owner=a:70", "--group=b:80"],
            NO_OWNERS,
        ),
    ] {
        let format = format!("--format={format}");
        let arguments = [&[format.as_str(), "-cf", "OUT"], more, &["."]].concat();
        let carries =
            if more.contains(&"--sort=name") { Carries { hard_links: true, nanos: true, ..carries } } else { carries };
        folder.packed_by("tar", &arguments, carries);
    }
    // An incremental one has the folders' lists between the members.
    plain.packed_by("tar", &["--listed-incremental=../list", "-cf", "OUT", "."], OLD);
    // A label is no member.
    plain.packed_by("tar", &["--label=volume", "-cf", "OUT", "."], OLD);
}

#[test]
fn bsdtar() {
    let [plain, all] = [Folder::of(&[plain]), Folder::of(&[plain, awkward, with_attributes, sparse])];
    plain.packed_by("bsdtar", &["--format=v7tar", "-cf", "OUT", "."], OLD);
    plain.packed_by("bsdtar", &["--format=ustar", "-cf", "OUT", "."], OLD);
    let long = Folder::of(&[plain_and_long]);
    long.packed_by("bsdtar", &["--format=gnutar", "-cf", "OUT", "."], OLD);
    all.packed_by("bsdtar", &["--format=pax", "--acls", "--xattrs", "-cf", "OUT", "."], ALL);
    plain.packed_by("bsdtar", &["--format=zip", "-cf", "OUT", "."], ZIP);
    // To a pipe: sizes and sums stand behind the contents.
    plain.packed_by("sh", &["-c", "bsdtar --format=zip -cf - . | cat > ../out"], ZIP);
}

fn plain_and_long(root: &Path) {
    plain(root);
    long(root);
}

#[test]
fn busybox_and_python_tars() {
    let long = Folder::of(&[plain_and_long]);
    long.packed_by("busybox", &["tar", "-cf", "OUT", "."], OLD);
    let plain = Folder::of(&[plain]);
    let script = "import sys, tarfile\nf = getattr(tarfile, sys.argv[1] + '_FORMAT')\n\
        t = tarfile.open(sys.argv[2], 'w', format=f, pax_headers={'comment': 'global'})\nt.add('.')\nt.close()";
    plain.packed_by("python3", &["-c", script, "USTAR", "OUT"], OLD);
    long.packed_by("python3", &["-c", script, "GNU", "OUT"], OLD);
    let awkward = Folder::of(&[plain_and_awkward]);
    awkward.packed_by("python3", &["-c", script, "PAX", "OUT"], OLD);
}

fn plain_and_awkward(root: &Path) {
    plain(root);
    awkward(root);
}

#[test]
fn zips() {
    let folder = Folder::of(&[plain_and_long]);
    fs::write(folder.root().join("ünï"), "letters").unwrap();
    at(&folder.root(), "2020-09-13T12:26:40Z");
    folder.packed_by("sh", &["-c", "zip -qry ../out.zip . && mv ../out.zip ../out"], ZIP);
    // Info-ZIP does not write links to a pipe.
    let streamed = Folder::of(&[plain]);
    fs::remove_file(streamed.root().join("link")).unwrap();
    at(&streamed.root(), "2020-09-13T12:26:40Z");
    streamed.packed_by("sh", &["-c", "zip -qr - . | cat > ../out"], ZIP);
    folder.packed_by("sh", &["-c", "zip -qry -fz ../out.zip . && mv ../out.zip ../out"], ZIP);
    folder.packed_by("sh", &["-c", "zip -qry -0 -X ../out.zip . && mv ../out.zip ../out"], NO_OWNERS);
    folder.packed_by(
        "sh",
        &["-c", "7z a -bd -snl -mtc=on -tzip ../out.zip . >/dev/null && mv ../out.zip ../out"],
        NO_OWNERS,
    );
    let script = "
import os, stat, sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', getattr(zipfile, sys.argv[2])) as z:
    for at, folders, files in os.walk('.'):
        for name in folders + files:
            path = os.path.join(at, name)
            if os.path.islink(path):
                info = zipfile.ZipInfo(path, (2020, 9, 13, 12, 26, 40))
                info.create_system, info.external_attr = 3, 0o120777 << 16
                z.writestr(info, os.readlink(path))
            elif os.path.isdir(path):
                z.write(path)
            else:
                info = zipfile.ZipInfo.from_file(path)
                with open(path, 'rb') as f, z.open(info, 'w', force_zip64=True) as out:
                    out.write(f.read())
";
    for method in ["ZIP_STORED", "ZIP_DEFLATED"] {
        folder.packed_by("python3", &["-c", script, "OUT", method], NO_OWNERS);
    }
}
