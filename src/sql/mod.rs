//! Databases that mirror records: one table in the form of the system that records come from, read in streams and written in transactions.

mod error;
mod jsonb;
mod postgresql;
mod sqlite;
mod statements;
mod table;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

pub use error::SqlError;
pub use table::{Change, Head, Payload, Row, Scope, TableNames, Written};

use crate::records::RecordHash;

use postgresql::Postgresql;
use sqlite::Sqlite;

/// A connection to the database that a table is in. Who has one is alone with that table among those who synchronise, until it is dropped.
pub trait Database: Send {
    /// What and where it is, without secrets.
    fn shown(&self) -> String;

    /// True if the table is there.
    fn has_table(&self) -> bool;

    /// True if nothing keeps a content from standing in it twice.
    fn lacks_index(&self) -> bool {
        false
    }

    /// That it is not.
    fn no_table(&self) -> SqlError;

    /// Makes the table, unless it is there. Its indexes come when it is filled: [`Database::index`].
    ///
    /// # Errors
    /// If the database says no.
    fn create(&mut self) -> Result<(), SqlError>;

    /// Makes the indexes that are not there.
    ///
    /// # Errors
    /// If the database says no: of unique hashes too, if somebody has put one in twice meanwhile.
    fn index(&mut self) -> Result<(), SqlError>;

    /// Gives hash and key of each row of a scope, in any order, until told to stop.
    ///
    /// # Errors
    /// If the table cannot be read.
    fn scan(&mut self, scope: &Scope, each: &mut dyn FnMut(Head<'_>) -> ControlFlow<()>) -> Result<(), SqlError>;

    /// How many rows a scope has.
    ///
    /// # Errors
    /// If the table cannot be read.
    fn count(&mut self, scope: &Scope) -> Result<u64, SqlError>;

    /// True if the table has no rows, whoever's. In doubt it has some.
    ///
    /// # Errors
    /// If the table cannot be read.
    fn is_empty(&mut self) -> Result<bool, SqlError> {
        Ok(false)
    }

    /// What stands in the rows with these hashes, in any order; of a hash that is there several times, all of it.
    ///
    /// # Errors
    /// If the table cannot be read.
    fn payloads(&mut self, hashes: &[RecordHash]) -> Result<Vec<Payload>, SqlError>;

    /// Writes rows, in one transaction, and tells what became of each.
    ///
    /// # Errors
    /// If the database says no to more than one row: then none of them was written.
    fn write(&mut self, changes: &[Change]) -> Result<Vec<Written>, SqlError>;
}

/// Which database.
#[derive(Clone)]
pub enum Target {
    /// A file.
    Sqlite(PathBuf),
    /// A server: what the URL says, with the password.
    Postgresql(Box<postgresql::Server>),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// A file that is not there is made.
    pub create: bool,
    /// What is waited for: a connection, a lock that another program has on rows or tables.
    pub timeout: Duration,
}

impl Target {
    /// Reads `sqlite:PATH` or `postgres://[USER@]HOST[:PORT]/DATABASE`. A URL with a password is read if `secret` says that nobody else has seen it.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(url: &str, secret: bool) -> Result<Self, SqlError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err(SqlError::Refused("sqlite: is followed by the path of a file".to_owned()));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgresql(Box::new(postgresql::Server::parse(url, secret)?)));
        }
        // What was given may hold a password.
        Err(SqlError::Refused("a database is named as sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned()))
    }

    /// With this password, unless the URL has one.
    #[must_use]
    pub fn with_password(mut self, password: Option<Zeroizing<Vec<u8>>>) -> Self {
        if let (Self::Postgresql(server), Some(password)) = (&mut self, password) {
            server.set_password(&password);
        }
        self
    }

    /// What and where it is, without secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgresql(server) => server.shown().to_owned(),
        }
    }

    /// Opens it, and waits until nobody else synchronises with the table: `wait` is asked whether to go on waiting.
    ///
    /// # Errors
    /// If there is no connection, or nobody wants to wait.
    pub fn open(
        &self,
        names: TableNames,
        opening: Opening,
        wait: &dyn Fn() -> bool,
    ) -> Result<Box<dyn Database>, SqlError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(Sqlite::open(path, names, opening, wait)?),
            Self::Postgresql(server) => Box::new(Postgresql::open(server, names, opening, wait)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, shown) in [
            ("sqlite:a/b.db", "sqlite:a/b.db"),
            ("sqlite:///a/b.db", "sqlite:/a/b.db"),
            ("postgres://ann@db.example:5433/lake?sslmode=disable", "postgres://ann@db.example:5433/lake"),
            ("postgresql:///lake?host=/run/postgresql", "postgres:///lake"),
        ] {
            assert_eq!(Target::parse(url, false).unwrap().shown(), shown);
        }
        for url in ["", "sqlite:", "sqlite::memory:", "mysql://a:hunter2@b/c", "postgres://a:hunter2@b:x/c", "a.db"] {
            let refused = Target::parse(url, true).unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for url in ["postgres://ann:hunter2@localhost/d", "postgres://ann@localhost/d?password=hunter2"] {
            let refused = Target::parse(url, false).unwrap_err().to_string();
            assert!(refused.contains("password") && !refused.contains("hunter2"), "{refused}");
            let taken = Target::parse(url, true).unwrap();
            assert!(!format!("{taken:?} {}", taken.shown()).contains("hunter2"));
        }
    }
}
