//! What a tar ends with.

/// Its length is a multiple of this.
const RECORD: u64 = 10_240;
/// Two empty blocks, which mark the end.
pub(crate) const MARK: u64 = 1024;

/// Bytes of zeros behind the last member, where so many bytes stand before them.
pub(crate) fn zeros(before: u64) -> u64 {
    MARK + (RECORD - (before + MARK) % RECORD) % RECORD
}
