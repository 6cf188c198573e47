//! A session with SQL Server. Its protocol comes from a library that is asynchronous; below it lies a socket that blocks, so that nothing is ever pending and whoever asks
//! does all the work, without a runtime.

use std::borrow::Cow;
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::ControlFlow;
use std::time::Duration;

use futures_executor::block_on;
use futures_util::TryStreamExt;
use futures_util::io::AllowStdIo;
use rustix::net::sockopt;
use tiberius::error::Error;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, ToSql};

use crate::records::RecordHash;

use super::super::error::SqlError;
use super::super::place::{Columns, Found, Place};
use super::super::table::{Change, HASH, Head, ID, Payload, Row, Scope, TableNames, Written};
use super::super::{Database, Opening};
use super::server::Server;
use super::statements as say;

/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(100);
/// Silence after which it is asked whether the server's machine is still there.
const SILENCE: Duration = Duration::from_mins(1);
/// Bytes that go to the server at a time.
const PACKET: u32 = 16 << 10;
/// A row's value that is there already, in an index without a condition and in a key.
const TWICE: [u32; 2] = [2601, 2627];
/// What a row's own values are refused for: they do not fit the column's type, are too long, are missing, break a constraint.
const OF_A_ROW: [u32; 16] =
    [220, 241, 242, 244, 245, 511, 515, 547, 1946, 2628, 8114, 8115, 8152, 8169, TWICE[0], TWICE[1]];
/// Of these the messages without the row's values: those may be what is in no log.
const TOLD: [u32; 3] = [515, 547, 8152];

type Wire = Client<AllowStdIo<TcpStream>>;
/// A parameter; nothing is NULL.
type Value<'a> = Option<Cow<'a, str>>;

pub(in crate::sql) struct Mssql {
    wire: Wire,
    place: Place,
}

/// Says something that gives no rows.
fn say(wire: &mut Wire, text: &str) -> Result<(), Error> {
    block_on(async { wire.simple_query(text).await?.into_results().await }).map(drop)
}

/// The rows that a question gives.
fn ask(wire: &mut Wire, question: &str, values: &[Value<'_>]) -> Result<Vec<tiberius::Row>, Error> {
    let values: Vec<_> = values.iter().map(|value| value as &dyn ToSql).collect();
    let results = block_on(async { wire.query(question, &values).await?.into_results().await })?;
    Ok(results.into_iter().flatten().collect())
}

/// How many rows a statement has changed.
fn run(wire: &mut Wire, statement: &str, values: &[Value<'_>]) -> Result<u64, Error> {
    let values: Vec<_> = values.iter().map(|value| value as &dyn ToSql).collect();
    Ok(block_on(wire.execute(statement, &values))?.total())
}

/// What a column of texts has.
fn text(row: &tiberius::Row, column: usize) -> Result<String, Error> {
    Ok(row.try_get::<&str, _>(column)?.unwrap_or_default().to_owned())
}

/// What the server said.
fn told(e: &Error) -> String {
    match e {
        Error::Server(said) => said.message().to_owned(),
        Error::Io { message, .. } => message.clone(),
        e => e.to_string(),
    }
}

/// What it said of a row, without the row.
fn of_a_row(e: &Error) -> String {
    match e.code() {
        Some(number) if TOLD.contains(&number) => told(e),
        Some(2628) => "a value is too long for its column".to_owned(),
        Some(number) if TWICE.contains(&number) => "another row has a value that must be there once".to_owned(),
        Some(number) => format!("a value does not fit its column (error {number} of SQL Server)"),
        None => told(e),
    }
}

fn reach(server: &Server, timeout: Duration) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn log_in(server: &Server, timeout: Duration) -> Result<Wire, String> {
    let silent = || format!("no answer within {} seconds", timeout.as_secs());
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => silent(),
        _ => e.to_string(),
    };
    let prepared = || {
        let stream = reach(server, timeout)?;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, SILENCE)?;
        // The server may take the connection and say nothing.
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok((stream.try_clone()?, stream))
    };
    let (socket, stream) = prepared().map_err(failed)?;
    let mut config = Config::new();
    config.host(&server.host);
    config.port(server.port);
    config.database(&server.database);
    config.application_name("larder");
    let password = server.password.as_ref().map_or("", |password| password.as_str());
    config.authentication(AuthMethod::sql_server(&server.user, password));
    config.encryption(EncryptionLevel::NotSupported);
    config.packet_size(PACKET);
    config.lossy_utf16_decoding(true);
    // Its clocks look at what is pending, which is nothing.
    config.handshake_timeout(None);
    config.command_timeout(None);
    let wire = block_on(Client::connect(config, AllowStdIo::new(stream)));
    let wire = wire.map_err(|e| match e {
        Error::Io { kind: std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock, .. } => silent(),
        Error::Server(_) => told(&e),
        e => format!("{}; a server that asks for TLS, which Larder does not speak, ends the connection", told(&e)),
    })?;
    // A statement takes as long as it takes.
    socket.set_read_timeout(None).and_then(|()| socket.set_write_timeout(None)).map_err(failed)?;
    Ok(wire)
}

impl Mssql {
    pub(in crate::sql) fn open(
        server: &Server,
        names: TableNames,
        opening: Opening,
        wait: &dyn Fn() -> bool,
    ) -> Result<Self, SqlError> {
        let connect = |why| SqlError::Connect { database: server.shown().to_owned(), why };
        let wire = log_in(server, opening.timeout).map_err(connect)?;
        let mut this = Self { wire, place: Place::new(server.shown(), names.shown(), names) };
        say(&mut this.wire, &say::settings(opening.timeout.as_millis())).map_err(|e| this.failed(&e))?;
        this.lock(wait)?;
        this.find()?;
        Ok(this)
    }

    fn failed(&self, e: &Error) -> SqlError {
        self.place.failed(told(e))
    }

    fn ask(&mut self, question: &str, values: &[Value<'_>]) -> Result<Vec<tiberius::Row>, SqlError> {
        ask(&mut self.wire, question, values).map_err(|e| self.failed(&e))
    }

    /// Takes the lock on the table: its name follows from the table's. It ends with the session.
    fn lock(&mut self, wait: &dyn Fn() -> bool) -> Result<(), SqlError> {
        let digest: String = self.place.lock()[..16].iter().map(|b| format!("{b:02x}")).collect();
        let name = [Some(format!("larder sync {digest}").into())];
        loop {
            let rows = self.ask(say::LOCK, &name)?;
            let got = rows.first().map_or(Ok(None), |row| row.try_get::<i32, _>(0)).map_err(|e| self.failed(&e))?;
            if got.is_some_and(|got| got >= 0) {
                return Ok(());
            }
            if !wait() {
                return Err(SqlError::Locked(self.shown()));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Looks for the table and its columns. Whether the case of names counts is the database's affair.
    fn find(&mut self) -> Result<(), SqlError> {
        self.place.found = None;
        let wanted = say::table(&self.place.names.schema, &self.place.names.table);
        let columns = self.ask(say::COLUMNS, &[Some(wanted.into())])?;
        let columns: Result<Vec<[String; 4]>, Error> =
            columns.iter().map(|row| Ok([text(row, 0)?, text(row, 1)?, text(row, 2)?, text(row, 3)?])).collect();
        let columns = columns.map_err(|e| self.failed(&e))?;
        let Some([schema, table, ..]) = columns.first() else { return Ok(()) };
        let type_of = |wanted: &str| {
            let exactly = columns.iter().find(|column| column[2] == wanted);
            let named = exactly.or_else(|| columns.iter().find(|column| column[2].eq_ignore_ascii_case(wanted)));
            named.map(|column| column[3].clone())
        };
        let name = say::table(schema, table);
        let columns = self.place.columns(format!("{schema}.{table}"), type_of)?;
        let hash = self.place.names.hash.clone();
        let unique = !self.ask(say::UNIQUE, &[Some(name.as_str().into()), Some(hash.into())])?.is_empty();
        self.place.found = Some(Found { name, columns, unique });
        Ok(())
    }

    /// Does something in a transaction.
    fn whole<T>(&mut self, work: impl FnOnce(&mut Wire) -> Result<T, Error>) -> Result<T, SqlError> {
        let wire = &mut self.wire;
        let done =
            say(wire, say::BEGIN).and_then(|()| work(wire)).and_then(|done| say(wire, say::COMMIT).map(|()| done));
        if done.is_err() {
            let _told_by_the_error = say(wire, say::ROLLBACK);
        }
        done.map_err(|e| self.failed(&e))
    }
}

impl Database for Mssql {
    fn place(&self) -> &Place {
        &self.place
    }

    fn make(&mut self) -> Result<(), SqlError> {
        let names = self.place.names.clone();
        self.whole(|wire| {
            if ask(wire, say::SCHEMA, &[Some(names.schema.as_str().into())])?.is_empty() {
                say(wire, &say::create_schema(&names))?;
            }
            say(wire, &say::create(&names))
        })?;
        self.find()
    }

    fn index(&mut self) -> Result<Vec<String>, SqlError> {
        for index in say::indexes(&self.place.names, &self.place.table()?.name) {
            say(&mut self.wire, &index).map_err(|e| self.failed(&e))?;
        }
        self.find()?;
        Ok(Vec::new())
    }

    fn scan(&mut self, scope: &Scope, each: &mut dyn FnMut(Head<'_>) -> ControlFlow<()>) -> Result<(), SqlError> {
        let scan = say::scan(&self.place.names, &self.place.table()?.name);
        let wire = &mut self.wire;
        let read = block_on(async {
            let values: [&dyn ToSql; 2] = [&scope.source, &scope.entity];
            let mut rows = wire.query(scan, &values).await?.into_row_stream();
            while let Some(row) = rows.try_next().await? {
                let (hash, key): (Option<&str>, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
                if each(Head { hash: hash.unwrap_or_default(), key }).is_break() {
                    break;
                }
            }
            Ok(())
        });
        read.map_err(|e| self.failed(&e))
    }

    fn count(&mut self, scope: &Scope) -> Result<u64, SqlError> {
        let count = say::count(&self.place.table()?.name);
        let rows = self.ask(&count, &[Some((&scope.source).into()), Some((&scope.entity).into())])?;
        let counted = rows.first().map_or(Ok(None), |row| row.try_get::<i64, _>(0)).map_err(|e| self.failed(&e))?;
        Ok(counted.unwrap_or(0).cast_unsigned())
    }

    fn is_empty(&mut self) -> Result<bool, SqlError> {
        let ask = say::any(&self.place.table()?.name);
        Ok(self.ask(&ask, &[])?.is_empty())
    }

    fn payloads(&mut self, hashes: &[RecordHash]) -> Result<Vec<Payload>, SqlError> {
        let found = self.place.table()?.clone();
        let mut payloads = Vec::with_capacity(hashes.len());
        for hashes in hashes.chunks(say::HASHES) {
            let question = say::payloads(&self.place.names, &found.name, &found.columns.types[HASH], hashes.len());
            let values: Vec<Value<'_>> = hashes.iter().map(|hash| Some(hash.to_string().into())).collect();
            for row in self.ask(&question, &values)? {
                let payload = text(&row, 0).and_then(|hash| Ok(Payload { hash, text: text(&row, 1)? }));
                payloads.push(payload.map_err(|e| self.failed(&e))?);
            }
        }
        Ok(payloads)
    }

    fn write(&mut self, changes: &[Change]) -> Result<Vec<Written>, SqlError> {
        let (names, found) = (self.place.names.clone(), self.place.table()?.clone());
        self.whole(|wire| {
            let mut batch = Batch { wire, names: &names, found: &found, written: vec![Written::Done; changes.len()] };
            let mut new = Vec::new();
            // What makes room goes first.
            for (at, change) in changes.iter().enumerate() {
                if change.replaces.is_some() { batch.replace(at, change)? } else { new.push((at, change)) }
            }
            new.chunks(say::ROWS).try_for_each(|rows| batch.put(rows))?;
            Ok(batch.written)
        })
    }
}

/// A batch on its way. A statement that is refused for a row's sake has changed nothing, and leaves the transaction as it was.
struct Batch<'a> {
    wire: &'a mut Wire,
    names: &'a TableNames,
    found: &'a Found,
    written: Vec<Written>,
}

impl Batch<'_> {
    fn replace(&mut self, at: usize, change: &Change) -> Result<(), Error> {
        self.written[at] = match self.one(change, false) {
            Ok(written) => written,
            Err(e) => self.refused(change, e)?,
        };
        Ok(())
    }

    /// Writes further rows. If one of them is refused, each half is tried by itself.
    fn put(&mut self, rows: &[(usize, &Change)]) -> Result<(), Error> {
        let e = match self.insert(rows, false) {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        if let [(at, change)] = rows {
            self.written[*at] = self.refused(change, e)?;
            return Ok(());
        }
        self.is_of_a_row(e)?;
        let (front, rest) = rows.split_at(rows.len() / 2);
        self.put(front)?;
        self.put(rest)
    }

    /// The error, if it is of a row and of nothing else, and the transaction still stands.
    fn is_of_a_row(&mut self, e: Error) -> Result<Error, Error> {
        if !e.code().is_some_and(|number| OF_A_ROW.contains(&number)) {
            return Err(e);
        }
        let rows = ask(self.wire, say::STATE, &[])?;
        let stands = rows.first().map_or(Ok(None), |row| row.try_get::<i32, _>(0))? == Some(1);
        if stands { Ok(e) } else { Err(e) }
    }

    /// What becomes of a row that was refused.
    fn refused(&mut self, change: &Change, e: Error) -> Result<Written, Error> {
        let e = self.is_of_a_row(e)?;
        if !e.code().is_some_and(|number| TWICE.contains(&number)) {
            return Ok(Written::Refused(of_a_row(&e)));
        }
        let has = say::has(self.names, &self.found.name, &self.found.columns.types[HASH]);
        if !ask(self.wire, &has, &[Some(change.row.hash.to_string().into())])?.is_empty() {
            return Ok(Written::There);
        }
        // Its id is another row's.
        match self.one(change, true) {
            Ok(written) => Ok(written),
            Err(e) => Ok(Written::Refused(of_a_row(&self.is_of_a_row(e)?))),
        }
    }

    fn one(&mut self, change: &Change, by_content: bool) -> Result<Written, Error> {
        let Some(old) = change.replaces else {
            return self.insert(&[(0, change)], by_content).map(|()| Written::Done);
        };
        let Found { name, columns: Columns { types, touched }, .. } = self.found;
        let update = say::update(self.names, name, types, *touched);
        let mut values = self.values(&change.row, by_content).to_vec();
        values.push(Some(old.to_string().into()));
        Ok(if run(self.wire, &update, &values)? == 0 { Written::Gone } else { Written::Done })
    }

    fn insert(&mut self, rows: &[(usize, &Change)], by_content: bool) -> Result<(), Error> {
        let insert = say::insert(self.names, &self.found.name, &self.found.columns.types, rows.len());
        let values: Vec<_> = rows.iter().flat_map(|(_, change)| self.values(&change.row, by_content)).collect();
        run(self.wire, &insert, &values).map(drop)
    }

    fn values<'r>(&self, row: &'r Row, by_content: bool) -> [Value<'r>; 9] {
        row.fields(by_content, self.found.columns.types[ID] == "uniqueidentifier")
    }
}
