//! Files that somebody put beside those of the database, or that are another log's: repair takes nothing good for bad by them, and a repair that
//! has waited does not undo what was written meanwhile.

use std::fs;

use larder::format::Family;
use larder::model::Quiet;
use larder::ops::repair::{plan, repair};
use larder::store::{Mending, Waiting};

use crate::behind::{database, delete, put, rows, tables, tables_of};
use crate::clocked::opened_for_repair;
use crate::keys::one_snapshot;
use crate::lost_entries::{LAST, Stage, row, set};
use crate::sandbox::{Ran, Sandbox, compare, copy_tree, model, noise};

fn said(ran: &Ran) -> String {
    format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr)
}

/// The newest snapshot gives back what was captured, and nothing is damaged.
fn is_whole(sandbox: &Sandbox, tree: &std::path::Path) {
    sandbox.larder(["verify", "--read-data"]).done();
    let dest = sandbox.path("dest");
    let _ = fs::remove_dir_all(&dest);
    sandbox.larder(["restore", "latest", dest.to_str().unwrap()]).done();
    compare(&model(tree), &model(&dest)).unwrap();
}

/// What is no entry and no manifest, and looks like one.
fn junk(bytes: &[u8]) -> Vec<u8> {
    let (front, rest) = bytes.split_at(12);
    front.iter().copied().chain(rest.iter().map(|byte| byte ^ 0x5a)).collect()
}

/// Lays such rows over all of a family, in one more file.
fn lay_junk(db: &rocksdb::DB, family: Family) {
    let handle = db.cf_handle(family.name()).unwrap();
    db.set_options_cf(handle, &[("disable_auto_compactions", "true")]).unwrap();
    for (key, value) in rows(db, family) {
        db.put_cf(handle, key, junk(&value)).unwrap();
    }
    db.flush_cf(handle).unwrap();
}

/// RocksDB would write files with such numbers over others, or not end.
#[test]
fn files_with_names_that_nobody_comes_to_by_counting_are_left_where_they_are() {
    let (sandbox, tree) = one_snapshot();
    let db = sandbox.store().join("db");
    let smallest = tables(&sandbox.store()).into_iter().min_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let names = ["again", "000000", "7", "4611686018427387903", "9223372036854775807", "18446744073709551615"];
    for name in names {
        fs::copy(&smallest, db.join(format!("{name}.sst"))).unwrap();
    }
    fs::write(db.join("CURRENT"), "rubbish").unwrap();
    let ran = sandbox.larder(["repair", "--apply"]).ended(0);
    for name in names {
        assert!(said(&ran).contains(&format!("{name}.sst has no name")), "{name}: {}", said(&ran));
        assert!(sandbox.store().join(format!("damaged/1/db/{name}.sst")).exists());
    }
    is_whole(&sandbox, &tree);
    sandbox.snapshot(&tree, "d").done();
}

/// Rows are wrong in the newest of two files that have them, and right in the other.
#[test]
fn what_another_file_has_still_is_not_lost() {
    for family in [Family::Log, Family::Manifests] {
        let stage = Stage::new();
        let db = stage.database();
        lay_junk(&db, family);
        drop(db);
        let _ran = stage.run(&["verify"]).ended(13);
        let _ran = stage.run(&["repair"]).ended(13);
        let ran = stage.run(&["repair", "--apply"]).ended(0);
        assert!(!said(&ran).contains("lost"), "{}", said(&ran));
        assert_eq!(
            (stage.holds(0), stage.holds(2)),
            (vec!["the case".into(), "another case".into()], vec!["the newest".into()])
        );
        stage.works(3);
    }
}

/// Nor is that there was something where nobody has it.
#[test]
fn a_lost_newest_entry_is_not_forgotten_when_the_database_is_built_anew() {
    let stage = Stage::new();
    let other = stage.sandbox.another_client("other");
    set(&stage.sandbox, &[(LAST, Some(junk(&row(&stage.sandbox, LAST).unwrap())))]);
    fs::remove_file(stage.sandbox.store().join("tip")).unwrap();
    let db = stage.database();
    let (sum, _) = rows(&db, Family::Sums).remove(0);
    delete(&db, Family::Sums, &sum);
    drop(db);
    let store = stage.sandbox.store();
    let ran = other.run(&store, ["repair", "--apply"]).ended(13);
    assert!(said(&ran).contains("database built anew") && said(&ran).contains("entry 7"), "{}", said(&ran));
    let _ran = other.run(&store, ["verify"]).ended(13);
    other.run(&store, ["forget", &stage.ids[2]]).refused(13, "may hide holds");
    other.run(&store, ["heal", stage.copy.to_str().unwrap()]).done();
    assert_eq!(stage.holds(2), ["the newest"]);
    other.run(&store, ["forget", &stage.ids[2]]).refused(2, "held");
    stage.works(3);
}

/// Table files are laid beside that no list names, with newer rows by RocksDB's count: rubbish, or those of a log that the store had before an
/// older copy was put back in its place.
#[test]
fn files_of_another_log_are_not_taken_for_this_one() {
    for is_rubbish in [false, true] {
        for has_tip in [true, false] {
            let (sandbox, tree) = one_snapshot();
            let (store, old, former) = (sandbox.store(), sandbox.path("old"), sandbox.path("former"));
            copy_tree(&store, &old);
            if is_rubbish {
                let db = database(&store);
                [Family::Log, Family::Manifests].iter().for_each(|family| lay_junk(&db, *family));
                let (key, value) = rows(&db, Family::Log).pop().unwrap();
                let next = u64::from_be_bytes((*key).try_into().unwrap()) + 1;
                put(&db, Family::Log, &next.to_be_bytes(), &value);
            } else {
                for turn in 0..4 {
                    fs::write(tree.join("former"), noise(turn, 2000)).unwrap();
                    sandbox.snapshot(&tree, "d").done();
                }
                fs::remove_file(tree.join("former")).unwrap();
            }
            fs::rename(&store, &former).unwrap();
            copy_tree(&old, &store);
            fs::remove_dir_all(sandbox.client().state()).unwrap();
            fs::write(tree.join("now"), noise(99, 50_000)).unwrap();
            sandbox.snapshot(&tree, "d").done();
            sandbox.larder(["hold", "d", "--reason", "a case"]).done();
            let listed = sandbox.larder(["list", "--json"]).ids();
            let laid = [Family::Log, Family::Manifests].map(|family| tables_of(&former, family)).concat();
            for (number, path) in laid.into_iter().enumerate() {
                fs::copy(path, store.join(format!("db/{:06}.sst", 800_000 + number))).unwrap();
            }
            if !has_tip {
                fs::remove_file(store.join("tip")).unwrap();
                let _ran = sandbox.larder(["verify"]).ended(13);
                sandbox.larder(["repair", "--apply"]).done();
            }
            is_whole(&sandbox, &tree);
            assert_eq!(sandbox.larder(["list", "--json"]).ids(), listed);
            sandbox.larder(["forget", "latest"]).refused(2, "held");
            sandbox.snapshot(&tree, "d").done();
            is_whole(&sandbox, &tree);
        }
    }
}

/// A repair that was begun before another one ended, and waited for the lock.
#[test]
fn a_repair_that_comes_late_leaves_what_was_written_meanwhile() {
    let (sandbox, tree) = one_snapshot();
    let current = sandbox.store().join("db/CURRENT");
    let whole = fs::read(&current).unwrap();
    fs::write(&current, "rubbish").unwrap();
    let late = opened_for_repair(&sandbox, sandbox.client(), Mending::Yes);
    fs::write(&current, whole).unwrap();
    fs::write(tree.join("new"), noise(7, 90_000)).unwrap();
    sandbox.snapshot(&tree, "d").done();
    sandbox.larder(["hold", "d", "--reason", "a case"]).done();
    let listed = sandbox.larder(["list", "--json"]).ids();
    let repaired = repair(&late, None, Waiting::NoWait, &|| true, &Quiet).unwrap();
    assert!(repaired.is_whole(), "{repaired:?}");
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), listed);
    sandbox.larder(["forget", "latest"]).refused(2, "held");
    is_whole(&sandbox, &tree);
}

/// Nor does a plan, which takes no lock, call damage what a writer has gone on with.
#[test]
fn a_plan_goes_by_one_view_where_a_writer_goes_on() {
    let (sandbox, tree) = one_snapshot();
    let store = opened_for_repair(&sandbox, sandbox.client(), Mending::No);
    fs::write(tree.join("new"), noise(7, 90_000)).unwrap();
    sandbox.snapshot(&tree, "d").done();
    let planned = plan(&store, &Quiet).unwrap();
    assert!(planned.is_whole(), "{planned:?}");
}

/// What a client has seen of a log that the store had before an older copy was put back says nothing of the end of this one.
#[test]
fn what_was_seen_of_a_former_log_is_not_the_end_of_this_one() {
    for is_rebuilt in [false, true] {
        let (sandbox, tree) = one_snapshot();
        let (store, old) = (sandbox.store(), sandbox.path("old"));
        copy_tree(&store, &old);
        sandbox.larder(["hold", "d", "--reason", "former"]).done();
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&old, &store);
        let other = sandbox.another_client("other");
        other.run(&store, ["hold", "d", "--reason", "a case"]).done();
        fs::remove_file(store.join("tip")).unwrap();
        if is_rebuilt {
            let db = database(&store);
            let (sum, _) = rows(&db, Family::Sums).remove(0);
            delete(&db, Family::Sums, &sum);
        }
        sandbox.larder(["repair", "--apply"]).refused(13, "not what this client has seen");
        other.run(&store, ["repair", "--apply"]).done();
        other.run(&store, ["verify", "--read-data"]).done();
        other.run(&store, ["forget", "latest"]).refused(2, "held");
        assert!(tree.exists());
    }
}

/// Nothing is left of the database, and no tip: what this client has seen tells that there was something, and a copy gives it back.
#[test]
fn a_database_that_has_lost_all_comes_back_from_a_copy() {
    for has_tip in [false, true] {
        let stage = Stage::new();
        for path in tables(&stage.sandbox.store()) {
            fs::remove_file(path).unwrap();
        }
        if !has_tip {
            fs::remove_file(stage.sandbox.store().join("tip")).unwrap();
        }
        let ran = stage.run(&["repair", "--apply"]).ended(13);
        assert!(said(&ran).contains("entry 7"), "{}", said(&ran));
        stage.run(&["heal", stage.copy.to_str().unwrap()]).done();
        assert_eq!(stage.holds(2), ["the newest"]);
        stage.run(&["repair", "--apply"]).done();
        stage.works(3);
    }
}

/// The tip is lost with the table that has the end of the log, and a copy goes on behind what this client has seen of it.
#[test]
fn a_copy_heals_a_log_to_its_end_in_one_run() {
    for is_old in [false, true] {
        let stage = Stage::new();
        let (store, old, copy) = (stage.sandbox.store(), stage.sandbox.path("old"), stage.sandbox.path("newer"));
        copy_tree(&store, &old);
        let other = stage.sandbox.another_client("other");
        stage.sandbox.larder(["hold", "d", "--reason", "seen"]).done();
        for words in [["hold", "d", "--reason", "unseen"], ["hold", "d", "--reason", "the last"]] {
            other.run(&store, words).done();
        }
        copy_tree(&store, &copy);
        if is_old {
            fs::remove_dir_all(&store).unwrap();
            copy_tree(&old, &store);
        } else {
            tables_of(&store, Family::Log).into_iter().for_each(|path| fs::remove_file(path).unwrap());
        }
        fs::remove_file(store.join("tip")).unwrap();
        let ran = stage.run(&["repair", "--apply"]).ended(13);
        assert!(said(&ran).contains("entry 8"), "{}", said(&ran));
        stage.run(&["heal", copy.to_str().unwrap()]).done();
        assert_eq!(stage.holds(2), ["the newest", "seen", "unseen", "the last"]);
        let _ran = stage.run(&["repair", "--apply"]);
        stage.run(&["verify", "--read-data"]).done();
        other.run(&store, ["list"]).done();
    }
}

/// Where the end of the log is lost the files of keys may be newer than their rows; where none of them opens the store the rows are what there is.
#[test]
fn the_row_of_a_key_counts_where_its_file_is_gone_and_the_end_of_the_log_too() {
    for is_flipped in [false, true] {
        let stage = Stage::new();
        let key = fs::read_dir(stage.sandbox.store().join("keys")).unwrap().next().unwrap().unwrap().path();
        set(&stage.sandbox, &[(LAST, None)]);
        if is_flipped {
            let mut bytes = fs::read(&key).unwrap();
            bytes[300] ^= 1;
            fs::write(&key, bytes).unwrap();
        } else {
            fs::remove_file(&key).unwrap();
        }
        let ran = stage.run(&["repair", "--apply"]).ended(13);
        assert!(said(&ran).contains("entry 7"), "{}", said(&ran));
        stage.run(&["heal", stage.copy.to_str().unwrap()]).done();
        assert_eq!(stage.holds(2), ["the newest"]);
        stage.works(3);
    }
}

/// The header's file says another commitment than the one that this client has seen, and its copy the right one.
#[test]
fn a_header_whose_copy_this_client_has_seen_is_mended() {
    let (sandbox, _tree) = one_snapshot();
    let path = sandbox.store().join("header");
    let good = fs::read(&path).unwrap();
    for at in [96, 110, 126] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let ran = sandbox.larder(["verify", "--no-key"]).ended(13);
        assert!(said(&ran).contains("header"), "{}", said(&ran));
        sandbox.larder(["repair", "--apply"]).done();
        assert_eq!(fs::read(&path).unwrap(), good);
    }
    sandbox.larder(["verify"]).done();
}

#[test]
fn a_folder_with_the_greatest_number_is_in_nobodys_way() {
    let (sandbox, tree) = one_snapshot();
    fs::create_dir_all(sandbox.store().join("damaged/18446744073709551615")).unwrap();
    let db = database(&sandbox.store());
    let (sum, _) = rows(&db, Family::Sums).remove(0);
    delete(&db, Family::Sums, &sum);
    drop(db);
    sandbox.larder(["repair", "--apply"]).done();
    assert!(sandbox.store().join("damaged/1/db").exists());
    is_whole(&sandbox, &tree);
}

/// The record of a run before its blocks is the second copy of its keys.
#[test]
fn a_record_before_blocks_that_is_none_any_more_is_found_without_a_key() {
    for len in [0, 60] {
        let (sandbox, _tree) = one_snapshot();
        let db = database(&sandbox.store());
        let (key, value) = rows(&db, Family::Data).into_iter().find(|(_, value)| value[4] == 3).unwrap();
        put(&db, Family::Data, &key, &value[..len]);
        drop(db);
        for words in [&["verify"][..], &["verify", "--no-key"]] {
            let ran = sandbox.larder(words).ended(13);
            assert!(
                said(&ran).contains(&format!("row {} of data", u64::from_be_bytes((*key).try_into().unwrap()))),
                "{}",
                said(&ran)
            );
        }
        sandbox.larder(["repair", "--apply"]).done();
        sandbox.larder(["verify", "--read-data"]).done();
    }
}
