//! File systems of which nothing but the mount point is captured: what they show is the kernel's state, not files that somebody
//! keeps, and reading it may block, have no end or change something. Larder's own mounts are like them: what they show is in a
//! store already, and may be in the one that is written to.
//!
//! tmpfs is not among them, as people keep files in it. Nor is devtmpfs: `statfs` does not tell it from tmpfs, and it costs next
//! to nothing, as nodes are captured without a look at their devices. `--one-file-system` leaves out what is in both.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, FsWord};
use rustix::io::Errno;

use crate::ops::mounts;
use crate::ops::source::{self, Meta};

/// What `statfs` says of them (linux/magic.h), and their names.
const PSEUDO: &[(FsWord, &str)] = &[
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x1cd1, "devpts"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0x6165_676c, "pstore"),
    (0xcafe_4a11, "bpf"),
    (0x6265_6570, "configfs"),
    (0xde5e_81e4, "efivarfs"),
    (0x1980_0202, "mqueue"),
    (0x9584_58f6, "hugetlbfs"),
    (0x4249_4e4d, "binfmt_misc"),
    // Listing one mounts what it stands for, from machines that may be far away.
    (0x0187, "autofs"),
    (0x6759_6969, "rpc_pipefs"),
    (0x6e66_7364, "nfsd"),
    (0x6e73_6673, "nsfs"),
    (0x6573_5543, "fusectl"),
    (0x0765_5821, "resctrl"),
    (0xabba_1974, "xenfs"),
    (0x6c6f_6f70, "binder"),
];
const FUSE: FsWord = 0x6573_5546;

/// Tells these file systems from others. Each is asked for once, by the number of its device.
#[derive(Debug, Default)]
pub(super) struct FileSystems(HashMap<(u32, u32), Option<&'static str>>);

impl FileSystems {
    /// What the file system is called that an open folder is in, if nothing in it is captured. `above`: the device of the folder
    /// above, for that is where another file system begins.
    pub(super) fn begun_by(&mut self, folder: &OwnedFd, device: (u32, u32), above: (u32, u32)) -> Option<&'static str> {
        if device == above { None } else { self.name(device, || source::file_system(folder.as_fd())) }
    }

    /// The same of a file on which a namespace is mounted. Of other such file systems a file that stands alone can be read, and
    /// was put there on purpose.
    pub(super) fn of_file(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        meta: &Meta,
        above: (u32, u32),
    ) -> Option<&'static str> {
        if meta.dev == above || meta.kind != FileType::RegularFile {
            return None;
        }
        let sort = || source::file_system(source::open_path(dir.as_fd(), name)?.as_fd());
        self.name(meta.dev, sort).filter(|name| *name == "nsfs")
    }

    /// The same of the file system with this device number. What does not tell its sort is taken for one that holds files.
    pub(super) fn name(
        &mut self,
        device: (u32, u32),
        sort: impl FnOnce() -> Result<FsWord, Errno>,
    ) -> Option<&'static str> {
        if let Some(known) = self.0.get(&device) {
            return *known;
        }
        let sort = sort().ok()?;
        let is_ours = || mounts::is_larder(rustix::fs::makedev(device.0, device.1));
        let name = match PSEUDO.iter().find(|(magic, _)| *magic == sort) {
            Some((_, name)) => Some(*name),
            None if sort == FUSE && is_ours() => Some("larder"),
            None => None,
        };
        self.0.insert(device, name);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_is_asked_once() {
        let mut all = FileSystems::default();
        let unreadable = || Err(Errno::IO);
        assert_eq!(all.name((0, 1), unreadable), None);
        for (device, sort, name) in [((0, 1), 0x9fa0, Some("proc")), ((8, 1), 0xef53, None), ((0, 9), FUSE, None)] {
            assert_eq!(all.name(device, || Ok(sort)), name);
            assert_eq!(all.name(device, || unreachable!()), name);
        }
    }

    #[test]
    fn the_running_system_is_told_apart() {
        let mut all = FileSystems::default();
        for (path, name) in [("/proc", Some("proc")), ("/sys", Some("sysfs")), ("/", None)] {
            let folder = source::open_root(path.as_ref()).unwrap();
            let device = source::stat_fd(folder.as_fd()).unwrap().dev;
            assert_eq!(all.begun_by(&folder, device, device), None);
            assert_eq!(all.begun_by(&folder, device, (u32::MAX, 0)), name, "{path}");
        }
    }
}
