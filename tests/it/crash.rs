//! A kill, a power cut, a full disk or a failing one at any operation of `init`, `snapshot`, `forget` and `gc`.
//!
//! `shim.c` is preloaded into the CLI: it counts the operations that change files of the store and ends or fails the n-th.
//! `LARDER_CRASH=all` tries every point with every variant (`scripts/crash-all`), `LARDER_CRASH=85-105` those points; otherwise a
//! random sample whose seed is shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::power_cut::{CUTS, Cut, Image};
use crate::sandbox::{Client, Model, Ran, Sandbox, compare, copy_tree, model, noise, pick, seed};

/// The compiled shim; made once.
fn shim() -> &'static Path {
    static SHIM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/shim.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&path)
            .args([source, "-ldl", "-lpthread"])
            .status();
        assert!(made.is_ok_and(|s| s.success()), "the shim does not compile: a C compiler `cc` is needed");
        (dir, path)
    });
    path
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Kill,
    KillInHalf,
    PowerCut,
    Fails { errno: i32, once: bool },
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

const TROUBLES: [Trouble; 7] = [
    Trouble::Kill,
    Trouble::KillInHalf,
    Trouble::PowerCut,
    Trouble::Fails { errno: EIO, once: false },
    Trouble::Fails { errno: EIO, once: true },
    Trouble::Fails { errno: ENOSPC, once: false },
    Trouble::Fails { errno: ENOSPC, once: true },
];

impl Trouble {
    fn mode(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillInHalf => "half",
            Self::PowerCut => "cut",
            Self::Fails { once: false, .. } => "fail",
            Self::Fails { once: true, .. } => "fail-once",
        }
    }
}

/// Runs the CLI with the shim.
pub(crate) fn run_shimmed(
    client: &Client,
    store: &Path,
    args: &[&str],
    mode: &str,
    errno: i32,
    at: u64,
    image: &Path,
) -> (Ran, Vec<String>) {
    let log = image.with_extension("log");
    for part in ["S", "D", "U"] {
        fs::create_dir_all(image.join(part)).unwrap();
    }
    let mut command = client.larder(store);
    command.args(args);
    command.env("LD_PRELOAD", shim()).env("SHIM_ROOT", store).env("SHIM_MODE", mode).env("SHIM_LOG", &log);
    command.env("SHIM_AT", at.to_string()).env("SHIM_ERRNO", errno.to_string()).env("SHIM_IMAGE", image);
    let ran = Ran::of(&mut command);
    let lines = fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
    (ran, lines)
}

/// A store before the trouble, and what it must give back.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    /// By id: what was acknowledged.
    pub(crate) acknowledged: BTreeMap<String, Model>,
    /// What is being captured.
    pub(crate) tree: PathBuf,
    pub(crate) expected: Model,
    /// What gets into trouble, if it is no capture.
    pub(crate) command: Option<Vec<String>>,
}

fn write_tree(tree: &Path, seed: u64) {
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
        write_tree(&tree, 2);
        fs::remove_file(tree.join("sub/one")).unwrap();
        fs::write(tree.join("new"), noise(3, 200_000)).unwrap();
        let expected = model(&tree);
        Self { sandbox, acknowledged, tree, expected, command: None }
    }

    /// A store with so many snapshots that the next one merges files of the database.
    fn before_merge() -> Self {
        let mut stage = Self::second_snapshot();
        for turn in 1..11 {
            if turn > 3 {
                fs::write(stage.tree.join("little"), noise(100 + turn, 300)).unwrap();
            }
            fs::write(stage.tree.join(format!("name {turn}")), b"").unwrap();
            stage.sandbox.snapshot(&stage.tree, "d").done();
            let newest = stage.sandbox.larder(["list", "--limit", "1", "--json"]).ids().remove(0);
            stage.acknowledged.insert(newest, model(&stage.tree));
        }
        fs::write(stage.tree.join("noise"), noise(200, 70_000)).unwrap();
        stage.expected = model(&stage.tree);
        let tables = |store: &Path| fs::read_dir(store.join("db")).unwrap().count();
        let trial = Trial::begin(&stage);
        trial.client.run(&trial.store, stage.arguments()).done();
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
        stage.command = Some(vec!["gc".to_owned()]);
        stage
    }

    pub(crate) fn arguments(&self) -> Vec<&str> {
        match &self.command {
            Some(command) => command.iter().map(String::as_str).collect(),
            None => self.capture(),
        }
    }

    fn capture(&self) -> Vec<&str> {
        vec!["snapshot", self.tree.to_str().unwrap(), "--dataset", "d"]
    }

    /// How many operations the capture has when nothing goes wrong.
    fn count(&self) -> u64 {
        self.operations().len() as u64
    }

    /// What they are.
    pub(crate) fn operations(&self) -> Vec<String> {
        let trial = Trial::begin(self);
        let (ran, log) = run_shimmed(&trial.client, &trial.store, &self.arguments(), "count", 0, 0, &trial.image);
        ran.done();
        log
    }

    /// Puts the capture into trouble at a point and checks what is left. Gives what is wrong.
    fn try_point(&self, trouble: Trouble, at: u64, cuts: &[Cut]) -> Vec<String> {
        let trial = Trial::begin(self);
        let errno = if let Trouble::Fails { errno, .. } = trouble { errno } else { 0 };
        let (ran, log) =
            run_shimmed(&trial.client, &trial.store, &self.arguments(), trouble.mode(), errno, at, &trial.image);
        let place =
            || format!("{trouble:?} at {at} ({})", log.get(at as usize - 1).map_or("after the end", String::as_str));
        let mut wrong = Vec::new();
        let mut check = |store: &Path, variant: String| {
            if let Err(why) = trial.check(self, store, ran.status == 0) {
                wrong.push(format!("{}{variant}, exit {}: {why}", place(), ran.status));
            }
        };
        if trouble == Trouble::PowerCut {
            let image = Image::read(&trial.store, &trial.image);
            for cut in cuts {
                let store = trial.dir.path().join("after");
                image.build(*cut, &store);
                trial.reset_client();
                check(&store, format!(" {cut:?}"));
                fs::remove_dir_all(&store).unwrap();
            }
        } else {
            check(&trial.store, String::new());
        }
        wrong
    }
}

/// One point: a copy of the stage.
pub(crate) struct Trial {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) client: Client,
    pub(crate) store: PathBuf,
    image: PathBuf,
    seen: PathBuf,
}

impl Trial {
    pub(crate) fn begin(stage: &Stage) -> Self {
        let dir = tempfile::Builder::new().prefix("larder-crash-").tempdir().unwrap();
        let client =
            stage.sandbox.another_client(&format!("client-{}", dir.path().file_name().unwrap().to_string_lossy()));
        let store = dir.path().join("store");
        copy_tree(&stage.sandbox.store(), &store);
        let trial = Self { store, image: dir.path().join("image"), seen: dir.path().join("seen"), client, dir };
        copy_tree(&stage.sandbox.client().state(), &trial.client.state());
        trial
    }

    /// Sets the client back to what it had seen right after the trouble.
    fn reset_client(&self) {
        if self.seen.exists() {
            fs::remove_dir_all(self.client.state()).unwrap();
            copy_tree(&self.seen, &self.client.state());
        } else {
            copy_tree(&self.client.state(), &self.seen);
        }
    }

    /// All that is promised of a store after trouble.
    fn check(&self, stage: &Stage, store: &Path, acknowledged: bool) -> Result<(), String> {
        let run = |args: &[&str]| -> Result<Ran, String> {
            let ran = oracle(&self.client, store, args);
            if ran.status == 0 {
                Ok(ran)
            } else {
                Err(format!(
                    "{} gives {}: {}{}",
                    args[0],
                    ran.status,
                    ran.stderr.trim(),
                    String::from_utf8_lossy(&ran.stdout)
                ))
            }
        };
        let ids = run(&["list", "--json"])?.ids();
        if let Some(lost) = stage.acknowledged.keys().find(|id| !ids.contains(id)) {
            return Err(format!("the acknowledged snapshot {lost} is gone"));
        }
        let new: Vec<_> = ids.iter().filter(|id| !stage.acknowledged.contains_key(*id)).collect();
        let captures = stage.command.is_none();
        if new.len() > usize::from(captures) || (captures && acknowledged && new.is_empty()) {
            return Err(format!(
                "{} new snapshots where the capture was {}acknowledged",
                new.len(),
                if acknowledged { "" } else { "not " }
            ));
        }
        let _ = run(&["verify", "--read-data"])?;
        for id in ids.iter().rev().step_by(1 + ids.len() / 4) {
            let dest = self.dir.path().join("restored");
            let _ = run(&["restore", id, dest.to_str().unwrap()])?;
            let expected = stage.acknowledged.get(id).unwrap_or(&stage.expected);
            compare(expected, &model(&dest)).map_err(|why| format!("snapshot {id} is not what was captured: {why}"))?;
            fs::remove_dir_all(&dest).unwrap();
        }
        if !captures {
            let _ = run(&stage.arguments())?;
            let _ = run(&["verify", "--read-data"])?;
        }
        let _ = run(&stage.capture())?;
        let after = run(&["list", "--json"])?.ids();
        if after.len() != ids.len() + 1 || after[..ids.len()] != ids[..] {
            return Err(format!("after another capture {} snapshots where there were {}", after.len(), ids.len()));
        }
        Ok(())
    }
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

/// The points to try with every variant, if that is asked for.
pub(crate) fn asked_points() -> Option<std::ops::RangeInclusive<u64>> {
    let text = std::env::var("LARDER_CRASH").ok()?;
    if text == "all" {
        return Some(1..=u64::MAX);
    }
    let (from, to) = text.split_once('-').expect("LARDER_CRASH is `all` or a range like 85-105");
    Some(from.parse().unwrap()..=to.parse().unwrap())
}

/// Tries points on all processors; fails with all that is wrong.
fn try_all(
    points: &[(Trouble, u64)],
    cuts_of: impl Fn(u64) -> Vec<Cut> + Sync,
    work: impl Fn(Trouble, u64, &[Cut]) -> Vec<String> + Sync,
) {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((trouble, at)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = work(*trouble, *at, &cuts_of(*at));
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} points tried, {} findings", points.len(), wrong.len());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every point and variant, or a sample of them.
fn choose(count: u64, troubles: &[Trouble], sample: u64) -> (Vec<(Trouble, u64)>, impl Fn(u64) -> Vec<Cut> + Sync) {
    let (seed, asked) = (seed(), asked_points());
    let all = asked.is_some();
    // One beyond the last: trouble after the end, when all was acknowledged.
    let every = troubles.iter().flat_map(|t| (1..=count + 1).map(|at| (*t, at)));
    let mut points: Vec<_> = every.collect();
    if let Some(range) = asked {
        points.retain(|(_, at)| range.contains(at));
    } else {
        let total = points.len() as u64;
        let mut turns: Vec<_> = (0..sample).map(|turn| pick(seed, turn, total) as usize).collect();
        turns.sort_unstable();
        turns.dedup();
        points = turns.into_iter().map(|i| points[i]).collect();
        // The end is always tried.
        points.extend(troubles.iter().filter(|t| **t == Trouble::PowerCut).map(|t| (*t, count + 1)));
    }
    println!("{} points of {count} operations", points.len());
    (
        points,
        move |at| if all { CUTS.to_vec() } else { (0..3).map(|i| CUTS[pick(seed, at * 8 + i, 8) as usize]).collect() },
    )
}

fn troubled_snapshots(stage: &Stage, troubles: &[Trouble], sample: u64) {
    let (points, cuts) = choose(stage.count(), troubles, sample);
    try_all(&points, cuts, |trouble, at, cuts| stage.try_point(trouble, at, cuts));
}

#[test]
fn a_capture_killed_anywhere_harms_no_acknowledged_snapshot() {
    troubled_snapshots(&Stage::second_snapshot(), &TROUBLES[..2], 40);
}

#[test]
fn a_power_cut_anywhere_harms_no_acknowledged_snapshot() {
    troubled_snapshots(&Stage::second_snapshot(), &TROUBLES[2..3], 30);
}

#[test]
fn a_failing_or_full_disk_harms_no_acknowledged_snapshot() {
    troubled_snapshots(&Stage::second_snapshot(), &TROUBLES[3..], 40);
}

#[test]
fn trouble_while_files_are_merged_harms_no_acknowledged_snapshot() {
    troubled_snapshots(&Stage::before_merge(), &TROUBLES, 40);
}

#[test]
fn trouble_while_room_is_given_back_harms_no_snapshot_that_lives() {
    troubled_snapshots(&Stage::before_gc(), &TROUBLES, 60);
}

/// RocksDB takes back the files that a record of the MANIFEST names if that cannot be made durable, though the record may stay.
#[test]
fn a_manifest_that_cannot_be_synced_harms_no_acknowledged_snapshot() {
    let stage = Stage::before_merge();
    let operations = stage.operations();
    let syncs = operations.iter().zip(1..).filter(|(what, _)| what.contains("sync") && what.contains("MANIFEST"));
    let points: Vec<_> = syncs.map(|(_, at)| (Trouble::Fails { errno: EIO, once: true }, at)).collect();
    assert!(points.len() >= 5, "{operations:?}");
    try_all(&points, |_| Vec::new(), |trouble, at, cuts| stage.try_point(trouble, at, cuts));
}

/// An init in trouble: afterwards the store is usable, or init can be run again.
fn troubled_init(trouble: Trouble, at: u64, cuts: &[Cut]) -> Vec<String> {
    let sandbox = Sandbox::new();
    let store = sandbox.store();
    fs::create_dir(&store).unwrap();
    write_tree(&sandbox.path("tree"), 1);
    let errno = if let Trouble::Fails { errno, .. } = trouble { errno } else { 0 };
    let image = sandbox.path("image");
    let (ran, log) = run_shimmed(sandbox.client(), &store, &["init"], trouble.mode(), errno, at, &image);
    let place =
        || format!("{trouble:?} at {at} ({})", log.get(at as usize - 1).map_or("after the end", String::as_str));
    let mut wrong = Vec::new();
    let mut check = |store: &Path, variant: String| {
        if let Err(why) = check_init(&sandbox, store, ran.status == 0) {
            wrong.push(format!("init, {}{variant}, exit {}: {why}", place(), ran.status));
        }
    };
    if trouble == Trouble::PowerCut {
        let image = Image::read(&store, &image);
        for cut in cuts {
            let after = sandbox.path("after");
            image.build(*cut, &after);
            check(&after, format!(" {cut:?}"));
            fs::remove_dir_all(&after).unwrap();
            let _ = fs::remove_dir_all(sandbox.client().state());
        }
    } else {
        check(&store, String::new());
    }
    wrong
}

fn check_init(sandbox: &Sandbox, store: &Path, acknowledged: bool) -> Result<(), String> {
    let tree = sandbox.path("tree");
    let run = |args: &[&str]| oracle(sandbox.client(), store, args);
    let told = |what: &str, ran: &Ran| {
        format!("{what} gives {}: {}{}", ran.status, ran.stderr.trim(), String::from_utf8_lossy(&ran.stdout))
    };
    let listed = run(&["list", "--json"]);
    match listed.status {
        0 => {}
        // 13: parts of a store without a header.
        10 | 13 if !acknowledged => {
            let again = run(&["init"]);
            if again.status != 0 {
                return Err(told("init again", &again));
            }
        }
        _ => return Err(told("list", &listed)),
    }
    let taken = run(&["snapshot", tree.to_str().unwrap(), "--dataset", "d"]);
    if taken.status != 0 {
        return Err(told("snapshot", &taken));
    }
    let verified = run(&["verify", "--read-data"]);
    if verified.status != 0 {
        return Err(told("verify", &verified));
    }
    let dest = sandbox.path("restored");
    let restored = run(&["restore", "latest", dest.to_str().unwrap()]);
    if restored.status != 0 {
        return Err(told("restore", &restored));
    }
    let compared = compare(&model(&tree), &model(&dest));
    fs::remove_dir_all(&dest).unwrap();
    compared
}

#[test]
fn an_init_cut_anywhere_can_be_run_again_or_has_made_a_store() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.store()).unwrap();
    let (ran, log) = run_shimmed(sandbox.client(), &sandbox.store(), &["init"], "count", 0, 0, &sandbox.path("image"));
    ran.done();
    let (points, cuts) = choose(log.len() as u64, &TROUBLES, 60);
    try_all(&points, cuts, troubled_init);
}
