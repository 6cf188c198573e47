//! Rows and files of key objects that somebody changed, took away or put back: no honest command makes it worse, and an owner mends it.

use std::fs;
use std::path::{Path, PathBuf};

use larder::format::Family;
use larder::model::{Ext, KeyChange, KeyName};
use serde_json::{Value, json};

use crate::behind::{database, delete, put, rows};
use crate::cheats::forge_change;
use crate::key_objects::Stage;
use crate::keys::{capture, listed, recipient_of, record_of};
use crate::lost_entries::{newest, row, set};
use crate::sandbox::{Client, noise};

/// What somebody makes of a row.
type Changed<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// Changes the rows of all keys but these.
pub(crate) fn change_rows(store: &Path, but: &[KeyName], change: &dyn Fn(&[u8]) -> Option<Vec<u8>>) {
    let db = database(store);
    for (key, value) in rows(&db, Family::Default) {
        let is_other = |name: &str| !but.iter().any(|but| but.to_string() == name);
        if let Some(name) =
            key.strip_prefix(b"key/").and_then(|name| std::str::from_utf8(name).ok()).filter(|n| is_other(n))
        {
            match change(&value) {
                Some(changed) => put(&db, Family::Default, &key, &changed),
                None => delete(&db, Family::Default, format!("key/{name}").as_bytes()),
            }
        }
    }
}

pub(crate) fn flipped(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    *value.last_mut().unwrap() ^= 1;
    value
}

pub(crate) fn row_of(store: &Path, name: KeyName) -> Option<Vec<u8>> {
    let key = format!("key/{name}");
    rows(&database(store), Family::Default)
        .into_iter()
        .find(|(k, _)| **k == *key.as_bytes())
        .map(|(_, value)| value.to_vec())
}

/// The label of keys that are marked so.
pub(crate) fn marked(client: &Client, store: &Path, mark: &str, as_what: bool) -> Vec<Value> {
    let list = listed(client, store);
    let keys = list["keys"].as_array().unwrap().iter();
    keys.filter(|key| key[mark] == as_what).map(|key| key["label"].clone()).collect()
}

#[test]
fn a_row_that_somebody_changed_a_little_takes_no_files_place() {
    let half = |value: &[u8]| [&value[..value.len() * 55 / 100], &noise(7, value.len() * 45 / 100)].concat();
    let changes: [(Changed, bool); 3] =
        [(&flipped, false), (&half, false), (&|value| [&value[..30], &noise(8, value.len())].concat(), true)];
    let stage = Stage::new();
    let (store, keys, [second, reader, writer]) = (stage.store(), stage.objects(), &stage.others);
    let is_object = |(path, _): &(PathBuf, Vec<u8>)| path.extension().is_some_and(|e| e == "age");
    for (change, is_laid_ready) in changes {
        for client in [writer, reader, second] {
            let own = record_of(client, &store).0.name;
            change_rows(&store, &[own], &|value| Some(change(value)));
            if is_laid_ready {
                for (path, _) in keys.iter().filter(|(path, _)| !path.to_str().unwrap().contains(&own.to_string())) {
                    let name = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
                    fs::write(path.with_extension("age.next"), row_of(&store, name).unwrap()).unwrap();
                }
            }
            if is_laid_ready {
                let of_init = record_of(stage.sandbox.client(), &store).0.name;
                let verified = String::from_utf8(second.run(&store, ["verify"]).ended(13).stdout).unwrap();
                assert!(verified.contains(&format!("the key object {of_init}:")), "{verified}");
            }
            capture(client, &store, &stage.tree).done();
            let now: Vec<_> = stage.objects().into_iter().filter(is_object).collect();
            assert_eq!(now, keys);
            // Nobody is shut out meanwhile.
            for other in [second, reader, stage.sandbox.client()] {
                other.run(&store, ["list"]).done();
            }
            stage.sandbox.larder(["repair", "--apply"]).done();
            assert_eq!(stage.objects(), keys);
            stage.all_work();
        }
    }
    // Whose key opens nothing changes nothing.
    change_rows(&store, &[], &|value| Some(flipped(value)));
    let (stranger, _) = crate::keys::stranger(&stage.sandbox, "stranger");
    stranger.run(&store, ["repair", "--apply"]).refused(12, "identit");
    assert_eq!(stage.objects(), keys);
    stage.sandbox.larder(["repair", "--apply"]).done();
    assert_eq!(stage.objects(), keys);
    stage.all_work();
    // One's own.
    let own = record_of(writer, &store).0.name;
    let others: Vec<_> =
        [stage.sandbox.client(), second, reader].map(|client| record_of(client, &store).0.name).to_vec();
    change_rows(&store, &others, &|value| Some(flipped(value)));
    capture(writer, &store, &stage.tree).refused(13, "larder repair --apply");
    stage.sandbox.larder(["repair", "--apply"]).done();
    assert_eq!(row_of(&store, own), fs::read(record_of(writer, &store).1).ok());
    stage.all_work();
}

/// Entries that say of a key that it was removed count if an owner has proved them, and did not add the key again.
#[test]
fn no_file_is_taken_away_by_a_word_that_counts_no_more() {
    let stage = Stage::new();
    let (store, tree, [second, reader, writer]) = (stage.store(), &stage.tree, &stage.others);
    for rotated in [false, true] {
        let mut words = vec!["key", "remove", "second"];
        words.extend(Some("--no-rotate").filter(|_| !rotated));
        stage.sandbox.larder(words).done();
        stage.sandbox.larder(["key", "add", "-r", &recipient_of(second), "--label", "second"]).done();
        let (keys, name) = (stage.objects(), record_of(second, &store).0.name);
        for client in [reader, stage.sandbox.client()] {
            delete(&database(&store), Family::Default, format!("key/{name}").as_bytes());
            capture(client, &store, tree).done();
            assert_eq!(stage.objects(), keys);
        }
        // An owner has given it a row again; a repair does, too.
        assert!(row_of(&store, name).is_some());
        delete(&database(&store), Family::Default, format!("key/{name}").as_bytes());
        assert!(stage.sandbox.larder(["verify"]).ended(13).stderr.contains("damage found"));
        stage.sandbox.larder(["repair", "--apply"]).done();
        assert!(row_of(&store, name).is_some());
        stage.all_work();
    }
    // A forged one, and the rows taken away.
    let keys = stage.objects();
    let of = |client| record_of(client, &store).0;
    let mut by = of(reader);
    let gone = vec![of(stage.sandbox.client()).name, of(second).name];
    let change = KeyChange { added: Vec::new(), removed: gone, rotated: false, keys: Vec::new(), ext: Ext::new() };
    by.chunk_identities.clear();
    forge_change(&store, &by, &change);
    change_rows(&store, &[of(reader).name, of(writer).name], &|_| None);
    capture(reader, &store, tree).done();
    assert_eq!(stage.objects(), keys);
    stage.sandbox.larder(["repair", "--apply"]).done();
    assert_eq!(stage.objects(), keys);
    // An owner is told of it, and of nothing else, until there is a newer list.
    let verified = String::from_utf8(second.run(&store, ["verify"]).ended(13).stdout).unwrap();
    assert!(verified.contains("the change of keys in entry ") && !verified.contains(": the key object "), "{verified}");
    reader.run(&store, ["verify"]).done();
    second.run(&store, ["key", "rotate"]).done();
    stage.all_work();
}

#[test]
fn who_was_removed_before_the_newest_rotation_comes_back_by_no_file() {
    let stage = Stage::new();
    let (store, [_, reader, _]) = (stage.store(), &stage.others);
    let (record, path) = record_of(reader, &store);
    let old = fs::read(&path).unwrap();
    stage.sandbox.larder(["key", "remove", "reader"]).done();
    stage.sandbox.larder(["key", "rotate"]).done();
    fs::write(&path, &old).unwrap();
    // A repair that builds the database anew gives it no row, and the next write of an owner sets it aside.
    let db = database(&store);
    let (key, _) = rows(&db, Family::Sums).remove(0);
    delete(&db, Family::Sums, &key);
    drop(db);
    stage.sandbox.larder(["repair", "--apply"]).done();
    assert_eq!(row_of(&store, record.name), None);
    capture(stage.sandbox.client(), &store, &stage.tree).done();
    assert!(!path.exists());
    let aside = fs::read_dir(store.join("damaged")).unwrap().map(|item| item.unwrap().path());
    assert!(aside.into_iter().any(|folder| fs::read(folder.join(path.file_name().unwrap())).is_ok_and(|b| b == old)));
    stage.sandbox.larder(["verify"]).done();
}

#[test]
fn new_identities_are_for_whom_an_owner_names_where_a_removal_may_be_lost() {
    for rotated in [false, true] {
        let stage = Stage::new();
        let (store, [second, reader, writer]) = (stage.store(), &stage.others);
        let (_, path) = record_of(reader, &store);
        let old = fs::read(&path).unwrap();
        let mut words = vec!["key", "remove", "reader"];
        words.extend(Some("--no-rotate").filter(|_| !rotated));
        stage.sandbox.larder(words).done();
        let (last, _) = newest(&stage.sandbox);
        capture(stage.sandbox.client(), &store, &stage.tree).done();
        set(&stage.sandbox, &[(last, row(&stage.sandbox, last).map(|bytes| flipped(&bytes)))]);
        fs::write(&path, &old).unwrap();
        let _told = stage.sandbox.larder(["repair", "--apply", "--accept-lost-entries"]);
        capture(stage.sandbox.client(), &store, &stage.tree).done();
        let own = record_of(stage.sandbox.client(), &store).0.name.to_string();
        let stranger = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        for words in
            [&["rotate"][..], &["remove", "writer"], &["remove", "second", "--no-rotate"], &["add", "-r", stranger]]
        {
            stage.sandbox.larder([&["key"], words].concat()).refused(2, "key rotate --keep");
        }
        stage.sandbox.larder(["key", "rotate", "--keep", &own, "--keep", "second", "--keep", "writer"]).done();
        fs::write(stage.tree.join("secret"), "what comes").unwrap();
        for client in [second, writer] {
            capture(client, &store, &stage.tree).done();
        }
        assert_eq!(listed(second, &store)["outdated"], json!(false));
        fs::write(&path, &old).unwrap();
        reader.run(&store, ["ls", "d"]).refused(12, "identities that the key in use has not");
        stage.sandbox.larder(["key", "rotate"]).done();
    }
}

#[test]
fn a_folder_where_a_key_object_is_laid_ready_is_told_and_set_aside() {
    let stage = Stage::new();
    let (_, path) = record_of(&stage.others[2], &stage.store());
    fs::create_dir(path.with_extension("age.next")).unwrap();
    fs::create_dir(path.with_file_name(".rubbish.new")).unwrap();
    let verified = String::from_utf8(stage.sandbox.larder(["verify"]).ended(13).stdout).unwrap();
    assert!(verified.contains(".age.next") && verified.contains(".rubbish.new"), "{verified}");
    capture(&stage.others[2], &stage.store(), &stage.tree).refused(13, "larder repair --apply");
    stage.sandbox.larder(["repair", "--apply"]).done();
    stage.sandbox.larder(["key", "rotate"]).done();
    stage.all_work();
}

#[test]
fn an_owner_is_told_which_files_of_keys_are_not_there_or_others() {
    let stage = Stage::new();
    let (store, owner, [second, reader, writer]) = (stage.store(), stage.sandbox.client(), &stage.others);
    for client in [owner, second] {
        assert_eq!((marked(client, &store, "swapped", true), marked(client, &store, "there", false)), (vec![], vec![]));
    }
    let [of_reader, of_writer, of_owner] = [reader, writer, owner].map(|client| record_of(client, &store).1);
    let kept = [&of_reader, &of_writer, &of_owner].map(|path| fs::read(path).unwrap());
    fs::copy(&of_owner, &of_reader).unwrap();
    fs::remove_file(&of_writer).unwrap();
    // What init made has no hash in any list: there row and file differ.
    fs::write(&of_owner, flipped(&kept[2])).unwrap();
    assert_eq!(marked(second, &store, "there", false), ["writer"]);
    assert_eq!(marked(second, &store, "swapped", true), [Value::Null, json!("reader")]);
    let told = String::from_utf8(second.run(&store, ["key", "list"]).ended(0).stdout).unwrap();
    assert!(told.contains("its file is missing") && told.contains("not the one that an owner wrote"), "{told}");
    fs::write(&of_owner, &kept[2]).unwrap();
    stage.sandbox.larder(["repair", "--apply"]).done();
    assert_eq!([of_reader, of_writer, of_owner].map(|path| fs::read(path).unwrap()), kept);
    stage.all_work();
}

#[test]
fn a_label_names_one_key() {
    let stage = Stage::new();
    let other = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    stage.sandbox.larder(["key", "add", "-r", other, "--label", "writer"]).refused(2, "has that label already");
    let third = recipient_of(&crate::keys::stranger(&stage.sandbox, "third").0);
    let words = ["key", "add", "-r", other, "-r", &third, "--label", "team"];
    stage.sandbox.larder(words).refused(2, "several keys cannot have the label");
    let name = record_of(stage.sandbox.client(), &stage.store()).0.name.to_string();
    for label in [&name, &name.to_uppercase(), "0123456789abcdef"] {
        stage.sandbox.larder(["key", "add", "-r", other, "--label", label]).refused(2, "are a key's name");
    }
    stage.sandbox.larder(["key", "remove", "writer"]).done();
    stage.sandbox.larder(["key", "add", "-r", other, "--label", "writer"]).done();
}
