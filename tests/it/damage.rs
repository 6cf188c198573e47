//! Damage to any file of a store: told, or harmless.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::crash::{Stage, Trial, asked_points, oracle};
use crate::sandbox::{Client, Model, Ran, Sandbox, compare, model, noise, pick, seed};

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    FlipAt(u64),
    CutTo(u64),
    Remove,
}

fn damages(len: u64, seed: u64, all: bool) -> Vec<Damage> {
    if len == 0 {
        return vec![Damage::Remove];
    }
    let flips = if all { 24 } else { 3 };
    let mut list =
        vec![Damage::Remove, Damage::CutTo(len - 1), Damage::CutTo(len / 2), Damage::CutTo(0), Damage::FlipAt(len - 1)];
    list.extend((0..flips).map(|turn| Damage::FlipAt(pick(seed, turn, len))));
    if all { list } else { vec![list[0], list[1 + pick(seed, 50, 3) as usize], list[5], list[6]] }
}

fn apply(file: &Path, damage: Damage) {
    match damage {
        Damage::Remove => fs::remove_file(file).unwrap(),
        Damage::CutTo(len) => fs::OpenOptions::new().write(true).open(file).unwrap().set_len(len).unwrap(),
        Damage::FlipAt(at) => {
            let mut bytes = fs::read(file).unwrap();
            bytes[at as usize] ^= 0x10;
            fs::write(file, bytes).unwrap();
        }
    }
}

/// After damage: each command ends with 0 and gives what was captured, or with a failure that says why; and if anything is
/// lost, list or verify say so. Wrong bytes and silence are what must not be.
fn check_damage(
    client: &Client,
    store: &Path,
    known: &BTreeMap<String, Model>,
    file: &Path,
    dest: &Path,
) -> Result<(), String> {
    // A changed key object may not be recognised as one's own; a changed version byte is that of a newer version.
    let allowed: &[i32] = match file.components().next().and_then(|c| c.as_os_str().to_str()) {
        Some("keys") => &[12, 13],
        Some("header") => &[12, 13, 14],
        _ => &[13],
    };
    let run = |args: &[&str]| -> Result<(bool, Ran), String> {
        let ran = oracle(client, store, args);
        if args[0] == "list" || ran.stderr.contains("unrecognized") || std::env::var_os("LARDER_CRASH_ORACLE").is_none()
        {
            let told = !ran.stderr.trim().is_empty() || String::from_utf8_lossy(&ran.stdout).contains("message");
            if ran.status != 0 && !(allowed.contains(&ran.status) && told) {
                let text = String::from_utf8_lossy(&ran.stdout).into_owned();
                return Err(format!("{} gives {}: {}{text}", args[0], ran.status, ran.stderr.trim()));
            }
        }
        Ok((ran.status == 0, ran))
    };
    let (listed, list) = run(&["list", "--json"])?;
    let (verified, _) = run(&["verify", "--read-data"])?;
    if listed && verified {
        let ids = list.ids();
        if let Some(lost) = known.keys().find(|id| !ids.contains(id)) {
            return Err(format!("silence: {lost} is missing and neither list nor verify says so"));
        }
    }
    for (id, expected) in known {
        let (restored, _) = run(&["restore", id, dest.to_str().unwrap()])?;
        if restored {
            compare(expected, &model(dest)).map_err(|why| format!("wrong bytes in {id}: {why}"))?;
        } else if listed && verified {
            return Err(format!("{id} cannot be restored and neither list nor verify says so"));
        }
        let _ = fs::remove_dir_all(dest);
    }
    Ok(())
}

#[test]
fn damage_to_any_file_of_a_store_is_told_or_does_no_harm() {
    let stage = Stage::second_snapshot();
    stage.sandbox.snapshot(&stage.tree, "d").done();
    let ids = stage.sandbox.larder(["list", "--json"]).ids();
    let mut known = stage.acknowledged.clone();
    known.insert(ids[1].clone(), stage.expected.clone());
    let (seed, all) = (seed(), asked_points().is_some());
    let store = stage.sandbox.store();
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![store.clone()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = item.path();
            if path.is_dir() { folders.push(path) } else { files.push(path.strip_prefix(&store).unwrap().to_owned()) }
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for (at, file) in (0u64..).zip(&files) {
        let len = fs::metadata(store.join(file)).unwrap().len();
        cases.extend(damages(len, seed ^ at, all).into_iter().map(|damage| (file, damage)));
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for worker in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let (next, wrong, cases, known, stage) = (&next, &wrong, &cases, &known, &stage);
            scope.spawn(move || {
                while let Some((file, damage)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // One who knows the store, and one who has never seen it.
                    for seen in [true, false] {
                        let trial = Trial::begin(stage);
                        if !seen {
                            fs::remove_dir_all(trial.client.state()).unwrap();
                        }
                        apply(&trial.store.join(file), *damage);
                        let dest = trial.dir.path().join(format!("restored{worker}"));
                        if let Err(why) = check_damage(&trial.client, &trial.store, known, file, &dest) {
                            let who = if seen { "seen before" } else { "never seen" };
                            wrong.lock().unwrap().push(format!("{} {damage:?}, {who}: {why}", file.display()));
                        }
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    println!("{} cases of damage to {} files, {} findings", cases.len(), files.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A store with so many snapshots of a folder, and that folder: its one file is another each time.
fn captured(snapshots: u64) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..snapshots {
        fs::write(source.join("file"), noise(turn, 5000)).unwrap();
        sandbox.snapshot(&source, "source").done();
    }
    (sandbox, source)
}

/// The MANIFEST that counts.
fn manifest(store: &Path) -> PathBuf {
    let name = fs::read_to_string(store.join("db/CURRENT")).unwrap();
    store.join("db").join(name.trim())
}

#[test]
fn rubbish_behind_what_was_synced_of_the_manifest_is_cut_off() {
    let (sandbox, source) = captured(3);
    for len in [1, 6, 7, 8, 100, 40_000] {
        let ids = sandbox.larder(["list", "--json"]).ids();
        let path = manifest(&sandbox.store());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &noise(len, len as usize)].concat()).unwrap();
        assert_eq!(sandbox.larder(["list", "--json"]).ids(), ids, "{len} bytes of rubbish");
        sandbox.larder(["verify", "--read-data"]).done();
        // What is written next to the end stays too.
        fs::write(source.join("file"), noise(100 + len, 5000)).unwrap();
        sandbox.snapshot(&source, "again").done();
    }
    // RocksDB's reader goes round for ever at sorts of records that only recycled logs have.
    for sort in [5, 6, 7, 8, 11, 131] {
        let rubbish = [&[9, 9, 9, 9, 0, 1, sort][..], &noise(u64::from(sort), 400)].concat();
        let ids = sandbox.larder(["list", "--json"]).ids();
        let logs = fs::read_dir(sandbox.store().join("db")).unwrap().map(|item| item.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|e| e == "log"));
        for path in logs.chain([manifest(&sandbox.store())]) {
            let whole = fs::read(&path).unwrap();
            fs::write(&path, [&whole[..], &rubbish].concat()).unwrap();
            assert_eq!(sandbox.larder(["list", "--json"]).ids(), ids, "{sort} behind {}", path.display());
        }
        fs::write(source.join("file"), noise(1000 + u64::from(sort), 5000)).unwrap();
        sandbox.snapshot(&source, "again").done();
    }
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn a_mending_that_was_killed_costs_nothing() {
    let sandbox = Sandbox::with_store();
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    for turn in 0..3 {
        fs::write(tree.join("file"), noise(turn, 50_000)).unwrap();
        sandbox.snapshot(&tree, "d").done();
    }
    let ids = sandbox.larder(["list", "--json"]).ids();
    let db = sandbox.store().join("db");
    let name = fs::read_to_string(db.join("CURRENT")).unwrap().trim().to_owned();
    let whole = fs::read(db.join(&name)).unwrap();
    for part in [2, 3, 8] {
        // As it is between two trials: the whole one kept, a cut one in its place.
        fs::write(sandbox.store().join(format!("tmp/{name}.whole")), &whole).unwrap();
        fs::write(db.join(&name), &whole[..whole.len() / part]).unwrap();
        assert_eq!(sandbox.larder(["list", "--json"]).ids(), ids, "cut to 1/{part}");
        assert!(fs::read(db.join(&name)).unwrap() == whole);
    }
    fs::write(sandbox.store().join(format!("tmp/{name}.whole")), &whole).unwrap();
    fs::write(db.join(&name), &whole[..whole.len() / 2]).unwrap();
    sandbox.snapshot(&tree, "d").done();
    sandbox.larder(["verify", "--read-data"]).done();
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 4);
}

#[test]
fn a_manifest_damaged_in_its_middle_is_left_as_it_is() {
    let (sandbox, _) = captured(1);
    let path = manifest(&sandbox.store());
    let whole = fs::read(&path).unwrap();
    for at in [10, whole.len() / 2] {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        fs::write(&path, &changed).unwrap();
        let _ = sandbox.larder(["list"]).ended(13);
        assert_eq!(fs::read(&path).unwrap(), changed, "byte {at}");
    }
    fs::write(&path, whole).unwrap();
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn a_store_that_lost_its_end_is_damaged_also_for_a_client_that_has_seen_it() {
    let (sandbox, source) = captured(3);
    let ids = sandbox.larder(["list", "--json"]).ids();
    // Cut so deep that the newest snapshot is gone, and not so deep that nothing opens.
    let path = manifest(&sandbox.store());
    let whole = fs::read(&path).unwrap();
    let cut = (1..whole.len()).rev().step_by(50).find(|end| {
        fs::write(&path, &whole[..*end]).unwrap();
        sandbox.larder(["show", "latest"]).status == 13 && sandbox.larder(["ls", &ids[0]]).status == 0
    });
    assert!(cut.is_some(), "no cut of the MANIFEST loses the end alone");
    sandbox.larder(["list"]).refused(13, "acknowledged and is gone");
    sandbox.larder(["show", "latest"]).refused(13, "acknowledged and is gone");
    sandbox.larder(["snapshot", source.to_str().unwrap()]).refused(13, "acknowledged and is gone");
    let _ran = sandbox.larder(["cat", &format!("{}:file", ids[0])]).ended(0);
    // A store set back as a whole, its tip too, is another matter: only the client's memory tells.
    fs::write(&path, &whole).unwrap();
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), ids);
}

#[test]
fn one_file_that_cannot_be_opened_takes_nothing_else_along() {
    let (sandbox, source) = captured(3);
    let ids = sandbox.larder(["list", "--json"]).ids();
    // Those that hold contents are longer than one content is.
    let mut files: Vec<_> =
        fs::read_dir(sandbox.store().join("db")).unwrap().map(|item| item.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "sst") && fs::metadata(p).unwrap().len() > 5000);
    assert_eq!(files.len(), 3);
    let mut lost = Vec::new();
    for file in &files {
        let whole = fs::read(file).unwrap();
        for damage in [Damage::FlipAt(whole.len() as u64 - 1), Damage::CutTo(100), Damage::Remove] {
            apply(file, damage);
            assert_eq!(sandbox.larder(["list", "--json"]).ids(), ids, "{damage:?}");
            let cats = ids.iter().map(|id| sandbox.larder(["cat", &format!("{id}:file")]));
            let cats: Vec<_> = cats.collect();
            let bad: Vec<_> = (0..3).filter(|at| cats[*at].status != 0).collect();
            assert_eq!(bad.len(), 1, "{damage:?}: {}", cats[bad[0]].stderr);
            for (turn, cat) in cats.iter().enumerate().filter(|(turn, _)| *turn != bad[0]) {
                assert!(cat.stdout == noise(turn as u64, 5000), "{damage:?}: wrong bytes");
            }
            let _ran = sandbox.larder(["verify"]).ended(13);
            fs::write(source.join("file"), noise(9, 5000)).unwrap();
            let _ran = sandbox.larder(["snapshot", source.to_str().unwrap()]).ended(13);
            fs::write(file, &whole).unwrap();
            lost.push(bad[0]);
        }
    }
    lost.dedup();
    assert_eq!(lost.len(), 3, "each file holds another snapshot's content");
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn a_capture_that_meets_damage_tells_what_is_damaged() {
    let (sandbox, source) = captured(2);
    for turn in 0..600u64 {
        fs::write(source.join(format!("f{turn}")), noise(turn, 3000)).unwrap();
    }
    sandbox.snapshot(&source, "source").done();
    let mut files: Vec<_> =
        fs::read_dir(sandbox.store().join("db")).unwrap().map(|item| item.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "sst"));
    let mut stopped = 0;
    for (at, file) in (1..).zip(&files) {
        // Some are merged while others are tried.
        let Ok(whole) = fs::read(file) else { continue };
        apply(file, Damage::FlipAt(40));
        for turn in 0..600u64 {
            fs::write(source.join(format!("f{turn}")), noise(at * 1000 + turn, 3000)).unwrap();
        }
        let ran = sandbox.larder(["snapshot", source.to_str().unwrap()]);
        if ran.status != 0 {
            stopped += 1;
            assert!(ran.status == 13 && ran.stderr.contains("damaged: "), "{}: {}", file.display(), ran.stderr);
        }
        if file.exists() {
            fs::write(file, &whole).unwrap();
        }
    }
    assert!(stopped > 0, "no damage stood in the way of a capture");
}

#[test]
fn without_the_log_snapshots_are_had_by_their_ids() {
    let (sandbox, _) = captured(3);
    let ids = sandbox.larder(["list", "--json"]).ids();
    let files = fs::read_dir(sandbox.store().join("db")).unwrap().map(|item| item.unwrap().path());
    let mut unreadable = 0;
    for file in files.filter(|p| p.extension().is_some_and(|e| e == "sst")) {
        let whole = fs::read(&file).unwrap();
        apply(&file, Damage::FlipAt(whole.len() as u64 - 1));
        let list = sandbox.larder(["list", "--json"]);
        let verified = sandbox.larder(["verify", "--json"]).ended(13);
        let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap_or_default();
        // Of the files that the log is in; one without which nothing opens has no report.
        if list.status == 13 && verified["unlisted"].as_array().is_some_and(|list| !list.is_empty()) {
            unreadable += 1;
            // The one whose entry is in the file; all others are in the list.
            let unlisted = verified["unlisted"].as_array().unwrap();
            let list = String::from_utf8(list.stdout).unwrap();
            for id in &ids {
                let is_listed = list.contains(&format!("\"id\":\"{id}\""));
                assert_ne!(is_listed, unlisted.iter().any(|other| other == id), "{id}: {list}");
            }
            for (turn, id) in (0..).zip(&ids) {
                let read = sandbox.larder(["cat", &format!("{}:file", &id[..12])]).ended(0);
                assert!(read.stdout == noise(turn, 5000), "{id}");
            }
        }
        fs::write(&file, &whole).unwrap();
    }
    assert!(unreadable >= ids.len(), "{unreadable} files held the log");
    sandbox.larder(["verify", "--read-data"]).done();
}
