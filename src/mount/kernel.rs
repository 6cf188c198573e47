//! Mounting by ourselves where we may: fuser's own way gives the type `fuse` and no way to say another, so that neither
//! `findmnt -t fuse.larder` nor a second `mount -a` would know the mount again.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use fuser::{BackgroundSession, Config, Session, SessionACL};
use rustix::mount::{UnmountFlags, mount, unmount};
use rustix::process::{getegid, geteuid};

use super::fs::LarderFs;
use super::options::Parsed;

/// The type that the table of mounts shows.
const KIND: &str = "fuse.larder";

/// Mounts and begins to serve: root by the system call, others, and root without the right to mount, through fusermount3.
pub(super) fn start(
    fs: LarderFs,
    path: &Path,
    source: &str,
    parsed: Parsed,
    mut config: Config,
) -> io::Result<BackgroundSession> {
    if geteuid().is_root()
        && let Some(device) = mounted(path, source, parsed, config.acl)?
    {
        let session = Session::from_fd(fs, device, config.acl, config);
        let served = session.and_then(Session::spawn);
        // Without a server the mount would be dead.
        if served.is_err() {
            let _ = unmount(path, UnmountFlags::DETACH);
        }
        return served;
    }
    config.mount_options = parsed.fuser(source);
    Session::new(fs, path, &config)?.spawn()
}

/// The device of a new mount; nothing if we have no right to mount.
fn mounted(path: &Path, source: &str, parsed: Parsed, acl: SessionACL) -> io::Result<Option<OwnedFd>> {
    let device = OwnedFd::from(OpenOptions::new().read(true).write(true).open("/dev/fuse")?);
    let others = if acl == SessionACL::All { ",allow_other" } else { "" };
    let (fd, user, group) = (device.as_raw_fd(), geteuid().as_raw(), getegid().as_raw());
    let data = format!("fd={fd},rootmode=40000,user_id={user},group_id={group},default_permissions{others}");
    let source = source.replace('\0', "_");
    match mount(source.as_str(), path, KIND, parsed.flags(), CString::new(data)?.as_c_str()) {
        Ok(()) => Ok(Some(device)),
        Err(rustix::io::Errno::PERM) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
