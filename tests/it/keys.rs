//! Keys: how they come and go, what opens a store, what becomes of it when they change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::codec::{Passphrase, Prompt, generate_identity, parse_identities, parse_recipient, unwrap, wrap};
use larder::format::{Family, KeyRecord};

use crate::crash::{asked_points, run_shimmed};
use crate::sandbox::{Client, Ran, Sandbox, compare, copy_tree, model, noise, pick, seed};

pub(crate) struct Nobody;

impl Prompt for Nobody {
    fn message(&self, _: &str) {}
    fn passphrase(&self, _: &str) -> Option<Passphrase> {
        None
    }
}

/// A client with an identity of its own, and its recipient.
pub(crate) fn stranger(sandbox: &Sandbox, name: &str) -> (Client, String) {
    let client = sandbox.another_client(name);
    let _ = fs::remove_file(client.identity());
    fs::create_dir_all(client.identity().parent().unwrap()).unwrap();
    let (secret, public) = generate_identity();
    fs::write(client.identity(), format!("# public key: {public}\n{}\n", secret.as_str())).unwrap();
    (client, public)
}

/// A client whose identity has a key of this role.
pub(crate) fn member(sandbox: &Sandbox, role: &str) -> Client {
    named_member(sandbox, role, role)
}

pub(crate) fn named_member(sandbox: &Sandbox, role: &str, label: &str) -> Client {
    let (client, recipient) = stranger(sandbox, label);
    sandbox.larder(["key", "add", "-r", &recipient, "--role", role, "--label", label]).done();
    client
}

/// A sandbox with a store that has one snapshot, of the folder `tree`, in the dataset `d`.
pub(crate) fn one_snapshot() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_store();
    let tree = sandbox.path("tree");
    fs::create_dir_all(tree.join("folder")).unwrap();
    fs::write(tree.join("folder/file"), noise(1, 300_000)).unwrap();
    fs::write(tree.join("small"), "a few words").unwrap();
    sandbox.snapshot(&tree, "d").done();
    (sandbox, tree)
}

pub(crate) fn capture(client: &Client, store: &Path, tree: &Path) -> Ran {
    client.run(store, ["snapshot", tree.to_str().unwrap(), "--dataset", "d"])
}

#[track_caller]
pub(crate) fn restores(client: &Client, store: &Path, what: &str, tree: &Path, dest: &Path) {
    client.run(store, ["restore", what, dest.to_str().unwrap()]).done();
    compare(&model(tree), &model(dest)).unwrap();
    fs::remove_dir_all(dest).unwrap();
}

/// The keys as `key list` tells them to a client.
pub(crate) fn listed(client: &Client, store: &Path) -> serde_json::Value {
    client.run(store, ["key", "list", "--json"]).json()
}

pub(crate) fn names(list: &serde_json::Value) -> Vec<String> {
    list["keys"].as_array().unwrap().iter().map(|k| k["name"].as_str().unwrap().to_owned()).collect()
}

/// The key record that a client's identity opens, and the file that it is in.
pub(crate) fn record_of(client: &Client, store: &Path) -> (KeyRecord, PathBuf) {
    let identity = parse_identities(&fs::read(client.identity()).unwrap(), "identity", Arc::new(Nobody)).unwrap();
    let files = fs::read_dir(store.join("keys")).unwrap().map(|e| e.unwrap().path());
    let opened = files.filter_map(|path| unwrap(&fs::read(&path).unwrap(), &identity).ok().map(|plain| (plain, path)));
    let (plain, path) = opened.last().expect("the client has a key");
    (KeyRecord::from_bytes(&plain).unwrap(), path)
}

pub(crate) fn recipient_of(client: &Client) -> String {
    let text = fs::read_to_string(client.identity()).unwrap();
    text.lines().find_map(|l| l.strip_prefix("# public key: ")).unwrap().to_owned()
}

pub(crate) fn write_object(path: &Path, record: &KeyRecord, to: &str) {
    let recipient = parse_recipient(to, Arc::new(Nobody)).unwrap();
    fs::write(path, wrap(&record.to_bytes(), &recipient).unwrap()).unwrap();
}

/// The database of a store, to be changed behind Larder's back.
pub(crate) fn database(store: &Path) -> rocksdb::DB {
    let names = Family::ALL.map(|f| f.name().to_owned());
    rocksdb::DB::open_cf(&rocksdb::Options::default(), store.join("db"), names).unwrap()
}

pub(crate) fn rows(db: &rocksdb::DB, family: Family) -> Vec<(Box<[u8]>, Box<[u8]>)> {
    let handle = db.cf_handle(family.name()).unwrap();
    db.iterator_cf(handle, rocksdb::IteratorMode::Start).map(Result::unwrap).collect()
}

pub(crate) fn put(db: &rocksdb::DB, family: Family, key: &[u8], value: &[u8]) {
    db.put_cf(db.cf_handle(family.name()).unwrap(), key, value).unwrap();
}

// ---------------------------------------------------------------------------------------------------------------------
// Keys come and go.

#[test]
fn a_key_that_is_added_opens_the_store_and_one_that_is_removed_does_not() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (second, recipient) = stranger(&sandbox, "second");
    second.run(&store, ["list"]).refused(12, "ident");
    let before = sandbox.larder(["stats", "--json"]).json()["data_bytes"].clone();
    sandbox.larder(["key", "add", "--recipient", &recipient, "--label", "second"]).done();
    assert_eq!(second.run(&store, ["list", "--json"]).ids().len(), 1);
    restores(&second, &store, "d", &tree, &sandbox.path("dest"));
    let list = listed(&second, &store);
    let keys = list["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &list["proved"]), (2, &true.into()));
    assert_eq!(
        (&keys[0]["role"], &keys[0]["in_use"], &keys[1]["in_use"]),
        (&"owner".into(), &false.into(), &true.into())
    );
    assert_eq!((&keys[1]["label"], &keys[1]["recipient"]), (&"second".into(), &recipient.as_str().into()));
    assert_eq!(sandbox.larder(["stats", "--json"]).json()["data_bytes"], before, "no data is written anew");
    sandbox.larder(["key", "add", "-r", &recipient]).refused(2, "already");
    sandbox.larder(["key", "remove", "second"]).done();
    second.run(&store, ["list"]).refused(12, "ident");
    assert_eq!(names(&listed(sandbox.client(), &store)).len(), 1);
    sandbox.larder(["verify", "--read-data"]).done();
    sandbox.larder(["key", "remove", "second"]).refused(10, "no key");
}

#[test]
fn the_last_owner_and_the_key_in_use_are_not_removed_by_mistake() {
    let (sandbox, _) = one_snapshot();
    let mine = names(&listed(sandbox.client(), &sandbox.store())).remove(0);
    sandbox.larder(["key", "remove", &mine]).refused(2, "in use");
    sandbox.larder(["key", "remove", &mine, "--force"]).refused(2, "no owner");
    let catalog = member(&sandbox, "catalog");
    sandbox.larder(["key", "remove", &mine, "--force"]).refused(2, "no owner");
    let second = member(&sandbox, "owner");
    second.run(&sandbox.store(), ["key", "remove", &mine[..6]]).done();
    sandbox.larder(["list"]).refused(12, "ident");
    assert_eq!(second.run(&sandbox.store(), ["list", "--json"]).ids().len(), 1);
    assert_eq!(catalog.run(&sandbox.store(), ["list", "--json"]).ids().len(), 1);
}

#[test]
fn an_unencrypted_store_has_no_keys() {
    let sandbox = Sandbox::with_open_store();
    for command in [&["key", "list"][..], &["key", "rotate"], &["key", "export"], &["key", "remove", "abcd"]] {
        sandbox.larder(command).refused(2, "not encrypted");
    }
    let (_, recipient) = stranger(&sandbox, "second");
    sandbox.larder(["key", "add", "-r", &recipient]).refused(2, "not encrypted");
}

#[test]
fn an_exported_key_opens_the_store_when_its_file_is_lost() {
    let (sandbox, _) = one_snapshot();
    let store = sandbox.store();
    let file = sandbox.path("key.txt");
    sandbox.larder(["key", "export", "-o", file.to_str().unwrap()]).done();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
    assert_eq!(text.as_bytes(), sandbox.larder(["key", "export"]).ended(0).stdout);
    let (_, object) = record_of(sandbox.client(), &store);
    fs::remove_file(&object).unwrap();
    sandbox.larder(["list"]).refused(13, "key object");
    fs::write(&object, text).unwrap();
    for command in [&["list"][..], &["verify"], &["snapshot", "/etc/hostname"], &["verify"]] {
        sandbox.larder(command).done();
    }
    let inside = store.join("keys/again.txt");
    sandbox.larder(["key", "export", "-o", inside.to_str().unwrap()]).refused(2, "lies in the store");
}

#[test]
fn secrets_are_neither_printed_nor_logged() {
    let (sandbox, tree) = one_snapshot();
    let secret = fs::read_to_string(sandbox.client().identity()).unwrap();
    let secret = secret.lines().find(|l| l.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned();
    let (record, _) = record_of(sandbox.client(), &sandbox.store());
    let (_, recipient) = stranger(&sandbox, "second");
    let mut told = String::new();
    for command in [
        &["-vv", "key", "add", "-r", &recipient, "--label", "x"][..],
        &["-vv", "key", "rotate", "--json"],
        &["-vv", "key", "list", "--json"],
        &["-vv", "key", "export"],
        &["-vv", "key", "remove", "x"],
        &["-vv", "snapshot", tree.to_str().unwrap(), "-d", "d"],
        &["-vv", "key", "add", "-r", &secret],
        &["-vv", "key", "remove", "--identity", &secret, "x"],
    ] {
        let ran = sandbox.larder(command);
        told.push_str(&ran.stderr);
        told.push_str(&String::from_utf8_lossy(&ran.stdout));
    }
    let (newer, _) = record_of(sandbox.client(), &sandbox.store());
    assert!(told.len() > 2000);
    let secrets = record.page_identities.iter().chain(&newer.page_identities).chain(&newer.chunk_identities);
    for secret in secrets.chain([&secret]) {
        assert!(!told.contains(secret.as_str()));
    }
    assert_eq!(newer.page_identities.len(), 3, "rotated twice");
}

#[test]
fn a_process_with_keys_leaves_no_core_dump() {
    let (sandbox, _) = one_snapshot();
    // A passphrase command is run when the store is being opened: what it sees of its parent is told.
    let client = stranger(&sandbox, "nobody").0;
    fs::remove_file(client.identity()).unwrap();
    sandbox.client().command("true");
    let mut add = sandbox.client().larder(&sandbox.store());
    add.args(["key", "add", "--passphrase"]).env("LARDER_PASSPHRASE_COMMAND", "echo secret");
    Ran::of(&mut add).done();
    let seen = sandbox.path("seen");
    let mut list = client.larder(&sandbox.store());
    let look = format!(
        "grep 'core file' /proc/$PPID/limits > {0}; stat -c %u /proc/$PPID/mem >> {0}; echo secret",
        seen.display()
    );
    list.args(["list"]).env("LARDER_PASSPHRASE_COMMAND", look);
    Ran::of(&mut list).done();
    let text = fs::read_to_string(&seen).unwrap();
    let limits: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(limits[4], "0", "{text}");
}

// ---------------------------------------------------------------------------------------------------------------------
// Kinds of identities.

#[test]
fn ssh_keys_encrypted_identity_files_and_passphrases_open_a_store() {
    let (sandbox, _) = one_snapshot();
    let store = sandbox.store();
    let client = stranger(&sandbox, "nobody").0;
    fs::remove_file(client.identity()).unwrap();
    for kind in ["ed25519", "rsa"] {
        let file = sandbox.path(kind);
        let mut make = client.command("ssh-keygen");
        make.args(["-q", "-N", "", "-t", kind, "-b", "2048", "-f"]).arg(&file);
        Ran::of(&mut make).done();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let public = fs::read_to_string(file.with_extension("pub")).unwrap();
        sandbox.larder(["key", "add", "-r", public.trim(), "--label", kind]).done();
        client.run(&store, ["list", "-i", file.to_str().unwrap()]).done();
        let again = format!("{} another comment", public.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        sandbox.larder(["key", "add", "-r", &again]).refused(2, "already");
    }
    let (secret, public) = generate_identity();
    sandbox.larder(["key", "add", "-r", &public]).done();
    let recipient = larder::codec::Recipient::passphrase(Passphrase::from("open sesame".to_owned()), Some(10));
    let sealed = sandbox.path("identity.age");
    let object = wrap(format!("{}\n", secret.as_str()).as_bytes(), &recipient).unwrap();
    fs::write(&sealed, larder::codec::armoured(&object).unwrap()).unwrap();
    let run = |command: &str| {
        let mut list = client.larder(&store);
        list.args(["list", "-i", sealed.to_str().unwrap()]).env("LARDER_PASSPHRASE_COMMAND", command);
        Ran::of(&mut list)
    };
    run("echo open sesame").done();
    assert_ne!(run("echo wrong").status, 0);
    let mut add = sandbox.client().larder(&store);
    add.args(["key", "add", "--passphrase", "--role", "catalog"])
        .env("LARDER_PASSPHRASE_COMMAND", "echo of the catalog");
    Ran::of(&mut add).done();
    let with_passphrase = |command: &str, words: &[&str]| {
        let mut larder = client.larder(&store);
        larder.args(words).env("LARDER_PASSPHRASE_COMMAND", command);
        Ran::of(&mut larder)
    };
    with_passphrase("echo of the catalog", &["list"]).done();
    with_passphrase("echo of the catalog", &["cat", "d:small"]).refused(12, "owner key");
    with_passphrase("echo wrong", &["list"]).refused(12, "passphrase");
    let kinds: Vec<_> =
        listed(sandbox.client(), &store)["keys"].as_array().unwrap().iter().map(|k| k["kind"].clone()).collect();
    assert_eq!(kinds, ["x25519", "ssh-ed25519", "ssh-rsa", "x25519", "passphrase"]);
    // A key that is opened by a passphrase is wrapped anew with it.
    sandbox.larder(["key", "rotate"]).refused(2, "passphrase");
    let rotate = |command: &str| {
        let mut larder = sandbox.client().larder(&store);
        larder.args(["key", "rotate"]).env("LARDER_PASSPHRASE_COMMAND", command);
        Ran::of(&mut larder)
    };
    rotate("echo wrong").refused(12, "does not open");
    rotate("echo of the catalog").done();
    with_passphrase("echo of the catalog", &["list"]).done();
    for kind in ["ed25519", "rsa"] {
        client.run(&store, ["list", "-i", sandbox.path(kind).to_str().unwrap()]).done();
    }
}

#[test]
fn an_identity_that_is_named_goes_before_the_default_one() {
    let (sandbox, tree) = one_snapshot();
    let writer = member(&sandbox, "writer");
    let named = writer.identity();
    for _ in 0..2 {
        sandbox.larder(["list", "-i", named.to_str().unwrap()]).refused(12, "writer key");
    }
    sandbox.larder(["snapshot", tree.to_str().unwrap(), "-i", named.to_str().unwrap()]).done();
}

// ---------------------------------------------------------------------------------------------------------------------
// New identities of the store.

#[test]
fn after_a_rotation_all_keys_work_and_the_removed_one_reads_nothing_new() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (writer, catalog) = (member(&sandbox, "writer"), member(&sandbox, "catalog"));
    let (owner, former) = (named_member(&sandbox, "owner", "second"), named_member(&sandbox, "owner", "former"));
    let everyone = [sandbox.client(), &writer, &catalog, &owner, &former];
    everyone.iter().for_each(|client| capture(client, &store, &tree).done());
    let (old, object) = record_of(&former, &store);
    let kept = fs::read(&object).unwrap();
    let json = sandbox.larder(["key", "remove", "former", "--json"]).json();
    assert_eq!((&json["rotated"]["keys"], &json["removed"][0]["label"]), (&4.into(), &"former".into()));
    assert!(json["rotated"]["epochs"].as_u64().unwrap() >= 6 && json["rotated"]["bytes"].as_u64().unwrap() > 300_000);
    assert!(json["still_known"].as_array().unwrap().len() == 2);
    fs::write(tree.join("secret"), noise(90, 5000)).unwrap();
    for client in [&writer, sandbox.client(), &catalog, &owner] {
        capture(client, &store, &tree).done();
    }
    for client in [sandbox.client(), &catalog, &owner] {
        assert_eq!(client.run(&store, ["list", "--json"]).ids().len(), 10);
    }
    restores(&owner, &store, "d", &tree, &sandbox.path("dest"));
    sandbox.larder(["verify", "--read-data"]).done();
    let list = listed(&catalog, &store);
    let (all, older) = (list["epochs"].as_u64().unwrap(), list["epochs_under_older_identities"].as_u64().unwrap());
    assert_eq!(all - older, 4, "{list}");
    // With the object put back the former owner reads what it could read, and may not write.
    fs::write(&object, kept).unwrap();
    capture(&former, &store, &tree).refused(12, "none of the store");
    let (new, _) = record_of(&owner, &store);
    assert!(!new.page_identities[..1].contains(&old.page_identities[0]));
    assert_eq!(new.page_identities[1..], old.page_identities[..]);
    former.run(&store, ["cat", "d:secret"]).refused(12, "identities that the key in use has not");
    // It goes with the next write of somebody who knows that it was removed.
    capture(&catalog, &store, &tree).done();
    assert!(!object.exists());
    sandbox.larder(["key", "remove", &old.name.to_string()]).refused(10, "no key");
}

#[test]
fn rotation_is_not_asked_for_in_vain_and_can_be_left_out() {
    let (sandbox, _) = one_snapshot();
    let store = sandbox.store();
    let writer = member(&sandbox, "writer");
    let (before, _) = record_of(sandbox.client(), &store);
    let json = sandbox.larder(["key", "remove", "writer", "--no-rotate", "--json"]).json();
    assert!(json["rotated"].is_null());
    writer.run(&store, ["snapshot", "/etc/hostname"]).refused(12, "ident");
    let (after, _) = record_of(sandbox.client(), &store);
    assert_eq!(before.page_recipient, after.page_recipient);
}

/// Who was away during several rotations follows; who is given an older object again does not.
#[test]
fn a_client_follows_rotations_it_has_missed_and_notices_when_they_are_undone() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let writer = member(&sandbox, "writer");
    capture(&writer, &store, &tree).done();
    let (_, path) = record_of(&writer, &store);
    let old = fs::read(&path).unwrap();
    sandbox.larder(["key", "rotate"]).done();
    let between = fs::read(&path).unwrap();
    sandbox.larder(["key", "rotate"]).done();
    capture(&writer, &store, &tree).done();
    let newest = fs::read(&path).unwrap();
    for object in [old, between] {
        fs::write(&path, object).unwrap();
        capture(&writer, &store, &tree).refused(12, "recipients changed");
    }
    fs::write(&path, newest).unwrap();
    capture(&writer, &store, &tree).done();
    // A new client sees it for the first time.
    let fresh = sandbox.another_client("fresh");
    fresh.run(&store, ["list"]).done();
}

/// A capture that has read its keys waits for the lock while they are rotated: it must not seal to what was given up.
#[test]
fn a_capture_that_waits_during_a_rotation_is_told_to_run_again() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let writer = member(&sandbox, "writer");
    let copy = sandbox.path("copy");
    copy_tree(&store, &copy);
    sandbox.client().run(&copy, ["key", "rotate"]).done();
    let lock = fs::File::options().write(true).open(store.join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = writer.larder(&store);
    waiting.args(["snapshot", tree.to_str().unwrap(), "-d", "d"]).stderr(std::process::Stdio::piped());
    let mut child = waiting.spawn().unwrap();
    let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert!(line.contains("waiting"), "{line}");
    // What a rotation leaves: the database and the objects of the copy, in which it has happened.
    for part in ["db", "keys", "tip"] {
        let (from, to) = (copy.join(part), store.join(part));
        if from.is_dir() {
            fs::remove_dir_all(&to).unwrap();
        } else {
            fs::remove_file(&to).unwrap();
        }
        fs::rename(from, to).unwrap();
    }
    drop(lock);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut told, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("keys of the store") && rest.contains("run the command again"), "{rest}");
    capture(&writer, &store, &tree).done();
}

/// It follows store-format.md, and makes tokens and proofs by itself.
#[test]
fn the_independent_reader_follows_changes_of_keys() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (writer, _) = (member(&sandbox, "writer"), member(&sandbox, "catalog"));
    capture(&writer, &store, &tree).done();
    sandbox.larder(["key", "rotate"]).done();
    fs::write(tree.join("later"), noise(70, 9000)).unwrap();
    capture(&writer, &store, &tree).done();
    sandbox.larder(["key", "remove", "catalog"]).done();
    sandbox.snapshot(&tree, "d").done();
    let read = |words: &[&str]| {
        let mut reader = sandbox.client().command(std::env::var_os("LARDER_TEST_PYTHON").unwrap_or("python3".into()));
        reader.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader.py")).arg(&store);
        Ran::of(reader.arg("--identity").arg(sandbox.client().identity()).args(words))
    };
    let checked = read(&["check"]).json();
    assert_eq!((&checked["findings"], &checked["snapshots"]), (&0.into(), &4.into()), "{checked}");
    let dest = sandbox.path("read");
    read(&["extract", "latest", dest.to_str().unwrap()]).done();
    compare(&model(&tree), &model(&dest)).unwrap();
}

// ---------------------------------------------------------------------------------------------------------------------
// Kills.

/// After a kill at any operation of a change of keys, all keys that were acknowledged open the store, and nothing is damaged.
#[test]
fn a_change_of_keys_killed_anywhere_shuts_nobody_out() {
    let (sandbox, tree) = one_snapshot();
    let (writer, catalog, second) =
        (member(&sandbox, "writer"), member(&sandbox, "catalog"), named_member(&sandbox, "owner", "second"));
    member(&sandbox, "owner");
    let (third, recipient) = stranger(&sandbox, "third");
    for client in [&writer, &catalog, &second] {
        capture(client, &sandbox.store(), &tree).done();
    }
    let (seed, mut tried) = (seed(), 0);
    for command in [&["key", "rotate"][..], &["key", "add", "-r", &recipient], &["key", "remove", "owner"]] {
        let try_at = |mode: &str, at: u64| {
            let dir = tempfile::tempdir().unwrap();
            let (store, image) = (dir.path().join("store"), dir.path().join("image"));
            copy_tree(&sandbox.store(), &store);
            let owner = sandbox.another_client(dir.path().file_name().unwrap().to_str().unwrap());
            copy_tree(&sandbox.client().state(), &owner.state());
            let (ran, log) = run_shimmed(&owner, &store, command, mode, 5, at, &image);
            (dir, store, owner, ran.status == 0, log.len() as u64)
        };
        let (_, _, _, done, count) = try_at("count", 0);
        assert!(done && count > 10, "{count}");
        let points: Vec<u64> = match asked_points() {
            Some(range) => (1..=count + 1).filter(|at| range.contains(at)).collect(),
            None => (0..6).map(|turn| 1 + pick(seed, turn, count + 1)).chain([count, count - 1, count - 3]).collect(),
        };
        for at in points {
            for mode in ["kill", "fail-once"] {
                tried += 1;
                let (dir, store, owner, acknowledged, _) = try_at(mode, at);
                let place = format!("{command:?} {mode} at {at} of {count}");
                let run = |client: &Client, words: &[&str]| {
                    let ran = client.run(&store, words);
                    assert_eq!(ran.status, 0, "{place}: {words:?}: {}", ran.stderr);
                };
                // Each of them with the state of one who has seen the store before.
                let of = |client: &Client| {
                    let away =
                        sandbox.another_client(&format!("{}-away", dir.path().file_name().unwrap().to_str().unwrap()));
                    fs::remove_dir_all(away.home()).unwrap();
                    copy_tree(client.home(), away.home());
                    away
                };
                run(&owner, &["verify", "--read-data"]);
                run(&of(&catalog), &["list"]);
                run(&of(&second), &["cat", "d:small"]);
                run(&of(&writer), &["snapshot", tree.to_str().unwrap(), "-d", "d"]);
                run(&of(&catalog), &["ls", "d"]);
                run(&of(&second), &["cat", "d:small"]);
                run(&owner, &["snapshot", tree.to_str().unwrap(), "-d", "d"]);
                run(&owner, &["verify", "--read-data"]);
                if acknowledged && command.contains(&"add") {
                    run(&of(&third), &["cat", "d:small"]);
                }
                let mut left = fs::read_dir(store.join("keys")).unwrap().map(|e| e.unwrap().path());
                assert!(left.all(|path| path.extension().is_some_and(|e| e == "age")), "{place}");
                let list = listed(&owner, &store);
                assert!(list["forged_entries"].as_array().unwrap().is_empty(), "{place}: {list}");
                run(&owner, &["key", "rotate"]);
            }
        }
    }
    println!("{tried} troubled changes of keys");
}
