//! Larder.
pub mod codec;
pub mod format;
pub mod model;
pub mod snapshots;
pub mod store;
pub mod tree;
