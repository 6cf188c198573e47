//! Keys: how they come and go, and what becomes of a store when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::codec::{Passphrase, Prompt, generate_identity, parse_identities, parse_recipient, unwrap, wrap};
use larder::format::{Family, KeyRecord};

use crate::behind::{database, put};
use crate::crash::{Shimmed, asked_points, run_shimmed};
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

/// Its holder's client has seen the store under its old identities, and must not need to be told by hand that an owner changed them.
#[test]
fn a_key_that_is_removed_and_added_again_is_known_to_its_holder() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (away, recipient) = stranger(&sandbox, "away");
    let add = |role: &str| sandbox.larder(["key", "add", "-r", &recipient, "--role", role, "--label", "away"]).done();
    add("owner");
    capture(&away, &store, &tree).done();
    let (before, _) = record_of(&away, &store);
    let other = named_member(&sandbox, "writer", "other");
    capture(&other, &store, &tree).done();
    for (role, remove) in
        [("writer", &["key", "remove", "away"][..]), ("owner", &["key", "remove", "away", "--no-rotate"])]
    {
        sandbox.larder(remove).done();
        capture(&away, &store, &tree).refused(12, "ident");
        sandbox.larder(["key", "rotate"]).done();
        add(role);
        capture(&away, &store, &tree).done();
        assert_eq!(record_of(&away, &store).0.name, before.name, "by its name its token is known");
    }
    restores(&away, &store, "d", &tree, &sandbox.path("dest"));
    capture(&other, &store, &tree).done();
    // Who comes with another recipient is a stranger to this client, which says how to go on.
    sandbox.larder(["key", "remove", "away"]).done();
    let (_, another) = stranger(&sandbox, "another");
    sandbox.larder(["key", "add", "-r", &another, "--label", "another"]).done();
    let identity = sandbox.path("another/.config/larder/identity.txt");
    let list = ["list", "-i", identity.to_str().unwrap()];
    let said = away.run(&store, list).ended(12).stderr;
    let name = names(&listed(sandbox.client(), &store)).pop().unwrap();
    assert!(said.contains("recipients changed") && said.contains(&format!("shows {name}; if so, remove ")), "{said}");
    fs::remove_file(said.split("remove ").nth(1).unwrap().split(" and try").next().unwrap()).unwrap();
    away.run(&store, list).done();
}

/// What a removal leaves that was killed between database and file, or somebody puts there by hand, hinders nobody.
#[test]
fn an_object_that_is_left_behind_is_passed_over() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (away, recipient) = stranger(&sandbox, "away");
    let add = || sandbox.larder(["key", "add", "-r", &recipient, "--label", "away"]).done();
    add();
    capture(&away, &store, &tree).done();
    let (old, path) = record_of(&away, &store);
    let left = fs::read(&path).unwrap();
    sandbox.larder(["key", "remove", "away"]).done();
    // Alone it reads what it could read, and says why it may not write.
    fs::write(&path, &left).unwrap();
    away.run(&store, ["cat", "d:small"]).done();
    capture(&away, &store, &tree).refused(12, "is none of the store at");
    fs::remove_file(&path).unwrap();
    add();
    capture(&away, &store, &tree).done();
    // Whatever it is called, and whatever else this client knows, the object that counts is used.
    for name in ["0000000000000000.age", "ffffffffffffffff.age", "zzz.age"] {
        let beside = store.join("keys").join(name);
        fs::write(&beside, &left).unwrap();
        for client in [away.clone(), fresh(&sandbox, &away)] {
            capture(&client, &store, &tree).done();
            client.run(&store, ["cat", "d:small"]).done();
        }
        fs::write(&beside, b"no age file").unwrap();
        capture(&away, &store, &tree).done();
        fs::remove_file(&beside).unwrap();
    }
    // An object of another name in the database, which its owner has removed since, is left in its place.
    assert_eq!(record_of(&away, &store).0.name, old.name);
    sandbox.larder(["verify"]).done();
}

/// A client with the same identity that has seen nothing yet.
fn fresh(sandbox: &Sandbox, of: &Client) -> Client {
    let client = sandbox.another_client("fresh");
    fs::remove_dir_all(client.home()).unwrap();
    fs::create_dir_all(client.identity().parent().unwrap()).unwrap();
    fs::copy(of.identity(), client.identity()).unwrap();
    client
}

#[test]
fn who_takes_away_their_own_key_goes_on_with_another_of_theirs() {
    let (sandbox, tree) = one_snapshot();
    let (second, recipient) = stranger(&sandbox, "second");
    let mine = names(&listed(sandbox.client(), &sandbox.store())).remove(0);
    sandbox.larder(["key", "add", "-r", &recipient]).done();
    sandbox.larder(["key", "remove", &mine, "--force"]).done();
    let with_second = |words: &[&str]| {
        let mut larder = sandbox.client().larder(&sandbox.store());
        Ran::of(larder.args(words).arg("-i").arg(second.identity()))
    };
    with_second(&["snapshot", tree.to_str().unwrap(), "-d", "d"]).done();
    with_second(&["verify", "--read-data"]).done();
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
    // It goes with the next write of somebody who can check that an owner removed it.
    capture(&catalog, &store, &tree).done();
    assert!(object.exists());
    capture(&owner, &store, &tree).done();
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

/// A capture that has read its keys waits for the lock while `change` is done to a copy, which then takes the store's place: how it
/// ends, and what it says.
fn capture_during(sandbox: &Sandbox, writer: &Client, tree: &Path, change: &dyn Fn(&Path)) -> (Option<i32>, String) {
    let store = sandbox.store();
    let copy = sandbox.path("copy");
    copy_tree(&store, &copy);
    change(&copy);
    let lock = fs::File::options().write(true).open(store.join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = writer.larder(&store);
    waiting.args(["snapshot", tree.to_str().unwrap(), "-d", "d"]).stderr(std::process::Stdio::piped());
    let mut child = waiting.spawn().unwrap();
    let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert!(line.contains("waiting"), "{line}");
    // What a change of keys leaves: the database and the objects of the copy, in which it has happened.
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
    (child.wait().unwrap().code(), rest)
}

/// It must not seal to what was given up.
#[test]
fn a_capture_that_waits_during_a_rotation_goes_on_with_the_new_keys() {
    let (sandbox, tree) = one_snapshot();
    let writer = member(&sandbox, "writer");
    let rotate = |store: &Path| sandbox.client().run(store, ["key", "rotate"]).done();
    let (status, told) = capture_during(&sandbox, &writer, &tree, &rotate);
    assert_eq!(status, Some(0), "{told}");
    sandbox.larder(["verify", "--read-data"]).done();
    restores(sandbox.client(), &sandbox.store(), "d", &tree, &sandbox.path("dest"));
    let under_old = || listed(sandbox.client(), &sandbox.store())["epochs_under_older_identities"].clone();
    let before = under_old();
    capture(&writer, &sandbox.store(), &tree).done();
    assert_eq!(under_old(), before);
}

/// An object with other recipients, put in the place of the writer's by somebody who has the id key and can write to the store's
/// files: to whom would it seal?
#[test]
fn a_capture_that_waits_takes_no_keys_that_no_owner_made() {
    let (sandbox, tree) = one_snapshot();
    let writer = member(&sandbox, "writer");
    let (mut forged, _) = record_of(&writer, &sandbox.store());
    let (_, thief) = generate_identity();
    (forged.page_recipient, forged.chunk_recipient) = (thief.clone(), thief);
    forged.ext = larder::format::key_record_ext(&[[9; 32]], None, None);
    let recipient = parse_recipient(&recipient_of(&writer), Arc::new(Nobody)).unwrap();
    let object = wrap(&forged.to_bytes(), &recipient).unwrap();
    let (status, told) = capture_during(&sandbox, &writer, &tree, &|store| {
        let (_, file) = record_of(&writer, store);
        fs::write(file, &object).unwrap();
        put(&database(store), Family::Default, format!("key/{}", forged.name).as_bytes(), &object);
    });
    assert_eq!(status, Some(13), "{told}");
    assert!(told.contains("no owner made it") && told.contains("larder repair --apply"), "{told}");
    let verified = String::from_utf8(sandbox.larder(["verify", "--json"]).ended(13).stdout).unwrap();
    assert!(verified.contains("not the one that an owner wrote"), "{verified}");
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 1);
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
            let told = Shimmed { mode, errno: 5, at, image: &image, now: None };
            let (ran, log) = run_shimmed(&owner, &store, command, told);
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
