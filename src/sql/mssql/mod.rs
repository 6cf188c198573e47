//! SQL Server: what a URL says of one, what is said to it, and, where the feature `mssql` brings the protocol along, the session.

mod server;
#[cfg(feature = "mssql")]
mod session;
#[cfg(any(test, feature = "mssql"))]
mod statements;

pub(super) use server::Server;
#[cfg(feature = "mssql")]
pub(super) use session::Mssql;
