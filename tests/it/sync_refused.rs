//! `larder sync` with tables that do not take each row, or none: what they refuse or pass over is told by name, the rest goes in, and what is no table is left alone.

use crate::databases::{Db, sync};
use crate::sandbox::{Sandbox, noise};
use crate::sync_sql::{EARLY, counts, foretold, is_settled, line, put, reported, store};

/// A dataset of four records, and a table for them that is empty.
fn four(db: &Db) -> Sandbox {
    let sandbox = store();
    sync(&sandbox, db, &["--create"]).done();
    put(&sandbox, &["a", "b", "c", "d"].map(|key| line(key, "1", EARLY)).concat());
    sandbox
}

/// What is told of some keys, and what is in the table then; the same each time.
#[track_caller]
fn told(sandbox: &Sandbox, db: &Db, wanted: &[(&str, &str)], rows: &[&str]) {
    for inserted in [rows.len() as u64, 0] {
        let report = reported(sandbox, db, &[], 3);
        let all = [inserted, wanted.len() as u64, 4, rows.len() as u64];
        assert_eq!([counts(&report)[0], counts(&report)[7], counts(&report)[8], counts(&report)[9]], all, "{report}");
        let mut errors: Vec<_> =
            report["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap()).collect();
        errors.sort_unstable();
        for (error, (key, why)) in errors.iter().zip(wanted) {
            assert!(error.starts_with(&format!("\"{key}\" (")) && error.contains(why), "{error}");
        }
    }
    assert_eq!(db.rows(), rows);
}

#[test]
fn triggers_say_no_or_pass_over() {
    let template = store();
    for db in Db::both(&template) {
        let sandbox = four(&db);
        db.run(if db.is_sqlite() {
            "CREATE TRIGGER pick BEFORE INSERT ON TABLE_ BEGIN
             SELECT CASE WHEN NEW.natural_key = 'b' THEN RAISE(IGNORE) WHEN NEW.natural_key = 'c' THEN RAISE(ABORT, 'no way') END; END"
        } else {
            "CREATE FUNCTION pick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.natural_key = 'b' THEN RETURN NULL; END IF;
             IF NEW.natural_key = 'c' THEN RAISE EXCEPTION 'no way'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER pick BEFORE INSERT ON TABLE_ FOR EACH ROW EXECUTE FUNCTION pick()"
        });
        told(&sandbox, &db, &[("b", "passed over"), ("c", "no way")], &["a=1", "d=1"]);
    }
}

/// SQLite has one that takes the transaction back: nothing of it stands then, and nothing follows outside of it.
#[test]
fn a_trigger_takes_the_transaction_back() {
    let template = store();
    let db = Db::sqlite(&template);
    let sandbox = four(&db);
    db.run("CREATE TRIGGER pick BEFORE INSERT ON TABLE_ WHEN NEW.natural_key = 'b' BEGIN SELECT RAISE(ROLLBACK, 'no way'); END");
    sync(&sandbox, &db, &[]).refused(1, "no way: the record ");
    assert_eq!(db.rows(), [""; 0]);
    db.run("DROP TRIGGER pick");
    sync(&sandbox, &db, &[]).done();
    assert_eq!(db.rows(), ["a=1", "b=1", "c=1", "d=1"]);
}

/// Rows that a trigger puts into a part of the table are in the table.
#[test]
fn a_trigger_puts_rows_elsewhere() {
    let db = Db::postgres();
    let sandbox = four(&db);
    db.run(
        "CREATE TABLE lake.part (UNIQUE (content_sha256)) INHERITS (TABLE_);
         CREATE FUNCTION pick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF NEW.natural_key = 'b' THEN RETURN NULL; END IF;
         INSERT INTO lake.part SELECT NEW.*; RETURN NULL; END $$;
         CREATE TRIGGER pick BEFORE INSERT ON TABLE_ FOR EACH ROW EXECUTE FUNCTION pick()",
    );
    told(&sandbox, &db, &[("b", "passed over")], &["a=1", "c=1", "d=1"]);
}

/// A constraint that is looked at when a transaction ends says no to its rows, not to all.
#[test]
fn constraints_that_wait() {
    let db = Db::postgres();
    let sandbox = four(&db);
    db.run(
        "CREATE TABLE lake.known (k text PRIMARY KEY); INSERT INTO lake.known VALUES ('a'), ('d');
         ALTER TABLE TABLE_ ADD FOREIGN KEY (natural_key) REFERENCES lake.known DEFERRABLE INITIALLY DEFERRED",
    );
    told(&sandbox, &db, &[("b", "foreign key"), ("c", "foreign key")], &["a=1", "d=1"]);
}

/// What has the table's name and is none is told by dry runs too.
#[test]
fn views_are_no_tables() {
    let sandbox = store();
    for db in Db::both(&sandbox) {
        db.run(if db.is_sqlite() { "" } else { "CREATE SCHEMA lake" });
        db.run("CREATE VIEW TABLE_ AS SELECT 1 AS exchange_id");
        for arguments in [&[][..], &["--create"], &["-n"], &["--create", "-n"]] {
            sync(&sandbox, &db, arguments).refused(1, "RawExchangeRecord is a view");
        }
    }
}

/// An index that does not take what stands in the table is told; the others are there.
#[test]
fn an_index_that_cannot_be_made() {
    let sandbox = store();
    let source: String = noise(1, 2500).iter().map(|b| format!("{b:02x}")).collect();
    put(&sandbox, &[line("a", "1", EARLY), line("b", "1", EARLY).replace("wiki", &source)].concat());
    for db in Db::both(&sandbox) {
        if db.is_sqlite() {
            foretold(&sandbox, &db, &["--create"], 0);
        } else {
            for inserted in [2, 0] {
                let report = reported(&sandbox, &db, &["--create"], 3);
                assert_eq!((counts(&report)[0], counts(&report)[7]), (inserted, 1), "{report}");
                let error = report["errors"][0].as_str().unwrap();
                assert!(error.contains("index") && error.contains("by_scope_and_time"), "{error}");
            }
            let made =
                db.ask("SELECT indexname::text FROM pg_indexes WHERE tablename = 'RawExchangeRecord' ORDER BY 1");
            assert_eq!(made, ["by_hash", "by_key", "by_time", "pkey"].map(|end| format!("RawExchangeRecord_{end}")));
        }
        is_settled(&sandbox, &db, &[]);
        assert_eq!(db.rows(), ["a=1", "b=1"]);
    }
}
