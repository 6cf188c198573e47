//! Other people's archives as bytes: what a file is, told by its content; its members one by one; limits on both.
//!
//! `open` takes off what lies around an archive: a seal, a compression. `read` gives its members in the order in
//! which they stand, whoever made it. Nothing here knows stores, trees or the target of an extraction, and nothing it says is more
//! than the archive says: who believes a member is who asked for it.

mod ahead;
mod content;
mod error;
mod keys;
mod limits;
mod member;
mod meter;
mod open;
mod sorter;
mod spill;
mod sort;
mod spool;

pub use content::{Content, FromReader, Part};
pub use error::ArchiveError;
pub use keys::{Keys, NoKeys};
pub use limits::Limits;
pub use member::{Member, MemberKind};
pub use sorter::{Merge, Pair, Sorted, Sorter};
pub use spill::{Cursor, Records, Spill};
pub use open::{Archive, Input, Layer, Opened, ReadSeek, open};
pub use spool::{Spool, SpoolReader};
