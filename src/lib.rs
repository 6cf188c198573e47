//! Larder.
pub mod model;
pub mod format;
pub mod codec;
pub mod store;
pub mod tree;
pub mod snapshots;
pub mod view;
pub mod mount;
pub mod ops;
pub mod cli;
