//! The client's own folders, by the XDG rules.

use std::path::{Path, PathBuf};

use crate::store::ClientDirs;

fn xdg(variable: &str, below_home: &str) -> PathBuf {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    set.unwrap_or_else(|| std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(below_home)).join("larder")
}

/// Where this client keeps pins and caches.
pub(super) fn client_dirs() -> ClientDirs {
    ClientDirs { state: xdg("XDG_STATE_HOME", ".local/state"), cache: xdg("XDG_CACHE_HOME", ".cache") }
}

/// Where the configuration and the default identity are.
pub(super) fn config() -> PathBuf {
    xdg("XDG_CONFIG_HOME", ".config")
}

/// The identity that is tried last.
pub(super) fn default_identity() -> PathBuf {
    config().join("identity.txt")
}

/// True if two paths lead to the same folder.
pub(super) fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    std::path::absolute(a).ok() == std::path::absolute(b).ok() || real(a).is_some_and(|a| Some(a) == real(b))
}
