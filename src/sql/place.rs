//! The table that a connection is about: what it is called, and what was found of it.

use crate::codec::digest;

use super::error::SqlError;
use super::table::TableNames;

/// A table that is there.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its name as statements have it: in quotes, with its schema if there is one.
    pub(super) name: String,
    /// Its columns.
    pub(super) columns: Columns,
    /// There is a unique index of hashes alone.
    pub(super) unique: bool,
}

/// What is known of a table's columns.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// The types of those that are filled, in the order of [`TableNames::columns`].
    pub(super) types: [String; 9],
    /// It has one for the time of a change.
    pub(super) touched: bool,
}

/// Where rows go.
#[derive(Debug)]
pub struct Place {
    /// The database, without secrets.
    database: String,
    /// The table as messages call it.
    table: String,
    pub(super) names: TableNames,
    /// Nothing if it is not there.
    pub(super) found: Option<Found>,
}

impl Place {
    /// The table `table` of a database; nobody has looked for it yet.
    pub(super) fn new(database: &str, table: String, names: TableNames) -> Self {
        Self { database: database.to_owned(), table, names, found: None }
    }

    /// What and where it is, without secrets.
    pub(super) fn shown(&self) -> String {
        format!("{}, table {}", self.database, self.table)
    }

    /// What the lock on it is called where it is taken: a digest of its name, whatever the case of letters.
    pub(super) fn lock(&self) -> [u8; 32] {
        let TableNames { schema, table, .. } = &self.names;
        let name = format!("larder sync\0{}\0{}", schema.to_lowercase(), table.to_lowercase());
        *digest(name.as_bytes()).as_bytes()
    }

    /// The table, if it is there.
    pub(super) fn table(&self) -> Result<&Found, SqlError> {
        self.found.as_ref().ok_or_else(|| self.no_table())
    }

    pub(super) fn no_table(&self) -> SqlError {
        SqlError::NoTable { database: self.database.clone(), table: self.table.clone() }
    }

    /// That the database said no, or went away.
    pub(super) fn failed(&self, why: String) -> SqlError {
        SqlError::Failed { database: self.database.clone(), why }
    }

    /// That what has the table's name is none.
    pub(super) fn is_no_table(&self, sort: &str) -> SqlError {
        self.failed(format!("{} is a {sort}; records go into tables alone", self.table))
    }

    /// That the system does not let it do what it must.
    pub(super) fn rights(&self, why: String) -> SqlError {
        SqlError::Rights { database: self.database.clone(), why }
    }

    /// What the table's columns are, by their types; `table`: as it is called.
    pub(super) fn columns(&self, table: String, type_of: impl Fn(&str) -> Option<String>) -> Result<Columns, SqlError> {
        let mut types = [const { String::new() }; 9];
        for (of, column) in types.iter_mut().zip(self.names.columns()) {
            let Some(found) = type_of(column) else {
                return Err(SqlError::NoColumn { database: self.database.clone(), table, column: column.to_owned() });
            };
            *of = found;
        }
        Ok(Columns { types, touched: type_of("updated_at_utc").is_some() })
    }
}
