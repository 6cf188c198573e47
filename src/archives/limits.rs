//! How much an archive may make of itself.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Limits. What goes beyond one is refused, and the refusal names it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that come out for each that goes in, once [`Limits::RATIO_FREE`] bytes have come out, or [`Limits::HOLES_FREE`] with holes counted.
    pub ratio: u64,
    /// What the archive has said in front of its contents that it will make comes on top of that.
    pub declared: Declared,
    /// Members. Each name that was met takes 28 to 56 bytes of memory while an archive is read.
    pub members: u64,
    /// Bytes of all contents together, holes counted, whatever the ratio. If nothing is said, who writes contents to a disk writes no more than what [`room`] tells.
    pub bytes: Option<u64>,
    /// Archives around archives: compressions and seals, one in the other.
    pub nesting: u32,
    /// Folders in folders.
    pub depth: u32,
    /// What to do with a name that is another's but for letter case or the way its accents are written. Linux tells them apart, Linux's own source has
    /// such names, and a pack of such a tree must come back; but an archive can also be made so that one member takes another's place.
    pub alike: Alike,
    /// Take the slashes in front of names off, as GNU tar does. Else such names are refused.
    pub absolute: bool,
    /// Of members with one name let the last count, as who extracts has it. Else the second is refused.
    pub duplicates: bool,
    /// Behind a damaged header of a tar look for the next one, as GNU tar does, read past damaged frames of a seekable zstd stream, and go through a zip whose directory is damaged
    /// member by member. What is found may be in a content: for whoever can tell by itself what bytes are worth.
    pub searches: bool,
    /// What was in such frames.
    pub lost: Lost,
    /// How long a tar is, where that is known and one searches in it: a header that says more is damaged.
    pub length: Length,
}

/// Bytes that an archive declares; clones have one sum.
#[derive(Debug, Clone, Default)]
pub struct Declared(Arc<AtomicU64>);

impl Declared {
    /// Adds to it.
    pub fn add(&self, bytes: u64) {
        let _sum = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(sum.saturating_add(bytes)));
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes of a compressed stream that were damaged, and are others now; clones have one sum.
#[derive(Debug, Clone, Default)]
pub struct Lost(Arc<AtomicU64>);

impl Lost {
    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of bytes that may be known; clones have one.
#[derive(Debug, Clone, Default)]
pub struct Length(Arc<AtomicU64>);

impl Length {
    pub(super) fn set(&self, bytes: Option<u64>) {
        self.0.store(bytes.map_or(0, |bytes| bytes.saturating_add(1)), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// What to do with names that some file systems take for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// Let them in, count them, name the first few.
    Tell,
    /// Refuse the second of them.
    Refuse,
    /// Refuse the second of them, but in a pack of Larder's, whose manifest lists both.
    RefuseOthers,
}

impl Limits {
    /// Bytes that may come out whatever the ratio: small files that compress well are no bombs.
    pub const RATIO_FREE: u64 = 64 << 20;
    /// The same of contents whose holes are counted: images of disks are nearly all holes, and these take time alone.
    pub const HOLES_FREE: u64 = 1 << 40;

    /// Bytes that may come out where so many went in.
    #[must_use]
    pub fn most(&self, stored: u64) -> u64 {
        stored.saturating_mul(self.ratio).max(Self::RATIO_FREE).saturating_add(self.declared.get())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ratio: 1000,
            declared: Declared::default(),
            members: 10_000_000,
            bytes: None,
            nesting: 4,
            depth: 1024,
            alike: Alike::Tell,
            absolute: false,
            duplicates: false,
            searches: false,
            lost: Lost::default(),
            length: Length::default(),
        }
    }
}

/// Bytes that may be written to the file system that something is on: what is free for this user, but for a twentieth, so that others are not left without any.
pub fn room(on: impl AsFd) -> Option<u64> {
    let stat = rustix::fs::fstatvfs(on).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    Some(free - free / 20)
}
