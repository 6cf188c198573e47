//! Trees and archives that tests make by hand, and hands that pack, change and compare them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::sandbox::{Ran, Sandbox};

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a Python script with arguments; its assertions are the test's.
pub(crate) fn python(script: &str, arguments: &[&Path]) {
    Ran::of(Command::new("python3").args(["-c", script]).args(arguments)).done();
}

/// What Python scripts begin with: `t` is a tar at the first argument, `add` puts a member in.
const TAR: &str = "
import sys, tarfile, io
t = tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT)
def add(name, kind=tarfile.REGTYPE, data=b'', link='', mode=0o644, mtime=1700000000, **more):
    i = tarfile.TarInfo(name)
    i.type, i.size, i.linkname, i.mode, i.mtime = kind, len(data), link, mode, mtime
    for key, value in more.items(): setattr(i, key, value)
    t.addfile(i, io.BytesIO(data))
";

/// Makes a tar with Python's tarfile.
pub(crate) fn tar(sandbox: &Sandbox, name: &str, members: &str) -> PathBuf {
    let path = sandbox.path(name);
    python(&format!("{TAR}\n{members}\nt.close()\n"), &[&path]);
    path
}

/// Makes a tar anew, as Python statements over its members change them: `members` is a list of pairs of `TarInfo` and content, `of(end)` where the one is whose name
/// ends so, `put(at, content)` gives it another content, `manifest()` and `store(m)` read and write the manifest, `resum()` makes the checksums anew.
pub(crate) fn changed(sandbox: &Sandbox, pack: &Path, change: &str) -> PathBuf {
    let out = sandbox.path("changed.tar");
    let script = format!(
        r"
import copy, hashlib, io, json, sys, tarfile
members = []
with tarfile.open(sys.argv[1]) as t:
    for m in t:
        members.append((m, t.extractfile(m).read() if m.isreg() else None))
def of(end): return next(i for i, (m, _) in enumerate(members) if m.name.endswith(end))
def put(i, content):
    members[i][0].size = len(content)
    members[i] = (members[i][0], content)
top = members[0][0].name.rstrip('/') + '/'
def new(name, content=None, **more):
    m = copy.copy(members[of('/README.txt')][0])
    m.name, m.size = top + name, len(content or b'')
    for key, value in more.items(): setattr(m, key, value)
    return (m, content)
def manifest(): return json.loads(members[of('/manifest.json')][1])
def store(m): put(of('/manifest.json'), json.dumps(m).encode())
def item(m, path): return next(i for i in m['inventory'] if i['path'] == path)
def resum():
    lines, known, at = [], dict(), of('/checksums.sha256')
    for m, content in members:
        if m.islnk(): content = known.get(m.linkname)
        if content is None or m is members[at][0]: continue
        known[m.name] = content
        name = m.name[len(top):]
        plain = name.replace('\\', '\\\\').replace('\n', '\\n')
        lines.append(('\\' if plain != name else '') + hashlib.sha256(content).hexdigest() + '  ' + plain + '\n')
    put(at, ''.join(lines).encode('utf-8', 'surrogateescape'))
{change}
with tarfile.open(sys.argv[2], 'w', format=tarfile.PAX_FORMAT) as t:
    for m, content in members:
        t.addfile(m, io.BytesIO(content) if content is not None else None)
"
    );
    python(&script, &[pack, &out]);
    out
}

/// The awkward tree of all tests, in a folder of the sandbox.
pub(crate) fn awkward(sandbox: &Sandbox) -> PathBuf {
    assert!(rustix::process::geteuid().is_root(), "owners and devices: this test runs as root");
    let source = sandbox.path("awkward");
    let mut script = sandbox.client().command("python3");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/awkward.py")).arg(&source).arg("--quick");
    Ran::of(&mut script).done();
    source
}

/// Sets all times in a tree to whole seconds, as those that tools without fractions keep.
pub(crate) fn at_whole_seconds(root: &Path) {
    Ran::of(Command::new("find").arg(root).args(["-exec", "touch", "-hd", "2023-11-14T22:13:21Z", "{}", "+"])).done();
}

/// Two trees are the same to rsync, both ways; but for paths that are too long for it.
pub(crate) fn same_by_rsync(sandbox: &Sandbox, a: &Path, b: &Path) {
    for (from, to) in [(a, b), (b, a)] {
        let mut rsync = sandbox.client().command("rsync");
        rsync.args(["-aHAXSnc", "--modify-window=-1", "-i", "--delete", "--exclude=/deep"]);
        rsync.arg(format!("{}/", text(from))).arg(format!("{}/", text(to)));
        assert_eq!(String::from_utf8_lossy(&Ran::of(&mut rsync).ended(0).stdout), "");
    }
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs the CLI without a store.
pub(crate) fn storeless(sandbox: &Sandbox, words: &[&str]) -> Ran {
    let mut command = sandbox.client().command("timeout");
    Ran::of(command.args(["-k", "5", "120", env!("CARGO_BIN_EXE_larder")]).args(words))
}

/// Runs a program whose standard input is a pipe with these bytes.
pub(crate) fn fed(command: &mut Command, bytes: &[u8]) -> Ran {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut cat = Command::new("cat").stdin(file).stdout(Stdio::piped()).spawn().unwrap();
    let ran = Ran::of(command.stdin(cat.stdout.take().unwrap()));
    // Whoever has seen enough does not read all: then nobody else may keep the pipe open.
    command.stdin(Stdio::null());
    let _ = cat.wait();
    ran
}
