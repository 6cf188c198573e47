//! The commands that are put into trouble, one line each.

use std::fs;
use std::path::{Path, PathBuf};

use super::attempt::{Attempt, Seen};
use super::shim::{FAILS_ONCE, TROUBLES};
use super::stage::Stage;
use super::try_all;
use crate::behind::tables;
use crate::keys::stranger;
use crate::lost_entries::lose;
use crate::sandbox::copy_tree;

/// A test for each: what is promised, the command, a store to try it on, how many points of a sample.
macro_rules! in_trouble {
    ($($promise:ident: $name:literal, $attempt:expr, $sample:literal;)*) => {
        $(#[test]
        fn $promise() {
            $attempt.enumerate($name, &TROUBLES, $sample);
        })*
    };
}

in_trouble! {
    a_capture_in_trouble_harms_no_acknowledged_snapshot: "snapshot", capture(), 90;
    trouble_while_files_are_merged_harms_no_acknowledged_snapshot: "snapshot, merging", Attempt::capture(Stage::before_merge()), 40;
    a_forget_in_trouble_gives_up_what_was_named_or_nothing: "forget", forget(), 12;
    trouble_while_room_is_given_back_harms_no_snapshot_that_lives: "gc", gc(), 60;
    a_hold_in_trouble_is_set_or_not: "hold", hold(), 8;
    a_release_in_trouble_lifts_a_hold_or_not: "release", release(), 8;
    a_policy_in_trouble_is_set_or_not: "policy set", policy(), 8;
    a_key_added_in_trouble_opens_the_store_or_is_not_there: "key add", key_add(), 12;
    a_key_removed_in_trouble_opens_the_store_no_more_or_as_before: "key remove", key_remove(), 14;
    new_identities_in_trouble_shut_nobody_out: "key rotate", keyed(&["key", "rotate"], (0, "")), 14;
    sealing_anew_in_trouble_loses_nothing_and_can_be_run_again: "key reseal", reseal(), 8;
    a_repair_in_trouble_leaves_the_store_no_worse_and_can_be_run_again: "repair --apply", repair(), 14;
    an_import_in_trouble_takes_in_all_or_nothing: "import", import(), 14;
    an_import_of_records_in_trouble_takes_in_all_or_nothing: "records import", records_import(), 24;
    an_acceptance_of_lost_entries_in_trouble_is_there_or_not: "repair --accept-lost-entries", acceptance(), 14;
    a_heal_of_the_log_in_trouble_gives_back_all_or_nothing: "heal, of the log", heal_log(), 14;
    a_heal_in_trouble_leaves_the_store_no_worse_and_can_be_run_again: "heal", heal(), 14;
}

/// Into a dataset that has records: one that changes, one that was seen again, one that is new.
fn records_import() -> Attempt {
    let stage = Stage::second_snapshot();
    let record = |key: u32, response: u32, day: u32| {
        format!(
            "{{\"exchange_id\": \"{key}-{day}\", \"exchange_type\": \"http\", \"source_system\": \"s\", \"entity_type\": \"e\", \
             \"natural_key\": \"k{key}\", \"response\": {response}, \"observed_at_utc\": \"2024-01-{day:02}T00:00:00+00:00\"}}\n"
        )
    };
    let (first, second) = (stage.sandbox.path("first.ndjson"), stage.sandbox.path("second.ndjson"));
    fs::write(&first, (0..300).map(|key| record(key, key, 1)).collect::<String>()).unwrap();
    fs::write(&second, [record(1, 1000, 2), record(2, 2, 2), record(300, 300, 2)].concat()).unwrap();
    stage.sandbox.larder(["records", "import", first.to_str().unwrap(), "-d", "r"]).done();
    let words = ["records", "import", second.to_str().unwrap(), "-d", "r"];
    Attempt::new(stage, &words, printed(&["records", "log", "k1", "--json"]), (0, "")).that_changes()
}

fn printed(words: &[&str]) -> Seen {
    Seen::In(words.iter().map(|word| (*word).to_owned()).collect())
}

fn capture() -> Attempt {
    Attempt::capture(Stage::second_snapshot()).that_changes()
}

fn forget() -> Attempt {
    let mut stage = Stage::two_snapshots();
    let (first, _) = stage.acknowledged.pop_first().unwrap();
    Attempt::new(stage, &["forget", &first], printed(&["list", "--json"]), (10, "no snapshot")).that_changes()
}

fn gc() -> Attempt {
    Attempt::new(Stage::before_gc(), &["gc"], printed(&["list", "--json"]), (0, ""))
}

fn hold() -> Attempt {
    let stage = Stage::two_snapshots();
    let words = ["hold", "d~1", "--reason", "a case", "--until", "2099-01-01"];
    Attempt::new(stage, &words, printed(&["show", "d~1", "--json"]), (0, "")).that_changes()
}

fn release() -> Attempt {
    let stage = Stage::two_snapshots();
    stage.sandbox.larder(["hold", "d~1", "--reason", "a case"]).done();
    Attempt::new(stage, &["release", "d~1"], printed(&["show", "d~1", "--json"]), (2, "not held")).that_changes()
}

fn policy() -> Attempt {
    let words = ["policy", "set", "d", "--keep-last", "3"];
    Attempt::new(Stage::second_snapshot(), &words, printed(&["policy", "show", "--json"]), (0, "")).that_changes()
}

/// A store with a second owner, who stays, and a third client that may have a key or not.
fn with_keys(third_has_one: bool) -> (Stage, String) {
    let mut stage = Stage::second_snapshot();
    let (second, recipient) = stranger(&stage.sandbox, "second");
    stage.sandbox.larder(["key", "add", "-r", &recipient, "--label", "second"]).done();
    let (third, recipient) = stranger(&stage.sandbox, "third");
    if third_has_one {
        stage.sandbox.larder(["key", "add", "-r", &recipient, "--label", "third"]).done();
    }
    stage.others = vec![("second", second), ("third", third)];
    (stage, recipient)
}

/// A change of keys that leaves the third key as it is, or takes it away.
fn keyed(words: &[&str], again: (i32, &'static str)) -> Attempt {
    let (stage, _) = with_keys(true);
    Attempt::new(stage, words, printed(&["key", "list", "--json"]), again).that_changes()
}

fn key_add() -> Attempt {
    let (stage, recipient) = with_keys(false);
    let words = ["key", "add", "-r", &recipient, "--label", "third"];
    Attempt::new(stage, &words, printed(&["key", "list", "--json"]), (2, "already")).that_changes()
}

fn key_remove() -> Attempt {
    keyed(&["key", "remove", "third"], (10, "no key"))
}

fn reseal() -> Attempt {
    let (stage, _) = with_keys(true);
    stage.sandbox.larder(["key", "rotate"]).done();
    Attempt::new(stage, &["key", "reseal"], printed(&["key", "list", "--json"]), (0, "nothing is under older"))
        .that_changes()
}

/// The table files of a store that hold something.
fn holding(store: &Path, holds: impl Fn(&[u8]) -> bool) -> Vec<PathBuf> {
    let mut files = tables(store);
    files.retain(|path| holds(&fs::read(path).unwrap()));
    files
}

fn hurt(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x11;
    fs::write(file, bytes).unwrap();
}

fn has(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// A store of which the n-th file of an index is damaged.
fn repair_of(nth: usize) -> Attempt {
    let stage = Stage::two_snapshots();
    let indexes = holding(&stage.sandbox.store(), |bytes| !has(bytes, b"LBK1") && has(bytes, b"chunks"));
    hurt(&indexes[nth]);
    Attempt::new(stage, &["repair", "--apply"], Seen::Mended, (0, "")).that_changes()
}

fn repair() -> Attempt {
    repair_of(0)
}

fn import() -> Attempt {
    let stage = Stage::second_snapshot();
    let pack = stage.sandbox.path("pack.tar");
    stage.sandbox.larder(["export", "--bare", "d", "-o", pack.to_str().unwrap()]).done();
    let words = ["import", pack.to_str().unwrap(), "--dataset", "taken in", "--skip-if-unchanged"];
    Attempt::new(stage, &words, printed(&["list", "--json"]), (0, "equal")).that_changes()
}

fn heal() -> Attempt {
    let stage = Stage::two_snapshots();
    let (sandbox, store) = (&stage.sandbox, stage.sandbox.store());
    let (copy, first) = (sandbox.path("tree as it is"), sandbox.path("first tree"));
    copy_tree(&stage.tree, &copy);
    for file in holding(&store, |bytes| has(bytes, b"LBK1\x01")) {
        hurt(&file);
    }
    let _ran = sandbox.larder(["repair", "--apply"]).ended(13);
    let words = ["heal", copy.to_str().unwrap(), first.to_str().unwrap()];
    Attempt::new(stage, &words, Seen::Mended, (0, "")).that_changes()
}

/// A store that has lost the entry of a hold, and a copy that has it.
fn without_a_hold() -> (Stage, PathBuf) {
    let stage = Stage::two_snapshots();
    stage.sandbox.larder(["hold", "d~1", "--reason", "a case"]).done();
    stage.sandbox.larder(["policy", "set", "d", "--keep-last", "3"]).done();
    let copy = stage.sandbox.path("copy");
    copy_tree(&stage.sandbox.store(), &copy);
    lose(&stage.sandbox, &[3]);
    (stage, copy)
}

fn acceptance() -> Attempt {
    let words = ["repair", "--apply", "--accept-lost-entries", "--reason", "the disk died"];
    Attempt::new(without_a_hold().0, &words, Seen::Mended, (0, "")).that_changes()
}

fn heal_log() -> Attempt {
    let (stage, copy) = without_a_hold();
    Attempt::new(stage, &["heal", copy.to_str().unwrap()], Seen::Mended, (0, "")).that_changes()
}

/// RocksDB takes back the files that a record of the MANIFEST names if that cannot be made durable, though the record may stay.
#[test]
fn a_manifest_that_cannot_be_synced_harms_no_acknowledged_snapshot() {
    let attempt = Attempt::capture(Stage::before_merge());
    let operations = attempt.operations();
    let syncs = operations.iter().zip(1..).filter(|(what, _)| what.contains("sync") && what.contains("MANIFEST"));
    let points: Vec<_> = syncs.map(|(_, at)| (FAILS_ONCE, at)).collect();
    assert!(points.len() >= 5, "{operations:?}");
    let work = |trouble, at, cuts: &[super::power_cut::Cut]| attempt.try_point(trouble, at, cuts);
    try_all("snapshot, syncs of the MANIFEST", &points, |_| Vec::new(), work);
}

/// Of a MANIFEST cuts are tried, in case its end was not made durable: many where no cut makes the database open. The disk may fail
/// between them.
#[test]
fn a_mending_that_cannot_be_ended_harms_no_acknowledged_snapshot() {
    let attempts = [0, 1].map(repair_of);
    let points = attempts.each_ref().map(|attempt| {
        let operations = attempt.operations();
        let trials = operations.iter().zip(1..).filter(|(what, _)| what.contains("MANIFEST"));
        trials.map(|(_, at)| (FAILS_ONCE, at)).collect::<Vec<_>>()
    });
    let (attempt, all) = attempts.iter().zip(points).max_by_key(|(_, points)| points.len()).unwrap();
    assert!(all.len() > 100, "few trials: {}", all.len());
    let points: Vec<_> = all.iter().step_by(all.len() / 16).chain(&all[all.len() - 4..]).copied().collect();
    let work = |trouble, at, cuts: &[super::power_cut::Cut]| attempt.try_point(trouble, at, cuts);
    try_all("repair --apply, mending", &points, |_| Vec::new(), work);
}
