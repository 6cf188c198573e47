//! A server that answers as SQL Server would, for as long as it is asked what stands in tests/data/mssql.sql; to all else it says that this is no SQL. Its table is SQLite's.
//! What it cannot show is whether a real server understands these statements as they are meant.

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::Value as Sqlite;
use rusqlite::{Connection, params_from_iter};

use super::wire::{self, Asked, Reply, Value};
use crate::databases::{PASSWORD, ROLE};

/// The statements, each with its name in front.
const STATEMENTS: &str = include_str!("../../data/mssql.sql");
const TABLE: &str = "[lake].[RawExchangeRecord]";
/// The table as `create` makes it. Lengths are checked, as the server does.
const CREATE: &str = "CREATE TABLE RawExchangeRecord (exchange_id uniqueidentifier NOT NULL PRIMARY KEY,
    exchange_type nvarchar NOT NULL CHECK (length(exchange_type) <= 50),
    source_system nvarchar NOT NULL CHECK (length(source_system) <= 100),
    entity_type nvarchar NOT NULL CHECK (length(entity_type) <= 100),
    natural_key nvarchar CHECK (length(natural_key) <= 500), observed_at_utc datetime2,
    content_sha256 char NOT NULL CHECK (length(content_sha256) = 64), payload_json nvarchar NOT NULL,
    schema_version int NOT NULL DEFAULT 1, created_at_utc datetime2 NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at_utc datetime2 NOT NULL DEFAULT CURRENT_TIMESTAMP)";

/// The server. Its threads end with the tests.
pub(crate) struct Mock {
    pub(crate) port: u16,
    state: Arc<State>,
}

/// Trouble that it makes when it is asked something.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// An error, with its number and message.
    Error(u32, String),
    /// One that ends the transaction too.
    Ended(u32, String),
    /// Somebody else has it.
    Taken,
    /// It goes away.
    Gone,
    /// It says nothing.
    Silent,
    /// It thinks about it.
    Slow(Duration),
    /// Another program does something to the table just behind, once.
    Meanwhile(String),
}

struct State {
    table: Mutex<Connection>,
    /// The names of the statements that it was asked, in their order.
    asked: Mutex<Vec<String>>,
    trouble: Mutex<HashMap<String, Trouble>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mock {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            table: Mutex::new(Connection::open_in_memory().unwrap()),
            asked: Mutex::default(),
            trouble: Mutex::default(),
        };
        let state = Arc::new(state);
        let of_thread = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = of_thread.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        Self { port, state }
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Connection> {
        locked(&self.state.table)
    }

    /// What it was asked since this was asked the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state.asked))
    }

    /// From now on, whenever it is asked that.
    pub(crate) fn trouble(&self, statement: &str, trouble: Trouble) {
        locked(&self.state.trouble).insert(statement.to_owned(), trouble);
    }

    pub(crate) fn no_trouble(&self) {
        locked(&self.state.trouble).clear();
    }
}

/// The name of a statement; nothing if it is none of ours. Those with lists are known by their beginning.
fn name_of(text: &str) -> Option<&'static str> {
    let mut all = STATEMENTS.split("\n\n").filter_map(|part| part.strip_prefix("-- ")?.split_once('\n'));
    all.find_map(|(name, statement)| {
        let statement = statement.trim_end();
        let same = match name {
            "insert" => text.starts_with(&statement[..statement.find("(@P1").unwrap()]),
            "payloads" => text.starts_with(&statement[..statement.find("(CAST(@P1").unwrap()]),
            "settings" => text.starts_with(&statement[..statement.find("30000").unwrap()]),
            _ => text == statement,
        };
        same.then_some(name)
    })
}

fn serve(mut stream: TcpStream, state: &State) {
    // Of each session its own.
    let mut transaction = 0u64;
    while let Some(asked) = wire::read(&mut stream) {
        let (of_call, number, text, values) = match asked {
            Asked::Prelogin => {
                if matches!(locked(&state.trouble).get("prelogin"), Some(Trouble::Silent)) {
                    let _until_it_goes = wire::read(&mut stream);
                    return;
                }
                Reply::prelogin().send_bare(&mut stream).unwrap();
                continue;
            }
            Asked::Login { user, password, database } => {
                let right = user == ROLE && password == PASSWORD;
                let reply = if right {
                    Reply::logged_in(&database)
                } else {
                    Reply::error(18456, &format!("Login failed for user '{user}'."))
                };
                reply.send(&mut stream, false, None, !right).unwrap();
                if right {
                    continue;
                }
                return;
            }
            Asked::Batch(number, text) => (false, number, text, Vec::new()),
            Asked::Call(number, text, values) => (true, number, text, values),
        };
        assert_eq!(number, transaction, "a statement is said in the transaction that it belongs to");
        let Some(name) = name_of(&text) else {
            let unknown = format!("Incorrect syntax, which the mock does not know: {text}");
            Reply::error(102, &unknown).send(&mut stream, of_call, None, true).unwrap();
            continue;
        };
        locked(&state.asked).push(name.to_owned());
        let trouble = locked(&state.trouble).get(name).cloned();
        if let Some(Trouble::Slow(time)) = trouble {
            std::thread::sleep(time);
        }
        let table = locked(&state.table);
        let meanwhile = if let Some(Trouble::Meanwhile(change)) = &trouble { change.clone() } else { String::new() };
        let (reply, count) = match trouble {
            Some(Trouble::Gone | Trouble::Silent) => return rolled_back(&table),
            Some(Trouble::Taken) => (Ok(Reply::rows(&[Value::Int(0)], &[vec![Value::Int(-1)]])), Some(1)),
            Some(Trouble::Error(number, text)) => (Err((number, text)), None),
            Some(Trouble::Ended(number, text)) => {
                rolled_back(&table);
                (Err((number, text)), None)
            }
            None | Some(Trouble::Slow(_) | Trouble::Meanwhile(_)) => match answer(&table, name, &text, &values) {
                Ok((reply, count)) => (Ok(reply), count),
                Err(e) => (Err(e), None),
            },
        };
        if !meanwhile.is_empty() {
            locked(&state.trouble).remove(name);
            table.execute_batch(&meanwhile).unwrap();
        }
        // What a statement has begun or ended is told with its answer.
        let is_open = !table.is_autocommit();
        let change = match (transaction, is_open) {
            (0, true) => Some((8, 77)),
            (1.., false) => Some((if name == "commit" { 9 } else { 10 }, 0)),
            _ => None,
        };
        drop(table);
        let failed = reply.is_err();
        let reply = reply.unwrap_or_else(|(number, text)| Reply::error(number, &text));
        let sent = match change {
            Some((what, number)) => {
                let told = Reply::transaction(what, if what == 8 { number } else { transaction });
                transaction = number;
                reply.followed_by(told).send(&mut stream, of_call, count, failed)
            }
            None => reply.send(&mut stream, of_call, count, failed),
        };
        if sent.is_err() {
            break;
        }
    }
    rolled_back(&locked(&state.table));
}

fn rolled_back(table: &Connection) {
    if !table.is_autocommit() {
        table.execute_batch("ROLLBACK").unwrap();
    }
}

type Answer = Result<(Reply, Option<u64>), (u32, String)>;

/// What a statement comes to, said to SQLite.
fn answer(table: &Connection, name: &str, text: &str, values: &[Option<String>]) -> Answer {
    let done = |statement: &str| {
        table.execute_batch(statement).map_err(|e| error(&e))?;
        Ok((Reply::default(), None))
    };
    let asked = |types: &[Value], question: &str| {
        let rows = rows(table, question, values, types).map_err(|e| error(&e))?;
        Ok((Reply::rows(types, &rows), Some(rows.len() as u64)))
    };
    let changed = |statement: &str| {
        let count = table.execute(statement, params_from_iter(values)).map_err(|e| error(&e))?;
        Ok((Reply::default(), Some(count as u64)))
    };
    let (string, number) = (Value::Text(None), Value::Int(0));
    match name {
        "settings" => done(""),
        "begin" => done("BEGIN"),
        "commit" => done("COMMIT"),
        "rollback" => {
            rolled_back(table);
            done("")
        }
        "state" => asked(&[number], if table.is_autocommit() { "SELECT 0" } else { "SELECT 1" }),
        "lock" => asked(&[number], "SELECT 0 WHERE ?1 LIKE 'larder sync %'"),
        "schema" => asked(&[number], "SELECT 1 FROM sqlite_master WHERE name = 'schema_' || ?1"),
        "create schema" => done("CREATE TABLE schema_lake (x)"),
        "create" => done(CREATE),
        "columns" => {
            assert_eq!(values, [Some(TABLE.to_owned())]);
            // What stands in brackets behind a type is no part of its name.
            let columns =
                "SELECT 'lake', 'RawExchangeRecord', name, lower(substr(type, 1, instr(type || '(', '(') - 1))
                FROM pragma_table_info('RawExchangeRecord') WHERE ?1 IS NOT NULL";
            asked(&[string.clone(), string.clone(), string.clone(), string], columns)
        }
        "unique" => {
            assert_eq!(values[0].as_deref(), Some(TABLE));
            let unique = "SELECT 1 FROM pragma_index_list('RawExchangeRecord') AS i, pragma_index_info(i.name) AS c
                WHERE i.\"unique\" AND NOT i.partial AND c.name = ?2 AND ?1 IS NOT NULL
                AND (SELECT count(*) FROM pragma_index_info(i.name)) = 1";
            asked(&[number], unique)
        }
        "index by hash" => done("CREATE UNIQUE INDEX IF NOT EXISTS by_hash ON RawExchangeRecord (content_sha256)"),
        "index by key" => done("CREATE INDEX IF NOT EXISTS by_key ON RawExchangeRecord (natural_key)"),
        "index by scope and time" => done("CREATE INDEX IF NOT EXISTS by_scope ON RawExchangeRecord (source_system)"),
        "index by time" => done("CREATE INDEX IF NOT EXISTS by_time ON RawExchangeRecord (observed_at_utc)"),
        "scan" => asked(&[string.clone(), string], &of_scope("content_sha256, natural_key")),
        "count" => asked(&[Value::Big(0)], &of_scope("count(*)")),
        "any" => asked(&[number], "SELECT 1 FROM RawExchangeRecord LIMIT 1"),
        "payloads" => {
            assert!(text.ends_with(&format!("CAST(@P{} AS varchar(64)))", values.len())));
            let list = vec!["?"; values.len()].join(", ");
            let question =
                format!("SELECT content_sha256, payload_json FROM RawExchangeRecord WHERE content_sha256 IN ({list})");
            asked(&[string.clone(), string], &question)
        }
        "has" => asked(&[number], "SELECT 1 FROM RawExchangeRecord WHERE content_sha256 = ?1 COLLATE BINARY LIMIT 1"),
        "insert" => {
            assert!(text.ends_with(&format!("@P{})", values.len())) && values.len().is_multiple_of(9));
            let list = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; values.len() / 9].join(", ");
            changed(&format!("INSERT INTO RawExchangeRecord ({COLUMNS}) VALUES {list}"))
        }
        "update" => {
            let set: Vec<_> = (1..).zip(COLUMNS.split(", ")).map(|(at, column)| format!("{column} = ?{at}")).collect();
            let set = set.join(", ");
            changed(&format!("UPDATE RawExchangeRecord SET {set} WHERE content_sha256 = ?10 COLLATE BINARY"))
        }
        other => panic!("no answer to {other:?}"),
    }
}

const COLUMNS: &str = "exchange_id, exchange_type, source_system, entity_type, natural_key, observed_at_utc, content_sha256, payload_json, schema_version";

fn of_scope(what: &str) -> String {
    format!(
        "SELECT {what} FROM RawExchangeRecord
         WHERE source_system = ?1 COLLATE BINARY AND entity_type = ?2 COLLATE BINARY"
    )
}

fn rows(
    table: &Connection,
    question: &str,
    values: &[Option<String>],
    types: &[Value],
) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut statement = table.prepare(question)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        let value = |(at, of): (usize, &Value)| {
            let value: Sqlite = row.get(at)?;
            Ok(match (of, value) {
                (Value::Int(_), Sqlite::Integer(number)) => Value::Int(i32::try_from(number).unwrap()),
                (Value::Big(_), Sqlite::Integer(number)) => Value::Big(number),
                (_, Sqlite::Text(text)) => Value::Text(Some(text)),
                (_, Sqlite::Null) => Value::Text(None),
                (_, other) => panic!("{other:?}"),
            })
        };
        types.iter().enumerate().map(value).collect()
    });
    rows?.collect()
}

/// What SQL Server says where SQLite says that.
fn error(e: &rusqlite::Error) -> (u32, String) {
    let text = e.to_string();
    match e.sqlite_extended_error_code() {
        // PRIMARY KEY, UNIQUE, NOT NULL, CHECK
        Some(1555) => (2627, "Violation of PRIMARY KEY constraint. The duplicate key value is (hunter2).".to_owned()),
        Some(2067) => (2601, "Cannot insert duplicate key row. The duplicate key value is (hunter2).".to_owned()),
        Some(1299) => (515, format!("Cannot insert the value NULL: {text}")),
        Some(275) => (2628, format!("String would be truncated. Truncated value: 'hunter2': {text}")),
        _ => (50_000, text),
    }
}
