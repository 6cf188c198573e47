//! A member's headers as `tar-v1` has them, made of what an inventory says of it.

use tar::EntryType;

use crate::archives::{Member as Said, MemberKind};
use crate::model::{Extent, Timestamp};

use super::header::{Member, put_headers};
use super::member::{full_name, make_sparse, records_of};
use super::sparse::Ranges;

/// All that stands in front of the content of what is said, its map of holes too; nothing if it has no member. `prefix` stands in front of its path.
pub(crate) fn headers(prefix: &[u8], said: &Said, holes: &[(u64, u64)]) -> Option<Vec<u8>> {
    let is_folder = said.kind == MemberKind::Folder;
    let mut member = Member {
        kind: EntryType::Regular,
        path: full_name(prefix, &said.path, is_folder),
        short_path: None,
        link: None,
        mode: said.mode,
        uid: said.uid.unwrap_or(0),
        gid: said.gid.unwrap_or(0),
        user: &said.user,
        group: &said.group,
        mtime: said.mtime.unwrap_or(Timestamp::EPOCH),
        size: 0,
        device: (0, 0),
        records: Vec::new(),
    };
    let mut map = Vec::new();
    if !matches!(said.kind, MemberKind::HardLink(_)) {
        member.records = records_of(said.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())));
    }
    match &said.kind {
        MemberKind::File { size } => {
            member.size = *size;
            let mut ranges = Ranges::default();
            holes.iter().for_each(|(offset, len)| ranges.hole(Extent { offset: *offset, len: *len }, *size));
            if let Some(ranges) = ranges.finish(*size) {
                map = make_sparse(&ranges, prefix, &said.path, *size, &mut member);
            }
        }
        MemberKind::Folder => member.kind = EntryType::Directory,
        MemberKind::Symlink(target) => (member.kind, member.link) = (EntryType::Symlink, Some(target.to_vec())),
        MemberKind::HardLink(first) => {
            (member.kind, member.link) = (EntryType::Link, Some(full_name(prefix, first, false)));
        }
        MemberKind::Fifo => member.kind = EntryType::Fifo,
        MemberKind::CharDevice(major, minor) => (member.kind, member.device) = (EntryType::Char, (*major, *minor)),
        MemberKind::BlockDevice(major, minor) => (member.kind, member.device) = (EntryType::Block, (*major, *minor)),
        MemberKind::Socket => return None,
    }
    let mut bytes = Vec::new();
    put_headers(&mut bytes, &member);
    bytes.extend_from_slice(&map);
    Some(bytes)
}
