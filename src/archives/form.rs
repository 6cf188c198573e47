//! How an archive is written beside what it holds: for whoever knows how it should be, to the byte.

use crate::model::Timestamp;

/// What a zip says of a member: the records as they stand there, and what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipRecords {
    /// Which one of the directory's it is, from 0.
    pub number: u64,
    /// Its path as it is understood.
    pub path: Box<[u8]>,
    /// Its name as it stands there.
    pub name: Vec<u8>,
    /// Sort and permission as Unix has them.
    pub mode: u32,
    /// When its content was changed.
    pub mtime: Option<Timestamp>,
    /// How its content is compressed.
    pub method: u16,
    /// CRC-32 of its content.
    pub crc: u32,
    /// Bytes of its content.
    pub size: u64,
    /// The same as they are stored.
    pub stored: u64,
    /// Sum and sizes stand behind the content.
    pub is_streamed: bool,
    /// Where the record in front of its content begins.
    pub offset: u64,
    /// That record, with name and extra fields.
    pub local: Vec<u8>,
    /// What stands between its content and the next member, or the directory: the first bytes.
    pub behind: Vec<u8>,
    /// Its record in the directory, with name, extra fields and comment.
    pub central: Vec<u8>,
}

/// What an archive ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Of a tar.
    Tar {
        /// Bytes in front of its first empty block.
        start: u64,
        /// Zeros from there on.
        zeros: u64,
        /// Headers that belong to no member stand in front of it.
        has_lone: bool,
    },
    /// Of a zip.
    Zip {
        /// Members.
        members: u64,
        /// Where the directory begins, and its bytes.
        directory: (u64, u64),
        /// What stands behind it, but for zeros that fill up the file.
        bytes: Vec<u8>,
    },
}
