//! Who had a key of the store, or has one that may less, and writes into the log what only others may: nothing of it counts.

use larder::codec::{Authority, VoucherKey, digest, seal_value};
use larder::format::{Family, KeyRecord, number_key, void_ext};
use larder::model::{Digest, HoldAction, HoldDetail, LogEntry, LogKind, VoidEntry};

use crate::behind::put;
use crate::cheats::older_epoch;
use crate::clocked::{now, opened};
use crate::keys::{named_member, record_of};
use crate::lost_entries::{Stage, newest, parsed, row, set, with_mac, write_tip};
use crate::sandbox::{Client, copy_tree};

/// Adds an entry to the log behind Larder's back, vouched for by the newest page identity of a record.
fn add(stage: &Stage, record: &KeyRecord, kind: LogKind, of: u64, change: impl FnOnce(&mut LogEntry)) {
    let (last, previous) = newest(&stage.sandbox);
    let (sequence, bytes) = made(stage, record, kind, (last + 1, previous), of, change);
    set(&stage.sandbox, &[(sequence, Some(bytes))]);
}

/// Number and bytes of an entry about what another one is about.
fn made(
    stage: &Stage,
    record: &KeyRecord,
    kind: LogKind,
    (sequence, previous): (u64, Digest),
    of: u64,
    change: impl FnOnce(&mut LogEntry),
) -> (u64, Vec<u8>) {
    let about = parsed(&row(&stage.sandbox, of).unwrap());
    let mut entry =
        LogEntry { kind, sequence, arrival: now(), previous, writer: record.name, ext: Vec::new(), ..about };
    change(&mut entry);
    let voucher = VoucherKey::new(&record.page_identities[0]).voucher(&entry.to_bytes());
    let at = entry.ext.partition_point(|(tag, _)| *tag < 2);
    entry.ext.insert(at, (2, voucher.to_vec()));
    let keys = opened(&stage.sandbox, stage.sandbox.client());
    (entry.sequence, with_mac(&keys, &entry))
}

/// Says that these entries, which are whole, are lost and that an owner has accepted that; with the proof of an authority, if there is one.
fn give_up(stage: &Stage, record: &KeyRecord, sequences: &[u64]) {
    let void: Vec<_> = sequences
        .iter()
        .map(|sequence| VoidEntry { sequence: *sequence, stands: digest(&row(&stage.sandbox, *sequence).unwrap()) })
        .collect();
    let authority = record.chunk_identities.first().map(|identity| Authority::new(identity));
    add(stage, record, LogKind::Loss, 1, |entry| {
        entry.dataset = larder::model::DatasetKey::from_bytes([0; 16]);
        entry.manifest = larder::model::SnapshotId::from_bytes([0; 32]);
        let (sequence, previous) = (entry.sequence, entry.previous);
        entry.ext = void_ext(&void, |list| authority.as_ref().map(|a| a.loss_proof(sequence, &previous, list)));
    });
}

/// All is as it was, for everybody who can tell.
fn is_as_it_was(stage: &Stage, clients: &[&Client], what: &str) {
    for client in clients {
        let run = |words: &[&str]| client.run(&stage.sandbox.store(), words);
        assert_eq!(run(&["list", "--json"]).ids().len(), 3, "{what}");
        run(&["gc"]).done();
        let verified = run(&["verify", "--json"]).json();
        assert_eq!(verified["void_entries"], serde_json::json!([]), "{what}: {verified}");
        let shown = run(&["show", &stage.ids[0], "--json"]).json();
        assert_eq!(shown["holds"].as_array().unwrap().len(), 2, "{what}: {shown}");
    }
    stage.run(&["verify", "--read-data"]).done();
}

#[test]
fn whoever_was_removed_gives_up_nothing_any_more() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let [reader, second] = [("catalog", "reader"), ("owner", "second")]
        .map(|(role, label)| record_of(&named_member(&stage.sandbox, role, label), &store).0);
    let third = named_member(&stage.sandbox, "catalog", "third");
    stage.run(&["key", "remove", "reader", "second"]).done();
    for record in [&reader, &second] {
        // At once behind the rotation, when nobody has used the new identities yet.
        add(&stage, record, LogKind::Forget, 2, |_| {});
        is_as_it_was(&stage, &[stage.sandbox.client(), &third], "a snapshot is given up");
        give_up(&stage, record, &[1, 2, 3, 4, 5, 6, 7]);
        is_as_it_was(&stage, &[stage.sandbox.client(), &third], "all is declared lost");
    }
    stage.run(&["key", "reseal"]).done();
    add(&stage, &second, LogKind::Forget, 2, |_| {});
    give_up(&stage, &second, &[1, 3]);
    is_as_it_was(&stage, &[stage.sandbox.client(), &third], "after sealing anew");
    // What they did while they could stays, and what is done now counts.
    stage.run(&["forget", &stage.ids[1]]).done();
    assert_eq!(stage.run(&["list", "--json"]).ids().len(), 2);
    stage.works(2);
}

#[test]
fn what_is_whole_is_never_void() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let reader = named_member(&stage.sandbox, "catalog", "reader");
    for record in [record_of(&reader, &store).0, record_of(stage.sandbox.client(), &store).0] {
        // The policy (4) may be, whatever it says: of those it may be that what they say cannot be read.
        give_up(&stage, &record, &[1, 2, 3, 5, 6, 7]);
        is_as_it_was(&stage, &[stage.sandbox.client(), &reader], "all is declared lost");
    }
}

/// A store that has had three generations of identities, and what somebody was given of the second, and nothing of the third.
fn of_the_second(stage: &Stage) -> KeyRecord {
    let reader = named_member(&stage.sandbox, "catalog", "reader");
    stage.run(&["key", "rotate"]).done();
    let record = record_of(&reader, &stage.sandbox.store()).0;
    stage.run(&["key", "remove", "reader"]).done();
    stage.sandbox.snapshot(&stage.source, "d").done();
    record
}

#[test]
fn no_row_that_is_put_elsewhere_tells_since_when_identities_are_in_use() {
    let stage = Stage::new();
    let reader = of_the_second(&stage);
    let owner = record_of(stage.sandbox.client(), &stage.sandbox.store()).0;
    let listed = stage.run(&["list", "--json"]).json();
    // The newest, too: a catalog key may be stolen.
    for record in [&reader, &owner] {
        let (_, bytes) = made(&stage, record, LogKind::Snapshot, (1, Digest::from_bytes([0; 32])), 2, |_| {});
        for key in [&[0; 8][..], &[0; 9], &[0, 0, 0, 0, 0, 0, 0, 1, 1]] {
            put(&stage.database(), Family::Log, key, &bytes);
            assert_eq!(stage.run(&["list", "--json"]).json(), listed);
            assert_eq!(stage.holds(0), ["the case", "another case"]);
            stage.run(&["forget", &stage.ids[0]]).refused(2, "hold");
        }
    }
}

#[test]
fn no_row_in_anothers_place_tells_since_when_identities_are_in_use() {
    let stage = Stage::new();
    let reader = of_the_second(&stage);
    let first = digest(&row(&stage.sandbox, 1).unwrap());
    // One after the other, so that the first of them fits what stands behind it.
    let (_, second) = made(&stage, &reader, LogKind::Snapshot, (2, first), 2, |_| {});
    let (_, third) = made(&stage, &reader, LogKind::Snapshot, (3, digest(&second)), 2, |_| {});
    set(&stage.sandbox, &[(2, Some(second)), (3, Some(third))]);
    for is_accepted in [false, true] {
        if is_accepted {
            stage.accept().done();
        }
        let shown = stage.run(&["show", &stage.ids[0], "--json"]).ended(if is_accepted { 0 } else { 13 }).stdout;
        assert!(String::from_utf8(shown).unwrap().contains("another case"));
        stage.run(&["forget", &stage.ids[0]]).refused(if is_accepted { 2 } else { 13 }, "");
    }
    assert_eq!(stage.run(&["verify", "--json"]).json()["void_entries"], serde_json::json!([3]));
}

#[test]
fn what_is_put_in_a_void_place_leaves_the_loss_accepted() {
    let stage = Stage::new();
    let keys = opened(&stage.sandbox, stage.sandbox.client());
    write_tip(&stage.sandbox, &keys, newest(&stage.sandbox).0 + 2, &Digest::from_bytes([9; 32]));
    drop(keys);
    stage.accept().done();
    let reader = of_the_second(&stage);
    let listed = stage.run(&["list", "--json"]).json();
    let (place, before) = (8, Digest::from_bytes([0; 32]));
    assert!(row(&stage.sandbox, place).is_none() && row(&stage.sandbox, place + 1).is_none());
    let (_, bytes) = made(&stage, &reader, LogKind::Snapshot, (place, before), 2, |_| {});
    set(&stage.sandbox, &[(place, Some(bytes))]);
    assert_eq!(stage.run(&["list", "--json"]).json(), listed);
    assert_eq!(stage.holds(0), ["the case", "another case"]);
    stage.works(4);
}

/// Whoever was removed puts what it could make before in the place of the change of keys, and something that does not fit behind it.
#[test]
fn whoever_was_removed_does_not_write_the_log_again_from_there_on() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let reader = record_of(&named_member(&stage.sandbox, "catalog", "reader"), &store).0;
    stage.run(&["key", "remove", "reader"]).done();
    let (place, _) = newest(&stage.sandbox);
    stage.run(&["policy", "set", "d", "--keep-last", "9"]).done();
    stage.sandbox.snapshot(&stage.source, "d").done();
    let whole = stage.sandbox.path("whole");
    copy_tree(&store, &whole);
    let listed = stage.run(&["list", "--json"]).json();

    let before = digest(&row(&stage.sandbox, place - 1).unwrap());
    let lift = HoldDetail {
        action: HoldAction::Lifted,
        hold: 3,
        until: None,
        reason: None,
        by: "somebody".to_owned(),
        ext: Vec::new(),
    };
    let (epoch, sealing) = older_epoch(&store, &reader);
    let sealed = seal_value(epoch, &sealing, "log", &number_key(place), &lift.to_bytes());
    let (_, lift) = made(&stage, &reader, LogKind::Hold, (place, before), 3, |entry| entry.ext.push((1, sealed)));
    let (_, forget) = made(&stage, &reader, LogKind::Forget, (place, before), 2, |_| {});
    let forge = |forged: Vec<u8>| {
        let (_, behind) = made(&stage, &reader, LogKind::Snapshot, (place + 1, digest(&forged)), 1, |_| {});
        set(&stage.sandbox, &[(place, Some(forged)), (place + 1, Some(behind))]);
    };
    for forged in [lift, forget.clone()] {
        forge(forged);
        let printed = String::from_utf8(stage.run(&["list", "--json"]).ended(13).stdout).unwrap();
        assert!(stage.ids.iter().all(|id| printed.contains(id)), "{printed}");
        let shown = stage.run(&["show", &stage.ids[0], "--json"]).ended(13).stdout;
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("the case") && shown.contains("another case"), "{shown}");
        let told = String::from_utf8(stage.run(&["verify"]).ended(13).stdout).unwrap();
        assert!(told.contains(&format!("entry {place} ")) && told.contains(&format!("entry {} ", place + 1)), "{told}");
        stage.is_stuck();
        stage.run(&["heal", whole.to_str().unwrap()]).done();
        assert_eq!(stage.run(&["list", "--json"]).json(), listed);
        stage.run(&["verify"]).done();
    }
    forge(forget);
    let accepted = stage.accept().json()["accepted"]["entries"].to_string();
    assert!(accepted.contains(&place.to_string()) && accepted.contains(&(place + 1).to_string()), "{accepted}");
    stage.run(&["verify"]).done();
    assert_eq!(stage.run(&["list", "--json"]).ids().len(), 4);
    assert_eq!(stage.holds(0), ["the case", "another case"]);
    stage.run(&["forget", &stage.ids[0]]).refused(2, "hold");
    stage.works(4);
}

/// What the change of keys itself proves needs no entry behind it.
#[test]
fn what_was_done_before_a_rotation_counts_though_what_came_later_is_lost() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let reader = named_member(&stage.sandbox, "catalog", "reader");
    stage.run(&["forget", &stage.ids[1]]).done();
    stage.run(&["release", &stage.ids[2]]).done();
    stage.run(&["key", "rotate"]).done();
    stage.run(&["policy", "set", "d", "--keep-last", "9"]).done();
    let (lost, _) = newest(&stage.sandbox);
    stage.sandbox.snapshot(&stage.source, "d").done();
    let mut bytes = row(&stage.sandbox, lost).unwrap();
    bytes[30] ^= 1;
    set(&stage.sandbox, &[(lost, Some(bytes))]);
    let told = stage.run(&["verify"]).ended(13).stderr;
    assert!(told.contains("damage found: 1 object"), "{told}");
    stage.accept().done();
    for client in [stage.sandbox.client(), &reader] {
        let verified = client.run(&store, ["verify", "--json"]).json();
        assert_eq!(verified["void_entries"], serde_json::json!([lost]), "{verified}");
        assert_eq!(client.run(&store, ["list", "--json"]).ids().len(), 3);
    }
    assert!(stage.holds(2).is_empty());
    stage.works(3);
}
