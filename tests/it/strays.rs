//! Rows with numbers that nobody can have come to by counting, what is no file in the place of one, and two damages at once: none shuts a
//! store.

use std::fs;

use larder::format::{Family, number_key};
use larder::model::{Digest, LogKind};

use crate::behind::{delete, put, tables, tables_of};
use crate::clocked::opened;
use crate::keys::member;
use crate::lost_entries::{Stage, parsed, row, set, with_mac, write_tip};
use crate::sandbox::{compare, copy_tree, model};

/// Far from all others.
const FAR: u64 = u64::MAX - 1;

/// A row of a family of blocks: an epoch note.
fn note(stage: &Stage, family: Family) -> Vec<u8> {
    let db = stage.database();
    let first = db.iterator_cf(db.cf_handle(family.name()).unwrap(), rocksdb::IteratorMode::Start).next();
    first.unwrap().unwrap().1.to_vec()
}

/// It is told by verify, with a key and without; it stands in nobody's way; and a repair takes it out.
fn is_mended(stage: &Stage, what: &str) {
    for words in [&["verify"][..], &["verify", "--no-key"]] {
        let said = String::from_utf8(stage.run(words).ended(13).stdout).unwrap();
        assert!(said.contains("by counting"), "{what}: {said}");
    }
    stage.sandbox.snapshot(&stage.source, "beside").done();
    stage.run(&["forget", "-d", "beside", "--keep-none"]).done();
    stage.run(&["gc"]).done();
    stage.run(&["repair", "--apply"]).done();
    stage.works(3);
}

#[test]
fn numbers_of_blocks_that_nobody_can_have_come_to_are_passed_over() {
    let stage = Stage::new();
    for (next, what) in
        [(&FAR.to_be_bytes()[..], "next"), (&(1_u64 << 50).to_be_bytes(), "next, nearer"), (b"x", "no number")]
    {
        put(&stage.database(), Family::Default, b"next", next);
        let said = String::from_utf8(stage.run(&["verify"]).ended(13).stdout).unwrap();
        assert!(said.contains("the number of the next block"), "{what}: {said}");
        stage.sandbox.snapshot(&stage.source, "beside").done();
        stage.run(&["forget", "-d", "beside", "--keep-none"]).done();
        stage.run(&["repair", "--apply"]).done();
        stage.works(3);
    }
    for family in [Family::Data, Family::Tree, Family::Sums] {
        let value = note(&stage, family);
        put(&stage.database(), family, &number_key(FAR), &value);
        if family == Family::Sums {
            // Gc has nothing to do with what is damaged.
            let _ran = stage.run(&["verify", "--no-key"]).ended(13);
            stage.run(&["repair", "--apply"]).done();
            stage.works(3);
        } else {
            is_mended(&stage, family.name());
        }
    }
}

#[test]
fn an_entry_with_a_number_of_somebodys_own_making_ends_no_log() {
    for number in [FAR, u64::MAX, 1 << 40] {
        let stage = Stage::with(crate::sandbox::Sandbox::with_store(), |_| {});
        let writer = member(&stage.sandbox, "writer");
        let keys = opened(&stage.sandbox, &writer);
        let mut entry = parsed(&row(&stage.sandbox, 2).unwrap());
        (entry.kind, entry.sequence) = (LogKind::KeyChange, number);
        entry.previous = Digest::from_bytes([9; 32]);
        let bytes = with_mac(&keys, &entry);
        set(&stage.sandbox, &[(number, Some(bytes))]);
        stage.run(&["restore", "d", stage.sandbox.path("out").to_str().unwrap()]).done();
        let said = String::from_utf8(stage.run(&["verify"]).ended(13).stdout).unwrap();
        assert!(said.contains(&format!("entry {number} of the arrival log: nobody can have come")), "{said}");
        stage.sandbox.snapshot(&stage.source, "d").done();
        stage.run(&["repair", "--apply"]).done();
        assert!(row(&stage.sandbox, number).is_none());
        stage.works(4);
    }
}

#[test]
fn a_tip_that_names_an_entry_which_nobody_can_have_come_to_is_made_anew() {
    for number in [u64::MAX, u64::MAX - 1, 1 << 40] {
        let stage = Stage::with(crate::sandbox::Sandbox::with_store(), |_| {});
        let writer = member(&stage.sandbox, "writer");
        write_tip(&stage.sandbox, &opened(&stage.sandbox, &writer), number, &Digest::from_bytes([9; 32]));
        let ran = stage.run(&["verify"]).ended(13);
        assert!(String::from_utf8(ran.stdout).unwrap().contains("the tip: nobody can have come"), "{}", ran.stderr);
        stage.sandbox.snapshot(&stage.source, "d").refused(13, "larder repair");
        stage.run(&["repair", "--apply"]).done();
        stage.works(3);
    }
}

fn keys(stage: &Stage, family: Family, from: &[u8]) -> Vec<Vec<u8>> {
    let db = stage.database();
    let rows = db.iterator_cf(db.cf_handle(family.name()).unwrap(), rocksdb::IteratorMode::Start);
    rows.map(|row| row.unwrap().0.to_vec()).filter(|key| key.starts_with(from)).collect()
}

#[test]
fn rows_that_follow_from_others_are_made_right() {
    type Harm = fn(&Stage);
    let harms: [(&str, Harm); 10] = [
        ("no canary", |stage| delete(&stage.database(), Family::Default, b"canary")),
        ("another canary", |stage| put(&stage.database(), Family::Default, b"canary", &[7; 16])),
        ("another header", |stage| put(&stage.database(), Family::Default, b"header", b"no header")),
        ("no keys", |stage| {
            keys(stage, Family::Default, b"key/")
                .iter()
                .for_each(|key| delete(&stage.database(), Family::Default, key));
        }),
        ("keys of rubbish", |stage| {
            keys(stage, Family::Default, b"key/")
                .iter()
                .for_each(|key| put(&stage.database(), Family::Default, key, b"rubbish"));
        }),
        ("a key without a name", |stage| put(&stage.database(), Family::Default, b"key/zzz", b"rubbish")),
        ("a record of no epoch", |stage| put(&stage.database(), Family::Epochs, &[7; 16], b"rubbish")),
        ("an entry without a number", |stage| put(&stage.database(), Family::Log, &[0], b"rubbish")),
        ("an entry before the first", |stage| put(&stage.database(), Family::Log, &[0; 8], b"rubbish")),
        ("a changed record of an epoch", |stage| {
            let note = note(stage, Family::Data);
            let mut record = note[48..].to_vec();
            *record.last_mut().unwrap() ^= 1;
            put(&stage.database(), Family::Epochs, &note[8..24], &record);
        }),
    ];
    for (what, harm) in harms {
        let stage = Stage::new();
        harm(&stage);
        let ran = stage.run(&["verify"]);
        assert_eq!(ran.status, 13, "{what}: {}", ran.stderr);
        let ran = stage.run(&["repair"]);
        assert_eq!(ran.status, 13, "{what}: {}", ran.stderr);
        let ran = stage.run(&["repair", "--apply"]);
        assert_eq!(ran.status, 0, "{what}: {}", ran.stderr);
        stage.works(3);
    }
}

/// A database of another store is not taken for this one's, whatever its rows say.
#[test]
fn a_database_of_another_store_stays_refused() {
    let (stage, other) = (Stage::new(), Stage::new());
    fs::remove_dir_all(stage.sandbox.store().join("db")).unwrap();
    copy_tree(&other.sandbox.store().join("db"), &stage.sandbox.store().join("db"));
    for words in [&["list"][..], &["repair", "--apply"]] {
        stage.run(words).refused(13, "not the one that belongs to the header");
    }
}

#[test]
fn a_repair_says_that_something_is_lost_also_where_its_digest_went_with_it() {
    let stage = Stage::new();
    let store = stage.sandbox.store();
    let content = tables(&store).into_iter().find(|path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(5).any(|window| window == b"LBK1\x01")
    });
    for file in [content.unwrap(), tables_of(&store, Family::Sums).remove(0)] {
        fs::remove_file(file).unwrap();
    }
    stage.run(&["repair", "--apply"]).refused(13, "larder verify tells which");
    let _ran = stage.run(&["verify"]).ended(13);
    stage.run(&["heal", stage.copy.to_str().unwrap()]).done();
    stage.run(&["repair", "--apply"]).done();
    stage.works(3);
}

#[test]
fn damage_to_an_entry_and_to_a_manifest_takes_along_no_more_than_these() {
    let stage = crate::crash::Stage::second_snapshot();
    let (sandbox, store) = (&stage.sandbox, stage.sandbox.store());
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for turn in 0..3 {
        fs::write(source.join("file"), crate::sandbox::noise(turn, 30_000)).unwrap();
        sandbox.snapshot(&source, "d").done();
    }
    let (ids, whole) = (sandbox.larder(["list", "--json"]).ids(), sandbox.path("whole"));
    copy_tree(&store, &whole);
    let (entries, manifests) = (tables_of(&store, Family::Log), tables_of(&store, Family::Manifests));
    assert!(entries.len() >= 3 && manifests.len() >= 3, "{entries:?} {manifests:?}");
    let pairs = entries.iter().flat_map(|entry| manifests.iter().map(move |manifest| (entry, manifest)));
    for (at, (entry, manifest)) in pairs.enumerate() {
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&whole, &store);
        // This client is not to notice that the store is set back.
        fs::remove_dir_all(sandbox.client().state()).unwrap();
        for file in [entry, manifest] {
            let mut bytes = fs::read(file).unwrap();
            bytes[60] ^= 1;
            fs::write(file, bytes).unwrap();
        }
        // Each but the one whose manifest is lost can be had at once, and the list tells of those whose entries are not.
        let restored = |id: &String| {
            let out = sandbox.path(format!("out {at} {id}"));
            let ran = sandbox.larder(["restore", id, out.to_str().unwrap()]);
            assert!([0, 13].contains(&ran.status), "{id}: {}", ran.stderr);
            ran.status == 0
        };
        let had = ids.iter().filter(|id| restored(id)).count();
        assert!(had + 2 > ids.len(), "{had} of {}", ids.len());
        let listed = sandbox.larder(["list"]).ended(13);
        let lines = String::from_utf8(listed.stdout).unwrap();
        assert!(ids.iter().filter(|id| lines.contains(&id[..16])).count() + 3 > ids.len(), "{lines}");
        let ran = sandbox.larder(["repair", "--apply", "--accept-lost-entries"]);
        assert!([0, 13].contains(&ran.status), "{}", ran.stderr);
        let _ran = sandbox.larder(["forget", "--lost"]);
        sandbox.larder(["verify", "--read-data"]).done();
        sandbox.larder(["repair"]).done();
        assert!(sandbox.larder(["list", "--json"]).ids().len() + 1 >= ids.len());
        let out = sandbox.path(format!("out {at}"));
        let first = stage.acknowledged.keys().next().unwrap();
        let ran = sandbox.larder(["restore", first, out.to_str().unwrap()]);
        match ran.status {
            0 => compare(&stage.acknowledged[first], &model(&out)).unwrap(),
            // It was the one.
            status => assert_eq!(status, 10, "{}", ran.stderr),
        }
    }
}

/// Whoever opens a pipe waits until somebody writes into it.
#[test]
fn what_is_no_file_is_damage_and_not_waited_for() {
    let stage = Stage::new();
    let (store, whole) = (stage.sandbox.store(), stage.sandbox.path("whole"));
    let writer = member(&stage.sandbox, "writer");
    let object = crate::keys::record_of(&writer, &store).1;
    let own = crate::keys::record_of(stage.sandbox.client(), &store).1;
    stage.run(&["cat", "d:file"]).done();
    copy_tree(&store, &whole);
    let database = |name: &str| {
        let found = fs::read_dir(store.join("db")).unwrap().map(|item| item.unwrap().path());
        found.filter(|path| path.file_name().unwrap().to_str().unwrap().contains(name)).min().unwrap()
    };
    let places = [
        store.join("header"),
        store.join("tip"),
        object,
        own,
        store.join("db/CURRENT"),
        database("MANIFEST"),
        database(".log"),
        database(".sst"),
    ];
    for place in places {
        for folder in [false, true] {
            fs::remove_dir_all(&store).unwrap();
            copy_tree(&whole, &store);
            fs::remove_dir_all(stage.sandbox.client().state()).unwrap();
            fs::remove_file(&place).unwrap();
            if folder {
                fs::create_dir(&place).unwrap();
            } else {
                rustix::fs::mknodat(rustix::fs::CWD, &place, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
            }
            let what = format!("{} as a {}", place.display(), if folder { "folder" } else { "pipe" });
            for words in [&["list"][..], &["verify"], &["verify", "--no-key"], &["gc", "-n"], &["repair"]] {
                let ran = stage.run(words);
                // Without one's own key object no identity fits.
                assert!([0, 12, 13].contains(&ran.status), "{what}: {words:?}: {}: {}", ran.status, ran.stderr);
            }
            let ran = stage.run(&["repair", "--apply"]);
            assert!([0, 13].contains(&ran.status), "{what}: {}: {}", ran.status, ran.stderr);
            if place.extension().is_none_or(|e| e != "sst") {
                stage.run(&["verify", "--read-data"]).done();
                stage.works(3);
            }
        }
    }
    // Readers hold leases in a file too.
    fs::remove_file(store.join("leases/snapshots")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, store.join("leases/snapshots"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    stage.run(&["cat", "d:file"]).done();
}

/// Files that are sparse take no room, and nobody comes to their ends.
#[test]
fn files_of_the_database_that_are_far_too_long_are_told_and_repaired() {
    for name in ["CURRENT", "IDENTITY", "MANIFEST", "999999.log"] {
        let stage = Stage::with(crate::sandbox::Sandbox::with_store(), |_| {});
        let db = stage.sandbox.store().join("db");
        let current = fs::read_to_string(db.join("CURRENT")).unwrap();
        let path = db.join(if name == "MANIFEST" { current.trim() } else { name });
        let _ = fs::remove_file(&path);
        fs::File::create(&path).unwrap().set_len(200 << 30).unwrap();
        let told = path.file_name().unwrap().to_str().unwrap();
        for words in [&["list"][..], &["verify", "--no-key"], &["snapshot", stage.source.to_str().unwrap(), "-d", "d"]]
        {
            stage.run(words).refused(13, told);
        }
        stage.run(&["repair", "--apply"]).done();
        stage.works(3);
    }
}

/// Who appends a record to the MANIFEST needs no key for it.
fn append_to_manifest(stage: &Stage, tag: u8, number: u64) {
    let db = stage.sandbox.store().join("db");
    let path = db.join(fs::read_to_string(db.join("CURRENT")).unwrap().trim());
    let mut payload = vec![tag];
    let mut rest = number;
    while rest >= 0x80 {
        payload.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    payload.push(rest as u8);
    let crc = |bytes: &[u8]| {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 })
        };
        !bytes.iter().fold(u32::MAX, step)
    };
    let checksum = crc(&[&[1][..], &payload].concat()).rotate_right(15).wrapping_add(0xa282_ead8);
    let head = [&checksum.to_le_bytes()[..], &(payload.len() as u16).to_le_bytes(), &[1]].concat();
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([head, payload].concat());
    fs::write(&path, bytes).unwrap();
}

#[test]
fn numbers_near_the_end_of_all_keep_everybody_from_writing_until_a_repair() {
    type Harm = Box<dyn Fn(&Stage)>;
    let appended = |tag, number| move |stage: &Stage| append_to_manifest(stage, tag, number);
    let named =
        |name: &'static str| move |stage: &Stage| fs::write(stage.sandbox.store().join("db").join(name), b"").unwrap();
    let harms: [(&str, Harm); 7] = [
        ("next file", Box::new(appended(3, 0x3fff_ffff_ffff_fff0))),
        ("next file, the last", Box::new(appended(3, u64::MAX - 15))),
        ("log", Box::new(appended(2, u64::MAX - 15))),
        ("last row", Box::new(appended(4, (1 << 56) - 16))),
        ("last row, beyond", Box::new(appended(4, u64::MAX - 15))),
        ("name of a table", Box::new(named("4611686018427387900.sst"))),
        ("name of a log", Box::new(named("4611686018427387900.log"))),
    ];
    for (what, harm) in harms {
        let stage = Stage::with(crate::sandbox::Sandbox::with_store(), |_| {});
        harm(&stage);
        stage.sandbox.snapshot(&stage.source, "d").refused(13, "by counting");
        let said = String::from_utf8(stage.run(&["verify"]).ended(13).stdout).unwrap();
        assert!(said.contains("by counting"), "{what}: {said}");
        stage.run(&["repair", "--apply"]).done();
        stage.works(3);
    }
}

#[test]
fn links_that_lead_to_themselves_are_damage_and_set_aside() {
    for name in ["header", "tip", "db/CURRENT", "db/OPTIONS-999999", "db/999999.log"] {
        let stage = Stage::with(crate::sandbox::Sandbox::with_store(), |_| {});
        let path = stage.sandbox.store().join(name);
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(path.file_name().unwrap(), &path).unwrap();
        let ran = stage.run(&["list"]);
        assert_eq!(ran.status, 13, "{name}: {ran:?}");
        stage.run(&["repair", "--apply"]).done();
        stage.works(3);
    }
}
