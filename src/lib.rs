//! Larder keeps snapshots of folders: every byte once, compressed and encrypted, and gives each snapshot back as a read-only
//! folder, a tar or the files themselves.
//!
//! Layers, top to bottom; each uses only those below it:
//!
//! | module | what it knows |
//! |---|---|
//! | [`cli`] | arguments, the terminal, exit statuses |
//! | [`mount`] | FUSE |
//! | [`packs`] | what a pack is; one archive format a folder: tar, zip |
//! | [`ops`] | one verb a file: capture, restore, verify … |
//! | [`sql`] | databases that mirror records: statements, streams of rows, transactions |
//! | [`archives`] | archives as bytes: members, limits |
//! | [`view`] | a read-only file system over trees |
//! | [`records`] | JSON of other systems without loss, canonical forms, the evidence chain, exchange records, redaction |
//! | [`snapshots`] | what snapshots are called |
//! | [`tree`] | folders, chunk lists, hole maps, hard links as sorted maps in pages |
//! | [`store`] | durable and atomic: the database, the log, keys in use |
//! | [`codec`] | bytes to bytes: cut, hash, compress, seal, wrap |
//! | [`format`] | values to bytes and back, as `store-format.md` says |
//! | [`model`] | the words, as plain values |
//!
//! Deliberately absent: printing below `cli`, clocks and terminals below `cli` (they come in as values), RocksDB types
//! outside `store/db.rs`, plain bytes in the database of an encrypted store.
//!
//! ```no_run
//! use larder::model::Quiet;
//! # fn keys() -> Box<dyn larder::store::Unlock> { unimplemented!() }
//! # fn dirs() -> larder::store::ClientDirs { unimplemented!() }
//! let store = larder::store::open("/srv/larder".as_ref(), &*keys(), &dirs(), Default::default())?;
//! for row in store.snapshots()? {
//!     println!("{}", row.id);
//! }
//! # Ok::<(), larder::store::StoreError>(())
//! ```

pub mod archives;
pub mod cli;
pub mod codec;
pub mod format;
pub mod model;
pub mod mount;
pub mod ops;
pub mod packs;
pub mod records;
pub mod snapshots;
pub mod sql;
pub mod store;
pub mod tree;
pub mod view;

#[cfg(test)]
#[path = "../fuzz/src/properties/mod.rs"]
mod properties;
