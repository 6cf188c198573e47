//! The walk: folders in preorder, names sorted; what is left out, what the cache knows, and what must be read.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::format::HostMark;
use crate::model::{Bits, Body, Entry, LinkGroup, Name, Notice, Xattrs};
use crate::ops::mounts::mounted_at;
use crate::ops::own::OwnFolders;
use crate::ops::source::{self, Meta};

use super::cache::OldCache;
use super::file_systems::FileSystems;
use super::frame::Frame;
use super::group::GONE;
use super::ignore_files::RulesAbove;
use super::listing::{Listing, LookFor};
use super::roots::{Only, Roots};
use super::taker::{NewFile, Taker};
use super::tree::{Event, Inode, settled};
use super::{CaptureError, Setting, no_tree};
use crate::ops::owners::Owners;

/// Below this depth nothing is listed ahead: descriptors are scarce.
const DEPTH_AHEAD: usize = 64;

/// A group of hard links on its way through the walk.
struct Linked {
    group: LinkGroup,
    seen: u32,
    /// Of the first name.
    meta: Meta,
}

/// A name's place in its group of hard links.
#[derive(Clone, Copy)]
struct Link {
    group: LinkGroup,
    first: bool,
    /// No further name will come.
    last: bool,
}

/// Walks, compares with the cache, hands on what it finds.
pub(super) struct Walk<'s, T> {
    setting: Setting<'s>,
    taker: T,
    old: Option<OldCache>,
    pool: rayon::ThreadPool,
    look_for: Arc<LookFor>,
    rules: RulesAbove,
    /// Items left out by a rule.
    left_out: u64,
    frames: Vec<Frame>,
    path: Vec<u8>,
    owners: Owners,
    links: HashMap<Inode, Linked>,
    root_dev: (u32, u32),
    file_systems: FileSystems,
    own: OwnFolders,
    base: PathBuf,
}

/// What leaves an item out.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Pattern,
    File,
    Size,
}

impl<'s, T: Taker> Walk<'s, T> {
    pub(super) fn new(setting: Setting<'s>, taker: T, old: Option<OldCache>) -> Self {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads())
            .thread_name(|n| format!("walk-{n}"))
            .build()
            .expect("threads can be started");
        let look_for = LookFor::new(&setting.options.leave_out);
        Self {
            setting,
            taker,
            old,
            pool,
            rules: RulesAbove::new(look_for.files),
            look_for: Arc::new(look_for),
            left_out: 0,
            frames: Vec::new(),
            path: Vec::new(),
            owners: Owners::default(),
            links: HashMap::new(),
            root_dev: (0, 0),
            file_systems: FileSystems::default(),
            own: OwnFolders::of(setting.store),
            base: PathBuf::new(),
        }
    }

    /// The whole walk; gives back who took it, and how many items were left out by a rule.
    pub(super) fn run(mut self, roots: Roots) -> Result<(T, u64), CaptureError> {
        let fail = |e: Errno| CaptureError::source(&roots.path, &e.into());
        let meta = source::stat_fd(roots.root.as_fd()).map_err(fail)?;
        let xattrs = source::xattrs_fd(roots.root.as_fd()).map_err(fail)?;
        self.root_dev = meta.dev;
        self.base.clone_from(&roots.path);
        let (xattrs, bits) = self.taker.xattrs(&xattrs)?;
        let root = self.entry(Name::root(), &meta, no_tree(), xattrs, bits);
        let listing = Listing::read(roots.root, roots.only.as_ref(), &self.look_for).map_err(fail)?;
        self.taker.take(Event::Enter(root, None))?;
        let in_cache = self.old.is_some();
        self.enter(listing, roots.only, meta.dev, in_cache);
        while !self.frames.is_empty() {
            if self.setting.progress.cancelled() {
                return Err(CaptureError::Interrupted);
            }
            self.step()?;
        }
        self.taker.finish()?;
        Ok((self.taker, self.left_out))
    }

    /// Goes into the folder whose path is at hand.
    fn enter(&mut self, mut listing: Listing, only: Option<Only>, device: (u32, u32), in_cache: bool) {
        let path_len = self.path.len();
        for trouble in listing.troubles.drain(..) {
            let line = trouble.line.map_or_else(String::new, |n| format!(":{n}"));
            let what = if trouble.line.is_some() { "the line is disregarded" } else { "it is disregarded" };
            let file = Path::new(&self.shown()).join(trouble.name).display().to_string();
            self.setting.progress.notice(Notice::Remark(format!("{file}{line}: {}; {what}", trouble.why)));
        }
        if let Some((tag, others)) = listing.emptied.take() {
            self.left_out += others as u64;
            self.tell_left_out(&format!("all in it but {tag}"));
        }
        if let Some(rules) = listing.rules.take() {
            self.rules.enter(path_len, rules);
        }
        self.frames.push(Frame::new(listing, only, device, path_len, in_cache));
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
        self.base.join(Path::new(OsStr::from_bytes(&self.path))).display().to_string()
    }

    fn lost(&mut self, why: &dyn std::fmt::Display) -> Result<(), CaptureError> {
        self.setting.progress.notice(Notice::Unreadable { path: self.shown(), why: why.to_string() });
        self.taker.take(Event::Lost)
    }

    /// The host does not give the item.
    fn refused(&mut self, error: Errno) -> Result<(), CaptureError> {
        let name = self.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        if self.frames.last().is_some_and(|frame| source::is_gone(frame.fd.as_fd(), name, error)) {
            self.skipped(GONE);
            return Ok(());
        }
        if self.is_closed_mount(error) {
            self.skipped("it is a mount of a Larder store");
            return Ok(());
        }
        self.lost(&error)
    }

    /// True if the item at hand is a mount of Larder's that lets nobody but its user in, or is dead.
    fn is_closed_mount(&self, error: Errno) -> bool {
        let path = || self.base.join(Path::new(OsStr::from_bytes(&self.path)));
        matches!(error, Errno::ACCESS | Errno::NOTCONN) && mounted_at(&path()).is_some_and(|m| m.is_larder())
    }

    fn skipped(&self, why: &str) {
        self.setting.progress.notice(Notice::Skipped { path: self.shown(), why: why.to_owned() });
    }

    /// What is left out by a rule is told only where nothing else is to be had.
    fn tell_left_out(&self, why: &str) {
        if !self.taker.reads() {
            self.skipped(why);
        }
    }

    /// One name of the folder on top, or the folder's end.
    fn step(&mut self) -> Result<(), CaptureError> {
        self.look_ahead();
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        self.path.truncate(frame.path_len);
        let Some((at, meta)) = frame.next() else { return self.leave() };
        let bytes = frame.name(at);
        let name = Name::new(bytes);
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(bytes);
        match (name, meta) {
            (Ok(name), Ok(meta)) => self.item(at, name, &meta),
            (Err(e), _) => self.lost(&e),
            (_, Err(e)) => self.refused(e),
        }
    }

    /// The folder on top is done.
    fn leave(&mut self) -> Result<(), CaptureError> {
        if let Some(frame) = self.frames.pop() {
            self.rules.leave(frame.path_len);
            if !self.frames.is_empty() {
                self.leave_cache(frame.in_cache);
            }
        }
        self.taker.take(Event::Leave)
    }

    fn leave_cache(&mut self, in_cache: bool) {
        if let Some(old) = self.old.as_mut().filter(|_| in_cache) {
            old.leave();
        }
    }

    /// Which rule leaves the item at hand out, if one does.
    fn rule_against(&self, meta: &Meta) -> Option<Rule> {
        let is_dir = meta.kind == FileType::Directory;
        let exclude = self.setting.exclude;
        let said = exclude.says(&self.path, is_dir);
        if said.is_some() {
            exclude.note(&self.path, is_dir);
        }
        let larger_than = self.setting.options.leave_out.larger_than.filter(|_| meta.kind == FileType::RegularFile);
        if said == Some(true) {
            Some(Rule::Pattern)
        } else if said.is_none() && self.rules.leave_out(&self.path, is_dir) {
            Some(Rule::File)
        } else if larger_than.is_some_and(|max| meta.size > max) {
            Some(Rule::Size)
        } else {
            None
        }
    }

    /// Why the item at hand is left out.
    fn in_words(&self, rule: Rule, is_dir: bool) -> String {
        match rule {
            Rule::Pattern => {
                let pattern = self.setting.exclude.deciding(&self.path, is_dir).unwrap_or_default();
                format!("the pattern {pattern:?} fits it")
            }
            Rule::File => {
                let (file, pattern) = self.rules.deciding(&self.path, is_dir).unwrap_or_default();
                format!("{:?} in {} fits it", pattern, self.base.join(file).display())
            }
            Rule::Size => "it is too large".to_owned(),
        }
    }

    fn item(&mut self, at: usize, name: Name, meta: &Meta) -> Result<(), CaptureError> {
        if let Some(rule) = self.rule_against(meta) {
            self.left_out += 1;
            if !self.taker.reads() {
                self.skipped(&self.in_words(rule, meta.kind == FileType::Directory));
            }
            return Ok(());
        }
        if meta.kind == FileType::Socket {
            self.skipped("it is a socket");
            return Ok(());
        }
        if let Some(name) = self.file_system_of_file(&name, meta) {
            self.skipped(&format!("it is in a {name} file system"));
            return Ok(());
        }
        let is_dir = meta.kind == FileType::Directory;
        let in_cache = self.frames.last().is_some_and(|f| f.in_cache);
        let cached = self.old.as_mut().filter(|_| in_cache).and_then(|old| old.find(name.as_bytes()));
        let was_folder = cached.as_ref().is_some_and(|(_, e)| e.folder().is_some());
        if !is_dir {
            self.leave_cache(was_folder);
        }
        let mark = HostMark { ctime: meta.ctime, dev: meta.dev, ino: meta.ino };
        let cached = cached.filter(|(m, _)| *m == mark).map(|(_, entry)| entry).filter(|e| same_kind(e, meta));
        let cached = cached.filter(|entry| self.old.as_ref().is_none_or(|old| old.holds(entry)));
        if is_dir { self.folder(at, name, meta, mark, cached, was_folder) } else { self.leaf(name, meta, mark, cached) }
    }

    /// The name of the file system that a file is in, if nothing in that is captured. What the user named is.
    fn file_system_of_file(&mut self, name: &Name, meta: &Meta) -> Option<&'static str> {
        let frame = self.frames.last().filter(|frame| frame.only.is_none())?;
        self.file_systems.of_file(&frame.fd, name.as_bytes(), meta, frame.device)
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
        if let Some(why) = self.own.why(meta) {
            self.leave_cache(in_cache);
            self.skipped(why);
            return Ok(());
        }
        let foreign = self.setting.options.one_file_system && meta.dev != self.root_dev;
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let only = frame.only.as_ref().and_then(|o| o.0.get(name.as_bytes()).cloned().flatten());
        // What the user named is captured, whatever it is in.
        let (above, is_named) = (frame.device, frame.only.is_some());
        let mut pseudo = None;
        let listed = frame.listed_ahead(at).unwrap_or_else(|| {
            source::open_dir(frame.fd.as_fd(), name.as_bytes()).and_then(|fd| {
                if !foreign && !is_named {
                    pseudo = self.file_systems.begun_by(&fd, meta.dev, above);
                }
                let nothing = Only::default();
                let none = foreign || pseudo.is_some();
                Listing::read(fd, if none { Some(&nothing) } else { only.as_ref() }, &self.look_for)
            })
        });
        let looked = (self.setting.clock)();
        let listing = match listed {
            Ok(listing) => listing,
            Err(e) => {
                self.leave_cache(in_cache);
                return self.refused(e);
            }
        };
        let (xattrs, bits) = match cached {
            Some(entry) => (entry.xattrs, entry.bits),
            None if !self.taker.reads() => (Xattrs::None, Bits::default()),
            None => match source::xattrs_fd(listing.fd.as_fd()) {
                Ok(list) => self.taker.xattrs(&list)?,
                Err(e) => {
                    self.leave_cache(in_cache);
                    return self.refused(e);
                }
            },
        };
        let entry = self.entry(name, meta, no_tree(), xattrs, bits);
        self.taker.take(Event::Enter(entry, settled(mark, looked)))?;
        if let Some(name) = pseudo {
            self.skipped(&format!("it is a {name} file system, of which the mount point alone is captured"));
        }
        self.enter(listing, only, meta.dev, in_cache);
        Ok(())
    }

    fn leaf(&mut self, name: Name, meta: &Meta, mark: HostMark, cached: Option<Entry>) -> Result<(), CaptureError> {
        let link = self.link(meta);
        if let Some(link) = link.filter(|l| l.first) {
            self.taker.take(Event::Group(link.group, self.path.clone()))?;
        }
        let group = link.map(|l| l.group);
        let keep = link.filter(|l| !l.last).map(|l| l.group);
        if let Some(old) = cached {
            self.old.iter_mut().for_each(OldCache::count_hit);
            let mut entry = self.entry(name, meta, old.body, old.xattrs, old.bits);
            (entry.link, entry.ext) = (group, old.ext);
            return self.taker.take(Event::Ready { entry, mark: Some(mark), keep });
        }
        let Some(dir) = self.frames.last().map(|f| f.fd.clone()) else { return Ok(()) };
        if meta.kind == FileType::RegularFile {
            let mut entry = self.entry(name, meta, Body::Fifo, Xattrs::None, Bits::default());
            entry.link = group;
            let shown = self.shown();
            if let Some(link) = link.filter(|l| !l.first) {
                return self.taker.take(Event::Linked { entry, path: shown.into_bytes(), last: link.last });
            }
            return self.taker.file(NewFile { dir, entry, meta: *meta, mark, keep, shown });
        }
        let looked = (self.setting.clock)();
        let found = special_body(&dir, name.as_bytes(), meta).and_then(|body| {
            let reads = self.taker.reads();
            Ok((body, if reads { source::xattrs_at(dir.as_fd(), name.as_bytes())? } else { Vec::new() }))
        });
        let (body, list) = match found {
            Ok(found) => found,
            Err(e) => return self.refused(e),
        };
        let (xattrs, bits) = self.taker.xattrs(&list)?;
        let mut entry = self.entry(name, meta, body, xattrs, bits);
        entry.link = group;
        self.taker.take(Event::Ready { entry, mark: settled(mark, looked), keep: None })
    }

    /// The group of hard links that the item at hand belongs to, if it has other names.
    fn link(&mut self, meta: &Meta) -> Option<Link> {
        if meta.nlink <= 1 {
            return None;
        }
        let inode = (meta.dev, meta.ino);
        // An inode that was freed and taken by another file meanwhile, or changed, is not the one that was read.
        let other = |linked: &Linked| !linked.meta.same_content(meta) || linked.meta.btime != meta.btime;
        if self.links.get(&inode).is_some_and(other) {
            self.links.remove(&inode);
        }
        let (ids, path) = (self.setting.store.keyring().ids(), &self.path);
        let first = || Linked { group: ids.link_group(path), seen: 0, meta: *meta };
        let linked = self.links.entry(inode).or_insert_with(first);
        linked.seen += 1;
        let link = Link { group: linked.group, first: linked.seen == 1, last: linked.seen >= meta.nlink };
        if link.last {
            self.links.remove(&inode);
        }
        Some(link)
    }

    /// Has the pool list the next folders and ask for the next names' metadata.
    fn look_ahead(&mut self) {
        let depth = self.frames.len();
        let Some(frame) = self.frames.last_mut() else { return };
        frame.stat_ahead(&self.pool);
        if depth > DEPTH_AHEAD || frame.only.is_some() {
            return;
        }
        let one_fs = self.setting.options.one_file_system;
        let (root_dev, own, exclude, rules) = (self.root_dev, &self.own, self.setting.exclude, &self.rules);
        let device = frame.device;
        let above = &self.path[..frame.path_len.min(self.path.len())];
        frame.list_ahead(&self.pool, &self.look_for, |name, meta| {
            let foreign = one_fs && meta.dev != root_dev;
            // Another file system may be one that is better not listed.
            if meta.kind != FileType::Directory || foreign || meta.dev != device || own.why(meta).is_some() {
                return false;
            }
            let mut path = above.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            !exclude.says(&path, true).unwrap_or_else(|| rules.leave_out(&path, true))
        });
    }
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
