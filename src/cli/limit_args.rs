//! How much an archive may make of itself: limits against bombs.

use clap::Args;

use crate::archives::Limits;

use super::size;

/// Limits. What goes beyond one is refused before it does harm
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of what the archive may make of itself")]
pub(super) struct LimitArgs {
    /// Bytes that may come out of each that is stored, once 64 MiB have come out [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_ratio: Option<u64>,
    /// Members that it may have
    #[arg(long, value_name = "N")]
    max_members: Option<u64>,
    /// Bytes that all files together may have, holes counted [default: 64T]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    max_total: Option<u64>,
    /// Compressions and seals one in the other [default: 4]
    #[arg(long, value_name = "N")]
    max_nesting: Option<u32>,
    /// Folders in folders [default: 1024]
    #[arg(long, value_name = "N")]
    max_depth: Option<u32>,
}

impl LimitArgs {
    /// The limits, those that nobody named as they are by default.
    pub(super) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            ratio: self.max_ratio.unwrap_or(usual.ratio),
            members: self.max_members.unwrap_or(usual.members),
            bytes: self.max_total.unwrap_or(usual.bytes),
            nesting: self.max_nesting.unwrap_or(usual.nesting),
            depth: self.max_depth.unwrap_or(usual.depth),
            ..usual
        }
    }
}
