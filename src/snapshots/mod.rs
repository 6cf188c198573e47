//! Snapshots: finding them by what users call them, listing them.

mod resolve;

pub use resolve::{Listed, ResolveError, SnapshotName, list, resolve};
