//! Databases for tests: SQLite in a sandbox, and a PostgreSQL server of their own, made when the first test asks for one and gone when the last
//! that does has ended; with the feature `mssql` also what stands in for SQL Server (`mssql/`).

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Ran, Sandbox};

/// The role that Larder is in tests. The password must be seen nowhere.
pub(crate) const ROLE: &str = "snap";
pub(crate) const PASSWORD: &str = "hunter2-%&'\"-secret";
/// Of the server's owner.
const OWNER_PASSWORD: &str = "owner";

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    dir: tempfile::TempDir,
    bin: PathBuf,
    pub(crate) port: u16,
    /// Told to end, or to be killed and started again, the keeper answers when it is done.
    keeper: Mutex<mpsc::Sender<(Order, mpsc::Sender<()>)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    End,
    Kill,
    Start,
}

/// The columns that Larder fills.
pub(crate) const COLUMNS: &str = "exchange_id exchange_type source_system entity_type natural_key observed_at_utc content_sha256 payload_json schema_version";

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static NAMES: AtomicU32 = AtomicU32::new(0);

/// The folder of the newest server that is installed, of version 15 or later.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbers = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let newest = numbers.filter(|version| *version >= 15).max();
    let bin = newest.map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    bin.filter(|bin| bin.join("postgres").exists()).expect(
        "these tests need PostgreSQL 15 or later: `scripts/setup`, or apt-get install postgresql, makes it be there",
    )
}

/// A command as somebody who is not root, whom PostgreSQL refuses.
fn unprivileged(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn is_up(port: u16) -> bool {
    client(port, "postgres", "postgres", OWNER_PASSWORD).is_ok()
}

fn client(port: u16, database: &str, user: &str, password: &str) -> Result<postgres::Client, postgres::Error> {
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(port).dbname(database).user(user).password(password);
    config.connect(postgres::NoTls)
}

impl Server {
    /// The one that tests share.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::new());
        *shared = Arc::downgrade(&server);
        server
    }

    /// One of a test's own, that may be killed.
    pub(crate) fn new() -> Self {
        let bin = programs();
        let dir = tempfile::Builder::new().prefix("larder-pg-").tempdir().unwrap();
        fs::write(dir.path().join("password"), OWNER_PASSWORD).unwrap();
        if rustix::process::geteuid().is_root() {
            let owner = user("postgres");
            for path in [dir.path().to_owned(), dir.path().join("password")] {
                std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1)).unwrap();
            }
        }
        let made = unprivileged(&bin.join("initdb"))
            .args([
                "-U",
                "postgres",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
                "--no-sync",
            ])
            .arg(format!("--pwfile={}", dir.path().join("password").display()))
            .arg("-D")
            .arg(dir.path().join("data"))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (orders, to_do) = mpsc::channel();
        let server = Self { dir, bin, port, keeper: Mutex::new(orders) };
        let (program, folder) = (server.bin.join("postgres"), server.dir.path().to_owned());
        std::thread::spawn(move || keep(&program, &folder, port, &to_do));
        server.order(Order::Start);
        let mut owner = server.owner("postgres");
        let password = PASSWORD.replace('\'', "''");
        owner.batch_execute(&format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'")).unwrap();
        server
    }

    fn order(&self, order: Order) {
        let (answer, done) = mpsc::channel();
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.send((order, answer)).is_ok() {
            let _ended = done.recv();
        }
    }

    /// Kills it, with all its processes, so that none of them has time for anything.
    pub(crate) fn kill(&self) {
        self.order(Order::Kill);
    }

    /// Starts it again.
    pub(crate) fn start(&self) {
        self.order(Order::Start);
    }

    /// Makes a folder its process's own.
    pub(crate) fn give(&self, folder: &Path) {
        let owner = user("postgres");
        std::os::unix::fs::chown(folder, Some(owner.0), Some(owner.1)).unwrap();
    }

    /// Its owner, connected to a database.
    pub(crate) fn owner(&self, database: &str) -> postgres::Client {
        client(self.port, database, "postgres", OWNER_PASSWORD).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.order(Order::End);
    }
}

fn user(name: &str) -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line =
        passwd.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("PostgreSQL's package makes a user");
    let fields: Vec<_> = line.split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

/// Has the server as its child, from a thread that lives as long.
fn keep(program: &Path, folder: &Path, port: u16, to_do: &mpsc::Receiver<(Order, mpsc::Sender<()>)>) {
    let mut child: Option<Child> = None;
    for (order, done) in to_do {
        if order == Order::Start {
            let log = fs::File::create(folder.join("log")).unwrap();
            let begun = unprivileged(program)
                .arg("-D")
                .arg(folder.join("data"))
                .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60"])
                .args(["-c", &format!("unix_socket_directories={}", folder.display()), "-c", "fsync=off"])
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            child = Some(begun);
            let until = Instant::now() + Duration::from_mins(1);
            while !is_up(port) {
                let mut told = String::new();
                fs::File::open(folder.join("log")).unwrap().read_to_string(&mut told).unwrap();
                assert!(Instant::now() < until, "PostgreSQL does not start: {told}");
                std::thread::sleep(Duration::from_millis(50));
            }
        } else if let Some(mut server) = child.take() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
            if order == Order::Kill {
                kill_all(pid);
            } else {
                let _gone = rustix::process::kill_process(pid, Signal::QUIT);
            }
            let _status = server.wait();
        }
        let _asked = done.send(());
        if order == Order::End {
            return;
        }
    }
}

/// `kill -9` of a server and of all its processes at once: stopped first, so that it makes no more of them.
fn kill_all(pid: rustix::process::Pid) {
    let kill = |pid, signal| {
        let _gone = rustix::process::kill_process(pid, signal);
    };
    kill(pid, Signal::STOP);
    let raw = pid.as_raw_nonzero();
    let below = fs::read_to_string(format!("/proc/{raw}/task/{raw}/children")).unwrap();
    let below = below.split_whitespace().map(|pid| rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap());
    for pid in below.chain([pid]) {
        kill(pid, Signal::KILL);
    }
}

/// A database that a dataset is mirrored in.
pub(crate) enum Db {
    Sqlite(PathBuf),
    Postgres(Arc<Server>, String),
    #[cfg(feature = "mssql")]
    Mssql(crate::mssql::Place),
}

impl Db {
    /// A new one of each sort.
    pub(crate) fn all(sandbox: &Sandbox) -> Vec<Self> {
        let all = Self::both(sandbox).into_iter();
        #[cfg(feature = "mssql")]
        let all = all.chain(crate::mssql::Place::all().into_iter().map(Self::Mssql));
        all.collect()
    }

    /// Of each sort that is always there.
    pub(crate) fn both(sandbox: &Sandbox) -> [Self; 2] {
        [Self::sqlite(sandbox), Self::postgres()]
    }

    pub(crate) fn sqlite(sandbox: &Sandbox) -> Self {
        let path = sandbox.path(format!("mirror{}.db", NAMES.fetch_add(1, Ordering::Relaxed)));
        Self::Sqlite(path)
    }

    pub(crate) fn postgres() -> Self {
        Self::on(Server::shared())
    }

    pub(crate) fn on(server: Arc<Server>) -> Self {
        let name = format!("t{}", NAMES.fetch_add(1, Ordering::Relaxed));
        server.owner("postgres").batch_execute(&format!("CREATE DATABASE {name} OWNER {ROLE}")).unwrap();
        Self::Postgres(server, name)
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(server, name) => format!("postgres://{ROLE}@127.0.0.1:{}/{name}", server.port),
            #[cfg(feature = "mssql")]
            Self::Mssql(place) => place.url(),
        }
    }

    /// The variable with its password.
    pub(crate) fn secret(&self) -> (&'static str, String) {
        #[cfg(feature = "mssql")]
        if let Self::Mssql(place) = self {
            return ("SQLCMDPASSWORD", place.password());
        }
        ("PGPASSWORD", PASSWORD.to_owned())
    }

    /// True if its table is there.
    pub(crate) fn has_table(&self) -> bool {
        match self {
            Self::Sqlite(path) => path.exists(),
            Self::Postgres(..) => self.ask("SELECT to_regclass('lake.\"RawExchangeRecord\"')::text") != ["NULL"],
            #[cfg(feature = "mssql")]
            Self::Mssql(place) => place.has_table(),
        }
    }

    /// The table that a dataset has unless told otherwise.
    pub(crate) fn table(&self) -> &'static str {
        if self.is_sqlite() { "\"RawExchangeRecord\"" } else { "lake.\"RawExchangeRecord\"" }
    }

    pub(crate) fn client(&self) -> postgres::Client {
        let Self::Postgres(server, name) = self else { panic!("that is not PostgreSQL") };
        client(server.port, name, ROLE, PASSWORD).unwrap()
    }

    /// Does something; `TABLE` stands for the table.
    pub(crate) fn run(&self, statements: &str) {
        let with_table = statements.replace("TABLE_", self.table());
        match self {
            Self::Sqlite(path) => rusqlite::Connection::open(path).unwrap().execute_batch(&with_table).unwrap(),
            Self::Postgres(..) => self.client().batch_execute(&with_table).unwrap(),
            #[cfg(feature = "mssql")]
            Self::Mssql(place) => place.run(statements),
        }
    }

    /// What a question of one column, of text, gives.
    pub(crate) fn ask(&self, question: &str) -> Vec<String> {
        let with_table = question.replace("TABLE_", self.table());
        match self {
            Self::Sqlite(path) => ask_sqlite(&rusqlite::Connection::open(path).unwrap(), &with_table),
            Self::Postgres(..) => {
                let rows = self.client().query(&with_table, &[]).unwrap();
                rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".to_owned())).collect()
            }
            #[cfg(feature = "mssql")]
            Self::Mssql(place) => place.ask(question),
        }
    }

    /// `key=v`, of each row, in order of the keys: of records as [`crate::record_sets::record`] makes them with `{"v": …}`.
    pub(crate) fn rows(&self) -> Vec<String> {
        #[cfg(feature = "mssql")]
        if let Self::Mssql(place) = self {
            return place.rows();
        }
        let payload = if self.is_postgres() {
            "(payload_json::json -> 'response' ->> 'v')"
        } else {
            "json_extract(payload_json, '$.response.v')"
        };
        let mut rows =
            self.ask(&format!("SELECT coalesce(natural_key, '-') || '=' || coalesce({payload}, '?') FROM TABLE_"));
        rows.sort();
        rows
    }

    /// All that is in the table but for the times of its changes, a text for each row.
    pub(crate) fn dump(&self) -> Vec<String> {
        #[cfg(feature = "mssql")]
        if let Self::Mssql(place) = self {
            return place.dump();
        }
        let texts: Vec<_> =
            COLUMNS.split(' ').map(|column| format!("coalesce(cast({column} AS text), 'NULL')")).collect();
        let mut rows = self.ask(&format!("SELECT {} FROM TABLE_", texts.join(" || '|' || ")));
        rows.sort();
        rows
    }

    /// A table in the form of the other system's, as somebody may have made it here.
    pub(crate) fn make_old_table(&self) {
        #[cfg(feature = "mssql")]
        if let Self::Mssql(place) = self {
            return place.make_old_table();
        }
        if self.is_sqlite() {
            self.run(
                "CREATE TABLE RawExchangeRecord (exchange_id TEXT PRIMARY KEY, exchange_type NVARCHAR(50) NOT NULL,
                 source_system NVARCHAR(100) NOT NULL COLLATE NOCASE, entity_type NVARCHAR(100) NOT NULL,
                 natural_key NVARCHAR(500) NULL COLLATE NOCASE, observed_at_utc DATETIME2 NOT NULL,
                 content_sha256 CHAR(64) NOT NULL UNIQUE CHECK (length(content_sha256) = 64),
                 payload_json NVARCHAR(4000) NOT NULL, schema_version INT NOT NULL DEFAULT 1,
                 created_at_utc TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at_utc TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            );
        } else {
            // Nobody quoted its name, and texts are no JSON here.
            self.run(
                "CREATE SCHEMA lake; CREATE TABLE lake.RawExchangeRecord (exchange_id UUID PRIMARY KEY, exchange_type VARCHAR(50) NOT NULL,
                 source_system VARCHAR(100) NOT NULL, entity_type VARCHAR(100) NOT NULL, natural_key VARCHAR(500) NULL,
                 observed_at_utc TIMESTAMP NOT NULL, content_sha256 CHAR(64) NOT NULL UNIQUE CHECK (length(content_sha256) = 64),
                 payload_json TEXT NOT NULL, schema_version INT NOT NULL DEFAULT 1,
                 created_at_utc TIMESTAMP NOT NULL DEFAULT now(), updated_at_utc TIMESTAMP NOT NULL DEFAULT now());
                 SET search_path TO lake; CREATE VIEW \"RawExchangeRecord\" AS SELECT * FROM RawExchangeRecord",
            );
        }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Self::Postgres(server, name) = self
            && !std::thread::panicking()
        {
            let dropped = client(server.port, "postgres", "postgres", OWNER_PASSWORD)
                .and_then(|mut owner| owner.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")));
            // A server that a test has killed has none any more.
            drop(dropped);
        }
    }
}

/// What a question of one column gives.
pub(crate) fn ask_sqlite(connection: &rusqlite::Connection, question: &str) -> Vec<String> {
    let mut statement = connection.prepare(question).unwrap();
    let rows = statement.query_map([], |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_else(|| "NULL".to_owned())));
    rows.unwrap().map(Result::unwrap).collect()
}

/// `larder sync pages` with a database.
pub(crate) fn sync(sandbox: &Sandbox, db: &Db, arguments: &[&str]) -> Ran {
    Ran::of(&mut syncing(sandbox, db, arguments))
}

/// The same, ready to be run.
pub(crate) fn syncing(sandbox: &Sandbox, db: &Db, arguments: &[&str]) -> Command {
    syncing_dataset(sandbox, "pages", db, arguments)
}

/// The same with another dataset.
pub(crate) fn syncing_dataset(sandbox: &Sandbox, dataset: &str, db: &Db, arguments: &[&str]) -> Command {
    let mut command = sandbox.client().larder(&sandbox.store());
    let (variable, password) = db.secret();
    command.args(["sync", dataset, "--sql", &db.url()]).args(arguments).env(variable, password);
    command
}
