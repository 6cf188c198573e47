//! The mount: translates what the kernel asks into questions to a [`View`]. The one door to fuser.
//!
//! Content never changes, so the kernel may keep for ever what it was told about a tree; only the few folders that list
//! snapshots are looked at again. Two layouts: one snapshot as the root, or the whole store ([`layout`]).

mod answers;
mod asked;
mod attr;
mod counts;
mod desk;
mod error;
mod fs;
mod guard;
mod held;
mod kernel;
mod layout;
mod number;
mod options;
mod push;
mod readahead;
mod session;
mod stats;
mod unmount;
mod watch;

pub use error::MountError;
pub use options::{DEFAULT_CACHE, DEFAULT_DEADLINE, MountOptions, share_of_blocks};
pub use session::mount;
pub use stats::{Stats, stats};
pub use unmount::unmount;

#[cfg(test)]
mod tests;
