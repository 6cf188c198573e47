//! A change, and sums over changes.

use crate::model::{Bits, Body, Entry, FileBody};
use crate::tree::{Difference, Sum};

use super::DiffOptions;

/// What sort of thing stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

/// One side of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub sort: Sort,
    /// Bytes of a file or of a link's target, else 0.
    pub size: u64,
}

impl Side {
    pub(super) fn of(entry: &Entry) -> Self {
        let sort = match entry.body {
            Body::File(_) => Sort::File,
            Body::Folder(_) => Sort::Folder,
            Body::Symlink(_) => Sort::Symlink,
            Body::Fifo | Body::Socket | Body::CharDevice(..) | Body::BlockDevice(..) => Sort::Special,
        };
        Self { sort, size: entry.size() }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another sort of thing.
    Type,
    /// What it holds: a file's bytes, a link's target, a device's number; and perhaps metadata.
    Content(Aspects),
    /// Only metadata.
    Metadata(Aspects),
}

/// Which metadata changed. A time of making alone is no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one fact, and any may hold")]
pub struct Aspects {
    /// Permission, set-id and sticky bits.
    pub mode: bool,
    /// Owner or group, by number or name.
    pub owner: bool,
    /// Time of the last change.
    pub mtime: bool,
    /// Extended attributes, ACLs among them.
    pub xattrs: bool,
    /// Which other names the file has.
    pub links: bool,
    /// Where a sparse file has holes.
    pub holes: bool,
}

impl Aspects {
    /// True if nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The words for what changed.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        let all = [
            (self.mode, "mode"),
            (self.owner, "owner"),
            (self.mtime, "mtime"),
            (self.xattrs, "xattrs"),
            (self.links, "links"),
            (self.holes, "holes"),
        ];
        all.into_iter().filter(|(changed, _)| *changed).map(|(_, word)| word)
    }

    fn between(old: &Entry, new: &Entry) -> Self {
        let acls = Bits::ACCESS_ACL.with(Bits::DEFAULT_ACL);
        Self {
            mode: old.mode != new.mode,
            owner: (old.uid, old.gid, &old.user, &old.group) != (new.uid, new.gid, &new.user, &new.group),
            mtime: old.mtime != new.mtime,
            xattrs: old.xattrs != new.xattrs || old.bits.0 & acls.0 != new.bits.0 & acls.0,
            links: old.link != new.link,
            holes: matches!((old.file(), new.file()), (Some(old), Some(new)) if old.holes != new.holes),
        }
    }
}

/// A change at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Names from what was compared, joined by `/`; empty for that itself.
    pub path: Box<[u8]>,
    /// What was there.
    pub old: Option<Side>,
    /// What is there.
    pub new: Option<Side>,
    /// What changed.
    pub what: What,
}

impl Change {
    /// What a difference between trees is to a user; nothing if it is not worth telling.
    pub(in crate::ops) fn between(found: Difference, options: DiffOptions) -> Option<Self> {
        let (old, new) = (found.old.as_ref().map(Side::of), found.new.as_ref().map(Side::of));
        let what = match (&found.old, &found.new) {
            (None, None) => return None,
            (None, Some(_)) => What::Added,
            (Some(_), None) => What::Removed,
            (Some(old), Some(new)) => of_both(old, new, options)?,
        };
        Some(Self { path: found.path, old, new, what })
    }
}

fn of_both(old: &Entry, new: &Entry, options: DiffOptions) -> Option<What> {
    let aspects = Aspects::between(old, new);
    match holds_the_same(old, new) {
        None => Some(What::Type),
        Some(false) => Some(What::Content(aspects)),
        Some(true) if aspects.is_empty() || options.content => None,
        Some(true) => Some(What::Metadata(aspects)),
    }
}

/// Whether two entries hold the same; nothing if they are different sorts of things.
fn holds_the_same(old: &Entry, new: &Entry) -> Option<bool> {
    match (&old.body, &new.body) {
        (Body::File(old), Body::File(new)) => Some(same_bytes(old, new)),
        (Body::Folder(_), Body::Folder(_)) | (Body::Fifo, Body::Fifo) | (Body::Socket, Body::Socket) => Some(true),
        (Body::Symlink(old), Body::Symlink(new)) => Some(old == new),
        (Body::CharDevice(..), Body::CharDevice(..)) | (Body::BlockDevice(..), Body::BlockDevice(..)) => {
            Some(old.body == new.body)
        }
        _ => None,
    }
}

fn same_bytes(old: &FileBody, new: &FileBody) -> bool {
    if old.size != new.size {
        return false;
    }
    match (old.content, new.content) {
        (Some(old), Some(new)) => old == new,
        _ => old.chunks == new.chunks && old.holes == new.holes,
    }
}

/// How many of a sort, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Links, devices, pipes.
    pub others: u64,
    /// Sum of file sizes.
    pub bytes: u64,
}

impl Tally {
    fn count(&mut self, side: Side) {
        match side.sort {
            Sort::File => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(side.size);
            }
            Sort::Folder => self.folders += 1,
            Sort::Symlink | Sort::Special => self.others += 1,
        }
    }
}

/// What holds something else, and what it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// How many.
    pub items: u64,
    /// Their bytes before.
    pub old_bytes: u64,
    /// Their bytes now.
    pub new_bytes: u64,
}

/// Sums over changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// What is new; the new side of a change of type counts here too.
    pub added: Tally,
    /// What is gone; the old side of a change of type counts here too.
    pub removed: Tally,
    /// Files and links that hold something else.
    pub content: Rewritten,
    /// Items of which only metadata changed.
    pub metadata: u64,
    /// Items that became another sort of thing.
    pub types: u64,
}

impl Sum for Sums {
    fn add(&mut self, other: &Self) {
        let Self { added, removed, content, metadata, types } = other;
        for (mine, other) in [(&mut self.added, added), (&mut self.removed, removed)] {
            let Tally { files, folders, others, bytes } = mine;
            for (mine, other) in
                [(files, other.files), (folders, other.folders), (others, other.others), (bytes, other.bytes)]
            {
                *mine = mine.saturating_add(other);
            }
        }
        let Rewritten { items, old_bytes, new_bytes } = &mut self.content;
        let content = [(items, content.items), (old_bytes, content.old_bytes), (new_bytes, content.new_bytes)];
        for (mine, other) in content.into_iter().chain([(&mut self.metadata, *metadata), (&mut self.types, *types)]) {
            *mine = mine.saturating_add(other);
        }
    }
}

impl Sums {
    pub(super) fn count(&mut self, change: &Change) {
        let size = |side: Option<Side>| side.map_or(0, |s| s.size);
        match change.what {
            What::Content(_) => {
                self.content.items += 1;
                self.content.old_bytes = self.content.old_bytes.saturating_add(size(change.old));
                self.content.new_bytes = self.content.new_bytes.saturating_add(size(change.new));
            }
            What::Metadata(_) => self.metadata += 1,
            What::Added | What::Removed | What::Type => {
                self.types += u64::from(change.what == What::Type);
                change.old.into_iter().for_each(|side| self.removed.count(side));
                change.new.into_iter().for_each(|side| self.added.count(side));
            }
        }
    }
}
