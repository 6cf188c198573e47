//! Writer keys sign what they write: of several none passes for another, and what is nobody's for sure counts apart.

use std::fs;
use std::path::PathBuf;

use larder::codec::{SigningKey, digest};
use larder::format::{Family, signing_key_of, tokens_of};
use larder::model::LogEntry;

use crate::behind::{database, put};
use crate::clocked::{Told, opened};
use crate::fixtures::script;
use crate::keys::{named_member, recipient_of, record_of, write_object};
use crate::lost_entries::{lose, parsed, row, set, with_mac, write_tip};
use crate::sandbox::{Client, Ran, Sandbox, noise};

/// Where a writer key's signature is.
const SIGNATURE: u32 = 5;

/// A store with two writer keys, Ann's and Ben's.
struct Two {
    sandbox: Sandbox,
    source: PathBuf,
    ann: Client,
    ben: Client,
}

impl Two {
    fn new() -> Self {
        let sandbox = Sandbox::with_store();
        let source = sandbox.path("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), noise(1, 20_000)).unwrap();
        let [ann, ben] = ["ann", "ben"].map(|name| named_member(&sandbox, "writer", name));
        Self { sandbox, source, ann, ben }
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.sandbox.larder(words)
    }

    fn capture(&self, client: &Client) -> String {
        let words = ["snapshot", self.source.to_str().unwrap(), "-d", "home", "--json"];
        client.run(&self.sandbox.store(), words).json()["id"].as_str().unwrap().to_owned()
    }

    fn last(&self) -> u64 {
        opened(&self.sandbox, self.sandbox.client()).last_sequence().unwrap()
    }

    fn signing_key(&self, client: &Client) -> SigningKey {
        SigningKey::from_bytes(signing_key_of(&record_of(client, &self.sandbox.store()).0.ext).unwrap())
    }

    /// Ann captures, and has the entry say what she likes: with a right MAC and tip.
    fn forged(&self, change: impl FnOnce(&mut LogEntry)) -> String {
        let id = self.capture(&self.ann);
        let sequence = self.last();
        let keys = opened(&self.sandbox, &self.ann);
        let mut entry = parsed(&row(&self.sandbox, sequence).unwrap());
        change(&mut entry);
        let bytes = with_mac(&keys, &entry);
        set(&self.sandbox, &[(sequence, Some(bytes.clone()))]);
        write_tip(&self.sandbox, &keys, sequence, &digest(&bytes));
        // They have seen the entry that was there before.
        for client in [&self.ann, self.sandbox.client()] {
            fs::remove_dir_all(client.state()).unwrap();
        }
        id
    }

    /// What a client's `forget` tells, of the dataset or of what the policies say.
    fn forget(&self, client: &Client, words: &[&str]) -> Told {
        Told::of(client.run(&self.sandbox.store(), ["forget", "--json"].iter().chain(words)), 0)
    }
}

/// The line on each snapshot, and whether it only claims whose it is.
fn claimed(told: &Told) -> Vec<&str> {
    told.lines.iter().filter(|line| line["claimed"] == true).map(|line| line["id"].as_str().unwrap()).collect()
}

#[test]
fn a_stolen_writer_key_pushes_out_nothing_of_another_ones() {
    let two = Two::new();
    let catalog = named_member(&two.sandbox, "catalog", "clerk");
    let store = two.sandbox.store();
    let name = record_of(&two.ben, &store).0.name;
    let old = two.capture(&two.ben);
    let real = [two.capture(&two.ben), two.capture(&two.ben)];
    let signed = parsed(&row(&two.sandbox, two.last()).unwrap());
    let key = two.signing_key(&two.ann);
    let forged = [
        two.forged(|entry| {
            entry.writer = name;
            entry.ext.clear();
        }),
        // With the signature that it had as Ann's, with her key over Ben's name, and with one of Ben's.
        two.forged(|entry| entry.writer = name),
        two.forged(|entry| {
            entry.writer = name;
            entry.ext.clear();
            let signature = key.signature(&entry.to_bytes());
            entry.ext.push((SIGNATURE, signature.to_vec()));
        }),
        two.forged(|entry| {
            entry.writer = name;
            entry.ext.clone_from(&signed.ext);
        }),
    ];
    let own = two.capture(&two.ann);
    // The second reader, by the format page alone.
    let mut reader = script("reader.py");
    let reader = reader.arg(&store).arg("--identity").arg(two.sandbox.client().identity());
    let by_reader = Ran::of(reader.arg("list")).lines();
    let by_reader: Vec<_> = by_reader.iter().filter(|line| line["claimed"] == true).map(|line| &line["id"]).collect();
    assert_eq!(by_reader, forged.iter().collect::<Vec<_>>());
    // It is told whose they are, and whose not.
    let said = |words: &[&str]| String::from_utf8(two.run(words).ended(0).stdout).unwrap();
    let list = said(&["list", "-d", "home"]);
    let line = |id: &str| list.lines().find(|line| line.starts_with(&id[..16])).unwrap().to_owned();
    for id in &forged {
        assert!(line(id).contains("by a writer key that claims to be ben"), "{list}");
        assert!(said(&["show", id]).contains("a writer key that claims to be ben"));
    }
    for (id, by) in real.iter().map(|id| (id, "by ben")).chain([(&own, "by ann")]) {
        assert!(line(id).contains(by) && !line(id).contains("claims"), "{list}");
    }
    // Whoever may give up can tell, an owner and a catalog key.
    two.run(&["policy", "set", "home", "--keep-last", "2"]).done();
    for (client, words) in [
        (two.sandbox.client(), &["--keep-last", "2", "-n"][..]),
        (&catalog, &["--keep-last", "2", "-n"]),
        (&catalog, &["--policy", "-n"]),
        (two.sandbox.client(), &["--policy"]),
    ] {
        let told = two.forget(client, words);
        assert_eq!(
            (claimed(&told), &told.summary["claimed"]),
            (forged.iter().map(String::as_str).collect(), &4.into())
        );
        for id in real.iter().chain([&own]) {
            assert!(told.kept.contains(id), "{id} was pushed out: {told:?}");
        }
        assert_eq!(told.forgotten, [&old, &forged[0], &forged[1]].map(String::clone), "each series by itself");
    }
    let told = two.run(&["forget", "--policy", "-q"]).ended(0).stderr;
    assert!(
        told.contains("2 snapshots in home are of a writer key that claims to be") && told.contains("apart"),
        "{told}"
    );
    // What Ben captures from then on does not push out what may be his.
    let more = [two.capture(&two.ben), two.capture(&two.ben)];
    let told = two.forget(two.sandbox.client(), &["--policy"]);
    assert_eq!(told.forgotten, real);
    assert!(more.iter().chain(&forged[2..]).all(|id| told.kept.contains(id)), "{told:?}");
}

/// Of one who takes what a dataset's name stands for.
#[test]
fn a_restore_of_what_only_claims_whose_it_is_says_so() {
    let two = Two::new();
    let name = record_of(&two.ben, &two.sandbox.store()).0.name;
    two.capture(&two.ben);
    let restored = |dest: &str| {
        let dest = two.sandbox.path(dest);
        two.run(&["restore", "home", dest.to_str().unwrap()]).ended(0).stderr
    };
    assert!(!restored("good").contains("claims"));
    assert!(!String::from_utf8(two.run(&["list"]).ended(0).stdout).unwrap().contains("by "), "there is one key");
    two.forged(|entry| {
        entry.writer = name;
        entry.ext.clear();
    });
    let told = restored("forged");
    assert!(told.contains("a writer key that claims to be ben"), "{told}");
}

#[test]
fn what_a_writer_captures_is_one_series_across_rotations() {
    let two = Two::new();
    let (name, former) = (record_of(&two.ben, &two.sandbox.store()).0.name, two.signing_key(&two.ben));
    let mut ids = vec![two.capture(&two.ben)];
    two.run(&["key", "rotate"]).done();
    ids.push(two.capture(&two.ben));
    // Removed and back again, which is a rotation too.
    two.run(&["key", "remove", "ben"]).done();
    two.run(&["key", "add", "-r", &recipient_of(&two.ben), "--role", "writer", "--label", "ben"]).done();
    ids.push(two.capture(&two.ben));
    let told = two.forget(two.sandbox.client(), &["--keep-last", "1"]);
    assert_eq!((claimed(&told), &told.summary["claimed"]), (vec![], &0.into()));
    assert_eq!((&told.forgotten[..], &told.kept[..]), (&ids[..2], &ids[2..]));
    assert!(told.lines.iter().all(|line| line["writer"] == name.to_string().as_str()));
    // What Ben, or a catalog key, had before a rotation signs nothing behind it.
    let late = two.forged(|entry| {
        entry.writer = name;
        entry.ext.clear();
        let signature = former.signature(&entry.to_bytes());
        entry.ext.push((SIGNATURE, signature.to_vec()));
    });
    assert_eq!(claimed(&two.forget(two.sandbox.client(), &["--keep-last", "1"])), [late.as_str()]);
}

/// What follows from a manifest has the signature that it had, whichever identities the store had then, and whoever sealed it anew since.
#[test]
fn a_lost_entry_of_a_writer_is_made_anew_bit_for_bit() {
    let two = Two::new();
    for client in [&two.ben, &two.ann] {
        two.capture(client);
    }
    two.run(&["key", "rotate"]).done();
    two.capture(&two.ben);
    let last = two.last();
    for resealed in [false, true] {
        if resealed {
            two.run(&["key", "rotate"]).done();
            two.run(&["key", "reseal"]).done();
        }
        // One by one, and all at once; the last one is what the tip names.
        let signed: Vec<_> = (1..=last)
            .filter(|n| parsed(&row(&two.sandbox, *n).unwrap()).ext.iter().any(|e| e.0 == SIGNATURE))
            .collect();
        assert_eq!(signed.len(), 3);
        for lost in signed.chunks(1).chain([&signed[..]]) {
            let before: Vec<_> = lost.iter().map(|n| row(&two.sandbox, *n)).collect();
            lose(&two.sandbox, lost);
            let repaired = two.run(&["repair", "--apply", "--json"]).json();
            let after: Vec<_> = lost.iter().map(|n| row(&two.sandbox, *n)).collect();
            assert_eq!(after, before, "{lost:?} {resealed}: {repaired}");
        }
        let told = two.forget(two.sandbox.client(), &["--keep-last", "1", "-n"]);
        assert_eq!((&told.summary["claimed"], told.forgotten.len()), (&0.into(), 1));
    }
}

/// Whoever knows the id key can put an object with the store's own recipients in the place of another's: then that one would sign with a key
/// of somebody else's choosing, or not at all.
#[test]
fn a_writer_takes_no_signing_key_that_no_owner_made() {
    let two = Two::new();
    two.capture(&two.ben);
    let store = two.sandbox.store();
    let (ann, _) = record_of(&two.ann, &store);
    let (ben, file) = record_of(&two.ben, &store);
    assert!(tokens_of(&ann.ext) != tokens_of(&ben.ext) && signing_key_of(&ann.ext) != signing_key_of(&ben.ext));
    for ext in [ann.ext.clone(), Vec::new()] {
        let mut forged = ann.clone();
        (forged.name, forged.ext) = (ben.name, ext);
        write_object(&file, &forged, &recipient_of(&two.ben));
        put(&database(&store), Family::Default, format!("key/{}", ben.name).as_bytes(), &fs::read(&file).unwrap());
        let words = ["snapshot", two.source.to_str().unwrap(), "-d", "home"];
        two.ben.run(&store, words).refused(12, "the key record changed");
    }
    write_object(&file, &ben, &recipient_of(&two.ben));
    put(&database(&store), Family::Default, format!("key/{}", ben.name).as_bytes(), &fs::read(&file).unwrap());
    two.capture(&two.ben);
}
