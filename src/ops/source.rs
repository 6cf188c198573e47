//! Reading a host's folders: names, metadata, attributes, holes. Everything goes by folder descriptor and name, so that
//! no path is too long and no symlink is followed.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, CWD, FileType, FsWord, Mode, OFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use crate::model::{Extent, Timestamp};

/// What a host says of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) kind: FileType,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) btime: Option<Timestamp>,
    pub(super) dev: (u32, u32),
    pub(super) ino: u64,
    pub(super) nlink: u32,
    pub(super) rdev: (u32, u32),
}

impl Meta {
    /// True if the content is the same as when `other` was asked for, as far as the host tells.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.size, self.mtime, self.ctime)
            == (other.dev, other.ino, other.size, other.mtime, other.ctime)
    }
}

fn from_statx(s: &Statx) -> Meta {
    let time = |t: rustix::fs::StatxTimestamp| Timestamp { seconds: t.tv_sec, nanos: t.tv_nsec };
    let has_btime = s.stx_mask & StatxFlags::BTIME.bits() != 0;
    Meta {
        kind: FileType::from_raw_mode(s.stx_mode.into()),
        mode: s.stx_mode & 0o7777,
        uid: s.stx_uid,
        gid: s.stx_gid,
        size: s.stx_size,
        mtime: time(s.stx_mtime),
        ctime: time(s.stx_ctime),
        btime: has_btime.then(|| time(s.stx_btime)),
        dev: (s.stx_dev_major, s.stx_dev_minor),
        ino: s.stx_ino,
        nlink: s.stx_nlink,
        rdev: (s.stx_rdev_major, s.stx_rdev_minor),
    }
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// Metadata of a name in a folder; a symlink is not followed.
pub(super) fn stat_at(dir: BorrowedFd, name: &[u8]) -> Result<Meta, Errno> {
    rustix::fs::statx(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW, WANTED).map(|s| from_statx(&s))
}

/// Metadata of something open.
pub(super) fn stat_fd(fd: BorrowedFd) -> Result<Meta, Errno> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, WANTED).map(|s| from_statx(&s))
}

/// True if the name that gave this error went away after its folder was listed. A host that has the name and will not open it
/// says the same, and that is no reason to do without the item: so it is asked once more.
pub(super) fn is_gone(dir: BorrowedFd, name: &[u8], error: Errno) -> bool {
    let exists = || rustix::fs::accessat(dir, OsStr::from_bytes(name), Access::EXISTS, AtFlags::SYMLINK_NOFOLLOW);
    error == Errno::NOENT && exists() == Err(Errno::NOENT)
}

/// Whether a name of a folder may be read, without opening it.
pub(super) fn may_read(dir: BorrowedFd, name: &[u8]) -> Result<(), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EACCESS;
    rustix::fs::accessat(dir, OsStr::from_bytes(name), Access::READ_OK, flags)
}

/// Opens a folder of the user's by path, following symlinks.
pub(super) fn open_root(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a folder in a folder; a symlink is not followed.
pub(super) fn open_dir(dir: BorrowedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, OsStr::from_bytes(name), flags, Mode::empty())
}

/// A name in a folder as a place alone, which nothing can be read from and which opening does not touch.
pub(super) fn open_path(dir: BorrowedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, OsStr::from_bytes(name), flags, Mode::empty())
}

/// The sort of file system that something open is in, as linux/magic.h numbers them.
pub(super) fn file_system(fd: BorrowedFd) -> Result<FsWord, Errno> {
    rustix::fs::fstatfs(fd).map(|s| s.f_type)
}

/// Opens a file in a folder for reading; a symlink is not followed, a pipe that took its place does not block.
pub(super) fn open_file(dir: BorrowedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let name = OsStr::from_bytes(name);
    // Reading should leave no trace where we may ask for that.
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}

/// The names of a folder, sorted as byte strings. They stand in one buffer: a million of them cost little more than their bytes.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    spans: Vec<(u32, u16)>,
}

impl Names {
    pub(super) fn read(dir: BorrowedFd) -> Result<Self, Errno> {
        let mut names = Self::default();
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut raw = rustix::fs::RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(item) = raw.next() {
            names.push(item?.file_name())?;
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn from_list<'a>(list: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut names = Self::default();
        for name in list {
            let start = u32::try_from(names.bytes.len()).unwrap_or(u32::MAX);
            names.bytes.extend_from_slice(name);
            names.spans.push((start, u16::try_from(name.len()).unwrap_or(u16::MAX)));
        }
        names.sort();
        names
    }

    fn push(&mut self, name: &CStr) -> Result<(), Errno> {
        let name = name.to_bytes();
        if name != b"." && name != b".." {
            let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
            self.bytes.extend_from_slice(name);
            self.spans.push((start, u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?));
        }
        Ok(())
    }

    fn sort(&mut self) {
        let Self { bytes, spans } = self;
        let name = |span: &(u32, u16)| &bytes[span.0 as usize..span.0 as usize + usize::from(span.1)];
        spans.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        spans.dedup_by(|a, b| name(a) == name(b));
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// True if the name is among them.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.spans
            .binary_search_by(|(start, len)| {
                let at = *start as usize;
                self.bytes[at..at + usize::from(*len)].cmp(name)
            })
            .is_ok()
    }

    pub(super) fn get(&self, at: usize) -> Option<&[u8]> {
        let (start, len) = *self.spans.get(at)?;
        self.bytes.get(start as usize..start as usize + usize::from(len))
    }
}

/// The target of a symlink in a folder.
pub(super) fn read_link(dir: BorrowedFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(dir, OsStr::from_bytes(name), Vec::new()).map(std::ffi::CString::into_bytes)
}

/// Extended attributes by name, sorted.
pub(super) type XattrList = Vec<(Vec<u8>, Vec<u8>)>;

/// Extended attributes of something open.
pub(super) fn xattrs_fd(fd: BorrowedFd) -> Result<XattrList, Errno> {
    collect_xattrs(|buffer| rustix::fs::flistxattr(fd, buffer), |name, buffer| rustix::fs::fgetxattr(fd, name, buffer))
}

/// Extended attributes of a name in a folder that is not opened (a symlink, a device).
pub(super) fn xattrs_at(dir: BorrowedFd, name: &[u8]) -> Result<XattrList, Errno> {
    // There is no call that takes folder and name; the way through /proc has no limit on the folder's depth.
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let path = OsStr::from_bytes(&path);
    collect_xattrs(
        |buffer| rustix::fs::llistxattr(path, buffer),
        |name, buffer| rustix::fs::lgetxattr(path, name, buffer),
    )
}

fn collect_xattrs(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<XattrList, Errno> {
    let names = match grown(&list) {
        Ok(names) if names.is_empty() => return Ok(Vec::new()),
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for name in names.split_inclusive(|b| *b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        match grown(&|buffer: &mut [u8]| get(name, buffer)) {
            Ok(value) => found.push((name.to_bytes().to_vec(), value)),
            // It went away meanwhile.
            Err(Errno::NODATA) => {}
            Err(e) => return Err(e),
        }
    }
    found.sort();
    Ok(found)
}

/// Calls `fill` with a buffer that is long enough.
fn grown(fill: &impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 256];
    match fill(&mut small) {
        Ok(len) => return Ok(small[..len].to_vec()),
        Err(Errno::RANGE) => {}
        Err(e) => return Err(e),
    }
    let mut buffer = vec![0; 64 << 10];
    loop {
        match fill(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 16 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(e) => return Err(e),
        }
    }
}

/// The holes of an open file of `size` bytes, ascending. None where the host cannot tell.
pub(super) fn holes(file: BorrowedFd, size: u64) -> Vec<Extent> {
    let mut holes = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(hole) = rustix::fs::seek(file, SeekFrom::Hole(at)) else { break };
        if hole >= size {
            break;
        }
        // No data behind the hole: it goes to the end.
        let data = rustix::fs::seek(file, SeekFrom::Data(hole)).unwrap_or(size).min(size);
        if data <= hole {
            break;
        }
        holes.push(Extent { offset: hole, len: data - hole });
        at = data;
    }
    let _ = rustix::fs::seek(file, SeekFrom::Start(0));
    holes
}

/// Reads up to `len` bytes from an offset, or to the file's end, and appends them; gives how many.
pub(super) fn append_at(file: BorrowedFd, buffer: &mut Vec<u8>, len: usize, offset: u64) -> Result<usize, Errno> {
    let start = buffer.len();
    buffer.reserve(len);
    while buffer.len() - start < len {
        let done = buffer.len() - start;
        let before = buffer.len();
        // The spare room may be longer than what is wanted: what comes beyond is cut off below.
        match rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), offset + done as u64) {
            Ok(0) => break,
            Ok(_) => debug_assert!(buffer.len() > before),
            Err(Errno::INTR) => {}
            Err(e) => {
                buffer.truncate(start);
                return Err(e);
            }
        }
    }
    buffer.truncate(start + len.min(buffer.len() - start));
    Ok(buffer.len() - start)
}

/// Identity of a folder: device and inode.
pub(super) fn identity(fd: &impl AsFd) -> Option<((u32, u32), u64)> {
    stat_fd(fd.as_fd()).ok().map(|m| (m.dev, m.ino))
}
