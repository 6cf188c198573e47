//! Larder.
pub mod model;
pub mod format;
pub mod codec;
pub mod store;
pub mod tree;
pub mod snapshots;
pub mod ops;
pub mod packs;
