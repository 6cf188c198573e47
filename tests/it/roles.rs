//! Roles, by what they cannot do: writers, catalog keys.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use larder::codec::{IdKeys, parse_identities, unwrap};
use larder::format::{EpochRecord, Family, index_key};
use larder::model::Role;

use crate::behind::{database, rows};
use crate::keys::{Nobody, capture, member, one_snapshot, recipient_of, record_of, restores};
use crate::sandbox::{Ran, Sandbox, copy_tree, noise};

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

/// What a command may do: by a writer key and by a catalog key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum May {
    /// Both may.
    All,
    /// It takes a catalog key.
    Catalog,
    /// It takes an owner key.
    Owner,
}

/// Every command, with what takes it to another role, and who may run it. `TREE`, `DEST`, `MNT`, `COPY`, `PACK`, `LINE`, `AGE1` and `ID` are filled in.
const COMMANDS: &[(May, &str)] = &[
    (May::All, "init DEST/new --unencrypted"),
    (May::All, "snapshot TREE -d d"),
    (May::All, "snapshot TREE -d d --dry-run"),
    (May::All, "snapshot TREE -d d --skip-if-unchanged --immutable"),
    (May::Catalog, "list"),
    (May::Catalog, "list -d d"),
    (May::Catalog, "show ID"),
    (May::Catalog, "ls -R d"),
    (May::Owner, "cat d:SECRET-NAME"),
    (May::Catalog, "diff d~1 d"),
    (May::Owner, "diff d~1 d --content"),
    (May::Catalog, "diff d TREE"),
    (May::Catalog, "find *"),
    (May::Catalog, "history SECRET-NAME"),
    (May::Catalog, "stats"),
    (May::Catalog, "why-big d"),
    (May::Catalog, "why-new d"),
    (May::Owner, "restore d DEST/restored"),
    (May::Owner, "restore d DEST/restored --dry-run"),
    (May::Owner, "export --bare d -o DEST/out.tar"),
    (May::Owner, "export --bare d -o DEST/out.zip"),
    (May::Owner, "export d -o DEST/out.tar.zst"),
    (May::All, "import PACK -d d"),
    (May::All, "import PACK -d d -n"),
    (May::All, "unpack PACK DEST/unpacked"),
    (May::All, "verify PACK"),
    (May::All, "records canon LINE"),
    (May::Owner, "records init r --source s --entity e"),
    (May::Owner, "records import LINE --dataset d"),
    (May::Owner, "records find d"),
    (May::Owner, "records diff d~1 d"),
    (May::Owner, "records export d -o DEST/out.ndjson"),
    (May::Owner, "sync d --sql sqlite:DEST/x.db --create"),
    (May::Catalog, "mount -b MNT"),
    (May::Catalog, "mount -b --snapshot d MNT"),
    (May::Catalog, "hold ID --reason x"),
    (May::Catalog, "release ID"),
    (May::Catalog, "release --strange ID"),
    (May::Catalog, "hold --immutable ID --reason x"),
    (May::Catalog, "policy set d --keep-last 9"),
    (May::Catalog, "policy show"),
    (May::Catalog, "policy explain d"),
    (May::Catalog, "policy clear d"),
    (May::Catalog, "forget --keep-last 9 -n"),
    (May::Catalog, "forget --keep-last 9"),
    (May::Catalog, "forget latest -n"),
    (May::Catalog, "gc -n"),
    (May::Catalog, "gc"),
    (May::All, "verify --no-key"),
    (May::Catalog, "verify"),
    (May::Owner, "verify --read-data"),
    (May::Owner, "repair"),
    (May::Owner, "repair --apply"),
    (May::Catalog, "heal TREE"),
    (May::Catalog, "heal COPY"),
    (May::Catalog, "key list"),
    (May::All, "key export"),
    (May::Catalog, "key export ffff"),
    (May::Owner, "key add -r AGE1"),
    (May::Owner, "key remove abcd"),
    (May::Owner, "key rotate"),
    (May::All, "config show"),
    (May::All, "schema list"),
    (May::All, "completions bash"),
    (May::All, "man"),
    (May::All, "help key"),
];

#[test]
fn every_command_does_what_its_role_may_and_nothing_else() {
    let sandbox = Sandbox::with_store();
    let store = sandbox.store();
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    for turn in 0..2 {
        fs::write(tree.join("SECRET-NAME"), format!("private words {turn}")).unwrap();
        sandbox.snapshot(&tree, "d").done();
    }
    let ids = sandbox.larder(["list", "--json"]).ids();
    // Of the command line, all.
    let help = String::from_utf8(sandbox.larder(["--help"]).ended(0).stdout).unwrap();
    let told = help.lines().filter_map(|l| l.strip_prefix("  ")?.split_once("  ")).map(|(word, _)| word.trim());
    let mut told: Vec<_> = told.filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    let mut here: Vec<_> =
        COMMANDS.iter().map(|(_, words)| words.split(' ').next().unwrap()).chain(["unmount"]).collect();
    told.sort_unstable();
    here.sort_unstable();
    here.dedup();
    assert_eq!(told, here);
    let clients = [Role::Writer, Role::Catalog].map(|role| (role, member(&sandbox, role.as_str())));
    let copy = sandbox.path("copy");
    copy_tree(&store, &copy);
    let pack = sandbox.path("pack.tar");
    sandbox.larder(["export", "d", "-o", pack.to_str().unwrap()]).done();
    let line = sandbox.path("line.json");
    fs::write(&line, "{}\n").unwrap();
    let mut wrong = Vec::new();
    for (role, client) in clients {
        for (may, words) in COMMANDS {
            let (mnt, dest) = (sandbox.path(format!("{role} mnt")), sandbox.path(format!("{role} dest")));
            let _ = (fs::create_dir(&mnt), fs::create_dir(&dest));
            let filled = words.split(' ').map(|word| {
                word.replace("TREE", tree.to_str().unwrap())
                    .replace("DEST", dest.to_str().unwrap())
                    .replace("MNT", mnt.to_str().unwrap())
                    .replace("COPY", copy.to_str().unwrap())
                    .replace("PACK", pack.to_str().unwrap())
                    .replace("LINE", line.to_str().unwrap())
                    .replace("AGE1", &recipient_of(&client))
                    .replace("ID", &ids[0])
            });
            let ran = client.run(&store, std::iter::once("-vv".to_owned()).chain(filled));
            if words.starts_with("mount") && ran.status == 0 {
                client.run(&store, ["unmount", mnt.to_str().unwrap()]).done();
            }
            let told = format!("{}{}", ran.stderr, String::from_utf8_lossy(&ran.stdout));
            assert!(!told.contains("private words") && !told.contains("AGE-SECRET-KEY"), "{role}: {words}: {told}");
            let allowed = match may {
                May::All => true,
                May::Catalog => role == Role::Catalog,
                May::Owner => false,
            };
            let right = if allowed {
                ran.status == if words.ends_with("ffff") { 10 } else { 0 }
            } else {
                let needed = if *may == May::Owner { "owner key" } else { "catalog or owner key" };
                let silent = ran.stdout.is_empty() && !dest.join("restored").exists();
                let told_names = told.contains("SECRET-NAME") && !words.contains("SECRET-NAME");
                ran.status == 12 && ran.stderr.contains(needed) && silent && !told_names
            };
            if !right {
                wrong.push(format!("{role}: {words}: {}\n{told}", ran.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    sandbox.larder(["verify", "--read-data"]).done();
}
