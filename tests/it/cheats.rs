//! Someone with a writer key, or an owner key that was removed, tries what it does not permit.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use larder::codec::{
    Authority, DataKey, IdKeys, MacLabel, digest, generate_identity, parse_identities, seal_value, unwrap,
};
use larder::format::{EpochRecord, Family, KeyRecord, Place, from_bytes, index_key, join_mac, number_key};
use larder::model::{
    DatasetKey, Digest, EpochId, Ext, KeyChange, KeyName, LogEntry, LogKind, Role, SnapshotId, Timestamp,
};

use crate::behind::{database, merge, put, rows};
use crate::keys::{
    Nobody, capture, listed, named_member, names, one_snapshot, recipient_of, record_of, restores, write_object,
};
use crate::sandbox::{Client, copy_tree, noise};

/// Files rubbish under the id of a content: its own block, found under another id.
fn poison(store: &Path, writer: &Client, content: &[u8], own: &[u8]) {
    let (record, _) = record_of(writer, store);
    let ids = IdKeys::new(&record.id_key);
    let db = database(store);
    let row = |id: &[u8; 32]| {
        let key = index_key(id);
        rows(&db, Family::Chunks).into_iter().find(|(k, _)| **k == key).map(|(_, v)| v)
    };
    let places = row(ids.chunk(own).as_bytes()).expect("the writer has stored its own content");
    assert!(row(ids.chunk(content).as_bytes()).is_none(), "nobody has stored the content yet");
    put(&db, Family::Chunks, &index_key(ids.chunk(content).as_bytes()), &places);
    assert!(!from_bytes::<Vec<Place>>(&places, "places").unwrap().is_empty());
}

#[test]
fn rubbish_that_a_writer_files_under_anothers_id_spoils_no_capture() {
    for role in ["writer", "catalog", "owner"] {
        let (sandbox, tree) = one_snapshot();
        let store = sandbox.store();
        let (victim, bad) = (named_member(&sandbox, role, "victim"), named_member(&sandbox, "writer", "bad"));
        let theirs = sandbox.path("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("file"), noise(50, 1000)).unwrap();
        bad.run(&store, ["snapshot", theirs.to_str().unwrap(), "-d", "bad"]).done();
        poison(&store, &bad, &noise(51, 2000), &noise(50, 1000));
        fs::write(tree.join("wanted"), noise(51, 2000)).unwrap();
        capture(&victim, &store, &tree).done();
        restores(sandbox.client(), &store, "d", &tree, &sandbox.path("dest"));
        // Once it is stored rightly it is not stored again.
        let json = victim.run(&store, ["snapshot", tree.to_str().unwrap(), "-d", "d", "--force-read", "--json"]).json();
        assert_eq!(json["new_bytes"], 0, "{role}: {json}");
    }
}

/// The same for all that a folder needs, pages too: whatever the index says of what a writer filed, others store their own.
#[test]
fn rubbish_for_a_whole_folder_spoils_no_capture() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (victim, bad) = (named_member(&sandbox, "writer", "victim"), named_member(&sandbox, "writer", "bad"));
    fs::write(tree.join("folder/more"), noise(52, 900_000)).unwrap();
    let theirs = sandbox.path("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("file"), noise(50, 1000)).unwrap();
    bad.run(&store, ["snapshot", theirs.to_str().unwrap(), "-d", "bad"]).done();
    let families = [Family::Chunks, Family::Pages];
    let stored = || families.map(|family| rows(&database(&store), family));
    let rubbish = stored();
    capture(&bad, &store, &tree).done();
    let (new, mut filed) = (stored(), 0);
    let db = database(&store);
    for ((family, rubbish), new) in families.into_iter().zip(rubbish).zip(new) {
        // The newest block of the first run is the attacker's own: whole numbers grow.
        let place = |v: &[u8]| from_bytes::<Vec<Place>>(v, "places").unwrap()[0].block;
        let own = rubbish.iter().map(|(_, v)| v).max_by_key(|v| place(v)).unwrap();
        for (key, _) in new.iter().filter(|(key, _)| !rubbish.iter().any(|(k, _)| k == key)) {
            put(&db, family, key, own);
            filed += 1;
        }
    }
    drop(db);
    assert!(filed >= 4, "{filed}");
    capture(&victim, &store, &tree).done();
    restores(sandbox.client(), &store, "d", &tree, &sandbox.path("dest"));
}

#[test]
fn a_writer_takes_what_owners_stored_and_not_what_another_writer_did() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (one, two) = (named_member(&sandbox, "writer", "one"), named_member(&sandbox, "writer", "two"));
    let new_bytes = |client: &Client| {
        let words = ["snapshot", tree.to_str().unwrap(), "-d", "d", "--force-read", "--json"];
        client.run(&store, words).json()["new_bytes"].as_u64().unwrap()
    };
    assert_eq!(new_bytes(&one), 0, "an owner stored it all");
    fs::write(tree.join("more"), noise(60, 150_000)).unwrap();
    assert!(new_bytes(&one) >= 150_000);
    assert_eq!(new_bytes(&one), 0);
    assert!(new_bytes(&two) >= 150_000, "stored by a stranger");
    assert_eq!(new_bytes(&two), 0);
    assert!(new_bytes(sandbox.client()) >= 150_000, "an owner relies on no stranger either");
    sandbox.larder(["verify", "--read-data"]).done();
    restores(sandbox.client(), &store, "d", &tree, &sandbox.path("dest"));
}

/// A key object for the victim with the attacker's recipients, made with all that a writer knows.
fn forged_record(writer: &Client, victim: KeyName, store: &Path) -> KeyRecord {
    let (mut record, _) = record_of(writer, store);
    let ((page, page_recipient), (chunk, chunk_recipient)) = (generate_identity(), generate_identity());
    record.name = victim;
    record.role = Role::Owner;
    (record.page_recipient, record.chunk_recipient) = (page_recipient, chunk_recipient);
    (record.page_identities, record.chunk_identities) = (vec![page.to_string()], vec![chunk.to_string()]);
    record
}

/// Adds an entry to the log that claims a change of keys, as one can who knows the id key.
fn forge_entry(store: &Path, record: &KeyRecord, detail: Vec<u8>) {
    let (sequence, previous) = end(store);
    forge_entry_at(store, record, (sequence, previous), detail);
}

/// Number of the next entry of the log, and hash of the last.
fn end(store: &Path) -> (u64, Digest) {
    let last = rows(&database(store), Family::Log).pop();
    let sequence = last.as_ref().map_or(0, |(key, _)| u64::from_be_bytes((**key).try_into().unwrap())) + 1;
    (sequence, last.map_or(Digest::from_bytes([0; 32]), |(_, value)| digest(&value)))
}

fn forge_entry_at(store: &Path, record: &KeyRecord, (sequence, previous): (u64, Digest), detail: Vec<u8>) {
    let ids = IdKeys::new(&record.id_key);
    let db = database(store);
    let body = LogEntry {
        kind: LogKind::KeyChange,
        sequence,
        arrival: Timestamp::EPOCH,
        dataset: DatasetKey::from_bytes([0; 16]),
        manifest: SnapshotId::from_bytes([0; 32]),
        previous,
        writer: record.name,
        ext: vec![(1, detail)],
    }
    .to_bytes();
    let mac = ids.mac(MacLabel::Log, &[&body]);
    put(&db, Family::Log, &number_key(sequence), &join_mac(body, &mac));
    merge(&db, Family::Log);
}

/// The same with a detail that can be read, sealed by one who has these page identities; proved with the authority of the record, if it has one.
pub(crate) fn forge_change(store: &Path, by: &KeyRecord, change: &KeyChange) {
    forge_change_at(store, by, end(store), change);
}

/// The same in another place, behind an entry with this hash.
pub(crate) fn forge_change_at(store: &Path, by: &KeyRecord, place: (u64, Digest), change: &KeyChange) {
    let (sequence, previous) = place;
    let proof = by
        .chunk_identities
        .first()
        .map_or([9; 32], |identity| Authority::new(identity).proof(sequence, &previous, &change.to_bytes()));
    let plain = join_mac(change.to_bytes(), &proof);
    let (epoch, sealing) = older_epoch(store, by);
    forge_entry_at(store, by, place, seal_value(epoch, &sealing, "log", &number_key(sequence), &plain));
}

/// An epoch that whoever has these page identities opens, and its key: one from before.
pub(crate) fn older_epoch(store: &Path, by: &KeyRecord) -> (EpochId, DataKey) {
    let found = rows(&database(store), Family::Epochs).into_iter().find_map(|(_, value)| {
        let epoch = EpochRecord::from_bytes(&value[..value.len() - 32]).unwrap();
        let text = by.page_identities[0].as_bytes();
        let identity = parse_identities(text, "store", Arc::new(Nobody)).unwrap();
        let plain = unwrap(&epoch.page_key, &identity).ok()?;
        Some((epoch.epoch, DataKey::new(&<[u8; 32]>::try_from(&plain[17..]).unwrap())))
    });
    found.unwrap()
}

#[test]
fn a_writer_cannot_have_others_seal_to_its_own_key() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let bad = named_member(&sandbox, "writer", "bad");
    for (role, label) in [("writer", "w"), ("catalog", "c"), ("owner", "o")] {
        let victim = named_member(&sandbox, role, label);
        capture(&victim, &store, &tree).done();
        let (good, path) = record_of(&victim, &store);
        let bytes = fs::read(&path).unwrap();
        let mut forged = forged_record(&bad, good.name, &store);
        if role == "writer" {
            forged.role = Role::Writer;
            forged.page_identities.clear();
            forged.chunk_identities.clear();
        }
        for entry in [false, true] {
            if entry {
                forge_entry(&store, &forged, vec![0; 200]);
            }
            write_object(&path, &forged, &recipient_of(&victim));
            capture(&victim, &store, &tree).refused(12, "recipients changed");
            // Beside the right one, under another name that comes first, it hinders nobody.
            let beside = path.with_file_name("0000000000000000.age");
            forged.name = KeyName::from_bytes([0; 8]);
            fs::write(&path, &bytes).unwrap();
            write_object(&beside, &forged, &recipient_of(&victim));
            capture(&victim, &store, &tree).done();
            let newest = rows(&database(&store), Family::Epochs).len();
            assert_eq!(opened_epochs(&store, sandbox.client()), newest, "all of it is sealed to the store's own");
            fs::remove_file(&beside).unwrap();
            forged.name = good.name;
        }
        // With the right recipients, which it knows too, but not the identities that belong to them.
        forged.page_recipient.clone_from(&good.page_recipient);
        forged.chunk_recipient.clone_from(&good.chunk_recipient);
        if role != "writer" {
            write_object(&path, &forged, &recipient_of(&victim));
            capture(&victim, &store, &tree).refused(12, "the key record changed");
        }
        fs::write(&path, &bytes).unwrap();
        capture(&victim, &store, &tree).done();
    }
    // The owners' list of keys did not change, and they are told of what came after their newest entry.
    let list = listed(sandbox.client(), &store);
    assert_eq!(list["forged_entries"].as_array().unwrap().len(), 1);
    assert_eq!(names(&list).len(), 5);
}

/// Who swaps another's key object, row and file, locks that one out; an owner is told, and writes it anew.
#[test]
fn an_owner_is_told_whose_key_object_was_swapped() {
    let (sandbox, _) = one_snapshot();
    let store = sandbox.store();
    let (bad, victim) = (named_member(&sandbox, "writer", "bad"), named_member(&sandbox, "catalog", "victim"));
    victim.run(&store, ["list"]).done();
    let (good, path) = record_of(&victim, &store);
    let mut forged = forged_record(&bad, good.name, &store);
    forged.role = Role::Catalog;
    forged.chunk_identities.clear();
    write_object(&path, &forged, &recipient_of(&victim));
    let row = format!("key/{}", good.name);
    put(&database(&store), Family::Default, row.as_bytes(), &fs::read(&path).unwrap());
    victim.run(&store, ["list"]).refused(12, "changed");
    let swapped = |list: &serde_json::Value| {
        let keys = list["keys"].as_array().unwrap();
        keys.iter().filter(|key| key["swapped"] == true).map(|key| key["label"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(swapped(&listed(sandbox.client(), &store)), ["victim"]);
    let listed_keys = String::from_utf8(sandbox.larder(["key", "list"]).ended(0).stdout).unwrap();
    assert_eq!(listed_keys.matches("not the one that an owner wrote").count(), 1, "{listed_keys}");
    let verified = String::from_utf8(sandbox.larder(["verify", "--json"]).ended(13).stdout).unwrap();
    assert!(verified.contains(&format!("the key object {}", good.name)), "{verified}");
    // Whoever cannot check what owners prove says nothing of it.
    bad.run(&store, ["verify", "--no-key"]).done();
    sandbox.larder(["key", "rotate"]).done();
    sandbox.larder(["verify"]).done();
    assert!(swapped(&listed(sandbox.client(), &store)).is_empty());
    victim.run(&store, ["list"]).done();
}

/// How many runs an owner can open.
fn opened_epochs(store: &Path, owner: &Client) -> usize {
    let (record, _) = record_of(owner, store);
    let of = |texts: &[String]| parse_identities(texts.join("\n").as_bytes(), "store", Arc::new(Nobody)).unwrap();
    let (page, chunk) = (of(&record.page_identities), of(&record.chunk_identities));
    let opens = |value: &[u8]| {
        let epoch = EpochRecord::from_bytes(&value[..value.len() - 32]).unwrap();
        unwrap(&epoch.page_key, &page).is_ok() && unwrap(&epoch.chunk_key, &chunk).is_ok()
    };
    rows(&database(store), Family::Epochs).iter().filter(|(_, value)| opens(value)).count()
}

/// Someone whose owner key was removed has the older authority, and may seal details: the page recipient is no secret.
#[test]
fn a_removed_owner_adds_nobody() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let former = named_member(&sandbox, "owner", "former");
    let (old, _) = record_of(&former, &store);
    sandbox.larder(["key", "remove", "former"]).done();
    // A list of keys of their own, proved with the authority that they had, put in the place of the newest entry's successor.
    let before = names(&listed(sandbox.client(), &store));
    let change =
        KeyChange { added: vec![old.name], removed: Vec::new(), rotated: false, keys: Vec::new(), ext: Ext::new() };
    forge_change(&store, &old, &change);
    let list = listed(sandbox.client(), &store);
    assert_eq!(names(&list), before);
    assert_eq!(list["forged_entries"].as_array().unwrap().len(), 1);
    capture(sandbox.client(), &store, &tree).done();
    let copy = sandbox.path("copy");
    copy_tree(&store, &copy);
    former.run(&copy, ["list"]).refused(12, "ident");
}

/// Whatever counts on from the number of a row must come to an end, and not to that of all numbers.
#[test]
fn a_row_with_an_impossible_number_is_damage() {
    let (sandbox, tree) = one_snapshot();
    let (store, whole) = (sandbox.store(), sandbox.path("whole"));
    copy_tree(&store, &whole);
    let last = u64::MAX.to_be_bytes();
    let rows = [
        (Family::Log, &last[..]),
        (Family::Data, &last),
        (Family::Tree, &last),
        (Family::Sums, &last),
        (Family::Default, b"gc"),
        (Family::Default, b"next"),
    ];
    for (family, key) in rows {
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&whole, &store);
        put(&database(&store), family, key, &last);
        let capture = ["snapshot", tree.to_str().unwrap(), "-d", "d"];
        for words in
            [&["list"][..], &["verify"], &["verify", "--no-key"], &["gc"], &["forget", "d"], &capture, &["repair"]]
        {
            let ran = sandbox.larder(words);
            assert!([0, 3, 13].contains(&ran.status), "{family:?} {words:?}: {ran:?}");
        }
    }
}
