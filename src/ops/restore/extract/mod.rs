//! Extraction: members of an archive, in any order, into a new folder, with all that they carry.
//!
//! Folders are opened one in the other and no symlink is ever followed, so nothing is written outside. What is there was put there by
//! this extraction: whatever stands where a member goes is the archive's own contradiction, and it is refused. Folders get their metadata when all
//! is in them.

mod error;
mod folders;
mod target;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::archives::{ArchiveError, Content, Member, MemberKind, Part};
use crate::model::{Body, Entry, FileBody, Notice, Progress};
use crate::ops::member_entry::Importer;

use super::folders::Folder;
use super::item::{SOCKET, make_other};
use super::metadata::{Before, Carrier, On};
use super::report::Restored;
pub use error::ExtractError;
use error::shown;
use folders::{Made, taken};
pub use target::Target;

/// What is let in that is not by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Devices.
    pub devices: bool,
    /// Symlinks that lead out of the folder.
    pub links: bool,
}

/// Puts members into a folder.
pub struct Extraction<'a> {
    made: Made,
    carrier: Carrier,
    importer: Importer,
    allowed: Allowed,
    /// Bytes that may still be written.
    room: Option<u64>,
    progress: &'a dyn Progress,
    done: Restored,
}

impl std::fmt::Debug for Extraction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extraction")
    }
}

impl<'a> Extraction<'a> {
    /// Makes the folder `into`, which must not be there. `temporary`: where what is too much for memory goes, sealed. `room`: bytes of contents that may be
    /// written, holes not counted; nothing if there is no bound but the disk.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(
        into: &Path,
        temporary: &Path,
        allowed: Allowed,
        room: Option<u64>,
        progress: &'a dyn Progress,
    ) -> Result<Self, ExtractError> {
        Ok(Self {
            made: Made::new(into, temporary)?,
            carrier: Carrier::new(),
            importer: Importer::new(),
            allowed,
            room,
            progress,
            done: Restored::default(),
        })
    }

    /// Puts a member in its place. Of what is a file `content` is read to its end.
    ///
    /// # Errors
    /// If it is not let in, its content breaks off, nothing more can be written, or the user stops it.
    pub fn member(&mut self, member: &Member, content: &mut dyn Content) -> Result<(), ExtractError> {
        if self.progress.cancelled() {
            return Err(ExtractError::Interrupted);
        }
        let path = &member.path;
        let entry = self.importer.entry(member).map_err(|why| ExtractError::refused(path, why))?;
        let xattrs: Vec<_> = member.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let mut bytes = 0;
        if member.replaces {
            self.remove(path)?;
        }
        match &member.kind {
            MemberKind::Folder => {
                self.made.folder(path, &entry, &xattrs)?;
                self.progress.advance(1, 0);
                return Ok(());
            }
            MemberKind::File { size } => {
                bytes = *size;
                self.file(member, entry, &xattrs, content)?;
                self.done.files += 1;
                self.done.bytes += size;
            }
            MemberKind::HardLink(first) => {
                if self.link(path, first)? {
                    self.done.files += 1;
                }
            }
            MemberKind::Socket => {
                self.done.skipped += 1;
                self.progress.notice(Notice::Skipped { path: shown(path), why: SOCKET.to_owned() });
            }
            MemberKind::CharDevice(..) | MemberKind::BlockDevice(..) if !self.allowed.devices => {
                let hint = Some("--allow devices makes devices; only root may");
                return Err(ExtractError::Refused { path: shown(path), why: "it is a device".to_owned(), hint });
            }
            MemberKind::Symlink(target) if !self.allowed.links && leads_out(path, target) => {
                let why = format!("it is a symlink that leads out, to {}", String::from_utf8_lossy(target));
                let hint = Some("--allow links makes such symlinks; they are never followed here");
                return Err(ExtractError::Refused { path: shown(path), why, hint });
            }
            _ => self.other(path, &entry, &xattrs)?,
        }
        self.progress.advance(1, bytes);
        Ok(())
    }

    fn file(
        &mut self,
        member: &Member,
        mut entry: Entry,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        content: &mut dyn Content,
    ) -> Result<(), ExtractError> {
        let path = &member.path;
        let (folder, name) = self.made.above(path)?;
        entry.body = Body::File(FileBody::empty());
        let (mode, before) = self.carrier.new_item(&entry, &folder, !xattrs.is_empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*folder, name, flags, mode).map_err(|e| not_made(&folder, path, e))?;
        let fail = |e| ExtractError::write(path, e);
        let (mut buffer, mut at, mut ends_in_hole) = (Vec::new(), 0_u64, false);
        loop {
            if self.progress.cancelled() {
                return Err(ExtractError::Interrupted);
            }
            buffer.clear();
            let part = content.next(&mut buffer).map_err(ArchiveError::from)?;
            let mut bytes = &buffer[..];
            if let Some(room) = &mut self.room {
                *room = room.checked_sub(bytes.len() as u64).ok_or_else(|| ExtractError::Room(shown(path)))?;
            }
            while !bytes.is_empty() {
                ends_in_hole = false;
                match rustix::io::pwrite(&file, bytes, at) {
                    Ok(0) => return Err(fail(Errno::IO)),
                    Ok(written) => (bytes, at) = (&bytes[written..], at + written as u64),
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(fail(e)),
                }
            }
            match part {
                Part::Data => {}
                Part::Hole(len) => (at, ends_in_hole) = (at.saturating_add(len), true),
                Part::End => break,
            }
        }
        if (MemberKind::File { size: at }) != member.kind {
            return Err(ExtractError::refused(path, format!("it has {at} bytes, not as many as were announced")));
        }
        if ends_in_hole {
            rustix::fs::ftruncate(&file, at).map_err(fail)?;
        }
        let lost = self.carrier.put(On::Open(file.as_fd()), &entry, xattrs, before);
        self.tell(path, lost);
        Ok(())
    }

    /// A symlink, pipe or device.
    fn other(&mut self, path: &[u8], entry: &Entry, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), ExtractError> {
        let (folder, name) = self.made.above(path)?;
        let (mode, before) = self.carrier.new_item(entry, &folder, !xattrs.is_empty());
        match make_other(&folder, name, entry, mode) {
            Ok(()) => {}
            // Whoever may not make devices, or has a file system that has none.
            Err(e @ (Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)) => {
                self.done.failed += 1;
                let what = format!("cannot make it: {}", std::io::Error::from(e));
                self.progress.notice(Notice::NotCarried { path: shown(path), what });
                return Ok(());
            }
            Err(e) => return Err(not_made(&folder, path, e)),
        }
        let lost = self.carrier.put(On::Named(&folder, name), entry, xattrs, before);
        self.done.others += 1;
        self.tell(path, lost);
        Ok(())
    }

    /// A further name of what stands at `first`. False if it could not be made: that was told.
    fn link(&mut self, path: &[u8], first: &[u8]) -> Result<bool, ExtractError> {
        let (from, old) = self.made.find(first).map_err(|_| {
            ExtractError::refused(path, format!("it is a further name of {}, which is not there", shown(first)))
        })?;
        let (folder, name) = self.made.above(path)?;
        match rustix::fs::linkat(&*from, old, &*folder, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => {
                let why = format!("it is a further name of {}, which is not there", shown(first));
                Err(ExtractError::refused(path, why))
            }
            Err(Errno::EXIST) => Err(not_made(&folder, path, Errno::EXIST)),
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS)) => Err(ExtractError::write(path, e)),
            Err(e) => {
                self.done.failed += 1;
                let what = format!("cannot link it to {}: {}", shown(first), std::io::Error::from(e));
                self.progress.notice(Notice::NotCarried { path: shown(path), what });
                Ok(false)
            }
        }
    }

    /// Removes what an earlier member has left at a path, as if it had not come.
    fn remove(&mut self, path: &[u8]) -> Result<(), ExtractError> {
        let (folder, name) = self.made.find(path)?;
        let stat = match rustix::fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It was left out, or could not be made.
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(ExtractError::write(path, e)),
        };
        rustix::fs::unlinkat(&*folder, name, AtFlags::empty()).map_err(|e| ExtractError::write(path, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.done.others = self.done.others.saturating_sub(1);
            return Ok(());
        }
        self.done.files = self.done.files.saturating_sub(1);
        if stat.st_nlink == 1 {
            self.done.bytes = self.done.bytes.saturating_sub(u64::try_from(stat.st_size).unwrap_or(0));
        }
        Ok(())
    }

    fn tell(&mut self, path: &[u8], lost: Vec<String>) {
        tell(&mut self.done, self.progress, path, lost);
    }

    /// All members were put: folders get their metadata. Gives what was done.
    ///
    /// # Errors
    /// If a folder cannot be found again, or the user stops it.
    pub fn finish(self) -> Result<Restored, ExtractError> {
        let Self { made, carrier, progress, mut done, .. } = self;
        done.folders = made.count.saturating_sub(1);
        made.finish(|folder, path, entry, xattrs| {
            let before = Before { existed: true, ..Before::of(folder.as_fd()) };
            tell(&mut done, progress, path, carrier.put(On::Open(folder.as_fd()), entry, xattrs, before));
            if progress.cancelled() { Err(ExtractError::Interrupted) } else { Ok(()) }
        })?;
        done.owners_lost = carrier.owners_lost();
        if done.owners_lost {
            let text = "owners, and set-id bits of what others own, were not given back: only root may do that";
            progress.notice(Notice::Remark(text.to_owned()));
        }
        Ok(done)
    }
}

/// Counts and tells what could not be given to a member.
fn tell(done: &mut Restored, progress: &dyn Progress, path: &[u8], lost: Vec<String>) {
    done.partly += u64::from(!lost.is_empty());
    for what in lost {
        progress.notice(Notice::NotCarried { path: shown(path), what });
    }
}

/// Why a member could not be made.
fn not_made(folder: &Folder, path: &[u8], error: Errno) -> ExtractError {
    match error {
        Errno::EXIST => taken(folder, path),
        Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => ExtractError::not_held(path),
        e => ExtractError::write(path, e),
    }
}

/// True if a symlink at `path` leads out of the folder that `path` begins in, whatever stands on its way.
fn leads_out(path: &[u8], target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return true;
    }
    let mut depth = path.split(|b| *b == b'/').count() - 1;
    for name in target.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

/// A folder of the extraction that is open.
type Open = Arc<Folder>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_out() {
        let out = |path: &str, target: &str| leads_out(path.as_bytes(), target.as_bytes());
        for (path, target) in [("a", "/etc"), ("a", ".."), ("a/b", "../../c"), ("a", "b/../../c"), ("a/b", "./../../x")]
        {
            assert!(out(path, target), "{path} -> {target}");
        }
        for (path, target) in
            [("a", "b"), ("a/b", "../c"), ("a/b", ".."), ("a/b/c", "../../d"), ("a", "b/../c"), ("a", ".")]
        {
            assert!(!out(path, target), "{path} -> {target}");
        }
    }
}
