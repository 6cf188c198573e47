//! Table files that the database does not name. A kill may leave some, and whoever next opens the database for writing removes them; but where the log
//! lacks what the tip says was acknowledged, it is the database's list of its files, its MANIFEST, that is too old.

use std::collections::HashSet;

use crate::format::Tip;

use super::db::Db;
use super::error::StoreError;
use super::inspect::Finding;
use super::tip;

/// What is to be told of such files where the log lacks what a tip says was acknowledged.
pub(super) fn beyond_the_end(db: &Db, tip: Option<Tip>) -> Result<Option<Finding>, StoreError> {
    match tip::check(tip, db) {
        Err(e) if e.is_damage() => {}
        other => return other.map(|()| None),
    }
    let count = count(db)?;
    let why = format!(
        "its MANIFEST does not name {count} of the files beside it, and the log lacks its end: `larder repair --apply` puts it together anew from all of them"
    );
    Ok((count > 0).then(|| Finding::new("the database", why)))
}

/// The same where there is no tip: whether the log has lost its end is then not known.
pub(super) fn without_a_tip(db: &Db) -> Result<Option<Finding>, StoreError> {
    let count = count(db)?;
    let why = format!(
        "its MANIFEST does not name {count} of the files beside it, and no tip tells whether the log lacks its end: `larder repair --apply` looks into all of them"
    );
    Ok((count > 0).then(|| Finding::new("the database", why)))
}

/// How many there are.
fn count(db: &Db) -> Result<usize, StoreError> {
    // Of a list that cannot be read nothing is known.
    let named = match db.tables() {
        Err(e) if !e.is_damage() => return Err(e),
        tables => tables.unwrap_or_default(),
    };
    let named: HashSet<_> = named.into_iter().map(|table| table.name).collect();
    let fail = |e| StoreError::io(format!("cannot read {}", db.dir().display()), e);
    let mut count = 0;
    for item in std::fs::read_dir(db.dir()).map_err(fail)? {
        let name = item.map_err(fail)?.file_name();
        let name = name.to_string_lossy();
        count += usize::from(name.ends_with(".sst") && !named.contains(name.as_ref()));
    }
    Ok(count)
}
