//! SQL Server. `sync_sql` has it go through all that the other databases go through: here is what stands in for it, and what is its own.
//!
//! `LARDER_TEST_MSSQL=mssql://USER:PASSWORD@HOST[:PORT]/master` has it go through the same with a real server, in databases of its own.

mod mock;
mod real;
mod wire;

use std::time::{Duration, Instant};

use crate::databases::{COLUMNS, Db, PASSWORD, ROLE, ask_sqlite, sync, syncing};
use crate::record_sets::{import, json, record};
use crate::sandbox::{Ran, Sandbox};
use mock::{Mock, Trouble};
use real::Real;

/// What stands in for SQL Server, or a database of a real one.
pub(crate) enum Place {
    Mock(Mock),
    Real(Real),
}

impl Place {
    /// One of each that there is.
    pub(crate) fn all() -> Vec<Self> {
        std::iter::once(Self::Mock(Mock::new())).chain(Real::new().map(Self::Real)).collect()
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Mock(mock) => format!("mssql://{ROLE}@127.0.0.1:{}/lake", mock.port),
            Self::Real(real) => real.url(),
        }
    }

    pub(crate) fn password(&self) -> String {
        match self {
            Self::Mock(_) => PASSWORD.to_owned(),
            Self::Real(real) => real.password(),
        }
    }

    pub(crate) fn has_table(&self) -> bool {
        match self {
            Self::Mock(mock) => mock.table().table_exists(None, "RawExchangeRecord").unwrap(),
            Self::Real(real) => real.ask("SELECT OBJECT_ID(N'lake.RawExchangeRecord')") != ["NULL"],
        }
    }

    pub(crate) fn run(&self, statements: &str) {
        match self {
            Self::Mock(mock) => mock.table().execute_batch(&in_mock(statements)).unwrap(),
            Self::Real(real) => real.run(statements),
        }
    }

    pub(crate) fn ask(&self, question: &str) -> Vec<String> {
        match self {
            Self::Mock(mock) => ask_sqlite(&mock.table(), &in_mock(question)),
            Self::Real(real) => real.ask(question),
        }
    }

    /// Columns of all rows, as texts.
    fn columns(&self, columns: &str) -> Vec<Vec<String>> {
        let texts = columns
            .split(' ')
            .map(|column| self.ask(&format!("SELECT CAST({column} AS text) FROM TABLE_ ORDER BY exchange_id")));
        let texts: Vec<_> = texts.collect();
        (0..texts[0].len()).map(|row| texts.iter().map(|column| column[row].clone()).collect()).collect()
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        let row = |row: Vec<String>| {
            let payload: Option<serde_json::Value> = serde_json::from_str(&row[1]).ok();
            let v = payload.and_then(|payload| payload.pointer("/response/v")?.as_str().map(str::to_owned));
            let key = if row[0] == "NULL" { "-" } else { &row[0] };
            format!("{key}={}", v.as_deref().unwrap_or("?"))
        };
        let mut rows: Vec<_> = self.columns("natural_key payload_json").into_iter().map(row).collect();
        rows.sort();
        rows
    }

    pub(crate) fn dump(&self) -> Vec<String> {
        let mut rows: Vec<_> = self.columns(crate::databases::COLUMNS).into_iter().map(|row| row.join("|")).collect();
        rows.sort();
        rows
    }

    /// As the other system's statements make it.
    pub(crate) fn make_old_table(&self) {
        match self {
            // SQLite's collation that takes both cases for one stands for those that do so here.
            Self::Mock(mock) => mock.table().execute_batch(
                "CREATE TABLE RawExchangeRecord (exchange_id UNIQUEIDENTIFIER PRIMARY KEY, exchange_type NVARCHAR(50) NOT NULL,
                 source_system NVARCHAR(100) NOT NULL COLLATE NOCASE, entity_type NVARCHAR(100) NOT NULL COLLATE NOCASE,
                 natural_key NVARCHAR(500) NULL COLLATE NOCASE CHECK (length(natural_key) <= 500), observed_at_utc DATETIME2 NOT NULL,
                 content_sha256 CHAR(64) NOT NULL COLLATE NOCASE UNIQUE CHECK (length(content_sha256) = 64),
                 payload_json NVARCHAR(4000) NOT NULL, schema_version INT NOT NULL DEFAULT 1,
                 created_at_utc DATETIME2 NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at_utc DATETIME2 NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            ).unwrap(),
            Self::Real(real) => {
                real.run("CREATE SCHEMA lake");
                real.run(
                    "CREATE TABLE lake.RawExchangeRecord (exchange_id UNIQUEIDENTIFIER NOT NULL PRIMARY KEY, exchange_type NVARCHAR(50) NOT NULL,
                     source_system NVARCHAR(100) NOT NULL, entity_type NVARCHAR(100) NOT NULL, natural_key NVARCHAR(500) NULL,
                     observed_at_utc DATETIME2 NOT NULL, content_sha256 CHAR(64) NOT NULL CHECK (LEN(content_sha256) = 64),
                     payload_json NVARCHAR(MAX) NOT NULL, schema_version INT NOT NULL DEFAULT 1,
                     created_at_utc DATETIME2 NOT NULL DEFAULT SYSUTCDATETIME(), updated_at_utc DATETIME2 NOT NULL DEFAULT SYSUTCDATETIME(),
                     CONSTRAINT UQ_content UNIQUE (content_sha256))",
                );
            }
        }
    }
}

fn in_mock(text: &str) -> String {
    text.replace("TABLE_", "RawExchangeRecord")
}

const TIME: &str = "2024-01-01T00:00:00+00:00";

fn store(records: &[String]) -> Sandbox {
    let sandbox = Sandbox::with_open_store();
    sandbox.larder(["records", "init", "pages", "--source", "wiki", "--entity", "page"]).done();
    put(&sandbox, records);
    sandbox
}

fn put(sandbox: &Sandbox, records: &[String]) {
    assert_eq!(import(sandbox, &records.concat(), &[]).status, 0);
}

fn line(key: &str, v: &str) -> String {
    record(key, &format!("{{\"v\": \"{v}\"}}"), TIME)
}

fn mocked() -> Db {
    Db::Mssql(Place::Mock(Mock::new()))
}

fn mock(db: &Db) -> &Mock {
    let Db::Mssql(Place::Mock(mock)) = db else { panic!("that is no mock") };
    mock
}

/// What a server is asked, and in which order: no more than is needed, what is changed in transactions.
#[test]
fn what_a_server_is_asked() {
    let sandbox = store(&[line("a", "1"), line("b", "1")]);
    let db = mocked();
    let opening = ["settings", "lock", "columns"];
    sync(&sandbox, &db, &["--create", "-n"]).done();
    assert_eq!(mock(&db).asked(), opening, "a dry run asks, and changes nothing");
    sync(&sandbox, &db, &["--create"]).done();
    let made = ["begin", "schema", "create schema", "create", "commit", "columns", "unique", "count", "any", "scan"];
    let filled = ["begin", "insert", "commit"];
    let indexed = ["index by hash", "index by key", "index by scope and time", "index by time", "columns", "unique"];
    assert_eq!(mock(&db).asked(), [&opening[..], &made, &filled, &indexed].concat());
    sync(&sandbox, &db, &[]).done();
    assert_eq!(
        mock(&db).asked(),
        ["settings", "lock", "columns", "unique", "count", "scan", "any"],
        "nothing has changed"
    );
    put(&sandbox, &[record("b", "{\"v\": \"2\"}", "2024-06-01T00:00:00+00:00"), line("c", "1")]);
    sync(&sandbox, &db, &[]).done();
    let changed =
        ["settings", "lock", "columns", "unique", "any", "scan", "payloads", "begin", "update", "insert", "commit"];
    assert_eq!(mock(&db).asked(), changed);
    assert_eq!(db.rows(), ["a=1", "b=2", "c=1"]);
}

/// What one statement takes is less than what a transaction takes; texts of any length and alphabet come through.
#[test]
fn many_rows_and_long_ones() {
    let keys: Vec<_> = (0..450).map(|n| format!("k{n:03}")).collect();
    let mut lines: Vec<_> = keys.iter().map(|key| line(key, "1")).collect();
    lines.push(line("long", &"ä𝄞 x".repeat(50_000)));
    let sandbox = store(&lines);
    let db = mocked();
    sync(&sandbox, &db, &["--create", "--direction", "import"]).done();
    assert_eq!(mock(&db).asked().iter().filter(|name| *name == "insert").count(), 5);
    let other = store(&[]);
    let report = json(&sync(&other, &db, &["--direction", "export", "--json"]).ended(0));
    assert_eq!(report["json_record_count"], 451);
    assert_eq!(report["error_count"], 0, "{report}");
    let lines = |sandbox: &Sandbox| {
        let ran = sandbox.larder(["records", "find", "pages", "--records"]).ended(0);
        let mut lines: Vec<_> = String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&other), lines(&sandbox));
    // Hashes that are asked for: no more at a time than a statement takes.
    let more: Vec<_> = (0..2500).map(|n| line(&format!("more{n}"), "1")).collect();
    put(&sandbox, &more);
    mock(&db).asked();
    sync(&sandbox, &db, &["--direction", "import"]).done();
    assert_eq!(mock(&db).asked().iter().filter(|name| *name == "payloads").count(), 3);
    assert_eq!(db.rows().len(), 451 + 2500);
}

/// What another program has done between reading and writing is respected.
#[test]
fn what_has_changed_meanwhile() {
    let sandbox = store(&[line("k", "ours"), line("n", "new"), line("x", "new")]);
    let db = mocked();
    let other = store(&[record("k", "{\"v\": \"theirs\"}", "2023-01-01T00:00:00+00:00")]);
    sync(&other, &db, &["--create"]).done();
    // The row that is to go in is there already, the one that is to be replaced is another.
    let copy = Db::sqlite(&other);
    sync(&store(&[line("n", "new")]), &copy, &["--create"]).done();
    let columns = COLUMNS.split(' ').map(|column| copy.ask(&format!("SELECT quote({column}) FROM TABLE_")).concat());
    let insert = format!(
        "INSERT INTO RawExchangeRecord ({}) VALUES ({})",
        COLUMNS.replace(' ', ", "),
        columns.collect::<Vec<_>>().join(", ")
    );
    let change = format!("UPDATE RawExchangeRecord SET content_sha256 = '{}' WHERE natural_key = 'k'", "f".repeat(64));
    mock(&db).trouble("begin", Trouble::Meanwhile(format!("{insert}; {change}")));
    let report = json(&sync(&sandbox, &db, &["--json", "--direction", "import"]).ended(3));
    assert_eq!(report["json_to_sql"], serde_json::json!({"inserted": 1, "updated": 0, "skipped": 1}), "{report}");
    assert_eq!((&report["sql_record_count"], &report["error_count"]), (&3.into(), &1.into()), "{report}");
    assert!(report["errors"][0].as_str().unwrap().contains("changed meanwhile"), "{report}");
    assert_eq!(db.rows(), ["k=theirs", "n=new", "x=new"]);
}

/// Rows that have gone between being looked at and being taken are told, and counted as what they are; the others come.
#[test]
fn rows_that_have_gone_meanwhile() {
    // More than one portion of them, of which the first is gone.
    let lines: Vec<_> = (0..40).map(|n| line(&format!("k{n}"), "1")).collect();
    let db = mocked();
    sync(&store(&lines), &db, &["--create"]).done();
    let sandbox = store(&[]);
    mock(&db)
        .trouble("payloads", Trouble::Meanwhile("DELETE FROM RawExchangeRecord WHERE natural_key < 'k2'".to_owned()));
    let report = json(&sync(&sandbox, &db, &["--json", "--direction", "export"]).ended(3));
    let left = db.rows().len();
    assert!(left > 20 && left < 40, "{left}");
    assert_eq!(report["error_count"], 40 - left, "{report}");
    let told = (&report["sql_to_json"]["inserted"], &report["json_record_count"]);
    // The others of the first portion are looked at after they have gone.
    let count = json(&sandbox.larder(["records", "count", "pages", "--json"]).ended(0))["records"].clone();
    assert_eq!((told, &count), ((&left.into(), &left.into()), &left.into()), "{report}");
}

/// The time that is waited for a connection is none for an answer.
#[test]
fn a_statement_takes_as_long_as_it_takes() {
    let sandbox = store(&[line("a", "1")]);
    let db = mocked();
    mock(&db).trouble("insert", Trouble::Slow(Duration::from_secs(3)));
    sync(&sandbox, &db, &["--create", "--timeout", "1"]).done();
    assert_eq!(db.rows(), ["a=1"]);
}

/// What a table does not take is told without what is in it; the rest goes in, also where it stands in one statement with it.
#[test]
fn rows_that_a_table_does_not_take() {
    let long = "x".repeat(501);
    let mut lines: Vec<_> = (0..40).map(|n| line(&format!("k{n}"), "1")).collect();
    lines.insert(17, line(&long, "1"));
    lines.push(line("s", "1").replace("\"wiki\"", &format!("{:?}", "w".repeat(101))));
    let sandbox = store(&lines);
    let db = mocked();
    let ran = sync(&sandbox, &db, &["--create", "--json"]).ended(3);
    let report = json(&ran);
    assert_eq!((&report["json_to_sql"]["inserted"], &report["error_count"]), (&40.into(), &2.into()), "{report}");
    assert!(report["errors"].to_string().contains("too long for its column"), "{report}");
    assert!(!report.to_string().contains("hunter2"), "the server has named the value: {report}");
    assert_eq!(db.rows().len(), 40);
}

/// Errors that end the transaction, or the session, leave nothing of a batch; the next run goes on.
#[test]
fn trouble_in_a_transaction() {
    let sandbox = store(&[line("a", "1"), line("b", "1")]);
    let db = mocked();
    sync(&sandbox, &db, &["--create", "--direction", "export"]).done();
    let deadlock = || "Transaction (Process ID 52) was deadlocked".to_owned();
    let truncated = || "String or binary data would be truncated.".to_owned();
    for (statement, trouble, told) in [
        ("insert", Trouble::Ended(1205, deadlock()), "deadlocked"),
        // Of a row, but the transaction is gone: nobody may go on as if it stood.
        ("insert", Trouble::Ended(8152, truncated()), "truncated"),
        ("insert", Trouble::Error(1222, "Lock request time out period exceeded.".to_owned()), "lock"),
        ("insert", Trouble::Gone, "mssql://snap@127.0.0.1"),
        ("commit", Trouble::Gone, "mssql://snap@127.0.0.1"),
        ("scan", Trouble::Error(229, "The SELECT permission was denied".to_owned()), "permission"),
    ] {
        mock(&db).trouble(statement, trouble.clone());
        let ran = sync(&sandbox, &db, &[]);
        assert!(!ran.stderr.contains(PASSWORD), "{}", ran.stderr);
        ran.refused(1, told);
        mock(&db).no_trouble();
        assert_eq!(db.rows(), [""; 0], "{statement} {trouble:?}");
    }
    sync(&sandbox, &db, &["--create"]).done();
    assert_eq!(db.rows(), ["a=1", "b=1"]);
}

#[test]
fn a_server_that_says_no() {
    let sandbox = store(&[line("a", "1")]);
    let db = mocked();
    let with = |password: &str, url: &str, more: &[&str]| {
        let mut command = sandbox.client().larder(&sandbox.store());
        command.args(["-vv", "sync", "pages", "--timeout", "2", "--sql", url]).args(more);
        Ran::of(command.env("LARDER_SQL_PASSWORD", password))
    };
    let ran = with("not-hunter2", &db.url(), &[]);
    assert!(!ran.stderr.contains("not-hunter2"), "{}", ran.stderr);
    ran.refused(1, "login failed");
    let ran = with(PASSWORD, &db.url(), &["--create"]).ended(0);
    assert!(!ran.stderr.contains(PASSWORD), "{}", ran.stderr);
    // Somebody who says nothing, somebody who is not there.
    mock(&db).trouble("prelogin", Trouble::Silent);
    with(PASSWORD, &db.url(), &[]).refused(1, "2 seconds");
    mock(&db).no_trouble();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    with(PASSWORD, &format!("mssql://snap@{closed}/x"), &[]).refused(1, "cannot connect");
    with(PASSWORD, "mssql://snap@db.example/x", &[]).refused(2, "TLS");
    let refused = with(PASSWORD, "mssql://snap:hunter2@localhost/x", &[]).ended(2).stderr;
    assert!(refused.contains("SQLCMDPASSWORD") && !refused.contains("hunter2"), "{refused}");
    // The URL with its password, from the environment.
    let mut command = sandbox.client().larder(&sandbox.store());
    let encoded: String = PASSWORD.bytes().map(|b| format!("%{b:02X}")).collect();
    let url = db.url().replacen("snap@", &format!("snap:{encoded}@"), 1);
    let ran = Ran::of(command.args(["-vv", "sync", "pages", "--json"]).env("LARDER_SQL", &url)).ended(0);
    assert_eq!(json(&ran)["json_to_sql"]["skipped"], 1);
    assert!(!ran.stderr.contains(PASSWORD) && !ran.stderr.contains(&encoded), "{}", ran.stderr);
}

/// Who has the table's lock is alone with it; whoever does not wait is told so.
#[test]
fn one_at_a_time() {
    let sandbox = store(&[line("a", "1")]);
    let db = mocked();
    mock(&db).trouble("lock", Trouble::Taken);
    sync(&sandbox, &db, &["--no-wait"]).refused(11, "another larder");
    let mut waiting = syncing(&sandbox, &db, &["--create"]);
    let waiting = waiting.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    mock(&db).asked();
    let (mut asked, until) = (0, Instant::now() + Duration::from_mins(1));
    while asked < 2 {
        assert!(Instant::now() < until, "it does not ask again");
        std::thread::sleep(Duration::from_millis(20));
        asked += mock(&db).asked().iter().filter(|name| *name == "lock").count();
        assert!(!db.has_table());
    }
    mock(&db).no_trouble();
    assert!(waiting.wait_with_output().unwrap().status.success());
    assert_eq!(db.rows(), ["a=1"]);
}

/// A table without a unique index of hashes is told; `--create` makes the index.
#[test]
fn an_index_that_is_missing() {
    let sandbox = store(&[line("a", "1")]);
    let db = mocked();
    sync(&sandbox, &db, &["--create"]).done();
    db.run("DROP INDEX by_hash");
    let told = sync(&sandbox, &db, &[]).ended(0).stderr;
    assert!(told.contains("no unique index") && told.contains("--create"), "{told}");
    sync(&sandbox, &db, &["--create"]).done();
    assert!(!sync(&sandbox, &db, &[]).ended(0).stderr.contains("index"));
    db.run("ALTER TABLE TABLE_ RENAME COLUMN payload_json TO payload");
    sync(&sandbox, &db, &[]).refused(1, "no column payload_json");
}
