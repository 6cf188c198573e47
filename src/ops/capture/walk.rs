//! The walk: folders in preorder, names sorted. Listing and asking for metadata run ahead on a pool of their own.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::format::HostMark;
use crate::model::{Bits, Body, Entry, Name, Notice, Xattrs};
use crate::ops::source::{self, Meta, Names};

use super::cache::OldCache;
use super::group::{Job, Reading, SMALL_FILE};
use super::owners::Owners;
use super::roots::{Only, Roots};
use super::stream::FromFile;
use super::tree::{Event, Inode, too_young};
use super::{CaptureError, Pipeline, no_tree};

/// Names whose metadata are asked for in one go.
const BATCH: usize = 512;
/// Folders listed ahead, per level.
const FOLDERS_AHEAD: usize = 8;
/// Below this depth nothing is listed ahead: descriptors are scarce.
const DEPTH_AHEAD: usize = 64;

type Stats = Vec<Result<Meta, Errno>>;

/// A folder that was opened and listed, with the metadata of its first names.
struct Listing {
    fd: Arc<OwnedFd>,
    names: Arc<Names>,
    first: Stats,
}

fn list(fd: OwnedFd, only: Option<&Only>) -> Result<Listing, Errno> {
    let names = match only {
        Some(only) => Names::from_list(only.0.keys().map(Vec::as_slice)),
        None => Names::read(fd.as_fd())?,
    };
    let first = stat_batch(&fd, &names, 0);
    Ok(Listing { fd: Arc::new(fd), names: Arc::new(names), first })
}

fn stat_batch(dir: &OwnedFd, names: &Names, from: usize) -> Stats {
    (from..names.len().min(from + BATCH))
        .map(|at| source::stat_at(dir.as_fd(), names.get(at).unwrap_or_default()))
        .collect()
}

/// A folder being walked.
struct Frame {
    fd: Arc<OwnedFd>,
    names: Arc<Names>,
    at: usize,
    batch: Stats,
    batch_from: usize,
    batches_ahead: VecDeque<Receiver<Stats>>,
    folders_ahead: VecDeque<(usize, Receiver<Result<Listing, Errno>>)>,
    looked_ahead: usize,
    only: Option<Only>,
    path_len: usize,
    in_cache: bool,
}

impl Frame {
    fn new(listing: Listing, only: Option<Only>, path_len: usize, in_cache: bool) -> Self {
        Self {
            fd: listing.fd,
            names: listing.names,
            at: 0,
            batch: listing.first,
            batch_from: 0,
            batches_ahead: VecDeque::new(),
            folders_ahead: VecDeque::new(),
            looked_ahead: 0,
            only,
            path_len,
            in_cache,
        }
    }
}

/// A group of hard links on its way through the walk.
struct Linked {
    group: crate::model::LinkGroup,
    seen: u32,
    /// Of the first name.
    meta: Meta,
}

/// Walks, compares with the cache, hands on what must be read.
pub(super) struct Walk<'t, 's> {
    pipeline: &'s Pipeline<'s>,
    reading: Reading<'t, 's>,
    events: Sender<Event>,
    old: Option<OldCache>,
    pool: rayon::ThreadPool,
    frames: Vec<Frame>,
    path: Vec<u8>,
    owners: Owners,
    links: HashMap<Inode, Linked>,
    root_dev: (u32, u32),
    store: Option<((u32, u32), u64)>,
    base: PathBuf,
}

impl<'t, 's> Walk<'t, 's> {
    pub(super) fn new(
        pipeline: &'s Pipeline<'s>,
        reading: Reading<'t, 's>,
        events: Sender<Event>,
        old: Option<OldCache>,
    ) -> Self {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads())
            .thread_name(|n| format!("walk-{n}"))
            .build()
            .expect("threads can be started");
        let store = std::fs::File::open(pipeline.store.dir()).ok().and_then(|f| source::identity(&f));
        Self {
            pipeline,
            reading,
            events,
            old,
            pool,
            frames: Vec::new(),
            path: Vec::new(),
            owners: Owners::default(),
            links: HashMap::new(),
            root_dev: (0, 0),
            store,
            base: PathBuf::new(),
        }
    }

    /// The whole walk.
    pub(super) fn run(mut self, roots: Roots) -> Result<(), CaptureError> {
        let fail = |e: Errno| CaptureError::Source { path: roots.path.clone(), why: e.to_string() };
        let meta = source::stat_fd(roots.root.as_fd()).map_err(fail)?;
        let xattrs = source::xattrs_fd(roots.root.as_fd()).map_err(fail)?;
        self.root_dev = meta.dev;
        self.base.clone_from(&roots.path);
        let (xattrs, bits) = self.reading.store_xattrs(&xattrs)?;
        let root = self.entry(Name::root(), &meta, no_tree(), xattrs, bits);
        let listing = list(roots.root, roots.only.as_ref()).map_err(fail)?;
        self.send(Event::Enter(root, None))?;
        let in_cache = self.old.is_some();
        self.frames.push(Frame::new(listing, roots.only, 0, in_cache));
        while !self.frames.is_empty() {
            if self.pipeline.progress.cancelled() {
                return Err(CaptureError::Interrupted);
            }
            self.step()?;
        }
        self.reading.dispatch()
    }

    fn send(&mut self, event: Event) -> Result<(), CaptureError> {
        // The tree thread may wait for a group that is not yet full: never block on it with files in hand.
        if self.events.is_full() && self.reading.holds() {
            self.reading.dispatch()?;
        }
        self.events.send(event).map_err(|_| CaptureError::Died("the tree thread"))
    }

    fn entry(&mut self, name: Name, meta: &Meta, body: Body, xattrs: Xattrs, bits: Bits) -> Entry {
        Entry {
            name,
            bits,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            user: self.owners.user(meta.uid),
            group: self.owners.group(meta.gid),
            mtime: meta.mtime,
            btime: meta.btime,
            xattrs,
            link: None,
            body,
            ext: Vec::new(),
        }
    }

    /// The path at hand as a user knows it.
    fn shown(&self) -> String {
        self.base.join(Path::new(std::ffi::OsStr::from_bytes(&self.path))).display().to_string()
    }

    fn lost(&mut self, why: &dyn std::fmt::Display) -> Result<(), CaptureError> {
        self.pipeline.progress.notice(Notice::Unreadable { path: self.shown(), why: why.to_string() });
        self.send(Event::Lost)
    }

    fn skipped(&self, why: &str) {
        self.pipeline.progress.notice(Notice::Skipped { path: self.shown(), why: why.to_owned() });
    }

    /// One name of the folder on top, or the folder's end.
    fn step(&mut self) -> Result<(), CaptureError> {
        self.look_ahead();
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        self.path.truncate(frame.path_len);
        if frame.at >= frame.names.len() {
            let in_cache = frame.in_cache;
            self.frames.pop();
            if in_cache
                && !self.frames.is_empty()
                && let Some(old) = &mut self.old
            {
                old.leave();
            }
            return self.send(Event::Leave);
        }
        if frame.at >= frame.batch_from + frame.batch.len() {
            frame.batch_from = frame.at;
            frame.batch = match frame.batches_ahead.pop_front().map(|r| r.recv()) {
                Some(Ok(batch)) => batch,
                _ => stat_batch(&frame.fd, &frame.names, frame.at),
            };
        }
        let at = frame.at;
        frame.at += 1;
        let bytes = frame.names.get(at).unwrap_or_default();
        let meta = frame.batch.get(at - frame.batch_from).copied().unwrap_or(Err(Errno::IO));
        let name = Name::new(bytes);
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(bytes);
        let (name, meta) = match (name, meta) {
            (Ok(name), Ok(meta)) => (name, meta),
            (Err(e), _) => return self.lost(&e),
            // Gone since the folder was listed: as if it had never been there.
            (_, Err(Errno::NOENT)) => {
                self.skipped("it went away meanwhile");
                return Ok(());
            }
            (_, Err(e)) => return self.lost(&e),
        };
        self.item(at, name, &meta)
    }

    fn excluded(&self, path: &[u8], is_dir: bool) -> bool {
        self.pipeline.exclude.matches(path, is_dir)
    }

    fn item(&mut self, at: usize, name: Name, meta: &Meta) -> Result<(), CaptureError> {
        let is_dir = meta.kind == FileType::Directory;
        if self.excluded(&self.path, is_dir) {
            return Ok(());
        }
        if meta.kind == FileType::Socket {
            self.skipped("it is a socket");
            return Ok(());
        }
        let in_cache = self.frames.last().is_some_and(|f| f.in_cache);
        let cached = self.old.as_mut().filter(|_| in_cache).and_then(|old| old.find(name.as_bytes()));
        let was_folder = cached.as_ref().is_some_and(|(_, e)| e.folder().is_some());
        if was_folder
            && !is_dir
            && let Some(old) = &mut self.old
        {
            old.leave();
        }
        let mark = HostMark { ctime: meta.ctime, dev: meta.dev, ino: meta.ino };
        let cached = cached.filter(|(m, _)| *m == mark).map(|(_, entry)| entry).filter(|e| same_kind(e, meta));
        if is_dir { self.folder(at, name, meta, mark, cached, was_folder) } else { self.leaf(name, meta, mark, cached) }
    }

    fn folder(
        &mut self,
        at: usize,
        name: Name,
        meta: &Meta,
        mark: HostMark,
        cached: Option<Entry>,
        in_cache: bool,
    ) -> Result<(), CaptureError> {
        let leave_cache = |walk: &mut Self| {
            if let Some(old) = walk.old.as_mut().filter(|_| in_cache) {
                old.leave();
            }
        };
        if self.store == Some((meta.dev, meta.ino)) {
            leave_cache(self);
            self.skipped("it is the store itself");
            return Ok(());
        }
        let foreign = self.pipeline.options.one_file_system && meta.dev != self.root_dev;
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let only = frame.only.as_ref().and_then(|o| o.0.get(name.as_bytes()).cloned().flatten());
        while frame.folders_ahead.front().is_some_and(|(i, _)| *i < at) {
            frame.folders_ahead.pop_front();
        }
        let listed = if frame.folders_ahead.front().is_some_and(|(i, _)| *i == at) {
            frame.folders_ahead.pop_front().and_then(|(_, r)| r.recv().ok())
        } else {
            None
        };
        let listed = listed.unwrap_or_else(|| {
            source::open_dir(frame.fd.as_fd(), name.as_bytes()).and_then(|fd| {
                let nothing = Only::default();
                list(fd, if foreign { Some(&nothing) } else { only.as_ref() })
            })
        });
        let listing = match listed {
            Ok(listing) => listing,
            Err(e) => {
                leave_cache(self);
                return self.lost(&e);
            }
        };
        let looked = (self.pipeline.clock)();
        let (xattrs, bits) = match cached {
            Some(entry) => (entry.xattrs, entry.bits),
            None => match source::xattrs_fd(listing.fd.as_fd()) {
                Ok(list) => self.reading.store_xattrs(&list)?,
                Err(e) => {
                    leave_cache(self);
                    return self.lost(&e);
                }
            },
        };
        let entry = self.entry(name, meta, no_tree(), xattrs, bits);
        self.send(Event::Enter(entry, settled(mark, looked)))?;
        let path_len = self.path.len();
        self.frames.push(Frame::new(listing, only, path_len, in_cache));
        Ok(())
    }

    fn leaf(&mut self, name: Name, meta: &Meta, mark: HostMark, cached: Option<Entry>) -> Result<(), CaptureError> {
        let inode = (meta.dev, meta.ino);
        let mut first_of_group = None;
        let link = if meta.nlink > 1 {
            let ids = self.pipeline.store.keyring().ids();
            // An inode that was freed and taken by another file meanwhile, or changed, is not the one that was read.
            if self
                .links
                .get(&inode)
                .is_some_and(|linked| !linked.meta.same_content(meta) || linked.meta.btime != meta.btime)
            {
                self.links.remove(&inode);
            }
            let path = &self.path;
            let linked = self.links.entry(inode).or_insert_with(|| {
                let group = ids.link_group(path);
                first_of_group = Some(group);
                Linked { group, seen: 0, meta: *meta }
            });
            linked.seen += 1;
            Some((linked.group, linked.seen))
        } else {
            None
        };
        if let Some(group) = first_of_group {
            let path = self.path.clone();
            self.send(Event::Group(group, path))?;
        }
        let last = link.is_some_and(|(_, seen)| seen >= meta.nlink);
        if last {
            self.links.remove(&inode);
        }
        let group = link.map(|(group, _)| group);
        let keep = group.filter(|_| !last);
        if let Some(old) = cached {
            self.old.iter_mut().for_each(OldCache::count_hit);
            let mut entry = self.entry(name, meta, old.body, old.xattrs, old.bits);
            (entry.link, entry.ext) = (group, old.ext);
            return self.send(Event::Ready { entry, mark: Some(mark), keep });
        }
        if meta.kind == FileType::RegularFile {
            let mut entry = self.entry(name, meta, Body::Fifo, Xattrs::None, Bits::default());
            entry.link = group;
            if link.is_some_and(|(_, seen)| seen > 1) {
                let path = self.shown().into_bytes();
                return self.send(Event::Linked { entry, path, last });
            }
            return self.file(entry, meta, mark, keep);
        }
        let Some(dir) = self.frames.last().map(|f| f.fd.clone()) else { return Ok(()) };
        let looked = (self.pipeline.clock)();
        let special = special_body(&dir, name.as_bytes(), meta)
            .and_then(|body| Ok((body, source::xattrs_at(dir.as_fd(), name.as_bytes())?)));
        let (body, list) = match special {
            Ok(found) => found,
            Err(e) => return self.lost(&e),
        };
        let (xattrs, bits) = self.reading.store_xattrs(&list)?;
        let mut entry = self.entry(name, meta, body, xattrs, bits);
        entry.link = group;
        let mark = settled(mark, looked);
        self.send(Event::Ready { entry, mark, keep: None })
    }

    /// A file that must be read.
    fn file(
        &mut self,
        mut entry: Entry,
        meta: &Meta,
        mark: HostMark,
        keep: Option<crate::model::LinkGroup>,
    ) -> Result<(), CaptureError> {
        let Some(dir) = self.frames.last().map(|f| f.fd.clone()) else { return Ok(()) };
        if meta.size <= SMALL_FILE {
            let job = Job { dir, name: entry.name.as_bytes().into(), meta: *meta };
            let path = self.shown().into_bytes();
            self.send(Event::Read { entry, path, mark, keep })?;
            return self.reading.add(job);
        }
        let looked = (self.pipeline.clock)();
        let opened = source::open_file(dir.as_fd(), entry.name.as_bytes())
            .and_then(|file| Ok((source::stat_fd(file.as_fd())?, source::xattrs_fd(file.as_fd())?, file)));
        let (before, list, file) = match opened {
            Ok((before, ..)) if before.kind != FileType::RegularFile => return self.lost(&"it was replaced meanwhile"),
            Ok(opened) => opened,
            Err(e) => return self.lost(&e),
        };
        let mut content = FromFile::new(&file, before.size);
        let body = self.reading.stream(&mut content)?;
        if let Some(e) = content.failed {
            return self.lost(&e);
        }
        let after = source::stat_fd(file.as_fd()).unwrap_or(before);
        let changed = !after.same_content(&before) || body.size != after.size;
        if changed {
            self.pipeline.progress.notice(Notice::Changed { path: self.shown() });
            self.send(Event::Changed)?;
        }
        let (xattrs, bits) = self.reading.store_xattrs(&list)?;
        (entry.body, entry.xattrs, entry.bits, entry.mtime) = (Body::File(body), xattrs, bits, before.mtime);
        let mark = settled(HostMark { ctime: before.ctime, ..mark }, looked).filter(|_| !changed);
        self.send(Event::Ready { entry, mark, keep })
    }

    /// Has the pool list the next folders and ask for the next names' metadata.
    fn look_ahead(&mut self) {
        let depth = self.frames.len();
        let Some(frame) = self.frames.last_mut() else { return };
        while frame.batches_ahead.len() < 3 {
            let from = frame.batch_from + frame.batch.len() + frame.batches_ahead.len() * BATCH;
            if from >= frame.names.len() {
                break;
            }
            let (done, batch) = bounded(1);
            let (fd, names) = (frame.fd.clone(), frame.names.clone());
            self.pool.spawn(move || {
                let _ = done.send(stat_batch(&fd, &names, from));
            });
            frame.batches_ahead.push_back(batch);
        }
        let one_fs = self.pipeline.options.one_file_system;
        if depth > DEPTH_AHEAD || frame.only.is_some() {
            return;
        }
        frame.looked_ahead = frame.looked_ahead.max(frame.at).max(frame.batch_from);
        while frame.folders_ahead.len() < FOLDERS_AHEAD {
            let at = frame.looked_ahead;
            let Some(meta) = frame.batch.get(at - frame.batch_from) else { break };
            frame.looked_ahead += 1;
            let Ok(meta) = meta else { continue };
            let foreign = one_fs && meta.dev != self.root_dev;
            if meta.kind != FileType::Directory || foreign || self.store == Some((meta.dev, meta.ino)) {
                continue;
            }
            let name: Box<[u8]> = frame.names.get(at).unwrap_or_default().into();
            let mut path = self.path[..frame.path_len.min(self.path.len())].to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if self.pipeline.exclude.matches(&path, true) {
                continue;
            }
            let (done, listing) = bounded(1);
            let fd = frame.fd.clone();
            self.pool.spawn(move || {
                let _ = done.send(source::open_dir(fd.as_fd(), &name).and_then(|fd| list(fd, None)));
            });
            frame.folders_ahead.push_back((at, listing));
        }
    }
}

/// The mark of an item, unless it changed so shortly before it was looked at that a further change might not show.
fn settled(mark: HostMark, looked: crate::model::Timestamp) -> Option<HostMark> {
    (!too_young(mark.ctime, looked)).then_some(mark)
}

fn same_kind(entry: &Entry, meta: &Meta) -> bool {
    match (&entry.body, meta.kind) {
        (Body::File(file), FileType::RegularFile) => file.size == meta.size && entry.mtime == meta.mtime,
        (Body::Folder(_), FileType::Directory)
        | (Body::Symlink(_), FileType::Symlink)
        | (Body::Fifo, FileType::Fifo)
        | (Body::CharDevice(..), FileType::CharacterDevice)
        | (Body::BlockDevice(..), FileType::BlockDevice) => true,
        _ => false,
    }
}

fn special_body(dir: &OwnedFd, name: &[u8], meta: &Meta) -> Result<Body, Errno> {
    Ok(match meta.kind {
        FileType::Symlink => Body::Symlink(source::read_link(dir.as_fd(), name)?.into()),
        FileType::Fifo => Body::Fifo,
        FileType::CharacterDevice => Body::CharDevice(meta.rdev.0, meta.rdev.1),
        FileType::BlockDevice => Body::BlockDevice(meta.rdev.0, meta.rdev.1),
        _ => return Err(Errno::OPNOTSUPP),
    })
}
