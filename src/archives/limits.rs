//! How much an archive may make of itself.

/// Limits. What goes beyond one is refused, and the refusal names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that come out for each that goes in, once [`Limits::RATIO_FREE`] bytes have come out. Bytes of holes count as they stand in the archive: not at all.
    pub ratio: u64,
    /// Members. Each name that was met takes 28 to 56 bytes of memory while an archive is read.
    pub members: u64,
    /// Bytes of all contents together, holes counted.
    pub bytes: u64,
    /// Archives around archives: compressions and seals, one in the other.
    pub nesting: u32,
    /// Folders in folders.
    pub depth: u32,
    /// What to do with a name that is another's but for letter case or the way its accents are written. Linux tells them apart, Linux's own source has
    /// such names, and a pack of such a tree must come back: so they are told of, and refused where the target folds names.
    pub alike: Alike,
}

/// What to do with names that some file systems take for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// Let them in, count them, name the first few.
    Tell,
    /// Refuse the second of them.
    Refuse,
}

impl Limits {
    /// Bytes that may come out whatever the ratio: small files that compress well are no bombs.
    pub const RATIO_FREE: u64 = 64 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 1000, members: 10_000_000, bytes: 1 << 46, nesting: 4, depth: 1024, alike: Alike::Tell }
    }
}
