//! Larder: a content-addressed, encrypted store for snapshots of folders.
//!
//! The layers, lowest first; each uses those above it in this list and none below (`ARCHITECTURE.md` says why,
//! `tests/it/tidy.rs` checks it):
//!
//! | module | what it does |
//! |---|---|
//! | [`model`] | the words as plain values |
//! | [`format`] | values to bytes and back, as `store-format.md` says |
//! | [`codec`] | bytes to bytes: cut, hash, compress, seal, wrap keys |
//! | [`store`] | what lasts: folder, database, keys, arrival log |
//! | [`tree`] | sorted maps in pages |
//! | [`snapshots`] | finding and listing snapshots |
//! | [`ops`] | one verb a file: capture, … |
//! | [`cli`] | the command line |
//!
//! Deliberately absent: printing below `cli`, exits below `main`, a clock below the faces, types of RocksDB outside
//! `store/db.rs`, `unsafe`.
pub mod cli;
pub mod codec;
pub mod format;
pub mod model;
pub mod ops;
pub mod snapshots;
pub mod store;
pub mod tree;
