//! Someone wants an entry of the log to count no more, or a client not to see that it is gone: losses that no owner accepted.

use std::fs;
use std::path::Path;

use larder::codec::{Authority, VoucherKey, digest};
use larder::format::{void_entries, void_ext};
use larder::model::{DatasetKey, Digest, KeyName, LogEntry, LogKind, SnapshotId, VoidEntry};
use larder::store::Store;

use crate::clocked::{now, opened};
use crate::keys::{listed, member, named_member, record_of};
use crate::lost_entries::{LAST, Stage, lose, newest, parsed, row, set, with_mac, write_tip};
use crate::sandbox::{Client, Sandbox};

/// An entry about a loss, at the end of the log.
fn loss(sandbox: &Sandbox, store: &Store, void: &[(u64, Digest)], by: KeyName) -> LogEntry {
    let (last, previous) = newest(sandbox);
    let void: Vec<_> =
        void.iter().map(|(sequence, stands)| VoidEntry { sequence: *sequence, stands: *stands }).collect();
    assert!(store.is_encrypted());
    LogEntry {
        kind: LogKind::Loss,
        sequence: last + 1,
        arrival: now(),
        dataset: DatasetKey::from_bytes([0; 16]),
        manifest: SnapshotId::from_bytes([0; 32]),
        previous,
        writer: by,
        ext: void_ext(&void, |_| None),
    }
}

/// Vouches for an entry, as whoever has a page identity can.
fn vouch(entry: &mut LogEntry, client: &Client, store: &Path) {
    let (record, _) = record_of(client, store);
    let voucher = VoucherKey::new(&record.page_identities[0]).voucher(&entry.to_bytes());
    entry.ext.insert(0, (2, voucher.to_vec()));
}

#[test]
fn nobody_but_an_owner_makes_an_entry_void() {
    let nothing = Digest::from_bytes([0; 32]);
    let stage = Stage::with(Sandbox::with_store(), |_| {});
    let writer = member(&stage.sandbox, "writer");
    let catalog = named_member(&stage.sandbox, "catalog", "reader");
    let path = stage.sandbox.store();
    let third = row(&stage.sandbox, 3).unwrap();
    let keys = opened(&stage.sandbox, &writer);
    let names = [stage.sandbox.client(), &catalog, &writer].map(|client| record_of(client, &path).0.name);
    for (who, name) in [("writer", names[0]), ("writer", names[2]), ("catalog", names[1]), ("another place", names[0])]
    {
        // With the row gone, and with it there.
        for gone in [true, false] {
            let stands = if gone { nothing } else { digest(&third) };
            let mut entry = loss(&stage.sandbox, &keys, &[(3, stands)], name);
            match who {
                "catalog" => vouch(&mut entry, &catalog, &path),
                "another place" => {
                    // An owner's proof, of another entry.
                    let (record, _) = record_of(stage.sandbox.client(), &path);
                    let authority = Authority::new(&record.chunk_identities[0]);
                    let (_, list) = void_entries(&entry.ext).unwrap();
                    let proof = authority.loss_proof(entry.sequence - 1, &entry.previous, list);
                    entry.ext.push((4, proof.to_vec()));
                    vouch(&mut entry, stage.sandbox.client(), &path);
                }
                _ => {}
            }
            let sequence = entry.sequence;
            set(&stage.sandbox, &[(sequence, Some(with_mac(&keys, &entry)))]);
            if gone {
                lose(&stage.sandbox, &[3]);
                stage.is_stuck();
                let told = String::from_utf8(stage.run(&["verify"]).ended(13).stdout).unwrap();
                assert!(told.contains("entry 3 of the arrival log: it is missing"), "{who}: {told}");
                set(&stage.sandbox, &[(3, Some(third.clone()))]);
            } else {
                stage.run(&["verify"]).done();
                assert_eq!(stage.holds(0), ["the case", "another case"], "{who}");
                stage.run(&["forget", &stage.ids[0]]).refused(2, "release");
            }
            // A client that has seen it must not be told that the log was set back by what the test takes away.
            lose(&stage.sandbox, &[sequence]);
            fs::remove_dir_all(stage.sandbox.client().state()).unwrap();
        }
    }
    for client in [&writer, &catalog] {
        lose(&stage.sandbox, &[3]);
        client.run(&path, ["repair", "--apply", "--accept-lost-entries"]).refused(12, "owner");
    }
}

/// Who can make MACs can put an entry at the end that does not fit, and a tip that does: then it is that one which is given up.
#[test]
fn a_forged_entry_at_the_end_does_not_void_the_hold_before_it() {
    // A capture behind it, which looks no farther than to the end of the log, does not make it truer.
    for (forged_tip, captured) in [(false, false), (true, false), (false, true), (true, true)] {
        let stage = Stage::with(Sandbox::with_store(), |_| {});
        let writer = member(&stage.sandbox, "writer");
        stage.run(&["hold", &stage.ids[1], "--reason", "in the way"]).done();
        let keys = opened(&stage.sandbox, &writer);
        let mut entry = loss(&stage.sandbox, &keys, &[(9, Digest::from_bytes([0; 32]))], keys.keyring().name());
        assert_eq!(entry.sequence, 10);
        (entry.kind, entry.previous) = (LogKind::Hold, Digest::from_bytes([9; 32]));
        let bytes = with_mac(&keys, &entry);
        set(&stage.sandbox, &[(10, Some(bytes.clone()))]);
        if forged_tip {
            write_tip(&stage.sandbox, &keys, 10, &digest(&bytes));
        }
        if captured {
            stage.sandbox.snapshot(&stage.source, "d").done();
        }
        stage.is_stuck();
        let done = stage.accept().json();
        let void: Vec<_> = done["accepted"]["entries"].as_array().unwrap().iter().map(|e| &e["sequence"]).collect();
        assert_eq!(void, [&serde_json::json!(10)], "{done}");
        assert_eq!(stage.holds(1), ["in the way"]);
        stage.run(&["forget", &stage.ids[1]]).refused(2, "release");
        stage.works(3 + usize::from(captured));
    }
    // The tip alone.
    let stage = Stage::new();
    let keys = opened(&stage.sandbox, stage.sandbox.client());
    write_tip(&stage.sandbox, &keys, LAST, &Digest::from_bytes([9; 32]));
    let _ran = stage.run(&["verify"]).ended(13);
    let done = stage.accept().json();
    assert_eq!(done["accepted"], serde_json::Value::Null, "{done}");
    assert_eq!(stage.holds(2), ["the newest"]);
    stage.works(3);
}

#[test]
fn a_client_is_not_led_past_its_pin_by_a_forged_loss() {
    let stage = Stage::with(Sandbox::with_store(), |_| {});
    let writer = member(&stage.sandbox, "writer");
    let store = stage.sandbox.store();
    let capture = |client: &Client| client.run(&store, ["snapshot", stage.source.to_str().unwrap(), "-d", "w"]);
    capture(&writer).done();
    stage.run(&["list"]).done();
    let keys = opened(&stage.sandbox, &writer);
    // 9 is gone, and 10 says in the owner's name that this was accepted.
    let nothing = Digest::from_bytes([0; 32]);
    let ninth = row(&stage.sandbox, 9).unwrap();
    let owner = record_of(stage.sandbox.client(), &store).0.name;
    let entry = loss(&stage.sandbox, &keys, &[(9, nothing)], owner);
    assert_eq!((entry.sequence, entry.previous), (10, digest(&ninth)));
    let bytes = with_mac(&keys, &entry);
    set(&stage.sandbox, &[(9, None), (10, Some(bytes.clone()))]);
    write_tip(&stage.sandbox, &keys, 10, &digest(&bytes));
    stage.run(&["list"]).refused(13, "ends before entry 9");
    capture(&writer).refused(13, "ends before entry 9");
}

/// Nobody counts on the log's having no more holes than can be told.
#[test]
fn losses_that_were_led_to_hide_no_other() {
    let stage = Stage::with(Sandbox::with_store(), |_| {});
    let writer = member(&stage.sandbox, "writer");
    let keys = opened(&stage.sandbox, &writer);
    for _ in 0..2 {
        let mut entry = loss(&stage.sandbox, &keys, &[(1, digest(b""))], keys.keyring().name());
        entry.sequence += (1 << 18) - 1;
        (entry.kind, entry.previous) = (LogKind::Hold, digest(b"another"));
        let bytes = with_mac(&keys, &entry);
        set(&stage.sandbox, &[(entry.sequence, Some(bytes.clone()))]);
        write_tip(&stage.sandbox, &keys, entry.sequence, &digest(&bytes));
    }
    drop(keys);
    // The newest are told first; of the others it is told that there are.
    stage.is_stuck();
    let _first = stage.accept();
    stage.is_stuck();
    stage.accept().done();
    stage.run(&["verify"]).done();
    assert_eq!(stage.holds(0), ["the case", "another case"]);
    lose(&stage.sandbox, &[3]);
    stage.is_stuck();
}

#[test]
fn what_is_put_where_a_loss_was_accepted_counts_for_nothing() {
    let stage = Stage::with(Sandbox::with_store(), |_| {});
    let (writer, reader) = (member(&stage.sandbox, "writer"), named_member(&stage.sandbox, "catalog", "reader"));
    let former = record_of(&reader, &stage.sandbox.store()).0;
    let keys = opened(&stage.sandbox, &writer);
    write_tip(&stage.sandbox, &keys, newest(&stage.sandbox).0 + 6, &Digest::from_bytes([9; 32]));
    stage.accept().done();
    stage.run(&["key", "remove", "reader"]).refused(2, "key rotate --keep");
    let in_store = listed(stage.sandbox.client(), &stage.sandbox.store());
    let owner = in_store["keys"][0]["name"].as_str().unwrap();
    stage.run(&["key", "rotate", "--keep", owner, "--keep", "writer"]).done();
    stage.sandbox.snapshot(&stage.source, "d").done();
    let listed = stage.run(&["list", "--json"]).json();
    let (last, _) = newest(&stage.sandbox);
    let gap: Vec<u64> = (1..last).filter(|sequence| row(&stage.sandbox, *sequence).is_none()).collect();
    assert_eq!(gap.len(), 6);
    let put = |place: usize, of: u64, kind: LogKind| {
        let about = parsed(&row(&stage.sandbox, of).unwrap());
        let mut entry = LogEntry { kind, sequence: gap[place], writer: former.name, ext: Vec::new(), ..about };
        let voucher = VoucherKey::new(&former.page_identities[0]).voucher(&entry.to_bytes());
        entry.ext.push((2, voucher.to_vec()));
        set(&stage.sandbox, &[(gap[place], Some(with_mac(&keys, &entry)))]);
    };
    // The newest snapshot, named before it was there, and an older one, given up by who was removed since.
    put(2, last, LogKind::Snapshot);
    put(4, 2, LogKind::Forget);
    assert_eq!(stage.run(&["list", "--json"]).json(), listed);
    drop(keys);
    stage.works(4);
}
