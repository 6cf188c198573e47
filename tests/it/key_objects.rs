//! Row and file of a key object are different ones, or the newest list of keys is lost: nobody is shut out, and nobody let in again.

use std::fs;
use std::path::PathBuf;

use larder::format::Family;
use larder::model::Digest;
use serde_json::json;

use crate::behind::{database, put, rows};
use crate::clocked::opened;
use crate::keys::{capture, listed, named_member, one_snapshot, record_of};
use crate::lost_entries::{lose, newest, row, set, write_tip};
use crate::sandbox::{Client, Sandbox, copy_tree, noise};

/// A store with a snapshot, and the clients of an owner, a catalog holder and a writer beside the first owner.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) tree: PathBuf,
    pub(crate) others: [Client; 3],
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (sandbox, tree) = one_snapshot();
        let others = [("owner", "second"), ("catalog", "reader"), ("writer", "writer")]
            .map(|(role, label)| named_member(&sandbox, role, label));
        let stage = Self { sandbox, tree, others };
        stage.all_work();
        stage
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.sandbox.store()
    }

    pub(crate) fn objects(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let items = fs::read_dir(self.store().join("keys")).unwrap().map(|item| item.unwrap().path());
        let mut found: Vec<_> = items.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        found.sort();
        found
    }

    fn capture(&self, client: &Client) {
        capture(client, &self.store(), &self.tree).done();
    }

    pub(crate) fn all_work(&self) {
        let [second, reader, writer] = &self.others;
        for client in [self.sandbox.client(), second, writer] {
            self.capture(client);
        }
        for client in [self.sandbox.client(), second, reader] {
            client.run(&self.store(), ["verify"]).done();
        }
    }

    /// Rows of key objects that are none, though they begin as one.
    fn spoil_rows(&self) {
        let db = database(&self.store());
        for (key, value) in rows(&db, Family::Default) {
            if key.starts_with(b"key/") {
                let text = [&b"age-encryption.org/v1\n"[..], &noise(5, value.len())].concat();
                put(&db, Family::Default, &key, &text);
            }
        }
    }
}

#[test]
fn rows_that_somebody_put_there_take_no_place_of_files_that_open() {
    let stage = Stage::new();
    let (keys, [second, _, writer]) = (stage.objects(), &stage.others);
    stage.spoil_rows();
    // Whose own row is another one writes nothing, least of all to files.
    for client in [writer, second, stage.sandbox.client()] {
        let _ran = capture(client, &stage.store(), &stage.tree);
        assert_eq!(stage.objects(), keys);
    }
    stage.spoil_rows();
    let told = stage.sandbox.larder(["repair", "--apply", "--json"]).json();
    assert_eq!((&told["unsettled_keys"], told["settled_keys"].as_array().unwrap().len()), (&json!([]), 4), "{told}");
    assert_eq!(stage.objects(), keys);
    stage.all_work();
    // A header of another store in the place of the row, too.
    stage.spoil_rows();
    let another = Sandbox::with_store();
    let header = fs::read(another.store().join("header")).unwrap();
    put(&database(&stage.store()), Family::Default, b"header", &header);
    let ours = fs::read(stage.store().join("header")).unwrap();
    stage.sandbox.larder(["repair", "--apply"]).done();
    assert_eq!((stage.objects(), fs::read(stage.store().join("header")).unwrap()), (keys, ours));
    stage.all_work();
}

#[test]
fn a_database_that_was_set_back_with_its_tip_takes_no_newer_objects_place() {
    let stage = Stage::new();
    let (old, [second, reader, _]) = (stage.sandbox.path("old"), &stage.others);
    copy_tree(&stage.store(), &old);
    stage.sandbox.larder(["key", "remove", "reader"]).done();
    fs::remove_dir_all(stage.store().join("db")).unwrap();
    copy_tree(&old.join("db"), &stage.store().join("db"));
    fs::copy(old.join("tip"), stage.store().join("tip")).unwrap();
    let keys = stage.objects();
    reader.run(&stage.store(), ["list"]).refused(12, "identit");
    for words in [&["key", "rotate"][..], &["snapshot", stage.tree.to_str().unwrap()], &["repair", "--apply"]] {
        second.run(&stage.store(), words).refused(13, "older than the key objects beside it");
        // A repair puts an object in place that is not there.
        let now = stage.objects();
        assert!(keys.iter().all(|object| now.contains(object)), "{words:?}");
    }
}

#[test]
fn losses_that_were_led_to_let_nobody_in_again() {
    let stage = Stage::new();
    let (old, [second, reader, writer]) = (stage.sandbox.path("old"), &stage.others);
    copy_tree(&stage.store().join("keys"), &old);
    stage.sandbox.larder(["key", "remove", "reader"]).done();
    stage.capture(writer);
    let keys = stage.objects();
    let keyring = opened(&stage.sandbox, writer);
    write_tip(&stage.sandbox, &keyring, newest(&stage.sandbox).0 + 3, &Digest::from_bytes([9; 32]));
    drop(keyring);
    // Files of before for who was removed and for the writer; none for the other owner.
    let second_path = record_of(second, &stage.store()).1;
    let own = record_of(stage.sandbox.client(), &stage.store()).1;
    for (path, bytes) in
        fs::read_dir(&old).unwrap().map(|item| item.unwrap().path()).map(|p| (p.clone(), fs::read(p).unwrap()))
    {
        let to = stage.store().join("keys").join(path.file_name().unwrap());
        if to == second_path {
            fs::remove_file(to).unwrap();
        } else if to != own {
            fs::write(to, bytes).unwrap();
        }
    }
    stage.sandbox.larder(["repair", "--apply", "--accept-lost-entries"]).done();
    assert_eq!(stage.objects(), keys);
    for client in [stage.sandbox.client(), second, writer] {
        stage.capture(client);
    }
    assert_ne!(capture(reader, &stage.store(), &stage.tree).status, 0);
}

/// Nobody gives new identities to keys of a list that may not be the newest.
#[test]
fn a_lost_list_of_keys_is_not_made_up_for() {
    let stage = Stage::new();
    let (store, [_, reader, _]) = (stage.store(), &stage.others);
    let list = || {
        let list = listed(stage.sandbox.client(), &store);
        let keys = list["keys"].as_array().unwrap().iter();
        let mut roles: Vec<_> = keys.map(|key| format!("{} {}", key["label"], key["role"])).collect();
        roles.sort();
        (roles, list["outdated"] == true)
    };
    let before = list();
    assert_eq!((before.0.len(), before.1), (4, false));
    for rotated in [false, true] {
        let words = ["key", "remove", "reader", "--no-rotate"];
        stage.sandbox.larder(&words[..if rotated { 3 } else { 4 }]).done();
        let (last, _) = newest(&stage.sandbox);
        let bytes = row(&stage.sandbox, last).unwrap();
        stage.capture(stage.sandbox.client());
        lose(&stage.sandbox, &[last]);
        for words in [
            &["key", "rotate"][..],
            &["key", "add", "-r", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
            &["key", "remove", "writer"],
        ] {
            stage.sandbox.larder(words).refused(13, "--accept-lost-entries");
        }
        let _ran = stage.sandbox.larder(["key", "list"]).ended(13);
        if rotated {
            stage.sandbox.larder(["repair", "--apply", "--accept-lost-entries"]).done();
            // Roles and labels are those of the list before.
            assert_eq!(list(), (before.0.iter().filter(|key| !key.contains("reader")).cloned().collect(), true));
            // Who else was removed by what is lost nobody knows: an owner says who stays.
            for words in [&["rotate"][..], &["remove", "writer"], &["remove", "writer", "--no-rotate"]] {
                stage.sandbox.larder([&["key"], words].concat()).refused(2, "key rotate --keep");
            }
            let own = record_of(stage.sandbox.client(), &store).0.name.to_string();
            stage.sandbox.larder(["key", "rotate", "--keep", "writer"]).refused(2, "--keep");
            let words = ["key", "rotate", "--keep", &own, "--keep", "writer", "--keep", "second"];
            stage.sandbox.larder(words).done();
            assert!(!list().1);
            reader.run(&store, ["list"]).refused(12, "identit");
        } else {
            set(&stage.sandbox, &[(last, Some(bytes))]);
        }
        stage.sandbox.larder(["verify"]).done();
        if !rotated {
            // Back again, to be removed once more.
            stage
                .sandbox
                .larder([
                    "key",
                    "add",
                    "-r",
                    &crate::keys::recipient_of(reader),
                    "--role",
                    "catalog",
                    "--label",
                    "reader",
                ])
                .done();
        }
    }
}
