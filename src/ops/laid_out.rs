//! A folder on the host as if it were an archive: a pack, or another system's layout, that lies there unpacked.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::archives::{ArchiveError, Content, Member, MemberKind, Members, Opened, Part, Remarks, printable};
use crate::model::Extent;

use super::source::{self, Meta, Names};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// What stands first in the folder of a pack, and what last.
const FIRST: [&[u8]; 3] = [b"manifest.json", b"README.txt", b"content"];
const LAST: &[u8] = b"checksums.sha256";

/// The members of a folder, in preorder, names in the order of their bytes; in the folder of a pack as the pack has them. A pack's own folder comes as a
/// member, with its name; any other folder's content stands at the root.
///
/// # Errors
/// If it cannot be opened.
pub fn laid_out(folder: &Path) -> io::Result<Opened> {
    let dir = source::open_root(folder)?;
    let top = Level::new(dir, Vec::new())?;
    let mut members = Folder { levels: Vec::new(), top: None, links: HashMap::new(), reading: None };
    if top.is_pack {
        let whole = folder.canonicalize()?;
        let name = whole.file_name().map_or(&b"pack"[..], |name| name.as_bytes());
        members.top = Some((name.into(), source::stat_fd(top.dir.as_fd())?));
        members.levels.push(Level { path: [name, b"/"].concat(), ..top });
    } else {
        members.levels.push(top);
    }
    Ok(Opened::Members(Box::new(members)))
}

/// A folder whose names are being gone through.
struct Level {
    dir: OwnedFd,
    /// What stands in front of its names.
    path: Vec<u8>,
    names: Names,
    /// Places of names that are left, the next one last.
    left: Vec<usize>,
    /// It holds what the folder of a pack holds.
    is_pack: bool,
}

impl Level {
    fn new(dir: OwnedFd, path: Vec<u8>) -> Result<Self, Errno> {
        let names = Names::read(dir.as_fd())?;
        let mut left: Vec<usize> = (0..names.len()).rev().collect();
        let rank = |at: &usize| match names.get(*at) {
            Some(name) if name == LAST => FIRST.len() + 1,
            name => FIRST.iter().position(|first| Some(*first) == name).unwrap_or(FIRST.len()),
        };
        // Whose manifest it is, and what is missing, whoever reads it tells.
        let [manifest, readme, content] = FIRST.map(|name| names.contains(name));
        let is_pack = manifest && content && (readme || names.contains(LAST));
        if is_pack {
            left.sort_by_key(|at| std::cmp::Reverse(rank(at)));
        }
        Ok(Self { dir, path, names, left, is_pack })
    }
}

struct Folder {
    levels: Vec<Level>,
    /// The pack's folder, if that is what it is and it has not come yet.
    top: Option<(Box<[u8]>, Meta)>,
    /// First names of what has several.
    links: HashMap<((u32, u32), u64), Box<[u8]>>,
    reading: Option<Reading>,
}

/// A file whose content is being read.
struct Reading {
    file: OwnedFd,
    holes: VecDeque<Extent>,
    at: u64,
    size: u64,
}

fn failed(path: &[u8], error: impl Into<io::Error>) -> ArchiveError {
    let error = error.into();
    ArchiveError::Read(io::Error::new(error.kind(), format!("{}: {error}", printable(path))))
}

impl Folder {
    fn name(&mut self, at: usize, path: Box<[u8]>) -> Result<Member, ArchiveError> {
        let fail = |e: Errno| failed(&path, e);
        let level = &self.levels[self.levels.len() - 1];
        let (dir, name) = (level.dir.as_fd(), level.names.get(at).unwrap_or_default());
        let meta = source::stat_at(dir, name).map_err(fail)?;
        let xattrs = source::xattrs_at(dir, name).map_err(fail)?;
        let inode = (meta.dev, meta.ino);
        let kind = match (meta.kind, self.links.get(&inode)) {
            (FileType::Directory, _) => MemberKind::Folder,
            (_, Some(first)) => MemberKind::HardLink(first.clone()),
            (FileType::RegularFile, None) => MemberKind::File { size: meta.size },
            (FileType::Symlink, None) => MemberKind::Symlink(source::read_link(dir, name).map_err(fail)?.into()),
            (FileType::Fifo, None) => MemberKind::Fifo,
            (FileType::Socket, None) => MemberKind::Socket,
            (FileType::CharacterDevice, None) => MemberKind::CharDevice(meta.rdev.0, meta.rdev.1),
            (FileType::BlockDevice, None) => MemberKind::BlockDevice(meta.rdev.0, meta.rdev.1),
            _ => return Err(fail(Errno::OPNOTSUPP)),
        };
        match kind {
            MemberKind::Folder => {
                let inner = source::open_dir(dir, name).map_err(fail)?;
                let level = Level::new(inner, [&path, &b"/"[..]].concat()).map_err(fail)?;
                self.levels.push(level);
            }
            MemberKind::File { size } => {
                let file = source::open_file(dir, name).map_err(fail)?;
                let holes = source::holes(file.as_fd(), size).into();
                self.reading = Some(Reading { file, holes, at: 0, size });
            }
            _ => {}
        }
        if meta.nlink > 1 && kind != MemberKind::Folder {
            self.links.entry(inode).or_insert_with(|| path.clone());
        }
        let xattrs = xattrs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Ok(Member { xattrs, ..member(path, kind, &meta) })
    }
}

fn member(path: Box<[u8]>, kind: MemberKind, meta: &Meta) -> Member {
    Member {
        path,
        mode: meta.mode,
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        mtime: Some(meta.mtime),
        btime: meta.btime,
        ..Member::new(kind)
    }
}

impl Members for Folder {
    fn member(&mut self) -> Result<Option<Member>, ArchiveError> {
        self.reading = None;
        if let Some((name, meta)) = self.top.take() {
            return Ok(Some(member(name, MemberKind::Folder, &meta)));
        }
        while let Some(level) = self.levels.last_mut() {
            if let Some(at) = level.left.pop() {
                let path = [&level.path, level.names.get(at).unwrap_or_default()].concat();
                return self.name(at, path.into()).map(Some);
            }
            self.levels.pop();
        }
        Ok(None)
    }

    fn remarks(&mut self) -> Remarks {
        Remarks::default()
    }
}

impl Content for Folder {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        let Some(reading) = self.reading.as_mut().filter(|reading| reading.at < reading.size) else {
            return Ok(Part::End);
        };
        if let Some(hole) = reading.holes.pop_front_if(|hole| hole.offset <= reading.at) {
            reading.at = hole.offset + hole.len;
            return Ok(Part::Hole(hole.len));
        }
        let room = reading.holes.front().map_or(reading.size, |hole| hole.offset) - reading.at;
        let want = READ_BYTES.min(usize::try_from(room).unwrap_or(usize::MAX));
        match source::append_at(reading.file.as_fd(), buffer, want, reading.at)? {
            // It became shorter meanwhile: whoever counts the bytes tells.
            0 => Ok(Part::End),
            n => {
                reading.at += n as u64;
                Ok(Part::Data)
            }
        }
    }
}
