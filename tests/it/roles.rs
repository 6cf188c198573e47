//! Roles, by what they cannot do: writers, catalog keys.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use larder::codec::{IdKeys, parse_identities, unwrap};
use larder::format::{EpochRecord, Family, index_key};
use larder::model::Role;

use crate::keys::{Nobody, capture, database, member, one_snapshot, record_of, restores, rows};
use crate::sandbox::{Ran, noise};

#[test]
fn a_writer_captures_and_can_do_nothing_else() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let writer = member(&sandbox, "writer");
    fs::write(tree.join("small"), "other words").unwrap();
    fs::write(tree.join("ledger"), noise(7, 400_000)).unwrap();
    // What has just changed would be read again, lest it change once more unseen.
    std::thread::sleep(std::time::Duration::from_millis(300));
    capture(&writer, &store, &tree).done();
    let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
    let mnt = sandbox.path("mnt");
    fs::create_dir(&mnt).unwrap();
    let dest = sandbox.path("dest");
    for command in [
        words("list"),
        words("show d"),
        words("ls d"),
        words("cat d:ledger"),
        words("find *"),
        words("history ledger"),
        words("diff d~1 d"),
        words("stats"),
        words("why-big d"),
        words("why-new d"),
        words("verify"),
        words("verify --read-data"),
        words("key list"),
        words("key rotate"),
        words("key remove abcd"),
        vec!["restore", "d", dest.to_str().unwrap()],
        vec!["export", "d", "--bare", "-o", dest.to_str().unwrap()],
        vec!["mount", mnt.to_str().unwrap()],
    ] {
        let ran = writer.run(&store, &command);
        let told = format!("{}{}", ran.stderr, String::from_utf8_lossy(&ran.stdout));
        for name in ["small", "ledger", "other words"] {
            let quoted = command.iter().any(|w| w.contains(name));
            assert!(quoted || !told.contains(&format!(" {name}")), "{command:?} tells of {name}: {told}");
        }
        ran.refused(12, "writer key, which may capture and read nothing");
    }
    assert!(!dest.exists());
    let (record, _) = record_of(&writer, &store);
    assert_eq!((record.role, record.page_identities.len(), record.chunk_identities.len()), (Role::Writer, 0, 0));
    // What it captured is whole, and unchanged files are not read again.
    restores(sandbox.client(), &store, "d", &tree, &dest);
    let again = writer.run(&store, ["snapshot", tree.to_str().unwrap(), "-d", "d", "-v"]).ended(0);
    assert!(again.stderr.contains("3 files unchanged since the last capture"), "{}", again.stderr);
    restores(sandbox.client(), &store, "d", &tree, &dest);
    sandbox.larder(["verify", "--read-data"]).done();
    let entries = sandbox.larder(["list", "--json"]).ids();
    assert_eq!(entries.len(), 3);
}

#[test]
fn a_catalog_key_reads_names_and_no_content() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let catalog = member(&sandbox, "catalog");
    fs::write(tree.join("small"), "other words").unwrap();
    sandbox.snapshot(&tree, "d").done();
    assert_eq!(catalog.run(&store, ["list", "--json"]).ids().len(), 2);
    let text = catalog.run(&store, ["ls", "-R", "d"]).ended(0).stdout;
    assert!(String::from_utf8(text).unwrap().contains("folder/file"));
    for command in
        ["show d", "find *", "history small", "diff d~1 d", "stats", "why-big d", "why-new d", "verify", "key list"]
    {
        catalog.run(&store, command.split(' ')).done();
    }
    let dest = sandbox.path("dest");
    let dest = dest.to_str().unwrap();
    for command in [
        &["cat", "d:small"][..],
        &["restore", "d", dest],
        &["export", "d", "--bare", "-o", dest],
        &["verify", "--read-data"],
        &["diff", "d~1", "d", "--content"],
        &["key", "add", "-p"],
        &["key", "rotate"],
        &["key", "remove", "abcd"],
    ] {
        let mut larder = catalog.larder(&store);
        larder.args(command).env("LARDER_PASSPHRASE_COMMAND", "echo secret");
        Ran::of(&mut larder).refused(12, "takes an owner key; this one is a catalog key");
    }
    assert!(!Path::new(dest).exists());
    let (record, _) = record_of(&catalog, &store);
    assert_eq!((record.page_identities.len(), record.chunk_identities.len()), (1, 0));
}

#[test]
fn a_mount_by_a_catalog_key_shows_names_and_opens_nothing() {
    let (sandbox, _) = one_snapshot();
    let catalog = member(&sandbox, "catalog");
    let mnt = sandbox.path("mnt");
    fs::create_dir(&mnt).unwrap();
    catalog.run(&sandbox.store(), ["mount", "-b", mnt.to_str().unwrap()]).done();
    let file = mnt.join("datasets/d/latest/small");
    let (size, read) = (fs::metadata(&file).map(|m| m.len()), fs::read(&file));
    catalog.run(&sandbox.store(), ["unmount", mnt.to_str().unwrap()]).done();
    assert_eq!(size.unwrap(), 11);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
}

/// A stolen store and a stolen writer key: no content, no names, though a guess can be confirmed.
#[test]
fn a_stolen_writer_key_opens_no_epoch() {
    let (sandbox, _) = one_snapshot();
    let writer = member(&sandbox, "writer");
    let (record, _) = record_of(&writer, &sandbox.store());
    let identity = parse_identities(&fs::read(writer.identity()).unwrap(), "identity", Arc::new(Nobody)).unwrap();
    let plain = format!("{:?}", record.to_bytes());
    assert!(!plain.contains("AGE-SECRET-KEY"));
    let db = database(&sandbox.store());
    let mut seen = 0;
    for (_, value) in rows(&db, Family::Epochs) {
        let epoch = EpochRecord::from_bytes(&value[..value.len() - 32]).unwrap();
        assert!(unwrap(&epoch.page_key, &identity).is_err() && unwrap(&epoch.chunk_key, &identity).is_err());
        seen += 1;
    }
    assert!(seen > 0);
    let guess = IdKeys::new(&record.id_key).chunk(b"a few words");
    let found = rows(&db, Family::Chunks).iter().any(|(key, _)| **key == index_key(guess.as_bytes()));
    assert!(found, "as the manual says");
}
