//! `larder sync` while others write into its table: what has come meanwhile stands once, what has changed is not overwritten, nothing is lost.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::databases::{COLUMNS, Db, sync, syncing};
use crate::record_sets::json;
use crate::sandbox::Sandbox;
use crate::sync_sql::{EARLY, LATE, count, counts, current, is_settled, line, put, put_rows, store};

/// A record as another program would write it: the values of its columns.
fn values(lines: &str) -> Vec<String> {
    let other = store();
    let db = Db::sqlite(&other);
    put(&other, lines);
    sync(&other, &db, &["--create"]).done();
    COLUMNS.split(' ').flat_map(|column| db.ask(&format!("SELECT quote({column}) FROM TABLE_"))).collect()
}

fn snapshots(sandbox: &Sandbox) -> usize {
    sandbox.larder(["list", "--dataset", "pages", "--json"]).ids().len()
}

#[test]
fn what_has_changed_meanwhile_is_respected() {
    let template = store();
    for db in Db::both(&template) {
        let sandbox = store();
        put(&sandbox, &[line("k", "ours", LATE), line("n", "new", EARLY), line("x", "new", EARLY)].concat());
        put_rows(&db, &[line("k", "theirs", EARLY), line("m", "more", EARLY)].concat());
        // Another program puts in what the dataset is about to, and changes the row that it is about to replace.
        let id = "'11111111-2222-4333-8444-555555555555'".to_owned();
        let same = [&[id][..], &values(&line("n", "new", EARLY))[1..]].concat();
        let others = values(&line("k", "others", EARLY));
        let changes = format!(
            "INSERT INTO TABLE_ ({}) VALUES ({});
             UPDATE TABLE_ SET content_sha256 = {}, payload_json = {} WHERE natural_key = 'k'",
            COLUMNS.replace(' ', ", "),
            same.join(", "),
            others[6],
            others[7]
        );
        let changes = changes.replace("TABLE_", db.table());
        let before = snapshots(&sandbox);
        let sync_now = || {
            let mut command = syncing(&sandbox, &db, &["--json", "--timeout", "100"]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // When what comes from the table is a snapshot, all was read and decided.
            let until = Instant::now() + Duration::from_mins(1);
            while snapshots(&sandbox) == before {
                assert!(Instant::now() < until, "nothing comes from the table");
                std::thread::sleep(Duration::from_millis(20));
            }
            child
        };
        let child = if let Db::Sqlite(path) = &db {
            let other = rusqlite::Connection::open(path).unwrap();
            other.busy_timeout(Duration::from_secs(30)).unwrap();
            other.execute_batch(&format!("BEGIN IMMEDIATE; {changes}")).unwrap();
            let child = sync_now();
            other.execute_batch("COMMIT").unwrap();
            child
        } else {
            let mut other = db.client();
            other.batch_execute(&format!("BEGIN; {changes}; LOCK TABLE {} IN SHARE MODE", db.table())).unwrap();
            let child = sync_now();
            other.batch_execute("COMMIT").unwrap();
            child
        };
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(counts(&report), [1, 0, 1, 1, 1, 0, 1, 1, 4, 4], "{report}");
        let error = report["errors"][0].as_str().unwrap();
        assert!(error.starts_with("\"k\" (") && error.contains("changed meanwhile"), "{error}");
        assert_eq!(db.rows(), ["k=others", "m=more", "n=new", "x=new"]);
        assert_eq!(count(&sandbox), serde_json::json!([5, 4, 0]), "what was to be replaced is kept");
        // The next run looks at it again.
        let report = json(&sync(&sandbox, &db, &["--json"]).ended(0));
        assert_eq!(counts(&report), [0, 1, 3, 0, 1, 3, 1, 0, 4, 4], "{report}");
        assert_eq!((current(&sandbox, "k"), count(&sandbox)), ("ours".into(), serde_json::json!([6, 4, 0])));
        assert_eq!(db.rows(), ["k=ours", "m=more", "n=new", "x=new"]);
        is_settled(&sandbox, &db, &[]);
    }
}
