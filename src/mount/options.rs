//! What a mount shall be like.

use std::path::PathBuf;
use std::time::Duration;

use fuser::MountOption;
use rustix::mount::MountFlags;

use crate::model::SnapshotId;

use super::MountError;

/// Threads that take requests, where there are not more processors. They mostly wait, and where all wait others help.
const FEW_THREADS: usize = 4;
/// Bytes for everything that is kept decoded.
pub const DEFAULT_CACHE: u64 = 256 << 20;
/// How long a request may go without an answer.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(20);

/// How much of a mount's cache is for decoded blocks: what its store is to be opened with.
#[must_use]
pub fn share_of_blocks(cache: u64) -> u64 {
    cache / 8 * 3
}

/// How much is for pages and nodes. What is left is for blocks being decoded and for what the allocator cannot use again: measured,
/// together up to three eighths.
pub(super) fn share_of_pages(cache: u64) -> u64 {
    cache / 4
}

/// What a mount shall be like.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// The snapshot that is the root; nothing for the whole store.
    pub snapshot: Option<SnapshotId>,
    /// Where; an existing folder.
    pub mountpoint: PathBuf,
    /// What the table of mounts shows as its source, if not the store's folder.
    pub source: Option<String>,
    /// Lets other users in; the kernel checks permissions.
    pub allow_other: bool,
    /// As behind `mount -o`: `suid`, `dev`, `noexec`, `noxattr`, … See [`Self::parse`] for which.
    pub extra: Vec<String>,
    /// Bytes that everything decoded may take, the store's blocks among them ([`share_of_blocks`]).
    pub cache: u64,
    /// After how long a request that is not answered ends with an error.
    pub deadline: Duration,
    /// Threads that take the kernel's requests, at least 2.
    pub threads: usize,
}

impl MountOptions {
    /// With everything else as usual.
    #[must_use]
    pub fn new(snapshot: Option<SnapshotId>, mountpoint: PathBuf) -> Self {
        Self {
            snapshot,
            mountpoint,
            source: None,
            allow_other: false,
            extra: Vec::new(),
            cache: DEFAULT_CACHE,
            deadline: DEFAULT_DEADLINE,
            threads: std::thread::available_parallelism().map_or(FEW_THREADS, |n| n.get().max(FEW_THREADS)),
        }
    }

    /// The extra options as fuser takes them, on top of the usual ones.
    pub(super) fn parse(&self) -> Result<Parsed, MountError> {
        let mut parsed = Parsed { exec: true, xattrs: true, allow_other: self.allow_other, ..Parsed::default() };
        for option in self.extra.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|o| !o.is_empty()) {
            match option {
                "suid" => parsed.suid = true,
                "nosuid" => parsed.suid = false,
                "dev" => parsed.dev = true,
                "nodev" => parsed.dev = false,
                "exec" => parsed.exec = true,
                "noexec" => parsed.exec = false,
                "xattr" => parsed.xattrs = true,
                "noxattr" => parsed.xattrs = false,
                "allow_other" => parsed.allow_other = true,
                "ro" | "noatime" | "nodiratime" | "default_permissions" | "nonempty" => {}
                // Nothing is ever written, nor is a time of access.
                "relatime" | "strictatime" | "lazytime" | "nolazytime" | "sync" | "async" => {}
                // What fstab says to others than the file system.
                "defaults" | "auto" | "noauto" | "user" | "nouser" | "users" | "owner" | "group" | "_netdev"
                | "nofail" => {}
                other if other.starts_with("x-") || other.starts_with("comment=") => {}
                other => {
                    let number = |text: &str| text.parse().map_err(|_| MountError::Option(other.to_owned()));
                    match other.split_once('=') {
                        Some(("uid", id)) => parsed.owner.uid = Some(number(id)?),
                        Some(("gid", id)) => parsed.owner.gid = Some(number(id)?),
                        _ => return Err(MountError::Option(other.to_owned())),
                    }
                }
            }
        }
        Ok(parsed)
    }
}

/// Extra options, read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) owner: Owner,
    suid: bool,
    dev: bool,
    exec: bool,
    pub(super) xattrs: bool,
    pub(super) allow_other: bool,
}

/// Who is told to own everything, if not who did when it was captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Parsed {
    /// As the system call takes them.
    pub(super) fn flags(self) -> MountFlags {
        let mut flags = MountFlags::RDONLY | MountFlags::NOATIME;
        for (is_set, flag) in
            [(self.suid, MountFlags::NOSUID), (self.dev, MountFlags::NODEV), (self.exec, MountFlags::NOEXEC)]
        {
            if !is_set {
                flags |= flag;
            }
        }
        flags
    }

    /// As fuser takes them.
    pub(super) fn fuser(self, source: &str) -> Vec<MountOption> {
        vec![
            MountOption::RO,
            MountOption::NoAtime,
            MountOption::DefaultPermissions,
            if self.suid { MountOption::Suid } else { MountOption::NoSuid },
            if self.dev { MountOption::Dev } else { MountOption::NoDev },
            if self.exec { MountOption::Exec } else { MountOption::NoExec },
            MountOption::FSName(clean(source)),
            MountOption::Subtype("larder".to_owned()),
        ]
    }
}

/// A text that can be a mount's source: fuser passes it on as it is, and a comma would begin another option.
fn clean(source: &str) -> String {
    source
        .chars()
        .map(|c| if c.is_control() || c.is_whitespace() || matches!(c, ',' | '\\') { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_options_only() {
        let mut options = MountOptions::new(None, PathBuf::from("/mnt"));
        options.extra = vec!["suid,ro".to_owned(), "noxattr".to_owned()];
        let parsed = options.parse().unwrap();
        assert!(parsed.suid && !parsed.dev && !parsed.xattrs);
        options.extra.push("uid=1000,gid=0,_netdev,x-systemd.automount".to_owned());
        assert_eq!(options.parse().unwrap().owner, Owner { uid: Some(1000), gid: Some(0) });
        for bad in ["uid=", "uid=-1", "gid=root", "umask=0"] {
            let options = MountOptions { extra: vec![bad.to_owned()], ..options.clone() };
            assert!(matches!(options.parse(), Err(MountError::Option(o)) if o == bad), "{bad}");
        }
        options.extra.push("rw".to_owned());
        assert!(matches!(options.parse(), Err(MountError::Option(o)) if o == "rw"));
    }

    #[test]
    fn a_source_cannot_carry_options() {
        assert_eq!(clean("larder:/a,allow_other\0 b\\"), "larder:/a_allow_other__b_");
    }
}
