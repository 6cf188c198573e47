//! SQLite: a file.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, TransactionBehavior, params};
use rustix::fs::FlockOperation;

use crate::records::RecordHash;

use super::error::SqlError;
use super::statements::sqlite as say;
use super::table::{Change, Head, Payload, Row, Scope, TableNames, Written};
use super::{Database, Opening};

/// KiB of pages that are kept in memory.
const CACHE: i64 = 48 << 10;
/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Sqlite {
    connection: Connection,
    /// Held while the connection is open, and let go behind it: to close a file takes all of SQLite's own locks away. Nothing if there is no file.
    _lock: Option<File>,
    shown: String,
    names: TableNames,
    /// What the table is called; nothing if it is not there.
    found: Option<TableNames>,
    touched: bool,
}

impl Sqlite {
    pub(super) fn open(
        path: &Path,
        names: TableNames,
        opening: Opening,
        wait: &dyn Fn() -> bool,
    ) -> Result<Self, SqlError> {
        let shown = format!("sqlite:{}", path.display());
        let connect = |why: String| SqlError::Connect { database: shown.clone(), why };
        let file =
            OpenOptions::new().read(true).write(opening.create).create(opening.create).truncate(false).open(path);
        let lock = match file {
            Ok(file) => Some(file),
            Err(e) if e.kind() == ErrorKind::NotFound && !opening.create => None,
            Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                return Err(SqlError::Rights { database: shown, why: e.to_string() });
            }
            Err(e) => return Err(connect(e.to_string())),
        };
        while let Some(lock) = &lock
            && let Err(e) = rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive)
        {
            if e != rustix::io::Errno::WOULDBLOCK {
                return Err(connect(e.to_string()));
            }
            if !wait() {
                return Err(SqlError::Locked(shown));
            }
            std::thread::sleep(PAUSE);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match lock {
            Some(_) => Connection::open_with_flags(path, flags),
            None => Connection::open_in_memory(),
        };
        let connection = connection.map_err(|e| connect(e.to_string()))?;
        let mut this = Self { connection, _lock: lock, shown, names, found: None, touched: false };
        this.prepare(opening).map_err(|e| this.failed(&e))?;
        this.find()?;
        Ok(this)
    }

    fn prepare(&self, opening: Opening) -> rusqlite::Result<()> {
        self.connection.busy_timeout(opening.timeout)?;
        self.connection.pragma_update(None, "cache_size", -CACHE)
    }

    fn failed(&self, e: &rusqlite::Error) -> SqlError {
        let (database, why) = (self.shown.clone(), e.to_string());
        match e.sqlite_error_code() {
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                SqlError::Rights { database, why }
            }
            _ => SqlError::Failed { database, why },
        }
    }

    /// Looks for the table and its columns. SQLite's names are the same in whatever case.
    fn find(&mut self) -> Result<(), SqlError> {
        let columns = self.columns().map_err(|e| self.failed(&e))?;
        if columns.is_empty() {
            self.found = None;
            return Ok(());
        }
        let has = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        if let Some(missing) = self.names.columns().into_iter().find(|name| !has(name)) {
            let (database, table) = (self.shown.clone(), self.names.table.clone());
            return Err(SqlError::NoColumn { database, table, column: missing.to_owned() });
        }
        self.touched = has("updated_at_utc");
        self.found = Some(self.names.clone());
        Ok(())
    }

    fn columns(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([&self.names.table], |row| row.get(0))?;
        names.collect()
    }

    fn table(&self) -> Result<&TableNames, SqlError> {
        self.found.as_ref().ok_or_else(|| self.no_table())
    }
}

/// A text, or a number as text; nothing else is one.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Null => None,
    }
}

impl Database for Sqlite {
    fn shown(&self) -> String {
        format!("{}, table {}", self.shown, self.names.table)
    }

    fn has_table(&self) -> bool {
        self.found.is_some()
    }

    fn no_table(&self) -> SqlError {
        SqlError::NoTable { database: self.shown.clone(), table: self.names.table.clone() }
    }

    fn create(&mut self) -> Result<(), SqlError> {
        if self.found.is_some() {
            return Ok(());
        }
        self.names.can_be_made()?;
        // Here all indexes come with the table: nothing else keeps others from putting a content in twice.
        let mut all = vec!["BEGIN IMMEDIATE".to_owned(), say::create(&self.names)];
        all.extend(say::indexes(&self.names));
        all.push("COMMIT".to_owned());
        self.connection.execute_batch(&all.join(";\n")).map_err(|e| self.failed(&e))?;
        self.find()
    }

    fn index(&mut self) -> Result<(), SqlError> {
        let indexes = say::indexes(self.table()?).join(";\n");
        self.connection.execute_batch(&indexes).map_err(|e| self.failed(&e))
    }

    fn scan(&mut self, scope: &Scope, each: &mut dyn FnMut(Head<'_>) -> ControlFlow<()>) -> Result<(), SqlError> {
        let scan = say::scan(self.table()?);
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare(&scan)?;
            let mut rows = statement.query([&scope.source, &scope.entity])?;
            while let Some(row) = rows.next()? {
                let key = match row.get_ref(1)? {
                    ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
                    other => text(other),
                };
                let hash = text(row.get_ref(0)?).unwrap_or_default();
                if each(Head { hash: &hash, key: key.as_deref() }).is_break() {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|e| self.failed(&e))
    }

    fn count(&mut self, scope: &Scope) -> Result<u64, SqlError> {
        let count = say::count(self.table()?);
        let counted = self.connection.query_row(&count, [&scope.source, &scope.entity], |row| row.get::<_, i64>(0));
        counted.map(i64::cast_unsigned).map_err(|e| self.failed(&e))
    }

    fn is_empty(&mut self) -> Result<bool, SqlError> {
        let ask = say::any(self.table()?);
        let asked = self.connection.query_row(&ask, [], |row| row.get::<_, bool>(0));
        asked.map(|any| !any).map_err(|e| self.failed(&e))
    }

    fn payloads(&mut self, hashes: &[RecordHash]) -> Result<Vec<Payload>, SqlError> {
        let ask = say::payload(self.table()?);
        let read = || -> rusqlite::Result<Vec<Payload>> {
            let (mut statement, mut found) = (self.connection.prepare(&ask)?, Vec::new());
            for hash in hashes {
                let hash = hash.to_string();
                let mut rows = statement.query([&hash])?;
                while let Some(row) = rows.next()? {
                    let text = text(row.get_ref(0)?).unwrap_or_default();
                    found.push(Payload { hash: hash.clone(), text });
                }
            }
            Ok(found)
        };
        read().map_err(|e| self.failed(&e))
    }

    fn write(&mut self, changes: &[Change]) -> Result<Vec<Written>, SqlError> {
        let names = self.table()?;
        let [insert, update, ask] = [say::insert(names), say::update(names, self.touched), say::payload(names)];
        let mut write = || -> rusqlite::Result<Vec<Written>> {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut written = Vec::with_capacity(changes.len());
            {
                let mut insert = transaction.prepare(&insert)?;
                let mut update = transaction.prepare(&update)?;
                let mut ask = transaction.prepare(&ask)?;
                for change in changes {
                    written.push(one(change, &mut insert, &mut update, &mut ask)?);
                }
            }
            transaction.commit()?;
            Ok(written)
        };
        write().map_err(|e| self.failed(&e))
    }
}

/// Writes a row. What a row's own values forbid is its outcome; all else is an error.
fn one(
    change: &Change,
    insert: &mut Statement<'_>,
    update: &mut Statement<'_>,
    ask: &mut Statement<'_>,
) -> rusqlite::Result<Written> {
    let hash = change.row.hash.to_string();
    let mut write = |id: &str| {
        let Row { exchange_type, source, entity, key, observed, payload, version, .. } = &change.row;
        match change.replaces {
            None => insert.execute(params![id, exchange_type, source, entity, key, observed, hash, payload, version]),
            Some(old) => update.execute(params![
                id,
                exchange_type,
                source,
                entity,
                key,
                observed,
                hash,
                payload,
                version,
                old.to_string()
            ]),
        }
    };
    let mut outcome = write(&change.row.exchange_id);
    if matches!(&outcome, Err(e) if refusal(e).is_some()) {
        if ask.exists([&hash])? {
            return Ok(Written::There);
        }
        // Its id may be another row's.
        if outcome.as_ref().is_err_and(is_twice) {
            outcome = write(&change.row.id_of_content());
        }
    }
    match outcome {
        Ok(0) => Ok(Written::Gone),
        Ok(_) => Ok(Written::Done),
        Err(e) => refusal(&e).map(Written::Refused).ok_or(e),
    }
}

/// What the table says against a row.
fn refusal(e: &rusqlite::Error) -> Option<String> {
    match e {
        rusqlite::Error::SqliteFailure(code, message)
            if matches!(code.code, ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) =>
        {
            Some(message.clone().unwrap_or_else(|| e.to_string()))
        }
        _ => None,
    }
}

fn is_twice(e: &rusqlite::Error) -> bool {
    /// `SQLITE_CONSTRAINT_PRIMARYKEY`, `SQLITE_CONSTRAINT_UNIQUE`.
    const TWICE: [i32; 2] = [1555, 2067];
    e.sqlite_extended_error_code().is_some_and(|code| TWICE.contains(&code))
}
