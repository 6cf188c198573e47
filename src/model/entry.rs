//! An entry of a folder: everything that is kept of a file, folder, link, device or pipe.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use super::page::{ChunkCounts, HoleCounts};
use super::{ChunkId, Counts, Digest, Ext, LinkGroup, PageId, Timestamp};

/// A name within a folder: 1–255 bytes, no `/`, no NUL, not `.` or `..`. Not text: any other bytes may occur.
/// The one exception is the empty name of a root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// Why some bytes are not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a name that a folder can hold: {0:?}")]
pub struct InvalidName(String);

impl Name {
    /// Longest name in bytes.
    pub const MAX: usize = 255;

    /// The empty name, which only a root has.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Checks and takes a name.
    ///
    /// # Errors
    /// If the bytes cannot be a name.
    pub fn new(bytes: &[u8]) -> Result<Self, InvalidName> {
        let good = !bytes.is_empty()
            && bytes.len() <= Self::MAX
            && !bytes.iter().any(|b| matches!(b, 0 | b'/'))
            && bytes != b"."
            && bytes != b"..";
        if good { Ok(Self(bytes.into())) } else { Err(InvalidName(String::from_utf8_lossy(bytes).into_owned())) }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the operating system takes it.
    #[must_use]
    pub fn as_os(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Facts about an entry that can be told without a look into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bits(pub u16);

impl Bits {
    /// Has extended attributes.
    pub const XATTRS: Self = Self(1);
    /// Has a POSIX access ACL.
    pub const ACCESS_ACL: Self = Self(2);
    /// Has a POSIX default ACL.
    pub const DEFAULT_ACL: Self = Self(4);
    /// A folder whose content stands elsewhere in the tree.
    pub const VIEW: Self = Self(8);

    /// True if all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One chunk of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Which chunk.
    pub id: ChunkId,
    /// Its length in bytes, never 0.
    pub len: u32,
}

/// A byte range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Bytes, never 0.
    pub len: u64,
}

/// The chunks that hold a file's content without its holes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunks {
    /// No data.
    None,
    /// One chunk, the whole content: its id follows from the content's BLAKE3.
    Whole,
    /// A short list.
    List(Vec<ChunkRef>),
    /// A long list in pages.
    Paged(PageId, ChunkCounts),
    /// A part of one chunk: from so many bytes on, as many as the file has.
    Part(ChunkRef, u32),
}

/// The holes of a sparse file: ascending, not touching, inside its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holes {
    /// None.
    None,
    /// A short list.
    List(Vec<Extent>),
    /// A long list in pages.
    Paged(PageId, HoleCounts),
}

/// A value that stands inline if short and in chunks if long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LongValue {
    /// The value.
    Inline(Vec<u8>),
    /// The chunks that make it.
    Chunks(Vec<ChunkRef>),
}

/// Extended attributes, ACLs among them, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Xattrs {
    /// None.
    None,
    /// Few and short.
    List(Vec<(Vec<u8>, Vec<u8>)>),
    /// Long: chunks of the encoded list.
    Chunks(Vec<ChunkRef>),
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBody {
    /// Bytes, holes included.
    pub size: u64,
    /// CRC-32 (IEEE) of the content, holes as zeros.
    pub crc32: Option<u32>,
    /// BLAKE3 of the content, holes as zeros.
    pub content: Option<Digest>,
    /// Where the data is.
    pub chunks: Chunks,
    /// Where there is none.
    pub holes: Holes,
}

impl FileBody {
    /// An empty file.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            crc32: Some(0),
            content: Some(Digest::from_bytes(EMPTY_BLAKE3)),
            chunks: Chunks::None,
            holes: Holes::None,
        }
    }
}

/// BLAKE3 of no bytes.
const EMPTY_BLAKE3: [u8; 32] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b, 0xcb, 0x25,
    0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];

/// A folder's content: the root of its pages and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeRef {
    /// Root page.
    pub page: PageId,
    /// Sums over the folder.
    pub counts: Counts,
}

/// What an entry is, with what belongs to its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A regular file.
    File(FileBody),
    /// A folder.
    Folder(TreeRef),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A named pipe.
    Fifo,
    /// A socket (never captured; kept for completeness).
    Socket,
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; empty for a root.
    pub name: Name,
    /// Facts that need no look-up.
    pub bits: Bits,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name, empty if unknown.
    pub user: Box<[u8]>,
    /// Group's name, empty if unknown.
    pub group: Box<[u8]>,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// When it was made, where known.
    pub btime: Option<Timestamp>,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Group of hard links it belongs to.
    pub link: Option<LinkGroup>,
    /// What it is.
    pub body: Body,
    /// What later versions add.
    pub ext: Ext,
}

impl Entry {
    /// The file's body, if it is a file.
    #[must_use]
    pub fn file(&self) -> Option<&FileBody> {
        if let Body::File(file) = &self.body { Some(file) } else { None }
    }

    /// The folder's tree, if it is a folder.
    #[must_use]
    pub fn folder(&self) -> Option<&TreeRef> {
        if let Body::Folder(tree) = &self.body { Some(tree) } else { None }
    }

    /// Size of a file, length of a symlink's target, else 0.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File(file) => file.size,
            Body::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }

    /// How many preorder numbers the entry takes: itself and, of a folder, all below.
    #[must_use]
    pub fn span(&self) -> u64 {
        1 + self.folder().map_or(0, |tree| tree.counts.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in [&b"a"[..], b"...", b"\xff\xfe", &[b'x'; 255], b" ", b"a\nb"] {
            assert!(Name::new(good).is_ok());
        }
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            assert!(Name::new(bad).is_err());
        }
    }
}
