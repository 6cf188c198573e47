//! A node: an entry with its number, and what `stat` tells of it.

use crate::model::{Bits, Body, Chunks, Entry, Holes, Timestamp, Xattrs};

use super::NodeId;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// What `stat` tells of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub id: NodeId,
    /// What it is.
    pub kind: Kind,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file, length of a symlink's target, number of entries of a folder.
    pub size: u64,
    /// Units of 512 bytes that the data takes, holes not counted.
    pub blocks: u64,
    /// Names that it has; of a folder 2 and one for each folder in it.
    pub nlink: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Major and minor number of a device.
    pub device: (u32, u32),
}

/// A node of a snapshot.
#[derive(Debug)]
pub struct Node {
    pub(super) id: NodeId,
    pub(super) parent: NodeId,
    pub(super) entry: Entry,
    pub(super) nlink: u64,
}

impl Node {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The folder it is in; a root is in itself.
    #[must_use]
    pub fn parent(&self) -> NodeId {
        self.parent
    }

    /// The entry. Of a group of hard links it may be that of any of its names.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// True if it has extended attributes, ACLs among them.
    #[must_use]
    pub fn has_xattrs(&self) -> bool {
        self.entry.bits.has(Bits::XATTRS) || self.entry.xattrs != Xattrs::None
    }

    /// What `stat` tells.
    #[must_use]
    pub fn attr(&self) -> Attr {
        let entry = &self.entry;
        let (kind, size, device) = match &entry.body {
            Body::File(file) => (Kind::File, file.size, (0, 0)),
            Body::Folder(tree) => (Kind::Folder, tree.counts.entries, (0, 0)),
            Body::Symlink(target) => (Kind::Symlink, target.len() as u64, (0, 0)),
            Body::Fifo => (Kind::Fifo, 0, (0, 0)),
            Body::Socket => (Kind::Socket, 0, (0, 0)),
            Body::CharDevice(major, minor) => (Kind::CharDevice, 0, (*major, *minor)),
            Body::BlockDevice(major, minor) => (Kind::BlockDevice, 0, (*major, *minor)),
        };
        Attr {
            id: self.id,
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size,
            blocks: data_bytes(entry).div_ceil(512),
            nlink: self.nlink,
            mtime: entry.mtime,
            device,
        }
    }

    /// About how much memory it takes.
    pub(super) fn weight(&self) -> u64 {
        let entry = &self.entry;
        let mut bytes = size_of::<Self>() + 64 + entry.name.as_bytes().len() + entry.user.len() + entry.group.len();
        bytes += match &entry.xattrs {
            Xattrs::None => 0,
            Xattrs::List(list) => list.iter().map(|(name, value)| 48 + name.len() + value.len()).sum(),
            Xattrs::Chunks(list) => list.len() * 40,
        };
        bytes += match &entry.body {
            Body::File(file) => {
                let chunks = if let Chunks::List(list) = &file.chunks { list.len() * 40 } else { 0 };
                let holes = if let Holes::List(list) = &file.holes { list.len() * 16 } else { 0 };
                chunks + holes
            }
            Body::Symlink(target) => target.len(),
            _ => 0,
        };
        bytes as u64
    }
}

/// Bytes of a file that are not in holes.
fn data_bytes(entry: &Entry) -> u64 {
    let Some(file) = entry.file() else { return 0 };
    let holes = match &file.holes {
        Holes::None => 0,
        Holes::List(list) => list.iter().map(|hole| hole.len).sum(),
        Holes::Paged(_, counts) => counts.bytes,
    };
    file.size.saturating_sub(holes)
}
