//! Folders of the target: made in preorder, few of them open at a time.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, SeekFrom, Stat, StatxAttributes, StatxFlags, XattrFlags, makedev,
};
use rustix::io::Errno;

use crate::model::Entry;
use crate::tree::Node;

use super::guard::{Guarded, Identity, hold};
use super::met::{MARK, MODE_BITS, Met};
use super::outcome::Outcome;
use super::select::{Choice, Select};
use super::{Overwrite, RestoreError};

/// Levels above the deepest that stay open.
const NEAR: usize = 64;
/// Of those farther up every so-manieth stays open, so that one that was closed is found again in few steps.
const FAR: usize = 64;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The mode of a folder until it is finished. The sticky bit says nothing where only the owner may enter: here it tells a later
/// restore which may be of one that was cut short. Those that are have [`MARK`] too, or nothing in them yet.
const UNFINISHED: u32 = 0o1700;

/// How a folder came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Made where nothing was.
    Made,
    /// Made in the place of something else.
    Replaced,
    /// By a restore that was cut short: it still lacks its metadata.
    Unfinished,
    /// It was there before.
    Existed,
    /// The target was there before, with nothing in it.
    Empty,
}

/// An open folder of the target.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    pub(super) origin: Origin,
    /// What it had before anything was changed in it.
    pub(super) met: Met,
    /// It was there before, with [`MARK`].
    pub(super) marked: bool,
    /// True if new items get its group.
    pub(super) gives_group: bool,
    /// True if new items get ACLs from its default ACL.
    pub(super) gives_acl: bool,
    /// True if it is in another file system than the target, or is mounted below it.
    pub(super) beyond: bool,
    device: (u32, u32),
    identity: Identity,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Folder {
    fn new(fd: OwnedFd, origin: Origin, parent: Option<&Self>) -> Result<Self, Errno> {
        hold(fd.as_fd());
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let mode = u32::from(stat.stx_mode);
        let made = matches!(origin, Origin::Made | Origin::Replaced);
        let ours = stat.stx_uid == rustix::process::geteuid().as_raw() || rustix::process::geteuid().is_root();
        let mark = (origin == Origin::Existed).then(|| FoundMark::of(&fd));
        let unfinished = mode & 0o5777 == UNFINISHED && ours && mark.is_some_and(|mark| mark.tells(&fd));
        let met = Met {
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mode: mode & MODE_BITS,
            mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        };
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        let mounted = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        Ok(Self {
            origin: if unfinished { Origin::Unfinished } else { origin },
            met,
            marked: mark == Some(FoundMark::There),
            gives_group: mode & 0o2000 != 0,
            gives_acl: !made && rustix::fs::fgetxattr_query(&fd, DEFAULT_ACL).is_ok_and(|len| len > 0),
            beyond: parent.is_some_and(|parent| parent.beyond || mounted || parent.device != device),
            device,
            identity: (makedev(device.0, device.1), stat.stx_ino),
            fd,
        })
    }

    /// A folder that was just made, in which nothing is yet.
    pub(super) fn begin(fd: OwnedFd) -> Result<Self, Errno> {
        Self::new(fd, Origin::Made, None)
    }

    /// Opens a folder in this one.
    pub(super) fn open(&self, name: &[u8], origin: Origin) -> Result<Self, Errno> {
        Self::new(rustix::fs::openat(&self.fd, name, OPEN, Mode::empty())?, origin, Some(self))
    }

    /// Makes a folder in this one. What it inherited is taken off, so that nothing in it inherits further.
    fn make(&self, name: &[u8], origin: Origin) -> Result<Self, Errno> {
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(UNFINISHED))?;
        let made = self.open(name, origin)?;
        mark(&made.fd);
        if self.gives_acl {
            for acl in [DEFAULT_ACL, ACCESS_ACL] {
                let _ = rustix::fs::fremovexattr(&made.fd, acl);
            }
        }
        Ok(made)
    }

    /// True if nothing was in it before this restore.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.origin, Origin::Made | Origin::Replaced | Origin::Empty)
    }

    /// What has a name in it, if anything. Nothing can be in a folder that was just made.
    pub(super) fn look(&self, name: &[u8]) -> Result<Option<Stat>, Outcome> {
        if self.is_new() { Ok(None) } else { self.look_again(name) }
    }

    /// The same, where somebody else turns out to be at work too.
    pub(super) fn look_again(&self, name: &[u8]) -> Result<Option<Stat>, Outcome> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Outcome::failed("cannot look at what is there", e)),
        }
    }

    /// Opens the folder that a path from here leads to.
    pub(super) fn descend(self: &Arc<Self>, path: &[u8]) -> Result<Arc<Self>, Errno> {
        let mut here = self.clone();
        for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            here = Arc::new(here.open(name, Origin::Existed)?);
        }
        Ok(here)
    }
}

fn mark(folder: &OwnedFd) {
    let _ = rustix::fs::fsetxattr(folder, MARK, b"1", XattrFlags::empty());
}

/// What is found of [`MARK`] on a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FoundMark {
    There,
    Absent,
    /// The file system has no attributes.
    Unsupported,
}

impl FoundMark {
    fn of(folder: &OwnedFd) -> Self {
        match rustix::fs::fgetxattr(folder, MARK, &mut [0; 8][..]) {
            Ok(_) => Self::There,
            Err(Errno::OPNOTSUPP) => Self::Unsupported,
            Err(_) => Self::Absent,
        }
    }

    /// True if a folder with the mode of an unfinished one is one.
    fn tells(self, folder: &OwnedFd) -> bool {
        match self {
            // Without attributes the mode alone must tell.
            Self::There | Self::Unsupported => true,
            // A restore may have been killed between making and marking it.
            Self::Absent => is_empty(folder).unwrap_or(false),
        }
    }
}

fn is_empty(folder: &OwnedFd) -> Result<bool, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut items = RawDir::new(folder, &mut buffer);
    let mut empty = true;
    while let Some(item) = items.next().filter(|_| empty) {
        empty = matches!(item?.file_name().to_bytes(), b"." | b"..");
    }
    rustix::fs::seek(folder, SeekFrom::Start(0))?;
    Ok(empty)
}

pub(super) const ACCESS_ACL: &str = "system.posix_acl_access";
pub(super) const DEFAULT_ACL: &str = "system.posix_acl_default";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked for yet: made when something in it is.
    Waiting,
    /// It could not be made: nothing below it is restored.
    Refused,
    /// It would be made: nothing is, this is a rehearsal.
    Foreseen(Origin),
    /// It is there.
    There(Origin, Met),
}

struct Level {
    entry: Entry,
    /// How long its path is.
    path: usize,
    state: State,
    /// Restored for its own sake or for that of something in it.
    wanted: bool,
    /// The folder above was taken itself.
    inside: bool,
    folder: Option<Arc<Folder>>,
}

/// The folder that the walk is in.
pub(super) enum Top {
    /// This one.
    Open(Arc<Folder>),
    /// One that a restore would make.
    Foreseen(Origin),
    /// None: one above it could not be made, or was not asked for.
    Nowhere,
    /// It cannot be opened again.
    Lost(Outcome),
}

/// What may be done with what stands where a folder goes.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) overwrite: Overwrite,
    /// Nothing is changed.
    pub(super) dry: bool,
    pub(super) select: &'a Select,
    pub(super) guarded: &'a Guarded,
}

/// The folders between the target and where the walk is.
pub(super) struct Folders<'a> {
    base: Option<Arc<Folder>>,
    rules: Rules<'a>,
    levels: Vec<Level>,
    /// The path of the innermost folder, or of one that was left in it: those of the folders it is in begin it.
    path: Vec<u8>,
}

impl<'a> Folders<'a> {
    /// Makes and opens the target; in a rehearsal it is only opened, if it is there. `finished_later`: it gets metadata in the end.
    pub(super) fn target(target: &Path, dry: bool, finished_later: bool) -> Result<Option<Arc<Folder>>, RestoreError> {
        let fail = |e: std::io::Error| RestoreError::Target { path: target.to_owned(), source: e };
        let there = target.exists();
        let filled = std::fs::read_dir(target).is_ok_and(|mut items| items.next().is_some());
        if !dry {
            std::fs::create_dir_all(target).map_err(|e| match e.kind() {
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => RestoreError::NoFolder(target.to_owned()),
                _ => fail(e),
            })?;
        }
        // The user named it: here alone a symlink is followed.
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(CWD, target, open, Mode::empty()) {
            Err(Errno::NOENT) if dry => return Ok(None),
            Err(Errno::NOTDIR) => return Err(RestoreError::NoFolder(target.to_owned())),
            opened => opened.map_err(|e| fail(e.into()))?,
        };
        let mut folder = Folder::new(fd, Origin::Existed, None).map_err(|e| fail(e.into()))?;
        if !filled && folder.origin == Origin::Existed {
            folder.origin = if there { Origin::Empty } else { Origin::Made };
            if finished_later && !dry {
                mark(&folder.fd);
                let _ = rustix::fs::fchmod(&folder.fd, Mode::from_raw_mode(UNFINISHED));
            }
        }
        Ok(Some(Arc::new(folder)))
    }

    /// `base`: the target; nothing if it would have to be made and nothing is.
    pub(super) fn new(base: Option<Arc<Folder>>, rules: Rules<'a>) -> Self {
        Self { base, rules, levels: Vec::new(), path: Vec::new() }
    }

    /// The folder that the walk is in.
    pub(super) fn top(&mut self) -> Top {
        self.at(self.levels.len())
    }

    fn at(&mut self, depth: usize) -> Top {
        match depth.checked_sub(1).map(|at| self.levels[at].state) {
            None => self.base.clone().map_or(Top::Foreseen(Origin::Made), Top::Open),
            Some(State::Refused | State::Waiting) => Top::Nowhere,
            Some(State::Foreseen(origin)) => Top::Foreseen(origin),
            Some(State::There(..)) => match self.reopen(depth) {
                Ok(Some(folder)) => Top::Open(folder),
                Ok(None) => Top::Nowhere,
                Err(e) => Top::Lost(Outcome::failed("cannot open its folder again", e)),
            },
        }
    }

    /// A folder that is there, opened again from the nearest one above it that is open.
    fn reopen(&mut self, depth: usize) -> Result<Option<Arc<Folder>>, Errno> {
        let from = self.levels[..depth].iter().rposition(|level| level.folder.is_some());
        let mut here = match from {
            Some(at) => self.levels[at].folder.clone(),
            None => self.base.clone(),
        };
        for level in &mut self.levels[from.map_or(0, |at| at + 1)..depth] {
            let (Some(above), State::There(origin, met)) = (&here, level.state) else { return Ok(None) };
            // The start is the target itself.
            if level.path > 0 {
                let folder = above.open(level.entry.name.as_bytes(), origin)?;
                here = Some(Arc::new(Folder { met, ..folder }));
            }
            level.folder.clone_from(&here);
        }
        Ok(here)
    }

    /// Makes a folder, or opens it if it exists. `inside`: the one above was taken itself. [`Self::leave`] follows in any case.
    pub(super) fn enter(&mut self, node: &Arc<Node>, inside: bool) -> Result<(), Outcome> {
        self.push(node, true, inside);
        self.settle(self.levels.len() - 1, make_or_open)
    }

    /// Enters a folder that is made only when something in it is asked for. [`Self::leave`] follows.
    pub(super) fn look_into(&mut self, node: &Arc<Node>, inside: bool) {
        self.push(node, false, inside);
    }

    /// Opens a folder that should be there. [`Self::leave`] follows in any case.
    pub(super) fn find(&mut self, node: &Arc<Node>) -> Result<(), Outcome> {
        self.push(node, true, true);
        self.settle(self.levels.len() - 1, open)
    }

    /// Makes the folders above that were not asked for until now; tells of one that cannot be made.
    pub(super) fn ask_for_all(&mut self) -> Option<(Arc<Node>, Outcome)> {
        let mut refused = None;
        let first = self.levels.iter().rposition(|level| level.wanted).map_or(0, |at| at + 1);
        for at in first..self.levels.len() {
            self.levels[at].wanted = true;
            if self.levels[at].state == State::Waiting
                && let Err(why) = self.settle(at, make_or_open)
            {
                refused = Some((Arc::new(self.node(at)), why));
            }
        }
        refused
    }

    /// Opens the folders above that were not asked for, as far as they exist.
    pub(super) fn open_unasked(&mut self) {
        for at in 0..self.levels.len() {
            if self.levels[at].state == State::Waiting && self.settle(at, open).is_err() {
                self.levels[at].state = State::Waiting;
                return;
            }
        }
    }

    fn push(&mut self, node: &Arc<Node>, wanted: bool, inside: bool) {
        self.path.clear();
        self.path.extend_from_slice(&node.path);
        let (entry, path) = (node.entry.clone(), node.path.len());
        self.levels.push(Level { entry, path, state: State::Waiting, wanted, inside, folder: None });
        let far = self.levels.len().wrapping_sub(NEAR + 1);
        if !far.is_multiple_of(FAR)
            && let Some(level) = self.levels.get_mut(far)
        {
            level.folder = None;
        }
    }

    fn node(&self, at: usize) -> Node {
        let Level { entry, path, .. } = &self.levels[at];
        Node { path: self.path[..*path].into(), entry: entry.clone() }
    }

    /// Makes or opens the folder of a level, if that above it is there.
    fn settle(
        &mut self,
        at: usize,
        get: impl Fn(&Folder, &Node, bool, Rules) -> Result<Got, Outcome>,
    ) -> Result<(), Outcome> {
        let node = self.node(at);
        let got = match self.at(at) {
            Top::Nowhere => {
                self.levels[at].state = State::Refused;
                return Ok(());
            }
            Top::Lost(why) => Err(why),
            Top::Foreseen(_) => Ok(Got::Foreseen(Origin::Made)),
            // The start is the target itself.
            Top::Open(folder) if node.path.is_empty() => Ok(Got::Folder(folder)),
            Top::Open(above) => get(&above, &node, self.levels[at].inside, self.rules),
        };
        let level = &mut self.levels[at];
        match got {
            Ok(Got::Folder(folder)) => {
                (level.state, level.folder) = (State::There(folder.origin, folder.met), Some(folder));
            }
            Ok(Got::Foreseen(origin)) => level.state = State::Foreseen(origin),
            Err(why) => {
                level.state = State::Refused;
                return Err(why);
            }
        }
        Ok(())
    }

    /// Leaves the deepest folder. True if it was asked for.
    pub(super) fn leave(&mut self) -> bool {
        self.levels.pop().is_some_and(|level| level.wanted)
    }

    /// True if the deepest folder was asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.levels.last().is_some_and(|level| level.wanted)
    }
}

/// A folder, or that one would be made.
enum Got {
    Folder(Arc<Folder>),
    Foreseen(Origin),
}

fn open(above: &Folder, node: &Node, _: bool, rules: Rules) -> Result<Got, Outcome> {
    let opened = above.open(node.entry.name.as_bytes(), Origin::Existed);
    let folder = opened.map_err(|e| Outcome::failed("cannot open the folder", e))?;
    if rules.guarded.holds(folder.identity) {
        return Err(Guarded::refusal());
    }
    Ok(Got::Folder(Arc::new(folder)))
}

fn make_or_open(above: &Folder, node: &Node, inside: bool, rules: Rules) -> Result<Got, Outcome> {
    let name = node.entry.name.as_bytes();
    let Some(stat) = above.look(name)? else {
        return make(above, node, Origin::Made, rules, "cannot make the folder");
    };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return open(above, node, inside, rules);
    }
    let failed = |why: &str| Err(Outcome::Failed(why.to_owned()));
    if rules.overwrite == Overwrite::Never {
        return Err(Outcome::Kept("something that is no folder stands in its place".to_owned()));
    }
    if rules.guarded.holds((stat.st_dev, stat.st_ino)) {
        return Err(Guarded::refusal());
    }
    if above.beyond {
        return failed(
            "something that is no folder stands in its place, and nothing is removed where something is mounted",
        );
    }
    if rules.select.choose(&node.path, false, inside) == Choice::Aside {
        return failed("something that patterns leave aside stands in its place");
    }
    if !rules.dry {
        let removed = rustix::fs::unlinkat(above, name, AtFlags::empty());
        removed.map_err(|e| Outcome::failed("cannot remove what stands in its place", e))?;
    }
    make(above, node, Origin::Replaced, rules, "cannot make a folder of what stood in its place")
}

fn make(above: &Folder, node: &Node, origin: Origin, rules: Rules, what: &str) -> Result<Got, Outcome> {
    if rules.dry {
        return Ok(Got::Foreseen(origin));
    }
    match above.make(node.entry.name.as_bytes(), origin) {
        Ok(made) => Ok(Got::Folder(Arc::new(made))),
        // Another restore came first.
        Err(Errno::EXIST) => open(above, node, false, rules),
        Err(e) => Err(Outcome::failed(what, e)),
    }
}
