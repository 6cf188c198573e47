//! `larder sync` in trouble: both sides stay right, it says what is wrong, and the next run goes on. No password is shown.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::databases::{Db, PASSWORD, Server, sync, syncing};
use crate::mounting::Mount;
use crate::record_sets::{import, json, record};
use crate::sandbox::{Ran, Sandbox, noise};
use crate::sync_sql::put_rows;

const TIME: &str = "2024-01-01T00:00:00+00:00";
/// Records that take several transactions.
const MANY: usize = 6000;

fn store(records: usize, bytes: usize) -> Sandbox {
    let sandbox = Sandbox::with_open_store();
    sandbox.larder(["records", "init", "pages", "--source", "wiki", "--entity", "page"]).done();
    let lines = (0..records).map(|n| {
        // Nothing that a database would compress.
        let text: String = noise(n as u64, bytes / 2).iter().map(|b| format!("{b:02x}")).collect();
        record(&format!("k{n}"), &format!("{{\"v\": \"{n}\", \"t\": \"{text}\"}}"), TIME)
    });
    let lines: String = lines.collect();
    assert_eq!(import(&sandbox, &lines, &[]).status, 0);
    sandbox
}

/// A sync that is stopped when it has done a part of its work: its table is locked by the test.
struct Stopped {
    child: Child,
    held: Held,
}

enum Held {
    Sqlite(rusqlite::Connection),
    Postgres(Box<postgres::Client>),
}

fn rows(db: &Db) -> usize {
    db.ask("SELECT CAST(count(*) AS text) FROM TABLE_")[0].parse().unwrap()
}

fn stopped(sandbox: &Sandbox, db: &Db) -> Stopped {
    sync(sandbox, db, &["--create", "--direction", "export"]).done();
    stopped_behind(sandbox, db, 0)
}

/// The same with a table that has so many rows already.
fn stopped_behind(sandbox: &Sandbox, db: &Db, before: i64) -> Stopped {
    let mut command = syncing(sandbox, db, &["--timeout", "100"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    let wait = || {
        assert!(Instant::now() < until, "nothing is written");
        std::thread::sleep(Duration::from_millis(1));
    };
    let count = format!("SELECT count(*) FROM {}", db.table());
    let (held, done) = if let Db::Sqlite(path) = db {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        // Who reads in the time between two commits keeps the second one waiting.
        loop {
            connection.execute_batch("BEGIN").unwrap();
            // While the other commits it says that it is busy.
            let rows = connection.query_row(&count, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
            if rows > before {
                break (Held::Sqlite(connection), rows);
            }
            connection.execute_batch("ROLLBACK").unwrap();
            wait();
        }
    } else {
        let mut client = db.client();
        while client.query_one(&count, &[]).unwrap().get::<_, i64>(0) == before {
            wait();
        }
        client.batch_execute(&format!("BEGIN; LOCK TABLE {} IN SHARE MODE", db.table())).unwrap();
        let rows = client.query_one(&count, &[]).unwrap().get(0);
        (Held::Postgres(Box::new(client)), rows)
    };
    let half = done > before && usize::try_from(done).is_ok_and(|done| done < MANY);
    assert!(half, "{done}: it was to be stopped half-way");
    Stopped { child, held }
}

/// The processes that a process has begun.
fn below(pid: u32) -> Vec<Pid> {
    let below = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    below.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
}

impl Stopped {
    /// The test lets it go on.
    fn go_on(self) -> i32 {
        let Self { child, held } = self;
        match held {
            Held::Sqlite(connection) => connection.execute_batch("ROLLBACK").unwrap(),
            Held::Postgres(mut client) => client.batch_execute("ROLLBACK").unwrap(),
        }
        let output = child.wait_with_output().unwrap();
        output.status.code().unwrap_or(-1)
    }

    /// Sends it a signal.
    fn signal(&self, signal: Signal) {
        for pid in below(self.child.id()) {
            kill_process(pid, signal).unwrap();
        }
    }

    /// Or kills it first, `timeout` that it runs under, and itself.
    fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.kill().unwrap();
        let _killed = self.child.wait();
        match self.held {
            Held::Sqlite(connection) => connection.execute_batch("ROLLBACK").unwrap(),
            Held::Postgres(mut client) => client.batch_execute("ROLLBACK").unwrap(),
        }
    }
}

fn is_whole(sandbox: &Sandbox, db: &Db) {
    let report = json(&sync(sandbox, db, &["--create", "--json"]).ended(0));
    assert_eq!((&report["json_record_count"], &report["sql_record_count"]), (&MANY.into(), &MANY.into()), "{report}");
    assert_eq!(rows(db), MANY);
    let hashes = db.ask("SELECT CAST(count(DISTINCT content_sha256) AS text) FROM TABLE_");
    assert_eq!(hashes, [MANY.to_string()]);
    let again = json(&sync(sandbox, db, &["--json"]).ended(0));
    assert_eq!(again["json_to_sql"]["skipped"], MANY);
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn a_killed_sync_is_gone_on_with() {
    let sandbox = store(MANY, 6000);
    for db in Db::both(&sandbox) {
        let stopped = stopped(&sandbox, &db);
        stopped.kill();
        let left = rows(&db);
        assert!(left > 0 && left < MANY, "{left}");
        is_whole(&sandbox, &db);
    }
}

/// A kill while conflicts are resolved: what was replaced in the table is in the dataset's history by then.
#[test]
fn a_sync_killed_among_conflicts_loses_nothing() {
    const CONFLICTS: usize = 500;
    let late = TIME.replace("2024", "2025");
    for sqlite in [true, false] {
        let sandbox = store(MANY, 6000);
        let db = if sqlite { Db::sqlite(&sandbox) } else { Db::postgres() };
        let lines = (0..CONFLICTS).map(|n| record(&format!("k{n}"), &format!("{{\"v\": \"theirs {n}\"}}"), TIME));
        put_rows(&db, &lines.collect::<String>());
        // One that wins.
        put_rows(&db, &record("k7", "{\"v\": \"won\"}", &late));
        stopped_behind(&sandbox, &db, i64::try_from(CONFLICTS).unwrap()).kill();
        let left = rows(&db);
        assert!(left > CONFLICTS && left < MANY, "{left}");
        let kept = json(&sandbox.larder(["records", "count", "pages", "--json"]).ended(0));
        assert_eq!((&kept["records"], &kept["keys"]), (&(MANY + CONFLICTS).into(), &MANY.into()));
        is_whole(&sandbox, &db);
        assert_eq!(db.ask("SELECT natural_key FROM TABLE_ WHERE CAST(payload_json AS text) LIKE '%theirs%'"), [""; 0]);
        assert_eq!(db.ask("SELECT natural_key FROM TABLE_ WHERE CAST(payload_json AS text) LIKE '%\"won\"%'"), ["k7"]);
        let log = json(&sandbox.larder(["records", "log", "k8", "--json"]).ended(0));
        assert_eq!(log["versions"].as_array().unwrap().len(), 2, "{log}");
    }
}

/// Whoever is killed while the dataset takes rows leaves it as it was, or with all of them.
#[test]
fn a_killed_export_is_all_or_nothing() {
    let sandbox = store(MANY, 100);
    for db in Db::both(&sandbox) {
        sync(&sandbox, &db, &["--create"]).done();
        let other = store(0, 0);
        let mut killed = 0;
        for after in [20, 60, 120, 200, 300, 450] {
            let mut child = syncing(&other, &db, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(after));
            for pid in below(child.id()) {
                let _ended = kill_process(pid, Signal::KILL);
            }
            let status = child.wait().unwrap();
            killed += usize::from(!status.success());
            let count = json(&other.larder(["records", "count", "pages", "--json"]).ended(0));
            assert!(count["records"] == MANY || count["records"] == 0, "{count}");
            other.larder(["verify", "--read-data"]).done();
        }
        assert!(killed > 0, "none was killed");
        is_whole(&other, &db);
    }
}

/// Ctrl-C ends it between two transactions.
#[test]
fn an_interrupted_sync_is_gone_on_with() {
    let sandbox = store(MANY, 6000);
    for db in Db::both(&sandbox) {
        let stopped = stopped(&sandbox, &db);
        stopped.signal(Signal::INT);
        assert_eq!(stopped.go_on(), 130);
        let left = rows(&db);
        assert!(left > 0 && left < MANY, "{left}");
        is_whole(&sandbox, &db);
    }
}

/// A server that is killed while it is asked: the dataset is as it was.
#[test]
fn a_server_killed_while_it_is_read() {
    let sandbox = store(3, 1);
    let server = Arc::new(Server::new());
    let db = Db::on(server.clone());
    sync(&sandbox, &db, &["--create"]).done();
    let other = store(0, 0);
    let mut holder = db.client();
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", db.table())).unwrap();
    let mut command = syncing(&other, &db, &["--timeout", "100"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while holder.query_one("SELECT count(*) FROM pg_locks WHERE NOT granted", &[]).unwrap().get::<_, i64>(0) == 0 {
        assert!(Instant::now() < until, "it does not ask");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.kill();
    drop(holder);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    server.start();
    let count = || json(&other.larder(["records", "count", "pages", "--json"]).ended(0))["records"].clone();
    assert_eq!(count(), 0);
    sync(&other, &db, &[]).done();
    assert_eq!(count(), 3);
}

#[test]
fn a_killed_server_is_told_and_gone_on_with() {
    let sandbox = store(MANY, 6000);
    let server = Arc::new(Server::new());
    let db = Db::on(server.clone());
    let stopped = stopped(&sandbox, &db);
    server.kill();
    let Stopped { child, held } = stopped;
    drop(held);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("postgres://snap@127.0.0.1") && !told.contains(PASSWORD), "{told}");
    let refused = sync(&sandbox, &db, &[]).ended(1);
    assert!(refused.stderr.contains("cannot connect"), "{}", refused.stderr);
    server.start();
    let left = rows(&db);
    assert!(left > 0 && left < MANY, "what was acknowledged is there: {left}");
    is_whole(&sandbox, &db);
}

#[test]
fn two_at_once() {
    let sandbox = store(MANY, 6000);
    for db in Db::both(&sandbox) {
        let first = stopped(&sandbox, &db);
        sync(&sandbox, &db, &["--no-wait"]).refused(11, "another larder");
        let mut second = syncing(&sandbox, &db, &["--json"]);
        let second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(first.go_on(), 0);
        let output = second.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["json_to_sql"]["skipped"], MANY, "the second finds it done: {report}");
        is_whole(&sandbox, &db);
    }
}

#[test]
fn a_database_that_says_no() {
    let sandbox = store(3, 1);
    let db = Db::postgres();
    // Wrong password, wrong name, nobody there, somebody who says nothing.
    let wrong = |password: &str, url: &str, more: &[&str]| {
        let mut command = sandbox.client().larder(&sandbox.store());
        command.args(["-vv", "sync", "pages", "--timeout", "2", "--sql", url]).args(more);
        Ran::of(command.env("LARDER_SQL_PASSWORD", password))
    };
    let ran = wrong("not-hunter2", &db.url(), &[]).ended(1);
    assert!(
        ran.stderr.contains("password authentication failed") && !ran.stderr.contains("not-hunter2"),
        "{}",
        ran.stderr
    );
    let (front, _) = db.url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    wrong(PASSWORD, &format!("{front}/nowhere"), &[]).refused(1, "does not exist");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    wrong(PASSWORD, &format!("postgres://snap@{closed}/x"), &[]).refused(1, "cannot connect");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    wrong(PASSWORD, &format!("postgres://snap@{}/x", silent.local_addr().unwrap()), &[]).refused(1, "2 seconds");
    // A password in an argument is seen by all who list processes.
    let url = format!("{}?password=hunter2", db.url());
    let refused = wrong(PASSWORD, &url, &[]).ended(2);
    assert!(
        refused.stderr.contains("LARDER_SQL_PASSWORD") && !refused.stderr.contains("hunter2"),
        "{}",
        refused.stderr
    );
    wrong(PASSWORD, "postgres://snap@db.example/x", &[]).refused(2, "TLS");
    // Larder's own variable comes before the one of PostgreSQL's programs.
    let mut command = sandbox.client().larder(&sandbox.store());
    command.args(["sync", "pages", "--create", "-n", "--sql", &db.url()]);
    command.env("LARDER_SQL_PASSWORD", PASSWORD).env("PGPASSWORD", "not-hunter2");
    Ran::of(&mut command).done();
    Ran::of(command.env("LARDER_SQL_PASSWORD", "not-hunter2").env("PGPASSWORD", PASSWORD)).refused(1, "password");
    // It stands in a file, or in the environment with the URL.
    let file = sandbox.path("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    wrong("no", &db.url(), &["--create", "--sql-password-file", file.to_str().unwrap()]).done();
    let mut command = sandbox.client().larder(&sandbox.store());
    let encoded: String = PASSWORD.bytes().map(|b| format!("%{b:02X}")).collect();
    let url = db.url().replacen("snap@", &format!("snap:{encoded}@"), 1);
    let ran = Ran::of(command.args(["-vv", "sync", "pages", "--json"]).env("LARDER_SQL", &url)).ended(0);
    assert_eq!(json(&ran)["json_to_sql"]["skipped"], 3);
    assert!(!ran.stderr.contains(PASSWORD) && !ran.stderr.contains(&encoded));
    assert!(!String::from_utf8_lossy(&ran.stdout).contains(PASSWORD));
    let shown = sandbox.larder(["show", "pages"]);
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(PASSWORD));
}

#[test]
fn a_database_without_rights() {
    let sandbox = store(3, 1);
    let db = Db::postgres();
    let Db::Postgres(server, name) = &db else { unreachable!() };
    let mut owner = server.owner(name);
    owner
        .batch_execute(&format!("ALTER DATABASE {name} OWNER TO postgres; REVOKE ALL ON DATABASE {name} FROM snap"))
        .unwrap();
    sync(&sandbox, &db, &["--create"]).refused(1, "permission denied");
    owner.batch_execute("CREATE SCHEMA lake; GRANT USAGE, CREATE ON SCHEMA lake TO snap").unwrap();
    sync(&sandbox, &db, &["--create"]).done();
    owner
        .batch_execute(&format!("ALTER TABLE {} OWNER TO postgres; GRANT SELECT ON {} TO snap", db.table(), db.table()))
        .unwrap();
    sync(&sandbox, &db, &[]).done();
    assert_eq!(import(&sandbox, &record("new", "1", TIME), &[]).status, 0);
    sync(&sandbox, &db, &[]).refused(1, "permission denied");
    assert_eq!(rows(&db), 3);
    sync(&sandbox, &db, &["--direction", "export"]).done();
}

/// A file that is no database, a folder, a table that is none of records: told, and left as they are.
#[test]
fn what_is_no_mirror() {
    let sandbox = store(3, 1);
    let file = sandbox.path("noise.db");
    let bytes = noise(1, 100_000);
    std::fs::write(&file, &bytes).unwrap();
    let pipe = sandbox.path("pipe");
    Ran::of(std::process::Command::new("mkfifo").arg(&pipe)).done();
    for arguments in [&[][..], &["--create"], &["-n"]] {
        sync(&sandbox, &Db::Sqlite(file.clone()), arguments).refused(1, "not a database");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
        sync(&sandbox, &Db::Sqlite(sandbox.path("home")), arguments).refused(1, "home");
        sync(&sandbox, &Db::Sqlite(pipe.clone()), arguments).refused(1, "pipe");
    }
    for db in Db::both(&sandbox) {
        sync(&sandbox, &db, &["--create"]).done();
        db.run("ALTER TABLE TABLE_ RENAME COLUMN payload_json TO payload");
        for arguments in [&[][..], &["--create"], &["-n"]] {
            sync(&sandbox, &db, arguments).refused(1, "no column payload_json");
        }
        // What Larder does not write it does not ask for.
        db.run("ALTER TABLE TABLE_ RENAME COLUMN payload TO payload_json");
        db.run("ALTER TABLE TABLE_ DROP COLUMN created_at_utc; ALTER TABLE TABLE_ DROP COLUMN updated_at_utc");
        let (year, v) = if db.is_sqlite() { ("2025", "5") } else { ("2026", "6") };
        assert_eq!(import(&sandbox, &record("k0", v, &TIME.replace("2024", year)), &[]).status, 0);
        let report = json(&sync(&sandbox, &db, &["--json"]).ended(0));
        assert_eq!(report["json_to_sql"]["updated"], 1, "{report}");
    }
}

/// SQLite's file, its folder, or the disk that both are on, does not let itself be written to.
#[test]
fn a_file_without_rights() {
    let sandbox = store(3, 1);
    let at = sandbox.path("disk");
    std::fs::create_dir(&at).unwrap();
    let mount = Mount::new(&["-t", "tmpfs", "-o", "size=24m", "tmpfs"], at.clone());
    let db = Db::Sqlite(at.join("mirror.db"));
    sync(&sandbox, &db, &["--create"]).done();
    let before = db.dump();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    // Root without its privileges is a user like any other.
    let bare = |arguments: &[&str]| {
        let syncing = syncing(&sandbox, &db, arguments);
        let mut command = sandbox.client().command("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(syncing.get_program()).args(syncing.get_args());
        Ran::of(&mut command)
    };
    let remount = |how: &str| {
        let mut command = sandbox.client().command("mount");
        Ran::of(command.args(["-o", &format!("remount,{how}")]).arg(&at)).done();
    };
    let nothing_to_do = |sync: &dyn Fn(&[&str]) -> Ran| {
        assert_eq!(json(&sync(&["--json"]).ended(0))["json_to_sql"]["skipped"], 3);
        sync(&["--direction", "export"]).done();
    };
    let refused = |sync: &dyn Fn(&[&str]) -> Ran, word: &str| {
        let ran = sync(&["-n"]).ended(0);
        assert!(String::from_utf8_lossy(&ran.stdout).contains("1 inserted"), "a dry run tells what would be");
        let ran = sync(&[]).ended(1);
        assert!(ran.stderr.contains(word) && ran.stderr.contains("the right to write the file"), "{}", ran.stderr);
        assert_eq!(db.dump(), before);
    };
    let file = at.join("mirror.db");
    mode(&file, 0o444);
    nothing_to_do(&bare);
    assert_eq!(import(&sandbox, &record("new", "1", TIME), &[]).status, 0);
    refused(&bare, "readonly");
    mode(&at, 0o555);
    refused(&bare, "readonly");
    // The file alone is not enough: SQLite keeps a journal beside it.
    mode(&file, 0o644);
    refused(&bare, "readonly");
    mode(&at, 0o755);
    // In WAL mode it wants more beside it, to be read too.
    db.run("PRAGMA journal_mode = WAL");
    mode(&at, 0o555);
    let ran = bare(&["-n"]).ended(1);
    assert!(ran.stderr.contains("readonly") && ran.stderr.contains("in WAL mode"), "{}", ran.stderr);
    mode(&at, 0o755);
    db.run("PRAGMA journal_mode = DELETE");
    remount("ro");
    let by_root = |arguments: &[&str]| sync(&sandbox, &db, arguments);
    refused(&by_root, "readonly");
    by_root(&["--create"]).refused(1, "Read-only");
    let missing = Db::Sqlite(at.join("new.db"));
    sync(&sandbox, &missing, &["--create"]).refused(1, "Read-only");
    remount("rw");
    sync(&sandbox, &db, &[]).done();
    assert_eq!(rows(&db), 4);
    drop(mount);
}

#[test]
fn a_table_that_another_program_has_locked() {
    let sandbox = store(3, 1);
    for db in Db::both(&sandbox) {
        sync(&sandbox, &db, &["--create"]).done();
        assert_eq!(import(&sandbox, &record(&format!("n{}", db.is_sqlite()), "1", TIME), &[]).status, 0);
        let before = rows(&db);
        let waited = if let Db::Sqlite(path) = &db {
            let holder = rusqlite::Connection::open(path).unwrap();
            holder.execute_batch("BEGIN IMMEDIATE").unwrap();
            sync(&sandbox, &db, &["--timeout", "1"])
        } else {
            let mut holder = db.client();
            holder.batch_execute(&format!("BEGIN; LOCK TABLE {} IN SHARE MODE", db.table())).unwrap();
            sync(&sandbox, &db, &["--timeout", "1"])
        };
        waited.refused(1, "lock");
        assert_eq!(rows(&db), before);
        sync(&sandbox, &db, &[]).done();
        assert!(rows(&db) > before);
    }
}

#[test]
fn a_full_disk() {
    let sandbox = store(MANY, 6000);
    let small = |at: &Path| {
        std::fs::create_dir(at).unwrap();
        Mount::new(&["-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs"], at.to_owned())
    };
    let at = sandbox.path("small");
    let mount = small(&at);
    let db = Db::Sqlite(at.join("mirror.db"));
    sync(&sandbox, &db, &["--create"]).refused(1, "full");
    assert!(rows(&db) < MANY);
    drop(mount);
    // For PostgreSQL a tablespace; it wants a folder of its own, which others than root reach.
    let folder = tempfile::Builder::new().prefix("larder-space-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let at = folder.path().join("space");
    let mount = small(&at);
    let server = Arc::new(Server::new());
    let db = Db::on(server.clone());
    let Db::Postgres(_, name) = &db else { unreachable!() };
    if rustix::process::geteuid().is_root() {
        server.give(&at);
    }
    let mut owner = server.owner("postgres");
    owner.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{}'", at.display())).unwrap();
    owner
        .batch_execute(&format!(
            "GRANT CREATE ON TABLESPACE small TO snap; ALTER DATABASE {name} SET default_tablespace = small"
        ))
        .unwrap();
    sync(&sandbox, &db, &["--create"]).refused(1, "no space");
    let left = rows(&db);
    assert!(left < MANY, "{left}");
    sync(&sandbox, &db, &["--create", "-n"]).done();
    // Room is made.
    owner.batch_execute(&format!("ALTER DATABASE {name} RESET default_tablespace")).unwrap();
    let mut table = server.owner(name);
    table.batch_execute(&format!("ALTER TABLE {} SET TABLESPACE pg_default", db.table())).unwrap();
    table.batch_execute("ALTER INDEX ALL IN TABLESPACE small SET TABLESPACE pg_default").unwrap();
    is_whole(&sandbox, &db);
    drop(table);
    drop(owner);
    drop(db);
    drop(server);
    drop(mount);
}
