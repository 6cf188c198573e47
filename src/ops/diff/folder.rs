//! A snapshot's folder compared with one of the host, name by name.
//!
//! A file whose size and time are the same is taken to be the same, as a capture does; with another time it is read. With
//! [`DiffOptions::content`] every file is read. A view that the folder has not is not missed: what it shows stands
//! elsewhere. Sockets, Larder's own folders and what rules leave out is not compared, on either side.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::codec::ContentHash;
use crate::model::{Bits, Body, Digest, Entry, FileBody, Notice, Progress};
use crate::ops::capture::{LeaveOut, Rules};
use crate::ops::own::OwnFolders;
use crate::ops::query::advance;
use crate::ops::source::{self, Meta, Names};
use crate::store::StoreError;
use crate::tree::{Listing, Numbered, Pages, in_order, join};

use super::change::{Aspects, Change, Side, Sort, Sums, What};
use super::{DiffError, DiffOptions};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Tells every change from a snapshot's folder to what stands at `path` on the host now, in preorder. Files are read by several
/// threads. What cannot be read is noticed and counted as unreadable in the second figure that is given back.
///
/// # Errors
/// If the folder cannot be opened, the store or `tell` fails, or the user stops it.
pub fn with_folder<E: From<DiffError>>(
    pages: &Pages,
    folder: &Entry,
    path: &Path,
    leave_out: &LeaveOut,
    options: DiffOptions,
    progress: &dyn Progress,
    mut tell: impl FnMut(Change) -> Result<(), E>,
) -> Result<(Sums, u64), E> {
    let fail = |e: Errno| match e {
        Errno::NOENT => DiffError::NoFolder(path.to_owned()),
        e => DiffError::Folder { path: path.to_owned(), why: e.to_string() },
    };
    let root = source::open_root(path).map_err(fail)?;
    let meta = source::stat_fd(root.as_fd()).map_err(fail)?;
    let own = OwnFolders::of(pages.store());
    let mut rules = Rules::new(leave_out).map_err(DiffError::from)?;
    let top_names = rules.enter(&[], meta.dev, root).map_err(fail)?;
    let top = Aspects { links: false, ..aspects(&meta, folder, false) };
    let mut sums = Sums::default();
    if !top.is_empty() && !options.content {
        let side = Some(Side { sort: Sort::Folder, size: 0 });
        let change = Change { path: Box::default(), old: side, new: side, what: What::Metadata(top) };
        sums.count(&change);
        tell(change)?;
    }
    let top = Pair::open(pages, 0, Some(folder), Some(top_names)).map_err(DiffError::from)?;
    let mut walk = SideBySide { pages, own, rules, stack: vec![top], path: Vec::new(), next: None };
    let mut unreadable = 0;
    in_order(
        || walk.next(),
        |pair: Result<Met, DiffError>| pair.map(|met| met.judge(pages, options)),
        |judged: Result<Judged, DiffError>| -> Result<(), E> {
            advance(progress).map_err(DiffError::from)?;
            match judged? {
                Judged::Same => {}
                Judged::Change(change) => {
                    sums.count(&change);
                    tell(change)?;
                }
                Judged::Unreadable { path, why } => {
                    unreadable += 1;
                    progress.notice(Notice::Unreadable { path: String::from_utf8_lossy(&path).into_owned(), why });
                }
                Judged::Store(e) => return Err(DiffError::from(e).into()),
            }
            Ok(())
        },
    )?;
    Ok((sums, unreadable))
}

/// Both folders of one path, either of which may be missing.
struct Pair {
    /// How long the path is.
    path: usize,
    old: Option<Listing>,
    old_head: Option<Numbered>,
    new: Option<(Arc<OwnedFd>, Arc<Names>, usize)>,
}

/// What stands at one path on both sides.
struct Met {
    path: Box<[u8]>,
    old: Option<Entry>,
    new: Option<(Arc<OwnedFd>, Meta)>,
    /// Why the host's side cannot be told.
    broken: Option<String>,
}

enum Judged {
    Same,
    Change(Change),
    Unreadable { path: Box<[u8]>, why: String },
    Store(StoreError),
}

/// Goes through both sides in preorder.
struct SideBySide<'a> {
    pages: &'a Pages,
    own: OwnFolders,
    rules: Rules,
    stack: Vec<Pair>,
    /// The path of the innermost folders, or of what was left in them: those of the folders they are in begin it.
    path: Vec<u8>,
    /// What is to be told before the walk goes on.
    next: Option<Result<Met, DiffError>>,
}

impl SideBySide<'_> {
    fn next(&mut self) -> Option<Result<Met, DiffError>> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        loop {
            let top = self.stack.last_mut()?;
            match top.next(&self.path[..top.path]) {
                Err(e) => {
                    self.stack.clear();
                    return Some(Err(e.into()));
                }
                Ok(None) => {
                    if let Some(pair) = self.stack.pop() {
                        self.rules.leave(&self.path[..pair.path]);
                    }
                }
                Ok(Some(met)) => {
                    let is_no_part = |meta: &Meta| meta.kind == FileType::Socket || self.own.why(meta).is_some();
                    if met.new.as_ref().is_some_and(|(_, meta)| is_no_part(meta)) || met.is_absent_view() {
                        continue;
                    }
                    let host = met.new.as_ref().map(|(dir, meta)| (&**dir, meta));
                    if self.rules.leave_out(&met.path, met.is_folder(), host) {
                        continue;
                    }
                    match self.descend(&met) {
                        Ok(()) => {}
                        // What cannot be looked at is not taken to be gone.
                        Err(Trouble::Host(e)) => {
                            let why = Some(std::io::Error::from(e).to_string());
                            self.next = Some(Ok(Met { path: met.path.clone(), old: None, new: None, broken: why }));
                        }
                        Err(Trouble::Store(e)) => {
                            self.stack.clear();
                            self.next = Some(Err(e.into()));
                        }
                    }
                    return Some(Ok(met));
                }
            }
        }
    }

    /// Puts the folders at a path on the stack.
    fn descend(&mut self, met: &Met) -> Result<(), Trouble> {
        let old = met.old.as_ref().filter(|e| e.folder().is_some());
        let new = met.new.as_ref().filter(|(_, meta)| meta.kind == FileType::Directory);
        if old.is_none() && new.is_none() || met.broken.is_some() {
            return Ok(());
        }
        let name = met.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let new = match new {
            Some((dir, meta)) => Some(self.rules.enter(&met.path, meta.dev, source::open_dir(dir.as_fd(), name)?)?),
            None => None,
        };
        let pair = Pair::open(self.pages, met.path.len(), old, new).map_err(Trouble::Store)?;
        self.stack.push(pair);
        self.path.clear();
        self.path.extend_from_slice(&met.path);
        Ok(())
    }
}

impl Pair {
    fn open(
        pages: &Pages,
        path: usize,
        old: Option<&Entry>,
        new: Option<(Arc<OwnedFd>, Arc<Names>)>,
    ) -> Result<Self, StoreError> {
        let mut old = old.and_then(Entry::folder).map(|tree| pages.list(tree, 0, 0)).transpose()?;
        let old_head = old.as_mut().map_or(Ok(None), Listing::next)?;
        Ok(Self { path, old, old_head, new: new.map(|(fd, names)| (fd, names, 0)) })
    }

    /// What stands at the next name; `path`: theirs.
    fn next(&mut self, path: &[u8]) -> Result<Option<Met>, StoreError> {
        let old_name = self.old_head.as_ref().map(|found| found.entry.name.as_bytes());
        let new_name = self.new.as_ref().and_then(|(_, names, at)| names.get(*at));
        let (take_old, take_new) = match (old_name, new_name) {
            (None, None) => return Ok(None),
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(old), Some(new)) => (old <= new, new <= old),
        };
        let name = if take_old { old_name } else { new_name }.unwrap_or_default();
        let path = join(path, name);
        let mut met = Met { path, old: None, new: None, broken: None };
        if take_new && let Some((dir, names, at)) = &mut self.new {
            match source::stat_at(dir.as_fd(), names.get(*at).unwrap_or_default()) {
                Ok(meta) => met.new = Some((dir.clone(), meta)),
                // It went away meanwhile.
                Err(Errno::NOENT) => {}
                Err(e) => met.broken = Some(e.to_string()),
            }
            *at += 1;
        }
        if take_old {
            met.old = self.old_head.take().map(|found| found.entry);
            self.old_head = self.old.as_mut().map_or(Ok(None), Listing::next)?;
        }
        Ok(Some(met))
    }
}

impl Met {
    /// True if it is a folder: on the host, else in the snapshot.
    fn is_folder(&self) -> bool {
        match (&self.new, &self.old) {
            (Some((_, meta)), _) => meta.kind == FileType::Directory,
            (None, old) => old.as_ref().is_some_and(|e| e.folder().is_some()),
        }
    }

    /// True of a view of the snapshot, which a restore leaves out unless it is asked for.
    fn is_absent_view(&self) -> bool {
        let is_view = |entry: &Entry| entry.bits.has(Bits::VIEW) && entry.folder().is_some();
        self.new.is_none() && self.broken.is_none() && self.old.as_ref().is_some_and(is_view)
    }

    /// Whether both sides are the same; reads the host's file if need be.
    fn judge(self, pages: &Pages, options: DiffOptions) -> Judged {
        if let Some(why) = self.broken {
            return Judged::Unreadable { path: self.path, why };
        }
        let old = self.old.as_ref().map(Side::of);
        let new = self.new.as_ref().map(|(_, meta)| side(meta));
        let what = match (&self.old, &self.new) {
            (None, None) => return Judged::Same,
            (None, Some(_)) => Some(What::Added),
            (Some(_), None) => Some(What::Removed),
            (Some(entry), Some((dir, meta))) => match both(pages, entry, dir, meta, options) {
                Ok(what) => what,
                Err(Trouble::Host(e)) => {
                    return Judged::Unreadable { path: self.path, why: std::io::Error::from(e).to_string() };
                }
                Err(Trouble::Store(e)) => return Judged::Store(e),
            },
        };
        what.map_or(Judged::Same, |what| Judged::Change(Change { path: self.path, old, new, what }))
    }
}

enum Trouble {
    Host(Errno),
    Store(StoreError),
}

impl From<Errno> for Trouble {
    fn from(e: Errno) -> Self {
        Self::Host(e)
    }
}

fn side(meta: &Meta) -> Side {
    match meta.kind {
        FileType::RegularFile => Side { sort: Sort::File, size: meta.size },
        FileType::Directory => Side { sort: Sort::Folder, size: 0 },
        FileType::Symlink => Side { sort: Sort::Symlink, size: meta.size },
        _ => Side { sort: Sort::Special, size: 0 },
    }
}

fn both(
    pages: &Pages,
    entry: &Entry,
    dir: &Arc<OwnedFd>,
    meta: &Meta,
    options: DiffOptions,
) -> Result<Option<What>, Trouble> {
    let name = entry.name.as_bytes();
    let same = match (&entry.body, meta.kind) {
        (Body::File(file), FileType::RegularFile) => same_content(file, entry, dir, meta, options)?,
        (Body::Symlink(target), FileType::Symlink) => source::read_link(dir.as_fd(), name)?[..] == target[..],
        (Body::Folder(_), FileType::Directory) | (Body::Fifo, FileType::Fifo) => true,
        (Body::CharDevice(major, minor), FileType::CharacterDevice)
        | (Body::BlockDevice(major, minor), FileType::BlockDevice) => meta.rdev == (*major, *minor),
        _ => return Ok(Some(What::Type)),
    };
    if options.content {
        return Ok((!same).then_some(What::Content(Aspects::default())));
    }
    let xattrs = source::xattrs_at(dir.as_fd(), name)? != pages.xattrs(entry).map_err(Trouble::Store)?;
    let aspects = aspects(meta, entry, xattrs);
    Ok(match (same, aspects.is_empty()) {
        (false, _) => Some(What::Content(aspects)),
        (true, false) => Some(What::Metadata(aspects)),
        (true, true) => None,
    })
}

fn aspects(meta: &Meta, entry: &Entry, xattrs: bool) -> Aspects {
    Aspects {
        mode: meta.kind != FileType::Symlink && meta.mode != entry.mode,
        owner: (meta.uid, meta.gid) != (entry.uid, entry.gid),
        mtime: meta.mtime != entry.mtime,
        xattrs,
        links: meta.kind != FileType::Directory && (meta.nlink > 1) != entry.link.is_some(),
        holes: false,
    }
}

fn same_content(
    file: &FileBody,
    entry: &Entry,
    dir: &Arc<OwnedFd>,
    meta: &Meta,
    options: DiffOptions,
) -> Result<bool, Errno> {
    if file.size != meta.size {
        return Ok(false);
    }
    if meta.mtime == entry.mtime && !options.content {
        return Ok(true);
    }
    match file.content {
        Some(content) => Ok(digest_of(dir, entry.name.as_bytes())? == content),
        None => Ok(false),
    }
}

/// BLAKE3 of a file of the host.
fn digest_of(dir: &Arc<OwnedFd>, name: &[u8]) -> Result<Digest, Errno> {
    let file = source::open_file(dir.as_fd(), name)?;
    let mut hash = ContentHash::default();
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let mut offset = 0;
    loop {
        buffer.clear();
        match source::append_at(file.as_fd(), &mut buffer, READ_BYTES, offset)? {
            0 => return Ok(hash.finish().blake3),
            len => {
                hash.update(&buffer);
                offset += len as u64;
            }
        }
    }
}
