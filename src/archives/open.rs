//! What lies around an archive, taken off: seals and compressions, told by content and never by name.

use std::io::{Read, Seek};

use super::member::Members;

/// An archive with nothing around it.
pub enum Opened {
    /// A tar, from its first byte. Read to its end, it tells whether what lay around it was whole.
    Tar(Box<dyn Read + Send>),
    /// A zip.
    Zip(Box<dyn ReadSeek>),
    /// What gives members in some other way.
    Members(Box<dyn Members + Send>),
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tar(_) => "Tar",
            Self::Zip(_) => "Zip",
            Self::Members(_) => "Members",
        })
    }
}

/// What can be read at any place.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}
