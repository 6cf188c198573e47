//! The eight promises that a store of people's only copy must keep, one short test each, end to end. The thorough ones:
//!
//! 1. and 2. a kill, a power cut or a failing disk at any operation: `crash/`, `keys.rs`; mounts and readers killed: `mount_trouble.rs`
//! 3. damage to any file: `damage.rs`, `damage_table.rs`, `attacks.rs`
//! 4. what is removed, when and why: `gc.rs`, `retention.rs`, `repairing.rs`, `removal.rs`
//! 5. any byte changed, with keys and without: `verifying.rs` (`scripts/flip-all` for every byte)
//! 6. clocks that jump, and writers that lie about time: `retention.rs`, `retention_attacks.rs`
//! 7. no byte and no inode left: `full_disk.rs`, `gc.rs`, and at any operation `crash/`
//! 8. packs: `export.rs`; frozen stores: `fixtures.rs`

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::behind::tables;
use crate::clocked::{capture_at, days_ago, now, opened};
use crate::crash::{Shimmed, Stage, Trial, run_shimmed};
use crate::keys::one_snapshot;
use crate::mounting::{Mount, Mounted};
use crate::sandbox::{Ran, Sandbox, compare, model, noise, pick, seed};

/// A capture that is killed at some operations, and one more at its last ones; what is there afterwards is handed on.
fn killed_captures(check: impl Fn(&Stage, &Trial, &[String])) {
    let stage = Stage::second_snapshot();
    let words = ["snapshot", stage.tree.to_str().unwrap(), "--dataset", "d"];
    let run = |mode: &str, at: u64| {
        let trial = Trial::begin(&stage);
        let told = Shimmed { mode, errno: 0, at, image: &trial.dir.path().join("image"), now: None };
        let (ran, log) = run_shimmed(&trial.client, &trial.store, &words, told);
        (trial, ran, log.len() as u64)
    };
    let (_, _, count) = run("count", 0);
    let seed = seed();
    for at in (0..4).map(|turn| 1 + pick(seed, turn, count)).chain([count - 2, count]) {
        let (trial, ran, _) = run("kill", at);
        assert_eq!(ran.status, 137, "killed at {at} of {count}");
        let ids = trial.client.run(&trial.store, ["list", "--json"]).ids();
        check(&stage, &trial, &ids);
    }
}

#[track_caller]
fn gives(trial: &Trial, id: &str, expected: &crate::sandbox::Model) {
    let dest = trial.dir.path().join("dest");
    trial.client.run(&trial.store, ["restore", id, dest.to_str().unwrap()]).done();
    compare(expected, &model(&dest)).unwrap();
    fs::remove_dir_all(&dest).unwrap();
}

#[test]
fn promise_1_a_kill_at_any_instruction_leaves_every_acknowledged_snapshot_readable() {
    killed_captures(|stage, trial, ids| {
        for (id, expected) in &stage.acknowledged {
            assert!(ids.contains(id));
            gives(trial, id, expected);
        }
    });
}

#[test]
fn promise_2_an_unacknowledged_snapshot_is_absent_or_complete() {
    killed_captures(|stage, trial, ids| {
        for id in ids.iter().filter(|id| !stage.acknowledged.contains_key(*id)) {
            gives(trial, id, &stage.expected);
        }
        assert!(ids.len() <= 2, "{ids:?}");
        trial.client.run(&trial.store, ["verify", "--read-data"]).done();
    });
}

#[test]
fn promise_3_a_read_returns_the_captured_bytes_or_an_error() {
    let (sandbox, tree) = one_snapshot();
    let bytes = fs::read(tree.join("folder/file")).unwrap();
    let (seed, mut failed, mut read) = (seed(), 0, 0);
    for (turn, file) in (0..).zip(tables(&sandbox.store())) {
        let whole = fs::read(&file).unwrap();
        let mut changed = whole.clone();
        changed[pick(seed, turn, whole.len() as u64) as usize] ^= 0x20;
        fs::write(&file, changed).unwrap();
        let cat = sandbox.larder(["cat", "d:folder/file"]);
        if cat.status == 0 {
            read += 1;
            assert!(cat.stdout == bytes, "{}: wrong bytes", file.display());
        } else {
            failed += 1;
            assert!(bytes.starts_with(&cat.stdout), "{}: wrong bytes before the error", file.display());
            cat.refused(13, "damage");
        }
        fs::write(&file, whole).unwrap();
    }
    assert!(failed > 0 && read > 0, "{failed} {read}");
}

#[test]
fn promise_4_nothing_but_gc_removes_data_and_it_says_what_and_why_before() {
    let (sandbox, tree) = one_snapshot();
    fs::write(tree.join("folder/file"), noise(7, 300_000)).unwrap();
    sandbox.snapshot(&tree, "d").done();
    let ids = sandbox.larder(["list", "--json"]).ids();
    let blocks = || sandbox.larder(["verify", "--read-data", "--json"]).json()["all_blocks"].as_u64().unwrap();
    let mut before = blocks();
    let source = tree.to_str().unwrap();
    for words in [
        &["policy", "set", "d", "--keep-last", "1"][..],
        &["forget", &ids[0]],
        &["forget", "--policy"],
        &["snapshot", source, "-d", "d"],
        &["key", "rotate"],
        &["repair", "--apply"],
        &["gc", "--dry-run"],
    ] {
        sandbox.larder(words).done();
        let now = blocks();
        assert!(now >= before, "{words:?}: {before} blocks before, {now} after");
        before = now;
    }
    let told = sandbox.larder(["gc", "--dry-run", "--json"]).json();
    let text = String::from_utf8(sandbox.larder(["gc", "--dry-run"]).ended(0).stdout).unwrap();
    assert!(text.contains(&ids[0][..16]) && text.contains("given up"), "{text}");
    let done = sandbox.larder(["gc", "--json"]).json();
    assert_eq!((&told["removed"], &told["dead"]), (&done["removed"], &done["dead"]), "as it was told");
    assert!(blocks() < before);
    sandbox.larder(["restore", "d", sandbox.path("dest").to_str().unwrap()]).done();
    compare(&model(&tree), &model(&sandbox.path("dest"))).unwrap();
}

#[test]
fn promise_5_any_changed_byte_is_found_and_located_by_verify_without_keys() {
    let (sandbox, _) = one_snapshot();
    let stranger = sandbox.another_client("stranger");
    fs::remove_file(stranger.identity()).unwrap();
    let seed = seed();
    for (turn, file) in (0..).zip(tables(&sandbox.store())) {
        let whole = fs::read(&file).unwrap();
        let mut changed = whole.clone();
        changed[pick(seed, turn, whole.len() as u64) as usize] ^= 1 << (turn % 8);
        fs::write(&file, changed).unwrap();
        let ran = stranger.run(&sandbox.store(), ["verify", "--no-key"]).ended(13);
        let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(text.contains(name) || text.contains("block "), "{name}: {text}");
        fs::write(&file, whole).unwrap();
    }
    stranger.run(&sandbox.store(), ["verify", "--no-key"]).done();
}

#[test]
fn promise_6_a_clock_that_jumps_deletes_nothing() {
    let (sandbox, tree) = one_snapshot();
    let store = opened(&sandbox, sandbox.client());
    let before: Vec<_> = (1..=4).rev().map(|ago| capture_at(&store, &tree, "home", days_ago(ago))).collect();
    // The clock stands still at the year 1970, then in days to come; at last it is right again.
    for time in [days_ago(20_000), days_ago(-30_000), days_ago(-30_001), now()] {
        let _ = capture_at(&store, &tree, "home", time);
    }
    let ran = sandbox.larder(["forget", "--keep-daily", "9", "--keep-within", "9d"]);
    assert!([0, 1, 3].contains(&ran.status), "{}", ran.stderr);
    sandbox.larder(["gc"]).done();
    let left = sandbox.larder(["list", "--json"]).ids();
    assert!(before.iter().all(|id| left.contains(id)), "{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn promise_7_a_full_disk_leaves_a_store_that_can_be_read_and_collected() {
    let sandbox = Sandbox::new();
    let (disk, source) = (sandbox.path("disk"), sandbox.path("source"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&source).unwrap();
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=96m", "tmpfs"], disk.clone());
    let run = |words: &[&str]| sandbox.client().run(&disk.join("store"), words);
    run(&["init"]).done();
    for turn in 0..2 {
        fs::write(source.join("file"), noise(turn, 3_000_000)).unwrap();
        run(&["snapshot", source.to_str().unwrap(), "-d", "d"]).done();
    }
    let expected = model(&source);
    while fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(disk.join("fill"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, &vec![0; 1 << 16]))
        .is_ok()
    {}
    fs::write(source.join("file"), noise(9, 3_000_000)).unwrap();
    run(&["snapshot", source.to_str().unwrap(), "-d", "d"]).refused(1, "make room");
    run(&["verify", "--read-data"]).done();
    run(&["restore", "d", sandbox.path("dest").to_str().unwrap()]).done();
    compare(&expected, &model(&sandbox.path("dest"))).unwrap();
    run(&["forget", "d~1"]).done();
    assert!(run(&["gc", "--json"]).json()["done"]["freed"].as_u64() > Some(2_900_000));
    run(&["verify", "--read-data"]).done();
}

/// BLAKE3 of the tar of the frozen store v1-plain's newest snapshot: the canonical form, version 1. It never changes.
const TAR_V1: &str = "4367cd96fec72c42cfe44f0470a25fb8bf3f9f35f48753291529b181a6ec529b";

#[test]
fn promise_8_exports_are_the_same_bytes_whenever_and_with_whatever_version_they_are_made() {
    let frozen = Sandbox::new();
    let tar = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1-plain.tar");
    Ran::of(Command::new("tar").arg("-C").arg(frozen.path("")).arg("-xf").arg(tar)).done();
    let export = frozen.client().run(&frozen.path("v1-plain"), ["export", "--bare", "latest", "-o", "-"]).ended(0);
    assert_eq!(blake3::hash(&export.stdout).to_string(), TAR_V1);

    let (sandbox, tree) = one_snapshot();
    let id = sandbox.larder(["list", "--json"]).ids().remove(0);
    let pack = |format: &str| {
        let words = ["export", "--bare", &id, "-o", "-", "--format", format, "--accept-loss"];
        sandbox.larder(words).ended(0).stdout
    };
    let formats = ["tar", "tar.zst", "zip"];
    let before = formats.map(pack);
    fs::write(tree.join("small"), "other words").unwrap();
    sandbox.snapshot(&tree, "d").done();
    sandbox.larder(["key", "rotate"]).done();
    sandbox.larder(["gc"]).done();
    assert!(formats.map(pack) == before, "another snapshot, other keys, other blocks: the same bytes");
    // What is mounted is what is exported.
    let mounted = Mounted::new(&sandbox, "mnt", &[]);
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    fs::write(sandbox.path("pack.tar"), &before[0]).unwrap();
    Ran::of(Command::new("tar").arg("-C").arg(&out).arg("-xpf").arg(sandbox.path("pack.tar"))).done();
    compare(&model(&out), &model(&mounted.point.join("snapshots").join(&id[..16]))).unwrap();
}
