//! `larder sync` with rows that somebody has changed by hand, with rows that say what was there before; and what is told of all that.

use std::fs;

use crate::databases::{COLUMNS, Db, sync, syncing};
use crate::record_sets::json;
use crate::sandbox::Ran;
use crate::sync_sql::{
    EARLY, LATE, count, counts, current, foretold, is_settled, line, put, put_rows, reported, store,
};

#[test]
fn a_content_that_stands_under_another_key_is_told_and_foretold() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        put(&sandbox, &["a", "b", "c", "d"].map(|key| line(key, "1", EARLY)).concat());
        sync(&sandbox, &db, &["--create"]).done();
        db.run("UPDATE TABLE_ SET natural_key = 'bb' WHERE natural_key = 'b'");
        // Out of sight, and without a key.
        db.run("UPDATE TABLE_ SET entity_type = 'other' WHERE natural_key = 'c'");
        db.run("UPDATE TABLE_ SET natural_key = NULL WHERE natural_key = 'd'");
        let before = db.dump();
        for (direction, known) in [("import", 0), ("both", 1)] {
            let report = foretold(&sandbox, &db, &["--direction", direction], 3);
            assert_eq!(counts(&report), [0, 0, 1, 0, 0, known, 0, 3, 4, 3], "{direction}: {report}");
            let errors = report["errors"].to_string();
            assert_eq!(errors.matches("another source, entity or key").count(), 3, "{errors}");
            assert_eq!(db.dump(), before, "{direction}");
        }
        // One that would take the place of another row.
        put_rows(&db, &line("b", "theirs", EARLY));
        let arguments = ["--direction", "both", "--conflict", "prefer_json"];
        let report = foretold(&sandbox, &db, &arguments, 3);
        assert_eq!(counts(&report)[1], 0, "{report}");
        assert_eq!((&report["error_count"], &report["conflict_count"]), (&3.into(), &1.into()), "{report}");
        assert_eq!(count(&sandbox), serde_json::json!([5, 4, 0]), "what the table has is kept");
        assert_eq!(current(&sandbox, "b"), "1");
        is_settled(&sandbox, &db, &arguments);
    }
}

#[test]
fn a_payload_that_was_changed_under_a_known_hash_is_told_to_who_asks() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        put(&sandbox, &["a", "b"].map(|key| line(key, "1", EARLY)).concat());
        sync(&sandbox, &db, &["--create"]).done();
        let report = foretold(&sandbox, &db, &["--check-rows"], 0);
        assert_eq!(counts(&report), [0, 0, 2, 0, 0, 2, 0, 0, 2, 2], "{report}");
        let changed = if db.is_postgres() {
            "replace(payload_json::text, '\"v\": \"1\"', '\"v\": \"2\"')::jsonb"
        } else {
            "replace(payload_json, '\"v\": \"1\"', '\"v\": \"2\"')"
        };
        db.run(&format!("UPDATE TABLE_ SET payload_json = {changed} WHERE natural_key = 'a'"));
        let before = db.dump();
        // Hashes alone tell nothing.
        let report = foretold(&sandbox, &db, &[], 0);
        assert_eq!(counts(&report), [0, 0, 2, 0, 0, 2, 0, 0, 2, 2], "{report}");
        for (direction, skipped) in [("import", [1, 0]), ("export", [0, 1]), ("both", [1, 1])] {
            let report = foretold(&sandbox, &db, &["--direction", direction, "--check-rows"], 3);
            assert_eq!(counts(&report), [0, 0, skipped[0], 0, 0, skipped[1], 0, 1, 2, 2], "{report}");
            let error = report["errors"][0].as_str().unwrap();
            assert!(error.starts_with("row ") && error.contains("has the hash"), "{error}");
            assert_eq!(db.dump(), before, "it was left as it is");
        }
        assert_eq!(count(&sandbox), serde_json::json!([2, 2, 0]));
    }
}

/// Where the table wins, what the dataset had before is what it has again; then nobody disputes any more.
#[test]
fn an_earlier_version_that_wins_is_current_again() {
    let template = store();
    for direction in ["both", "export"] {
        for db in Db::all(&template) {
            let sandbox = store();
            let arguments = ["--direction", direction, "--conflict", "prefer_sql"];
            put(&sandbox, &[line("k", "old", EARLY), line("other", "1", EARLY)].concat());
            sync(&sandbox, &db, &["--create"]).done();
            put(&sandbox, &line("k", "new", LATE));
            for (wins, loses) in [("old", "new"), ("new", "old")] {
                assert_eq!(current(&sandbox, "k"), loses);
                let report = foretold(&sandbox, &db, &arguments, 0);
                let skipped = u64::from(direction == "both");
                assert_eq!(counts(&report), [0, 0, 2 * skipped, 1, 0, 1, 1, 0, 2, 2], "{report}");
                assert_eq!(report["conflicts"][0]["resolution"], "sql_wins");
                assert_eq!(current(&sandbox, "k"), wins);
                assert_eq!(count(&sandbox), serde_json::json!([3, 2, 0]), "no content is new");
                let log = json(&sandbox.larder(["records", "log", "k", "--json"]).ended(0));
                let versions = log["versions"].as_array().unwrap();
                let flags: Vec<_> = versions.iter().map(|version| &version["current"]).collect();
                assert_eq!(flags.iter().filter(|flag| **flag == &serde_json::Value::Bool(true)).count(), 1, "{log}");
                assert_eq!(versions.len(), 2, "{log}");
                let again = reported(&sandbox, &db, &arguments, 0);
                assert_eq!(again["conflict_count"], 0, "{again}");
                is_settled(&sandbox, &db, &arguments);
                // Somebody puts the other one there.
                put_rows(&db, &line("k", "new", LATE));
            }
            sandbox.larder(["verify", "--read-data"]).done();
        }
    }
}

/// Without a unique index a hash may stand in several rows: each is judged by its own columns, and a content comes in once.
#[test]
fn rows_with_one_hash() {
    let template = store();
    for db in Db::both(&template) {
        let (nfc, nfd) = ("\u{e9}", "e\u{301}");
        put_rows(&db, &[line("a", "1", EARLY), line(nfc, "2", EARLY)].concat());
        let schema = if db.is_sqlite() { "" } else { "lake." };
        db.run(&format!("DROP INDEX {schema}\"RawExchangeRecord_by_hash\""));
        let copy = |id: &str, key: &str, new: &str, payload: &str| {
            let columns = COLUMNS.replace(' ', ", ");
            let values = columns
                .replace("exchange_id", &format!("'{id}'"))
                .replace("natural_key", &format!("'{new}'"))
                .replace("payload_json", payload);
            db.run(&format!("INSERT INTO TABLE_ ({columns}) SELECT {values} FROM TABLE_ WHERE natural_key = '{key}'"));
        };
        copy("11111111-2222-4333-8444-555555555555", "a", "other", "payload_json");
        let (text, as_json) = if db.is_sqlite() { ("payload_json", "") } else { ("payload_json::text", "::jsonb") };
        let renamed = format!("replace({text}, '\"natural_key\": \"{nfc}\"', '\"natural_key\": \"{nfd}\"'){as_json}");
        copy("21111111-2222-4333-8444-555555555555", nfc, nfd, &renamed);
        assert_eq!(db.rows().len(), 4);
        let sandbox = store();
        let report = foretold(&sandbox, &db, &[], 3);
        assert_eq!(counts(&report), [0, 0, 0, 2, 0, 1, 0, 1, 2, 4], "{report}");
        assert!(report["errors"][0].as_str().unwrap().contains("another source, entity or key"), "{report}");
        assert_eq!(count(&sandbox), serde_json::json!([2, 2, 0]));
        for arguments in [&[][..], &["--check-rows"]] {
            let report = foretold(&sandbox, &db, arguments, 3);
            assert_eq!((counts(&report)[3], counts(&report)[7]), (0, 1), "{arguments:?}: {report}");
        }
    }
}

/// A row that is longer than records can be is told by a dry run too.
#[test]
fn a_row_that_is_too_long() {
    let sandbox = store();
    let db = Db::sqlite(&sandbox);
    sync(&sandbox, &db, &["--create"]).done();
    let long = line("long", &"x".repeat(17 << 20), EARLY);
    fs::write(sandbox.path("long"), &long).unwrap();
    let hash = sandbox.larder(["records", "hash", sandbox.path("long").to_str().unwrap()]).ended(0).stdout;
    let hash = String::from_utf8(hash).unwrap();
    let Db::Sqlite(path) = &db else { unreachable!() };
    let columns = COLUMNS.replace(' ', ", ");
    rusqlite::Connection::open(path)
        .unwrap()
        .execute(
            &format!("INSERT INTO RawExchangeRecord ({columns}) VALUES ('i', 'http', 'wiki', 'page', 'long', NULL, ?1, ?2, 1)"),
            [hash.split_whitespace().next().unwrap(), long.trim()],
        )
        .unwrap();
    let report = foretold(&sandbox, &db, &[], 3);
    assert_eq!(counts(&report), [0, 0, 0, 0, 0, 0, 0, 1, 0, 1], "{report}");
    assert!(report["errors"][0].as_str().unwrap().contains("16 MiB"), "{report}");
}

/// PostgreSQL's texts have no U+0000: a key with one is told, the rest goes in, and the dataset has all of it.
#[test]
fn a_key_that_not_each_database_takes() {
    let sandbox = store();
    let nul = line("KEY", "1", EARLY).replace("\"natural_key\": \"KEY\"", "\"natural_key\": \"a\\u0000b\"");
    put(&sandbox, &[nul, line("a", "2", EARLY)].concat());
    for db in Db::both(&sandbox) {
        let (taken, status) = if db.is_sqlite() { (2, 0) } else { (1, 3) };
        let report = reported(&sandbox, &db, &["--create"], status);
        assert_eq!((counts(&report)[0], counts(&report)[7]), (taken, 2 - taken), "{report}");
        let again = reported(&sandbox, &db, &[], status);
        assert_eq!((counts(&again)[0], &again["errors"]), (0, &report["errors"]));
        let other = store();
        let report = reported(&other, &db, &[], 0);
        assert_eq!(counts(&report)[3], taken, "{report}");
        is_settled(&other, &db, &[]);
    }
}

/// The report is told as those of other commands: counts on standard output, unless nobody wants to hear them; the snapshot once.
#[test]
fn what_is_told() {
    let sandbox = store();
    let db = Db::sqlite(&sandbox);
    put(&sandbox, &[line("a", "ours", EARLY), line("b", "1", EARLY)].concat());
    put_rows(&db, &line("a", "theirs", LATE));
    let words = |ran: &Ran| {
        let lines: Vec<_> = std::str::from_utf8(&ran.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.into_iter().filter(|line| !line.starts_with("duration ")).collect::<Vec<_>>()
    };
    let counts = |sides: [&'static str; 2], conflicts: &'static str| {
        [sides[0], sides[1], conflicts, "errors     0", "records    2", "rows       2"]
    };
    let dry = sync(&sandbox, &db, &["-n"]).ended(0);
    let conflict = "wiki page \"a\": the table wins";
    let changes = ["table      1 inserted, 0 updated, 1 skipped", "dataset    1 inserted, 0 kept, 0 skipped"];
    let report = [&[conflict][..], &counts(changes, "conflicts  1")].concat();
    assert_eq!(
        (words(&dry), dry.stderr.trim()),
        (report.iter().map(ToString::to_string).collect(), "nothing was changed")
    );
    let done = sync(&sandbox, &db, &[]).ended(0);
    assert_eq!(words(&done), report);
    let newest = sandbox.larder(["list", "--dataset", "pages", "--json"]).ids().pop().unwrap();
    assert_eq!(done.stderr.trim(), format!("{} of pages", &newest[..16]), "the snapshot is told once");
    let quiet = sync(&sandbox, &db, &["--quiet"]).ended(0);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), (&b""[..], ""));
    // What is in the way is told all the same.
    db.run("UPDATE TABLE_ SET natural_key = 'z' WHERE natural_key = 'b'");
    let quiet = sync(&sandbox, &db, &["--quiet"]).ended(3);
    assert!(quiet.stdout.is_empty() && quiet.stderr.starts_with("larder: "), "{quiet:?}");
    // JSON stands alone, whatever happens.
    for (arguments, status) in [(&["--json"][..], 3), (&["--json", "-n"], 3), (&["--json", "--quiet"], 3)] {
        let ran = sync(&sandbox, &db, arguments).ended(status);
        assert_eq!(String::from_utf8_lossy(&ran.stdout).lines().count(), 1);
        assert_eq!(json(&ran)["direction"], "both");
    }
    // What is not there is called what it is.
    let named = |name: &str| {
        let mut command = sandbox.client().larder(&sandbox.store());
        Ran::of(command.args(["sync", name, "--sql", &db.url()]))
    };
    named("nowhere").refused(10, "there is no dataset nowhere");
    let folder = sandbox.path("folder");
    fs::create_dir(&folder).unwrap();
    sandbox.snapshot(&folder, "files").done();
    named("files").refused(10, "files is no record dataset");
    let missing = Db::sqlite(&sandbox);
    sync(&sandbox, &missing, &[]).refused(10, "there is no table RawExchangeRecord");
    let _written = syncing(&sandbox, &missing, &["-n", "--create"]).output().unwrap();
    assert!(!std::path::Path::new(missing.url().strip_prefix("sqlite:").unwrap()).exists(), "a dry run makes no file");
}
