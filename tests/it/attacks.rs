//! Someone who can write to the store's folder changes, swaps or sets back what is in it; someone has the wrong key.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use larder::codec::{
    IdKeys, MacLabel, Passphrase, Prompt, Recipient, commitment, parse_identities, parse_recipient, unwrap, wrap,
};
use larder::format::{Family, Header, KeyRecord};
use larder::model::{KeyName, Timestamp};
use larder::store::{NewStore, create};

use crate::behind::{database, put, rows};
use crate::sandbox::{Client, Ran, Sandbox, copy_tree};

struct Nobody;

impl Prompt for Nobody {
    fn message(&self, _: &str) {}
    fn passphrase(&self, _: &str) -> Option<Passphrase> {
        None
    }
}

/// A client's own recipient, read from its identity file.
fn recipient_of(client: &Client) -> String {
    let text = fs::read_to_string(client.identity()).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("# public key: ").or(l.strip_prefix("# recipient: ")));
    line.map_or_else(
        || {
            let ran = Ran::of(client.command("age-keygen").arg("-y").arg(client.identity()));
            String::from_utf8(ran.ended(0).stdout).unwrap().trim().to_owned()
        },
        str::to_owned,
    )
}

fn recipient(text: &str) -> Recipient {
    parse_recipient(text, Arc::new(Nobody)).unwrap()
}

/// The file of the only key object of a store.
fn key_object(store: &Path) -> std::path::PathBuf {
    let mut found: Vec<_> = fs::read_dir(store.join("keys")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// Opens a store's only key object with a client's identity.
fn key_record(store: &Path, client: &Client) -> KeyRecord {
    let identity = parse_identities(&fs::read(client.identity()).unwrap(), "identity", Arc::new(Nobody)).unwrap();
    KeyRecord::from_bytes(&unwrap(&fs::read(key_object(store)).unwrap(), &identity).unwrap()).unwrap()
}

/// Puts a key object in the place of the only one.
fn replace_key_object(store: &Path, record: &KeyRecord, to: &str) {
    let path = key_object(store);
    fs::write(path, wrap(&record.to_bytes(), &recipient(to)).unwrap()).unwrap();
}

/// A sandbox with an encrypted store of two snapshots of the dataset `d`.
fn two_snapshots() -> Sandbox {
    let sandbox = Sandbox::with_store();
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    for text in ["first", "second"] {
        fs::write(tree.join("file"), text).unwrap();
        sandbox.snapshot(&tree, "d").done();
    }
    sandbox
}

/// It failed with one of these statuses and says why.
#[track_caller]
fn fails_with(ran: Ran, statuses: &[i32], what: &str) {
    assert!(statuses.contains(&ran.status), "{what}: exit {} {}", ran.status, ran.stderr);
    assert!(!ran.stderr.trim().is_empty() || ran.status == 0, "{what}: not a word");
}

#[test]
fn every_changed_byte_of_the_header_is_noticed() {
    let sandbox = two_snapshots();
    let path = sandbox.store().join("header");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x81;
        fs::write(&path, bad).unwrap();
        fails_with(sandbox.larder(["list"]), &[12, 13, 14], &format!("byte {at}"));
    }
    fs::write(&path, &good[..100]).unwrap();
    fails_with(sandbox.larder(["list"]), &[13], "a header cut short");
    fs::remove_file(&path).unwrap();
    fails_with(sandbox.larder(["list"]), &[13], "no header beside a database");
}

#[test]
fn every_changed_byte_of_a_key_object_is_noticed() {
    let sandbox = Sandbox::with_store();
    let path = key_object(&sandbox.store());
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        fs::write(&path, bad).unwrap();
        fails_with(sandbox.larder(["list"]), &[12, 13], &format!("byte {at}"));
    }
}

#[test]
fn a_forged_key_object_is_refused() {
    let sandbox = two_snapshots();
    let victim = recipient_of(sandbox.client());
    let mut record = key_record(&sandbox.store(), sandbox.client());
    record.id_key = [0x41; 32];
    replace_key_object(&sandbox.store(), &record, &victim);
    fails_with(sandbox.larder(["list"]), &[12, 13], "another id key than the header's");
    fails_with(sandbox.another_client("fresh").run(&sandbox.store(), ["list"]), &[13], "also to one who sees it first");
}

#[test]
fn recipients_swapped_by_one_who_knows_the_id_key_are_noticed_before_anything_is_written() {
    let sandbox = two_snapshots();
    let victim = recipient_of(sandbox.client());
    let mut record = key_record(&sandbox.store(), sandbox.client());
    let (_, theirs) = larder::codec::generate_identity();
    // The token of the victim's key only its holder and owners know.
    record.ext.clear();
    record.page_recipient.clone_from(&theirs);
    record.chunk_recipient = theirs;
    replace_key_object(&sandbox.store(), &record, &victim);
    fails_with(sandbox.snapshot(&sandbox.path("tree"), "d"), &[12], "capture");
    fails_with(sandbox.larder(["list"]), &[12], "list");
}

#[test]
fn a_key_object_of_another_store_opens_nothing() {
    let sandbox = two_snapshots();
    let other = sandbox.path("other");
    sandbox.client().run(&other, ["init"]).done();
    let (mine, theirs) = (key_object(&sandbox.store()), key_object(&other));
    let good = fs::read(&mine).unwrap();
    fs::copy(&theirs, &mine).unwrap();
    fails_with(sandbox.larder(["list"]), &[12, 13], "in the place of the right one");
    fs::write(&mine, good).unwrap();
    fs::copy(&theirs, mine.with_file_name("0000000000000000.age")).unwrap();
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 2, "beside the right one it does no harm");
}

#[test]
fn a_store_set_back_to_an_older_copy_is_noticed_by_who_has_seen_the_newer_one() {
    let sandbox = Sandbox::with_store();
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    sandbox.snapshot(&tree, "d").done();
    let older = sandbox.path("older");
    copy_tree(&sandbox.store(), &older);
    sandbox.snapshot(&tree, "d").done();
    fs::remove_dir_all(sandbox.store()).unwrap();
    fs::rename(&older, sandbox.store()).unwrap();
    fails_with(sandbox.larder(["list"]), &[13], "list");
    fails_with(sandbox.snapshot(&tree, "d"), &[13], "capture");
    let fresh = sandbox.another_client("fresh").run(&sandbox.store(), ["list", "--json"]).ids();
    assert_eq!(fresh.len(), 1, "who sees it first cannot know");
}

#[test]
fn a_store_whose_log_was_written_anew_is_noticed_by_who_has_seen_the_old_one() {
    let sandbox = Sandbox::with_store();
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    let other = sandbox.path("fork");
    copy_tree(&sandbox.store(), &other);
    sandbox.snapshot(&tree, "d").done();
    let forger = sandbox.another_client("forger");
    forger.run(&other, ["snapshot", tree.to_str().unwrap(), "--dataset", "d"]).done();
    forger.run(&other, ["snapshot", tree.to_str().unwrap(), "--dataset", "d"]).done();
    fs::remove_dir_all(sandbox.store()).unwrap();
    fs::rename(&other, sandbox.store()).unwrap();
    fails_with(sandbox.larder(["list"]), &[13], "another log of the same length or longer");
}

/// Makes a store of one's own that has the victim's store id and opens with the victim's identity.
fn impersonate(sandbox: &Sandbox, encrypted: bool) -> std::path::PathBuf {
    let victim = Header::parse(&fs::read(sandbox.store().join("header")).unwrap()).unwrap();
    let to = recipient_of(sandbox.client());
    let forged = sandbox.path("forged");
    let recipients = if encrypted { vec![recipient(&to)] } else { Vec::new() };
    create(&forged, &NewStore { recipients, now: Timestamp::EPOCH }).unwrap();
    let mut header = Header::parse(&fs::read(forged.join("header")).unwrap()).unwrap();
    let id_key = if encrypted {
        let mut record = key_record(&forged, sandbox.client());
        record.store = victim.store;
        replace_key_object(&forged, &record, &to);
        record.id_key
    } else {
        larder::codec::public_id_key()
    };
    header.store = victim.store;
    header.commitment = commitment(&id_key);
    header.mac = IdKeys::new(&id_key).mac(MacLabel::Header, &[&header.signed_part()]);
    fs::write(forged.join("header"), header.to_bytes()).unwrap();
    let db = database(&forged);
    put(&db, Family::Default, b"canary", victim.store.as_bytes());
    put(&db, Family::Default, b"header", &header.to_bytes());
    forged
}

#[test]
fn a_store_with_other_keys_under_the_same_id_is_refused_by_who_knows_the_right_one() {
    for encrypted in [true, false] {
        let sandbox = two_snapshots();
        let forged = impersonate(&sandbox, encrypted);
        let tree = sandbox.path("tree");
        let fresh = sandbox.another_client("fresh").run(&forged, ["list", "--json"]).ids();
        assert!(fresh.is_empty(), "the forgery is a good store in itself");
        fs::remove_dir_all(sandbox.store()).unwrap();
        fs::rename(&forged, sandbox.store()).unwrap();
        fails_with(sandbox.larder(["list"]), &[12], "list");
        fails_with(sandbox.snapshot(&tree, "d"), &[12], "capture");
        assert_eq!(rows(&database(&sandbox.store()), Family::Data).len(), 0, "nothing was written");
    }
}

#[test]
fn changed_rows_of_the_log_are_damage_and_hide_no_other_snapshot() {
    let sandbox = two_snapshots();
    let third = sandbox.path("tree");
    sandbox.snapshot(&third, "d").done();
    let ids = sandbox.larder(["list", "--json"]).ids();
    let good = rows(&database(&sandbox.store()), Family::Log);
    for (at, (key, value)) in good.iter().enumerate() {
        let mut bad = value.to_vec();
        bad[40] ^= 1;
        put(&database(&sandbox.store()), Family::Log, key, &bad);
        // Each time one who has seen nothing: others would notice at once that the log is another one.
        let ran = sandbox.another_client(&format!("fresh{at}")).run(&sandbox.store(), ["list"]);
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        fails_with(ran, &[13], &format!("log entry {}", at + 1));
        for (other, id) in ids.iter().enumerate().filter(|(other, _)| *other != at) {
            assert!(
                other == at + 1 || text.contains(&id[..12]),
                "damage of entry {} hides {}: {text}",
                at + 1,
                other + 1
            );
        }
        put(&database(&sandbox.store()), Family::Log, key, value);
    }
    let db = database(&sandbox.store());
    db.delete_cf(db.cf_handle("log").unwrap(), &good[1].0).unwrap();
    drop(db);
    fails_with(
        sandbox.another_client("last").run(&sandbox.store(), ["list"]),
        &[13],
        "an entry taken out of the middle",
    );
}

#[test]
fn manifests_put_in_each_others_place_are_damage() {
    let sandbox = two_snapshots();
    let db = database(&sandbox.store());
    let two = rows(&db, Family::Manifests);
    put(&db, Family::Manifests, &two[0].0, &two[1].1);
    put(&db, Family::Manifests, &two[1].0, &two[0].1);
    drop(db);
    let id = KeyName::from_slice(&two[0].0[..8]).unwrap().to_string();
    fails_with(sandbox.larder(["show", &id]), &[13], "show");
    fails_with(sandbox.larder(["verify"]), &[13], "verify");
}

#[test]
fn blocks_put_in_each_others_place_are_damage() {
    let sandbox = two_snapshots();
    let db = database(&sandbox.store());
    for family in [Family::Data, Family::Tree] {
        let blocks: Vec<_> = rows(&db, family).into_iter().filter(|(_, v)| v[4] != 3).collect();
        assert!(blocks.len() >= 2);
        put(&db, family, &blocks[0].0, &blocks[1].1);
        put(&db, family, &blocks[1].0, &blocks[0].1);
    }
    drop(db);
    fails_with(sandbox.larder(["verify"]), &[13], "verify");
    let dest = sandbox.path("dest");
    fails_with(sandbox.larder(["restore", "latest", dest.to_str().unwrap()]), &[13], "restore");
}

#[test]
fn the_wrong_identity_and_none_open_nothing() {
    let sandbox = two_snapshots();
    let stranger = sandbox.another_client("stranger");
    fs::remove_file(stranger.identity()).unwrap();
    stranger.run(&sandbox.store(), ["list"]).refused(12, "ident");
    let theirs = sandbox.path("theirs");
    Ran::of(stranger.command("age-keygen").arg("-o").arg(&theirs)).done();
    stranger.run(&sandbox.store(), ["list", "--identity", theirs.to_str().unwrap()]).refused(12, "ident");
    stranger
        .run(&sandbox.store(), ["snapshot", "/etc/hostname", "--identity", theirs.to_str().unwrap()])
        .refused(12, "ident");
}

#[test]
fn what_is_no_store_is_told_apart_from_what_is_not_there() {
    let sandbox = Sandbox::new();
    sandbox.larder(["list"]).refused(10, "no store");
    fs::create_dir(sandbox.store()).unwrap();
    fs::write(sandbox.store().join("something"), "else").unwrap();
    sandbox.larder(["list"]).refused(10, "not a larder store");
    fs::write(sandbox.store().join("header"), "something else entirely").unwrap();
    sandbox.larder(["list"]).refused(10, "not a larder store");
    sandbox.larder(["init"]).refused(2, "nothing was changed");
    assert_eq!(fs::read(sandbox.store().join("something")).unwrap(), b"else");
}

#[test]
fn a_store_of_a_newer_version_is_told_so() {
    let sandbox = Sandbox::with_open_store();
    let path = sandbox.store().join("header");
    let good = fs::read(&path).unwrap();
    // Another version, and an incompatible feature bit.
    for at in [8, 32] {
        let mut newer = good.clone();
        newer[at] += 1;
        fs::write(&path, &newer).unwrap();
        sandbox.larder(["list"]).refused(13, "differs from its copy");
        put(&database(&sandbox.store()), Family::Default, b"header", &newer);
        sandbox.larder(["list"]).refused(14, "newer");
        put(&database(&sandbox.store()), Family::Default, b"header", &good);
    }
    // A feature that one may read past but not write: a header that its maker signed.
    let mut header = Header::parse(&good).unwrap();
    header.read_only_compatible = 1;
    header.mac = IdKeys::new(&larder::codec::public_id_key()).mac(MacLabel::Header, &[&header.signed_part()]);
    fs::write(&path, header.to_bytes()).unwrap();
    sandbox.larder(["list"]).done();
    sandbox.larder(["snapshot", "/etc/hostname"]).refused(14, "newer");
}

#[test]
fn a_locked_store_is_left_alone_and_still_read() {
    let sandbox = two_snapshots();
    let lock = File::options().write(true).open(sandbox.store().join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let tree = sandbox.path("tree");
    sandbox.larder(["snapshot", tree.to_str().unwrap(), "--no-wait"]).refused(11, "another process");
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 2);
    drop(lock);
    sandbox.larder(["snapshot", tree.to_str().unwrap(), "--no-wait"]).done();
}

#[test]
fn a_mount_point_over_in_or_above_the_store_is_refused() {
    let sandbox = two_snapshots();
    let inside = sandbox.store().join("leases");
    let alias = sandbox.path("alias");
    symlink(sandbox.store(), &alias).unwrap();
    for point in [sandbox.store(), inside, sandbox.path(""), alias] {
        let mut mount = sandbox.client().command("timeout");
        mount.arg("20").arg(env!("CARGO_BIN_EXE_larder")).arg("--store").arg(sandbox.store()).arg("mount").arg(&point);
        fails_with(Ran::of(&mut mount), &[2], &format!("{}", point.display()));
    }
}

#[test]
fn another_store_in_the_place_of_one_is_refused_by_whoever_knows_that_one() {
    let sandbox = two_snapshots();
    let (store, thief) = (sandbox.store(), sandbox.another_client("thief"));
    let source = sandbox.path("secret");
    fs::create_dir(&source).unwrap();
    let words = ["snapshot", source.to_str().unwrap(), "--dataset", "d"];
    let (own, others) = (sandbox.path("own"), sandbox.path("others"));
    for (made, how) in [(0, &["init", "--unencrypted"][..]), (1, &["init", "--recipient"])] {
        let _ = fs::remove_dir_all(&others);
        if made == 0 {
            fs::rename(&store, &own).unwrap();
        } else {
            fs::remove_dir_all(&store).unwrap();
        }
        let recipient = recipient_of(sandbox.client());
        let how: Vec<_> = how.iter().copied().chain((made == 1).then_some(recipient.as_str())).collect();
        thief.run(&store, &how).done();
        for words in [&words[..], &["list"], &["verify", "--no-key"]] {
            let ran = sandbox.larder(words);
            assert_eq!(ran.status, 12, "{words:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("is not the one that this client knows there"), "{}", ran.stderr);
        }
        assert!(thief.run(&store, ["list", "--json"]).ids().is_empty());
    }
    // Stores that this client has seen may take turns there.
    fs::rename(&store, &others).unwrap();
    sandbox.larder(["init"]).done();
    sandbox.larder(words).done();
    fs::rename(&store, sandbox.path("new")).unwrap();
    fs::rename(&own, &store).unwrap();
    sandbox.larder(words).done();
    fs::rename(&store, &own).unwrap();
    fs::rename(sandbox.path("new"), &store).unwrap();
    sandbox.larder(words).done();
    // And who put another there knows what to do.
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&others, &store).unwrap();
    let ran = sandbox.larder(["list"]).ended(12);
    let place = ran.stderr.split_whitespace().find(|word| word.contains("/places/")).unwrap();
    fs::remove_file(place).unwrap();
    sandbox.larder(words).done();
}
