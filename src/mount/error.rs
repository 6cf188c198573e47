//! What can go wrong with a mount.

use std::path::PathBuf;

use crate::model::{Failure, Kind, shell_word};
use crate::store::StoreError;
use crate::view::ViewError;

/// What can go wrong with a mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No folder to mount on.
    #[error("{} cannot be a mount point: {why}", path.display())]
    NotAFolder {
        /// What was given.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Store and mount point are in one another.
    #[error("the mount point {} {how} the store at {}; nothing was mounted", mountpoint.display(), store.display())]
    OverStore {
        /// The mount point.
        mountpoint: PathBuf,
        /// The store.
        store: PathBuf,
        /// How they lie.
        how: &'static str,
    },
    /// A Larder mount is there.
    #[error("{} has a mount of {origin} already; nothing was mounted", point.display())]
    Taken {
        /// Where it is mounted.
        point: PathBuf,
        /// What is mounted: `larder:` and the store's folder.
        origin: String,
    },
    /// A mount is there that no process serves any more.
    #[error("the mount of {origin} on {} is dead: the process that served it is gone; nothing was mounted", point.display())]
    Dead {
        /// Where it is mounted.
        point: PathBuf,
        /// What is mounted.
        origin: String,
        /// Larder mounted it.
        ours: bool,
    },
    /// An extra option that is not known.
    #[error("a mount takes no option {0:?}")]
    Option(String),
    /// No FUSE.
    #[error("FUSE is not to be had: {0}")]
    NoFuse(String),
    /// The kernel or fusermount refused.
    #[error("cannot mount on {}: {}", path.display(), source.to_string().trim())]
    Refused {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing of Larder's is mounted there.
    #[error("nothing of Larder's is mounted on {}", .0.display())]
    NotMounted(PathBuf),
    /// It shows no attributes, by which it would tell.
    #[error("the mount on {} shows no extended attributes (-o noxattr), by which it would tell", .0.display())]
    Mute(PathBuf),
    /// Unmounting failed.
    #[error("cannot unmount {}: {why}", path.display())]
    Stuck {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A snapshot could not be opened.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl Failure for MountError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAFolder { .. }
            | Self::OverStore { .. }
            | Self::Taken { .. }
            | Self::Dead { .. }
            | Self::Option(_) => Kind::Usage,
            Self::NotMounted(_) => Kind::NotFound,
            Self::Mute(_) => Kind::Failed,
            Self::View(e) => e.kind(),
            Self::Store(e) => e.kind(),
            Self::NoFuse(_) | Self::Refused { .. } | Self::Stuck { .. } | Self::Io { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAFolder { .. } => "name an existing folder; an empty one hides nothing".to_owned(),
            Self::OverStore { .. } => "choose a folder that is neither in the store nor above it".to_owned(),
            Self::Taken { point, .. } => {
                format!("`larder unmount {}` takes it away; or choose another folder", shell_word(&point.to_string_lossy()))
            }
            Self::Dead { point, ours: true, .. } => format!("`larder unmount {}` clears it", shell_word(&point.to_string_lossy())),
            Self::Dead { point, .. } => format!("`fusermount3 -u -z {}` clears it", shell_word(&point.to_string_lossy())),
            Self::Option(_) => "known are uid=N, gid=N, suid, dev, noexec, noxattr and allow_other, and their opposites; what fstab says to others is passed over".to_owned(),
            Self::NoFuse(_) => {
                "load the kernel module (modprobe fuse) and install fuse3; in a container, let it use /dev/fuse (mode 0666)".to_owned()
            }
            Self::Refused { source, .. } if source.to_string().contains("user_allow_other") => {
                "set user_allow_other in /etc/fuse.conf, or leave allow_other out".to_owned()
            }
            Self::Refused { .. } => {
                "who is not root needs fusermount3 (package fuse3) and must own the mount point".to_owned()
            }
            Self::NotMounted(_) => "`findmnt -t fuse,fuse.larder` shows what is mounted".to_owned(),
            Self::Mute(_) => "SIGUSR1 makes its process write the same to its log".to_owned(),
            Self::Stuck { .. } => "as root: umount -l MOUNTPOINT".to_owned(),
            Self::View(e) => return e.hint(),
            Self::Store(e) => return e.hint(),
            Self::Io { .. } => return None,
        })
    }
}
