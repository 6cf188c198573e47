//! How much an archive may make of itself: limits against bombs, and names that are one name elsewhere.

use clap::{Args, ValueEnum};

use crate::archives::{Alike, Limits};

use super::size;

/// Limits. What goes beyond one is refused before it does harm
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of what the archive may make of itself")]
pub(super) struct LimitArgs {
    /// Bytes that may come out of each that is stored, once 64 MiB have come out, or 1 TiB with holes counted [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_ratio: Option<u64>,
    /// Members that it may have [default: 10000000]
    #[arg(long, value_name = "N")]
    max_members: Option<u64>,
    /// Bytes that all files together may have, holes counted [default: what --max-ratio allows; unpacking also stops where a twentieth of what is free on the disk is left]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    max_total: Option<u64>,
    /// Compressions and seals one in the other [default: 4]
    #[arg(long, value_name = "N")]
    max_nesting: Option<u32>,
    /// Folders in folders [default: 1024]
    #[arg(long, value_name = "N")]
    max_depth: Option<u32>,
    /// What to do with a name that some systems take for an earlier one, since it differs in letter case, or in how accents are written, alone [default: import and unpack
    /// tell of it in a pack of Larder's and refuse it in other archives, verify tells of it]
    #[arg(long, value_enum, value_name = "WHAT")]
    alike: Option<AlikeArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AlikeArg {
    /// Let it in and tell of it
    Tell,
    /// Refuse the archive
    Refuse,
}

/// What is let in that is refused by itself
#[derive(Debug, Clone, Default, Args)]
pub(super) struct AllowArgs {
    /// Let in what is refused by itself (can be repeated)
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    allow: Vec<NamesArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NamesArg {
    /// Names with a slash in front, which is taken off, as tar does
    Absolute,
    /// Members that are there twice: the last one counts, as in a tar that was appended to
    Duplicates,
}

impl AllowArgs {
    /// Limits with what is let in.
    pub(super) fn of(&self, limits: Limits) -> Limits {
        Limits {
            absolute: self.allow.contains(&NamesArg::Absolute),
            duplicates: self.allow.contains(&NamesArg::Duplicates),
            ..limits
        }
    }
}

impl LimitArgs {
    /// The limits, those that nobody named as they are by default.
    pub(super) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            ratio: self.max_ratio.unwrap_or(usual.ratio),
            members: self.max_members.unwrap_or(usual.members),
            bytes: self.max_total,
            nesting: self.max_nesting.unwrap_or(usual.nesting),
            depth: self.max_depth.unwrap_or(usual.depth),
            alike: match self.alike {
                None => usual.alike,
                Some(AlikeArg::Tell) => Alike::Tell,
                Some(AlikeArg::Refuse) => Alike::Refuse,
            },
            ..usual
        }
    }

    /// The limits for who takes what is in an archive.
    pub(super) fn taking(&self) -> Limits {
        let limits = self.limits();
        Limits { alike: if self.alike.is_some() { limits.alike } else { Alike::RefuseOthers }, ..limits }
    }
}
