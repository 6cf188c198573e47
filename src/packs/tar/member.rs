//! One batch of a tree as members of a tar.

use std::sync::Arc;

use tar::EntryType;

use crate::model::{Body, Extent, FileBody};
use crate::store::StoreError;
use crate::tree::{Node, Pages, Part, Stretch, Visit};

use super::acl::acl_text;
use super::header::{Member, pad, put_headers};
use super::sparse::{data_ranges, inner_hole, map};
use crate::packs::{Loss, Losses, PackError};

/// A batch in its final bytes.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) members: u64,
    pub(super) content: u64,
    pub(super) losses: Losses,
}

/// Writes a batch behind what is in `bytes` (nothing: it is a buffer to be used again).
pub(super) fn pack(pages: &Pages, batch: Vec<Visit>, bytes: Vec<u8>) -> Result<Packed, PackError> {
    let mut packed = Packed { bytes, members: 0, content: 0, losses: Losses::default() };
    for visit in batch {
        match visit {
            Visit::Enter { node, part, first } => packed.enter(pages, &node, part, first.as_deref())?,
            Visit::Part(node, part) => packed.content(pages, &node, part)?,
            Visit::Leave(_) => {}
            Visit::Lost(node, error) => return Err(PackError::of(&node)(error)),
        }
    }
    Ok(packed)
}

/// A member's name: from the root, folders with a slash behind.
fn name(node: &Node) -> Vec<u8> {
    let slash = node.entry.folder().is_some() && !node.path.is_empty();
    [&b"./"[..], &node.path, if slash { b"/" } else { b"" }].concat()
}

impl Packed {
    fn enter(
        &mut self,
        pages: &Pages,
        node: &Arc<Node>,
        part: Option<Part>,
        first: Option<&Node>,
    ) -> Result<(), PackError> {
        let entry = &node.entry;
        let mut member = Member {
            kind: EntryType::Regular,
            path: name(node),
            short_path: None,
            link: None,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            user: &entry.user,
            group: &entry.group,
            mtime: entry.mtime,
            size: 0,
            device: (0, 0),
            records: Vec::new(),
        };
        match &entry.body {
            Body::File(file) => member.size = file.size,
            Body::Folder(_) => member.kind = EntryType::Directory,
            Body::Symlink(target) => {
                member.kind = EntryType::Symlink;
                member.link = Some(target.to_vec());
            }
            Body::Fifo => member.kind = EntryType::Fifo,
            Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => {
                let is_char = matches!(entry.body, Body::CharDevice(..));
                member.kind = if is_char { EntryType::Char } else { EntryType::Block };
                member.device = (*major, *minor);
            }
            Body::Socket => {
                self.losses.note(Loss::Special, || node.display());
                return Ok(());
            }
        }
        self.members += 1;
        if let Some(first) = first {
            member.kind = EntryType::Link;
            member.link = Some(name(first));
            member.size = 0;
            put_headers(&mut self.bytes, &member);
            return Ok(());
        }
        member.records = attributes(pages, node).map_err(PackError::of(node))?;
        let before = match entry.file() {
            Some(file) => sparse_map(pages, node, file, &mut member).map_err(PackError::of(node))?,
            None => Vec::new(),
        };
        put_headers(&mut self.bytes, &member);
        self.bytes.extend_from_slice(&before);
        part.map_or(Ok(()), |part| self.content(pages, node, part))
    }

    /// A part of a file's content, and what fills the last block behind the last part.
    fn content(&mut self, pages: &Pages, node: &Arc<Node>, mut part: Part) -> Result<(), PackError> {
        let Some(file) = node.entry.file() else { return Ok(()) };
        let mut at = part.offset;
        let bytes = &mut self.bytes;
        let read = pages.read_part::<StoreError>(&mut part, |stretch| {
            at += match stretch {
                Stretch::Data(data) => {
                    bytes.extend_from_slice(data);
                    data.len() as u64
                }
                Stretch::Hole(len) => {
                    let kept = len - inner_hole(Extent { offset: at, len }, file.size).map_or(0, |inner| inner.len);
                    bytes.resize(bytes.len() + usize::try_from(kept).unwrap_or(0), 0);
                    len
                }
            };
            Ok(())
        });
        read.map_err(PackError::of(node))?;
        if part.last {
            self.content += file.size;
            pad(&mut self.bytes, stored_len(pages, file).map_err(PackError::of(node))?);
        }
        Ok(())
    }
}

/// Bytes of a file's content in the archive.
fn stored_len(pages: &Pages, file: &FileBody) -> Result<u64, StoreError> {
    Ok(data_ranges(pages, file)?.map_or(file.size, |ranges| ranges.iter().map(|r| r.len).sum()))
}

/// Makes a file with holes a sparse member; gives the map that stands in front of its data.
fn sparse_map(pages: &Pages, node: &Node, file: &FileBody, member: &mut Member) -> Result<Vec<u8>, StoreError> {
    let Some(ranges) = data_ranges(pages, file)? else { return Ok(Vec::new()) };
    let map = map(&ranges);
    member.size = map.len() as u64 + ranges.iter().map(|r| r.len).sum::<u64>();
    let slash = node.path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let (folder, base) = node.path.split_at(slash);
    member.short_path = Some([b"./", folder, b"GNUSparseFile.0/", base].concat());
    for (key, value) in [
        (&b"GNU.sparse.major"[..], b"1".to_vec()),
        (b"GNU.sparse.minor", b"0".to_vec()),
        (b"GNU.sparse.name", member.path.clone()),
        (b"GNU.sparse.realsize", file.size.to_string().into_bytes()),
    ] {
        member.records.push((key.to_vec(), value));
    }
    Ok(map)
}

/// ACLs and xattrs as records.
fn attributes(pages: &Pages, node: &Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let mut records = Vec::new();
    for (name, value) in pages.xattrs(&node.entry)? {
        let acl = match name.as_slice() {
            b"system.posix_acl_access" => Some(&b"SCHILY.acl.access"[..]),
            b"system.posix_acl_default" => Some(&b"SCHILY.acl.default"[..]),
            _ => None,
        };
        records.push(match acl.zip(acl_text(&value)) {
            Some((key, text)) => (key.to_vec(), text),
            None => ([b"SCHILY.xattr.", &escaped(&name)[..]].concat(), value),
        });
    }
    records.sort();
    Ok(records)
}

/// A record's key ends at the first `=`: GNU tar writes those in names as `%3D`.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            other => key.push(*other),
        }
    }
    key
}
