//! What stops work with a database. No message shows a password: URLs are never repeated.

use crate::model::{Failure, Kind};

/// What stops work with a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// Arguments or policies make no sense.
    #[error("{0}")]
    Refused(String),
    /// There is no such database or table.
    #[error("{database}: there is no table {table}")]
    NoTable {
        /// Where.
        database: String,
        /// Which one.
        table: String,
    },
    /// The table is not one of records.
    #[error("{database}: the table {table} has no column {column}")]
    NoColumn {
        /// Where.
        database: String,
        /// Which table.
        table: String,
        /// Which column.
        column: String,
    },
    /// No connection.
    #[error("cannot connect to {database}: {why}")]
    Connect {
        /// Where.
        database: String,
        /// Why not.
        why: String,
    },
    /// Another one is synchronising with the same table.
    #[error("another larder is synchronising with {0}")]
    Locked(String),
    /// The database said no, or went away.
    #[error("{database}: {why}")]
    Failed {
        /// Where.
        database: String,
        /// What it said.
        why: String,
    },
    /// The system does not let the database write, or open, what it must.
    #[error("{database}: {why}")]
    Rights {
        /// Where.
        database: String,
        /// What it said.
        why: String,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

/// What SQLite's files need.
const RIGHTS: &str = "whoever fills a table of SQLite needs the right to write the file and to make files in its folder; \
                      one in WAL mode is not even read without";

impl Failure for SqlError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(_) => Kind::Usage,
            Self::NoTable { .. } => Kind::NotFound,
            Self::NoColumn { .. } | Self::Connect { .. } | Self::Failed { .. } | Self::Rights { .. } => Kind::Failed,
            Self::Locked(_) => Kind::Locked,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoTable { .. } => Some("`larder sync --create` makes it".to_owned()),
            Self::Rights { .. } => Some(RIGHTS.to_owned()),
            _ => None,
        }
    }
}
