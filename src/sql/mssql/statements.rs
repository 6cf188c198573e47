//! What is said to SQL Server, as text. Names come in brackets; values are parameters. The table is given as it was found or made, in brackets.
//!
//! Most of its collations take letters of either case for one, and all of them take a text for the same with blanks behind it. What must be the same to the
//! byte is therefore compared once more, in binary and by its length; the first comparison is there for the index.

use super::super::table::{HASH, ID, TableNames};

/// Where among the columns the time is.
const OBSERVED: usize = 5;
/// Of code points, in their order.
const BINARY: &str = "Latin1_General_100_BIN2";
/// Rows that one statement takes in. It has 2,100 parameters at most, two of which are its text and their types; with more of them it takes long to be compiled.
pub(super) const ROWS: usize = 100;
/// Hashes that one asks for.
pub(super) const HASHES: usize = 1000;

/// A name in brackets.
pub(super) fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// A table's name with its schema's.
pub(super) fn table(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

fn literal(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// What a session is like; all of it, because a server's or a user's own settings come before. Indexes with a condition are kept up to date under the first seven alone.
pub(super) fn settings(timeout: u128) -> String {
    format!(
        "SET ANSI_NULLS ON;
SET ANSI_PADDING ON;
SET ANSI_WARNINGS ON;
SET ARITHABORT ON;
SET CONCAT_NULL_YIELDS_NULL ON;
SET QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
SET IMPLICIT_TRANSACTIONS OFF;
SET XACT_ABORT OFF;
SET NOCOUNT OFF;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET TEXTSIZE 2147483647;
SET LOCK_TIMEOUT {timeout}"
    )
}

/// Takes the lock with the name @P1, which ends with the session; gives less than 0 if somebody else has it.
pub(super) const LOCK: &str = "DECLARE @got int;
EXEC @got = sp_getapplock @Resource = @P1, @LockMode = N'Exclusive', @LockOwner = N'Session', @LockTimeout = 0;
SELECT @got";

/// The columns of the table @P1, which is in brackets: schema, table, column, type.
pub(super) const COLUMNS: &str = "SELECT s.name, o.name, c.name, t.name
FROM sys.objects AS o
JOIN sys.schemas AS s ON s.schema_id = o.schema_id
JOIN sys.columns AS c ON c.object_id = o.object_id
JOIN sys.types AS t ON t.user_type_id = c.system_type_id
WHERE o.object_id = OBJECT_ID(@P1, N'U')
ORDER BY c.column_id";

/// True if the table @P1 has a unique index of the column @P2 alone, without a condition.
pub(super) const UNIQUE: &str = "SELECT 1
FROM sys.indexes AS i
JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id AND k.key_ordinal = 1
JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id
WHERE i.object_id = OBJECT_ID(@P1, N'U') AND c.name = @P2 AND i.is_unique = 1 AND i.is_disabled = 0 AND i.has_filter = 0
AND NOT EXISTS (SELECT 1 FROM sys.index_columns AS o
WHERE o.object_id = i.object_id AND o.index_id = i.index_id AND o.key_ordinal > 1)";

/// A row if there is the schema @P1.
pub(super) const SCHEMA: &str = "SELECT 1 WHERE SCHEMA_ID(@P1) IS NOT NULL";

/// Begins a transaction.
pub(super) const BEGIN: &str = "BEGIN TRANSACTION";
/// Ends it.
pub(super) const COMMIT: &str = "COMMIT TRANSACTION";
/// Takes it back; some errors have done so already.
pub(super) const ROLLBACK: &str = "IF XACT_STATE() <> 0 ROLLBACK TRANSACTION";
/// 1 if what was done before an error can still be committed.
pub(super) const STATE: &str = "SELECT CAST(XACT_STATE() AS int)";

/// The schema.
pub(super) fn create_schema(names: &TableNames) -> String {
    format!("CREATE SCHEMA {}", quoted(&names.schema))
}

/// The table, in the form of the other system's: exchange ids are its primary key, hashes are unique. Times are those of UTC, as in its own, because programs read them whose
/// drivers know no offsets. JSON is not checked: what the server takes for JSON has no NaN, and a depth of 128.
pub(super) fn create(names: &TableNames) -> String {
    let table = table(&names.schema, &names.table);
    let (there, hash, key) = (literal(&table), quoted(&names.hash), quoted(&names.key));
    format!(
        "IF OBJECT_ID({there}, N'U') IS NULL
CREATE TABLE {table} (
    [exchange_id] uniqueidentifier NOT NULL PRIMARY KEY,
    [exchange_type] nvarchar(50) NOT NULL,
    [source_system] nvarchar(100) COLLATE {BINARY} NOT NULL,
    [entity_type] nvarchar(100) COLLATE {BINARY} NOT NULL,
    {key} nvarchar(500) COLLATE {BINARY} NULL,
    [observed_at_utc] datetime2 NULL,
    {hash} char(64) COLLATE {BINARY} NOT NULL CHECK (LEN({hash}) = 64),
    [payload_json] nvarchar(max) NOT NULL,
    [schema_version] int NOT NULL DEFAULT 1,
    [created_at_utc] datetime2 NOT NULL DEFAULT SYSUTCDATETIME(),
    [updated_at_utc] datetime2 NOT NULL DEFAULT SYSUTCDATETIME()
)"
    )
}

/// Its indexes, one statement each.
pub(super) fn indexes(names: &TableNames, table: &str) -> [String; 4] {
    let (hash, key) = (quoted(&names.hash), quoted(&names.key));
    let index = |sort: &str, end: &str, on: &str| {
        let name = format!("{}_{end}", names.table);
        format!(
            "IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID({}) AND name = {})
CREATE {sort} {} ON {table} ({on}",
            literal(table),
            literal(&name),
            quoted(&name)
        )
    };
    let scope = "[source_system], [entity_type]";
    [
        index("UNIQUE INDEX", "by_hash", &format!("{hash})")),
        index("INDEX", "by_key", &format!("{scope}, {key}) WHERE {key} IS NOT NULL")),
        index("INDEX", "by_scope_and_time", &format!("{scope}, [observed_at_utc] DESC)")),
        index("INDEX", "by_time", "[observed_at_utc] DESC)"),
    ]
}

/// The rows of the scope @P1, @P2.
fn of_scope() -> String {
    let exactly = |column: &str, parameter: &str| {
        format!(
            "{column} = {parameter} AND {column} COLLATE {BINARY} = {parameter}
AND DATALENGTH(CAST({column} AS nvarchar(max))) = DATALENGTH({parameter})"
        )
    };
    format!("WHERE {}\nAND {}", exactly("[source_system]", "@P1"), exactly("[entity_type]", "@P2"))
}

/// Hash and key of the rows of a scope.
pub(super) fn scan(names: &TableNames, table: &str) -> String {
    let (hash, key) = (quoted(&names.hash), quoted(&names.key));
    format!("SELECT CAST({hash} AS nvarchar(4000)), CAST({key} AS nvarchar(max)) FROM {table}\n{}", of_scope())
}

/// How many there are.
pub(super) fn count(table: &str) -> String {
    format!("SELECT COUNT_BIG(*) FROM {table}\n{}", of_scope())
}

/// A row if there are any, whatever they are of.
pub(super) fn any(table: &str) -> String {
    format!("SELECT TOP (1) 1 FROM {table}")
}

/// A parameter that a hash is, in the type of its column: else no index would be used.
fn hash_parameter(number: usize, of: &str) -> String {
    let national = if of.starts_with('n') { "n" } else { "" };
    format!("CAST(@P{number} AS {national}varchar(64))")
}

/// The payloads of so many hashes; `of`: the type of their column.
pub(super) fn payloads(names: &TableNames, table: &str, of: &str, hashes: usize) -> String {
    let hash = quoted(&names.hash);
    let list: Vec<_> = (1..=hashes).map(|number| hash_parameter(number, of)).collect();
    let list = list.join(", ");
    format!(
        "SELECT CAST({hash} AS nvarchar(4000)), CAST([payload_json] AS nvarchar(max)) FROM {table}\nWHERE {hash} IN ({list})"
    )
}

/// The row with a hash.
fn of_hash(names: &TableNames, of: &str, number: usize) -> String {
    let (hash, parameter) = (quoted(&names.hash), hash_parameter(number, of));
    format!("WHERE {hash} = {parameter} AND {hash} COLLATE {BINARY} = {parameter}")
}

/// A row if the hash @P1 is there.
pub(super) fn has(names: &TableNames, table: &str, of: &str) -> String {
    format!("SELECT TOP (1) 1 FROM {table} {}", of_hash(names, of, 1))
}

/// What goes into a column. Texts are not cast, which would cut them without a word.
fn value(column: usize, number: usize, types: &[String; 9]) -> String {
    let of = types[column].as_str();
    if column == ID && of == "uniqueidentifier" {
        format!("CAST(@P{number} AS uniqueidentifier)")
    } else if column == OBSERVED && of.contains("date") {
        format!("CAST(@P{number} AS datetimeoffset)")
    } else {
        format!("@P{number}")
    }
}

/// So many further rows; `types`: those of the columns.
pub(super) fn insert(names: &TableNames, table: &str, types: &[String; 9], rows: usize) -> String {
    let columns: Vec<_> = names.columns().into_iter().map(quoted).collect();
    let row = |row: usize| {
        let values: Vec<_> = (0..9).map(|column| value(column, row * 9 + column + 1, types)).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    format!("INSERT INTO {table} ({}) VALUES\n{}", columns.join(", "), rows.join(",\n"))
}

/// Another record in the place of the one with the hash @P10.
pub(super) fn update(names: &TableNames, table: &str, types: &[String; 9], touched: bool) -> String {
    let set = names.columns().into_iter().enumerate();
    let mut set: Vec<_> =
        set.map(|(at, column)| format!("{} = {}", quoted(column), value(at, at + 1, types))).collect();
    if touched {
        set.push("[updated_at_utc] = SYSUTCDATETIME()".to_owned());
    }
    format!("UPDATE {table} SET {}\n{}", set.join(", "), of_hash(names, &types[HASH], 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::SqlTarget;

    fn types(table: [&str; 9]) -> [String; 9] {
        table.map(str::to_owned)
    }

    fn all(names: &TableNames, table: &str, types: &[String; 9]) -> Vec<(&'static str, String)> {
        let of = &types[HASH];
        let constants = [
            ("lock", LOCK),
            ("columns", COLUMNS),
            ("unique", UNIQUE),
            ("schema", SCHEMA),
            ("begin", BEGIN),
            ("commit", COMMIT),
            ("rollback", ROLLBACK),
            ("state", STATE),
        ];
        let constants = constants.map(|(name, text)| (name, text.to_owned()));
        let [by_hash, by_key, by_scope_and_time, by_time] = indexes(names, table);
        let made = [
            ("settings", settings(30_000)),
            ("create schema", create_schema(names)),
            ("create", create(names)),
            ("index by hash", by_hash),
            ("index by key", by_key),
            ("index by scope and time", by_scope_and_time),
            ("index by time", by_time),
            ("scan", scan(names, table)),
            ("count", count(table)),
            ("any", any(table)),
            ("payloads", payloads(names, table, of, 2)),
            ("has", has(names, table, of)),
            ("insert", insert(names, table, types, 2)),
            ("update", update(names, table, types, true)),
        ];
        constants.into_iter().chain(made).collect()
    }

    /// Each statement is as it stands in a file, which whoever knows SQL Server can read.
    #[test]
    fn statements_are_those_of_the_file() {
        let names = TableNames::of(&SqlTarget::default()).unwrap();
        let made = [
            "uniqueidentifier",
            "nvarchar",
            "nvarchar",
            "nvarchar",
            "nvarchar",
            "datetime2",
            "char",
            "nvarchar",
            "int",
        ];
        let shown = all(&names, &table(&names.schema, &names.table), &types(made));
        let shown: String = shown.iter().map(|(name, text)| format!("-- {name}\n{text}\n\n")).collect();
        let file = include_str!("../../../tests/data/mssql.sql");
        let (_, file) = file.split_once("\n\n").unwrap();
        assert_eq!(shown.trim_end(), file.trim_end(), "tests/data/mssql.sql is to be:\n{shown}");
    }

    /// A name is a name, whatever is in it.
    #[test]
    fn names_are_quoted() {
        let text = |text: &str| text.to_owned();
        let names = TableNames {
            schema: text("my [lake]"),
            table: text("T]; DROP TABLE x; --'"),
            hash: text("h]h'"),
            key: text("the \"key\""),
        };
        let table = table(&names.schema, &names.table);
        assert_eq!(table, "[my [lake]]].[T]]; DROP TABLE x; --']");
        for (name, statement) in all(&names, &table, &types(["text"; 9])) {
            let outside = outside(&statement);
            assert!(
                !outside.contains("DROP") && !outside.contains("h]") && !outside.contains("key\""),
                "{name}: {outside}"
            );
            assert!(!statement.contains("exchange_id") || outside.matches("[]").count() >= 9, "{name}: {outside}");
        }
    }

    /// What is in no brackets and no literal. Both end with their sign, unless it stands twice.
    fn outside(statement: &str) -> String {
        let mut out = String::new();
        let mut rest = statement.chars().peekable();
        while let Some(c) = rest.next() {
            out.push(c);
            let end = match c {
                '[' => ']',
                '\'' => '\'',
                _ => continue,
            };
            loop {
                let c = rest.next().unwrap_or_else(|| panic!("it does not end: {statement}"));
                if c == end && rest.next_if_eq(&end).is_none() {
                    break;
                }
            }
            out.push(end);
        }
        out
    }

    /// Columns of other types get what they take.
    #[test]
    fn columns_of_other_types() {
        let names = TableNames::of(&SqlTarget::default()).unwrap();
        let old = ["nvarchar", "nvarchar", "nvarchar", "nvarchar", "nvarchar", "nvarchar", "nchar", "xml", "int"];
        let insert = insert(&names, "[t]", &types(old), 1);
        assert!(insert.ends_with("VALUES\n(@P1, @P2, @P3, @P4, @P5, @P6, @P7, @P8, @P9)"), "{insert}");
        assert!(has(&names, "[t]", "nchar").contains("CAST(@P1 AS nvarchar(64))"));
        assert!(!update(&names, "[t]", &types(old), false).contains("updated_at_utc"));
        assert!(value(OBSERVED, 1, &types(["smalldatetime"; 9])).contains("datetimeoffset"));
    }

    #[test]
    fn parameters_that_a_statement_takes() {
        const PARAMETERS: usize = 2100 - 2;
        const { assert!(ROWS * 9 <= PARAMETERS && HASHES <= PARAMETERS && ROWS <= 1000) };
        let names = TableNames::of(&SqlTarget::default()).unwrap();
        let insert = insert(&names, "[t]", &types(["int"; 9]), ROWS);
        assert!(insert.contains("@P900)") && !insert.contains("@P901"));
    }
}
