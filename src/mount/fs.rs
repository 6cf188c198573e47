//! The requests of the kernel, handed to [`Answers`] through the [`Desk`](super::desk::Desk).

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crossbeam_channel::Sender;
use fuser::{
    AccessFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyXattr, Request,
};

use crate::view::NodeId;

use super::answers::Answers;
use super::attr::{FOREVER, absent, errno};
use super::counts::Request as Asked;
use super::desk::{Sort, Ticket};
use super::number::Ino;

/// Inodes are never used twice, so one generation is enough.
const GENERATION: Generation = Generation(0);
/// Bytes in one request at the most.
const MAX_REQUEST: u32 = 1 << 20;
/// Requests of the kernel's read-ahead in flight.
const MAX_BACKGROUND: u16 = 64;
/// Unit of `statfs`.
const UNIT: u32 = 4096;

thread_local! {
    /// What is being read; kept, so that a thread does not ask for fresh memory for each request.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A mounted store or snapshot.
pub(super) struct LarderFs {
    answers: Arc<Answers>,
    no_open: bool,
    no_opendir: bool,
    /// Closed when the kernel has let go of the mount.
    _alive: Sender<()>,
}

impl LarderFs {
    pub(super) fn new(answers: Arc<Answers>, alive: Sender<()>) -> Self {
        Self { answers, no_open: false, no_opendir: false, _alive: alive }
    }

    /// Counts a request and has it answered.
    fn serve<R: Sort + 'static>(
        &self,
        asked: Asked,
        reply: R,
        work: impl FnOnce(&Answers, Ticket<R>) + Send + 'static,
    ) {
        self.answers.counts.add(asked);
        let answers = self.answers.clone();
        self.answers.desk.serve(reply, move |ticket| work(&answers, ticket));
    }
}

/// Answers a question about extended attributes by the rules of `size`.
fn give(bytes: &[u8], size: u32, ticket: Ticket<ReplyXattr>) {
    match u32::try_from(bytes.len()) {
        Ok(len) if size == 0 => ticket.give(|reply| reply.size(len)),
        Ok(len) if len <= size => ticket.give(|reply| reply.data(bytes)),
        _ => ticket.fail(Errno::ERANGE),
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
        let name = name.as_bytes().to_vec();
        self.serve(Asked::Lookup, reply, move |answers, ticket| match answers.lookup(parent, &name) {
            Ok(Some(found)) => ticket.give(|reply| reply.entry(&found.keep, &found.attr, GENERATION)),
            Ok(None) => ticket.give(|reply| reply.entry(&FOREVER, &absent(), GENERATION)),
            Err(e) => ticket.fail(e),
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        if let Some(id) = NodeId::from_raw(ino.0) {
            self.answers.held.forget(id.sequence(), count);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.serve(Asked::Getattr, reply, move |answers, ticket| match answers.attr(ino) {
            Ok(found) => ticket.give(|reply| reply.attr(&found.keep, &found.attr)),
            Err(e) => ticket.fail(e),
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.serve(Asked::Readlink, reply, move |answers, ticket| match answers.readlink(ino) {
            Ok(target) => ticket.give(|reply| reply.data(&target)),
            Err(e) => ticket.fail(e),
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.answers.counts.add(Asked::Open);
        // Said once, the kernel never asks again and keeps file contents.
        if self.no_open {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.answers.counts.add(Asked::Opendir);
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
        self.serve(Asked::Read, reply, move |answers, ticket| {
            BUFFER.with_borrow_mut(|buffer| {
                let read = answers
                    .node(ino)
                    .and_then(|id| answers.view.read(id, offset, size as usize, buffer).map_err(|e| errno(&e)));
                match read {
                    Ok(()) => ticket.give(|reply| reply.data(buffer)),
                    Err(e) => ticket.fail(e),
                }
            });
            if offset == 0
                && let Ok(id) = answers.node(ino)
            {
                answers.pushes.read(&answers.view, id);
            }
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.serve(Asked::Readdir, reply, move |answers, ticket| {
            let listed = answers.each(ino, offset, &mut |name, next, found| {
                ticket.change(|reply| reply.add(found.attr.ino, next, found.attr.kind, name)).unwrap_or(true)
            });
            match listed {
                Ok(()) => ticket.give(ReplyDirectory::ok),
                Err(e) => ticket.fail(e),
            }
        });
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.serve(Asked::Readdirplus, reply, move |answers, ticket| {
            let mut told = answers.held.batch();
            let mut is_end = true;
            let listed = answers.each(ino, offset, &mut |name, next, found| {
                is_end = false;
                let full = ticket
                    .change(|reply| reply.add(found.attr.ino, next, name, &found.keep, &found.attr, GENERATION))
                    .unwrap_or(true);
                // The kernel makes nothing of the first two.
                if !full && name != "." && name != ".." {
                    told.add(found.attr.ino);
                }
                full
            });
            told.tell();
            match listed {
                Ok(()) => {
                    ticket.give(ReplyDirectoryPlus::ok);
                    if is_end && let Ok(id) = answers.node(ino) {
                        answers.pushes.listed(&answers.view, id);
                    }
                }
                Err(e) => ticket.fail(e),
            }
        });
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.serve(Asked::Statfs, reply, move |answers, ticket| {
            let space = match answers.ino(ino) {
                Ok(Ino::Node(id)) => answers.view.space_of(id),
                _ => answers.view.space(),
            };
            match space {
                Ok(space) => ticket.give(|reply| {
                    reply.statfs(space.bytes.div_ceil(UNIT.into()), 0, 0, space.nodes, 0, UNIT, 255, UNIT);
                }),
                Err(e) => ticket.fail(errno(&e)),
            }
        });
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        self.serve(Asked::Getxattr, reply, move |answers, ticket| {
            if !answers.xattrs {
                return ticket.fail(Errno::ENOSYS);
            }
            match answers.xattr(ino, &name) {
                Ok(value) => give(&value, size, ticket),
                Err(e) => ticket.fail(e),
            }
        });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.serve(Asked::Listxattr, reply, move |answers, ticket| {
            if !answers.xattrs {
                return ticket.fail(Errno::ENOSYS);
            }
            match answers.all_xattrs(ino) {
                Ok(all) => {
                    let names: Vec<u8> = all.iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect();
                    give(&names, size, ticket);
                }
                Err(e) => ticket.fail(e),
            }
        });
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        const SEEK_DATA: i32 = 3;
        const SEEK_HOLE: i32 = 4;
        self.serve(Asked::Lseek, reply, move |answers, ticket| {
            let place = answers.node(ino).and_then(|id| {
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                let place = match whence {
                    SEEK_DATA => answers.view.seek_data(id, offset),
                    SEEK_HOLE => answers.view.seek_hole(id, offset),
                    _ => return Err(Errno::EINVAL),
                };
                place.map_err(|e| errno(&e))?.ok_or(Errno::ENXIO)
            });
            match place.and_then(|place| i64::try_from(place).map_err(|_| Errno::EOVERFLOW)) {
                Ok(place) => ticket.give(|reply| reply.offset(place)),
                Err(e) => ticket.fail(e),
            }
        });
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        self.answers.counts.add(Asked::Access);
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.answers.counts.add(Asked::Flush);
        reply.error(Errno::ENOSYS);
    }
}
