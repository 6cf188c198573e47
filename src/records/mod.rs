//! What other systems keep as records: JSON read without loss, its canonical forms, chains of hashes over it.

pub mod canonical;
mod chain;
pub mod json;

pub use chain::{ALGORITHM, Chain, ChainFault, DOMAIN, Link, content_hash_of, follow, same};
