//! Attributes and errors as the kernel takes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo};

use crate::store::StoreError;
use crate::view::{Attr, Kind, ViewError};

/// How long the kernel may keep what never changes.
pub(super) const FOREVER: Duration = Duration::from_secs(u64::MAX);
/// How long it may keep what lists snapshots.
pub(super) const SHORT: Duration = Duration::from_secs(1);

/// Told as the best size of a read.
const BLKSIZE: u32 = 1 << 20;
/// Told of folders, which the C library takes as the buffer for a listing: some 1,400 entries an answer. More at a time save nothing
/// that can be measured, and let wait longer for the first.
const FOLDER_BLKSIZE: u32 = 256 << 10;

fn blksize(kind: FileType) -> u32 {
    if kind == FileType::Directory { FOLDER_BLKSIZE } else { BLKSIZE }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// The attributes of a node under an inode number.
pub(super) fn of_node(ino: u64, attr: &Attr) -> FileAttr {
    let time = attr.mtime.to_system();
    let (major, minor) = attr.device;
    FileAttr {
        ino: INodeNo(ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
        uid: attr.uid,
        gid: attr.gid,
        // As the kernel's new_decode_dev reads it.
        rdev: (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12),
        blksize: blksize(file_type(attr.kind)),
        flags: 0,
    }
}

/// The attributes of a folder or link that lists snapshots, owned by whoever mounted.
pub(super) fn synthetic(ino: u64, kind: FileType, size: u64, nlink: u64, time: SystemTime) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: if kind == FileType::Directory { 0o555 } else { 0o777 },
        nlink: u32::try_from(nlink).unwrap_or(u32::MAX),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        rdev: 0,
        blksize: blksize(kind),
        flags: 0,
    }
}

/// The answer that there is no such name, in the form that the kernel may keep.
pub(super) fn absent() -> FileAttr {
    synthetic(0, FileType::RegularFile, 0, 0, UNIX_EPOCH)
}

/// A folder in a listing, of which nothing else is known.
pub(super) fn unread_folder(ino: u64) -> FileAttr {
    synthetic(ino, FileType::Directory, 0, 2, UNIX_EPOCH)
}

/// Which error the reader gets.
pub(super) fn errno(error: &ViewError) -> Errno {
    match error {
        ViewError::Stale(_) => Errno::ESTALE,
        ViewError::NotA { wanted: "folder", .. } => Errno::ENOTDIR,
        ViewError::NotA { .. } => Errno::EINVAL,
        ViewError::Store(StoreError::Closed { .. }) => Errno::EACCES,
        ViewError::Store(_) => Errno::EIO,
    }
}
