//! Snapshots: finding them by what users call them, listing them, what the log says of all of them.

mod holds;
mod list;
mod name;
mod register;
mod resolve;
mod when;
mod witness;

pub use holds::{Hold, Holds};
pub use list::{List, Listed, Wanted};
pub use name::{InvalidSnapshotName, SnapshotName};
pub use register::{Moment, Policy, Register, Standing};
pub use resolve::{ResolveError, resolve, resolve_row};
pub use when::{When, age_seconds};
pub use witness::{ClockBehind, Counted, Witnesses};
