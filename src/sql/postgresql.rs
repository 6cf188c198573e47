//! PostgreSQL: a server. Rows go in by COPY, which reads text as each column's type does, so that tables made by others are filled too.

use std::borrow::Cow;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use crossbeam_channel::bounded;
use memchr::{memchr, memchr3};
use postgres::config::{Host, SslMode};
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, Config, NoTls, Statement, Transaction};

use crate::records::RecordHash;

use super::error::SqlError;
use super::jsonb::keeps;
use super::place::{Found, Place};
use super::statements::{postgresql as say, quoted};
use super::table::{Change, HASH, Head, ID, PASSED_OVER, PAYLOAD, Payload, Row, Scope, TableNames, Written};
use super::{Database, Opening};

/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of rows that go to the server at a time.
const PIECE: usize = 128 << 10;

/// Where a server is, and who asks.
#[derive(Clone)]
pub struct Server {
    config: Config,
    shown: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Server {
    pub(super) fn parse(url: &str, secret: bool) -> Result<Self, SqlError> {
        let refuse = |why: &str| Err(SqlError::Refused(why.to_owned()));
        // What is wrong with it may be in the password: it is not repeated.
        let Ok(config) = url.parse::<Config>() else {
            return refuse("that is no URL of PostgreSQL: postgres://[USER@]HOST[:PORT]/DATABASE[?OPTION=VALUE]");
        };
        // Behind the sign that ends the name and the password there is none: what stands between two is the end of a password, and would be taken for a host's name.
        let place = url.split_once('@').map_or("", |(_, rest)| rest.split('?').next().unwrap_or_default());
        if place.contains('@') {
            return refuse("that is no URL of PostgreSQL: an @ in a name or a password is written as %40");
        }
        if config.get_password().is_some() && !secret {
            return refuse(
                "a password in an argument is seen by all who list processes: it belongs into LARDER_SQL_PASSWORD, PGPASSWORD, \
                 the file of --sql-password-file, or the whole URL into LARDER_SQL",
            );
        }
        let local = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback()),
        };
        let here =
            config.get_hosts().iter().all(local) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback);
        if !here && config.get_ssl_mode() != SslMode::Disable {
            return refuse(
                "Larder speaks no TLS with databases: reach the server through a Unix socket or a tunnel that ends on this machine, \
                 or say ?sslmode=disable if nobody listens on the way",
            );
        }
        if config.get_ssl_mode() == SslMode::Require {
            return refuse("Larder speaks no TLS with databases, and sslmode=require asks for it");
        }
        let shown = shown(&config);
        Ok(Self { config, shown })
    }

    pub(super) fn set_password(&mut self, password: &[u8]) {
        if self.config.get_password().is_none() {
            self.config.password(password);
        }
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

fn shown(config: &Config) -> String {
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(_)) | None => String::new(),
    };
    let port = config.get_ports().first().filter(|_| !host.is_empty()).map(|port| format!(":{port}"));
    let (port, name) = (port.unwrap_or_default(), config.get_dbname().unwrap_or_default());
    format!("postgres://{user}{host}{port}/{name}")
}

pub(super) struct Postgresql {
    client: Client,
    place: Place,
}

/// What the server said, with what it was about.
fn told(e: &postgres::Error) -> String {
    if let Some(said) = e.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", said.message());
    }
    let mut text = e.to_string();
    let mut cause = std::error::Error::source(e);
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    text
}

/// What it said of a row, without the row: that may hold what is in no log.
fn of_a_row(e: &postgres::Error) -> String {
    e.as_db_error().map_or_else(|| e.to_string(), |said| said.message().to_owned())
}

impl Postgresql {
    pub(super) fn open(
        server: &Server,
        names: TableNames,
        opening: Opening,
        wait: &dyn Fn() -> bool,
    ) -> Result<Self, SqlError> {
        let mut config = server.config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(opening.timeout);
        }
        if config.get_application_name().is_none() {
            config.application_name("larder");
        }
        config.tcp_user_timeout(opening.timeout.max(Duration::from_secs(10)));
        let connect = |why| SqlError::Connect { database: server.shown.clone(), why };
        // The crate's own limit is for the connection alone: a server may take it and say nothing.
        let (answer, answered) = bounded(1);
        std::thread::spawn(move || {
            let _nobody_waits = answer.send(config.connect(NoTls));
        });
        let answered = answered.recv_timeout(opening.timeout);
        let answered =
            answered.map_err(|_| connect(format!("no answer within {} seconds", opening.timeout.as_secs())))?;
        let client = answered.map_err(|e| connect(told(&e)))?;
        let mut this = Self { client, place: Place::new(&server.shown, names.shown(), names) };
        this.prepare(opening)?;
        this.lock(wait)?;
        this.find()?;
        Ok(this)
    }

    fn failed(&self, e: &postgres::Error) -> SqlError {
        self.place.failed(told(e))
    }

    fn prepare(&mut self, opening: Opening) -> Result<(), SqlError> {
        let timeout = opening.timeout.as_millis();
        let settings = format!(
            "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO'; SET standard_conforming_strings = on; SET lock_timeout = {timeout}"
        );
        self.client.batch_execute(&settings).map_err(|e| self.failed(&e))
    }

    /// Takes the lock on the table: a number that follows from its name. It ends with the session.
    fn lock(&mut self, wait: &dyn Fn() -> bool) -> Result<(), SqlError> {
        let lock = self.place.lock();
        let number = lock.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        loop {
            let row = self.client.query_one("SELECT pg_try_advisory_lock($1)", &[&number]);
            if row.map_err(|e| self.failed(&e))?.get::<_, bool>(0) {
                return Ok(());
            }
            if !wait() {
                return Err(SqlError::Locked(self.shown()));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Looks for the table and its columns: one of just this name, else one of this name but for letter case, as it is if somebody did not quote it.
    fn find(&mut self) -> Result<(), SqlError> {
        let tables = self.client.query(
            "SELECT n.nspname::text, c.relname::text, c.oid,
             CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' END
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE lower(n.nspname::text) = lower($1) AND lower(c.relname::text) = lower($2)
             AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
             ORDER BY c.relkind IN ('r', 'p') DESC, n.nspname = $1 AND c.relname = $2 DESC, n.nspname, c.relname",
            &[&self.place.names.schema, &self.place.names.table],
        );
        let tables = tables.map_err(|e| self.failed(&e))?;
        let Some(table) = tables.first() else {
            self.place.found = None;
            return Ok(());
        };
        let (schema, name, oid): (String, String, u32) = (table.get(0), table.get(1), table.get(2));
        if let Some(sort) = table.get::<_, Option<&str>>(3) {
            return Err(self.place.is_no_table(sort));
        }
        let columns = self.client.query(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
             WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
            &[&oid],
        );
        let columns = columns.map_err(|e| self.failed(&e))?;
        let type_of = |wanted: &str| {
            let named = columns.iter().find(|row| row.get::<_, &str>(0) == wanted);
            named.map(|row| row.get::<_, String>(1))
        };
        let columns = self.place.columns(format!("{schema}.{name}"), type_of)?;
        let unique = self.client.query_opt(
            "SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname::text = $2
             LIMIT 1",
            &[&oid, &self.place.names.hash],
        );
        let unique = unique.map_err(|e| self.failed(&e))?.is_some();
        self.place.found = Some(Found { name: format!("{}.{}", quoted(&schema), quoted(&name)), columns, unique });
        Ok(())
    }
}

impl Database for Postgresql {
    fn place(&self) -> &Place {
        &self.place
    }

    fn make(&mut self) -> Result<(), SqlError> {
        let make = |client: &mut Client, names: &TableNames| {
            let mut transaction = client.transaction()?;
            // With IF NOT EXISTS alone the right to make schemas would be asked for.
            let there = transaction
                .query_opt("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname::text = $1", &[&names.schema])?;
            if there.is_none() {
                transaction.batch_execute(&format!("CREATE SCHEMA {}", quoted(&names.schema)))?;
            }
            transaction.batch_execute(&say::create(names))?;
            transaction.commit()
        };
        make(&mut self.client, &self.place.names).map_err(|e| self.failed(&e))?;
        self.find()
    }

    fn index(&mut self) -> Result<Vec<String>, SqlError> {
        let name = self.place.table()?.name.clone();
        let mut lacking = Vec::new();
        for index in say::indexes(&self.place.names, &name) {
            match self.client.batch_execute(&index) {
                Err(e) if is_too_large(&e) => lacking.push(told(&e)),
                made => made.map_err(|e| self.failed(&e))?,
            }
        }
        self.client.batch_execute(&format!("ANALYZE {name}")).map_err(|e| self.failed(&e))?;
        self.find()?;
        Ok(lacking)
    }

    fn scan(&mut self, scope: &Scope, each: &mut dyn FnMut(Head<'_>) -> ControlFlow<()>) -> Result<(), SqlError> {
        let scan = say::scan(&self.place.names, &self.place.table()?.name);
        let mut read = || -> Result<(), postgres::Error> {
            let parameters: [&(dyn ToSql + Sync); 2] = [&scope.source, &scope.entity];
            let mut rows = self.client.query_raw(&scan, parameters)?;
            while let Some(row) = rows.next()? {
                let (hash, key): (Option<&str>, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
                if each(Head { hash: hash.unwrap_or_default(), key }).is_break() {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|e| self.failed(&e))
    }

    fn count(&mut self, scope: &Scope) -> Result<u64, SqlError> {
        let count = say::count(&self.place.table()?.name);
        let row = self.client.query_one(&count, &[&scope.source, &scope.entity]).map_err(|e| self.failed(&e))?;
        Ok(row.get::<_, i64>(0).cast_unsigned())
    }

    fn is_empty(&mut self) -> Result<bool, SqlError> {
        let ask = say::any(&self.place.table()?.name);
        let row = self.client.query_one(&ask, &[]).map_err(|e| self.failed(&e))?;
        Ok(!row.get::<_, bool>(0))
    }

    fn payloads(&mut self, hashes: &[RecordHash]) -> Result<Vec<Payload>, SqlError> {
        let table = self.place.table()?;
        let ask = say::payloads(&self.place.names, &table.name, &table.columns.types[HASH]);
        let hashes: Vec<_> = hashes.iter().map(ToString::to_string).collect();
        let rows = self.client.query(&ask, &[&hashes]).map_err(|e| self.failed(&e))?;
        let payload = |row: postgres::Row| {
            let (hash, text): (Option<String>, Option<String>) = (row.get(0), row.get(1));
            Payload { hash: hash.unwrap_or_default(), text: text.unwrap_or_default() }
        };
        Ok(rows.into_iter().map(payload).collect())
    }

    fn write(&mut self, changes: &[Change]) -> Result<Vec<Written>, SqlError> {
        let found = self.place.table()?.clone();
        let mut write = || -> Result<Vec<Written>, postgres::Error> {
            let mut transaction = self.client.transaction()?;
            // Else it would tell only at the end that one of them breaks a constraint, and not which.
            transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
            let mut batch = Batch {
                copy: say::copy(&self.place.names, &found.name),
                standing: say::standing(&self.place.names, &found.name, &found.columns.types[HASH]),
                update: None,
                types: &found.columns.types,
                written: vec![Written::Done; changes.len()],
            };
            let (mut new, mut other) = (Vec::new(), Vec::new());
            for (at, change) in changes.iter().enumerate() {
                if change.replaces.is_some() { other.push((at, change)) } else { new.push((at, change)) }
            }
            if !other.is_empty() {
                let update = say::update(&self.place.names, &found.name, &found.columns.types, found.columns.touched);
                batch.update = Some(transaction.prepare(&update)?);
            }
            // What makes room goes first.
            batch.put(&mut transaction, &other)?;
            batch.put(&mut transaction, &new)?;
            transaction.commit()?;
            Ok(batch.written)
        };
        write().map_err(|e| self.failed(&e))
    }
}

/// A batch on its way.
struct Batch<'a> {
    copy: String,
    standing: String,
    update: Option<Statement>,
    types: &'a [String; 9],
    written: Vec<Written>,
}

impl Batch<'_> {
    /// Writes rows. If one of them is refused all are taken back, and each half is tried by itself.
    fn put(&mut self, outer: &mut Transaction<'_>, rows: &[(usize, &Change)]) -> Result<(), postgres::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut inner = outer.transaction()?;
        let e = match self.send(&mut inner, rows, false) {
            // What a trigger has put into a part of the table counts for none.
            Ok(count) if count == rows.len() as u64 || self.stand(&mut inner, rows)? => return inner.commit(),
            Ok(_) => None,
            Err(e) if is_of_a_row(&e) => Some(e),
            Err(e) => return Err(e),
        };
        inner.rollback()?;
        if let [(at, change)] = rows {
            self.written[*at] = match e {
                Some(e) => self.refused(outer, *at, change, &e)?,
                None => Written::Refused(PASSED_OVER.to_owned()),
            };
            return Ok(());
        }
        let (front, rest) = rows.split_at(rows.len() / 2);
        self.put(outer, front)?;
        self.put(outer, rest)
    }

    /// True if all of them are in the table.
    fn stand(&self, asked: &mut Transaction<'_>, rows: &[(usize, &Change)]) -> Result<bool, postgres::Error> {
        let hashes: Vec<_> = rows.iter().map(|(_, change)| change.row.hash.to_string()).collect();
        let count: i64 = asked.query_one(&self.standing, &[&hashes])?.get(0);
        Ok(count.cast_unsigned() >= rows.len() as u64)
    }

    /// What becomes of a row that was refused.
    fn refused(
        &mut self,
        outer: &mut Transaction<'_>,
        at: usize,
        change: &Change,
        e: &postgres::Error,
    ) -> Result<Written, postgres::Error> {
        if e.code() != Some(&SqlState::UNIQUE_VIOLATION) {
            return Ok(Written::Refused(of_a_row(e)));
        }
        if self.stand(outer, &[(at, change)])? {
            return Ok(Written::There);
        }
        // Its id is another row's.
        let mut inner = outer.transaction()?;
        match self.send(&mut inner, &[(at, change)], true) {
            Ok(_) => {
                inner.commit()?;
                Ok(self.written[at].clone())
            }
            Err(e) if is_of_a_row(&e) => {
                inner.rollback()?;
                Ok(Written::Refused(of_a_row(&e)))
            }
            Err(e) => Err(e),
        }
    }

    /// Sends rows, and gives how many the server has counted.
    fn send(
        &mut self,
        to: &mut Transaction<'_>,
        rows: &[(usize, &Change)],
        by_content: bool,
    ) -> Result<u64, postgres::Error> {
        let Some(update) = self.update.clone().filter(|_| rows.iter().all(|(_, change)| change.replaces.is_some()))
        else {
            let mut writer = to.copy_in(&self.copy)?;
            let mut buffer = Vec::with_capacity(PIECE + (64 << 10));
            for (_, change) in rows {
                for (n, field) in self.fields(&change.row, by_content).iter().enumerate() {
                    if n > 0 {
                        buffer.push(b'\t');
                    }
                    push_field(field.as_deref(), &mut buffer);
                }
                buffer.push(b'\n');
                if buffer.len() >= PIECE {
                    send_piece(&mut writer, &mut buffer);
                }
            }
            send_piece(&mut writer, &mut buffer);
            return writer.finish();
        };
        for (at, change) in rows {
            let fields = self.fields(&change.row, by_content);
            let old = change.replaces.map(|old| old.to_string());
            let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(10);
            parameters.extend(fields.iter().map(|field| field as &(dyn ToSql + Sync)));
            parameters.push(&old);
            let count = to.execute(&update, &parameters)?;
            self.written[*at] = if count == 0 { Written::Gone } else { Written::Done };
        }
        Ok(rows.len() as u64)
    }

    /// A row as texts; a payload that the column would change is one string.
    fn fields<'r>(&self, row: &'r Row, by_content: bool) -> [Option<Cow<'r, str>>; 9] {
        let mut fields = row.fields(by_content, self.types[ID] == "uuid");
        if self.types[PAYLOAD].starts_with("json") && !keeps(&row.payload) {
            fields[PAYLOAD] = Some(serde_json::Value::from(row.payload.as_str()).to_string().into());
        }
        fields
    }
}

/// What fails here fails again when the COPY is finished, and says why there.
fn send_piece(writer: &mut postgres::CopyInWriter<'_>, buffer: &mut Vec<u8>) {
    let _told_at_the_end = writer.write_all(buffer);
    buffer.clear();
}

/// A field in COPY's text format.
fn push_field(field: Option<&str>, out: &mut Vec<u8>) {
    let Some(text) = field else { return out.extend_from_slice(b"\\N") };
    let mut rest = text.as_bytes();
    let has_returns = memchr(b'\r', rest).is_some();
    let next = |rest: &[u8]| {
        if has_returns {
            rest.iter().position(|b| matches!(b, b'\\' | b'\t' | b'\n' | b'\r'))
        } else {
            memchr3(b'\\', b'\t', b'\n', rest)
        }
    };
    while let Some(at) = next(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\\' => b"\\\\",
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            _ => b"\\r",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// True if a value is too large for an index.
fn is_too_large(e: &postgres::Error) -> bool {
    e.code() == Some(&SqlState::PROGRAM_LIMIT_EXCEEDED)
}

/// True of what a row's own values are refused for: they are no data of the column's type (22), break a constraint (23), are too large for an index (54), or a trigger says no
/// (P0001).
fn is_of_a_row(e: &postgres::Error) -> bool {
    e.code().is_some_and(|code| ["22", "23", "54"].contains(&&code.code()[..2]) || *code == SqlState::RAISE_EXCEPTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_copy_reads_them() {
        let field = |text: Option<&str>| {
            let mut out = Vec::new();
            push_field(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(field(None), "\\N");
        assert_eq!(field(Some("\\N")), "\\\\N");
        assert_eq!(field(Some("a\tb\nc\rd\\e é \u{1}")), "a\\tb\\nc\\rd\\\\e é \u{1}");
        assert_eq!(field(Some("")), "");
    }

    #[test]
    fn what_goes_over_the_wire_in_clear() {
        for (url, taken) in [
            ("postgres://a@localhost/d", true),
            ("postgres://a@127.0.0.1:1/d", true),
            ("postgres:///d?host=/run/postgresql", true),
            ("postgres://a@db.example/d", false),
            ("postgres://a@db.example/d?sslmode=disable", true),
            ("postgres://a@localhost/d?sslmode=require", false),
        ] {
            assert_eq!(Server::parse(url, false).is_ok(), taken, "{url}");
        }
    }
}
