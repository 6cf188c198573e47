//! SQLite: a file.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Statement, TransactionBehavior, params};
use rustix::fs::{FlockOperation, OFlags};

use crate::records::RecordHash;

use super::error::SqlError;
use super::place::{Found, Place};
use super::statements::{quoted, sqlite as say};
use super::table::{Change, Head, PASSED_OVER, Payload, Row, Scope, TableNames, Written};
use super::{Database, Opening};

/// KiB of pages that are kept in memory.
const CACHE: i64 = 48 << 10;
/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Sqlite {
    connection: Connection,
    /// Held while the connection is open, and let go behind it: to close a file takes all of SQLite's own locks away. Nothing if there is no file.
    _lock: Option<File>,
    place: Place,
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
        let mut how = OpenOptions::new();
        how.read(true).write(opening.create).create(opening.create).truncate(false);
        // What is no file keeps nobody waiting.
        how.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let lock = match how.open(path) {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => Some(file),
            Ok(_) => return Err(connect("that is no file".to_owned())),
            Err(e) if e.kind() == ErrorKind::IsADirectory => return Err(connect("that is no file".to_owned())),
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
        // There are no schemas.
        let place = Place::new(&shown, names.table.clone(), names);
        let mut this = Self { connection, _lock: lock, place };
        this.prepare(opening).map_err(|e| this.failed(&e))?;
        this.find()?;
        Ok(this)
    }

    fn prepare(&self, opening: Opening) -> rusqlite::Result<()> {
        self.connection.busy_timeout(opening.timeout)?;
        self.connection.pragma_update(None, "cache_size", -CACHE)
    }

    fn failed(&self, e: &rusqlite::Error) -> SqlError {
        let why = e.to_string();
        match e.sqlite_error_code() {
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => self.place.rights(why),
            _ => self.place.failed(why),
        }
    }

    /// Looks for the table and its columns. SQLite's names are the same in whatever case.
    fn find(&mut self) -> Result<(), SqlError> {
        let (sort, columns, unique) = self.look().map_err(|e| self.failed(&e))?;
        self.place.found = None;
        match sort.as_deref() {
            None => return Ok(()),
            Some("table") => {}
            Some(sort) => return Err(self.place.is_no_table(sort)),
        }
        let type_of = |wanted: &str| {
            let named = columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            named.map(|(_, of)| of.clone())
        };
        let table = self.place.names.table.clone();
        let columns = self.place.columns(table.clone(), type_of)?;
        self.place.found = Some(Found { name: quoted(&table), columns, unique });
        Ok(())
    }

    /// What has the table's name, its columns, each with its type, and whether there is a unique index of hashes alone.
    fn look(&self) -> rusqlite::Result<(Option<String>, Vec<(String, String)>, bool)> {
        let TableNames { table, hash, .. } = &self.place.names;
        let sort = self.connection.query_row(
            "SELECT type FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE",
            [table],
            |row| row.get(0),
        );
        let mut statement = self.connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
        let columns = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut statement = self.connection.prepare(
            "SELECT 1 FROM pragma_index_list(?1) AS i, pragma_index_info(i.name) AS c
             WHERE i.\"unique\" AND NOT i.partial AND c.name = ?2 COLLATE NOCASE
             AND (SELECT count(*) FROM pragma_index_info(i.name)) = 1",
        )?;
        Ok((sort.optional()?, columns, statement.exists([table, hash])?))
    }

    /// What the table and its columns are called, if it is there.
    fn names(&self) -> Result<&TableNames, SqlError> {
        self.place.table().map(|_| &self.place.names)
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
    fn place(&self) -> &Place {
        &self.place
    }

    fn make(&mut self) -> Result<(), SqlError> {
        // Here all indexes come with the table: nothing else keeps others from putting a content in twice.
        let names = &self.place.names;
        let mut all = vec!["BEGIN IMMEDIATE".to_owned(), say::create(names)];
        all.extend(say::indexes(names));
        all.push("COMMIT".to_owned());
        self.connection.execute_batch(&all.join(";\n")).map_err(|e| self.failed(&e))?;
        self.find()
    }

    fn index(&mut self) -> Result<Vec<String>, SqlError> {
        let indexes = say::indexes(self.names()?).join(";\n");
        self.connection.execute_batch(&indexes).map_err(|e| self.failed(&e))?;
        self.find()?;
        Ok(Vec::new())
    }

    fn scan(&mut self, scope: &Scope, each: &mut dyn FnMut(Head<'_>) -> ControlFlow<()>) -> Result<(), SqlError> {
        let scan = say::scan(self.names()?);
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
        let count = say::count(self.names()?);
        let counted = self.connection.query_row(&count, [&scope.source, &scope.entity], |row| row.get::<_, i64>(0));
        counted.map(i64::cast_unsigned).map_err(|e| self.failed(&e))
    }

    fn is_empty(&mut self) -> Result<bool, SqlError> {
        let ask = say::any(self.names()?);
        let asked = self.connection.query_row(&ask, [], |row| row.get::<_, bool>(0));
        asked.map(|any| !any).map_err(|e| self.failed(&e))
    }

    fn payloads(&mut self, hashes: &[RecordHash]) -> Result<Vec<Payload>, SqlError> {
        let ask = say::payload(self.names()?);
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
        let (names, touched) = (self.names()?, self.place.table()?.columns.touched);
        let [insert, update, ask] = [say::insert(names), say::update(names, touched), say::payload(names)];
        let mut write = || -> rusqlite::Result<Vec<Written>> {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut written = Vec::with_capacity(changes.len());
            {
                let mut insert = transaction.prepare(&insert)?;
                let mut update = transaction.prepare(&update)?;
                let mut ask = transaction.prepare(&ask)?;
                for change in changes {
                    let outcome = one(change, &mut insert, &mut update, &mut ask)?;
                    if transaction.is_autocommit() {
                        return Err(ended(change, outcome));
                    }
                    written.push(outcome);
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
        Ok(0) if change.replaces.is_none() => Ok(Written::Refused(PASSED_OVER.to_owned())),
        Ok(0) => Ok(Written::Gone),
        Ok(_) => Ok(Written::Done),
        Err(e) => refusal(&e).map(Written::Refused).ok_or(e),
    }
}

/// That a row has ended the transaction, as a trigger may have it do.
fn ended(change: &Change, outcome: Written) -> rusqlite::Error {
    let why = if let Written::Refused(why) = outcome { why } else { "the transaction was taken back".to_owned() };
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
    let hash = &change.row.hash.to_string()[..16];
    rusqlite::Error::SqliteFailure(code, Some(format!("{why}: the record {hash} takes back what goes in with it")))
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
