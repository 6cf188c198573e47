//! Rows, tips and lists of files that somebody put there who has no key: repair takes nothing good for bad by them, and shuts nobody out.

use std::fs;
use std::path::PathBuf;

use larder::format::{Family, SealedHeader, number_key};
use larder::model::LogEntry;

use crate::behind::{database, delete, put, rows, tables};
use crate::keys::{capture, named_member, one_snapshot};
use crate::lost_entries::{Stage, lose, parsed, row, set};
use crate::sandbox::{Client, Ran, Sandbox, compare, copy_tree, model, noise};

fn said(ran: &Ran) -> String {
    format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr)
}

fn header(sandbox: &Sandbox) -> Vec<u8> {
    fs::read(sandbox.store().join("header")).unwrap()
}

// ---------------------------------------------------------------------------------------------------------------------
// The header.

/// One byte of the header's row, or of its file, is another: whichever it is, the one that the keys made stays.
#[test]
fn a_header_that_opens_the_store_gives_way_to_no_other() {
    let (sandbox, tree) = one_snapshot();
    let good = header(&sandbox);
    for at in [10, 41, 57, 68, 72, 97, 140] {
        for is_row in [true, false] {
            // A file with another id, or for another id key, is another store's.
            if !is_row && [41, 97].contains(&at) {
                continue;
            }
            let mut other = good.clone();
            other[at] ^= 1;
            if is_row {
                put(&database(&sandbox.store()), Family::Default, b"header", &other);
            } else {
                fs::write(sandbox.store().join("header"), &other).unwrap();
            }
            let ran = sandbox.larder(["repair", "--apply"]);
            assert_eq!(ran.status, 0, "{at} {is_row}: {}", said(&ran));
            assert_eq!(header(&sandbox), good, "{at} {is_row}");
            sandbox.larder(["verify"]).done();
        }
    }
    sandbox.snapshot(&tree, "d").done();
}

/// Where neither opens it all stays as it is.
#[test]
fn a_header_that_does_not_help_takes_no_place() {
    let (sandbox, _) = one_snapshot();
    let mut other = header(&sandbox);
    other[140] ^= 1;
    put(&database(&sandbox.store()), Family::Default, b"header", &other);
    other[140] ^= 3;
    fs::write(sandbox.store().join("header"), &other).unwrap();
    sandbox.larder(["repair", "--apply"]).refused(13, "MAC does not hold");
    assert_eq!(header(&sandbox), other);
}

#[test]
fn what_was_missing_is_told_as_that() {
    let (sandbox, _) = one_snapshot();
    let key = fs::read_dir(sandbox.store().join("keys")).unwrap().next().unwrap().unwrap().path();
    for file in [sandbox.store().join("header"), key] {
        fs::remove_file(&file).unwrap();
        let ran = sandbox.larder(["repair", "--apply"]).ended(0);
        let told = said(&ran);
        assert!(told.contains("it was missing") && !told.contains("os error"), "{told}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Rows that changed places.

/// A file that is whole may have an older value of a row than another file: it does not come back over that.
#[test]
fn no_older_row_comes_back_over_a_newer_one() {
    for family in [Family::Tree, Family::Data] {
        let (sandbox, tree) = one_snapshot();
        for turn in 0..3 {
            fs::write(tree.join("folder/more"), noise(turn + 50, 90_000)).unwrap();
            sandbox.snapshot(&tree, "d").done();
        }
        let whole = sandbox.path("whole");
        copy_tree(&sandbox.store(), &whole);
        let all = rows(&database(&sandbox.store()), family);
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                fs::remove_dir_all(sandbox.store()).unwrap();
                copy_tree(&whole, &sandbox.store());
                let db = database(&sandbox.store());
                put(&db, family, &one.0, &other.1);
                put(&db, family, &other.0, &one.1);
                drop(db);
                let ran = sandbox.larder(["repair", "--apply"]);
                let verified = sandbox.larder(["verify", "--read-data"]);
                let what = format!("{family:?} {:?} {:?}", one.0, other.0);
                assert_eq!((ran.status, verified.status), (0, 0), "{what}: {}\n{}", said(&ran), said(&verified));
            }
        }
    }
}

#[test]
fn records_of_datasets_that_are_none_are_left_out() {
    let (sandbox, _) = one_snapshot();
    let db = database(&sandbox.store());
    let (key, value) = rows(&db, Family::Datasets).remove(0);
    let mut other = key.clone();
    other[15] ^= 4;
    put(&db, Family::Datasets, &other, &value);
    put(&db, Family::Datasets, b"short", &value);
    drop(db);
    let _ran = sandbox.larder(["verify"]).ended(13);
    let _ran = sandbox.larder(["repair"]).ended(13);
    sandbox.larder(["repair", "--apply"]).done();
    sandbox.larder(["verify"]).done();
    assert_eq!(rows(&database(&sandbox.store()), Family::Datasets), [(key, value)]);
}

/// Each record of an epoch says which one it is of.
#[test]
fn records_of_epochs_that_changed_places_are_put_right() {
    let stage = Stage::new();
    let db = stage.database();
    let epoch = |sequence: u64| {
        let log = db.cf_handle(Family::Log.name()).unwrap();
        let entry: LogEntry = parsed(&db.get_cf(log, number_key(sequence)).unwrap().unwrap());
        SealedHeader::parse(&entry.ext[0].1).unwrap().0.epoch
    };
    let all = rows(&db, Family::Epochs);
    let (one, other) = (epoch(3), epoch(4));
    let record = |id: &[u8; 16]| all.iter().find(|(key, _)| key[..] == *id).unwrap().1.clone();
    put(&db, Family::Epochs, one.as_bytes(), &record(other.as_bytes()));
    put(&db, Family::Epochs, other.as_bytes(), &record(one.as_bytes()));
    drop(db);
    let _ran = stage.run(&["verify"]).ended(13);
    let _ran = stage.run(&["repair"]).ended(13);
    stage.run(&["repair", "--apply"]).done();
    stage.run(&["verify"]).done();
    assert_eq!(rows(&stage.database(), Family::Epochs), all);
    assert!(said(&stage.run(&["show", &stage.ids[0]])).contains("the case"));
    assert!(said(&stage.run(&["policy", "show"])).contains('5'));
}

// ---------------------------------------------------------------------------------------------------------------------
// The tip, and what clients have seen.

/// What becomes of the tip.
type Hurt = fn(&Sandbox);

const FLIPPED: Hurt = |sandbox| {
    let tip = sandbox.store().join("tip");
    let mut bytes = fs::read(&tip).unwrap();
    bytes[20] ^= 0xff;
    fs::write(tip, bytes).unwrap();
};
const GONE: Hurt = |sandbox| fs::remove_file(sandbox.store().join("tip")).unwrap();

/// The newest entry, a hold, is lost with the tip, and a copy is at hand. Who has seen it, and who has not, comes to it again.
#[test]
fn a_lost_end_comes_back_though_the_tip_is_lost_too() {
    let swap: Hurt = |sandbox| {
        let (newest, other) = (row(sandbox, 7), row(sandbox, 5));
        set(sandbox, &[(7, other), (5, newest)]);
    };
    let lost: Hurt = |sandbox| lose(sandbox, &[7]);
    for (tip, end, has_seen) in
        [(FLIPPED, lost, true), (GONE, lost, true), (FLIPPED, swap, true), (GONE, swap, false), (FLIPPED, lost, false)]
    {
        let stage = Stage::new();
        let client = if has_seen { stage.sandbox.another_client("seen") } else { stage.sandbox.another_client("new") };
        let copy = stage.copy.to_str().unwrap();
        if has_seen {
            client.run(&stage.sandbox.store(), ["list"]).done();
        }
        end(&stage.sandbox);
        tip(&stage.sandbox);
        let run = |words: &[&str]| client.run(&stage.sandbox.store(), words);
        // Whatever is told leads on to the two.
        let ran = run(&["verify"]).ended(13);
        assert!(ran.stderr.contains("larder repair"), "{}", said(&ran));
        let ran = run(&["repair", "--apply"]);
        assert!([0, 13].contains(&ran.status) && !ran.stderr.contains("remove"), "{}", said(&ran));
        let ran = run(&["heal", copy]);
        assert_eq!(ran.status, 0, "{}", said(&ran));
        run(&["repair", "--apply"]).done();
        run(&["verify"]).done();
        for client in [&client, stage.sandbox.client()] {
            client.run(&stage.sandbox.store(), ["forget", &stage.ids[2]]).refused(2, "held");
        }
        stage.sandbox.snapshot(&stage.source, "d").done();
    }
}

/// A store that was set back with its tip and its keys: a copy gives back what came since, but for what only keys vouch for that are not there.
#[test]
fn what_came_since_comes_from_a_copy_of_a_store_that_was_set_back() {
    for rotates in [false, true] {
        let (sandbox, tree) = one_snapshot();
        let (store, old, copy) = (sandbox.store(), sandbox.path("old"), sandbox.path("copy"));
        copy_tree(&store, &old);
        if rotates {
            sandbox.larder(["key", "rotate"]).done();
        }
        fs::write(tree.join("new"), noise(90, 60_000)).unwrap();
        sandbox.snapshot(&tree, "d").done();
        sandbox.larder(["hold", "d", "--reason", "a case"]).done();
        fs::rename(&store, &copy).unwrap();
        copy_tree(&old, &store);
        let client = sandbox.another_client("new");
        let heal = || client.run(&store, ["heal", copy.to_str().unwrap()]);
        if rotates {
            heal().refused(13, "keys that this store does not know");
            client.run(&store, ["verify"]).done();
            continue;
        }
        heal().done();
        client.run(&store, ["verify", "--read-data"]).done();
        client.run(&store, ["forget", "d"]).refused(2, "held");
        sandbox.snapshot(&tree, "d").done();
    }
}

/// What is in a damaged block is to be set aside before it can be healed, and that is said.
#[test]
fn it_is_said_what_goes_before_heal() {
    let (sandbox, tree) = one_snapshot();
    let file = tables(&sandbox.store()).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let said = said(&sandbox.larder(["verify"]).ended(13));
    let places = ["`larder repair --apply`", "`larder heal`"].map(|word| said.find(word).unwrap());
    assert!(places[0] < places[1], "{said}");
    let heal = || sandbox.larder(["heal", tree.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&heal().stdout).contains("`larder repair --apply` goes first"));
    let _ran = sandbox.larder(["repair", "--apply"]).ended(13);
    heal().done();
    sandbox.larder(["verify", "--read-data"]).done();
}

/// Without a copy it can be given up.
#[test]
fn a_lost_end_that_only_a_client_has_seen_can_be_given_up() {
    let stage = Stage::new();
    lose(&stage.sandbox, &[7]);
    FLIPPED(&stage.sandbox);
    let ran = stage.run(&["repair"]).ended(13);
    assert!(said(&ran).contains("entry 7"), "{}", said(&ran));
    stage.run(&["repair", "--apply", "--accept-lost-entries"]).done();
    stage.run(&["verify"]).done();
    stage.run(&["forget", &stage.ids[2]]).done();
}

#[test]
fn a_damaged_tip_is_made_anew_and_told_as_what_it_is() {
    let stage = Stage::new();
    let tip = stage.sandbox.store().join("tip");
    let good = fs::read(&tip).unwrap();
    for at in [3, 8, 20, 60] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        fs::write(&tip, bytes).unwrap();
        let ran = stage.run(&["verify"]).ended(13);
        assert!(said(&ran).contains("larder repair --apply"), "{at}: {}", said(&ran));
        assert!(!said(&ran).contains("arrival log"), "{at}: {}", said(&ran));
        let ran = stage.run(&["repair", "--apply"]).ended(0);
        assert!(said(&ran).contains("tip made anew: it is not what was written"), "{at}: {}", said(&ran));
        assert_eq!(fs::read(&tip).unwrap(), good);
    }
}

/// A row behind the end of the log that is no entry: no client takes it for the end, and is shut out when it is gone.
#[test]
fn nobody_remembers_a_row_that_is_no_entry() {
    let none: Hurt = |_| {};
    for tip in [none, FLIPPED, GONE] {
        let stage = Stage::new();
        let other = stage.sandbox.another_client("other");
        set(&stage.sandbox, &[(12, row(&stage.sandbox, 3))]);
        let db = stage.database();
        let (sum, _) = rows(&db, Family::Sums).remove(0);
        delete(&db, Family::Sums, &sum);
        drop(db);
        tip(&stage.sandbox);
        let store = stage.sandbox.store();
        for words in [&["list"][..], &["verify"]] {
            let _ran = other.run(&store, words);
            let _ran = stage.run(words);
        }
        let _ran = other.run(&store, ["repair", "--apply"]);
        other.run(&store, ["repair", "--apply", "--accept-lost-entries"]).done();
        for client in [&other, stage.sandbox.client()] {
            client.run(&store, ["list"]).done();
            client.run(&store, ["verify"]).done();
        }
        stage.run(&["forget", &stage.ids[2]]).refused(2, "held");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The database's lists of its files.

/// An older list of files with its tip: who knows no better than these does not have the newer files removed.
#[test]
fn an_older_list_of_files_with_its_tip_takes_nothing_along() {
    let (sandbox, tree) = one_snapshot();
    let writer: Client = named_member(&sandbox, "writer", "writer");
    capture(&writer, &sandbox.store(), &tree).done();
    let (store, old) = (sandbox.store(), sandbox.path("old"));
    copy_tree(&store, &old);
    for turn in 0..2 {
        fs::write(tree.join("new"), noise(turn + 70, 300_000)).unwrap();
        sandbox.snapshot(&tree, "d").done();
    }
    let name = fs::read_to_string(old.join("db/CURRENT")).unwrap();
    let lists = fs::read_dir(store.join("db")).unwrap().map(|item| item.unwrap().path());
    let lists: Vec<PathBuf> = lists.filter(|path| path.to_string_lossy().contains("MANIFEST-")).collect();
    lists.iter().for_each(|path| fs::remove_file(path).unwrap());
    for file in ["tip".to_owned(), "db/CURRENT".to_owned(), format!("db/{}", name.trim())] {
        fs::copy(old.join(&file), store.join(&file)).unwrap();
    }
    let before = tables(&store);
    capture(&writer, &store, &tree).refused(13, "larder repair --apply");
    sandbox.larder(["list"]).refused(13, "larder repair --apply");
    sandbox.larder(["gc"]).refused(13, "larder repair --apply");
    assert_eq!(tables(&store), before);
    let _ran = sandbox.larder(["repair"]).ended(13);
    assert_eq!(tables(&store), before);
    sandbox.larder(["repair", "--apply"]).done();
    sandbox.larder(["verify", "--read-data"]).done();
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), 4);
    let dest = sandbox.path("dest");
    sandbox.larder(["restore", "latest", dest.to_str().unwrap()]).done();
    compare(&model(&tree), &model(&dest)).unwrap();
    capture(&writer, &store, &tree).done();
    sandbox.larder(["verify"]).done();
}

/// Where the database does not open, what is told leads to repair, and not to what says the same again.
#[test]
fn a_database_that_does_not_open_is_told_with_what_helps() {
    let (sandbox, _) = one_snapshot();
    let (store, whole) = (sandbox.store(), sandbox.path("whole"));
    copy_tree(&store, &whole);
    let list = || store.join("db").join(fs::read_to_string(store.join("db/CURRENT")).unwrap().trim());
    let hurts: [&dyn Fn(); 4] = [
        &|| fs::remove_file(store.join("db/CURRENT")).unwrap(),
        &|| fs::remove_file(list()).unwrap(),
        &|| fs::OpenOptions::new().write(true).open(list()).unwrap().set_len(100).unwrap(),
        &|| fs::remove_dir_all(store.join("db")).unwrap(),
    ];
    for (turn, hurt) in hurts.into_iter().enumerate() {
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&whole, &store);
        hurt();
        for words in [&["verify"][..], &["verify", "--no-key"], &["list"]] {
            let ran = sandbox.larder(words);
            assert_eq!(ran.status, 13, "{turn} {words:?}: {}", said(&ran));
            assert!(ran.stderr.contains("larder repair"), "{turn} {words:?}: {}", said(&ran));
            assert!(!ran.stderr.contains("larder verify"), "{turn} {words:?}: {}", said(&ran));
        }
        let ran = sandbox.larder(["repair"]).ended(13);
        assert!(said(&ran).contains("larder repair --apply"), "{turn}: {}", said(&ran));
    }
}
