//! `larder sync`: what becomes of records and rows, the same in SQLite, PostgreSQL and, if it was built in, SQL Server.

use std::fs;

use serde_json::Value;

use crate::databases::{COLUMNS, Db, sync, syncing_dataset};
use crate::record_sets::{get, import, json, record};
use crate::sandbox::{Ran, Sandbox};

/// A record's line with a response of its own.
pub(crate) fn line(key: &str, v: &str, observed: &str) -> String {
    record(key, &format!("{{\"v\": \"{v}\"}}"), observed)
}

pub(crate) const EARLY: &str = "2024-01-01T00:00:00+00:00";
pub(crate) const LATE: &str = "2024-06-01T00:00:00+00:00";

/// A store with a dataset `pages` of the scope wiki, page.
pub(crate) fn store() -> Sandbox {
    let sandbox = Sandbox::with_open_store();
    sandbox.larder(["records", "init", "pages", "--source", "wiki", "--entity", "page"]).done();
    sandbox
}

pub(crate) fn put(sandbox: &Sandbox, lines: &str) {
    let ran = import(sandbox, lines, &[]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

/// Rows that somebody else has put into the table: from another store's dataset.
pub(crate) fn put_rows(db: &Db, lines: &str) {
    let other = store();
    put(&other, lines);
    sync(&other, db, &["--create", "--direction", "import"]).done();
}

/// The counts: inserted, updated, skipped; inserted, kept, skipped; conflicts, errors, records, rows.
pub(crate) fn counts(report: &Value) -> [u64; 10] {
    let (to_sql, to_json) = (&report["json_to_sql"], &report["sql_to_json"]);
    let all = [
        &to_sql["inserted"],
        &to_sql["updated"],
        &to_sql["skipped"],
        &to_json["inserted"],
        &to_json["kept"],
        &to_json["skipped"],
        &report["conflict_count"],
        &report["error_count"],
        &report["json_record_count"],
        &report["sql_record_count"],
    ];
    all.map(|count| count.as_u64().unwrap_or_else(|| panic!("{report}")))
}

/// The report of a run.
#[track_caller]
pub(crate) fn reported(sandbox: &Sandbox, db: &Db, arguments: &[&str], status: i32) -> Value {
    json(&sync(sandbox, db, &[arguments, &["--json"]].concat()).ended(status))
}

/// The report of a run, which was foretold by a dry one.
#[track_caller]
pub(crate) fn foretold(sandbox: &Sandbox, db: &Db, arguments: &[&str], status: i32) -> Value {
    let before = (db_state(db), count(sandbox));
    let mut told = reported(sandbox, db, &[arguments, &["-n"]].concat(), status);
    assert_eq!((db_state(db), count(sandbox)), before, "a dry run changes nothing");
    let mut done = reported(sandbox, db, arguments, status);
    let report = done.clone();
    for report in [&mut told, &mut done] {
        for member in ["dry_run", "started_at", "completed_at", "snapshot"] {
            assert!(report.as_object_mut().unwrap().remove(member).is_some());
        }
    }
    assert_eq!(told, done, "a dry run tells the same");
    report
}

fn db_state(db: &Db) -> Vec<String> {
    if db.has_table() { db.dump() } else { Vec::new() }
}

/// Records, keys and sightings.
pub(crate) fn count(sandbox: &Sandbox) -> Value {
    let counts = json(&sandbox.larder(["records", "count", "pages", "--json"]).ended(0));
    serde_json::json!([counts["records"], counts["keys"], counts["sightings"]])
}

pub(crate) fn current(sandbox: &Sandbox, key: &str) -> Value {
    get(sandbox, &[key])["response"]["v"].clone()
}

/// A second run finds nothing to do.
#[track_caller]
pub(crate) fn is_settled(sandbox: &Sandbox, db: &Db, arguments: &[&str]) {
    let before = (db.dump(), count(sandbox));
    let report = json(&sync(sandbox, db, &[arguments, &["--json"]].concat()));
    let counts = counts(&report);
    assert_eq!([counts[0], counts[1], counts[3], counts[4]], [0; 4], "{report}");
    assert_eq!((db.dump(), count(sandbox)), before);
    assert_eq!(report["snapshot"], Value::Null);
}

#[test]
fn a_mirror_is_made_and_stays_one() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        let keyless = record("", "{\"v\": \"n\"}", EARLY);
        put(&sandbox, &[line("a", "1", EARLY), line("b", "2", LATE), keyless].concat());
        let missing = sync(&sandbox, &db, &[]).ended(10);
        assert!(missing.stderr.contains("--create"), "{}", missing.stderr);
        let report = reported(&sandbox, &db, &["--create"], 0);
        assert_eq!(counts(&report), [3, 0, 0, 0, 0, 0, 0, 0, 3, 3]);
        assert_eq!(db.rows(), ["=n", "a=1", "b=2"]);
        is_settled(&sandbox, &db, &["--create"]);
        // What is new on either side comes to the other.
        put_rows(&db, &line("c", "3", EARLY));
        let report = foretold(&sandbox, &db, &["--direction", "export"], 0);
        assert_eq!(counts(&report), [0, 0, 0, 1, 0, 3, 0, 0, 4, 4]);
        assert_eq!(current(&sandbox, "c"), "3");
        let shown = sandbox.larder(["show", "pages", "--json"]).json();
        assert_eq!((&shown["kind"], &shown["id"]), (&"import".into(), &report["snapshot"]));
        is_settled(&sandbox, &db, &[]);
        sandbox.larder(["records", "get", "c"]).done();
    }
}

/// The table that is made is the other system's, in the database's own types: a content stands in it once, keys and times have indexes.
#[test]
fn the_table_that_is_made() {
    let sandbox = store();
    put(&sandbox, &line("a", "1", EARLY));
    for db in Db::both(&sandbox) {
        sync(&sandbox, &db, &["--create"]).done();
        let (columns, indexes) = if db.is_sqlite() {
            (
                "SELECT name || ' ' || type || CASE WHEN \"notnull\" THEN ' NOT NULL' ELSE '' END FROM pragma_table_info('RawExchangeRecord')",
                "SELECT replace(replace(sql, 'CREATE ', ''), 'IF NOT EXISTS ', '') FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
            )
        } else {
            (
                "SELECT attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
                 FROM pg_attribute WHERE attrelid = 'lake.\"RawExchangeRecord\"'::regclass AND attnum > 0 ORDER BY attnum",
                "SELECT replace(indexdef, 'CREATE ', '') FROM pg_indexes WHERE tablename = 'RawExchangeRecord'
                 AND indexname LIKE '%\\_by\\_%' ORDER BY indexname",
            )
        };
        let [id, json, number, time, hash] = if db.is_sqlite() {
            ["TEXT", "TEXT", "INTEGER", "TEXT", "TEXT"]
        } else {
            ["uuid", "jsonb", "integer", "timestamp with time zone", "character(64)"]
        };
        let text = if db.is_sqlite() { "TEXT" } else { "text" };
        let wanted = [
            format!("exchange_id {id} NOT NULL"),
            format!("exchange_type {text} NOT NULL"),
            format!("source_system {text} NOT NULL"),
            format!("entity_type {text} NOT NULL"),
            format!("natural_key {text}"),
            format!("observed_at_utc {time}"),
            format!("content_sha256 {hash} NOT NULL"),
            format!("payload_json {json} NOT NULL"),
            format!("schema_version {number} NOT NULL"),
            format!("created_at_utc {time} NOT NULL"),
            format!("updated_at_utc {time} NOT NULL"),
        ];
        assert_eq!(db.ask(columns), wanted);
        let indexes = db.ask(indexes).join("\n").replace('"', "").replace(['(', ')', ','], " ");
        let indexes: Vec<_> =
            indexes.lines().map(|index| index.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let on = |unique: &str, name: &str, what: &str| {
            let table = if db.is_sqlite() { "RawExchangeRecord" } else { "lake.RawExchangeRecord USING" };
            format!("{unique}INDEX RawExchangeRecord_{name} ON {table} {what}")
        };
        let wanted = if db.is_sqlite() {
            [
                on("UNIQUE ", "by_hash", "content_sha256"),
                on("", "by_key", "source_system entity_type natural_key WHERE natural_key IS NOT NULL"),
                on("", "by_scope_and_time", "source_system entity_type observed_at_utc DESC"),
                on("", "by_time", "observed_at_utc DESC"),
            ]
        } else {
            [
                on("UNIQUE ", "by_hash", "btree content_sha256"),
                on("", "by_key", "hash natural_key"),
                on("", "by_scope_and_time", "btree source_system entity_type observed_at_utc DESC"),
                on("", "by_time", "btree observed_at_utc DESC"),
            ]
        };
        assert_eq!(indexes, wanted);
    }
}

/// What a table of the other system has is used as it is: its columns' types, its name that nobody quoted, its collations.
#[test]
fn an_old_table_is_used_as_it_is() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        db.make_old_table();
        put(&sandbox, &[line("Ada", "1", EARLY), line("ada", "2", "2024-01-01T05:30:00+05:30")].concat());
        // A source that differs in case is another, whatever the column's collation says.
        let foreign = format!(
            "'11111111-2222-4333-8444-555555555555', 'http', 'WIKI', 'page', 'Ada', '2024-01-01 00:00:00', '{}', '{{}}', 1",
            "f".repeat(64)
        );
        db.run(&format!("INSERT INTO TABLE_ ({}) VALUES ({foreign})", COLUMNS.replace(' ', ", ")));
        let report = foretold(&sandbox, &db, &[], 0);
        assert_eq!(counts(&report), [2, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
        let times = db.ask("SELECT substr(replace(CAST(observed_at_utc AS text), 'T', ' '), 1, 19) FROM TABLE_");
        assert_eq!(times, ["2024-01-01 00:00:00"; 3], "in UTC, whatever the offset");
        db.run(&format!("DELETE FROM TABLE_ WHERE content_sha256 = '{}'", "f".repeat(64)));
        assert_eq!(db.rows(), ["Ada=1", "ada=2"], "keys that differ in case are two");
        is_settled(&sandbox, &db, &[]);
        // A record without a time, and a key that is too long, are told; the rest goes in.
        let long = "x".repeat(501);
        let timeless = "{\"exchange_type\": \"http\", \"source_system\": \"wiki\", \"entity_type\": \"page\", \"natural_key\": \"t\", \"response\": {\"v\": \"3\"}}\n";
        put(&sandbox, &[timeless.to_owned(), line(&long, "4", EARLY), line("z", "5", EARLY)].concat());
        let ran = sync(&sandbox, &db, &["--json"]).ended(3);
        let report = json(&ran);
        // SQLite has no limits of length.
        let taken = if db.is_sqlite() { 2 } else { 1 };
        assert_eq!(counts(&report)[0], taken, "{report}");
        let errors = report["errors"].as_array().unwrap();
        assert_eq!(errors.len() as u64, 3 - taken, "{report}");
        assert!(errors.iter().any(|e| e.as_str().unwrap().starts_with("\"t\" (")), "{report}");
        assert!(db.rows().contains(&"z=5".to_owned()));
        let again = reported(&sandbox, &db, &[], 3);
        assert_eq!(again["errors"], report["errors"], "and told again");
    }
}

#[test]
fn rows_that_do_not_hold_what_they_say_are_told_and_left() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        put_rows(&db, &["a", "b", "c", "d"].map(|key| line(key, "1", LATE)).concat());
        let json_of = |text: &str| if db.is_postgres() { format!("({text})::jsonb") } else { text.to_owned() };
        let text = if db.is_postgres() { "payload_json::text" } else { "payload_json" };
        // Another content under the old hash; another key; no record at all; a hash in capitals.
        let changed = json_of(&format!("replace({text}, '\"v\": \"1\"', '\"v\": \"2\"')"));
        db.run(&format!("UPDATE TABLE_ SET payload_json = {changed} WHERE natural_key = 'a'"));
        db.run("UPDATE TABLE_ SET natural_key = 'bb' WHERE natural_key = 'b'");
        db.run(&format!("UPDATE TABLE_ SET payload_json = {} WHERE natural_key = 'c'", json_of("'[1]'")));
        db.run("UPDATE TABLE_ SET content_sha256 = upper(content_sha256) WHERE natural_key = 'd'");
        // One of them stands where the dataset has something to put.
        put(&sandbox, &line("a", "ours", EARLY));
        let before = db.dump();
        let report = foretold(&sandbox, &db, &["--direction", "both"], 3);
        assert_eq!(counts(&report), [1, 0, 0, 0, 0, 0, 0, 4, 1, 5], "{report}");
        let errors = report["errors"].to_string();
        for told in ["has the hash", "another source, entity or key", "no record", "no hash"] {
            assert!(errors.contains(told), "{told}: {errors}");
        }
        let rows = db.dump();
        assert!(before.iter().all(|row| rows.contains(row)), "they were left as they were");
        assert_eq!(count(&sandbox), serde_json::json!([1, 1, 0]));
    }
}

#[test]
fn two_rows_under_one_key() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        put_rows(&db, &line("k", "old", EARLY));
        put_rows(&db, &line("x", "other", EARLY));
        let second = store();
        put(&second, &line("k", "new", LATE));
        let path = second.path("second.db");
        let away = Db::Sqlite(path);
        sync(&second, &away, &["--create"]).done();
        copy_row(&away, &db);
        assert_eq!(db.rows(), ["k=new", "k=old", "x=other"]);
        let report = foretold(&sandbox, &db, &[], 0);
        assert_eq!(counts(&report), [0, 0, 0, 3, 0, 0, 0, 0, 2, 3], "{report}");
        assert_eq!(current(&sandbox, "k"), "new", "the one observed later is current");
        assert_eq!(count(&sandbox), serde_json::json!([3, 2, 0]), "the other an earlier version");
        assert_eq!(db.rows(), ["k=new", "k=old", "x=other"], "nothing is deleted");
        is_settled(&sandbox, &db, &[]);
    }
}

/// Copies the rows of a SQLite mirror into another table.
fn copy_row(from: &Db, to: &Db) {
    let quoted: Vec<_> = COLUMNS.split(' ').map(|column| format!("quote({column})")).collect();
    for values in from.ask(&format!("SELECT {} FROM TABLE_", quoted.join(" || ', ' || "))) {
        let id = "'11111111-2222-4333-8444-555555555555'";
        let values = values.split_once(", ").map_or(values.clone(), |(_, rest)| format!("{id}, {rest}"));
        to.run(&format!("INSERT INTO TABLE_ ({}) VALUES ({values})", COLUMNS.replace(' ', ", ")));
    }
}

/// Keys that differ by case or in Unicode's form alone, long ones, and such as are one in NFC.
#[test]
fn strange_keys_and_contents() {
    let template = store();
    let long = "k".repeat(3000);
    let keys = ["A", "a", "e\u{301}", "é", "x ", "x", &long, "tab\t", "back\\slash", "'; DROP TABLE x; --", "-"];
    for db in Db::all(&template) {
        let sandbox = store();
        // Keys of SQL Server's tables have 500 characters.
        let fits = |key: &&&str| db.is_sqlite() || db.is_postgres() || key.len() <= 500;
        let keys: Vec<_> = keys.iter().filter(fits).collect();
        let lines: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(n, key)| {
                let key = serde_json::to_string(key).unwrap();
                line("KEY", &n.to_string(), EARLY)
                    .replace("\"natural_key\": \"KEY\"", &format!("\"natural_key\": {key}"))
                    .replace("id-KEY", &format!("id-{n}"))
            })
            .collect();
        put(&sandbox, &lines.concat());
        let report = foretold(&sandbox, &db, &["--create"], 0);
        assert_eq!(counts(&report)[..3], [keys.len() as u64, 0, 0], "{report}");
        let mut wanted: Vec<_> = keys.iter().enumerate().map(|(n, key)| format!("{key}={n}")).collect();
        wanted.sort();
        assert_eq!(db.rows(), wanted);
        is_settled(&sandbox, &db, &["--create"]);
        // All of it into an empty dataset, and the same comes out.
        let other = store();
        sync(&other, &db, &["--direction", "export"]).done();
        assert_eq!(count(&other), count(&sandbox));
        is_settled(&other, &db, &[]);
        // The same content under the other form of a key is the same content.
        let twin = store();
        put(&twin, &line("e\u{301}", "twin", EARLY));
        let other = Db::sqlite(&twin);
        sync(&twin, &other, &["--create"]).done();
        let nfc = store();
        put(&nfc, &line("é", "twin", EARLY));
        is_settled(&nfc, &other, &[]);
    }
}

/// Numbers that jsonb would change, U+0000, NaN, names that are one in NFC: the hash of what comes back is that of what went in.
#[test]
fn contents_that_jsonb_would_change() {
    let sandbox = store();
    let vectors = crate::record_sets::vectors();
    for set in ["nonfinite", "out-of-order", "redacted"] {
        let path = vectors.join("datasets").join(set);
        sandbox.larder(["records", "import", path.to_str().unwrap(), "--dataset", "pages"]).done();
    }
    let responses = [
        "1e5",
        "1.5e1",
        "1e-7",
        "[1.50, -0.0, -0, 1e+16]",
        "\"a\\u0000b\"",
        "NaN",
        "{\"e\\u0301\": 1, \"\\u00e9\": 2}",
        "1e400",
        "\"\\u2028\\ud83d\\ude00\"",
    ];
    let lines: Vec<_> = responses.iter().enumerate().map(|(n, r)| record(&format!("j{n}"), r, EARLY)).collect();
    put(&sandbox, &lines.concat());
    let before = count(&sandbox);
    for db in Db::all(&sandbox) {
        let report = reported(&sandbox, &db, &["--create"], 0);
        assert_eq!(report["error_count"], 0, "{report}");
        is_settled(&sandbox, &db, &[]);
        let other = store();
        // The table has rows of several sources; a dataset takes those of its own.
        for (source, entity) in scopes(&db) {
            let name = format!("{source}-{entity}");
            other.larder(["records", "init", &name, "--source", &source, "--entity", &entity]).done();
            let report = json(&Ran::of(&mut syncing_dataset(&other, &name, &db, &["--json"])).ended(0));
            assert_eq!(report["json_record_count"], report["sql_record_count"], "{report}");
        }
        assert_eq!(count(&sandbox), before);
    }
}

fn scopes(db: &Db) -> Vec<(String, String)> {
    let scopes = db.ask("SELECT DISTINCT source_system || '/' || entity_type FROM TABLE_ ORDER BY 1");
    scopes.iter().filter_map(|scope| scope.split_once('/')).map(|(s, e)| (s.to_owned(), e.to_owned())).collect()
}

/// A truncated table is filled from a snapshot, and is what it was.
#[test]
fn a_table_is_rebuilt_from_a_snapshot() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        put(&sandbox, &[line("a", "1", EARLY), line("b", "1", EARLY), record("", "{\"v\": 0}", EARLY)].concat());
        sync(&sandbox, &db, &["--create"]).done();
        let then = db.dump();
        put(&sandbox, &[line("a", "2", LATE), line("c", "2", LATE)].concat());
        sync(&sandbox, &db, &[]).done();
        let now = db.dump();
        // What is in the way is not taken away.
        let refused = sync(&sandbox, &db, &["--to-snapshot", "pages~1"]).ended(2);
        assert!(refused.stderr.contains("empty the table"), "{}", refused.stderr);
        assert_eq!(db.dump(), now);
        for (snapshot, wanted) in [("pages~1", &then), ("pages", &now), ("pages~1", &then)] {
            db.run("DELETE FROM TABLE_");
            let report = foretold(&sandbox, &db, &["--to-snapshot", snapshot], 0);
            assert_eq!(counts(&report)[0], wanted.len() as u64);
            assert_eq!(&db.dump(), wanted, "{snapshot}");
            is_settled(&sandbox, &db, &["--to-snapshot", snapshot]);
        }
        sandbox.larder(["snapshot", sandbox.path("home").to_str().unwrap(), "--dataset", "else"]).done();
        sync(&sandbox, &db, &["--to-snapshot", "else"]).refused(2, "not of pages");
    }
}

/// What a policy redacts does not come into the dataset, and the row is known from then on.
#[test]
fn secrets_of_a_table_are_redacted_on_their_way() {
    let template = store();
    for db in Db::all(&template) {
        let secret = "{\"v\": \"1\", \"password\": \"hunter2hunter2\"}";
        put_rows(&db, &[record("s", secret, EARLY), record("", secret, EARLY), line("p", "1", EARLY)].concat());
        let sandbox = Sandbox::with_open_store();
        sandbox.larder(["records", "init", "pages", "--source", "wiki", "--entity", "page", "--redact"]).done();
        let before = db.dump();
        let report = foretold(&sandbox, &db, &["--direction", "export"], 0);
        assert_eq!(counts(&report)[3], 3, "{report}");
        let lines = String::from_utf8(sandbox.larder(["records", "find", "pages", "--records"]).stdout).unwrap();
        assert!(lines.contains("[REDACTED]") && !lines.contains("hunter2"), "{lines}");
        is_settled(&sandbox, &db, &["--direction", "export"]);
        assert_eq!(db.dump(), before);
    }
}

/// The policy of a dataset names schema, table and columns, whatever characters are in the names.
#[test]
fn names_are_the_policys() {
    for sqlite in [true, false] {
        let sandbox = Sandbox::with_open_store();
        let pack = sandbox.path("pack");
        fs::create_dir_all(pack.join("records")).unwrap();
        fs::write(
            pack.join("manifest.json"),
            r#"{"dataset_name": "pages", "exchange_type": "http", "source_system": "wiki", "entity_type": "page",
                "sql_target": {"schema": "my \"lake\"", "table": "a.b; --'", "hash_column": "Hash", "natural_key_column": "the key"},
                "sync_policy": {"direction_default": "json_to_sql", "conflict_strategy": "prefer_json"}}"#,
        )
        .unwrap();
        fs::write(pack.join("records/a.ndjson"), line("a", "1", EARLY)).unwrap();
        sandbox.larder(["records", "import", pack.to_str().unwrap()]).done();
        let db = if sqlite { Db::sqlite(&sandbox) } else { Db::postgres() };
        let report = reported(&sandbox, &db, &["--create"], 0);
        assert_eq!(report["direction"], "import");
        let table = if sqlite { "\"a.b; --'\"" } else { "\"my \"\"lake\"\"\".\"a.b; --'\"" };
        assert_eq!(db.ask(&format!("SELECT \"the key\" FROM {table} WHERE length(\"Hash\") = 64")), ["a"]);
        let report = reported(&sandbox, &db, &[], 0);
        assert_eq!(counts(&report)[..3], [0, 0, 1]);
    }
}

/// An id that another row has, and one that is no UUID, keep no record out of the table; the payload has the true one.
#[test]
fn exchange_ids_that_are_taken() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        let id = "0f0e0d0c-0b0a-4009-8807-060504030201";
        let with = |line: String| {
            line.replace("\"exchange_id\": \"id-", &format!("\"exchange_id\": \"{id}\", \"was\": \"id-"))
        };
        put(&sandbox, &["a", "b", "c"].map(|key| with(line(key, "1", EARLY))).concat());
        let report = reported(&sandbox, &db, &["--create"], 0);
        assert_eq!(counts(&report)[..3], [3, 0, 0], "{report}");
        assert_eq!(
            db.ask(&format!("SELECT natural_key FROM TABLE_ WHERE CAST(exchange_id AS text) = '{id}'")).len(),
            1
        );
        let payloads = db.ask("SELECT CAST(payload_json AS text) FROM TABLE_");
        assert!(payloads.iter().all(|payload| payload.contains(id)), "{payloads:?}");
        is_settled(&sandbox, &db, &[]);
        // The same where a row is replaced.
        put(&sandbox, &with(line("b", "2", LATE)));
        let report = reported(&sandbox, &db, &[], 0);
        assert_eq!(counts(&report)[..3], [0, 1, 2], "{report}");
        assert_eq!(db.rows(), ["a=1", "b=2", "c=1"]);
        is_settled(&sandbox, &db, &[]);
    }
}

/// A table without a unique index of hashes is told; `--create` makes the index.
#[test]
fn an_index_that_is_missing_is_told_and_made() {
    let sandbox = store();
    put(&sandbox, &line("a", "1", EARLY));
    for db in Db::both(&sandbox) {
        sync(&sandbox, &db, &["--create"]).done();
        let schema = if db.is_sqlite() { "" } else { "lake." };
        let dropped = format!("DROP INDEX {schema}\"RawExchangeRecord_by_hash\"");
        for instead in [
            "",
            // None of these keeps a content from standing there twice.
            "CREATE INDEX other ON TABLE_ (content_sha256)",
            "DROP INDEX SCHEMA_other; CREATE UNIQUE INDEX other ON TABLE_ (content_sha256, natural_key)",
            "DROP INDEX SCHEMA_other; CREATE UNIQUE INDEX other ON TABLE_ (content_sha256) WHERE natural_key <> 'a'",
        ] {
            db.run(&format!("{}; {}", dropped, instead.replace("SCHEMA_", schema)));
            let told = sync(&sandbox, &db, &[]).ended(0).stderr;
            assert!(told.contains("no unique index") && told.contains("--create"), "{instead}: {told}");
            sync(&sandbox, &db, &["--create"]).done();
            let told = sync(&sandbox, &db, &[]).ended(0).stderr;
            assert!(!told.contains("index"), "{told}");
        }
    }
}

/// Several datasets share a table: each has the rows of its own source and entity.
#[test]
fn datasets_share_a_table() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        sandbox.larder(["records", "init", "books", "--source", "library", "--entity", "book"]).done();
        put(&sandbox, &line("a", "1", EARLY));
        sync(&sandbox, &db, &["--create"]).done();
        let mut command = syncing_dataset(&sandbox, "books", &db, &["--json"]);
        assert_eq!(counts(&json(&Ran::of(&mut command).ended(0))), [0; 10]);
        is_settled(&sandbox, &db, &[]);
    }
}
