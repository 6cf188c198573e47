//! Sealing anew what is under older identities of the store: nothing is left that a former owner could open, nothing is lost.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use larder::codec::{parse_identities, unwrap};
use larder::format::{BlockHeader, BlockKind, EpochRecord, Family, split_mac};

use crate::behind::rows;
use crate::crash::{Shimmed, asked_points, run_shimmed};
use crate::keys::{Nobody, capture, listed, member, named_member, record_of, restores};
use crate::mounting::Mounted;
use crate::sandbox::{Ran, Sandbox, compare, copy_tree, model, noise, pick, seed};

/// The database of a store, to look at.
fn database(store: &Path) -> rocksdb::DB {
    let names = Family::ALL.map(|f| f.name().to_owned());
    rocksdb::DB::open_cf_for_read_only(&rocksdb::Options::default(), store.join("db"), names, false).unwrap()
}

/// A store with a former owner's key still in it, two datasets, a hold with a reason, and the identities of its time.
struct Stage {
    sandbox: Sandbox,
    trees: Vec<std::path::PathBuf>,
    former: crate::sandbox::Client,
    object: (std::path::PathBuf, Vec<u8>),
    identities: Vec<String>,
    sealed: Vec<Vec<u8>>,
}

impl Stage {
    fn new() -> Self {
        let sandbox = Sandbox::with_store();
        let former = named_member(&sandbox, "owner", "former");
        let writer = member(&sandbox, "writer");
        let mut trees = Vec::new();
        for turn in 0..3 {
            let tree = sandbox.path(format!("tree{turn}"));
            fs::create_dir_all(tree.join("folder")).unwrap();
            fs::write(tree.join("folder/file"), noise(turn, 2_000_000)).unwrap();
            (0..40).for_each(|n| fs::write(tree.join(format!("f{n}")), noise(turn * 100 + n, 3000)).unwrap());
            fs::write(tree.join("both"), noise(77, 50_000)).unwrap();
            capture_as(&writer, &sandbox, &tree, &format!("w{turn}"));
            capture_as(sandbox.client(), &sandbox, &tree, &format!("d{turn}"));
            trees.push(tree);
        }
        sandbox.larder(["hold", "d1", "--reason", "a reason that nobody else may read"]).done();
        sandbox.larder(["policy", "set", "d2", "--keep-last", "3"]).done();
        let (record, object) = record_of(&former, &sandbox.store());
        let object = (object.clone(), fs::read(object).unwrap());
        let identities = record.page_identities.iter().chain(&record.chunk_identities).cloned().collect();
        let db = database(&sandbox.store());
        let manifests = rows(&db, Family::Manifests).into_iter().chain(rows(&db, Family::Datasets));
        let records = rows(&db, Family::Epochs).into_iter();
        let sealed = manifests.chain(records).map(|(_, value)| value[value.len() - 40..].to_vec()).collect();
        Self { sandbox, trees, former, object, identities, sealed }
    }

    /// What an old identity opens in the database.
    fn opened_by_former(&self, store: &Path) -> usize {
        let text = self.identities.join("\n");
        let identities = parse_identities(text.as_bytes(), "identities", Arc::new(Nobody)).unwrap();
        let db = database(store);
        let notes =
            [Family::Data, Family::Tree].into_iter().flat_map(|family| rows(&db, family)).filter_map(|(_, row)| {
                let (header, _, content) = BlockHeader::parse(&row).unwrap();
                (header.kind == BlockKind::EpochNote).then(|| content.to_vec())
            });
        let records = rows(&db, Family::Epochs).into_iter().map(|(_, row)| row.to_vec()).chain(notes);
        let opens = |wrapped: &[u8]| unwrap(wrapped, &identities).is_ok();
        records
            .map(|record| EpochRecord::from_bytes(split_mac(&record, "epoch record").unwrap().0).unwrap())
            .map(|record| usize::from(opens(&record.page_key)) + usize::from(opens(&record.chunk_key)))
            .sum()
    }

    /// Files of the store in which something lies that was sealed before.
    fn files_with_old_bytes(&self, dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for item in fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()) {
            if item.is_dir() {
                found.extend(self.files_with_old_bytes(&item));
            } else if let Ok(bytes) = fs::read(&item)
                && self.sealed.iter().any(|old| bytes.windows(old.len()).any(|window| window == old))
            {
                found.push(item.display().to_string());
            }
        }
        found
    }

    #[track_caller]
    fn is_whole(&self, store: &Path) {
        let client = self.sandbox.client();
        client.run(store, ["verify", "--read-data"]).done();
        for (turn, tree) in self.trees.iter().enumerate() {
            for dataset in [format!("d{turn}"), format!("w{turn}")] {
                let dest = tempfile::tempdir().unwrap();
                restores(client, store, &dataset, tree, &dest.path().join("dest"));
            }
        }
    }
}

fn capture_as(client: &crate::sandbox::Client, sandbox: &Sandbox, tree: &Path, dataset: &str) {
    client.run(&sandbox.store(), ["snapshot", tree.to_str().unwrap(), "--dataset", dataset]).done();
}

#[test]
fn a_former_owner_opens_nothing_of_a_store_that_was_sealed_anew() {
    let stage = Stage::new();
    let (sandbox, store) = (&stage.sandbox, stage.sandbox.store());
    assert!(stage.opened_by_former(&store) > 20 && !stage.files_with_old_bytes(&store.join("db")).is_empty());
    sandbox.larder(["key", "remove", "former"]).done();
    assert!(stage.opened_by_former(&store) > 20, "what is there stays until it is sealed anew");
    let json = sandbox.larder(["key", "reseal", "--json"]).json();
    let number = |name: &str| json[name].as_u64().unwrap();
    assert!(number("blocks") >= 9 && number("moved_bytes") > 6_000_000 && number("rows") == 12, "{json}");
    assert!(number("epochs_removed") > 5 && number("epochs_rewrapped") > 1 && number("epochs_left") == 0, "{json}");
    assert_eq!(stage.opened_by_former(&store), 0);
    assert_eq!(stage.files_with_old_bytes(&store), [""; 0]);
    assert_eq!(listed(sandbox.client(), &store)["epochs_under_older_identities"], 0);
    stage.is_whole(&store);
    // With the object back that the former owner kept.
    let copy = sandbox.path("copy");
    copy_tree(&store, &copy);
    fs::write(copy.join("keys").join(stage.object.0.file_name().unwrap()), &stage.object.1).unwrap();
    for command in [&["ls", "d0"][..], &["cat", "d0:both"], &["restore", "d0", "dest"], &["diff", "d0", "d1"]] {
        let ran = stage.former.run(&copy, command);
        assert!(ran.status == 12 || ran.status == 10, "{command:?}: {} {}", ran.status, ran.stderr);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "", "{command:?}");
    }
    let python = std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let read = |client: &crate::sandbox::Client, words: &[&str]| {
        let mut reader = client.command(&python);
        reader.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader.py")).arg(&copy);
        Ran::of(reader.arg("--identity").arg(client.identity()).args(words))
    };
    assert_ne!(read(&stage.former, &["extract", "latest", sandbox.path("read").to_str().unwrap()]).status, 0);
    assert!(!sandbox.path("read").join("both").exists());
    let checked = read(sandbox.client(), &["check"]).json();
    assert_eq!((&checked["findings"], &checked["snapshots"]), (&0.into(), &6.into()), "{checked}");
    // What the log says is still read by those who may, and captures go on.
    let held = sandbox.larder(["list", "--json"]).lines();
    assert!(serde_json::to_string(&held).unwrap().contains("nobody else may read"), "{held:?}");
    capture_as(sandbox.client(), sandbox, &stage.trees[0], "d0");
    sandbox.larder(["gc"]).done();
    stage.is_whole(&store);
    let again = sandbox.larder(["key", "reseal"]).ended(0);
    assert!(again.stderr.contains("nothing is under older identities"), "{}", again.stderr);
}

#[test]
fn a_rotation_and_sealing_anew_are_one_command() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let json = stage.sandbox.larder(["key", "remove", "former", "--reseal", "--json"]).json();
    assert!(
        json["resealed"]["blocks"].as_u64().unwrap() >= 9 && json["rotated"]["epochs"].as_u64() > Some(5),
        "{json}"
    );
    assert_eq!(stage.opened_by_former(&store), 0);
    // What the former owner can still have is told as it is now.
    let known = json["still_known"].to_string();
    assert!(known.contains("still reads in copies of the store made before it was sealed anew"), "{known}");
    assert!(known.contains("nothing opens with these keys, but for reasons in old entries of the log"), "{known}");
    assert!(known.contains("the id key, which never changes") && !known.contains("may still read"), "{known}");
    stage.is_whole(&store);
    stage.sandbox.larder(["key", "rotate", "--reseal"]).done();
    stage.is_whole(&store);
    stage.sandbox.larder(["key", "remove", "writer", "--reseal", "--no-rotate"]).refused(2, "--no-rotate");
    let catalog = member(&stage.sandbox, "catalog");
    catalog.run(&store, ["key", "reseal"]).refused(12, "owner key");
}

/// What a snapshot brought is told of moved blocks as well as of others.
#[test]
fn what_a_snapshot_brought_is_still_told() {
    let sandbox = Sandbox::with_store();
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), noise(1, 300_000)).unwrap();
    sandbox.snapshot(&tree, "d").done();
    fs::write(tree.join("b"), noise(2, 400_000)).unwrap();
    sandbox.snapshot(&tree, "d").done();
    let told = || sandbox.larder(["why-new", "d", "--percent", "0", "--json"]).json()["paths"].clone();
    let before = told();
    assert!(before.to_string().contains("400000"), "{before}");
    sandbox.larder(["key", "rotate", "--reseal"]).done();
    assert_eq!(told(), before);
}

#[test]
fn what_is_damaged_stays_and_is_told_and_the_rest_is_sealed_anew() {
    let sandbox = Sandbox::with_store();
    let store = sandbox.store();
    let tree = |turn: u64| sandbox.path(format!("tree{turn}"));
    for turn in 0..3 {
        fs::create_dir(tree(turn)).unwrap();
        fs::write(tree(turn).join("file"), noise(turn, 600_000)).unwrap();
        capture_as(sandbox.client(), &sandbox, &tree(turn), &format!("d{turn}"));
    }
    let block = rows(&database(&store), Family::Data).into_iter().find(|(_, row)| row.len() > 500_000).unwrap().1;
    let files = fs::read_dir(store.join("db")).unwrap().map(|item| item.unwrap().path());
    let damaged = files.filter(|file| {
        let mut bytes = fs::read(file).unwrap();
        let at = bytes.windows(64).position(|window| window == &block[1000..1064]);
        at.is_some_and(|at| {
            bytes[at] ^= 1;
            fs::write(file, bytes).is_ok()
        })
    });
    assert_eq!(damaged.count(), 1);
    assert_eq!(sandbox.larder(["verify"]).status, 13);
    named_member(&sandbox, "owner", "former");
    let removed = sandbox.larder(["key", "remove", "former", "--reseal"]).ended(3).stderr;
    assert!(removed.contains("may still read what was captured until now"), "not all was sealed anew: {removed}");
    for _ in 0..2 {
        let ran = sandbox.larder(["key", "reseal"]).ended(3);
        assert!(ran.stderr.contains("under older identities still"), "{}", ran.stderr);
    }
    // What is lost is what was.
    assert_eq!(sandbox.larder(["verify", "--read-data"]).status, 13);
    let intact = (0..3).filter(|turn| {
        let dest = sandbox.path(format!("dest{turn}"));
        let restored = sandbox.larder(["restore", &format!("d{turn}"), dest.to_str().unwrap()]);
        restored.status == 0 && compare(&model(&tree(*turn)), &model(&dest)).is_ok()
    });
    assert_eq!(intact.count(), 2);
    // When that is set aside and what needs it is given up, nothing is in the way.
    assert_eq!(sandbox.larder(["repair", "--apply"]).status, 13);
    sandbox.larder(["key", "reseal"]).refused(13, "not in the index");
    for turn in 0..3 {
        let (dest, dataset) = (sandbox.path(format!("again{turn}")), format!("d{turn}"));
        if sandbox.larder(["restore", &dataset, dest.to_str().unwrap()]).status != 0 {
            sandbox.larder(["forget", &dataset]).done();
        }
    }
    let again = sandbox.larder(["key", "reseal"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(again.stderr.contains("set aside by a repair"), "{}", again.stderr);
}

/// After a kill or an error at any operation everything is there, and the next run finishes it.
#[test]
fn sealing_anew_killed_anywhere_loses_nothing_and_is_finished_by_the_next() {
    let stage = Stage::new();
    stage.sandbox.larder(["key", "remove", "former"]).done();
    let (seed, mut tried) = (seed(), 0);
    let try_at = |mode: &str, at: u64| {
        let dir = tempfile::tempdir().unwrap();
        let (store, image) = (dir.path().join("store"), dir.path().join("image"));
        copy_tree(&stage.sandbox.store(), &store);
        let told = Shimmed { mode, errno: 5, at, image: &image, now: None };
        let (ran, log) = run_shimmed(stage.sandbox.client(), &store, &["key", "reseal"], told);
        (dir, store, ran, log.len() as u64)
    };
    let (_, _, ran, count) = try_at("count", 0);
    assert!(ran.status == 0 && count > 30, "{count}: {}", ran.stderr);
    let points: Vec<u64> = match asked_points() {
        Some(range) => (1..=count).filter(|at| range.contains(at)).collect(),
        None => (0..2).map(|turn| 1 + pick(seed, turn, count)).collect(),
    };
    for at in points {
        for mode in ["kill", "fail-once"] {
            tried += 1;
            let (_dir, store, ..) = try_at(mode, at);
            println!("{mode} at {at} of {count}");
            stage.is_whole(&store);
            let again = stage.sandbox.client().run(&store, ["key", "reseal"]);
            assert_eq!(again.status, 0, "{mode} at {at}: {}", again.stderr);
            assert_eq!(stage.opened_by_former(&store), 0, "{mode} at {at}");
            stage.is_whole(&store);
        }
    }
    println!("{tried} troubled runs of {count} operations");
}

#[test]
fn a_mount_and_whoever_reads_go_on_with_new_identities() {
    let stage = Stage::new();
    let (sandbox, store) = (&stage.sandbox, stage.sandbox.store());
    let mounted = Mounted::new(sandbox, "mnt", &[]);
    let at = |dataset: &str, file: &str| mounted.point.join("datasets").join(dataset).join("latest").join(file);
    let first = at("d0", "both");
    assert_eq!(fs::read(&first).unwrap(), noise(77, 50_000));
    sandbox.larder(["key", "remove", "former", "--reseal"]).done();
    for turn in 0..3 {
        let found = fs::read(at(&format!("d{turn}"), "folder/file")).unwrap();
        assert!(found == noise(turn, 2_000_000), "d{turn}");
    }
    sandbox.larder(["key", "rotate", "--reseal"]).done();
    for turn in 0..3 {
        let found = fs::read(at(&format!("w{turn}"), "folder/file")).unwrap();
        assert!(found == noise(turn, 2_000_000), "w{turn}");
    }
    fs::write(stage.trees[0].join("later"), "made later").unwrap();
    capture(sandbox.client(), &store, &stage.trees[0]).done();
    let later = mounted.point.join("datasets/d/latest/later");
    let found = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::read(&later).is_ok_and(|bytes| bytes == b"made later")
    });
    assert!(found, "{}", later.display());
}

/// A store fills most of a small disk: what is sealed anew finds room only as what was moved goes.
#[test]
fn sealing_anew_needs_little_room() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path("disk");
    fs::create_dir(&disk).unwrap();
    Ran::of(std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=150m", "tmpfs"]).arg(&disk)).done();
    let (store, tree) = (disk.join("store"), sandbox.path("tree"));
    fs::create_dir(&tree).unwrap();
    let larder = |words: &[&str]| sandbox.client().run(&store, words);
    larder(&["init"]).done();
    // In files of the database of which each can go by itself.
    for turn in 0..7 {
        fs::write(tree.join(format!("file{turn}")), noise(turn, 10_000_000)).unwrap();
        larder(&["snapshot", tree.to_str().unwrap(), "-d", "d"]).done();
    }
    let resealed = larder(&["key", "rotate", "--reseal"]);
    let whole = larder(&["verify", "--read-data"]);
    let under_old = larder(&["key", "list", "--json"]).json()["epochs_under_older_identities"].clone();
    Ran::of(std::process::Command::new("umount").arg(&disk)).done();
    assert_eq!(resealed.status, 0, "{}", resealed.stderr);
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    assert_eq!(under_old, 0);
}

/// Blocks whose items the index does not name look dead.
#[test]
fn what_the_index_has_lost_is_not_taken_for_dead() {
    let (sandbox, tree) = crate::keys::one_snapshot();
    let store = sandbox.store();
    let db = crate::behind::database(&store);
    let chunks = rows(&db, Family::Chunks);
    assert!(chunks.len() > 1);
    chunks.iter().for_each(|(key, _)| db.delete_cf(db.cf_handle(Family::Chunks.name()).unwrap(), key).unwrap());
    drop(db);
    for command in [&["gc"][..], &["key", "reseal"]] {
        sandbox.larder(command).refused(13, "not in the index");
    }
    let _mended = sandbox.larder(["repair", "--apply"]);
    restores(sandbox.client(), &store, "d", &tree, &sandbox.path("dest"));
    sandbox.larder(["gc"]).done();
    restores(sandbox.client(), &store, "d", &tree, &sandbox.path("dest"));
}

/// The last step writes the files of rows anew; cut before that they still hold the records of runs.
#[test]
fn the_last_step_is_made_again_if_it_was_cut() {
    let stage = Stage::new();
    stage.sandbox.larder(["key", "remove", "former"]).done();
    let try_at = |mode: &str, at: u64| {
        let dir = tempfile::tempdir().unwrap();
        let (store, image) = (dir.path().join("store"), dir.path().join("image"));
        copy_tree(&stage.sandbox.store(), &store);
        let told = Shimmed { mode, errno: 5, at, image: &image, now: None };
        let (ran, log) = run_shimmed(stage.sandbox.client(), &store, &["key", "reseal"], told);
        (dir, store, ran.status, log.len() as u64)
    };
    let (_, _, _, count) = try_at("count", 0);
    for back in [160, 60, 25] {
        let (_dir, store, status, _) = try_at("kill", count - back);
        assert_ne!(status, 0);
        stage.sandbox.client().run(&store, ["key", "reseal"]).done();
        assert_eq!(stage.files_with_old_bytes(&store), [""; 0], "killed {back} before the end");
    }
}
