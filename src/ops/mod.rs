//! What is done with stores: one verb a file. An operation never sees a terminal, a clock or a prompt: what it needs of
//! them comes in as values.

pub mod capture;
pub mod diff;
pub mod find;
pub mod gc;
pub mod growth;
pub mod heal;
pub mod history;
mod laid_out;
mod member_entry;
pub(crate) mod mounts;
mod own;
mod owners;
mod query;
pub mod read;
pub mod records;
pub mod reference;
pub mod repair;
pub mod restore;
pub mod retention;
mod source;
pub mod stats;
pub mod verify;

pub use laid_out::laid_out;
pub use query::QueryError;
