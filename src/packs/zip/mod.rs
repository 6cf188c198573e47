//! `zip`, canonical form `zip-v1`: the same tree gives the same bytes; stored for ever, compressed in one version of Larder.
//!
//! Members in preorder, folders as members of their own; sizes in front of each content, of long files that are compressed behind it; zip64 where
//! it is needed; modes and symlinks as Unix zips have them, times in DOS's form (UTC) and to the second. What a zip cannot carry is
//! counted ([`Losses`]), and names that not every system can tell apart.
//!
//! Short files are compressed by several threads, a batch of the walk each; long ones in blocks that several threads compress. What ends a block and
//! what counts as short follows from sizes alone, so that the bytes do. The records are our own: a form that stays for ever cannot depend on what a library
//! makes of it next year, and one that is written in one pass needs little memory.

mod alike;
mod canon;
mod headers;
mod long;
mod member;
mod name;

use std::collections::VecDeque;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use crate::archives::Spill;
use crate::codec::zeros;
use crate::model::{Bits, Body, Entry, Holes, Progress, Timestamp, Xattrs};
use crate::tree::{Flow, Node, Pages, Visit, WholeCheck, in_order};

use super::PackError;
use super::archive::{Archive, Extent, Tree, Witness, WriteFile};
use super::loss::{Loss, Losses};
use super::sums::{Sums, Told};
pub(super) use alike::Alike;
pub(super) use canon::{Canon, ends_so};
pub(super) use headers::kept_time;
use headers::{Member, NOTHING, SHORT, Written, end, is_cut};
use long::Long;
use member::{Own, Prepared, Setting, Short, Step, checked_crc, prepare};
pub(super) use name::name_of;
use name::{NAME_MAX, member_name};

/// Levels of deflate.
pub(super) const LEVELS: RangeInclusive<i32> = 1..=9;
/// Zips are made to be handed on at once. 3 makes them 3 % smaller in a tenth more time, 5 another 4 % in a fifth (Linux sources).
pub(super) const DEFAULT_LEVEL: i32 = 2;

/// Bytes of the directory that are held.
const MEMORY: usize = 32 << 20;
/// Bytes of it that are written at a time.
const GATHERED: usize = 1 << 20;

/// How the contents of a zip are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate(u32),
    Zstd(i32),
}

impl Method {
    fn number(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflate(_) => 8,
            Self::Zstd(_) => 93,
        }
    }
}

/// Counts what a zip does not carry of an entry. `further`: it is another name of a file that came before.
pub(super) fn note_losses(node: &Node, further: bool, losses: &mut Losses) {
    let entry = &node.entry;
    let special = !matches!(entry.body, Body::File(_) | Body::Folder(_) | Body::Symlink(_));
    if special {
        losses.note(Loss::Special, || node.display());
    } else if further {
        losses.note(Loss::HardLinks, || node.display());
    }
    let (name, changed) = member_name(&node.path, false);
    if changed || name.len() > NAME_MAX {
        losses.note(Loss::Names, || node.display());
    }
    // Whoever extracts has a folder of his own for the root.
    if special || name.len() > NAME_MAX || node.path.is_empty() {
        return;
    }
    losses.note(Loss::Owners, String::new);
    if is_cut(entry.mtime) {
        losses.note(Loss::Times, String::new);
    }
    if entry.xattrs != Xattrs::None || entry.bits.has(Bits::XATTRS) {
        losses.note(Loss::Attributes, || node.display());
    }
    if has_holes(entry) {
        losses.note(Loss::Holes, || node.display());
    }
}

fn has_holes(entry: &Entry) -> bool {
    entry.file().is_some_and(|file| file.holes != Holes::None)
}

/// A zip on its way out.
pub(super) struct Zip<'a> {
    out: &'a mut dyn Write,
    progress: &'a dyn Progress,
    method: Method,
    extent: Extent,
    /// The directory, which is written last.
    central: Spill,
    central_len: u64,
    /// The file whose content comes in parts.
    open: Option<Open>,
}

/// A file whose content comes in parts.
struct Open {
    node: Arc<Node>,
    member: Member,
    check: WholeCheck,
    way: OpenWay,
}

enum OpenWay {
    /// Short by its size, but in many pieces: gathered.
    Gathered(Vec<u8>),
    Long(Box<Long>, u64),
}

impl<'a> Zip<'a> {
    /// Written to `out`, in large slices. `scratch`: where what is too much for memory goes, sealed.
    pub(super) fn new(out: &'a mut dyn Write, method: Method, scratch: &Path, progress: &'a dyn Progress) -> Self {
        let central = Spill::new(scratch, MEMORY);
        Self { out, progress, method, extent: Extent::default(), central, central_len: 0, open: None }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.out.write_all(bytes).map_err(PackError::Write)?;
        self.extent.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Adds a member to the directory. `at`: where its header stands.
    fn list(&mut self, member: &Member, written: Written, at: u64) -> Result<(), PackError> {
        let mut line = Vec::new();
        member.put_central(&mut line, written, at);
        self.central_len += line.len() as u64;
        self.central.push(&line).map_err(PackError::Write)
    }

    /// Members that are ready.
    fn short(&mut self, short: &Short) -> Result<(), PackError> {
        for (member, written, at) in &short.members {
            self.list(member, *written, self.extent.bytes + *at as u64)?;
        }
        self.extent.members += short.members.len() as u64;
        self.write(&short.bytes)
    }

    /// The header of a member whose content follows; gives where it stands.
    fn begin(&mut self, member: &Member, written: Option<Written>) -> Result<u64, PackError> {
        let at = self.extent.bytes;
        let mut bytes = Vec::new();
        member.put_local(&mut bytes, written);
        self.write(&bytes)?;
        Ok(at)
    }

    /// What stands behind a content, and its line in the directory.
    fn end_member(&mut self, member: &Member, written: Written, at: u64) -> Result<(), PackError> {
        if member.behind {
            let mut bytes = Vec::new();
            member.put_behind(&mut bytes, written);
            self.write(&bytes)?;
        }
        self.list(member, written, at)?;
        self.extent.members += 1;
        Ok(())
    }

    fn take(&mut self, prepared: Prepared, mut sums: Option<&mut Sums>) -> Result<(), PackError> {
        for step in prepared.steps {
            match step {
                Step::Short(short) => {
                    self.short(&short)?;
                    self.progress.advance(short.members.len() as u64, short.content);
                    if let Some(sums) = &mut sums {
                        short.sums.iter().try_for_each(|(node, sum)| sums.tell(node, Told::Whole(*sum)))?;
                    }
                }
                Step::Begin(node, member) => {
                    if let Some(sums) = &mut sums {
                        sums.tell(&node, Told::Begin)?;
                    }
                    self.open(node, *member)?;
                }
                Step::Part(node, stretches, is_last) => {
                    for stretch in &stretches {
                        self.stretch(stretch, sums.as_deref_mut())?;
                    }
                    if is_last {
                        self.close()?;
                        if let Some(sums) = &mut sums {
                            sums.tell(&node, Told::End)?;
                        }
                    }
                }
            }
        }
        if self.progress.cancelled() { Err(PackError::Interrupted) } else { Ok(()) }
    }

    fn open(&mut self, node: Arc<Node>, member: Member) -> Result<(), PackError> {
        let Some(file) = node.entry.file() else { return Ok(()) };
        let check = WholeCheck::new(file);
        let way = if file.size <= SHORT {
            OpenWay::Gathered(Vec::new())
        } else {
            let known = file.crc32.filter(|_| !member.behind);
            let at = self.begin(&member, known.map(|crc| Written { crc, compressed: file.size }))?;
            OpenWay::Long(Box::new(Long::new(self.method)?), at)
        };
        self.open = Some(Open { node, member, check, way });
        Ok(())
    }

    fn stretch(&mut self, stretch: &Own, mut sums: Option<&mut Sums>) -> Result<(), PackError> {
        match stretch {
            Own::Data(bytes) => self.data(bytes, sums),
            Own::Hole(len) => zeros(*len).try_for_each(|piece| self.data(piece, sums.as_deref_mut())),
        }
    }

    /// More bytes of the file that is open.
    fn data(&mut self, bytes: &[u8], sums: Option<&mut Sums>) -> Result<(), PackError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.check.data(bytes);
        if let Some(sums) = sums {
            sums.data(bytes);
        }
        match &mut open.way {
            OpenWay::Gathered(gathered) => gathered.extend_from_slice(bytes),
            OpenWay::Long(long, _) => {
                let (out, written) = (&mut *self.out, &mut self.extent.bytes);
                long.data(bytes, &mut |ready| give(out, written, ready))?;
            }
        }
        self.progress.advance(0, bytes.len() as u64);
        if self.progress.cancelled() { Err(PackError::Interrupted) } else { Ok(()) }
    }

    /// The file that is open has come to its end.
    fn close(&mut self) -> Result<(), PackError> {
        let Some(Open { node, member, check, way }) = self.open.take() else { return Ok(()) };
        let Some(file) = node.entry.file() else { return Ok(()) };
        check.finish(file).map_err(PackError::of(&node))?;
        match way {
            OpenWay::Gathered(gathered) => {
                let crc = checked_crc(&node, file, crate::codec::Crc32::of(&gathered), gathered.len() as u64)?;
                let mut short = Short::default();
                short.compress(member, self.method, crc, &gathered)?;
                self.short(&short)?;
            }
            OpenWay::Long(long, at) => {
                let (out, bytes, size) = (&mut *self.out, &mut self.extent.bytes, long.size);
                let written = long.finish(&mut |ready| give(out, bytes, ready))?;
                checked_crc(&node, file, written.crc, size)?;
                self.end_member(&member, written, at)?;
            }
        }
        self.progress.advance(1, 0);
        Ok(())
    }

    /// A member that is not in the snapshot.
    fn own(&self, name: &str, mode: u32, mtime: Timestamp, size: u64) -> Member {
        let method = if size > 0 { self.method.number() } else { 0 };
        Member { name: name.to_owned(), mode, mtime, method, size, behind: false }
    }
}

fn give(out: &mut dyn Write, written: &mut u64, bytes: &[u8]) -> Result<(), PackError> {
    out.write_all(bytes).map_err(PackError::Write)?;
    *written += bytes.len() as u64;
    Ok(())
}

impl Archive for Zip<'_> {
    fn folder(&mut self, name: &str, mtime: Timestamp) -> Result<(), PackError> {
        let mut short = Short::default();
        short.put(self.own(name, 0o040_755, mtime, 0), NOTHING, &[]);
        self.short(&short)
    }

    fn file(&mut self, name: &str, mtime: Timestamp, len: u64, write: WriteFile) -> Result<(), PackError> {
        let mut member = self.own(name, 0o100_644, mtime, len);
        if len <= SHORT {
            let mut plain = Vec::new();
            write(&mut plain)?;
            if plain.len() as u64 != len {
                return Err(PackError::length(name, len, plain.len() as u64));
            }
            let mut short = Short::default();
            short.compress(member, self.method, crate::codec::Crc32::of(&plain), &plain)?;
            return self.short(&short);
        }
        member.behind = member.method != 0;
        let known = if member.behind {
            None
        } else {
            let mut long = Long::new(Method::Stored)?;
            write(&mut Into { long: &mut long, give: &mut |_| Ok(()), failed: None })?;
            Some(long.finish(&mut |_| Ok(()))?)
        };
        let at = self.begin(&member, known)?;
        let mut long = Long::new(self.method)?;
        let (out, bytes) = (&mut *self.out, &mut self.extent.bytes);
        let mut give = |ready: &[u8]| give(out, bytes, ready);
        let mut into = Into { long: &mut long, give: &mut give, failed: None };
        let done = write(&mut into);
        if let Some(error) = into.failed.take() {
            return Err(error);
        }
        done?;
        let size = long.size;
        let written = long.finish(&mut give)?;
        if size != len || known.is_some_and(|known| known != written) {
            return Err(PackError::length(name, len, size));
        }
        self.end_member(&member, written, at)
    }

    fn tree(&mut self, tree: &Tree, mut sums: Option<&mut Sums>, witness: Witness) -> Result<Losses, PackError> {
        let pages = &tree.subject.pages;
        let setting = Setting {
            prefix: String::from_utf8_lossy(&tree.prefix).into_owned(),
            method: self.method,
            sums: sums.is_some(),
        };
        let flow = tree.subject.flow();
        let mut jobs = Jobs { pages, flow, rest: VecDeque::new(), again: None, witness };
        in_order(
            || jobs.next(),
            |batch| prepare(pages, &setting, batch),
            |prepared| self.take(prepared?, sums.as_deref_mut()),
        )?;
        Ok(Losses::default())
    }

    fn finish(mut self: Box<Self>) -> Result<Extent, PackError> {
        let start = self.extent.bytes;
        let central = std::mem::replace(&mut self.central, Spill::new(Path::new(""), 0));
        let (mut lines, mut gathered) = (central.read(), Vec::with_capacity(GATHERED));
        while let Some(line) = lines.next().map_err(PackError::Write)? {
            gathered.extend_from_slice(line);
            if gathered.len() >= GATHERED {
                self.write(&gathered)?;
                gathered.clear();
            }
        }
        self.write(&gathered)?;
        self.write(&end(self.extent.members, start, self.central_len))?;
        self.out.flush().map_err(PackError::Write)?;
        Ok(self.extent)
    }
}

/// Makes a content of what is written.
struct Into<'a> {
    long: &'a mut Long,
    give: long::Give<'a>,
    failed: Option<PackError>,
}

impl Write for Into<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.long.data(bytes, self.give) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(std::io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Batches of visits, in which further names of hard links have the content again.
struct Jobs<'a> {
    pages: &'a Pages,
    flow: Flow,
    /// Behind a further name.
    rest: VecDeque<Visit>,
    /// A further name that is being read.
    again: Option<Flow>,
    witness: Witness<'a>,
}

impl Jobs<'_> {
    fn next(&mut self) -> Option<Vec<Visit>> {
        if let Some(flow) = &mut self.again {
            let batch = flow.batch();
            if !batch.is_empty() {
                return Some(batch);
            }
            self.again = None;
        }
        if self.rest.is_empty() {
            self.rest.extend(self.flow.batch());
        }
        let mut batch = Vec::new();
        while let Some(visit) = self.rest.pop_front() {
            (self.witness)(&visit);
            if let Visit::Enter { node, first: Some(_), .. } = &visit {
                self.again = Some(Flow::new(self.pages, vec![(node.path.clone(), node.entry.clone())]));
                // Not empty: an empty batch is the end.
                batch.push(visit);
                break;
            }
            batch.push(visit);
        }
        Some(batch).filter(|batch| !batch.is_empty())
    }
}
