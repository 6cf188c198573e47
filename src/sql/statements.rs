//! What is said to each database, as text. Names come quoted; values are parameters, but for COPY, which takes none.

use super::table::{HASH, TableNames};

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    columns.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// SQLite's.
pub(super) mod sqlite {
    use super::{TableNames, list, quoted};

    /// The table, in the form of the other system's: exchange ids are its primary key, hashes are unique.
    pub(crate) fn create(names: &TableNames) -> String {
        let (table, hash, key) = (quoted(&names.table), quoted(&names.hash), quoted(&names.key));
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (
    \"exchange_id\" TEXT NOT NULL PRIMARY KEY,
    \"exchange_type\" TEXT NOT NULL,
    \"source_system\" TEXT NOT NULL,
    \"entity_type\" TEXT NOT NULL,
    {key} TEXT,
    \"observed_at_utc\" TEXT,
    {hash} TEXT NOT NULL CHECK (length({hash}) = 64),
    \"payload_json\" TEXT NOT NULL,
    \"schema_version\" INTEGER NOT NULL DEFAULT 1,
    \"created_at_utc\" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')),
    \"updated_at_utc\" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'))
)"
        )
    }

    /// Its indexes, one statement each.
    pub(crate) fn indexes(names: &TableNames) -> [String; 4] {
        let (table, hash, key) = (quoted(&names.table), quoted(&names.hash), quoted(&names.key));
        let name = |end: &str| quoted(&format!("{}_{end}", names.table));
        let scope = "\"source_system\", \"entity_type\"";
        [
            format!("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {table} ({hash})", name("by_hash")),
            format!(
                "CREATE INDEX IF NOT EXISTS {} ON {table} ({scope}, {key}) WHERE {key} IS NOT NULL",
                name("by_key")
            ),
            format!(
                "CREATE INDEX IF NOT EXISTS {} ON {table} ({scope}, \"observed_at_utc\" DESC)",
                name("by_scope_and_time")
            ),
            format!("CREATE INDEX IF NOT EXISTS {} ON {table} (\"observed_at_utc\" DESC)", name("by_time")),
        ]
    }

    /// Texts are compared byte for byte, whatever the columns say.
    const OF_SCOPE: &str = "\"source_system\" = ?1 COLLATE BINARY AND \"entity_type\" = ?2 COLLATE BINARY";

    /// Hash and key of the rows of a scope.
    pub(crate) fn scan(names: &TableNames) -> String {
        let (table, hash, key) = (quoted(&names.table), quoted(&names.hash), quoted(&names.key));
        format!("SELECT {hash}, {key} FROM {table} WHERE {OF_SCOPE}")
    }

    /// How many there are.
    pub(crate) fn count(names: &TableNames) -> String {
        format!("SELECT count(*) FROM {} WHERE {OF_SCOPE}", quoted(&names.table))
    }

    /// True if there are any, whatever they are of.
    pub(crate) fn any(names: &TableNames) -> String {
        format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&names.table))
    }

    /// The payload of a hash.
    pub(crate) fn payload(names: &TableNames) -> String {
        let (table, hash) = (quoted(&names.table), quoted(&names.hash));
        format!("SELECT \"payload_json\" FROM {table} WHERE {hash} = ?1 COLLATE BINARY")
    }

    /// A further row.
    pub(crate) fn insert(names: &TableNames) -> String {
        let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9";
        format!("INSERT INTO {} ({}) VALUES ({values})", quoted(&names.table), list(names.columns()))
    }

    /// Another record in the place of the one with the hash ?10.
    pub(crate) fn update(names: &TableNames, touched: bool) -> String {
        let set = (1..).zip(names.columns()).map(|(at, column)| format!("{} = ?{at}", quoted(column)));
        let mut set: Vec<_> = set.collect();
        if touched {
            set.push("\"updated_at_utc\" = strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')".to_owned());
        }
        let (table, hash) = (quoted(&names.table), quoted(&names.hash));
        format!("UPDATE {table} SET {} WHERE {hash} = ?10 COLLATE BINARY", set.join(", "))
    }
}

/// PostgreSQL's. The table is given as it was found or made, in quotes.
pub(super) mod postgresql {
    use super::{HASH, TableNames, list, quoted};

    /// The table, in the form of the other system's: exchange ids are its primary key, hashes are unique.
    pub(crate) fn create(names: &TableNames) -> String {
        let (schema, table) = (quoted(&names.schema), quoted(&names.table));
        let (hash, key) = (quoted(&names.hash), quoted(&names.key));
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.{table} (
    \"exchange_id\" uuid NOT NULL PRIMARY KEY,
    \"exchange_type\" text NOT NULL,
    \"source_system\" text NOT NULL,
    \"entity_type\" text NOT NULL,
    {key} text,
    \"observed_at_utc\" timestamptz,
    {hash} char(64) COLLATE \"C\" NOT NULL CHECK (length({hash}) = 64),
    \"payload_json\" jsonb NOT NULL,
    \"schema_version\" integer NOT NULL DEFAULT 1,
    \"created_at_utc\" timestamptz NOT NULL DEFAULT now(),
    \"updated_at_utc\" timestamptz NOT NULL DEFAULT now()
)"
        )
    }

    /// Its indexes, one statement each. That of keys is a hash index: one in order takes no key of more than 2,700 bytes.
    pub(crate) fn indexes(names: &TableNames, table: &str) -> [String; 4] {
        let (hash, key) = (quoted(&names.hash), quoted(&names.key));
        let name = |end: &str| quoted(&format!("{}_{end}", names.table));
        let scope = "\"source_system\", \"entity_type\"";
        [
            format!("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {table} ({hash})", name("by_hash")),
            format!("CREATE INDEX IF NOT EXISTS {} ON {table} USING hash ({key})", name("by_key")),
            format!(
                "CREATE INDEX IF NOT EXISTS {} ON {table} ({scope}, \"observed_at_utc\" DESC)",
                name("by_scope_and_time")
            ),
            format!("CREATE INDEX IF NOT EXISTS {} ON {table} (\"observed_at_utc\" DESC)", name("by_time")),
        ]
    }

    const OF_SCOPE: &str = "\"source_system\"::text = $1 AND \"entity_type\"::text = $2";

    /// Hash and key of the rows of a scope.
    pub(crate) fn scan(names: &TableNames, table: &str) -> String {
        let (hash, key) = (quoted(&names.hash), quoted(&names.key));
        format!("SELECT {hash}::text, {key}::text FROM {table} WHERE {OF_SCOPE}")
    }

    /// How many there are.
    pub(crate) fn count(table: &str) -> String {
        format!("SELECT count(*) FROM {table} WHERE {OF_SCOPE}")
    }

    /// True if there are any, whatever they are of.
    pub(crate) fn any(table: &str) -> String {
        format!("SELECT EXISTS (SELECT 1 FROM {table})")
    }

    /// The payloads of hashes; `of`: the type of their column.
    pub(crate) fn payloads(names: &TableNames, table: &str, of: &str) -> String {
        let hash = quoted(&names.hash);
        format!(
            "SELECT {hash}::text, \"payload_json\"::text FROM {table} WHERE {hash} = ANY (CAST($1::text[] AS {of}[]))"
        )
    }

    /// Further rows, as text.
    pub(crate) fn copy(names: &TableNames, table: &str) -> String {
        format!("COPY {table} ({}) FROM STDIN", list(names.columns()))
    }

    /// How many rows have one of these hashes.
    pub(crate) fn standing(names: &TableNames, table: &str, of: &str) -> String {
        let hash = quoted(&names.hash);
        format!("SELECT count(*) FROM {table} WHERE {hash} = ANY (CAST($1::text[] AS {of}[]))")
    }

    /// Another record in the place of the one with the hash $10; `types`: those of the columns.
    pub(crate) fn update(names: &TableNames, table: &str, types: &[String; 9], touched: bool) -> String {
        let columns = (1..).zip(names.columns()).zip(types);
        let set = columns.map(|((at, column), of)| format!("{} = CAST(${at}::text AS {of})", quoted(column)));
        let mut set: Vec<_> = set.collect();
        if touched {
            set.push("\"updated_at_utc\" = now()".to_owned());
        }
        let hash = quoted(&names.hash);
        format!("UPDATE {table} SET {} WHERE {hash} = CAST($10::text AS {})", set.join(", "), types[HASH])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> TableNames {
        TableNames {
            schema: "lake".to_owned(),
            table: "T\"; DROP TABLE x; --".to_owned(),
            hash: "h\"h".to_owned(),
            key: "natural_key".to_owned(),
        }
    }

    /// A name is a name, whatever is in it.
    #[test]
    fn names_are_quoted() {
        let names = names();
        let table = "\"lake\".\"T\"\"; DROP TABLE x; --\"";
        let types = [(); 9].map(|()| "text".to_owned());
        for statement in [
            sqlite::create(&names),
            sqlite::scan(&names),
            sqlite::count(&names),
            sqlite::any(&names),
            sqlite::payload(&names),
            sqlite::insert(&names),
            sqlite::update(&names, true),
            postgresql::create(&names),
            postgresql::scan(&names, table),
            postgresql::count(table),
            postgresql::any(table),
            postgresql::payloads(&names, table, "text"),
            postgresql::copy(&names, table),
            postgresql::standing(&names, table, "text"),
            postgresql::update(&names, table, &types, false),
        ]
        .into_iter()
        .chain(sqlite::indexes(&names))
        .chain(postgresql::indexes(&names, table))
        {
            assert!(statement.contains("\"T\"\"; DROP TABLE x; --"), "{statement}");
            let outside: String = statement.split('"').step_by(2).collect();
            assert!(!outside.contains("DROP") && !outside.contains("h\""), "{statement}");
        }
    }
}
