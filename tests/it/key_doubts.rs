//! Lists of keys that may not be the newest: by one nobody is let in, left out or shut out, and there is a way on.

use std::fs;
use std::path::Path;

use larder::codec::digest;
use larder::format::Family;
use larder::model::{Ext, KeyChange, KeyInfo, Role, Timestamp};
use serde_json::{Value, json};

use crate::behind::{database, put, rows};
use crate::cheats::{forge_change, forge_change_at};
use crate::clocked::opened;
use crate::identities::toy;
use crate::key_objects::Stage;
use crate::keys::{capture, listed, named_member, names, one_snapshot, recipient_of, record_of, stranger};
use crate::lost_entries::{newest, parsed, row, set, write_tip};
use crate::sandbox::{Client, Ran, Sandbox};

const STRANGER: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// Damages these entries of the log, and an owner gives them up.
fn give_up(sandbox: &Sandbox, owner: &Client, sequences: &[u64]) {
    for sequence in sequences {
        let mut bytes = row(sandbox, *sequence).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        set(sandbox, &[(*sequence, Some(bytes))]);
    }
    owner.run(&sandbox.store(), ["repair", "--apply", "--accept-lost-entries"]).done();
}

/// The numbers of the entries that change keys.
fn changes(sandbox: &Sandbox) -> Vec<u64> {
    let all = rows(&database(&sandbox.store()), Family::Log).into_iter().map(|(_, value)| parsed(&value));
    all.filter(|entry| entry.kind == larder::model::LogKind::KeyChange).map(|entry| entry.sequence).collect()
}

fn name_of(client: &Client, store: &Path) -> String {
    record_of(client, store).0.name.to_string()
}

fn recipient_in(list: &Value, label: &str) -> Value {
    let keys = list["keys"].as_array().unwrap();
    keys.iter().find(|key| key["label"] == label).unwrap()["recipient"].clone()
}

#[test]
fn an_owner_who_has_not_seen_a_rotation_replaces_no_newer_objects() {
    let stage = Stage::new();
    let (store, [second, _, _]) = (stage.store(), &stage.others);
    let (record, path) = record_of(second, &store);
    let old = fs::read(&path).unwrap();
    stage.sandbox.larder(["key", "remove", "reader"]).done();
    fs::write(stage.tree.join("secret"), "what came since").unwrap();
    capture(stage.sandbox.client(), &store, &stage.tree).done();
    put(&database(&store), Family::Default, format!("key/{}", record.name).as_bytes(), &old);
    fs::write(&path, &old).unwrap();
    let keys = stage.objects();
    for words in
        [&["rotate"][..], &["remove", "writer"], &["remove", "writer", "--no-rotate"], &["add", "-r", STRANGER]]
    {
        second.run(&store, [&["key"], words].concat()).refused(12, "identities of the store that it has not");
        assert_eq!(stage.objects(), keys);
    }
    // By an owner's word it is done, and takes no only copy.
    let (own, first) = (record.name.to_string(), record_of(stage.sandbox.client(), &store).1);
    let kept = fs::read(&first).unwrap();
    let words = ["key", "rotate", "--keep", &own, "--keep", first.file_stem().unwrap().to_str().unwrap()];
    second.run(&store, words).done();
    assert_ne!(fs::read(&first).unwrap(), kept);
    let aside: Vec<_> = fs::read_dir(store.join("damaged")).unwrap().map(|item| item.unwrap().path()).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(aside[0].join(first.file_name().unwrap())).unwrap(), kept);
    fs::write(&first, &kept).unwrap();
    let read = stage.sandbox.larder(["cat", "d:secret"]).ended(0).stdout;
    assert_eq!(read, b"what came since");
}

#[test]
fn a_forged_rotation_keeps_no_owner_from_changing_keys() {
    let stage = Stage::new();
    let (store, [second, reader, _]) = (stage.store(), &stage.others);
    let (by, _) = record_of(reader, &store);
    let change = KeyChange { added: Vec::new(), removed: Vec::new(), rotated: true, keys: Vec::new(), ext: Ext::new() };
    for client in [stage.sandbox.client(), second] {
        forge_change(&store, &by, &change);
        client.run(&store, ["key", "rotate"]).done();
    }
    stage.all_work();
    assert!(!store.join("damaged").exists());
}

#[test]
fn a_removed_owners_list_does_not_take_the_place_of_one_that_is_lost() {
    for in_place in [true, false] {
        let stage = Stage::new();
        let (store, [second, reader, writer]) = (stage.store(), &stage.others);
        let former = named_member(&stage.sandbox, "owner", "former");
        capture(&former, &store, &stage.tree).done();
        let (record, _) = record_of(&former, &store);
        let name = record_of(second, &store).0.name;
        stage.sandbox.larder(["key", "remove", "former"]).done();
        let (removal, _) = newest(&stage.sandbox);
        stage.all_work();
        let info = |name, role, recipient: &str, label: &str| KeyInfo {
            name,
            role,
            recipient: recipient.to_owned(),
            label: label.to_owned(),
            added: Timestamp::EPOCH,
            ext: Ext::new(),
        };
        let first = record_of(stage.sandbox.client(), &store).0.name;
        let keys = vec![
            info(first, Role::Owner, &recipient_of(stage.sandbox.client()), "first"),
            info(name, Role::Owner, &recipient_of(&former), "second"),
            info(record_of(reader, &store).0.name, Role::Catalog, &recipient_of(reader), "reader"),
            info(record_of(writer, &store).0.name, Role::Writer, &recipient_of(writer), "writer"),
        ];
        let change = KeyChange { added: Vec::new(), removed: Vec::new(), rotated: false, keys, ext: Ext::new() };
        if in_place {
            let previous = digest(&row(&stage.sandbox, removal - 1).unwrap());
            forge_change_at(&store, &record, (removal, previous), &change);
            stage.sandbox.larder(["repair", "--apply", "--accept-lost-entries"]).done();
        } else {
            forge_change(&store, &record, &change);
            let (last, hash) = newest(&stage.sandbox);
            write_tip(&stage.sandbox, &opened(&stage.sandbox, writer), last, &hash);
            give_up(&stage.sandbox, stage.sandbox.client(), &[removal]);
        }
        let list = listed(stage.sandbox.client(), &store);
        assert_eq!(recipient_in(&list, "second"), recipient_of(second), "{list}");
        assert_eq!(list["outdated"], json!(true));
        stage.sandbox.larder(["key", "rotate"]).refused(2, "key rotate --keep");
        let first = first.to_string();
        let words = ["--keep", &first, "--keep", "second", "--keep", "reader", "--keep", "writer"];
        stage.sandbox.larder([&["key", "rotate"], &words[..]].concat()).done();
        fs::write(stage.tree.join("secret"), "what comes").unwrap();
        capture(stage.sandbox.client(), &store, &stage.tree).done();
        second.run(&store, ["cat", "d:secret"]).done();
        for state in [false, true] {
            if state {
                fs::remove_dir_all(former.state()).unwrap();
            }
            assert_eq!(former.run(&store, ["list"]).status, 12);
        }
    }
}

#[test]
fn the_key_in_use_is_of_its_own_list() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    sandbox.larder(["key", "rotate"]).done();
    sandbox.snapshot(&tree, "d").done();
    give_up(&sandbox, sandbox.client(), &changes(&sandbox));
    let list = listed(sandbox.client(), &store);
    let own = &list["keys"][0];
    assert_eq!((names(&list).len(), &own["role"], &own["in_use"]), (1, &json!("owner"), &json!(true)), "{list}");
    assert_eq!(own["recipient"], recipient_of(sandbox.client()));
    assert_eq!(sandbox.larder(["key", "rotate", "--json"]).json()["rotated"]["keys"], 1);
    assert_eq!(names(&listed(sandbox.client(), &store)), names(&list));
    sandbox.snapshot(&tree, "d").done();
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn an_owner_of_whom_no_list_is_left_goes_on_alone() {
    for rotated in [false, true] {
        let (sandbox, tree) = one_snapshot();
        let store = sandbox.store();
        let second = named_member(&sandbox, "owner", "second");
        if rotated {
            sandbox.larder(["key", "rotate"]).done();
        }
        capture(&second, &store, &tree).done();
        give_up(&sandbox, &second, &changes(&sandbox));
        let [own, other] = [&second, sandbox.client()].map(|client| name_of(client, &store));
        let run = |words: &[&str]| second.run(&store, [&["key"], words].concat());
        for words in [&["add", "-r", STRANGER][..], &["rotate"], &["remove", &other]] {
            run(words).refused(2, "key rotate --keep");
        }
        run(&["rotate", "--keep", &own, "--keep", &other]).refused(2, "leave it out");
        run(&["rotate", "--keep", &other]).refused(2, "");
        run(&["rotate", "--keep", &own]).done();
        assert_eq!(names(&listed(&second, &store)), [own]);
        run(&["add", "-r", &recipient_of(sandbox.client()), "--label", "first"]).done();
        capture(&second, &store, &tree).done();
        second.run(&store, ["verify", "--read-data"]).done();
    }
}

#[test]
fn who_is_not_known_by_what_opens_the_store_adds_another_key() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (bin, recipient, identity) = toy(&sandbox);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let holder = stranger(&sandbox, "holder").0;
    fs::write(holder.identity(), format!("{identity}\n")).unwrap();
    let run = |client: &Client, words: &[&str]| {
        let mut larder = client.larder(&store);
        larder.args(words).env("PATH", &path).env("LARDER_PASSPHRASE_COMMAND", "echo 4711");
        Ran::of(&mut larder)
    };
    run(sandbox.client(), &["key", "add", "-r", &recipient, "--label", "toy"]).done();
    let own = names(&listed(sandbox.client(), &store)).pop().unwrap();
    run(&holder, &["snapshot", tree.to_str().unwrap(), "-d", "d"]).done();
    for sequence in changes(&sandbox) {
        let mut bytes = row(&sandbox, sequence).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        set(&sandbox, &[(sequence, Some(bytes))]);
    }
    run(&holder, &["repair", "--apply", "--accept-lost-entries"]).done();
    run(&holder, &["key", "rotate"]).refused(2, "key rotate --keep");
    run(&holder, &["key", "rotate", "--keep", &own]).refused(2, "larder key add");
    let (new, public) = stranger(&sandbox, "new");
    run(&holder, &["key", "add", "-r", &public, "--label", "new"]).done();
    run(&new, &["key", "remove", &own, "--no-rotate"]).done();
    run(&new, &["key", "rotate"]).done();
    capture(&new, &store, &tree).done();
    new.run(&store, ["verify", "--read-data"]).done();
}

#[test]
fn whoever_is_not_kept_is_removed_though_no_list_has_the_key() {
    let stage = Stage::new();
    let (store, [second, reader, writer]) = (stage.store(), &stage.others);
    let stray = named_member(&stage.sandbox, "writer", "stray");
    let (added, _) = newest(&stage.sandbox);
    capture(&stray, &store, &stage.tree).done();
    capture(stage.sandbox.client(), &store, &stage.tree).done();
    let path = record_of(&stray, &store).1;
    give_up(&stage.sandbox, stage.sandbox.client(), &[added]);
    let kept = [stage.sandbox.client(), second, reader, writer].map(|client| name_of(client, &store));
    let words = kept.iter().flat_map(|name| ["--keep", name]).collect::<Vec<_>>();
    let told = stage.sandbox.larder([&["key", "rotate"], &words[..]].concat()).ended(0).stderr;
    assert!(told.contains("which no list of keys has"), "{told}");
    assert!(!path.exists());
    capture(&stray, &store, &stage.tree).refused(12, "ident");
    assert_eq!(names(&listed(stage.sandbox.client(), &store)), kept);
    stage.all_work();
}

#[test]
fn nobody_wraps_new_identities_without_the_key_in_use() {
    let stage = Stage::new();
    let (store, [second, _, _]) = (stage.store(), &stage.others);
    let (record, path) = record_of(second, &store);
    let old = fs::read(&path).unwrap();
    stage.sandbox.larder(["key", "remove", "second", "--no-rotate"]).done();
    put(&database(&store), Family::Default, format!("key/{}", record.name).as_bytes(), &old);
    fs::write(&path, &old).unwrap();
    let keys = stage.objects();
    second.run(&store, ["key", "rotate"]).refused(2, "not in the owners' list of keys");
    assert_eq!(stage.objects(), keys);
}
