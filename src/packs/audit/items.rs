//! Items of an inventory, as members; and whether a member of the archive is what its item says.

use crate::archives::{Member, MemberKind};
use crate::model::Name;
use crate::packs::manifest::{Item, ItemKind};

use super::content::Expected;
use super::error::AuditError;

/// An item, understood.
#[derive(Debug)]
pub(super) struct Understood {
    /// All that is known of it, its path from the snapshot's root.
    pub(super) member: Member,
    /// It has or had further names.
    pub(super) linked: bool,
    /// Its name below the pack's folder; nothing if it is not in the archive.
    pub(super) name: Option<Vec<u8>>,
    /// Of a file, further names too.
    pub(super) expected: Option<Expected>,
    /// What it is, whether or not this is its first name.
    pub(super) kind: ItemKind,
}

/// Refuses what an item cannot say.
fn wrong(item: &Item, why: &str) -> AuditError {
    AuditError::mismatch(item.path.bytes(), format!("the manifest says of it what cannot be: {why}"))
}

fn is_path(path: &[u8]) -> bool {
    path.is_empty() || path.split(|b| *b == b'/').all(|name| Name::new(name).is_ok())
}

pub(super) fn understand(item: &Item) -> Result<Understood, AuditError> {
    let path: Box<[u8]> = item.path.bytes().into();
    if !is_path(&path) || path.is_empty() != (path.is_empty() && item.kind == ItemKind::Folder) {
        return Err(wrong(item, "its path"));
    }
    let mode = Some(&item.mode).filter(|mode| mode.len() == 4).and_then(|mode| u16::from_str_radix(mode, 8).ok());
    let mode = mode.filter(|mode| *mode <= 0o7777).ok_or_else(|| wrong(item, "its mode"))?;
    let link = item.link.as_ref().map(crate::packs::manifest::Text::bytes);
    if link.is_some_and(|link| !is_path(link) || link.is_empty()) || (link.is_some() && item.kind == ItemKind::Folder) {
        return Err(wrong(item, "what it is a further name of"));
    }
    let expected = if item.kind == ItemKind::File { Some(expected(item)?) } else { None };
    let kind = match (link.filter(|link| **link != *path), item.kind) {
        (Some(first), _) => MemberKind::HardLink(first.into()),
        (None, ItemKind::File) => MemberKind::File { size: expected.as_ref().map_or(0, |expected| expected.size) },
        (None, ItemKind::Folder) => MemberKind::Folder,
        (None, ItemKind::Symlink) => {
            let target = item.target.as_ref().ok_or_else(|| wrong(item, "a symlink without a target"))?;
            MemberKind::Symlink(target.bytes().into())
        }
        (None, ItemKind::Fifo) => MemberKind::Fifo,
        (None, ItemKind::Socket) => MemberKind::Socket,
        (None, ItemKind::Char | ItemKind::Block) => {
            let (major, minor) = item.device.ok_or_else(|| wrong(item, "a device without numbers"))?;
            if item.kind == ItemKind::Char {
                MemberKind::CharDevice(major, minor)
            } else {
                MemberKind::BlockDevice(major, minor)
            }
        }
    };
    let xattrs: Vec<(Box<[u8]>, Box<[u8]>)> =
        item.xattrs.iter().map(|(name, value)| (name.bytes().into(), value.bytes().into())).collect();
    if !xattrs.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(wrong(item, "its attributes, which are out of order"));
    }
    let name = match &item.member {
        Some(None) => None,
        Some(Some(name)) => Some(name.clone().into_bytes()),
        None if path.is_empty() => Some(b"content".to_vec()),
        None => Some([&b"content/"[..], &path].concat()),
    };
    let owner = |name: &Option<crate::packs::manifest::Text>| {
        name.as_ref().map_or_else(Box::default, |name| name.bytes().into())
    };
    Ok(Understood {
        linked: link.is_some(),
        name,
        expected,
        kind: item.kind,
        member: Member {
            path,
            kind,
            mode,
            uid: Some(item.uid),
            gid: Some(item.gid),
            user: owner(&item.user),
            group: owner(&item.group),
            mtime: Some(item.mtime.0),
            btime: item.btime.map(|time| time.0),
            xattrs,
        },
    })
}

fn expected(item: &Item) -> Result<Expected, AuditError> {
    let size = item.size.ok_or_else(|| wrong(item, "a file without a size"))?;
    let blake3 = item.blake3.as_ref().map(|hex| hex.parse().map_err(|_| wrong(item, "its BLAKE3"))).transpose()?;
    let mut end = 0;
    for (at, (offset, len)) in item.holes.iter().enumerate() {
        let apart = at == 0 || *offset > end;
        let next = offset.checked_add(*len).filter(|next| apart && *len > 0 && *next <= size);
        end = next.ok_or_else(|| wrong(item, "its holes"))?;
    }
    Ok(Expected { size, blake3, holes: item.holes.clone() })
}

/// What of a member of the archive is not as its item says. `whole`: the form carries all that a member has.
pub(super) fn difference(item: &Understood, found: &Member, pack: &[u8], whole: bool) -> Option<&'static str> {
    let said = &item.member;
    let same = match (&said.kind, &found.kind) {
        (MemberKind::HardLink(first), MemberKind::HardLink(target)) => {
            let inside = target.strip_prefix(pack).and_then(|rest| rest.strip_prefix(b"/content/"));
            return (inside != Some(&**first)).then_some("what it is a further name of");
        }
        // What has no hard links has the content once more.
        (MemberKind::HardLink(_), MemberKind::File { size }) => {
            item.expected.as_ref().is_some_and(|expected| expected.size == *size)
        }
        (MemberKind::HardLink(_), MemberKind::Symlink(_)) => item.kind == ItemKind::Symlink,
        (MemberKind::File { size }, MemberKind::File { size: found }) if size != found => return Some("its size"),
        (MemberKind::Symlink(target), MemberKind::Symlink(found)) if target != found => return Some("its target"),
        (said, found) => said == found,
    };
    if !same {
        return Some("what it is");
    }
    if !whole {
        return None;
    }
    [
        (said.mode != found.mode, "its mode"),
        (found.uid.is_some_and(|uid| said.uid != Some(uid)), "its owner"),
        (found.gid.is_some_and(|gid| said.gid != Some(gid)), "its group"),
        (!found.user.is_empty() && said.user != found.user, "its owner's name"),
        (!found.group.is_empty() && said.group != found.group, "its group's name"),
        (found.mtime.is_some_and(|mtime| said.mtime != Some(mtime)), "its time of change"),
        (said.xattrs != found.xattrs, "its attributes"),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}
