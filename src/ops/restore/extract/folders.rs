//! The folders that an extraction has made.

use std::collections::HashSet;
use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::archives::{Sorter, fold};
use crate::codec::digest;
use crate::format::{decode_xattrs, encode_xattrs, from_bytes, to_bytes};
use crate::model::Entry;
use crate::ops::member_entry::{key_of, path_of};
use crate::ops::restore::folders::{ACCESS_ACL, DEFAULT_ACL, Folder, Origin};
use crate::ops::restore::place::parted;

use super::Open;
use super::error::{ExtractError, shown};

/// What folders are made with: the umask takes off what it does.
const MODE: Mode = Mode::from_raw_mode(0o777);

/// The folders, and what is known of them.
pub(super) struct Made {
    base: Open,
    /// Of each folder half the hash of its path: what stands there without being here came otherwise.
    known: HashSet<u128>,
    /// The folder that was opened last.
    last: (Vec<u8>, Open),
    /// Metadata, by path.
    metadata: Sorter,
    /// How many folders there are.
    pub(super) count: u64,
}

fn half_hash(path: &[u8]) -> u128 {
    digest(path).as_bytes().first_chunk().map_or(0, |half| u128::from_le_bytes(*half))
}

impl Made {
    /// Makes the folder that all is put into.
    pub(super) fn new(into: &Path, temporary: &Path) -> Result<Self, ExtractError> {
        let fail = |e: Errno| ExtractError::Target { path: into.to_owned(), why: std::io::Error::from(e).to_string() };
        rustix::fs::mkdir(into, MODE).map_err(fail)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, into, flags, Mode::empty()).map_err(fail)?;
        // What it inherited nothing in it shall inherit further.
        for acl in [DEFAULT_ACL, ACCESS_ACL] {
            let _ = rustix::fs::fremovexattr(&fd, acl);
        }
        let base = Arc::new(Folder::begin(fd).map_err(fail)?);
        let known = HashSet::from([half_hash(b"")]);
        Ok(Self { last: (Vec::new(), base.clone()), base, known, metadata: Sorter::new(temporary), count: 1 })
    }

    /// The folder that something goes into, made if it is missing; and its name.
    pub(super) fn above<'p>(&mut self, path: &'p [u8]) -> Result<(Open, &'p [u8]), ExtractError> {
        let (above, name) = parted(path);
        Ok((self.open(above, true)?, name))
    }

    /// The folder that something is in, and its name.
    pub(super) fn find<'p>(&mut self, path: &'p [u8]) -> Result<(Open, &'p [u8]), ExtractError> {
        let (above, name) = parted(path);
        Ok((self.open(above, false)?, name))
    }

    /// Takes the metadata of a folder, which is made if it is missing. What is said of it last counts.
    pub(super) fn folder(
        &mut self,
        path: &[u8],
        entry: &Entry,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), ExtractError> {
        self.open(path, true)?;
        let entry = to_bytes(entry);
        let len = u32::try_from(entry.len()).unwrap_or(u32::MAX);
        let xattrs = if xattrs.is_empty() { Vec::new() } else { encode_xattrs(xattrs) };
        let value = [&len.to_le_bytes()[..], &entry, &xattrs].concat();
        self.metadata.push(&key_of(path), &value).map_err(ExtractError::Temporary)
    }

    /// Opens a folder, from the one that was opened last if it is in that.
    fn open(&mut self, path: &[u8], make: bool) -> Result<Open, ExtractError> {
        let (from, start) = match path.strip_prefix(&self.last.0[..]) {
            Some([]) => return Ok(self.last.1.clone()),
            Some([b'/', ..]) => (self.last.0.len() + 1, self.last.1.clone()),
            Some(_) if self.last.0.is_empty() => (0, self.last.1.clone()),
            _ => (0, self.base.clone()),
        };
        let (mut here, mut at) = (start, from);
        while at < path.len() {
            let end = path[at..].iter().position(|b| *b == b'/').map_or(path.len(), |len| at + len);
            here = Arc::new(self.step(&here, &path[..end], &path[at..end], make)?);
            at = end + 1;
        }
        self.last = (path.to_vec(), here.clone());
        Ok(here)
    }

    fn step(&mut self, above: &Folder, path: &[u8], name: &[u8], make: bool) -> Result<Folder, ExtractError> {
        if make && !self.known.contains(&half_hash(path)) {
            match rustix::fs::mkdirat(above, name, MODE) {
                Ok(()) => {
                    self.known.insert(half_hash(path));
                    self.count += 1;
                }
                Err(Errno::EXIST) => return Err(taken(above, path)),
                Err(Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ) => return Err(ExtractError::not_held(path)),
                Err(e) => return Err(ExtractError::write(path, e)),
            }
        }
        above.open(name, Origin::Made).map_err(|e| ExtractError::write(path, e))
    }

    /// Gives each folder's metadata to `put`, a folder after those in it.
    pub(super) fn finish(
        self,
        mut put: impl FnMut(&Folder, &[u8], &Entry, &[(Vec<u8>, Vec<u8>)]) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        let Self { base, metadata, last, .. } = self;
        drop(last);
        let sorted = metadata.sorted();
        let mut folders = sorted.read().map_err(ExtractError::Temporary)?;
        let mut open: Vec<(Box<[u8]>, Box<[u8]>)> = Vec::new();
        let mut close = |(key, value): (Box<[u8]>, Box<[u8]>)| {
            let path = path_of(&key);
            let cut = || ExtractError::Temporary(std::io::Error::other("a temporary file is cut short"));
            let parted = value
                .split_first_chunk::<4>()
                .and_then(|(len, rest)| rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?));
            let (entry, xattrs) = parted.ok_or_else(cut)?;
            let entry: Entry = from_bytes(entry, "entry").map_err(|_| cut())?;
            let xattrs = if xattrs.is_empty() { Vec::new() } else { decode_xattrs(xattrs).map_err(|_| cut())? };
            let folder = base.descend(&path).map_err(|e| ExtractError::write(&path, e))?;
            put(&folder, &path, &entry, &xattrs)
        };
        while let Some(next) = folders.next().map_err(ExtractError::Temporary)? {
            while let Some(done) = open.pop_if(|(key, _)| !holds(key, &next.0)) {
                close(done)?;
            }
            // The same again: what comes last counts.
            open.pop_if(|(key, _)| *key == next.0);
            open.push(next);
        }
        while let Some(done) = open.pop() {
            close(done)?;
        }
        Ok(())
    }
}

/// Why something at `path`, of which an earlier member's name is not that, cannot be made in its folder: what stands there already.
pub(super) fn taken(above: &Folder, path: &[u8]) -> ExtractError {
    let name = parted(path).1;
    let inode = |name: &CStr| rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino);
    let own = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino);
    let (mut folded, mut same) = (None, None);
    for item in Dir::read_from(above).into_iter().flatten().flatten() {
        let found = item.file_name();
        if matches!(found.to_bytes(), b"." | b"..") || found.to_bytes() == name {
            continue;
        }
        if fold(found.to_bytes()) == fold(name) {
            folded = Some(found.to_bytes().to_vec());
        } else if own.is_some() && inode(found) == own {
            same = Some(found.to_bytes().to_vec());
        }
    }
    match folded.or(same) {
        Some(other) => {
            let why = format!("to this file system its name is that of {}, which came before", shown(&other));
            ExtractError::Name { path: shown(path), why }
        }
        None => ExtractError::refused(path, "it stands in the archive twice"),
    }
}

/// True if a folder is `key` or holds it.
fn holds(folder: &[u8], key: &[u8]) -> bool {
    folder.is_empty() || key.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(0)))
}
