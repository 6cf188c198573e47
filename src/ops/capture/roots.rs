//! Where a capture begins: one folder, or several paths each at its absolute path.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::{Notice, Progress};
use crate::ops::source;
use crate::store::lies_in;

use super::CaptureError;
use super::file_systems::FileSystems;

/// Which names of a folder are captured: all, or a few, with the same said of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Only(pub(super) BTreeMap<Vec<u8>, Option<Self>>);

/// Where a walk begins.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) root: OwnedFd,
    pub(super) path: PathBuf,
    sources: Vec<PathBuf>,
    /// Those of several paths that cannot be captured, and why.
    missing: Vec<(PathBuf, std::io::Error)>,
    /// Those of them that are symlinks.
    links: Vec<PathBuf>,
    pub(super) only: Option<Only>,
}

impl Roots {
    /// One folder is the root itself; a single file or several paths stand at their absolute paths below `/`.
    ///
    /// What lies in the store is no source; a store that lies in a source is left out of it by the walk.
    pub(super) fn open(paths: &[PathBuf], store: &Path) -> Result<Self, CaptureError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| CaptureError::source(path, &e)
        };
        // A symlink is captured as such, but for the one folder that is the root.
        let followed = |path: &Path| !path.is_symlink() || (paths.len() == 1 && path.is_dir());
        if let Some(path) = paths.iter().find(|path| followed(path) && lies_in(path, store).unwrap_or(false)) {
            return Err(CaptureError::InStore(path.clone()));
        }
        if let [path] = paths
            && path.metadata().map_err(fail(path))?.is_dir()
        {
            let root = source::open_root(path).map_err(|e| fail(path)(e.into()))?;
            let absolute = path.canonicalize().map_err(fail(path))?;
            return Ok(Self {
                root,
                path: absolute.clone(),
                sources: vec![absolute],
                missing: Vec::new(),
                links: Vec::new(),
                only: None,
            });
        }
        let mut only = Only::default();
        let mut sources = Vec::new();
        let (mut missing, mut links) = (Vec::new(), Vec::new());
        for path in paths {
            match absolute(path) {
                Ok(absolute) => {
                    if absolute.is_symlink() {
                        links.push(absolute.clone());
                    }
                    only.add(&absolute);
                    sources.push(absolute);
                }
                Err(e) => missing.push((path.clone(), e)),
            }
        }
        // One that is gone keeps no other from being captured.
        if let Some((path, e)) = missing.pop_if(|_| sources.is_empty()) {
            return Err(fail(&path)(e));
        }
        let root = source::open_root(Path::new("/")).map_err(|e| fail(Path::new("/"))(e.into()))?;
        let only = (!only.0.is_empty()).then_some(only);
        Ok(Self { root, path: PathBuf::from("/"), sources, missing, links, only })
    }

    /// Tells which paths cannot be captured, and gives their number; also of which no more is captured than a link.
    pub(super) fn tell_missing(&self, progress: &dyn Progress) -> u64 {
        for (path, why) in &self.missing {
            progress.notice(Notice::Unreadable { path: path.display().to_string(), why: why.to_string() });
        }
        for link in &self.links {
            let text =
                format!("{} is a symlink: it is captured, what it leads to is not; {0}/ would be", link.display());
            progress.notice(Notice::Remark(text));
        }
        self.missing.len() as u64
    }

    /// The paths as captured.
    pub(super) fn sources(&self) -> Vec<Vec<u8>> {
        self.sources.iter().map(|p| p.as_os_str().as_bytes().to_vec()).collect()
    }

    /// The paths themselves.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.sources.clone()
    }

    /// The commit that is checked out in the source, where it is a git work tree.
    pub(super) fn git_revision(&self) -> Option<String> {
        let git = self.sources.first()?.join(".git");
        let git = match std::fs::read_to_string(&git) {
            Ok(text) => self.sources.first()?.join(text.strip_prefix("gitdir:")?.trim()),
            Err(_) => git,
        };
        let hex = |text: &str| {
            let text = text.trim();
            (text.len() >= 40 && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit()))
                .then(|| text.to_owned())
        };
        let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
        let Some(name) = head.trim().strip_prefix("ref: ") else { return hex(&head) };
        let common = std::fs::read_to_string(git.join("commondir")).map_or(git.clone(), |c| git.join(c.trim()));
        if let Some(id) = std::fs::read_to_string(common.join(name)).ok().and_then(|t| hex(&t)) {
            return Some(id);
        }
        let packed = std::fs::read_to_string(common.join("packed-refs")).ok()?;
        packed.lines().filter_map(|l| l.split_once(' ')).find(|(_, n)| *n == name).and_then(|(id, _)| hex(id))
    }
}

/// The path of something that exists, from the root. The last name stays as it is: a symlink is captured, not followed, unless
/// a `/` stands behind it.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return path.canonicalize();
    }
    if path.symlink_metadata()?.file_type().is_socket() {
        return Err(std::io::Error::other("it is a socket, which has no content"));
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(parent.canonicalize()?.join(name))
        }
        _ => path.canonicalize(),
    }
}

impl Only {
    fn add(&mut self, path: &Path) {
        let names: Vec<_> = path.iter().filter(|n| *n != "/").map(|n| n.as_bytes().to_vec()).collect();
        let mut here = self;
        for (at, name) in names.iter().enumerate() {
            let last = at + 1 == names.len();
            let below = here.0.entry(name.clone()).or_insert_with(|| (!last).then(Only::default));
            if last {
                *below = None;
            }
            // A path above takes in what is below it.
            match below {
                Some(below) => here = below,
                None => return,
            }
        }
    }
}

/// Counts what there is to capture, for a progress bar: roughly, with excluded items, and no longer than the walk itself takes.
pub(super) fn count(paths: &[PathBuf], progress: &dyn Progress, stop: &AtomicBool) {
    let (mut items, mut bytes) = (0u64, 0u64);
    let mut file_systems = FileSystems::default();
    let device_of = |path: PathBuf| path.symlink_metadata().map(|meta| (meta.dev(), path));
    let mut folders: Vec<_> = paths.iter().cloned().flat_map(device_of).collect();
    while let Some((device, folder)) = folders.pop() {
        let Ok(list) = std::fs::read_dir(&folder) else { continue };
        for item in list.flatten() {
            let Ok(meta) = item.metadata() else { continue };
            items += 1;
            if meta.is_dir() {
                let (path, at) = (item.path(), meta.dev());
                let number = (rustix::fs::major(at), rustix::fs::minor(at));
                let sort = || rustix::fs::statfs(&path).map(|s| s.f_type);
                if at == device || file_systems.name(number, sort).is_none() {
                    folders.push((at, path));
                }
            } else if meta.is_file() {
                bytes = bytes.saturating_add(meta.len());
            }
        }
        if stop.load(Ordering::Relaxed) || progress.cancelled() {
            return;
        }
    }
    progress.expect(items, bytes);
}
