//! repair and heal: what can be made anew is, what is damaged is set aside, what is lost comes from elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::behind::tables;
use crate::sandbox::{Model, Sandbox, compare, copy_tree, model, noise};

/// A store with two snapshots of a folder, and that folder.
struct Stage {
    sandbox: Sandbox,
    source: PathBuf,
    expected: Model,
}

impl Stage {
    fn new() -> Self {
        let sandbox = Sandbox::with_store();
        let source = sandbox.path("source");
        fs::create_dir_all(source.join("folder")).unwrap();
        fs::write(source.join("long"), noise(1, 1_500_000)).unwrap();
        for turn in 0..30 {
            fs::write(source.join("folder").join(format!("file{turn}")), noise(turn + 10, 900)).unwrap();
        }
        sandbox.snapshot(&source, "d").done();
        fs::write(source.join("new"), noise(2, 30_000)).unwrap();
        sandbox.snapshot(&source, "d").done();
        let expected = model(&source);
        Self { sandbox, source, expected }
    }

    /// The table files that hold blocks of a kind.
    fn block_files(&self, kind: u8) -> Vec<PathBuf> {
        let holds = |path: &PathBuf| fs::read(path).unwrap().windows(5).any(|w| w == [b'L', b'B', b'K', b'1', kind]);
        tables(&self.sandbox.store()).into_iter().filter(holds).collect()
    }

    /// The newest snapshot comes back as it was captured.
    fn comes_back(&self) -> Result<(), String> {
        let dest = self.sandbox.path("dest");
        let _ = fs::remove_dir_all(&dest);
        let ran = self.sandbox.larder(["restore", "latest", dest.to_str().unwrap()]);
        if ran.status == 0 { compare(&self.expected, &model(&dest)) } else { Err(ran.stderr) }
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x11;
    fs::write(file, bytes).unwrap();
}

fn stdout(ran: crate::sandbox::Ran) -> String {
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn a_whole_store_has_nothing_to_repair() {
    let stage = Stage::new();
    let plan = stdout(stage.sandbox.larder(["repair"]).ended(0));
    assert!(plan.starts_with("nothing to repair: "), "{plan}");
    let done = stage.sandbox.larder(["repair", "--apply", "--json"]).json();
    assert_eq!(
        (&done["needed"], &done["rebuild"], &done["aside"]),
        (&false.into(), &false.into(), &serde_json::Value::Null)
    );
    assert!(!stage.sandbox.store().join("damaged").exists());
    stage.sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn what_was_in_a_damaged_block_is_stored_anew_after_a_repair() {
    let stage = Stage::new();
    let file = stage.block_files(1).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let before = fs::read(&file).unwrap();
    flip(&file, before.len() / 2);
    let damaged = fs::read(&file).unwrap();
    let capture = || {
        let words = ["snapshot", stage.source.to_str().unwrap(), "--dataset", "d", "--force-read"];
        stage.sandbox.larder(words).done();
    };
    // The index claims it: a capture stores nothing.
    capture();
    let _ran = stage.sandbox.larder(["verify"]).ended(13);
    let plan = stage.sandbox.larder(["repair", "--plan"]).ended(13);
    assert!(String::from_utf8_lossy(&plan.stdout).contains("would build the database anew"), "{plan:?}");
    assert!(!stage.sandbox.store().join("damaged").exists() && fs::read(&file).unwrap() == damaged);
    let done = stage.sandbox.larder(["repair", "--apply", "--json"]).ended(13);
    let done: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["damaged_blocks"].as_array().map(Vec::len), Some(1), "{done}");
    // Nothing is removed.
    let aside = PathBuf::from(done["aside"].as_str().unwrap());
    assert_eq!(fs::read(aside.join("db").join(file.file_name().unwrap())).unwrap(), damaged);
    let verified = stage.sandbox.larder(["verify", "--read-data", "--json"]).ended(13);
    let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    let findings = verified["findings"].as_array().unwrap();
    assert!(findings.iter().all(|f| f["why"] == "it is not in the index"), "{verified}");
    assert_eq!(verified["touched"][0]["paths"][0], "long", "{verified}");
    capture();
    stage.sandbox.larder(["verify", "--read-data"]).done();
    stage.comes_back().unwrap();
    assert!(stdout(stage.sandbox.larder(["repair"]).ended(0)).starts_with("nothing to repair"));
}

#[test]
fn every_table_file_can_be_hurt_anywhere_and_the_rest_is_had_back() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let whole = stage.sandbox.path("whole");
    copy_tree(&store, &whole);
    let names: Vec<_> =
        tables(&stage.sandbox.store()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let blocks: Vec<_> = [1, 2].iter().flat_map(|kind| stage.block_files(*kind)).collect();
    let (mut repaired, mut lost) = (0, 0);
    for (at, name) in names.iter().enumerate() {
        for place in [at % 3, 3] {
            fs::remove_dir_all(&store).unwrap();
            copy_tree(&whole, &store);
            let file = store.join("db").join(name);
            let len = fs::metadata(&file).unwrap().len() as usize;
            match place {
                0 => flip(&file, len / 2),
                1 => flip(&file, 40),
                2 => flip(&file, len - 100),
                _ => fs::remove_file(&file).unwrap(),
            }
            let ran = stage.sandbox.larder(["repair", "--apply"]);
            let what = format!("place {place} of {name:?}: {}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
            assert!([0, 13].contains(&ran.status), "{what}");
            let verified = stage.sandbox.larder(["verify", "--read-data"]);
            // Nothing is told as damaged but what is missing: the database itself is whole.
            let text = String::from_utf8_lossy(&verified.stdout).into_owned();
            assert!(!text.contains("checksum") && !text.contains(".sst"), "{what}\n{text}{}", verified.stderr);
            let back = stage.comes_back();
            if verified.status == 0 {
                repaired += 1;
                back.unwrap_or_else(|why| panic!("{what}\n{why}"));
            } else {
                lost += 1;
                assert!(ran.status == 13, "{what}\n{text}");
            }
            let is_block = blocks.iter().any(|path| path.file_name() == Some(name));
            assert!(
                verified.status == 0
                    || is_block
                    || text.contains("manifest")
                    || text.contains("log")
                    || text.contains("dataset"),
                "{what}\n{text}"
            );
        }
    }
    println!(
        "{} files hurt in 2 ways each: {repaired} times all was had back, {lost} times something was lost",
        names.len()
    );
    assert!(repaired > lost, "{repaired} {lost}");
}

#[test]
fn a_hurt_file_takes_no_entry_and_no_manifest_of_another_along() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let (sandbox, whole) = (&stage.sandbox, stage.sandbox.path("whole"));
    let id = sandbox.larder(["list", "--json"]).ids().remove(0);
    sandbox.larder(["hold", &id, "--reason", "a case"]).done();
    sandbox.larder(["policy", "set", "d", "--keep-last", "7"]).done();
    // Each from here on is in a file of its own, behind those.
    sandbox.snapshot(&stage.source, "other").done();
    copy_tree(&store, &whole);
    let names: Vec<_> =
        tables(&stage.sandbox.store()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let mut lost = Vec::new();
    for name in &names {
        for removed in [false, true] {
            fs::remove_dir_all(&store).unwrap();
            copy_tree(&whole, &store);
            let file = store.join("db").join(name);
            if removed {
                fs::remove_file(&file).unwrap();
            } else {
                flip(&file, 60);
            }
            let ran = sandbox.larder(["repair", "--apply"]);
            assert!([0, 13].contains(&ran.status), "{name:?}: {}", ran.stderr);
            let told = stdout(ran);
            let found: Vec<_> =
                told.lines().filter(|line| line.starts_with("lost for good")).map(str::to_owned).collect();
            // Each file has one row of the log or one manifest.
            assert!(found.len() <= 1, "{name:?}: {found:#?}");
            lost.extend(found);
        }
    }
    for what in ["entry 3", "entry 4", "manifest"] {
        let count = lost.iter().filter(|line| line.contains(what)).count();
        assert!(count >= 2, "{what}: {lost:#?}");
    }
}

#[test]
fn header_keys_and_tip_come_from_their_copies() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let key = fs::read_dir(store.join("keys")).unwrap().next().unwrap().unwrap().path();
    for file in [store.join("header"), key, store.join("tip")] {
        let whole = fs::read(&file).unwrap();
        for turn in 0..3 {
            match turn {
                0 => fs::remove_file(&file).unwrap(),
                1 => flip(&file, whole.len() / 2),
                _ => fs::write(&file, &whole[..20]).unwrap(),
            }
            let damaged = fs::read(&file).ok();
            let plan = stage.sandbox.larder(["repair"]).ended(13);
            assert!(String::from_utf8_lossy(&plan.stdout).contains("would "), "{} {turn}: {plan:?}", file.display());
            assert_eq!(fs::read(&file).ok(), damaged, "a plan changes nothing");
            stage.sandbox.larder(["repair", "--apply"]).done();
            assert_eq!(fs::read(&file).unwrap(), whole, "{} {turn}", file.display());
            stage.sandbox.larder(["verify"]).done();
        }
    }
    stage.comes_back().unwrap();
}

#[test]
fn a_repair_that_is_killed_leaves_the_store_no_worse() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let index = tables(&stage.sandbox.store()).into_iter().find(|path| {
        let bytes = fs::read(path).unwrap();
        !bytes.windows(4).any(|w| w == b"LBK1") && bytes.windows(6).any(|w| w == b"chunks")
    });
    let index = index.unwrap();
    let len = fs::metadata(&index).unwrap().len() as usize;
    flip(&index, len / 3);
    let lists = || stage.sandbox.larder(["list", "--json"]).ids();
    let ids = lists();
    let (mut killed, mut done) = (0, 0);
    for turn in 0..8u32 {
        let copy = stage.sandbox.path("killed");
        let _ = fs::remove_dir_all(&copy);
        copy_tree(&store, &copy);
        let mut child = stage.sandbox.client().alone();
        let mut child = child.arg("--store").arg(&copy).args(["repair", "--apply"]);
        child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = child.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(20 + turn * 110)));
        if child.try_wait().unwrap().is_none() {
            killed += 1;
        } else {
            done += 1;
        }
        let _ = child.kill();
        child.wait().unwrap();
        let run = |words: &[&str]| stage.sandbox.client().run(&copy, words);
        assert_eq!(run(&["list", "--json"]).ids(), ids, "turn {turn}");
        run(&["repair", "--apply"]).done();
        run(&["verify", "--read-data"]).done();
    }
    println!("{killed} repairs killed, {done} were done before");
    assert!(killed > 0);
}

#[test]
fn repair_waits_for_no_writer_that_it_is_told_not_to_wait_for() {
    let stage = Stage::new();
    let lock = fs::File::open(stage.sandbox.store().join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let _ran = stage.sandbox.larder(["repair", "--apply", "--no-wait"]).ended(11);
    stage.sandbox.larder(["repair"]).done();
}

/// A database that does not open is put together under the lock.
#[test]
fn repair_waits_for_who_writes_though_the_database_does_not_open() {
    let stage = Stage::new();
    fs::write(stage.sandbox.store().join("db/CURRENT"), "rubbish").unwrap();
    let lock = fs::File::open(stage.sandbox.store().join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let _ran = stage.sandbox.larder(["repair", "--apply", "--no-wait"]).ended(11);
    std::thread::scope(|scope| {
        let repair = scope.spawn(|| stage.sandbox.larder(["repair", "--apply"]));
        std::thread::sleep(std::time::Duration::from_millis(700));
        assert!(!repair.is_finished(), "it waits");
        drop(lock);
        repair.join().unwrap().done();
    });
    stage.comes_back().unwrap();
}

#[test]
fn lost_contents_come_from_the_folder_and_lost_names_from_a_copy_of_the_store() {
    let stage = Stage::new();
    let copy = stage.sandbox.path("copy");
    copy_tree(&stage.sandbox.store(), &copy);
    // A copy is older than the store, as a rule.
    stage.sandbox.snapshot(&stage.source, "again").done();
    for kind in [1, 2] {
        for file in stage.block_files(kind) {
            let len = fs::metadata(&file).unwrap().len() as usize;
            flip(&file, len / 2);
        }
        let _ran = stage.sandbox.larder(["repair", "--apply"]).ended(13);
        let _ran = stage.sandbox.larder(["verify"]).ended(13);
        let elsewhere = stage.sandbox.path("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        fs::write(elsewhere.join("other"), noise(77, 5000)).unwrap();
        let nothing = stage.sandbox.larder(["heal", elsewhere.to_str().unwrap(), "--json"]).ended(13);
        let nothing: serde_json::Value = serde_json::from_slice(&nothing.stdout).unwrap();
        assert!(nothing["missing"].as_u64() > Some(0) && nothing["found"] == 0, "{nothing}");
        assert!(nothing["touched"].as_array().is_some_and(|t| !t.is_empty()), "{nothing}");
        let from = if kind == 1 { &stage.source } else { &copy };
        let healed = stage.sandbox.larder(["heal", from.to_str().unwrap(), "--json"]).json();
        assert_eq!((&healed["chunks_left"], &healed["pages_left"]), (&0.into(), &0.into()), "{healed}");
        stage.sandbox.larder(["verify", "--read-data"]).done();
        stage.comes_back().unwrap();
    }
    assert!(stdout(stage.sandbox.larder(["heal", copy.to_str().unwrap()]).ended(0)).contains("nothing is missing"));
    stage.sandbox.larder(["heal", "/nowhere"]).refused(10, "cannot read");
    let other = stage.sandbox.path("other");
    stage.sandbox.client().run(&other, ["init"]).done();
    stage.sandbox.larder(["heal", other.to_str().unwrap()]).refused(2, "mount");
}
