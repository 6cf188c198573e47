//! Snapshots: finding them by what users call them, listing them.

mod list;
mod resolve;
mod when;

pub use list::{List, Listed, Wanted};
pub use resolve::{ResolveError, SnapshotName, resolve, resolve_row};
pub use when::When;
