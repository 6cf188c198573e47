//! One batch of a tree as members of a zip, in their final bytes as far as they are short.

use std::sync::Arc;

use crate::codec::{Crc32, Sha256, compress_frame, deflate_whole};
use crate::model::{Body, Entry, FileBody};
use crate::packs::PackError;
use crate::packs::manifest::ItemKind;
use crate::packs::sums::{Sum, add_stretch};
use crate::store::StoreError;
use crate::tree::{Node, Pages, Part, Stretch, Visit, WholeCheck};

use super::headers::{Member, NOTHING, SHORT, Written};
use super::{Method, name_of};

/// Where members stand in the archive, and what is asked of them.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Stands in front of each path.
    pub(super) prefix: String,
    pub(super) method: Method,
    /// The SHA-256 of each file is wanted.
    pub(super) sums: bool,
}

/// A batch ready to be written.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) steps: Vec<Step>,
}

/// A step in writing a zip.
pub(super) enum Step {
    /// Folders, symlinks and short files.
    Short(Box<Short>),
    /// A file begins whose content comes in parts.
    Begin(Arc<Node>, Box<Member>),
    /// Some of its content.
    Part(Arc<Node>, Vec<Own>, bool),
}

/// Members one behind the other, with their contents.
#[derive(Default)]
pub(super) struct Short {
    pub(super) bytes: Vec<u8>,
    /// Each, what is known of its content, and where it begins in `bytes`.
    pub(super) members: Vec<(Member, Written, usize)>,
    /// The files among them, and their sums.
    pub(super) sums: Vec<(Arc<Node>, Sum)>,
    pub(super) content: u64,
}

/// Some bytes of a content.
pub(super) enum Own {
    /// These.
    Data(Vec<u8>),
    /// So many zeros.
    Hole(u64),
}

/// Prepares a batch.
pub(super) fn prepare(pages: &Pages, setting: &Setting, batch: Vec<Visit>) -> Result<Prepared, PackError> {
    let mut prepared = Prepared::default();
    for visit in batch {
        match visit {
            // The content of a further name follows by itself.
            Visit::Enter { first: Some(_), .. } | Visit::Leave(_) => {}
            Visit::Enter { node, part, first: None } => prepared.enter(pages, setting, node, part)?,
            Visit::Part(node, part) => prepared.part(pages, node, part)?,
            Visit::Odd(node, error) | Visit::Lost(node, error) => return Err(PackError::of(&node)(error)),
        }
    }
    Ok(prepared)
}

/// The headers of an entry.
fn member(entry: &Entry, name: String, method: Method) -> Member {
    let kind = match &entry.body {
        Body::Folder(_) => 0o040_000,
        Body::Symlink(_) => 0o120_000,
        _ => 0o100_000,
    };
    let size = entry.size();
    let method = if entry.file().is_some() && size > 0 { method.number() } else { 0 };
    Member { name, mode: kind | u32::from(entry.mode), mtime: entry.mtime, method, size, behind: false }
}

impl Prepared {
    fn enter(
        &mut self,
        pages: &Pages,
        setting: &Setting,
        node: Arc<Node>,
        part: Option<Part>,
    ) -> Result<(), PackError> {
        let Some(mut name) = name_of(ItemKind::of(&node.entry.body), &node.path) else { return Ok(()) };
        if node.path.is_empty() && setting.prefix.is_empty() {
            return Ok(());
        }
        if !node.path.is_empty() && node.entry.folder().is_some() {
            name.push('/');
        }
        let mut member = member(&node.entry, setting.prefix.clone() + &name, setting.method);
        match (&node.entry.body, part) {
            (Body::Folder(_), _) => self.short().put(member, NOTHING, &[]),
            (Body::Symlink(target), _) => {
                self.short().put(member, Written { crc: Crc32::of(target), compressed: target.len() as u64 }, target);
            }
            (Body::File(file), Some(part)) if part.last && file.size <= SHORT => {
                self.short().file(pages, setting, &node, file, part, member)?;
            }
            (Body::File(file), Some(part)) => {
                // What is stored as it is, and has a known sum, needs nothing behind it.
                member.behind = file.size > SHORT && (member.method != 0 || file.crc32.is_none());
                self.steps.push(Step::Begin(node.clone(), Box::new(member)));
                self.part(pages, node, part)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The short members that come next.
    fn short(&mut self) -> &mut Short {
        if !matches!(self.steps.last(), Some(Step::Short(_))) {
            self.steps.push(Step::Short(Box::default()));
        }
        match self.steps.last_mut() {
            Some(Step::Short(short)) => short,
            _ => unreachable!("one was put there"),
        }
    }

    /// A part of a file whose content comes in parts, read.
    fn part(&mut self, pages: &Pages, node: Arc<Node>, mut part: Part) -> Result<(), PackError> {
        if name_of(ItemKind::of(&node.entry.body), &node.path).is_none() {
            return Ok(());
        }
        let mut stretches = Vec::new();
        let read = pages.read_part::<StoreError>(&mut part, |stretch| {
            stretches.push(match stretch {
                Stretch::Data(bytes) => Own::Data(bytes.to_vec()),
                Stretch::Hole(len) => Own::Hole(len),
            });
            Ok(())
        });
        read.map_err(PackError::of(&node))?;
        self.steps.push(Step::Part(node, stretches, part.last));
        Ok(())
    }
}

impl Short {
    /// Puts a member and its content as it is stored.
    pub(super) fn put(&mut self, member: Member, written: Written, content: &[u8]) {
        let at = self.bytes.len();
        member.put_local(&mut self.bytes, Some(written));
        self.bytes.extend_from_slice(content);
        self.members.push((member, written, at));
    }

    /// Puts a member and its content, to be compressed.
    pub(super) fn compress(&mut self, member: Member, method: Method, crc: u32, plain: &[u8]) -> Result<(), PackError> {
        let packed = match method {
            _ if member.method == 0 => None,
            Method::Stored => None,
            Method::Deflate(level) => Some(deflate_whole(plain, level).map_err(PackError::Write)?),
            Method::Zstd(level) => Some(compress_frame(plain, level).map_err(PackError::Write)?),
        };
        let content = packed.as_deref().unwrap_or(plain);
        self.put(member, Written { crc, compressed: content.len() as u64 }, content);
        Ok(())
    }

    /// A short file, compressed and compared with its digest.
    fn file(
        &mut self,
        pages: &Pages,
        setting: &Setting,
        node: &Arc<Node>,
        file: &FileBody,
        mut part: Part,
        member: Member,
    ) -> Result<(), PackError> {
        let mut check = WholeCheck::new(file);
        let mut hash = setting.sums.then(Sha256::default);
        let mut plain = Vec::with_capacity(usize::try_from(file.size).unwrap_or(0));
        let read = pages.read_part::<StoreError>(&mut part, |stretch| {
            check.update(stretch);
            if let Some(hash) = &mut hash {
                add_stretch(hash, stretch, &|| false);
            }
            match stretch {
                Stretch::Data(bytes) => plain.extend_from_slice(bytes),
                // Short, since the whole file is.
                Stretch::Hole(len) => plain.resize(plain.len() + usize::try_from(len).unwrap_or(0), 0),
            }
            Ok(())
        });
        read.and_then(|()| check.finish(file)).map_err(PackError::of(node))?;
        let crc = checked_crc(node, file, Crc32::of(&plain), plain.len() as u64)?;
        self.compress(member, setting.method, crc, &plain)?;
        if let Some(hash) = hash {
            self.sums.push((node.clone(), hash.bytes()));
        }
        self.content += file.size;
        Ok(())
    }
}

/// The CRC-32 of a content, if it and the length are what the entry says.
pub(super) fn checked_crc(node: &Node, file: &FileBody, crc: u32, len: u64) -> Result<u32, PackError> {
    if len != file.size || file.crc32.is_some_and(|wanted| wanted != crc) {
        let error = StoreError::damage("a content", "its length or CRC-32 is another than its entry says");
        return Err(PackError::of(node)(error));
    }
    Ok(crc)
}
