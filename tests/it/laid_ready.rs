//! What lies ready beside a key's file may be all that opens the store; what somebody forged hides nothing; what is exported opens.

use std::fs;
use std::path::{Path, PathBuf};

use larder::codec::{unarmoured, unwrap};
use larder::format::Family;
use larder::model::{Digest, Ext, KeyChange};

use crate::behind::{database, delete, put};
use crate::cheats::forge_change;
use crate::clocked::{identities, opened};
use crate::key_objects::Stage;
use crate::key_rows::{flipped, marked, row_of};
use crate::keys::{capture, listed, recipient_of, record_of};
use crate::lost_entries::{newest, write_tip};
use crate::sandbox::Client;

/// Whether a file with these bytes is anywhere in a folder.
fn is_anywhere(dir: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).any(|path| {
        if path.is_dir() { is_anywhere(&path, bytes) } else { fs::read(&path).is_ok_and(|found| found == bytes) }
    })
}

fn ready(path: &Path) -> PathBuf {
    path.with_extension("age.next")
}

/// Changes the row of a key: by one byte, to another object, or takes it away.
fn set_row(store: &Path, path: &Path, row: Option<&[u8]>) {
    let key = format!("key/{}", path.file_stem().unwrap().to_str().unwrap());
    match row {
        Some(row) => put(&database(store), Family::Default, key.as_bytes(), row),
        None => delete(&database(store), Family::Default, key.as_bytes()),
    }
}

/// A change of keys that no owner made, by one who can do no more than read names. Gives its number.
fn forge(stage: &Stage, by: &Client) -> u64 {
    let mut by = record_of(by, &stage.store()).0;
    by.chunk_identities.clear();
    let nothing =
        KeyChange { added: Vec::new(), removed: Vec::new(), rotated: false, keys: Vec::new(), ext: Ext::new() };
    forge_change(&stage.store(), &by, &nothing);
    newest(&stage.sandbox).0
}

#[test]
fn what_lies_ready_opens_the_store_where_row_and_file_do_not() {
    // Whether as a kill leaves it; what became of the row; who writes then: a writer (2), another owner (0), nobody.
    let cases = [
        (true, "flipped", 2),
        (true, "flipped", 0),
        (true, "older", 2),
        (true, "gone", 9),
        (false, "flipped", 9),
        (false, "gone", 2),
    ];
    for (is_cut, what, writes) in cases {
        let stage = Stage::new();
        let (store, owner) = (stage.store(), stage.sandbox.client());
        let before = stage.objects();
        stage.sandbox.larder(["key", "rotate"]).done();
        let (_, path) = record_of(owner, &store);
        let newest = fs::read(&path).unwrap();
        let older = &before.iter().find(|(of, _)| *of == path).unwrap().1;
        if is_cut {
            for (path, old) in &before {
                fs::rename(path, ready(path)).unwrap();
                fs::write(path, old).unwrap();
            }
        } else {
            fs::rename(&path, ready(&path)).unwrap();
        }
        let changed = flipped(&newest);
        set_row(
            &store,
            &path,
            match what {
                "flipped" => Some(&changed),
                "older" => Some(older),
                _ => None,
            },
        );
        let place = format!("cut: {is_cut}, row {what}, {writes}");
        if let Some(client) = stage.others.get(writes) {
            capture(client, &store, &stage.tree).done();
            assert!(is_anywhere(&store, &newest), "{place}");
        }
        if writes == 0 {
            assert_eq!((fs::read(&path).unwrap(), ready(&path).exists()), (newest.clone(), false), "{place}");
        }
        stage.sandbox.larder(["list"]).done();
        let plan = stage.sandbox.larder(["repair"]);
        assert_eq!(plan.status, if writes == 0 { 0 } else { 13 }, "{place}: {}", plan.stderr);
        stage.sandbox.larder(["repair", "--apply"]).done();
        let name = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(row_of(&store, name).as_ref(), Some(&newest), "{place}");
        stage.all_work();
        assert_eq!(fs::read(&path).unwrap(), newest, "{place}");
        assert!(!ready(&path).exists(), "{place}");
        stage.sandbox.larder(["key", "rotate"]).done();
    }
}

#[test]
fn what_lies_ready_and_counts_no_more_an_owner_sets_aside() {
    let stage = Stage::new();
    let (store, [second, _, writer]) = (stage.store(), &stage.others);
    let before = stage.objects();
    stage.sandbox.larder(["key", "rotate"]).done();
    let (now, (_, path)) = (stage.objects(), record_of(second, &store));
    let older = &before.iter().find(|(of, _)| *of == path).unwrap().1;
    fs::write(ready(&path), older).unwrap();
    capture(writer, &store, &stage.tree).done();
    assert_eq!(&fs::read(ready(&path)).unwrap(), older, "a writer cannot tell");
    capture(second, &store, &stage.tree).done();
    assert!(is_anywhere(&store.join("damaged"), older));
    assert_eq!(stage.objects(), now);
    // What is the same as the file is needed by nobody, nor is what is no key object.
    for rubbish in [fs::read(&path).unwrap(), b"rubbish".to_vec()] {
        fs::write(ready(&path), rubbish).unwrap();
        capture(writer, &store, &stage.tree).done();
        assert_eq!(stage.objects(), now);
    }
    stage.all_work();
}

#[test]
fn a_forged_change_of_keys_is_told_and_hides_no_swapped_object() {
    for is_old in [true, false] {
        let stage = Stage::new();
        let (store, [second, reader, _]) = (stage.store(), &stage.others);
        let (_, path) = record_of(second, &store);
        let old = fs::read(&path).unwrap();
        stage.sandbox.larder(["key", "rotate"]).done();
        capture(stage.sandbox.client(), &store, &stage.tree).done();
        let forged = forge(&stage, reader);
        let object = if is_old { old } else { flipped(&fs::read(&path).unwrap()) };
        fs::write(&path, &object).unwrap();
        set_row(&store, &path, Some(&object));
        for words in [&["verify"][..], &["verify", "--read-data"]] {
            let verified = String::from_utf8(stage.sandbox.larder(words).ended(13).stdout).unwrap();
            let swapped = format!("the key object {}:", path.file_stem().unwrap().to_str().unwrap());
            let entry = format!("the change of keys in entry {forged}:");
            assert!(verified.contains(&swapped) && verified.contains(&entry), "{verified}");
            assert_eq!(verified.matches("damaged: the key object ").count(), 1, "{verified}");
        }
        assert_eq!(marked(stage.sandbox.client(), &store, "swapped", true), ["second"]);
        // Who cannot tell says nothing.
        reader.run(&store, ["verify"]).done();
        // An object and an entry that this owner cannot account for may be the word of another.
        stage.sandbox.larder(["key", "rotate"]).refused(12, "--keep");
        let own = record_of(stage.sandbox.client(), &store).0.name.to_string();
        let keep = [&own, "second", "reader", "writer"].map(|name| ["--keep", name]).concat();
        stage.sandbox.larder([&["key", "rotate"], &keep[..]].concat()).done();
        stage.all_work();
    }
}

#[test]
fn a_forged_change_of_keys_lets_nobody_in_where_losses_are_accepted() {
    let stage = Stage::new();
    let (store, [second, reader, writer]) = (stage.store(), &stage.others);
    let before = stage.objects();
    let [of_reader, of_writer, of_second] = [reader, writer, second].map(|client| record_of(client, &store));
    stage.sandbox.larder(["key", "remove", "reader"]).done();
    capture(writer, &store, &stage.tree).done();
    let (keys, old) = (stage.objects(), |path: &Path| &before.iter().find(|(of, _)| of == path).unwrap().1);
    let forged = forge(&stage, second);
    let keyring = opened(&stage.sandbox, writer);
    write_tip(&stage.sandbox, &keyring, forged + 3, &Digest::from_bytes([9; 32]));
    drop(keyring);
    for path in [&of_reader.1, &of_writer.1] {
        fs::write(path, old(path)).unwrap();
    }
    fs::remove_file(&of_second.1).unwrap();
    let _told = stage.sandbox.larder(["repair", "--apply", "--accept-lost-entries"]);
    assert_eq!(row_of(&store, of_reader.0.name), None, "who was removed stays out");
    for path in [&of_writer.1, &of_second.1] {
        let name = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let newest = &keys.iter().find(|(of, _)| of == path).unwrap().1;
        assert_eq!(row_of(&store, name).as_ref(), Some(newest), "rows are what an owner wrote last");
    }
    let own = record_of(stage.sandbox.client(), &store).0.name.to_string();
    stage.sandbox.larder(["key", "rotate", "--keep", &own, "--keep", "second", "--keep", "writer"]).done();
    for client in [stage.sandbox.client(), second, writer] {
        capture(client, &store, &stage.tree).done();
    }
    assert_ne!(capture(reader, &store, &stage.tree).status, 0);
}

#[test]
fn an_owner_who_was_set_back_is_told_so_by_verify_and_repair_too() {
    let stage = Stage::new();
    let (store, [second, ..]) = (stage.store(), &stage.others);
    let (_, path) = record_of(second, &store);
    let old = fs::read(&path).unwrap();
    stage.sandbox.larder(["key", "rotate"]).done();
    capture(stage.sandbox.client(), &store, &stage.tree).done();
    fs::write(&path, &old).unwrap();
    set_row(&store, &path, Some(&old));
    for words in [&["list"][..], &["verify"], &["verify", "--read-data"], &["repair"], &["repair", "--apply"]] {
        second.run(&store, words).refused(12, "identities that the key in use has not");
    }
}

/// What `key export` writes for a key, opened by its holder.
fn exports(stage: &Stage, by: &Client, of: &Client, what: &str) {
    let (store, to) = (stage.store(), stage.sandbox.path("paper"));
    let list = listed(by, &store);
    let key = list["keys"].as_array().unwrap().iter().find(|key| key["recipient"] == recipient_of(of)).unwrap();
    by.run(&store, ["key", "export", key["name"].as_str().unwrap(), "-o", to.to_str().unwrap()]).done();
    let object = unarmoured(fs::read(&to).unwrap());
    unwrap(&object, &identities(of)).unwrap_or_else(|e| panic!("{what}: {e}"));
    fs::remove_file(to).unwrap();
}

#[test]
fn what_is_exported_is_what_opens_the_store() {
    let stage = Stage::new();
    let (store, owner, [second, _, writer]) = (stage.store(), stage.sandbox.client(), &stage.others);
    for client in [second, writer] {
        let (_, path) = record_of(client, &store);
        let whole = fs::read(&path).unwrap();
        for row in [Some(flipped(&whole)), None] {
            set_row(&store, &path, row.as_deref());
            exports(&stage, owner, client, "row");
            // One's own, by whoever has a key.
            let text = client.run(&store, ["key", "export"]).ended(0).stdout;
            unwrap(&unarmoured(text), &identities(client)).unwrap();
        }
        set_row(&store, &path, Some(&whole));
        fs::write(&path, flipped(&whole)).unwrap();
        exports(&stage, owner, client, "file");
        fs::write(&path, &whole).unwrap();
    }
    // Of what init made there is no hash.
    let (_, path) = record_of(owner, &store);
    let whole = fs::read(&path).unwrap();
    for row in [Some(flipped(&whole)), None] {
        set_row(&store, &path, row.as_deref());
        let text = owner.run(&store, ["key", "export"]).ended(0).stdout;
        unwrap(&unarmoured(text), &identities(owner)).unwrap();
    }
}
