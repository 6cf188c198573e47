//! Stores before a command gets into trouble, what they must give back, and copies of them to try it on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::shim::{Shimmed, run_shimmed};
use crate::sandbox::{Client, Model, Ran, Sandbox, copy_tree, model, noise};

/// A store before the trouble, and what it must give back.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    /// By id: what was acknowledged and stays.
    pub(crate) acknowledged: BTreeMap<String, Model>,
    /// What is captured next.
    pub(crate) tree: PathBuf,
    pub(crate) expected: Model,
    /// Clients with keys of their own, and the labels of those.
    pub(super) others: Vec<(&'static str, Client)>,
    /// The second at which the clock stands still for each command that gets into trouble.
    now: OnceLock<u64>,
}

pub(crate) fn write_tree(tree: &Path, seed: u64) {
    fs::create_dir_all(tree.join("sub/deeper")).unwrap();
    fs::write(tree.join("text"), "the same words again and again\n".repeat(400)).unwrap();
    fs::write(tree.join("noise"), noise(seed, 70_000)).unwrap();
    fs::write(tree.join("sub/one"), noise(seed + 1, 3000)).unwrap();
    fs::write(tree.join("sub/deeper/two"), b"two").unwrap();
    fs::write(tree.join("empty"), b"").unwrap();
}

impl Stage {
    /// A store with one acknowledged snapshot, and a tree that has changed since.
    pub(crate) fn second_snapshot() -> Self {
        let sandbox = Sandbox::with_store();
        let tree = sandbox.path("tree");
        write_tree(&tree, 1);
        sandbox.snapshot(&tree, "d").done();
        let first = sandbox.larder(["list", "--json"]).ids();
        assert_eq!(first.len(), 1);
        let acknowledged = BTreeMap::from([(first[0].clone(), model(&tree))]);
        copy_tree(&tree, &sandbox.path("first tree"));
        write_tree(&tree, 2);
        fs::remove_file(tree.join("sub/one")).unwrap();
        fs::write(tree.join("new"), noise(3, 200_000)).unwrap();
        let expected = model(&tree);
        Self { sandbox, acknowledged, tree, expected, others: Vec::new(), now: OnceLock::new() }
    }

    /// The same with that tree captured too.
    pub(super) fn two_snapshots() -> Self {
        let mut stage = Self::second_snapshot();
        stage.take();
        stage
    }

    /// Captures the tree.
    pub(super) fn take(&mut self) {
        self.sandbox.snapshot(&self.tree, "d").done();
        let newest = self.sandbox.larder(["list", "--limit", "1", "--json"]).ids().remove(0);
        self.acknowledged.insert(newest, model(&self.tree));
    }

    /// A store with so many snapshots that the next one merges files of the database.
    pub(super) fn before_merge() -> Self {
        let mut stage = Self::second_snapshot();
        for turn in 1..11 {
            if turn > 3 {
                fs::write(stage.tree.join("little"), noise(100 + turn, 300)).unwrap();
            }
            fs::write(stage.tree.join(format!("name {turn}")), b"").unwrap();
            stage.take();
        }
        fs::write(stage.tree.join("noise"), noise(200, 70_000)).unwrap();
        stage.expected = model(&stage.tree);
        let tables = |store: &Path| fs::read_dir(store.join("db")).unwrap().count();
        let trial = Trial::begin(&stage);
        trial.client.run(&trial.store, stage.capture()).done();
        let (before, after) = (tables(&stage.sandbox.store()), tables(&trial.store));
        assert!(after + 20 < before, "nothing was merged: {before} files before, {after} after");
        stage
    }

    /// A store of which half of the snapshots were given up: of most blocks some files are needed, of others none.
    pub(crate) fn before_gc() -> Self {
        let mut stage = Self::second_snapshot();
        for turn in 1..7 {
            for file in 0..20 {
                fs::write(stage.tree.join(format!("file {file}")), noise(turn * 100 + file, 9_000)).unwrap();
            }
            stage.sandbox.snapshot(&stage.tree, "d").done();
            for file in (0..20).filter(|file| file % 5 != 0) {
                fs::remove_file(stage.tree.join(format!("file {file}"))).unwrap();
            }
            stage.sandbox.snapshot(&stage.tree, "d").done();
            let newest = stage.sandbox.larder(["list", "--limit", "2", "--json"]).ids();
            stage.sandbox.larder(["forget", &newest[0]]).done();
            stage.acknowledged.insert(newest[1].clone(), model(&stage.tree));
        }
        stage
    }

    pub(crate) fn capture(&self) -> Vec<String> {
        ["snapshot", self.tree.to_str().unwrap(), "--dataset", "d"].map(str::to_owned).to_vec()
    }
}

/// One point: a copy of the stage.
pub(crate) struct Trial {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) client: Client,
    pub(crate) store: PathBuf,
    pub(super) image: PathBuf,
    seen: PathBuf,
    now: u64,
}

impl Trial {
    pub(crate) fn begin(stage: &Stage) -> Self {
        let dir = tempfile::Builder::new().prefix("larder-crash-").tempdir().unwrap();
        let client = stage.sandbox.another_client(&format!("client-{}", name(&dir)));
        let store = dir.path().join("store");
        copy_tree(&stage.sandbox.store(), &store);
        let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = *stage.now.get_or_init(seconds);
        let trial = Self { store, image: dir.path().join("image"), seen: dir.path().join("seen"), now, client, dir };
        copy_tree(&stage.sandbox.client().state(), &trial.client.state());
        trial
    }

    /// Runs a command that is ended at an operation on the store's files (`kill`), or is not (`count`); gives these operations too.
    pub(crate) fn run(&self, words: &[&str], mode: &str, at: u64) -> (Ran, Vec<String>) {
        self.trouble(words, mode, 0, at)
    }

    /// The same, with operations that may fail.
    pub(super) fn trouble(&self, words: &[&str], mode: &str, errno: i32, at: u64) -> (Ran, Vec<String>) {
        let told = Shimmed { mode, errno, at, image: &self.image, now: Some(self.now) };
        run_shimmed(&self.client, &self.store, words, told)
    }

    /// Sets the client back to what it had seen right after the trouble.
    pub(super) fn reset_client(&self) {
        if self.seen.exists() {
            fs::remove_dir_all(self.client.state()).unwrap();
            copy_tree(&self.seen, &self.client.state());
        } else {
            copy_tree(&self.client.state(), &self.seen);
        }
    }

    /// Whether a client that has never seen the store opens it.
    pub(super) fn opens(&self, stage: &Stage, store: &Path, whose: &Client) -> Result<bool, String> {
        let client = stage.sandbox.another_client(&format!("other-{}", name(&self.dir)));
        fs::remove_dir_all(client.home()).unwrap();
        fs::create_dir_all(client.identity().parent().unwrap()).unwrap();
        fs::copy(whose.identity(), client.identity()).unwrap();
        let ran = client.run(store, ["cat", "d~0:text"]);
        match ran.status {
            0 => Ok(true),
            12 => Ok(false),
            status => Err(format!("another client's cat gives {status}: {}", ran.stderr.trim())),
        }
    }
}

fn name(dir: &tempfile::TempDir) -> String {
    dir.path().file_name().unwrap().to_string_lossy().into_owned()
}

/// `verify` and `restore` of the CLI; with `LARDER_CRASH_ORACLE=reader` those of tests/reader.py instead: slower, and none of our code.
pub(crate) fn oracle(client: &Client, store: &Path, args: &[&str]) -> Ran {
    if std::env::var_os("LARDER_CRASH_ORACLE").is_none_or(|v| v != "reader") {
        return client.run(store, args);
    }
    let args: Vec<&str> = match args {
        ["verify", ..] => vec!["check"],
        ["restore", rest @ ..] => [&["extract"], rest].concat(),
        other => return client.run(store, other),
    };
    let python = std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = client.command(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader.py")).arg(store);
    Ran::of(command.arg("--identity").arg(client.identity()).args(args))
}
