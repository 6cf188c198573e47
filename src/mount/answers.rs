//! What requests are answered: from the view, or from the layout above it.

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use fuser::{Errno, FileAttr, INodeNo};

use crate::model::{Progress, Timestamp};
use crate::view::{Node, NodeId, View, ViewError};

use super::asked::Asked;
use super::attr::{FOREVER, SHORT, errno, of_node, unread_folder};
use super::counts::Counts;
use super::desk::Desk;
use super::held::Held;
use super::layout::Layout;
use super::number::Ino;
use super::options::{Owner, Parsed};
use super::push::Pushes;
use super::readahead;
use super::stats::{self, Stats};

/// Asked for by this name the time of birth is told, as `stat -c %.9W` writes it. It is in no listing: a copy has its own.
const BTIME: &[u8] = b"user.larder.btime";

/// Something that has attributes.
pub(super) struct Found {
    pub(super) attr: FileAttr,
    /// How long the kernel may keep that.
    pub(super) keep: Duration,
}

/// Knows the answers. Shared by all threads of a mount.
pub(super) struct Answers {
    pub(super) view: View,
    /// The snapshot that is the root of the mount, if one is.
    root: Option<NodeId>,
    pub(super) xattrs: bool,
    owner: Owner,
    pub(super) asked: Asked,
    pub(super) held: Held,
    pub(super) counts: Counts,
    pub(super) desk: Desk,
    pub(super) pushes: Pushes,
    /// The mount's device, once it is known.
    pub(super) device: OnceLock<u64>,
    cache: u64,
    begun: Instant,
}

impl Answers {
    pub(super) fn new(
        view: View,
        root: Option<NodeId>,
        parsed: Parsed,
        desk: Desk,
        cache: u64,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let held = Held::new(view.clone(), progress);
        let pushes = Pushes::new(desk.threads());
        let (asked, counts, device) = (Asked::default(), Counts::default(), OnceLock::new());
        let Parsed { xattrs, owner, .. } = parsed;
        Self { view, root, xattrs, owner, asked, held, counts, desk, pushes, device, cache, begun: Instant::now() }
    }

    pub(super) fn ino(&self, raw: INodeNo) -> Result<Ino, Errno> {
        Ino::from_raw(raw.0, self.root).ok_or(Errno::ESTALE)
    }

    pub(super) fn node(&self, raw: INodeNo) -> Result<NodeId, Errno> {
        match self.ino(raw)? {
            Ino::Node(id) => Ok(id),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::new(self.view.catalog())
    }

    pub(super) fn attr(&self, raw: INodeNo) -> Result<Found, Errno> {
        self.found(self.ino(raw)?)
    }

    /// What the kernel is told of a node.
    fn node_found(&self, node: &Node) -> Found {
        let mut attr = of_node(Ino::Node(node.id()).raw(self.root), &node.attr());
        (attr.uid, attr.gid) = (self.owner.uid.unwrap_or(attr.uid), self.owner.gid.unwrap_or(attr.gid));
        Found { attr, keep: FOREVER }
    }

    fn found(&self, ino: Ino) -> Result<Found, Errno> {
        if let Ino::Node(id) = ino {
            return Ok(self.node_found(&*self.view.node(id).map_err(|e| errno(&e))?));
        }
        Ok(Found { attr: self.layout().attr(ino).ok_or(Errno::ESTALE)?, keep: SHORT })
    }

    /// What a name stands for, which the kernel is about to be told; nothing if it may keep in mind for ever that there is none.
    pub(super) fn lookup(&self, parent: INodeNo, name: &[u8]) -> Result<Option<Found>, Errno> {
        let Some(found) = self.named(self.ino(parent)?, name)? else { return Ok(None) };
        if let Some(id) = NodeId::from_raw(found.attr.ino.0)
            && !self.held.look_up(id.sequence())
        {
            return Err(Errno::ENOENT);
        }
        Ok(Some(found))
    }

    fn named(&self, parent: Ino, name: &[u8]) -> Result<Option<Found>, Errno> {
        match (name, parent) {
            // Asked when a file handle from before is opened.
            (b".", _) => self.found(parent).map(Some),
            (b"..", Ino::Node(id)) if id.index() != 0 => {
                let parent = self.view.node(id).map_err(|e| errno(&e))?.parent();
                self.found(Ino::Node(parent)).map(Some)
            }
            (b"..", Ino::Node(_)) if self.root.is_some() => self.found(parent).map(Some),
            (b"..", _) => self.found(self.layout().parent(parent).ok_or(Errno::ESTALE)?).map(Some),
            (_, Ino::Node(id)) => {
                let node = self.view.lookup(id, name).map_err(|e| errno(&e))?;
                Ok(node.map(|node| self.node_found(&node)))
            }
            _ => self.listed(parent, name).map(Some),
        }
    }

    /// What a name stands for in a folder that lists snapshots.
    fn listed(&self, parent: Ino, name: &[u8]) -> Result<Found, Errno> {
        let now = Timestamp::from_system(SystemTime::now());
        let mut ino = self.layout().lookup(parent, name, now);
        if ino.is_none() && self.view.look_again().unwrap_or(false) {
            ino = self.layout().lookup(parent, name, now);
        }
        if let Some(Ino::AsOf(seconds)) = ino {
            self.asked.add(seconds);
        }
        let unknown = || if self.is_incomplete(parent) { Errno::EIO } else { Errno::ENOENT };
        if matches!(ino, Some(Ino::Latest(_))) && self.is_incomplete(parent) {
            return Err(Errno::EIO);
        }
        // Which tree an id leads to never changes, but it may be removed.
        let found = self.found(ino.ok_or_else(unknown)?)?;
        Ok(Found { keep: SHORT, ..found })
    }

    /// Gives the entries of a folder from an offset on, until `add` says that it is enough. Offsets are positions: any may come
    /// at any time, since folders are not opened.
    pub(super) fn each(
        &self,
        folder: INodeNo,
        offset: u64,
        add: &mut dyn FnMut(&OsStr, u64, &Found) -> bool,
    ) -> Result<(), Errno> {
        let folder = self.ino(folder)?;
        for (at, name) in [(0, "."), (1, "..")] {
            if offset <= at {
                let found = self.named(folder, name.as_bytes())?.ok_or(Errno::ESTALE)?;
                if add(OsStr::new(name), at + 1, &found) {
                    return Ok(());
                }
            }
        }
        let first = offset.saturating_sub(2);
        if let Ino::Node(id) = folder {
            let mut children = self.view.list(id, first).map_err(|e| errno(&e))?;
            while let Some(child) = children.next().map_err(|e| errno(&e))? {
                if add(child.name().as_os(), child.position + 3, &self.node_found(&child.node)) {
                    break;
                }
            }
            return Ok(());
        }
        if self.is_incomplete(folder) {
            return Err(Errno::EIO);
        }
        let names = self.layout().list(folder).ok_or(Errno::ENOTDIR)?;
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (position, (name, ino)) in names.iter().enumerate().skip(first) {
            let found = match ino {
                // To list snapshots is not to use them: their manifests are not read, damaged ones are listed too, and who wants
                // one looks it up.
                Ino::Node(_) => Found { attr: unread_folder(ino.raw(None)), keep: Duration::ZERO },
                _ => match self.found(*ino) {
                    Ok(found) => Found { keep: SHORT, ..found },
                    Err(_) => continue,
                },
            };
            if add(OsStr::new(name), position as u64 + 3, &found) {
                break;
            }
        }
        Ok(())
    }

    /// True if damage may hide what belongs into this folder, a snapshot or the name of a dataset: a list without it would say that it is gone.
    fn is_incomplete(&self, folder: Ino) -> bool {
        let catalog = self.view.catalog();
        match folder {
            Ino::Datasets | Ino::AsOf(_) => catalog.lacks_names() || catalog.lacks_snapshots(),
            Ino::Snapshots | Ino::Dataset(_) => catalog.lacks_snapshots(),
            _ => false,
        }
    }

    pub(super) fn readlink(&self, ino: INodeNo) -> Result<Vec<u8>, Errno> {
        match self.ino(ino)? {
            Ino::Node(id) => self.view.readlink(id).map_err(|e| errno(&e)),
            other => self.layout().readlink(other).map(String::into_bytes).ok_or(Errno::EINVAL),
        }
    }

    /// All extended attributes that are listed; nothing at once for what has none.
    pub(super) fn all_xattrs(&self, ino: INodeNo) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Errno> {
        let Ino::Node(id) = self.ino(ino)? else { return Ok(Vec::new()) };
        let read = || -> Result<_, ViewError> {
            let node = self.view.node(id)?;
            if node.has_xattrs() { self.view.xattrs(&node) } else { Ok(Vec::new()) }
        };
        read().map_err(|e| errno(&e))
    }

    pub(super) fn xattr(&self, ino: INodeNo, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let all = self.all_xattrs(ino)?;
        let is_bare = all.is_empty();
        if let Some((_, value)) = all.into_iter().find(|(known, _)| known == name) {
            return Ok(value);
        }
        if name == stats::NAME.as_bytes() && ino.0 == 1 {
            return serde_json::to_vec(&self.stats()).map_err(|_| Errno::EIO);
        }
        if name == BTIME
            && let Ok(id) = self.node(ino)
            && let Some(btime) = self.view.node(id).map_err(|e| errno(&e))?.entry().btime
        {
            return Ok(format!("{}.{:09}", btime.seconds, btime.nanos).into_bytes());
        }
        // This makes `ls` stop asking for each file.
        Err(if is_bare && name.starts_with(b"security.") { Errno::EOPNOTSUPP } else { Errno::NO_XATTR })
    }

    /// What the mount tells about itself.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            pid: std::process::id(),
            seconds: self.begun.elapsed().as_secs(),
            requests: self.counts.by_name(),
            pushed: self.pushes.pushed(),
            expired: self.desk.expired(),
            cached: self.view.cached_bytes(),
            cache_size: self.cache,
            held: self.held.len() as u64,
            read_ahead: self.device.get().and_then(|device| readahead::current(*device)),
        }
    }
}
