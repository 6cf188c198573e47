//! Who had a key of the store, or has one that may less, and writes into the log what only others may: nothing of it counts.

use larder::codec::{Authority, VoucherKey, digest};
use larder::format::{KeyRecord, void_ext};
use larder::model::{LogEntry, LogKind, VoidEntry};

use crate::clocked::{now, opened};
use crate::keys::{named_member, record_of};
use crate::lost_entries::{Stage, newest, parsed, row, set, with_mac};
use crate::sandbox::Client;

/// Adds an entry to the log behind Larder's back, vouched for by the newest page identity of a record.
fn add(stage: &Stage, record: &KeyRecord, kind: LogKind, of: u64, change: impl FnOnce(&mut LogEntry)) {
    let (last, previous) = newest(&stage.sandbox);
    let about = parsed(&row(&stage.sandbox, of).unwrap());
    let mut entry =
        LogEntry { kind, sequence: last + 1, arrival: now(), previous, writer: record.name, ext: Vec::new(), ..about };
    change(&mut entry);
    let voucher = VoucherKey::new(&record.page_identities[0]).voucher(&entry.to_bytes());
    let at = entry.ext.partition_point(|(tag, _)| *tag < 2);
    entry.ext.insert(at, (2, voucher.to_vec()));
    let keys = opened(&stage.sandbox, stage.sandbox.client());
    set(&stage.sandbox, &[(entry.sequence, Some(with_mac(&keys, &entry)))]);
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
