//! One batch of a tree as members of a zip, deflated as far as they are short.

use std::io::{Cursor, Write};
use std::sync::Arc;

use zip::result::ZipResult;
use zip::write::FullFileOptions;
use zip::{ZipArchive, ZipWriter};

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
    pub(super) steps: Vec<Step>,
    pub(super) losses: Losses,
    short: Option<Short>,
}

/// A step in writing a zip.
pub(super) enum Step {
    /// Folders, symlinks and short files: a zip of its own, to be taken in whole. How many, and their content's length.
    Short(Box<ZipArchive<Cursor<Vec<u8>>>>, u64, u64),
    /// A long file begins.
    Begin(String, Box<FullFileOptions<'static, 'static>>),
    /// Some of its content.
    Part(Arc<Node>, Part, Vec<Own>),
}

/// A small zip in memory: its writer uses one compressor for all its members.
struct Short {
    zip: ZipWriter<Cursor<Vec<u8>>>,
    /// The files in it, by their positions.
    files: Vec<(usize, Arc<Node>)>,
    members: u64,
    content: u64,
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
    prepared.end_short()?;
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
            (Body::Folder(_), _) => self.short().add(|zip| zip.add_directory(name, options)),
            (Body::Symlink(target), _) => self.short().add(|zip| {
                zip.start_file(name, options)?;
                Ok(zip.write_all(target)?)
            }),
            (Body::File(file), Some(part)) if part.last && part.bytes() <= SHORT => {
                self.short().deflate(pages, node, file, part, name, options)
            }
            (Body::File(_), Some(part)) => {
                self.end_short()?;
                self.steps.push(Step::Begin(name, Box::new(options)));
                self.part(pages, node.clone(), part)
            }
            _ => Ok(()),
        }
    }

    fn short(&mut self) -> &mut Short {
        self.short.get_or_insert_with(|| Short {
            zip: ZipWriter::new(Cursor::new(Vec::new())),
            files: Vec::new(),
            members: 0,
            content: 0,
        })
    }

    /// Ends the small zip, if there is one.
    fn end_short(&mut self) -> Result<(), PackError> {
        let Some(Short { zip, files, members, content }) = self.short.take() else { return Ok(()) };
        let mut archive = zip.finish_into_readable().map_err(failed)?;
        for (at, node) in files {
            let Some(file) = node.entry.file() else { continue };
            let (size, crc) = archive.by_index_raw(at).map(|made| (made.size(), made.crc32())).map_err(failed)?;
            if size != file.size || file.crc32.is_some_and(|wanted| wanted != crc) {
                let error = StoreError::damage("a content", "its length or CRC-32 is another than its entry says");
                return Err(PackError::of(&node)(error));
            }
        }
        self.steps.push(Step::Short(Box::new(archive), members, content));
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
        self.steps.push(Step::Part(node, part, stretches));
        Ok(())
    }
}

fn has_holes(entry: &Entry) -> bool {
    entry.file().is_some_and(|file| file.holes != Holes::None)
}

impl Short {
    fn add(&mut self, add: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>) -> ZipResult<()>) -> Result<(), PackError> {
        add(&mut self.zip).map_err(failed)?;
        self.members += 1;
        Ok(())
    }

    /// A short file, deflated and compared with its digest.
    fn deflate(
        &mut self,
        pages: &Pages,
        node: &Arc<Node>,
        file: &FileBody,
        mut part: Part,
        name: String,
        options: FullFileOptions<'static, 'static>,
    ) -> Result<(), PackError> {
        let at = usize::try_from(self.members).unwrap_or(usize::MAX);
        self.add(|zip| zip.start_file(name, options))?;
        let mut check = WholeCheck::new(file);
        let mut written = Ok(());
        let read = pages.read_part::<StoreError>(&mut part, |stretch| {
            check.update(stretch);
            if written.is_ok() {
                written = match stretch {
                    Stretch::Data(bytes) => self.zip.write_all(bytes),
                    // Short, since the whole file is.
                    Stretch::Hole(len) => self.zip.write_all(&vec![0; usize::try_from(len).unwrap_or(0)]),
                };
            }
            Ok(())
        });
        read.and_then(|()| check.finish(file)).map_err(PackError::of(node))?;
        written.map_err(PackError::Write)?;
        self.files.push((at, node.clone()));
        self.content += file.size;
        Ok(())
    }
}
