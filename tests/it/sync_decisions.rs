//! `larder sync`: who wins, row by row of the older system's decision table (and where it leaves one open), in each database, each direction, with each strategy.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::databases::{Db, sync};
use crate::record_sets::{get, json, record};
use crate::sandbox::Sandbox;
use crate::sync_sql::{
    EARLY, LATE, count, counts, current, foretold, is_settled, line, put, put_rows, reported, store,
};

/// Keys with two contents: what each is called, the times of the dataset's and the table's, and whether the dataset's is the newer one.
const DISPUTED: [(&str, &str, &str, bool); 9] = [
    ("later", LATE, EARLY, true),
    ("earlier", EARLY, LATE, false),
    ("equal", EARLY, EARLY, true),
    ("only ours has one", EARLY, "", true),
    ("only theirs has one", "", EARLY, false),
    ("neither has one", "", "", true),
    // A time without an offset counts as UTC.
    ("equal in UTC", "2024-01-01T00:00:00", EARLY, true),
    ("later in UTC", "2024-01-01T00:00:00", "2024-01-01T01:00:00+02:00", true),
    ("earlier in UTC", "2024-01-01T00:00:00+01:00", "2024-01-01T00:00:00", false),
];

fn side(v: &str, time: impl Fn(&(&str, &str, &str, bool)) -> String) -> String {
    let disputed = DISPUTED
        .map(|row| line(row.0, v, &time(&row)).replace("\"observed_at_utc\": \"\"", "\"observed_at_utc\": null"));
    // What has no key is a record by itself, and so is what has an empty one.
    let keyless = record("", &format!("{{\"v\": \"{v} without\"}}"), EARLY);
    let null = line("null", &format!("{v} null"), EARLY).replace("\"natural_key\": \"null\"", "\"natural_key\": null");
    [disputed.concat(), keyless, null, line("same", "same", EARLY)].concat()
}

fn hashes(rows: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
    let pair = |row: String| row.rsplit_once('=').map(|(key, hash)| (key.to_owned(), hash.to_owned())).unwrap();
    rows.into_iter().map(pair).collect()
}

#[test]
fn each_conflict_ends_as_it_must() {
    let template = store();
    for (direction, strategy) in [
        ("import", "prefer_newest"),
        ("import", "prefer_sql"),
        ("json_to_sql", "prefer_json"),
        ("export", "prefer_newest"),
        ("sql_to_json", "prefer_sql"),
        ("export", "prefer_json"),
        ("both", "prefer_newest"),
        ("bidirectional", "prefer_sql"),
        ("both", "prefer_json"),
    ] {
        for db in Db::all(&template) {
            let case = format!("{direction} {strategy} {}", db.url());
            let sandbox = store();
            put(&sandbox, &side("ours", |row| row.1.to_owned()));
            put_rows(&db, &side("theirs", |row| row.2.to_owned()));
            let theirs = hashes(db.ask("SELECT coalesce(natural_key, '') || '=' || content_sha256 FROM TABLE_"));
            let ours: BTreeMap<_, _> =
                DISPUTED.map(|(key, ..)| (key, get(&sandbox, &[key])["content_sha256"].clone())).into();
            let arguments = ["--direction", direction, "--conflict", strategy];
            let report = foretold(&sandbox, &db, &arguments, 0);

            let (imports, exports) = match direction {
                "import" | "json_to_sql" => (true, false),
                "export" | "sql_to_json" => (false, true),
                _ => (true, true),
            };
            let conflicts = report["conflicts"].as_array().unwrap();
            assert_eq!(conflicts.len(), DISPUTED.len(), "{case}: {report}");
            let (mut won, mut rows) =
                (0, vec!["same=same".to_owned(), "=theirs without".to_owned(), "-=theirs null".to_owned()]);
            if imports {
                rows.extend(["=ours without".to_owned(), "-=ours null".to_owned()]);
            }
            for (key, _, _, newer) in DISPUTED {
                let wins = match strategy {
                    "prefer_newest" => newer,
                    other => other == "prefer_json",
                };
                won += u64::from(wins);
                let conflict = conflicts.iter().find(|conflict| conflict["natural_key"] == key).unwrap();
                let told = serde_json::json!({
                    "natural_key": key, "source_system": "wiki", "entity_type": "page",
                    "json_hash": ours[key], "sql_hash": theirs[key],
                    "resolution": if wins { "json_wins" } else { "sql_wins" },
                });
                assert_eq!(*conflict, told, "{case}");
                let in_dataset = if wins || !exports { "ours" } else { "theirs" };
                assert_eq!(current(&sandbox, key), in_dataset, "{case}: {key}");
                let in_table = if wins && imports { "ours" } else { "theirs" };
                rows.push(format!("{key}={in_table}"));
                // Whoever loses a place is in the dataset's history.
                let versions = if wins || exports { 2 } else { 1 };
                let log = json(&sandbox.larder(["records", "log", key, "--json"]).ended(0));
                assert_eq!(log["versions"].as_array().unwrap().len(), versions, "{case}: {key}: {log}");
            }
            rows.sort();
            assert_eq!(db.rows(), rows, "{case}");
            let lost = 9 - won;
            let wanted = match (imports, exports) {
                (true, false) => [2, won, 1 + lost, 0, won, 0, 9, 0, 12, 14],
                (false, _) => [0, 0, 0, 2 + 9, 0, 1, 9, 0, 14, 12],
                (true, true) => [2, won, 1 + lost, 2 + lost, won, 1, 9, 0, 14, 14],
            };
            assert_eq!(counts(&report), wanted, "{case}");
            assert_eq!(report["snapshot"].is_string(), exports || won > 0, "{case}");
            is_settled(&sandbox, &db, &arguments);
        }
    }
}

#[test]
fn fail_changes_nothing() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        put(&sandbox, &[line("k", "ours", LATE), line("n", "new", LATE)].concat());
        put_rows(&db, &[line("k", "theirs", EARLY), line("m", "more", EARLY)].concat());
        let before = (db.dump(), count(&sandbox));
        let snapshots = sandbox.larder(["list", "--json"]).ids();
        for direction in ["import", "export", "both"] {
            let report = foretold(&sandbox, &db, &["--direction", direction, "--conflict", "fail"], 1);
            assert_eq!(report["conflicts"][0]["resolution"], "failed");
            let counts = counts(&report);
            assert_eq!([counts[0], counts[1], counts[3], counts[4], counts[6]], [0, 0, 0, 0, 1]);
            assert_eq!((db.dump(), count(&sandbox)), before, "{direction}");
        }
        assert_eq!(sandbox.larder(["list", "--json"]).ids(), snapshots);
        let told = sync(&sandbox, &db, &["--conflict", "fail"]).ended(1);
        assert!(told.stderr.contains("nothing was changed"), "{}", told.stderr);
        // Without a conflict it does what the others do.
        let report = foretold(&sandbox, &db, &["--direction", "export", "--conflict", "prefer_newest"], 0);
        assert_eq!(counts(&report)[3], 2);
    }
}

/// A row with what the dataset had before is a conflict whichever way records were to go.
#[test]
fn fail_with_an_earlier_version() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        put(&sandbox, &line("k", "old", EARLY));
        sync(&sandbox, &db, &["--create"]).done();
        put(&sandbox, &line("k", "new", LATE));
        for direction in ["import", "export", "both"] {
            let report = foretold(&sandbox, &db, &["--direction", direction, "--conflict", "fail"], 1);
            assert_eq!(report["conflict_count"], 1, "{direction}");
        }
        is_settled(&sandbox, &db, &["--direction", "export", "--conflict", "prefer_newest"]);
    }
}

/// Without words a dataset's policy says which way records go and who wins.
#[test]
fn the_policy_says_who_wins() {
    let template = store();
    for (way, strategy, direction, resolution, status) in [
        ("json_to_sql", "prefer_json", "import", "json_wins", 0),
        ("sql_to_json", "prefer_sql", "export", "sql_wins", 0),
        ("bidirectional", "prefer_newest", "both", "json_wins", 0),
        ("bidirectional", "fail", "both", "failed", 1),
    ] {
        for db in Db::all(&template) {
            let sandbox = Sandbox::with_open_store();
            let pack = sandbox.path("pack");
            fs::create_dir_all(pack.join("records")).unwrap();
            let policy = format!("{{\"direction_default\": \"{way}\", \"conflict_strategy\": \"{strategy}\"}}");
            let manifest = format!(
                r#"{{"dataset_name": "pages", "exchange_type": "http", "source_system": "wiki", "entity_type": "page", "sync_policy": {policy}}}"#
            );
            fs::write(pack.join("manifest.json"), manifest).unwrap();
            fs::write(pack.join("records/a.ndjson"), line("k", "ours", EARLY)).unwrap();
            sandbox.larder(["records", "import", pack.to_str().unwrap()]).done();
            put_rows(&db, &line("k", "theirs", if strategy == "prefer_json" { LATE } else { EARLY }));
            let report = reported(&sandbox, &db, &[], status);
            let told = (&report["direction"], &report["conflicts"][0]["resolution"]);
            assert_eq!(told, (&direction.into(), &resolution.into()), "{report}");
        }
    }
}

/// The older system took the second of two equal contents for a conflict of the first with itself, and told another count than it made.
#[test]
fn a_content_that_comes_twice_is_no_conflict() {
    let template = store();
    for db in Db::all(&template) {
        let sandbox = store();
        let (a, keyless) = (line("a", "1", EARLY), record("", "{\"v\": \"2\"}", EARLY));
        let later = line("a", "1", LATE);
        put(&sandbox, &[&*a, &keyless, &later, &keyless, &a].concat());
        for (direction, inserted) in [("both", 2), ("import", 0), ("export", 0), ("both", 0)] {
            let arguments = ["--create", "--direction", direction, "--conflict", "fail"];
            let report = foretold(&sandbox, &db, &arguments, 0);
            let all = counts(&report);
            assert_eq!((all[0], &all[6..]), (inserted, &[0, 0, 2, 2][..]), "{report}");
        }
        assert_eq!(db.rows(), ["=2", "a=1"]);
        // The same content seen later on the other side is no conflict either.
        put_rows(&db, &line("a", "1", LATE));
        is_settled(&sandbox, &db, &["--conflict", "fail"]);
    }
}

/// Members as the older system's report has them, and what is ours beside them.
#[test]
fn a_report_has_the_old_members() {
    let sandbox = store();
    let db = Db::sqlite(&sandbox);
    put(&sandbox, &line("k", "ours", EARLY));
    put_rows(&db, &line("k", "theirs", LATE));
    let report = reported(&sandbox, &db, &["-n"], 0);
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let old = [
        "direction",
        "dry_run",
        "started_at",
        "completed_at",
        "json_to_sql",
        "sql_to_json",
        "conflicts",
        "errors",
        "json_record_count",
        "sql_record_count",
    ];
    let mut wanted = [&old[..], &["dataset", "sql", "conflict_count", "error_count", "snapshot"]].concat();
    wanted.sort_unstable();
    assert_eq!(members(&report), wanted);
    assert_eq!(members(&report["json_to_sql"]), ["inserted", "skipped", "updated"]);
    assert_eq!(members(&report["sql_to_json"]), ["inserted", "kept", "skipped"]);
    assert_eq!(report["dry_run"], true);
    for time in ["started_at", "completed_at"] {
        let time = report[time].as_str().unwrap();
        assert!(time.starts_with("20") && time.len() >= "2024-01-01T00:00:00Z".len(), "{time}");
    }
    assert!(report["started_at"].as_str() <= report["completed_at"].as_str());
}
