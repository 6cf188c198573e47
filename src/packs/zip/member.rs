//! One batch of a tree as members of a zip, deflated as far as they are short.

use std::io::Write;
use std::sync::Arc;

use zip::PreparedZipFile;
use zip::write::{FullFileOptions, ZipFileBuilder};

use crate::model::{Bits, Body, Entry, FileBody, Holes, Xattrs};
use crate::packs::{Loss, Losses, PackError};
use crate::store::StoreError;
use crate::tree::{Node, Pages, Part, Stretch, Visit, WholeCheck};

use super::failed;
use super::headers::{is_cut, options};
use super::name::member_name;

/// Content, holes counted, up to which a file is deflated in memory.
const SHORT: u64 = 8 << 20;

/// Longest name: headers hold it with a few fields in 64 KiB.
const NAME_MAX: usize = 65_000;

/// A batch ready to be written.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) members: Vec<Member>,
    pub(super) losses: Losses,
}

/// A step in writing a zip.
pub(super) enum Member {
    /// A folder.
    Folder(String, FullFileOptions<'static, 'static>),
    /// A file, deflated.
    Whole(Box<PreparedZipFile>),
    /// A long file begins.
    Begin(String, Box<FullFileOptions<'static, 'static>>),
    /// Some of its content.
    Part(Arc<Node>, Part, Vec<Own>),
}

/// Some bytes of a content.
pub(super) enum Own {
    /// These.
    Data(Vec<u8>),
    /// So many zeros.
    Hole(u64),
}

/// Prepares a batch.
pub(super) fn prepare(pages: &Pages, batch: Vec<Visit>, level: i32) -> Result<Prepared, PackError> {
    let mut prepared = Prepared::default();
    for visit in batch {
        match visit {
            Visit::Enter { node, first: Some(_), .. } => prepared.losses.note(Loss::HardLinks, || node.display()),
            Visit::Enter { node, part, first: None } => prepared.enter(pages, &node, part, level)?,
            Visit::Part(node, part) => prepared.part(pages, node, part)?,
            Visit::Leave(_) => {}
            Visit::Lost(node, error) => return Err(PackError::of(&node)(error)),
        }
    }
    Ok(prepared)
}

impl Prepared {
    fn enter(&mut self, pages: &Pages, node: &Arc<Node>, part: Option<Part>, level: i32) -> Result<(), PackError> {
        let entry = &node.entry;
        if node.path.is_empty() {
            return Ok(());
        }
        let (name, changed) = member_name(&node.path, entry.folder().is_some());
        if changed || name.len() > NAME_MAX {
            self.losses.note(Loss::Names, || node.display());
        }
        let special = !matches!(entry.body, Body::File(_) | Body::Folder(_) | Body::Symlink(_));
        if special {
            self.losses.note(Loss::Special, || node.display());
        }
        if special || name.len() > NAME_MAX {
            return Ok(());
        }
        self.note_losses(node);
        let options = options(entry, level);
        match (&entry.body, part) {
            (Body::Folder(_), _) => self.members.push(Member::Folder(name, options)),
            (Body::Symlink(target), _) => self.members.push(whole(&name, options, target)?),
            (Body::File(file), Some(part)) if part.last && part.bytes() <= SHORT => {
                let prepared = deflate(pages, node, file, part, &name, options)?;
                self.members.push(prepared);
            }
            (Body::File(_), Some(part)) => {
                self.members.push(Member::Begin(name, Box::new(options)));
                self.part(pages, node.clone(), part)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn note_losses(&mut self, node: &Node) {
        let entry = &node.entry;
        self.losses.note(Loss::Owners, String::new);
        if is_cut(entry.mtime) {
            self.losses.note(Loss::Times, String::new);
        }
        if entry.xattrs != Xattrs::None || entry.bits.has(Bits::XATTRS) {
            self.losses.note(Loss::Attributes, || node.display());
        }
        if has_holes(entry) {
            self.losses.note(Loss::Holes, || node.display());
        }
    }

    /// A part of a long file, read.
    fn part(&mut self, pages: &Pages, node: Arc<Node>, mut part: Part) -> Result<(), PackError> {
        if member_name(&node.path, false).0.len() > NAME_MAX {
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
        self.members.push(Member::Part(node, part, stretches));
        Ok(())
    }
}

fn has_holes(entry: &Entry) -> bool {
    entry.file().is_some_and(|file| file.holes != Holes::None)
}

fn whole(name: &str, options: FullFileOptions<'static, 'static>, content: &[u8]) -> Result<Member, PackError> {
    let file = PreparedZipFile::from_data(name, options, content).map_err(failed)?;
    Ok(Member::Whole(Box::new(file)))
}

/// A short file, deflated and compared with its digests.
fn deflate(
    pages: &Pages,
    node: &Node,
    file: &FileBody,
    mut part: Part,
    name: &str,
    options: FullFileOptions<'static, 'static>,
) -> Result<Member, PackError> {
    let mut builder = ZipFileBuilder::new(name, options).map_err(failed)?;
    let mut check = WholeCheck::new(file);
    let write = |builder: &mut ZipFileBuilder, bytes: &[u8]| builder.write_all(bytes).map_err(PackError::Write);
    let mut result = Ok(());
    let read = pages.read_part::<StoreError>(&mut part, |stretch| {
        check.update(stretch);
        let written = match stretch {
            Stretch::Data(bytes) => write(&mut builder, bytes),
            // Short, since the whole file is.
            Stretch::Hole(len) => write(&mut builder, &vec![0; usize::try_from(len).unwrap_or(0)]),
        };
        if result.is_ok() {
            result = written;
        }
        Ok(())
    });
    read.and_then(|()| check.finish(file)).map_err(PackError::of(node))?;
    result?;
    let prepared = builder.finish().map_err(failed)?;
    if file.crc32.is_some_and(|crc| crc != prepared.crc32()) || prepared.uncompressed_size() != file.size {
        let error = StoreError::damage("a content", "its length or CRC-32 is another than its entry says");
        return Err(PackError::of(node)(error));
    }
    Ok(Member::Whole(Box::new(prepared)))
}
