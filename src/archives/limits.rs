//! How much an archive may make of itself.

/// Limits. What goes beyond one is refused, and the refusal names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that come out for each that goes in, once [`Limits::RATIO_FREE`] bytes have come out. Bytes of holes count as they stand in the archive: not at all.
    pub ratio: u64,
    /// Members.
    pub members: u64,
    /// Bytes of all contents together, holes counted.
    pub bytes: u64,
    /// Archives around archives: compressions and seals, one in the other.
    pub nesting: u32,
    /// Folders in folders.
    pub depth: u32,
}

impl Limits {
    /// Bytes that may come out whatever the ratio: small files that compress well are no bombs.
    pub const RATIO_FREE: u64 = 64 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 1000, members: 100_000_000, bytes: 1 << 46, nesting: 4, depth: 1024 }
    }
}
