//! A database of a real server, which `LARDER_TEST_MSSQL` names with an owner's user and password.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_executor::block_on;
use futures_util::io::AllowStdIo;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};

const VARIABLE: &str = "LARDER_TEST_MSSQL";
static NAMES: AtomicU32 = AtomicU32::new(0);

/// The database; gone when it is dropped.
pub(crate) struct Real {
    user: String,
    password: String,
    /// Host and port.
    place: String,
    name: String,
}

impl Real {
    /// A new one, if there is a server.
    pub(crate) fn new() -> Option<Self> {
        let url = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())?;
        let parts = || {
            let (who, place) = url.strip_prefix("mssql://")?.rsplit_once('@')?;
            let (user, password) = who.split_once(':')?;
            Some((user, password, place.split(['/', '?']).next()?))
        };
        let (user, password, place) = parts().expect("LARDER_TEST_MSSQL is mssql://USER:PASSWORD@HOST[:PORT]/master");
        let place = if place.contains(':') { place.to_owned() } else { format!("{place}:1433") };
        let name = format!("larder_test_{}_{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
        let this = Self { user: user.to_owned(), password: password.to_owned(), place, name };
        this.said("master", &format!("CREATE DATABASE {}", this.name));
        Some(this)
    }

    pub(crate) fn url(&self) -> String {
        format!("mssql://{}@{}/{}?encrypt=disable", self.user, self.place, self.name)
    }

    pub(crate) fn password(&self) -> String {
        self.password.clone()
    }

    fn said(&self, database: &str, text: &str) -> Vec<String> {
        let mut config = Config::new();
        config.database(database);
        config.authentication(AuthMethod::sql_server(&self.user, &self.password));
        config.encryption(EncryptionLevel::NotSupported);
        config.handshake_timeout(None);
        config.command_timeout(None);
        let stream = TcpStream::connect(&self.place).unwrap();
        let rows = block_on(async {
            let mut client = Client::connect(config, AllowStdIo::new(stream)).await?;
            client.simple_query("SET QUOTED_IDENTIFIER ON; SET TEXTSIZE 2147483647").await?.into_results().await?;
            client.simple_query(text).await?.into_first_result().await
        });
        let rows = rows.unwrap_or_else(|e| panic!("{e}: {text}"));
        let value = |row: &tiberius::Row| {
            let number = || row.try_get::<i32, _>(0).ok().flatten().map(|number| number.to_string());
            let text = row.try_get::<&str, _>(0).ok().flatten().map(str::to_owned);
            text.or_else(number).unwrap_or_else(|| "NULL".to_owned())
        };
        rows.iter().map(value).collect()
    }

    pub(crate) fn run(&self, statements: &str) {
        self.said(&self.name, &in_t_sql(statements));
    }

    pub(crate) fn ask(&self, question: &str) -> Vec<String> {
        self.said(&self.name, &in_t_sql(question))
    }
}

/// What the tests say to all databases, as this one says it.
fn in_t_sql(text: &str) -> String {
    let text = text.replace("TABLE_", "lake.RawExchangeRecord").replace("||", "+");
    text.replace(" AS text)", " AS nvarchar(max))").replace("substr(", "substring(").replace("length(", "len(")
}

impl Drop for Real {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let alone =
                format!("ALTER DATABASE {0} SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE {0}", self.name);
            self.said("master", &alone);
        }
    }
}
