//! A file system that takes names for one that differ in letter case alone, and keeps the first of them, as those of macOS and Windows do.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyStatfs, ReplyWrite, Request, Session, TimeOrNow, WriteFlags,
};

use crate::by_hand::{names, storeless, tar, text};
use crate::sandbox::Sandbox;

const AT_ONCE: Duration = Duration::ZERO;

#[derive(Clone)]
struct Node {
    kind: FileType,
    perm: u16,
    owner: (u32, u32),
    mtime: SystemTime,
    links: u32,
    content: Vec<u8>,
    /// Of a folder: by the folded name the name as it was first given, and what it is.
    items: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
}

struct Folding(Mutex<BTreeMap<u64, Node>>);

impl Folding {
    fn new() -> Self {
        let mut nodes = BTreeMap::new();
        nodes.insert(1, node(FileType::Directory, 0o755));
        Self(Mutex::new(nodes))
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<u64, Node>> {
        self.0.lock().unwrap()
    }

    fn make(&self, parent: INodeNo, name: &OsStr, made: Node) -> Result<FileAttr, Errno> {
        let mut nodes = self.nodes();
        let next = nodes.last_key_value().map_or(1, |(ino, _)| ino + 1);
        put(&mut nodes, parent, name, next)?;
        nodes.insert(next, made);
        Ok(attr(&nodes, next))
    }

    fn remove(&self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let mut nodes = self.nodes();
        let parent = nodes.get_mut(&parent.0).ok_or(Errno::ENOENT)?;
        let (_, ino) = parent.items.remove(&folded(name)).ok_or(Errno::ENOENT)?;
        if let Some(node) = nodes.get_mut(&ino) {
            node.links -= 1;
        }
        Ok(())
    }
}

fn folded(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_ascii_lowercase()
}

fn node(kind: FileType, perm: u16) -> Node {
    Node { kind, perm, owner: (0, 0), mtime: UNIX_EPOCH, links: 1, content: Vec::new(), items: BTreeMap::new() }
}

fn put(nodes: &mut BTreeMap<u64, Node>, parent: INodeNo, name: &OsStr, ino: u64) -> Result<(), Errno> {
    let parent = nodes.get_mut(&parent.0).ok_or(Errno::ENOENT)?;
    if parent.items.contains_key(&folded(name)) {
        return Err(Errno::EEXIST);
    }
    parent.items.insert(folded(name), (name.as_bytes().to_vec(), ino));
    Ok(())
}

fn attr(nodes: &BTreeMap<u64, Node>, ino: u64) -> FileAttr {
    let node = &nodes[&ino];
    FileAttr {
        ino: INodeNo(ino),
        size: node.content.len() as u64,
        blocks: 1,
        atime: node.mtime,
        mtime: node.mtime,
        ctime: node.mtime,
        crtime: node.mtime,
        kind: node.kind,
        perm: node.perm,
        nlink: node.links,
        uid: node.owner.0,
        gid: node.owner.1,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn entry(reply: ReplyEntry, made: Result<FileAttr, Errno>) {
    match made {
        Ok(attr) => reply.entry(&AT_ONCE, &attr, Generation(0)),
        Err(e) => reply.error(e),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(e),
    }
}

#[allow(clippy::cast_possible_truncation)]
impl Filesystem for Folding {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let nodes = self.nodes();
        let found = nodes.get(&parent.0).and_then(|parent| parent.items.get(&folded(name)));
        entry(reply, found.map(|(_, ino)| attr(&nodes, *ino)).ok_or(Errno::ENOENT));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&AT_ONCE, &attr(&self.nodes(), ino.0));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut nodes = self.nodes();
        let node = nodes.get_mut(&ino.0).unwrap();
        node.perm = mode.map_or(node.perm, |mode| mode as u16 & 0o7777);
        node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
        if let Some(size) = size {
            node.content.resize(usize::try_from(size).unwrap(), 0);
        }
        if let Some(TimeOrNow::SpecificTime(time)) = mtime {
            node.mtime = time;
        }
        reply.attr(&AT_ONCE, &attr(&nodes, ino.0));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        reply.data(&self.nodes()[&ino.0].content);
    }

    fn mknod(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: u32, reply: ReplyEntry) {
        let kind = if mode & 0o170_000 == 0o010_000 { FileType::NamedPipe } else { FileType::RegularFile };
        entry(reply, self.make(parent, name, node(kind, mode as u16 & 0o7777)));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.make(parent, name, node(FileType::Directory, mode as u16 & 0o7777)));
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let content = target.as_os_str().as_bytes().to_vec();
        entry(reply, self.make(parent, name, Node { content, ..node(FileType::Symlink, 0o777) }));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut nodes = self.nodes();
        let put = put(&mut nodes, parent, name, ino.0);
        if put.is_ok() {
            nodes.get_mut(&ino.0).unwrap().links += 1;
        }
        entry(reply, put.map(|()| attr(&nodes, ino.0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.remove(parent, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.remove(parent, name));
    }

    fn rename(
        &self,
        _: &Request,
        from: INodeNo,
        old: &OsStr,
        to: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut nodes = self.nodes();
        let found = nodes.get_mut(&from.0).and_then(|folder| folder.items.remove(&folded(old)));
        let Some((_, ino)) = found else { return reply.error(Errno::ENOENT) };
        nodes.get_mut(&to.0).unwrap().items.insert(folded(new), (new.as_bytes().to_vec(), ino));
        reply.ok();
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.make(parent, name, node(FileType::RegularFile, mode as u16 & 0o7777)) {
            Ok(attr) => reply.created(&AT_ONCE, &attr, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(e) => reply.error(e),
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
        let nodes = self.nodes();
        let content = &nodes[&ino.0].content;
        let start = usize::try_from(offset).unwrap().min(content.len());
        reply.data(&content[start..(start + size as usize).min(content.len())]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut nodes = self.nodes();
        let content = &mut nodes.get_mut(&ino.0).unwrap().content;
        let start = usize::try_from(offset).unwrap();
        let end = content.len().max(start + data.len());
        content.resize(end, 0);
        content[start..start + data.len()].copy_from_slice(data);
        reply.written(data.len() as u32);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let nodes = self.nodes();
        let items = nodes[&ino.0].items.values();
        for (at, (name, ino)) in items.enumerate().skip(usize::try_from(offset).unwrap()) {
            if reply.add(INodeNo(*ino), at as u64 + 1, nodes[ino].kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}

fn folding(place: &Path) -> BackgroundSession {
    fs::create_dir(place).unwrap();
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("folding".to_owned())];
    Session::new(Folding::new(), place, &config).unwrap().spawn().unwrap()
}

/// Nothing takes the place of something else, and what is told names both.
#[test]
fn two_names_that_are_one_there_are_not_unpacked() {
    let sandbox = Sandbox::with_open_store();
    let disk = sandbox.path("disk");
    let session = folding(&disk);
    fs::write(disk.join("Kept"), "1").unwrap();
    assert_eq!(fs::read(disk.join("kEPT")).unwrap(), b"1", "it does not fold");
    let out = disk.join("out");
    let pairs = [
        ("add('d/Read', data=b'1'); add('d/read', data=b'2')", "d/read", "Read"),
        ("add('d/Read', data=b'1'); add('d/read', tarfile.SYMTYPE, link='x')", "d/read", "Read"),
        ("add('Read', data=b'1'); add('x', data=b'2'); add('read', tarfile.LNKTYPE, link='x')", "read", "Read"),
        ("add('A/x', data=b'1'); add('a/y', data=b'2')", "a", "A"),
        ("add('A', data=b'1'); add('a/y', data=b'2')", "a", "A"),
        ("add('pipe', tarfile.FIFOTYPE); add('PIPE', tarfile.FIFOTYPE)", "PIPE", "pipe"),
    ];
    for (turn, (members, path, other)) in pairs.into_iter().enumerate() {
        let pack = tar(&sandbox, "t.tar", members);
        // Without a word about it the archive is refused before; and a pack of Larder's is taken, whose manifest lists both.
        storeless(&sandbox, &["unpack", text(&pack), text(&out)]).refused(2, "--alike tell");
        let ran = storeless(&sandbox, &["unpack", text(&pack), text(&out), "--alike=tell"]).ended(1);
        let wanted = format!("{path}: to this file system its name is that of {other}, which came before");
        assert!(ran.stderr.contains(&wanted), "{wanted}: {}", ran.stderr);
        assert_eq!(names(&disk), ["Kept"], "{members}");
        let (dataset, own) = (format!("both{turn}"), sandbox.path("own.tar"));
        sandbox.larder(["import", text(&pack), "--alike=tell", "-d", &dataset]).done();
        sandbox.larder(["export", &dataset, "-o", text(&own)]).done();
        storeless(&sandbox, &["unpack", text(&own), text(&out)]).refused(1, "its name is that of");
        assert_eq!(names(&disk), ["Kept"], "{members}");
    }
    let pack = tar(&sandbox, "t.tar", "add('A/x', data=b'1'); add('b/x', data=b'2'); add('A/Y', data=b'3')");
    storeless(&sandbox, &["unpack", text(&pack), text(&out)]).done();
    assert_eq!(names(&out), ["A", "b"]);
    assert_eq!(names(&out.join("A")), ["Y", "x"]);
    drop(session);
}
