//! Folders and mounts as a source: every regular file is cut as a capture would, and each chunk hashed.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::model::{Notice, Progress};
use crate::store::lies_in;

use super::super::query::QueryError;
use super::super::source;
use super::Finder;
use super::cut::{Stopped, cut};

/// Files that are read before more are looked for.
const FILES_AHEAD: usize = 256;
/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Looks at all below a path, or at a file. What cannot be read is told and passed over; symlinks are not followed.
pub(super) fn look(path: &Path, finder: &Finder, progress: &dyn Progress) -> Result<(), QueryError> {
    let store = finder.writer.store().dir().to_owned();
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    if path.is_dir() {
        folders.push(path.to_owned());
    } else {
        files.push(path.to_owned());
    }
    while let Some(folder) = folders.pop() {
        // What is in the store's own files is what is missing there.
        if lies_in(&folder, &store).unwrap_or(false) {
            continue;
        }
        let items = match fs::read_dir(&folder) {
            Ok(items) => items,
            Err(e) => {
                unreadable(&folder, &e, progress);
                continue;
            }
        };
        for item in items.flatten() {
            match item.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(item.path()),
                Ok(kind) if kind.is_file() => files.push(item.path()),
                _ => {}
            }
        }
        if files.len() >= FILES_AHEAD {
            read_all(&mut files, finder, progress)?;
        }
    }
    read_all(&mut files, finder, progress)
}

pub(super) fn unreadable(path: &Path, why: &dyn std::fmt::Display, progress: &dyn Progress) {
    progress.notice(Notice::Unreadable { path: path.display().to_string(), why: why.to_string() });
}

fn read_all(files: &mut Vec<PathBuf>, finder: &Finder, progress: &dyn Progress) -> Result<(), QueryError> {
    files.par_iter().try_for_each(|path| read_file(path, finder, progress))?;
    files.clear();
    Ok(())
}

fn read_file(path: &Path, finder: &Finder, progress: &dyn Progress) -> Result<(), QueryError> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = File::options().read(true).custom_flags(nonblocking).open(path);
    let (file, size) = match opened.and_then(|file| file.metadata().map(|meta| (file, meta))) {
        Ok((file, meta)) if meta.is_file() => (file, meta.len()),
        // Names in folders are looked at before: it has become something else, or was named itself.
        Ok(_) => {
            unreadable(path, &"it is no file or folder", progress);
            return Ok(());
        }
        Err(e) => {
            unreadable(path, &e, progress);
            return Ok(());
        }
    };
    let (mut at, mut data) = (0, Vec::new());
    for hole in source::holes(file.as_fd(), size) {
        data.push((at, hole.offset));
        at = hole.offset + hole.len;
    }
    data.push((at, size));
    let mut stretches = data.into_iter();
    let mut now = stretches.next();
    // The data between the holes, one stretch behind the other, as a capture has it.
    let more = |buffer: &mut Vec<u8>| -> Result<bool, rustix::io::Errno> {
        let Some((at, to)) = now else { return Ok(false) };
        let want = READ_BYTES.min(usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX));
        now = match source::append_at(file.as_fd(), buffer, want, at)? {
            // The stretch is at its end, or the file became shorter meanwhile.
            0 => stretches.next(),
            n => Some((at + n as u64, to)),
        };
        Ok(true)
    };
    match cut(finder, progress, more) {
        Ok(()) => super::super::query::advance(progress),
        Err(Stopped::Query(e)) => Err(e),
        Err(Stopped::Read(e)) => {
            unreadable(path, &e, progress);
            Ok(())
        }
    }
}
