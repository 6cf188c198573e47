//! What is no loss though it looks like one, and what is one: leftovers of killed runs, manifests, the database's own lists of files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use larder::format::Family;

use crate::behind::tables_of;
use crate::crash::{Stage, Trial};
use crate::keys::{member, one_snapshot};
use crate::sandbox::{Sandbox, compare, copy_tree, model, noise, pick, seed};

/// All files below a folder, with their bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = item.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

/// `repair --plan` finds nothing to do, and changes nothing.
fn nothing_to_repair(run: impl Fn(&[&str]) -> crate::sandbox::Ran, store: &Path, what: &str) {
    let before = files(store);
    let ran = run(&["repair", "--plan"]);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status == 0 && text.starts_with("nothing to repair"), "{what}: {text}{}", ran.stderr);
    assert!(files(store) == before, "{what}: a plan changed the store");
}

#[test]
fn what_a_killed_run_leaves_is_no_damage() {
    let (seed, capture) = (seed(), Stage::second_snapshot());
    let words = capture.capture();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    for (stage, words) in [(capture, &words[..]), (Stage::before_gc(), &["gc"])] {
        let count = Trial::begin(&stage).run(words, "count", 0).1.len() as u64;
        // One in each part of the run: blocks without index entries, index entries without a snapshot, blocks half removed.
        for turn in 0..6 {
            let at = 1 + (turn * count + pick(seed, turn, count)) / 6;
            let trial = Trial::begin(&stage);
            let (ran, log) = trial.run(words, "kill", at);
            assert!(ran.status != 0, "{at} of {count}");
            let what = format!("{} at {at} ({:?})", words[0], log.last());
            nothing_to_repair(|words| trial.client.run(&trial.store, words), &trial.store, &what);
        }
    }
}

#[test]
fn what_gc_leaves_for_later_is_no_damage() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("long"), noise(1, 8_000_000)).unwrap();
    fs::write(source.join("dead"), noise(2, 600_000)).unwrap();
    let capture = |dataset| {
        let words = ["snapshot", source.to_str().unwrap(), "--block-size", "32K", "--dataset", dataset];
        sandbox.larder(words).done();
    };
    capture("d");
    fs::remove_file(source.join("dead")).unwrap();
    capture("d");
    capture("gone");
    sandbox.larder(["forget", "d~1"]).done();
    sandbox.larder(["forget", "-d", "gone", "--keep-none"]).done();
    let collected = sandbox.larder(["gc", "--json"]).json();
    assert!(collected["done"]["kept"].as_u64() > Some(500_000), "no dead block stays: {collected}");
    let run = |words: &[&str]| sandbox.larder(words);
    nothing_to_repair(run, &sandbox.store(), "after gc");
    // Damage is still damage, and what is dead comes back to no harm.
    let index = tables_of(&sandbox.store(), Family::Chunks).pop().unwrap();
    fs::remove_file(index).unwrap();
    let _ran = sandbox.larder(["repair", "--plan"]).ended(13);
    sandbox.larder(["repair", "--apply"]).done();
    sandbox.larder(["verify", "--read-data"]).done();
    nothing_to_repair(run, &sandbox.store(), "after a repair");
    sandbox.larder(["gc"]).done();
    sandbox.larder(["verify", "--read-data"]).done();
}

/// Three snapshots of a folder, the first in a dataset of its own; a copy of the store; then the manifest of the newest is lost.
fn lost_manifest() -> (Sandbox, PathBuf, PathBuf, Vec<String>) {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for (turn, dataset) in [(0, "other"), (1, "d"), (2, "d")] {
        fs::write(source.join("file"), noise(turn, 50_000)).unwrap();
        sandbox.snapshot(&source, dataset).done();
    }
    let ids = sandbox.larder(["list", "--json"]).ids();
    let copy = sandbox.path("copy");
    copy_tree(&sandbox.store(), &copy);
    fs::remove_file(tables_of(&sandbox.store(), Family::Manifests).pop().unwrap()).unwrap();
    (sandbox, source, copy, ids)
}

#[test]
fn a_lost_manifest_comes_from_a_copy_of_the_store() {
    let (sandbox, source, copy, _) = lost_manifest();
    sandbox.larder(["heal", copy.to_str().unwrap()]).refused(13, "repair");
    let _ran = sandbox.larder(["repair", "--apply"]).ended(13);
    sandbox.larder(["gc"]).refused(13, "manifest");
    let empty = sandbox.path("empty");
    fs::create_dir(&empty).unwrap();
    sandbox.larder(["heal", empty.to_str().unwrap()]).refused(13, "forget --lost");
    let told = sandbox.larder(["heal", copy.to_str().unwrap(), "--json"]).json();
    assert!(told["missing"].as_u64() > Some(0) && told["missing"] == told["found"], "{told}");
    assert_eq!(told["manifests_left"], 0, "{told}");
    sandbox.larder(["verify", "--read-data"]).done();
    sandbox.larder(["gc"]).done();
    let dest = sandbox.path("dest");
    sandbox.larder(["restore", "d", dest.to_str().unwrap()]).done();
    compare(&model(&source), &model(&dest)).unwrap();
    nothing_to_repair(|words| sandbox.larder(words), &sandbox.store(), "healed");
}

#[test]
fn what_cannot_be_had_back_is_given_up_in_so_many_words() {
    let (sandbox, source, _, ids) = lost_manifest();
    // Whether it is lost is not known before the store is repaired.
    sandbox.larder(["forget", "--lost"]).refused(13, "repair");
    let _ran = sandbox.larder(["repair", "--apply"]).ended(13);
    let _ran = sandbox.larder(["verify"]).ended(13);
    sandbox.larder(["hold", &ids[2], "--reason", "case"]).done();
    let _ran = sandbox.larder(["forget", "--lost"]).ended(3);
    sandbox.larder(["release", &ids[2]]).done();
    let told = sandbox.larder(["forget", "--lost", "--dry-run", "--json"]).lines();
    assert_eq!(told[0]["id"], ids[2].as_str(), "{told:?}");
    sandbox.larder(["gc"]).refused(13, "manifest");
    sandbox.larder(["forget", "--lost", "--reason", "the disk died"]).done();
    sandbox.larder(["gc"]).done();
    assert!(!sandbox.larder(["list", "--json"]).ids().contains(&ids[2]));
    sandbox.larder(["verify", "--read-data"]).done();
    sandbox.snapshot(&source, "d").done();
    sandbox.larder(["verify", "--read-data"]).done();
    nothing_to_repair(|words| sandbox.larder(words), &sandbox.store(), "given up");
    let none = sandbox.larder(["forget", "--lost", "--json"]).lines();
    assert_eq!(none.len(), 1, "nothing else is lost: {none:?}");
}

#[test]
fn a_database_without_its_lists_of_files_is_put_together_from_the_files() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..12 {
        fs::write(source.join("file"), noise(turn, 40_000)).unwrap();
        sandbox.snapshot(&source, "d").done();
    }
    sandbox.larder(["forget", "-d", "d", "--keep-last", "9"]).done();
    sandbox.larder(["gc"]).done();
    let ids = sandbox.larder(["list", "--json"]).ids();
    let (store, whole) = (sandbox.store(), sandbox.path("whole"));
    copy_tree(&store, &whole);
    for case in 0..4 {
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&whole, &store);
        // The store is set back each time.
        fs::remove_dir_all(sandbox.client().state()).unwrap();
        let current = store.join("db/CURRENT");
        let manifest = store.join("db").join(fs::read_to_string(&current).unwrap().trim());
        match case {
            0 => fs::remove_file(current).unwrap(),
            1 => fs::remove_file(manifest).unwrap(),
            2 => fs::write(current, "MANIFEST-99\n").unwrap(),
            _ => fs::write(manifest, noise(1, 3000)).unwrap(),
        }
        let before = files(&store);
        sandbox.larder(["repair", "--plan"]).refused(13, "repair --apply");
        assert!(files(&store) == before, "case {case}: a plan changed the store");
        sandbox.larder(["repair", "--apply"]).done();
        assert_eq!(sandbox.larder(["list", "--json"]).ids(), ids, "case {case}");
        sandbox.larder(["verify", "--read-data"]).done();
        nothing_to_repair(|words| sandbox.larder(words), &store, "put together");
        assert!(!store.join("damaged/gathered").exists());
        let dest = sandbox.path(format!("dest{case}"));
        sandbox.larder(["restore", "d", dest.to_str().unwrap()]).done();
        compare(&model(&source), &model(&dest)).unwrap();
        sandbox.snapshot(&dest, "more").done();
        sandbox.larder(["verify"]).done();
    }
}

/// Every block of contents but its table becomes rubbish, and is set aside.
pub(crate) fn lose_contents(sandbox: &Sandbox) {
    for file in fs::read_dir(sandbox.store().join("db")).unwrap().map(|item| item.unwrap().path()) {
        let mut bytes = fs::read(&file).unwrap_or_default();
        if bytes.len() > 500_000 {
            bytes.iter_mut().skip(5000).step_by(3000).for_each(|b| *b ^= 1);
            fs::write(file, bytes).unwrap();
        }
    }
    let _ran = sandbox.larder(["repair", "--apply"]).ended(13);
    // There is nothing more to be made anew, and it is told all the same that not all is there.
    sandbox.larder(["repair"]).refused(13, "larder verify tells which");
    sandbox.larder(["repair", "--apply"]).refused(13, "snapshots lack");
}

#[test]
fn a_damaged_member_keeps_nothing_else_from_being_used() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for (name, seed, len) in [
        ("first", 1, 3_000_000),
        ("second", 2, 300_000),
        ("third", 3, 400_000),
        ("z", 4, 5_000_000),
        ("zz", 5, 200_000),
    ] {
        fs::write(source.join(name), noise(seed, len)).unwrap();
    }
    sandbox.snapshot(&source, "d").done();
    let [tar, zip, zst] = ["pack.tar", "pack.zip", "pack.tar.zst"].map(|name| sandbox.path(name));
    for pack in [&tar, &zip, &zst] {
        sandbox.larder(["export", "d", "--bare", "--accept-loss", "-o", pack.to_str().unwrap()]).done();
    }
    lose_contents(&sandbox);
    let lost = sandbox.path("lost");
    copy_tree(&sandbox.store(), &lost);
    let change = |pack: &Path, mark: &[u8], ahead: usize| {
        let mut bytes = fs::read(pack).unwrap();
        let at = if mark.is_empty() { 0 } else { bytes.windows(mark.len()).position(|window| window == mark).unwrap() };
        bytes[at + ahead] ^= 0x55;
        fs::write(pack, bytes).unwrap();
    };
    // A byte in the middle of a content, of which a zip has a sum; one of a tar's header; one of a frame in the middle of a zstd stream.
    change(&zip, b"first", 1_500_000);
    change(&tar, b"./first\0", 100);
    change(&zst, b"", 6_000_000);
    for (pack, told, lost_one, others) in [
        (&zip, "pack.zip, first: ", "first", ["second", "third", "z", "zz"]),
        (&tar, "the header behind it is damaged", "first", ["second", "third", "z", "zz"]),
        (&zst, "4194304 bytes of its zstd stream are damaged", "z", ["first", "second", "third", "zz"]),
    ] {
        fs::remove_dir_all(sandbox.store()).unwrap();
        copy_tree(&lost, &sandbox.store());
        let ran = sandbox.larder(["heal", pack.to_str().unwrap()]).ended(13);
        assert!(ran.stderr.contains(told) && ran.stderr.matches("cannot read").count() == 1, "{}", ran.stderr);
        for name in others {
            let found = sandbox.larder(["cat", &format!("d:{name}")]).ended(0);
            assert!(found.stdout == fs::read(source.join(name)).unwrap(), "{name} from {}", pack.display());
        }
        let _lost = sandbox.larder(["cat", &format!("d:{lost_one}")]).ended(13);
    }
    // Of the damaged content the pieces in front of the damage and behind it are used.
    fs::remove_dir_all(sandbox.store()).unwrap();
    copy_tree(&lost, &sandbox.store());
    let told = sandbox.larder(["heal", zip.to_str().unwrap(), "--json"]).ended(13);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!((1..=3).contains(&told["chunks_left"].as_u64().unwrap()), "{told}");
}

#[test]
fn contents_come_from_packs() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("long"), noise(1, 700_000)).unwrap();
    fs::write(source.join("short"), noise(2, 900)).unwrap();
    let data = noise(3, 500_000);
    let file = fs::File::create(source.join("sparse")).unwrap();
    file.set_len(500_000).unwrap();
    file.write_all_at(&data[..98_304], 0).unwrap();
    file.write_all_at(&data[262_144..], 262_144).unwrap();
    drop(file);
    sandbox.snapshot(&source, "d").done();
    let store = sandbox.store();
    for pack in ["pack.tar", "pack.tar.zst", "pack.zip"] {
        let path = sandbox.path(pack);
        let ran = sandbox.larder(["export", "d", "--bare", "-o", path.to_str().unwrap()]);
        assert!([0, 3].contains(&ran.status), "{}", ran.stderr);
    }
    let zipped = std::process::Command::new("gzip").arg("-k").arg(sandbox.path("pack.tar")).status();
    assert!(zipped.unwrap().success());
    lose_contents(&sandbox);
    let lost = sandbox.path("lost");
    copy_tree(&store, &lost);
    for pack in ["pack.tar", "pack.tar.zst", "pack.tar.gz", "pack.zip"] {
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&lost, &store);
        let _ran = sandbox.larder(["verify"]).ended(13);
        let healed = sandbox.larder(["heal", sandbox.path(pack).to_str().unwrap(), "--json"]);
        // A zip has no holes: what was cut at one is cut elsewhere now, and the file itself has the rest.
        if pack == "pack.zip" {
            let told: serde_json::Value = serde_json::from_slice(&healed.stdout).unwrap();
            assert!(told["found"].as_u64() > Some(2), "{told}");
            sandbox.larder(["heal", source.join("sparse").to_str().unwrap()]).done();
        } else {
            assert_eq!(healed.json()["chunks_left"], 0, "{pack}");
        }
        sandbox.larder(["verify", "--read-data"]).done();
    }
    let cut = fs::read(sandbox.path("pack.tar.zst")).unwrap();
    fs::write(sandbox.path("cut"), &cut[..cut.len() / 2]).unwrap();
    fs::remove_dir_all(&store).unwrap();
    copy_tree(&lost, &store);
    sandbox.larder(["heal", sandbox.path("cut").to_str().unwrap()]).refused(13, "cannot read");
}

#[test]
fn a_writer_key_neither_repairs_nor_heals_nor_gives_up() {
    let (sandbox, tree) = one_snapshot();
    let writer = member(&sandbox, "writer");
    for words in [
        vec!["heal", tree.to_str().unwrap()],
        vec!["repair", "--plan"],
        vec!["repair", "--apply"],
        vec!["forget", "--lost"],
    ] {
        writer.run(&sandbox.store(), &words).refused(12, "writer");
    }
    sandbox.larder(["hold", "d", "--reason", "x", "--until", "99999999w"]).refused(2, "dates");
    sandbox.larder(["verify"]).done();
}
