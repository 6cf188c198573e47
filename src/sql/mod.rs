//! Databases that mirror records: one table in the form of the system that records come from, read in streams and written in transactions.

mod error;
mod jsonb;
mod mssql;
mod place;
mod postgresql;
mod sqlite;
mod statements;
mod table;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

pub use error::SqlError;
pub use place::Place;
pub use table::{Change, Head, Payload, Row, Scope, TableNames, Written};

use crate::records::RecordHash;

#[cfg(feature = "mssql")]
use mssql::Mssql;
use postgresql::Postgresql;
use sqlite::Sqlite;

/// A connection to the database that a table is in. Who has one is alone with that table among those who synchronise, until it is dropped.
pub trait Database: Send {
    /// The table.
    fn place(&self) -> &Place;

    /// What and where it is, without secrets.
    fn shown(&self) -> String {
        self.place().shown()
    }

    /// True if the table is there.
    fn has_table(&self) -> bool {
        self.place().found.is_some()
    }

    /// True if nothing keeps a content from standing in it twice.
    fn lacks_index(&self) -> bool {
        self.place().found.as_ref().is_some_and(|found| !found.unique)
    }

    /// That it is not there.
    fn no_table(&self) -> SqlError {
        self.place().no_table()
    }

    /// Makes the table, unless it is there. Its indexes come when it is filled: [`Database::index`].
    ///
    /// # Errors
    /// If the database says no.
    fn create(&mut self) -> Result<(), SqlError> {
        if self.has_table() {
            return Ok(());
        }
        self.place().names.can_be_made()?;
        self.make()
    }

    /// Makes the table, which is not there.
    ///
    /// # Errors
    /// If the database says no.
    fn make(&mut self) -> Result<(), SqlError>;

    /// Makes the indexes that are not there, and tells why some of them cannot be made, for what stands in the table.
    ///
    /// # Errors
    /// If the database says no: of unique hashes too, if somebody has put one in twice meanwhile.
    fn index(&mut self) -> Result<Vec<String>, SqlError>;

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
    /// The same.
    Mssql(Box<mssql::Server>),
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
    /// Reads `sqlite:PATH`, `postgres://[USER@]HOST[:PORT]/DATABASE` or `mssql://USER@HOST[:PORT]/DATABASE`. A URL with a password is read if `secret` says that nobody else has seen it.
    ///
    /// # Errors
    /// If it is none of them, or Larder was built without the server's protocol.
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
        if url.starts_with("mssql://") {
            let server = mssql::Server::parse(url, secret)?;
            if cfg!(not(feature = "mssql")) {
                return Err(without_mssql());
            }
            return Ok(Self::Mssql(Box::new(server)));
        }
        // What was given may hold a password.
        let names = "a database is named as sqlite:PATH, postgres://USER@HOST/DATABASE or mssql://USER@HOST/DATABASE";
        Err(SqlError::Refused(names.to_owned()))
    }

    /// With this password, unless the URL has one.
    #[must_use]
    pub fn with_password(mut self, password: Option<Zeroizing<Vec<u8>>>) -> Self {
        match (&mut self, password) {
            (Self::Postgresql(server), Some(password)) => server.set_password(&password),
            (Self::Mssql(server), Some(password)) => server.set_password(&password),
            _ => {}
        }
        self
    }

    /// The variable of the environment that its own programs take a password from.
    #[must_use]
    pub fn password_variable(&self) -> Option<&'static str> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgresql(_) => Some("PGPASSWORD"),
            Self::Mssql(_) => Some("SQLCMDPASSWORD"),
        }
    }

    /// What and where it is, without secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgresql(server) => server.shown().to_owned(),
            Self::Mssql(server) => server.shown().to_owned(),
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
            #[cfg(feature = "mssql")]
            Self::Mssql(server) => Box::new(Mssql::open(server, names, opening, wait)?),
            #[cfg(not(feature = "mssql"))]
            Self::Mssql(_) => return Err(without_mssql()),
        })
    }
}

/// That this program does not know SQL Server's protocol.
#[cfg_attr(feature = "mssql", allow(dead_code, reason = "nothing is missing then"))]
fn without_mssql() -> SqlError {
    let why = "this larder was built without SQL Server: `cargo build --release --features mssql` builds one with it";
    SqlError::Refused(why.to_owned())
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
        for url in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "mysql://a:hunter2@b/c",
            "postgres://a:hunter2@b:x/c",
            "postgres://a:x@hunter2@localhost/c",
            "postgres://a:x@hunter2@localhost/c?sslmode=disable",
            "postgres://a:x@y/hunter2@localhost/c",
            "mssql://a:hunter2@b:x/c",
            "a.db",
        ] {
            let refused = Target::parse(url, true).unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn sql_server_is_there_if_it_was_built_in() {
        let parsed = Target::parse("mssql://ann@localhost/lake", false);
        assert_eq!(parsed.is_ok(), cfg!(feature = "mssql"));
        match parsed {
            Ok(target) => {
                assert_eq!(target.shown(), "mssql://ann@localhost/lake");
                assert_eq!(target.password_variable(), Some("SQLCMDPASSWORD"));
            }
            Err(e) => assert!(e.to_string().contains("--features mssql"), "{e}"),
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
