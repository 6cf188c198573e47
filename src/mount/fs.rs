//! What the kernel asks, answered from the view.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;
use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};

use crate::model::Timestamp;
use crate::view::{Node, NodeId, View, ViewError};

use super::asked::Asked;
use super::attr::{FOREVER, SHORT, absent, errno, of_node};
use super::layout::Layout;
use super::number::Ino;
use super::options::{Owner, Parsed};

/// Inodes are never used twice, so one generation is enough.
const GENERATION: Generation = Generation(0);
/// Bytes in one request at the most.
const MAX_REQUEST: u32 = 1 << 20;
/// Requests of the kernel's read-ahead in flight.
const MAX_BACKGROUND: u16 = 64;
/// Asked for by this name the time of birth is told, as `stat -c %.9W` writes it. It is in no listing: a copy has its own.
const BTIME: &[u8] = b"user.larder.btime";
/// Unit of `statfs`.
const UNIT: u32 = 4096;

thread_local! {
    /// What is being read; kept, so that a thread does not ask for fresh memory for each request.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A mounted store or snapshot.
pub(super) struct LarderFs {
    view: View,
    /// The snapshot that is the root of the mount, if one is.
    root: Option<NodeId>,
    xattrs: bool,
    owner: Owner,
    asked: Asked,
    no_open: bool,
    no_opendir: bool,
    /// Closed when the kernel has let go of the mount.
    _alive: Sender<()>,
}

/// Something that has attributes.
struct Found {
    attr: FileAttr,
    keep: Duration,
}

impl LarderFs {
    pub(super) fn new(view: View, root: Option<NodeId>, parsed: Parsed, asked: Asked, alive: Sender<()>) -> Self {
        let Parsed { xattrs, owner, .. } = parsed;
        Self { view, root, xattrs, owner, asked, no_open: false, no_opendir: false, _alive: alive }
    }

    /// What the kernel is told of a node.
    fn node_found(&self, node: &Node) -> Found {
        let mut attr = of_node(Ino::Node(node.id()).raw(self.root), &node.attr());
        (attr.uid, attr.gid) = (self.owner.uid.unwrap_or(attr.uid), self.owner.gid.unwrap_or(attr.gid));
        Found { attr, keep: FOREVER }
    }

    fn ino(&self, raw: INodeNo) -> Result<Ino, Errno> {
        Ino::from_raw(raw.0, self.root).ok_or(Errno::ESTALE)
    }

    fn node(&self, raw: INodeNo) -> Result<NodeId, Errno> {
        match self.ino(raw)? {
            Ino::Node(id) => Ok(id),
            _ => Err(Errno::EINVAL),
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.view.catalog())
    }

    fn found(&self, ino: Ino) -> Result<Found, Errno> {
        if let Ino::Node(id) = ino {
            return Ok(self.node_found(&*self.view.node(id).map_err(|e| errno(&e))?));
        }
        let attr = self.layout().attr(ino).ok_or(Errno::ESTALE)?;
        Ok(Found { attr, keep: SHORT })
    }

    /// What a name stands for; nothing if the kernel may keep in mind for ever that there is none.
    fn named(&self, parent: Ino, name: &[u8]) -> Result<Option<Found>, Errno> {
        match (name, parent) {
            // Asked when a file handle from before is opened.
            (b".", _) => self.found(parent).map(Some),
            (b"..", Ino::Node(id)) if id.index() != 0 => {
                let parent = self.view.node(id).map_err(|e| errno(&e))?.parent();
                self.found(Ino::Node(parent)).map(Some)
            }
            (b"..", Ino::Node(_)) if self.root.is_some() => self.found(parent).map(Some),
            (b"..", _) => self.found(self.layout().parent(parent).ok_or(Errno::ESTALE)?).map(Some),
            (_, Ino::Node(id)) => {
                let node = self.view.lookup(id, name).map_err(|e| errno(&e))?;
                Ok(node.map(|node| self.node_found(&node)))
            }
            _ => {
                let now = Timestamp::from_system(SystemTime::now());
                let mut ino = self.layout().lookup(parent, name, now);
                if ino.is_none() && self.view.look_again().unwrap_or(false) {
                    ino = self.layout().lookup(parent, name, now);
                }
                if let Some(Ino::AsOf(seconds)) = ino {
                    self.asked.add(seconds);
                }
                let found = self.found(ino.ok_or(Errno::ENOENT)?)?;
                // Which tree an id leads to never changes, but it may be forgotten.
                Ok(Some(Found { keep: SHORT, ..found }))
            }
        }
    }

    /// Gives the entries of a folder from an offset on, until `add` says that it is enough. Offsets are positions: any may come
    /// at any time, since folders are not opened.
    fn each(&self, folder: Ino, offset: u64, add: &mut dyn FnMut(&OsStr, u64, &Found) -> bool) -> Result<(), Errno> {
        for (at, name) in [(0, "."), (1, "..")] {
            if offset <= at {
                let found = self.named(folder, name.as_bytes())?.ok_or(Errno::ESTALE)?;
                if add(OsStr::new(name), at + 1, &found) {
                    return Ok(());
                }
            }
        }
        let first = offset.saturating_sub(2);
        if let Ino::Node(id) = folder {
            let mut children = self.view.list(id, first).map_err(|e| errno(&e))?;
            while let Some(child) = children.next().map_err(|e| errno(&e))? {
                let found = self.node_found(&child.node);
                if add(child.name().as_os(), child.position + 3, &found) {
                    break;
                }
            }
            return Ok(());
        }
        let names = self.layout().list(folder).ok_or(Errno::ENOTDIR)?;
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (position, (name, ino)) in names.iter().enumerate().skip(first) {
            // A snapshot whose manifest is damaged hides no other.
            let Ok(found) = self.found(*ino) else { continue };
            if add(OsStr::new(name), position as u64 + 3, &Found { keep: SHORT, ..found }) {
                break;
            }
        }
        Ok(())
    }

    /// All extended attributes; nothing at once for what has none.
    fn all_xattrs(&self, ino: INodeNo) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Errno> {
        let Ino::Node(id) = self.ino(ino)? else { return Ok(Vec::new()) };
        let read = || -> Result<_, ViewError> {
            let node = self.view.node(id)?;
            if node.has_xattrs() { self.view.xattrs(&node) } else { Ok(Vec::new()) }
        };
        read().map_err(|e| errno(&e))
    }
}

/// Answers a question about extended attributes by the rules of `size`.
fn give(bytes: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(bytes.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(bytes),
        _ => reply.error(Errno::ERANGE),
    }
}

impl Filesystem for LarderFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let has = config.capabilities();
        self.no_open = has.contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.no_opendir = has.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let wanted = [
            // Without READDIRPLUS_AUTO: it falls back to bare names after a page, and each name then costs a look-up.
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_POSIX_ACL,
            InitFlags::FUSE_EXPORT_SUPPORT,
        ];
        for flag in wanted {
            // What the kernel does not know is done without.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(MAX_REQUEST);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.ino(parent).and_then(|parent| self.named(parent, name.as_bytes())) {
            Ok(Some(found)) => reply.entry(&found.keep, &found.attr, GENERATION),
            Ok(None) => reply.entry(&FOREVER, &absent(), GENERATION),
            Err(e) => reply.error(e),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.ino(ino).and_then(|ino| self.found(ino)) {
            Ok(found) => reply.attr(&found.keep, &found.attr),
            Err(e) => reply.error(e),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.ino(ino).and_then(|ino| match ino {
            Ino::Node(id) => self.view.readlink(id).map_err(|e| errno(&e)),
            other => self.layout().readlink(other).map(String::into_bytes).ok_or(Errno::EINVAL),
        });
        match target {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(e),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Said once, the kernel never asks again and keeps file contents.
        if self.no_open {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // The same for listings.
        if self.no_opendir {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        BUFFER.with_borrow_mut(|buffer| {
            let read =
                self.node(ino).and_then(|id| self.view.read(id, offset, size as usize, buffer).map_err(|e| errno(&e)));
            match read {
                Ok(()) => reply.data(buffer),
                Err(e) => reply.error(e),
            }
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.ino(ino).and_then(|folder| {
            self.each(folder, offset, &mut |name, next, found| reply.add(found.attr.ino, next, found.attr.kind, name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(e),
        }
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listed = self.ino(ino).and_then(|folder| {
            self.each(folder, offset, &mut |name, next, found| {
                reply.add(found.attr.ino, next, name, &found.keep, &found.attr, GENERATION)
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(e),
        }
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let space = match self.ino(ino) {
            Ok(Ino::Node(id)) => self.view.space_of(id),
            _ => self.view.space(),
        };
        match space {
            Ok(space) => reply.statfs(space.bytes.div_ceil(UNIT.into()), 0, 0, space.nodes, 0, MAX_REQUEST, 255, UNIT),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        let all = match self.all_xattrs(ino) {
            Ok(all) => all,
            Err(e) => return reply.error(e),
        };
        let name = name.as_bytes();
        if name == BTIME
            && let Some(btime) = self.node(ino).ok().and_then(|id| self.view.node(id).ok()?.entry().btime)
        {
            return give(format!("{}.{:09}", btime.seconds, btime.nanos).as_bytes(), size, reply);
        }
        match all.iter().find(|(known, _)| known == name) {
            Some((_, value)) => give(value, size, reply),
            // This makes `ls` stop asking for each file.
            None if all.is_empty() && name.starts_with(b"security.") => reply.error(Errno::EOPNOTSUPP),
            None => reply.error(Errno::NO_XATTR),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        match self.all_xattrs(ino) {
            Ok(all) => {
                let names: Vec<u8> = all.iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect();
                give(&names, size, reply);
            }
            Err(e) => reply.error(e),
        }
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        const SEEK_DATA: i32 = 3;
        const SEEK_HOLE: i32 = 4;
        let place = self.node(ino).and_then(|id| {
            let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            let place = match whence {
                SEEK_DATA => self.view.seek_data(id, offset),
                SEEK_HOLE => self.view.seek_hole(id, offset),
                _ => return Err(Errno::EINVAL),
            };
            place.map_err(|e| errno(&e))?.ok_or(Errno::ENXIO)
        });
        match place.and_then(|place| i64::try_from(place).map_err(|_| Errno::EOVERFLOW)) {
            Ok(place) => reply.offset(place),
            Err(e) => reply.error(e),
        }
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}
