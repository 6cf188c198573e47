//! A member of an archive as an entry, as snapshots and folders have them.

use crate::archives::{Member, MemberKind};
use crate::model::{Bits, Body, Counts, Entry, InvalidName, Name, PageId, Timestamp, TreeRef, Xattrs};

use super::owners::Owners;

/// Bytes that a symlink's target may have.
const MAX_TARGET: usize = 4095;
/// The mode of a folder that the archive does not tell of.
const FOLDER_MODE: u16 = 0o755;

/// The last name of a path; that of a root is empty.
pub(in crate::ops) fn last_name(path: &[u8]) -> Result<Name, InvalidName> {
    match path.rsplit(|b| *b == b'/').next() {
        Some(name) if !path.is_empty() => Name::new(name),
        _ => Ok(Name::root()),
    }
}

/// A path as a key whose order is preorder: what is in a folder stands behind it and before all that is not.
pub(in crate::ops) fn key_of(path: &[u8]) -> Box<[u8]> {
    path.iter().map(|b| if *b == b'/' { 0 } else { *b }).collect()
}

/// The path of a key.
pub(in crate::ops) fn path_of(key: &[u8]) -> Vec<u8> {
    key.iter().map(|b| if *b == 0 { b'/' } else { *b }).collect()
}

/// Who owns what nobody owns.
#[derive(Debug)]
pub(in crate::ops) struct Importer {
    uid: u32,
    gid: u32,
    owners: Owners,
}

impl Importer {
    /// The user of this process.
    pub(in crate::ops) fn new() -> Self {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Self { uid, gid, owners: Owners::default() }
    }

    /// A member as an entry; a file's body and the xattrs are still to be filled in.
    ///
    /// # Errors
    /// Says what about it cannot be.
    pub(in crate::ops) fn entry(&mut self, member: &Member) -> Result<Entry, String> {
        let path = &member.path;
        for name in path.split(|b| *b == b'/').filter(|_| !path.is_empty()) {
            Name::new(name).map_err(|_| "a name in it is too long, or none that a folder can hold")?;
        }
        let body = match &member.kind {
            MemberKind::Folder => no_tree(),
            _ if path.is_empty() => return Err("it is not a folder".to_owned()),
            MemberKind::Symlink(target) if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) => {
                return Err("the target of the symlink is empty, too long or holds a zero byte".to_owned());
            }
            MemberKind::Symlink(target) => Body::Symlink(target.clone()),
            MemberKind::CharDevice(major, minor) => Body::CharDevice(*major, *minor),
            MemberKind::BlockDevice(major, minor) => Body::BlockDevice(*major, *minor),
            MemberKind::Socket => Body::Socket,
            // Files and further names get theirs later.
            MemberKind::Fifo | MemberKind::File { .. } | MemberKind::HardLink(_) => Body::Fifo,
        };
        let (uid, gid) = (member.uid.unwrap_or(self.uid), member.gid.unwrap_or(self.gid));
        let given = |name: &[u8]| if name.len() > 255 { Box::default() } else { name.into() };
        Ok(Entry {
            name: last_name(path).map_err(|e| e.to_string())?,
            bits: Bits::default(),
            mode: member.mode & 0o7777,
            uid,
            gid,
            user: if member.uid.is_some() { given(&member.user) } else { self.owners.user(uid) },
            group: if member.gid.is_some() { given(&member.group) } else { self.owners.group(gid) },
            mtime: member.mtime.unwrap_or(Timestamp::EPOCH),
            btime: member.btime,
            xattrs: Xattrs::None,
            link: None,
            body,
            ext: Vec::new(),
        })
    }

    /// A folder that the archive does not tell of.
    pub(in crate::ops) fn folder(&mut self, path: &[u8]) -> Result<Entry, String> {
        Ok(Entry {
            name: last_name(path).map_err(|e| e.to_string())?,
            bits: Bits::default(),
            mode: FOLDER_MODE,
            uid: self.uid,
            gid: self.gid,
            user: self.owners.user(self.uid),
            group: self.owners.group(self.gid),
            mtime: Timestamp::EPOCH,
            btime: None,
            xattrs: Xattrs::None,
            link: None,
            body: no_tree(),
            ext: Vec::new(),
        })
    }
}

/// A folder's body while its tree is not yet known.
fn no_tree() -> Body {
    Body::Folder(TreeRef { page: PageId::from_bytes([0; 32]), counts: Counts::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_preorder() {
        let mut paths = ["a", "a!", "a-b", "a/b", "a/b/c", "a/b!", "", "b"];
        paths.sort_by_key(|path| key_of(path.as_bytes()));
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a/b!", "a!", "a-b", "b"]);
        assert!(paths.iter().all(|path| path_of(&key_of(path.as_bytes())) == path.as_bytes()));
    }
}
