//! The database of a store, or its list of files, is of an earlier time than what lies beside it; small files are lost or swapped together.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::behind::tables;
use crate::keys::{capture, named_member, one_snapshot};
use crate::sandbox::{Client, Sandbox, compare, copy_tree, model, noise};

/// A store with one snapshot, a copy of it, and what came after: another snapshot and a hold.
struct Stage {
    sandbox: Sandbox,
    tree: PathBuf,
    old: PathBuf,
}

impl Stage {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(before: impl FnOnce(&Sandbox)) -> Self {
        let (sandbox, tree) = one_snapshot();
        before(&sandbox);
        let old = sandbox.path("old");
        copy_tree(&sandbox.store(), &old);
        Self { sandbox, tree, old }
    }

    fn go_on(&self) {
        fs::write(self.tree.join("late"), noise(77, 200_000)).unwrap();
        self.sandbox.snapshot(&self.tree, "d").done();
        self.sandbox.larder(["hold", "d", "--reason", "a case"]).done();
    }

    fn store(&self) -> PathBuf {
        self.sandbox.store()
    }

    /// The old database over the new one: its list of files counts, and the files of now are all there.
    fn lay_old_over(&self) {
        for item in fs::read_dir(self.old.join("db")).unwrap().map(Result::unwrap) {
            fs::copy(item.path(), self.store().join("db").join(item.file_name())).unwrap();
        }
    }

    fn put_old_in_place(&self) {
        fs::remove_dir_all(self.store().join("db")).unwrap();
        copy_tree(&self.old.join("db"), &self.store().join("db"));
    }

    /// The store as it was, for a client that has seen no later one.
    fn begin_anew(&self, whole: &Path) {
        fs::remove_dir_all(self.store()).unwrap();
        copy_tree(whole, &self.store());
        fs::remove_dir_all(self.sandbox.client().state()).unwrap();
        self.sandbox.larder(["list"]).done();
    }

    fn key_objects(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let items = fs::read_dir(self.store().join("keys")).unwrap().map(|item| item.unwrap().path());
        let mut found: Vec<_> = items.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        found.sort();
        found
    }

    /// All that was acknowledged is there, and can be added to.
    fn is_whole(&self, snapshots: usize) {
        let run = |words: &[&str]| self.sandbox.larder(words);
        run(&["verify", "--read-data"]).done();
        run(&["verify", "--no-key"]).done();
        run(&["repair"]).done();
        assert_eq!(run(&["list", "--json"]).ids().len(), snapshots);
        let dest = self.sandbox.path("restored");
        run(&["restore", "d", dest.to_str().unwrap()]).done();
        compare(&model(&self.tree), &model(&dest)).unwrap();
        fs::remove_dir_all(dest).unwrap();
        self.sandbox.snapshot(&self.tree, "more").done();
        run(&["verify"]).done();
    }
}

/// Ends of the records of a MANIFEST: a checksum of 4 bytes, a length of 2, a type, the record.
fn record_ends(manifest: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (0, Vec::new());
    while let Some(&[_, _, _, _, low, high, _]) = manifest.get(at..at + 7) {
        at += 7 + usize::from(u16::from_le_bytes([low, high]));
        ends.push(at);
    }
    ends
}

#[test]
fn a_list_of_files_that_is_too_old_takes_nothing_along() {
    let stage = Stage::new();
    stage.go_on();
    let whole = stage.sandbox.path("whole");
    copy_tree(&stage.store(), &whole);
    assert!(tables(&stage.store()).len() > 10);
    let name = fs::read_to_string(stage.store().join("db/CURRENT")).unwrap();
    let list = stage.store().join("db").join(name.trim());
    let ends = record_ends(&fs::read(&list).unwrap());
    for turn in 0..5 {
        stage.begin_anew(&whole);
        if turn == 0 {
            stage.lay_old_over();
        } else {
            let end = ends[ends.len() - 1 - turn];
            fs::OpenOptions::new().write(true).open(&list).unwrap().set_len(end as u64).unwrap();
        }
        let run = |words: &[&str]| stage.sandbox.larder(words);
        for words in [&["verify"][..], &["verify", "--no-key"], &["repair"]] {
            let told = String::from_utf8(run(words).ended(13).stdout).unwrap();
            assert!(told.contains("its MANIFEST does not name"), "{turn} {words:?}: {told}");
            assert!(!told.contains("lost for good"), "{turn} {words:?}: {told}");
        }
        // Nobody opens it for writing, which would remove the files.
        run(&["heal", whole.to_str().unwrap()]).refused(13, "larder repair --apply");
        run(&["gc"]).refused(13, "larder repair");
        let accept = ["repair", "--apply", "--accept-lost-entries"];
        run(if turn % 2 == 0 { &accept[..2] } else { &accept }).done();
        assert!(run(&["show", "d", "--json"]).json().to_string().contains("a case"), "{turn}");
        stage.is_whole(2);
    }
}

/// Nor where the tip is gone too: then nothing but the files tells.
#[test]
fn a_list_of_files_that_is_too_old_takes_nothing_along_without_a_tip() {
    let mut writer = None;
    let stage = Stage::with(|sandbox| writer = Some(named_member(sandbox, "writer", "writer")));
    let (writer, store): (Client, _) = (writer.unwrap(), stage.store());
    stage.go_on();
    stage.lay_old_over();
    fs::remove_file(store.join("tip")).unwrap();
    // One who has seen nothing of what is missing.
    capture(&writer, &store, &stage.tree).refused(13, "larder repair --apply");
    stage.sandbox.larder(["repair", "--apply"]).done();
    assert!(stage.sandbox.larder(["show", "d", "--json"]).json().to_string().contains("a case"));
    stage.is_whole(2);
    capture(&writer, &store, &stage.tree).done();
}

/// What an older database says of keys undoes no change that was made since: objects that were written anew stay, and those of removed keys do not come back.
#[test]
fn an_older_database_lets_no_removed_key_in_again() {
    for used_since in [false, true] {
        let mut catalog = None;
        let stage = Stage::with(|sandbox| catalog = Some(named_member(sandbox, "catalog", "catalog")));
        let (catalog, store): (Client, _) = (catalog.unwrap(), stage.store());
        catalog.run(&store, ["list"]).done();
        stage.sandbox.larder(["key", "remove", "catalog", "--reseal"]).done();
        if used_since {
            stage.go_on();
        }
        let keys = stage.key_objects();
        stage.put_old_in_place();
        let _ran = stage.sandbox.larder(["repair", "--apply"]).ended(13);
        assert_eq!(stage.key_objects(), keys, "{used_since}");
        let _ran = stage.sandbox.larder(["heal", stage.tree.to_str().unwrap()]).ended(13);
        assert_eq!(stage.key_objects(), keys, "{used_since}");
        stage.sandbox.larder(["repair", "--apply", "--accept-lost-entries"]).done();
        assert_eq!(stage.key_objects(), keys, "{used_since}");
        stage.sandbox.snapshot(&stage.tree, "later").done();
        assert_eq!(stage.key_objects(), keys, "{used_since}");
        let list = stage.sandbox.larder(["key", "list", "--json"]).json();
        assert_eq!(
            (&list["forged_entries"], list["keys"].as_array().unwrap().len()),
            (&serde_json::json!([]), 1),
            "{list}"
        );
        catalog.run(&store, ["ls", "later"]).refused(12, "identit");
        stage.sandbox.larder(["verify", "--read-data"]).done();
    }
}

/// The client that gave the store new identities takes older ones for what they are, before it has opened the store again.
#[test]
fn who_rotates_knows_the_new_identities_at_once() {
    let stage = Stage::new();
    stage.sandbox.larder(["key", "rotate"]).done();
    for folder in ["db", "keys"] {
        fs::remove_dir_all(stage.store().join(folder)).unwrap();
        copy_tree(&stage.old.join(folder), &stage.store().join(folder));
    }
    for words in [&["repair", "--apply"][..], &["list"], &["repair", "--apply", "--accept-lost-entries"]] {
        stage.sandbox.larder(words).refused(12, "not those this client has seen");
    }
}

#[test]
fn an_older_database_is_healed_from_a_copy_with_the_keys_of_now() {
    let mut others = Vec::new();
    let stage = Stage::with(|sandbox| {
        others = ["owner", "writer", "catalog"].map(|role| named_member(sandbox, role, role)).to_vec();
    });
    let store = stage.store();
    others[0].run(&store, ["key", "rotate"]).done();
    capture(&others[1], &store, &stage.tree).done();
    stage.sandbox.larder(["key", "remove", "catalog"]).done();
    stage.go_on();
    let (keys, copy) = (stage.key_objects(), stage.sandbox.path("copy"));
    copy_tree(&store, &copy);
    stage.put_old_in_place();
    let _ran = stage.sandbox.larder(["repair", "--apply"]).ended(13);
    assert_eq!(stage.key_objects(), keys);
    stage.sandbox.larder(["heal", copy.to_str().unwrap()]).done();
    assert_eq!(stage.key_objects(), keys);
    stage.is_whole(3);
    capture(&others[1], &store, &stage.tree).done();
    others[0].run(&store, ["verify"]).done();
    others[2].run(&store, ["list"]).refused(12, "identit");
    assert_eq!(stage.key_objects(), keys);
}

/// All that is needed is in the table files.
#[test]
fn small_files_that_are_lost_together_are_made_anew() {
    let stage = Stage::new();
    stage.go_on();
    let whole = stage.sandbox.path("whole");
    copy_tree(&stage.store(), &whole);
    let remove = |store: &Path, name: &str| {
        let path = match name {
            "MANIFEST" => {
                let current = fs::read_to_string(store.join("db/CURRENT")).unwrap();
                store.join("db").join(current.trim())
            }
            name => store.join(name),
        };
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    };
    let overwrite = |store: &Path, at: usize| {
        let mut bytes = fs::read(store.join("header")).unwrap();
        bytes[at] ^= 1;
        fs::write(store.join("header"), bytes).unwrap();
    };
    let cases: [(&str, &dyn Fn(&Path)); 7] = [
        ("header, CURRENT", &|store| ["header", "db/CURRENT"].iter().for_each(|name| remove(store, name))),
        ("header, MANIFEST", &|store| ["header", "MANIFEST"].iter().for_each(|name| remove(store, name))),
        ("keys, CURRENT", &|store| ["keys", "db/CURRENT"].iter().for_each(|name| remove(store, name))),
        ("keys, tip, MANIFEST", &|store| ["keys", "tip", "MANIFEST"].iter().for_each(|name| remove(store, name))),
        ("magic, CURRENT", &|store| {
            overwrite(store, 0);
            remove(store, "db/CURRENT");
        }),
        ("a bit of what no version has", &|store| overwrite(store, 33)),
        ("the header of another store", &|store| {
            let other = stage.sandbox.path("other");
            if !other.exists() {
                stage.sandbox.client().run(&other, ["init", "--quiet"]).done();
                stage.sandbox.client().run(&other, ["list"]).done();
            }
            fs::copy(other.join("header"), store.join("header")).unwrap();
        }),
    ];
    for (what, lose) in cases {
        stage.begin_anew(&whole);
        lose(&stage.store());
        let _ran = stage.sandbox.larder(["list"]).ended(13);
        let _ran = stage.sandbox.larder(["repair"]).ended(13);
        let ran = stage.sandbox.larder(["repair", "--apply"]);
        assert_eq!(ran.status, 0, "{what}: {}", ran.stderr);
        stage.is_whole(2);
    }
}

/// Who can write to the store's folder has nobody's larder make or lock files elsewhere, and is told.
#[test]
fn what_leads_elsewhere_is_not_followed() {
    let stage = Stage::new();
    let (store, elsewhere) = (stage.store(), stage.sandbox.path("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    for name in ["writer.lock", "db/LOCK", "leases/snapshots", "tmp", "leases"] {
        let path = store.join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            drop(fs::remove_file(&path));
        }
        symlink(elsewhere.join(name.replace('/', "-")), &path).unwrap();
        for words in [&["cat", "d:folder/file"][..], &["snapshot", stage.tree.to_str().unwrap()]] {
            let ran = stage.sandbox.larder(words);
            assert!([0, 13].contains(&ran.status), "{name} {words:?}: {} {}", ran.status, ran.stderr);
        }
        for words in [&["verify"][..], &["verify", "--no-key"], &["repair"]] {
            let _ran = stage.sandbox.larder(words).ended(13);
        }
        stage.sandbox.larder(["repair", "--apply"]).done();
        stage.sandbox.larder(["verify"]).done();
        stage.sandbox.snapshot(&stage.tree, "d").done();
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{name}");
    }
}
