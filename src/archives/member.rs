//! A member of an archive, as the archive tells of it.

use crate::model::{Digest, Timestamp};

use super::content::Content;
use super::error::ArchiveError;
use super::form::{Ending, ZipRecords};
use super::remarks::Remarks;

/// A member. What the archive does not say is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Names from the archive's root, joined by `/`, checked: none is empty, `.` or `..`, none holds a `/` or a zero byte, nothing stands in front or behind.
    /// The root itself is empty.
    pub path: Box<[u8]>,
    /// What it is.
    pub kind: MemberKind,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Number of the owner.
    pub uid: Option<u32>,
    /// Number of the group.
    pub gid: Option<u32>,
    /// Name of the owner; empty if unknown.
    pub user: Box<[u8]>,
    /// Name of the group; empty if unknown.
    pub group: Box<[u8]>,
    /// When the content was changed.
    pub mtime: Option<Timestamp>,
    /// When it was made.
    pub btime: Option<Timestamp>,
    /// Extended attributes, ascending by name, each name once; ACLs among them in the kernel's form.
    pub xattrs: Vec<(Box<[u8]>, Box<[u8]>)>,
    /// But for letter case or accents it, or a folder that came with it, has the name of an earlier member. Who reads an archive finds that out.
    pub is_alike: bool,
    /// It takes the place of an earlier member with its name. Who reads an archive finds that out, and lets it in if duplicates are.
    pub replaces: bool,
    /// Of a tar: BLAKE3 of all that stands in front of its content and behind the member before: headers, records, a map of holes.
    pub headers: Option<Digest>,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A folder.
    Folder,
    /// A file; its content follows.
    File {
        /// Bytes, holes counted. The content has just as many, or ends with an error.
        size: u64,
    },
    /// A symlink and its target, as it stands there: nobody has checked where it leads.
    Symlink(Box<[u8]>),
    /// A further name of an earlier member, whose path, checked, is given.
    HardLink(Box<[u8]>),
    /// A pipe.
    Fifo,
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A socket.
    Socket,
}

impl Member {
    /// A member of which nothing is known but what it is: at the root, with the mode that such things usually have.
    #[must_use]
    pub fn new(kind: MemberKind) -> Self {
        let mode = match kind {
            MemberKind::Folder => 0o755,
            MemberKind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Self {
            path: Box::default(),
            kind,
            mode,
            uid: None,
            gid: None,
            user: Box::default(),
            group: Box::default(),
            mtime: None,
            btime: None,
            xattrs: Vec::new(),
            is_alike: false,
            replaces: false,
            headers: None,
        }
    }
}

/// What gives members, and the content of the one that it gave last.
pub trait Members: Content {
    /// The next member. What was not read of the last one's content is passed over.
    ///
    /// # Errors
    /// If there is none that can be read or let in. Behind a fault of one member, or of its content, the next can be asked for.
    fn member(&mut self) -> Result<Option<Member>, ArchiveError>;

    /// What was strange so far, and did not stop the reading.
    fn remarks(&mut self) -> Remarks;

    /// The records of the member that came last, of a zip.
    ///
    /// # Errors
    /// If they cannot be read.
    fn records(&mut self) -> Result<Option<ZipRecords>, ArchiveError> {
        Ok(None)
    }

    /// What the archive ends with, of a tar or zip all of whose members came.
    ///
    /// # Errors
    /// If it cannot be read.
    fn ending(&mut self) -> Result<Option<Ending>, ArchiveError> {
        Ok(None)
    }
}
