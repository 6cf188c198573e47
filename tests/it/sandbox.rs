//! A place of its own for each test: a folder, a client with private HOME and XDG folders and a clean environment, a store,
//! and the CLI.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// One client: who has seen what of a store.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    home: PathBuf,
}

impl Client {
    fn new(home: PathBuf) -> Self {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&home).unwrap();
        Self { home }
    }

    /// Its home folder; `.cache`, `.config` and `.local/state` below it are its XDG folders.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Its default identity.
    pub(crate) fn identity(&self) -> PathBuf {
        self.home.join(".config/larder/identity.txt")
    }

    /// Its cache folder.
    pub(crate) fn cache(&self) -> PathBuf {
        self.home.join(".cache")
    }

    /// Its state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.join(".local/state")
    }

    /// A program run with this client's environment and no other.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("USER", "tester")
            .env("XDG_CONFIG_HOME", self.home.join(".config"))
            .env("XDG_CACHE_HOME", self.cache())
            .env("XDG_STATE_HOME", self.state())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("RUST_BACKTRACE", "0")
            .current_dir(&self.home)
            .stdin(Stdio::null());
        command
    }

    /// The program alone, so that its exit status is its own; Ctrl-C reaches it though the tests may run where it is ignored, in
    /// the background of a shell.
    pub(crate) fn alone(&self) -> Command {
        let mut command = self.command("env");
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_larder")]);
        command
    }

    /// The CLI on a store, ready for arguments.
    pub(crate) fn larder(&self, store: &Path) -> Command {
        // Whatever hangs is to be seen as such: exit 124.
        let mut command = self.command("timeout");
        command.args(["-k", "5", "120", env!("CARGO_BIN_EXE_larder"), "--store"]).arg(store);
        command
    }

    /// Runs the CLI on a store.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, store: &Path, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.larder(store);
        command.args(arguments);
        Ran::of(&mut command)
    }
}

/// A sandbox; it vanishes when dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    dir: TempDir,
    client: Client,
}

impl Sandbox {
    /// An empty one; there is no store yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("larder-it-").tempdir().unwrap();
        let client = Client::new(dir.path().join("home"));
        Self { dir, client }
    }

    /// One with an encrypted store.
    pub(crate) fn with_store() -> Self {
        let sandbox = Self::new();
        sandbox.larder(["init"]).done();
        sandbox
    }

    /// One with an unencrypted store.
    pub(crate) fn with_open_store() -> Self {
        let sandbox = Self::new();
        sandbox.larder(["init", "--unencrypted"]).done();
        sandbox
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the store is, or will be.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The client that made the store.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A client that has seen nothing yet; it has the first one's identity if that exists.
    pub(crate) fn another_client(&self, name: &str) -> Client {
        let client = Client::new(self.path(name));
        if self.client.identity().exists() {
            fs::create_dir_all(client.identity().parent().unwrap()).unwrap();
            fs::copy(self.client.identity(), client.identity()).unwrap();
        }
        client
    }

    /// Runs the CLI on the store.
    pub(crate) fn larder<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.client.run(&self.store(), arguments)
    }

    /// Captures a folder into a dataset.
    pub(crate) fn snapshot(&self, folder: &Path, dataset: &str) -> Ran {
        self.larder(["snapshot".as_ref(), folder.as_os_str(), "--dataset".as_ref(), dataset.as_ref()])
    }
}

/// What a run of a program gave.
#[must_use = "a run that nobody looks at proves nothing"]
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit status; 128 and the signal's number if a signal ended it.
    pub(crate) status: i32,
    /// What it wrote to stdout.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
    what: String,
}

impl Ran {
    /// Runs a program to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let output = command.output().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        let status = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked at"), "{what} panicked:\n{stderr}");
        Self { status, stdout: output.stdout, stderr, what }
    }

    /// It ended with this status.
    #[track_caller]
    pub(crate) fn ended(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}\n{}{}", self.what, String::from_utf8_lossy(&self.stdout), self.stderr);
        self
    }

    /// It ended with 0.
    #[track_caller]
    pub(crate) fn done(self) {
        let _ = self.ended(0);
    }

    /// It failed with this status and said why: a line on stderr that holds `word`.
    #[track_caller]
    pub(crate) fn refused(self, status: i32, word: &str) {
        let ran = self.ended(status);
        assert!(
            ran.stderr.to_lowercase().contains(&word.to_lowercase()),
            "{}: no {word:?} in {:?}",
            ran.what,
            ran.stderr
        );
    }

    /// It ended with 0 and stdout is JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let ran = self.ended(0);
        serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|e| panic!("{}: {e}: {}", ran.what, String::from_utf8_lossy(&ran.stdout)))
    }

    /// It ended with 0 and stdout is one JSON value a line.
    #[track_caller]
    pub(crate) fn lines(self) -> Vec<serde_json::Value> {
        let ran = self.ended(0);
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", ran.what));
        text.lines().map(parse).collect()
    }

    /// The ids of the snapshots that a `list --json` told.
    #[track_caller]
    pub(crate) fn ids(self) -> Vec<String> {
        let value = self.json();
        let list = value.as_array().or_else(|| value["snapshots"].as_array()).cloned();
        let list = list.unwrap_or_else(|| panic!("no list of snapshots: {value}"));
        list.iter().map(|s| s["id"].as_str().unwrap_or_else(|| panic!("no id: {s}")).to_owned()).collect()
    }
}

/// All that a snapshot keeps of a tree, path by path (the root is the empty path), in words.
pub(crate) type Model = BTreeMap<Vec<u8>, String>;

/// Describes a tree.
pub(crate) fn model(root: &Path) -> Model {
    let mut found = Model::new();
    let mut links = BTreeMap::new();
    describe(root, Vec::new(), &mut found, &mut links);
    // A hard-linked file is known by its first path.
    for paths in links.values() {
        for path in paths {
            let first: &Vec<u8> = &paths[0];
            if paths.len() > 1 {
                found.get_mut(path).unwrap().push_str(&format!(" linked to {:?}", String::from_utf8_lossy(first)));
            }
        }
    }
    found
}

fn describe(path: &Path, below: Vec<u8>, found: &mut Model, links: &mut BTreeMap<u64, Vec<Vec<u8>>>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.mode() & 0o170_000;
    let mut words = format!("{kind:o} {:o} {}.{:09}", meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec());
    words.push_str(&format!(" {}:{}", meta.uid(), meta.gid()));
    if meta.is_file() {
        let bytes = fs::read(path).unwrap();
        words.push_str(&format!(" {} {}", bytes.len(), blake3::hash(&bytes)));
        if meta.blocks() * 512 < meta.len() / 2 {
            words.push_str(" sparse");
        }
    } else if meta.is_symlink() {
        words.push_str(&format!(" -> {:?}", fs::read_link(path).unwrap()));
    } else if kind == 0o020_000 || kind == 0o060_000 {
        words.push_str(&format!(" device {}", meta.rdev()));
    }
    for (name, value) in xattrs(path) {
        words.push_str(&format!(" {}={:?}", String::from_utf8_lossy(&name), value));
    }
    if !meta.is_dir() && meta.nlink() > 1 {
        links.entry(meta.ino()).or_default().push(below.clone());
    }
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let mut child = below.clone();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend_from_slice(name.as_bytes());
            describe(&path.join(&name), child, found, links);
        }
    }
    found.insert(below, words);
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0u8; 65_536];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else { return BTreeMap::new() };
    let names = names[..len].split(|b| *b == 0).filter(|n| !n.is_empty() && !n.starts_with(b"security.selinux"));
    names
        .map(|name| {
            let mut value = vec![0u8; 65_536];
            let len = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
            (name.to_vec(), value[..len].to_vec())
        })
        .collect()
}

/// The first few differences of two models.
pub(crate) fn compare(expected: &Model, found: &Model) -> Result<(), String> {
    let mut lines = Vec::new();
    for path in expected.keys().chain(found.keys()) {
        let (a, b) = (expected.get(path), found.get(path));
        if a != b && lines.len() < 8 {
            lines.push(format!("{:?}: expected {a:?}, found {b:?}", String::from_utf8_lossy(path)));
        }
    }
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

/// Copies a folder as it is.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let ran = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(ran.success());
}

/// True once a process writes something in this folder, be it a file without a name.
pub(crate) fn has_begun(pid: u32, folder: &Path) -> bool {
    let list = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut opened = list.filter_map(|fd| fs::read_link(fd.path()).ok());
    opened.any(|path| path.starts_with(folder)) || fs::read_dir(folder).is_ok_and(|mut list| list.next().is_some())
}

/// Bytes that no compressor shortens, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A number from 0 to below `end`, from a seed: the same ones for the same seed.
pub(crate) fn pick(seed: u64, turn: u64, end: u64) -> u64 {
    let bytes = noise(seed ^ turn.rotate_left(32), 8);
    u64::from_le_bytes(bytes.try_into().unwrap()) % end.max(1)
}

/// A seed for a random choice: `LARDER_TEST_SEED`, or another one each time. Printed, so that a failure can be had again.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("LARDER_TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()) << 32
    });
    println!("LARDER_TEST_SEED={seed}");
    seed
}
