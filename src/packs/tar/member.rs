//! One batch of a tree as members of a tar.

use std::ops::Range;
use std::sync::Arc;

use tar::EntryType;

use crate::codec::Sha256;
use crate::model::{Body, Extent, FileBody};
use crate::store::StoreError;
use crate::tree::{Node, Pages, Part, Stretch, Visit};

use super::acl::acl_text;
use super::header::{Member, pad, put_headers};
use super::sparse::{data_ranges, inner_hole, map};
use crate::packs::PackError;
use crate::packs::sums::{Stop, Told, add_stretch};

/// Where members stand in the archive, and what is asked of them.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Stands in front of each path.
    pub(super) prefix: Vec<u8>,
    /// The SHA-256 of each file is wanted.
    pub(super) sums: bool,
}

/// A batch in its final bytes.
pub(super) struct Packed<'a> {
    setting: &'a Setting,
    stop: Stop<'a>,
    pub(super) bytes: Vec<u8>,
    pub(super) members: u64,
    pub(super) content: u64,
    /// What is told of the files' contents.
    pub(super) told: Vec<(Arc<Node>, Content)>,
}

/// A piece of what is told of contents.
pub(super) enum Content {
    /// As [`Sums`](crate::packs::sums::Sums) takes it.
    Told(Told),
    /// These bytes of the batch come next.
    Data(Range<usize>),
    /// So many zeros come next.
    Zeros(u64),
}

/// Writes a batch behind what is in `bytes` (nothing: it is a buffer to be used again). If it is stopped, the sums are worth nothing.
pub(super) fn pack<'a>(
    pages: &Pages,
    setting: &'a Setting,
    batch: Vec<Visit>,
    bytes: Vec<u8>,
    stop: Stop<'a>,
) -> Result<Packed<'a>, PackError> {
    let mut packed = Packed { setting, stop, bytes, members: 0, content: 0, told: Vec::new() };
    for visit in batch {
        match visit {
            Visit::Enter { node, part, first } => packed.enter(pages, &node, part, first.as_deref())?,
            Visit::Part(node, part) => packed.content(pages, &node, part)?,
            Visit::Leave(_) => {}
            Visit::Odd(node, error) | Visit::Lost(node, error) => return Err(PackError::of(&node)(error)),
        }
    }
    Ok(packed)
}

impl Packed<'_> {
    /// A member's name: folders with a slash behind.
    fn name(&self, node: &Node) -> Vec<u8> {
        full_name(&self.setting.prefix, &node.path, node.entry.folder().is_some())
    }

    fn tell(&mut self, node: &Arc<Node>, content: Content) {
        if self.setting.sums {
            self.told.push((node.clone(), content));
        }
    }

    fn enter(
        &mut self,
        pages: &Pages,
        node: &Arc<Node>,
        part: Option<Part>,
        first: Option<&Node>,
    ) -> Result<(), PackError> {
        PackError::check_name(node, self.setting.prefix.len())?;
        let entry = &node.entry;
        let mut member = Member {
            kind: EntryType::Regular,
            path: self.name(node),
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
            // Counted as a loss.
            Body::Socket => return Ok(()),
        }
        self.members += 1;
        if let Some(first) = first {
            member.kind = EntryType::Link;
            member.link = Some(self.name(first));
            member.size = 0;
            put_headers(&mut self.bytes, &member);
            if entry.file().is_some() {
                self.tell(node, Content::Told(Told::Same));
            }
            return Ok(());
        }
        member.records = attributes(pages, node).map_err(PackError::of(node))?;
        let before = match entry.file() {
            Some(file) => {
                sparse_map(pages, &self.setting.prefix, node, file, &mut member).map_err(PackError::of(node))?
            }
            None => Vec::new(),
        };
        put_headers(&mut self.bytes, &member);
        self.bytes.extend_from_slice(&before);
        part.map_or(Ok(()), |part| self.content(pages, node, part))
    }

    /// A part of a file's content, and what fills the last block behind the last part.
    fn content(&mut self, pages: &Pages, node: &Arc<Node>, mut part: Part) -> Result<(), PackError> {
        let Some(file) = node.entry.file() else { return Ok(()) };
        let is_whole = part.offset == 0 && part.last;
        let mut hash = (self.setting.sums && is_whole).then(Sha256::default);
        if part.offset == 0 && !part.last {
            self.tell(node, Content::Told(Told::Begin));
        }
        let mut at = part.offset;
        let stop = self.stop;
        let (bytes, told, in_parts) = (&mut self.bytes, &mut self.told, self.setting.sums && !is_whole);
        let read = pages.read_part::<StoreError>(&mut part, |stretch| {
            if let Some(hash) = &mut hash {
                add_stretch(hash, stretch, stop);
            }
            let start = bytes.len();
            at += match stretch {
                Stretch::Data(data) => {
                    bytes.extend_from_slice(data);
                    if in_parts {
                        told.push((node.clone(), Content::Data(start..bytes.len())));
                    }
                    data.len() as u64
                }
                Stretch::Hole(len) => {
                    let kept = len - inner_hole(Extent { offset: at, len }, file.size).map_or(0, |inner| inner.len);
                    bytes.resize(start + usize::try_from(kept).unwrap_or(0), 0);
                    if in_parts {
                        told.push((node.clone(), Content::Zeros(len)));
                    }
                    len
                }
            };
            Ok(())
        });
        read.map_err(PackError::of(node))?;
        if part.last {
            self.tell(node, Content::Told(hash.map_or(Told::End, |hash| Told::Whole(hash.bytes()))));
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
fn sparse_map(
    pages: &Pages,
    prefix: &[u8],
    node: &Node,
    file: &FileBody,
    member: &mut Member,
) -> Result<Vec<u8>, StoreError> {
    let Some(ranges) = data_ranges(pages, file)? else { return Ok(Vec::new()) };
    Ok(make_sparse(&ranges, prefix, &node.path, file.size, member))
}

/// A name in the archive; the prefix of the root ends with a slash already.
pub(super) fn full_name(prefix: &[u8], path: &[u8], is_folder: bool) -> Vec<u8> {
    [prefix, path, if is_folder && !path.is_empty() { b"/" } else { b"" }].concat()
}

/// Makes a file with these ranges of data a sparse member; gives the map that stands in front of them.
pub(super) fn make_sparse(ranges: &[Extent], prefix: &[u8], path: &[u8], size: u64, member: &mut Member) -> Vec<u8> {
    let map = map(ranges);
    member.size = map.len() as u64 + ranges.iter().map(|r| r.len).sum::<u64>();
    let slash = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let (folder, base) = path.split_at(slash);
    member.short_path = Some([prefix, folder, b"GNUSparseFile.0/", base].concat());
    for (key, value) in [
        (&b"GNU.sparse.major"[..], b"1".to_vec()),
        (b"GNU.sparse.minor", b"0".to_vec()),
        (b"GNU.sparse.name", member.path.clone()),
        (b"GNU.sparse.realsize", size.to_string().into_bytes()),
    ] {
        member.records.push((key.to_vec(), value));
    }
    map
}

fn attributes(pages: &Pages, node: &Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    Ok(records_of(pages.xattrs(&node.entry)?))
}

/// ACLs and xattrs as records.
pub(super) fn records_of(xattrs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    for (name, value) in xattrs {
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
    records
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
