//! Entries of the arrival log that are lost: a copy of the store gives them back, or an owner gives them up.

use std::fs;
use std::path::PathBuf;

use larder::codec::MacLabel;
use larder::format::{Family, SealedHeader, join_mac, number_key};
use larder::model::{DatasetRecord, Digest, LogEntry, LogKind};
use larder::store::Store;

use crate::behind::{database, merge};
use crate::clocked::{now, opened};
use crate::fixtures::script;
use crate::keys::{member, named_member, record_of};
use crate::sandbox::{Client, Ran, Sandbox, copy_tree, noise};

/// A store whose log has: 1, 2 snapshots; 3 a hold on the first; 4 a policy; 5 the first again; 6 a snapshot; 7 a hold on that; and a copy.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) source: PathBuf,
    pub(crate) copy: PathBuf,
    pub(crate) ids: Vec<String>,
}

pub(crate) const LAST: u64 = 7;

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Sandbox::with_store(), |_| {})
    }

    /// `before`: what is done before there is any snapshot. Its entries come first.
    pub(crate) fn with(sandbox: Sandbox, before: impl FnOnce(&Sandbox)) -> Self {
        before(&sandbox);
        let source = sandbox.path("source");
        fs::create_dir(&source).unwrap();
        let capture = |turn: u64| {
            fs::write(source.join("file"), noise(turn, 20_000)).unwrap();
            sandbox.snapshot(&source, "d").done();
        };
        capture(1);
        capture(2);
        let ids = sandbox.larder(["list", "--json"]).ids();
        sandbox.larder(["hold", &ids[0], "--reason", "the case"]).done();
        sandbox.larder(["policy", "set", "d", "--keep-last", "5"]).done();
        sandbox.larder(["hold", &ids[0], "--reason", "another case"]).done();
        capture(3);
        let ids = sandbox.larder(["list", "--json"]).ids();
        sandbox.larder(["hold", &ids[2], "--reason", "the newest"]).done();
        let copy = sandbox.path("copy");
        copy_tree(&sandbox.store(), &copy);
        Self { sandbox, source, copy, ids }
    }

    pub(crate) fn database(&self) -> rocksdb::DB {
        database(&self.sandbox.store())
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.sandbox.larder(words)
    }

    fn heal(&self) -> Ran {
        self.run(&["heal", self.copy.to_str().unwrap(), "--json"])
    }

    pub(crate) fn accept(&self) -> Ran {
        self.run(&["repair", "--apply", "--accept-lost-entries", "--reason", "the disk died", "--json"])
    }

    /// The reasons of the holds on a snapshot.
    pub(crate) fn holds(&self, at: usize) -> Vec<String> {
        let shown = self.run(&["show", &self.ids[at], "--json"]).json();
        let holds = shown["holds"].as_array().cloned().unwrap_or_default();
        holds.iter().map(|hold| hold["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Everything works and nothing is damaged, to the second reader either.
    pub(crate) fn works(&self, snapshots: usize) {
        self.run(&["verify", "--read-data"]).done();
        self.run(&["verify", "--no-key"]).done();
        self.run(&["repair"]).done();
        assert_eq!(self.run(&["list", "--json"]).ids().len(), snapshots);
        by_reader(&self.sandbox);
        self.run(&["hold", "d", "--reason", "new"]).done();
        self.run(&["release", "d"]).done();
        self.sandbox.snapshot(&self.source, "more").done();
        self.run(&["forget", "-d", "more", "--keep-none"]).done();
        self.run(&["gc"]).done();
        self.run(&["verify", "--read-data"]).done();
        by_reader(&self.sandbox);
    }

    /// Nothing is given up or removed, and it is told what helps.
    pub(crate) fn is_stuck(&self) {
        for words in [&["forget", "--keep-last", "1"][..], &["forget", "--lost"], &["gc"], &["release", &self.ids[0]]] {
            let ran = self.run(words).ended(13);
            for way in ["larder heal COPY", "--accept-lost-entries"] {
                assert!(ran.stderr.contains(way), "{words:?}: {}", ran.stderr);
            }
        }
        // Nor is it hidden from who looks at policies or holds, of which one may be lost.
        let _ran = self.run(&["policy", "show"]).ended(13);
        assert!(!self.run(&["show", &self.ids[0]]).ended(13).stdout.is_empty(), "what there is is shown");
        let said = self.run(&["verify"]).ended(13).stderr;
        assert!(said.contains("larder heal COPY") && said.contains("--accept-lost-entries"), "{said}");
    }
}

fn by_reader(sandbox: &Sandbox) {
    let mut command = script("reader.py");
    let command = command.arg(sandbox.store()).arg("--identity").arg(sandbox.client().identity()).arg("check");
    let told: serde_json::Value = serde_json::from_slice(&Ran::of(command).ended(0).stdout).unwrap();
    assert_eq!(told["findings"], 0);
}

pub(crate) fn row(sandbox: &Sandbox, sequence: u64) -> Option<Vec<u8>> {
    let db = database(&sandbox.store());
    db.get_cf(db.cf_handle(Family::Log.name()).unwrap(), number_key(sequence)).unwrap()
}

/// Number and hash of the last row of the log.
pub(crate) fn newest(sandbox: &Sandbox) -> (u64, Digest) {
    let db = database(&sandbox.store());
    let log = db.cf_handle(Family::Log.name()).unwrap();
    let (last, value) = db.iterator_cf(log, rocksdb::IteratorMode::End).next().unwrap().unwrap();
    (u64::from_be_bytes((*last).try_into().unwrap()), larder::codec::digest(&value))
}

/// Changes rows of the log behind Larder's back; nothing removes one.
pub(crate) fn set(sandbox: &Sandbox, rows: &[(u64, Option<Vec<u8>>)]) {
    let db = database(&sandbox.store());
    let log = db.cf_handle(Family::Log.name()).unwrap();
    for (sequence, bytes) in rows {
        match bytes {
            Some(bytes) => db.put_cf(log, number_key(*sequence), bytes).unwrap(),
            None => db.delete_cf(log, number_key(*sequence)).unwrap(),
        }
    }
    db.flush_cf(log).unwrap();
    merge(&db, Family::Log);
}

pub(crate) fn lose(sandbox: &Sandbox, sequences: &[u64]) {
    set(sandbox, &sequences.iter().map(|sequence| (*sequence, None)).collect::<Vec<_>>());
}

/// A tip with a right MAC, which every key can make.
pub(crate) fn write_tip(sandbox: &Sandbox, keys: &Store, sequence: u64, hash: &Digest) {
    let mut tip = b"LDRTIP1\n".to_vec();
    tip.extend_from_slice(&sequence.to_le_bytes());
    tip.extend_from_slice(hash.as_bytes());
    let mac = keys.keyring().ids().mac(MacLabel::Tip, &[&tip]);
    fs::write(sandbox.store().join("tip"), join_mac(tip, &mac)).unwrap();
}

/// An entry's row as it would be with a right MAC, which every key can make.
pub(crate) fn with_mac(store: &Store, entry: &LogEntry) -> Vec<u8> {
    let body = entry.to_bytes();
    let mac = store.keyring().ids().mac(MacLabel::Log, &[&body]);
    join_mac(body, &mac)
}

pub(crate) fn parsed(bytes: &[u8]) -> LogEntry {
    LogEntry::from_bytes(&bytes[..bytes.len() - 32]).unwrap()
}

// ---------------------------------------------------------------------------------------------------------------------
// From a copy.

#[test]
fn entries_come_back_from_a_copy_of_the_store() {
    let garbled = |bytes: Option<Vec<u8>>| {
        bytes.map(|mut bytes| {
            bytes[20] ^= 1;
            bytes
        })
    };
    // One, a run, the last one, a run up to the end, damaged ones.
    for (lost, hurt) in [(&[3][..], &[][..]), (&[3, 4, 5], &[]), (&[7], &[]), (&[4, 5, 7], &[]), (&[3], &[4, 7])] {
        let stage = Stage::new();
        lose(&stage.sandbox, lost);
        let changed: Vec<_> = hurt.iter().map(|n| (*n, garbled(row(&stage.sandbox, *n)))).collect();
        set(&stage.sandbox, &changed);
        let verified = stage.run(&["verify"]).ended(13);
        let told = String::from_utf8(verified.stdout).unwrap();
        for sequence in lost.iter().chain(hurt) {
            assert!(told.contains(&format!("entry {sequence} of the arrival log")), "{lost:?} {hurt:?}: {told}");
        }
        if !lost.contains(&LAST) && !hurt.contains(&LAST) {
            stage.is_stuck();
        }
        let healed = stage.heal().json();
        let count = lost.len() + hurt.len();
        assert_eq!((&healed["missing"], &healed["found"]), (&count.into(), &count.into()), "{healed}");
        assert!(healed["entries_left"].as_array().unwrap().is_empty());
        assert_eq!(stage.holds(0), ["the case", "another case"]);
        assert_eq!(stage.holds(2), ["the newest"]);
        for sequence in 1..=LAST {
            let copied = {
                let db = rocksdb::DB::open_cf_for_read_only(
                    &rocksdb::Options::default(),
                    stage.copy.join("db"),
                    Family::ALL.map(Family::name),
                    false,
                );
                let db = db.unwrap();
                db.get_cf(db.cf_handle("log").unwrap(), number_key(sequence)).unwrap()
            };
            assert_eq!(row(&stage.sandbox, sequence), copied, "{sequence}");
        }
        stage.run(&["forget", &stage.ids[0]]).refused(2, "release");
        stage.works(3);
        assert!(stage.heal().json()["missing"] == 0);
    }
}

#[test]
fn another_entry_than_the_one_that_was_lost_is_not_taken() {
    let stage = Stage::new();
    // In the copy stand other entries, each right by itself: one with another time.
    let store = opened(&stage.sandbox, stage.sandbox.client());
    let other = |sequence: u64| {
        let mut entry = parsed(&row(&stage.sandbox, sequence).unwrap());
        entry.arrival.seconds += 1;
        with_mac(&store, &entry)
    };
    let rows = [(3, Some(other(3))), (5, Some(other(5))), (7, Some(other(7)))];
    let whole = stage.sandbox.path("whole");
    fs::rename(stage.sandbox.store(), &whole).unwrap();
    fs::rename(&stage.copy, stage.sandbox.store()).unwrap();
    set(&stage.sandbox, &rows);
    fs::rename(stage.sandbox.store(), &stage.copy).unwrap();
    fs::rename(&whole, stage.sandbox.store()).unwrap();
    lose(&stage.sandbox, &[3, 5]);
    for _ in 0..2 {
        let told = stage.heal().ended(13);
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["found"], 0, "{told}");
        let left: Vec<_> = told["entries_left"].as_array().unwrap().iter().map(|e| e["sequence"].clone()).collect();
        assert!(left.contains(&3.into()) && left.contains(&5.into()), "{told}");
        // And what is behind a wrong end, neither.
        lose(&stage.sandbox, &[7]);
    }
    assert_eq!((row(&stage.sandbox, 3), row(&stage.sandbox, 5), row(&stage.sandbox, 7)), (None, None, None));
}

#[test]
fn a_forged_entry_in_the_place_of_another_is_told_and_healed() {
    let stage = Stage::new();
    let store = opened(&stage.sandbox, stage.sandbox.client());
    let bytes = row(&stage.sandbox, 3).unwrap();
    let forged = LogEntry { kind: LogKind::Policy, ext: Vec::new(), ..parsed(&bytes) };
    set(&stage.sandbox, &[(3, Some(with_mac(&store, &forged)))]);
    let told = String::from_utf8(stage.run(&["verify"]).ended(13).stdout).unwrap();
    assert!(told.contains("entry 3 of the arrival log") && !told.contains("entry 4"), "{told}");
    stage.is_stuck();
    let _plan = stage.run(&["repair"]).ended(13);
    assert_eq!(stage.heal().json()["found"], 1);
    assert_eq!(row(&stage.sandbox, 3), Some(bytes));
    stage.works(3);
}

#[test]
fn snapshots_whose_entries_come_back_are_what_captures_go_on_from() {
    let stage = Stage::new();
    // What the commit of the last snapshot wrote is lost, but for what the tip says: its dataset has the head before.
    let (second, sixth) = (parsed(&row(&stage.sandbox, 2).unwrap()), parsed(&row(&stage.sandbox, 6).unwrap()));
    let keys = opened(&stage.sandbox, stage.sandbox.client());
    {
        let db = stage.database();
        let datasets = db.cf_handle(Family::Datasets.name()).unwrap();
        let key = sixth.dataset.as_bytes();
        let value = db.get_cf(datasets, key).unwrap().unwrap();
        let record = DatasetRecord::from_bytes(&value[..value.len() - 32]).unwrap();
        assert_eq!(record.head, 6);
        let record = DatasetRecord { head: 2, manifest: second.manifest, count: 2, ..record }.to_bytes();
        let mac = keys.keyring().ids().mac(MacLabel::Dataset, &[key, &record]);
        db.put_cf(datasets, key, join_mac(record, &mac)).unwrap();
        db.flush_cf(datasets).unwrap();
    }
    lose(&stage.sandbox, &[6, 7]);
    assert_eq!(stage.heal().json()["found"], 2);
    stage.sandbox.snapshot(&stage.source, "d").done();
    let shown = stage.run(&["show", "d", "--json"]).json();
    assert_eq!(shown["parent"], stage.ids[2].as_str(), "{shown}");
    by_reader(&stage.sandbox);
}

/// What an entry says is lost with the record of the run that sealed it.
#[test]
fn what_a_hold_says_comes_back_with_the_record_of_its_run() {
    let stage = Stage::new();
    lose_detail(&stage.sandbox, 3);
    let planned = stage.run(&["repair"]).ended(13);
    assert!(String::from_utf8_lossy(&planned.stdout).contains("entry 3 of the arrival log"), "{planned:?}");
    let _ran = stage.run(&["repair", "--apply"]).ended(13);
    let told = String::from_utf8(stage.run(&["verify"]).ended(13).stdout).unwrap();
    assert!(told.contains("entry 3 of the arrival log: what it says cannot be read"), "{told}");
    assert_eq!(stage.heal().json()["found"], 1);
    assert_eq!(stage.holds(0), ["the case", "another case"]);
    stage.works(3);
    // Without a copy it holds until it is lifted.
    lose_detail(&stage.sandbox, 5);
    stage.run(&["repair", "--apply", "--accept-lost-entries"]).refused(13, "larder release");
    stage.run(&["forget", &stage.ids[0]]).refused(2, "release");
    stage.run(&["release", &stage.ids[0]]).done();
    stage.run(&["repair"]).done();
    stage.run(&["verify"]).done();
    // A policy is given up like an entry that is not there.
    lose_detail(&stage.sandbox, 4);
    stage.run(&["forget", "--policy"]).refused(13, "repair");
    let done = stage.accept().json();
    assert_eq!(done["accepted"]["entries"][0]["sequence"], 4, "{done}");
    stage.run(&["forget", "--policy"]).done();
    stage.works(3);
}

fn lose_detail(sandbox: &Sandbox, sequence: u64) {
    let entry = parsed(&row(sandbox, sequence).unwrap());
    let (_, sealed) = entry.ext.iter().find(|(tag, _)| *tag == 1).unwrap();
    let epoch = SealedHeader::parse(sealed).unwrap().0.epoch;
    let db = database(&sandbox.store());
    let epochs = db.cf_handle(Family::Epochs.name()).unwrap();
    assert!(db.get_cf(epochs, epoch.as_bytes()).unwrap().is_some());
    db.delete_cf(epochs, epoch.as_bytes()).unwrap();
    db.flush_cf(epochs).unwrap();
}

// ---------------------------------------------------------------------------------------------------------------------
// Given up.

#[test]
fn an_owner_can_give_lost_entries_up_and_all_works_again() {
    let stage = Stage::new();
    let other = stage.sandbox.another_client("other");
    other.run(&stage.sandbox.store(), ["list"]).done();
    lose(&stage.sandbox, &[3, 4]);
    let mut bytes = row(&stage.sandbox, 5).unwrap();
    bytes[30] ^= 1;
    set(&stage.sandbox, &[(5, Some(bytes))]);
    stage.is_stuck();
    // Each may have been a newer list of keys than the one that is shown.
    let printed = stage.run(&["key", "list", "--json"]).ended(13).stdout;
    let list: serde_json::Value = serde_json::Deserializer::from_slice(&printed).into_iter().next().unwrap().unwrap();
    assert_eq!((&list["lost_entries"], list["keys"].as_array().unwrap().len()), (&vec![3, 4, 5].into(), 1));
    let planned = stage.run(&["repair"]).ended(13);
    assert!(planned.stderr.contains("--accept-lost-entries"), "{}", planned.stderr);
    // It is never implied.
    let _ran = stage.run(&["repair", "--apply"]).ended(13);
    stage.run(&["repair", "--accept-lost-entries"]).refused(2, "--apply");
    stage.is_stuck();
    let text = stage.run(&["repair", "--apply", "--accept-lost-entries", "--reason", "the disk died"]).ended(0);
    let text = String::from_utf8(text.stdout).unwrap();
    for word in ["void from now on: entry 3 ", "entry 4 ", "entry 5 ", "larder hold", "larder policy set"] {
        assert!(text.contains(word), "{text}");
    }
    let verified = stage.run(&["verify", "--json"]).json();
    assert_eq!(verified["void_entries"], serde_json::json!([3, 4, 5]), "{verified}");
    let said = String::from_utf8(stage.run(&["verify"]).ended(0).stdout).unwrap();
    assert!(said.contains("void: 3 entries"), "{said}");
    assert!(stage.holds(0).is_empty(), "the holds are gone");
    assert_eq!(stage.holds(2), ["the newest"]);
    stage.run(&["policy", "show", "--json"]).done();
    // Whoever has seen the store goes on too.
    other.run(&stage.sandbox.store(), ["verify"]).done();
    stage.run(&["forget", &stage.ids[0]]).done();
    stage.works(2);
    stage.run(&["key", "rotate"]).done();
    stage.run(&["key", "reseal"]).done();
    stage.works(2);
    // Given up once is enough.
    assert_eq!(stage.accept().json()["accepted"], serde_json::Value::Null);
    // The copy has them all the same. The snapshot that was held stays forgotten.
    let healed = stage.heal().json();
    assert_eq!((&healed["missing"], &healed["found"]), (&3.into(), &3.into()), "{healed}");
    assert_eq!(stage.run(&["verify", "--json"]).json()["void_entries"], serde_json::json!([]));
    stage.works(2);
}

#[test]
fn what_was_given_up_counts_again_when_a_copy_turns_up() {
    let stage = Stage::new();
    lose(&stage.sandbox, &[3, 4]);
    stage.accept().done();
    assert!(!stage.holds(0).contains(&"the case".to_owned()));
    stage.run(&["policy", "set", "d", "--keep-last", "9"]).done();
    // A copy that has lost the same has nothing to give, and nothing is missed.
    let poor = stage.sandbox.path("poor");
    copy_tree(&stage.sandbox.store(), &poor);
    let healed = stage.run(&["heal", poor.to_str().unwrap(), "--json"]).json();
    assert_eq!((&healed["missing"], &healed["entries_left"]), (&0.into(), &serde_json::json!([])), "{healed}");
    let healed = stage.heal().json();
    assert_eq!((&healed["missing"], &healed["found"]), (&2.into(), &2.into()), "{healed}");
    assert_eq!(stage.holds(0), ["the case", "another case"]);
    let policy = stage.run(&["policy", "show", "--json"]).json().to_string();
    assert!(policy.contains('9'), "the newest policy counts: {policy}");
    assert_eq!(stage.heal().json()["missing"], 0);
    stage.works(3);
}

#[test]
fn a_repair_that_builds_the_database_anew_keeps_what_was_accepted() {
    let stage = Stage::new();
    let mut bytes = row(&stage.sandbox, 4).unwrap();
    bytes[30] ^= 1;
    set(&stage.sandbox, &[(3, None), (4, Some(bytes))]);
    stage.accept().done();
    {
        let db = stage.database();
        let chunks = db.cf_handle("chunks").unwrap();
        let (key, _) = db.iterator_cf(chunks, rocksdb::IteratorMode::Start).next().unwrap().unwrap();
        db.delete_cf(chunks, &key).unwrap();
        db.flush_cf(chunks).unwrap();
    }
    let done = stage.run(&["repair", "--apply", "--json"]).json();
    assert_eq!((&done["rebuild"], &done["void_entries"]), (&true.into(), &2.into()), "{done}");
    stage.works(3);
}

#[test]
fn what_is_lost_later_is_not_covered_by_what_was_accepted() {
    let stage = Stage::new();
    let whole = row(&stage.sandbox, 4).unwrap();
    lose(&stage.sandbox, &[3, 4]);
    stage.accept().done();
    stage.run(&["verify"]).done();
    // Another one.
    let fifth = row(&stage.sandbox, 5);
    lose(&stage.sandbox, &[5]);
    stage.is_stuck();
    set(&stage.sandbox, &[(5, fifth)]);
    stage.run(&["verify"]).done();
    // Something else in the place of one that was accepted: rubbish, an entry of somebody's own making.
    let store = opened(&stage.sandbox, stage.sandbox.client());
    let forged = LogEntry { kind: LogKind::Hold, ext: Vec::new(), arrival: now(), ..parsed(&whole) };
    for bytes in [vec![7; 100], with_mac(&store, &forged)] {
        set(&stage.sandbox, &[(4, Some(bytes))]);
        stage.is_stuck();
    }
    // The entry itself counts again.
    set(&stage.sandbox, &[(4, Some(whole))]);
    stage.run(&["verify"]).done();
    assert_eq!(stage.run(&["policy", "show", "--json"]).lines().len(), 1);
    // Nor does anything stay void without the entry that says so.
    lose(&stage.sandbox, &[LAST + 1]);
    let _ran = stage.run(&["verify"]).ended(13);
    assert!(stage.accept().json()["accepted"]["entries"].as_array().unwrap().len() == 2);
    stage.works(3);
}

#[test]
fn a_lost_end_is_given_up_and_no_number_is_used_twice() {
    let stage = Stage::with(Sandbox::with_store(), |_| {});
    let writer = member(&stage.sandbox, "writer");
    let catalog = named_member(&stage.sandbox, "catalog", "reader");
    let late = stage.sandbox.another_client("late");
    let store = stage.sandbox.store();
    // 8 and 9 are changes of keys; 10 a snapshot by the writer, 11 a hold.
    let capture = |client: &Client| client.run(&store, ["snapshot", stage.source.to_str().unwrap(), "-d", "w"]);
    capture(&writer).done();
    let ids = stage.run(&["list", "--json"]).ids();
    stage.run(&["hold", &ids[0], "--reason", "last"]).done();
    for client in [&catalog, &late] {
        client.run(&store, ["list"]).done();
    }
    let pin = fs::read_dir(writer.state().join("larder/pins")).unwrap().next().unwrap().unwrap().path();
    let seen: serde_json::Value = serde_json::from_slice(&fs::read(&pin).unwrap()).unwrap();
    assert_eq!(seen["sequence"], 10);
    let manifest = parsed(&row(&stage.sandbox, 10).unwrap()).manifest;
    {
        let db = stage.database();
        db.delete_cf(db.cf_handle("manifests").unwrap(), manifest.as_bytes()).unwrap();
        db.flush_cf(db.cf_handle("manifests").unwrap()).unwrap();
    }
    lose(&stage.sandbox, &[10, 11]);
    stage.run(&["snapshot", stage.source.to_str().unwrap()]).refused(13, "acknowledged and is gone");
    stage.run(&["repair"]).refused(13, "--accept-lost-entries");
    stage.run(&["repair", "--apply"]).refused(13, "--accept-lost-entries");
    // Without saying so nobody goes on from there.
    stage.run(&["snapshot", stage.source.to_str().unwrap()]).refused(13, "acknowledged and is gone");
    let done = stage.accept().json();
    assert_eq!(done["accepted"]["sequence"], 12, "{done}");
    assert_eq!(parsed(&row(&stage.sandbox, 12).unwrap()).sequence, 12);
    stage.works(3);
    for client in [&catalog, &late] {
        client.run(&store, ["list"]).done();
    }
    // A writer cannot tell who accepted it.
    let refused = capture(&writer).ended(13);
    assert!(refused.stderr.contains("ask an owner") && refused.stderr.contains("pins"), "{}", refused.stderr);
    fs::remove_file(pin).unwrap();
    capture(&writer).done();
    stage.run(&["verify", "--read-data"]).done();
    // A store that was set back is another matter: no list names what was seen.
    let (now, back) = (stage.sandbox.path("now"), &stage.copy);
    fs::rename(&store, now).unwrap();
    copy_tree(back, &store);
    late.run(&store, ["list"]).refused(13, "ends before");
}

#[test]
fn an_open_store_gives_entries_up_too() {
    let stage = Stage::with(Sandbox::with_open_store(), |_| {});
    lose(&stage.sandbox, &[3, 7]);
    stage.run(&["repair", "--apply"]).refused(13, "--accept-lost-entries");
    let done = stage.accept().json();
    assert_eq!(done["accepted"]["sequence"], 8, "{done}");
    stage.run(&["verify", "--read-data"]).done();
    stage.run(&["gc"]).done();
    assert!(stage.holds(2).is_empty());
    assert_eq!(stage.holds(0), ["another case"]);
}

// ---------------------------------------------------------------------------------------------------------------------
// Key files.

#[test]
fn key_files_that_are_older_than_the_database_are_put_in_place_by_repair() {
    let (sandbox, _) = crate::keys::one_snapshot();
    let catalog = member(&sandbox, "catalog");
    let store = sandbox.store();
    let (_, file) = record_of(sandbox.client(), &store);
    let old = fs::read(&file).unwrap();
    sandbox.larder(["key", "rotate"]).done();
    sandbox.larder(["list"]).done();
    let newest = fs::read(&file).unwrap();
    for bytes in [Some(old), None] {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        sandbox.larder(["list"]).refused(12, "larder repair --apply");
        sandbox.larder(["repair", "--apply"]).done();
        assert!(fs::read(&file).unwrap() == newest);
        sandbox.larder(["list"]).done();
    }
    catalog.run(&store, ["list"]).done();
}

/// A client knows by its cache what is stored. Where the log comes back, what nobody needed any more does not.
#[test]
fn a_capture_stores_what_did_not_come_back_with_the_log() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let older = stage.sandbox.path("older");
    copy_tree(&store, &older);
    let other = stage.sandbox.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), noise(77, 500_000)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    for _ in 0..2 {
        stage.sandbox.snapshot(&other, "z").done();
    }
    stage.run(&["forget", "-d", "z", "--keep-none"]).done();
    let newer = stage.sandbox.path("newer");
    copy_tree(&store, &newer);
    fs::remove_dir_all(store.join("db")).unwrap();
    copy_tree(&older.join("db"), &store.join("db"));
    stage.run(&["heal", newer.to_str().unwrap()]).done();
    stage.run(&["verify", "--read-data"]).done();
    stage.sandbox.snapshot(&other, "z").done();
    stage.run(&["verify", "--read-data"]).done();
}

/// Nor does the number that caches are bound to come again where its row was lost.
#[test]
fn a_database_that_is_built_anew_fits_no_cache_of_before() {
    let stage = Stage::new();
    let generation = || {
        let db = stage.database();
        let default = db.cf_handle(Family::Default.name()).unwrap();
        let chunks = db.cf_handle("chunks").unwrap();
        db.delete_cf(default, b"gc").unwrap();
        let (key, _) = db.iterator_cf(chunks, rocksdb::IteratorMode::Start).next().unwrap().unwrap();
        db.delete_cf(chunks, &key).unwrap();
        db.flush_cf(default).unwrap();
        db.flush_cf(chunks).unwrap();
        drop(db);
        assert_eq!(stage.run(&["repair", "--apply", "--json"]).json()["rebuild"], true);
        let db = stage.database();
        db.get_cf(db.cf_handle(Family::Default.name()).unwrap(), b"gc").unwrap().unwrap()
    };
    assert_ne!(generation(), generation());
}
