//! Someone has a writer key and the store's folder, and writes entries of the log that name snapshots which did not come with them. Issue 5:
//! nobody pushes another's snapshot out.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use larder::codec::digest;
use larder::format::Family;
use larder::model::{DatasetKey, DatasetName, LogEntry, LogKind, Quiet, SnapshotId};
use larder::store::Store;
use larder::view::View;

use crate::behind::database;
use crate::clocked::{Told, now, opened};
use crate::fixtures::script;
use crate::keys::{named_member, record_of};
use crate::lost_entries::{lose, parsed, row, set, with_mac, write_tip};
use crate::sandbox::{Client, Ran, Sandbox, compare, copy_tree, model, noise};

/// A store with a snapshot of `home` by the owner, and one of `w2data` by the writer w2, who has no other: `victim`.
struct Stage {
    sandbox: Sandbox,
    w1: Client,
    w2: Client,
    source: PathBuf,
    victim: String,
}

impl Stage {
    fn new() -> Self {
        let sandbox = Sandbox::with_store();
        let [w1, w2] = ["w1", "w2"].map(|name| named_member(&sandbox, "writer", name));
        let source = sandbox.path("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), noise(1, 100_000)).unwrap();
        let mut stage = Self { sandbox, w1, w2, source, victim: String::new() };
        stage.capture(stage.sandbox.client(), "home");
        stage.capture(&stage.w1, "w1data");
        stage.capture(&stage.w2, "w2data");
        stage.victim = stage.id("w2data");
        stage
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.sandbox.larder(words)
    }

    fn capture(&self, client: &Client, dataset: &str) {
        client.run(&self.sandbox.store(), ["snapshot", self.source.to_str().unwrap(), "-d", dataset]).done();
    }

    fn id(&self, name: &str) -> String {
        self.run(&["show", name, "--json"]).json()["id"].as_str().unwrap().to_owned()
    }

    fn list(&self, words: &[&str]) -> Vec<String> {
        self.sandbox.larder(["list", "--json"].iter().chain(words)).ids()
    }

    fn forget(&self, words: &[&str]) -> Told {
        Told::of(self.sandbox.larder(["forget", "--json"].iter().chain(words)), 0)
    }

    /// What a thief of w1's key has.
    fn thief(&self) -> Store {
        opened(&self.sandbox, &self.w1)
    }

    fn last(&self) -> u64 {
        self.thief().last_sequence().unwrap()
    }

    /// Puts an entry at the end of the log, as w1's, that says that a snapshot came with it.
    fn claim(&self, dataset: &str, snapshot: &str) -> u64 {
        let (keys, last) = (self.thief(), self.last());
        let entry = LogEntry {
            kind: LogKind::Snapshot,
            sequence: last + 1,
            arrival: now(),
            dataset: key(&keys, dataset),
            manifest: snapshot_id(snapshot),
            previous: digest(&row(&self.sandbox, last).unwrap()),
            writer: keys.keyring().name(),
            ext: Vec::new(),
        };
        self.end_with(&keys, &entry);
        entry.sequence
    }

    /// The last entry is this one.
    fn end_with(&self, keys: &Store, entry: &LogEntry) {
        let bytes = with_mac(keys, entry);
        set(&self.sandbox, &[(entry.sequence, Some(bytes.clone()))]);
        write_tip(&self.sandbox, keys, entry.sequence, &digest(&bytes));
    }

    /// The owner sees these entries as false, and no damage; with a key and, those that a manifest is not needed for, without.
    fn tells(&self, sequences: &[u64], without_key: &[u64], why: &str) {
        let numbers = |told: &serde_json::Value| -> Vec<u64> {
            told["false_entries"].as_array().unwrap().iter().map(|e| e["sequence"].as_u64().unwrap()).collect()
        };
        let told = self.run(&["verify", "--read-data", "--json"]).json();
        assert_eq!((numbers(&told), &told["damaged"]), (sequences.to_vec(), &false.into()), "{told}");
        let told = self.run(&["verify", "--no-key", "--json"]).json();
        assert_eq!(numbers(&told), without_key, "{told}");
        let said = String::from_utf8(self.run(&["verify"]).ended(0).stdout).unwrap();
        let w1 = record_of(&self.w1, &self.sandbox.store()).0.name.to_string();
        let line = said.lines().find(|line| line.starts_with("false")).unwrap();
        assert!(line.contains(why) && line.contains(&w1), "{said}");
        self.run(&["repair", "--apply"]).done();
        let mut command = script("reader.py");
        let command = command.arg(self.sandbox.store()).arg("--identity").arg(self.sandbox.client().identity());
        let ran = Ran::of(command.arg("check"));
        let read: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!((&read["findings"], &read["false_entries"]), (&0.into(), &sequences.into()), "{}", ran.stderr);
    }

    /// The victim's snapshot is there, after all that the owner does to make room, and restored whole.
    fn keeps(&self, name: &str) {
        self.run(&["gc"]).done();
        assert_eq!(self.list(&[]).iter().filter(|id| **id == self.victim).count(), 1);
        let to = self.sandbox.path("to");
        self.run(&["restore", name, to.to_str().unwrap()]).done();
        compare(&model(&self.source), &model(&to)).unwrap();
        fs::remove_dir_all(to).unwrap();
        self.run(&["verify", "--read-data"]).done();
    }
}

fn key(keys: &Store, dataset: &str) -> DatasetKey {
    keys.keyring().ids().dataset(&dataset.parse::<DatasetName>().unwrap())
}

fn snapshot_id(text: &str) -> SnapshotId {
    let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect();
    SnapshotId::from_slice(&bytes).unwrap()
}

#[test]
fn an_entry_that_names_anothers_snapshot_pushes_it_out_nowhere() {
    for (dataset, series) in [("w1data", "in the forger's dataset"), ("w2data", "in the victim's, by the forger")] {
        let stage = Stage::new();
        stage.run(&["policy", "set", "--all", "--keep-last", "2"]).done();
        let forged = stage.claim(dataset, &stage.victim);
        stage.capture(&stage.w1, dataset);
        stage.capture(&stage.w1, dataset);
        let all = stage.list(&[]);
        assert_eq!(all.iter().filter(|id| **id == stage.victim).count(), 1, "{series}: {all:?}");
        assert_eq!(stage.list(&["-n", "100"]), all);
        assert!(!stage.list(&["-d", "w1data"]).contains(&stage.victim));
        assert_eq!(
            stage.id(&format!("{dataset}~2")),
            if dataset == "w1data" { all[1].clone() } else { stage.victim.clone() }
        );
        let shown = stage.run(&["show", &stage.victim, "--json"]).json();
        let w2 = record_of(&stage.w2, &stage.sandbox.store()).0.name.to_string();
        assert_eq!((&shown["writer"], &shown["sequence"]), (&w2.into(), &(forged - 2).into()), "{series}: {shown}");
        let view = View::new(&opened(&stage.sandbox, stage.sandbox.client()), 1 << 20, Arc::new(Quiet)).unwrap();
        assert_eq!(view.catalog().rows().len(), all.len());
        for words in [&["--policy"][..], &["--keep-last", "2"]] {
            let told = stage.forget(words);
            assert!(!told.forgotten.contains(&stage.victim), "{series}: {told:?}");
            assert_eq!(told.kept.iter().filter(|id| **id == stage.victim).count(), 1, "{series}");
            assert_eq!(told.summary["false_entries"], serde_json::json!([forged]));
        }
        stage.tells(&[forged], &[forged], &format!("entry {} brought it", forged - 2));
        stage.keeps("w2data");
        // The records of datasets are made anew without it.
        {
            let db = database(&stage.sandbox.store());
            let datasets = db.cf_handle(Family::Datasets.name()).unwrap();
            for name in ["w1data", "w2data"] {
                db.delete_cf(datasets, key(&stage.thief(), name).as_bytes()).unwrap();
            }
            db.flush_cf(datasets).unwrap();
        }
        stage.tells(&[forged], &[forged], "brought it");
        // What was given up does not come back by it.
        stage.run(&["forget", &stage.victim]).done();
        let again = stage.claim("w1data", &stage.victim);
        assert!(!stage.list(&[]).contains(&stage.victim) && !stage.list(&["-n", "100"]).contains(&stage.victim));
        stage.run(&["gc"]).done();
        stage.run(&["show", &stage.victim]).refused(10, "no snapshot");
        assert_eq!(stage.id("w1data"), *stage.list(&["-d", "w1data"]).last().unwrap());
        stage.tells(&[forged, again], &[forged, again], "brought it");
    }
}

/// The thief's own snapshot, under the name of a dataset that its manifest does not have.
#[test]
fn a_snapshot_of_another_dataset_stands_for_none() {
    let stage = Stage::new();
    let keys = stage.thief();
    let w1data = key(&keys, "w1data");
    let record = {
        let db = database(&stage.sandbox.store());
        db.get_cf(db.cf_handle(Family::Datasets.name()).unwrap(), w1data.as_bytes()).unwrap().unwrap()
    };
    let homes = stage.id("home");
    fs::write(stage.source.join("other"), "of w1").unwrap();
    stage.capture(&stage.w1, "w1data");
    let (last, bytes) = (stage.last(), row(&stage.sandbox, stage.last()).unwrap());
    let forged = LogEntry { dataset: key(&keys, "home"), ..parsed(&bytes) };
    let moved = forged.manifest.to_string();
    fs::remove_dir_all(stage.w1.state()).unwrap();
    stage.end_with(&keys, &forged);
    {
        let db = database(&stage.sandbox.store());
        let datasets = db.cf_handle(Family::Datasets.name()).unwrap();
        db.put_cf(datasets, w1data.as_bytes(), record).unwrap();
        db.flush_cf(datasets).unwrap();
    }
    for name in ["home", "home@0s"] {
        assert_eq!(stage.id(name), homes, "{name}");
    }
    assert_ne!(stage.id("latest"), moved);
    let told = stage.forget(&["-d", "home", "--keep-last", "1"]);
    assert_eq!((told.codes(&moved), told.codes(&homes)), (vec!["false entry".to_owned()], vec!["last".to_owned()]));
    assert!(stage.forget(&["-d", "home", "--keep-none", "-n"]).kept.contains(&moved));
    stage.tells(&[last], &[], "of the dataset w1data");
    // The name of `home` is not taken from it, should that be lost, and captures go on from the owner's.
    {
        let db = database(&stage.sandbox.store());
        let datasets = db.cf_handle(Family::Datasets.name()).unwrap();
        db.delete_cf(datasets, forged.dataset.as_bytes()).unwrap();
        db.flush_cf(datasets).unwrap();
    }
    stage.tells(&[last], &[], "of the dataset w1data");
    assert_eq!(stage.run(&["list", "-d", "home", "--json"]).json()[0]["dataset"], "home");
    stage.capture(stage.sandbox.client(), "home");
    assert_eq!(stage.run(&["show", "home", "--json"]).json()["parent"], homes.as_str());
    stage.tells(&[last], &[], "of the dataset w1data");
    // A writer does not fill the store for ever: named by its id it goes.
    stage.run(&["forget", &moved]).done();
    stage.run(&["gc"]).done();
    stage.run(&["show", &moved]).refused(10, "no snapshot");
    let told = stage.run(&["verify", "--read-data", "--json"]).json();
    assert_eq!(told["false_entries"], serde_json::json!([]));
}

/// The end of the log is written anew, before anybody but the victim has seen it: the first entry that names a snapshot is a false one.
#[test]
fn no_rule_gives_up_what_its_manifest_says_came_otherwise() {
    let stage = Stage::new();
    let (keys, at) = (stage.thief(), stage.last());
    let real = parsed(&row(&stage.sandbox, at).unwrap());
    assert_eq!(real.manifest.to_string(), stage.victim);
    let mut forged = LogEntry { dataset: key(&keys, "w1data"), writer: keys.keyring().name(), ..real.clone() };
    for client in [stage.sandbox.client(), &stage.w1] {
        fs::remove_dir_all(client.state()).unwrap();
    }
    lose(&stage.sandbox, &[at]);
    stage.end_with(&keys, &forged);
    let bytes = row(&stage.sandbox, at).unwrap();
    // And the victim's entry behind it, so that nothing seems to be missing.
    forged = LogEntry { sequence: at + 1, previous: digest(&bytes), ..real };
    stage.end_with(&keys, &forged);
    stage.capture(&stage.w1, "w1data");
    stage.capture(&stage.w1, "w1data");
    let told = stage.forget(&["--keep-last", "1"]);
    assert_eq!(told.codes(&stage.victim), ["false entry"], "{told:?}");
    assert_eq!(told.forgotten.len(), 2);
    let mut numbers = stage.run(&["verify", "--json"]).json()["false_entries"].clone();
    let numbers: Vec<_> = numbers.as_array_mut().unwrap().iter().map(|e| e["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [at, at + 1]);
    stage.keeps(&stage.victim);
}

/// The victim's entry is lost, and comes back from a copy: it is the head of its dataset again, and not the false one behind it.
#[test]
fn what_comes_back_from_a_copy_goes_before_what_names_it_falsely() {
    let stage = Stage::new();
    let forged = stage.claim("w2data", &stage.victim);
    // The owner has seen that one.
    assert_eq!(stage.list(&[]).len(), 3);
    let copy = stage.sandbox.path("copy");
    copy_tree(&stage.sandbox.store(), &copy);
    lose(&stage.sandbox, &[forged - 1]);
    let ran = stage.run(&["verify"]).ended(13);
    assert!(ran.stderr.contains("larder heal COPY"), "{}", ran.stderr);
    stage.run(&["heal", copy.to_str().unwrap()]).done();
    stage.tells(&[forged], &[forged], "brought it");
    stage.keeps("w2data");
}
