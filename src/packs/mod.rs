//! Packs: a snapshot, or part of one, as a portable file. One format a file.

mod error;
pub mod tar;

pub use error::PackError;
