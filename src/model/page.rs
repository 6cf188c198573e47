//! Sums that pages carry about what lies below them.

/// Sums over a folder, or over the part of it below one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Direct entries.
    pub entries: u64,
    /// How many of them are folders.
    pub subdirs: u64,
    /// Entries at any depth.
    pub total: u64,
    /// Sizes of all files at any depth.
    pub bytes: u64,
}

/// Sums over a chunk list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkCounts {
    /// Chunks.
    pub chunks: u64,
    /// Their lengths.
    pub bytes: u64,
}

/// Sums over a hole map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HoleCounts {
    /// Holes.
    pub holes: u64,
    /// Their lengths.
    pub bytes: u64,
}

/// Sums over the index of a record dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordCounts {
    /// Its lines.
    pub items: u64,
}

/// Sums over the map of hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounts {
    /// Groups.
    pub groups: u64,
    /// Names of all groups.
    pub names: u64,
}
