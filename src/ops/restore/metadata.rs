//! Owners, modes, extended attributes, ACLs, times: put on an item when its content is complete.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use crate::model::{Body, Entry, Timestamp};

use super::folders::{ACCESS_ACL, DEFAULT_ACL, Folder};
use super::met::{MARK, MODE_BITS, Met};

/// Where metadata goes.
#[derive(Clone, Copy)]
pub(super) enum On<'a> {
    /// An open file or folder.
    Open(BorrowedFd<'a>),
    /// What cannot be opened without harm (pipes, devices) or at all (symlinks): a name in a folder.
    Named(&'a Folder, &'a [u8]),
}

/// What an item has before metadata is put on it, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mode: Option<u16>,
    /// It was there before: attributes that the entry does not have are taken off.
    pub(super) existed: bool,
    /// It has the mark of what is not finished.
    pub(super) marked: bool,
}

/// Who restores, and what that allows.
#[derive(Debug)]
pub(super) struct Carrier {
    root: bool,
    uid: u32,
    gid: u32,
    /// Those that may be given to what is one's own, without being root.
    groups: Vec<u32>,
    umask: Option<u32>,
    owners_lost: AtomicBool,
}

impl Carrier {
    pub(super) fn new() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Self {
            root: uid.is_root(),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            groups: rustix::process::getgroups().into_iter().flatten().chain([gid]).map(Gid::as_raw).collect(),
            umask: umask(),
            owners_lost: AtomicBool::new(false),
        }
    }

    pub(super) fn owners_lost(&self) -> bool {
        self.owners_lost.load(Ordering::Relaxed)
    }

    /// The mode to make an item with, and what it will have then. It is the final one where that takes nothing back later;
    /// else only its owner may open it until it is complete.
    pub(super) fn new_item(&self, entry: &Entry, folder: &Folder, has_xattrs: bool) -> (Mode, Before) {
        let gid = (!folder.gives_group).then_some(self.gid);
        let plain = entry.mode & 0o7000 == 0 && !has_xattrs && !folder.gives_acl;
        let ours = entry.uid == self.uid && gid == Some(entry.gid);
        let kept = self.umask.is_some_and(|umask| u32::from(entry.mode) & umask == 0);
        let mode = if plain && ours && kept { entry.mode } else { 0o600 };
        let known = self.umask.is_some_and(|umask| u32::from(mode) & umask == 0) && !folder.gives_acl;
        let before =
            Before { uid: Some(self.uid), gid, mode: known.then_some(mode), existed: folder.gives_acl, marked: false };
        (Mode::from_raw_mode(u32::from(mode)), before)
    }

    /// True if an item has the mode and owner of its entry, as far as whoever restores could give them.
    pub(super) fn owner_and_mode_fit(&self, entry: &Entry, met: Met) -> bool {
        let group_given = self.root || self.groups.contains(&entry.gid);
        let owner_given = self.root || (entry.uid == self.uid && group_given);
        let uid_fits = met.uid == entry.uid || (!self.root && met.uid == self.uid);
        let mode = u32::from(entry.mode) & MODE_BITS;
        let mode_fits = met.mode == mode || (!owner_given && met.mode == mode & !0o6000);
        let is_symlink = matches!(entry.body, Body::Symlink(_));
        uid_fits && (met.gid == entry.gid || !group_given) && (mode_fits || is_symlink)
    }

    /// The same, and the time of change.
    pub(super) fn fits(&self, entry: &Entry, met: Met) -> bool {
        met.mtime == (entry.mtime.seconds, entry.mtime.nanos) && self.owner_and_mode_fit(entry, met)
    }

    /// Puts an entry's metadata on an item; gives what could not be put.
    pub(super) fn put(&self, on: On, entry: &Entry, xattrs: &[(Vec<u8>, Vec<u8>)], mut before: Before) -> Vec<String> {
        let mut lost = Vec::new();
        let mut tell = |what: &str, e: Errno| lost.push(format!("{what}: {}", std::io::Error::from(e)));
        // The owner first: a change of owner takes set-id bits and capabilities off.
        let mut mode = u32::from(entry.mode);
        if before.uid != Some(entry.uid) || before.gid != Some(entry.gid) {
            match self.chown(on, entry, before) {
                Ok(true) => {}
                Ok(false) => {
                    self.owners_lost.store(true, Ordering::Relaxed);
                    // A program must not run as somebody else than its owner was.
                    mode &= !0o6000;
                }
                Err(e) => tell("its owner", e),
            }
            before.mode = before.mode.filter(|mode| mode & 0o6000 == 0);
        }
        if before.existed {
            take_off(on, xattrs);
        }
        for (name, value) in xattrs {
            if let Err(e) = set_xattr(on, name, value) {
                tell(&format!("its attribute {}", String::from_utf8_lossy(name)), e);
            }
        }
        if let Err(e) = set_time(on, entry.mtime) {
            tell("its time", e);
        }
        // Mode and mark last of all, in this order: a folder that a kill left unfinished is known by both, and one that has its mode
        // only loses the mark. Under a mode that forbids writing the mark would not come off any more.
        let frozen = !self.root && mode & 0o200 == 0;
        let take_mark_off = |now| match on {
            On::Open(fd) if before.marked && now => unmark(fd, xattrs),
            _ => {}
        };
        take_mark_off(frozen);
        let is_symlink = matches!(entry.body, Body::Symlink(_));
        if !is_symlink
            && (before.mode.map(u32::from) != Some(mode) || !xattrs.is_empty())
            && let Err(e) = chmod(on, Mode::from_raw_mode(mode & MODE_BITS))
        {
            tell("its mode", e);
        }
        take_mark_off(!frozen);
        lost
    }

    /// False if only root could.
    fn chown(&self, on: On, entry: &Entry, before: Before) -> Result<bool, Errno> {
        let set = |uid: Option<u32>, gid: Option<u32>| {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            match on {
                On::Open(fd) => rustix::fs::fchown(fd, uid, gid),
                On::Named(folder, name) => rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
            }
        };
        if self.root {
            return set(Some(entry.uid), Some(entry.gid)).map(|()| true);
        }
        // One's own groups may be given without being root.
        let group = if before.gid == Some(entry.gid) { Ok(()) } else { set(None, Some(entry.gid)) };
        Ok(entry.uid == self.uid && group.is_ok())
    }
}

/// Takes the mark of what is not finished off a folder, unless its entry has it.
pub(super) fn unmark(folder: BorrowedFd, wanted: &[(Vec<u8>, Vec<u8>)]) {
    if !wanted.iter().any(|(name, _)| name == MARK.as_bytes()) {
        let _ = rustix::fs::fremovexattr(folder, MARK);
    }
}

/// What the process's umask takes off, without changing it.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

/// A path to a name in an open folder, for calls that take no folder. The last name is not followed by `l…` calls.
fn proc_path(folder: &Folder, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", folder.as_fd().as_raw_fd()).as_bytes(), name].concat()
}

fn set_xattr(on: On, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    match on {
        On::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
        On::Named(folder, item) => rustix::fs::lsetxattr(proc_path(folder, item), name, value, XattrFlags::empty()),
    }
}

/// True if an item has the attributes of its entry, and no others that a restore would take off.
pub(super) fn has_xattrs(on: On, wanted: &[(Vec<u8>, Vec<u8>)]) -> bool {
    strangers(on, wanted).is_empty() && wanted.iter().all(|(name, value)| get_xattr(on, name).as_ref() == Ok(value))
}

fn get_xattr(on: On, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let (mut value, len);
    match on {
        On::Open(fd) => {
            value = vec![0; rustix::fs::fgetxattr_query(fd, name)?];
            len = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
        }
        On::Named(folder, item) => {
            value = vec![0; rustix::fs::lgetxattr_query(proc_path(folder, item), name)?];
            len = rustix::fs::lgetxattr(proc_path(folder, item), name, &mut value[..])?;
        }
    }
    value.truncate(len);
    Ok(value)
}

/// Takes off what an item has and its entry has not.
fn take_off(on: On, wanted: &[(Vec<u8>, Vec<u8>)]) {
    for name in strangers(on, wanted) {
        let _ = match on {
            On::Open(fd) => rustix::fs::fremovexattr(fd, &name[..]),
            On::Named(folder, item) => rustix::fs::lremovexattr(proc_path(folder, item), &name[..]),
        };
    }
}

/// Attributes that an item has and its entry has not. What the system itself puts on (`security.*`) is none of them.
fn strangers(on: On, wanted: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    let size = match on {
        On::Open(fd) => rustix::fs::flistxattr_query(fd),
        On::Named(folder, item) => rustix::fs::llistxattr_query(proc_path(folder, item)),
    };
    // Nearly always there is none.
    let mut names = vec![0; size.unwrap_or(0)];
    let listed = match on {
        _ if names.is_empty() => Ok(0),
        On::Open(fd) => rustix::fs::flistxattr(fd, &mut names[..]),
        On::Named(folder, item) => rustix::fs::llistxattr(proc_path(folder, item), &mut names[..]),
    };
    let len = listed.unwrap_or(0);
    let ours = [&b"user."[..], b"trusted.", ACCESS_ACL.as_bytes(), DEFAULT_ACL.as_bytes()];
    let listed = names[..len].split(|b| *b == 0).filter(|name| ours.iter().any(|prefix| name.starts_with(prefix)));
    let strange = listed.filter(|name| *name != MARK.as_bytes() && !wanted.iter().any(|(wanted, _)| wanted == name));
    strange.map(<[u8]>::to_vec).collect()
}

fn chmod(on: On, mode: Mode) -> Result<(), Errno> {
    match on {
        On::Open(fd) => rustix::fs::fchmod(fd, mode),
        On::Named(folder, name) => {
            // Not by name: a symlink put in its place meanwhile would be followed.
            let open = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(folder, name, open, Mode::empty())?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
        }
    }
}

fn set_time(on: On, mtime: Timestamp) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    };
    match on {
        On::Open(fd) => rustix::fs::futimens(fd, &times),
        On::Named(folder, name) => rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW),
    }
}
