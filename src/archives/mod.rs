//! Other people's archives as bytes: what a file is, told by its content; its members one by one; limits on both.
//!
//! `open` takes off what lies around an archive: a seal, a compression. `read` gives its members in the order in
//! which they stand, whoever made it. Nothing here knows stores, trees or the target of an extraction, and nothing it says is more
//! than the archive says: who believes a member is who asked for it.

mod ahead;
mod content;
mod error;
mod fold;
mod form;
mod keys;
mod limits;
mod member;
mod meter;
mod names;
mod open;
mod path;
mod read;
mod remarks;
mod sort;
mod sorter;
mod spill;
mod spool;
mod tar;
mod zip;

#[cfg(test)]
pub(crate) use self::tar::acl_sample;
pub use content::{Content, FromReader, Part};
pub use error::{ArchiveError, Fault, printable};
pub use fold::fold;
pub use form::{Ending, ZipRecords};
pub use keys::{Keys, NoKeys};
pub use limits::{Alike, Declared, Length, Limits, Lost, room};
pub use member::{Member, MemberKind, Members};
pub use open::{Archive, Input, Layer, Opened, OpenedOrText, ReadSeek, is_wrapped, open, open_or_text};
pub use path::PATH_MAX;
pub use read::{HOLE_MAX, Receiver, Tally, read, read_on};
pub use remarks::Remarks;
pub use sorter::{Merge, Pair, Sorted, Sorter};
pub use spill::{Cursor, Records, Spill};
pub use spool::{Spool, SpoolReader};
