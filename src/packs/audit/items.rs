//! Items of an inventory, as members; and whether a member of the archive is what its item says.

use crate::archives::{Member, MemberKind};
use crate::codec::digest;
use crate::model::Digest;
use crate::packs::form::Form;
use crate::packs::manifest::{Item, ItemKind, Text};
use crate::packs::zip::kept_time;

use super::content::Expected;
use super::error::AuditError;
use super::path::is_path;

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
    /// Of a symlink: its target; of a device: its numbers.
    details: (Option<Box<[u8]>>, Option<(u32, u32)>),
}

impl Understood {
    /// The first of its names, if this is a further one.
    pub(super) fn further_of(&self) -> Option<&[u8]> {
        if let MemberKind::HardLink(first) = &self.member.kind { Some(first) } else { None }
    }

    /// A hash of all that names of one thing share.
    pub(super) fn content(&self) -> Digest {
        let content = (self.kind, &self.expected, &self.details);
        digest(format!("{content:?}").as_bytes())
    }
}

/// Refuses what an item cannot say.
fn wrong(item: &Item, why: &str) -> AuditError {
    AuditError::mismatch(item.path.bytes(), format!("the manifest says of it what cannot be: {why}"))
}

/// An item of an archive with the rules of `form`.
pub(super) fn understand(item: &Item, form: Form) -> Result<Understood, AuditError> {
    let path: Box<[u8]> = item.path.bytes().into();
    if !is_path(&path) || path.is_empty() != (path.is_empty() && item.kind == ItemKind::Folder) {
        return Err(wrong(item, "its path"));
    }
    let mode = Some(&item.mode).filter(|mode| mode.len() == 4).and_then(|mode| u16::from_str_radix(mode, 8).ok());
    let mode = mode.filter(|mode| *mode <= 0o7777).ok_or_else(|| wrong(item, "its mode"))?;
    let is_device = matches!(item.kind, ItemKind::Char | ItemKind::Block);
    let extra = [
        (
            item.kind != ItemKind::File && (item.size.is_some() || item.blake3.is_some() || !item.holes.is_empty()),
            "a content",
        ),
        (item.kind != ItemKind::Symlink && item.target.is_some(), "a target"),
        (!is_device && item.device.is_some(), "numbers of a device"),
    ];
    if let Some((_, what)) = extra.into_iter().find(|(is_there, _)| *is_there) {
        return Err(wrong(item, &format!("{what}, which no such thing has")));
    }
    let link = item.link.as_ref().map(Text::bytes);
    if link.is_some_and(|link| !is_path(link) || link.is_empty()) || (link.is_some() && item.kind == ItemKind::Folder) {
        return Err(wrong(item, "what it is a further name of"));
    }
    let expected = if item.kind == ItemKind::File { Some(expected(item)?) } else { None };
    if item.kind == ItemKind::Symlink && item.target.is_none() {
        return Err(wrong(item, "a symlink without a target"));
    }
    if is_device && item.device.is_none() {
        return Err(wrong(item, "a device without numbers"));
    }
    let (major, minor) = item.device.unwrap_or_default();
    let kind = match (link.filter(|link| **link != *path), item.kind) {
        (Some(first), _) => MemberKind::HardLink(first.into()),
        (None, ItemKind::File) => MemberKind::File { size: expected.as_ref().map_or(0, |expected| expected.size) },
        (None, ItemKind::Folder) => MemberKind::Folder,
        (None, ItemKind::Symlink) => {
            MemberKind::Symlink(item.target.as_ref().map_or_else(Box::default, |target| target.bytes().into()))
        }
        (None, ItemKind::Fifo) => MemberKind::Fifo,
        (None, ItemKind::Socket) => MemberKind::Socket,
        (None, ItemKind::Char) => MemberKind::CharDevice(major, minor),
        (None, ItemKind::Block) => MemberKind::BlockDevice(major, minor),
    };
    let xattrs: Vec<(Box<[u8]>, Box<[u8]>)> =
        item.xattrs.iter().map(|(name, value)| (name.bytes().into(), value.bytes().into())).collect();
    if !xattrs.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(wrong(item, "its attributes, which are out of order"));
    }
    let inside = |path: &[u8]| if path.is_empty() { b"content".to_vec() } else { [&b"content/"[..], path].concat() };
    let name = form.name(item.kind, &path).map(|name| inside(&name));
    let said = match &item.member {
        Some(said) => said.clone().map(String::into_bytes),
        None => Some(inside(&path)),
    };
    if said != name {
        return Err(wrong(item, "the name of its member, which is another in an archive of this form"));
    }
    let owner = |name: &Option<Text>| name.as_ref().map_or_else(Box::default, |name| name.bytes().into());
    Ok(Understood {
        linked: link.is_some(),
        name,
        expected,
        kind: item.kind,
        details: (item.target.as_ref().map(|target| target.bytes().into()), item.device),
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
            is_alike: false,
            replaces: false,
            headers: None,
        },
    })
}

fn expected(item: &Item) -> Result<Expected, AuditError> {
    let size = item.size.ok_or_else(|| wrong(item, "a file without a size"))?;
    let blake3 = item.blake3.as_ref().and_then(|hex| hex.parse().ok()).ok_or_else(|| wrong(item, "its BLAKE3"))?;
    let mut end = 0;
    for (at, (offset, len)) in item.holes.iter().enumerate() {
        let apart = at == 0 || *offset > end;
        let next = offset.checked_add(*len).filter(|next| apart && *len > 0 && *next <= size);
        end = next.ok_or_else(|| wrong(item, "its holes"))?;
    }
    Ok(Expected { size, blake3, holes: item.holes.clone() })
}

/// What of a member of the archive is not what its item says.
pub(super) fn difference(item: &Understood, found: &Member, pack: &[u8]) -> Option<&'static str> {
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
        (MemberKind::HardLink(_), MemberKind::Symlink(target)) => item.details.0.as_ref() == Some(target),
        (MemberKind::HardLink(_), MemberKind::CharDevice(major, minor)) => {
            item.kind == ItemKind::Char && item.details.1 == Some((*major, *minor))
        }
        (MemberKind::HardLink(_), MemberKind::BlockDevice(major, minor)) => {
            item.kind == ItemKind::Block && item.details.1 == Some((*major, *minor))
        }
        (MemberKind::HardLink(_), MemberKind::Fifo) => item.kind == ItemKind::Fifo,
        (MemberKind::File { size }, MemberKind::File { size: found }) if size != found => return Some("its size"),
        (MemberKind::Symlink(target), MemberKind::Symlink(found)) if target != found => return Some("its target"),
        (said, found) => said == found,
    };
    (!same).then_some("what it is")
}

/// What of a member's metadata is not as its item says; of a member that does not say something, that is none.
pub(super) fn drifts(item: &Understood, found: &Member) -> impl Iterator<Item = &'static str> {
    let said = &item.member;
    [
        (said.mode != found.mode, "its mode"),
        (found.uid.is_some_and(|uid| said.uid != Some(uid)), "its owner"),
        (found.gid.is_some_and(|gid| said.gid != Some(gid)), "its group"),
        (!found.user.is_empty() && said.user != found.user, "its owner's name"),
        (!found.group.is_empty() && said.group != found.group, "its group's name"),
        (found.mtime.is_some_and(|mtime| said.mtime != Some(mtime)), "its time of change"),
        // The first name has them for all.
        (!matches!(found.kind, MemberKind::HardLink(_)) && said.xattrs != found.xattrs, "its attributes"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
}

/// The same of a zip, which has modes, and times to the second.
pub(super) fn zip_drift(item: &Understood, found: &Member) -> Option<&'static str> {
    let said = &item.member;
    if said.mode != found.mode {
        return Some("its mode");
    }
    (found.mtime != said.mtime.map(kept_time)).then_some("its time of change")
}
